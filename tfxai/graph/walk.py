"""Walks a Keras graph, numbers its tensors and collects its steps."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras

from tfxai.base.errors import ModelError, UnsupportedLayerError
from tfxai.graph.kinds import (
    FIXED,
    Arguments,
    describe,
    find_opening,
    find_row,
    unsupported,
)
from tfxai.graph.opened import (
    Opened,
    arguments_of,
    caller,
    constants,
    numbers_in,
)
from tfxai.graph.private import functional, is_graph, mask_of, nodes
from tfxai.graph.step import MOVES, Step

_GATES = frozenset({"sigmoid", "hard_sigmoid"})


def read(model: Any) -> tuple[Any, Opened | None]:
    """The graph of a model; of a subclassed one, as its `call` was opened."""
    if is_graph(model):
        return functional(model), None
    opened = _subclassed(model)
    return opened.graph, opened


def _subclassed(model: Any) -> Opened:
    """A subclassed model's `call` as a graph, from the shapes it was built with."""
    config = model.get_build_config() if isinstance(model, keras.Model) else None
    shapes = (config or {}).get("input_shape")
    if shapes is None and len(getattr(model, "inputs", None) or ()) == 1:
        shapes = model.inputs[0].shape  # a functional model with a `call` of its own
    if shapes is None:
        raise ModelError(
            f"{type(model).__name__} {getattr(model, 'name', '')!r} is no Functional "
            "or Sequential model, and does not say what shape it was built for.",
            "keras.Model(inputs, outputs), keras.Sequential, or a subclassed model "
            "that was called with one argument and whose call uses Keras ops",
            "keras.Model(inputs, model.call(inputs))",
        )

    def symbolic(shape: Any) -> Any:
        if isinstance(shape, dict):
            return {k: symbolic(v) for k, v in shape.items()}
        if shape and isinstance(shape[0], list | tuple):
            return [symbolic(s) for s in shape]
        return keras.KerasTensor((None, *shape[1:]), "float32")

    try:
        return Opened(model, model.call, Arguments((symbolic(shapes),), {}))
    except Exception as error:
        line = "keras.Model(inputs, model.call(inputs)), its call written in keras.ops"
        raise unsupported(model, model.name, error, line) from error


