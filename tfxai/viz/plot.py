"""Pictures of explanations, as arrays and as figures: returned, never shown.

Red speaks for the class, blue against it, everywhere. `picture`, `heatmap`, `overlay`
and `outlined` are arrays in, arrays out; `explanation` and `grid` return a
`matplotlib.figure.Figure`, which a notebook shows and `figure.savefig(path)` writes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.viz import figure_grid, perturbed, randomised, styles
from tfxai.viz import superpixels as superpixel
from tfxai.viz.colours import AGAINST, FOR, heatmap, inked, limit_of, rgb, strengths

_BOX = rgb("ffd21f")[0]
_GREY = np.array([0.299, 0.587, 0.114])

Box = Sequence[float]
__all__ = [
    "explanation",
    "grid",
    "heatmap",
    "history",
    "limit_of",
    "outlined",
    "overlay",
    "perturbation",
    "picture",
    "randomisation",
    "randomisation_curve",
    "styled",
    "superpixels",
]


def picture(x: Any) -> np.ndarray:
    """(H, W), (H, W, C) of any range -> (H, W, 3) in [0, 1], to be looked at.

    Ranges 0..255, 0..1 and -1..1 are known by their values; any other (a picture minus
    its mean) is stretched to [0, 1]. One channel is grey, other than 3 or 4 their mean.
    """
    x = np.asarray(x)
    if x.ndim not in (2, 3) or x.size == 0:
        raise InputError(f"A picture of shape {x.shape}.", "(H, W) or (H, W, C)")
    values = np.nan_to_num(x.astype(np.float64))
    low, high = values.min(), values.max()
    if x.dtype == np.uint8 or (low >= 0 and 1 < high <= 255):
        values = values / 255
    elif low < 0 and low >= -1 and high <= 1:
        values = (values + 1) / 2
    elif low < 0 or high > 1:
        values = (values - low) / max(high - low, 1e-12)
    if values.ndim == 3 and values.shape[-1] not in (3, 4):
        values = values.mean(-1)
    return np.dstack([values] * 3) if values.ndim == 2 else values[..., :3]


def overlay(
    x: Any, map: Any, limit: float | None = None, boxes: Sequence[Box] = ()
) -> np.ndarray:
    """The picture in light grey under its map (H, W): (H, W, 3) in [0, 1].

    Red is for, blue against; the stronger, the more opaque. limit: see `limit_of`.
    boxes: outlines, [y0, x0, y1, x1] each, as fractions of height and width.
    """
    shown, strength = picture(x), strengths(map, limit)
    if shown.shape[:2] != strength.shape:
        raise InputError(
            f"A map of shape {strength.shape} over a picture of {shown.shape[:2]}.",
            "a map (H, W) of the picture's size",
            "overlay(x[0], explanation.heatmap()[0])",
        )
    light = 0.6 + 0.4 * (shown @ _GREY)
    return outlined(inked(light, strength), boxes)


def outlined(x: Any, boxes: Sequence[Box]) -> np.ndarray:
    """The picture with thin outlines of boxes; see `overlay`."""
    made = picture(x)
    height, width = made.shape[:2]
    for box in boxes:
        corners = np.asarray(box) * [height, width, height, width]
        top, left, bottom, right = np.round(corners).astype(int)
        last = np.clip([bottom - 1, right - 1], 0, [height - 1, width - 1])
        first = np.clip([top, left], 0, last)
        made[[first[0], last[0]], first[1] : last[1] + 1] = _BOX
        made[first[0] : last[0] + 1, [first[1], last[1]]] = _BOX
    return made


def explanation(
    e: Any,
    reduce: str = "own",
    names: Sequence[str] | None = None,
    columns: Any = None,
    which: int = 0,
    boxes: Sequence[Sequence[Box]] | None = None,
    features: Sequence[str] | None = None,
) -> Any:
    """Draw an `Explanation`: a row per sample, its input, then a column per target.

    Pictures (B, H, W, C) get overlays, series (B, L, C) coloured curves, tables (B, F)
    bars (the 20 strongest features). Each map has its own limit; see `limit_of`.

    reduce: how channels become one; see `Explanation.heatmap`.
    names: the classes' names, by index, for the titles.
    columns: titles instead, (T,) or (B, T); a second line is small.
    which: the input of the model, where it has several.
    boxes: for each sample a list of outlines; see `overlay`.
    features: the names of a table's columns.
    """
    x = e.seen(which)
    targets = e.target.reshape(len(x), -1)
    maps = np.asarray(e.heatmap(reduce, which)).reshape(*targets.shape, *_space(x))
    if columns is None:
        columns = _titles(targets, e.score.reshape(targets.shape), names)
    titles = np.broadcast_to(np.asarray(columns, object), targets.shape)
    draw, size, left, below = _KINDS[x.ndim]
    page = figure_grid.Sheet(len(x), 1 + targets.shape[1], size(x[0]), left, below)
    for row in range(len(x)):
        texts = ["input", *titles[row]]
        cells = [page.cell(row, i, text) for i, text in enumerate(texts)]
        draw(cells, x[row], maps[row], boxes[row] if boxes else (), features)
    signed = bool((maps < 0).any())
    ramp = inked(np.full(100, 0.8), np.linspace(-1.0 if signed else 0.0, 1, 100))
    page.legend(ramp, "against" if signed else "little", "for" if signed else "much", 1)
    return page.figure


def grid(
    rows: Sequence[Sequence[Any]],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
) -> Any:
    """A figure of pictures (H, W) or (H, W, C), row by row; None leaves a gap."""
    first = next(p for row in rows for p in row if p is not None)
    wide = max(len(row) for row in rows)
    left = figure_grid.NAMES if row_names else 0.0
    size = _picture_size(np.asarray(first))
    page = figure_grid.Sheet(len(rows), wide, size, left, titled=False, legend=False)
    for i, row in enumerate(rows):
        for j, x in enumerate(row):
            title = column_names[j] if i == 0 and column_names else ""
            if x is not None:
                _show(page.cell(i, j, title), picture(x))
        if row_names:
            page.name(i, row_names[i])
    return page.figure


def styled(x: Any, map: Any, style: str = "overlay", direction: str = "all") -> Any:
    """A map as the LEG repository's `generateHeatmap` draws it; see `viz.styles`.

    x: a picture of any range. style: "heatmap_only", "gray" or "overlay". direction:
    "all", "positive" or "negative".
    """
    return styles.styled(picture(x), map, style, direction)


def superpixels(
    e: Any,
    top: int = 4,
    positive_only: bool = True,
    hide_rest: bool = True,
    names: Sequence[str] | None = None,
) -> Any:
    """Draw the borders of the segments, and the `top` best ones alone.

    e: an `Explanation` of pictures by "lime", "kernel_shap" or another method that
        covers segments; a row per sample, a column per target.
    positive_only: those that speak most for the class; else the strongest, those
        against it in blue.
    hide_rest: leave the rest of the picture out, else show it pale.
    names: the classes' names, by index.
    """
    x, titles = np.asarray(e.inputs), _all_titles(e, names)
    shown = [picture(v) for v in x] if x.ndim == 4 else []
    return superpixel.superpixels(shown, e, titles, top, positive_only, hide_rest)


def perturbation(e: Any, names: Sequence[str] | None = None) -> Any:
    """Draw the input, the perturbed one, and the difference with its centre of mass.

    e: an `Explanation` by "perturbation_cnn" or another method of its family. names:
    the classes' names, by index, for the titles.
    """
    return perturbed.perturbation(e, _titled(names), picture, overlay)


def history(e: Any, names: Sequence[str] | None = None) -> Any:
    """Draw the loss and the score at every step; arguments as of `perturbation`."""
    return perturbed.history(e, _titled(names))


def randomisation(r: Any, x: Any, columns: int = 8) -> Any:
    """Draw the map of a trained network, and what it becomes as the network forgets.

    r: what `metrics.randomisation.randomisation` returned for pictures x (B, H, W, C),
    of which the first few will do. columns: how many stages at most. A map that stays
    the same shows the picture, not the network.
    """
    x = np.asarray(x)
    if x.ndim != 4 or len(x) > len(r.original) or x.shape[1:3] != r.original.shape[1:]:
        raise InputError(
            f"Pictures of shape {x.shape} for maps of shape {r.original.shape}.",
            "those that were explained",
        )
    return randomised.strip(r, [picture(v) for v in x], overlay, columns)


def randomisation_curve(r: Any) -> Any:
    """Draw how like the first map each stage is; see `randomisation`."""
    return randomised.curve(r)


# -- cells: the input, and one map per target ----------------------------------------


def _space(x: np.ndarray) -> tuple[int, ...]:
    """The shape of one reduced map."""
    if x.ndim not in _KINDS:
        raise InputError(
            f"Inputs of shape {x.shape} have no drawing.",
            "pictures (B, H, W, C), series (B, L, C) or tables (B, F)",
            "explanation.heatmap()",
        )
    return x.shape[1:-1] if x.ndim > 2 else x.shape[1:]


def _titles(targets: np.ndarray, scores: np.ndarray, names: Any) -> list[list[str]]:
    def title(target: int, score: float) -> str:
        known = names is not None and 0 <= target < len(names)
        return f"{names[target] if known else f'class {target}'}\nscore {score:.4g}"

    return [
        [title(int(t), float(s)) for t, s in zip(*pair, strict=True)]
        for pair in zip(targets, scores, strict=True)
    ]


def _titled(names: Any) -> Callable:
    return lambda e: _all_titles(e, names)


def _all_titles(e: Any, names: Any) -> np.ndarray:
    """(B, T) titles of an explanation."""
    shape = (len(np.asarray(e.inputs)), -1)
    titles = _titles(e.target.reshape(shape), e.score.reshape(shape), names)
    return np.array(titles, object)


def _show(axes: Any, colours: np.ndarray) -> None:
    axes.imshow(np.clip(colours, 0, 1))
    axes.set_axis_off()


def _pictures(cells: list, x: Any, maps: Any, boxes: Any, features: Any) -> None:
    _show(cells[0], outlined(x, boxes))
    for axes, map in zip(cells[1:], maps, strict=True):
        _show(axes, overlay(x, map, boxes=boxes))


def _curves(cells: list, x: Any, maps: Any, boxes: Any, features: Any) -> None:
    """Every channel's curve, in the colours of its positions."""
    from matplotlib.collections import LineCollection

    plain = np.zeros_like(maps[0])
    for i, (axes, map) in enumerate(zip(cells, [plain, *maps], strict=True)):
        colours = inked(np.full(map.shape, 0.75), strengths(map))
        for curve in np.asarray(x, np.float64).T:
            points = np.stack([np.arange(len(curve)), curve], -1)
            middle = (points[1:] + points[:-1]) / 2
            knots = np.concatenate([points[:1], middle, points[-1:]])
            parts = np.stack([knots[:-1], points, knots[1:]], 1)
            axes.add_collection(
                LineCollection(list(parts), colors=colours, linewidths=1.8)
            )
        axes.autoscale()
        _bare(axes)
        axes.tick_params(left=i == 0, labelleft=i == 0)


