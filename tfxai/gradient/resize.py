"""Small maps laid over large inputs: one matrix for each axis."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, size


def linear(here: Any, there: Any) -> Tensor:
    """The (there, here) matrix of linear interpolation between pixel centres.

    Borders are mirrored at the outer centres; a map that is made smaller is averaged
    over triangles, so that nothing between two pixels is lost.
    """
    n, m = tf.cast(here, tf.float32), tf.cast(there, tf.float32)
    at = ((tf.range(m) + 0.5) * n / m - 0.5)[:, None]
    j, wide = tf.range(n), tf.maximum(n / m, 1.0)

    def near(gap: Tensor) -> Tensor:
        return tf.nn.relu(1 - tf.abs(gap) / wide)

    w = near(at - j) + tf.where(j > 0, near(at + j), 0.0)
    w += tf.where(j < n - 1, near(at + j - 2 * (n - 1)), 0.0)
    return w / tf.reduce_sum(w, -1, keepdims=True)


def nearest(here: Any, there: Any) -> Tensor:
    """The (there, here) matrix that repeats pixels."""
    return tf.one_hot(tf.range(there) * here // there, here)


def none(here: Any, there: Any) -> Tensor:
    """The identity: the map keeps the size of its layer."""
    return tf.eye(here)


RESIZES: dict[str, Callable] = {"linear": linear, "nearest": nearest, "none": none}


def resized(v: Tensor, sizes: list, resize: Callable = linear) -> Tensor:
    """(T, B, ...) with the axes behind B of other sizes."""
    axes = "tb" + "hwdx"[: len(sizes)]
    for axis, there in zip(axes[2:], sizes, strict=True):
        matrix = resize(size(v)[axes.index(axis)], there)
        v = tf.einsum(f"n{axis},{axes}->{axes.replace(axis, 'n')}", matrix, v)
    return v
