"""Figures of images: the input, and an overlay for each target; slices of volumes."""

from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.viz import colours
from tfxai.viz.cells import image_size
from tfxai.viz.figure_grid import FigureGrid, GivenAxes, show_image
from tfxai.viz.look import INK
from tfxai.viz.overlays import image, outlined, overlay
from tfxai.viz.panel import Look, Panel

#: How many slices of a volume are drawn.
SLICES = 4


def layout(panel: Panel, look: Look) -> FigureGrid:
    """Return the empty grid of images: the input, and a column for each target."""
    rows, targets = panel.titles.shape
    size = image_size(panel.heatmaps[0, 0])
    grid = {"bars": True, "heading": panel.heading(look), "figsize": look.figsize}
    return FigureGrid(rows, targets + (panel.x is not None), size, **grid)


def paint(panel: Panel, look: Look, grid: Any) -> None:
    """Draw the images and their overlays."""
    rows, targets = panel.titles.shape
    signed, shift = panel.signed, int(panel.x is not None)
    flat = panel.heatmaps.reshape(rows * targets, *panel.heatmaps.shape[2:])
    limits = np.reshape(colours.limits(flat, look.limit), (rows, targets))
    ramp = colours.ramp(look.cmap, signed)
    for row in range(rows):
        boxes = panel.boxes[row] if panel.boxes is not None else ()
        x = _background(panel, row)
        if shift and not isinstance(grid, GivenAxes):
            show_image(grid.cell(row, 0, "input"), outlined(x, boxes))
        for t in range(targets):
            axes = grid.cell(row, t + shift, panel.titles[row, t])
            values, limit = panel.heatmaps[row, t], float(limits[row, t])
            options = {"alpha": look.alpha, "cmap": look.cmap, "signed": signed}
            show_image(axes, overlay(x, values, limit, boxes, **options))
            outline(axes, values, look.contours)
            if panel.mask is not None:
                _outline_mask(axes, np.asarray(panel.mask[row]))
            _mark_target(axes, panel, row, t)
            grid.bar(row, t + shift, ramp, limit, signed)


def volume_layout(panel: Panel, look: Look) -> FigureGrid:
    """Return the empty grid of volumes: a row of slices for each sample and target."""
    rows, targets = panel.titles.shape
    size = image_size(panel.heatmaps[0, 0, 0])
    count = min(SLICES, panel.heatmaps.shape[2])
    grid = {"bars": True, "heading": panel.heading(look), "figsize": look.figsize}
    return FigureGrid(rows * targets * (1 + (panel.x is not None)), count, size, **grid)


def volume_paint(panel: Panel, look: Look, grid: Any) -> None:
    """Draw the slices with the most relevance: the input above, the overlay below."""
    rows, targets = panel.titles.shape
    signed = panel.signed
    flat = panel.heatmaps.reshape(rows * targets, *panel.heatmaps.shape[2:])
    limits = colours.limits(flat, look.limit)
    ramp = colours.ramp(look.cmap, signed)
    at = 0
    for number, (values, limit) in enumerate(zip(flat, limits, strict=True)):
        row, t = divmod(number, targets)
        chosen = strongest_slices(values)
        title = panel.titles[row, t].replace("\n", ", ")
        x = np.zeros(values.shape) if panel.x is None else panel.x[row]
        if panel.x is not None and not isinstance(grid, GivenAxes):
            for column, z in enumerate(chosen):
                show_image(grid.cell(at, column, f"input, slice {z}"), image(x[z]))
            at += 1
        for column, z in enumerate(chosen):
            text = f"{title}\nslice {z}" if column == 0 else f"\nslice {z}"
            axes = grid.cell(at, column, text)
            options = {"alpha": look.alpha, "cmap": look.cmap, "signed": signed}
            show_image(axes, overlay(x[z], values[z], limit, **options))
            outline(axes, values[z], look.contours)
            if column == 0:
                grid.bar(at, column, ramp, limit, signed)
        at += 1


def strongest_slices(values: np.ndarray) -> list[int]:
    """Return the numbers of the slices of (D, H, W) with the most |relevance|.

    They are in the order of the volume.
    """
    strength = np.abs(values).sum((1, 2))
    return sorted(np.argsort(-strength, kind="stable")[:SLICES].tolist())


def outline(axes: Any, values: np.ndarray, share: float | None) -> None:
    """Outline the given share of the strongest relevance, negative parts dashed."""
    if share is None:
        return
    level = float(np.quantile(np.abs(np.nan_to_num(values)), 1 - share))
    for sign, style in ((1, "-"), (-1, "--")):
        part = sign * np.nan_to_num(values)
        if 0 < level < part.max() and part.min() < level:
            axes.contour(part, [level], colors=INK, linewidths=1.1, linestyles=style)


def _background(panel: Panel, row: int) -> np.ndarray:
    """The image as colours; white where it is not stored."""
    if panel.x is None:
        return np.ones((*panel.heatmaps.shape[2:], 3))
    return image(panel.x[row])


def _outline_mask(axes: Any, mask: np.ndarray) -> None:
    """Draw the outline of a mask (H, W) in black and yellow."""
    height, width = axes.get_ylim()[0] + 0.5, axes.get_xlim()[1] + 0.5
    if mask.ndim != 2:
        raise InputError(f"A mask of shape {mask.shape}.", "masks (B, H, W)")
    y = (np.arange(mask.shape[0]) + 0.5) * height / mask.shape[0] - 0.5
    x = (np.arange(mask.shape[1]) + 0.5) * width / mask.shape[1] - 0.5
    if mask.any() and not mask.all():
        for color, size in (("black", 2.4), ("#ffd21f", 1.2)):
            axes.contour(x, y, mask.astype(float), [0.5], colors=color, linewidths=size)


def _mark_target(axes: Any, panel: Panel, row: int, t: int) -> None:
    """Mark the position of a target of an output with positions: a segmentation."""
    shape = panel.e.extra.get("output_shape")
    if shape is None or "target_function" in panel.e.extra or len(shape) != 3:
        return
    sizes = [int(n or 0) for n in np.asarray(shape, object)]
    index = int(np.asarray(panel.e.target).reshape(panel.titles.shape)[row, t])
    if not all(sizes):
        return
    y, x, _ = np.unravel_index(index, sizes)
    height, width = panel.heatmaps.shape[2:]
    at = [(x + 0.5) * width / sizes[1] - 0.5], [(y + 0.5) * height / sizes[0] - 0.5]
    for color, size, line in (("white", 120, 3.2), ("black", 80, 1.4)):
        axes.scatter(*at, size, color, marker="+", linewidths=line)
