"""Walks a Keras graph and numbers its tensors; opens what is written in Keras ops.

This is the only file that reads names which Keras keeps private: `_nodes_by_depth` of
a graph, `_functional` of a Sequential, `_keras_mask` of a tensor, and, to leave a layer
as it was after it was opened, `_inbound_nodes`, `_outbound_nodes`, `_flatten_layers`
and the counter of automatic names.
"""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common import global_state

from tfxai.arrays import Tensor
from tfxai.errors import ModelError, UnsupportedLayerError
from tfxai.graph.kinds import (
    FIXED,
    Arguments,
    describe,
    find_opening,
    find_row,
    unsupported,
)
from tfxai.graph.step import MOVES, Step

#: The batch size of a graph that was opened: a prime, so that what was computed from it
#: (the new shape of a reshape, say) is recognised and follows the real batch.
BATCH = 10007
_GATES = frozenset({"sigmoid", "hard_sigmoid"})


def functional(model: Any) -> Any:
    """The graph behind a Functional or Sequential model that is built."""
    if isinstance(model, keras.Sequential):
        if not model.built or model._functional is None:
            raise ModelError(
                f"The Sequential model {model.name!r} is not built yet.",
                "a model that knows its input shape",
                "model.build((None, height, width, channels)), or begin the model "
                "with keras.Input(...)",
            )
        return model._functional
    return model


def read(model: Any) -> tuple[Any, "Opened | None"]:
    """The graph of a model; of a subclassed one, as its `call` was opened."""
    if is_graph(model):
        return functional(model), None
    opened = _subclassed(model)
    return opened.graph, opened


def is_graph(model: Any) -> bool:
    """Is this a Functional or Sequential model (or a `keras.Function`)?"""
    return isinstance(model, keras.Sequential) or hasattr(model, "_nodes_by_depth")


def _subclassed(model: Any) -> "Opened":
    """A subclassed model's `call` as a graph, from the shapes it was built with."""
    config = model.get_build_config() if isinstance(model, keras.Model) else None
    shapes = (config or {}).get("input_shape")
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
        raise unsupported(model, model.name, error) from error


def nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph, in an order in which they can run."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (n for n in graph._nodes_by_depth[depth] if not n.is_input)


def _with_masks_too(inputs: list, outputs: list) -> Any:
    """A graph that also makes the masks which Keras hands on beside its tensors."""
    graph = keras.Function(inputs, outputs)
    tensors = [t for n in nodes(graph) for t in n.outputs]
    masks = [m for t in tensors if (m := mask_of(t)) is not None]
    return keras.Function(inputs, [*outputs, *masks]) if masks else graph


class Opened:
    """A layer's `call` on fresh symbolic tensors: a graph of Keras operations.

    graph: a `keras.Function`; `symbols` are the ids of the tensors that its inputs
    stand for. What `call` computes from variables alone (half of a kernel, a table of
    positions) is a constant there; `live` computes it anew, in whatever graph is built.
    """

    def __init__(self, layer: Any, call: Callable, arguments: Arguments) -> None:
        self.layer, self.call, self.arguments = layer, call, arguments
        self._fresh: dict[int, Any] = {}
        self.graph, self.count = self._open()
        self.symbols = list(self._fresh)
        self._known: tuple[Any, list] = (None, [])

    def live(self, index: int) -> Tensor:
        """The constant number `index` of the graph, as it is now."""
        now = tf.compat.v1.get_default_graph()
        if tf.executing_eagerly() or self._known[0] is not now:
            self._known = (now, _constants(self._open()[0]))
        return self._known[1][index]

    def _open(self) -> tuple[Any, int]:
        self._fresh = {}
        with _untouched(self.layer):
            args, kwargs = keras.tree.map_structure(
                self._symbol, (self.arguments.args, self.arguments.kwargs)
            )
            names = list(inspect.signature(self.call).parameters)[len(args) :]
            if "training" in names and kwargs.get("training") is None:
                kwargs["training"] = False
            made = keras.tree.flatten(self.call(*args, **kwargs))
            outputs = [t for t in made if isinstance(t, keras.KerasTensor)]
            inputs = list(self._fresh.values())
            return _with_masks_too(inputs, outputs), len(outputs)

    def _symbol(self, v: Any) -> Any:
        """A fresh tensor for a symbolic one, with a fresh mask for its mask."""
        if isinstance(v, Live):
            return v()
        if not isinstance(v, keras.KerasTensor):
            return v
        if id(v) not in self._fresh:
            batch = [BATCH if v.shape[0] is None else v.shape[0]] if v.shape else []
            shape = (*batch, *v.shape[1:])
            fresh = keras.Input(batch_shape=shape, dtype=v.dtype)
            self._fresh[id(v)] = fresh
            if (mask := mask_of(v)) is not None:
                fresh._keras_mask = self._symbol(mask)
        return self._fresh[id(v)]


