"""A figure with a grid of cells, laid out in inches: titles above, one legend below.

The figure is created without pyplot, so that no global state or backend is involved.
"""

import io
from typing import Any

import numpy as np

GAP, EDGE, TITLE, LEGEND, NAMES = 0.14, 0.16, 0.44, 0.34, 1.5
INK, PALE = "#222222", "#777777"


class FigureGrid:
    """A grid of `rows` x `columns` cells of one size in a matplotlib figure.

    Args:
        rows: The number of rows.
        columns: The number of columns.
        size: (width, height) of a cell in inches.
        left: Free inches to the left of every row, for ticks and names.
        below: Free inches below every row, for ticks.
        titled: Every row has titles; else only the first row.
        legend: Reserve space for a legend below the cells.

    Attributes:
        figure: The `matplotlib.figure.Figure`.
        width: The width of the figure in inches.
        height: The height of the figure in inches.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        size: tuple[float, float],
        left: float = 0.0,
        below: float = 0.0,
        titled: bool = True,
        legend: bool = True,
    ) -> None:
        from matplotlib.figure import Figure

        self.size, self._left, self._first = size, EDGE + left, TITLE
        self._step = size[1] + below + (TITLE if titled else GAP)
        width = self._left + columns * (size[0] + GAP) - GAP + EDGE
        height = TITLE + rows * self._step - (TITLE if titled else GAP) + EDGE
        height += LEGEND if legend else 0
        self.width, self.height = max(width, 3.0), height
        self.figure = Figure(figsize=(self.width, self.height), facecolor="white")
        self.figure._repr_png_ = self._png  # type: ignore[attr-defined]

    def cell(self, row: int, column: int, title: str = "") -> Any:
        """Add one cell and return its axes.

        Args:
            row: The row, from 0.
            column: The column, from 0.
            title: The text above the cell. Lines after the first are smaller and pale.
        """
        left, top = self._corner(row, column)
        width, height = self.size
        first, *rest = [shortened(line, width) for line in f"{title}\n".split("\n")]
        lower = 0.2 if any(rest) else 0.07
        self._text(left, top - lower, first, INK, 9.5)
        self._text(left, top - 0.055, " ".join(rest).strip(), PALE, 8)
        return self._axes(left, top, width, height)

    def name(self, row: int, text: str) -> None:
        """Write the name of a row to its left."""
        _, top = self._corner(row, 0)
        middle = top + self.size[1] / 2
        name = shortened(text, NAMES - 0.1)
        self._text(EDGE, middle, name, INK, 9.5, va="center")

    def legend(self, colours: np.ndarray, left: str, right: str, column: int) -> None:
        """Draw a bar of colours (n, 3) below `column`, between two words."""
        x = self._corner(0, column)[0]
        y, space = self.height - 0.2, 0.54
        self._text(x + space - 0.08, y, left, PALE, 8, ha="right", va="center")
        bar = self._axes(x + space, y - 0.045, 1.1, 0.09)
        bar.imshow(colours[None], aspect="auto", interpolation="nearest")
        bar.set_axis_off()
        self._text(x + space + 1.18, y, right, PALE, 8, va="center")

    def _corner(self, row: int, column: int) -> tuple[float, float]:
        """Return the upper left corner of a cell, in inches from that of the figure."""
        left = self._left + column * (self.size[0] + GAP)
        return left, self._first + row * self._step

    def _axes(self, left: float, top: float, width: float, height: float) -> Any:
        """Add axes at a position in inches."""
        w, h = self.width, self.height
        return self.figure.add_axes(
            (left / w, 1 - (top + height) / h, width / w, height / h)
        )

    def _text(
        self, x: float, y: float, text: str, color: str, size: float, **options: Any
    ) -> None:
        """Write text at a position in inches."""
        at = x / self.width, 1 - y / self.height
        options |= {"color": color, "fontsize": size, "parse_math": False}
        self.figure.text(*at, text, **options)

    def _png(self) -> bytes:
        """Return the PNG for notebooks, which cannot show a figure without pyplot."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def show_image(axes: Any, colours: np.ndarray) -> None:
    """Draw colours (H, W, 3) without ticks and frame."""
    axes.imshow(np.clip(colours, 0, 1))
    axes.set_axis_off()


def hide_frame(axes: Any) -> None:
    """Show only the left and the bottom line of the axes, in a pale grey."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#dddddd")


def shortened(text: str, inches: float) -> str:
    """Return the text, cut to about the given width; a cut ends in an ellipsis."""
    most = max(4, int(inches * 12))
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
