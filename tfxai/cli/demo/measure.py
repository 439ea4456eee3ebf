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


def hit(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Does the strongest place of a map (...) lie in its mask? The pointing game.

    Zhang et al. 2016, arXiv:1608.00507, section 4.2; without a margin.
    """
    flat = maps.reshape(*maps.shape[:-2], -1)
    best = flat.argmax(-1)[..., None]
    return np.take_along_axis(masks.reshape(flat.shape), best, -1)[..., 0]
