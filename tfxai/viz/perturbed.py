"""Figures of explanations by optimisation: the change of the input, and the losses."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.viz import figure_grid
from tfxai.viz.colours import NEGATIVE, POSITIVE
from tfxai.viz.look import PALE, SUB, pale_axes

_LOSS = "#888888"


def perturbation(
    e: Any,
    titles: Callable[[Any], np.ndarray],
    image: Callable[[Any], np.ndarray],
    overlay: Callable[[Any, Any], np.ndarray],
) -> Any:
    """Return a figure: input, perturbed input, and their difference or the mask.

    It has one row for every sample and target. A cross marks the centre of mass.

    Args:
        e: An `Explanation` by a method of the family perturbation.
        titles: e -> titles (B, T).
        image: See `tfxai.plot.image`.
        overlay: See `tfxai.plot.overlay`.
    """
    rows = _rows(e)
    names = titles(e).ravel()
    what = "difference" if "heatmap" in e.extra else "mask"
    height, width = rows["x"].shape[1:3]
    scale = 2.6 / np.sqrt(height * width)
    grid = figure_grid.FigureGrid(
        len(rows["x"]), 3, (width * scale, height * scale), heading=e.method,
        foot=0.3,
    )  # fmt: skip
    for i, title in enumerate(names):
        before, after = (rows[f"score_{n}"][i] for n in ("before", "after"))
        # one call, so that both images have the same range
        both = image(np.concatenate([rows["x"][i], rows["perturbed"][i]], 1))
        distance = f"mean |difference| {rows['l1'][i]:.3g}"
        cells = [
            grid.cell(i, 0, f"{title.split(chr(10))[0]}\nscore {before:.3g}"),
            grid.cell(i, 1, f"perturbed\nscore {after:.3g}"),
            grid.cell(i, 2, f"{what}\n{distance}"),
        ]
        drawn = [
            both[:, :width],
            both[:, width:],
            overlay(rows["x"][i], rows["heatmap"][i]),
        ]
        for axes, colours in zip(cells, drawn, strict=True):
            figure_grid.show_image(axes, colours)
        _mark(cells[2], *rows["center_of_mass"][i])
    mark = f"+ centre of mass of the {what}"
    grid.text(figure_grid.EDGE, grid.height - 0.16, mark, PALE, SUB)
    return grid.figure


def history(e: Any, titles: Callable[[Any], np.ndarray]) -> Any:
    """Return a figure: loss and score per iteration, a row per sample and target."""
    rows = _rows(e)
    names = titles(e).ravel()
    grid = figure_grid.FigureGrid(
        len(rows["x"]), 1, (5.2, 1.9), 0.55, 0.35, heading=e.method,
        foot=0.3,
    )  # fmt: skip
    for i, title in enumerate(names):
        axes = grid.cell(i, 0, str(title).split("\n")[0])
        for name, color in (("loss", _LOSS), ("score", NEGATIVE)):
            axes.plot(rows[f"{name}_history"][i], color=color, linewidth=1.4)
        best = int(rows["best_iteration"][i])
        least = rows["loss_history"][i][best]
        axes.plot([best], [least], "o", color=POSITIVE, markersize=4)
        pale_axes(axes)
        axes.margins(x=0.01)
    _legend(grid)
    return grid.figure


def _mark(axes: Any, row: float, column: float) -> None:
    """Draw a cross at a position; none if the position is not finite."""
    if np.isfinite(row):
        for size, color in ((150, "white"), (70, "black")):
            axes.scatter([column], [row], size, color, marker="+", linewidths=size / 50)


def _legend(grid: figure_grid.FigureGrid) -> None:
    """Write the legend of `history` and the label of its x axis."""
    y = grid.height - 0.16
    parts = (("loss", _LOSS), ("score", NEGATIVE), ("best", POSITIVE))
    for k, (name, color) in enumerate(parts):
        grid.text(figure_grid.EDGE + 0.55 + 0.9 * k, y, f"● {name}", color, SUB)
    grid.text(figure_grid.EDGE + 4.4, y, "iteration", PALE, SUB)


def _rows(e: Any) -> dict[str, np.ndarray]:
    """Return the arrays to draw, with one entry for each sample and target."""
    if "loss_history" not in e.extra:
        raise InputError(
            f"An explanation by {e.method!r} has no history of an optimisation.",
            "one by a method of the family perturbation",
            'tfxai.explain(model, x, "perturbation_cnn")',
        )
    x = np.asarray(e.inputs)
    targets = e.target.size // len(x)
    axes = e.target.ndim
    wanted = "perturbed score_before score_after l1 center_of_mass best_iteration"
    names = (*wanted.split(), "loss_history", "score_history")
    arrays = {k: np.asarray(e.extra[k]) for k in names}
    flat = {k: v.reshape(-1, *v.shape[axes:]) for k, v in arrays.items()}
    heatmap = np.asarray(e.heatmap())
    return {
        **flat,
        "x": np.repeat(x, targets, 0),
        "heatmap": heatmap.reshape(-1, *heatmap.shape[-2:]),
    }
