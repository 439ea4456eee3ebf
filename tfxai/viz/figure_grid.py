"""A figure with a grid of cells, laid out in inches: titles above, colour bars below.

The figure is created without pyplot, so that no global state or backend is involved.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.viz.colours import Ramp
from tfxai.viz.look import HEAD, INK, PALE, SUB, TICK, TITLE, number, shortened

GAP, EDGE, TITLES, HEADING, NAMES = 0.2, 0.18, 0.52, 0.36, 1.5
#: Inches that a colour bar with its numbers takes below a cell.
BAR = 0.5


class FigureGrid:
    """A grid of `rows` x `columns` cells of one size in a matplotlib figure.

    Args:
        rows: The number of rows.
        columns: The number of columns.
        size: (width, height) of a cell in inches.
        left: Free inches to the left of every row, for ticks and names.
        below: Free inches below every row, for ticks.
        titled: Every row has titles; else only the first row.
        heading: The title of the figure; "" takes no space.
        bars: Every row has colour bars below.
        foot: Free inches below all rows.
        figsize: The size of the figure in inches; None fits the cells.
        least: The least width of the figure.

    Attributes:
        width: The width of the layout in inches.
        height: The height of the layout in inches.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        size: tuple[float, float],
        left: float = 0.0,
        below: float = 0.0,
        titled: bool = True,
        heading: str = "",
        bars: bool = False,
        foot: float = 0.0,
        figsize: tuple[float, float] | None = None,
        least: float = 3.6,
    ) -> None:
        self.size, self._left, self._below = size, EDGE + left, below
        self._first = TITLES + (HEADING if heading else 0)
        self._step = size[1] + below + (TITLES if titled else GAP) + BAR * bars
        width = self._left + columns * (size[0] + GAP) - GAP + EDGE
        height = self._first + rows * self._step - (TITLES if titled else GAP) + EDGE
        self.width, self.height = max(width, least), height + foot
        self._heading, self._figsize, self._figure = heading, figsize, None

    @property
    def figure(self) -> Any:
        """The figure; it is created when it is needed first."""
        if self._figure is None:
            self.attach(new_figure(self._figsize or (self.width, self.height)))
        return self._figure

    def attach(self, figure: Any) -> None:
        """Draw in an empty figure, or in a part of one, and write the heading."""
        self._figure = figure
        if self._heading:
            most = self.width - 2 * EDGE
            text = shortened(self._heading, most, HEAD)
            self.text(EDGE, EDGE + 0.12, text, INK, HEAD, va="center", weight="bold")

    def cell(self, row: int, column: int, title: str = "") -> Any:
        """Add one cell and return its axes.

        Args:
            row: The row, from 0.
            column: The column, from 0.
            title: The text above the cell. Lines after the first are smaller and pale.
        """
        left, top = self._corner(row, column)
        width, height = self.size
        first, *rest = f"{title}\n".split("\n")
        under = shortened(" ".join(rest).strip(), width, SUB)
        lower = 0.24 if under else 0.08
        self.text(left, top - lower, shortened(first, width), INK, TITLE)
        self.text(left, top - 0.07, under, PALE, SUB)
        return self._axes(left, top, width, height)

    def name(self, row: int, text: str) -> None:
        """Write the name of a row to its left."""
        _, top = self._corner(row, 0)
        middle = top + self.size[1] / 2
        name = shortened(text, max(NAMES, self._left - EDGE) - 0.1, SUB)
        self.text(EDGE, middle, name, INK, SUB, va="center")

    def bar(
        self, row: int, column: int, ramp: Ramp, limit: float, signed: bool,
        words: tuple[str, str] = ("against", "for"),
    ) -> None:  # fmt: skip
        """Draw a colour bar with numbers below a cell, with a word at each end."""
        left, top = self._corner(row, column)
        width, height = self.size
        width = min(width, 3.2)
        y = top + height + self._below + 0.12
        draw_bar(self._axes(left, y, width, 0.09), ramp, limit, signed, words)

    def text(
        self, x: float, y: float, text: str, color: str, size: float, **options: Any
    ) -> None:
        """Write text at a position in inches from the upper left corner."""
        at = x / self.width, 1 - y / self.height
        options |= {"color": color, "fontsize": size, "parse_math": False}
        self.figure.text(*at, text, **options)

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


