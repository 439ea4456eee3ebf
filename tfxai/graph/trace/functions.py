"""Which function a region computes: found by what it does to numbers, not by its form.

Softmax, normalisations and activations can be written in many ways. Each test here runs
the operations on random numbers, or on a grid, and compares.
"""

from collections.abc import Callable
from math import prod

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.trace.region import ELEMENTS, Region
from tfxai.graph.trace.table import DIVISION

ops = keras.ops
#: Points at which activations are compared.
GRID = np.concatenate([np.linspace(-9, 9, 61), np.linspace(-0.9, 1.1, 22)])
GRID = GRID.astype(np.float32)
#: Activations by name, recognised by their values on the grid.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "sigmoid": tf.sigmoid,
    "silu": lambda v: v * tf.sigmoid(v),
    "gelu": lambda v: 0.5 * v * tf.math.erfc(-v / np.float32(np.sqrt(2))),
    "gelu_tanh": lambda v: tf.nn.gelu(v, approximate=True),
    "quick_gelu": lambda v: v * tf.sigmoid(1.702 * v),
    "mish": lambda v: v * tf.tanh(tf.math.softplus(v)),
    "softplus": tf.math.softplus,
    "tanh": tf.tanh,
    "hard_sigmoid": ops.hard_sigmoid,
    "hard_silu": ops.hard_silu,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "softsign": tf.nn.softsign,
    "log_sigmoid": tf.math.log_sigmoid,
    "hard_tanh": lambda v: tf.clip_by_value(v, -1.0, 1.0),
    "square": tf.square,
    "absolute": tf.abs,
    "exponential": tf.exp,
    "squared_relu": lambda v: tf.square(tf.nn.relu(v)),
}
#: Activations that are never negative.
POSITIVE = frozenset(
    [
        "relu",
        "relu6",
        "sigmoid",
        "softplus",
        "hard_sigmoid",
        "square",
        "absolute",
        "exponential",
        "squared_relu",
        "bounded_relu",
    ]
)
#: Activations between 0 and 1, which open and close what they multiply.
GATES = frozenset({"sigmoid", "hard_sigmoid"})
#: Roots and powers: the values at which a normalisation is held fixed.
ROOTS = frozenset({"Rsqrt", "Sqrt", "Pow", "Exp", "Log", "Reciprocal", "Inv"})


def activation_of(region: Region) -> str:
    """The name of the activation that a region of pointwise operations is, or ""."""
    values = on_grid(region)
    return "" if values is None else _named(values)


def on_grid(region: Region) -> np.ndarray | None:
    """The values of a region on `GRID`; None if they are not those of one function."""
    dims = region.trace.types[region.entry].dims or ()
    wide = [n or 1 for n in dims[1:]]  # for constants of one value per channel
    for sizes in ([1] * len(wide), wide):
        if prod(sizes) * len(GRID) > ELEMENTS:
            return None
        values = _of_sizes(region, sizes)
        if values is not None:
            same = np.array_equal(values, np.broadcast_to(values[:, :1], values.shape))
            return values[:, 0] if same else None
    return None


def _of_sizes(region: Region, sizes: list[int]) -> np.ndarray | None:
    """The values (points, n) of a region on the grid; None where it cannot run."""
    with tf.init_scope():
        x = tf.reshape(tf.constant(GRID), [-1] + [1] * len(sizes))
        x = tf.broadcast_to(x, [len(GRID), *sizes])
        x = tf.cast(x, region.trace.types[region.entry].dtype)
        try:
            y = region(x)
        except (tf.errors.InvalidArgumentError, ValueError, KeyError):
            return None
        if y.shape != x.shape:
            return None
        return np.asarray(y.numpy().reshape(len(GRID), -1))


def close(values: np.ndarray, wanted: np.ndarray) -> bool:
    """Are these values those of a function, to the precision of float32?"""
    size = np.maximum(1.0, np.abs(wanted))
    return bool(np.all(np.abs(values - wanted) <= 2e-5 * size))


def _named(values: np.ndarray) -> str:
    for name, wanted in _tables().items():
        if close(values, wanted):
            return name
    top = values.max()
    if 0 < top < 9 and np.allclose(values, np.clip(GRID, 0, top), atol=1e-6):
        return "bounded_relu"
    return ""


_TABLES: dict[str, np.ndarray] = {}


def _tables() -> dict[str, np.ndarray]:
    if not _TABLES:
        with tf.init_scope():
            for name, function in ACTIVATIONS.items():
                _TABLES[name] = np.asarray(function(tf.constant(GRID)))
    return _TABLES


def softmax_of(region: Region) -> tuple[str, int] | None:
    """("softmax" or "log_softmax", axis from the end) if a region is one, else None."""
    with tf.init_scope():
        x = region.trial()
        if x is None or x.shape.rank == 0:
            return None
        try:
            y = region(x)
        except (tf.errors.InvalidArgumentError, ValueError, KeyError):
            return None
        if y.shape != x.shape:
            return None
        for axis in range(-1, -x.shape.rank - 1, -1):
            for name in ("softmax", "log_softmax"):
                if _near(y, getattr(tf.nn, name)(x, axis)):
                    return name, axis
    return None


def _near(a: Tensor, b: Tensor, most: float = 1e-5) -> bool:
    size = 1.0 + float(tf.reduce_max(tf.abs(b)))
    return float(tf.reduce_max(tf.abs(a - b))) <= most * size


def statistics_of(region: Region) -> set[int]:
    """The values at which a region is held fixed: roots, powers and divisors."""
    inside = {o for op in region.operations for o in op.outputs}
    found = {op.outputs[0] for op in region.operations if op.type in ROOTS}
    for op in region.operations:
        if op.type in DIVISION and op.inputs[1] in inside:
            found.add(op.inputs[1])
    return found - {region.output}


def is_norm(region: Region) -> bool:
    """Is a region a normalisation f of its entry x?

    With its statistics held fixed it is affine, M x + b; and it is odd about b and does
    not change with the scale of x: f(2 x) = f(x), f(-x) - b = b - f(x).
    """
    statistics = statistics_of(region)
    trace = region.trace
    if (
        not statistics
        or trace.types[region.entry].dims != trace.types[region.output].dims
    ):
        return False
    with tf.init_scope():
        x = region.trial()
        if x is None:
            return False
        x = 30.0 * x + 7.0
        try:
            fixed = region.values(x, statistics)
            y, twice, turned = region(x), region(2.0 * x), region(-x)
            zero, linear = region(0.0 * x, fixed), region(2.0 * x, fixed)
        except (tf.errors.InvalidArgumentError, ValueError, KeyError):
            return False
        if y.shape != x.shape or not bool(tf.reduce_all(tf.math.is_finite(y))):
            return False
        varies = float(tf.reduce_max(tf.abs(y - zero))) > 1e-4
        return varies and all(
            _near(a, b, 1e-3)
            for a, b in (
                (twice, y),
                (linear - y, y - zero),
                (turned - zero, zero - y),
            )
        )
