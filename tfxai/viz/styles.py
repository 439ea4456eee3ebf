"""Pictures as the LEG repository's `generateHeatmap` draws them, for those who compare.

`tfxai.plot.overlay` is the house's own picture: one colour for, one against.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.viz import figure_grid

#: direction -> the part of a map that is shown, as numbers >= 0.
DIRECTIONS: dict[str, Callable] = {
    "all": np.abs,
    "positive": lambda m: np.maximum(m, 0),
    "negative": lambda m: np.maximum(-m, 0),
}


def _only(x: np.ndarray, part: np.ndarray) -> np.ndarray:
    return _colours("hot", part)


def _gray(x: np.ndarray, part: np.ndarray) -> np.ndarray:
    grey = np.repeat(x.mean(-1, keepdims=True), 3, -1)
    return 0.2 * grey + 0.8 * _colours("gray", part)


def _overlay(x: np.ndarray, part: np.ndarray) -> np.ndarray:
    return 0.5 * x + 0.5 * _colours("jet", part)


#: style -> colours (H, W, 3) of a picture and its map, both in [0, 1]; its colour map.
STYLES: dict[str, tuple[Callable, str]] = {
    "heatmap_only": (_only, "hot"),
    "gray": (_gray, "gray"),
    "overlay": (_overlay, "jet"),
}


def _colours(name: str, values: np.ndarray) -> np.ndarray:
    import matplotlib

    return matplotlib.colormaps[name](values)[..., :3]


def styled(
    x: np.ndarray, map: Any, style: str = "overlay", direction: str = "all"
) -> Any:
    """A figure: one map (H, W) in a style of the LEG repository, with its colour bar.

    x: the picture (H, W, 3) in [0, 1]; see `tfxai.plot.picture`.
    style: "heatmap_only" (hot), "gray" (over the grey picture) or "overlay" (jet).
    direction: "all" shows |map|, "positive" and "negative" that part alone.
    """
    map = np.asarray(map, float)
    if map.ndim != 2 or x.shape[:2] != map.shape:
        raise InputError(
            f"A map of shape {map.shape} with a picture of {x.shape[:2]}.",
            "a map (H, W) of the picture's size",
            "styled(x[0], explanation.heatmap('abs_mean')[0])",
        )
    if style not in STYLES:
        raise OptionError(f"style={style!r}.", f"one of {list(STYLES)}")
    if direction not in DIRECTIONS:
        raise OptionError(f"direction={direction!r}.", f"one of {list(DIRECTIONS)}")
    part = DIRECTIONS[direction](map)
    largest = float(part.max())
    draw, colours = STYLES[style]
    height, width = map.shape
    scale = 3.4 / np.sqrt(height * width)
    page = figure_grid.Sheet(1, 1, (width * scale, height * scale))
    axes = page.cell(0, 0, f"{direction}, largest {largest:.3g}")
    axes.imshow(np.clip(draw(x, part / (largest or 1.0)), 0, 1))
    axes.set_axis_off()
    page.legend(_colours(colours, np.linspace(0, 1, 100)), "0", "largest", 0)
    return page.figure
