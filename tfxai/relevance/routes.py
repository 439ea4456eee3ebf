"""Choices that depend on the input, such as the experts of a token, in DeepLIFT.

A mask or an index s has no slope. A step f(x, s) that reads one changes by

    f(x, s) - f(x0, s0)  =  [f(x, s) - f(x0, s)]  +  [f(x0, s) - f(x0, s0)]

from a baseline. The first part has multipliers of x, with the choice of x. The second
part is the change of the choice. It goes to the scores p that are compared, in shares
proportional to the squares of their changes dp: m' = T dp / sum dp^2, where T is the
sum of the second part, times its multipliers, over what one comparison decides (the
experts of one token). So the contributions add up to the change of the output.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.program import Program
from tfxai.graph.step import Step


def choices(program: Program) -> frozenset[int]:
    """Return the tensors without slope that depend on values with one."""
    made = {s.output: s for s in program.steps}
    plain = set(program.lookups)  # token ids
    found: set[int] = set()
    for step in program.steps:
        if step.kind == "identity" and plain.issuperset(step.inputs):
            plain.add(step.output)
        if step.kind != "fixed":
            continue
        read = step.carried(step.inputs)
        if any(
            i in found or (i not in plain and _has_slope(i, made, program))
            for i in read
        ):
            found.add(step.output)
    return frozenset(found)


def _has_slope(number: int, made: Mapping[int, Step], program: Program) -> bool:
    """True for the output of a step with relevance, and for an input."""
    return number in program.inputs or made[number].kind != "fixed"


class Routes:
    """The changes of choices, on their way from where they act to the scores.

    Args:
        program: The steps of the network.
        values: Every tensor at x.
        before: Every tensor at the baseline.
    """

    def __init__(
        self, program: Program, values: Mapping[int, Tensor], before: Any
    ) -> None:
        self._program, self._values, self._before = program, values, before
        self._choices = choices(program)
        self._arrived: dict[int, list[Tensor]] = {}

    def at_baseline(self, step: Step, multipliers: Tensor) -> Any:
        """Return the tensors at the baseline as a step sees them, with the choice of x.

        The change of the choice, times `multipliers` (K, B, ...), is kept for the step
        that chooses.
        """
        sides = [step.inputs[i] for i in step.sides]
        sides = [i for i in dict.fromkeys(sides) if i in self._choices]
        if not sides:
            return self._before
        held = self._before.copied({i: self._values[i] for i in sides})
        held[step.output] = step.run([held[i] for i in step.inputs])
        change = held[step.output] - self._before[step.output]
        axis = self._program.batch_axis(step.output)
        part = _batch_first(multipliers * change, axis + 1) / len(sides)
        for i in sides:
            self._arrived.setdefault(i, []).append(part)
        return held

    def chosen(self, step: Step) -> dict[int, Tensor]:
        """Return the multipliers (K, B, ...) of what a choice is made from."""
        parts = self._arrived.pop(step.output, None)
        if parts is None:
            return {}
        read = list(dict.fromkeys(step.carried(step.inputs)))
        scores = [
            i for i in read
            if i not in self._choices and self._values[i].dtype.is_floating
        ]  # fmt: skip
        changes = {i: self._values[i] - self._before[i] for i in scores}
        groups = self._groups(parts, changes)
        total = tf.add_n([_sums(p, groups) for p in parts])  # (K, groups)
        squares = [_sums(tf.square(v)[None], groups) for v in changes.values()]
        size = tf.add_n(squares) if squares else tf.zeros_like(total[:1])
        share = tf.math.divide_no_nan(total, size)[..., None]
        for i in read:
            if i in self._choices:
                rest = tf.where(size > 0, 0.0, total)
                self._arrived.setdefault(i, []).append(rest)
        count = tf.shape(total)[0]
        return {
            i: tf.reshape(
                share * tf.reshape(dp, [1, groups, -1]),
                tf.concat([[count], tf.shape(dp)], 0),
            )
            for i, dp in changes.items()
        }

    def _groups(self, parts: list[Tensor], changes: Mapping[int, Tensor]) -> Tensor:
        """Return how many comparisons there are: samples, or tokens of all samples."""
        numbers = [tf.shape(p)[1] for p in parts]
        numbers += [tf.shape(v)[0] for v in changes.values()]
        groups = tf.reduce_min(tf.stack(numbers))
        if len(changes) != 1:
            return groups
        (dp,) = changes.values()
        shared = 1
        for axis in range(1, len(dp.shape) - 1):
            if any(len(p.shape) <= axis + 2 for p in parts):
                break
            sizes = {dp.shape[axis], *(p.shape[axis + 1] for p in parts)}
            if len(sizes) > 1 or None in sizes:
                break
            shared *= dp.shape[axis]
        return groups * shared


def _batch_first(v: Tensor, axis: int) -> Tensor:
    """Move the axis of the batch of (K, ...) behind the seeds."""
    if axis <= 1:
        return v
    other = [a for a in range(1, len(v.shape)) if a != axis]
    return tf.transpose(v, [0, axis, *other])


def _sums(v: Tensor, groups: Tensor) -> Tensor:
    """Return the sums (K, groups) of (K, B, ...)."""
    return tf.reduce_sum(tf.reshape(v, [tf.shape(v)[0], groups, -1]), -1)
