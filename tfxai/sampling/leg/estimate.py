"""From answers to LEG: what draws of noise, and what was answered, say of the slope.

LEG is (noise^2 Sigma)^-1 E[(f(x + z) - f(x)) z]. With z = noise A e, e independent
normals and Sigma = A A^T, it is A^-T b / noise, where b = E[f e] is the linear
regression of the answer on e. Estimators are told draws block by block and keep sums
alone: their memory does not grow with the draws.
"""

from typing import Protocol

import numpy as np

from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.regression import one_thread

#: Penalties that a regression tries, relative to the mean weight of a direction.
PENALTIES = np.geomspace(1e-5, 1e3, 81)


class Estimator(Protocol):
    """`add` draws z (m, *grid) and answers; `result` is LEG and its standard error.

    The error is NaN after one draw, or one pair, which say nothing of the others.
    """

    count: int

    def add(self, z: np.ndarray, answers: np.ndarray) -> None: ...

    def result(self) -> tuple[np.ndarray, np.ndarray]: ...


class Gradient:
    """The mean of slopes (m, T, *grid): Stein's identity, E[f z] = Sigma E[f'].

    The standard error is that of independent draws: of orthogonal ones it is a bound.
    """

    def __init__(self, grid: Grid, noise: float, paired: bool) -> None:
        self.grid, self.noise, self.count = grid, noise, 0
        self._sum = self._squares = np.zeros(())

    def add(self, z: np.ndarray, answers: np.ndarray) -> None:
        parts = self.parts(z, np.asarray(answers, float))
        self._sum = self._sum + parts.sum(0)
        self._squares = self._squares + (parts**2).sum(0)
        self.count += len(z)

    def parts(self, z: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The LEG of each draw alone, (m, T, *grid)."""
        return answers

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        mean = self._sum / self.count
        spread = np.maximum(self._squares / self.count - mean**2, 0)
        return mean, _known(np.sqrt(spread / max(self.count - 1, 1)), self.count)


class Score(Gradient):
    """The mean of (change of the answer) Sigma^-1 z, the definition; (m, T)."""

    def parts(self, z: np.ndarray, answers: np.ndarray) -> np.ndarray:
        each = self.grid.whitened(z.astype(float)) / self.noise**2
        return np.einsum("mt,m...->mt...", answers, each)


class Regression:
    """Ridge regression of the change (m, T) on the normals e.

    The penalty is that of the least generalised cross-validation (Golub, Heath and
    Wahba 1979), one for each target. The standard error is that of the ridge's
    posterior: directions that were never asked about have the size of the others.
    Draws that are no pairs leave what is even in z: it has an intercept.
    """

    penalties = PENALTIES

    def __init__(self, grid: Grid, noise: float, paired: bool) -> None:
        self.grid, self.noise, self.count = grid, noise, 0
        self._constants = 0 if paired else 1
        self._gram = np.zeros((grid.places, grid.places))
        self._normals = np.zeros(grid.places)
        self._with = self._squares = self._sum = np.zeros(())

    def add(self, z: np.ndarray, answers: np.ndarray) -> None:
        e = self.grid.white(z.astype(float)).reshape(len(z), -1) / self.noise
        y = np.asarray(answers, float)
        self._gram += e.T @ e
        self._with = self._with + e.T @ y
        self._squares = self._squares + (y**2).sum(0)
        self._sum, self._normals = self._sum + y.sum(0), self._normals + e.sum(0)
        self.count += len(z)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        gram, b, squares = self._gram, self._with, self._squares
        if self._constants:  # around the means
            gram = gram - np.outer(self._normals, self._normals) / self.count
            b = b - np.outer(self._normals, self._sum) / self.count
            squares = squares - self._sum**2 / self.count
        with one_thread():
            weights, axes = np.linalg.eigh(gram)
        weights = np.maximum(weights, 0)
        b = axes.T @ b  # (n, T)
        tried = self.penalties * weights.sum() / min(self.count, len(weights))
        total = weights + tried[:, None]  # (penalties, n)
        left = self.count - self._constants - (weights / total).sum(-1)
        fitted = (2 - weights / total) / total @ b**2
        missed = np.maximum(squares - fitted, 1e-12 * squares)
        best = np.argmin(missed / left[:, None] ** 2, 0)  # (T,)
        variance = missed[best, np.arange(len(best))] / left[best]
        shape = (-1, *self.grid.shape)
        along = self.grid.dual(axes.T.reshape(shape)) / self.noise  # (n, *grid)
        slope = np.einsum("tn,n...->t...", b.T / total[best], along)
        spread = np.einsum("tn,n...->t...", variance[:, None] / total[best], along**2)
        return slope, _known(np.sqrt(spread), self.count)


def _known(error: np.ndarray, count: int) -> np.ndarray:
    return error if count > 1 else np.full_like(error, np.nan)


#: name -> estimator.
ESTIMATORS: dict[str, type[Gradient] | type[Regression]] = {
    "score": Score,
    "gradient": Gradient,
    "regression": Regression,
}
#: Pairs for each place from which on orthogonal ones can be told from noise: with fewer
#: no cross-validation sees what the others would say.
ENOUGH = 1.2
#: The largest grid whose regression is solved: its Gram matrix has places^2 numbers.
PLACES = 4096
