"""Masks of segments for LIME and the Shapley values: True where a segment is kept.

The random ones take a NumPy generator, so that a seed determines them. All masks have
the shape (n, d): n samples of d segments.
"""

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np


def in_pairs(count: int, d: int) -> bool:
    """Return whether `count` masks of d segments are enough for pairs of complements.

    A pair tells a linear model as much as one mask.
    """
    return count > 4 * d


def bernoulli(rng: np.random.Generator, count: int, d: int) -> np.ndarray:
    """Return LIME's masks: each segment is kept with probability 1/2.

    The first mask keeps every segment. Each of the others is followed by its
    complement, if there are enough of them: interactions of two segments, which are the
    same for both, then hardly change the linear model.

    Args:
        rng: Random generator.
        count: Number of masks.
        d: Number of segments.
    """
    if not in_pairs(count, d):
        masks = rng.random((count, d)) < 0.5
        masks[0] = True
        return masks
    half = rng.random((count // 2, d)) < 0.5
    masks = np.ones((2 * len(half) + 1, d), bool)
    masks[1::2], masks[2::2] = half, ~half
    return masks[:count]


def coalitions(
    rng: np.random.Generator, count: int, d: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return subsets, neither empty nor full, their weights, and how many were drawn.

    A subset of size s has the weight (d - 1) / (C(d, s) s (d - s)). All subsets of the
    smallest and largest sizes are listed, as far as draws by weight would hold as many.
    The other subsets are sampled in pairs with their complements and share the weight
    of their sizes. The third value is the number of these pairs: they come last, first
    one half of each pair, and then the other.

    Args:
        rng: Random generator.
        count: Largest number of subsets.
        d: Number of segments.

    References:
        Lundberg and Lee 2017, arXiv:1705.07874, Theorem 2.
    """
    weight = np.array([(d - 1) / (s * (d - s)) for s in range(1, d)])  # of each size
    masks, weights, left, low = [], [], count, 1
    while low <= d - low:
        sizes = sorted({low, d - low})
        number = sum(math.comb(d, s) for s in sizes)
        more = low + 1 <= d - low - 1  # sizes that remain to be sampled
        if number > left or (more and left - number < 2):
            break
        # Draws from all sizes that remain would hold fewer of these than there are.
        share = weight[np.array(sizes) - 1].sum() / weight[low - 1 : d - low].sum()
        if more and number > share * left:
            break
        for s in sizes:
            listed = _all_subsets(d, s)
            masks.append(listed)
            weights.append(np.full(len(listed), weight[s - 1] / len(listed)))
        left, low = left - number, low + 1
    rest = np.arange(low, d - low + 1)
    pairs = left // 2 if len(rest) else 0
    if pairs:
        total = weight[rest - 1]
        sizes_of_pairs = rng.choice(rest, pairs, p=total / total.sum())
        order = np.argsort(rng.random((pairs, d)), 1)
        half = np.argsort(order, 1) < sizes_of_pairs[:, None]
        masks += [half, ~half]
        weights.append(np.full(2 * pairs, total.sum() / (2 * pairs)))
    none = np.zeros((0, d), bool)
    every = np.concatenate([none, *masks])
    return every, np.concatenate([np.zeros(0), *weights]), pairs


def all_masks(d: int) -> np.ndarray:
    """Return the masks (2^d, d) of all subsets, in the order of binary numbers."""
    return (np.arange(1 << d)[:, None] >> np.arange(d)[::-1] & 1).astype(bool)


def _all_subsets(d: int, size: int) -> np.ndarray:
    """The masks of all subsets of one size."""
    masks = np.zeros((math.comb(d, size), d), bool)
    for row, kept in zip(masks, combinations(range(d), size), strict=True):
        row[list(kept)] = True
    return masks


def permutations(rng: np.random.Generator, count: int, d: int) -> np.ndarray:
    """Return random orders (count, d) of the segments, each followed by its reverse.

    Args:
        rng: Random generator.
        count: Number of orders.
        d: Number of segments.
    """
    half = np.argsort(rng.random((-(-count // 2), d)), 1)
    return np.stack([half, half[:, ::-1]], 1).reshape(-1, d)[:count]


def connected_sets(
    neighbours: list[set[int]], max_size: int
) -> Iterator[frozenset[int]]:
    """Yield every connected set of at most `max_size` segments once.

    Args:
        neighbours: For each segment, the segments that share a border with it.
        max_size: Largest number of segments in a set.
    """
    level = {frozenset([i]) for i in range(len(neighbours))}
    while level and max_size:
        yield from sorted(level, key=sorted)
        max_size -= 1
        level = {u | {j} for u in level for i in u for j in neighbours[i] if j not in u}


def masks_of_sets(sets: list[frozenset[int]], d: int) -> np.ndarray:
    """Return the masks (n, d) that keep exactly the segments of each set.

    Args:
        sets: Sets of segment numbers.
        d: Number of segments.
    """
    masks = np.zeros((len(sets), d), bool)
    for row, kept in zip(masks, sets, strict=True):
        row[list(kept)] = True
    return masks
