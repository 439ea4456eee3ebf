"""A program in bfloat16, for probes that average: half the bytes of every product.

Products with a kernel are made in bfloat16, but for the last, and what only moves, adds
or picks its values stays so. All else (softmax, normalisations, means) is made in
float32: a probe needs small differences of the output.
"""

from collections.abc import Callable

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.step import KERNEL, Step, whole

#: Kinds that keep bfloat16 values what they are, or lose no more than the values did.
KEEPS = frozenset({"relu", "route", "identity", "max", "add"})


def halved(steps: tuple[Step, ...]) -> Callable[[Step, list[Tensor]], Tensor]:
    """How the steps of a program run: (step, inputs) -> output."""
    last = [s for s in steps if s.kind in KERNEL][-1:]
    return lambda step, inputs: _run(
        step, inputs, step.kind in KERNEL and step not in last
    )


def _run(step: Step, inputs: list[Tensor], half: bool) -> Tensor:
    if half:
        kernel, bias = step.weights.read(inputs)
        small = tf.nest.map_structure(lambda k: tf.cast(k, tf.bfloat16), whole(kernel))
        z = step.apply([_cast(v, tf.bfloat16) for v in inputs], small)
        return z if bias is None else z + tf.cast(bias, z.dtype)
    halves = all(v.dtype == tf.bfloat16 for v in inputs)
    if step.kind in KEEPS and step.weights is None and halves:
        return step.run(inputs)
    return step.run([_cast(v, tf.float32) for v in inputs])


def _cast(v: Tensor, dtype: tf.DType) -> Tensor:
    return tf.cast(v, dtype) if v.dtype.is_floating else v
