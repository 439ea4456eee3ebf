"""Loops over the samples of a batch, as `tf.map_fn` and `keras.ops.map` write them.

Such a loop takes the samples from a list, and puts what it makes of each into another.
The reader reads its body once: the value of one sample stands for the values of all,
and each operation becomes the one that treats the first axis as the batch.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfxai.graph.trace.operation import Type, described
from tfxai.graph.trace.table import POINTWISE, SUM

WHY = "in a loop over the samples"


class Samples:
    """What stands for what inside the loops that are read.

    open: lists to be filled, of the length of the batch. stacks: list -> the value
    (B, ...) whose samples are its elements. turns: numbers of the turn; counted: what
    is made of them. one: the value of one sample -> the value (B, ...) of all.
    """

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.stacks: dict[int, int] = {}
        self.turns: set[int] = set()
        self.counted: set[int] = set()
        self.one: dict[int, int] = {}

    def loops_over(self, inputs: Sequence[int]) -> bool:
        """Does a loop with these variables go over the samples?"""
        return any(i in self.open or i in self.stacks for i in inputs)

    def touched(self, inputs: Sequence[int]) -> bool:
        """Is any of these values that of one sample, or made of the turn?"""
        return any(i in self.one or self.of_turns(i) for i in inputs)

    def of_turns(self, number: int) -> bool:
        """Is a value the number of the turn, or made of it?"""
        return number in self.turns or number in self.counted


class Refused(Exception):
    """The words for an operation that cannot be read in such a loop."""


def lifted(
    op: Any, inputs: Sequence[int], samples: Samples, types: Sequence[Type], axis: Any
) -> tuple[dict[str, Any], Any, list[int]]:
    """Return attributes, arguments and inputs of an operation for all samples at once.

    Args:
        op: Operation of the graph.
        inputs: Numbers of what it reads, some of them values of one sample.
        samples: What stands for what.
        types: Types of all values.
        axis: (n) -> the number of the constant n.

    Raises:
        Refused: There is no such operation.
    """
    if any(samples.of_turns(i) for i in inputs):
        raise Refused(f"reads the number of the turn {WHY}")
    others = [types[i].dims for i in inputs if i not in samples.one]
    if any(dims is None or None in dims for dims in others):
        raise Refused(f"reads the whole batch {WHY}")
    attributes, arguments = described(op)
    whole = [samples.one.get(i, i) for i in inputs]
    ranks = [len(types[i].dims or ()) for i in inputs]
    own = {r for r, i in zip(ranks, inputs, strict=True) if i in samples.one}
    if op.type in POINTWISE | SUM and len(own) == 1 and max(ranks) == max(own):
        return attributes, arguments, whole
    if op.type == "GatherV2" and inputs[0] in samples.one:
        (at,) = (tf.get_static_value(op.inputs[2]).item(),)
        at += ranks[0] if at < 0 else 0
        if attributes.get("batch_dims", 0) and inputs[1] not in samples.one:
            raise Refused(f"gathers by constant numbers of several rows {WHY}")
        batches = int(inputs[1] in samples.one) + attributes.get("batch_dims", 0)
        return (
            {**attributes, "batch_dims": batches},
            arguments,
            [*whole[:2], axis(at + 1)],
        )
    raise Refused(f"stands {WHY}")


def all_samples(shape: tf.TensorShape) -> tf.TensorShape:
    """Return the shape (B, ...) of a value whose sample has a shape."""
    return tf.TensorShape([None]).concatenate(shape)