@contextmanager
def _untouched(layer: Any) -> Iterator[None]:
    """Leave no node behind in a layer, and no automatic name counted.

    Meanwhile `variable * symbolic tensor` is a Keras operation, as its mirror image is.
    """
    layers = list(layer._flatten_layers()) if hasattr(layer, "_flatten_layers") else []
    lists = [n for v in layers for n in (v._inbound_nodes, v._outbound_nodes)]
    lengths = [len(n) for n in lists]
    uids = global_state.get_global_attribute("object_name_uids")
    counted = None if uids is None else dict(uids)
    plain = {n: getattr(keras.Variable, n) for n in _BINARY}
    try:
        for n, function in plain.items():
            setattr(keras.Variable, n, _yielding(function))
        yield
    finally:
        for n, function in plain.items():
            setattr(keras.Variable, n, function)
        for n, length in zip(lists, lengths, strict=True):
            del n[length:]
        if uids is not None and counted is not None:
            uids.clear()
            uids.update(counted)


_BINARY = [f"__{n}__" for n in ("add", "sub", "mul", "truediv", "matmul", "pow")]


def _yielding(function: Callable) -> Callable:
    def binary(self: Any, other: Any) -> Any:
        symbolic = isinstance(other, keras.KerasTensor)
        return NotImplemented if symbolic else function(self, other)

    return binary


def _constants(graph: Any) -> list:
    """The tensors among the arguments of a graph's operations that are not symbolic."""
    return [v for n in nodes(graph) for v in _leaves(n.arguments) if tf.is_tensor(v)]


def _leaves(arguments: Any) -> list:
    return keras.tree.flatten((arguments.args, arguments.kwargs))


def mask_of(tensor: Any) -> Any:
    """The mask that Keras hands on beside a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


class Walk:
    """Numbers tensors and collects steps while it walks the graphs.

    fixed: the numbers of tensors that carry no relevance: masks, indices, and whatever
    does not depend on the input.
    """

    def __init__(self, model: Any) -> None:
        self.steps: list[Step] = []
        self.fixed: set[int] = set()
        self._gates: set[int] = set()
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
        outputs = graph.outputs
        if opened is None:
            graph = _with_masks_too(graph.inputs, outputs)
        else:
            outputs = outputs[: opened.count]
        ids = dict(zip(map(id, graph.inputs), inputs, strict=True))
        live = iter(range(len(_constants(graph)))) if opened else iter(())
        called = {n: _arguments(n, opened, live) for n in nodes(graph)}
        made_by = {id(t): n for n in called for t in n.outputs}

        def visit(node: Any) -> None:
            arguments = called.pop(node)
            tensors = arguments.keras_tensors
            for t in [
                *tensors,
                *filter(lambda m: m is not None, map(mask_of, tensors)),
            ]:
                if made_by.get(id(t)) in called:  # a mask that nobody asked for yet
                    visit(made_by[id(t)])
            self._node(node, ids, prefix, arguments)

        while called:
            visit(next(iter(called)))
        return [ids[id(t)] for t in outputs]

    def _node(self, node: Any, ids: dict, prefix: str, arguments: Arguments) -> None:
        op = node.operation
        own = isinstance(op, keras.layers.Layer)
        name = prefix + (op.name if own or not prefix else _snake(type(op).__name__))
        if not prefix:
            self._place = self._places.get(id(op), self._place)
        sources = tuple(ids[id(t)] for t in arguments.keras_tensors)
        masked = any(mask_of(t) is not None for t in arguments.keras_tensors)
        if is_graph(op) and not masked:
            outputs = self.inline(functional(op), sources, name + "/")
        elif self._is_fixed(op, node, sources):
            outputs = self._parts(node, op, arguments, sources, name, "fixed")
            self.fixed.update(outputs)
        elif find_row(op) is None or find_opening(op):
            outputs = self._open(node, arguments, ids, name)
        elif len(node.outputs) > 1 and _moves(op):
            outputs = self._parts(node, op, arguments, sources, name, "route")
        else:
            outputs = [self._described(node, op, arguments, sources, name)]
        for tensor, number in zip(node.outputs, outputs, strict=True):
            ids[id(tensor)] = number

    def _is_fixed(self, op: Any, node: Any, sources: tuple) -> bool:
        """Do the outputs of this operation carry no relevance?"""
        if self.fixed.issuperset(sources):
            return True
        if type(op).__name__ in FIXED:
            return True
        if all("float" in str(t.dtype) for t in node.outputs):
            return False
        return not _moves(op)

    def _parts(self, node, op, arguments, sources, name, kind) -> list[int]:
        """One step for each output of an operation that has several."""
        call = caller(op, arguments)

        def part(i: int) -> Callable:
            return lambda v: keras.tree.flatten(call(v))[i]

        layer = type(op).__name__
        return [
            self._chain(
                [Step("", kind, part(i), nonnegative="kept", shape=tuple(t.shape[1:]))],
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
        step = replace(step, sides=tuple(sorted(sides | set(step.sides))))
        gates = tuple(i for i, n in enumerate(step.inputs) if n in self._gates)
        carriers = step.carried(range(len(step.inputs)))
        if step.kind == "product" and gates and set(carriers) - set(gates):
            step = replace(step, kind="gate", gates=gates)
        passed = step.kind in (*MOVES, "scale") and gates
        if passed or (step.kind == "activation" and step.layer in _GATES):
            self._gates.add(step.output)
        return step


def _arguments(node: Any, opened: Opened | None, live: Iterator[int]) -> Arguments:
    """What an operation was called with: live constants, and the masks it will get."""

    def alive(v: Any) -> Any:
        if opened is None or not tf.is_tensor(v):
            return v
        return Live(opened, next(live))

    given = node.arguments
    args, kwargs = keras.tree.map_structure(alive, (given.args, given.kwargs))
    return Arguments(args, _with_masks(node.operation, args, dict(kwargs)))


def _with_masks(op: Any, args: tuple, kwargs: dict) -> dict:
    """Fill in the masks of a layer's `call` as Keras does when the layer runs."""
    if not isinstance(op, keras.layers.Layer) or is_graph(op):
        return kwargs
    names = list(inspect.signature(op.call).parameters)
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    tensors = {k: v for k, v in given.items() if _symbolic(v) and "mask" not in k}
    for k, v in tensors.items():
        masks = keras.tree.map_structure(mask_of, v)
        name = "mask" if len(tensors) == 1 else f"{k}_mask"
        found = any(m is not None for m in keras.tree.flatten(masks))
        if found and name in names and given.get(name) is None:
            kwargs[name] = masks
    return kwargs


