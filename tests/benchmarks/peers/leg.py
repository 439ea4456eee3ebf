"""The worker of the published LEG-TV: the dense program, in cvxpy."""

import numpy as np

from tests.benchmarks.leg_tv import published
from tests.benchmarks.peers.kerasnet import forward, network
from tests.benchmarks.peers.protocol import Job, Work, serve
from tfxai.sampling.leg.grid import Grid

SIDE = 28
#: The solver of both programs, so that only the programs differ.
SOLVER = "CLARABEL"


def field(batch: int) -> np.ndarray:
    """Return inputs of LEG-TV, (B, 28, 28): noise with a bump."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    hill = np.exp(-20 * (x**2 + y**2))
    return hill + 0.3 * np.random.default_rng(0).standard_normal((batch, SIDE, SIDE))


def prepare(job: Job) -> Work:
    """Solve for one sample after another."""
    grid = Grid((SIDE, SIDE))

    def run() -> np.ndarray:
        maps = [published(leg, grid, SOLVER) for leg in field(len(job.x))]
        return np.stack(maps)[..., None]

    return Work(forward(network(job), job.x), lambda: run)


if __name__ == "__main__":
    serve(prepare)
