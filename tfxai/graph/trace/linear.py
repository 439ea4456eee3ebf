"""Operations with a constant operand: kernels, their bias, and how they are mapped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.tensors import Tensor, size
from tfxai.graph import fast
from tfxai.graph.step import Mapped, Weights, whole
from tfxai.graph.trace import affine
from tfxai.graph.trace.flow import Trace
from tfxai.graph.trace.node import Node
from tfxai.graph.trace.operation import Operation
from tfxai.graph.trace.table import (
    BILINEAR,
    CONVOLUTION,
    DEPTHWISE,
    MATRIX,
    SHAPES,
    SUM,
    TRANSPOSED,
)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A bilinear operation of one value and one constant.

    source: the value; at: the position of the constant operand. before: what lays out
    the value for it; moved: what only changes the axes behind it. flattened: does the
    operation read all positions as one axis, which `before` and `moved` make and undo?
    """

    operation: Operation
    source: int
    at: int
    before: tuple[Operation, ...] = ()
    moved: tuple[Operation, ...] = ()
    flattened: bool = False


def kernel(trace: Trace, value: int) -> Kernel | None:
    """The kernel that makes a value, through what only changes the axes."""
    moved: list[Operation] = []
    while value in trace.maker:
        op = trace.maker[value]
        if op.type in BILINEAR:
            found = _bilinear(trace, op)
            return None if found is None else _laid_out(trace, found, moved[::-1])
        plain = op.type in SHAPES | {"BatchToSpaceND"} and _keeps_last(trace, op)
        if not plain and not _channels_first(trace, op):
            return None
        if not trace.alone(op.inputs[0]) or trace.depends.intersection(op.inputs[1:]):
            return None
        moved.append(op)
        value = op.inputs[0]
    return None


def _channels_first(trace: Trace, op: Operation) -> bool:
    """Does it put the channels of a depthwise convolution in front, as Keras does?"""
    if op.type != "Transpose" or op.inputs[1] in trace.depends:
        return False
    maker = trace.maker.get(op.inputs[0])
    if maker is None or maker.type not in DEPTHWISE:
        return False
    order = trace.live(op.inputs[1]).numpy().tolist()
    return bool(order == [0, len(order) - 1, *range(1, len(order) - 1)])


def _keeps_last(trace: Trace, op: Operation) -> bool:
    """Does it leave the axes of the channels at the end, whole or split?"""
    before, after = (trace.types[v].dims for v in (op.inputs[0], op.outputs[0]))
    if not before or not after or before[-1] is None:
        return False
    left = before[-1]
    for n in reversed(after):
        if left == 1:
            break
        if not n or left % n:
            return False
        left //= n
    return left == 1


def _bilinear(trace: Trace, op: Operation) -> Kernel | None:
    places = [i for i, v in enumerate(op.inputs) if v in trace.depends]
    if op.type in TRANSPOSED:
        places = [i for i in places if i != 0]  # the shape of the output
    if len(places) != 1 or op.inputs[places[0]] not in trace.carries:
        return None
    if op.type == "Einsum" and len(op.inputs) != 2:
        return None
    at = 1 if op.type in TRANSPOSED else 1 - places[0]
    if op.inputs[at] in trace.depends:
        return None
    return Kernel(op, op.inputs[places[0]], at)


def _laid_out(trace: Trace, found: Kernel, moved: Sequence[Operation]) -> Kernel:
    """With what in front belongs to the layer: a reshape, a dilation or a padding.

    A reshape and a dilation belong to it where they are undone behind.
    """
    op, source = found.operation, found.source
    first = trace.maker.get(source)
    if first is not None and _separable(trace, first, op):
        padding = _padding(trace, op, first.inputs[0], moved)
        source = padding[0].inputs[0] if padding else first.inputs[0]
        return _with(found, source, (*padding, first), tuple(moved))
    padding = _padding(trace, op, source, moved)
    if padding:
        return _with(found, padding[0].inputs[0], padding, tuple(moved))
    if first is None or not moved or not trace.alone(source):
        return _with(found, source, (), tuple(moved))
    flat = op.type == "MatMul" and first.type == "Reshape" and found.at == 1
    flat = flat and _only_flat(trace, first, op, moved[0])
    if flat:
        return _with(found, first.inputs[0], (first,), tuple(moved), True)
    return _with(found, source, (), tuple(moved))


