"""Tables as Markdown text and as CSV files."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfxai.base.atomic_write import atomic_write


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
    """Write a CSV file atomically, and return its path."""
    path = Path(path)
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(headings)
        writer.writerows(lines)
    return path
