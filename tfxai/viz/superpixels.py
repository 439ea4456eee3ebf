"""Figures of the best superpixels of an explanation, as LIME draws them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.base.validation import whole_number
from tfxai.viz import figure_grid
from tfxai.viz.colours import NEGATIVE
from tfxai.viz.look import PALE, SUB

#: Images are enlarged to about this side, in pixels.
SIDE = 256
_GREY = np.array([0.299, 0.587, 0.114])


def best_segments(
    coefficients: np.ndarray, segments: np.ndarray, top: int, positive_only: bool = True
) -> np.ndarray:
    """Return 1 on the best positive segments, -1 on the best negative ones, else 0.

    Args:
        coefficients: (d,), one for each segment, padded with NaN.
        segments: The number of the segment at each position, (...).
        top: How many segments are chosen.
        positive_only: Choose the largest coefficients above 0. False chooses those of
            the largest absolute value.
    """
    values = coefficients[np.isfinite(coefficients)]
    order = np.argsort(-(values if positive_only else np.abs(values)), kind="stable")
    chosen = [i for i in order[:top] if values[i] > 0 or not positive_only]
    signs = np.zeros(len(values), int)
    signs[chosen] = np.sign(values[chosen])
    on_segments: np.ndarray = signs[segments]
    return on_segments


def superpixels(
    images: list[np.ndarray],
    e: Any,
    titles: np.ndarray,
    top: int = 4,
    positive_only: bool = True,
    hide_rest: bool = True,
) -> Any:
    """Return a figure: each image with the borders of its segments, then the best ones.

    Args:
        images: (H, W, 3) in [0, 1], one for each sample.
        e: An `Explanation` with `segments` and `coefficients` in `extra`.
        titles: (B, T), the titles of the targets.
        top: How many segments are drawn.
        positive_only: See `best_segments`.
        hide_rest: Draw the other segments in a uniform grey. False draws them pale.
    """
    _check_superpixels(e, top)
    coefficients = np.asarray(e.extra["coefficients"])
    segments = np.asarray(e.extra["segments"])
    coefficients = coefficients.reshape(len(images), -1, coefficients.shape[-1])
    height, width = segments.shape[1:]
    scale = 2.6 / np.sqrt(height * width)
    size = width * scale, height * scale
    grid = figure_grid.FigureGrid(
        len(images), 1 + coefficients.shape[1], size, heading=e.method,
        foot=0.0 if positive_only else 0.3,
    )  # fmt: skip
    for row, (x, at, values) in enumerate(
        zip(images, segments, coefficients, strict=True)
    ):
        figure_grid.show_image(
            grid.cell(row, 0, f"{at.max() + 1} segments"), _with_borders(x, at)
        )
        for i, v in enumerate(values):
            signs = best_segments(v, at, top, positive_only)
            drawn = _only_signed(x, signs, hide_rest)
            figure_grid.show_image(
                grid.cell(row, 1 + i, titles[row, i]), _with_borders(drawn, signs)
            )
    if not positive_only:
        text = "in its own colours: for the class; in blue: against it"
        grid.text(figure_grid.EDGE, grid.height - 0.16, text, PALE, SUB)
    return grid.figure


def _only_signed(x: np.ndarray, signs: np.ndarray, hide_rest: bool) -> np.ndarray:
    """Return the image with signs 0 hidden or pale and signs -1 in blue."""
    grey = np.repeat((x @ _GREY)[..., None], 3, -1)
    rest = np.full_like(x, 0.93) if hide_rest else 0.6 + 0.4 * grey
    drawn = np.where((signs > 0)[..., None], x, rest)
    if (signs < 0).any():
        light = 0.3 + 0.7 * (x @ _GREY)
        against = 0.55 * light[..., None] + 0.45 * NEGATIVE
        drawn = np.where((signs < 0)[..., None], against, drawn)
    return drawn


def _with_borders(x: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return the image, enlarged to about `SIDE`, with lines between its segments."""
    from skimage.segmentation import mark_boundaries

    times = max(1, round(SIDE / max(segments.shape)))  # else lines hide small images
    x, segments = (v.repeat(times, 0).repeat(times, 1) for v in (x, segments))
    mark: Any = mark_boundaries
    marked: np.ndarray = mark(x, segments, color=(1.0, 0.82, 0.12), mode="inner")
    return marked


def _check_superpixels(e: Any, top: int) -> None:
    """Raise InputError without segments of images, OptionError for an invalid `top`."""
    names: Sequence[str] = ("segments", "coefficients")
    if any(n not in e.extra for n in names) or np.ndim(e.extra["segments"]) != 3:
        raise InputError(
            f"An explanation by {e.method!r} has no superpixels.",
            "one of images, by a method that masks segments",
            'tfxai.explain(model, x, "lime")',
        )
    whole_number("top", top, 1)
