"""Many questions about changed inputs, to TensorFlow models and to any callable.

A *change* is a function in TensorFlow operations: (inputs (n, ...), parameters (n,
...)) -> changed inputs (n, ...). A TensorFlow model gets one compiled function
for change, preprocess and answer; a black box is asked with NumPy arrays.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError
from tfxai.base.tensors import Tensor, chunks
from tfxai.core.embedding_cut import Function, scored
from tfxai.core.inputs import compiled, signature
from tfxai.core.model import ModelWrapper

Change = Callable[[list, list], list]
#: Where an answer was not finite, for errors.
THEMSELVES = "to sample(s) {} themselves"
COPIES = "to a changed copy of sample(s) {}"


class Probe:
    """A wrapped model and a change, ready to be asked.

    inputs: checked arrays, for their shapes. parameters: the specs (n, ...) of a
    change's parameters. function: see `Entrance`. number: (outputs) -> what is asked
    for, a probability say. precision: see `ModelWrapper.outputs_of`.
    beside: the specs of what a change is told about each sample, behind the inputs.
    single: one sample is asked about at a time, and the change gets it as (1, ...).
    fused: XLA makes the change in one pass, without a copy; it takes longer to begin.
    """

    def __init__(
        self,
        wrapped: ModelWrapper,
        change: Change,
        inputs: list[np.ndarray],
        parameters: list[tf.TensorSpec],
        function: Function,
        number: Callable[[Tensor], Tensor] = tf.identity,
        precision: str = "float32",
        beside: Sequence[tf.TensorSpec] = (),
        single: bool = False,
        fused: bool = False,
    ) -> None:
        wrapped.check_precision(precision)
        self._precision = precision
        self._wrapped, self._change, self._function = wrapped, change, function
        self._number = number
        specs = signature(wrapped.specs, inputs)
        goal = tf.TensorSpec((None, None), tf.int32)
        self._count, self._single = len(inputs) + len(beside), single
        if fused:
            once = tf.function(self._changed, jit_compile=True, autograph=False)
            self._changed = once  # type: ignore[method-assign]
        self._ask, self._plain = self._eager, self._eager_plain
        if wrapped.differentiable:
            all_specs = [tf.TensorSpec((None,), tf.int32), goal, *specs]
            all_specs += [*beside, *parameters]
            self._ask = compiled(self.traced, all_specs)
            self._plain = compiled(self._traced_plain, [goal, *specs])

    def plain(self, inputs: list, target: np.ndarray, max_batch: int) -> tuple:
        """Scores and resolved targets (B, T) of the inputs themselves."""
        parts = [
            self._plain(target[s], *(v[s] for v in inputs))
            for s in chunks(len(target), max_batch)
        ]
        score, target = (np.concatenate(p) for p in zip(*parts, strict=True))
        check_finite(score, np.arange(len(score)), THEMSELVES)
        return score, target

    def ask(
        self,
        inputs: list[np.ndarray],
        which: np.ndarray,
        parameters: list[np.ndarray],
        target: np.ndarray,
        max_batch: int,
        advance: Callable[[int], object] = lambda n: None,
        first: int = 0,
    ) -> np.ndarray:
        """Scores (n, T) of the changed inputs[which], at most `max_batch` at once.

        inputs: the inputs, and what is beside them. which: (n,) numbers of samples;
        target: (B, T), resolved. advance: told how many were asked. first: the number
        of the first sample, for errors.
        """
        parts = []
        for s in chunks(len(which), max_batch):
            rows = np.asarray(which[s], np.int32)
            made = self._ask(rows, target, *inputs, *(p[s] for p in parameters))
            parts.append(np.asarray(made))
            check_finite(parts[-1], rows + first)
            advance(len(rows))
        return np.concatenate(parts)

    def _changed(self, which, inputs, parameters) -> list:
        if not self._single:
            inputs = [tf.gather(v, which) for v in inputs]
        return self._change(list(inputs), parameters)

    def traced(self, which, target, *rest):
        """Scores (n, T) of the changed inputs[which], inside a compiled function."""
        inputs, parameters = list(rest[: self._count]), list(rest[self._count :])
        seen = self._wrapped.prepared(self._changed(which, inputs, parameters))
        outputs = self._wrapped.outputs_of(seen, self._precision)
        goal = tf.gather(target, which)
        return scored(self._number(outputs), goal, self._function)[0]

    def _traced_plain(self, target, *inputs):
        seen = self._wrapped.prepared(list(inputs))
        outputs = self._wrapped.outputs_of(seen, self._precision)
        return scored(self._number(outputs), target, self._function)

    def _eager(self, which, target, *rest):
        inputs, parameters = list(rest[: self._count]), list(rest[self._count :])
        tensors = [tf.convert_to_tensor(v) for v in inputs]
        told = [tf.convert_to_tensor(v) for v in parameters]
        changed = self._changed(which, tensors, told)
        y = self._wrapped.answers([np.asarray(v) for v in changed])
        y = self._number(tf.convert_to_tensor(y, tf.float32))
        return scored(y, target[which], self._function)[0]

    def _eager_plain(self, target, *inputs):
        y = self._wrapped.answers([np.asarray(v) for v in inputs])
        y = self._number(tf.convert_to_tensor(y, tf.float32))
        return scored(y, target, self._function)


def check_finite(
    answers: np.ndarray,
    samples: np.ndarray,
    where: str = COPIES,
    wanted: str = "finite answers",
    write: str = "np.isfinite(model.predict(x))",
) -> None:
    """Refuse answers (n, T) that are not finite, by the samples (n,) they are of.

    Raises ModelError.
    """
    bad = sorted(set(samples[~np.isfinite(answers).all(-1)].tolist()))
    if bad:
        raise ModelError(
            f"The model answered NaN or infinity {where.format(bad[:5])}.",
            wanted,
            write,
        )
