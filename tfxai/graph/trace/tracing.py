"""Traces a model, and writes a few operations in one way only."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.registered import apart
from tfxai.graph.trace.flow import Trace, needed
from tfxai.graph.trace.operation import Operation
from tfxai.graph.trace.quantized import with_plain_kernels
from tfxai.graph.trace.reader import Reader, refusal
from tfxai.graph.trace.scopes import Scopes
from tfxai.graph.trace.sliced_tokens import with_whole_lookups
from tfxai.graph.trace.table import NORMS, RANDOM


def trace(
    call: Callable[..., Any],
    specs: Sequence[tf.TensorSpec],
    output: int = 0,
    scopes: Scopes | None = None,
) -> Trace:
    """The operations of `call(*inputs)`, a function of flat tensors.

    output: which of its outputs is explained. scopes: the layers of a model, of which
    the registered ones become one operation each.
    """

    def answer(*inputs: Tensor) -> Tensor:
        return keras.tree.flatten(call(*inputs))[output]

    function = tf.function(answer, autograph=False)
    with apart(None if scopes is None else scopes.model) as calls:
        concrete = function.get_concrete_function(*specs)
    graph, reader = concrete.graph, Reader(calls, scopes)
    numbers = [reader.fresh(t.dtype, t.shape) for t in graph.inputs]
    count = len(numbers) - len(concrete.captured_inputs)
    reader.inputs.update(numbers[:count])
    reader.rows.update(n for n in numbers[:count] if reader.types[n].shape.rank)
    given = dict(zip(numbers[count:], concrete.captured_inputs, strict=True))
    for number, value in given.items():
        if value.dtype != tf.resource:
            reader.give(number, value)
    (last,) = reader.read(graph, numbers)
    operations = needed(reader.operations, last)
    for op in operations:
        if op.type.startswith(RANDOM):
            raise reader.refusal(op.name, op.type, "draws at random")
    inputs = tuple(numbers[:count])
    found = Trace(operations, reader.types, inputs, last, given, concrete)
    _check_samples(found, scopes)
    found = replace(found, operations=with_whole_lookups(found, reader))
    found = with_plain_kernels(found, scopes)
    found = replace(found, operations=_with_reciprocals(found, reader))
    return replace(found, operations=needed(_with_signs(found), found.output))


def _check_samples(found: Trace, scopes: Scopes | None) -> None:
    """Refuse what reduces or contracts the axis of the batch."""
    for op in found.operations:
        if op.type in NORMS and not op.attributes.get("is_training", True):
            continue  # its further outputs are the statistics that it reads
        read = (found.types[i].dims for i in op.inputs if i in found.carries)
        made = [found.types[o].dims for o in op.outputs if o in found.carries]
        if any(None in dims for dims in read if dims) and any(
            dims is not None and None not in dims for dims in made
        ):
            why = "mixes the samples of a batch"
            raise refusal(op.name, op.type, why, scopes)


def _with_reciprocals(found: Trace, reader: Reader) -> list[Operation]:
    """The operations with c / y as c * (1 / y), c of a shape of its own or a mask.

    So are gated values, x / (1 + exp(-z)).
    """
    made: list[Operation] = []
    for op in found.operations:
        if op.type not in ("RealDiv", "Div") or not _divides_none(found, op):
            made.append(op)
            continue
        kept = found.types[op.inputs[1]]
        number = reader.fresh(kept.dtype, kept.shape)
        inverse = Operation(
            "Reciprocal", op.name, op.inputs[1:], (number,), {}, (("x", None),)
        )
        names = (("x", None), ("y", None))
        inputs = (op.inputs[0], number)
        made += [inverse, Operation("Mul", op.name, inputs, op.outputs, {}, names)]
    return made


def _with_signs(found: Trace) -> list[Operation]:
    """The operations with a - (-b) as a + b, and with a + (-b) as a - b."""
    made: list[Operation] = []
    for op in found.operations:
        if op.type in _SIGNED and found.carries.issuperset(op.inputs):
            op = _signed(op, [_unsigned(found, i) for i in op.inputs])
        made.append(op)
    return made


_SIGNED = ("AddV2", "Sub")


def _unsigned(found: Trace, number: int) -> int:
    """The value that is negated for one reader alone; else the value itself."""
    maker = found.maker.get(number)
    negated = maker is not None and maker.type == "Neg" and found.alone(number)
    return maker.inputs[0] if maker is not None and negated else number


def _signed(op: Operation, plain: list[int]) -> Operation:
    """A sum or a difference of values in place of one of negated values."""
    signs = [1 if a == b else -1 for a, b in zip(op.inputs, plain, strict=True)]
    if op.type == "Sub":
        signs[1] = -signs[1]
    if signs[0] < 0:
        plain, signs = plain[::-1], signs[::-1]
    if signs[0] < 0:  # both are negated
        return op
    kind = "AddV2" if signs[1] > 0 else "Sub"
    return replace(op, type=kind, inputs=tuple(plain))


def _opens(found: Trace, number: int) -> bool:
    """Is a divisor 1 + exp(z), so that its reciprocal is a gate?"""
    maker = found.maker.get(number)
    if maker is None or maker.type not in ("AddV2", "Add"):
        return False
    depends = [i for i in maker.inputs if i in found.depends]
    inner = found.maker.get(depends[0]) if len(depends) == 1 else None
    return inner is not None and inner.type == "Exp"


def _divides_none(found: Trace, op: Operation) -> bool:
    """Does a value divide what carries no relevance, and not just a number?"""
    first, second = op.inputs
    if first in found.carries and second in found.carries:
        return _opens(found, second)
    if first in found.carries or second not in found.carries:
        return False
    same = found.types[second].dims == found.types[op.outputs[0]].dims
    return first in found.depends or not same
