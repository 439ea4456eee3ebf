"""Guided integrated gradients: the path moves the features of small gradients first.

References:
    Kapishnikov et al. 2021, arXiv:2106.09788.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import Tensor, counts_of, size
from tfxai.base.validation import whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baselines, per_sample
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, repeat_batch, row
from tfxai.gradient.paths import result_with_completeness


@row(
    "guided_integrated_gradients", "path",
    "gradients along a path that moves features of small gradients first",
    "Kapishnikov et al. 2021, arXiv:2106.09788",
    formula="R = sum over the steps of the path of d f_t / d x * dx; at each step the "
    "features of the smallest |gradient| move",
    limits="The path follows the model, so two models that compute the same function "
    "can get different maps. It depends on the baseline.",
    also_in="saliency",
)  # fmt: skip
def guided_integrated_gradients(
    wrapped: ModelWrapper,
    n_steps: int = 50,
    baseline: Any = 0,
    fraction: float = 0.25,
    distance: float = 0.02,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of integrated gradients on an adaptive path.

    At every step the features with the smallest absolute gradients move towards x, a
    `fraction` of all features at a time, until a share 1 / n_steps of the whole L1
    distance is covered. A feature is one number of the input; for tokens it is one
    number of their embedding vectors.

    Args:
        wrapped: The model.
        n_steps: Number of steps on the path.
        baseline: Start of the path, in the units of the raw input; see
            `integrated_gradients`.
        fraction: Share of the features that move at a time, in (0, 1].
        distance: Largest deviation of a feature from the straight line, ahead or
            behind, as a share of its whole way, in (0, 1].
        target: Default target of `analyze`.

    Raises:
        OptionError: An option is out of range.
        InputError: The input shape of the model is not fixed (raised by `analyze`).

    References:
        Kapishnikov et al. 2021, arXiv:2106.09788, algorithm 1, with anchors.
    """
    whole_number("n_steps", n_steps, 1)
    for name, value in (("fraction", fraction), ("distance", distance)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value <= 1:
            raise OptionError(f"{name}={value!r}.", "a number above 0 and at most 1")
    baseline = per_sample(baseline, wrapped.specs)

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        start = context.prepared(baselines(baseline, context.inputs))
        relevance = _integrate(context, start, n_steps, fraction, distance)
        return result_with_completeness(context, relevance, start)

    options = {"n_steps": n_steps, "fraction": fraction, "distance": distance}
    options["baseline"] = baseline
    return analyzer("guided_integrated_gradients", wrapped, explain, target, options)


def _integrate(
    context: GradientContext,
    start: list[Tensor],
    n_steps: int,
    fraction: float,
    distance: float,
) -> list[Tensor]:
    """Return the relevance (T, B, ...) of each point.

    Every pair of a target and a sample is one row of a matrix (T B, features), and
    follows its own path.
    """
    _check_fixed_shape(context)
    n_targets, batch = size(context.target)[1], context.batch
    target = tf.reshape(tf.transpose(context.target), [-1, 1])
    inputs = [repeat_batch(v, n_targets) for v in context.model_inputs]
    widths = [int(np.prod(p.shape[1:])) for p in context.points]

    def as_matrix(parts: list[Tensor]) -> Tensor:
        flat = [tf.reshape(p, [batch, n]) for p, n in zip(parts, widths, strict=True)]
        return tf.tile(tf.concat(flat, -1), [n_targets, 1])

    def gradient(at: Tensor) -> Tensor:
        pairs = zip(tf.split(at, widths, -1), context.points, strict=True)
        points = [tf.reshape(v, [-1, *p.shape[1:]]) for v, p in pairs]
        grads, _, _ = context.entry.gradients(points, inputs, target, context.target_fn)
        flat = [tf.reshape(g, [-1, n]) for g, n in zip(grads, widths, strict=True)]
        return tf.concat(flat, -1)

    path = _GuidedPath(
        as_matrix(start), as_matrix(context.points), n_steps, fraction, distance
    )
    _, _, sums = tf.while_loop(
        lambda i, *_: i <= n_steps,
        lambda i, at, sums: (i + 1, *path.step(i, at, sums, gradient(at))),
        (tf.constant(1), path.start, tf.zeros_like(path.start)),
        parallel_iterations=1,
    )
    return [
        tf.reshape(v, [n_targets, batch, *p.shape[1:]])
        for v, p in zip(tf.split(sums, widths, -1), context.points, strict=True)
    ]


def _check_fixed_shape(context: GradientContext) -> None:
    """Raise InputError where the number of features is unknown at trace time."""
    shapes = [tuple(p.shape) for p in context.points]
    if any(None in shape[1:] for shape in shapes):
        raise InputError(
            f"The model leaves the shape of its input open: {shapes}.",
            "a model whose input shape is fixed, to rank its features",
            'method="integrated_gradients"',
        )


class _GuidedPath:
    """Paths of rows (N, features) from `start` to `end`, smallest gradients first."""

    def __init__(
        self,
        start: Tensor,
        end: Tensor,
        n_steps: int,
        fraction: float,
        distance: float,
    ) -> None:
        self.start, self.end, self.difference = start, end, end - start
        self.n_steps, self.distance = n_steps, distance
        self.total = tf.reduce_sum(tf.abs(self.difference), -1, keepdims=True)
        self.n_moved = 1 + int(counts_of(fraction, start.shape[-1] - 1))
        self.max_rounds = int(np.ceil(1 / fraction)) + 2

    def step(self, i: Tensor, at: Tensor, sums: Tensor, gradient: Tensor) -> Any:
        """Return the position and the sums once a share i / n_steps is covered."""
        share = tf.cast(i, tf.float32) / self.n_steps
        low = tf.maximum(share - self.distance, 0.0)
        high = tf.minimum(share + self.distance, 1.0)
        lowest = self.start + low * self.difference
        highest = self.start + high * self.difference
        wanted = self.total * (1 - share)

        def move(number: Tensor, at: Tensor, sums: Tensor, active: Tensor) -> Any:
            covered = tf.math.divide_no_nan(at - self.start, self.difference)
            late = (covered < low) & (self.difference != 0)
            old = tf.where(late, lowest, at)
            left = tf.reduce_sum(tf.abs(old - self.end), -1, keepdims=True)
            missing = left - wanted
            active &= missing > 1e-6 * self.total
            free = old != highest
            sizes = tf.where(free, tf.abs(gradient), np.inf)
            limit = -tf.math.top_k(-sizes, self.n_moved).values[:, -1:]
            chosen = free & (sizes <= limit)
            ahead = tf.where(chosen, highest - old, 0.0)
            gain = tf.reduce_sum(tf.abs(ahead), -1, keepdims=True)
            part = tf.math.divide_no_nan(missing, gain)
            full = part >= 1
            new = tf.where(
                full & chosen, highest, old + tf.clip_by_value(part, 0.0, 1.0) * ahead
            )
            new = tf.where(active, new, old)
            return number + 1, new, sums + (new - at) * gradient, active & full

        _, at, sums, _ = tf.while_loop(
            lambda number, at, sums, active: (
                (number < self.max_rounds) & tf.reduce_any(active)
            ),
            move,
            (tf.constant(0), at, sums, tf.ones_like(self.total, tf.bool)),
            parallel_iterations=1,
        )
        return at, sums
