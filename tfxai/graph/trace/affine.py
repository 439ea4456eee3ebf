"""Affine operations with constants, k x + c, and the factors and shifts of a chain."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.trace.flow import Trace
from tfxai.graph.trace.operation import Operation
from tfxai.graph.trace.table import DIVISION, NORMS, SUM

FACTORS = frozenset({"Mul", "RealDiv", "Neg", "MulNoNan", "DivNoNan"})


@dataclass(frozen=True, eq=False)
class Link:
    """One affine operation of a chain, and the value that it reads."""

    operation: Operation
    source: int


def depending(trace: Trace, op: Operation) -> list[int]:
    """The values among the inputs that depend on the model's input, each once."""
    return list(dict.fromkeys(i for i in op.inputs if i in trace.depends))


def link(trace: Trace, op: Operation) -> Link | None:
    """The operation as a link if it scales or shifts one value by constants."""
    if op.type not in FACTORS | SUM | NORMS:
        return None
    inputs = [i for i in op.inputs if i in trace.depends]
    if len(inputs) != 1 or inputs[0] not in trace.carries:
        return None
    if op.type in DIVISION and op.inputs[0] != inputs[0]:
        return None
    if op.type in NORMS and (
        op.attributes.get("is_training") or op.inputs[0] != inputs[0]
    ):
        return None
    own, made = trace.types[inputs[0]].dims, trace.types[op.outputs[0]].dims
    if own is None or made is None or len(own) != len(made):
        return None
    if any(a != b for a, b in zip(own, made, strict=True)):
        return None  # a constant that the value is spread over
    return Link(op, inputs[0])


def chain(trace: Trace, value: int) -> list[Link]:
    """The affine operations that end in a value, the first one first."""
    found: list[Link] = []
    while value in trace.maker and value not in trace.vectors:
        if found and not trace.alone(value):
            break
        one = link(trace, trace.maker[value])
        if one is None:
            break
        found.append(one)
        value = one.source
    return found[::-1]


def factors(trace: Trace, operations: Sequence[Operation]) -> tuple[Tensor, Tensor]:
    """k and c of a chain of affine operations: it makes k x + c of x."""
    k: Tensor = tf.constant(1.0)
    c: Tensor = tf.constant(0.0)
    for op in operations:
        k, c = _step(trace, op, k, c)
    return k, c


def _step(trace: Trace, op: Operation, k: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    if op.type in NORMS:
        return _norm(trace, op, k, c)
    if op.type == "Neg":
        return -k, -c
    first = op.inputs[0] in trace.depends
    others = [trace.live(i) for i in op.inputs if i not in trace.depends]
    if op.type == "BiasAdd" and op.attributes.get("data_format") == "NCHW":
        rank = trace.types[op.outputs[0]].shape.rank
        others = [tf.reshape(others[0], [-1] + [1] * (rank - 2))]
    if op.type in ("Mul", "MulNoNan"):
        return k * others[0], c * others[0]
    if op.type in DIVISION:
        return k / others[0], c / others[0]
    if op.type == "Sub":
        return (k, c - others[0]) if first else (-k, others[0] - c)
    return k, c + tf.add_n(others) if len(others) > 1 else c + others[0]


def _norm(trace: Trace, op: Operation, k: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    scale, offset, mean, variance = (trace.live(i) for i in op.inputs[1:5])
    factor = scale * tf.math.rsqrt(variance + op.attributes["epsilon"])
    shift = offset - mean * factor
    if op.attributes.get("data_format") == "NCHW":
        factor, shift = (tf.reshape(v, [-1, 1, 1]) for v in (factor, shift))
    return k * factor, c * factor + shift


def span(trace: Trace, op: Operation) -> tuple[int, ...]:
    """The axes, from the end, along which the constants of an operation vary."""
    rank = len(trace.types[op.outputs[0]].dims or ())
    axes: set[int] = set()
    for i in op.inputs:
        if i in trace.depends:
            continue
        dims = trace.types[i].dims or ()
        if op.type in NORMS or op.type == "BiasAdd":
            first = op.attributes.get("data_format") == "NCHW"
            axes.add(1 - rank if first else -1)
        else:
            axes.update(j - len(dims) for j, n in enumerate(dims) if n != 1)
    return tuple(sorted(axes))
