"""Regions of a trace: a value as a function of one other value, and what it equals."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.registered import ROWS
from tfxai.graph.trace.flow import Trace
from tfxai.graph.trace.operation import Operation

#: The most operations that a region is searched in, and the most numbers of one trial.
MOST, ELEMENTS = 32, 1 << 22


@dataclass(frozen=True, eq=False)
class Region:
    """Operations that make `output` of `entry` and of constants alone."""

    trace: Trace
    operations: tuple[Operation, ...]
    entry: int
    output: int

    @property
    def types(self) -> set[str]:
        """The types of its operations."""
        return {op.type for op in self.operations}

    def __call__(self, x: Tensor, known: Mapping[int, Tensor] | None = None) -> Tensor:
        """The output for this entry; values that are `known` are not made."""
        values = {**(known or {}), self.entry: x}
        return self.trace.run(self.operations, values)[self.output]

    def values(self, x: Tensor, wanted: set[int]) -> dict[int, Tensor]:
        """Values inside the region."""
        made = self.trace.run(self.operations, {self.entry: x})
        return {i: made[i] for i in wanted}

    def trial(self) -> Tensor | None:
        """Random numbers of the entry's shape; None where they would be too many."""
        dims = self.trace.types[self.entry].dims
        if dims is None:
            return None
        shape = [3 if n is None else n for n in dims]
        count = 1
        for n in shape:
            count *= n
        if not 0 < count <= ELEMENTS:
            return None
        dtype = self.trace.types[self.entry].dtype
        return tf.random.stateless_normal(shape, [1, 2], dtype=dtype)

    @property
    def signature(self) -> tuple[Any, ...]:
        """The key of regions that compute the same function of the same shape."""
        place = {self.entry: 0}
        rows: list[Any] = [self.trace.types[self.entry].dims]
        for op in self.operations:
            read = tuple(self._operand(i, place) for i in op.inputs)
            attributes = tuple(sorted((k, str(v)) for k, v in op.attributes.items()))
            rows.append((op.type, attributes if op.type != "Const" else (), read))
            for o in op.outputs:
                place[o] = len(place)
        return (*rows, place[self.output])

    def _operand(self, number: int, place: dict[int, int]) -> Any:
        if number in place:
            return place[number]
        if self.trace.reads_variables.get(number, False):
            return ("variable", number)
        value = self.trace.live(number)
        if value.shape.num_elements() and value.shape.num_elements() <= 64:
            return ("constant", value.numpy().tobytes(), str(value.dtype))
        return ("constant", number)


def regions(trace: Trace, output: int, allowed: frozenset[str]) -> Iterator[Region]:
    """The regions behind a value, each with one way in, the smallest first.

    allowed: the types of operations that a region may hold.
    """
    order = {op: i for i, op in enumerate(trace.operations)}
    held: set[Operation] = set()
    ways = {output}
    while len(held) < MOST:
        last = max(ways, key=lambda v: order.get(trace.maker.get(v), -1))  # type: ignore[arg-type]
        op = trace.maker.get(last)
        if op is None or op.type not in allowed or last in trace.vectors:
            return
        if op.type in ROWS:  # what a user registered is a step of its own
            return
        held.add(op)
        ways -= set(op.outputs)
        ways.update(i for i in op.inputs if i in trace.depends)
        if not ways:
            return
        if len(ways) == 1:
            (entry,) = ways
            yield Region(
                trace, tuple(sorted(held, key=order.__getitem__)), entry, output
            )
