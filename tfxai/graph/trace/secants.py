"""Multipliers of normalisations, softmaxes and products: exact for finite changes.

A function f from x0 to x has multipliers S with f(x) - f(x0) = S (x - x0). They follow
from those of its operations, from the last to the first:

- linear and quadratic operations (sums, means, products, squares): the Jacobian at
  (x + x0) / 2, which is exact; of a product of two factors it is their Shapley value;
- a function of one value, such as a reciprocal root: the quotient of the changes;
- a quotient a / b: that of the product of a and 1 / b;
- a softmax: `softmax_back`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, merge_seeds, size, split_seeds
from tfxai.graph.linear import pull, repeat
from tfxai.graph.trace.flow import Trace
from tfxai.graph.trace.node import Node
from tfxai.graph.trace.operation import Operation
from tfxai.graph.trace.table import AVERAGE, DIVISION, MATRIX, ROUTE, SMOOTH_ONE, SUM

#: Operations whose outputs are polynomials of at most the second degree.
QUADRATIC = SUM | AVERAGE | MATRIX | ROUTE
QUADRATIC |= {"Mul", "MulNoNan", "Square", "SquaredDifference", "Neg"}
#: Functions of one value without a kink: the slope in the middle is exact for small
#: changes.
SMOOTH = {"Rsqrt", "Sqrt", "Reciprocal", "Inv", "Pow", "Exp", "Log", "RealDiv"}
#: The smallest relative changes of a value whose quotient is used: quotients of smaller
#: ones are rounding errors.
TINY, SMALL = 1e-6, 1e-3

Back = Callable[[list[Tensor], list[Tensor], Tensor], list[Tensor]]


def secant(trace: Trace, node: Node) -> Back | None:
    """The function (xs, x0s, m (K, B, ...)) -> multipliers of each input of a node.

    None where an operation of the node has no multipliers.
    """
    soft, axis = node.kind == "softmax", int(node.notes.get("axis", -1))
    masks = () if not soft else node.operations[: _masks(node)]
    operations = masks if soft else node.operations
    if not all(_known(trace, op) for op in operations):
        return None
    if node.kind == "product" and len(operations) > 1:
        return _of_factors(trace, node)
    log = node.label in ("log_softmax", "LogSoftmax")

    def back(xs: list[Tensor], x0s: list[Tensor], m: Tensor) -> list[Tensor]:
        count = size(m)[0]
        both = [_repeated(v, count) for v in (xs, x0s)]
        known, before = (dict(zip(node.inputs, v, strict=True)) for v in both)
        if not soft:
            arrived = {node.output: merge_seeds(m)}
        else:
            entry = masks[-1].outputs[0] if masks else node.inputs[0]
            z, z0 = (trace.run(masks, v)[entry] for v in (known, before))
            arrived = {entry: softmax_back(z, z0, merge_seeds(m), axis, log)}
        found = _through(trace, operations, known, before, arrived)
        return [
            split_seeds(found[i], count)
            if i in found
            else tf.zeros([count, *size(x)], m.dtype)
            for i, x in zip(node.inputs, xs, strict=True)
        ]

    return back


def _of_factors(trace: Trace, node: Node) -> Back:
    """Return the multipliers of a product of n factors: their Shapley values.

    They are the mean slope between both ends, a polynomial of degree n - 1, which the
    nodes of Gauss and Legendre integrate exactly.
    """
    nodes, weights = np.polynomial.legendre.leggauss(-(-len(node.inputs) // 2))

    def back(xs: list[Tensor], x0s: list[Tensor], m: Tensor) -> list[Tensor]:
        def product(values: list[Tensor], _: list[Tensor]) -> Tensor:
            known = dict(zip(node.inputs, values, strict=True))
            return trace.run(node.operations, known)[node.output]

        found = []
        for at, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            point = [x0 + at * (x - x0) for x, x0 in zip(xs, x0s, strict=True)]
            parts = pull(product, point, m, False, [])
            found.append([weight * p for p in parts])
        return [tf.add_n(list(parts)) for parts in zip(*found, strict=True)]

    return back


def _masks(node: Node) -> int:
    """The number of operations in front of a softmax: a selection of scores."""
    return int(node.operations[0].type in ("SelectV2", "Select"))


def _repeated(values: list[Tensor], count: Any) -> list[Tensor]:
    """Return tensors (B, ...) once for each seed; those without a batch as they are."""
    if isinstance(count, int) and count == 1:
        return values
    batch = max((v.shape for v in values), key=len)[:1]
    return [repeat(v, count) if v.shape[:1] == batch else v for v in values]


def _known(trace: Trace, op: Operation) -> bool:
    """Does an operation have multipliers?"""
    varying = [i for i in op.inputs if i in trace.depends]
    if op.type in MATRIX and len(varying) > 2:
        return False
    if op.type in QUADRATIC | {"StopGradient", "SelectV2", "Select"}:
        return True
    if op.type in DIVISION:
        return True
    if op.type in SMOOTH_ONE | {"Maximum", "Minimum"}:
        return len(varying) == 1
    return not any(trace.types[o].dtype.is_floating for o in op.outputs)


def _through(
    trace: Trace,
    operations: tuple[Operation, ...],
    known: Mapping[int, Tensor],
    before: Mapping[int, Tensor],
    arrived: dict[int, Tensor],
) -> dict[int, Tensor]:
    """Return the multipliers of all values, from those that have `arrived`."""
    now, then = (trace.run(operations, v) for v in (known, before))
    total = dict(arrived)
    for op in reversed(operations):
        arrived_at = [o for o in op.outputs if o in total and o not in known]
        if not arrived_at:
            continue
        varying = [k for k, i in enumerate(op.inputs) if i in now and _real(now[i])]
        a, b = (
            [v[i] if i in v else trace.live(i) for i in op.inputs] for v in (now, then)
        )
        outputs = {op.outputs.index(o): total[o] for o in arrived_at}
        if len(op.outputs) > 1:  # such as the parts of a split, which is linear
            middle = _middle(a, b, varying)
            parts = _pull(op, middle, outputs, varying)
        else:
            (o,) = arrived_at
            parts = _back(op, a, b, now[o] - then[o], total[o], varying)
        for k, part in zip(varying, parts, strict=True):
            i = op.inputs[k]
            total[i] = total[i] + part if i in total else part
    return total


def _real(value: Tensor) -> bool:
    return bool(value.dtype.is_floating)


def _back(
    op: Operation,
    x: list[Tensor],
    x0: list[Tensor],
    change: Tensor,
    m: Tensor,
    varying: list[int],
) -> list[Tensor]:
    """Return the multipliers of the inputs `varying` of one operation."""
    if op.type == "StopGradient":
        return [m]
    middle = _middle(x, x0, varying)
    if op.type in DIVISION and len(varying) == 2:
        return _quotient(op, middle, x[1], x0[1], m)
    slopes = _pull(op, middle, {0: m}, varying)
    if op.type in QUADRATIC or op.type in ("SelectV2", "Select"):
        return slopes
    (k,) = varying
    dx = x[k] - x0[k]
    smooth = op.type in SMOOTH
    least = SMALL * tf.abs(middle[k]) if smooth else TINY * (1 + tf.abs(x[k]))
    ratio = m * tf.math.divide_no_nan(change, dx)
    return [tf.where(tf.abs(dx) <= least, slopes[0], ratio)]


def _quotient(
    op: Operation, middle: list[Tensor], b: Tensor, b0: Tensor, m: Tensor
) -> list[Tensor]:
    """Return the multipliers of a and b in a / b = a (1 / b).

    d(a / b) = da (1 / b + 1 / b0) / 2 - (a + a0) / 2 db / (b b0).
    """
    ends = [_pull(op, [middle[0], v], {0: m}, [0, 1]) for v in (b, b0)]
    share = (ends[0][0] + ends[1][0]) / 2
    return [share, ends[0][1] * tf.math.divide_no_nan(b, b0)]


def _middle(x: list[Tensor], x0: list[Tensor], varying: list[int]) -> list[Tensor]:
    """Return the inputs x of an operation, those that vary in the middle to x0."""
    return [(v + x0[k]) / 2 if k in varying else v for k, v in enumerate(x)]


def _pull(
    op: Operation, values: list[Tensor], ms: Mapping[int, Tensor], varying: list[int]
) -> list[Tensor]:
    """Return the vector-Jacobian product of an operation, of `ms` at its outputs."""
    points = [tf.identity(values[k]) for k in varying]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        given = list(values)
        for k, point in zip(varying, points, strict=True):
            given[k] = tf.reshape(point, tf.shape(point))
        made = op.run(given)
        y = [made[k] for k in ms]
    none = tf.UnconnectedGradients.ZERO
    found = tape.gradient(y, points, list(ms.values()), none)
    return [tf.convert_to_tensor(g) for g in found]


def softmax_back(z: Tensor, z0: Tensor, m: Tensor, axis: int, log: bool) -> Tensor:
    """Return the multipliers of a softmax s = softmax(z), exact for finite changes.

    d s_i = l_i (d z_i - sum_j l_j d z_j / sum_j l_j), where l_i is the logarithmic mean
    (s_i - s0_i) / (log s_i - log s0_i). It is the slope diag(s) - s s^T at z = z0. For
    log s it is d z_i - sum_j l_j d z_j / sum_j l_j.

    Args:
        z: Scores.
        z0: Scores at the baseline.
        m: Multipliers of the softmax.
        axis: The axis of the softmax.
        log: True for a log-softmax.
    """
    a, b = (tf.nn.log_softmax(v, axis) for v in (z, z0))
    top = tf.maximum(tf.exp(a), tf.exp(b))
    gap = tf.where(top > 0, tf.abs(a - b), 0.0)
    shrunk = tf.math.divide_no_nan(-tf.math.expm1(-gap), gap)
    mean = top * tf.where(gap < 1e-4, 1 - gap / 2, shrunk)
    total = tf.reduce_sum(mean, axis, keepdims=True)
    share = tf.math.divide_no_nan(mean, total)
    if log:
        return m - share * tf.reduce_sum(m, axis, keepdims=True)
    return mean * (m - tf.reduce_sum(share * m, axis, keepdims=True))
