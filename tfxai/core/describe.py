"""The description of a method, as text."""

from tfxai.base import catalogue
from tfxai.core.registry import lookup


class Description(str):
    """A text of several lines that is shown as it is, also without `print`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def describe(method: str) -> Description:
    """Return the description of a method, ready to print.

    It holds a summary, what the model needs, the kinds of input, what an explanation
    costs, the paper, every option with its default, one line about it and its type, and
    lines to paste.
    `tfxai methods METHOD` prints the same in a terminal.

    Args:
        method: The name of a method; `tfxai.methods()` lists them.

    Raises:
        UnknownNameError: There is no such method; the error suggests the nearest ones.

    Example:
        >>> print(tfxai.describe("lime"))
    """
    spec = lookup(method)
    entry = catalogue.entry(spec) | {"takes": catalogue.takes(spec.name)}
    return Description(catalogue.text_of(entry))
