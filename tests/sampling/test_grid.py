"""The base grid of LEG against dense matrices and the stored references."""

import json

import cvxpy
import numpy as np
import pytest

from tests.conftest import SHARED, shared_path
from tfxai.errors import OptionError, SolverError
from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.leg.total_variation import least_variation, resolve_solver

FOLDER = "references/sampling"
GRIDS = [Grid((5,), True), Grid((6,), False), Grid((4, 6), True), Grid((5, 3), False)]
GRIDS += [Grid((3, 4, 2), True), Grid((1,), True), Grid((1, 4), False)]


def dense(grid):
    """D, written out cell by cell, and Sigma."""
    number = np.arange(grid.n_cells).reshape(grid.shape)
    rows = []
    for place in np.ndindex(*grid.shape):
        for axis, p in enumerate(grid.shape):
            after = list(place)
            after[axis] += 1
            if place[axis] + 1 < p:
                rows.append({number[place]: -1, number[tuple(after)]: 1})
            if grid.bordered and place[axis] == 0:
                rows.append({number[place]: -1})
            if grid.bordered and place[axis] == p - 1:
                rows.append({number[place]: 1})
    d = np.zeros((len(rows), grid.n_cells))
    for i, row in enumerate(rows):
        for j, v in row.items():
            d[i, j] = v
    return d, d.T @ d + np.ones((grid.n_cells, grid.n_cells)) / grid.n_cells


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_differences_and_their_inverse(grid):
    d, sigma = dense(grid)
    differences = grid.differences.toarray()
    assert sorted(map(tuple, differences)) == sorted(map(tuple, d))
    y = np.random.default_rng(0).normal(size=(2, *grid.shape))
    wanted = np.linalg.solve(sigma, y.reshape(2, -1).T).T
    np.testing.assert_allclose(
        grid.solve_covariance(y).reshape(2, -1), wanted, rtol=1e-9
    )


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_noise_has_exactly_the_covariance(grid):
    """A A^T = Sigma for the matrix A that turns independent normals into noise."""
    _, sigma = dense(grid)
    every = np.eye(grid.n_cells).reshape(-1, *grid.shape)
    a = grid.apply_root(every).reshape(len(every), -1).T
    np.testing.assert_allclose(a @ a.T, sigma, atol=1e-9)
    white, dual = (
        f(every).reshape(len(every), -1).T
        for f in (grid.solve_root, grid.solve_root_transposed)
    )
    np.testing.assert_allclose(white, np.linalg.inv(a), atol=1e-9)
    np.testing.assert_allclose(dual, np.linalg.inv(a).T, atol=1e-9)


def cases():
    """The stored cases, or one that skips."""
    found = sorted((SHARED / FOLDER).glob("leg_*.json")) or [SHARED / "absent.json"]
    return [f.stem for f in found]


def stored(name):
    folder = shared_path(FOLDER)
    return (
        json.loads((folder / f"{name}.json").read_text()),
        np.load(folder / f"{name}.npz"),
    )


def grid_of(facts):
    return Grid((facts["base_size"],) * 2, facts["padding"])


@pytest.mark.shared
@pytest.mark.parametrize("name", cases())
def test_leg_of_the_stored_answers(name):
    facts, arrays = stored(name)
    grid, half = grid_of(facts), np.asarray(arrays["noise"], float)
    z = np.concatenate([half, -half], 1) if facts["antithetic"] else half
    df = arrays["probs"] - facts["original_prob"]
    y = np.einsum("cn,cnp->cp", df, z) / z.shape[1]
    np.testing.assert_allclose(y, arrays["y"], atol=1e-9 * np.abs(y).max())
    leg = grid.solve_covariance(y.reshape(-1, *grid.shape)) / facts["noise_level"] ** 2
    assert np.abs(leg - arrays["leg"]).max() <= 1e-8 * np.abs(leg).max()


@pytest.mark.shared
@pytest.mark.parametrize("name", cases())
def test_leg_tv_is_optimal_and_feasible(name):
    facts, arrays = stored(name)
    grid = grid_of(facts)
    for strength, known in facts["tv"].items():
        for leg, best in zip(arrays["leg"], known["optimal_objective"], strict=True):
            solution = least_variation(leg, grid, float(strength))
            assert abs(solution.objective - best) <= 1e-6 * best
            assert solution.violation <= 1e-9


@pytest.mark.parametrize("said, seen", [("no memory\nat 0x0", "no memory"), ("", "")])
def test_a_solver_that_fails_is_named(said, seen, monkeypatch):
    def fails(self, **options):
        raise cvxpy.error.SolverError(said)

    monkeypatch.setattr(cvxpy.Problem, "solve", fails)
    with pytest.raises(SolverError) as caught:
        least_variation(np.arange(9.0).reshape(3, 3), Grid((3, 3)), 0.1, "clarabel")
    assert caught.value.seen == f"CLARABEL failed: {seen}"
    assert caught.value.write == 'solver="CLARABEL"'
    assert isinstance(caught.value.__cause__, cvxpy.error.SolverError)


@pytest.mark.parametrize("solver, other", [("CLARABEL", "HIGHS"), ("SCS", "CLARABEL")])
def test_a_solver_that_stops_early_is_named(solver, other, monkeypatch):
    def stops(self, **options):
        self._status = "optimal_inaccurate"
        calls.append(options)

    calls = []
    monkeypatch.setattr(cvxpy.Problem, "solve", stops)
    with pytest.raises(SolverError) as caught:
        least_variation(np.arange(9.0).reshape(3, 3), Grid((3, 3)), 0.1, solver)
    seen = f"{solver} stopped with the status 'optimal_inaccurate'."
    assert caught.value.seen == seen and calls == [{"solver": solver}]
    assert caught.value.write == f'another solver: solver="{other}"'


def test_solvers_by_name():
    assert resolve_solver("CLARABEL") == "CLARABEL"
    assert resolve_solver("auto") in ("MOSEK", "CLARABEL")
    with pytest.raises(OptionError, match="solver='GUROBO'"):
        resolve_solver("GUROBO")
    for strength in (0, 1, -0.5):
        with pytest.raises(OptionError, match="between 0 and 1"):
            least_variation(np.ones((3, 3)), Grid((3, 3)), strength)
