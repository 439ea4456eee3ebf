"""Figures of the parameter randomisation test: heatmaps and correlations by stage."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.viz import figure_grid
from tfxai.viz.colours import POSITIVE
from tfxai.viz.look import PALE, SUB, TICK, pale_axes


def strip(
    r: Any,
    images: list[np.ndarray],
    overlay: Callable[[Any, Any], np.ndarray],
    columns: int = 8,
) -> Any:
    """Return a figure: for every sample the first heatmap, then those of the stages.

    Args:
        r: See `metrics.randomisation.RandomisationResult`.
        images: The images (H, W, 3) in [0, 1], one for each sample.
        overlay: See `tfxai.plot.overlay`.
        columns: The maximum number of stages; fewer are spread evenly over all.
    """
    stages = len(r.layers)
    chosen = np.unique(np.linspace(0, stages - 1, min(columns, stages)).astype(int))
    height, width = r.original.shape[1:]
    scale = 1.7 / np.sqrt(height * width)
    size = width * scale, height * scale
    grid = figure_grid.FigureGrid(len(images), 1 + len(chosen), size, foot=0.3)
    for row, x in enumerate(images):
        figure_grid.show_image(
            grid.cell(row, 0, "as trained"), overlay(x, r.original[row])
        )
        for column, s in enumerate(chosen, 1):
            title = f"{r.layers[s]}\nrank corr. {r.rank_correlation[s, row]:.2f}"
            figure_grid.show_image(
                grid.cell(row, column, title), overlay(x, r.heatmaps[s, row])
            )
    text = "red: for the class; blue: against it; each heatmap has its own limit"
    grid.text(figure_grid.EDGE, grid.height - 0.16, text, PALE, SUB)
    return grid.figure


def curve(r: Any) -> Any:
    """Return a figure: mean rank correlation and SSIM with the first heatmap."""
    grid = figure_grid.FigureGrid(1, 1, (6.4, 2.4), 0.45, 1.3)
    axes = grid.cell(0, 0, "similarity with the heatmap of the trained network")
    at = np.arange(len(r.layers))
    for values, colour, name in (
        (r.rank_correlation, POSITIVE, "rank correlation"), (r.ssim, "#6b7280", "SSIM"),
    ):  # fmt: skip
        axes.plot(at, values.mean(1), color=colour, linewidth=1.6, label=name)
    axes.axhline(0, color="#dddddd", linewidth=0.8)
    axes.set_ylim(-0.25, 1.05)
    every = max(1, len(at) // 16)
    axes.set_xticks(at[::every], list(r.layers)[::every], rotation=60, ha="right")
    pale_axes(axes)
    axes.legend(frameon=False, fontsize=TICK, loc="upper right")
    return grid.figure
