"""LEG-TV: the map of least total variation that is near enough to LEG.

    min ||D g||_1  subject to  ||D+^T y - D+^T Sigma g||_inf <= lambda ||D+^T y||_inf

Luo, Barut and Jin 2021, eq. 8. Since D+^T Sigma is noise^2 D but for a matrix of rank
one, the program is sparse in D: with u = (D^T D)^-1 1 and h = g + u mean(g), what is
bounded is D h - D h0, h0 = (D^T D)^-1 y / noise^2; without a border u is 0. It is
solved in units in which ||D h0||_inf is 1: in raw units solvers stop early.
"""

from dataclasses import dataclass

import numpy as np

from tfxai.base.errors import OptionError, SolverError, first_line
from tfxai.sampling.leg.grid import Grid

#: Free solvers, best first: Clarabel comes with cvxpy.
FREE = ("CLARABEL", "HIGHS", "SCS")


@dataclass(frozen=True)
class Solution:
    """A map g over the grid, and how good it is.

    objective: ||D g||_1. violation: by how much of the bound the constraint is left.
    """

    map: np.ndarray
    objective: float
    violation: float
    solver: str


def least_variation(
    leg: np.ndarray, grid: Grid, strength: float, solver: str = "auto"
) -> Solution:
    """LEG-TV of one LEG map. strength: lambda, in (0, 1).

    Raises OptionError for a solver that is not there, SolverError for one that stops
    early.
    """
    if not 0 < strength < 1:
        raise OptionError(f"lambda={strength}.", "a number between 0 and 1", "0.1")
    import cvxpy

    name, d = chosen(solver), grid.differences
    u = grid.ones.ravel() if grid.bordered else np.zeros(grid.places)
    g0 = np.asarray(leg, float).ravel()
    wanted = d @ (g0 + u * g0.mean())
    size = np.abs(wanted).max()
    if size == 0:
        return Solution(np.zeros(grid.shape), 0.0, 0.0, name)
    # In units of size: h, and the mean q of g.
    h, q = cvxpy.Variable(grid.places), cvxpy.Variable()
    bounds = [cvxpy.abs(d @ h - wanted / size) <= strength]
    bounds.append(cvxpy.sum(h) / grid.places == (1 + u.mean()) * q)
    if not grid.bordered:
        bounds.append(q == g0.mean() / size)
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.norm1(d @ h - (d @ u) * q)), bounds)
    try:
        program.solve(solver=name)
    except cvxpy.error.SolverError as error:
        raise SolverError(
            f"{name} failed: {first_line(error)}",
            "a program that the solver can solve",
            f'solver="{FREE[0]}"',
        ) from error
    if program.status != cvxpy.OPTIMAL:
        raise SolverError(
            f"{name} stopped with the status {program.status!r}.",
            "an optimal solution",
            f'another solver: solver="{FREE[1] if name == FREE[0] else FREE[0]}"',
        )
    g = (np.asarray(h.value) - u * float(np.asarray(q.value))) * size
    return _checked(g, g0, u, grid, strength, name)


def _checked(
    g: np.ndarray, g0: np.ndarray, u: np.ndarray, grid: Grid, strength: float, name: str
) -> Solution:
    """The solution, drawn towards LEG by as little as makes it feasible."""
    d = grid.differences

    def gap(v: np.ndarray) -> float:
        moved = v - g0
        return float(np.abs(d @ (moved + u * moved.mean())).max())

    bound = strength * float(np.abs(d @ (g0 + u * g0.mean())).max())
    if gap(g) > bound:
        g = g0 + (bound / gap(g)) * (g - g0)
    violation = max(gap(g) / bound - 1, 0.0)
    return Solution(g.reshape(grid.shape), float(np.abs(d @ g).sum()), violation, name)


def chosen(solver: str) -> str:
    """The name of a solver that is there: MOSEK with a licence, else a free one."""
    import cvxpy

    there = cvxpy.installed_solvers()
    solver = solver.upper() if isinstance(solver, str) else solver
    if solver == "AUTO":
        if "MOSEK" in there and _licensed():
            return "MOSEK"
        return next(s for s in FREE if s in there)
    if solver not in there:
        raise OptionError(
            f"solver={solver!r}, and cvxpy finds {there}.",
            '"auto", or one that is installed',
            f"python -m pip install {str(solver).lower()}",
        )
    if solver == "MOSEK" and not _licensed():
        raise OptionError(
            "solver='MOSEK', and there is no licence.",
            "a licence file where MOSEK looks for it",
            'solver="auto"',
        )
    return solver


def _licensed() -> bool:
    import cvxpy

    x = cvxpy.Variable()
    try:
        cvxpy.Problem(cvxpy.Minimize(x), [x >= 0]).solve(solver="MOSEK")
    except Exception:  # mosek.Error is no SolverError
        return False
    return True