def _padding(
    trace: Trace, op: Operation, source: int, moved: Sequence[Operation]
) -> tuple[Operation, ...]:
    """The dilation that is undone behind, and the zeros that the layer itself adds.

    A convolution with causal padding is one step, as one with the padding "same" is:
    the rules share relevance among the inputs alone. A padding layer is a step.
    """
    scope = op.name.rpartition("/")[0]
    undone = any(m.type == "BatchToSpaceND" for m in moved)
    found: list[Operation] = []
    kept = 0
    while op.type in BILINEAR - MATRIX and trace.alone(source):
        first = trace.maker.get(source)
        if first is None:
            break
        own = bool(scope) and first.name.rpartition("/")[0] == scope
        pads = (first.type == "Pad" and own) or (
            first.type == "SpaceToBatchND" and undone
        )
        if not pads and first.type != "ExpandDims":
            break
        found.append(first)
        kept = len(found) if pads else kept
        source = first.inputs[0]
    return tuple(found[:kept][::-1])


def _separable(trace: Trace, first: Operation, op: Operation) -> bool:
    """Are the two operations one separable convolution, as `tf.nn` writes it?"""
    own = first.type in DEPTHWISE and first.name == f"{op.name}/depthwise"
    fixed = own and first.inputs[1] not in trace.depends
    return fixed and trace.alone(first.outputs[0])


def _only_flat(trace: Trace, first: Operation, op: Operation, last: Operation) -> bool:
    """Is (..., n) read as (-1, n), and what comes out as (..., m) again?"""
    read = trace.types[first.inputs[0]].dims
    flat = trace.types[first.outputs[0]].dims
    made = trace.types[op.outputs[0]].dims
    out = trace.types[last.outputs[0]].dims
    if not read or not flat or not made or not out or last.type != "Reshape":
        return False
    plain = not op.attributes.get("transpose_a") and not op.attributes.get(
        "transpose_b"
    )
    return plain and read[-1] == flat[-1] and out == (*read[:-1], made[-1])


def _with(
    found: Kernel,
    source: int,
    before: tuple[Any, ...],
    moved: tuple[Any, ...],
    flattened: bool = False,
) -> Kernel:
    return Kernel(found.operation, source, found.at, before, moved, flattened)


def merged(
    trace: Trace, found: Kernel, operations: Sequence[Operation], value: int
) -> Node:
    """A kernel with the shifts behind it that belong to its outputs.

    Where the operations behind it are more than that, they are a scale of their own.
    """
    own = (*found.before, found.operation, *found.moved)
    if not operations or (
        all(op.type in SUM and _is_bias(trace, found, op) for op in operations)
        and trace.alone(own[-1].outputs[0])
    ):
        kind = "dense"
        if found.operation.type in CONVOLUTION | TRANSPOSED:
            kind = "conv"
        elif found.operation.type in DEPTHWISE:
            kind = "depthwise"
        return Node(
            kind, found.operation.type, (*own, *operations), (found.source,), value,
            kernel=found.operation, before=found.before, moved=found.moved,
            after=tuple(operations), flattened=found.flattened,
            notes={"at": found.at},
        )  # fmt: skip
    alone = trace.alone(own[-1].outputs[0])
    biases = [
        alone and op.type in SUM and _is_bias(trace, found, op) for op in operations
    ]
    rest = tuple(operations[biases.index(False) if False in biases else 0 :])
    source = next(i for i in rest[0].inputs if i in trace.depends)
    return Node("scale", rest[0].type, rest, (source,), value, after=rest)


def _is_bias(trace: Trace, found: Kernel, op: Operation) -> bool:
    """Does what is added vary along the channels of the kernel alone?"""
    if op.type == "Sub" and op.inputs[0] not in trace.depends:
        return False
    axes = affine.span(trace, op)
    if not axes:
        return True
    dims = trace.types[op.outputs[0]].dims or ()
    if found.moved and found.moved[-1].type == "Transpose":
        return axes == (1 - len(dims),)
    made = trace.types[found.operation.outputs[0]].dims or (None,)
    spanned = dims[min(axes) :]
    if None in spanned or 0 in spanned or made[-1] is None:
        return False
    return bool(made[-1] % prod(n for n in spanned if n is not None) == 0)


# -- weights ---------------------------------------------------------------------------


def weights(trace: Trace, node: Node) -> Weights:
    """The live weights of a node with a kernel."""
    op, at = node.kernel, node.notes["at"]
    assert op is not None
    if node.before and node.before[-1].type in DEPTHWISE:
        return _separable_weights(trace, node, op)
    number = op.inputs[at]

    def read(inputs: list[Any]) -> tuple[Tensor, Tensor | None]:
        shift = affine.factors(trace, node.after)[1] if node.after else None
        return trace.live(number), shift

    out, into, channels = _scaling(trace, node)
    return Weights(read, out, into, channels)


