"""ROAD: remove, and debias. What is removed is filled in from what is left."""

from collections.abc import Sequence

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import at_least
from tfxai.metrics.masking import ranks
from tfxai.metrics.metric_context import Asked
from tfxai.metrics.registry import row

#: (down, right) -> the weight of that neighbour in a pixel's mean.
NEIGHBOURS = {
    (a, b): 1 / 12 if a and b else 1 / 6
    for a in (-1, 0, 1)
    for b in (-1, 0, 1)
    if a or b
}


@row(
    "lower",
    "Rong et al. 2022, arXiv:2202.00449",
    "0 to 1. Low: without the pixels that the map puts first the class is gone, and "
    "not because a hole was seen.",
    bad="As high as the random map: the class can still be read when what the map "
    "puts first is painted over.",
)
def road(
    asked: Asked,
    shares: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    noise: float = 0.01,
    output: str = "probability",
) -> np.ndarray:
    """The mean probability without the first shares of the pixels, filled in.

    (B,). Each removed pixel becomes the mean of its 8 neighbours, removed ones too: a
    linear system. noise: the deviation that is added, in ranges of the picture.
    """
    at_least("noise", noise, 0)
    cuts = np.asarray(shares, float).ravel()
    if not len(cuts) or not ((cuts > 0) & (cuts < 1)).all():
        raise OptionError(f"shares={shares!r}.", "numbers between 0 and 1")
    made = np.empty(len(asked.x))
    for i, (x, map) in enumerate(zip(asked.x, asked.maps, strict=True)):
        rng, order = asked.rng(), ranks(map)
        filled = []
        for share in cuts:
            # At least one pixel goes, and one stays to fill from.
            count = min(max(round(share * map.size), 1), map.size - 1)
            removed = order < count
            picture = imputed(x, removed)
            drawn = rng.standard_normal((count, x.shape[-1]))
            picture[removed] += noise * np.ptp(x) * drawn
            filled.append(picture)
        stack = np.array(filled)
        made[i] = asked.scores(i, len(cuts), stack.__getitem__, output).mean()
    return made


def imputed(x: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """x (H, W, C) with each removed (H, W) pixel the weighted mean of its neighbours.

    At the border the weights of the neighbours that there are sum to 1.
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
        gone = removed[a, b]
        right[inside[~gone]] += weight * x[a[~gone], b[~gone]]
        rows.append(inside[gone])
        columns.append(number[a[gone], b[gone]])
        values.append(np.full(gone.sum(), -weight))
    at = np.concatenate(rows), np.concatenate(columns)
    system = coo_matrix((np.concatenate(values), at), (count, count)).tocsc()
    made = x.astype(float)
    made[removed] = spsolve(system, right).reshape(count, -1)
    return made
