"""The normal form of a trace: one node for one idea, however it is written."""

from collections.abc import Callable
from typing import Any

from tfxai.base.errors import UnsupportedLayerError
from tfxai.graph.registered import ROWS, Row
from tfxai.graph.trace import affine, linear
from tfxai.graph.trace.flow import LOOKUPS, Trace
from tfxai.graph.trace.functions import (
    ACTIVATIONS,
    activation_of,
    is_norm,
    softmax_of,
    statistics_of,
)
from tfxai.graph.trace.node import Node
from tfxai.graph.trace.operation import LayerCall, Operation
from tfxai.graph.trace.region import Region, regions
from tfxai.graph.trace.scopes import Scopes, owner_of
from tfxai.graph.trace.table import (
    COMPLEX,
    CURVED,
    DIVISION,
    KINDS,
    LENGTHS,
    POINTWISE,
    PRODUCT,
    ROUTE,
    SHAPES,
    SUM,
)

_SHAPED = SHAPES | frozenset({"BroadcastTo", "Tile", "Cast", "StopGradient", "Shape"})
_SHAPED |= frozenset({"StridedSlice", "Pack", "Rank", "Size", "Prod", "Transpose"})
#: What a softmax, and a normalisation, is written with.
IN_SOFTMAX = frozenset(
    ["Exp", "Sum", "Log", "Sub", "Reciprocal", "LogSoftmax", "RealDiv", "AddV2"]
)
IN_SOFTMAX |= {"Max", "Softmax"}
IN_SOFTMAX |= (
    frozenset(["Mul", "IsFinite", "SelectV2", "ZerosLike", "Abs", "Inv", "DivNoNan"])
    | _SHAPED
)
IN_NORM = POINTWISE | frozenset({"Mean", "Sum"}) | _SHAPED
ENDS_SOFTMAX = frozenset(
    ["RealDiv", "Mul", "Exp", "Sub", "DivNoNan", "Softmax", "LogSoftmax"]
)
INVERSES = frozenset({"Reciprocal", "Inv", "Rsqrt"})


