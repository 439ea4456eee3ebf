"""The base grid of LEG: its difference matrix, structured noise, and its inverse.

Luo, Barut and Jin 2021, *Statistically Consistent Saliency Estimation*, section 3. On
a grid with n places D takes the difference of neighbours; `bordered` also takes that of
every border with zero. Noise has the covariance noise^2 Sigma, Sigma = D^T D + 1 1^T /
n, and LEG is (noise^2 Sigma)^-1 y.

No dense matrix is made: D^T D = L is diagonal in sines (bordered) or cosines, and 1 1^T
is of rank one. So is its root A, Sigma = A A^T.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
import scipy.sparse as sparse


@dataclass(frozen=True)
class Grid:
    """A grid of any number of axes. Arrays over it are (..., *shape)."""

    shape: tuple[int, ...]
    bordered: bool = True

    @property
    def places(self) -> int:
        """n."""
        return int(np.prod(self.shape))

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Of D^T D, over the grid of frequencies; of Sigma where there is no border."""
        total = np.zeros(self.shape)
        for axis, p in enumerate(self.shape):
            k = np.arange(1, p + 1) / (p + 1) if self.bordered else np.arange(p) / p
            total += _along(2 - 2 * np.cos(np.pi * k), axis, len(self.shape))
        if not self.bordered:
            total.flat[0] = 1.0  # the mean: 0 of D^T D, 1 of 1 1^T / n
        return total

    @cached_property
    def differences(self) -> sparse.csr_array:
        """D, (rows, n): neighbours along every axis, then the borders."""
        rows = [self._neighbours(axis) for axis in range(len(self.shape))]
        if self.bordered:
            rows += [self._border(axis) for axis in range(len(self.shape))]
        return sparse.csr_array(sparse.vstack(rows))

    @cached_property
    def ones(self) -> np.ndarray:
        """u = (D^T D)^-1 1, where there is a border."""
        return self.solve(np.ones(self.shape))

    def solve(self, y: np.ndarray) -> np.ndarray:
        """(D^T D)^-1 y, or Sigma^-1 y where there is no border."""
        return self._back(self._into(y) / self.eigenvalues)

    def coloured(self, e: np.ndarray) -> np.ndarray:
        """A e, (..., *shape), where A A^T = Sigma: noise of independent normals e."""
        return self._back((e + self._ones(e, 1)) * np.sqrt(self.eigenvalues))

    def white(self, z: np.ndarray) -> np.ndarray:
        """A^-1 z: the normals that the noise was made of."""
        e = self._into(z) / np.sqrt(self.eigenvalues)
        return e + self._ones(e, -1)

    def dual(self, e: np.ndarray) -> np.ndarray:
        """A^-T e: a slope along the normals as a slope along the places."""
        return self._back((e + self._ones(e, -1)) / np.sqrt(self.eigenvalues))

    def whitened(self, y: np.ndarray) -> np.ndarray:
        """Sigma^-1 y: LEG, but for the noise's variance."""
        return self.dual(self.white(y))

    def _ones(self, e: np.ndarray, power: int) -> np.ndarray:
        """What 1 1^T / n adds: (I + w w^T)^(power / 2) e - e, w = 1 / sqrt(n L)."""
        if not self.bordered:
            return np.zeros(())  # the mean is a frequency of its own
        axes = tuple(range(-len(self.shape), 0))
        w = self._into(np.ones(self.shape)) / np.sqrt(self.places * self.eigenvalues)
        size = (w * w).sum()
        factor = ((1 + size) ** (power / 2) - 1) / size
        return factor * w * (e * w).sum(axes, keepdims=True)

    def _into(self, v: np.ndarray) -> np.ndarray:
        axes = range(-len(self.shape), 0)
        if self.bordered:
            return scipy.fft.dstn(v, 1, axes=axes, norm="ortho")
        return scipy.fft.dctn(v, 2, axes=axes, norm="ortho")

    def _back(self, v: np.ndarray) -> np.ndarray:
        axes = range(-len(self.shape), 0)
        if self.bordered:
            return scipy.fft.idstn(v, 1, axes=axes, norm="ortho")
        return scipy.fft.idctn(v, 2, axes=axes, norm="ortho")

    def _neighbours(self, axis: int) -> sparse.sparray:
        p = self.shape[axis]
        step = sparse.diags_array([-np.ones(p - 1), np.ones(p - 1)], offsets=[0, 1],
                                  shape=(p - 1, p))  # fmt: skip
        return self._each(step, axis)

    def _border(self, axis: int) -> sparse.sparray:
        p = self.shape[axis]
        ends = sparse.csr_array(([-1.0, 1.0], ([0, 1], [0, p - 1])), shape=(2, p))
        return self._each(ends, axis)

    def _each(self, one: sparse.sparray, axis: int) -> sparse.sparray:
        """A matrix along one axis, for every place along the others."""
        before, after = self.shape[:axis], self.shape[axis + 1 :]
        left, right = (sparse.eye_array(int(np.prod(s))) for s in (before, after))
        return sparse.kron(sparse.kron(left, one), right)


def _along(v: np.ndarray, axis: int, rank: int) -> np.ndarray:
    shape = [1] * rank
    shape[axis] = -1
    return v.reshape(shape)
