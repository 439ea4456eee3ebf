"""The best superpixels of an explanation, drawn alone, as LIME's pages do."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.base.validation import whole_number
from tfxai.viz import figure_grid
from tfxai.viz.colours import inked

#: Pictures are drawn at about this size at least.
SIDE = 256
_GREY = np.array([0.299, 0.587, 0.114])


def best(
    coefficients: np.ndarray, segments: np.ndarray, top: int, positive_only: bool = True
) -> np.ndarray:
    """1 on the `top` segments that speak most for, -1 against, 0 elsewhere, (...).

    coefficients: (d,), NaN behind the last; segments: (...) numbers. positive_only: the
    largest coefficients above 0, else the largest in size.
    """
    values = coefficients[np.isfinite(coefficients)]
    order = np.argsort(-(values if positive_only else np.abs(values)), kind="stable")
    chosen = [i for i in order[:top] if values[i] > 0 or not positive_only]
    signs = np.zeros(len(values), int)
    signs[chosen] = np.sign(values[chosen])
    return signs[segments]


def superpixels(
    pictures: list[np.ndarray],
    e: Any,
    titles: np.ndarray,
    top: int = 4,
    positive_only: bool = True,
    hide_rest: bool = True,
) -> Any:
    """A figure: each picture with its segments' borders, then the best ones alone.

    pictures: (H, W, 3) in [0, 1], one for each sample. titles: (B, T).
    """
    _check(e, top)
    coefficients = np.asarray(e.extra["coefficients"])
    segments = np.asarray(e.extra["segments"])
    coefficients = coefficients.reshape(len(pictures), -1, coefficients.shape[-1])
    height, width = segments.shape[1:]
    scale = 2.6 / np.sqrt(height * width)
    size = width * scale, height * scale
    page = figure_grid.Sheet(
        len(pictures), 1 + coefficients.shape[1], size, legend=not positive_only
    )
    for row, (x, at, values) in enumerate(
        zip(pictures, segments, coefficients, strict=True)
    ):
        _show(page.cell(row, 0, f"{at.max() + 1} segments"), _bordered(x, at))
        for i, v in enumerate(values):
            signs = best(v, at, top, positive_only)
            shown = _alone(x, signs, hide_rest)
            _show(page.cell(row, 1 + i, titles[row, i]), _bordered(shown, signs))
    if not positive_only:
        ramp = inked(np.full(100, 0.8), np.repeat([-0.6, 0.6], 50))
        page.legend(ramp, "against", "for", 1)
    return page.figure


def _alone(x: np.ndarray, signs: np.ndarray, hide_rest: bool) -> np.ndarray:
    grey = np.repeat((x @ _GREY)[..., None], 3, -1)
    rest = np.full_like(x, 0.93) if hide_rest else 0.6 + 0.4 * grey
    made = np.where((signs > 0)[..., None], x, rest)
    if (signs < 0).any():
        against = inked(0.3 + 0.7 * (x @ _GREY), np.full(signs.shape, -0.4))
        made = np.where((signs < 0)[..., None], against, made)
    return made


def _bordered(x: np.ndarray, segments: np.ndarray) -> np.ndarray:
    from skimage.segmentation import mark_boundaries

    times = max(1, round(SIDE / max(segments.shape)))  # or lines hide a small picture
    x, segments = (v.repeat(times, 0).repeat(times, 1) for v in (x, segments))
    return mark_boundaries(x, segments, color=(1.0, 0.82, 0.12), mode="inner")


def _show(axes: Any, colours: np.ndarray) -> None:
    axes.imshow(np.clip(colours, 0, 1))
    axes.set_axis_off()


def _check(e: Any, top: int) -> None:
    names: Sequence[str] = ("segments", "coefficients")
    if any(n not in e.extra for n in names) or np.ndim(e.extra["segments"]) != 3:
        raise InputError(
            f"An explanation by {e.method!r} has no superpixels.",
            "one of pictures, by a method that covers segments",
            'tfxai.explain(model, x, "lime")',
        )
    whole_number("top", top, 1)
