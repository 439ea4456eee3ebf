"""Whether samples of similar heatmaps have the same class."""

import numpy as np

from tfxai.base.errors import InputError
from tfxai.base.validation import at_least
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row


@row(
    "higher",
    "Dasgupta, Frost and Moshkovitz 2022, arXiv:2202.00734",
    "0 to 1, of a batch. 1: samples with similar heatmaps have the same top class. 0 "
    "where no other heatmap is similar. Read it beside the share of the class in the "
    "batch, which equal heatmaps get.",
    bad="Near the share of its class in the batch: heatmaps do not tell classes apart.",
    formula="share of the samples x' with |R - R'| <= threshold that have the top "
    "class of x",
    also_in="Quantus",
    cost="no evaluation of the model",
)
def sufficiency(context: MetricContext, threshold: float = 0.6) -> np.ndarray:
    """The share of the samples with a similar heatmap that have the same top class.

    Two heatmaps are similar if their distance, with every pixel divided by its
    standard deviation over the batch, is at most `threshold` times the largest distance
    in the batch. (Quantus normalises in the same way, but passes the heatmap with all
    of its channels.)

    Args:
        context: The explanation and its model.
        threshold: Largest distance of similar heatmaps, relative to the largest one.

    Returns:
        One share per sample, (B,).

    Raises:
        InputError: There is one sample, or the model has one output.
    """
    at_least("threshold", threshold, 0)
    y = context.logits.reshape(len(context.x), -1)
    if len(y) < 2 or y.shape[1] < 2:
        raise InputError(
            f"sufficiency received {len(y)} sample(s) and {y.shape[1]} output(s).",
            "two samples or more, and two classes or more",
            "tfxai.explain(model, x[:50])",
        )
    flat = context.heatmaps.reshape(len(y), -1)
    deviation = flat.std(0, ddof=1)
    scaled = flat / np.where(deviation > 0, deviation, 1)
    squares = (scaled**2).sum(1)
    gram = squares[:, None] + squares - 2 * scaled @ scaled.T
    distance = np.sqrt(np.maximum(gram, 0))
    similar = distance <= threshold * distance.max()
    np.fill_diagonal(similar, False)
    same = y.argmax(1)[:, None] == y.argmax(1)
    share: np.ndarray = (similar & same).sum(1) / np.maximum(similar.sum(1), 1)
    return share
