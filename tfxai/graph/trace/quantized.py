"""Layers that Keras quantised, as a rounding and the kernel of the plain layer.

An int8 layer computes with whole numbers: (round(s x) K) / (s k), where s is
127 / max|x| of the vector and k is the scale of the kernel. It is read as x' (K / k),
with x' = round(s x) / s: the same number. The first step rounds and has the slope 1, as
the layer's own gradient has; the second one is linear, and every rule can map its
kernel. A float8 layer rounds x in the same way. Layers that round their weights alone
(int4) compute with a kernel of floats already.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.private import layers_within
from tfxai.graph.trace.flow import Trace, needed
from tfxai.graph.trace.operation import Operation, Type
from tfxai.graph.trace.reader import refusal
from tfxai.graph.trace.region import Region, regions
from tfxai.graph.trace.scopes import Scopes, is_quantized, owner_of
from tfxai.graph.trace.table import DIVISION, MATRIX, POINTWISE, SHAPES

_ROUNDS = POINTWISE | {"Round", "Max", "ClipByValue"}
_FLOAT8 = ("float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True, eq=False)
class Computed(Operation):
    """Several operations as one of the type that they are read as."""

    function: Callable[[Sequence[Tensor]], Tensor] = lambda values: values[0]

    def run(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The output for these inputs; a rounding has the slope 1."""
        if self.type != "Rounded":
            return [self.function(values)]
        rounded = tf.custom_gradient(
            lambda x: (self.function([x, *values[1:]]), lambda slope: slope)
        )
        return [rounded(values[0])]


def with_plain_kernels(found: Trace, scopes: Scopes | None) -> Trace:
    """The trace with quantised layers as roundings and kernels of floats.

    Raises UnsupportedLayerError for a product of whole numbers of another form.
    """
    model = None if scopes is None else scopes.model
    if model is None or not any(map(is_quantized, layers_within(model))):
        return found
    found = _with_own_slopes(found, scopes)
    rewriter = _Rewriter(found, scopes)
    made = [new for op in found.operations for new in rewriter.rewritten(op)]
    return replace(found, operations=needed(made, found.output))


def _with_own_slopes(found: Trace, scopes: Scopes | None) -> Trace:
    """The trace without the gradients that these layers declare."""
    same: dict[int, int] = {}
    kept: list[Operation] = []
    for op in found.operations:
        if op.type == "CustomGradient" and owner_of(scopes, op.name).quantized:
            same[op.outputs[0]] = same.get(op.inputs[0], op.inputs[0])
        else:
            kept.append(replace(op, inputs=tuple(same.get(i, i) for i in op.inputs)))
    output = same.get(found.output, found.output)
    return replace(found, operations=kept, output=output) if same else found