def _separable_weights(trace: Trace, node: Node, op: Operation) -> Weights:
    """In two factors, D (..., C, M) and P (1, 1, C M, out); (..., C, out) as one."""
    numbers = node.before[-1].inputs[1], op.inputs[1]

    def read(inputs: list[Any]) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        shift = affine.factors(trace, node.after)[1] if node.after else None
        return (trace.live(numbers[0]), trace.live(numbers[1])), shift

    def dense(kernel: Any) -> Tensor:
        depth, point = kernel
        c, m = depth.shape[-2:]
        return tf.einsum("...cm,cmo->...co", depth, tf.reshape(point, [c, m, -1]))

    return Weights(
        read,
        lambda k, f: (k[0], k[1] * f),
        lambda k, f: (k[0] * f[:, None], k[1]),
        None if any(not _last_kept(trace, m) for m in node.moved) else -1,
        dense,
    )


def _run_separable(trace: Trace, node: Node, op: Operation) -> Callable[..., Any]:
    """The two convolutions, or the one that they are together."""
    *padding, first = node.before
    (source,), end = node.inputs, (op, *node.moved)[-1].outputs[0]
    get = first.attributes

    def apply(v: list[Any], kernel: Any) -> Tensor:
        if isinstance(kernel, tuple):
            known = {source: v[0], first.inputs[1]: kernel[0], op.inputs[1]: kernel[1]}
            return trace.run((*node.before, op, *node.moved), known)[end]
        x = trace.run(padding, {source: v[0]})[first.inputs[0]]
        z = tf.nn.conv2d(
            x, kernel, get["strides"], get["padding"], get["data_format"],
            get["dilations"],
        )  # fmt: skip
        return trace.run(node.moved, {op.outputs[0]: z})[end]

    return apply


def _scaling(
    trace: Trace, node: Node
) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None, int | None]:
    """How factors of the outputs, and of the inputs, go into the kernel."""
    op = node.kernel
    assert op is not None
    moved = [m.type for m in node.moved]
    first = str(op.attributes.get("data_format", "")).startswith("NC")
    first = (first and not moved) or moved == ["Transpose"]
    if not first and any(not _last_kept(trace, m) for m in node.moved):
        return None, None, None
    channels = 1 - len(trace.types[node.output].dims or (1,)) if first else -1
    if op.type in CONVOLUTION:
        return _last, None if _grouped(trace, op) else _next_to_last, channels
    if op.type in TRANSPOSED:
        return _next_to_last, _last, channels
    if op.type in DEPTHWISE:
        return _of_each, _next_to_last, channels
    if op.type in MATRIX - {"Einsum"} and _plain_matrix(trace, op, node.notes["at"]):
        return _last, _next_to_last, -1
    return None, None, None


def _last_kept(trace: Trace, op: Operation) -> bool:
    before, after = (trace.types[v].dims for v in (op.inputs[0], op.outputs[0]))
    return bool(before and after and before[-1] == after[-1])


def _grouped(trace: Trace, op: Operation) -> bool:
    filters, read = (trace.types[op.inputs[i]].dims for i in (1, 0))
    return not filters or not read or filters[-2] != read[-1]


def _plain_matrix(trace: Trace, op: Operation, at: int) -> bool:
    turned = ("transpose_a", "transpose_b", "adj_x", "adj_y")
    rank = len(trace.types[op.inputs[at]].dims or ())
    return at == 1 and rank == 2 and not any(op.attributes.get(n) for n in turned)


def _last(kernel: Tensor, factors: Tensor) -> Tensor:
    return kernel * factors


def _next_to_last(kernel: Tensor, factors: Tensor) -> Tensor:
    return kernel * factors[:, None]


def _of_each(kernel: Tensor, factors: Tensor) -> Tensor:
    return kernel * tf.reshape(factors, kernel.shape[-2:])


# -- how they run ----------------------------------------------------------------------


