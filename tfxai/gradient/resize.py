"""Resizing of activation maps to the input's size, by one matrix for each axis."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, size


def linear(old: Any, new: Any) -> Tensor:
    """Return the (new, old) matrix of linear interpolation between pixel centres.

    Values outside the array are mirrored at the outer pixel centres. Downsampling
    averages with a triangular kernel (anti-aliasing), so that every pixel counts.
    """
    n, m = tf.cast(old, tf.float32), tf.cast(new, tf.float32)
    at = ((tf.range(m) + 0.5) * n / m - 0.5)[:, None]
    j, width = tf.range(n), tf.maximum(n / m, 1.0)

    def triangle(distance: Tensor) -> Tensor:
        return tf.nn.relu(1 - tf.abs(distance) / width)

    w = triangle(at - j) + tf.where(j > 0, triangle(at + j), 0.0)
    w += tf.where(j < n - 1, triangle(at + j - 2 * (n - 1)), 0.0)
    return w / tf.reduce_sum(w, -1, keepdims=True)


def nearest(old: Any, new: Any) -> Tensor:
    """Return the (new, old) matrix that repeats pixels."""
    return tf.one_hot(tf.range(new) * old // new, old)


def none(old: Any, new: Any) -> Tensor:
    """Return the identity matrix: the array keeps its size."""
    return tf.eye(old)


RESIZES: dict[str, Callable[[Any, Any], Tensor]] = {
    "linear": linear,
    "nearest": nearest,
    "none": none,
}


def resized(
    v: Tensor, sizes: list[Any], resize: Callable[[Any, Any], Tensor] = linear
) -> Tensor:
    """Return (T, B, ...) with the axes after B resized to `sizes`."""
    axes = "tb" + "hwdx"[: len(sizes)]
    for axis, new in zip(axes[2:], sizes, strict=True):
        matrix = resize(size(v)[axes.index(axis)], new)
        v = tf.einsum(f"n{axis},{axes}->{axes.replace(axis, 'n')}", matrix, v)
    return v
