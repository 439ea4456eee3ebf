"""Tables for people and for programs: Markdown, and CSV files."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfxai.base.atomic_write import whole


def markdown(
    heads: Sequence[str], lines: Iterable[Sequence[str]], words: int = 1
) -> str:
    """A table in Markdown; its first `words` columns are words, the others numbers."""
    rules = ["---"] * words + ["--:"] * (len(heads) - words)
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rules, *lines))


def write_csv(
    path: str | os.PathLike, heads: Sequence[str], lines: Iterable[Sequence[Any]]
) -> Path:
    """Write a CSV file: whole, or not at all."""
    path = Path(path)
    with whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(heads)
        writer.writerows(lines)
    return path
