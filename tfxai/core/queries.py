"""Evaluation of models on changed inputs, for TensorFlow models and callables.

A *change* is a function in TensorFlow operations: (inputs (n, ...), parameters (n,
...)) -> changed inputs (n, ...). A TensorFlow model gets one compiled function for
change, preprocess and model; a black box is called with NumPy arrays of the dtype that
it was given, and its scores are float64.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, ModelError, TargetError, first_line
from tfxai.base.tensors import Tensor, chunks, in_dtype
from tfxai.core.compilation import compiled
from tfxai.core.embedding_cut import EmbeddingCut, TargetFn, select_scaled
from tfxai.core.inputs import signature
from tfxai.core.model import ModelWrapper

Array = np.ndarray[Any, Any]
Change = Callable[[list[Tensor], list[Tensor]], list[Tensor]]
#: Which outputs are not finite, for the error of `check_finite`.
THEMSELVES = "for sample(s) {} themselves"
COPIES = "for a changed copy of sample(s) {}"


class Probe:
    """A wrapped model and a change of its inputs, compiled together.

    Args:
        wrapped: The wrapped model.
        change: The change of the inputs.
        inputs: Checked arrays, for their shapes.
        parameters: Specs (n, ...) of the parameters of the change.
        target_fn: A function of the outputs in place of a target, or None.
        output_scale: (outputs) -> the explained numbers of classes, such as
            probabilities.
        precision: Precision of the evaluation; see `ModelWrapper.outputs_of`.
        per_sample: Specs of further arrays (B, ...) that the change receives for each
            sample, after the inputs.
        single: One sample is evaluated at a time, and the change gets it as (1, ...).
        fused: XLA computes the change in one pass, without a copy; the first call
            takes longer.
        exchange: The same change on NumPy arrays of any dtype, for a black box. Without
            it a black box's inputs enter the change as float32 or float64.
        entry: The network from a layer on: the inputs are then the activations of the
            layer and the prepared inputs, of which it reads what passes beside it.
    """

    def __init__(
        self,
        wrapped: ModelWrapper,
        change: Change,
        inputs: list[Array],
        parameters: list[tf.TensorSpec],
        target_fn: TargetFn,
        output_scale: Callable[[Tensor], Tensor] = tf.identity,
        precision: str = "float32",
        per_sample: Sequence[tf.TensorSpec] = (),
        single: bool = False,
        fused: bool = False,
        exchange: Change | None = None,
        entry: EmbeddingCut | None = None,
    ) -> None:
        wrapped.check_precision(precision)
        self._precision, self._entry = precision, entry
        self._wrapped, self._change, self._target_fn = wrapped, change, target_fn
        self._output_scale = output_scale
        self._exchange, self._n_inputs = exchange, len(inputs)
        self._count, self._single = len(inputs) + len(per_sample), single
        self._fused = fused and wrapped.differentiable
        self._evaluate: Callable[..., Any] = self._eager
        self._evaluate_unchanged: Callable[..., Any] = self._eager_unchanged
        if wrapped.differentiable:
            specs = signature(None if entry else wrapped.specs, inputs)
            goal = tf.TensorSpec((None, None), tf.int32)
            all_specs = [tf.TensorSpec((None,), tf.int32), goal, *specs]
            all_specs += [*per_sample, *parameters]
            self._evaluate = compiled(self.traced, all_specs)
            self._evaluate_unchanged = compiled(self._traced_unchanged, [goal, *specs])

    def unchanged_scores(
        self, inputs: list[Array], target: Array, max_batch: int
    ) -> tuple[Array, Array]:
        """Return scores and resolved targets (B, T) of the unchanged inputs."""
        parts = [
            self._evaluate_unchanged(target[s], *(v[s] for v in inputs))
            for s in chunks(len(target), max_batch)
        ]
        score, target = (np.concatenate(p) for p in zip(*parts, strict=True))
        self._check_finite(score, np.arange(len(score)), THEMSELVES)
        return score, target

    def evaluate(
        self,
        inputs: list[Array],
        which: Array,
        parameters: list[Array],
        target: Array,
        max_batch: int,
        advance: Callable[[int], object] = lambda n: None,
        first: int = 0,
    ) -> Array:
        """Return scores (n, T) of the changed inputs[which].

        Args:
            inputs: The inputs, and the arrays of `per_sample`.
            which: Indices (n,) of samples.
            parameters: Parameters (n, ...) of the change.
            target: Resolved targets (B, T).
            max_batch: How many copies are evaluated at once.
            advance: Called with the number of copies that were evaluated.
            first: Index of the first sample, for errors.

        Raises:
            ModelError: An output is not finite.
        """
        if not len(which):
            return np.zeros((0, target.shape[1]))
        parts = []
        for s in chunks(len(which), max_batch):
            rows = np.asarray(which[s], np.int32)
            scores = self._evaluate(rows, target, *inputs, *(p[s] for p in parameters))
            parts.append(np.asarray(scores))
            self._check_finite(parts[-1], rows + first, COPIES)
            advance(len(rows))
        return np.concatenate(parts)

    def _check_finite(self, scores: Array, samples: Array, where: str) -> None:
        """Raise ModelError for scores that are not finite, with the target's name."""
        if self._target_fn is None:
            check_finite(scores, samples, where)
            return
        check_finite(
            scores,
            samples,
            where,
            "a target that is finite for every output of the model",
            "target=tfxai.targets.log_probability(0), finite where log(y) is not",
            "The target function",
        )

    def _changed(
        self, which: Tensor, inputs: list[Tensor], parameters: list[Tensor]
    ) -> list[Tensor]:
        if not self._fused:
            return _apply(self._change, self._single, which, inputs, parameters)
        values = [which, *inputs, *parameters]
        specs = tuple(tf.TensorSpec(v.shape, v.dtype) for v in values)
        once = _in_one_pass(self._change, self._single, len(inputs), specs)
        return list(once(*values))

    def traced(self, which: Tensor, target: Tensor, *rest: Tensor) -> Tensor:
        """Return scores (n, T) of the changed inputs[which], in a compiled function."""
        inputs, parameters = list(rest[: self._count]), list(rest[self._count :])
        outputs = self._outputs(self._changed(which, inputs, parameters))
        goal = tf.gather(target, which)
        return self._scores(outputs, goal)[0]

    def _traced_unchanged(
        self, target: Tensor, *inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self._scores(self._outputs(list(inputs)), target)

    def _outputs(self, inputs: list[Tensor]) -> Tensor:
        """The explained outputs at changed inputs."""
        if self._entry is not None:
            return self._entry.outputs(inputs[:1], inputs[1:])
        prepared = self._wrapped.prepared(inputs)
        return self._wrapped.outputs_of(prepared, self._precision)

    def _eager(self, which: Array, target: Array, *rest: Array) -> Tensor:
        arrays = [np.asarray(v) for v in rest]
        dtypes = [v.dtype for v in arrays[: self._n_inputs]]
        if self._exchange is not None:
            inputs, parameters = arrays[: self._count], arrays[self._count :]
            if not self._single:
                inputs = [v[which] for v in inputs]
            changed = self._exchange(inputs, parameters)
        else:
            tensors = [_real(v) for v in arrays[: self._n_inputs]]
            tensors += [tf.convert_to_tensor(v) for v in arrays[self._n_inputs :]]
            inputs, parameters = tensors[: self._count], tensors[self._count :]
            changed = self._changed(which, inputs, parameters)
        pairs = zip(changed, dtypes, strict=True)
        return self._called([in_dtype(v, d) for v, d in pairs], target[which])[0]

    def _eager_unchanged(self, target: Array, *inputs: Array) -> tuple[Tensor, Tensor]:
        return self._called([np.asarray(v) for v in inputs], target)

    def _called(self, inputs: list[Array], target: Array) -> tuple[Tensor, Tensor]:
        """The scores (n, T) of a black box in float64, and the resolved targets."""
        y = self._wrapped.call_black_box(inputs)
        exact = self._target_fn is None or y.dtype.kind != "f"
        outputs = tf.convert_to_tensor(y.astype(float) if exact else y)
        try:
            score, target = self._scores(outputs, target)
        except (tf.errors.InvalidArgumentError, TypeError) as error:
            raise TargetError(
                f"The target function failed on outputs of {y.dtype.name}, the dtype "
                f"that the callable returns: {first_line(error)}",
                "constants of the dtype of the outputs",
                "tf.one_hot(3, 10, dtype=y.dtype), or tf.cast(weights, y.dtype)",
            ) from error
        return tf.cast(score, tf.float64), target

    def _scores(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The scores and resolved targets (B, T) at explained outputs."""
        return select_scaled(outputs, self._output_scale, target, self._target_fn)


def _apply(
    change: Change,
    single: bool,
    which: Tensor,
    inputs: list[Tensor],
    parameters: list[Tensor],
) -> list[Tensor]:
    """The changed copies; `single` as for `Probe`."""
    if not single:
        inputs = [tf.gather(v, which) for v in inputs]
    return change(list(inputs), parameters)


@lru_cache(maxsize=64)
def _in_one_pass(
    change: Change, single: bool, count: int, specs: tuple[tf.TensorSpec, ...]
) -> Callable[..., list[Tensor]]:
    """`_apply` by XLA, with `count` inputs: shared, since XLA frees no executable."""

    def changed(which: Tensor, *values: Tensor) -> list[Tensor]:
        inputs, parameters = list(values[:count]), list(values[count:])
        return _apply(change, single, which, inputs, parameters)

    once: Callable[..., list[Tensor]] = tf.function(
        changed, input_signature=specs, jit_compile=True, autograph=False
    ).get_concrete_function()
    return once


def _real(array: Array) -> Tensor:
    """An input as a tensor that a change can compute with: float32 or float64."""
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"x holds {array.dtype}, and this method computes with numbers.",
            "numbers, or a method that exchanges whole columns",
            'method="occlusion", with a baseline of the same type',
        )
    wide = array.dtype.kind in "iu" and array.dtype.itemsize > 2
    exact = wide or array.dtype.itemsize > 4
    return tf.convert_to_tensor(array.astype(np.float64 if exact else np.float32))


def check_finite(
    outputs: Array,
    samples: Array,
    where: str = COPIES,
    wanted: str = "finite outputs",
    write: str = "np.isfinite(model.predict(x))",
    source: str = "The model",
) -> None:
    """Check that outputs (n, T) of samples (n,) are finite.

    Args:
        outputs: The outputs.
        samples: The index of the sample of each.
        where: Which outputs they are, with "{}" for the samples.
        wanted: The second part of the error.
        write: The third part of the error.
        source: What returned the outputs.

    Raises:
        ModelError: An output is NaN or infinite.
    """
    bad = sorted(set(samples[~np.isfinite(outputs).all(-1)].tolist()))
    if bad:
        raise ModelError(
            f"{source} returned NaN or infinity {where.format(bad[:5])}.",
            wanted,
            write,
        )
