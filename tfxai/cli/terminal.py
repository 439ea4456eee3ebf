"""Terminal output: messages on stderr, tables on stdout."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

_NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?%?")


#: Python of an error message -> what to type in a terminal.
_SYNTAX: tuple[tuple[str, Any], ...] = (
    (
        r"(?:tfxai\.)?create_analyzer\(['\"]([\w.]+)['\"], "
        r"(?:model|\.\.\.)((?:, [^()]*)?)\)",
        lambda m: f"--method {m[1]}{_options(m[2])}",
    ),
    (r"\bcreate_analyzer\(\.\.\.((?:, [^()]*)?)\)", lambda m: _options(m[1]).strip()),
    (r"one of tfxai\.methods\(\)", lambda m: 'a method that "tfxai methods" lists'),
    (r"\bmethod=['\"]([\w.]+)['\"]", lambda m: f"--method {m[1]}"),
    (r"(?<=Write: )(\w+=[^,\n]+)$", lambda m: _options(f", {m[1]}").strip()),
)
#: Options of methods that are flags of the commands.
_FLAGS = ("preprocess", "target", "batch_size", "low", "high")


def command_line(text: str) -> str:
    """Return an error message with the syntax of the command line, not of Python."""
    for pattern, replacement in _SYNTAX:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def _options(arguments: str) -> str:
    """Return ", name=value, ..." of Python as options of the command line."""
    words = []
    for name, value in re.findall(r"(\w+)=('[^']*'|\"[^\"]*\"|[^,]+)", arguments):
        value = value.strip().strip("'\"")
        flag = f"--{name.replace('_', '-')} " if name in _FLAGS else f"--option {name}="
        words.append(f"{flag}{value}")
    return "".join(f" {word}" for word in words)


def print_message(text: str, style: str = "dim") -> None:
    """Print a message on stderr, wrapped between words if stderr is a terminal.

    What the message says to type in Python is printed as options of the command.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    console.print(
        Text(command_line(text), style=style), soft_wrap=not console.is_terminal
    )


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
