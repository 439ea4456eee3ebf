"""One operation of a trace: its type, its attributes, and how it runs again."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor

#: Floats of half precision: a trace computes in float32 wherever the model has these.
HALF = frozenset({tf.float16, tf.bfloat16})
READS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd"})


@dataclass(frozen=True)
class Type:
    """The dtype and the static shape of a value."""

    dtype: tf.DType
    shape: tf.TensorShape

    @property
    def dims(self) -> tuple[int | None, ...] | None:
        """The sizes of the axes, None where open; None for an unknown rank."""
        return None if self.shape.rank is None else tuple(self.shape.as_list())

    @property
    def floating(self) -> bool:
        """Is it a real or complex number?"""
        return bool(self.dtype.is_floating or self.dtype.is_complex)


def widened(dtype: tf.DType) -> tf.DType:
    """float32 in place of half floats, every other dtype as it is."""
    return tf.float32 if dtype in HALF else dtype


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of TensorFlow over numbered values.

    inputs, outputs: the numbers of the values that it reads and makes.
    attributes: the keyword arguments of its function in `tf.raw_ops`.
    arguments: for each tensor argument its name, and the length of its list or None.
    """

    type: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[tuple[str, int | None], ...] = ()

    def run(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The outputs for these inputs."""
        if self.type == "Const":
            return [tf.constant(self.attributes["value"])]
        if self.type == "CustomGradient":
            return list(values)
        half = next((v.dtype for v in values if v.dtype in HALF), None)
        if half is not None:  # a program that is run in half precision
            values = [tf.cast(v, half) if v.dtype == tf.float32 else v for v in values]
        given, at = dict(self.attributes), 0
        for name, length in self.arguments:
            if length is None:
                given[name], at = values[at], at + 1
            else:
                given[name], at = list(values[at : at + length]), at + length
        made: list[Tensor] = tf.nest.flatten(function_of(self.type)(**given))
        if half is not None:
            return made
        return [tf.cast(t, tf.float32) if t.dtype in HALF else t for t in made]


@dataclass(frozen=True, eq=False)
class LayerCall(Operation):
    """The call of a layer that a user registered."""

    call: Any = None  # tfxai.graph.registered.Call

    def run(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the layer for these tensors among its arguments."""
        made = keras.tree.flatten(self.call.function(*values))
        return [tf.cast(t, tf.float32) if t.dtype in HALF else t for t in made]


def constant(name: str, output: int, value: Any) -> Operation:
    """The operation that makes a constant."""
    return Operation("Const", name, (), (output,), {"value": np.asarray(value)})


@cache
def function_of(kind: str) -> Callable[..., Any]:
    """The function that makes an operation; XLA's have no public one."""
    if hasattr(tf.raw_ops, kind):
        return cast(Callable[..., Any], getattr(tf.raw_ops, kind))
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    snake = re.sub("(?<!^)([A-Z])", r"_\1", kind).lower()
    return cast(Callable[..., Any], getattr(gen_xla_ops, snake))


@cache
def parameters(kind: str) -> tuple[str, ...]:
    """The names of that function's parameters, without `name`."""
    found = inspect.signature(function_of(kind)).parameters
    return tuple(p for p in found if p != "name")


def described(op: tf.Operation) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The attributes and the arguments of an operation of a graph.

    Raises KeyError for an attribute that the function in `tf.raw_ops` does not take.
    """
    wanted = parameters(op.type)
    definition = op.op_def
    names = {a.name for a in definition.attr}
    free = [p for p in wanted if p not in names]  # tensors, and renamed attributes
    own = [a.name for a in definition.input_arg]
    spare = [p for p in free if p not in own]
    arguments = []
    for a in definition.input_arg:
        name = a.name if a.name in free else spare.pop(0)
        arguments.append((name, _length(op, a)))
    attributes = {n: _plain(op.get_attr(n)) for n in names if n in wanted}
    given = {n for a in definition.input_arg for n in _inferred(a)}
    hidden = [
        a.name
        for a in definition.attr
        if a.name not in wanted and a.name not in given and a.name[0] != "_"
    ]
    for parameter, n in zip(spare, hidden, strict=False):
        attributes[parameter] = _plain(op.get_attr(n))  # Squeeze: squeeze_dims is axis
    if len(hidden) < len(spare):
        raise KeyError(f"{op.type} takes {spare}, and has {hidden}")
    if op.type not in READS:  # a variable is read as what it is, and then cast
        attributes = {k: _wide(v) for k, v in attributes.items()}
    return attributes, tuple(arguments)


def _inferred(argument: Any) -> tuple[str, str, str]:
    return argument.type_attr, argument.number_attr, argument.type_list_attr


def _length(op: tf.Operation, argument: Any) -> int | None:
    if argument.number_attr:
        return int(op.get_attr(argument.number_attr))
    if argument.type_list_attr:
        return len(op.get_attr(argument.type_list_attr))
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _wide(value: Any) -> Any:
    return widened(value) if isinstance(value, tf.DType) else value
