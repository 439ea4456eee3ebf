"""Metrics that compare a heatmap with the object's location: boxes or masks."""

import warnings

import numpy as np

from tfxai.base.errors import NothingToExplainWarning
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
)
def relevance_mass(context: MetricContext) -> np.ndarray:
    """The share of the positive relevance that lies in the box.

    sum_box max(R, 0) / sum max(R, 0). A heatmap without positive values counts as a
    constant one, with a warning, and gets the box's share of the image.

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
    return np.array([_share_of_top(heatmap, mask) for heatmap, mask in pairs])


def _share_of_top(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """|top_K and box| / K for a box of K pixels, as a mean over the orders of ties."""
    count = int(mask.sum())
    least = np.partition(heatmap.ravel(), -count)[-count]
    above, equal = heatmap > least, heatmap == least
    room = (count - above.sum()) / equal.sum()
    return float(((above & mask).sum() + room * (equal & mask).sum()) / count)
