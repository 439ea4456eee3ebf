"""Metrics of the image that is shown only where the heatmap is high."""

import numpy as np

from tfxai.metrics.baselines import baseline_images
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row


@row(
    "lower",
    "Chattopadhay et al. 2018, arXiv:1710.11063",
    "0 to 1. 0: the pixels of high relevance alone keep the whole probability.",
    bad="Near 1: the probability vanishes when only the pixels of high relevance are "
    "shown. A heatmap with a few high pixels also gets a high value.",
    formula="max(p - q, 0) / p, q the probability of m x + (1 - m) x0, m = max(R, 0) "
    "/ max R",
    also_in="Xplique, pytorch-grad-cam (DropInConfidence)",
    cost="one evaluation",
)
def average_drop(context: MetricContext, baseline: object = "black") -> np.ndarray:
    """The relative loss of probability when only the relevant pixels are shown.

    max(p - q, 0) / p, where q is the probability of m x + (1 - m) x0, and m the
    positive relevance divided by its maximum. A heatmap without positive values shows
    nothing.

    Args:
        context: The explanation and its model.
        baseline: The image x0; see `tfxai.metrics.masking.sensitivity`.

    Returns:
        One share per sample, (B,).
    """
    before, after = _probabilities(context, baseline)
    drop: np.ndarray = np.maximum(before - after, 0) / np.maximum(before, _TINY)
    return drop


@row(
    "higher",
    "Zhang et al. 2024, arXiv:2301.07002, section 4.1",
    "0 to 1. High: without the other pixels the model is more certain.",
    bad="0: the other pixels were needed. Read it beside average_drop.",
    formula="max(q - p, 0) / (1 - p), p and q as in average_drop",
    also_in="Xplique",
    cost="one evaluation",
)
def average_gain(context: MetricContext, baseline: object = "black") -> np.ndarray:
    """The relative gain of probability when only the relevant pixels are shown.

    max(q - p, 0) / (1 - p), with p and q as in `average_drop`. (The share of samples
    above 0 is the increase in confidence of Chattopadhay et al. 2018.)

    Args:
        context: The explanation and its model.
        baseline: The image that shows elsewhere; see
            `tfxai.metrics.masking.sensitivity`.

    Returns:
        One share per sample, (B,).
    """
    before, after = _probabilities(context, baseline)
    gain: np.ndarray = np.maximum(after - before, 0) / np.maximum(1 - before, _TINY)
    return gain


_TINY = np.finfo(float).tiny


def _probabilities(
    context: MetricContext, baseline: object
) -> tuple[np.ndarray, np.ndarray]:
    """The target's probability of the images, and of what the heatmaps show."""
    images = baseline_images(baseline, context.x, context.heatmaps, context.seed)
    found = []
    for i, (heatmap, image) in enumerate(zip(context.heatmaps, images, strict=True)):
        positive = np.maximum(heatmap, 0)
        mask = (positive / max(positive.max(), _TINY))[..., None]
        both = np.stack([context.x[i], mask * context.x[i] + (1 - mask) * image])
        found.append(context.scores(i, 2, both.__getitem__, "probability"))
    before, after = np.transpose(found)
    return before, after