def _bars(cells: list, x: Any, maps: Any, boxes: Any, features: Any) -> None:
    """The 20 features of the largest |map|, in the input's order."""
    chosen = np.sort(np.argsort(-np.abs(maps).max(0), kind="stable")[:20])
    names = [
        figure_grid.fitting(str(i if features is None else features[i]), 1.2)
        for i in chosen
    ]
    at = np.arange(len(chosen))
    signs = [np.where(m[chosen, None] < 0, AGAINST[0], FOR[0]) for m in maps]
    colours = ["#b8b8b8", *signs]
    for i, (axes, values) in enumerate(zip(cells, [x, *maps], strict=True)):
        axes.barh(at, np.asarray(values)[chosen], color=colours[i], height=0.7)
        axes.axvline(0, color="#888888", linewidth=0.6)
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        _bare(axes)
        axes.set_yticks(at if i == 0 else [], names if i == 0 else [], fontsize=8)


def _bare(axes: Any) -> None:
    axes.tick_params(labelsize=7, length=2, color="#999999", labelcolor="#666666")
    axes.locator_params(nbins=4)
    for spine in axes.spines.values():
        spine.set_color("#dddddd")


def _picture_size(x: np.ndarray) -> tuple[float, float]:
    """Inches, (width, height): about 2.6 to a side, of the picture's aspect."""
    height, width = x.shape[:2]
    scale = 2.6 / np.sqrt(height * width)
    return width * scale, height * scale


def _curve_size(x: np.ndarray) -> tuple[float, float]:
    return 3.6, 1.7


def _table_size(x: np.ndarray) -> tuple[float, float]:
    return 2.4, 0.3 + 0.2 * min(len(x), 20)


#: axes of x -> how its cells are drawn, their size in inches, the room for ticks beside
#: and below them.
_KINDS: dict[int, tuple[Callable, Callable, float, float]] = {
    2: (_bars, _table_size, 1.2, 0.2),
    3: (_curves, _curve_size, 0.3, 0.2),
    4: (_pictures, _picture_size, 0.0, 0.0),
}
