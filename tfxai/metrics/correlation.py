"""Random subsets: does their relevance go with what their removal costs?"""

from collections.abc import Callable

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import whole_number
from tfxai.metrics.masking import backgrounds
from tfxai.metrics.metric_context import Asked
from tfxai.metrics.pixel_flipping import regions
from tfxai.metrics.registry import row


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two lists of numbers; 0 where one is constant."""
    if _constant(a) or _constant(b):
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float((a / np.linalg.norm(a)) @ (b / np.linalg.norm(b)))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation, that of the ranks; 0 where one is constant."""
    from scipy.stats import rankdata

    if _constant(a) or _constant(b):
        return 0.0
    return pearson(rankdata(a), rankdata(b))


def _constant(v: np.ndarray) -> bool:
    # Sums of the same numbers in another order differ by rounding, and say nothing.
    return bool(np.ptp(v) <= 1e-9 * np.abs(v).max())


def subset_sums(
    asked: Asked,
    i: int,
    at: np.ndarray,
    subsets: int,
    share: float,
    ground: np.ndarray,
    output: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The relevance of random subsets, and what the score loses with them: (n,), (n,).

    at: the number (H, W) of each pixel's part; `share` of the parts is in a subset.
    """
    parts = int(at.max()) + 1
    size = min(max(round(share * parts), 1), parts)
    rng, x = asked.rng(), asked.x[i]
    chosen = np.argsort(rng.random((subsets, parts)), 1)[:, :size]
    inside = np.zeros((subsets, parts), bool)
    np.put_along_axis(inside, chosen, True, 1)
    of_part = np.bincount(at.ravel(), asked.maps[i].ravel())

    def make(s: slice) -> np.ndarray:
        return np.where(inside[s][:, at][..., None], ground, x)

    plain = asked.scores(i, 1, lambda s: x[None], output)
    return inside @ of_part, plain - asked.scores(i, subsets, make, output)


def check_subsets(subsets: int, share: float) -> None:
    """Refuse what makes no subsets."""
    whole_number("subsets", subsets, 2)
    if isinstance(share, bool) or not 0 < share < 1:
        raise OptionError(f"share={share!r}.", "a number between 0 and 1")


@row(
    "higher",
    "Bhatt et al. 2020, arXiv:2005.00631",
    "-1 to 1. 1: the relevance of any pixels says what they are worth to the score; "
    "0: it says nothing.",
    bad="Near 0, or below: what it calls important costs the score no more than other "
    "pixels.",
)
def faithfulness_correlation(
    asked: Asked,
    subsets: int = 100,
    share: float = 0.1,
    background: object = "mean",
    output: str = "logit",
) -> np.ndarray:
    """How the relevance of random pixels goes with what their removal costs.

    (B,): the correlation over subsets S, of `share` of the pixels, between
    sum_S R and f(x) - f(x with S replaced). 0 where one of the two is constant.
    """
    at = np.arange(asked.maps[0].size).reshape(asked.maps.shape[1:])
    return _correlations(pearson, asked, at, subsets, share, background, output)


@row(
    "higher",
    "Bhatt et al. 2020, arXiv:2005.00631; Fel et al. 2022, arXiv:2206.04394",
    "-1 to 1. 1: the relevance of squares orders them as their worth to the score "
    "does; 0: it says nothing.",
    bad="Near 0, or below: what it calls important costs the score no more than other "
    "squares.",
)
def mufidelity(
    asked: Asked,
    grid: int = 9,
    subsets: int = 100,
    share: float = 0.2,
    background: object = "mean",
    output: str = "logit",
) -> np.ndarray:
    """How the relevance of random squares goes with what their removal costs.

    (B,): as `faithfulness_correlation`, of squares and of ranks (Spearman), as in
    Xplique. A square has a `grid`-th of the longer side, rounded up to whole pixels:
    of 32 pixels, 9 make squares of 4, of which there are 8.
    """
    whole_number("grid", grid, 1)
    height, width = asked.maps.shape[1:]
    at = regions(height, width, -(-max(height, width) // grid))
    return _correlations(spearman, asked, at, subsets, share, background, output)


def _correlations(
    correlation: Callable,
    asked: Asked,
    at: np.ndarray,
    subsets: int,
    share: float,
    background: object,
    output: str,
) -> np.ndarray:
    check_subsets(subsets, share)
    grounds = backgrounds(background, asked.x, asked.maps, asked.seed)
    return np.array([
        correlation(*subset_sums(asked, i, at, subsets, share, ground, output))
        for i, ground in enumerate(grounds)
    ])  # fmt: skip