class NormalForm:
    """The nodes behind the output of a trace, made on demand."""

    def __init__(self, trace: Trace, scopes: Scopes | None = None) -> None:
        self.trace, self._scopes = trace, scopes
        self.nodes: dict[int, Node] = {}
        self._functions: dict[tuple[Any, ...], Any] = {}

    def node(self, value: int) -> Node:
        """The node that makes a value."""
        if value not in self.nodes:
            self.nodes[value] = self._node(value)
        return self.nodes[value]

    def ordered(self, output: int) -> list[Node]:
        """All nodes that the output needs, in an order in which they can run."""
        done: dict[int, Node] = {}
        stack = [output]
        while stack:
            value = stack[-1]
            if value in done or value in self.trace.inputs:
                stack.pop()
                continue
            node = self.node(value)
            missing = [
                i for i in node.inputs if i not in done and i not in self.trace.inputs
            ]
            if missing:
                stack += reversed(missing)
            else:
                done[value] = node
                stack.pop()
        return list(done.values())

    def _node(self, value: int) -> Node:
        trace = self.trace
        op = trace.maker[value]
        if value in trace.vectors:
            return self._embedding(op, value)
        if value not in trace.carries:
            return self._fixed(value)
        row = op.call.row if isinstance(op, LayerCall) else ROWS.get(op.type)
        if row is not None:
            return self._registered(op, value, row)
        found = self._complex(op, value) or self._softmax(op, value)
        found = found or self._affine(value) or self._norm(op, value)
        found = found or self._activation(op, value)
        return found or self._single(op, value)

    def _registered(self, op: Operation, value: int, row: Row) -> Node:
        """What a user registered, which is not looked into."""
        inputs = tuple(i for i in op.inputs if i in self.trace.depends)
        sides = self._sides(inputs)
        if len(sides) == len(inputs):
            raise self.unknown(op)
        label = type(op.call.layer).__name__ if isinstance(op, LayerCall) else op.type
        return Node(
            "registered", label, (op,), inputs, value, sides, notes={"row": row}
        )  # fmt: skip

    def _embedding(self, op: Operation, value: int) -> Node:
        source = self.trace.vectors[value]
        operations = self._cone([op], {source})
        return Node("embedding", "Embedding", operations, (source,), value)

    def _fixed(self, value: int) -> Node:
        """What carries no relevance, from the values that do or from the inputs.

        Its sides are values of which the shape alone is read.
        """
        trace = self.trace
        op = trace.maker[value]
        stops = {i for i in trace.carries if i != value} | set(trace.inputs)
        operations = self._cone([op], stops)
        read = {i for o in operations for i in o.inputs if i in stops}
        valued = {i for o in operations if o.type not in LENGTHS for i in o.inputs}
        inputs = tuple(sorted(read))
        sides = tuple(k for k, i in enumerate(inputs) if i not in valued)
        return Node("fixed", op.type, operations, inputs, value, sides)

    def _cone(self, ends: list[Operation], stops: set[int]) -> tuple[Operation, ...]:
        """The operations from `stops` to `ends`, constants left out."""
        held, todo = set(ends), list(ends)
        while todo:
            for i in todo.pop().inputs:
                op = self.trace.maker.get(i)
                if i in stops or i not in self.trace.depends or op is None:
                    continue
                if op not in held:
                    held.add(op)
                    todo.append(op)
        return tuple(o for o in self.trace.operations if o in held)

    # -- functions that may be written in many ways ----------------------------------

    def _complex(self, op: Operation, value: int) -> Node | None:
        """A Fourier transform, from real numbers to real numbers."""
        types = self.trace.types
        if not any(types[i].dtype.is_complex for i in op.inputs):
            return None
        if types[value].dtype.is_complex:
            return None
        held, todo, ways = {op}, [op], set()
        while todo:
            for i in todo.pop().inputs:
                if i not in self.trace.depends:
                    continue
                maker = self.trace.maker.get(i)
                if maker is None or not types[i].dtype.is_complex:
                    ways.add(i)
                elif maker not in held:
                    held.add(maker)
                    todo.append(maker)
        operations = tuple(o for o in self.trace.operations if o in held)
        inputs = tuple(sorted(ways))
        if {o.type for o in held} <= COMPLEX | ROUTE | affine.FACTORS:
            sides = self._sides(inputs)
            return Node("fourier", op.type, operations, inputs, value, sides)
        return None

    def _softmax(self, op: Operation, value: int) -> Node | None:
        """The smallest region that is a softmax; the shift by its maximum included."""
        if op.type not in ENDS_SOFTMAX or not affine.depending(self.trace, op):
            return None
        found = self._softmax_region(value)
        if found is None:
            return None
        region, name, axis = found
        operations = region.operations
        inputs: tuple[int, ...] = (region.entry,)
        last = value == self.trace.output  # what is taken off has one input
        mask = None if last else self._mask(region.entry)
        if mask is not None:
            operations, inputs = (
                (mask, *operations),
                tuple(i for i in mask.inputs if i in self.trace.depends),
            )
        return Node(
            "softmax", name, operations, inputs, value, self._sides(inputs),
            notes={"axis": axis},
        )  # fmt: skip

    def _mask(self, value: int) -> Operation | None:
        """The selection that puts a constant in place of masked scores."""
        op = self.trace.maker.get(value)
        if op is None or op.type not in ("SelectV2", "Select"):
            return None
        if not self.trace.alone(value):
            return None
        carrying = [i for i in op.inputs[1:] if i in self.trace.carries]
        return op if len(carrying) == 1 and op.inputs[0] not in carrying else None

    def _softmax_region(self, value: int) -> tuple[Region, str, int] | None:
        best: tuple[Region, str, int] | None = None
        for region in regions(self.trace, value, IN_SOFTMAX):
            types = region.types
            known = types & {"Softmax", "LogSoftmax"}
            if not known and not types >= {"Exp", "Sum"}:
                continue
            if best is not None and "Max" not in types:
                break
            found = self._cached("softmax", region, softmax_of)
            if found:
                best = (region, *found)
            elif best is not None or len(region.operations) > 20:
                break
        return best

    def _norm(self, op: Operation, value: int) -> Node | None:
        """The largest of the first regions that are a normalisation."""
        if op.type not in PRODUCT | SUM or len(affine.depending(self.trace, op)) < 2:
            return None
        best: Region | None = None
        tried = 0
        for region in regions(self.trace, value, IN_NORM):
            if not region.types & {"Mean", "Sum"}:
                continue
            if best is not None and "Mean" not in _added(best, region):
                break
            tried += 1
            if self._cached("norm", region, is_norm):
                best = region
            elif best is not None or tried > 2:
                break
        if best is None:
            return None
        return Node(
            "norm", "normalization", best.operations, (best.entry,), value,
            statistics=frozenset(statistics_of(best)),
        )  # fmt: skip

    def _activation(self, op: Operation, value: int) -> Node | None:
        """The smallest region that is a known activation, or any function of one value.

        Sums are functions of one value only where they are a known one: x + f(x) is a
        residual connection.
        """
        trace = self.trace
        if op.type not in POINTWISE or op.type in ("Cast", "Neg"):
            return None
        several = (
            len(affine.depending(trace, op)) > 1 or op.inputs.count(op.inputs[0]) > 1
        )
        first: Region | None = None
        for region in regions(trace, value, POINTWISE):
            if region.entry not in trace.carries or not self._pointwise(region):
                break
            if not region.types & CURVED:
                if not several:
                    continue
                if op.type in SUM:
                    continue
            elif self._cached("activation", region, activation_of):
                label = str(self._cached("activation", region, activation_of))
                return _activation(region, label)
            if first is None and (several or len(region.operations) == 1):
                first = region
            if len(region.operations) > 14:
                break
        if first is None or op.type in SUM:
            return None
        if first.types & {"SelectV2", "Select"} and not self._chosen_by_entry(first):
            return None
        if not first.types & CURVED and not several:
            return None
        return _activation(first, op.type.lower())

    def _chosen_by_entry(self, region: Region) -> bool:
        return all(
            op.inputs[0] in self.trace.depends
            for op in region.operations
            if op.type in ("SelectV2", "Select")
        )

    def _pointwise(self, region: Region) -> bool:
        """Do all values of a region have the shape of its entry?"""
        types = self.trace.types
        dims = types[region.entry].dims
        made = (o for op in region.operations for o in op.outputs)
        return dims is not None and all(types[o].dims == dims for o in made)

    def _cached(
        self, what: str, region: Region, function: Callable[[Region], Any]
    ) -> Any:
        key = (what, region.signature)
        if key not in self._functions:
            self._functions[key] = function(region)
        return self._functions[key]

    # -- linear operations -----------------------------------------------------------

    def _affine(self, value: int) -> Node | None:
        """What scales, shifts, or is a kernel; merged with what it belongs to."""
        chain = affine.chain(self.trace, value)
        source = chain[0].source if chain else value
        kernel = linear.kernel(self.trace, source)
        if kernel is not None:
            return linear.merged(
                self.trace, kernel, [c.operation for c in chain], value
            )
        if not chain:
            return None
        if source in self.trace.carries and source in self.trace.maker:
            known = self._known_behind(value, chain)
            if known is not None:
                return known
        operations = tuple(c.operation for c in chain)
        return Node(
            "scale", operations[0].type, operations, (source,), value, after=operations
        )

    def _known_behind(self, value: int, chain: list[affine.Link]) -> Node | None:
        """An activation or a normalisation that the affine operations belong to."""
        last = chain[-1].operation
        found = self._activation(last, value)
        if found is not None and found.label in _KNOWN:
            return found
        source = chain[0].source
        if not self.trace.alone(source):
            return None
        op = self.trace.maker[source]
        norm = self._norm(op, source)
        if norm is None:
            return None
        operations = tuple(c.operation for c in chain)
        return Node(
            "norm", norm.label, (*norm.operations, *operations), norm.inputs, value,
            statistics=norm.statistics, after=operations,
        )  # fmt: skip

    # -- one operation ---------------------------------------------------------------

    def _single(self, op: Operation, value: int) -> Node:
        trace = self.trace
        inputs = tuple(i for i in op.inputs if i in trace.depends)
        kind = KINDS.get(op.type, "")
        sides, divisors = set(self._sides(inputs)), set()
        if op.type in LOOKUPS:
            kind = "route"
        if op.type in DIVISION and op.inputs[1] in trace.depends:
            if op.inputs[0] not in trace.depends:
                kind = "activation"  # a reciprocal
            else:
                divisors.add(1)
        elif op.type in PRODUCT and len(inputs) == 2:
            inverse = [i for i, v in enumerate(inputs) if self._inverse(v)]
            if len(inverse) == 1:
                divisors.update(inverse)
        carrying = {i for i in range(len(inputs)) if i not in sides}
        if not kind or not carrying:
            raise self.unknown(op)
        if kind == "activation" and not self._of_one(inputs, carrying, value):
            raise self.unknown(op)
        rest = () if carrying <= divisors else tuple(sorted(divisors - sides))
        if op.type in _OF_SEVERAL and not sides and not divisors:
            operations, parts = self._parts(op, kind)
            if len(operations) > 1:
                return Node(kind, op.type, operations, parts, value)
        return Node(kind, op.type, (op,), inputs, value, tuple(sorted(sides)), rest)

    def _parts(
        self, op: Operation, kind: str
    ) -> tuple[tuple[Operation, ...], tuple[int, ...]]:
        """The operations and parts of a product or sum of several values, each once.

        Constant factors in between, as in ((a b) W) c, do not make a b one factor.
        """
        operations, parts = [op], list(op.inputs)
        for value in op.inputs:
            scales = self._scales(value) if kind == "product" else []
            source = scales[0].source if scales else value
            inner = self.trace.maker.get(source)
            alone = self.trace.alone(value) and self.trace.alone(source)
            if inner is None or inner.type != op.type or not alone:
                continue
            node = self.node(source)
            if node.kind == kind and not node.sides and not node.divisors:
                at = parts.index(value)
                parts[at : at + 1] = node.inputs
                between = [s.operation for s in scales]
                operations = [*node.operations, *between, *operations]
        if len(set(parts)) < len(parts):
            return (op,), tuple(op.inputs)
        return tuple(operations), tuple(parts)

    def _scales(self, value: int) -> list[affine.Link]:
        """The products with constants that end in a value, the first one first."""
        links = affine.chain(self.trace, value)
        last = [
            k for k, v in enumerate(links) if v.operation.type not in affine.FACTORS
        ]
        return links[last[-1] + 1 if last else 0 :]

    def _of_one(self, inputs: tuple[int, ...], carrying: set[int], value: int) -> bool:
        """Is each number of a value a function of one number that carries?"""
        read = {inputs[i] for i in carrying}
        types = self.trace.types
        return len(read) == 1 and types[read.pop()].dims == types[value].dims

    def _inverse(self, value: int) -> bool:
        """Is a value a divisor, written as what it is multiplied by?"""
        op = self.trace.maker.get(value)
        while op is not None and op.type in SHAPES | {"Cast", "BroadcastTo", "Tile"}:
            value = op.inputs[0]
            op = self.trace.maker.get(value)
        if op is None or op.type not in INVERSES:
            return False
        return self.node(value).label not in _KNOWN  # 1 / (1 + exp(-x)) is a gate

    def _sides(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(i for i, v in enumerate(inputs) if not self._carrying(v))

    def _carrying(self, value: int) -> bool:
        return value in self.trace.carries

    def unknown(self, op: Operation) -> UnsupportedLayerError:
        """The error for an operation that no kind covers."""
        owner = owner_of(self._scopes, op.name)
        named = owner.kind if owner.own else repr(op.type)
        return UnsupportedLayerError(
            f"Operation {op.name!r} ({op.type}){owner.where} has no relevance rule.",
            "an operation of the table in tfxai/graph/trace/table.py, a registered "
            "layer or operation, or a method that needs no rules",
            f'tfxai.extend.layer({named}, kind="product"), or method="gradient"',
        )


#: Operations of two values whose chain is one step of several.
_OF_SEVERAL = ("Mul", "AddV2")
#: Activations by name: what a chain of operations is merged for.
_KNOWN = frozenset(ACTIVATIONS) - {"square", "absolute", "exponential"}
_KNOWN |= {"bounded_relu"}


def _added(small: Region, large: Region) -> set[str]:
    return {op.type for op in large.operations if op not in small.operations}


def _activation(region: Region, label: str) -> Node:
    bounded = label in ("relu6", "bounded_relu")
    kind = "relu" if label == "relu" or bounded else "activation"
    return Node(
        kind, "relu6" if bounded else label, region.operations, (region.entry,),
        region.output,
    )  # fmt: skip