def functions(
    trace: Trace, node: Node
) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """(inputs, kernel) -> W x, and the transposed map where it has a faster way."""
    op, at = node.kernel, node.notes["at"]
    assert op is not None
    if op.type in MATRIX - {"Einsum"} and _plain_matrix(trace, op, at):
        back = None if node.moved and not node.flattened else fast.dense_back
        if node.flattened or not node.moved:
            rest = node.moved[1:] if node.flattened else ()
            return _then(trace, product, rest), None if rest else back
        return _then(trace, product, node.moved), None
    if node.before and node.before[-1].type in DEPTHWISE:
        return _run_separable(trace, node, op), None
    there, back = _convolution(trace, node)
    if there is not None:
        return there, back
    return _run(trace, node), back


def product(v: list[Any], kernel: Any) -> Tensor:
    """Compute x W."""
    if not isinstance(kernel, Mapped):
        return keras.ops.matmul(v[0], kernel)
    total: Tensor = None
    for block in kernel.blocks():
        with tf.control_dependencies([] if total is None else [total]):
            part = keras.ops.matmul(v[0][..., block], kernel.rows(block))
        total = part if total is None else total + part
    return total


def _then(
    trace: Trace, function: Callable[..., Any], rest: Sequence[Operation]
) -> Callable[..., Any]:
    if not rest:
        return function

    def apply(v: list[Any], kernel: Any) -> Tensor:
        z = function(v, kernel)
        start, end = rest[0].inputs[0], rest[-1].outputs[0]
        return trace.run(rest, {start: z})[end]

    return apply


def _run(trace: Trace, node: Node) -> Callable[..., Any]:
    """The operation itself with another kernel."""
    op, at = node.kernel, node.notes["at"]
    assert op is not None
    (source, *_rest), held = node.inputs, (*node.before, op, *node.moved)
    end = held[-1].outputs[0]

    def apply(v: list[Any], kernel: Any) -> Tensor:
        known = {source: v[0], op.inputs[at]: whole(kernel)}
        if op.type in TRANSPOSED:
            known[op.inputs[0]] = _output_shape(trace, op, v[0])
        return trace.run(held, known)[end]

    return apply


def _output_shape(trace: Trace, op: Operation, x: Tensor) -> Tensor:
    dims = list(trace.types[op.outputs[0]].dims or ())
    return tf.stack([tf.shape(x)[0] if n is None else n for n in dims])


@dataclass(frozen=True)
class _Layer:
    """What `fast.convolution` needs of a layer."""

    rank: int
    groups: int
    padding: str
    data_format: str
    dilation_rate: tuple[int, ...]
    strides: tuple[int, ...]
    filters: int
    kernel_size: tuple[int, ...]


def _convolution(
    trace: Trace, node: Node
) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    """The faster maps of a plain convolution of images; None: TensorFlow's."""
    op = node.kernel
    assert op is not None
    if op.type not in _OF_INPUT or node.before or node.moved:
        return None, None
    dims, filters = (trace.types[op.inputs[i]].dims for i in (0, 1))
    if not dims or not filters or None in dims[1:] or None in filters:
        return None, None
    own = None if _grouped(trace, op) else _of_input(op, dims)
    get = op.attributes.get
    plain = get("data_format") == "NHWC" and get("padding") in ("SAME", "VALID")
    if op.type != "Conv2D" or not plain:
        return None, own
    layer = _Layer(
        2, 1 if filters[2] == dims[3] else 0, str(get("padding")).lower(),
        "channels_last", tuple(op.attributes["dilations"][1:3]),
        tuple(op.attributes["strides"][1:3]),
        int(filters[3] or 0), (int(filters[0] or 0), int(filters[1] or 0)),
    )  # fmt: skip
    there, back = fast.convolution(layer, tuple(dims[1:]))
    return there, back or own


#: type -> its gradient for the input alone.
_OF_INPUT = {
    "Conv2D": tf.raw_ops.Conv2DBackpropInput,
    "DepthwiseConv2dNative": tf.raw_ops.DepthwiseConv2dNativeBackpropInput,
}


def _of_input(op: Operation, dims: tuple[int | None, ...]) -> Callable[..., Any]:
    """The transposed map of a convolution, without the gradient of its kernel.

    Outside of a graph, TensorFlow's own gradient computes that of the kernel too. For
    single small images, that one writes outside of its memory on some processors.
    """
    wanted = ("strides", "padding", "explicit_paddings", "data_format", "dilations")
    given = {k: op.attributes[k] for k in wanted if k in op.attributes}

    def transpose(s: Tensor, kernel: Tensor) -> Tensor:
        sizes = tf.stack([size(s)[0], *dims[1:]])
        return _OF_INPUT[op.type](
            input_sizes=sizes, filter=kernel, out_backprop=s, **given
        )

    return transpose
