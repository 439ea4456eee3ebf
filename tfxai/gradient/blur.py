"""Gaussian blur of batches inside a compiled function."""

import tensorflow as tf

from tfxai.base.tensors import Tensor, size


def blur(x: Tensor, sigmas: Tensor) -> Tensor:
    """Return (B, ..., C) blurred by Gaussians of k widths, (k, B, ..., C).

    Each axis is multiplied by one matrix. Its rows sum to 1, so that the brightness at
    the borders is kept.

    Args:
        x: The batch (B, ..., C).
        sigmas: Standard deviations (k,) in pixels.
    """
    axes = "b" + "hwdt"[: len(x.shape) - 2] + "c"
    y = tf.broadcast_to(x[None], [size(sigmas)[0], *size(x)])
    for axis in axes[1:-1]:
        positions = tf.range(size(x)[axes.index(axis)], dtype=tf.float32)
        width = tf.maximum(sigmas, 1e-3)[:, None, None]
        g = tf.exp(-0.5 * tf.square((positions[:, None] - positions) / width))
        g /= tf.reduce_sum(g, -1, keepdims=True)
        y = tf.einsum(f"kn{axis},k{axes}->k{axes.replace(axis, 'n')}", g, y)
    return y
