"""ROAD (remove and debias): removed pixels are imputed from the remaining ones."""

from collections.abc import Sequence

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import at_least
from tfxai.metrics.masking import ranks
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row

#: (down, right) -> weight of that neighbour in a pixel's mean.
NEIGHBOURS = {
    (a, b): 1 / 12 if a and b else 1 / 6
    for a in (-1, 0, 1)
    for b in (-1, 0, 1)
    if a or b
}


@row(
    "lower",
    "Rong et al. 2022, arXiv:2202.00449",
    "0 to 1. Low: without the pixels ranked first the class is lost, and not because "
    "the removed pixels are visible.",
    bad="As high as the random heatmap: the model still finds the class when the "
    "pixels ranked first are imputed.",
    formula="mean over shares of p(x with the pixels of highest relevance imputed)",
    also_in="Quantus, pytorch-grad-cam",
    cost="one evaluation for each share, and a linear system",
)
def road(
    context: MetricContext,
    shares: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    noise: float = 0.01,
    output: str = "probability",
) -> np.ndarray:
    """The mean probability when the first pixels are imputed from their neighbours.

    Each removed pixel becomes the mean of its 8 neighbours, removed ones included: a
    linear system.

    Args:
        context: The explanation and its model.
        shares: Shares of the pixels to remove, between 0 and 1.
        noise: Standard deviation of the added noise, relative to the image's range.
        output: Model output to evaluate, "probability" or "logit".

    Returns:
        The mean over the shares, (B,).
    """
    at_least("noise", noise, 0)
    cuts = np.asarray(shares, float).ravel()
    if not len(cuts) or not ((cuts > 0) & (cuts < 1)).all():
        raise OptionError(f"shares={shares!r}.", "numbers between 0 and 1")
    result = np.empty(len(context.x))
    for i in range(len(context.x)):
        images = _imputed_images(context, i, cuts, noise)
        scores = context.scores(i, len(cuts), images.__getitem__, output)
        result[i] = scores.mean()
    return result


def _imputed_images(
    context: MetricContext, i: int, shares: np.ndarray, noise: float
) -> np.ndarray:
    """Return sample i with each of the shares imputed, (shares, H, W, C)."""
    rng, order, x = context.rng(), ranks(context.heatmaps[i]), context.x[i]
    images = []
    for share in shares:
        # At least one pixel is removed, and one remains to impute from.
        count = min(max(round(share * order.size), 1), order.size - 1)
        removed = order < count
        image = imputed(x, removed)
        image[removed] += noise * np.ptp(x) * rng.standard_normal((count, x.shape[-1]))
        images.append(image)
    return np.array(images)


def imputed(x: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Return x with each removed pixel as the weighted mean of its neighbours.

    At the border the weights of the existing neighbours sum to 1.

    Args:
        x: An image (H, W, C).
        removed: The removed pixels, bool (H, W).

    Returns:
        The image, float64 (H, W, C).
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import spsolve

    count, (height, width) = int(removed.sum()), removed.shape
    number = np.full(removed.shape, -1)
    number[removed] = np.arange(count)
    y, z = np.nonzero(removed)
    total, right = np.zeros(count), np.zeros((count, x.shape[-1]))
    rows, columns, values = [np.arange(count)], [np.arange(count)], [total]
    for (down, across), weight in NEIGHBOURS.items():
        a, b = y + down, z + across
        inside = np.flatnonzero((a >= 0) & (a < height) & (b >= 0) & (b < width))
        a, b = a[inside], b[inside]
        total[inside] += weight
        unknown = removed[a, b]
        right[inside[~unknown]] += weight * x[a[~unknown], b[~unknown]]
        rows.append(inside[unknown])
        columns.append(number[a[unknown], b[unknown]])
        values.append(np.full(unknown.sum(), -weight))
    at = np.concatenate(rows), np.concatenate(columns)
    system = coo_matrix((np.concatenate(values), at), (count, count)).tocsc()
    image = x.astype(float)
    image[removed] = spsolve(system, right).reshape(count, -1)
    return image
