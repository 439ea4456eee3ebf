"""The description of a method, as text."""

import textwrap
from collections.abc import Iterable

from tfxai.base.options import Option
from tfxai.core.registry import lookup

WIDTH = 88


class Description(str):
    """A text of several lines that is shown as it is, also without `print`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def describe(method: str) -> Description:
    """Return the description of a method, ready to print.

    It holds a summary, what the model needs, the paper, and every option with its
    default and one line about it.

    Args:
        method: The name of a method; `tfxai.methods()` lists them.

    Raises:
        UnknownNameError: There is no such method; the error suggests the nearest ones.

    Example:
        >>> print(tfxai.describe("lime"))
    """
    spec = lookup(method)
    lines = [
        *_wrapped(f"{spec.name}: ", spec.summary),
        "",
        *_wrapped("family:  ", spec.family),
        *_wrapped("needs:   ", spec.needs),
        *_wrapped("paper:   ", spec.paper),
    ]
    if spec.options:
        lines += ["", "options:", *_options(spec.options.values())]
    return Description("\n".join(lines))


def _options(options: Iterable[Option]) -> list[str]:
    """One entry per option: `name=default`, and its description below."""
    lines = []
    for option in options:
        lines += _wrapped("    ", str(option) + " (required)" * option.required)
        lines += _wrapped("        ", option.description)
    return lines


def _wrapped(head: str, text: str) -> list[str]:
    """A text behind a head, wrapped, the following lines indented below it."""
    below = " " * (9 if head.endswith(":   ") or head.endswith(":  ") else 4)
    below = head if not head.strip() else below
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=below
    )  # fmt: skip
