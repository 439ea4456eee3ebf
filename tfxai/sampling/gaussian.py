"""Shapley values of a Gaussian process that passes through the evaluated subsets.

A subset S is a vector s of signs, 1 where a segment is kept and else -1. Shapley values
depend only on the odd part g(s) = (v(s) - v(-s)) / 2 of a game, so that subsets are
evaluated in pairs with their complements. The prior of g is a linear function without
a penalty, and a process with the odd part of the kernel

    k(s, t) = prod over i of (1 + a_i s_i t_i),

in which the product of the signs of a set T has the variance prod over i in T of a_i.
The Shapley values of that product are 2 / |T| for the segments of T, where |T| is odd.
They are linear in g: the posterior of g has a mean and a variance of each of them.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tfxai.sampling.masks import all_masks
from tfxai.sampling.regression import check_rank, one_thread

#: Scales of a_i, and powers of the values that a_i is proportional to.
SCALES = (0.95, 0.85, 0.7, 0.5, 0.35, 0.25, 0.17, 0.12, 0.08, 0.05, 0.03, 0.02, 0.01)
POWERS = (0.0, 0.5, 1.0, 1.5, 2.0)
#: Smallest variance of a segment, relative to the largest.
FLOOR = 0.1
#: Variance that is added to that of each pair, relative to it.
NUGGET = 1e-8
#: Variance of the linear function in the choice of subsets, relative to the kernel's.
LINEAR = 1e3
#: Largest number of pairs of one process, which takes the cube of it in time.
BLOCK = 1024
#: Number of subsets by which the variances are chosen; 4 d, if that is more.
SEARCH = 256
#: Degrees of freedom of the intervals, at most: between games the errors are a tenth
#: more or less than stated (tests.benchmarks.coverage), as for a deviation of so many.
FREEDOM = 30


class Posterior(NamedTuple):
    """Shapley values (d,) and their standard errors."""

    values: np.ndarray
    errors: np.ndarray


def _log_factors(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """log (1 + a), log (1 - a), and the log of k(s, s), for factors a (..., d)."""
    high, low = np.log1p(a), np.log1p(-a)
    total = high.sum(-1)
    return high, low, total + np.log1p(-np.exp(low.sum(-1) - total)) - np.log(2)


def odd_kernel(s: np.ndarray, t: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return the odd part of k (n, m), relative to its value at s = t.

    Args:
        s: Signs (n, d).
        t: Signs (m, d).
        a: Variances of the segments (d,), between 0 and 1.
    """
    high, low, size = _log_factors(a)
    middle = (high + low).sum() / 2 - size
    half = (s * ((high - low) / 2)) @ t.T
    return np.asarray((np.exp(middle + half) - np.exp(middle - half)) / 2)


