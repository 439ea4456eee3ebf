"""The time of one LEG-TV solution: our sparse program and the published dense one.

    python -m tests.benchmarks.leg_tv [--shared ../shared] [--dense]

The input is LEG of the green channel of an image on SqueezeNet (8 gradients), with
lambda .1 and bordered grids. The table lists the median seconds, the objective relative
to the best one, and the violation of the bound relative to the bound. `--dense` adds
the published program in the same units, which takes minutes.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import cvxpy
import numpy as np

import tfxai
from tests.benchmarks.sampling import build
from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.leg.total_variation import least_variation

LAMBDA = 0.1
SOLVERS = ("CLARABEL", "HIGHS")


def published(leg: np.ndarray, grid: Grid, solver: str) -> np.ndarray:
    """Solve the program with dense matrices, in units in which the bound is lambda."""
    d = grid.differences.toarray()
    sigma = d.T @ d + np.full((grid.n_cells,) * 2, 1 / grid.n_cells)
    back = np.linalg.pinv(d).T
    wanted, matrix = back @ sigma @ leg.ravel(), back @ sigma
    size = np.abs(wanted).max()
    g = cvxpy.Variable(grid.n_cells)
    bound = cvxpy.norm_inf(wanted / size - matrix @ g) <= LAMBDA
    cvxpy.Problem(cvxpy.Minimize(cvxpy.norm1(d @ g)), [bound]).solve(solver=solver)
    return g.value.reshape(grid.shape) * size


def judged(g: np.ndarray, leg: np.ndarray, grid: Grid) -> tuple[float, float]:
    """Return ||D g||_1 and the relative violation of the bound."""
    d, u = grid.differences, grid.ones_solution.ravel()

    def seen(v: np.ndarray) -> float:
        return float(np.abs(d @ (v + u * v.mean())).max())

    gap, bound = seen(g.ravel() - leg.ravel()), LAMBDA * seen(leg.ravel())
    return float(np.abs(d @ g.ravel()).sum()), max(gap / bound - 1, 0.0)


def timed(function: Callable, rounds: int) -> tuple[float, Any]:
    """Return the median of the seconds and the last result."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        made = function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), made


@click.command()
@click.option("--shared", default="../shared", type=Path)
@click.option("--dense", is_flag=True, help="also the program as published")
@click.option("--dense-solver", default="CLARABEL", help="by which solver")
def main(shared: Path, dense: bool, dense_solver: str) -> None:
    """Print the table."""
    model, preprocess, x = build("squeezenet_v1_0", shared)
    print("| base grid | program | solver | seconds | objective | violation |")
    print("|---|---|---|---|---|---|")
    for base in (28, 56):
        e = tfxai.explain(
            model, x, "leg", preprocess=preprocess, base_size=base, n_samples=8
        )
        leg, grid = e.extra["base"][0, 1], Grid((base, base))
        rows = []
        for solver in SOLVERS:
            run = partial(least_variation, leg, grid, LAMBDA, solver)
            taken, made = timed(run, 5 if base == 28 else 3)
            rows.append(("sparse", solver, taken, made.relevance))
        if dense and base == 28:
            run = partial(published, leg, grid, dense_solver)
            rows.append(("as published", dense_solver, *timed(run, 1)))
        found = [judged(row[3], leg, grid) for row in rows]
        best = min(v for v, gap in found if gap < 1e-6)
        for (program, solver, taken, _), (value, gap) in zip(rows, found, strict=True):
            cells = f"{taken:.3g} | {value / best - 1:+.0e} | {gap:.0e}"
            print(f"| {base} x {base} | {program} | {solver} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
