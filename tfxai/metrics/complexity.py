"""The shape of a map, whatever the model says: is it short, is it simple?"""

import numpy as np

from tfxai.metrics.metric_context import Asked
from tfxai.metrics.registry import row


@row(
    "higher",
    "Chalasani et al. 2020, arXiv:1810.06583",
    "0 to 1. 0: all pixels matter alike; near 1: a few of them hold everything. It "
    "says nothing of the truth.",
    bad="None by this number alone: a map of one pixel that means nothing gets the "
    "best there is.",
)
def sparseness(asked: Asked) -> np.ndarray:
    """The Gini index of the sizes in the map.

    (B,): 1 - 2 sum_k v_k / sum(v) (n - k + 1/2) / n, with v = |map| from the smallest
    (k = 1) to the largest (k = n). A map of zeros: 0, as a constant one.
    """
    v = np.sort(_sizes(asked))
    n = v.shape[1]
    weights = (n - np.arange(1, n + 1) + 0.5) / n
    return 1 - 2 * (v / v.sum(1, keepdims=True)) @ weights


@row(
    "lower",
    "Bhatt et al. 2020, arXiv:2005.00631",
    "0 to ln(H W). 0: one pixel holds everything; the largest: all pixels alike. It "
    "says nothing of the truth.",
    bad="None by this number alone: a map of one pixel that means nothing gets the "
    "best there is.",
)
def complexity(asked: Asked) -> np.ndarray:
    """The entropy of the shares that the sizes in the map have.

    (B,): -sum p ln p, with p = |map| / sum |map|. A map of zeros: ln(H W), as a
    constant one.
    """
    v = _sizes(asked)
    p = v / v.sum(1, keepdims=True)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(1)


def _sizes(asked: Asked) -> np.ndarray:
    """|map| (B, H W), in units of its largest value; ones for a map of zeros."""
    v = np.abs(asked.maps).reshape(len(asked.maps), -1)
    largest = v.max(1, keepdims=True)
    return np.where(largest > 0, v / np.where(largest > 0, largest, 1), 1.0)
