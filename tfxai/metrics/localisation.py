"""Metrics that compare a heatmap with the object's location: boxes or masks."""

import warnings

import numpy as np

from tfxai.base.errors import NothingToExplainWarning, OptionError
from tfxai.base.tensors import counts_of
from tfxai.base.validation import at_least
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row


def _masks(context: MetricContext) -> np.ndarray:
    assert context.masks is not None  # `compute` checks what a metric needs
    return context.masks


@row(
    "higher",
    "Zhang et al. 2018, doi:10.1007/s11263-017-1059-x, arXiv:1608.00507",
    "1: the strongest pixel lies on the object, or near it; 0: elsewhere. Its mean is "
    "the share of hits.",
    needs=("boxes",),
    bad="A mean no better than the boxes' share of the images: the strongest pixel is "
    "arbitrary. A correct heatmap of a network that uses the background gets it as "
    "well.",
    formula="1[argmax R in the box], else 0",
    also_in="Quantus, TorchRay, vision-explanation-methods",
    cost="no evaluation of the model",
    inputs="images and series",
)
def pointing_game(context: MetricContext, tolerance: float = 0.03) -> np.ndarray:
    """Whether the largest value of the heatmap lies in the box: 1 or 0.

    If several values are the largest, it is the share of them in the box.

    Args:
        context: The explanation, its model and the boxes.
        tolerance: Distance from the box that still counts, as a fraction of the longer
            side. The paper uses 15 pixels of about 500.

    Returns:
        One value per sample, (B,).
    """
    from scipy.ndimage import distance_transform_edt

    at_least("tolerance", tolerance, 0)
    reach = tolerance * max(context.heatmaps.shape[1:]) + 1e-9
    pairs = zip(context.heatmaps, _masks(context), strict=True)
    return np.array(
        [
            (distance_transform_edt(~mask)[heatmap == heatmap.max()] <= reach).mean()
            for heatmap, mask in pairs
        ]
    )


@row(
    "higher",
    "Arras et al. 2022, arXiv:2003.07258",
    "0 to 1: the share of the positive relevance on the object. A uniform heatmap gets "
    "the box's share of the image.",
    needs=("boxes",),
    bad="No more than the box's share: the relevance is spread without regard to the "
    "object. A correct heatmap of a network that uses the background gets it as well.",
    formula="sum over the box of max(R, 0) / sum of max(R, 0)",
    also_in="Quantus",
    cost="no evaluation of the model",
    inputs="images and series",
)
def relevance_mass(context: MetricContext) -> np.ndarray:
    """The share of the positive relevance that lies in the box.

    sum_box max(R, 0) / sum max(R, 0). (Also attribution localisation, Kohlbrenner et
    al. 2020. Focus, Arias-Duart et al. 2021, arXiv:2109.15035, is this share on a
    mosaic of images, with the tiles of the class as boxes.) A heatmap without positive
    values counts as a constant one, with a warning, and gets the box's share of the
    image.

    Args:
        context: The explanation, its model and the boxes.

    Returns:
        One share per sample, (B,).

    Warns:
        NothingToExplainWarning: A heatmap has no positive value.
    """
    positive = np.maximum(context.heatmaps, 0)
    none = positive.max((1, 2)) == 0
    negative = np.flatnonzero(none & context.heatmaps.any((1, 2)))
    if len(negative):
        warnings.warn(
            f"The heatmap of sample(s) {negative[:5].tolist()} has no positive value: "
            "its mass is that of a constant heatmap.",
            NothingToExplainWarning,
            stacklevel=3,
        )
    positive[none] = 1
    inside = (positive * _masks(context)).sum((1, 2))
    mass: np.ndarray = inside / positive.sum((1, 2))
    return mass


