"""Shapley interaction values of pairs of segments.

The Shapley interaction index of the segments i and j is

    I_ij = sum over S without i, j of |S|! (d - |S| - 2)! / (d - 1)!
           (v(S + i + j) - v(S + i) - v(S + j) + v(S)),

the mean over all orders in which i and j are neighbours, where S comes before both.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.validation import whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.intervals import with_interval
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.games import Game
from tfxai.sampling.masked import MaskingConfig
from tfxai.sampling.masks import all_masks
from tfxai.sampling.shapley import NEEDS, shapley_analyzer

#: All subsets of so many segments are evaluated at most.
MAX_EXACT = 14


@dataclass(frozen=True)
class Interactions:
    """Shapley values and interactions of one game. A call solves it."""

    n_samples: int
    seed: int

    def __call__(self, game: Game) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the Shapley values (d, T), and the interactions (T, d, d)."""
        d = len(game.varying)
        if d <= MAX_EXACT and 2**d - 2 <= self.n_samples:
            phi, pairs = exact(_every_value(game), d)
            error, pair_error, blocks = 0 * phi, 0 * pairs, 2
            used = max(2**d - 2, 0)
        else:
            phi, pairs, error, pair_error, blocks = self._sampled(game)
            used = blocks * 2 * d * (d - 1)
        value = game.spread(phi)
        found = with_interval(value.T, game.spread(error).T, blocks - 1)
        matrix = np.moveaxis(pairs, -1, 0) / 2
        diagonal = np.arange(d)
        matrix[:, diagonal, diagonal] = phi.T - matrix.sum(2)
        found["interactions"] = _spread_pairs(game, matrix)
        pair_error = np.moveaxis(pair_error, -1, 0) / 2
        pair_error[:, diagonal, diagonal] = np.nan if error.any() else 0.0
        found["interaction_error"] = _spread_pairs(game, pair_error)
        found["evaluations"] = np.full(len(game.score), used)
        return value, found

    def _sampled(self, game: Game) -> tuple[Any, ...]:
        """Means and standard errors over blocks of orders, and how many blocks."""
        d, targets = len(game.varying), len(game.score)
        rng = np.random.default_rng(self.seed)
        blocks = max(2, self.n_samples // (2 * d * (d - 1)))
        phi = np.zeros((blocks, d, targets))
        pairs = np.zeros((blocks, d, d, targets))
        for b in range(blocks):
            orders = rng.permutation(d)[neighbouring_orders(d)]
            chain, swapped = _chains(orders)
            v = game.values_of_varying(np.concatenate([chain, swapped]).reshape(-1, d))
            v, other = v.reshape(2, d, d - 1, targets)
            first, last = (
                np.broadcast_to(e, (d, 1, targets))
                for e in (game.baseline_score, game.score)
            )
            v = np.concatenate([first, v, last], 1)  # (d, d + 1, T)
            np.add.at(phi[b], orders, np.diff(v, axis=1) / d)
            second = v[:, 2:] - v[:, 1:-1] - other + v[:, :-2]
            for i, j in ((orders[:, :-1], orders[:, 1:]),
                         (orders[:, 1:], orders[:, :-1])):  # fmt: skip
                np.add.at(pairs[b], (i, j), second / 2)
        root = np.sqrt(blocks)
        errors = [e.std(0, ddof=1) / root for e in (phi, pairs)]
        return phi.mean(0), pairs.mean(0), *errors, blocks


def _every_value(game: Game) -> np.ndarray:
    """v (2^d, T) of all subsets of the varying segments, in binary order."""
    d = len(game.varying)
    inner = game.values_of_varying(all_masks(d)[1:-1]) if d else np.zeros((0, 1))
    whole = np.asarray(game.score[None])
    return np.concatenate([game.baseline_score[None], inner, whole]) if d else whole


def exact(values: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the Shapley values (d, T) and interaction indices (d, d, T) of a game.

    Args:
        values: v (2^d, T) of all subsets, in the order of `all_masks`.
        d: Number of segments.
    """
    targets = values.shape[1]
    cube = values.reshape(*[2] * d, targets)
    phi, pairs = np.zeros((d, targets)), np.zeros((d, d, targets))
    for i in range(d):
        gain = np.diff(cube, axis=i).reshape(-1, targets)
        phi[i] = _order_weights(d - 1) @ gain
        for j in range(i):
            second = np.diff(np.diff(cube, axis=i), axis=j).reshape(-1, targets)
            pairs[i, j] = pairs[j, i] = _order_weights(d - 2) @ second
    return phi, pairs


def _order_weights(m: int) -> np.ndarray:
    """|S|! (m - |S|)! / (m + 1)! of the subsets S of m segments, in binary order."""
    sizes = all_masks(m).sum(1)
    each = np.array([1 / ((m + 1) * math.comb(m, s)) for s in range(m + 1)])
    return np.asarray(each[sizes])


def neighbouring_orders(d: int) -> np.ndarray:
    """Return d orders (d, d) in which every pair is twice beside each other.

    The order 0, 1, -1, 2, -2, ... modulo d steps by every distance; its d rotations
    hold each pair of a distance in both directions.
    """
    steps = np.arange(d)
    zigzag = np.where(steps % 2, (steps + 1) // 2, -(steps // 2))
    return np.asarray((zigzag + steps[:, None]) % d)


def _chains(orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The masks (n, d - 1, d) of the first k of each order, and of k - 1 and the next.

    Those of an order are, for k = 1, ..., d - 1, the first k segments; and the first
    k - 1 together with the one at place k + 1.
    """
    d = orders.shape[1]
    ranks = np.argsort(orders, 1)[:, None]
    k = np.arange(1, d)[:, None]
    return ranks < k, (ranks < k - 1) | (ranks == k)


def _spread_pairs(game: Game, values: np.ndarray) -> np.ndarray:
    """Values (T, n, n) of the varying segments as those of all, (T, d, d)."""
    every = np.zeros((len(values), game.d, game.d))
    every[:, game.varying[:, None], game.varying] = values
    return every


def shapley_interactions(
    wrapped: ModelWrapper,
    n_samples: int = 4096,
    seed: int = 0,
    segmenter: Any = "auto",
    segmenter_options: dict[str, Any] | None = None,
    baseline: Any = "auto",
    background: Any = None,
    groups: Any = None,
    scale: str = "auto",
    precision: str = "float32",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer for Shapley values and the interactions of pairs.

    `relevance` and `coefficients` (B, d) are the Shapley values. extra["interactions"]
    (B, d, d) are the interaction values of the package shap: beside the diagonal half
    the Shapley interaction index of each pair, on it what remains of a segment's
    Shapley value, so that rows add up to the values and all to v(all segments) - v(no
    segment). `extra` also holds segments, baseline_score (B,), interaction_error (B, d,
    d), standard_error, interval_low and interval_high (B, d), of 95 %, and evaluations
    (B,).

    Args:
        wrapped: The wrapped model.
        n_samples: Number of evaluated subsets. The values are exact where it reaches
            2^d, for up to 14 segments that differ from the baseline (2^14 is 16384).
            Otherwise orders are sampled in blocks of d, in which every pair is twice
            beside each other: 2 d (d - 1) evaluations, and two blocks at least.
        seed: Seed of the sampled orders.
        segmenter: How inputs are segmented: a name, an array of whole numbers or a
            function, as for `lime`; a list with one for each of several inputs.
        segmenter_options: Keyword arguments of the segmenter.
        baseline: What covers a segment. A name, a number or an array, as for `lime`.
        background: Examples like `x`, in place of a baseline: an array (m, ...), a
            `tf.data.Dataset`, or ("kmeans", 20, rows); see `kernel_shap`.
        groups: Columns that are kept and covered together; see `kernel_shap`.
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".
        target: What to explain. None is the top class; see `Analyzer.analyze`.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range.

    Warns:
        MoreEvaluationsWarning: Two blocks take more than n_samples evaluations.

    References:
        Grabisch and Roubens 1999, International Journal of Game Theory 28. Lundberg et
        al. 2020, arXiv:1905.04610, for the matrix.
    """
    whole_number("n_samples", n_samples, 2)
    config = MaskingConfig(
        wrapped, segmenter, segmenter_options, baseline, scale, precision, background
    )
    settings = {"n_samples": n_samples, "seed": seed}
    solve = Interactions(n_samples, seed)
    return shapley_analyzer(
        "shapley_interactions", config, solve, settings, groups, target, None
    )


register(
    MethodSpec("shapley_interactions", "sampling",
        "Shapley values, and the interactions of pairs of segments",
        NEEDS, "Grabisch and Roubens 1999, International Journal of Game Theory 28",
        shapley_interactions,
        formula="R_i = Shapley value; I_ij = sum over S of |S|! (d - |S| - 2)! / (d - "
        "1)! (v(S+ij) - v(S+i) - v(S+j) + v(S)) / 2",
        limits="The number of pairs grows with d^2, and each is less exact than a "
        "Shapley value. The result depends on the baseline and on the segments.",
        also_in="shapiq, SHAP (of trees)",
    )
)  # fmt: skip
