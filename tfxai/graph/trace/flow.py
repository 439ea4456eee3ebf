"""A trace as data: its operations, what they depend on, and its live constants."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.registered import apart
from tfxai.graph.trace.operation import LayerCall, Operation, Type
from tfxai.graph.trace.reader import Reader, refusal
from tfxai.graph.trace.scopes import Scopes
from tfxai.graph.trace.table import FIXED, NORMS, RANDOM

#: Elements up to which a constant without variables is computed once, and kept.
SMALL = 1 << 16
#: Lookups of rows of a table.
LOOKUPS = frozenset({"GatherV2", "Gather", "GatherNd", "ResourceGather"})
#: What may be done to tokens on their way to a lookup.
INDEXING = frozenset(
    [
        "Cast",
        "SelectV2",
        "Select",
        "AddV2",
        "Sub",
        "Maximum",
        "Minimum",
        "ClipByValue",
        "Reshape",
        "ExpandDims",
        "Squeeze",
        "Less",
        "Greater",
    ]
)


@dataclass(eq=False)
class Trace:
    """A model's operations at one shape of its inputs.

    inputs: the values of the inputs; output: the explained one.
    given: value -> a captured resource or constant.
    kept: the concrete function that was traced.
    """

    operations: list[Operation]
    types: list[Type]
    inputs: tuple[int, ...]
    output: int
    given: dict[int, Tensor]
    kept: Any = None
    _folded: dict[int, Tensor] = field(default_factory=dict)

    @cached_property
    def maker(self) -> dict[int, Operation]:
        """value -> the operation that makes it."""
        return {o: op for op in self.operations for o in op.outputs}

    @cached_property
    def depends(self) -> frozenset[int]:
        """The values that the input reaches."""
        found = set(self.inputs)
        for op in self.operations:
            if found.intersection(op.inputs):
                found.update(op.outputs)
        return frozenset(found)

    @cached_property
    def whole(self) -> frozenset[int]:
        """The inputs that are whole numbers, or read as such alone."""

        def rounded(op: Operation) -> bool:
            kinds = [self.types[o].dtype for o in op.outputs]
            cast = op.type == "Cast" and not any(t.is_floating for t in kinds)
            return cast or op.type in FIXED

        return frozenset(
            i
            for i in self.inputs
            if not self.types[i].floating
            or (
                not self.types[i].dtype.is_complex
                and any(op.type == "Cast" for op in self.readers.get(i, ()))
                and all(rounded(op) for op in self.readers.get(i, ()))
            )
        )

    @cached_property
    def vectors(self) -> dict[int, int]:
        """A token's vectors -> the input whose numbers are looked up."""
        found: dict[int, int] = {}
        for op in self.operations:
            if op.type not in LOOKUPS or op.inputs[0] in self.depends:
                continue
            source = self._tokens(op.inputs[1])
            if source is not None and self.types[op.outputs[0]].floating:
                found[op.outputs[0]] = source
        return found

    def _tokens(self, number: int) -> int | None:
        """The input that a value is, one number for each of its own; None: no such."""
        if number in self.inputs:
            return number
        op = self.maker.get(number)
        moves = isinstance(op, LayerCall) and op.call.row.moves
        if op is None or not (moves or op.type in INDEXING):
            return None
        found = {self._tokens(i) for i in op.inputs if i in self.depends}
        source = found.pop() if len(found) == 1 else None
        if source is None:
            return None
        same = self.types[source].dims == self.types[number].dims
        return source if same or op.type in ("Reshape", "ExpandDims") else None

    @cached_property
    def numeric(self) -> frozenset[int]:
        """The inputs whose whole numbers are looked up, and computed with as well."""
        found: set[int] = set()
        for source in self.whole.intersection(self.vectors.values()):
            reached = {source}
            for op in self.operations:
                if op.type in FIXED | LOOKUPS or not reached.intersection(op.inputs):
                    continue
                reached.update(op.outputs)
            if any(self.types[i].floating for i in reached - {source}):
                found.add(source)
        return frozenset(found)

    def entry(self, number: int) -> tf.DType:
        """The dtype that an input is read as: float32 for whole numbers taken as such.

        Pictures of bytes that the model casts to floats are read as floats.
        """
        dtype = self.types[number].dtype
        readers = self.readers.get(number, [])
        plain = all(
            op.type in ("Shape", "Rank", "Size")
            or (op.type == "Cast" and self.types[op.outputs[0]].dtype.is_floating)
            for op in readers
        )
        return tf.float32 if dtype.is_integer and plain else dtype

    @cached_property
    def carries(self) -> frozenset[int]:
        """The values that carry relevance: neither masks, indices nor shapes.

        Whole numbers of an input carry where nothing else does: pictures of bytes.
        """
        starts = set(self.inputs) - self.whole
        starts.update(self.vectors)
        if not starts:
            starts = set(self.inputs)
        found = set(starts)
        for op in self.operations:
            if op.type in FIXED or not found.intersection(op.inputs):
                continue
            whole = starts.intersection(self.inputs).intersection(op.inputs)
            if not whole and not any(self.types[o].floating for o in op.outputs):
                continue
            found.update(o for o in op.outputs if self.types[o].floating)
        return frozenset(found)

    @cached_property
    def readers(self) -> dict[int, list[Operation]]:
        """value -> the operations that read it."""
        found: dict[int, list[Operation]] = {}
        for op in self.operations:
            for i in set(op.inputs):
                found.setdefault(i, []).append(op)
        return found

    def alone(self, number: int) -> bool:
        """Is a value read by one operation, and not the explained one?"""
        return number != self.output and len(self.readers.get(number, ())) == 1

    # -- values ----------------------------------------------------------------------

    def live(self, number: int) -> Tensor:
        """The value of what does not depend on the input, from the live variables."""
        if number in self.given:
            return self.given[number]
        if number in self._folded:
            return self._folded[number]
        if not self._reads_variables(number):
            with tf.init_scope():
                value = self._computed(number, {})
            if tf.is_tensor(value) and value.dtype != tf.resource:
                size = value.shape.num_elements()
                if size is not None and size <= SMALL:
                    self._folded[number] = value
                    return value
        if tf.executing_eagerly():
            return self._computed(number, {})
        graph = tf.compat.v1.get_default_graph()
        # On the graph itself: its tensors hold it, so that a table would never free it.
        tables = graph.get_collection_ref("tfxai_constants")
        if not tables:
            tables.append({})
        return self._computed(number, tables[0].setdefault(self, {}))

    def _computed(self, number: int, known: dict[int, Tensor]) -> Tensor:
        todo = [number]
        while todo:
            i = todo[-1]
            if i in known or i in self.given:
                todo.pop()
                continue
            op = self.maker[i]
            missing = [n for n in op.inputs if n not in known and n not in self.given]
            if missing:
                todo += missing
                continue
            values = [self.given[n] if n in self.given else known[n] for n in op.inputs]
            known.update(zip(op.outputs, op.run(values), strict=True))
            todo.pop()
        return self.given[number] if number in self.given else known[number]

    def _reads_variables(self, number: int) -> bool:
        return bool(self.reads_variables.get(number, False))

    @cached_property
    def reads_variables(self) -> dict[int, bool]:
        """value -> is it computed from a resource, such as a variable?"""
        made = {i: t.dtype == tf.resource for i, t in self.given.items()}
        for op in self.operations:
            made.update(
                dict.fromkeys(op.outputs, any(made.get(i, False) for i in op.inputs))
            )
        return made

    def run(
        self, operations: Iterable[Operation], values: Mapping[int, Tensor]
    ) -> dict[int, Tensor]:
        """The values that operations make of `values` and of live constants."""
        made = dict(values)
        for op in operations:
            if made.keys() >= set(op.outputs):
                continue
            given = [made[i] if i in made else self.live(i) for i in op.inputs]
            for number, value in zip(op.outputs, op.run(given), strict=True):
                made.setdefault(number, value)
        return made


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
    found = replace(found, operations=_with_reciprocals(found, reader))
    return replace(found, operations=needed(_with_signs(found), last))


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


def needed(operations: Sequence[Operation], output: int) -> list[Operation]:
    """Only the operations on which the output depends."""
    wanted, kept = {output}, []
    for op in reversed(operations):
        if wanted.intersection(op.outputs):
            wanted.update(op.inputs)
            kept.append(op)
    return kept[::-1]
