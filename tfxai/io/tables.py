"""Tables as Markdown text and as CSV files."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfxai.base.atomic_write import atomic_write
from tfxai.base.text import storable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a formula of a spreadsheet begins


def markdown(
    headings: Sequence[str], lines: Iterable[Sequence[str]], text_columns: int = 1
) -> str:
    """Return a table in Markdown.

    Args:
        headings: The headings of the columns.
        lines: The cells of each row.
        text_columns: How many columns, from the left, hold text. They are aligned left;
            the others hold numbers and are aligned right.
    """
    rules = ["---"] * text_columns + ["--:"] * (len(headings) - text_columns)
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rules, *lines))


def write_csv(
    path: str | os.PathLike[str],
    headings: Sequence[str],
    lines: Iterable[Sequence[Any]],
) -> Path:
    """Write a CSV file atomically, and return its path.

    A text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    path = Path(path)
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        for line in (headings, *lines):
            writer.writerow([_cell(value) for value in line])
    return path


def _cell(value: Any) -> Any:
    """Return a cell of a CSV file; numbers, also as text, stay as they are."""
    if not isinstance(value, str) or not value.lstrip(" ").startswith(_FORMULA):
        return storable(value) if isinstance(value, str) else value
    try:
        float(value)
    except ValueError:
        return "'" + storable(value)
    return value
