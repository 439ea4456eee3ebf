"""Pictures of an explanation by optimisation: what was changed, and how."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.viz import figure_grid
from tfxai.viz.colours import AGAINST, FOR

_CENTRE = "#ffd21f"


def perturbation(e: Any, titles: Callable, picture: Callable, overlay: Callable) -> Any:
    """A figure: input, perturbed, and what was changed with its centre of mass.

    A row for every sample and target. titles: (e) -> (B, T). picture, overlay: see
    `tfxai.plot`.
    """
    rows = _rows(e)
    names = titles(e).ravel()
    what = "difference" if "heatmap" in e.extra else "mask"
    height, width = rows["x"].shape[1:3]
    scale = 2.6 / np.sqrt(height * width)
    page = figure_grid.Sheet(len(rows["x"]), 3, (width * scale, height * scale))
    for i, title in enumerate(names):
        before, after = (rows[f"score_{n}"][i] for n in ("before", "after"))
        both = picture(np.concatenate([rows["x"][i], rows["perturbed"][i]], 1))
        away = f"mean |difference| {rows['l1'][i]:.3g}"
        cells = [
            page.cell(i, 0, f"{title.split(chr(10))[0]}\nscore {before:.3g}"),
            page.cell(i, 1, f"perturbed\nscore {after:.3g}"),
            page.cell(i, 2, f"{what}\n{away}"),
        ]
        shown = [
            both[:, :width],
            both[:, width:],
            overlay(rows["x"][i], rows["map"][i]),
        ]
        for axes, colours in zip(cells, shown, strict=True):
            axes.imshow(np.clip(colours, 0, 1))
            axes.set_axis_off()
        row, column = rows["center_of_mass"][i]
        if np.isfinite(row):
            for size, color in ((150, "white"), (70, "black")):
                cells[2].scatter(
                    [column], [row], size, color, marker="+", linewidths=size / 50
                )
    page.figure.text(
        figure_grid.EDGE / page.width, 0.2 / page.height - 0.05 / page.height,
        f"+ centre of mass of the {what}", color=figure_grid.PALE, fontsize=8,
    )  # fmt: skip
    return page.figure


def history(e: Any, titles: Callable) -> Any:
    """A figure: loss and score at every step, a row for every sample and target."""
    rows = _rows(e)
    names = titles(e).ravel()
    page = figure_grid.Sheet(len(rows["x"]), 1, (5.2, 1.9), 0.45, 0.35)
    for i, title in enumerate(names):
        axes = page.cell(i, 0, str(title).split("\n")[0])
        for name, color in (("loss", "#888888"), ("score", AGAINST[0])):
            axes.plot(rows[f"{name}_history"][i], color=color, linewidth=1.4)
        best = int(rows["best_iteration"][i])
        least = rows["loss_history"][i][best]
        axes.plot([best], [least], "o", color=FOR[0], markersize=4)
        axes.tick_params(labelsize=7, length=2, color="#999999", labelcolor="#666666")
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color("#dddddd")
        axes.margins(x=0.01)
    _legend(page)
    return page.figure


def _legend(page: Any) -> None:
    y = 0.13 / page.height
    parts = (("loss", "#888888"), ("score", AGAINST[0]), ("what was taken", FOR[0]))
    for k, (name, color) in enumerate(parts):
        x = (figure_grid.EDGE + 0.45 + 0.8 * k) / page.width
        page.figure.text(x, y, f"● {name}", color=color, fontsize=8)
    page.figure.text(
        (figure_grid.EDGE + 4.6) / page.width,
        y,
        "step",
        color=figure_grid.PALE,
        fontsize=8,
    )


def _rows(e: Any) -> dict[str, np.ndarray]:
    """What is drawn, a row for each sample and target."""
    if "loss_history" not in e.extra:
        raise InputError(
            f"An explanation by {e.method!r} was not found by steps.",
            "one of the family perturbation",
            'tfxai.explain(model, x, "perturbation_cnn")',
        )
    x = np.asarray(e.inputs)
    targets = e.target.size // len(x)
    axes = e.target.ndim
    wanted = "perturbed score_before score_after l1 center_of_mass best_iteration"
    names = (*wanted.split(), "loss_history", "score_history")
    found = {k: np.asarray(e.extra[k]) for k in names}
    made = {k: v.reshape(-1, *v.shape[axes:]) for k, v in found.items()}
    map = np.asarray(e.heatmap())
    return {
        **made,
        "x": np.repeat(x, targets, 0),
        "map": map.reshape(-1, *map.shape[-2:]),
    }
