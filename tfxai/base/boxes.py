"""Boxes of object detectors: their formats and their overlap."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError

Array = np.ndarray[Any, Any]
#: format -> (boxes (..., 4)) -> the corners x0, y0, x1, y1.
FORMATS: dict[str, Callable[[Array], list[Array]]] = {
    "xyxy": lambda b: [b[..., 0], b[..., 1], b[..., 2], b[..., 3]],
    "yxyx": lambda b: [b[..., 1], b[..., 0], b[..., 3], b[..., 2]],
    "xywh": lambda b: [
        b[..., 0], b[..., 1], b[..., 0] + b[..., 2], b[..., 1] + b[..., 3],
    ],
    "center_xywh": lambda b: [
        b[..., 0] - b[..., 2] / 2, b[..., 1] - b[..., 3] / 2,
        b[..., 0] + b[..., 2] / 2, b[..., 1] + b[..., 3] / 2,
    ],
}  # fmt: skip
RELATIVE = "rel_"


def corners(boxes: Any, box_format: str = "xyxy") -> Array:
    """Return boxes (..., 4) as x0, y0, x1, y1, in the units that they have.

    Args:
        boxes: The boxes.
        box_format: The name of an entry of `FORMATS`, also with "rel_" before it, for
            fractions of the image.

    Raises:
        InputError: They are no numbers (..., 4).
        OptionError: The format is unknown.
    """
    name = str(box_format).removeprefix(RELATIVE)
    if name not in FORMATS:
        raise OptionError(
            f"box_format={box_format!r}.",
            f'one of {list(FORMATS)}, with "rel_" before it for fractions of the image',
            'box_format="yxyx"',
        )
    try:
        array = np.asarray(boxes, float)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim < 1 or array.shape[-1] != 4:
        raise InputError(
            f"boxes={boxes!r}"[:200] + ".",
            "four numbers for each box, (n, 4)",
            "boxes=[[12, 30, 80, 95]]",
        )
    return np.stack(FORMATS[name](array), -1)


def overlaps(boxes: Array, others: Array) -> Array:
    """Return the intersection over union (n, m) of corners (n, 4) and (m, 4).

    It is 0 for boxes without an area, or that are not finite.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        low = np.maximum(boxes[:, None, :2], others[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
        inner = np.clip(high - low, 0, None).prod(-1)
        areas = [
            np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (boxes, others)
        ]
        union = areas[0][:, None] + areas[1] - inner
        found = np.where(union > 0, inner / union, 0.0)
    return np.nan_to_num(found, nan=0.0, posinf=0.0)
