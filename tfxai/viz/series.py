"""Figures of series: a lane for each channel, on the colours of its relevance."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfxai.viz import colours
from tfxai.viz.figure_grid import FigureGrid, GivenAxes
from tfxai.viz.look import INK, PALE, SUB, TICK, pale_axes, ticks, width_of
from tfxai.viz.panel import Look, Panel

#: At most so many channels are drawn: those of the largest sums of |relevance|.
LANES = 12


def layout(panel: Panel, look: Look) -> FigureGrid:
    """Return the empty grid of series: a row for each sample, a column per target."""
    rows, targets = panel.titles.shape
    lanes = len(_channels(panel))
    height = 1.6 if lanes == 1 else 0.42 * lanes + 0.15
    names = _names(panel)
    left = 0.55 if lanes == 1 else max(width_of(n, SUB) for n in names) + 0.15
    return FigureGrid(
        rows, targets, (5.4, height), left, 0.42, bars=True, figsize=look.figsize,
        heading=panel.heading(look),
    )  # fmt: skip


def paint(
    panel: Panel, look: Look, grid: Any, times: Any = None,
    events: Mapping[Any, str] | None = None, time_name: str | None = None,
) -> None:  # fmt: skip
    """Draw the curves.

    Args:
        panel: The panel.
        look: The options.
        grid: The grid.
        times: The time of each position, (L,).
        events: Time -> the text of an event, drawn as a line.
        time_name: The label of the axis of time, with its unit.
    """
    rows, targets = panel.titles.shape
    relevance = _by_channel(panel)
    signed = bool((relevance < 0).any())
    flat = relevance.reshape(rows * targets, *relevance.shape[2:])
    limits = np.reshape(colours.limits(flat, look.limit), (rows, targets))
    ramp = colours.ramp(look.cmap, signed)
    length = relevance.shape[2]
    at = np.arange(length, dtype=float) if times is None else np.asarray(times, float)
    for row, t in np.ndindex(rows, targets):
        axes = grid.cell(row, t, panel.titles[row, t])
        limit = float(limits[row, t])
        strength = colours.strengths(relevance[row, t], limit)
        _lanes(axes, panel, row, strength, at, ramp, look.alpha)
        label = time_name or ("position" if times is None else "time")
        axes.set_xlabel(label, fontsize=TICK, color=PALE, labelpad=1)
        if t and not isinstance(grid, GivenAxes):
            axes.tick_params(left=False, labelleft=False)
        for time, text in (events or {}).items():
            axes.axvline(float(time), color=INK, linewidth=0.9, linestyle=":")
            axes.annotate(
                text, (float(time), 1), (3, -2), xycoords=("data", "axes fraction"),
                textcoords="offset points", fontsize=TICK, color=INK, va="top",
                bbox={"facecolor": "white", "alpha": 0.8, "pad": 1, "linewidth": 0},
            )  # fmt: skip
        grid.bar(row, t, ramp, limit, signed)


def _lanes(
    axes: Any, panel: Panel, row: int, strength: np.ndarray, at: np.ndarray,
    ramp: colours.Ramp, alpha: float | None,
) -> None:  # fmt: skip
    """Draw a lane for each channel: its relevance as colours, its curve above."""
    chosen, names = _channels(panel), _names(panel)
    step = np.median(np.diff(at)) if len(at) > 1 else 1.0
    middle = (at[1:] + at[:-1]) / 2
    edges = np.concatenate([[at[0] - step / 2], middle, [at[-1] + step / 2]])
    single = len(chosen) == 1
    for lane, channel in enumerate(chosen):
        curve = None if panel.x is None else np.asarray(panel.x[row], float)[:, channel]
        column = strength[:, min(channel, strength.shape[-1] - 1)]
        low, high = (0.0, 1.0)
        if single and curve is not None:
            pad = 0.08 * (np.ptp(curve) or 1.0)
            low, high = curve.min() - pad, curve.max() + pad
        bottom, top = (low, high) if single else (-lane - 0.95, -lane - 0.05)
        axes.pcolormesh(
            edges, [bottom, top], ramp(column)[None], shading="flat",
            alpha=alpha, linewidth=0, rasterized=True,
        )  # fmt: skip
        if curve is None:
            continue
        if not single:
            span = np.ptp(curve) or 1.0
            curve = bottom + 0.1 + 0.7 * (curve - curve.min()) / span
        axes.plot(at, curve, color=INK, linewidth=1.3)
    axes.set_xlim(edges[0], edges[-1])
    pale_axes(axes)
    ticks(axes, 7)
    if single:
        axes.set_ylim(bottom, top)
        axes.locator_params(axis="y", nbins=4)
        if panel.features is not None:
            axes.set_ylabel(names[0], fontsize=TICK, color=PALE)
    else:
        axes.set_ylim(-len(chosen), 0)
        axes.set_yticks([-i - 0.5 for i in range(len(chosen))], names, fontsize=SUB)
        axes.tick_params(axis="y", length=0, labelcolor=INK)


def _by_channel(panel: Panel) -> np.ndarray:
    """The relevance (B, T, L, C), or (B, T, L, 1) where channels are reduced."""
    relevance = panel.relevance
    return relevance if relevance.ndim == 4 else panel.heatmaps[..., None]


def _channels(panel: Panel) -> list[int]:
    """The numbers of the channels that are drawn, in the order of the input."""
    relevance = _by_channel(panel)
    count = relevance.shape[-1] if panel.x is None else panel.x.shape[-1]
    if relevance.shape[-1] != count:
        return list(range(min(count, LANES)))
    strength = np.abs(relevance).sum((0, 1, 2))
    return sorted(np.argsort(-strength, kind="stable")[:LANES].tolist())


def _names(panel: Panel) -> list[str]:
    """The names of the channels that are drawn."""
    known = panel.features
    return [f"channel {i}" if known is None else known[i] for i in _channels(panel)]
