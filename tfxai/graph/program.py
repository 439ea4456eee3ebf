"""A Keras model as a program: flat steps over numbered tensors.

This is the only file that reads names which Keras keeps private: `_nodes_by_depth` and
`Node.arguments` of a Functional, `_functional` of a Sequential.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import keras

from tfxai.arrays import Tensor
from tfxai.errors import ModelError, OptionError
from tfxai.graph import activations, layers
from tfxai.graph.fold import fold_batch_norm
from tfxai.graph.kinds import describe
from tfxai.graph.step import MOVES, Step

_ROWS = (activations, layers)  # importing a module of rows registers them


@dataclass(frozen=True, eq=False)
class Program:
    """The network as plain data.

    inputs: the ids of the model's inputs, in its own flat order.
    steps: in an order in which they can run; none that the output does not need.
    output: the id of the explained tensor, before any final softmax or sigmoid.
    link: how the model turns that tensor into its answer: "softmax", "sigmoid", ...
    finish: the steps that were taken off, from the tensor before softmax to the answer.
    nonnegative: ids of the tensors that are known to be >= 0.
    """

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    output: int
    output_shape: tuple
    link: str
    finish: tuple[Step, ...]
    nonnegative: frozenset[int]

    @property
    def rearranged(self) -> bool:
        """Did steps behind the softmax change the axis of the classes?"""
        return bool(self.finish) and self.finish[0].shape[-1] != self.output_shape[-1]

    def run(self, inputs: Iterable[Tensor]) -> dict[int, Tensor]:
        """Every tensor of the network, by id."""
        values = dict(zip(self.inputs, inputs, strict=True))
        return _run(self.steps, values)

    def answer(self, inputs: Iterable[Tensor]) -> Tensor:
        """What the model itself answers: behind its final softmax or sigmoid."""
        values = self.run(inputs)
        if not self.finish:
            return values[self.output]
        return _run(self.finish, values)[self.finish[-1].output]


def _run(steps: Iterable[Step], values: dict[int, Tensor]) -> dict[int, Tensor]:
    for step in steps:
        values[step.output] = step.run([values[i] for i in step.inputs])
    return values


def check_output(graph: Any, output: int) -> None:
    """Refuse the number of an output that the model does not have."""
    count = len(graph.outputs)
    if not isinstance(output, int) or not 0 <= output < count:
        raise OptionError(
            f"output={output!r}, but the model has {count} output(s).",
            f"a number from 0 to {count - 1}",
        )


def trace(model: keras.Model, output: int = 0, batch_norm: str = "fold") -> Program:
    """Read the program of a Functional or Sequential model, nested ones inlined.

    output: which one, where the model has several.
    batch_norm: "fold" merges BatchNormalization into its linear neighbour, "rule" keeps
        it as a step of its own.
    """
    if batch_norm not in ("fold", "rule"):
        raise OptionError(f"batch_norm={batch_norm!r}.", '"fold" or "rule"')
    walk = _Walk()
    graph = functional(model)
    check_output(graph, output)
    inputs = tuple(walk.fresh() for _ in graph.inputs)
    outputs = walk.inline(graph, inputs, "")
    steps, logits, finish, link = _strip(walk.steps, outputs[output])
    if batch_norm == "fold":
        steps = fold_batch_norm(steps, logits)
    steps = _needed(steps, logits)
    known = _nonnegative(steps)
    shape = tuple(graph.outputs[output].shape)
    return Program(inputs, tuple(steps), logits, shape, link, finish, known)


def functional(model: Any) -> keras.Model:
    """The Functional behind a model, or an error that says what the model lacks."""
    if isinstance(model, keras.Sequential):
        if not model.built or model._functional is None:
            raise ModelError(
                f"The Sequential model {model.name!r} is not built yet.",
                "a model that knows its input shape",
                "model.build((None, height, width, channels)), or begin the model "
                "with keras.Input(...)",
            )
        return model._functional
    if hasattr(model, "_nodes_by_depth"):
        return model
    raise ModelError(
        f"{type(model).__name__} {getattr(model, 'name', '')!r} is no Functional or "
        "Sequential model, so its graph cannot be read.",
        "keras.Model(inputs, outputs) or keras.Sequential for relevance propagation",
        "keras.Model(inputs, model.call(inputs)), where call uses Keras layers and ops",
    )


def is_graph(model: Any) -> bool:
    """Can `functional` read this model?"""
    return isinstance(model, keras.Sequential) or hasattr(model, "_nodes_by_depth")


class _Walk:
    """Numbers tensors and collects steps while it walks the graphs."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._count = 0
        self._names: dict[str, int] = {}

    def fresh(self) -> int:
        self._count += 1
        return self._count - 1

    def inline(self, graph: Any, inputs: tuple[int, ...], prefix: str) -> list[int]:
        """Append the steps of `graph` applied to `inputs`; the ids of its outputs."""
        ids = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if not node.is_input:
                    self._node(node, ids, prefix)
        return [ids[id(t)] for t in graph.outputs]

    def _node(self, node: Any, ids: dict[int, int], prefix: str) -> None:
        op, name = node.operation, prefix + node.operation.name
        sources = tuple(ids[id(t)] for t in node.arguments.keras_tensors)
        if is_graph(op):
            outputs = self.inline(functional(op), sources, name + "/")
        else:
            steps = describe(op, _caller(op, node.arguments), node.arguments, name)
            shape = tuple(node.outputs[0].shape[1:])
            steps = [replace(s, shape=shape) for s in steps]
            outputs = [self._chain(steps, sources, name, type(op).__name__)]
        for tensor, number in zip(node.outputs, outputs, strict=True):
            ids[id(tensor)] = number

    def _chain(self, steps: list[Step], sources: tuple, name: str, layer: str) -> int:
        """Number the steps that one operation became; the id of the last output."""
        for step in steps:
            own = name if step is steps[0] else f"{name}:{step.layer or step.kind}"
            count = self._names[own] = self._names.get(own, 0) + 1
            own = own if count == 1 else f"{own}@{count}"  # a layer called again
            label = step.layer if step.kind in ("activation", "softmax") else layer
            number = self.fresh()
            self.steps.append(
                replace(step, name=own, layer=label, inputs=sources, output=number)
            )
            sources = (number,)
        return sources[0]


