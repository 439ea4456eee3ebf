"""The options of LEG, checked; how noise is drawn, and put on a picture."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor
from tfxai.base.validation import above, one_of, whole_number
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import scaled
from tfxai.sampling.leg.estimate import ENOUGH, ESTIMATORS, PLACES
from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.leg.noise import BLOCK, orthogonal, plain

#: Evaluations for one channel unless told: of slopes few are enough.
EVALUATIONS = {"gradient": 64, "score": 2000, "regression": 2000}
SAMPLINGS = {"plain": plain, "antithetic": plain, "orthogonal": orthogonal}


class Question:
    """What is asked about one picture: its noise, and the number that is explained."""

    def __init__(
        self,
        wrapped: ModelWrapper,
        opposite: int | None = None,
        scale: str = "auto",
        base_size: Any = 28,
        bordered: bool = True,
        noise: float = 0.02,
        unit: float = 255.0,
        n_samples: int | None = None,
        sampling: str = "auto",
        estimator: str = "auto",
        tolerance: float | None = None,
        clip: tuple[float, float] | None = None,
        cut: bool = False,
        seed: int = 0,
        precision: str = "float32",
    ) -> None:
        wrapped.check_precision(precision)
        self.scale, self.number = scaled(wrapped, scale)
        one_of("sampling", sampling, ("auto", *SAMPLINGS))
        one_of("estimator", estimator, ("auto", *ESTIMATORS))
        above("noise", noise)
        above("unit", unit)
        if tolerance is not None:
            above("tolerance", tolerance)
        if estimator == "auto":
            smooth = wrapped.differentiable and not cut
            estimator = "gradient" if smooth else "regression"
        if estimator == "gradient" and cut:
            raise OptionError(
                "estimator='gradient' with cut=True: whole numbers have no slope.",
                "estimator='score', or cut=False",
            )
        if estimator == "gradient":
            wrapped.check_differentiable()
        self.count = EVALUATIONS[estimator] if n_samples is None else n_samples
        around_mean = estimator == "regression" and sampling == "plain"
        whole_number("n_samples", self.count, 2 if around_mean else 1)
        whole_number("seed", seed, 0)
        _check_clip(clip)
        self.wrapped, self.opposite = wrapped, opposite
        self.base_size, self.bordered, self.seed = base_size, bordered, seed
        self.noise, self.unit, self.estimator = noise, unit, estimator
        self.sampling, self.paired = sampling, sampling != "plain"
        self.tolerance, self.clip, self.cut = tolerance, clip, cut
        self.precision = precision

    @property
    def told(self) -> dict[str, Any]:
        """What was decided, for `extra`."""
        return {
            "estimator": self.estimator,
            "n_samples": self.count,
            "scale": self.scale,
            "noise": self.noise,
            "base_size": self.base_size,
            "seed": self.seed,
        }

    @property
    def available(self) -> int:
        """How many draws there are for a channel, or pairs of them."""
        return -(-self.count // 2) if self.paired else self.count

    def grid(self, shape: tuple[int, ...]) -> Grid:
        """The base grid of pictures (*spatial, channels)."""
        spatial = shape[:-1]
        sizes = self.base_size
        sizes = (sizes,) * len(spatial) if np.ndim(sizes) == 0 else tuple(sizes)
        good = len(sizes) == len(spatial)
        for p, n in zip(sizes, spatial, strict=False):
            good = bool(good and isinstance(p, int | np.integer) and 0 < p <= n)
        if not good:
            raise OptionError(
                f"base_size={self.base_size!r} for pictures of {spatial}.",
                "a whole number no larger than any side, or one for each side",
                f"base_size={min(spatial)}",
            )
        grid = Grid(sizes, self.bordered)
        if self.estimator == "regression" and grid.places > PLACES:
            raise OptionError(
                f"estimator='regression' on a grid of {grid.places} places.",
                f"at most {PLACES} places: it solves for all of them at once",
                "base_size=28, or estimator='score'",
            )
        if self._way(grid) == "orthogonal" and not self._enough(grid):
            raise OptionError(
                f"n_samples={self.count} for a regression on {grid.places} orthogonal "
                "directions: what was not asked about cannot be told.",
                f"at least {int(2 * ENOUGH * grid.places) + 1}",
                'sampling="antithetic"',
            )
        return grid

    def _enough(self, grid: Grid) -> bool:
        return self.estimator != "regression" or self.count > 2 * ENOUGH * grid.places

    def _way(self, grid: Grid) -> str:
        """How draws are made: orthogonal pairs are best, where there are enough."""
        if self.sampling != "auto":
            return self.sampling
        best = self.estimator == "regression" and self._enough(grid)
        return "orthogonal" if best else "antithetic"

    def first_look(self, grid: Grid) -> int:
        """The draws before which no standard error is looked at."""
        told = self._way(grid) == "orthogonal" and self.estimator == "regression"
        look = int(ENOUGH * grid.places) + 1 if told else 2 * BLOCK
        return min(look, self.available)

    def changed(
        self, x: Tensor, z: Tensor, channel: Tensor, spatial: tuple[int, ...]
    ) -> Tensor:
        """Pictures (k, *spatial, C) with noise z (k, *grid) on a channel each, (k,)."""
        for axis, n in enumerate(spatial, 1):
            cells = np.arange(n) * z.shape[axis] // n
            z = tf.gather(z, cells, axis=axis)
        here = tf.one_hot(channel, x.shape[-1])
        here = tf.reshape(here, [-1, *[1] * len(spatial), x.shape[-1]])
        noisy = x + self.unit * z[..., None] * here
        if self.clip is not None:
            noisy = tf.clip_by_value(noisy, *self.clip)
        return tf.cast(tf.cast(noisy, tf.int32), tf.float32) if self.cut else noisy

    def draws(self, grid: Grid, channel: int) -> Iterator[np.ndarray]:
        """Blocks (<= BLOCK, *grid) of noise, until there are enough evaluations."""
        left = self.available
        blocks = SAMPLINGS[self._way(grid)](grid, [self.seed, channel], left)
        while left > 0:
            z = self.noise * next(blocks)[:left]
            yield np.asarray(z, np.float32)
            left -= len(z)


def _check_clip(clip: Any) -> None:
    """Refuse what is no (low, high)."""
    if clip is None:
        return
    try:
        low, high = (float(v) for v in clip)
        good = low < high
    except (TypeError, ValueError):
        good = False
    if not good:
        raise OptionError(f"clip={clip!r}.", "(low, high)", "clip=(0, 255)")