class GivenAxes:
    """Cells in axes of the caller, in the place of a `FigureGrid`.

    Args:
        axes: The axes of the caller, in the order of the cells.
        count: The number of cells.
        heading: What the title of each cell begins with.

    Raises:
        OptionError: There are more or fewer axes than cells.
    """

    def __init__(self, axes: Any, count: int, heading: str = "") -> None:
        several = isinstance(axes, Sequence | np.ndarray)
        self._rest = list(np.asarray(axes, object).ravel()) if several else [axes]
        if len(self._rest) != count:
            raise OptionError(
                f"ax holds {len(self._rest)} axes for {count} cells.",
                "one matplotlib axes for each sample and target",
                "figure, ax = plt.subplots(1, 2); e[0].plot(ax=ax[0])",
            )
        self._heading = f"{heading}: " if heading else ""
        self._cells: dict[tuple[int, int], Any] = {}
        self.figure = self._rest[0].figure if self._rest else None

    def cell(self, row: int, column: int, title: str = "") -> Any:
        """Return the next axes with a title."""
        axes = self._cells[row, column] = self._rest.pop(0)
        first, *rest = f"{title}\n".split("\n")
        lines = "\n".join([self._heading + first, *(r for r in rest if r)])
        axes.set_title(lines, loc="left", fontsize=SUB, color=INK, parse_math=False)
        return axes

    def bar(
        self, row: int, column: int, ramp: Ramp, limit: float, signed: bool,
        words: tuple[str, str] = ("against", "for"),
    ) -> None:  # fmt: skip
        """Draw a colour bar with numbers below the axes of a cell."""
        axes = self._cells[row, column]
        inset = axes.inset_axes((0.0, -0.09, 1.0, 0.04))
        draw_bar(inset, ramp, limit, signed, words)


def stacked(grids: Sequence[FigureGrid], figsize: Any = None) -> Any:
    """Return one figure of several grids below each other, before they are drawn."""
    if len(grids) == 1:
        return grids[0].figure
    width = max(g.width for g in grids)
    heights = [g.height for g in grids]
    figure = new_figure(figsize or (width, sum(heights)))
    parts = figure.subfigures(len(grids), 1, height_ratios=heights, hspace=0)
    for grid, part in zip(grids, parts, strict=True):
        grid.width = width
        part.set_facecolor("white")
        grid.attach(part)
    return figure


def draw_bar(
    axes: Any, ramp: Ramp, limit: float, signed: bool, words: tuple[str, str]
) -> None:
    """Draw a colour bar from -limit (or 0) to limit with numbers and two words."""
    low = -1.0 if signed else 0.0
    colours = ramp(np.linspace(low, 1, 200))
    axes.imshow(
        colours[None], aspect="auto", interpolation="nearest",
        extent=(low, 1.0, 0.0, 1.0),
    )  # fmt: skip
    at = [-1.0, 0.0, 1.0] if signed else [0.0, 1.0]
    against, towards = words
    texts = [f"{number(-limit)} {against}".strip(), "0", f"{number(limit)} {towards}"]
    axes.set_yticks([])
    axes.set_xticks(at, texts if signed else ["0", texts[-1]], parse_math=False)
    axes.tick_params(labelsize=TICK, length=2.5, color=PALE, labelcolor=PALE, pad=2)
    for label, side in zip(axes.get_xticklabels(), at, strict=True):
        label.set_ha("left" if side == low else "right" if side == 1 else "center")
    for spine in axes.spines.values():
        spine.set_visible(False)


def new_figure(size: tuple[float, float]) -> Any:
    """Return an empty white figure without pyplot, which a notebook shows.

    Raises:
        OptionError: `size` is not two numbers above 0.
    """
    from matplotlib.figure import Figure

    try:
        width, height = (float(v) for v in size)
        if not (0 < width < 1000 and 0 < height < 1000):
            raise ValueError
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"figsize={size!r}.", "(width, height) in inches", "figsize=(8, 4)"
        ) from error
    figure = Figure(figsize=(width, height), facecolor="white")

    def png() -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]
    return figure


def show_image(axes: Any, colours: np.ndarray) -> None:
    """Draw colours (H, W, 3) without ticks and frame."""
    axes.imshow(np.clip(colours, 0, 1))
    axes.set_axis_off()
