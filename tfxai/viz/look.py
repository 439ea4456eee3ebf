"""The look of every figure: inks, sizes of text, widths, numbers."""

import math
import unicodedata
from typing import Any

INK, PALE, FRAME = "#1f2328", "#59636e", "#d1d9e0"
#: Sizes of text in points: of headings and titles, second lines, ticks.
HEAD, TITLE, SUB, TICK = 12.5, 11.0, 9.5, 9.0
#: Sizes in figures of tables: of the names of rows, and of numbers.
ROW, VALUE = 11.0, 10.0


#: Letters -> their width in units of the size of the text; others are 0.63 wide.
_WIDTHS = {
    **dict.fromkeys("ijlI.,:;|!' ()[]", 0.36),
    **dict.fromkeys('frt-/\\"', 0.42),
    **dict.fromkeys("mwMW@%", 0.97),
    **dict.fromkeys("+=<>~_", 0.84),
}


def width_of(text: str, size: float) -> float:
    """Return about the width of a text in inches, at a size in points."""

    def width(c: str) -> float:
        wide = unicodedata.east_asian_width(c) in "WF"
        return 1.0 if wide else _WIDTHS.get(c, 0.72 if c.isupper() else 0.63)

    return sum(map(width, text)) * size / 72


def shortened(text: str, inches: float, size: float = TITLE) -> str:
    """Return the text, cut to about the given width; a cut ends in an ellipsis."""
    if width_of(text, size) <= inches or len(text) <= 4:
        return text
    kept = len(text) - 1
    while kept > 3 and width_of(text[:kept], size) > inches - size / 72:
        kept -= 1
    return text[:kept].rstrip() + "…"


def number(value: float) -> str:
    """Return a number as it is written in figures, with three digits."""
    return f"{value:.3g}" if math.isfinite(value) else "not finite"


def signed(value: float) -> str:
    """Return a number with its sign."""
    return (
        number(value) if value < 0 or not math.isfinite(value) else f"+{number(value)}"
    )


def value(x: Any) -> str:
    """Return the value of a feature; whole numbers without a point, NaN as "".

    Texts, categories and dates stand for themselves.
    """
    if x is None or not hasattr(x, "__float__"):
        return "" if x is None else str(x)
    x = float(x)
    if math.isnan(x):
        return ""
    if x == round(x) and abs(x) < 1e7:
        return str(round(x))
    return number(x)


def pale_axes(axes: Any, *sides: str, size: float = TICK) -> None:
    """Draw small ticks, and only the given sides of the frame."""
    axes.tick_params(labelsize=size, length=2.5, color=FRAME, labelcolor=PALE)
    for side, spine in axes.spines.items():
        spine.set_visible(side in (sides or ("left", "bottom")))
        spine.set_color(FRAME)


def ticks(axes: Any, count: int = 4) -> None:
    """Limit the number of ticks on the x axis."""
    axes.locator_params(axis="x", nbins=count)
