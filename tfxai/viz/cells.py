"""Cells of a figure: the input, and the relevance of one target each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.viz import figure_grid
from tfxai.viz.colours import AGAINST, FOR, strengths, tinted
from tfxai.viz.overlays import outlined, overlay


def positions(x: np.ndarray) -> tuple[int, ...]:
    """Return the shape of one sample without channels."""
    if x.ndim not in KINDS:
        raise InputError(
            f"Inputs of shape {x.shape} cannot be drawn.",
            "images (B, H, W, C), series (B, L, C) or tables (B, F)",
            "explanation.heatmap()",
        )
    return x.shape[1:-1] if x.ndim > 2 else x.shape[1:]


def target_name(target: int, names: Any, extra: Mapping[str, Any]) -> str:
    """Return the name of a target.

    That is the class; "class 2 at (10, 10)" for an output with more axes, whose classes
    are the last one; or the name of a target function.

    Args:
        target: Index into the flattened output.
        names: The names of the classes, or None.
        extra: `Explanation.extra`.
    """
    if "target_function" in extra:
        return str(extra["target_function"])
    where = ""
    if "output_shape" in extra:
        shape = [int(n or 0) for n in np.asarray(extra["output_shape"], object)]
        *at, target = (int(i) for i in np.unravel_index(target, shape))
        where = f" at {tuple(at) if len(at) > 1 else at[0]}"
    known = names is not None and 0 <= target < len(names)
    return f"{names[target] if known else f'class {target}'}{where}"


def titles(
    targets: np.ndarray,
    scores: np.ndarray,
    names: Any,
    extra: Mapping[str, Any] | None = None,
) -> list[list[str]]:
    """Return the titles (B, T): the target, and the score on a second line."""

    def title(target: int, score: float) -> str:
        return f"{target_name(target, names, extra or {})}\nscore {score:.4g}"

    return [
        [title(int(t), float(s)) for t, s in zip(*pair, strict=True)]
        for pair in zip(targets, scores, strict=True)
    ]


def titles_with(names: Any) -> Callable[[Any], np.ndarray]:
    """Return the function e -> titles (B, T) with the given class names."""
    return lambda e: all_titles(e, names)


def all_titles(e: Any, names: Any) -> np.ndarray:
    """Return the titles (B, T) of an explanation."""
    shape = (len(np.asarray(e.inputs)), -1)
    rows = titles(e.target.reshape(shape), e.score.reshape(shape), names, e.extra)
    return np.array(rows, object)


def _overlays(
    cells: Sequence[Any], x: Any, heatmaps: Any, boxes: Any, features: Any
) -> None:
    """Draw an image, and an overlay per target."""
    figure_grid.show_image(cells[0], outlined(x, boxes))
    for axes, values in zip(cells[1:], heatmaps, strict=True):
        figure_grid.show_image(axes, overlay(x, values, boxes=boxes))


def _curves(
    cells: Sequence[Any], x: Any, heatmaps: Any, boxes: Any, features: Any
) -> None:
    """Draw the curve of every channel, coloured by the relevance of each position."""
    from matplotlib.collections import LineCollection

    zeros = np.zeros_like(heatmaps[0])
    for i, (axes, values) in enumerate(zip(cells, [zeros, *heatmaps], strict=True)):
        colours = tinted(np.full(values.shape, 0.75), strengths(values))
        for curve in np.asarray(x, np.float64).T:
            points = np.stack([np.arange(len(curve)), curve], -1)
            middle = (points[1:] + points[:-1]) / 2
            knots = np.concatenate([points[:1], middle, points[-1:]])
            parts = np.stack([knots[:-1], points, knots[1:]], 1)
            axes.add_collection(
                LineCollection(list(parts), colors=colours, linewidths=1.8)
            )
        axes.autoscale()
        _pale_axes(axes)
        axes.tick_params(left=i == 0, labelleft=i == 0)


def _bars(
    cells: Sequence[Any], x: Any, heatmaps: Any, boxes: Any, features: Any
) -> None:
    """Draw bars of the 20 features of the largest |relevance|, in the input's order."""
    chosen = np.sort(np.argsort(-np.abs(heatmaps).max(0), kind="stable")[:20])
    names = [
        figure_grid.shortened(str(i if features is None else features[i]), 1.2)
        for i in chosen
    ]
    at = np.arange(len(chosen))
    signs = [np.where(h[chosen, None] < 0, AGAINST[0], FOR[0]) for h in heatmaps]
    colours = ["#b8b8b8", *signs]
    for i, (axes, values) in enumerate(zip(cells, [x, *heatmaps], strict=True)):
        axes.barh(at, np.asarray(values)[chosen], color=colours[i], height=0.7)
        axes.axvline(0, color="#888888", linewidth=0.6)
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        _pale_axes(axes)
        axes.set_yticks(at if i == 0 else [], names if i == 0 else [], fontsize=8)


def _pale_axes(axes: Any) -> None:
    """Draw small ticks and a pale frame."""
    axes.tick_params(labelsize=7, length=2, color="#999999", labelcolor="#666666")
    axes.locator_params(nbins=4)
    for spine in axes.spines.values():
        spine.set_color("#dddddd")


def image_size(x: np.ndarray) -> tuple[float, float]:
    """Return (width, height) in inches of the image's aspect, about 2.6 per side."""
    height, width = x.shape[:2]
    scale = 2.6 / np.sqrt(height * width)
    return width * scale, height * scale


def _curve_size(x: np.ndarray) -> tuple[float, float]:
    return 3.6, 1.7


def _table_size(x: np.ndarray) -> tuple[float, float]:
    return 2.4, 0.3 + 0.2 * min(len(x), 20)


#: Number of axes of x -> (how its cells are drawn, their size in inches, free inches
#: for ticks to the left and below).
KINDS: dict[int, tuple[Callable[..., None], Callable[..., Any], float, float]] = {
    2: (_bars, _table_size, 1.2, 0.2),
    3: (_curves, _curve_size, 0.3, 0.2),
    4: (_overlays, image_size, 0.0, 0.0),
}
