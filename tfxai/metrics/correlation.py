"""Correlation between the relevance of random subsets and the cost of removing them."""

from collections.abc import Callable

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import whole_number
from tfxai.metrics.baselines import baseline_images
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.pixel_flipping import regions
from tfxai.metrics.registry import row

#: (numbers, numbers) -> their correlation.
Correlation = Callable[[np.ndarray, np.ndarray], float]


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Return Pearson's correlation of two lists of numbers; 0 if one is constant."""
    if _constant(a) or _constant(b):
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float((a / np.linalg.norm(a)) @ (b / np.linalg.norm(b)))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two lists; 0 if one is constant."""
    from scipy.stats import rankdata

    if _constant(a) or _constant(b):
        return 0.0
    return pearson(rankdata(a), rankdata(b))


def _constant(v: np.ndarray) -> bool:
    # The tolerance covers sums of the same numbers in another order.
    return bool(np.ptp(v) <= 1e-9 * np.abs(v).max())


def size_of(share: float, count: int) -> int:
    """Return how many of so many parts a share of them is, at least one."""
    return min(max(round(share * count), 1), count)


def subset_sums(
    context: MetricContext,
    i: int,
    parts: np.ndarray,
    n_samples: int,
    share: float,
    baseline: np.ndarray,
    output: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the relevance of random subsets, and the score lost without them.

    Args:
        context: The explanation and its model.
        i: Index of the sample.
        parts: Number of the part that each pixel belongs to, int (H, W).
        n_samples: Number of random subsets.
        share: Share of the parts in a subset.
        baseline: Image (H, W, C) that replaces the removed pixels.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        Two arrays (n_samples,): sum_S R, and f(x) - f(x without S).
    """
    count = int(parts.max()) + 1
    size = size_of(share, count)
    rng, x = context.rng(), context.x[i]
    chosen = np.argsort(rng.random((n_samples, count)), 1)[:, :size]
    inside = np.zeros((n_samples, count), bool)
    np.put_along_axis(inside, chosen, True, 1)
    of_part = np.bincount(parts.ravel(), context.heatmaps[i].ravel())

    def remove(s: slice) -> np.ndarray:
        return np.where(inside[s][:, parts][..., None], baseline, x)

    unchanged = context.scores(i, 1, lambda s: x[None], output)
    return inside @ of_part, unchanged - context.scores(i, n_samples, remove, output)


def check_subsets(n_samples: int, share: float) -> None:
    """Check the options of random subsets; raises OptionError."""
    whole_number("n_samples", n_samples, 2)
    if isinstance(share, bool) or not 0 < share < 1:
        raise OptionError(f"share={share!r}.", "a number between 0 and 1")


@row(
    "higher",
    "Bhatt et al. 2020, arXiv:2005.00631",
    "-1 to 1. 1: the relevance of a set of pixels is proportional to its effect on the "
    "score; 0: the two are unrelated.",
    bad="Near 0, or below: removing pixels of high relevance costs the score no more "
    "than removing other pixels.",
    formula="correlation over random sets S of sum_S R and f(x) - f(x without S)",
    also_in="Quantus",
    cost="n_samples evaluations",
)
def faithfulness_correlation(
    context: MetricContext,
    n_samples: int = 100,
    share: float = 0.1,
    baseline: object = "mean",
    output: str = "logit",
) -> np.ndarray:
    """The correlation of the relevance of random pixels with the cost of removal.

    Over random subsets S of the pixels, the correlation between sum_S R and
    f(x) - f(x with S replaced). 0 if one of the two is constant.

    Args:
        context: The explanation and its model.
        n_samples: Number of random subsets.
        share: Share of the pixels in a subset, between 0 and 1.
        baseline: Image or value that replaces the removed pixels; see
            `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        Pearson's correlation, (B,).
    """
    parts = np.arange(context.heatmaps[0].size).reshape(context.heatmaps.shape[1:])
    return _correlations(pearson, context, parts, n_samples, share, baseline, output)


