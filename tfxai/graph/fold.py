"""BatchNormalization, and a scaling in front, merged into their linear neighbours.

Exact, and live: the merged kernel is made from the variables at every run (or what
comes out is scaled, where that is less), so the user's model is untouched and training
moves the result.
"""

from dataclasses import replace
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, size
from tfxai.graph.step import KERNEL, Scaled, Step, flat, whole

_FIRST = ("Rescaling", "Normalization")


def fold_batch_norm(steps: list[Step], output: int) -> list[Step]:
    """Merge every affine step that has a linear neighbour of its own.

    `conv -> norm` becomes a conv with kernel W k and bias b k + c; `norm -> conv` one
    with kernel k W and bias b + W c (a map where padding cuts the kernel short). A step
    whose result is also read elsewhere stays as it is. A Rescaling or Normalization is
    merged into the layer after it, padding between them or not: the first layer then
    reads the raw input. What comes out of a kernel is scaled, as the model does: a
    ReLU behind it then opens for the very same samples.
    """
    for norm in [s for s in steps if s.layer == "BatchNormalization"]:
        merged = _into_the_one_before(steps, norm, output)
        steps = merged or _into_the_one_after(steps, norm, output)
    for norm in [s for s in steps[::-1] if s.layer in _FIRST]:
        steps = _into_the_one_after(steps, norm, output)
    return steps


def _into_the_one_before(
    steps: list[Step], norm: Step, output: int
) -> list[Step] | None:
    before = next((s for s in steps if s.output == norm.inputs[0]), None)
    if before is None or not _alone(steps, before, output):
        return None
    if not _fits_after(before, norm):
        return None
    merged = _after(before, norm)
    return [merged if s is before else s for s in steps if s is not norm]


def _into_the_one_after(steps: list[Step], norm: Step, output: int) -> list[Step]:
    """Through padding, where there is some: it comes to stand before the norm."""
    between: list[Step] = []
    last = norm
    while _alone(steps, last, output):
        (step,) = (s for s in steps if last.output in s.inputs)
        if step.layer.startswith("ZeroPadding"):
            between.append(step)
            last = step
        elif _fits_before(norm, step):
            merged = _before(norm, step, between)
            moved = {s: replace(s, inputs=norm.inputs) for s in between[:1]}
            swapped = {**moved, step: merged}
            return [swapped.get(s, s) for s in steps if s is not norm]
        else:
            break
    return steps


def _alone(steps: list[Step], step: Step, output: int) -> bool:
    """Is the step's result read once, and not the explained one?"""
    readers = sum(s.inputs.count(step.output) for s in steps)
    return readers == 1 and step.output != output


def _fits_after(step: Step, norm: Step) -> bool:
    """Does the norm scale the very channels that this linear step makes?"""
    return step.kind in KERNEL and step.weights.channels == norm.weights.channels


def _after(step: Step, norm: Step) -> Step:
    """Norm after linear: (x W + b) k + c."""
    w, n = step.weights, norm.weights

    def live(v: list[Any]) -> tuple[Any, Tensor]:
        (kernel, bias), (k, c) = w.read(v), n.read(v)
        shift = c if bias is None else bias * k + c
        if isinstance(kernel, tuple):  # in factors
            return w.scale_out(kernel, flat(k)), shift
        return Scaled(whole(kernel), k, w.scale_out), shift

    weights = replace(w, read=live)
    return replace(step, weights=weights, output=norm.output, merged=norm.name)


def _fits_before(norm: Step, step: Step) -> bool:
    """Can the step's kernel take the norm's factors on its input channels?"""
    w = step.weights
    if step.kind not in KERNEL or w.scale_in is None:
        return False
    return norm.weights.channels in (0, w.channels)


def _before(norm: Step, step: Step, between: list[Step]) -> Step:
    """Norm before linear: (x k + c) W + b; `between` pads k x + c with zeros."""
    w, n = step.weights, norm.weights

    def live(v: list[Any]) -> tuple[Any, Tensor]:
        (kernel, bias), (k, c) = w.read(v), n.read(v)
        moved = step.product([_spread(c, v[0], between)], kernel)
        made = w.scale_in(whole(kernel), flat(k))
        return made, moved if bias is None else moved + bias

    weights = replace(w, read=live)
    inputs = step.inputs if between else norm.inputs
    return replace(step, weights=weights, inputs=inputs)


def _spread(c: Tensor, x: Tensor, between: list[Step]) -> Tensor:
    """The shift c at every place that the norm fills, zeros where x is padded."""
    one = tf.zeros([1] * len(x.shape))
    for padding in between:
        one = padding.apply([one])
    padded = [n - 1 for n in one.shape[1:]]
    filled = [n - p for n, p in zip(size(x, 1), padded, strict=True)]
    c = tf.broadcast_to(c, [1, *filled])
    for padding in between:
        c = padding.apply([c])
    return c
