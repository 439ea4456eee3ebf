"""Metrics of small changes of the input: infidelity and max-sensitivity."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError
from tfxai.base.validation import above, one_of
from tfxai.metrics.baselines import baseline_images
from tfxai.metrics.correlation import check_subsets, subset_sums
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row
from tfxai.metrics.stability import nearby, norm

PERTURBATIONS = ("subset", "gaussian")


@row(
    "lower",
    "Yeh et al. 2019, arXiv:1901.09392",
    "0 or more, in squared units of the score. 0: the relevance predicts the effect of "
    "every such change. A constant heatmap gets the variation of the effects, so only "
    "a lower value shows that the heatmap predicts something.",
    bad="More than a constant heatmap gets: the relevance predicts wrong effects, or "
    "the wrong sign.",
    formula="mean over I of (I . R - (f(x) - f(x - I)))^2",
    also_in="Captum, Quantus",
    cost="n_samples evaluations",
)
def infidelity(
    context: MetricContext,
    perturb: str = "subset",
    scaling: bool = True,
    n_samples: int = 100,
    share: float = 0.1,
    sigma: float = 0.1,
    baseline: object = "mean",
    output: str = "logit",
) -> np.ndarray:
    """The mean squared error of the relevance as a prediction of the score's change.

    The mean of (I . R - (f(x) - f(x - I)))^2 over random changes I. A relevance of
    zeros counts as one of ones.

    Args:
        context: The explanation and its model.
        perturb: Kind of change, "subset" or "gaussian". "subset" replaces random pixels
            and sums their relevance, for methods that distribute the score. "gaussian"
            subtracts noise, for methods that return gradients; I is then the change of
            the preprocessed input, as R belongs to it.
        scaling: Multiply R by the best factor, sum(a b) / sum(a a), or by 0 where that
            is negative: relevance of the wrong sign predicts nothing. (The paper
            allows a negative factor.)
        n_samples: Number of random changes.
        share: Share of the pixels in a subset, between 0 and 1.
        sigma: Standard deviation of the noise, relative to the image's range.
        baseline: Image or value that replaces the pixels of a subset; see
            `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        One error per sample, (B,).

    Raises:
        InputError: "gaussian" needs a relevance of the shape of the model's input.
    """
    one_of("perturb", perturb, PERTURBATIONS)
    check_subsets(n_samples, share)
    above("sigma", sigma)
    empty = ~context.heatmaps.any((1, 2), keepdims=True)
    context = replace(context, heatmaps=context.heatmaps + empty)
    parts = np.arange(context.heatmaps[0].size).reshape(context.heatmaps.shape[1:])
    images = baseline_images(baseline, context.x, context.heatmaps, context.seed)
    result = np.empty(len(context.x))
    for i, image in enumerate(images):
        if perturb == "subset":
            a, b = subset_sums(context, i, parts, n_samples, share, image, output)
        else:
            a, b = _noise_sums(context, i, n_samples, sigma, output)
        if scaling:
            a = a * max((a @ b) / max(a @ a, np.finfo(float).tiny), 0)
        result[i] = ((a - b) ** 2).mean()
    return result


def _noise_sums(
    context: MetricContext, i: int, n_samples: int, sigma: float, output: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return I . R and f(x) - f(x - I) for random noise I, (n_samples,) each."""
    relevance = np.asarray(context.explanation.relevance[i], float)
    x = context.x[i]
    noise = context.rng().standard_normal((n_samples, *x.shape)) * sigma * np.ptp(x)
    near = np.asarray(x - noise, np.float32)
    before, after = (
        np.asarray(context.wrapped.prepared([tf.constant(v)])[0], float)
        for v in (x[None], near)
    )
    change = before - after
    if relevance.shape != change.shape[1:]:
        raise InputError(
            f"A relevance of shape {relevance.shape} for an input of shape "
            f"{change.shape[1:]}.",
            "a gradient for every value of the model's input",
            'perturb="subset"',
        )
    if not relevance.any():
        relevance = np.ones_like(relevance)
    unchanged = context.scores(i, 1, lambda s: x[None], output)
    changed = context.scores(i, n_samples, near.__getitem__, output)
    return change.reshape(n_samples, -1) @ relevance.ravel(), unchanged - changed


@row(
    "lower",
    "Yeh et al. 2019, arXiv:1901.09392",
    "0 or more, relative to the norm of the heatmap. 0: nearby images have the same "
    "heatmap; 1: the difference is as large as the heatmap. It does not show whether "
    "the explanation is correct: a heatmap that ignores the image gets 0.",
    needs=("analyzer",),
    bad="1 or more: an invisible change of the image changes the whole heatmap. Near 0 "
    "while a network with random weights has the same heatmap: it is stable because "
    "it ignores the model.",
    formula="max over x' near x of |R(x') - R(x)| / |R(x)|",
    also_in="Captum, Quantus",
    cost="one explanation for each of n_samples nearby inputs",
    inputs="images, series and tables",
)
def max_sensitivity(
    context: MetricContext, radius: float = 0.02, n_samples: int = 10
) -> np.ndarray:
    """The largest relative change of the heatmap among nearby images.

    max |R(x + d) - R(x)| / |R(x)| over random d. The class stays the same. A heatmap
    of zeros has the norm of a heatmap of ones.

    Args:
        context: The explanation, its model and its analyzer.
        radius: Largest change of a value, relative to the image's range; uniform.
        n_samples: Number of random changes d.

    Returns:
        One number per sample, (B,).
    """
    count = len(context.x)
    size = norm(context.heatmaps)
    size = np.where(size > 0, size, np.sqrt(context.heatmaps[0].size))
    largest = np.zeros(count)
    for _, heatmaps in nearby(context, radius, n_samples):
        largest = np.maximum(largest, norm(heatmaps - context.heatmaps) / size)
    return largest
