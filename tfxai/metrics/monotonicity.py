"""Metrics that compare the order of the relevance with effects on the score."""

import numpy as np

from tfxai.base.validation import whole_number
from tfxai.metrics.correlation import spearman
from tfxai.metrics.masking import ranks
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.pixel_flipping import curves
from tfxai.metrics.registry import row


@row(
    "higher",
    "Arya et al. 2019, arXiv:1909.03012; Luss et al. 2019, arXiv:1905.12698",
    "0 to 1. 1: every pixel that is added raises the score, or keeps it. It does not "
    "tell a heatmap from its negative, so read it beside insertion.",
    bad="Near the value of the random heatmap, about one half: the order of the pixels "
    "does not matter to the score.",
    formula="share of steps k with f(k + 1 pixels) >= f(k pixels)",
    also_in="Quantus (Monotonicity), AIX360",
    cost="n_steps evaluations",
)
def monotonicity(
    context: MetricContext,
    n_steps: int = 100,
    baseline: object = "mean",
    output: str = "probability",
) -> np.ndarray:
    """The share of steps that do not lower the score, as pixels are added.

    The pixels are added to the baseline from the lowest relevance to the highest. (The
    paper asks whether all steps raise the score: the value is then 1.)

    Args:
        context: The explanation and its model.
        n_steps: Number of steps of equal size, at most one for each pixel.
        baseline: The image without pixels; see `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        One share per sample, (B,).
    """
    _, scores = curves(context, n_steps, baseline, output, insert=True, lowest=True)
    # A float32 score that is computed again differs by rounding.
    slack = 1e-6 * np.abs(scores).max(1, keepdims=True)
    share: np.ndarray = (np.diff(scores) >= -slack).mean(1)
    return share


@row(
    "higher",
    "Nguyen and Martinez 2020, arXiv:2007.07584",
    "-1 to 1. 1: the stronger the relevance of a group of pixels, the more the score "
    "depends on them.",
    bad="Near 0, or below: the score depends as much on pixels of low relevance.",
    formula="rank correlation over groups of sum |R| and mean (f(x) - f(x with the "
    "group redrawn))^2",
    also_in="Quantus",
    cost="n_groups x n_samples evaluations",
)
def monotonicity_correlation(
    context: MetricContext,
    n_groups: int = 36,
    n_samples: int = 10,
    output: str = "probability",
) -> np.ndarray:
    """The rank correlation of |relevance| with the score's expected squared change.

    The pixels are sorted by |R| and divided into groups of equal size. For each group,
    sum |R| is compared with the mean of (f(x) - f(x'))^2, where the group has values
    that are drawn uniformly from the image's range in x'.

    Args:
        context: The explanation and its model.
        n_groups: Number of groups, at most one for each pixel.
        n_samples: Number of random draws for each group.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        Spearman's correlation, (B,); 0 if one of the two is constant.
    """
    whole_number("n_groups", n_groups, 2)
    whole_number("n_samples", n_samples, 1)
    result = np.empty(len(context.x))
    for i, heatmap in enumerate(np.abs(context.heatmaps)):
        x, count = context.x[i], min(n_groups, heatmap.size)
        group = ranks(heatmap) * count // heatmap.size
        drawn = context.rng().uniform(x.min(), x.max(), (n_samples, *x.shape))

        def changed(s: slice, x=x, group=group, drawn=drawn) -> np.ndarray:  # type: ignore[no-untyped-def]
            number = np.arange(s.start, s.stop)
            inside = group == (number // n_samples)[:, None, None]
            return np.asarray(np.where(inside[..., None], drawn[number % n_samples], x))

        unchanged = context.scores(i, 1, lambda s, x=x: x[None], output)  # type: ignore[misc]
        scores = context.scores(i, count * n_samples, changed, output)
        effects = ((scores - unchanged) ** 2).reshape(count, n_samples).mean(1)
        strength = np.bincount(group.ravel(), heatmap.ravel())
        result[i] = spearman(strength, effects)
    return result
