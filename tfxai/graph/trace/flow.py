"""A trace as data: its operations, what they depend on, and its live constants."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.trace.operation import LayerCall, Operation, Type
from tfxai.graph.trace.table import FIXED

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


def needed(operations: Sequence[Operation], output: int) -> list[Operation]:
    """Only the operations on which the output depends."""
    wanted, kept = {output}, []
    for op in reversed(operations):
        if wanted.intersection(op.outputs):
            wanted.update(op.inputs)
            kept.append(op)
    return kept[::-1]
