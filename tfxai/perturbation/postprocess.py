"""Heatmaps of perturbations as in the published code, and their centre of mass.

Follows `post_processing` by R. Rodriguez: the sixth power of the difference averaged
over channels, without a border of a tenth, dilated by a square of 20 of 224 pixels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.tensors import counts_of

#: Side of the square, as a share of the shorter side of the image.
SQUARE = 20 / 224


def processed(
    difference: np.ndarray[Any, Any],
    power: float | None = 6,
    border: float | None = 0.1,
    dilation: int | None = None,
) -> np.ndarray[Any, Any]:
    """Return the heatmap (H, W) of a difference (H, W, C).

    Args:
        difference: The input minus the perturbed input.
        power: Exponent of the absolute mean over channels. None returns the mean with
            its sign.
        border: Share of each side that is set to 0.
        dilation: Side of the square in pixels. None is 20 / 224 of the shorter side, 0
            skips the dilation.
    """
    from skimage import morphology

    rectangle: Callable[..., Any] = morphology.footprint_rectangle

    heatmap: np.ndarray[Any, Any] = difference.astype(float).mean(-1)
    if power is not None:
        heatmap = np.abs(heatmap) ** power
    if border:
        heatmap = np.where(_interior(heatmap.shape, border), heatmap, 0)
    side = round(SQUARE * min(heatmap.shape)) if dilation is None else dilation
    if side > 1:
        heatmap = morphology.dilation(heatmap, rectangle((side, side)))
    return heatmap


def _interior(shape: tuple[int, ...], border: float) -> np.ndarray[Any, Any]:
    """Return True for rows from floor(b H) to floor((1 - b) H), likewise columns."""
    rows, columns = (
        (np.arange(n) >= counts_of(border, n))
        & (np.arange(n) < counts_of(1 - border, n))
        for n in shape
    )
    return rows[:, None] & columns


def center_of_mass(heatmap: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return (row, column) in pixels of the absolute values (H, W); NaN of zeros."""
    weight = np.abs(heatmap)
    total = weight.sum()
    if not total:
        return np.full(2, np.nan)
    rows, columns = (np.arange(n) for n in heatmap.shape)
    weighted = np.array([rows @ weight.sum(1), columns @ weight.sum(0)])
    return np.asarray(weighted / total)
