"""Path methods: gradients summed along a path from a baseline to the input.

Every method here sums gradient times step, and so accounts for f(x) - f(baseline) up
to the discretisation error: `extra["change"]` is this difference, per sample and
target, and `extra["completeness"]` is sum(relevance) minus it. For tokens the path
runs between their embedding vectors.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import (
    Tensor,
    align,
    as_rows,
    chunk_indices,
    inside,
    positive,
    size,
)
from tfxai.base.validation import plain_rows, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baselines, per_sample
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, row
from tfxai.gradient.blur import blur

SUNDARARAJAN = "Sundararajan et al. 2017, arXiv:1703.01365"
#: Nodes and weights of a quadrature on [0, 1].
Quadrature = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


# -- integrated gradients ------------------------------------------------------------


def midpoint(n_steps: int) -> Quadrature:
    """Return the midpoints of equal intervals, with equal weights."""
    return (np.arange(n_steps) + 0.5) / n_steps, np.full(n_steps, 1 / n_steps)


def gauss_legendre(n_steps: int) -> Quadrature:
    """Return nodes and weights of Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    return (nodes + 1) / 2, weights / 2


def left(n_steps: int) -> Quadrature:
    """Return the left ends of equal intervals: a Riemann sum, as in iNNvestigate."""
    return np.arange(n_steps) / n_steps, np.full(n_steps, 1 / n_steps)


def trapezoid(n_steps: int) -> Quadrature:
    """Return equally spaced nodes that include both ends, by the trapezoidal rule."""
    weights = np.full(n_steps, 1 / max(n_steps - 1, 1))
    if n_steps > 1:
        weights[[0, -1]] /= 2
    return np.linspace(0, 1, n_steps), weights


QUADRATURES: Mapping[str, Callable[[int], Quadrature]] = MappingProxyType(
    {
        "midpoint": midpoint,
        "gauss_legendre": gauss_legendre,
        "left": left,
        "trapezoid": trapezoid,
    }
)


