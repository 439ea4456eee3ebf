"""What the command line shows: lines on stderr, tables on stdout."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

_NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?%?")


def say(text: str, style: str = "dim") -> None:
    """A line on stderr; wrapped between words on a terminal, never in a log."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], lines: bool = False
) -> None:
    """A table on stdout, within the terminal's width; numbers are flush right.

    The first column holds names to be copied, and is broken only if they are long. Of
    a cell with several lines the first stands out.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    short = all(len(line) <= 45 for row in rows for line in row[0].split("\n"))
    made = Table(box=box.SIMPLE_HEAD, show_lines=lines, pad_edge=False)
    for i, name in enumerate(columns):
        numbers = all(_NUMBER.fullmatch(row[i]) for row in rows if row[i])
        justify: Any = "right" if numbers and rows else "left"
        made.add_column(
            name, justify=justify, overflow="fold", no_wrap=short and i == 0
        )
    for row in rows:
        parts = [cell.partition("\n") for cell in row]
        made.add_row(*(Text(p[0]).append("".join(p[1:]), "dim") for p in parts))
    Console().print(made)