@row(
    "higher",
    "Ancona et al. 2018, arXiv:1711.06104",
    "-1 to 1. 1: for sets of every size, the relevance of a set of pixels is "
    "proportional to its effect on the score; 0: the two are unrelated.",
    bad="Near 0, or below: removing pixels of high relevance costs the score no more "
    "than removing other pixels.",
    formula="mean over sizes n of the correlation over sets S of n pixels of sum_S R "
    "and f(x) - f(x without S)",
    also_in="Quantus",
    cost="n_samples evaluations for each size",
)
def sensitivity_n(
    context: MetricContext,
    shares: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    n_samples: int = 100,
    baseline: object = "mean",
    output: str = "logit",
) -> np.ndarray:
    """The mean correlation of relevance and removal cost, over sizes of random sets.

    `faithfulness_correlation` for sets of n pixels, averaged over n. (The paper plots
    it over n. Quantus 0.6 has no random sets under this name: it removes the pixels in
    the order of their relevance.)

    Args:
        context: The explanation and its model.
        shares: Sizes n of the sets, as shares of the pixels, between 0 and 1.
        n_samples: Number of random subsets of each size.
        baseline: Image or value that replaces the removed pixels; see
            `tfxai.metrics.masking.sensitivity`. The paper replaces by zeros of a
            normalised input, which is about "mean".
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        The mean of Pearson's correlations, (B,).
    """
    if not isinstance(shares, tuple | list) or not shares:
        raise OptionError(f"shares={shares!r}.", "numbers between 0 and 1", "(0.1,)")
    parts = np.arange(context.heatmaps[0].size).reshape(context.heatmaps.shape[1:])
    for share in shares:
        check_subsets(n_samples, share)
    sizes = {size_of(share, parts.size): share for share in shares}  # each size once
    by_size = [
        _correlations(pearson, context, parts, n_samples, share, baseline, output)
        for share in sizes.values()
    ]
    mean: np.ndarray = np.mean(by_size, 0)
    return mean


@row(
    "higher",
    "Bhatt et al. 2020, arXiv:2005.00631; Fel et al. 2022, arXiv:2206.04394",
    "-1 to 1. 1: the relevance orders squares by their effect on the score; 0: the two "
    "are unrelated.",
    bad="Near 0, or below: removing squares of high relevance costs the score no more "
    "than removing other squares.",
    formula="rank correlation over random sets S of squares of sum_S R and f(x) - f(x "
    "without S)",
    also_in="Xplique",
    cost="n_samples evaluations",
)
def mufidelity(
    context: MetricContext,
    grid: int = 9,
    n_samples: int = 100,
    share: float = 0.2,
    baseline: object = "mean",
    output: str = "logit",
) -> np.ndarray:
    """The rank correlation of the relevance of random squares with the removal cost.

    As `faithfulness_correlation`, with squares instead of pixels and Spearman's
    correlation, as in Xplique.

    Args:
        context: The explanation and its model.
        grid: Number of squares along the longer side. The side of a square is rounded
            up to whole pixels: 9 squares of 32 pixels have 4 pixels each, so 8 fit.
        n_samples: Number of random subsets.
        share: Share of the squares in a subset, between 0 and 1.
        baseline: Image or value that replaces the removed pixels; see
            `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        Spearman's correlation, (B,).
    """
    whole_number("grid", grid, 1)
    height, width = context.heatmaps.shape[1:]
    parts = regions(height, width, -(-max(height, width) // grid))
    return _correlations(spearman, context, parts, n_samples, share, baseline, output)


def _correlations(
    correlation: Correlation,
    context: MetricContext,
    parts: np.ndarray,
    n_samples: int,
    share: float,
    baseline: object,
    output: str,
) -> np.ndarray:
    """Return the correlation of each sample, (B,)."""
    check_subsets(n_samples, share)
    images = baseline_images(baseline, context.x, context.heatmaps, context.seed)
    return np.array([
        correlation(*subset_sums(context, i, parts, n_samples, share, image, output))
        for i, image in enumerate(images)
    ])  # fmt: skip
