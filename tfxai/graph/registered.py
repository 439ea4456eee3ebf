"""Layers and operations that a user registers: each becomes steps of given kinds.

A row is a function `(layer, call, arguments) -> [Step, ...]`; the steps are a chain,
each reading the output of the one before it. `call(inputs)` runs the layer itself.
While a model is traced, each call of a registered layer is a function of its own
(`apart`), which the reader keeps as one operation.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.registry import Registry
from tfxai.graph.private import layers_within
from tfxai.graph.step import Step


@dataclass(frozen=True)
class Arguments:
    """What a layer was called with; a TensorSpec stands for each tensor."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def tensors(self) -> list[tf.TensorSpec]:
        """The specs of the tensors among them, in order."""
        leaves = keras.tree.flatten((self.args, self.kwargs))
        return [v for v in leaves if isinstance(v, tf.TensorSpec)]

    def filled(self, tensors: Iterable[Any]) -> Any:
        """The positional and the named arguments, with these tensors."""
        rest = iter(tensors)

        def value(v: Any) -> Any:
            return next(rest) if isinstance(v, tf.TensorSpec) else v

        return keras.tree.map_structure(value, (self.args, self.kwargs))


@dataclass(frozen=True)
class Row:
    """One row of the table. moves: does it only move values, also tokens?"""

    steps: Callable[[Any, Callable[..., Any], Arguments], list[Step] | None]
    moves: bool = False


#: A layer class, or the type of an operation of TensorFlow -> its row.
ROWS: Registry[type | str, Row] = Registry("layer")


def register(
    *classes: type | str, moves: bool = False, replace: bool = False
) -> Callable[..., Any]:
    """Return a decorator that registers a row."""

    def put(function: Callable[..., Any]) -> Callable[..., Any]:
        for key in classes:
            ROWS.register(key, Row(function, moves), replace)
        return function

    return put


def row_of(layer: Any) -> Row | None:
    """The row of the class that defines `call`; a `call` of its own is its own kind."""
    for cls in type(layer).__mro__:
        if cls in ROWS:
            return ROWS[cls]
        if "call" in vars(cls):
            return None
    return None


def registered(layers: Iterable[Any]) -> list[Any]:
    """Those of some layers that have a row."""
    return [v for v in layers if row_of(v) is not None] if ROWS else []


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a registered layer. function: (its tensors) -> its outputs."""

    layer: Any
    row: Row
    function: Callable[..., Any]
    arguments: Arguments


@contextmanager
def apart(model: Any) -> Iterator[dict[str, Call]]:
    """Within it, each call of a registered layer is a graph function of its own.

    Yields:
        name of the function -> the call.
    """
    layers = layers_within(model) if isinstance(model, keras.layers.Layer) else []
    calls: dict[str, Call] = {}
    found = registered(layers)
    before = [vars(v).get("call") for v in found]
    try:
        for layer in found:
            object.__setattr__(layer, "call", _kept_apart(layer, calls))
        yield calls
    finally:
        for layer, own in zip(found, before, strict=True):
            if own is None:
                vars(layer).pop("call", None)
            else:
                object.__setattr__(layer, "call", own)


def _kept_apart(layer: Any, calls: dict[str, Call]) -> Callable[..., Any]:
    """The `call` of a layer as a function of its tensors, that `calls` remembers."""
    own, row = layer.call, row_of(layer)
    assert row is not None

    @wraps(own)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = (args, kwargs)
        arguments = Arguments(*keras.tree.map_structure(_spec, given))

        def function(*values: Any) -> Any:
            args, kwargs = arguments.filled(values)
            return own(*args, **kwargs)

        traced = tf.function(function, autograph=False)
        concrete = traced.get_concrete_function(*arguments.tensors)
        name = concrete.name
        name = name.decode() if isinstance(name, bytes) else name
        calls[name] = Call(layer, row, function, arguments)
        return concrete(*(v for v in keras.tree.flatten(given) if tf.is_tensor(v)))

    return call


def _spec(value: Any) -> Any:
    if not tf.is_tensor(value):
        return value
    return tf.TensorSpec(value.shape, value.dtype)