def _caller(op: Any, arguments: Any):
    """(inputs) -> op's output, with the other arguments as the graph recorded them."""

    def call(inputs: list) -> Tensor:
        rest = iter(inputs)
        args, kwargs = keras.tree.map_structure(
            lambda v: next(rest) if isinstance(v, keras.KerasTensor) else v,
            (arguments.args, arguments.kwargs),
        )
        return op.call(*args, **kwargs)

    return call


def _strip(steps: list[Step], output: int) -> tuple[list[Step], int, tuple, str]:
    """Take a final softmax or sigmoid off, also behind steps that only move values.

    The steps that are left, the explained tensor, the steps that were taken off, and
    the link. A softmax over another axis than the last stays: "answer".
    """
    made_by = {s.output: s for s in steps}
    behind: list[Step] = []
    step = made_by.get(output)
    while step is not None and step.kind in MOVES and len(step.inputs) == 1:
        behind.insert(0, step)
        step = made_by.get(step.inputs[0])
    if step is None or step.layer not in ("softmax", "log_softmax", "sigmoid"):
        whole = step is not None and step.kind == "softmax"
        return steps, output, (), "answer" if whole else "linear"
    finish = (step, *behind)
    steps = [s for s in steps if s is not step]
    if not behind:
        return steps, step.inputs[0], finish, step.layer
    moved = replace(behind[0], inputs=step.inputs)
    left = [moved if s is behind[0] else s for s in steps]
    return left, output, finish, step.layer


def _needed(steps: list[Step], output: int) -> list[Step]:
    """Only the steps on which the output depends."""
    wanted, kept = {output}, []
    for step in reversed(steps):
        if step.output in wanted:
            wanted.update(step.inputs)
            kept.append(step)
    return kept[::-1]


def _nonnegative(steps: list[Step]) -> frozenset[int]:
    """The tensors that cannot be negative, whatever the weights."""
    known: set[int] = set()
    for step in steps:
        kept = step.nonnegative == "kept" and known.issuperset(step.inputs)
        if step.nonnegative == "yes" or kept:
            known.add(step.output)
    return frozenset(known)
