"""Cooperative games over the segments of an input, and methods that solve them.

v(S) is the output where the segments in S are kept and the others are covered.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.progress import bar
from tfxai.core.intervals import with_interval
from tfxai.sampling.gaussian import FREEDOM, Block, averaged, designs
from tfxai.sampling.intervals import (
    near_enough,
    paired_error,
    stages,
)
from tfxai.sampling.masked import MaskedSample
from tfxai.sampling.masks import (
    coalitions,
    connected_sets,
    masks_of_sets,
    permutations,
)
from tfxai.sampling.regression import SELECTIONS, one_thread, shapley_regression

#: The largest number of connected sets that C-Shapley lists.
MAX_CONNECTED_SETS = 200_000


class Game:
    """The cooperative game of one sample: its segments are the players.

    Attributes:
        d: Number of segments.
        varying: Numbers of the segments that differ from the baseline; the others are
            dummies, whose Shapley value is 0.
        score: v of all segments (T,).
        baseline_score: v of no segment (T,).
        names: The names of the columns of a table, or None.
    """

    def __init__(self, sample: MaskedSample, names: Any = None) -> None:
        self.names = names if isinstance(names, list | tuple) else None
        self._sample = sample
        self.d = sample.n_segments
        self.varying = np.flatnonzero(sample.varies)
        self.score = sample.score.astype(float)
        self.baseline_score = self.values(np.zeros((1, self.d), bool))[0]

    def neighbours(self, diagonal: bool = False) -> list[set[int]]:
        """Return the numbers of the neighbours of each segment."""
        return self._sample.neighbours(diagonal)

    @property
    def places(self) -> list[np.ndarray]:
        """The numbers of the segments of each input that has some, by position."""
        pairs = zip(self._sample.segments, self._sample.fixed, strict=True)
        return [segments[0] for segments, fixed in pairs if not fixed]

    def values(self, masks: np.ndarray) -> np.ndarray:
        """Return v (n, T) of subsets, given as masks (n, d)."""
        with bar("outputs", len(masks), long=len(masks) > 1) as advance:
            return self._sample.evaluate(masks, advance).astype(float)

    def values_of_varying(self, masks: np.ndarray) -> np.ndarray:
        """Return v (n, T) of subsets of the varying segments, masks (n, len)."""
        every = np.zeros((len(masks), self.d), bool)
        every[:, self.varying] = masks
        return self.values(every)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return values (len, T) of the varying segments as those of all (d, T)."""
        every = np.zeros((self.d, values.shape[1]))
        every[self.varying] = values
        return every


#: (game) -> values of the segments (d, T), and other arrays for `extra` by name.
Solve = Callable[[Game], tuple[np.ndarray, dict[str, np.ndarray]]]


