"""Metrics of the complexity of a heatmap; they do not evaluate the model."""

import numpy as np

from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row


@row(
    "higher",
    "Chalasani et al. 2020, arXiv:1810.06583",
    "0 to 1. 0: all pixels have the same absolute value; near 1: a few pixels hold "
    "all relevance. It does not show whether the explanation is correct.",
    bad="None by this number alone: a heatmap of one arbitrary pixel gets the best "
    "value.",
    formula="1 - 2 sum_k v_k / sum(v) (n - k + 1/2) / n, v = |R| sorted",
    also_in="Quantus, Xplique",
    cost="no evaluation of the model",
)
def sparseness(context: MetricContext) -> np.ndarray:
    """The Gini index of the absolute values of the heatmap.

    1 - 2 sum_k v_k / sum(v) (n - k + 1/2) / n, with v = |heatmap| from the smallest
    (k = 1) to the largest (k = n). A heatmap of zeros gives 0, as a constant one.

    Args:
        context: The explanation and its model.

    Returns:
        One number per sample, (B,).
    """
    v = np.sort(_absolute_values(context))
    n = v.shape[1]
    weights = (n - np.arange(1, n + 1) + 0.5) / n
    gini: np.ndarray = 1 - 2 * (v / v.sum(1, keepdims=True)) @ weights
    return gini


@row(
    "lower",
    "Bhatt et al. 2020, arXiv:2005.00631",
    "0 to ln(H W). 0: one pixel holds all relevance; the largest value: all pixels "
    "have the same absolute value. It does not show whether the explanation is "
    "correct.",
    bad="None by this number alone: a heatmap of one arbitrary pixel gets the best "
    "value.",
    formula="-sum p ln p, p = |R| / sum |R|",
    also_in="Quantus, Xplique",
    cost="no evaluation of the model",
)
def complexity(context: MetricContext) -> np.ndarray:
    """The entropy of the absolute values of the heatmap.

    -sum p ln p, with p = |heatmap| / sum |heatmap|. A heatmap of zeros gives ln(H W),
    as a constant one.

    Args:
        context: The explanation and its model.

    Returns:
        One number per sample, (B,).
    """
    v = _absolute_values(context)
    p = v / v.sum(1, keepdims=True)
    entropy: np.ndarray = -(p * np.log(np.where(p > 0, p, 1))).sum(1)
    return entropy


def _absolute_values(context: MetricContext) -> np.ndarray:
    """Return |heatmap| / max |heatmap|, (B, H W); ones for a heatmap of zeros."""
    v = np.abs(context.heatmaps).reshape(len(context.heatmaps), -1)
    largest = v.max(1, keepdims=True)
    return np.where(largest > 0, v / np.where(largest > 0, largest, 1), 1.0)
