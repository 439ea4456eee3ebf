"""LEG of a batch, one sample and channel at a time: draws, evaluations, estimates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, chunks
from tfxai.core.compilation import compiled
from tfxai.core.inputs import signature
from tfxai.core.queries import Probe, check_finite
from tfxai.sampling.leg.config import LegConfig
from tfxai.sampling.leg.estimate import ESTIMATORS, Estimator
from tfxai.sampling.leg.grid import Grid

#: Where a gradient was not finite, for the error of `check_finite`.
GRADIENTS = "as its gradient at a changed copy of sample(s) {}"
#: (which, target, inputs, z, channel) -> gradients (T, m, *grid).
Gradients = Callable[..., Tensor]


@dataclass(frozen=True)
class LegBatch:
    """One batch of inputs, ready for the estimation of LEG.

    Attributes:
        config: The options.
        grid: The base grid.
        probe: The model under noise, compiled.
        gradients: Its gradients, where the estimator needs them.
        inputs: The batch.
        target: Target indices (B, T), the contrast class last.
        score: Explained outputs (B, T) of the inputs themselves.
        max_batch: Largest number of noisy copies per evaluation.
    """

    config: LegConfig
    grid: Grid
    probe: Probe
    gradients: Gradients | None
    inputs: list[np.ndarray]
    target: np.ndarray
    score: np.ndarray
    max_batch: int

    def subtract_contrast(self, scores: np.ndarray) -> np.ndarray:
        """Subtract the contrast class (last column) from scores (..., T)."""
        if self.config.contrast is None:
            return scores
        return np.asarray(scores[..., :-1] - scores[..., -1:])

    def estimate(
        self, sample: int, channel: int, advance: Callable[[int], None]
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return LEG and its standard error (T, *grid), and the evaluations used.

        Args:
            sample: Number of the sample.
            channel: Number of the channel.
            advance: Called with the number of evaluations after each block.
        """
        config = self.config
        next_check = config.first_check(self.grid)
        kind = ESTIMATORS[config.estimator]
        estimator: Estimator = kind(self.grid, config.noise, config.paired)
        for z in config.draws(self.grid, channel):
            estimator.add(z, self._outputs(sample, channel, z))
            advance(len(z) * (1 + config.paired))
            if config.tolerance is not None and estimator.count >= next_check:
                leg, error = estimator.result()
                if np.linalg.norm(error) <= config.tolerance * np.linalg.norm(leg):
                    break
                next_check = int(1.25 * estimator.count)
        return *estimator.result(), estimator.count * (1 + config.paired)

    def _outputs(self, sample: int, channel: int, z: np.ndarray) -> np.ndarray:
        """Gradients (m, T, *grid), or changes of the output (m, T), of each draw."""
        paired, with_gradients = self.config.paired, self.gradients is not None
        noise = np.concatenate([z, -z]) if paired else z
        evaluate = self._gradients_at if with_gradients else self._scores_at
        f = evaluate(sample, channel, noise)
        if paired:  # one value for each pair
            first, second = f[: len(z)], f[len(z) :]
            both = first + second if with_gradients else first - second
            return np.asarray(both / 2)
        return f if with_gradients else f - self.subtract_contrast(self.score)[sample]

    def _scores_at(self, sample: int, channel: int, z: np.ndarray) -> np.ndarray:
        """Scores (m, T) of noisy copies."""
        which, channels = np.zeros(len(z), int), np.full(len(z), channel, np.int32)
        scores = self.probe.evaluate(
            self._inputs_of(sample), which, [z, channels], self._target_of(sample),
            self.max_batch, first=sample,
        )  # fmt: skip
        return self.subtract_contrast(scores)

    def _inputs_of(self, sample: int) -> list[np.ndarray]:
        """The inputs of one sample (1, ...)."""
        return [v[sample : sample + 1] for v in self.inputs]

    def _target_of(self, sample: int) -> np.ndarray:
        """The target indices of one sample (1, T)."""
        return self.target[sample : sample + 1]

    def _gradients_at(self, sample: int, channel: int, z: np.ndarray) -> np.ndarray:
        """Gradients (m, T, *grid) at noisy copies."""
        assert self.gradients is not None
        inputs, target = self._inputs_of(sample), self._target_of(sample)
        parts = []
        for s in chunks(len(z), self.max_batch):
            m = len(z[s])
            which, channels = np.zeros(m, np.int32), np.full(m, channel, np.int32)
            parts.append(self.gradients(which, target, *inputs, z[s], channels))
        joined = np.concatenate([np.asarray(v) for v in parts], 1)  # (T, m, *grid)
        last = np.moveaxis(joined, 0, -1)  # (m, *grid, T)
        check_finite(
            last.reshape(len(z), -1), np.full(len(z), sample), GRADIENTS,
            "finite gradients",
            'estimator="regression", which needs no gradients',
        )  # fmt: skip
        contrasted = self.subtract_contrast(last)
        return contrasted.transpose(0, -1, *range(1, joined.ndim - 1))


class NoiseGradient:
    """The gradients of a model under noise in the noise, compiled.

    Args:
        config: The options.
        probe: The model under noise.
        inputs: Arrays of the shapes of its inputs.
        specs: Specifications of the noise and of the channels.
    """

    def __init__(
        self,
        config: LegConfig,
        probe: Probe,
        inputs: list[np.ndarray],
        specs: list[tf.TensorSpec],
    ) -> None:
        self._probe: Any = probe
        self._specs = [*signature(config.wrapped.specs, inputs), *specs]
        self._compiled: dict[int, Gradients] = {}

    def __call__(self, which: np.ndarray, target: np.ndarray, *rest: Any) -> Tensor:
        """Return the gradients (T, m, *grid); one function for each number of targets.

        Args:
            which: Number of the sample of each copy (m,).
            target: Target indices (B, T).
            *rest: The inputs, the noise (m, *grid) and the channels (m,).
        """
        count = target.shape[1]
        if count not in self._compiled:
            rows = [tf.TensorSpec((None,), tf.int32)]
            rows.append(tf.TensorSpec((None, count), tf.int32))
            self._compiled[count] = compiled(self._traced, [*rows, *self._specs])
        return self._compiled[count](which, target, *rest)

    def _traced(
        self, which: Tensor, target: Tensor, x: Tensor, z: Tensor, channel: Tensor
    ) -> Tensor:
        """The gradients (T, m, *grid), inside a compiled function."""
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(z)
            score = self._probe.traced(which, target, x, z, channel)
            columns = [score[:, t] for t in range(target.shape[1])]
        gradients = [tape.gradient(s, z) for s in columns]
        if any(g is None for g in gradients):
            raise OptionError(
                "estimator='gradient', and no gradient passes through `preprocess` (a "
                "rounding, a whole number), the model or the target (a rank, a "
                "threshold).",
                "differentiable operations, or an estimator without gradients",
                "estimator='regression'",
            )
        return tf.stack(gradients)