@dataclass(frozen=True)
class KernelShap:
    """Shapley values from a part of all subsets. A call solves one game.

    n_features: How many segments have a value other than 0; None is all.
    estimator: "gaussian_process" or "least_squares", where not all are evaluated.
    """

    n_samples: int
    seed: int
    n_features: int | None = None
    tolerance: float | None = None
    estimator: str = "gaussian_process"

    def __call__(self, game: Game) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the values (d, T)."""
        d = len(game.varying)
        selects = self.n_features is not None
        if not d:
            none = np.zeros((game.d, len(game.score)))
            found = _none(none)
            return none, {"evaluations": found["evaluations"]} if selects else found
        every = self.n_samples >= 2**d - 2
        if every or selects or self.estimator == "least_squares":
            return self._least_squares(game)
        return self._posterior(game)

    def _posterior(self, game: Game) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The means of Gaussian processes, each through a block of the pairs."""
        d, targets = len(game.varying), len(game.score)
        total, tolerance = game.score - game.baseline_score, self.tolerance
        blocks, near, freedom = list[Block](), False, 0
        for signs in designs(d, self.n_samples // 2, self.seed):
            g = np.zeros((0, targets))
            for n in stages(len(signs), max(16, 2 * d), tolerance):
                new = signs[len(g) : n] > 0
                v = game.values_of_varying(np.concatenate([new, ~new]))
                g = np.concatenate([g, (v[: len(new)] - v[len(new) :]) / 2])
                block = Block.of(signs[:n], g, total)
                phi, error = averaged([*blocks, block])
                if tolerance and near_enough(phi.T, error.T, tolerance):
                    near = True
                    break
            blocks.append(block)
            freedom += n + 1 - d
            if near:
                break
        value = game.spread(phi)
        freedom = min(freedom, FREEDOM)
        found = with_interval(value.T, game.spread(error).T, freedom)
        used = 2 * sum(b.pairs for b in blocks)
        return value, {**found, "evaluations": np.full(targets, used)}

    def _least_squares(self, game: Game) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The coefficients (d, T) of a weighted regression."""
        d, selects = len(game.varying), self.n_features is not None
        rng = np.random.default_rng(self.seed)
        masks, weights, pairs = coalitions(rng, self.n_samples, d)
        if selects:
            values = game.values_of_varying(masks)
            count = np.full(len(game.score), len(masks))
            phi = self._selected(game, masks, values, weights)
            return phi, {"evaluations": count}
        listed, drawn = np.split(np.arange(len(masks)), [len(masks) - 2 * pairs])
        values = np.zeros((len(masks), len(game.score)))
        values[listed] = game.values_of_varying(masks[listed])
        done = 0
        for used in stages(pairs, max(8, d), self.tolerance):
            new = np.concatenate([drawn[done:used], drawn[pairs + done : pairs + used]])
            values[new], done = game.values_of_varying(masks[new]), used
            rows = np.concatenate([listed, drawn[:used], drawn[pairs : pairs + used]])
            part, y, w = masks[rows], values[rows], weights[rows]
            w[len(listed) :] *= pairs / max(used, 1)
            phi = shapley_regression(part, y, w, game.baseline_score, game.score)
            residuals = y - game.baseline_score - part @ phi
            error = paired_error(part, residuals, w, used)
            if self.tolerance and near_enough(phi.T, error.T, self.tolerance):
                break
        value, count = game.spread(phi), np.full(len(game.score), len(rows))
        interval = with_interval(value.T, game.spread(error).T, used - d)
        return value, {**interval, "evaluations": count}

    def _selected(
        self, game: Game, masks: np.ndarray, values: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """The coefficients (d, T) of the segments that the LARS path selects.

        The path starts from the equal shares of all segments, so that the size of a
        subset, which its columns have in common, selects none of them.
        """
        d, count = len(game.varying), int(self.n_features or 0)
        if count >= d:
            phi = shapley_regression(
                masks, values, weights, game.baseline_score, game.score
            )
            return game.spread(phi)
        phi = np.zeros((d, len(game.score)))
        select = SELECTIONS["k_lasso"]
        share = masks.mean(1, keepdims=True)
        total = game.score - game.baseline_score
        apart = values - game.baseline_score - share * total
        for t, y in enumerate(values.T):
            with one_thread():
                chosen = select(masks - share, apart[:, t], weights, count)
            if chosen:
                phi[chosen, t] = shapley_regression(
                    masks[:, chosen], y[:, None], weights,
                    game.baseline_score[t : t + 1], game.score[t : t + 1],
                )[:, 0]  # fmt: skip
        return game.spread(phi)


@dataclass(frozen=True)
class ShapleySampling:
    """Shapley values as means over sampled orders. A call solves one game."""

    n_samples: int
    seed: int
    tolerance: float | None = None

    def __call__(self, game: Game) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the mean contributions (d, T), and their standard errors (T, d)."""
        d, none = len(game.varying), np.zeros((game.d, len(game.score)))
        if not d:
            return none, _none(none)
        count = 2 * max(2, self.n_samples // max(1, d - 1) // 2)
        orders = permutations(np.random.default_rng(self.seed), count, d)
        pairs, done = np.zeros((0, d, len(game.score))), 0
        for used in stages(count // 2, 4, self.tolerance):
            gains = _gains(game, orders[2 * done : 2 * used])
            means = gains.reshape(-1, 2, *gains.shape[1:]).mean(1)
            pairs, done = np.concatenate([pairs, means]), used
            phi = pairs.mean(0)
            error = pairs.std(0, ddof=1) / np.sqrt(used)
            if self.tolerance and near_enough(phi.T, error.T, self.tolerance):
                break
        value = game.spread(phi)
        # One degree less than for a normal variable: the gains are skewed, and else
        # intervals from four pairs hold the value in 92 % (tests.benchmarks.coverage).
        found = with_interval(value.T, game.spread(error).T, used - 2)
        found["evaluations"] = np.full(len(game.score), 2 * used * (d - 1))
        return value, found


def _none(none: np.ndarray) -> dict[str, np.ndarray]:
    """What is returned where no segment varies, values (d, T) of 0."""
    count = np.zeros(none.shape[1], int)
    return {**with_interval(none.T, none.T, 1), "evaluations": count}


def _gains(game: Game, orders: np.ndarray) -> np.ndarray:
    """The contribution (n, d, T) of each segment in each order (n, d)."""
    n, d = orders.shape
    ranks = np.argsort(orders, 1)
    masks = ranks[:, None] < np.arange(1, d)[:, None]  # (n, d - 1, d)
    v = game.values_of_varying(masks.reshape(-1, d))
    v = v.reshape(n, d - 1, len(game.score))
    first, last = (
        np.broadcast_to(e, (n, 1, e.size)) for e in (game.baseline_score, game.score)
    )
    steps = np.diff(np.concatenate([first, v, last], 1), axis=1)
    return np.take_along_axis(steps, ranks[..., None], 1)


@dataclass(frozen=True)
class CShapley:
    """Contributions to connected sets. A call solves one game.

    A set of u segments with b neighbours around it has the weight
    (u - 1)! b! / (u + b)!: the share of orders in which exactly the segments of the
    set come before its last one, and all neighbours come after. On a line that is the
    paper's 2 / ((u + 2)(u + 1) u).
    """

    max_size: int
    diagonal: bool = False

    def __call__(self, game: Game) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the contributions (d, T)."""
        adjacent = game.neighbours(self.diagonal)
        sets = self._sets(adjacent, game.d)
        value_of, used = _values_of_sets(game, sets)
        phi = np.zeros((game.d, len(game.score)))
        for u in sets:
            outside = set().union(*(adjacent[i] for i in u)) - u
            weight = 1 / (math.comb(len(u) + len(outside), len(u)) * len(u))
            for i in u:
                phi[i] += weight * (value_of[u] - value_of[u - {i}])
        return phi, {"evaluations": np.full(len(game.score), used)}

    def _sets(self, adjacent: list[set[int]], d: int) -> list[frozenset[int]]:
        """All connected sets, if they are few enough."""
        sets = []
        for u in connected_sets(adjacent, self.max_size):
            sets.append(u)
            if len(sets) > MAX_CONNECTED_SETS:
                raise OptionError(
                    f"max_size={self.max_size} for {d} segments: more than "
                    f"{MAX_CONNECTED_SETS} connected sets.",
                    "a smaller max_size",
                    f"max_size={self.max_size - 1}",
                )
        return sets


def _values_of_sets(
    game: Game, sets: list[frozenset[int]]
) -> tuple[dict[frozenset[int], np.ndarray], int]:
    """v of each set, and of each without one of its segments; and the evaluations."""
    everything = frozenset(range(game.d))
    smaller = {u - {i} for u in sets for i in u}
    evaluated = list({*sets, *smaller} - {frozenset(), everything})
    evaluated.sort(key=lambda u: (len(u), sorted(u)))
    value_of = {frozenset[int](): game.baseline_score, everything: game.score}
    if evaluated:
        values = game.values(masks_of_sets(evaluated, game.d))
        value_of |= dict(zip(evaluated, values, strict=True))
    return value_of, len(evaluated)