def values_of_kernel(s: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return the Shapley values (n, d) of the games k(s, .), relative to k(s, s).

    The value of i is the sum over odd m of 2 / m times the terms of m factors, of which
    one is that of i: an integral over u in (0, 1), where a_j is u a_j.
    """
    count = min(s.shape[1] // 4 + 1, 24)  # exact for 96 segments
    nodes, weights = np.polynomial.legendre.leggauss(2 * count)
    size, found = _log_factors(a)[2], np.zeros(s.shape)
    for u, w in zip(nodes[count:], weights[count:], strict=True):
        high, low = np.log1p(u * a), np.log1p(-u * a)
        for kept, other in ((high, low), (low, high)):
            logs = np.where(s > 0, kept, other)
            found += w * np.exp(logs.sum(1, keepdims=True) - logs - size)
    return np.asarray(a * s * found)


def variance_of_values(a: np.ndarray) -> np.ndarray:
    """Return the variances (d,) of the Shapley values, relative to k(s, s).

    That of i is the sum over odd m of 4 / m^2 times the terms of m factors with i.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    root, size = (nodes + 1) / 2, _log_factors(a)[2]  # 1 / m^2: of u^(m - 1) log(1 / u)
    w = -2 * weights * root * np.log(root)
    logs = np.log1p(root[:, None] ** 2 * a), np.log1p(-(root[:, None] ** 2) * a)
    both = [np.exp(v.sum(1, keepdims=True) - v - size) for v in logs]
    return np.asarray(2 * a * (w @ (both[0] + both[1])))


def _solved(root: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The solution of a lower triangular system."""
    from scipy.linalg import solve_triangular

    return np.asarray(solve_triangular(root, columns, lower=True, check_finite=False))


class Process:
    """A process through the odd part of one game.

    Args:
        s: Signs (n, d), of rank d.
        g: The odd part of the game at s, (n,).
        a: Variances of the segments (d,).

    Attributes:
        loss: The negative logarithm of the likelihood.

    References:
        O'Hagan 1991, Journal of Statistical Planning and Inference 29.
        Bachoc 2013, Computational Statistics and Data Analysis 66.
    """

    def __init__(self, s: np.ndarray, g: np.ndarray, a: np.ndarray) -> None:
        (n, d), self._s, self._a = s.shape, s, a
        kernel = odd_kernel(s, s, a)
        kernel[np.diag_indices(n)] += NUGGET
        self._root = np.linalg.cholesky(kernel)
        white = _solved(self._root, np.column_stack([s, g]))
        self._x, y = white[:, :d], white[:, d]
        self._gram = np.linalg.cholesky(self._x.T @ self._x)
        half = _solved(self._gram, self._x.T @ y)
        self._slope = np.linalg.solve(self._gram.T, half)
        self._left = y - self._x @ self._slope
        self._scale = self._left @ self._left / (n - d) if n > d else np.nan
        size = np.log(self._root.diagonal()).sum() + np.log(self._gram.diagonal()).sum()
        fit = (n - d) / 2 * np.log(max(self._scale, 1e-300)) if n > d else 0.0
        self.loss = float(size + fit)

    def _scale_left_out(self) -> float:
        """The mean square of the errors at pairs left out, over their variances.

        Q is the inverse of the kernel without the linear function. The process of the
        other pairs misses pair j by (Q g)_j / Q_jj, with the variance 1 / Q_jj.
        """
        inverse = _solved(self._root, np.eye(len(self._s)))
        apart = _solved(self._gram, self._x.T @ inverse)
        own = np.maximum((inverse**2).sum(0) - (apart**2).sum(0), 1e-12)
        return float(np.mean((self._left @ inverse) ** 2 / own))

    def posterior(self) -> Posterior:
        """Return the Shapley values, and their standard errors.

        The scale of the kernel is the larger one of the likelihood's and of that by
        pairs left out: a game rougher than the kernel misses these by more.
        """
        scale = max(self._scale, self._scale_left_out())
        cross = _solved(self._root, values_of_kernel(self._s, self._a))
        trend = 2 * np.eye(len(self._a)) - self._x.T @ cross
        apart = _solved(self._gram, trend)
        variance = variance_of_values(self._a) - (cross**2).sum(0) + (apart**2).sum(0)
        errors = np.sqrt(np.maximum(variance, 0) * scale)
        return Posterior(2 * self._slope + cross.T @ self._left, errors)


def estimate(s: np.ndarray, g: np.ndarray) -> Posterior:
    """Return the posterior for the most likely a_i = c |value of i|^p.

    The likelihood is that of the first `SEARCH` subsets.

    Args:
        s: Signs (n, d), of rank d.
        g: The odd part of the game at s, (n,).
    """
    d, tried = s.shape[1], dict[tuple[int, int], float]()
    few = slice(max(SEARCH, 4 * d))
    start = next(i for i, c in enumerate(SCALES) if c * d < 6 or c < 0.4)
    with one_thread():
        size = np.abs(Process(s[few], g[few], np.full(d, SCALES[start])).posterior()[0])
        relative = size / (size.max() or 1)

        def variances(i: int, j: int) -> np.ndarray:
            return np.asarray(SCALES[i] * np.maximum(relative ** POWERS[j], FLOOR))

        def loss(place: tuple[int, int]) -> float:
            if place not in tried:
                tried[place] = Process(s[few], g[few], variances(*place)).loss
            return tried[place]

        best, at = (start, 1), (-1, -1)
        while best != at:
            at = i, j = best
            near = [at, (i, j + 1), (i, j - 1), (i + 1, j), (i - 1, j)]
            valid = [p for p in near if p[0] in range(len(SCALES)) and p[1] in range(5)]
            best = min(valid, key=loss)
        return Process(s, g, variances(*best)).posterior()


class Block(NamedTuple):
    """Shapley values (d, T) and their standard errors, from a number of pairs."""

    values: np.ndarray
    errors: np.ndarray
    pairs: int

    @staticmethod
    def of(signs: np.ndarray, g: np.ndarray, total: np.ndarray) -> "Block":
        """Return the values of a game, which add up to `total`.

        Args:
            signs: Signs of one subset of each pair (n, d).
            g: Half the output of the subset minus that of its complement (n, T).
            total: The output of all segments minus that of none (T,).

        Raises:
            OptionError: The pairs do not determine all values.
        """
        n, d = signs.shape
        s, y = np.vstack([np.ones(d), signs]), np.vstack([total / 2, g])
        check_rank(s, 2 * n, d)
        found = [estimate(s, column) for column in y.T]
        values, errors = (
            np.stack([getattr(p, k) for p in found], 1) for k in ("values", "errors")
        )
        return Block(values + (total - values.sum(0)) / d, errors, n)


def averaged(blocks: list[Block]) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of blocks by their pairs, and their errors (d, T)."""
    share = np.array([b.pairs for b in blocks], float)
    share /= share.sum()
    values = sum(w * b.values for w, b in zip(share, blocks, strict=True))
    errors = sum((w * b.errors) ** 2 for w, b in zip(share, blocks, strict=True))
    return np.asarray(values), np.sqrt(errors)


def designs(d: int, pairs: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the designs of blocks of at most `BLOCK` pairs each."""
    count = -(-pairs // BLOCK)
    for k in range(count):
        size = pairs * (k + 1) // count - pairs * k // count
        yield design(d, size, (seed, k))


@lru_cache(maxsize=16)
def design(d: int, count: int, seed: tuple[int, ...]) -> np.ndarray:
    """Return signs (count, d) of subsets, of each pair of complements one.

    One after the other, each is that of many random ones which lowers the variance of
    the values most.

    Args:
        d: Number of segments.
        count: Number of subsets, fewer than half of all.
        seed: Seed of the random subsets.
    """
    rng = np.random.default_rng(seed)
    pool = _pool(rng, d, count)
    a = np.full(d, min(0.4, 6 / d))
    one = np.ones((1, d))
    cross = values_of_kernel(pool, a) + LINEAR * 2 * pool / d
    fixed = (odd_kernel(pool, one, a) + LINEAR / d * pool @ one.T)[:, 0]
    whole = 1 + LINEAR
    rows = np.zeros((count + 1, len(pool)))
    rows[0] = fixed / np.sqrt(whole)
    first = (values_of_kernel(one, a) + LINEAR * 2 * one / d)[0] / np.sqrt(whole)
    cross -= np.outer(rows[0], first)
    left = whole + NUGGET - rows[0] ** 2
    chosen: list[int] = []
    for k in range(1, count + 1):
        gain = (cross**2).sum(1) / np.maximum(left, NUGGET)
        gain[chosen] = -1
        j = int(gain.argmax())
        own = odd_kernel(pool, pool[j : j + 1], a)[:, 0] + LINEAR / d * pool @ pool[j]
        own -= rows[:k, j] @ rows[:k]
        rows[k] = own / np.sqrt(max(left[j], NUGGET))
        cross -= np.outer(rows[k], cross[j] / np.sqrt(max(left[j], NUGGET)))
        left -= rows[k] ** 2
        chosen.append(j)
    return pool[chosen]


def _pool(rng: np.random.Generator, d: int, count: int) -> np.ndarray:
    """Signs of random subsets to choose from, of each pair of complements one.

    There are more than twice as many as are chosen, or all.
    """
    wanted, sizes = max(400 + 2 * count, 800), np.arange(1, d)
    if 1 << (d - 1) <= 4 * wanted:
        masks = rng.permutation(all_masks(d)[1 << (d - 1) : -1])[:wanted]
    else:
        share = 1 / (sizes * (d - sizes))
        drawn = rng.choice(sizes, wanted, p=share / share.sum())
        masks = np.argsort(np.argsort(rng.random((wanted, d)), 1), 1) < drawn[:, None]
    masks = np.concatenate([np.eye(d, dtype=bool), masks])
    masks ^= ~masks[:, :1]
    masks = np.unique(masks, axis=0)
    return np.where(masks[~masks.all(1)], 1.0, -1.0)
