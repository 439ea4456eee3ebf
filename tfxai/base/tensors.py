"""Small array functions that every other package may use."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any  # a tf.Tensor; TensorFlow ships no types that mypy can follow


def positive(v: Tensor) -> Tensor:
    """max(v, 0)."""
    return tf.nn.relu(v)


def negative(v: Tensor) -> Tensor:
    """min(v, 0)."""
    return tf.minimum(v, 0.0)


def size(v: Tensor, start: int = 0) -> list:
    """The shape from dimension `start` on: numbers where known, else scalar tensors."""
    known = v.shape.as_list()[start:]
    if None not in known:
        return known
    seen = tf.unstack(tf.shape(v))[start:]  # an index each would take four operations
    return [s if n is None else n for s, n in zip(seen, known, strict=True)]


def lost(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The numbers of `array` that `dtype` would cut off, or wrap round."""
    with np.errstate(invalid="ignore"):  # what does not fit comes out as another number
        return array[array.astype(dtype) != array]


def as_rows(v: Tensor) -> Tensor:
    """(B, ...) -> (B, n)."""
    if len(v.shape) == 2:
        return v
    return tf.reshape(v, [-1, math.prod(size(v, 1))])


def merge_seeds(s: Tensor) -> Tensor:
    """(K, B, ...) -> (K * B, ...)."""
    return tf.reshape(s, [-1, *size(s, 2)])


def split_seeds(s: Tensor, seeds: Any) -> Tensor:
    """(K * B, ...) -> (K, B, ...)."""
    return tf.reshape(s, [seeds, -1, *size(s, 1)])


def chunks(count: int, length: int) -> Iterator[slice]:
    """Cut range(count) into slices of at most `length`."""
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))