@row(
    "higher",
    "Arras et al. 2022, arXiv:2003.07258",
    "0 to 1: of the K strongest pixels, the share on the object of K pixels. A random "
    "heatmap gets the box's share of the image.",
    needs=("boxes",),
    bad="No more than the box's share: the strongest pixels are arbitrary. A correct "
    "heatmap of a network that uses the background gets it as well.",
    formula="|the K pixels of highest R in the box| / K, K the pixels of the box",
    also_in="Quantus",
    cost="no evaluation of the model",
    inputs="images and series",
)
def relevance_rank(context: MetricContext) -> np.ndarray:
    """The share of the K largest values that lie in the box of K pixels.

    |top_K and box| / K. Of the values that equal the K-th largest one, each counts with
    the share that the top K has room for: the mean over all orders of equal values.

    Args:
        context: The explanation, its model and the boxes.

    Returns:
        One share per sample, (B,).
    """
    pairs = zip(context.heatmaps, _masks(context), strict=True)
    return np.array([_share_of_top(h, mask, int(mask.sum())) for h, mask in pairs])


def _share_of_top(heatmap: np.ndarray, mask: np.ndarray, count: int) -> float:
    """|top_k and box| / k for k = count, as a mean over the orders of equal values."""
    least = np.partition(heatmap.ravel(), -count)[-count]
    above, equal = heatmap > least, heatmap == least
    room = (count - above.sum()) / equal.sum()
    return float(((above & mask).sum() + room * (equal & mask).sum()) / count)


@row(
    "higher",
    "Theiner et al. 2022, arXiv:2104.14995",
    "0 to 1: the share of the strongest pixels on the object. A random heatmap gets "
    "the box's share of the image.",
    needs=("boxes",),
    bad="No more than the box's share: the strongest pixels are arbitrary.",
    formula="|the k pixels of highest R in the box| / k",
    also_in="Quantus",
    cost="no evaluation of the model",
    inputs="images and series",
)
def top_k_intersection(context: MetricContext, share: float = 0.02) -> np.ndarray:
    """The share of the k largest values that lie in the box.

    |top_k and box| / k, a mean over the orders of equal values. (The paper uses k =
    1000 of 224 x 224, about .02.)

    Args:
        context: The explanation, its model and the boxes.
        share: k as a share of the pixels, above 0; at least one pixel is taken.

    Returns:
        One share per sample, (B,).
    """
    if isinstance(share, bool) or not 0 < share <= 1:
        raise OptionError(f"share={share!r}.", "a number above 0, at most 1")
    count = max(int(counts_of(share, context.heatmaps[0].size)), 1)
    pairs = zip(context.heatmaps, _masks(context), strict=True)
    return np.array([_share_of_top(heatmap, mask, count) for heatmap, mask in pairs])


@row(
    "higher",
    "Fawcett 2006, doi:10.1016/j.patrec.2005.10.010",
    "0 to 1. 1: every pixel of the object is above every other pixel; 0.5: a random or "
    "constant heatmap.",
    needs=("boxes",),
    bad="Near 0.5, or below: the heatmap does not tell the object from the rest. A "
    "correct heatmap of a network that uses the background gets it as well.",
    formula="P(R of a pixel of the box > R of a pixel outside) + P(equal) / 2",
    also_in="Quantus (AUC)",
    cost="no evaluation of the model",
    inputs="images and series",
)
def localisation_auc(context: MetricContext) -> np.ndarray:
    """The area under the ROC curve of the heatmap as a detector of the box.

    The probability that a pixel of the box has a larger value than a pixel outside;
    equal values count one half. 1 where the box covers the image. (In Quantus: AUC.)

    Args:
        context: The explanation, its model and the boxes.

    Returns:
        One area per sample, (B,).
    """
    from scipy.stats import rankdata

    areas = []
    for heatmap, mask in zip(context.heatmaps, _masks(context), strict=True):
        inside, outside = int(mask.sum()), int((~mask).sum())
        ranked = rankdata(heatmap.ravel())[mask.ravel()].sum()
        pairs = ranked - inside * (inside + 1) / 2
        areas.append(pairs / (inside * outside) if outside else 1.0)
    return np.array(areas)
