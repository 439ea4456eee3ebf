"""Figures of explanations of boxes."""

from typing import Any

import numpy as np

from tfxai.base.boxes import RELATIVE, corners
from tfxai.base.errors import InputError
from tfxai.viz import figure_grid
from tfxai.viz.cells import image_size
from tfxai.viz.overlays import overlay


def fractions(
    boxes: Any, shape: tuple[int, ...], box_format: str = "xyxy"
) -> np.ndarray:
    """Return boxes (N, 4) as y0, x0, y1, x1 in fractions of height and width.

    Args:
        boxes: The boxes, in pixels, or in fractions where the format says "rel_".
        shape: The shape of the image, (H, W, ...).
        box_format: "xyxy", "yxyx", "xywh" or "center_xywh", with or without "rel_".
    """
    found = corners(np.atleast_2d(np.asarray(boxes)), box_format)[:, [1, 0, 3, 2]]
    size = np.array([*shape[:2], *shape[:2]])
    return found if box_format.startswith(RELATIVE) else found / size


def boxes_of(
    e: Any, boxes: Any, titles: np.ndarray, box_format: str, heatmaps: np.ndarray
) -> Any:
    """Return a figure: each image with the relevance and the box of its target.

    Args:
        e: An `Explanation` of images.
        boxes: (N, 4); the box of target i is the i-th one, or the only one.
        titles: (B, T), the titles of the targets.
        box_format: See `fractions`.
        heatmaps: The relevance (B, T, H, W), channels reduced.
    """
    x = np.asarray(e.inputs)
    if x.ndim != 4:
        raise InputError(
            f"Boxes in inputs of shape {x.shape}.", "an explanation of images"
        )
    every = fractions(boxes, x.shape[1:], box_format)
    target = np.asarray(e.target).reshape(len(x), -1)
    grid = figure_grid.FigureGrid(*target.shape, image_size(x[0]), heading=e.method)
    for at, number in np.ndenumerate(target):
        if not len(every) == 1 and not 0 <= number < len(every):
            raise InputError(
                f"Target {number} of {len(every)} boxes.",
                "a box for each target, or one",
                "boxes=boxes[:1]",
            )
        own = every[number] if len(every) > 1 else every[0]
        drawn = overlay(x[at[0]], heatmaps[at], boxes=[own])
        figure_grid.show_image(grid.cell(at[0], at[1], str(titles[at])), drawn)
    return grid.figure
