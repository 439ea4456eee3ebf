"""Layers opened: their `call` on symbolic tensors is a graph of Keras operations."""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.kinds import Arguments, unsupported
from tfxai.graph.private import (
    Traced,
    give_mask,
    is_graph,
    mask_of,
    nodes,
    traced,
    untouched,
)

#: The batch size of a graph that was opened: a prime, so that what was computed from it
#: (the new shape of a reshape, say) is recognised and follows the real batch.
BATCH = 10007
#: Which moment it is, to what runs without a graph; None if any may be another one.
_MOMENT: ContextVar[object | None] = ContextVar("moment", default=None)


@contextmanager
def one_moment() -> Iterator[None]:
    """Within it no weight changes: a layer is opened once for all its constants."""
    token = _MOMENT.set(object())
    try:
        yield
    finally:
        _MOMENT.reset(token)


class Opened:
    """A layer's `call` on fresh symbolic tensors: a graph of Keras operations.

    graph: from fresh inputs to outputs; `symbols` are the ids of what they stand for.
    What `call` computes from variables alone (half of a kernel, a table of positions)
    is a constant there; `live` computes it again, in whatever graph is built.
    """

    def __init__(self, layer: Any, call: Callable, arguments: Arguments) -> None:
        self.layer, self.call, self.arguments = layer, call, arguments
        self._fresh: dict[int, Any] = {}
        self.graph = self._open()
        self.symbols = list(self._fresh)
        self._known: tuple[Any, list] = (None, [])

    def live(self, index: int) -> Tensor:
        """The constant number `index` of the graph, as it is now."""
        eager = tf.executing_eagerly()
        now = _MOMENT.get() if eager else tf.compat.v1.get_default_graph()
        if now is None or self._known[0] is not now:
            self._known = (now, constants(self._open()))
        return self._known[1][index]

    def _open(self) -> Traced:
        sizes = [n for shape in self.arguments.shapes for n in shape[1:]]
        sizes += [n for v in getattr(self.layer, "weights", ()) for n in v.shape]
        if any(_is_count(n) for n in sizes):  # what is computed from it is not BATCH
            raise unsupported(self.layer, self.layer.name, f"for {BATCH} channels")
        self._fresh = {}
        with untouched(self.layer):
            args, kwargs = keras.tree.map_structure(
                self._symbol, (self.arguments.args, self.arguments.kwargs)
            )
            names = list(inspect.signature(self.call).parameters)[len(args) :]
            if "training" in names and kwargs.get("training") is None:
                kwargs["training"] = False
            outputs = keras.tree.flatten(self.call(*args, **kwargs))
            if not all(isinstance(t, keras.KerasTensor) for t in outputs):
                name = self.layer.name
                raise unsupported(self.layer, name, "where the input has no part in it")
            return traced(list(self._fresh.values()), outputs)

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
                give_mask(fresh, self._symbol(mask))
        return self._fresh[id(v)]


def constants(graph: Any) -> list:
    """The tensors among the arguments of a graph's operations that are not symbolic."""
    return [v for n in nodes(graph) for v in _leaves(n.arguments) if tf.is_tensor(v)]


def numbers_in(arguments: Arguments) -> bool:
    """Is there a float, an array or a variable among the arguments?"""
    return any(
        callable(v) or isinstance(v, float) or len(getattr(v, "shape", ()) or ()) > 0
        for v in _leaves(arguments)
        if not isinstance(v, keras.KerasTensor)
    )


def _leaves(arguments: Any) -> list:
    return keras.tree.flatten((arguments.args, arguments.kwargs))


class Live:
    """A constant of an opened graph that is read again at every run."""

    def __init__(self, opened: Opened, index: int) -> None:
        self._opened, self._index = opened, index

    def __call__(self, batch: Callable = lambda: None) -> Tensor:
        """The tensor; where it was made for all samples, for one or for `batch()`."""
        value = self._opened.live(self._index)
        for axis, n in enumerate(value.shape):
            if n == BATCH:
                value, count = tf.gather(value, [0], axis=axis), batch()
                value = value if count is None else tf.repeat(value, count, axis)
        return value


def arguments_of(node: Any, opened: Opened | None, live: Iterator[int]) -> Arguments:
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


def caller(op: Any, arguments: Arguments) -> Callable:
    """(inputs) -> op's output, with the other arguments as the graph recorded them."""
    symbols, arguments = arguments.keras_tensors, _known(op, arguments)
    counted = not isinstance(op, keras.layers.Layer) and _counts(op, arguments)

    def call(inputs: list) -> Tensor:
        rest = iter(inputs)
        batch = cache(lambda: _batch(symbols[0], inputs[0]))  # few need it

        def value(v: Any) -> Any:
            if isinstance(v, keras.KerasTensor):
                return next(rest)
            if isinstance(v, Live):
                return v(batch)
            return _resized(v, batch()) if counted else v

        args, kwargs = keras.tree.map_structure(
            value, (arguments.args, arguments.kwargs)
        )
        made = (_with_batch(op, batch()) if counted else op).call(*args, **kwargs)
        return keras.tree.map_structure(_wide, made)

    return call


def _wide(v: Tensor) -> Tensor:
    """Half floats as float32: some layers of mixed precision models return them."""
    return tf.cast(v, tf.float32) if v.dtype in (tf.float16, tf.bfloat16) else v


def _known(op: Any, arguments: Arguments) -> Arguments:
    """The arguments without `training` and `mask`, where a layer does not take them."""
    if not isinstance(op, keras.layers.Layer):
        return arguments
    names = inspect.signature(op.call).parameters
    if any(p.kind is p.VAR_KEYWORD for p in names.values()):
        return arguments
    strange = {"training", "mask"} - set(names)
    kept = {k: v for k, v in arguments.kwargs.items() if k not in strange}
    return Arguments(arguments.args, kept)


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
