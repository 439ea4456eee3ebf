"""IDGI: the change of each step of a path, shared by the direction of the gradient."""

from typing import Any

import tensorflow as tf

from tfxai.base.tensors import (
    Tensor,
    align,
    chunk_indices,
    inside,
    merge_seeds,
    size,
)
from tfxai.base.validation import whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baselines, per_sample
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, repeat_batch, row
from tfxai.gradient.paths import result_with_completeness


@row(
    "idgi", "path", "integrated gradients, each step shared along its gradient",
    "Yang, Wang and Bilgic 2023, arXiv:2303.14242",
    formula="R = sum over the steps of g^2 / |g|^2 (f_t(x'') - f_t(x')), g the "
    "gradient at x'",
    limits="g^2 has no sign, so a feature that lowers the score while the score rises "
    "looks positive. It depends on the baseline.",
    also_in="the code of the authors",
)  # fmt: skip
def idgi(
    wrapped: ModelWrapper,
    n_steps: int = 50,
    baseline: Any = 0,
    target: Any = None,
    at: Any = None,
) -> Analyzer:
    """Return an analyzer of the sum over steps of g^2 / |g|^2 (f_t(x'') - f_t(x')).

    x' and x'' are the ends of a step on the straight line from x0 to x, g the gradient
    at x'. What a step changes against its gradient is no noise of the relevance then.
    The relevance sums to f(x) - f(x0) for any number of steps, and each step of which
    the score rises is positive everywhere. It takes `n_steps` gradients.

    Args:
        wrapped: The model.
        n_steps: Number of steps, one gradient each.
        baseline: Start x0 of the path; see `integrated_gradients`.
        target: Default target of `analyze`.
        at: Layer whose activations are explained: its name, its number in
            `model.layers`, or the layer. None is the input.

    Raises:
        OptionError: An option is out of range.

    References:
        Yang et al. 2023, arXiv:2303.14242, algorithm 1, with integrated gradients.
    """
    whole_number("n_steps", n_steps, 1)
    baseline = per_sample(baseline, wrapped.specs)

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        start = context.prepared(baselines(baseline, context.inputs))
        relevance = _sum_of_steps(context, start, n_steps)
        return result_with_completeness(context, relevance, start)

    options = {"n_steps": n_steps, "baseline": baseline}
    return analyzer("idgi", wrapped, explain, target, options, at=at)


def _sum_of_steps(
    context: GradientContext, start: list[Tensor], n_steps: int
) -> list[Tensor]:
    """Return the relevance (T, B, ...) of each point.

    The score at the end of a step is that at the begin of the next, which comes with
    its gradient. So the direction and the score of the last step are kept.
    """
    most = tf.maximum(context.max_batch // context.batch, 1)
    first = chunk_indices(n_steps, most)
    zeros = [tf.zeros([size(context.target)[1], *size(p)]) for p in context.points]
    pairs = list(zip(start, context.points, strict=True))

    def body(done: Tensor, score: Tensor, *kept: Tensor) -> tuple[Tensor, ...]:
        indices, _ = inside(done + first, n_steps)  # repeats of the last add nothing
        levels = tf.cast(indices, tf.float32) / n_steps
        at = [x0 + align(levels, x) * (x - x0) for x0, x in pairs]
        directions, scores = _directions(context, at)
        half = len(kept) // 2
        before = tf.concat([score[None], scores[:-1]], 0)
        changes = tf.transpose(scores - before, [2, 0, 1])  # (T, k, B)
        added, last = [], []
        for total, previous, d in zip(
            kept[:half], kept[half:], directions, strict=True
        ):
            shifted = tf.concat([previous[:, None], d[:, :-1]], 1)
            part = tf.reduce_sum(shifted * _broadcast(changes, d), 1)
            added.append(tf.ensure_shape(total + part, total.shape))
            last.append(tf.ensure_shape(d[:, -1], previous.shape))
        end = tf.ensure_shape(scores[-1], score.shape)
        return (done + size(first)[0], end, *added, *last)

    score = tf.zeros_like(context.score)
    _, score, *kept = tf.while_loop(
        lambda done, *_: done < n_steps,
        body,
        (tf.constant(0), score, *zeros, *zeros),
        parallel_iterations=1,
    )
    change = tf.transpose(context.score - score)
    half = len(kept) // 2
    return [
        total + last * _broadcast(change, last)
        for total, last in zip(kept[:half], kept[half:], strict=True)
    ]


def _directions(
    context: GradientContext, points: list[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Return g^2 / |g|^2 (T, k, B, ...) of points (k, B, ...), and scores (k, B, T)."""
    k = size(points[0])[0]
    g, score, _ = context.entry.gradients(
        [merge_seeds(p) for p in points],
        [repeat_batch(v, k) for v in context.model_inputs],
        tf.tile(context.target, [k, 1]),
        context.target_fn,
    )
    squares = [tf.square(v) for v in g]
    total = tf.add_n([tf.reduce_sum(v, range(2, len(v.shape))) for v in squares])
    shares = [tf.math.divide_no_nan(v, _broadcast(total, v)) for v in squares]
    shape = [k, context.batch]
    return (
        [tf.reshape(v, [size(v)[0], *shape, *size(v, 2)]) for v in shares],
        tf.reshape(score, [*shape, -1]),
    )


def _broadcast(v: Tensor, like: Tensor) -> Tensor:
    """Append axes of length 1 up to the rank of `like`."""
    return tf.reshape(v, [*size(v), *[1] * (len(like.shape) - len(v.shape))])