class _Rewriter:
    """Replaces the operations of quantised layers, one output at a time."""

    def __init__(self, found: Trace, scopes: Scopes | None) -> None:
        self.found, self.scopes = found, scopes
        self._rounded: dict[int, int] = {}

    def rewritten(self, op: Operation) -> list[Operation]:
        """What stands in place of an operation: itself, outside of such layers."""
        if op.type not in DIVISION | {"Mul"}:
            return [op]
        own = owner_of(self.scopes, op.name).quantized
        if not own or op.outputs[0] not in self.found.depends:
            return [op]
        if op.type == "Mul":
            return self._of_bytes(op)
        source, moved, whole = self._behind(op.inputs[0])
        first = self.found.maker.get(source)
        if not whole or first is None:
            return [op]
        if first.type == "GatherV2":
            return [self._lookup(op, first)]
        made = self._product(op, first, moved)
        if made is None:
            why = "divides whole numbers in a way that no step covers"
            raise refusal(op.name, op.type, why, self.scopes)
        return made

    # -- float8 ----------------------------------------------------------------------

    def _of_bytes(self, op: Operation) -> list[Operation]:
        """A value that is rounded to a float of 8 bits and multiplied again."""
        types = self.found.types
        for region in regions(self.found, op.outputs[0], POINTWISE):
            made = {types[o].dtype.name for v in region.operations for o in v.outputs}
            if region.types & DIVISION and made.intersection(_FLOAT8):
                return [
                    self._fused("Rounded", region.operations, region.entry, op.outputs)
                ]
        return [op]

    # -- int8 ------------------------------------------------------------------------

    def _behind(self, value: int) -> tuple[int, list[Operation], bool]:
        """A value in front of changes of axes or of type, the former, and a flag.

        The flag tells whether a type on the way is that of whole numbers.
        """
        moved: list[Operation] = []
        whole = False
        while value in self.found.maker:
            last = self.found.maker[value]
            if last.type not in SHAPES | {"Cast"}:
                break
            if last.type != "Cast":
                moved.insert(0, last)
            whole = whole or self.found.types[value].dtype.is_integer
            value = last.inputs[0]
        whole = whole or self.found.types[value].dtype.is_integer
        return value, moved, whole

    def _lookup(self, op: Operation, first: Operation) -> Operation:
        """Vectors that are looked up in a table of whole numbers, and their scales."""
        table, tokens = first.inputs[:2]
        inner = self._cone(op.outputs[0], {tokens, *self.found.inputs})
        return self._fused("GatherV2", inner, table, op.outputs, tokens)

    def _product(
        self, op: Operation, product: Operation, moved: list[Operation]
    ) -> list[Operation] | None:
        """A product of whole numbers, divided by the scales of both."""
        if product.type not in MATRIX or product.inputs[1] in self.found.depends:
            return None
        source, before, _ = self._behind(product.inputs[0])
        region = self._rounding(source)
        scale = None if region is None else self._scale(region, op.inputs[1])
        if region is None or scale is None:
            return None
        kernel = self._kernel(op, product, scale)
        if kernel is None:
            return None
        made: list[Operation] = [kernel]
        value = self._round(made, region, source, scale)
        for shape in before:
            value = self._append(made, shape, value)
        value = self._append(made, product, value, kernel.outputs[0])
        for shape in moved:
            value = self._append(made, shape, value)
        made[-1] = replace(made[-1], outputs=op.outputs)
        return made

    def _append(
        self, made: list[Operation], op: Operation, value: int, *more: int
    ) -> int:
        """The value that an operation makes of floats, which is appended."""
        number = self._new(self.found.types[op.outputs[0]].shape)
        attributes = dict(op.attributes)
        if "Tout" in attributes:
            attributes["Tout"] = tf.float32
        inputs = (value, *(more or op.inputs[1:]))
        made.append(
            replace(op, inputs=inputs, outputs=(number,), attributes=attributes)
        )
        return number

    def _rounding(self, value: int) -> Region | None:
        """The region from a value of floats to one of whole numbers."""
        for region in regions(self.found, value, _ROUNDS):
            if {"Round", "Max"} <= region.types:
                return region
        return None

    def _scale(self, region: Region, divisor: int) -> int | None:
        """The factor of the input that the product is divided by."""
        made = {o for op in region.operations for o in op.outputs}
        found = {i for op in self._cone(divisor, made) for i in op.inputs if i in made}
        return found.pop() if len(found) == 1 else None

    def _round(
        self, made: list[Operation], region: Region, value: int, scale: int
    ) -> int:
        """The number of round(s x) / s, which several layers may read."""
        if value in self._rounded:
            return self._rounded[value]
        number = self._rounded[value] = self._new(self.found.types[value].shape)

        def function(known: dict[int, Tensor]) -> Tensor:
            return tf.cast(known[value], tf.float32) / known[scale]

        made.append(
            self._fused(
                "Rounded", region.operations, region.entry, (number,), last=function
            )
        )
        return number

    def _kernel(self, op: Operation, product: Operation, scale: int) -> Computed | None:
        """K / k, from the live variables; None where k is not one number an output."""
        kernel, inner = product.inputs[1], self._cone(op.inputs[1], {scale})
        ones = tf.ones([1] * (self.found.types[scale].shape.rank or 0))
        arranged = _arranged(product, self.found.types[kernel].shape)

        def function(known: dict[int, Tensor]) -> Tensor:
            floats = tf.cast(known[kernel], tf.float32)
            return floats / arranged(known[op.inputs[1]])

        number = self._new(self.found.types[kernel].shape)
        made = self._fused(
            "Dequantized", inner, kernel, (number,), known={scale: ones}, last=function
        )
        try:
            with tf.init_scope():
                shape = made.run([self.found.live(i) for i in made.inputs])[0].shape
        except (tf.errors.InvalidArgumentError, ValueError):
            return None
        return made if shape == self.found.types[kernel].shape else None

    # -- operations ------------------------------------------------------------------

    def _new(self, shape: tf.TensorShape) -> int:
        """The number of a new value of floats."""
        self.found.types.append(Type(tf.float32, shape))
        return len(self.found.types) - 1

    def _cone(self, value: int, stops: set[int]) -> list[Operation]:
        """The operations that depend on the input, from `stops` to a value."""
        held: set[Operation] = set()
        todo = [value]
        while todo:
            i = todo.pop()
            op = self.found.maker.get(i)
            if i in stops or i not in self.found.depends or op is None:
                continue
            held.add(op)
            todo += op.inputs
        return [o for o in self.found.operations if o in held]

    def _fused(
        self,
        kind: str,
        operations: Iterable[Operation],
        first: int,
        outputs: tuple[int, ...],
        *more: int,
        known: dict[int, Tensor] | None = None,
        last: Callable[[dict[int, Tensor]], Tensor] | None = None,
    ) -> Computed:
        """Operations as one, which reads `first` and `more` before all else.

        known: values that are given. last: the output, from all values; without it, it
        is one of them.
        """
        order = [o for o in self.found.operations if o in set(operations)]
        given = dict(known or {})
        made = {o for op in order for o in op.outputs} | set(given)
        read = [first, *more, *(i for op in order for i in op.inputs if i not in made)]
        inputs = tuple(dict.fromkeys(read))

        def function(values: Sequence[Tensor]) -> Tensor:
            at = {**given, **dict(zip(inputs, values, strict=True))}
            for op in order:
                results = op.run([at[i] for i in op.inputs])
                at.update(zip(op.outputs, results, strict=True))
            return at[outputs[0]] if last is None else last(at)

        name = order[-1].name if order else ""
        return Computed(kind, name, inputs, outputs, function=function)


def _arranged(product: Operation, kernel: tf.TensorShape) -> Callable[[Tensor], Tensor]:
    """(scale, as it broadcasts against the outputs) -> as it does against the kernel.

    Raises ValueError where an axis of the scale is no axis of the kernel.
    """
    if product.type != "Einsum":  # the kernel's last axis is that of the outputs

        def flat(scale: Tensor) -> Tensor:
            return tf.reshape(scale, [-1])

        return flat
    first, _, out = product.attributes["equation"].partition("->")
    labels = first.partition(",")[2]

    def along(scale: Tensor) -> Tensor:
        kept = [label for label in labels if label in out]
        rest = [i for i, label in enumerate(out) if label not in kept]
        if scale.shape.rank != len(out) or any(scale.shape[i] != 1 for i in rest):
            raise ValueError("The scale is not one number for each output.")
        order = [*(out.index(label) for label in kept), *rest]
        sizes = [scale.shape[out.index(k)] if k in kept else 1 for k in labels]
        return tf.reshape(tf.transpose(scale, order), sizes)

    return along
