"""Where the map points, where the truth is known: boxes or masks."""

import warnings

import numpy as np

from tfxai.base.errors import NothingToExplainWarning
from tfxai.base.validation import at_least
from tfxai.metrics.masking import ranks
from tfxai.metrics.metric_context import Asked
from tfxai.metrics.registry import row


def _masks(asked: Asked) -> np.ndarray:
    assert asked.masks is not None  # the door has seen to what a measure needs
    return asked.masks


@row(
    "higher",
    "Zhang et al. 2018, doi:10.1007/s11263-017-1059-x, arXiv:1608.00507",
    "1: the strongest pixel lies on the object, or near it; 0: elsewhere. Its mean is "
    "the share of hits.",
    needs=("boxes",),
    bad="A mean no better than the boxes' share of the pictures: it points anywhere. "
    "A network that looks at the background gets it as well, by a true map.",
)
def pointing_game(asked: Asked, tolerance: float = 0.03) -> np.ndarray:
    """Does the map's largest value lie in the box?

    (B,): 1 or 0. tolerance: how far from the box still counts, in parts of the longer
    side: the paper's 15 pixels, of some 500. Of equal values the first counts.
    """
    from scipy.ndimage import distance_transform_edt

    at_least("tolerance", tolerance, 0)
    pairs = zip(asked.maps, _masks(asked), strict=True)
    away = [distance_transform_edt(~mask).ravel()[map.argmax()] for map, mask in pairs]
    reach = tolerance * max(asked.maps.shape[1:])
    return (np.array(away) <= reach + 1e-9).astype(float)


@row(
    "higher",
    "Arras et al. 2022, arXiv:2003.07258",
    "0 to 1: the share of the positive relevance on the object. The box's own share of "
    "the picture is what chance gives.",
    needs=("boxes",),
    bad="No more than the box's share: the relevance is spread without regard to the "
    "object. A network that looks at the background gets it as well, by a true "
    "map.",
)
def relevance_mass(asked: Asked) -> np.ndarray:
    """The share of the map's positive relevance that lies in the box.

    (B,): sum_box max(R, 0) / sum max(R, 0). A map with nothing positive counts as a
    constant one, with a warning: the box's share of the picture.
    """
    up = np.maximum(asked.maps, 0)
    none = up.max((1, 2)) == 0
    below = np.flatnonzero(none & asked.maps.any((1, 2)))
    if len(below):
        warnings.warn(
            f"The map of sample(s) {below[:5].tolist()} holds nothing positive: its "
            "mass is that of a constant map.",
            NothingToExplainWarning,
            stacklevel=3,
        )
    up[none] = 1
    return (up * _masks(asked)).sum((1, 2)) / up.sum((1, 2))


@row(
    "higher",
    "Arras et al. 2022, arXiv:2003.07258",
    "0 to 1: of the K strongest pixels, the share on the object of K pixels. The box's "
    "own share of the picture is what chance gives.",
    needs=("boxes",),
    bad="No more than the box's share: the strongest pixels lie anywhere. A network "
    "that looks at the background gets it as well, by a true map.",
)
def relevance_rank(asked: Asked) -> np.ndarray:
    """Of the K largest values of the map, the share in the box of K pixels.

    (B,): |top_K and box| / K. Equal values in the order of their rows.
    """
    pairs = zip(asked.maps, _masks(asked), strict=True)
    return np.array([(ranks(map)[mask] < mask.sum()).mean() for map, mask in pairs])
