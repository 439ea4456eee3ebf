"""Metrics for explanations with a known region: numbers for heatmaps (..., H, W)."""

import numpy as np


def share(heatmaps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return the share (...) of the positive relevance that lies in the mask.

    It is NaN for a heatmap without positive relevance.

    Args:
        heatmaps: Relevance (..., H, W), channels reduced.
        masks: True inside the region, (..., H, W).
    """
    positive = np.maximum(heatmaps, 0)
    total = positive.sum((-2, -1))
    inside = (positive * masks).sum((-2, -1))
    return np.where(total > 0, inside / np.where(total > 0, total, 1), np.nan)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation (...) of two heatmaps (..., H, W).

    It is NaN where one of them is constant.
    """
    a, b = (h - h.mean((-2, -1), keepdims=True) for h in (a, b))
    norm = np.sqrt((a**2).sum((-2, -1)) * (b**2).sum((-2, -1)))
    product = (a * b).sum((-2, -1))
    return np.where(norm > 0, product / np.where(norm > 0, norm, 1), np.nan)


def hit(heatmaps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return whether the largest relevance (...) lies in the mask: the pointing game.

    Args:
        heatmaps: Relevance (..., H, W), channels reduced.
        masks: True inside the region, (..., H, W).

    References:
        Zhang et al. 2016, arXiv:1608.00507, section 4.2; without their margin.
    """
    flat = heatmaps.reshape(*heatmaps.shape[:-2], -1)
    largest = flat.argmax(-1)[..., None]
    return np.take_along_axis(masks.reshape(flat.shape), largest, -1)[..., 0]
