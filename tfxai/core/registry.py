"""Name -> row: what an analyzer is called, what it needs, where it is published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tfxai.base.validation import check_options, found


@dataclass(frozen=True)
class Row:
    """One analyzer.

    `build(model, **options)` returns the analyzer, `options` are the options that it
    knows besides `preprocess`, `needs` says what the model must offer.
    """

    name: str
    family: str
    summary: str
    needs: str
    paper: str
    build: Callable
    options: tuple[str, ...] = ()


#: The order in which families are listed.
FAMILIES = ("gradient", "path", "noise", "cam", "relevance", "sampling", "perturbation")
#: Those that ask where in a picture something is, and take its last axis for channels.
SPATIAL = ("cam", "sampling", "perturbation")
_ROWS: dict[str, Row] = {}


def register(row: Row) -> Row:
    """Make `row` known under its name."""
    _ROWS[row.name] = row
    return row


def lookup(name: str) -> Row:
    """The row called `name`; an unknown name is an error with the nearest ones."""
    line = "tfxai.create_analyzer({!r}, model)"
    return found("analyzer", name, _ROWS, "one of tfxai.analyzers()", line)


def build(name: str, wrapped: Any, options: Mapping[str, Any]) -> Any:
    """The analyzer `name` of a wrapped model; an option that it does not know is an
    error with the nearest ones.
    """
    row = lookup(name)
    check_options(f"The analyzer {name!r}", options, row.options)
    if row.family in SPATIAL:
        wrapped.check_channels_last(name)
    return row.build(wrapped, **options)


def rows() -> list[Row]:
    """Every row: family by family, and in the order of registration."""
    return sorted(_ROWS.values(), key=lambda row: FAMILIES.index(row.family))
