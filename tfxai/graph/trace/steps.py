"""The steps of a program from the nodes of a trace."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, size
from tfxai.graph.linear import repeat
from tfxai.graph.registered import Arguments
from tfxai.graph.step import MOVES, Step, Weights
from tfxai.graph.trace import affine, linear
from tfxai.graph.trace.flow import Trace
from tfxai.graph.trace.functions import GATES, POSITIVE
from tfxai.graph.trace.node import Node
from tfxai.graph.trace.operation import LayerCall
from tfxai.graph.trace.reader import refusal
from tfxai.graph.trace.samples import batch_first, by_sample
from tfxai.graph.trace.scopes import Scopes
from tfxai.graph.trace.secants import secant
from tfxai.graph.trace.table import NORMS, SUM

#: Kinds of the steps that are called as their layer is.
_OWN = frozenset({"dense", "conv", "depthwise", "norm", "embedding"})
#: Kinds whose output is >= 0 if all inputs are.
KEPT = frozenset({"add", "average", "max", "route", "identity", "product"})
#: Kinds of the steps that have multipliers for finite changes.
SECANT = frozenset({"softmax", "norm", "product"})


class Steps:
    """Makes the steps of nodes, and gives them names and layers.

    foldable: the labels that tell `fold_batch_norm` what may be merged; `finished`
    takes them off again.
    """

    def __init__(self, trace: Trace, scopes: Scopes) -> None:
        self.trace, self.scopes = trace, scopes
        self.made: list[Step] = []
        self.labels: dict[int, str] = {}
        self.words: dict[int, str] = {}
        self.by_output: dict[int, Step] = {}
        self._gates: set[int] = set()

    def add(self, node: Node) -> None:
        """Append the step of a node; the steps of what a user registered."""
        if node.kind == "registered":
            self._registered(node)
            return
        maker = getattr(self, f"_{node.kind}", self._plain)
        step: Step = maker(node)
        owner = self.scopes.owner(self._named_after(node))
        label = self._label(node, owner.kind)
        step = replace(
            step,
            name=owner.path or self._named_after(node),
            layer=label,
            inputs=node.inputs,
            output=node.output,
            sides=node.sides,
            divisors=node.divisors,
            shape=tuple((self.trace.types[node.output].dims or ())[1:]),
            place=owner.place,
            by_sample=by_sample(self.trace, node),
        )
        if step.kind in SECANT:
            step = replace(step, secant=secant(self.trace, node))
        step = self._gated(step)
        self.labels[step.output] = step.layer
        foldable = self._foldable(node)
        if foldable or step.kind in ("scale", "route"):
            step = replace(step, layer=foldable)
        self._append(step, node.label)

    def _append(self, step: Step, word: str) -> None:
        self.words[step.output] = word
        self.by_output[step.output] = step
        self.made.append(step)

    def _registered(self, node: Node) -> None:
        """Append the chain of steps that the row of a layer or operation returns."""
        (op,) = node.operations
        if isinstance(op, LayerCall):
            source, arguments = op.call.layer, op.call.arguments
        else:
            source, arguments = op, Arguments((), {})
        steps = node.notes["row"].steps(source, self._runner(node), arguments)
        if not steps:
            raise refusal(
                op.name, node.label, "has a row that returns no steps", self.scopes
            )
        owner = self.scopes.owner(op.name)
        kind = self.trace.types[node.output]
        inputs, sides = node.inputs, node.sides
        for step in steps:
            number = node.output
            if step is not steps[-1]:
                self.trace.types.append(kind)
                number = len(self.trace.types) - 1
            named = step.kind in ("activation", "relu", "softmax") and step.layer
            made = replace(
                step,
                name=owner.path or op.name,
                layer=step.layer if named else node.label,
                inputs=inputs,
                output=number,
                sides=tuple(sorted({*sides, *step.sides})),
                shape=step.shape or tuple((kind.dims or ())[1:]),
                place=owner.place,
                by_sample=step.by_sample
                and all(batch_first(self.trace, i) for i in (*inputs, number)),
            )
            made = self._gated(made)
            self.labels[number] = made.layer
            self._append(made, step.layer or step.kind)
            inputs, sides = (number,), ()

    def finished(self, steps: list[Step]) -> list[Step]:
        """The steps with the labels that they are listed with."""
        return [
            replace(s, layer=self.labels[s.output])
            if s.kind in ("scale", "route")
            else s
            for s in steps
        ]

    # -- names -----------------------------------------------------------------------

    def _named_after(self, node: Node) -> str:
        return (node.kernel or node.operations[-1]).name

    def named(self) -> list[Step]:
        """The steps with their names: a layer's own is its kernel's, or its first's."""
        owners: dict[str, int] = {}
        for step in self.made:
            if step.name in owners and step.kind not in _OWN:
                continue
            known = owners.get(step.name)
            if known is None or self.by_output[known].kind not in _OWN:
                owners[step.name] = step.output
        names: dict[str, int] = {}
        named = []
        for step in self.made:
            name, kind = step.name, self.by_output[owners[step.name]].kind
            own = owners[name] == step.output or step.kind == kind in _OWN
            name = name if own else f"{name}:{_snake(self.words[step.output])}"
            count = names[name] = names.get(name, 0) + 1
            named.append(replace(step, name=name if count == 1 else f"{name}@{count}"))
        return named

    def _label(self, node: Node, owner: str) -> str:
        if node.kind == "softmax":
            last = node.notes.get("axis", -1) == -1
            names = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}
            return names.get(node.label, node.label) if last else "softmax_of_axis"
        if node.kind in ("activation", "relu"):
            return node.label
        return owner or node.label

    def _foldable(self, node: Node) -> str:
        """What `fold_batch_norm` is to take a step for."""
        if node.kind == "route" and node.label in ("Pad", "PadV2"):
            return "ZeroPadding" if self._zeros(node) else ""
        if node.kind != "scale":
            return ""
        if _is_negation(node):
            return "BatchNormalization"
        shifts = [op for op in node.after if op.type in SUM]
        norm = any(op.type in NORMS for op in node.after)
        if not norm and (not shifts or len(shifts) == len(node.after)):
            return ""
        vector = any(affine.span(self.trace, op) for op in node.after)
        return "BatchNormalization" if vector else "Rescaling"

    def _zeros(self, node: Node) -> bool:
        op = node.operations[0]
        return op.type == "Pad" or not bool(
            tf.reduce_any(self.trace.live(op.inputs[2]) != 0)
        )

    # -- kinds -----------------------------------------------------------------------

    def _dense(self, node: Node) -> Step:
        if node.kernel is None:  # a linear operation without a kernel: resampling
            return self._plain(node)
        apply, back = linear.functions(self.trace, node)
        return Step("", node.kind, apply, linear.weights(self.trace, node), back)

    _conv = _depthwise = _dense

    def _scale(self, node: Node) -> Step:
        if not node.after:
            return self._plain(node)
        trace, operations = self.trace, node.after
        axes = {a for op in operations for a in affine.span(trace, op)}
        channels = 0 if not axes else min(axes) if len(axes) == 1 else None
        channels = -1 if _is_negation(node) else channels
        size = (trace.types[node.output].dims or (None,))[channels or -1]
        types = {op.type for op in operations}
        shifted = bool(types & (SUM | NORMS))

        def read(inputs: list[Any]) -> tuple[Tensor, Tensor | None]:
            k, c = affine.factors(trace, operations)
            if channels and size is not None:
                k, c = (_along(v, size, channels) for v in (k, c))
            return k, c if shifted or "Neg" in types else None

        weights = Weights(read, channels=channels)
        return Step(
            "", "scale", lambda v, k: v[0] * k, weights,
            factor=not axes and not shifted,
        )  # fmt: skip

    def _add(self, node: Node) -> Step:
        if node.label != "Sub":
            return self._plain(node)
        signs = Weights(lambda v: (tf.constant([1.0, -1.0]), None), channels=None)
        return Step("", "add", lambda v, k: v[0] * k[0] + v[1] * k[1], signs)

    def _relu(self, node: Node) -> Step:
        step = self._plain(node)
        return replace(step, nonnegative="yes", gate=node.label)

    def _activation(self, node: Node) -> Step:
        step = self._plain(node)
        named = node.label in POSITIVE or node.label in _POSITIVE
        return replace(step, nonnegative="yes" if named else "no")

    def _softmax(self, node: Node) -> Step:
        sign = "no" if node.label in ("log_softmax", "LogSoftmax") else "yes"
        return replace(self._plain(node), nonnegative=sign)

    def _norm(self, node: Node) -> Step:
        trace, statistics = self.trace, set(node.statistics)
        (entry,) = node.inputs

        def frozen(v: list[Any]) -> tuple[Callable[..., Any], Tensor]:
            made = trace.run(node.operations, {entry: v[0]})
            fixed = {i: tf.stop_gradient(made[i]) for i in statistics}

            def at(u: list[Any]) -> Tensor:
                held = fixed
                if u[0] is not v[0]:  # the seeds are further samples
                    times = size(u[0])[0] // size(v[0])[0]
                    held = {i: repeat(f, times) for i, f in fixed.items()}
                there = trace.run(node.operations, {**held, entry: u[0]})
                zero = tf.zeros_like(u[0])
                shift = trace.run(node.operations, {**held, entry: zero})
                return there[node.output] - tf.stop_gradient(shift[node.output])

            return at, tf.constant(0.0)

        return replace(self._plain(node), frozen=frozen)

    def _embedding(self, node: Node) -> Step:
        trace, (source,) = self.trace, node.inputs
        dtype = trace.types[source].dtype

        def apply(v: list[Any]) -> Tensor:
            tokens = tf.cast(v[0], dtype)
            return trace.run(node.operations, {source: tokens})[node.output]

        return Step("", "embedding", apply)

    def _fixed(self, node: Node) -> Step:
        step = self._plain(node)
        boolean = self.trace.types[node.output].dtype == tf.bool
        return replace(step, nonnegative="yes" if boolean else "no")

    def _max(self, node: Node) -> Step:
        return replace(self._plain(node), nonnegative=self._with_constants(node))

    def _route(self, node: Node) -> Step:
        return replace(self._plain(node), nonnegative=self._with_constants(node))

    def _with_constants(self, node: Node) -> str:
        """Is the output >= 0 if the inputs are? Not where a constant below 0 joins."""
        for op in node.operations:
            for i in op.inputs:
                if i in self.trace.depends or not self.trace.types[i].dtype.is_floating:
                    continue
                if self.trace.reads_variables.get(i, False):
                    return "no"
                if bool(tf.reduce_any(self.trace.live(i) < 0)):
                    return "no"
        return "kept"

    def _plain(self, node: Node) -> Step:
        sign = "kept" if node.kind in KEPT else "no"
        return Step("", node.kind, self._runner(node), nonnegative=sign)

    def _runner(self, node: Node) -> Callable[[list[Any]], Tensor]:
        trace = self.trace
        if len(node.operations) != 1:
            return lambda v: trace.run(
                node.operations, dict(zip(node.inputs, v, strict=True))
            )[node.output]
        (op,) = node.operations
        place = op.outputs.index(node.output)

        def apply(v: list[Any]) -> Tensor:
            rest = iter(v)
            if node.kind in ("activation", "relu", "fixed"):  # each value once
                known = dict(zip(node.inputs, v, strict=True))
                given = [known[i] if i in known else trace.live(i) for i in op.inputs]
            else:
                given = [
                    next(rest) if i in trace.depends else trace.live(i)
                    for i in op.inputs
                ]
            return op.run(given)[place]

        return apply

    def _gated(self, step: Step) -> Step:
        """The step with its gates; remember which values are gates."""
        gates = tuple(i for i, n in enumerate(step.inputs) if n in self._gates)
        carriers = set(step.carried(range(len(step.inputs)))) - set(step.divisors)
        if step.kind == "product" and gates and carriers - set(gates):
            step = replace(step, kind="gate", gates=gates)
        passed = step.kind in (*MOVES, "scale") and gates
        if passed or (step.kind == "activation" and step.layer in GATES):
            self._gates.add(step.output)
        return step


_POSITIVE = frozenset(["sigmoid", "exp", "square", "abs", "sqrt", "rsqrt", "softplus"])


def _is_negation(node: Node) -> bool:
    """Is it -x alone, which belongs to the kernel beside it?"""
    return [op.type for op in node.after] == ["Neg"]


def _along(v: Tensor, size: int, axis: int) -> Tensor:
    """A number, or (..., size, ...), as `size` numbers along an axis from the end."""
    flat = tf.broadcast_to(tf.reshape(v, [-1]), [size])
    return tf.reshape(flat, [size] + [1] * (-1 - axis))


def _snake(name: str) -> str:
    parts: list[Any] = [f"_{c.lower()}" if c.isupper() else c for c in name]
    return "".join(parts).lstrip("_")
