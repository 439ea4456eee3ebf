"""Estimators of LEG from draws of noise and the outputs of the model under them.

LEG is (noise^2 Sigma)^-1 E[(f(x + z) - f(x)) z]. With z = noise A e, independent
normals e and Sigma = A A^T, it is A^-T b / noise, where b = E[f e] is the linear
regression of the output on e. Estimators receive draws block by block and keep only
sums: their memory does not grow with the number of draws.
"""

from typing import Protocol

import numpy as np

from tfxai.core.intervals import SHARED
from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.regression import one_thread

#: Penalties of the ridge regression, relative to the mean eigenvalue of the Gram
#: matrix.
PENALTIES = np.geomspace(1e-5, 1e3, 81)
#: Number of pairs per cell from which on a regression on orthogonal pairs is reliable.
#: With fewer pairs cross-validation has no draws beyond the fitted directions.
MIN_PAIRS_PER_CELL = 1.2
#: Largest grid for a regression: its Gram matrix has n_cells^2 numbers.
MAX_REGRESSION_CELLS = 4096


class Estimator(Protocol):
    """An estimator of LEG. count: the number of draws, or pairs, so far."""

    count: int

    def add(self, z: np.ndarray, outputs: np.ndarray) -> None:
        """Add draws z (m, *grid) and the model's outputs under them."""

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return LEG and its standard error, (T, *grid).

        The error is NaN after one draw, or one pair: one value has no deviation.
        """


class GradientEstimator:
    """The mean of gradients (m, T, *grid): Stein's identity, E[f z] = Sigma E[f'].

    The standard error is that of independent draws, and a bound for orthogonal ones.
    The variance of each cell has a share of the mean of all cells; see `SHARED`.
    """

    shared = SHARED

    def __init__(self, grid: Grid, noise: float, paired: bool) -> None:
        self.grid, self.noise, self.count = grid, noise, 0
        self._sum = self._squares = np.zeros(())

    def add(self, z: np.ndarray, outputs: np.ndarray) -> None:
        """Add draws z (m, *grid) and the model's outputs under them."""
        terms = self.terms(z, np.asarray(outputs, float))
        self._sum = self._sum + terms.sum(0)
        self._squares = self._squares + (terms**2).sum(0)
        self.count += len(z)

    def terms(self, z: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return the estimate of each single draw, (m, T, *grid)."""
        return outputs

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return LEG and its standard error, (T, *grid)."""
        mean, freedom = np.asarray(self._sum / self.count), max(self.count - 1, 1)
        spread = np.maximum(self._squares - self.count * mean**2, 0)
        axes = tuple(range(1, spread.ndim))
        common = self.shared * spread.mean(axes, keepdims=True) / freedom
        error = np.sqrt((spread + common) / (freedom + self.shared) / self.count)
        return mean, _nan_if_single(error, self.count)


class ScoreEstimator(GradientEstimator):
    """The definition: the mean of (change of the output) Sigma^-1 z / noise^2."""

    shared = 0.0

    def terms(self, z: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return the estimate of each single draw, (m, T, *grid)."""
        direction = self.grid.solve_covariance(z.astype(float)) / self.noise**2
        return np.asarray(np.einsum("mt,m...->mt...", outputs, direction))


class AbsoluteEstimator(ScoreEstimator):
    """The mean of |change of the output| Sigma^-1 |z| / noise^2.

    That is `gradient_scheme="abs"` of the LEG repository: how much the output changes,
    in either direction. The draws are not paired.
    """

    def terms(self, z: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Return the estimate of each single draw, (m, T, *grid)."""
        return super().terms(np.abs(z), np.abs(outputs))


class RegressionEstimator:
    """Ridge regression of the change of the output (m, T) on the normals e.

    For each target the penalty minimises the generalised cross-validation (Golub, Heath
    and Wahba 1979). The standard error is that of the ridge's posterior: directions
    without draws have the size of the others. Unpaired draws leave the even part of f
    in z, so the regression has an intercept.
    """

    penalties = PENALTIES

    def __init__(self, grid: Grid, noise: float, paired: bool) -> None:
        self.grid, self.noise, self.count = grid, noise, 0
        self._n_constants = 0 if paired else 1
        self._gram = np.zeros((grid.n_cells, grid.n_cells))
        self._sum_e = np.zeros(grid.n_cells)
        self._products = self._squares = self._sum_y = np.zeros(())

    def add(self, z: np.ndarray, outputs: np.ndarray) -> None:
        """Add draws z (m, *grid) and the changes of the output under them (m, T)."""
        e = self.grid.solve_root(z.astype(float)).reshape(len(z), -1) / self.noise
        y = np.asarray(outputs, float)
        self._gram += e.T @ e
        self._products = self._products + e.T @ y
        self._squares = self._squares + (y**2).sum(0)
        self._sum_y, self._sum_e = self._sum_y + y.sum(0), self._sum_e + e.sum(0)
        self.count += len(z)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return LEG and its standard error, (T, *grid)."""
        gram, products, squares = self._centred()
        with one_thread():
            weights, axes = np.linalg.eigh(gram)
        weights = np.maximum(weights, 0)
        b = axes.T @ products  # (n, T)
        total, variance = self._best_penalties(weights, b, squares)
        shape = (-1, *self.grid.shape)
        along = self.grid.solve_root_transposed(axes.T.reshape(shape)) / self.noise
        leg = np.einsum("tn,n...->t...", b.T / total, along)
        squared = np.einsum("tn,n...->t...", variance[:, None] / total, along**2)
        return leg, _nan_if_single(np.sqrt(squared), self.count)

    def _centred(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """e^T e (n, n), e^T y (n, T) and y^T y (T,), around the means if unpaired."""
        if not self._n_constants:
            return self._gram, self._products, self._squares
        return (
            self._gram - np.outer(self._sum_e, self._sum_e) / self.count,
            self._products - np.outer(self._sum_e, self._sum_y) / self.count,
            self._squares - self._sum_y**2 / self.count,
        )

    def _best_penalties(
        self, weights: np.ndarray, b: np.ndarray, squares: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Penalised eigenvalues (T, n) and residual variances (T,) of each target."""
        penalties = self.penalties * weights.sum() / min(self.count, len(weights))
        total = weights + penalties[:, None]  # (penalties, n)
        freedom = self.count - self._n_constants - (weights / total).sum(-1)
        explained = (2 - weights / total) / total @ b**2
        residual = np.maximum(squares - explained, 1e-12 * squares)
        best = np.argmin(residual / freedom[:, None] ** 2, 0)  # (T,)
        variance = residual[best, np.arange(len(best))] / freedom[best]
        return total[best], variance


def _nan_if_single(error: np.ndarray, count: int) -> np.ndarray:
    """The standard error, or NaN where a single draw does not determine it."""
    return error if count > 1 else np.full_like(error, np.nan)


#: name -> estimator.
ESTIMATORS: dict[str, type[GradientEstimator] | type[RegressionEstimator]] = {
    "score": ScoreEstimator,
    "absolute": AbsoluteEstimator,
    "gradient": GradientEstimator,
    "regression": RegressionEstimator,
}
