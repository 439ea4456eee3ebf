"""The validated options of LEG, the noise that they define, and noisy inputs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor
from tfxai.base.validation import above, one_of, whole_number
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import scaled
from tfxai.sampling.leg.estimate import (
    ESTIMATORS,
    MAX_REGRESSION_CELLS,
    MIN_PAIRS_PER_CELL,
)
from tfxai.sampling.leg.grid import Grid, OwnGrid
from tfxai.sampling.leg.noise import BLOCK, independent_noise, orthogonal_noise

#: Default number of evaluations per channel; a few gradients are enough.
DEFAULT_SAMPLES = {
    "gradient": 64, "score": 2000, "absolute": 2000, "regression": 2000,
}  # fmt: skip
SAMPLINGS = {
    "plain": independent_noise,
    "antithetic": independent_noise,
    "orthogonal": orthogonal_noise,
}
#: Cells of the base grid along each side, by default; fewer where a side is shorter.
BASE_SIZE = 28
#: The default scale of the noise.
NOISE = 0.02
#: Extent of an input from which on its values are those of an image in 0..255.
BYTES = 16.0
#: Options that `extra` always records; others only where they are not the default.
RECORDED = ("estimator", "n_samples", "scale", "noise", "base_size", "seed")


@dataclass(frozen=True)
class LegConfig:
    """The options of LEG, validated; see `leg`.

    Attributes:
        output_of: Function (outputs) -> explained number, of the scale.
    """

    wrapped: ModelWrapper
    contrast: int | None = None
    scale: str = "auto"
    base_size: Any = BASE_SIZE
    bordered: bool = True
    noise: float = NOISE
    unit: float | None = None
    n_samples: int | None = None
    sampling: str = "auto"
    estimator: str = "auto"
    tolerance: float | None = None
    clip: tuple[float, float] | None = None
    truncate: bool = False
    seed: int = 0
    precision: str = "float32"
    covariance: Any = None
    output_of: Callable[[Tensor], Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.wrapped.check_precision(self.precision)
        scale, output_of = scaled(self.wrapped, self.scale)
        self._set(scale=scale, output_of=output_of)
        one_of("sampling", self.sampling, ("auto", *SAMPLINGS))
        one_of("estimator", self.estimator, ("auto", *ESTIMATORS))
        above("noise", self.noise)
        if self.covariance is not None and self.noise != NOISE:
            raise OptionError(
                f"noise={self.noise!r} and covariance are both given.",
                "one of them: a covariance has its own scale",
                "covariance=None",
            )
        if self.unit is not None:
            above("unit", self.unit)
        if self.tolerance is not None:
            above("tolerance", self.tolerance)
        self._resolve_estimator()
        if self.n_samples is None:
            self._set(n_samples=DEFAULT_SAMPLES[self.estimator])
        around_mean = self.estimator == "regression" and self.sampling == "plain"
        whole_number("n_samples", self.n_samples, 2 if around_mean else 1)
        whole_number("seed", self.seed, 0)
        _check_clip(self.clip)

    def _set(self, **values: Any) -> None:
        """Replace "auto" and None by what they stand for, before anyone reads them."""
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _resolve_estimator(self) -> None:
        """Choose the estimator for "auto", and check that the model supports it."""
        if self.estimator == "auto":
            smooth = self.wrapped.differentiable and not self.truncate
            self._set(estimator="gradient" if smooth else "regression")
        if self.estimator == "gradient" and self.truncate:
            raise OptionError(
                "estimator='gradient' with truncate=True: whole numbers have no "
                "gradient.",
                "an estimator without gradients, or inputs that are not truncated",
                "estimator='score', or truncate=False",
            )
        if self.estimator == "gradient":
            self.wrapped.check_differentiable()
        if self.estimator == "absolute":
            if self.sampling not in ("auto", "plain"):
                raise OptionError(
                    f"estimator='absolute' with sampling={self.sampling!r}: its draws "
                    "are not paired.",
                    "independent draws",
                    'sampling="plain"',
                )
            self._set(sampling="plain")

    def unit_of(self, x: Tensor) -> Tensor | float:
        """Return the unit of the noise of inputs (k, ..., C): `unit`, or (k, 1, ...).

        By default it is 255 for inputs whose extent is above `BYTES`, otherwise the
        extent: the larger one of their range and of their largest absolute value.
        """
        if self.unit is not None:
            return self.unit
        axes = list(range(1, x.shape.rank))
        low, high = tf.reduce_min(x, axes, True), tf.reduce_max(x, axes, True)
        span = tf.maximum(high - low, tf.maximum(high, -low))
        span = tf.where(span > 0, span, tf.ones_like(span))
        return tf.where(span > BYTES, tf.constant(255, span.dtype), span)

    @property
    def count(self) -> int:
        """The largest number of evaluations per channel."""
        assert self.n_samples is not None
        return self.n_samples

    @property
    def paired(self) -> bool:
        """Whether every draw z is evaluated together with -z."""
        return self.sampling != "plain"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that an explanation records in `extra`."""
        given = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.init and f.name not in ("wrapped", "covariance")
        }
        defaults = {f.name: f.default for f in fields(self)}
        return {
            name: value
            for name, value in given.items()
            if name in RECORDED or value is not defaults[name]
        }

    @property
    def n_draws(self) -> int:
        """The largest number of draws per channel, or of pairs of draws."""
        return -(-self.count // 2) if self.paired else self.count

    def grid(self, shape: tuple[int, ...]) -> Grid:
        """Return the base grid for inputs of a shape.

        Args:
            shape: Shape of one input (*spatial, channels).

        Raises:
            OptionError: The grid does not fit the input, is too large for a regression,
                or has too many cells for n_samples.
        """
        grid = Grid(self._grid_shape(shape[:-1]), self.bordered)
        if self.covariance is not None:
            root = _root_of(self.covariance, grid.n_cells) / self.noise
            grid = OwnGrid(grid.shape, self.bordered, root)
        if self.estimator == "regression" and grid.n_cells > MAX_REGRESSION_CELLS:
            raise OptionError(
                f"estimator='regression' on a grid of {grid.n_cells} cells.",
                f"at most {MAX_REGRESSION_CELLS} cells, since it solves for all at "
                "once",
                "base_size=28, or estimator='score'",
            )
        if self._sampling_on(grid) == "orthogonal" and not self._has_enough_pairs(grid):
            raise OptionError(
                f"n_samples={self.count} for a regression on {grid.n_cells} orthogonal "
                "directions: directions without a draw remain unknown.",
                f"at least {int(2 * MIN_PAIRS_PER_CELL * grid.n_cells) + 1}",
                'sampling="antithetic"',
            )
        return grid

    def _grid_shape(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """`base_size` as one number for each spatial axis."""
        sizes = self.base_size
        sizes = (sizes,) * len(spatial) if np.ndim(sizes) == 0 else tuple(sizes)
        if np.ndim(self.base_size) == 0 and self.base_size == BASE_SIZE:
            sizes = tuple(min(BASE_SIZE, n) for n in spatial)
        valid = len(sizes) == len(spatial)
        for p, n in zip(sizes, spatial, strict=False):
            valid = bool(valid and isinstance(p, int | np.integer) and 0 < p <= n)
        if not valid:
            raise OptionError(
                f"base_size={self.base_size!r} for inputs with the spatial shape "
                f"{spatial}.",
                "a whole number no larger than any side, or one for each side",
                f"base_size={min(spatial)}",
            )
        return sizes

    def _has_enough_pairs(self, grid: Grid) -> bool:
        """Whether a regression on orthogonal pairs is reliable."""
        enough = self.count > 2 * MIN_PAIRS_PER_CELL * grid.n_cells
        return self.estimator != "regression" or enough

    def _sampling_on(self, grid: Grid) -> str:
        """The sampling on a grid: orthogonal pairs are best where there are enough."""
        if self.sampling != "auto":
            return self.sampling
        best = self.estimator == "regression" and self._has_enough_pairs(grid)
        return "orthogonal" if best else "antithetic"

    def first_check(self, grid: Grid) -> int:
        """Return the number of draws before the first check of the standard error."""
        orthogonal = self._sampling_on(grid) == "orthogonal"
        if orthogonal and self.estimator == "regression":
            return min(int(MIN_PAIRS_PER_CELL * grid.n_cells) + 1, self.n_draws)
        return min(2 * BLOCK, self.n_draws)

    def add_noise(
        self, x: Tensor, z: Tensor, channel: Tensor, spatial: tuple[int, ...]
    ) -> Tensor:
        """Return inputs with noise on one channel each.

        Args:
            x: Inputs (k, *spatial, C).
            z: Noise (k, *grid), in units of `unit_of(x)`.
            channel: Channel of each input that receives the noise (k,).
            spatial: Spatial shape of the inputs.
        """
        for axis, n in enumerate(spatial, 1):
            cells = np.arange(n) * z.shape[axis] // n
            z = tf.gather(z, cells, axis=axis)
        mask = tf.one_hot(channel, x.shape[-1], dtype=x.dtype)
        mask = tf.reshape(mask, [-1, *[1] * len(spatial), x.shape[-1]])
        noisy = x + self.unit_of(x) * z[..., None] * mask
        if self.clip is not None:
            noisy = tf.clip_by_value(noisy, *self.clip)
        if self.truncate:
            return tf.cast(tf.cast(noisy, tf.int32), x.dtype)
        return noisy

    def draws(self, grid: Grid, channel: int) -> Iterator[np.ndarray]:
        """Yield blocks (<= BLOCK, *grid) of noise, `n_draws` in total.

        Args:
            grid: The base grid.
            channel: Number of the channel; each has its own noise.
        """
        left = self.n_draws
        sample = SAMPLINGS[self._sampling_on(grid)]
        blocks = sample(grid, [self.seed, channel], left)
        while left > 0:
            z = self.noise * next(blocks)[:left]
            yield np.asarray(z, np.float32)
            left -= len(z)


def _root_of(covariance: Any, n: int) -> np.ndarray:
    """The lower triangular root of a covariance (n, n)."""
    array = np.asarray(covariance)
    if array.shape == (n, n) and array.dtype.kind in "biuf":
        try:
            if np.allclose(array, array.T, rtol=1e-5, atol=1e-12):
                return np.asarray(np.linalg.cholesky(array.astype(float)))
        except np.linalg.LinAlgError:
            pass
    raise OptionError(
        f"covariance has shape {array.shape} for a base grid of {n} cells, or is not "
        "symmetric and positive definite.",
        f"a positive definite matrix ({n}, {n})",
        f"covariance=0.02**2 * np.eye({n})",
    )


def _check_clip(clip: Any) -> None:
    """Raise OptionError for a clip that is not a pair (low, high)."""
    if clip is None:
        return
    try:
        low, high = (float(v) for v in clip)
        valid = low < high
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise OptionError(f"clip={clip!r}.", "(low, high)", "clip=(0, 255)")
