"""Masks: which segments are kept (True), drawn for LIME, Shapley values and RISE.

All take a generator, so that one seed gives one set of masks, and give (n, d).
"""

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np


def bernoulli(rng: np.random.Generator, count: int, d: int) -> np.ndarray:
    """Each segment kept or not, by a coin; the first mask keeps all (LIME)."""
    masks = rng.random((count, d)) < 0.5
    masks[0] = True
    return masks


def coalitions(
    rng: np.random.Generator, count: int, d: int
) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` subsets, neither empty nor whole, and their kernel weights.

    Lundberg and Lee 2017, Theorem 2: a subset of s weighs (d - 1) / (C(d, s) s (d -
    s)). Sizes with few subsets, the smallest and largest, are listed as a whole as far
    as `count` goes; the others are drawn in pairs with their complements, and share
    the weight of their sizes.
    """
    weight = np.array([(d - 1) / (s * (d - s)) for s in range(1, d)])  # of each size
    masks, weights, left, low = [], [], count, 1
    while low <= d - low:
        sizes = sorted({low, d - low})
        number = sum(math.comb(d, s) for s in sizes)
        more = low + 1 <= d - low - 1  # sizes that would be left to draw
        if number > left or (more and left - number < 2):
            break
        for s in sizes:
            listed = np.zeros((math.comb(d, s), d), bool)
            for row, kept in zip(listed, combinations(range(d), s), strict=True):
                row[list(kept)] = True
            masks.append(listed)
            weights.append(np.full(len(listed), weight[s - 1] / len(listed)))
        left, low = left - number, low + 1
    rest = np.arange(low, d - low + 1)
    pairs = left // 2
    if len(rest) and pairs:
        total = weight[rest - 1]
        drawn = rng.choice(rest, pairs, p=total / total.sum())
        order = np.argsort(rng.random((pairs, d)), 1)
        half = np.argsort(order, 1) < drawn[:, None]
        masks += [half, ~half]
        weights.append(np.full(2 * pairs, total.sum() / (2 * pairs)))
    none = np.zeros((0, d), bool)
    return np.concatenate([none, *masks]), np.concatenate([np.zeros(0), *weights])


def permutations(rng: np.random.Generator, count: int, d: int) -> np.ndarray:
    """`count` orders (n, d) of the segments, each beside its reverse."""
    half = np.argsort(rng.random((-(-count // 2), d)), 1)
    return np.stack([half, half[:, ::-1]], 1).reshape(-1, d)[:count]


def connected(neighbours: list[set[int]], largest: int) -> Iterator[frozenset[int]]:
    """All connected sets of at most `largest` segments, each once."""
    level = {frozenset([i]) for i in range(len(neighbours))}
    while level and largest:
        yield from sorted(level, key=sorted)
        largest -= 1
        level = {u | {j} for u in level for i in u for j in neighbours[i] if j not in u}


def of_sets(sets: list[frozenset[int]], d: int) -> np.ndarray:
    """The masks (n, d) that keep just these sets."""
    masks = np.zeros((len(sets), d), bool)
    for row, kept in zip(masks, sets, strict=True):
        row[list(kept)] = True
    return masks
