"""A node of the normal form: the operations that are one step, and of what kind."""

from dataclasses import dataclass, field
from typing import Any

from tfxai.graph.trace.operation import Operation


@dataclass(eq=False)
class Node:
    """Operations that are one step together.

    kind: of `step.KINDS`; label: the function or the type that it is known by.
    operations: in order; inputs: the values that it reads and that depend on the input.
    sides: positions among them that carry no relevance; divisors: those of divisors
    that depend on the input.
    statistics: the values at which a normalisation is held fixed.
    kernel: the operation with a constant operand; after: the affine operations and
        changes of axes behind it; before: what stands in front (dilation).
    """

    kind: str
    label: str
    operations: tuple[Operation, ...]
    inputs: tuple[int, ...]
    output: int
    sides: tuple[int, ...] = ()
    divisors: tuple[int, ...] = ()
    statistics: frozenset[int] = frozenset()
    kernel: Operation | None = None
    before: tuple[Operation, ...] = ()
    moved: tuple[Operation, ...] = ()
    after: tuple[Operation, ...] = ()
    flattened: bool = False
    notes: dict[str, Any] = field(default_factory=dict)
