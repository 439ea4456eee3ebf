"""Gradients summed along a path from a baseline to the input.

Every method here sums slopes times steps, and so accounts for f(x) - f(baseline) up to
the error of its steps: `extra["change"]` is that difference, per sample and target,
and `extra["completeness"]` sum(relevance) less it. Of tokens the path runs between
their vectors.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import Tensor, as_rows, size
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baselines
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import NEEDS, Asked, analyzer, row

SUNDARARAJAN = "Sundararajan et al. 2017, arXiv:1703.01365"


# -- integrated gradients ------------------------------------------------------------


def midpoint(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]: the middles of equal parts."""
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


def gauss_legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre's quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


def left(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The left ends of equal parts: a Riemann sum, as in iNNvestigate."""
    return np.arange(steps) / steps, np.full(steps, 1 / steps)


def trapezoid(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Both ends and equal parts between them."""
    weights = np.full(steps, 1 / max(steps - 1, 1))
    if steps > 1:
        weights[[0, -1]] /= 2
    return np.linspace(0, 1, steps), weights


QUADRATURES: Mapping[str, Callable] = MappingProxyType(
    {
        "midpoint": midpoint,
        "gauss_legendre": gauss_legendre,
        "left": left,
        "trapezoid": trapezoid,
    }
)


@row(
    "integrated_gradients", "path", "slopes along the straight line from a baseline",
    SUNDARARAJAN,
)  # fmt: skip
def integrated_gradients(
    wrapped: ModelWrapper,
    steps: int = 50,
    baseline: Any = 0,
    quadrature: str = "gauss_legendre",
    target: Any = None,
) -> Analyzer:
    """(x - x0) * mean of d f_t / d x at x0 + a (x - x0), 0 < a < 1; eq. 1.

    steps: slopes taken. baseline: x0 in the units of `x`, before `preprocess`: a number
        (of a token, for tokens), an array without batch axis, "zero", "min", "max" or
        "mean" of the sample; a list of these for several inputs.
    quadrature: where on the line: "gauss_legendre" (the default: on real networks it
        left the least unexplained, `tests.benchmarks.completeness`), "midpoint",
        "trapezoid" or "left".
    """
    check_count("steps", steps)
    if quadrature not in QUADRATURES:
        raise OptionError(
            f"quadrature={quadrature!r}.",
            f"one of {list(QUADRATURES)}",
            'quadrature="gauss_legendre"',
        )
    nodes, weights = (
        tf.constant(v, tf.float32) for v in QUADRATURES[quadrature](steps)
    )

    def explain(asked: Asked) -> dict[str, Any]:
        asked.resolve()
        start = asked.prepared(baselines(baseline, asked.inputs))
        ways = [x - x0 for x, x0 in zip(asked.points, start, strict=True)]

        def points(i: Tensor) -> tuple[list, list]:
            at, share = tf.gather(nodes, i), tf.gather(weights, i)
            pairs = list(zip(start, ways, strict=True))
            return [x0 + fit(at, w) * w for x0, w in pairs], [
                fit(share, w) for w in ways
            ]

        sums = asked.summed(steps, points)
        maps = [w * s for w, s in zip(ways, sums, strict=True)]
        return complete(asked, maps, start)

    options = {"steps": steps, "quadrature": quadrature, "baseline": baseline}
    return analyzer("integrated_gradients", wrapped, explain, target, options)


@row(
    "expected_gradients", "path", "integrated gradients from many baselines, by chance",
    "Erion et al. 2021, arXiv:1906.10670",
    f"{NEEDS}; `background=`, examples like x",
)  # fmt: skip
def expected_gradients(
    wrapped: ModelWrapper,
    background: Any = None,
    n: int = 100,
    seed: int = 0,
    target: Any = None,
) -> Analyzer:
    """Mean of (x - x0) * slope at x0 + a (x - x0), x0 from `background`, a from [0, 1].

    background: examples like `x` (a list of arrays for several inputs). n: draws, the
        same for every sample. completeness is against the mean of f over the draws.
    """
    check_count("n", n)
    if background is None:
        raise OptionError(
            "expected_gradients has no background.",
            "examples of what the network usually sees, like x",
            'create_analyzer("expected_gradients", model, background=x_train[:100])',
        )
    rng, examples = np.random.default_rng(seed), wrapped.checked(background)
    # Each example in turn, and a stratified, in an order of chance.
    chosen = rng.permutation(np.resize(rng.permutation(len(examples[0])), n))
    nodes = tf.constant(rng.permutation((np.arange(n) + rng.random(n)) / n), tf.float32)
    held = [tf.Variable(v, trainable=False) for v in examples]

    def explain(asked: Asked) -> dict[str, Any]:
        asked.resolve()

        def drawn(i: Tensor) -> list[Tensor]:
            """The prepared examples of draws i (k,)."""
            which = tf.gather(tf.constant(chosen), i)
            pairs = zip(held, asked.inputs, strict=True)
            raw = [tf.cast(tf.gather(v, which), x.dtype) for v, x in pairs]
            return asked.wrapped.prepared(raw)

        def points(i: Tensor) -> tuple[list, list]:
            at, here = tf.gather(nodes, i), asked.entry.enter(drawn(i))
            starts = [v[:, None] for v in here]
            ways = [x - x0 for x, x0 in zip(asked.points, starts, strict=True)]
            parts = zip(starts, ways, asked.points, strict=True)
            return [x0 + fit(at, x) * w for x0, w, x in parts], [w / n for w in ways]

        mean = _mean_scores(asked, drawn, n)
        return complete(asked, asked.summed(n, points), mean=mean)

    options = {"n": n, "seed": seed}
    return analyzer("expected_gradients", wrapped, explain, target, options)


@row(
    "blur_integrated_gradients", "path", "slopes along the way from a blurred picture",
    "Xu et al. 2020, arXiv:2004.03383",
)  # fmt: skip
def blur_integrated_gradients(
    wrapped: ModelWrapper,
    steps: int = 50,
    sigma: float | None = None,
    target: Any = None,
) -> Analyzer:
    """Sum of slope at blur(x, s) times the step of blur(x, s), s from sigma to 0.

    Eq. 5, in scale space, along all axes between batch and channels. sigma: the widest
    Gaussian, in pixels (a quarter of the longest side unless told).
    """
    wrapped.check_channels_last("blur_integrated_gradients")
    check_count("steps", steps)
    good = isinstance(sigma, int | float | None) and sigma is not True
    if not good or (sigma is not None and not 0 < sigma < np.inf):
        raise OptionError(f"sigma={sigma!r}.", "a number of pixels above 0, or None")

    def explain(asked: Asked) -> dict[str, Any]:
        asked.resolve()
        for x, whole in zip(asked.points, asked.entry.tokens, strict=True):
            if whole or len(x.shape) < 3:
                raise InputError(
                    f"An input of shape {tuple(x.shape)} cannot be blurred.",
                    "pictures or series: (B, ..., channels)",
                    'method="integrated_gradients"',
                )
        sides = [tf.reduce_max(size(x)[1:-1]) for x in asked.points]
        widest = [sigma or tf.cast(side, tf.float32) / 4 for side in sides]

        def blurred(level: Tensor) -> list[Tensor]:
            """Level 0 is the widest, `steps` the sharp picture, (k, B, ...)."""
            left = 1 - tf.cast(level, tf.float32) / steps
            return [
                blur(x, left * s) for x, s in zip(asked.points, widest, strict=True)
            ]

        def points(i: Tensor) -> tuple[list, list]:
            here, there = blurred(i), blurred(i + 1)
            middle = [(a + b) / 2 for a, b in zip(here, there, strict=True)]
            return middle, [b - a for a, b in zip(here, there, strict=True)]

        start = [v[0] for v in blurred(tf.zeros([1], tf.int32))]
        return complete(asked, asked.summed(steps, points), start)

    options = {"steps": steps, "sigma": sigma}
    return analyzer(
        "blur_integrated_gradients", wrapped, explain, target, options,
    )  # fmt: skip


# -- what they share -----------------------------------------------------------------


def complete(
    asked: Asked, maps: list[Tensor], start: Any = None, mean: Tensor | None = None
) -> dict[str, Any]:
    """The result, with what the maps leave unexplained of f(x) - f(start).

    mean: the scores (B, T) to set against f(x), where there is no one baseline.
    """
    there = asked.scores(start) if mean is None else mean
    total = tf.add_n([tf.reduce_sum(m, list(range(2, len(m.shape)))) for m in maps])
    change = asked.score - there
    return asked.result(maps, completeness=tf.transpose(total) - change, change=change)


def check_count(name: str, value: Any) -> None:
    """A whole number of at least 1, or an error."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise OptionError(f"{name}={value!r}.", "a whole number of at least 1")


def fit(v: Tensor, like: Tensor) -> Tensor:
    """(k,) -> (k, 1, ...), to multiply `like` (B, ...) with and get (k, B, ...)."""
    return tf.reshape(v, [-1, *[1] * len(like.shape)])


def blur(x: Tensor, sigmas: Tensor) -> Tensor:
    """(B, ..., C) blurred by Gaussians of widths (k,) in pixels: (k, B, ..., C).

    One matrix for each axis; its rows sum to 1, so that borders keep their brightness.
    """
    axes = "b" + "hwdt"[: len(x.shape) - 2] + "c"
    y = tf.broadcast_to(x[None], [size(sigmas)[0], *size(x)])
    for axis in axes[1:-1]:
        places = tf.range(size(x)[axes.index(axis)], dtype=tf.float32)
        width = tf.maximum(sigmas, 1e-3)[:, None, None]
        g = tf.exp(-0.5 * tf.square((places[:, None] - places) / width))
        g /= tf.reduce_sum(g, -1, keepdims=True)
        y = tf.einsum(f"kn{axis},k{axes}->k{axes.replace(axis, 'n')}", g, y)
    return y


def _mean_scores(asked: Asked, drawn: Callable, n: int) -> Tensor:
    """The mean of each target's score over n draws of examples, (B, T)."""
    function = asked.function

    def body(done: Tensor, total: Tensor) -> tuple:
        part = drawn(tf.range(done, tf.minimum(done + asked.max_batch, n)))
        y = asked.entry.outputs(asked.entry.enter(part), part)
        made = as_rows(y) if function is None else function(y)
        return done + asked.max_batch, total + tf.reduce_sum(made, 0)

    y = asked.entry.outputs(asked.points, asked.seen)
    shape = tf.zeros([]) if function else tf.zeros(tf.reduce_prod(tf.shape(y)[1:]))
    shapes = (tf.TensorShape([]), tf.TensorShape([] if function else [None]))
    start = (tf.constant(0), shape)
    _, total = tf.while_loop(
        lambda done, _: done < n, body, start, shapes, parallel_iterations=1
    )
    if function is not None:
        return tf.broadcast_to(total / n, tf.shape(asked.target))
    return tf.gather(total / n, asked.target)
