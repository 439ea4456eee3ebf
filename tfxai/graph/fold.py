"""BatchNormalization, and a scaling in front, merged into their linear neighbours.

Exact, and live: the merged kernel is made from the variables at every run, so the
user's model is untouched and training moves the result.
"""

from collections import Counter
from dataclasses import replace

import tensorflow as tf

from tfxai.graph.step import KERNEL, Step


def fold_batch_norm(steps: list[Step], output: int) -> list[Step]:
    """Merge every affine step that has a linear neighbour of its own.

    `conv -> norm` becomes a conv with kernel W k and bias b k + c; `norm -> conv` one
    with kernel k W and bias b + W c (a map where padding cuts the kernel short). A step
    whose result is also read elsewhere stays as it is. A Rescaling is merged into the
    step after it: the first layer then reads the raw input.
    """
    readers = Counter(i for s in steps for i in s.inputs)
    readers[output] += 1
    made_by = {s.output: s for s in steps}
    for norm in [s for s in steps if s.layer in ("BatchNormalization", "Rescaling")]:
        before = made_by.get(norm.inputs[0]) if norm.layer != "Rescaling" else None
        if before and readers[before.output] == 1 and _fits_after(before, norm):
            merged, gone = _after(before, norm), before
        else:
            after = [s for s in steps if norm.output in s.inputs]
            alone = len(after) == 1 and readers[norm.output] == 1
            if not alone or not _fits_before(norm, after[0]):
                continue
            merged, gone = _before(norm, after[0]), after[0]
        steps = [merged if s is gone else s for s in steps if s is not norm]
        made_by = {s.output: s for s in steps}
    return steps


def _flat(v):
    return tf.reshape(v, [-1])


def _fits_after(step: Step, norm: Step) -> bool:
    """Does the norm scale the very channels that this linear step makes?"""
    return step.kind in KERNEL and step.weights.channels == norm.weights.channels


def _after(step: Step, norm: Step) -> Step:
    """Norm after linear: (x W + b) k + c."""
    w, n = step.weights, norm.weights

    def bias():
        return n.bias() if w.bias is None else w.bias() * n.kernel() + n.bias()

    weights = replace(
        w, kernel=lambda: w.scale_out(w.kernel(), _flat(n.kernel())), bias=bias
    )
    return replace(step, weights=weights, output=norm.output)


def _fits_before(norm: Step, step: Step) -> bool:
    """Can the step's kernel take the norm's factors on its input channels?"""
    w = step.weights
    if step.kind not in KERNEL or w.scale_in is None or None in norm.shape:
        return False
    return norm.weights.channels in (0, w.channels)


def _before(norm: Step, step: Step) -> Step:
    """Norm before linear: (x k + c) W + b."""
    w, n = step.weights, norm.weights

    def bias():
        c = tf.broadcast_to(n.bias(), [1, *norm.shape])
        moved = step.apply([c], w.kernel())
        return moved if w.bias is None else moved + w.bias()

    weights = replace(
        w, kernel=lambda: w.scale_in(w.kernel(), _flat(n.kernel())), bias=bias
    )
    return replace(step, weights=weights, inputs=norm.inputs)
