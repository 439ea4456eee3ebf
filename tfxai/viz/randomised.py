"""Pictures of a network that forgets: what its maps become, stage by stage."""

from typing import Any

import numpy as np

from tfxai.viz import figure_grid
from tfxai.viz.colours import FOR, inked


def strip(r: Any, shown: list[np.ndarray], overlay: Any, columns: int = 8) -> Any:
    """A figure: a row for every sample; the first map, then those of the stages.

    r: see `metrics.randomisation.RandomisationResult`. shown: the pictures, in [0, 1].
    columns: how many stages at most; they are spread over all.
    """
    stages = len(r.layers)
    chosen = np.unique(np.linspace(0, stages - 1, min(columns, stages)).astype(int))
    height, width = r.original.shape[1:]
    scale = 1.7 / np.sqrt(height * width)
    page = figure_grid.Sheet(
        len(shown), 1 + len(chosen), (width * scale, height * scale)
    )
    for row, x in enumerate(shown):
        _show(page.cell(row, 0, "as trained"), overlay(x, r.original[row]))
        for column, s in enumerate(chosen, 1):
            title = f"{r.layers[s]}\nrank corr. {r.rank_correlation[s, row]:.2f}"
            _show(page.cell(row, column, title), overlay(x, r.heatmaps[s, row]))
    ramp = inked(np.full(100, 0.8), np.linspace(-1.0, 1.0, 100))
    page.legend(ramp, "against", "for", 0)
    return page.figure


def curve(r: Any) -> Any:
    """A figure: the mean rank correlation and SSIM with the first map, by stage."""
    page = figure_grid.Sheet(1, 1, (6.4, 2.4), 0.45, 1.1, legend=False)
    axes = page.cell(0, 0, "how like the map of the trained network it still is")
    at = np.arange(len(r.layers))
    for values, colour, name in (
        (r.rank_correlation, FOR[0], "rank correlation"), (r.ssim, "#6b7280", "SSIM"),
    ):  # fmt: skip
        axes.plot(at, values.mean(1), color=colour, linewidth=1.6, label=name)
    axes.axhline(0, color="#dddddd", linewidth=0.8)
    axes.set_ylim(-0.25, 1.05)
    every = max(1, len(at) // 16)
    axes.set_xticks(at[::every], list(r.layers)[::every], rotation=60, ha="right")
    axes.tick_params(labelsize=7, length=2, color="#999999", labelcolor="#666666")
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#dddddd")
    return page.figure


def _show(axes: Any, colours: np.ndarray) -> None:
    axes.imshow(np.clip(colours, 0, 1))
    axes.set_axis_off()
