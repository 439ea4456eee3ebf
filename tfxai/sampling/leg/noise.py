"""Draws of LEG's noise: independent, in pairs of opposites, or in orthogonal ones."""

from collections.abc import Iterator

import numpy as np

from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.regression import one_thread

#: Draws that are made together; a fixed number, so that no batch size changes them.
BLOCK = 32
#: Directions that are made orthogonal to one another at a time, at most.
LARGEST = 1024


def plain(grid: Grid, seed: list[int], wanted: int) -> Iterator[np.ndarray]:
    """Blocks (BLOCK, *grid) of independent draws of covariance Sigma, without end.

    wanted: how many there will be, at most.
    """
    number = 0
    while True:
        rng = np.random.default_rng([*seed, number])
        yield grid.coloured(rng.standard_normal((BLOCK, *grid.shape)))
        number += 1


def orthogonal(grid: Grid, seed: list[int], wanted: int) -> Iterator[np.ndarray]:
    """The same, each of the same law, whose normals are orthogonal to one another.

    As many directions as there are places (LARGEST at most) before they begin again:
    no two ask the same question.
    """
    number, n = 0, grid.places
    while True:
        rng = np.random.default_rng([*seed, number])
        drawn = rng.standard_normal((min(n, LARGEST, wanted), n))
        with one_thread():
            q, r = np.linalg.qr(drawn.T)
        length = np.sqrt(rng.chisquare(n, len(drawn)))
        e = (q * np.sign(np.diag(r)) * length).T.reshape(-1, *grid.shape)
        for start in range(0, len(e), BLOCK):
            yield grid.coloured(e[start : start + BLOCK])
        number += 1
