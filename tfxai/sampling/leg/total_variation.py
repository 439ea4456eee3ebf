"""LEG-TV: the relevance of least total variation within a bound around LEG.

    min ||D g||_1  subject to  ||D+^T y - D+^T Sigma g||_inf <= lambda ||D+^T y||_inf

Luo, Barut and Jin 2021, eq. 8. Since D+^T Sigma is noise^2 D plus a matrix of rank
one, the program is sparse in D: with u = (D^T D)^-1 1 and h = g + u mean(g), the
constraint bounds D h - D h0, h0 = (D^T D)^-1 y / noise^2; without a border u is 0. The
program is solved in units in which ||D h0||_inf is 1: in raw units solvers stop early.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError, SolverError, first_line
from tfxai.sampling.leg.grid import Grid

#: Free solvers, best first. Clarabel comes with cvxpy.
FREE_SOLVERS = ("CLARABEL", "HIGHS", "SCS")


@dataclass(frozen=True)
class Solution:
    """A solution g of the program.

    Attributes:
        relevance: g, over the grid.
        objective: Total variation ||D g||_1.
        violation: Violation of the constraint, relative to its bound.
        solver: Name of the solver.
    """

    relevance: np.ndarray
    objective: float
    violation: float
    solver: str


def _cvxpy() -> Any:
    """cvxpy, imported on first use. It has no type annotations."""
    import cvxpy

    return cvxpy


def least_variation(
    leg: np.ndarray, grid: Grid, strength: float, solver: str = "auto"
) -> Solution:
    """Return LEG-TV of one channel.

    Args:
        leg: LEG of the channel, over the grid.
        grid: The base grid.
        strength: Largest distance from LEG, lambda, between 0 and 1.
        solver: Name of a solver; see `resolve_solver`.

    Raises:
        OptionError: The strength is out of range, or the solver is not installed.
        SolverError: The solver failed or stopped early.
    """
    if not 0 < strength < 1:
        raise OptionError(f"lambda={strength}.", "a number between 0 and 1", "0.1")
    name, d = resolve_solver(solver), grid.differences
    u = grid.ones_solution.ravel() if grid.bordered else np.zeros(grid.n_cells)
    g0 = np.asarray(leg, float).ravel()
    h0 = d @ (g0 + u * g0.mean())
    size = np.abs(h0).max()
    if size == 0:
        return Solution(np.zeros(grid.shape), 0.0, 0.0, name)
    h, q = _solve(d, u, h0 / size, g0.mean() / size, grid, strength, name)
    g = (h - u * q) * size
    return _project(g, g0, u, grid, strength, name)


def _solve(
    d: Any,
    u: np.ndarray,
    scaled: np.ndarray,
    mean: float,
    grid: Grid,
    strength: float,
    name: str,
) -> tuple[np.ndarray, float]:
    """h, and the mean q of g, in units in which ||D h0||_inf is 1."""
    cvxpy = _cvxpy()
    h, q = cvxpy.Variable(grid.n_cells), cvxpy.Variable()
    bounds = [cvxpy.abs(d @ h - scaled) <= strength]
    bounds.append(cvxpy.sum(h) / grid.n_cells == (1 + u.mean()) * q)
    if not grid.bordered:
        bounds.append(q == mean)
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.norm1(d @ h - (d @ u) * q)), bounds)
    try:
        program.solve(solver=name)
    except cvxpy.error.SolverError as error:
        raise SolverError(
            f"{name} failed: {first_line(error)}",
            "a program that the solver can solve",
            f'solver="{FREE_SOLVERS[0]}"',
        ) from error
    if program.status != cvxpy.OPTIMAL:
        other = FREE_SOLVERS[1] if name == FREE_SOLVERS[0] else FREE_SOLVERS[0]
        raise SolverError(
            f"{name} stopped with the status {program.status!r}.",
            "an optimal solution",
            f'another solver: solver="{other}"',
        )
    return np.asarray(h.value), float(np.asarray(q.value))


def _project(
    g: np.ndarray, g0: np.ndarray, u: np.ndarray, grid: Grid, strength: float, name: str
) -> Solution:
    """The solution, moved towards LEG by the least amount that makes it feasible."""
    d = grid.differences

    def gap(v: np.ndarray) -> float:
        moved = v - g0
        return float(np.abs(d @ (moved + u * moved.mean())).max())

    bound = strength * float(np.abs(d @ (g0 + u * g0.mean())).max())
    if gap(g) > bound:
        g = g0 + (bound / gap(g)) * (g - g0)
    violation = max(gap(g) / bound - 1, 0.0)
    return Solution(g.reshape(grid.shape), float(np.abs(d @ g).sum()), violation, name)


#: Solver of cvxpy that handles these programs -> the package that installs it.
PACKAGES = {
    "MOSEK": "mosek", "PIQP": "piqp", "GUROBI": "gurobipy", "ECOS": "ecos",
    "HIGHS": "highspy", "CVXOPT": "cvxopt", "COPT": "coptpy", "XPRESS": "xpress",
    "CLARABEL": "clarabel", "SCS": "scs", "OSQP": "osqp",
}  # fmt: skip


def resolve_solver(solver: str) -> str:
    """Return the name of an installed solver.

    Args:
        solver: Name of a solver of cvxpy. "auto" is MOSEK where it has a licence,
            otherwise the first free one.

    Raises:
        OptionError: The solver is not installed, or has no licence.
    """
    installed = _cvxpy().installed_solvers()
    solver = solver.upper() if isinstance(solver, str) else solver
    if solver == "AUTO":
        if "MOSEK" in installed and mosek_fault() is None:
            return "MOSEK"
        return next(s for s in FREE_SOLVERS if s in installed)
    if solver not in installed:
        package = PACKAGES.get(solver) if isinstance(solver, str) else None
        raise OptionError(
            f"solver={solver!r}, and cvxpy finds {installed}.",
            f'"auto", or one of {installed}; after an installation also '
            f"{', '.join(sorted(set(PACKAGES) - set(installed)))}",
            f"python -m pip install {package}" if package else 'solver="auto"',
        )
    fault = mosek_fault() if solver == "MOSEK" else None
    if fault:
        raise OptionError(
            f"solver='MOSEK', and {fault}.",
            "a valid licence file: MOSEK looks for it where the environment variable "
            "MOSEKLM_LICENSE_FILE says, else at ~/mosek/mosek.lic",
            'solver="auto"',
        )
    return solver


def mosek_fault() -> str | None:
    """Return why MOSEK does not solve a trivial program; None if it does."""
    cvxpy = _cvxpy()
    x = cvxpy.Variable()
    try:
        cvxpy.Problem(cvxpy.Minimize(x), [x >= 0]).solve(solver="MOSEK")
    except Exception as error:  # mosek.Error does not derive from SolverError
        text = first_line(error, 200)
        if "expired" in text.lower() or "1001" in text:
            return f"its licence has expired ({text})"
        missing = ("1008", "missing_license", "cannot find", "could not be located")
        if any(word in text.lower() for word in missing):
            return f"there is no licence ({text})"
        return f"it fails on a trivial program ({text})"
    return None
