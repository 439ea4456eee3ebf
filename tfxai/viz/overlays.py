"""Images and overlays as arrays: colours (H, W, 3) in [0, 1]."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.viz.colours import ramp, rgb, strengths

_BOX = rgb("ffd21f")[0]
_GREY = np.array([0.299, 0.587, 0.114])
#: How much of the image's brightness the heatmap covers by default.
ALPHA = 0.65

Box = Sequence[float]


def image(x: Any) -> np.ndarray:
    """Return an image of any range as colours (H, W, 3) in [0, 1], to be displayed.

    The ranges 0..255, 0..1 and -1..1 are detected from the values. Any other range (for
    example that of an image minus its mean) is stretched to [0, 1].

    Args:
        x: (H, W) or (H, W, C). One channel is grey; the fourth of four is dropped; any
            other number of channels except three is averaged.

    Raises:
        InputError: `x` has another shape, or no element.
    """
    x = np.asarray(x)
    if x.ndim not in (2, 3) or x.size == 0:
        raise InputError(f"An image of shape {x.shape}.", "(H, W) or (H, W, C)")
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
    x: Any,
    relevance: Any,
    limit: float | None = None,
    boxes: Sequence[Box] = (),
    alpha: float | None = None,
    cmap: Any = None,
    signed: bool | None = None,
) -> np.ndarray:
    """Return relevance in colours over the image in light grey, (H, W, 3).

    The values are in [0, 1]. Positive relevance is red, negative blue; larger values
    are more saturated. Hue and saturation depend on the relevance alone; the image only
    makes a colour lighter or darker.

    Args:
        x: The image (H, W) or (H, W, C); see `image`.
        relevance: The relevance (H, W), channels reduced.
        limit: The value of the full colour. None computes it by `limit_of`.
        boxes: Outlines to draw, each [y0, x0, y1, x1] in fractions of height and width.
        alpha: How much the heatmap covers the brightness of the image, 0 to 1; 1 draws
            the heatmap alone. None is 0.65.
        cmap: A colour map of matplotlib or its name; None is red, white and blue.
        signed: Draw 0 in the middle of `cmap`. None does so for negative relevance.

    Raises:
        InputError: The relevance does not have the size of the image.
        OptionError: An option is out of range.
    """
    colours, strength = image(x), strengths(relevance, limit)
    if colours.shape[:2] != strength.shape:
        raise InputError(
            f"Relevance of shape {strength.shape} over an image of "
            f"{colours.shape[:2]}.",
            "relevance (H, W) of the image's size",
            "overlay(x[0], explanation.heatmap()[0])",
        )
    covered = ALPHA if alpha is None else alpha
    check_alpha(covered)
    signed = bool((strength < 0).any()) if signed is None else signed
    light = covered + (1 - covered) * (colours @ _GREY)
    found = ramp(cmap, signed)(strength) * light[..., None]
    missing = np.isnan(strength)
    found[missing] = ramp(None, True)(np.full(int(missing.sum()), np.nan))
    return outlined(found, boxes)


def enlarged(relevance: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the map (h, w) of a layer in the size of an image (H, W, C), linearly."""
    from scipy.ndimage import zoom

    scale = [a / b for a, b in zip(x.shape[:2], relevance.shape, strict=True)]
    values = relevance.astype(np.float64)
    return np.asarray(zoom(values, scale, order=1, grid_mode=True, mode="nearest"))


def check_alpha(alpha: Any) -> None:
    """Raise OptionError unless it is a number from 0 to 1."""
    number = isinstance(alpha, int | float | np.number) and alpha is not True
    if not number or not 0 <= alpha <= 1:
        raise OptionError(f"alpha={alpha!r}.", "a number from 0 to 1, or None")


def outlined(x: Any, boxes: Sequence[Box]) -> np.ndarray:
    """Return the image with yellow outlines of boxes, one pixel wide.

    Args:
        x: The image (H, W) or (H, W, C); see `image`.
        boxes: Each [y0, x0, y1, x1] in fractions of height and width.
    """
    colours = image(x)
    height, width = colours.shape[:2]
    for box in boxes:
        corners = np.asarray(box) * [height, width, height, width]
        top, left, bottom, right = np.round(corners).astype(int)
        last = np.clip([bottom - 1, right - 1], 0, [height - 1, width - 1])
        first = np.clip([top, left], 0, last)
        colours[[first[0], last[0]], first[1] : last[1] + 1] = _BOX
        colours[first[0] : last[0] + 1, [first[1], last[1]]] = _BOX
    return colours
