"""Small functions on arrays and tensors."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any  # a tf.Tensor; TensorFlow has no type stubs that mypy can use


def positive(v: Tensor) -> Tensor:
    """Return max(v, 0)."""
    return tf.nn.relu(v)


def negative(v: Tensor) -> Tensor:
    """Return min(v, 0)."""
    return tf.minimum(v, 0.0)


def size(v: Tensor, start: int = 0) -> list[Any]:
    """Return the shape from axis `start` on.

    Known dimensions are integers, unknown ones scalar tensors.
    """
    known: list[Any] = v.shape.as_list()[start:]
    if None not in known:
        return known
    dynamic = tf.unstack(tf.shape(v))[start:]  # indexing takes four operations per axis
    return [s if n is None else n for s, n in zip(dynamic, known, strict=True)]


def changed_by_cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the values of `array` that a cast to `dtype` truncates or wraps."""
    with np.errstate(invalid="ignore"):  # NumPy warns of values outside the range
        changed: np.ndarray = array[array.astype(dtype) != array]
    return changed


def as_rows(v: Tensor) -> Tensor:
    """Reshape (B, ...) to (B, n)."""
    if len(v.shape) == 2:
        return v
    return tf.reshape(v, [-1, math.prod(size(v, 1))])


def merge_seeds(s: Tensor) -> Tensor:
    """Reshape (K, B, ...) to (K * B, ...)."""
    return tf.reshape(s, [-1, *size(s, 2)])


def split_seeds(s: Tensor, seeds: Any) -> Tensor:
    """Reshape (K * B, ...) to (K, B, ...)."""
    return tf.reshape(s, [seeds, -1, *size(s, 1)])


def chunks(count: int, length: int) -> Iterator[slice]:
    """Yield consecutive slices of range(count), each of at most `length` items."""
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))
