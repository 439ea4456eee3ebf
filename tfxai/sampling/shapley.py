"""Shapley values of segments: what each adds, in the mean over all orders.

v(S) is the answer where the segments in S are kept and the others covered. Kernel SHAP
(Lundberg and Lee 2017, arXiv:1705.07874), sampling of orders (Castro et al. 2009), and
C-Shapley over connected segments (Chen et al. 2018, arXiv:1808.02610).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.progress import bar
from tfxai.base.validation import whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import Function
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import scaled
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.masked import Masked
from tfxai.sampling.masks import coalitions, connected, of_sets, permutations
from tfxai.sampling.regression import shapley
from tfxai.sampling.segments import neighbours

#: The most connected sets that C-Shapley lists.
SETS = 200_000


class Game(NamedTuple):
    """One input's segments as players.

    values: (masks (n, d)) -> v (n, T). labels: the segments (...), d of them. nothing,
    full: v of no segment and of all, (T,).
    """

    values: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray
    d: int
    nothing: np.ndarray
    full: np.ndarray


#: (game) -> values of segments (d, T) and, by name, what else is told of them.
Play = Callable[[Game], tuple[np.ndarray, dict]]


def _analyzer(
    method: str,
    wrapped: ModelWrapper,
    play: Play,
    told: dict[str, Any],
    segmenter: Any = "auto",
    segmenter_options: dict | None = None,
    fill: Any = "mean",
    scale: str = "auto",
    precision: str = "float32",
    target: Any = None,
) -> Analyzer:
    """An analyzer that plays a game with the segments of every input."""
    wrapped.check_precision(precision)
    told = {**told, "scale": scaled(wrapped, scale)[0]}
    if "seed" in told:
        whole_number("seed", told["seed"], 0)

    def make(inputs: list, function: Function, one: bool) -> Callable:
        masked = Masked(wrapped, inputs, function, scale, precision)

        def maps(batch: list, target: np.ndarray, max_batch: int) -> dict[str, Any]:
            cut = masked.cut(batch[0], segmenter, segmenter_options, fill)
            return masked.explained(*cut, target, max_batch, played)

        return maps

    def played(ask: Callable, labels: np.ndarray, d: int, score: np.ndarray) -> tuple:
        def values(masks: np.ndarray) -> np.ndarray:
            with bar("answers", len(masks), long=len(masks) > 1) as advance:
                return ask(masks, advance).astype(float)

        nothing = values(np.zeros((1, d), bool))[0]
        phi, more = play(Game(values, labels, d, nothing, score))
        return {"coefficients": phi.T, "nothing": nothing, **more}, {}

    return Analyzer(method, wrapped, make, target, told, together=True)


def kernel_shap(
    wrapped: ModelWrapper, n_samples: int = 1000, seed: int = 0, **options: Any
) -> Analyzer:
    """Shapley values by weighted least squares; they add up to v(all) - v(nothing).

    n_samples: subsets that are asked about. Where there are no more than that (9
    segments have 510) the values are exact; else small and large subsets are listed
    and others drawn in pairs with their complements.
    segmenter, segmenter_options, fill, scale, precision: as those of `lime`.

    extra: segments, coefficients (B, d), nothing (B,): the answer to the cover alone.
    """
    whole_number("n_samples", n_samples, 2)

    def play(game: Game) -> tuple[np.ndarray, dict]:
        values, _, d, nothing, full = game
        masks, weights = coalitions(np.random.default_rng(seed), n_samples, d)
        return shapley(masks, values(masks), weights, nothing, full), {}

    told = {"n_samples": n_samples, "seed": seed}
    return _analyzer("kernel_shap", wrapped, play, told, **options)


def shapley_sampling(
    wrapped: ModelWrapper, n_samples: int = 1000, seed: int = 0, **options: Any
) -> Analyzer:
    """Shapley values as means over orders of the segments, each beside its reverse.

    n_samples: evaluations; an order of d segments needs d - 1, and as many pairs of an
    order and its reverse as fit are drawn, two at least. They add up to v(all) -
    v(nothing).
    segmenter, segmenter_options, fill, scale, precision: as those of `lime`.

    extra: segments, coefficients, standard_error (B, d), nothing.
    """
    whole_number("n_samples", n_samples, 2)

    def play(game: Game) -> tuple[np.ndarray, dict]:
        values, _, d, nothing, full = game
        count = 2 * max(2, n_samples // max(1, d - 1) // 2)
        orders = permutations(np.random.default_rng(seed), count, d)
        places = np.argsort(orders, 1)
        masks = places[:, None] < np.arange(1, d)[:, None]  # (count, d - 1, d)
        v = values(masks.reshape(-1, d)).reshape(count, d - 1, -1)
        ends = [np.broadcast_to(e, (count, 1, e.size)) for e in (nothing, full)]
        steps = np.diff(np.concatenate([ends[0], v, ends[1]], 1), axis=1)
        gains = np.take_along_axis(steps, places[..., None], 1)  # (count, d, T)
        pairs = gains.reshape(-1, 2, *gains.shape[1:]).mean(1)
        error = pairs.std(0, ddof=1) / np.sqrt(len(pairs))
        return pairs.mean(0), {"standard_error": error.T}

    told = {"n_samples": n_samples, "seed": seed}
    return _analyzer("shapley_sampling", wrapped, play, told, **options)


def c_shapley(wrapped: ModelWrapper, max_size: int = 3, **options: Any) -> Analyzer:
    """What a segment adds to connected sets of at most `max_size` neighbours.

    A set of u segments with b neighbours around it weighs (u - 1)! b! / (u + b)!: the
    share of orders in which just these come before the last of them, and all around
    them after. On a line that is the paper's 2 / ((u + 2)(u + 1) u).
    segmenter ("grid" as the paper), segmenter_options, fill, scale, precision: as those
    of `lime`.

    extra: segments, coefficients (B, d), nothing (B,).
    """
    whole_number("max_size", max_size, 1)

    def play(game: Game) -> tuple[np.ndarray, dict]:
        values, labels, d, nothing, full = game
        around = neighbours(labels)
        sets = []
        for u in connected(around, max_size):
            sets.append(u)
            if len(sets) > SETS:
                raise OptionError(
                    f"max_size={max_size} for {d} segments: more than {SETS} connected "
                    "sets.",
                    "fewer",
                    f"max_size={max_size - 1}",
                )
        less = {u - {i} for u in sets for i in u}
        every = list({*sets, *less} - {frozenset(), frozenset(range(d))})
        every.sort(key=lambda u: (len(u), sorted(u)))
        known = {frozenset(): nothing, frozenset(range(d)): full}
        if every:
            known |= dict(zip(every, values(of_sets(every, d)), strict=True))
        phi = np.zeros((d, len(full)))
        for u in sets:
            outside = set().union(*(around[i] for i in u)) - u
            weight = 1 / (math.comb(len(u) + len(outside), len(u)) * len(u))
            for i in u:
                phi[i] += weight * (known[u] - known[u - {i}])
        return phi, {}

    return _analyzer("c_shapley", wrapped, play, {"max_size": max_size}, **options)


NEEDS = "any model with one input, also a plain callable"
for _row in (
    MethodSpec("kernel_shap", "sampling",
        "Shapley values of segments, by least squares",
        NEEDS, "Lundberg and Lee 2017, arXiv:1705.07874", kernel_shap,
        (_analyzer,)),
    MethodSpec("shapley_sampling", "sampling",
        "Shapley values of segments, by random orders",
        NEEDS, "Castro et al. 2009, Computers and Operations Research 36",
        shapley_sampling, (_analyzer,)),
    MethodSpec("c_shapley", "sampling",
        "what a segment adds to those it is connected with",
        NEEDS, "Chen et al. 2018, arXiv:1808.02610", c_shapley,
        (_analyzer,)),
):  # fmt: skip
    register(_row)
