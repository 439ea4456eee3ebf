"""Reads a graph that TensorFlow traced into a flat list of operations.

Calls are inlined, branches with a known condition are taken, loops of known length are
unrolled, and tensor lists of known length become their elements. A loop over the
samples is read once, for all of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import UnsupportedLayerError
from tfxai.base.tensors import Tensor
from tfxai.graph.registered import Call
from tfxai.graph.trace.maps import Refused, Samples, all_samples, lifted
from tfxai.graph.trace.operation import (
    HALF,
    LayerCall,
    Operation,
    Type,
    constant,
    described,
    widened,
)
from tfxai.graph.trace.scopes import Scopes, owner_of
from tfxai.graph.trace.table import BILINEAR, POINTWISE, SMOOTH, SOFTMAX, SUM

CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
BRANCHES = frozenset({"If", "StatelessIf"})
LOOPS = frozenset({"While", "StatelessWhile"})
SILENT = frozenset({"Placeholder", "NoOp", "Assert"})
#: Operations that only hand their input on.
ALIASES = frozenset(
    {"Identity", "Snapshot", "PreventGradient", "CheckNumerics", "EnsureShape"}
)
#: Operations without a meaning as a function of their inputs, by the start of the name.
UNSUPPORTED = {
    "Assign": "writes to a variable at inference",
    "ResourceScatter": "writes to a variable at inference",
    "ResourceApply": "writes to a variable at inference",
    "PyFunc": "calls a Python function",
    "EagerPyFunc": "calls a Python function",
    "StatefulPyFunc": "calls a Python function",
}
#: The most turns of a loop that are unrolled.
TURNS = 10_000
#: In a shape, the size of the batch; None is any other size that is not known.
BATCH = object()
#: Operations that leave the batch, their first axis, where it is.
IN_ROWS = POINTWISE | BILINEAR | SUM | SOFTMAX | {
    "Mean", "Sum", "Max", "Min", "AvgPool", "MaxPool", "StridedSlice", "Split",
    "SplitV", "ConcatV2", "Pad", "PadV2", "ResourceGather", "TopKV2", "Round",
}  # fmt: skip


class Reader:
    """Turns a graph into flat operations over numbered values.

    operations: in an order in which they can run; types: of every value.
    """

    def __init__(
        self, calls: Mapping[str, Call] | None = None, scopes: Scopes | None = None
    ) -> None:
        self._calls, self._scopes = calls or {}, scopes
        self.operations: list[Operation] = []
        self.types: list[Type] = []
        self.makers: dict[int, Operation] = {}
        self._known: dict[int, Tensor] = {}
        self._lists: dict[int, list[int | None]] = {}
        self._samples = Samples()
        self._partial: dict[int, np.ndarray] = {}
        self._of_rows: set[int] = set()
        self.inputs: set[int] = set()
        self.rows: set[int] = set()  # values whose first axis is the batch

    def fresh(self, dtype: tf.DType, shape: tf.TensorShape) -> int:
        """The number of a new value."""
        self.types.append(Type(widened(dtype), shape))
        return len(self.types) - 1

    def give(self, number: int, value: Tensor) -> None:
        """Tell the value of a captured constant."""
        self._known[number] = value

    def read(self, graph: Any, arguments: Sequence[int], scope: str = "") -> list[int]:
        """Append the operations of a graph; the numbers of its outputs."""
        names = [t.name for t in graph.inputs]
        numbers = dict(zip(names, arguments, strict=True))
        for op in graph.get_operations():
            found = (w for s, w in UNSUPPORTED.items() if op.type.startswith(s))
            reason = next(found, "")
            if reason:
                raise self.refusal(scope + op.name, op.type, reason)
            if op.type in SILENT or not op.outputs:
                continue
            inputs = [numbers[t.name] for t in op.inputs]
            made = self._operation(graph, op, inputs, scope + op.name)
            names = [t.name for t in op.outputs]
            numbers.update(zip(names, made, strict=True))
        return [numbers[t.name] for t in graph.outputs]

    def _operation(self, graph: Any, op: Any, inputs: list[int], name: str) -> Any:
        if op.type in CALLS:
            call = self._calls.get(op.get_attr("f").name)
            if call is not None:
                count = len(call.arguments.tensors)  # captured variables follow
                return self._layer(op, inputs[:count], call, name)
            return self.read(_function(graph, op, "f"), inputs, name + "/")
        if op.type in BRANCHES:
            return self._branch(graph, op, inputs, name)
        if op.type in LOOPS:
            return self._loop(graph, op, inputs, name)
        if op.type in ALIASES or self._in_place(op, inputs) or _widens(op):
            return inputs[:1]
        if op.type == "IdentityN":
            return self._identities(op, inputs, name)
        if op.type == "SquaredDifference":
            return self._squared_difference(op, inputs, name)
        if op.type.startswith("TensorList"):
            found = self._sampled(op, inputs, name) or self._listed(op, inputs, name)
            if found is not None:
                return found
        if self._samples.touched(inputs):
            return self._lifted(op, inputs, name)
        return self._plain(op, inputs, name)

    def _layer(self, op: Any, inputs: list[int], call: Call, name: str) -> list[int]:
        """The outputs of a registered layer, as one operation."""
        outputs = [self.fresh(t.dtype, t.shape) for t in op.outputs]
        if self.rows.intersection(inputs):
            self.rows.update(
                o for o, t in zip(outputs, op.outputs, strict=True)
                if t.shape.rank and t.shape[0] is None
            )  # fmt: skip
        made: tuple[Any, ...] = (tuple(inputs), tuple(outputs), {}, (), call)
        return self._emit(LayerCall("LayerCall", name, *made))

    def _plain(self, op: Any, inputs: list[int], name: str) -> list[int]:
        outputs = [self.fresh(t.dtype, t.shape) for t in op.outputs]
        if op.type == "Const":
            value = tf.make_ndarray(op.get_attr("value"))
            if op.outputs[0].dtype in HALF:
                value = value.astype(np.float32)
            return self._emit(constant(name, outputs[0], value))
        sizes = self._static(op, inputs)
        if sizes is not None:
            self._partial[outputs[0]] = sizes
            if all(_is_known(n) for n in sizes.ravel()):
                sizes = sizes.astype(op.outputs[0].dtype.as_numpy_dtype)
                return self._emit(constant(name, outputs[0], sizes))
        if self._only_axes(op, inputs):
            return self._as_reshape(op.outputs[0].shape, inputs[0], outputs[0], name)
        if op.type == "Reshape":
            shape = self._reshaped(op, inputs)
            wanted = self.sizes(inputs[1])
            if wanted is not None and len(wanted) and wanted[0] is BATCH:
                self._of_rows.add(outputs[0])
            self.types[outputs[0]] = Type(self.types[outputs[0]].dtype, shape)
            inputs = [inputs[0], self._shape(shape, inputs[1], name)]
        try:
            attributes, arguments = described(op)
        except (KeyError, AttributeError) as error:
            raise self.refusal(name, op.type, f"cannot run again ({error})") from error
        made = Operation(
            op.type, name, tuple(inputs), tuple(outputs), attributes, arguments
        )
        self._refine(op, made)
        if self._keeps_rows(made):
            self.rows.update(outputs)
        return self._emit(made)

    def _refine(self, op: Any, made: Operation) -> None:
        """Set sizes of the outputs that TensorFlow left open, and the inputs tell.

        A reshape to (B, T, -1) with a B that it does not know has an open last size in
        the graph; the reader knows it, and so all that follows does.
        """
        given = [self.types[i] for i in made.inputs]
        whole = all(
            t.shape.rank is not None and None not in t.shape[1:] for t in op.outputs
        )
        same = all(
            str(a.shape) == str(t.shape) for a, t in zip(given, op.inputs, strict=True)
        )
        if whole or same or op.type == "Reshape":
            return
        if any(t.dtype in (tf.resource, tf.variant) for t in given):
            return
        with tf.Graph().as_default():
            values = [self._stand_in(i) for i in made.inputs]
            shapes = [t.shape for t in made.run(values)]
        for number, shape in zip(made.outputs, shapes, strict=True):
            known = self.types[number]
            self.types[number] = Type(known.dtype, known.shape.merge_with(shape))

    def _stand_in(self, number: int) -> Tensor:
        """A tensor of a scratch graph: a constant as it is, else a placeholder."""
        maker, kind = self.makers.get(number), self.types[number]
        if maker is not None and maker.type == "Const":
            return tf.constant(maker.attributes["value"])
        return tf.raw_ops.Placeholder(dtype=kind.dtype, shape=kind.shape)

    def _only_axes(self, op: Any, inputs: list[int]) -> bool:
        """Does a slice keep every value, and only add or drop axes of size 1?"""
        if op.type != "StridedSlice" or not self.types[inputs[0]].shape.rank:
            return False
        masks = {k: op.get_attr(k) for k in _MASKS}
        before, after = self.types[inputs[0]].shape, op.outputs[0].shape
        strides = self.sizes(inputs[3])
        if strides is None or any(n != 1 for n in strides) or not after.rank:
            return False
        if not masks["begin_mask"] & masks["end_mask"] & 1 or masks["ellipsis_mask"]:
            return False  # the batch is kept as a whole
        if (masks["new_axis_mask"] | masks["shrink_axis_mask"]) & 1:
            return False
        if before[0] is not None or after[0] is not None:
            return False
        a, b = before.as_list()[1:], after.as_list()[1:]
        return a != b and None not in a + b and np.prod(a) == np.prod(b)

    def _as_reshape(
        self, shape: tf.TensorShape, source: int, output: int, name: str
    ) -> list[int]:
        """A reshape that leaves the batch in front."""
        if source in self.rows:
            self._of_rows.add(output)
        sizes = self._constant(
            name + "/shape", np.asarray([-1, *shape.as_list()[1:]], np.int32)
        )
        arguments = (("tensor", None), ("shape", None))
        made = Operation("Reshape", name, (source, sizes), (output,), {}, arguments)
        if self._keeps_rows(made):
            self.rows.update(made.outputs)
        return self._emit(made)

    def _squared_difference(self, op: Any, inputs: list[int], name: str) -> list[int]:
        """(a - b)^2 as a difference and a square."""
        (t,) = op.outputs
        outputs = [self.fresh(t.dtype, t.shape) for _ in range(2)]
        two = (("x", None), ("y", None))
        steps = [
            Operation("Sub", name, tuple(inputs), (outputs[0],), {}, two),
            Operation("Square", name, (outputs[0],), (outputs[1],), {}, two[:1]),
        ]
        for made in steps:
            if self._keeps_rows(made):
                self.rows.update(made.outputs)
            self._emit(made)
        return outputs[1:]

    def _keeps_rows(self, op: Operation) -> bool:
        """Is the first axis of what is made the batch, as that of what is read?"""
        if op.type == "Reshape" and op.outputs[0] in self._of_rows:
            return True  # the shape contains the size of the batch
        read = [i for i in op.inputs if i in self.rows]
        if not read or any(not self.types[o].shape.rank for o in op.outputs):
            return False
        if op.type == "Reshape":
            return False
        if op.type == "Transpose":
            order = self.sizes(op.inputs[1])
            return order is not None and order[0] == 0
        if op.type == "GatherV2":
            return op.inputs[1] in self.rows and op.inputs[0] not in self.rows
        return op.type in IN_ROWS and self.types[op.outputs[0]].shape[0] is None

    def _emit(self, op: Operation) -> list[int]:
        self.operations.append(op)
        self.makers.update(dict.fromkeys(op.outputs, op))
        return list(op.outputs)

    def _constant(self, name: str, value: Any) -> int:
        array = np.asarray(value)
        number = self.fresh(tf.as_dtype(array.dtype), tf.TensorShape(array.shape))
        return self._emit(constant(name, number, array))[0]

    # -- shapes: known at trace time but for the batch -------------------------------

    def _static(self, op: Any, inputs: list[int]) -> np.ndarray | None:
        """The value of a shape, or of a part of one, that does not name the batch."""
        if op.type not in _OF_SHAPES:
            return None
        if (
            op.type not in ("Shape", "Size", "Rank")
            and not op.outputs[0].dtype.is_integer
        ):
            return None
        source = self.types[inputs[0]].shape
        found: Any = None
        if op.type == "Rank":
            found = source.rank
        elif op.type in ("Shape", "Size"):
            if source.rank is None:
                return None
            found = np.asarray(source.as_list(), object)
            if inputs[0] in self.rows and source.rank and source[0] is None:
                found[0] = BATCH
            found = found if op.type == "Shape" else _product(found)
        else:
            found = self._of_sizes(op, inputs)
        return None if found is None else np.asarray(found, object)

    def sizes(self, number: int) -> np.ndarray | None:
        """The whole numbers of a shape, None in place of those that are not known."""
        if number in self._partial:
            return self._partial[number]
        try:
            return np.asarray(self.known(number).numpy(), object)
        except (KeyError, AttributeError):
            return None

    def _of_sizes(self, op: Any, inputs: list[int]) -> np.ndarray | None:
        """What an operation makes of sizes, some of which are not known."""
        parts = [self.sizes(i) for i in inputs]
        if any(p is None for p in parts):
            return None
        first, *rest = (p for p in parts if p is not None)
        flat = 0 if op.type == "Pack" else 1
        if any(p is not None and p.ndim > flat for p in parts) or (
            first.ndim != flat and op.type != "ConcatV2"
        ):
            return None
        if op.type == "StridedSlice":
            with tf.init_scope():
                given = [tf.constant(np.asarray(p, np.int32)) for p in rest]
                masks = {k: op.get_attr(k) for k in _MASKS}
                chosen = tf.raw_ops.StridedSlice(
                    input=tf.range(len(first)), begin=given[0], end=given[1],
                    strides=given[2], **masks,
                )  # fmt: skip
            return np.asarray(first[chosen.numpy()], object)
        if op.type == "GatherV2":
            return np.asarray(first[np.asarray(rest[0], int)], object)
        if op.type == "Prod":
            return np.asarray(_product(first), object)
        if op.type == "Pack":
            return np.asarray([p.item() for p in parts if p is not None], object)
        return np.concatenate([np.atleast_1d(p) for p in parts[:-1] if p is not None])

    def _in_place(self, op: Any, inputs: list[int]) -> bool:
        """Does a transpose leave every axis where it is?"""
        if op.type != "Transpose":
            return False
        order = self.sizes(inputs[1])
        return order is not None and list(order) == list(range(len(order)))

    def _reshaped(self, op: Any, inputs: list[int]) -> tf.TensorShape:
        """The shape that a reshape makes, where its argument shows more.

        Of an open batch, sizes (None, -1, n) of what has one open axis in front keep
        that axis.
        """
        shape, wanted = op.outputs[0].shape, self.sizes(inputs[1])
        if not shape.rank or wanted is None or len(wanted) != shape.rank:
            return shape
        source = self.types[inputs[0]].shape
        dims = [
            n if n is not None or not _is_known(t) or t == -1 else int(t)
            for n, t in zip(shape.as_list(), wanted, strict=True)
        ]
        rest = source.as_list()[1:] if source.rank else [None]
        if wanted[0] is BATCH and inputs[0] in self.rows and None not in rest:
            inferred = [i for i, t in enumerate(wanted) if t is not BATCH and t == -1]
            known = [n for n in dims[1:] if n is not None]
            if len(inferred) == 1 and len(known) == len(dims) - 2 and 0 not in known:
                each = np.prod(np.asarray(rest, np.int64))
                dims[inferred[0]] = int(each // np.prod(known))
        return tf.TensorShape(dims)

    def _shape(self, shape: tf.TensorShape, number: int, name: str) -> int:
        """The shape argument of a reshape: a constant where one axis at most is open.

        Such a reshape follows the batch without an operation that reads it.
        """
        if shape.rank is None or shape.as_list().count(None) > 1:
            return number
        dims = [-1 if n is None else n for n in shape.as_list()]
        return self._constant(name + "/shape", np.asarray(dims, np.int32))

    def refusal(self, name: str, kind: str, why: str) -> UnsupportedLayerError:
        """The error for an operation that cannot be read."""
        return refusal(name, kind, why, self._scopes)

    # -- control flow ----------------------------------------------------------------

    def known(self, number: int) -> Tensor:
        """The value of what depends on constants alone; KeyError for anything else."""
        if number in self._known:
            return self._known[number]
        op = self.makers[number]
        if op.type in ("ReadVariableOp", "ResourceGather"):
            raise KeyError(number)
        with tf.init_scope():
            made = op.run([self.known(i) for i in op.inputs])
        self._known.update(zip(op.outputs, made, strict=True))
        return self._known[number]

    def _condition(self, number: int, name: str, kind: str) -> bool:
        try:
            return bool(self.known(number))
        except KeyError:
            why = "has a condition that depends on the input"
            raise self.refusal(name, kind, why) from None

    def _branch(self, graph: Any, op: Any, inputs: list[int], name: str) -> list[int]:
        taken = self._condition(inputs[0], name, op.type)
        branch = "then_branch" if taken else "else_branch"
        return self.read(_function(graph, op, branch), inputs[1:], name + "/")

    def _loop(self, graph: Any, op: Any, inputs: list[int], name: str) -> list[int]:
        if self._samples.loops_over(inputs):
            return self._over_samples(graph, op, inputs, name)
        test, body = _function(graph, op, "cond"), _function(graph, op, "body")
        for turn in range(TURNS):
            ask = self.read(test, inputs, f"{name}/test_{turn}/")[0]
            if not self._condition(ask, name, op.type):
                return inputs
            inputs = self.read(body, inputs, f"{name}/turn_{turn}/")
        raise self.refusal(name, op.type, f"runs for more than {TURNS} turns")

    def _identities(self, op: Any, inputs: list[int], name: str) -> list[int]:
        """Aliases; with a gradient of their own, only where it is the function's."""
        custom = "_gradient_op_type" in op.node_def.attr
        if not custom:
            return inputs
        made = []
        for number in inputs:
            rest = {i for i in inputs if i != number}
            maker = self.makers.get(number)
            plain = number not in self.inputs if maker is None else maker.type in _PLAIN
            if plain or self._smooth(number, rest):
                made.append(number)
                continue
            kept = self.types[number]
            copy = self.fresh(kept.dtype, kept.shape)
            self._emit(Operation("CustomGradient", name, (number,), (copy,)))
            made.append(copy)
        return made

    def _smooth(self, number: int, arguments: set[int]) -> bool:
        """Is it a function of one value at a time of the arguments, and not one?"""
        maker = self.makers.get(number)
        if maker is None or maker.type not in SMOOTH:
            return False
        return all(self._reached(i, arguments) for i in maker.inputs)

    def _reached(self, number: int, arguments: set[int]) -> bool:
        if number in arguments:
            return True
        maker = self.makers.get(number)
        if maker is None or (maker.type not in SMOOTH and maker.inputs):
            return False
        return all(self._reached(i, arguments) for i in maker.inputs)

    # -- loops over the samples ------------------------------------------------------

    def _over_samples(
        self, graph: Any, op: Any, inputs: list[int], name: str
    ) -> list[int]:
        """What a loop over the samples makes, its body read once."""
        samples, given = self._samples, list(inputs)
        for k, number in enumerate(inputs):
            kind = self.types[number]
            if not samples.loops_over([number]) and self._first_turn(number):
                given[k] = self.fresh(kind.dtype, kind.shape)
                samples.turns.add(given[k])
        made = self.read(_function(graph, op, "body"), given, f"{name}/turn/")
        for old, new in zip(given, made, strict=True):
            kept = old == new or samples.of_turns(new) or new in samples.stacks
            if not kept:
                why = "carries a value from one sample to the next"
                raise self.refusal(name, op.type, why)
        pairs = zip(inputs, made, strict=True)
        return [new if new in samples.stacks else old for old, new in pairs]

    def _first_turn(self, number: int) -> bool:
        """Is it the whole number 0, with which turns are counted?"""
        kind = self.types[number]
        if kind.dtype != tf.int32 or kind.shape.rank != 0:
            return False
        return self._is_known(number) and int(self.known(number)) == 0

    def _sampled(self, op: Any, inputs: list[int], name: str) -> list[int] | None:
        """What becomes of a list of as many elements as the batch; None for others."""
        samples = self._samples
        first = inputs[0]
        if op.type == "TensorListReserve" and not self._is_known(inputs[1]):
            number = self._handle(name)
            samples.open.add(number)
            return [number]
        batch = first in self.rows and self.types[first].shape[0] is None
        if op.type == "TensorListFromTensor" and batch:
            number = self._handle(name)
            samples.stacks[number] = first
            return [number]
        if op.type == "TensorListGetItem" and first in samples.stacks:
            return [self._one(samples.stacks[first], inputs[1], op, name)]
        if op.type == "TensorListSetItem" and first in samples.open:
            if inputs[1] not in samples.turns or inputs[2] not in samples.one:
                why = "fills a list of the batch out of order"
                raise self.refusal(name, op.type, why)
            number = self._handle(name)
            samples.stacks[number] = samples.one[inputs[2]]
            return [number]
        if op.type == "TensorListStack" and first in samples.stacks:
            return [samples.stacks[first]]
        return None

    def _is_known(self, number: int) -> bool:
        try:
            return self.known(number) is not None
        except KeyError:
            return False

    def _one(self, source: int, turn: int, op: Any, name: str) -> int:
        """The number of one sample of a value."""
        if turn not in self._samples.turns:
            raise self.refusal(name, op.type, "takes a sample of another turn")
        kept = self.types[source]
        number = self.fresh(kept.dtype, kept.shape[1:])
        self._samples.one[number] = source
        return number

    def _lifted(self, op: Any, inputs: list[int], name: str) -> list[int]:
        """The outputs of an operation on one sample, computed for all of them."""
        samples = self._samples
        outputs = [self.fresh(t.dtype, t.shape) for t in op.outputs]
        if all(samples.of_turns(i) or self._is_known(i) for i in inputs):
            samples.counted.update(outputs)
            return outputs

        def axis(value: int) -> int:
            return self._constant(name + "/axis", np.int32(value))

        try:
            attributes, arguments, read = lifted(op, inputs, samples, self.types, axis)
        except Refused as error:
            raise self.refusal(name, op.type, str(error)) from None
        whole = [self.fresh(t.dtype, all_samples(t.shape)) for t in op.outputs]
        made = (tuple(read), tuple(whole), attributes, arguments)
        self._emit(Operation(op.type, name, *made))
        self.rows.update(whole)
        samples.one.update(zip(outputs, whole, strict=True))
        return outputs

    # -- tensor lists ----------------------------------------------------------------

    def _listed(self, op: Any, inputs: list[int], name: str) -> list[int] | None:
        """What becomes of a tensor list of known length; None where it is not one."""
        if op.type == "TensorListReserve":
            return [self._list(name, [None] * int(self.known(inputs[1])))]
        if op.type == "TensorListFromTensor":
            return [self._list(name, list(self._unpacked(inputs[0], name)))]
        items = self._lists.get(inputs[0])
        if items is None:
            return None
        if op.type == "TensorListSetItem":
            items = list(items)
            items[int(self.known(inputs[1]))] = inputs[2]
            return [self._list(name, items)]
        if op.type == "TensorListLength":
            return [self._constant(name, np.int32(len(items)))]
        if op.type == "TensorListGetItem":
            item = items[int(self.known(inputs[1]))]
            return None if item is None else [item]
        if op.type == "TensorListStack" and None not in items:
            (t,) = op.outputs
            number = self.fresh(t.dtype, t.shape)
            pack = (("values", len(items)),)
            held = tuple(i for i in items if i is not None)
            return self._emit(
                Operation("Pack", name, held, (number,), {"axis": 0}, pack)
            )
        return None

    def _list(self, name: str, items: list[int | None]) -> int:
        number = self._handle(name)
        self._lists[number] = items
        return number

    def _handle(self, name: str) -> int:
        """The number of a value that stands in place of a list."""
        return self._constant(name, np.int32(0))

    def _unpacked(self, source: int, name: str) -> list[int]:
        kept = self.types[source]
        count = kept.shape[0]
        if count is None:
            raise self.refusal(name, "TensorListFromTensor", "has an unknown length")
        outputs = tuple(self.fresh(kept.dtype, kept.shape[1:]) for _ in range(count))
        attributes = {"num": count, "axis": 0}
        arguments = (("value", None),)
        return self._emit(
            Operation("Unpack", name, (source,), outputs, attributes, arguments)
        )


