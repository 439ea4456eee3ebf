"""Metrics of axioms: completeness, and a heatmap that depends on the class."""

import numpy as np

from tfxai.base.errors import InputError
from tfxai.base.validation import one_of
from tfxai.metrics.correlation import pearson
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row


@row(
    "lower",
    "Sundararajan et al. 2017, arXiv:1703.01365; Bach et al. 2015",
    "0 or more, relative to the score. 0: the relevance sums to the score that the "
    "method distributes.",
    bad="A large number: the relevance was scaled, clipped or smoothed afterwards, or "
    "a rule lost relevance. Its values are then not shares of the score.",
    formula="|sum(R) - d| / max(|d|, 1e-6), d the score or the change that the "
    "method reports",
    also_in="Captum (convergence delta), Quantus (Completeness)",
    cost="no evaluation of the model",
)
def completeness(context: MetricContext) -> np.ndarray:
    """The relative difference between the sum of the relevance and the score.

    |sum(R) - d| / |d|, where d is the score, or the amount that the method reports in
    `extra["change"]` (integrated gradients subtract the baseline's score). |d| is at
    least 1e-6. A relevance of zeros gives 1.

    Args:
        context: The explanation and its model.

    Returns:
        One number per sample, (B,).
    """
    e = context.explanation
    total = np.asarray(e.relevance, float).reshape(len(context.x), -1).sum(1)
    shared = np.asarray(e.extra.get("change", e.score), float)
    error: np.ndarray = np.abs(total - shared) / np.maximum(np.abs(shared), 1e-6)
    return error


@row(
    "lower",
    "the heatmap of another class; see Gu et al. 2018, arXiv:1812.02100",
    "-1 to 1. 1: another class has the same heatmap; 0 or less: the heatmap is "
    "specific to its class.",
    needs=("analyzer",),
    bad="Near 1: every class has the same heatmap. It shows edges, or the object, "
    "whichever class is explained.",
    formula="correlation of the heatmaps of the target and of the strongest other "
    "class",
    also_in='Quantus and Xplique (RandomLogit, which is other="random" here)',
    cost="one explanation",
)
def discriminativeness(context: MetricContext, other: str = "strongest") -> np.ndarray:
    """The correlation with the heatmap of the strongest other class.

    0 if one of the two heatmaps is constant, 1 if both are. With other="random" it is
    the random logit test (Sixt et al. 2020, arXiv:1912.09818), which Quantus computes
    with SSIM.

    Args:
        context: The explanation, its model and its analyzer.
        other: The other class, "strongest" or "random".

    Returns:
        Pearson's correlation of the two heatmaps, (B,).

    Raises:
        InputError: The model has one output.
    """
    y = context.logits.reshape(len(context.x), -1)
    if y.shape[1] < 2:
        raise InputError("The model has one output.", "two or more classes")
    one_of("other", other, ("strongest", "random"))
    if other == "random":
        y = np.tile(context.rng().random(y.shape[1]), (len(y), 1))
    np.put_along_axis(y := y.astype(float), context.target[:, None], -np.inf, 1)
    e = context.analyzer.analyze(
        context.given(context.x),
        y.argmax(1).astype(np.int32),
        context.batch_size,
        False,
    )
    result = np.empty(len(context.x))
    for i, (a, b) in enumerate(zip(context.heatmaps, e.heatmap(), strict=True)):
        both = np.ptp(a) == 0 and np.ptp(b) == 0
        result[i] = 1.0 if both else pearson(a.ravel(), np.asarray(b, float).ravel())
    return result
