"""Pixels taken away, or put back, in the order of the map: does the score follow?"""

import numpy as np

from tfxai.base.validation import whole_number
from tfxai.metrics.masking import backgrounds, ranks
from tfxai.metrics.metric_context import Asked
from tfxai.metrics.registry import row


def trapezoid(y: np.ndarray, x: np.ndarray) -> float:
    """The area under the line through the points (x, y)."""
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())


def regions(height: int, width: int, patch: int) -> np.ndarray:
    """The number (H, W) of the square that each pixel is in, row by row."""
    rows, columns = np.arange(height) // patch, np.arange(width) // patch
    return rows[:, None] * (columns[-1] + 1) + columns


@row(
    "lower",
    "Petsiuk et al. 2018, arXiv:1806.07421",
    "0 to 1, of probabilities. Low: the pixels that the map calls important carry the "
    "class. Scattered "
    "pixels break a picture whatever they mean, so that noise does well: compare with "
    "it, and see road.",
    bad="As high as the random map, or higher: the pixels that it puts first are not "
    "needed for the class.",
)
def deletion(
    asked: Asked,
    steps: int = 100,
    background: object = "mean",
    output: str = "probability",
) -> np.ndarray:
    """The area under the class's probability as pixels are removed, best first.

    (B,): the trapezoids of p(x with the k first pixels replaced) over k / (H W), for
    k at `steps` equal distances. A pixel's order is that of the signed map. The paper
    replaces by zeros, of a normalised input: about background="mean".
    """
    return _area(asked, steps, background, output, insert=False)


@row(
    "higher",
    "Petsiuk et al. 2018, arXiv:1806.07421",
    "0 to 1, of probabilities. High: few of the pixels that the map puts first restore "
    "the class.",
    bad="As low as the random map, or lower: the pixels that it puts first do not "
    "make the class.",
)
def insertion(
    asked: Asked,
    steps: int = 100,
    background: object = "blur",
    output: str = "probability",
) -> np.ndarray:
    """The area under the class's probability as pixels are put back, best first.

    (B,): as `deletion`, from the background to the picture.
    """
    return _area(asked, steps, background, output, insert=True)


@row(
    "higher",
    "Bach et al. 2015, doi:10.1371/journal.pone.0130140",
    "High: the score falls as soon as the first pixels are gone. In units of the "
    "score; holes of one colour are no pictures, and a random map shows "
    "what they alone do.",
    bad="At or below the random map: the score stays while the pixels that it puts "
    "first are gone.",
)
def pixel_flipping(
    asked: Asked,
    steps: int = 100,
    background: object = "mean",
    output: str = "probability",
) -> np.ndarray:
    """The mean drop of the score over the first pixels, flipped one by one.

    (B,): sum_(k = 0 .. L) f(x) - f(x_k), over L + 1, with L = `steps`, at most all:
    100 are a tenth of a picture of 32 x 32, and .2 % of one of 224 x 224.
    """
    return _perturbed(asked, 1, steps, background, output)


@row(
    "higher",
    "Samek et al. 2017, arXiv:1509.06321",
    "High: the score falls as soon as the first squares are gone. In units of the "
    "score; holes of one colour are no pictures, and a random map shows "
    "what they alone do.",
    bad="At or below the random map: the score stays while the squares that it puts "
    "first are gone.",
)
def region_perturbation(
    asked: Asked,
    patch: int = 9,
    steps: int = 50,
    background: object = "mean",
    output: str = "probability",
) -> np.ndarray:
    """The mean drop of the score (AOPC) over the first squares, replaced one by one.

    (B,): sum_(k = 0 .. L) f(x) - f(x_k), over L + 1, with L = `steps`, at most all
    squares; the largest sum of relevance first, so that those which the border cuts
    come later where the map is even. The paper fills them with noise:
    background="noise", for pictures in 0..255.
    """
    whole_number("patch", patch, 1)
    return _perturbed(asked, patch, steps, background, output)


def _area(
    asked: Asked, steps: int, background: object, output: str, insert: bool
) -> np.ndarray:
    whole_number("steps", steps, 1)
    size = asked.maps[0].size
    counts = np.unique(np.round(np.linspace(0, size, steps + 1)).astype(int))
    grounds = backgrounds(background, asked.x, asked.maps, asked.seed)
    orders = np.stack([ranks(map) for map in asked.maps])
    both = (asked.x, grounds) if insert else (grounds, asked.x)
    curves = asked.blends(orders, counts, *both, output)
    return np.array([trapezoid(curve, counts / size) for curve in curves])


def _perturbed(
    asked: Asked, patch: int, steps: int, background: object, output: str
) -> np.ndarray:
    whole_number("steps", steps, 1)
    _, height, width = asked.maps.shape
    at = regions(height, width, patch)
    counts = np.arange(min(steps, at.max() + 1) + 1)
    grounds = backgrounds(background, asked.x, asked.maps, asked.seed)
    sums = [np.bincount(at.ravel(), map.ravel()) for map in asked.maps]
    orders = np.stack([ranks(v)[at] for v in sums])
    curves = asked.blends(orders, counts, grounds, asked.x, output)
    return (curves[:, :1] - curves).mean(1)
