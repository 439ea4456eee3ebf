"""Small array functions that every floor above may use."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

Tensor = Any  # a tf.Tensor; TensorFlow ships no types that mypy can follow


def positive(v: Tensor) -> Tensor:
    """max(v, 0)."""
    return tf.nn.relu(v)


def negative(v: Tensor) -> Tensor:
    """min(v, 0)."""
    return tf.minimum(v, 0.0)


def size(v: Tensor) -> list:
    """The shape of `v` as a list: a number where it is known, else a scalar tensor."""
    dynamic = tf.shape(v)
    return [dynamic[i] if n is None else n for i, n in enumerate(v.shape)]


def merge_seeds(s: Tensor) -> Tensor:
    """(K, B, ...) -> (K * B, ...)."""
    return tf.reshape(s, [-1, *size(s)[2:]])


def split_seeds(s: Tensor, seeds: Any) -> Tensor:
    """(K * B, ...) -> (K, B, ...)."""
    return tf.reshape(s, [seeds, -1, *size(s)[1:]])


def chunks(count: int, length: int) -> Iterator[slice]:
    """Cut range(count) into slices of at most `length`."""
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))
