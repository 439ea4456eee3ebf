"""LEG of one channel at a time: its draws, what is asked of them, and their sums."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, chunks
from tfxai.core.inputs import compiled, signature
from tfxai.core.queries import Probe, check_finite
from tfxai.sampling.leg.config import Question
from tfxai.sampling.leg.estimate import ESTIMATORS, Estimator
from tfxai.sampling.leg.grid import Grid

#: Where a slope was not finite, for errors.
SLOPES = "as its slope at a changed copy of sample(s) {}"


class Asked:
    """One batch being asked: sums over draws, channel by channel."""

    def __init__(
        self,
        question: Question,
        grid: Grid,
        probe: Probe,
        slopes: Callable | None,
        batch: list,
        target: np.ndarray,
        score: np.ndarray,
        max_batch: int,
    ) -> None:
        self.question, self.grid = question, grid
        self.probe, self.slopes = probe, slopes
        self.batch, self.target, self.score, self.max_batch = (
            batch,
            target,
            score,
            max_batch,
        )

    def less(self, scores: np.ndarray) -> np.ndarray:
        """(..., T) less the opposite, which is the last column."""
        if self.question.opposite is None:
            return scores
        return scores[..., :-1] - scores[..., -1:]

    def channel(
        self, sample: int, channel: int, advance: Callable[[int], None]
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """LEG and its standard error, (T, *grid), of a channel; what was asked."""
        q = self.question
        look = q.first_look(self.grid)
        made: Estimator = ESTIMATORS[q.estimator](self.grid, q.noise, q.paired)
        for z in q.draws(self.grid, channel):
            made.add(z, self._answers(sample, channel, z))
            advance(len(z) * (1 + q.paired))
            if q.tolerance is not None and made.count >= look:
                slope, error = made.result()
                if np.linalg.norm(error) <= q.tolerance * np.linalg.norm(slope):
                    break
                look = int(1.25 * made.count)
        return *made.result(), made.count * (1 + q.paired)

    def _answers(self, sample: int, channel: int, z: np.ndarray) -> np.ndarray:
        """What is said of each draw: its slopes (m, T, *grid), or the change (m, T)."""
        paired = self.question.paired
        both = np.concatenate([z, -z]) if paired else z
        sloped = self.slopes is not None
        f = (self._sloped if sloped else self._asked)(sample, channel, both)
        if paired:  # a pair says one thing
            first, second = f[: len(z)], f[len(z) :]
            return (first + second if sloped else first - second) / 2
        return f if sloped else f - self.less(self.score)[sample]

    def _asked(self, sample: int, channel: int, z: np.ndarray) -> np.ndarray:
        which, where = np.zeros(len(z), int), np.full(len(z), channel, np.int32)
        asked = self._one(sample), which, [z, where], self._goal(sample), self.max_batch
        return self.less(self.probe.ask(*asked, first=sample))

    def _one(self, sample: int) -> list[np.ndarray]:
        return [v[sample : sample + 1] for v in self.batch]

    def _goal(self, sample: int) -> np.ndarray:
        return self.target[sample : sample + 1]

    def _sloped(self, sample: int, channel: int, z: np.ndarray) -> np.ndarray:
        assert self.slopes is not None
        made = []
        for s in chunks(len(z), self.max_batch):
            m = len(z[s])
            which, where = np.zeros(m, np.int32), np.full(m, channel, np.int32)
            one, goal = self._one(sample), self._goal(sample)
            made.append(self.slopes(which, goal, *one, z[s], where))
        found = np.concatenate([np.asarray(v) for v in made], 1)  # (T, m, *grid)
        each = np.moveaxis(found, 0, -1)  # (m, *grid, T)
        check_finite(
            each.reshape(len(z), -1), np.full(len(z), sample), SLOPES,
            "finite slopes", 'estimator="regression", which asks for answers alone',
        )  # fmt: skip
        return self.less(each).transpose(0, -1, *range(1, found.ndim - 1))


def slopes_of(question: Question, probe: Probe, inputs: list, specs: list) -> Callable:
    """(which, target, inputs, z, channel) -> d f / d base value, (T, m, *grid)."""

    def slopes(which: Tensor, target: Tensor, x: Tensor, z: Tensor, channel: Tensor):
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(z)
            score = probe.traced(which, target, x, z, channel)
            columns = [score[:, t] for t in range(target.shape[1])]
        made = [tape.gradient(s, z) for s in columns]
        if any(g is None for g in made):
            raise OptionError(
                "estimator='gradient', and no slope comes through `preprocess` (a "
                "rounding, a whole number) or the model.",
                "steps that have a slope",
                "estimator='regression'",
            )
        return tf.stack(made)

    known: dict[int, Callable] = {}

    def run(which: np.ndarray, target: np.ndarray, *rest: Any) -> Tensor:
        count = target.shape[1]
        if count not in known:
            rows = [tf.TensorSpec((None,), tf.int32)]
            rows.append(tf.TensorSpec((None, count), tf.int32))
            rows += [*signature(question.wrapped.specs, inputs), *specs]
            known[count] = compiled(slopes, rows)
        return known[count](which, target, *rest)

    return run
