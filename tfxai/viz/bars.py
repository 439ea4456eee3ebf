"""Bars of the features of a table: sorted by strength, each with its value."""

import textwrap
from typing import Any

import numpy as np

from tfxai.viz import colours
from tfxai.viz.figure_grid import FigureGrid, GivenAxes
from tfxai.viz.look import (
    FRAME,
    INK,
    PALE,
    ROW,
    VALUE,
    pale_axes,
    signed,
    ticks,
    value,
    width_of,
)
from tfxai.viz.panel import Look, Panel

#: At most so many features are drawn; the rest is one bar.
MOST = 12
#: A name is wrapped at this number of characters; it is not cut.
WRAP = 44


def layout(panel: Panel, look: Look) -> FigureGrid:
    """Return the empty grid of bars: a row for each sample, a column per target."""
    rows, targets = panel.titles.shape
    texts = [t for row in range(rows) for t in _shown(panel, row)[1]]
    left = max(width_of(line, ROW) for t in texts for line in t.split("\n")) + 0.12
    longest = max(len(_shown(panel, row)[0]) for row in range(rows))
    size = 3.8, 0.12 + row_height(texts) * longest
    return FigureGrid(
        rows, targets, size, left, 0.45, figsize=look.figsize,
        heading=panel.heading(look),
    )  # fmt: skip


def paint(panel: Panel, look: Look, grid: Any) -> None:
    """Draw the bars of each sample, the strongest feature first."""
    rows, targets = panel.titles.shape
    shared = look.limit is not None
    flat = panel.heatmaps.reshape(rows * targets, -1)
    whole = [float(np.abs(np.nan_to_num(r)).max()) or 1.0 for r in flat]
    reach = max(whole) if look.limit == "shared" else look.limit
    for row, t in np.ndindex(rows, targets):
        axes = grid.cell(row, t, panel.titles[row, t])
        values, texts = _bars(panel, row, t)
        draw(axes, values, look)
        largest = reach if shared else max(*np.abs(np.nan_to_num(values)), 1e-30)
        margins = axes_limits(values, float(largest), shared)
        axes.set_xlim(*margins)
        label_bars(axes, values, margins)
        axes.set_xlabel(relevance_label(panel), fontsize=VALUE, color=PALE, labelpad=1)
        first = t == 0 or isinstance(grid, GivenAxes)
        axes.set_yticks(range(len(texts)), texts if first else [""] * len(texts))
        name_rows(axes)


def draw(axes: Any, values: np.ndarray, look: Look) -> None:
    """Draw horizontal bars from the top, positive and negative ones in two colours."""
    towards, against = colours.ends(look.cmap)
    inks = [towards if v > 0 else against for v in np.nan_to_num(values)]
    axes.barh(
        np.arange(len(values)), np.nan_to_num(values), color=inks, height=0.72,
        alpha=look.alpha,
    )  # fmt: skip
    axes.axvline(0, color=PALE, linewidth=0.8)
    axes.set_ylim(len(values) - 0.4, -0.6)
    pale_axes(axes, "bottom", size=VALUE)
    ticks(axes, 5)


def axes_limits(
    values: np.ndarray, largest: float, shared: bool
) -> tuple[float, float]:
    """Return the limits of the axis of relevance, with space for numbers."""
    values = np.nan_to_num(values)
    low = -largest if shared else min(0.0, float(values.min()))
    high = largest if shared else max(0.0, float(values.max()))
    span = (high - low) or 1.0
    low_space = 0.34 if (values < 0).any() else 0.03
    high_space = 0.34 if (values >= 0).any() else 0.03
    return low - low_space * span, high + high_space * span


def label_bars(axes: Any, values: np.ndarray, margins: tuple[float, float]) -> None:
    """Write the number of each bar at its end."""
    gap = 0.012 * (margins[1] - margins[0])
    for i, v in enumerate(values):
        towards = not v < 0
        end = float(np.nan_to_num(v)) + (gap if towards else -gap)
        axes.text(
            end, i, signed(float(v)), fontsize=VALUE, color=INK, va="center",
            ha="left" if towards else "right", parse_math=False, clip_on=True,
        )  # fmt: skip


def name_rows(axes: Any) -> None:
    """Format the names of the rows."""
    axes.tick_params(axis="y", length=0)
    for label in axes.get_yticklabels():
        label.set(fontsize=ROW, color=INK, parse_math=False)
    for i in range(len(axes.get_yticklabels())):
        axes.axhline(i + 0.5, color=FRAME, linewidth=0.4, zorder=0)


def row_height(texts: list[str]) -> float:
    """Return the height of a row in inches: that of the name with the most lines."""
    return 0.13 + 0.19 * max(t.count("\n") + 1 for t in texts)


def named(name: str, x: Any = None) -> str:
    """Return "name = value", wrapped; only the name where there is no value."""
    shown = "" if x is None else value(x)
    text = f"{name} = {shown}" if shown else name
    return "\n".join(textwrap.wrap(text, WRAP, break_long_words=True) or [""])


def relevance_label(panel: Panel) -> str:
    """Return the label of the axis of relevance, with its unit where it is known.

    The scores of a callable are float64: its outputs, which are no logits.
    """
    scale = panel.e.extra.get("scale")
    if not isinstance(scale, str):
        return "relevance"
    if scale == "logit" and np.asarray(panel.e.score).dtype == np.float64:
        return "relevance (output of the model)"
    return f"relevance ({scale.replace('_', ' ')})"


def feature_name(panel: Panel, i: int) -> str:
    """Return the name of a column."""
    return f"feature {i}" if panel.features is None else panel.features[i]


def order_of(strength: np.ndarray, most: int) -> tuple[list[int], list[int]]:
    """Return the numbers of the strongest features, and of the rest."""
    order = np.argsort(-np.nan_to_num(strength), kind="stable").tolist()
    kept = most if len(order) <= most else most - 1
    return order[:kept], order[kept:]


def _shown(panel: Panel, row: int) -> tuple[list[int], list[str]]:
    """The features of a sample by strength, and the names of its bars."""
    strength = np.abs(panel.heatmaps[row]).max(0)
    chosen, rest = order_of(strength, MOST)
    x = None if panel.x is None else panel.x[row]
    texts = [named(feature_name(panel, i), None if x is None else x[i]) for i in chosen]
    if rest:
        texts.append(f"{len(rest)} other features")
    return [*chosen, *([-1] if rest else [])], texts


def _bars(panel: Panel, row: int, t: int) -> tuple[np.ndarray, list[str]]:
    """The relevance and the names of the bars of one target."""
    numbers, texts = _shown(panel, row)
    values = panel.heatmaps[row, t]
    chosen = [i for i in numbers if i >= 0]
    bars = list(values[chosen])
    if -1 in numbers:
        bars.append(np.delete(values, chosen).sum())
    return np.array(bars, float), texts
