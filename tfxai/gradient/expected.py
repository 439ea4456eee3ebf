"""Expected gradients: integrated gradients from randomly drawn baselines."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, align
from tfxai.base.validation import whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import NEEDS, GradientContext, analyzer, row
from tfxai.gradient.noise import error_of_mean, interval
from tfxai.gradient.paths import Examples, mean_scores, result_with_completeness

#: Number of groups of draws whose means tell the standard error.
GROUPS = 10


@row(
    "expected_gradients", "path", "integrated gradients from randomly drawn baselines",
    "Erion et al. 2021, arXiv:1906.10670",
    f"{NEEDS}; `background=`, examples like x",
    formula="R = mean over x0 in background, a in [0, 1] of (x - x0) * d f_t / d x at "
    "x0 + a (x - x0)",
    limits='The result depends on the background, and has sampling noise: see '
    'extra["standard_error"]. Points between two examples may be unlike all data.',
    also_in="SHAP (GradientExplainer), Captum (GradientShap)",
)  # fmt: skip
def expected_gradients(
    wrapped: ModelWrapper,
    background: Any = None,
    n_samples: int = 100,
    seed: int = 0,
    target: Any = None,
    at: Any = None,
) -> Analyzer:
    """Return an analyzer of the mean of (x - x0) * d f_t / d x at x0 + a (x - x0).

    Each random draw takes x0 from `background` and a from [0, 1]. The draws are the
    same for every sample. `extra["completeness"]` compares with f(x) minus the mean of
    f over the drawn x0. extra["standard_error"], "interval_low" and "interval_high"
    (B, ...), of 95 %, follow from ten groups of draws, of several inputs
    "standard_error_0" and so on. They are too large where the background has about
    n_samples examples, which are then drawn once each.

    Args:
        wrapped: The model.
        background: Examples that serve as baselines, an array like `x`. A list of
            arrays for several inputs.
        n_samples: Number of random draws.
        seed: Seed of the draws.
        target: Default target of `analyze`.
        at: Layer whose activations are explained in place of the input: its name, its
            number in `model.layers`, or the layer. Paths run between the activations.

    Raises:
        OptionError: There is no background, or an option is out of range.

    References:
        Erion et al. 2021, arXiv:1906.10670.
    """
    whole_number("n_samples", n_samples, 1)
    if background is None:
        raise OptionError(
            "expected_gradients has no background.",
            "examples of the inputs that the network usually receives, like x",
            'create_analyzer("expected_gradients", model, background=x_train[:100])',
        )
    examples = Examples(wrapped, background)
    chosen, nodes, ends = drawn(n_samples, examples.count, seed)
    groups, starts = len(ends) - 1, tf.constant(ends[:-1], tf.int32)
    sizes = tf.constant(np.diff(ends), tf.int32)

    def rows(context: GradientContext, i: Tensor) -> list[Tensor]:
        """Return the preprocessed examples of draws i (k,)."""
        return examples.rows(context, tf.gather(tf.constant(chosen), i))

    def mean_of(context: GradientContext, group: Tensor) -> list[Tensor]:
        """Return the mean over one group of draws, (T, B, ...) per point."""
        first, count = tf.gather(starts, group), tf.gather(sizes, group)

        def points(i: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            draws = tf.minimum(first + i, n_samples - 1)
            share = tf.cast(i < count, tf.float32) / tf.cast(count, tf.float32)
            at = tf.gather(tf.constant(nodes, tf.float32), draws)
            x0s = examples.starts(context, tf.gather(tf.constant(chosen), draws))
            both = list(zip(x0s, context.points, strict=True))
            return [x0 + align(at, x) * (x - x0) for x0, x in both], [
                align(share, x) * (x - x0) for x0, x in both
            ]

        return context.sum_gradients(int(max(np.diff(ends))), points)

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()

        def body(group: Tensor, means: Any, maps: Any, squares: Any) -> Any:
            """Welford's update of the means of points, of maps, and their squares."""
            found = mean_of(context, group)
            part = tf.cast(tf.gather(sizes, group), tf.float32) / n_samples
            new = context.entry.to_inputs(found)
            done = tf.cast(group, tf.float32)
            gaps = [a - m for a, m in zip(new, maps, strict=True)]
            maps = [m + g / (done + 1) for m, g in zip(maps, gaps, strict=True)]
            squares = [
                q + tf.square(g) * done / (done + 1)
                for q, g in zip(squares, gaps, strict=True)
            ]
            means = [m + part * a for m, a in zip(means, found, strict=True)]
            return group + 1, means, maps, squares

        count = context.target.shape[1] or tf.shape(context.target)[1]
        zeros = [tf.zeros([count, *tf.unstack(tf.shape(p))]) for p in context.points]
        zeros = [
            tf.ensure_shape(z, [context.target.shape[1], *p.shape])
            for z, p in zip(zeros, context.points, strict=True)
        ]
        flat = context.entry.to_inputs(zeros)
        _, relevance, _, squares = tf.while_loop(
            lambda group, *_: group < groups, body,
            (tf.constant(0), zeros, flat, list(flat)), parallel_iterations=1,
        )  # fmt: skip
        mean = mean_scores(context, lambda i: rows(context, i), n_samples)
        result = result_with_completeness(context, relevance, mean=mean)
        errors = [error_of_mean(q, groups) for q in squares]
        return result | interval(result["relevance"], errors, groups - 1)

    options = {"n_samples": n_samples, "seed": seed}
    return analyzer("expected_gradients", wrapped, explain, target, options, at=at)


def drawn(
    n_samples: int, n_examples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return examples (n,) and positions (n,) of the draws, and the ends of groups.

    Examples are used equally often. In each group the positions are stratified.

    Args:
        n_samples: Number of draws n.
        n_examples: Number of examples.
        seed: Seed of the draws.
    """
    rng, groups = np.random.default_rng(seed), min(GROUPS, n_samples)
    order = np.resize(rng.permutation(n_examples), n_samples)
    ends = np.arange(groups + 1) * n_samples // groups
    parts = [rng.permutation((np.arange(m) + rng.random(m)) / m) for m in np.diff(ends)]
    return order, np.concatenate(parts), ends