@row(
    "integrated_gradients", "path", "gradients along the straight line from a baseline",
    SUNDARARAJAN,
    formula="R = (x - x0) * mean over a in [0, 1] of d f_t / d x at x0 + a (x - x0)",
    limits="An input that equals its baseline x0 gets 0: a black object on a black "
    "baseline is invisible. Between the two, inputs are unlike all data, and the "
    "gradients there are noisy.",
    also_in="iNNvestigate, Zennit, Captum, Xplique, saliency, tf-explain, Alibi",
)  # fmt: skip
def integrated_gradients(
    wrapped: ModelWrapper,
    n_steps: int = 50,
    baseline: Any = 0,
    quadrature: str = "gauss_legendre",
    target: Any = None,
    relu: bool = False,
    background: Any = None,
    at: Any = None,
) -> Analyzer:
    """Return an analyzer of (x - x0) * mean over a of d f_t / d x at x0 + a (x - x0).

    The input moves from the baseline x0 to x along a straight line, and each feature
    collects its gradient times its move. The relevance sums to f(x) - f(x0).

    The mean is over 0 < a < 1, and over the rows of a background.

    Args:
        wrapped: The model.
        n_steps: Number of points on the path, one gradient each.
        baseline: Start x0 of the path, in the units of the raw input (before
            `preprocess`). A number (for tokens: a token id), an array without batch
            axis or with one baseline for each sample, or "zero", "min", "max" or "mean"
            of the sample; a list of these for several inputs.
        quadrature: Rule that places the points: "gauss_legendre", "midpoint",
            "trapezoid" or "left". On real networks "gauss_legendre" has the smallest
            completeness error (`tests.benchmarks.completeness`).
        target: Default target of `analyze`.
        relu: Keep positive relevance only, as the SGLRP repository. `extra` has the
            completeness of the relevance with both signs.
        background: Examples like x, a path from each: an array (m, ...), for several
            inputs a list of arrays, or a `tf.data.Dataset`. The relevance is the mean
            over them, in m times as many gradients.
        at: Layer whose activations are explained in place of the input: its name, its
            number in `model.layers`, or the layer; `inputs` of the explanation are the
            activations. The path runs between those of x0 and x.

    Raises:
        OptionError: An option is out of range, or baseline and background are given.

    References:
        Sundararajan et al. 2017, arXiv:1703.01365, eq. 1.
    """
    whole_number("n_steps", n_steps, 1)
    if background is not None and not (np.isscalar(baseline) and baseline == 0):
        raise OptionError(
            "baseline and background are both given.",
            "where the paths begin: one of them",
            "background=x_train[:100]",
        )
    if quadrature not in QUADRATURES:
        raise OptionError(
            f"quadrature={quadrature!r}.",
            f"one of {list(QUADRATURES)}",
            'quadrature="gauss_legendre"',
        )
    baseline = per_sample(baseline, wrapped.specs)
    nodes, weights = (
        tf.constant(v, tf.float32) for v in QUADRATURES[quadrature](n_steps)
    )

    starts = None if background is None else Examples(wrapped, background)

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        if starts is not None:
            result = starts.explained(context, nodes, weights)
            return _positive(result) if relu else result
        start = context.prepared(baselines(baseline, context.inputs))
        differences = [x - x0 for x, x0 in zip(context.points, start, strict=True)]

        def points(i: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            at, share = tf.gather(nodes, i), tf.gather(weights, i)
            pairs = list(zip(start, differences, strict=True))
            return [x0 + align(at, d) * d for x0, d in pairs], [
                align(share, d) for d in differences
            ]

        sums = context.sum_gradients(n_steps, points)
        relevance = [d * s for d, s in zip(differences, sums, strict=True)]
        result = result_with_completeness(context, relevance, start)
        return _positive(result) if relu else result

    options: dict[str, Any] = {
        "n_steps": n_steps,
        "quadrature": quadrature,
        "baseline": baseline,
    }
    if relu:
        options["relu"] = True
    return analyzer("integrated_gradients", wrapped, explain, target, options, at=at)


def _positive(result: dict[str, Any]) -> dict[str, Any]:
    """The result with positive relevance only."""
    return {**result, "relevance": [positive(r) for r in result["relevance"]]}


class Examples:
    """Examples from which paths begin, in variables that the graphs share."""

    def __init__(self, wrapped: ModelWrapper, background: Any) -> None:
        plain_rows(background)
        examples = wrapped.checked(background, "background")
        self.count = len(examples[0])
        self._variables = [tf.Variable(v, trainable=False) for v in examples]

    def rows(self, context: GradientContext, which: Tensor) -> list[Tensor]:
        """Return the preprocessed examples with these numbers (k,)."""
        pairs = zip(self._variables, context.inputs, strict=True)
        raw = [tf.cast(tf.gather(v, which), x.dtype) for v, x in pairs]
        return context.wrapped.prepared(raw)

    def starts(self, context: GradientContext, which: Tensor) -> list[Tensor]:
        """Return the points (k, 1, ...) of the examples with these numbers (k,)."""
        points = context.entry.to_points(self.rows(context, which))
        return [v[:, None] for v in points]

    def explained(
        self, context: GradientContext, nodes: Tensor, weights: Tensor
    ) -> dict[str, Any]:
        """Return the mean of integrated gradients over all examples."""
        n_steps, m = len(nodes), self.count

        def points(i: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            at, share = tf.gather(nodes, i % n_steps), tf.gather(weights, i % n_steps)
            starts = self.starts(context, i // n_steps)
            pairs = list(zip(starts, context.points, strict=True))
            return [x0 + align(at, x) * (x - x0) for x0, x in pairs], [
                align(share, x) * (x - x0) / m for x0, x in pairs
            ]

        mean = mean_scores(context, lambda i: self.rows(context, i), m)
        relevance = context.sum_gradients(n_steps * m, points)
        return result_with_completeness(context, relevance, mean=mean)


def mean_scores(
    context: GradientContext, drawn: Callable[[Tensor], list[Tensor]], n_samples: int
) -> Tensor:
    """Return the mean score (B, T) of each target over all drawn examples."""
    target_fn = context.target_fn

    first = chunk_indices(n_samples, context.max_batch)

    def body(done: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        indices, used = inside(done + first, n_samples)
        part = drawn(indices)
        y = context.entry.outputs(context.entry.to_points(part), part)
        scores = as_rows(y) if target_fn is None else target_fn(y)
        total += tf.reduce_sum(scores * align(used, scores[0]), 0)
        return done + size(first)[0], total

    y = context.entry.outputs(context.points, context.model_inputs)
    total = tf.zeros([]) if target_fn else tf.zeros(tf.reduce_prod(tf.shape(y)[1:]))
    shapes = (tf.TensorShape([]), tf.TensorShape([] if target_fn else [None]))
    _, total = tf.while_loop(
        lambda done, _: done < n_samples,
        body,
        (tf.constant(0), total),
        shapes,
        parallel_iterations=1,
    )
    if target_fn is not None:
        return tf.broadcast_to(total / n_samples, tf.shape(context.target))
    return tf.gather(total / n_samples, context.target)


# -- blur integrated gradients -------------------------------------------------------


@row(
    "blur_integrated_gradients", "path", "gradients along a path of blurred images",
    "Xu et al. 2020, arXiv:2004.03383",
    formula="R = sum over s from sigma to 0 of d f_t / d x at blur(x, s) * the change "
    "of blur(x, s)",
    limits="Evidence that blurring does not remove, such as large areas of one "
    "colour, gets no relevance. For images and series only.",
    also_in="saliency",
)  # fmt: skip
def blur_integrated_gradients(
    wrapped: ModelWrapper,
    n_steps: int = 50,
    sigma: float | None = None,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of gradients at blur(x, s) times the change of blur(x, s).

    The sum runs over s from sigma to 0. The blur acts on all axes between batch and
    channels.

    Args:
        wrapped: The model.
        n_steps: Number of steps on the path.
        sigma: Standard deviation of the widest Gaussian, in pixels. None is a quarter
            of the longest side.
        target: Default target of `analyze`.

    Raises:
        OptionError: An option is out of range.
        InputError: The input is neither an image nor a series (raised by `analyze`).

    References:
        Xu et al. 2020, arXiv:2004.03383, eq. 5.
    """
    wrapped.check_channels_last("blur_integrated_gradients")
    whole_number("n_steps", n_steps, 1)
    good = isinstance(sigma, int | float | None) and sigma is not True
    if not good or (sigma is not None and not 0 < sigma < np.inf):
        raise OptionError(f"sigma={sigma!r}.", "a number of pixels above 0, or None")

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        _check_blurrable(context)
        sides = [tf.reduce_max(size(x)[1:-1]) for x in context.points]
        widest = [sigma or tf.cast(side, tf.float32) / 4 for side in sides]

        def blurred(level: Tensor) -> list[Tensor]:
            """Return (k, B, ...); level 0 has the widest blur, `n_steps` has none."""
            left = 1 - tf.cast(level, tf.float32) / n_steps
            return [
                blur(x, left * s) for x, s in zip(context.points, widest, strict=True)
            ]

        def points(i: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            before, after = blurred(i), blurred(i + 1)
            middle = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
            return middle, [b - a for a, b in zip(before, after, strict=True)]

        start = [v[0] for v in blurred(tf.zeros([1], tf.int32))]
        relevance = context.sum_gradients(n_steps, points)
        return result_with_completeness(context, relevance, start)

    options = {"n_steps": n_steps, "sigma": sigma}
    return analyzer("blur_integrated_gradients", wrapped, explain, target, options)


def _check_blurrable(context: GradientContext) -> None:
    """Raise InputError for tokens and for inputs without a spatial axis."""
    for x, tokens in zip(context.points, context.entry.tokens, strict=True):
        if tokens or len(x.shape) < 3:
            raise InputError(
                f"An input of shape {tuple(x.shape)} cannot be blurred.",
                "images or series: (B, ..., channels)",
                'method="integrated_gradients"',
            )


# -- shared parts --------------------------------------------------------------------


def result_with_completeness(
    context: GradientContext,
    relevance: list[Tensor],
    start: list[Tensor] | None = None,
    mean: Tensor | None = None,
) -> dict[str, Any]:
    """Return the result dict with `change` and `completeness`.

    Args:
        context: The context of the batch.
        relevance: One tensor (T, B, ...) per point.
        start: The points of the baseline.
        mean: Scores (B, T) to subtract from f(x), where there is no single baseline.
    """
    initial = mean if start is None else context.scores(start)
    total = tf.add_n(
        [tf.reduce_sum(r, list(range(2, len(r.shape)))) for r in relevance]
    )
    change = context.score - initial
    completeness = tf.transpose(total) - change
    return context.result(relevance, completeness=completeness, change=change)
