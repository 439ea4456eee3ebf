"""Samplers of LEG's noise: independent draws, or draws in orthogonal directions."""

from collections.abc import Iterator

import numpy as np

from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.regression import one_thread

#: Number of draws in a block. It is fixed, so that noise does not depend on the batch
#: size.
BLOCK = 32
#: Largest number of directions that are orthogonal to one another.
MAX_DIRECTIONS = 1024


def independent_noise(
    grid: Grid, seed: list[int], n_draws: int
) -> Iterator[np.ndarray]:
    """Yield blocks (BLOCK, *grid) of independent draws of covariance Sigma, forever.

    Args:
        grid: The base grid.
        seed: Seed of the random generator; the number of the block is appended.
        n_draws: Number of draws that will be used at most. It has no effect here.
    """
    number = 0
    while True:
        rng = np.random.default_rng([*seed, number])
        yield grid.apply_root(rng.standard_normal((BLOCK, *grid.shape)))
        number += 1


def orthogonal_noise(grid: Grid, seed: list[int], n_draws: int) -> Iterator[np.ndarray]:
    """Yield blocks of draws of covariance Sigma whose normals are orthogonal, forever.

    Each draw alone has the distribution of `independent_noise`. There are as many
    orthogonal directions as cells (at most MAX_DIRECTIONS) before a new set begins, so
    that no two draws of a set carry the same information.

    Args:
        grid: The base grid.
        seed: Seed of the random generator; the number of the set is appended.
        n_draws: Number of draws that will be used at most.
    """
    number, n = 0, grid.n_cells
    while True:
        rng = np.random.default_rng([*seed, number])
        normals = rng.standard_normal((min(n, MAX_DIRECTIONS, n_draws), n))
        with one_thread():
            q, r = np.linalg.qr(normals.T)
        length = np.sqrt(rng.chisquare(n, len(normals)))
        e = (q * np.sign(np.diag(r)) * length).T.reshape(-1, *grid.shape)
        for start in range(0, len(e), BLOCK):
            yield grid.apply_root(e[start : start + BLOCK])
        number += 1
