"""Rows of sums, and of what scales and shifts each value: k x + c."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfxai.graph.kinds import Arguments, L, operation
from tfxai.graph.step import Step, Weights, along


@operation(L.BatchNormalization)
def _batch_norm(layer, call, arguments):
    """At inference an affine map per channel: k x + c."""
    axis = layer.axis % len(arguments.shapes[0]) - len(arguments.shapes[0])

    def live(v):
        k = tf.math.rsqrt(tf.convert_to_tensor(layer.moving_variance) + layer.epsilon)
        k = k * layer.gamma if layer.scale else k
        c = -layer.moving_mean * k
        c = c + layer.beta if layer.center else c
        return along(k, axis), along(c, axis)

    return [_scale(live, axis)]


@operation(L.Normalization)
def _normalization(layer, call, arguments):
    """(x - mean) / max(sqrt(variance), 1e-7), or turned round."""
    axes = layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)
    rank = len(arguments.shapes[0])

    def live(v):
        deviation = tf.sqrt(tf.convert_to_tensor(layer.variance, tf.float32))
        wide = tf.maximum(deviation, keras.config.epsilon())
        mean = tf.convert_to_tensor(layer.mean, tf.float32)
        return (wide, mean) if layer.invert else (1 / wide, -mean / wide)

    channels = {(rank - 1,): -1, (-1,): -1, (None,): 0, (): 0}
    return [_scale(live, channels.get(tuple(axes)))]


@operation(L.Rescaling)
def _rescaling(layer, call, arguments):
    def live(v):
        given = layer.scale, layer.offset
        return tuple(tf.convert_to_tensor(v, tf.float32) for v in given)

    axes = max(np.ndim(layer.scale), np.ndim(layer.offset))
    return [_scale(live, {0: 0, 1: -1}.get(axes))]


def _scale(live: Callable, channels: int | None = -1) -> Step:
    """Make y = k x + c; `live` gives k, and c or None."""
    return Step("", "scale", lambda v, k: v[0] * k, Weights(live, channels=channels))


def constant(arguments: Arguments) -> Callable | None:
    """The one argument that is no tensor of the graph, read live."""
    given = keras.tree.flatten((arguments.args, arguments.kwargs))
    rest = [v for v in given if not isinstance(v, keras.KerasTensor)]
    if len(rest) != 1:
        return None
    value = rest[0]
    live = value if callable(value) else lambda: value
    return lambda: tf.cast(tf.convert_to_tensor(live()), tf.float32)


def _several(arguments: Arguments) -> bool:
    return len(arguments.keras_tensors) > 1


def _with(arguments: Arguments, step: Callable[[Callable], Step]) -> list[Step] | None:
    """The step for the one constant argument; None where there is not just one."""
    found = constant(arguments)
    return None if found is None else [step(found)]


@operation(L.Add, L.Average, "Add")
def _add(op, call, arguments):
    if _several(arguments):
        return [Step("", "add", call, nonnegative="kept")]
    if isinstance(op, L.Average):
        return None
    return _with(arguments, lambda c: _scale(lambda v: (1.0, c())))


@operation(L.Subtract, "Subtract")
def _subtract(op, call, arguments):
    """a - b as a sum with the weights 1 and -1."""
    if _several(arguments):
        signs = Weights(lambda v: (tf.constant([1.0, -1.0]), None), channels=None)
        return [Step("", "add", lambda v, k: v[0] * k[0] + v[1] * k[1], signs)]
    if isinstance(arguments.args[0], keras.KerasTensor):
        return _with(arguments, lambda c: _scale(lambda v: (1.0, -c())))
    return _with(arguments, lambda c: _scale(lambda v: (-1.0, c())))


@operation("Negative")
def _negative(op, call, arguments):
    return [_scale(lambda v: (-1.0, None))]


@operation(L.Multiply, "Multiply")
def _multiply(op, call, arguments):
    if _several(arguments):
        return [Step("", "product", call, nonnegative="kept")]
    return _with(arguments, lambda c: _scale(lambda v: (c(), None)))


@operation("Divide", "TrueDivide", "DivideNoNan")
def _divide(op, call, arguments):
    """By a tensor: what stands below only scales, and carries no relevance."""
    if _several(arguments):
        return [Step("", "product", call, sides=(1,))]
    if isinstance(arguments.args[0], keras.KerasTensor):
        return _with(arguments, lambda c: _scale(lambda v: (1.0 / c(), None)))
    return [Step("", "activation", call, layer="reciprocal")]


@operation("Maximum", "Minimum")
def _extreme(op, call, arguments):
    """The winner of two tensors; max(x, 0) is a ReLU."""
    if _several(arguments):
        return [Step("", "max", call, nonnegative="kept")]
    rest = [v for v in arguments.args if not isinstance(v, keras.KerasTensor)]
    zero = isinstance(rest[0], int | float | np.ndarray) and not np.any(rest[0])
    if zero and type(op).__name__ == "Maximum":
        return [Step("", "relu", call, nonnegative="yes", gate="relu", layer="relu")]
    return [Step("", "activation", call, layer=type(op).__name__.lower())]
