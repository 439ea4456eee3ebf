"""The base grid of LEG: its difference matrix, its noise covariance, and the inverse.

Luo, Barut and Jin 2021, *Statistically Consistent Saliency Estimation*, section 3. On
a grid with n cells, D takes the difference of neighbours; with `bordered` it also takes
the difference of every border cell and zero. Noise has the covariance noise^2 Sigma,
Sigma = D^T D + 1 1^T / n, and LEG is (noise^2 Sigma)^-1 y.

No dense matrix is computed: D^T D = L is diagonal in the basis of sines (bordered) or
cosines, and 1 1^T has rank one. The same holds for the root A, Sigma = A A^T.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.sparse as sparse


@dataclass(frozen=True)
class Grid:
    """A grid with any number of axes. Arrays over it have the shape (..., *shape).

    Attributes:
        shape: Number of cells along each axis.
        bordered: Whether D contains the differences between border cells and zero.
    """

    shape: tuple[int, ...]
    bordered: bool = True

    @property
    def n_cells(self) -> int:
        """The number of cells, n."""
        return int(np.prod(self.shape))

    @cached_property
    def eigenvalues(self) -> np.ndarray:
        """Eigenvalues of D^T D over the frequencies; of Sigma without a border."""
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
    def ones_solution(self) -> np.ndarray:
        """u = (D^T D)^-1 1, for a grid with a border."""
        return self.solve_laplacian(np.ones(self.shape))

    def solve_laplacian(self, y: np.ndarray) -> np.ndarray:
        """Return (D^T D)^-1 y, or Sigma^-1 y without a border."""
        return self._from_basis(self._to_basis(y) / self.eigenvalues)

    def apply_root(self, e: np.ndarray) -> np.ndarray:
        """Return A e, where A A^T = Sigma: the noise of independent normals e."""
        scaled = (e + self._rank_one(e, 1)) * np.sqrt(self.eigenvalues)
        return self._from_basis(scaled)

    def solve_root(self, z: np.ndarray) -> np.ndarray:
        """Return A^-1 z: the independent normals of the noise z."""
        e = self._to_basis(z) / np.sqrt(self.eigenvalues)
        return np.asarray(e + self._rank_one(e, -1))

    def solve_root_transposed(self, e: np.ndarray) -> np.ndarray:
        """Return A^-T e: a gradient in the normals as a gradient in the cells."""
        scaled = (e + self._rank_one(e, -1)) / np.sqrt(self.eigenvalues)
        return self._from_basis(scaled)

    def solve_covariance(self, y: np.ndarray) -> np.ndarray:
        """Return Sigma^-1 y: LEG, up to the variance of the noise."""
        return self.solve_root_transposed(self.solve_root(y))

    def _rank_one(self, e: np.ndarray, power: int) -> np.ndarray:
        """The term of 1 1^T / n: (I + w w^T)^(power / 2) e - e, w = 1 / sqrt(n L)."""
        if not self.bordered:
            return np.zeros(())  # the mean has its own frequency
        axes = tuple(range(-len(self.shape), 0))
        ones = self._to_basis(np.ones(self.shape))
        w = ones / np.sqrt(self.n_cells * self.eigenvalues)
        size = (w * w).sum()
        factor = ((1 + size) ** (power / 2) - 1) / size
        return np.asarray(factor * w * (e * w).sum(axes, keepdims=True))

    def _to_basis(self, v: np.ndarray) -> np.ndarray:
        """Coefficients of the sines (bordered) or cosines."""
        axes = range(-len(self.shape), 0)
        if self.bordered:
            return np.asarray(scipy.fft.dstn(v, 1, axes=axes, norm="ortho"))
        return np.asarray(scipy.fft.dctn(v, 2, axes=axes, norm="ortho"))

    def _from_basis(self, v: np.ndarray) -> np.ndarray:
        """The inverse of `_to_basis`."""
        axes = range(-len(self.shape), 0)
        if self.bordered:
            return np.asarray(scipy.fft.idstn(v, 1, axes=axes, norm="ortho"))
        return np.asarray(scipy.fft.idctn(v, 2, axes=axes, norm="ortho"))

    def _neighbours(self, axis: int) -> sparse.sparray:
        """Differences of neighbours along an axis."""
        p = self.shape[axis]
        step = sparse.diags_array([-np.ones(p - 1), np.ones(p - 1)], offsets=[0, 1],
                                  shape=(p - 1, p))  # fmt: skip
        return self._expand(step, axis)

    def _border(self, axis: int) -> sparse.sparray:
        """Differences of zero and both border cells along an axis."""
        p = self.shape[axis]
        ends = sparse.csr_array(([-1.0, 1.0], ([0, 1], [0, p - 1])), shape=(2, p))
        return self._expand(ends, axis)

    def _expand(self, matrix: sparse.sparray, axis: int) -> sparse.sparray:
        """A matrix along one axis, repeated for every cell along the other axes."""
        before, after = self.shape[:axis], self.shape[axis + 1 :]
        left, right = (sparse.eye_array(int(np.prod(s))) for s in (before, after))
        return sparse.kron(sparse.kron(left, matrix), right)


@dataclass(frozen=True)
class OwnGrid(Grid):
    """A grid whose noise has a given covariance.

    Attributes:
        root: The lower triangular root of the covariance (n, n), over the noise scale.
    """

    root: np.ndarray = field(default_factory=lambda: np.eye(1))

    def apply_root(self, e: np.ndarray) -> np.ndarray:
        """Return A e, where A A^T is the covariance: the noise of normals e."""
        return np.asarray((self._flat(e) @ self.root.T).reshape(e.shape))

    def solve_root(self, z: np.ndarray) -> np.ndarray:
        """Return A^-1 z: the independent normals of the noise z."""
        flat = scipy.linalg.solve_triangular(self.root, self._flat(z).T, lower=True)
        return np.asarray(flat.T.reshape(z.shape))

    def solve_root_transposed(self, e: np.ndarray) -> np.ndarray:
        """Return A^-T e: a gradient in the normals as a gradient in the cells."""
        flat = scipy.linalg.solve_triangular(self.root.T, self._flat(e).T)
        return np.asarray(flat.T.reshape(e.shape))

    def _flat(self, v: np.ndarray) -> np.ndarray:
        return v.reshape(-1, self.n_cells)


def _along(v: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A vector along one of `rank` axes."""
    shape = [1] * rank
    shape[axis] = -1
    return v.reshape(shape)
