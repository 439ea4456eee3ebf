"""Lookups of a part of the tokens, written as a part of the lookups of all tokens.

Some models look up `ids[:, :1]` and `ids[:, 1:]` (PARSeq). The relevance of a token is
that of its vector; so `table[ids[:, a:b]]` is read as `table[ids][:, a:b]`.
"""

from dataclasses import replace

import tensorflow as tf

from tfxai.graph.trace.flow import INDEXING, LOOKUPS, Trace
from tfxai.graph.trace.operation import Operation, Type
from tfxai.graph.trace.reader import Reader

#: Attributes of a slice that add or drop an axis.
_AXES = ("new_axis_mask", "shrink_axis_mask", "ellipsis_mask")


def with_whole_lookups(found: Trace, reader: Reader) -> list[Operation]:
    """Return the operations, with lookups of all tokens in place of those of a part."""
    made: list[Operation] = []
    for op in found.operations:
        part = None
        if op.type in LOOKUPS and op.inputs[0] not in found.depends:
            part = _part(found, op.inputs[1])
        made += [op] if part is None else _whole(found, reader, op, part)
    return made


def _part(found: Trace, number: int) -> Operation | None:
    """The slice of token ids that indices are made of; None if they are not."""
    op = found.maker.get(number)
    if op is None or number not in found.depends:
        return None
    if op.type == "StridedSlice":
        source, marks = op.inputs[0], op.attributes
        dims = found.types[source].dims
        whole = marks["begin_mask"] & marks["end_mask"] & 1  # of the batch
        same = not any(marks[m] for m in _AXES) and dims is not None and len(dims) == 2
        ids = source in found.inputs and not found.types[source].floating
        return op if whole and same and ids else None
    if op.type not in INDEXING or op.type in ("Reshape", "ExpandDims", "Squeeze"):
        return None
    parts = [_part(found, i) for i in op.inputs if i in found.depends]
    return parts[0] if parts and all(p is parts[0] for p in parts) else None


def _whole(
    found: Trace, reader: Reader, lookup: Operation, part: Operation
) -> list[Operation]:
    """The lookup of all tokens, and the part of its vectors that is read."""
    source = part.inputs[0]
    shape, known = found.types[source].shape, {part.outputs[0]: source}
    made: list[Operation] = []

    def again(number: int) -> int:
        if number not in found.depends or number in known:
            return known.get(number, number)
        op = found.maker[number]
        inputs = tuple(map(again, op.inputs))
        known[number] = reader.fresh(found.types[number].dtype, shape)
        made.append(replace(op, inputs=inputs, outputs=(known[number],)))
        return known[number]

    indices = again(lookup.inputs[1])
    vectors: Type = found.types[lookup.outputs[0]]
    size = tf.TensorShape([*shape, *vectors.shape[2:]])
    every = reader.fresh(vectors.dtype, size)
    inputs = (lookup.inputs[0], indices, *lookup.inputs[2:])
    made.append(replace(lookup, inputs=inputs, outputs=(every,)))
    made.append(replace(part, inputs=(every, *part.inputs[1:]), outputs=lookup.outputs))
    return made
