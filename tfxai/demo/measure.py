"""What a map gets right where the truth is known: numbers over maps (..., H, W)."""

import numpy as np


def share(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share (...) of a map's positive relevance that lies in its mask.

    A map without positive relevance has no share: NaN.
    """
    up = np.maximum(maps, 0)
    total = up.sum((-2, -1))
    found = (up * masks).sum((-2, -1))
    return np.where(total > 0, found / np.where(total > 0, total, 1), np.nan)


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation (...) of two maps; NaN where one of them is constant."""
    a, b = (m - m.mean((-2, -1), keepdims=True) for m in (a, b))
    norm = np.sqrt((a**2).sum((-2, -1)) * (b**2).sum((-2, -1)))
    product = (a * b).sum((-2, -1))
    return np.where(norm > 0, product / np.where(norm > 0, norm, 1), np.nan)
