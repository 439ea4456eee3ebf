"""Texts from files and names: without what a file or a terminal cannot take."""

import re

#: Control characters except tab and newline, marks of direction, lone surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff]"
)
_DEPTH = 64  # of nested lists and objects in JSON that a user types


def printable(text: str) -> str:
    """Return a text with visible escapes instead of what controls a terminal."""
    return _CONTROL.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


def storable(text: str) -> str:
    """Return a text without what HDF5 and UTF-8 cannot hold: NUL, lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def short(value: object, most: int = 40) -> str:
    """Return the repr of a value, or an ellipsis for a long one such as an array."""
    text = repr(value)
    return text if len(text) <= most and "\n" not in text else "…"


def check_depth(text: str) -> None:
    """Raise ValueError if brackets of JSON are nested deeply, even if inside strings.

    The parser of Python would raise RecursionError, or a later `repr`.
    """
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEPTH:
            raise ValueError(f"more than {_DEPTH} nested brackets")
