"""Terminal output: messages on stderr, tables on stdout."""

import ast
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import click

from tfxai.base.text import printable

_NUMBER = re.compile(r"[+-]?[\d.]+(e[+-]?\d+)?%?")


_METHOD = re.compile(r"\bmethod=['\"]([\w.]+)['\"]")
_CALL = re.compile(r"(?:tfxai\.)?create_analyzer\(")
#: Options of methods that are flags of the commands.
_FLAGS = ("preprocess", "target", "batch_size", "low", "high", "answer", "contrast")


def command_line(text: str) -> str:
    """Return an error message with the syntax of the command line, not of Python."""
    text = text.replace("one of tfxai.methods()", 'a method that "tfxai methods" lists')
    lines = [_written(line) if "Write: " in line else line for line in text.split("\n")]
    return _METHOD.sub(r"--method \1", _with_calls("\n".join(lines)))


def _written(line: str) -> str:
    """Return the line "Write: a=1, or b=2" with options of the command line."""
    head, _, rest = line.partition("Write: ")
    parts = [_arguments(part) or part for part in rest.split(", or ")]
    return f"{head}Write: {', or '.join(parts)}"


def _with_calls(text: str) -> str:
    """Return a text with `create_analyzer(...)` as options of the command line."""
    for start in reversed(list(_CALL.finditer(text))):
        ends = [m.start() for m in re.finditer(r"\)", text) if m.start() >= start.end()]
        for end in ends:
            words = _arguments(text[start.end() : end], True)
            if words is not None:
                text = text[: start.start()] + words + text[end + 1 :]
                break
    return text


def _arguments(code: str, call: bool = False) -> str | None:
    """Return arguments of Python as words of the command line; None if they are none.

    Args:
        code: The arguments, such as "'sglrp', model, low=-1".
        call: The first two arguments are the method, or `...`, and the model.
    """
    try:
        parsed = ast.parse(f"f({code})", mode="eval").body
        assert isinstance(parsed, ast.Call)
        if bool(parsed.args) is not call or not (parsed.args or parsed.keywords):
            return None
        words = [
            f"--method {a.value}"
            for a in parsed.args
            if isinstance(a, ast.Constant) and isinstance(a.value, str)
        ]
        for keyword in parsed.keywords:
            words.append(_option(keyword.arg, ast.literal_eval(keyword.value)))
    except (SyntaxError, ValueError, TypeError, AssertionError):
        return None
    return " ".join(words)


def _option(name: str | None, value: Any) -> str:
    """Return an option of a method as a word of the command line."""
    if name == "method":
        return f"--method {value}"
    if name == "relu" and value is True:
        return "--relu"
    text = value if isinstance(value, str) else json.dumps(value)
    if name in _FLAGS and not isinstance(value, list | tuple | dict):
        return f"--{str(name).replace('_', '-')} {shlex.quote(text)}"
    return f"--option {shlex.quote(f'{name}={text}')}"


def print_message(text: str, style: str = "dim") -> None:
    """Print a message on stderr, wrapped between words if stderr is a terminal.

    What the message says to type in Python is printed as options of the command.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    console.print(
        Text(printable(command_line(text)), style=style),
        soft_wrap=not console.is_terminal,
    )


def print_line(text: str) -> None:
    """Print a line on stdout, without control characters."""
    click.echo(printable(text))


def format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return a warning as the commands print it: without the code that warns."""
    return f"{category.__name__}: {printable(command_line(str(message)))}\n"


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
        parts = [printable(cell).partition("\n") for cell in row]
        table.add_row(*(Text(p[0]).append("".join(p[1:]), "dim") for p in parts))
    Console().print(table)