class Walk:
    """Numbers tensors and collects steps while it walks the graphs.

    fixed: the numbers of tensors that carry no relevance: masks, indices, and whatever
    does not depend on the input.
    """

    def __init__(self, model: Any) -> None:
        self.steps: list[Step] = []
        self.fixed: set[int] = set()
        self._gates: set[int] = set()
        self._lifted: set[int] = set()
        self._count, self._place = 0, 0
        self._names: dict[str, int] = {}
        layers = getattr(model, "layers", [])
        self._places = {id(layer): i for i, layer in enumerate(layers)}

    def fresh(self) -> int:
        """Return a new number for a tensor."""
        self._count += 1
        return self._count - 1

    def inline(
        self, graph: Any, inputs: tuple, prefix: str, opened: Opened | None = None
    ) -> list[int]:
        """Append the steps of `graph` applied to `inputs`; the ids of its outputs."""
        ids = dict(zip(map(id, graph.inputs), inputs, strict=True))
        live = iter(range(len(constants(graph)))) if opened else iter(())
        for node in nodes(graph):
            self._node(node, ids, prefix, arguments_of(node, opened, live))
        return [ids[id(t)] for t in graph.outputs]

    def _node(self, node: Any, ids: dict, prefix: str, arguments: Arguments) -> None:
        op = node.operation
        own = isinstance(op, keras.layers.Layer)
        name = prefix + (op.name if own or not prefix else _snake(type(op).__name__))
        if not prefix:
            self._place = self._places.get(id(op), self._place)
        sources = tuple(ids[id(t)] for t in arguments.keras_tensors)
        masked = any(mask_of(t) is not None for t in arguments.keras_tensors)
        if _trains(op, arguments):
            raise unsupported(op, name, "where it was called with training=True")
        if is_graph(op) and not masked:
            outputs = self.inline(functional(op), sources, name + "/")
        elif self._is_fixed(op, node, sources):
            outputs = self._parts(node, op, arguments, sources, name, "fixed")
            self.fixed.update(outputs)
        elif find_row(op) is None or find_opening(op):
            outputs = self._open(node, arguments, ids, name)
        elif len(node.outputs) > 1 and _moves(op):
            outputs = self._parts(node, op, arguments, sources, name, "route")
        elif len(node.outputs) > 1:
            raise unsupported(op, name, "since it makes several tensors")
        else:
            outputs = [self._described(node, op, arguments, sources, name)]
        for tensor, number in zip(node.outputs, outputs, strict=True):
            ids[id(tensor)] = number

    def _is_fixed(self, op: Any, node: Any, sources: tuple) -> bool:
        """Do the outputs of this operation carry no relevance?"""
        kinds = {str(t.dtype) for t in node.outputs}
        if self.fixed.issuperset(sources) or type(op).__name__ in FIXED:
            return True
        if any("float" in k for k in kinds):
            return False
        return "bool" in kinds or not _moves(op)

    def _parts(self, node, op, arguments, sources, name, kind) -> list[int]:
        """One step for each output of an operation that has several."""
        call = caller(op, arguments)

        def part(i: int) -> Callable:
            return lambda v: keras.tree.flatten(call(v))[i]

        def sign(t: Any) -> str:
            if kind != "fixed":
                return "kept"
            return "yes" if t.dtype == "bool" else "no"

        layer = type(op).__name__
        return [
            self._chain(
                [
                    Step(
                        "", kind, part(i), nonnegative=sign(t), shape=tuple(t.shape[1:])
                    )
                ],
                sources,
                name,
                layer,
            )
            for i, t in enumerate(node.outputs)
        ]

    def _described(self, node, op, arguments, sources, name) -> int:
        steps = describe(op, caller(op, arguments), arguments, name)
        shape = tuple(node.outputs[0].shape[1:])
        shapes = [s.shape or shape for s in steps]
        steps = [replace(s, shape=n) for s, n in zip(steps, shapes, strict=True)]
        if not isinstance(op, keras.layers.Layer) and numbers_in(arguments):
            steps[0] = replace(steps[0], nonnegative=_unless_kept(steps[0]))
        return self._chain(steps, sources, name, type(op).__name__)

    def _open(self, node: Any, arguments: Arguments, ids: dict, name: str) -> list[int]:
        """The steps of a layer that has no row, from its `call`."""
        op = node.operation
        opening = find_opening(op)
        own = isinstance(op, keras.layers.Layer)
        if opening is None and not own:
            raise unsupported(op, name)
        call = op.call if opening is None else lambda *a, **k: opening(op, *a, **k)
        try:
            opened = Opened(op, call, arguments)
        except UnsupportedLayerError:
            raise
        except Exception as error:
            raise unsupported(op, name, error) from error
        sources = tuple(ids[i] for i in opened.symbols)
        return self.inline(opened.graph, sources, name + "/", opened)

    def _chain(self, steps: list[Step], sources: tuple, name: str, layer: str) -> int:
        """Number the steps that one operation became; the id of the last output."""
        for step in steps:
            own = name if step is steps[0] else f"{name}:{step.layer or step.kind}"
            count = self._names[own] = self._names.get(own, 0) + 1
            own = own if count == 1 else f"{own}@{count}"  # a layer called again
            named = step.kind in ("activation", "relu", "softmax")
            label = step.layer if named and step.layer else layer
            number = self.fresh()
            step = replace(
                step, name=own, layer=label, inputs=sources, output=number,
                place=self._place,
            )  # fmt: skip
            self.steps.append(self._seen(step))
            sources = (number,)
        return sources[0]

    def _seen(self, step: Step) -> Step:
        """The step with its sides and gates; remember what it makes."""
        sides = {i for i, n in enumerate(step.inputs) if n in self.fixed}
        below = bool(set(step.sides) - sides)
        both = tuple(sorted(sides | set(step.sides)))
        step = replace(step, sides=both, divides=below)
        gates = tuple(i for i, n in enumerate(step.inputs) if n in self._gates)
        carriers = step.carried(range(len(step.inputs)))
        if step.inputs and not carriers and step.kind != "fixed":
            kind = step.layer or step.kind
            raise UnsupportedLayerError(
                f"Step {step.name!r} ({kind}) reads nothing that can carry relevance: "
                "its inputs are constants, masks, indices or divisors.",
                "a network whose output is not made of those",
                f'create_analyzer("gradient", ...), or a row for {kind} in '
                "tfxai/graph/kinds.py",
            )
        if step.kind == "product" and gates and set(carriers) - set(gates):
            step = replace(step, kind="gate", gates=gates)
        passed = step.kind in (*MOVES, "scale") and gates
        hard = step.gate == "relu6" and step.inputs[0] in self._lifted
        if passed or hard or (step.kind == "activation" and step.layer in _GATES):
            self._gates.add(step.output)
        if step.kind == "scale" and step.layer == "Add":
            self._lifted.add(step.output)  # relu6(x + 3) / 6 is a sigmoid, written out
        return step


def _unless_kept(step: Step) -> str:
    """What is known of a step's sign if it also reads a constant of any sign."""
    return "no" if step.nonnegative == "kept" else step.nonnegative


def _trains(op: Any, arguments: Arguments) -> bool:
    """Is training=True passed, other than by a default that inference overrides?"""
    if arguments.kwargs.get("training") is not True:
        return False
    parameter = inspect.signature(op.call).parameters.get("training")
    return parameter is None or parameter.default is not True


def _moves(op: Any) -> bool:
    row = find_row(op)
    return row is not None and row.moves


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
