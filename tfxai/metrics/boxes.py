"""Boxes and masks that mark the object in an image."""

from typing import Any

import numpy as np

from tfxai.base.errors import InputError


def masks_from_boxes(boxes: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return one boolean mask per sample, (B, H, W).

    A pixel lies in a box if its centre does.

    Args:
        boxes: Boxes as fractions of the image. One [y0, x0, y1, x1] or a list of them
            for each sample; or masks (B, H, W) of bool, which are returned as they are.
        shape: Shape of the heatmaps, (B, H, W).

    Raises:
        InputError: The boxes do not fit the shape, or a mask is empty.
    """
    if getattr(boxes, "dtype", np.dtype(object)).kind == "b":
        masks = np.asarray(boxes)
    else:
        if len(boxes) != shape[0]:
            raise _box_error(f"boxes for {len(boxes)} sample(s), of {shape[0]}")
        masks = np.array([_mask(given, *shape[1:]) for given in boxes])
    if masks.shape != shape:
        raise _box_error(f"masks of shape {masks.shape} for heatmaps of shape {shape}")
    empty = np.flatnonzero(~masks.any((1, 2)))
    if len(empty):
        raise _box_error(f"no pixel in the box of sample(s) {empty[:5].tolist()}")
    return masks


def _mask(boxes: Any, height: int, width: int) -> np.ndarray:
    """Return the mask (H, W) of one sample's boxes."""
    y0, x0, y1, x1 = _corners(boxes)
    rows, columns = (np.arange(n)[:, None] + 0.5 for n in (height, width))
    tall = (rows >= y0 * height) & (rows < y1 * height)
    wide = (columns >= x0 * width) & (columns < x1 * width)
    mask: np.ndarray = (tall[:, None] & wide[None]).any(-1)
    return mask


def _corners(boxes: Any) -> np.ndarray:
    """Return y0, x0, y1 and x1 of one sample's boxes, (4, n)."""
    try:
        corners = np.atleast_2d(np.asarray(boxes, float)).T
    except (ValueError, TypeError, OverflowError):
        raise _box_error(f"{boxes!r}") from None
    shaped = corners.ndim == 2 and len(corners) == 4 and corners.size
    inside = shaped and corners.min() >= 0 and corners.max() <= 1
    if not inside or not (corners[2:] > corners[:2]).all():
        raise _box_error(f"{boxes!r}")
    return corners


def _box_error(seen: str) -> InputError:
    return InputError(
        f"boxes: {seen}.",
        "[y0, x0, y1, x1] in fractions of the image for each sample, or masks "
        "(B, H, W) of bool, none of them empty",
        "boxes=[[0.25, 0.1, 0.75, 0.5], ...]",
    )