_PLAIN = ("Const", "ReadVariableOp")
_OF_SHAPES = frozenset(
    ["Shape", "Size", "Rank", "StridedSlice", "GatherV2", "Prod", "Pack", "ConcatV2"]
)
_MASKS = (
    "begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask",
)  # fmt: skip


def _widens(op: Any) -> bool:
    """Is it a cast between floats that are all computed in float32?"""
    if op.type != "Cast":
        return False
    dtypes = {widened(t.dtype) for t in (*op.inputs, *op.outputs)}
    return dtypes == {tf.float32}


def _is_known(size: Any) -> bool:
    return size is not None and size is not BATCH


def _product(sizes: np.ndarray) -> int | None:
    known = all(_is_known(n) for n in sizes.ravel())
    return int(np.prod(sizes.astype(np.int64))) if known else None


def _function(graph: Any, op: Any, attribute: str) -> Any:
    """The graph of a function that an operation calls."""
    return graph._get_function(op.get_attr(attribute).name).graph


def refusal(
    name: str, kind: str, why: str, scopes: Scopes | None = None
) -> UnsupportedLayerError:
    """The error for an operation that cannot be read, of a layer that it names."""
    owner = owner_of(scopes, name)
    return UnsupportedLayerError(
        f"Operation {name!r} ({kind}){owner.where} {why}.",
        "operations that are functions of the input and of the weights, a registered "
        "layer, or a method that needs no rules",
        f'tfxai.extend.layer({owner.kind}, kind="activation"), where each output is a '
        f"function of one input"
        if owner.own
        else 'method="gradient", "occlusion" or "lime"',
    )