def _symbolic(v: Any) -> bool:
    return any(isinstance(t, keras.KerasTensor) for t in keras.tree.flatten(v))


def _moves(op: Any) -> bool:
    row = find_row(op)
    return row is not None and row.moves


class Live:
    """A constant of an opened graph that is read anew at every run."""

    def __init__(self, opened: Opened, index: int) -> None:
        self._opened, self._index = opened, index

    def __call__(self, batch: Any = None) -> Tensor:
        """The tensor, of one sample where it was made for the whole batch."""
        value = self._opened.live(self._index)
        for axis, n in enumerate(value.shape):
            if n == BATCH:
                first = tf.gather(value, [0], axis=axis)
                value = first if batch is None else tf.repeat(first, batch, axis)
        return value


def caller(op: Any, arguments: Arguments) -> Callable:
    """(inputs) -> op's output, with the other arguments as the graph recorded them."""
    symbols = arguments.keras_tensors
    counted = not isinstance(op, keras.layers.Layer) and _counts(op, arguments)

    def call(inputs: list) -> Tensor:
        rest = iter(inputs)
        batch = _batch(symbols[0], inputs[0])

        def value(v: Any) -> Any:
            if isinstance(v, keras.KerasTensor):
                return next(rest)
            if isinstance(v, Live):
                return v(batch)
            return _resized(v, batch) if counted else v

        args, kwargs = keras.tree.map_structure(
            value, (arguments.args, arguments.kwargs)
        )
        return (_with_batch(op, batch) if counted else op).call(*args, **kwargs)

    return call


def _batch(symbol: Any, value: Tensor) -> Any:
    """How many samples there are, from a tensor of a graph opened with BATCH."""
    if not symbol.shape or not _is_count(symbol.shape[0]):
        return None
    return tf.shape(value)[0] // (symbol.shape[0] // BATCH)


def _is_count(v: Any) -> bool:
    return isinstance(v, int) and v > 0 and v % BATCH == 0


def _resized(v: Any, batch: Any) -> Any:
    return (v // BATCH) * batch if _is_count(v) and batch is not None else v


def _counts(op: Any, arguments: Arguments) -> bool:
    held = keras.tree.flatten(list(vars(op).values()))
    return any(_is_count(v) for v in [*held, *_leaves(arguments)])


def _with_batch(op: Any, batch: Any) -> Any:
    """A copy of an operation whose sizes follow the real batch."""
    other = copy.copy(op)
    for name, v in list(vars(op).items()):
        if any(_is_count(n) for n in keras.tree.flatten(v)):
            sized = keras.tree.map_structure(lambda n: _resized(n, batch), v)
            object.__setattr__(other, name, sized)
    return other


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
