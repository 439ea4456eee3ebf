"""Terminal output: messages on stderr, tables on stdout."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

_NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?%?")


def print_message(text: str, style: str = "dim") -> None:
    """Print a message on stderr, wrapped between words if stderr is a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    console.print(Text(text, style=style), soft_wrap=not console.is_terminal)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], lines: bool = False
) -> None:
    """Print a table on stdout, within the width of the terminal.

    The first column contains names that users copy. It is only wrapped if they are
    long. Numbers are aligned right. All lines of a cell after the first are dim.

    Args:
        columns: The headings.
        rows: The cells of each row.
        lines: Draw a line between the rows.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    short = all(len(line) <= 45 for row in rows for line in row[0].split("\n"))
    table = Table(box=box.SIMPLE_HEAD, show_lines=lines, pad_edge=False)
    for i, name in enumerate(columns):
        numbers = all(_NUMBER.fullmatch(row[i]) for row in rows if row[i])
        justify: Any = "right" if numbers and rows else "left"
        table.add_column(
            name, justify=justify, overflow="fold", no_wrap=short and i == 0
        )
    for row in rows:
        parts = [cell.partition("\n") for cell in row]
        table.add_row(*(Text(p[0]).append("".join(p[1:]), "dim") for p in parts))
    Console().print(table)
