"""Which nodes compute each sample by itself, along the first axis.

The relevance of several seeds passes such a step at once: the seeds are further samples
of the batch. Any other step is passed seed by seed.
"""

from typing import Any

from tfxai.graph.step import LINEAR, MOVES
from tfxai.graph.trace.flow import Trace
from tfxai.graph.trace.node import Node
from tfxai.graph.trace.operation import Operation
from tfxai.graph.trace.table import (
    BILINEAR,
    POINTWISE,
    SHAPES,
    SOFTMAX,
    SUM,
)

#: Operations that keep the order of the rows, whatever their attributes.
_ALWAYS = (POINTWISE | SHAPES | SUM | BILINEAR) - {"MatMul", "Einsum"}
_ALWAYS |= {
    *("AvgPool", "AvgPool3D", "MaxPool", "MaxPoolV2", "MaxPool3D", "ResizeBilinear"),
    *("ResizeNearestNeighbor", "ResizeBicubic", "DepthToSpace", "SpaceToDepth"),
    *("StopGradient", "IsFinite", "Abs"),
    *("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Relu", "Relu6"),
}
#: type -> the position of the input that holds the axes it works along.
_ALONG = {
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Cumsum", "ReverseV2"), 1),
    **{"Split": 0, "SplitV": 2, "ConcatV2": -1, "GatherV2": 2, "Roll": 2},
}
_KINDS = LINEAR - {"fourier"} | MOVES
_KINDS |= {"max", "relu", "activation", "softmax", "norm", "product", "gate"}


def by_sample(trace: Trace, node: Node) -> bool:
    """Is each sample of the output a function of the same sample of the inputs?

    False where that is not known.
    """
    if node.kind not in _KINDS or node.sides:
        return False
    ends = [op for op in (*node.before, *node.moved) if op.type in _BLOCKS]
    whole = node.kernel is not None and len(ends) == 2
    values = {i for op in node.operations for i in (*op.inputs, *op.outputs)}
    values &= trace.depends
    if not all(batch_first(trace, i) for i in {*node.inputs, node.output}):
        return False
    if not whole and not all(batch_first(trace, i) for i in values):
        return False
    return all(_keeps(trace, op, whole) for op in node.operations)


#: Operations of several values, each with samples of its own.
_PARTS = frozenset({"Pack", "ConcatV2"})
_BLOCKS = ("SpaceToBatchND", "BatchToSpaceND")


def batch_first(trace: Trace, number: int) -> bool:
    """Is the first axis of a value the only open one?"""
    dims = trace.types[number].dims
    return bool(dims) and dims is not None and dims[0] is None and None not in dims[1:]


def _keeps(trace: Trace, op: Operation, whole: bool) -> bool:
    ranks = {len(trace.types[i].dims or ()) for i in op.inputs if i in trace.depends}
    if len(ranks) > 1 and op.type not in _PARTS:
        return False  # one value is spread along the samples of another
    if op.type in _ALWAYS or (whole and op.type in _BLOCKS):
        return True
    if op.type in _ALONG:
        axes = _constant(trace, op.inputs[_ALONG[op.type]])
        read = op.inputs[1] if op.type == "Split" else op.inputs[0]
        rank = len(trace.types[read].dims or ())
        return axes is not None and all(axes.ravel() % rank)
    test = _TESTS.get(op.type)
    return test is not None and bool(test(trace, op))


def _constant(trace: Trace, number: int) -> Any:
    if number in trace.depends or trace.reads_variables.get(number, False):
        return None
    return trace.live(number).numpy()


def _matrix(trace: Trace, op: Operation) -> bool:
    """x W, and not W x or x y."""
    first, second = (i in trace.depends for i in op.inputs)
    return first and not second and not op.attributes.get("transpose_a")


def _einsum(trace: Trace, op: Operation) -> bool:
    read, _, made = str(op.attributes["equation"]).partition("->")
    parts = read.split(",")
    if "." in read:
        return False
    batched = [p for p, i in zip(parts, op.inputs, strict=True) if i in trace.depends]
    others = [
        p for p, i in zip(parts, op.inputs, strict=True) if i not in trace.depends
    ]
    label = made[:1]
    return (
        bool(label)
        and all(p[:1] == label for p in batched)
        and not any(label in p for p in others)
    )


def _transposed(trace: Trace, op: Operation) -> bool:
    order = _constant(trace, op.inputs[1])
    return order is not None and order[0] == 0


def _padded(trace: Trace, op: Operation) -> bool:
    sizes = _constant(trace, op.inputs[1])
    return sizes is not None and not sizes[0].any()


def _tiled(trace: Trace, op: Operation) -> bool:
    times = _constant(trace, op.inputs[1])
    return times is not None and times[0] == 1


def _sliced(trace: Trace, op: Operation) -> bool:
    step = _constant(trace, op.inputs[3])
    get = op.attributes.get
    masks = int(get("begin_mask", 0)) & int(get("end_mask", 0)) & 1
    added, dropped = int(get("new_axis_mask", 0)), int(get("shrink_axis_mask", 0))
    if step is None or (added | dropped) & 1:
        return False
    if int(get("ellipsis_mask", 0)) & 1:  # "..." stands for the axes not named
        named = len(step) - 1 - added.bit_count()
        return named < len(trace.types[op.inputs[0]].dims or ())
    return bool(masks and step[0] == 1)


def _softmax(trace: Trace, op: Operation) -> bool:
    """Along the last axis, which is that of the samples in a vector."""
    return len(trace.types[op.inputs[0]].dims or ()) > 1


def _attribute_axis(trace: Trace, op: Operation) -> bool:
    value = op.outputs[0] if op.type == "Pack" else op.inputs[0]
    return bool(op.attributes["axis"] % len(trace.types[value].dims or (1,)))


_TESTS: dict[str, Any] = {
    **dict.fromkeys(SOFTMAX, _softmax),
    **{"MatMul": _matrix, "Einsum": _einsum, "Transpose": _transposed},
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), _padded),
    **{"Tile": _tiled, "StridedSlice": _sliced},
    **dict.fromkeys(("Pack", "Unpack"), _attribute_axis),
}
