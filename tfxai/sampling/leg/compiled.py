"""LEG, compiled for inputs of one shape, and the relevance that it returns."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.progress import bar
from tfxai.base.tensors import Tensor, real
from tfxai.base.validation import whole_number
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.intervals import with_interval
from tfxai.core.output_scale import check_rows
from tfxai.core.queries import Probe
from tfxai.sampling.leg.batch import Gradients, LegBatch, NoiseGradient
from tfxai.sampling.leg.config import LegConfig
from tfxai.sampling.leg.grid import Grid

#: (LEG (B, T, C, *grid), grid, spatial shape) -> relevance and arrays for `extra`.
Finish = Callable[[np.ndarray, Grid, tuple[int, ...]], dict[str, Any]]


class CompiledLeg:
    """LEG, compiled for inputs of one shape. A call explains a batch.

    Args:
        config: The options.
        finish: Function that computes the relevance from LEG on the base grid.
        inputs: Arrays of the shapes of the inputs.
        target_fn: The target function, or None for a class.
        single_target: Whether there is one target for each sample.

    Raises:
        InputError: The inputs are neither images nor series.
        OptionError: The base grid or the contrast class does not fit the model.
    """

    def __init__(
        self,
        config: LegConfig,
        finish: Finish,
        inputs: list[np.ndarray],
        target_fn: TargetFn,
        single_target: bool,
    ) -> None:
        if len(inputs) > 1 or inputs[0].ndim < 3:
            raise InputError(
                f"LEG received inputs of shapes {[v.shape for v in inputs]}.",
                "one batch of images or series, (B, ..., channels)",
                'method="occlusion"',
            )
        self._config, self._finish = config, finish
        *spatial, self._channels = inputs[0].shape[1:]
        self._spatial = tuple(spatial)
        self._grid = config.grid(inputs[0].shape[1:])
        check_rows(config.wrapped, config.scale, inputs)
        outputs = config.wrapped.output_shape(inputs)
        _check_contrast(config.contrast, outputs, target_fn)
        specs = [
            tf.TensorSpec((None, *self._grid.shape), tf.float32),
            tf.TensorSpec((None,), tf.int32),
        ]
        self._probe = Probe(
            config.wrapped, self._add_noise, inputs, specs, target_fn,
            config.output_of, config.precision, single=True,
        )  # fmt: skip
        self._gradients: Gradients | None = None
        if config.estimator == "gradient":
            self._gradients = NoiseGradient(config, self._probe, inputs, specs)

    def __call__(
        self, inputs: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> dict[str, Any]:
        """Return the relevance of a batch, LEG on the base grid, and its error."""
        batch = self._batch(inputs, target, max_batch)
        n = len(target)
        total = n * self._channels * self._config.count
        with bar("evaluations", total) as advance:
            estimates = [
                [batch.estimate(b, c, advance) for c in range(self._channels)]
                for b in range(n)
            ]
        base, error = (  # (B, T, C, *grid)
            np.stack([np.stack([e[k] for e in row], 1) for row in estimates])
            for k in (0, 1)
        )
        finished = self._finish(base, self._grid, self._spatial)
        evaluations = np.array([[e[2] for e in row] for row in estimates])
        used = evaluations // (1 + self._config.paired) - 1
        freedom = used.reshape(n, 1, -1, *[1] * len(self._grid.shape))
        score = batch.subtract_contrast(batch.score)
        return {
            "base": base,
            **with_interval(base, error, freedom),
            **finished,
            "each": {"evaluations": evaluations, **finished.get("each", {})},
            "score": score,
            "target": batch.target[:, : score.shape[1]],
        }

    def _batch(
        self, inputs: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> LegBatch:
        """The batch, with the contrast class as the last target."""
        if self._config.contrast is not None:
            contrast = np.full((len(target), 1), self._config.contrast, np.int32)
            target = np.concatenate([target, contrast], 1)
        score, target = self._probe.unchanged_scores(inputs, target, max_batch)
        return LegBatch(
            self._config, self._grid, self._probe, self._gradients, inputs, target,
            score, max_batch,
        )  # fmt: skip

    def _add_noise(self, xs: list[Tensor], parameters: list[Tensor]) -> list[Tensor]:
        """The change of the probe. parameters: noise and channels."""
        x, (noise, channel) = real(xs[0]), parameters
        noise = tf.cast(noise, x.dtype)
        return [self._config.add_noise(x, noise, channel, self._spatial)]


def _check_contrast(
    contrast: Any, outputs: tuple[int | None, ...], target_fn: TargetFn
) -> None:
    """Raise OptionError for a contrast that is not a class beside a target class."""
    if contrast is None:
        return
    whole_number("contrast", contrast, 0)
    if target_fn is not None or contrast >= (outputs[-1] or np.inf):
        raise OptionError(
            f"contrast={contrast!r} for outputs of shape {outputs}"
            + (", and the target is a function." if target_fn is not None else "."),
            "the number of a class, and a class as target",
            "contrast=0, or target=lambda y: y[:, 1] - y[:, 0]",
        )


def channel_relevance(base: np.ndarray, spatial: Sequence[int]) -> dict[str, Any]:
    """Return the relevance of each channel, and the heatmap of the original code.

    Args:
        base: Relevance on the base grid (B, T, C, *grid).
        spatial: Spatial shape of the inputs.
    """
    mean = base if base.shape[2] == 1 else np.abs(base).mean(2, keepdims=True)
    heatmap = np.moveaxis(_upsample(mean, spatial)[..., 0], 0, 1)
    return {"relevance": [_upsample(base, spatial)], "heatmap": heatmap}


def _upsample(base: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
    """(B, T, C, *grid) -> (T, B, *spatial, C), linear between the cells' centres."""
    values = base
    for axis, n in enumerate(spatial, 3):
        p = values.shape[axis]
        at = np.clip((np.arange(n) + 0.5) * p / n - 0.5, 0, p - 1)
        low = np.minimum(at.astype(int), max(p - 2, 0))
        high, part = np.minimum(low + 1, p - 1), at - low
        shape = [1] * values.ndim
        shape[axis] = n
        a, b = (np.take(values, i, axis) for i in (low, high))
        values = a + (b - a) * part.reshape(shape)
    values = np.moveaxis(values, 2, -1)
    return np.ascontiguousarray(np.moveaxis(values, 1, 0), np.float32)
