"""Name -> row: what an analyzer is called, what it needs, where it is published."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from tfxai.errors import UnknownNameError


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
FAMILIES = ("gradient", "relevance")
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


def lookup(name: str) -> Row:
    """The row called `name`; an unknown name is an error with the nearest ones."""
    if name in _ROWS:
        return _ROWS[name]
    close = nearest(name, _ROWS)
    raise UnknownNameError(
        f"There is no analyzer {name!r}.",
        "one of tfxai.analyzers()" + (f", perhaps {', '.join(close)}" if close else ""),
        f"tfxai.create_analyzer({(close or sorted(_ROWS))[0]!r}, model)",
    )


def rows() -> list[Row]:
    """Every row: family by family, and in the order of registration."""
    return sorted(_ROWS.values(), key=lambda row: FAMILIES.index(row.family))
