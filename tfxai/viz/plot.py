"""Drawings of explanations, as arrays and as figures. They are returned, not shown.

Red is relevance for the target, blue relevance against it; people who do not see red or
green distinguish the two. `image`, `heatmap`, `overlay` and `outlined` take and return
arrays, `text` returns HTML. The other functions return a `matplotlib.figure.Figure`,
which a notebook shows and `figure.savefig(path)` writes.

Figures of explanations share these options: `title` (None: the method), `ax` (axes of
the caller), `cmap`, `alpha`, `limit` (the value of the full colour: None, "shared" or a
number) and `figsize` (inches).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.viz import (
    cells,
    detections,
    figure_grid,
    perturbed,
    randomised,
    styles,
)
from tfxai.viz import superpixels as superpixel
from tfxai.viz.colours import heatmap, limit_of
from tfxai.viz.figures import explanation, series, text
from tfxai.viz.look import SUB, width_of
from tfxai.viz.overlays import image, outlined, overlay
from tfxai.viz.panel import drawn_heatmap
from tfxai.viz.table_figures import beeswarm, importance, scatter, waterfall
from tfxai.viz.text_figures import generated, strongest

__all__ = [
    "beeswarm",
    "boxes",
    "explanation",
    "generated",
    "grid",
    "heatmap",
    "history",
    "image",
    "importance",
    "limit_of",
    "outlined",
    "overlay",
    "perturbation",
    "randomisation",
    "randomisation_curve",
    "scatter",
    "series",
    "strongest",
    "styled",
    "superpixels",
    "text",
    "waterfall",
]


def grid(
    rows: Sequence[Sequence[Any]],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
) -> Any:
    """Return a figure of images in rows and columns.

    Args:
        rows: Images (H, W) or (H, W, C), row by row. None leaves a cell empty.
        row_names: The names of the rows.
        column_names: The names of the columns.
    """
    first = next(p for row in rows for p in row if p is not None)
    columns = max(len(row) for row in rows)
    left = _space_for(row_names)
    size = cells.image_size(np.asarray(first))
    page = figure_grid.FigureGrid(len(rows), columns, size, left, titled=False)
    for i, row in enumerate(rows):
        for j, x in enumerate(row):
            title = column_names[j] if i == 0 and column_names else ""
            if x is not None:
                figure_grid.show_image(page.cell(i, j, title), image(x))
        if row_names:
            page.name(i, row_names[i])
    return page.figure


def _space_for(row_names: Sequence[str]) -> float:
    """Return the inches that the names of the rows take, within bounds."""
    if not row_names:
        return 0.0
    widest = max(width_of(name, SUB) for name in row_names) + 0.2
    return min(max(widest, figure_grid.NAMES), 2 * figure_grid.NAMES)


def styled(
    x: Any, relevance: Any, style: str = "overlay", direction: str = "all"
) -> Any:
    """Draw relevance as `generateHeatmap` of the LEG repository does.

    Args:
        x: The image (H, W) or (H, W, C) of any range.
        relevance: The relevance (H, W), channels reduced.
        style: "heatmap_only" (colour map hot), "gray" (over the grey image) or
            "overlay" (colour map jet).
        direction: "all" draws |relevance|, "positive" and "negative" only that part.

    Raises:
        InputError: The relevance does not have the size of the image.
        OptionError: `style` or `direction` is unknown.
    """
    return styles.styled(image(x), relevance, style, direction)


def boxes(
    e: Any,
    boxes: Any,
    box_format: str = "xyxy",
    names: Sequence[str] | None = None,
) -> Any:
    """Draw the relevance of boxes of a detector over each image, with the box.

    Args:
        e: An `Explanation` of images, by "d_rise" or of one box's score. The figure has
            a row per sample, a column per target.
        boxes: The explained boxes, (N, 4): that of target i is the i-th, or the only
            one.
        box_format: "xyxy", "yxyx", "xywh" or "center_xywh", in pixels; "rel_xyxy",
            "rel_yxyx" and so on, in fractions of the image.
        names: The names of the boxes by index, for the titles.

    Raises:
        InputError: The explanation is none of images, or has a target without a box.
        OptionError: The format is unknown.
    """
    heatmaps = drawn_heatmap(e)
    shape = (len(e), -1, *heatmaps.shape[-2:])
    titles = cells.all_titles(e, names)
    return detections.boxes_of(e, boxes, titles, box_format, heatmaps.reshape(shape))


def superpixels(
    e: Any,
    top: int = 4,
    positive_only: bool = True,
    hide_rest: bool = True,
    names: Sequence[str] | None = None,
) -> Any:
    """Draw the borders of all segments, and beside them only the `top` best segments.

    Args:
        e: An `Explanation` of images by "lime", "kernel_shap" or another method that
            masks segments. The figure has a row per sample, a column per target.
        top: How many segments are drawn.
        positive_only: Draw the segments of the largest positive coefficients. False
            draws those of the largest absolute value, negative ones in blue.
        hide_rest: Hide the other segments. False draws them pale.
        names: The class names by index, for the titles.

    Raises:
        InputError: The explanation has no segments of images.
    """
    titles, x = cells.all_titles(e, names), np.asarray(e.inputs)
    images = [image(v) for v in x] if x.ndim == 4 else []
    return superpixel.superpixels(images, e, titles, top, positive_only, hide_rest)


def perturbation(e: Any, names: Sequence[str] | None = None) -> Any:
    """Draw the input, the perturbed input, and their difference or the mask.

    A cross marks the centre of mass of the difference or the mask.

    Args:
        e: An `Explanation` by "perturbation_cnn" or another method of its family.
        names: The class names by index, for the titles.

    Raises:
        InputError: The method is not one of the family perturbation.
    """
    return perturbed.perturbation(e, cells.titles_with(names), image, overlay)


def history(e: Any, names: Sequence[str] | None = None) -> Any:
    """Draw the loss and the score at every iteration of the optimisation.

    Args:
        e: An `Explanation` by "perturbation_cnn" or another method of its family.
        names: The class names by index, for the titles.

    Raises:
        InputError: The method is not one of the family perturbation.
    """
    return perturbed.history(e, cells.titles_with(names))


def randomisation(r: Any, x: Any, columns: int = 8) -> Any:
    """Draw heatmaps of a network while its weights are randomised layer by layer.

    A heatmap that does not change shows the image, not what the network has learned.

    Args:
        r: The value of `metrics.randomisation.randomisation`.
        x: The explained images (B, H, W, C), or the first few of them.
        columns: The maximum number of stages that are drawn.

    Raises:
        InputError: `x` does not fit the heatmaps of `r`.
    """
    x = np.asarray(x)
    if x.ndim != 4 or len(x) > len(r.original) or x.shape[1:3] != r.original.shape[1:]:
        raise InputError(
            f"Images of shape {x.shape} for heatmaps of shape {r.original.shape}.",
            "the images that were explained",
        )
    return randomised.strip(r, [image(v) for v in x], overlay, columns)


def randomisation_curve(r: Any) -> Any:
    """Draw the similarity of each stage with the first heatmap; see `randomisation`."""
    return randomised.curve(r)
