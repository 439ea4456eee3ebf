"""Noisy copies of a batch, and the moments of relevance over them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, align, chunk_indices, inside, size
from tfxai.core.intervals import SHARED, with_interval


def interval(
    relevance: list[Tensor], errors: list[Tensor], freedom: int
) -> dict[str, Tensor]:
    """Return standard errors and 95 % intervals (B, T, ...), for `extra`.

    Args:
        relevance: Means (T, B, ...) of each input.
        errors: Their standard errors.
        freedom: The degrees of freedom of Student's t.
    """
    found = {}
    for i, (value, error) in enumerate(zip(relevance, errors, strict=True)):
        parts = with_interval(value, error, freedom)
        order = [1, 0, *range(2, len(value.shape))]
        for name, array in parts.items():
            key = f"{name}_{i}" if len(errors) > 1 else name
            found[key] = tf.transpose(tf.cast(array, tf.float32), order)
    return found


def error_of_mean(spread: Tensor, count: int) -> Tensor:
    """Return the standard errors (T, B, ...) of means of `count` draws.

    Gradients have rare large values, and a variance from draws without one is too
    small. So each variance has a small share of the mean variance of its map.

    Args:
        spread: Sums of the squares of draws minus their mean, (T, B, ...).
        count: Number of draws; the error of one is NaN.

    References:
        Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3.
    """
    if count < 2:
        return tf.fill(tf.shape(spread), tf.constant(np.nan, spread.dtype))
    axes = list(range(2, len(spread.shape)))
    shared = tf.reduce_mean(spread, axes, keepdims=True) / (count - 1)
    variance = (spread + SHARED * shared) / (count - 1 + SHARED)
    return tf.sqrt(variance / count)


class NoisyCopies:
    """Noisy copies of inputs (B, ...); draw i is the same however draws are chunked."""

    def __init__(self, inputs: list[Tensor], noise: float, seed: int) -> None:
        self.inputs, self.seed = [tf.cast(x, tf.float32) for x in inputs], seed
        self.deviations = []
        for x in self.inputs:
            axes = list(range(1, len(x.shape)))
            high, low = (
                f(x, axes, keepdims=True) for f in (tf.reduce_max, tf.reduce_min)
            )
            self.deviations.append(noise * (high - low))

    def __call__(self, i: Tensor) -> list[Tensor]:
        """Return draws i (k,) of every sample, merged to (k B, ...)."""
        copies = []
        for number, (x, deviation) in enumerate(
            zip(self.inputs, self.deviations, strict=True)
        ):
            shape = size(x, 1)
            drawn = tf.map_fn(
                lambda j, number=number, shape=shape: tf.random.stateless_normal(
                    shape, [self.seed + 7919 * number, j]
                ),
                i,
                fn_output_signature=tf.float32,
            )
            noisy = x + deviation * drawn[:, None]
            copies.append(tf.reshape(noisy, [-1, *shape]))
        return copies


def sum_moments(
    base_relevance: Callable[..., Any],
    draws: NoisyCopies,
    target: Tensor,
    n_samples: int,
    max_batch: Tensor,
    centred: bool,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return sums over the draws of R - c and of its square, and c, (T, B, ...) each.

    Args:
        base_relevance: Compiled function (inputs, target, max_batch) -> result dict.
        draws: The noisy copies.
        target: Class indices (B, T) of the inputs without noise.
        n_samples: Number of draws.
        max_batch: Number of samples that may be evaluated at once.
        centred: c is the mean of the first draws, which avoids cancellation in the
            variance; else it is 0.
    """
    batch, n_targets = size(target)
    first_draws = chunk_indices(
        n_samples, tf.maximum(max_batch // (batch * n_targets), 1)
    )
    (k,) = size(first_draws)

    def relevance_of(i: Tensor) -> list[Tensor]:
        """Return the relevance (T, k, B, ...) of draws i (k,)."""
        result = base_relevance(draws(i), tf.tile(target, [k, 1]), max_batch)
        return [
            tf.reshape(r, [n_targets, k, batch, *size(r, 2)])
            for r in result["relevance"]
        ]

    first = relevance_of(first_draws)
    centres = [
        tf.reduce_mean(r, 1) if centred else tf.zeros_like(r[:, 0]) for r in first
    ]

    def sums(
        relevance: list[Tensor], used: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        shifted = [
            (r - c[:, None]) * align(used, r[0, 0])
            for r, c in zip(relevance, centres, strict=True)
        ]
        return (
            [tf.reduce_sum(r, 1) for r in shifted],
            [tf.reduce_sum(tf.square(r), 1) for r in shifted],
        )

    def body(done: Tensor, total: list[Tensor], squares: list[Tensor]) -> Any:
        i, used = inside(done + first_draws, n_samples)
        added = sums(relevance_of(i), used)
        total, squares = (
            [tf.ensure_shape(a + b, a.shape) for a, b in zip(*pair, strict=True)]
            for pair in zip((total, squares), added, strict=True)
        )
        return done + k, total, squares

    start = (k, *sums(first, tf.ones([k])))
    _, total, squares = tf.while_loop(
        lambda done, *_: done < n_samples, body, start, parallel_iterations=1
    )
    return total, squares, centres
