"""The worker of LEG-TV as it was published: the dense program, in cvxpy."""

import numpy as np

from tests.benchmarks.leg_tv import published
from tests.benchmarks.peers.kerasnet import forward, network
from tests.benchmarks.peers.protocol import Job, Work, serve
from tfxai.sampling.leg.grid import Grid

SIDE = 28
#: Of both programs, so that it is they that are compared.
SOLVER = "CLARABEL"


def field(batch: int) -> np.ndarray:
    """LEG maps to solve for (B, 28, 28): noise with a hill in it."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    hill = np.exp(-20 * (x**2 + y**2))
    return hill + 0.3 * np.random.default_rng(0).standard_normal((batch, SIDE, SIDE))


def prepare(job: Job) -> Work:
    """One map after another."""
    grid = Grid((SIDE, SIDE))

    def run() -> np.ndarray:
        maps = [published(leg, grid, SOLVER) for leg in field(len(job.x))]
        return np.stack(maps)[..., None]

    return Work(forward(network(job), job.x), lambda: run)


if __name__ == "__main__":
    serve(prepare)
