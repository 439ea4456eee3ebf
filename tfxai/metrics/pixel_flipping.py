"""Metrics that remove or insert pixels in the order of the heatmap."""

from dataclasses import replace

import numpy as np

from tfxai.base.validation import whole_number
from tfxai.metrics.baselines import baseline_images
from tfxai.metrics.masking import ranks
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row
from tfxai.sampling.segments import segment_inputs


def trapezoid(y: np.ndarray, x: np.ndarray) -> float:
    """Return the area under the polyline through the points (x, y)."""
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())


def regions(height: int, width: int, patch: int) -> np.ndarray:
    """Return the number of the square that each pixel is in, (H, W), row by row."""
    rows, columns = np.arange(height) // patch, np.arange(width) // patch
    numbers: np.ndarray = rows[:, None] * (columns[-1] + 1) + columns
    return numbers


@row(
    "lower",
    "Petsiuk et al. 2018, arXiv:1806.07421",
    "0 to 1 for probabilities. Low: the pixels of high relevance carry the class. "
    "Removing scattered pixels damages every image, so a noise heatmap also gets a low "
    "value: compare with it, and see road.",
    bad="As high as the random heatmap, or higher: the pixels ranked first are not "
    "needed for the class.",
    formula="area under p(x without the k pixels of highest relevance) over k",
    also_in="Xplique, the code of the authors",
    cost="n_steps evaluations",
)
def deletion(
    context: MetricContext,
    n_steps: int = 100,
    baseline: object = "mean",
    output: str = "probability",
) -> np.ndarray:
    """The area under the probability curve as pixels are removed, best first.

    The trapezoids of p(x with the k first pixels replaced) over k / (H W). The pixels
    are ordered by the signed heatmap. The paper replaces by zeros of a normalised
    input, which is about baseline="mean".

    Args:
        context: The explanation and its model.
        n_steps: Number of steps from no pixel to all pixels, of equal size.
        baseline: Image or value that replaces the removed pixels; see
            `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        One area per sample, (B,).
    """
    return _area(context, n_steps, baseline, output, insert=False)


@row(
    "higher",
    "Petsiuk et al. 2018, arXiv:1806.07421",
    "0 to 1 for probabilities. High: few of the pixels ranked first restore the class.",
    bad="As low as the random heatmap, or lower: the pixels ranked first do not "
    "restore the class.",
    formula="area under p(baseline with the k pixels of highest relevance) over k",
    also_in="Xplique, the code of the authors",
    cost="n_steps evaluations",
)
def insertion(
    context: MetricContext,
    n_steps: int = 100,
    baseline: object = "blur",
    output: str = "probability",
) -> np.ndarray:
    """The area under the probability curve as pixels are inserted, best first.

    As `deletion`, from the baseline to the image.

    Args:
        context: The explanation and its model.
        n_steps: Number of steps from no pixel to all pixels, of equal size.
        baseline: The image without the pixels; see
            `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        One area per sample, (B,).
    """
    return _area(context, n_steps, baseline, output, insert=True)


@row(
    "higher",
    "Bach et al. 2015, doi:10.1371/journal.pone.0130140",
    "High: the score falls as soon as the first pixels are replaced. In units of the "
    "score. Images with replaced pixels are not natural; the random heatmap shows the "
    "effect of the replacement alone.",
    bad="At or below the random heatmap: the score stays when the pixels ranked first "
    "are replaced.",
    formula="mean over k of f(x) - f(x with the first k pixels replaced)",
    also_in="Quantus",
    cost="n_steps evaluations",
)
def pixel_flipping(
    context: MetricContext,
    n_steps: int = 100,
    baseline: object = "mean",
    output: str = "probability",
) -> np.ndarray:
    """The mean drop of the score as the first pixels are replaced one by one.

    sum_(k = 0 .. L) f(x) - f(x_k), over L + 1, with L = n_steps.

    Args:
        context: The explanation and its model.
        n_steps: Number of pixels to replace, at most all. 100 are a tenth of an image
            of 32 x 32, and .2 % of one of 224 x 224.
        baseline: Image or value that replaces the pixels; see
            `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        One number per sample, (B,).
    """
    return _mean_drop(context, 1, n_steps, baseline, output)


@row(
    "higher",
    "Samek et al. 2017, arXiv:1509.06321",
    "High: the score falls as soon as the first squares are replaced. In units of the "
    "score. Images with replaced squares are not natural; the random heatmap shows the "
    "effect of the replacement alone.",
    bad="At or below the random heatmap: the score stays when the squares ranked first "
    "are replaced.",
    formula="mean over k of f(x) - f(x with the first k squares replaced)",
    also_in="Quantus",
    cost="n_steps evaluations",
)
def region_perturbation(
    context: MetricContext,
    patch: int = 9,
    n_steps: int = 50,
    baseline: object = "mean",
    output: str = "probability",
) -> np.ndarray:
    """The mean drop of the score (AOPC) as the first squares are replaced one by one.

    sum_(k = 0 .. L) f(x) - f(x_k), over L + 1, with L = n_steps. The square with the
    largest sum of relevance is first, so squares cut by the border are late where the
    heatmap is even. The paper replaces by noise: baseline="noise", for images in
    0..255. (Selectivity, Montavon et al. 2018, arXiv:1706.07979, is the area under the
    curve of f(x_k) instead: the same order with n_steps over all squares.)

    Args:
        context: The explanation and its model.
        patch: Side of a square in pixels.
        n_steps: Number of squares to replace, at most all.
        baseline: Image or value that replaces the squares; see
            `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        One number per sample, (B,).
    """
    whole_number("patch", patch, 1)
    return _mean_drop(context, patch, n_steps, baseline, output)


