"""Small changes of the picture: does the map foresee them, and does it stay?"""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError
from tfxai.base.validation import above, one_of, whole_number
from tfxai.metrics.correlation import check_subsets, subset_sums
from tfxai.metrics.masking import backgrounds
from tfxai.metrics.metric_context import Asked
from tfxai.metrics.registry import row

PERTURBATIONS = ("subset", "gaussian")


@row(
    "lower",
    "Yeh et al. 2019, arXiv:1901.09392",
    "0 or more, in squared units of the score. 0: the map foretells what any such "
    "change costs. A map that is the same everywhere gets how far the costs differ: "
    "only what lies below that foretells something.",
    bad="More than a constant map gets: its values, taken at their word, foretell the "
    "wrong costs, or the wrong sign.",
)
def infidelity(
    asked: Asked,
    perturb: str = "subset",
    scaling: bool = True,
    subsets: int = 100,
    share: float = 0.1,
    sigma: float = 0.1,
    background: object = "mean",
    output: str = "logit",
) -> np.ndarray:
    """How far the map is from foretelling what random changes cost the score.

    (B,): the mean of (I . R - (f(x) - f(x - I)))^2 over `subsets` changes I.
    perturb: "subset" replaces a `share` of the pixels, and counts their relevance, for
        maps that share the score out; "gaussian" subtracts noise of `sigma` ranges of
        the picture, for maps that are slopes. Behind `preprocess`, as R is, I is what
        the noise changes there.
    scaling: R times the number that serves it best, sum(a b) / sum(a a), and 0 where
        that is negative: a map of the wrong sign foretells nothing. (The paper lets
        the number be negative.) A map of zeros counts as one of ones.
    """
    one_of("perturb", perturb, PERTURBATIONS)
    check_subsets(subsets, share)
    above("sigma", sigma)
    empty = ~asked.maps.any((1, 2), keepdims=True)
    asked = replace(asked, maps=asked.maps + empty)
    at = np.arange(asked.maps[0].size).reshape(asked.maps.shape[1:])
    grounds = backgrounds(background, asked.x, asked.maps, asked.seed)
    made = np.empty(len(asked.x))
    for i, ground in enumerate(grounds):
        if perturb == "subset":
            a, b = subset_sums(asked, i, at, subsets, share, ground, output)
        else:
            a, b = _noise_sums(asked, i, subsets, sigma, output)
        if scaling:
            a = a * max((a @ b) / max(a @ a, np.finfo(float).tiny), 0)
        made[i] = ((a - b) ** 2).mean()
    return made


def _noise_sums(
    asked: Asked, i: int, count: int, sigma: float, output: str
) -> tuple[np.ndarray, np.ndarray]:
    """I . R and f(x) - f(x - I) for noise I, (count,) each."""
    relevance, x = np.asarray(asked.explanation.relevance[i], float), asked.x[i]
    noise = asked.rng().standard_normal((count, *x.shape)) * sigma * np.ptp(x)
    near = np.asarray(x - noise, np.float32)
    before, after = (
        np.asarray(asked.wrapped.prepared([tf.constant(v)])[0], float)
        for v in (x[None], near)
    )
    change = before - after
    if relevance.shape != change.shape[1:]:
        raise InputError(
            f"A map of shape {relevance.shape} for an input of shape "
            f"{change.shape[1:]}.",
            "a slope for every value of the network's input",
            'perturb="subset"',
        )
    if not relevance.any():
        relevance = np.ones_like(relevance)
    plain = asked.scores(i, 1, lambda s: x[None], output)
    moved = asked.scores(i, count, near.__getitem__, output)
    return change.reshape(count, -1) @ relevance.ravel(), plain - moved


@row(
    "lower",
    "Yeh et al. 2019, arXiv:1901.09392",
    "0 or more, in lengths of the map. 0: nearby pictures have the same map; 1: their "
    "maps differ as much as the map is long. It says nothing of the truth: a map that "
    "is blind to the picture gets 0.",
    needs=("analyzer",),
    bad="1 or more: a change that no eye sees makes another map. Near 0 while the "
    "random weights give the same map too: it is steady because it does not look.",
)
def max_sensitivity(
    asked: Asked, radius: float = 0.02, samples: int = 10
) -> np.ndarray:
    """The largest change of the map among nearby pictures, in lengths of the map.

    (B,): max |R(x + d) - R(x)| / |R(x)| over `samples` draws of d, uniform within
    `radius` ranges of the picture in each value. The class is the same. A map of zeros
    has the length of a map of ones.
    """
    above("radius", radius)
    whole_number("samples", samples, 1)
    rng, count = asked.rng(), len(asked.x)
    reach = radius * np.ptp(asked.x.reshape(count, -1), axis=1)[:, None, None, None]
    length = np.linalg.norm(asked.maps.reshape(count, -1), axis=1)
    length = np.where(length > 0, length, np.sqrt(asked.maps[0].size))
    worst = np.zeros(count)
    for _ in range(samples):
        moved = asked.x + reach * rng.uniform(-1, 1, asked.x.shape[1:])
        e = asked.analyzer.analyze(
            moved.astype(np.float32), asked.target, asked.batch_size, False
        )
        away = (e.heatmap() - asked.maps).reshape(count, -1)
        worst = np.maximum(worst, np.linalg.norm(away, axis=1) / length)
    return worst
