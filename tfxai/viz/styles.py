"""Heatmaps in the styles of `generateHeatmap` of the LEG repository, for comparison.

`tfxai.plot.overlay` is the standard drawing of this package.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.viz import figure_grid

#: Direction -> the part of the relevance that is drawn, as numbers >= 0.
DIRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "all": np.abs,
    "positive": lambda r: np.maximum(r, 0),
    "negative": lambda r: np.maximum(-r, 0),
}


def _heatmap_only(x: np.ndarray, part: np.ndarray) -> np.ndarray:
    return _colours("hot", part)


def _gray(x: np.ndarray, part: np.ndarray) -> np.ndarray:
    grey = np.repeat(x.mean(-1, keepdims=True), 3, -1)
    return 0.2 * grey + 0.8 * _colours("gray", part)


def _overlay(x: np.ndarray, part: np.ndarray) -> np.ndarray:
    return 0.5 * x + 0.5 * _colours("jet", part)


#: Style -> (function of an image and its relevance, both in [0, 1], that returns
#: colours (H, W, 3); the name of its colour map).
STYLES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], str]] = {
    "heatmap_only": (_heatmap_only, "hot"),
    "gray": (_gray, "gray"),
    "overlay": (_overlay, "jet"),
}


def _colours(name: str, values: np.ndarray) -> np.ndarray:
    """Return the colours (..., 3) of values in [0, 1] by a colour map of matplotlib."""
    import matplotlib

    colours: np.ndarray = matplotlib.colormaps[name](values)
    return colours[..., :3]


def styled(
    x: np.ndarray, relevance: Any, style: str = "overlay", direction: str = "all"
) -> Any:
    """Return a figure: relevance (H, W) in a style of the LEG repository.

    Args:
        x: The image (H, W, 3) in [0, 1]; see `tfxai.plot.image`.
        relevance: The relevance (H, W), channels reduced.
        style: "heatmap_only" (colour map hot), "gray" (over the grey image) or
            "overlay" (colour map jet).
        direction: "all" draws |relevance|, "positive" and "negative" only that part.

    Raises:
        InputError: The relevance does not have the size of the image.
        OptionError: `style` or `direction` is unknown.
    """
    relevance = np.asarray(relevance, float)
    if relevance.ndim != 2 or x.shape[:2] != relevance.shape:
        raise InputError(
            f"Relevance of shape {relevance.shape} with an image of {x.shape[:2]}.",
            "relevance (H, W) of the image's size",
            "styled(x[0], explanation.heatmap('abs_mean')[0])",
        )
    if style not in STYLES:
        raise OptionError(f"style={style!r}.", f"one of {list(STYLES)}")
    if direction not in DIRECTIONS:
        raise OptionError(f"direction={direction!r}.", f"one of {list(DIRECTIONS)}")
    part = DIRECTIONS[direction](relevance)
    largest = float(part.max())
    draw, colours = STYLES[style]
    height, width = relevance.shape
    scale = 3.4 / np.sqrt(height * width)
    grid = figure_grid.FigureGrid(1, 1, (width * scale, height * scale), bars=True)
    axes = grid.cell(0, 0, f"{direction}, largest {largest:.3g}")
    figure_grid.show_image(axes, draw(x, part / (largest or 1.0)))
    words = ("", {"all": "any sign", "positive": "for"}.get(direction, "against"))
    grid.bar(0, 0, lambda v: _colours(colours, v), largest or 1.0, False, words)
    return grid.figure
