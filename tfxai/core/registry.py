"""Name -> row: what an analyzer is called, what it needs, where it is published."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tfxai.base.errors import OptionError, UnknownNameError


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


def nearest(name: str, names) -> list[str]:
    """Up to three names that look like `name`."""
    lower = {str(n).lower(): str(n) for n in names}
    found = difflib.get_close_matches(str(name).lower(), lower, n=3, cutoff=0.4)
    return [lower[f] for f in found]


def found(what: str, name: str, rows: Mapping, wanted: str, line: str) -> Any:
    """The row called `name`, or an error with the nearest names.

    what: a row is ("analyzer"). line: what to write, of a name, "{!r}".
    """
    if name in rows:
        return rows[name]
    close = nearest(name, rows)
    perhaps = f", perhaps {', '.join(close)}" if close else ""
    raise UnknownNameError(
        f"There is no {what} {name!r}.",
        wanted + perhaps,
        line.format((close or sorted(rows))[0]),
    )


def check_options(who: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse an option that `who` does not know, with the nearest ones."""
    for option in options:
        if option not in known:
            close = nearest(option, known)
            perhaps = f", perhaps {', '.join(close)}" if close else ""
            raise OptionError(
                f"{who} has no option {option!r}.", f"one of {sorted(known)}{perhaps}"
            )


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