@row(
    "higher",
    "Bluecher, Vielhaben and Strodthoff 2024, arXiv:2401.06654",
    "-1 to 1 for probabilities. High: the score falls fast when the highest relevance "
    "is removed first, and slowly when the lowest is. Independent of how much any "
    "removal damages the image; a random heatmap gets 0.",
    bad="Near 0, or below: the order of the pixels does not matter to the score.",
    formula="area between the curves of removing the lowest and the highest relevance "
    "first",
    also_in="the code of the authors",
    cost="2 n_steps evaluations",
)
def symmetric_relevance_gain(
    context: MetricContext,
    n_steps: int = 100,
    baseline: object = "mean",
    output: str = "probability",
) -> np.ndarray:
    """The area between the curves of removing the lowest and the highest first.

    The area under the curve of `deletion` in the opposite order, minus that of
    `deletion`.

    Args:
        context: The explanation and its model.
        n_steps: Number of steps from no pixel to all pixels, of equal size.
        baseline: Image or value that replaces the removed pixels; see
            `tfxai.metrics.masking.sensitivity`.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        One area per sample, (B,).
    """
    lowest = replace(context, heatmaps=-context.heatmaps)
    last, first = (
        _area(c, n_steps, baseline, output, insert=False) for c in (lowest, context)
    )
    gain: np.ndarray = last - first
    return gain


@row(
    "higher",
    "Rieger and Hansen 2020, arXiv:2003.08747",
    "At most 1. High: the probability falls as soon as the first segments are removed.",
    bad="At or below the random heatmap: the segments ranked first are not needed.",
    formula="1 - area under p(x without the first k segments) / p(x) over k",
    also_in="Quantus",
    cost="one evaluation for each segment",
)
def irof(
    context: MetricContext,
    n_segments: int = 50,
    baseline: object = "mean",
) -> np.ndarray:
    """The area over the curve of the relative probability as segments are removed.

    mean over k = 1 .. L of 1 - p(x_k) / p(x): x_k is the image without the k segments
    of the highest mean relevance. The segments are SLIC superpixels.

    Args:
        context: The explanation and its model.
        n_segments: Approximate number L of segments.
        baseline: Image or value that replaces the segments; see
            `tfxai.metrics.masking.sensitivity`.

    Returns:
        One area per sample, (B,).

    Warns:
        SingleSegmentWarning: An image is one single segment; it gets a grid.
    """
    whole_number("n_segments", n_segments, 2)
    images = baseline_images(baseline, context.x, context.heatmaps, context.seed)
    segments = segment_inputs(context.x, "slic", {"n_segments": n_segments})[0]
    areas = []
    for i, heatmap in enumerate(context.heatmaps):
        x = context.x[i]
        parts = segments[i]
        sizes = np.bincount(parts.ravel())
        order = ranks(np.bincount(parts.ravel(), heatmap.ravel()) / sizes)[parts]

        def removed(s: slice, x=x, order=order, image=images[i]) -> np.ndarray:  # type: ignore[no-untyped-def]
            counts = np.arange(s.start, s.stop)[:, None, None]
            return np.asarray(np.where((order < counts)[..., None], image, x))

        curve = context.scores(i, len(sizes) + 1, removed, "probability")
        areas.append((1 - curve[1:] / max(curve[0], 1e-12)).mean())
    return np.array(areas)


def curves(
    context: MetricContext,
    n_steps: int,
    baseline: object,
    output: str,
    insert: bool,
    lowest: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of the pixels (n,), and the scores (B, n) at each share.

    Args:
        context: The explanation and its model.
        n_steps: Number of steps from no pixel to all pixels, of equal size.
        baseline: The image without pixels.
        output: Model output to evaluate, "probability" or "logit".
        insert: Insert the pixels into the baseline; else remove them from the image.
        lowest: Begin with the lowest relevance; else with the highest.
    """
    whole_number("n_steps", n_steps, 1)
    size = context.heatmaps[0].size
    counts = np.unique(np.round(np.linspace(0, size, n_steps + 1)).astype(int))
    images = baseline_images(baseline, context.x, context.heatmaps, context.seed)
    sign = -1 if lowest else 1
    orders = np.stack([ranks(sign * heatmap) for heatmap in context.heatmaps])
    both = (context.x, images) if insert else (images, context.x)
    return counts / size, context.blends(orders, counts, *both, output)


def _area(
    context: MetricContext, n_steps: int, baseline: object, output: str, insert: bool
) -> np.ndarray:
    """Return the area under the curve of deletion or insertion, (B,)."""
    shares, scores = curves(context, n_steps, baseline, output, insert)
    return np.array([trapezoid(curve, shares) for curve in scores])


def _mean_drop(
    context: MetricContext, patch: int, n_steps: int, baseline: object, output: str
) -> np.ndarray:
    """Return the mean drop of the score as squares are replaced, (B,)."""
    whole_number("n_steps", n_steps, 1)
    _, height, width = context.heatmaps.shape
    parts = regions(height, width, patch)
    counts = np.arange(min(n_steps, parts.max() + 1) + 1)
    images = baseline_images(baseline, context.x, context.heatmaps, context.seed)
    sums = [np.bincount(parts.ravel(), v.ravel()) for v in context.heatmaps]
    orders = np.stack([ranks(v)[parts] for v in sums])
    curves = context.blends(orders, counts, images, context.x, output)
    drops: np.ndarray = (curves[:, :1] - curves).mean(1)
    return drops
