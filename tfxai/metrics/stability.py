"""Metrics of the stability of a heatmap: Lipschitz constant and relative stability."""

from collections.abc import Callable, Iterator

import numpy as np

from tfxai.base.errors import InputError
from tfxai.base.validation import above, whole_number
from tfxai.core.layer_cut import activations_of
from tfxai.metrics.metric_context import MetricContext
from tfxai.metrics.registry import row

#: Smallest denominator of a relative change.
EPS = 1e-6
#: (images, nearby images) -> the norm of the change, (B,).
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
_BAD = (
    "Far above the value of other methods: a small change of the image changes the "
    "heatmap more than its cause. Near 0 while a network with random weights has the "
    "same heatmap: it is stable because it ignores the model."
)


@row(
    "lower",
    "Alvarez-Melis and Jaakkola 2018, arXiv:1806.08049",
    "0 or more, in units of relevance per unit of the image. Only comparable between "
    "heatmaps of the same scale.",
    needs=("analyzer",),
    bad=_BAD,
    formula="max over x' of |R(x) - R(x')| / |x - x'|",
    also_in="Quantus",
    cost="one explanation for each of n_samples nearby inputs",
    inputs="images, series and tables",
)
def local_lipschitz(
    context: MetricContext, radius: float = 0.02, n_samples: int = 10
) -> np.ndarray:
    """The largest change of the heatmap per change of the image.

    max |R(x) - R(x')| / |x - x'| over random x' near x. The class stays the same. (In
    Quantus: LocalLipschitzEstimate.)

    Args:
        context: The explanation, its model and its analyzer.
        radius: Largest change of a value, relative to the image's range; uniform.
        n_samples: Number of random images x'.

    Returns:
        One number per sample, (B,).
    """
    result = np.zeros(len(context.x))
    for near, heatmaps in nearby(context, radius, n_samples):
        change = norm(heatmaps - context.heatmaps)
        result = np.maximum(result, change / np.maximum(norm(near - context.x), EPS))
    return result


@row(
    "lower",
    "Agarwal et al. 2022, arXiv:2203.06877",
    "0 or more: relative change of the heatmap per relative change of the image. 1: "
    "both change alike.",
    needs=("analyzer",),
    bad=_BAD,
    formula="max over x' of |(R - R') / R| / max(|(x - x') / x|, least)",
    also_in="Quantus, OpenXAI",
    cost="one explanation for each of n_samples nearby inputs",
    inputs="images, series and tables",
)
def relative_input_stability(
    context: MetricContext, radius: float = 0.02, n_samples: int = 10
) -> np.ndarray:
    """The largest relative change of the heatmap per relative change of the image.

    max |(R(x) - R(x')) / R(x)| / |(x - x') / x| over random x' near x, element by
    element; a zero below a fraction counts as 1e-6.

    Args:
        context: The explanation, its model and its analyzer.
        radius: Largest change of a value, relative to the image's range; uniform.
        n_samples: Number of random images x'.

    Returns:
        One number per sample, (B,).
    """
    return _relative(context, radius, n_samples, lambda x, near: norm(ratio(x, near)))


@row(
    "lower",
    "Agarwal et al. 2022, arXiv:2203.06877",
    "0 or more: relative change of the heatmap per change of the logits.",
    needs=("analyzer",),
    bad=_BAD,
    formula="max over x' of |(R - R') / R| / max(|f - f'|, least), f the logits",
    also_in="Quantus, OpenXAI",
    cost="one explanation for each of n_samples nearby inputs",
    inputs="images, series and tables",
)
def relative_output_stability(
    context: MetricContext, radius: float = 0.02, n_samples: int = 10
) -> np.ndarray:
    """The largest relative change of the heatmap per change of the logits.

    max |(R(x) - R(x')) / R(x)| / |f(x) - f(x')| over random x' near x.

    Args:
        context: The explanation, its model and its analyzer.
        radius: Largest change of a value, relative to the image's range; uniform.
        n_samples: Number of random images x'.

    Returns:
        One number per sample, (B,).
    """

    def change(x: np.ndarray, near: np.ndarray) -> np.ndarray:
        after = context.wrapped.logits(context.given(near), context.batch_size)
        return norm(np.asarray(after, float) - context.logits)

    return _relative(context, radius, n_samples, change)


@row(
    "lower",
    "Agarwal et al. 2022, arXiv:2203.06877",
    "0 or more: relative change of the heatmap per relative change of a layer.",
    needs=("analyzer",),
    bad=_BAD,
    formula="max over x' of |(R - R') / R| / max(|(h - h') / h|, least), h a layer",
    also_in="Quantus, OpenXAI",
    cost="one explanation for each of n_samples nearby inputs",
    inputs="images, series and tables",
)
def relative_representation_stability(
    context: MetricContext,
    radius: float = 0.02,
    n_samples: int = 10,
    layer: object = None,
) -> np.ndarray:
    """The largest relative change of the heatmap per relative change of a layer.

    max |(R(x) - R(x')) / R(x)| / |(h(x) - h(x')) / h(x)| over random x' near x, with
    the activations h of a layer.

    Args:
        context: The explanation, its model and its analyzer.
        radius: Largest change of a value, relative to the image's range; uniform.
        n_samples: Number of random images x'.
        layer: Layer, its number or its name; None is what the last layer reads.

    Returns:
        One number per sample, (B,).

    Raises:
        BlackBoxError: The layers of the model are not known.
    """
    wrapped = getattr(context.analyzer, "of_rows", context.analyzer).wrapped
    wrapped.check_differentiable()

    def rows(x: np.ndarray) -> list[np.ndarray]:
        as_rows = getattr(context.analyzer, "rows", None)
        return [np.asarray(as_rows(x) if as_rows else x, np.float32)]

    read = activations_of(wrapped, layer, rows(context.x))

    def activations(x: np.ndarray) -> np.ndarray:
        return read(rows(x)).astype(float)

    def change(x: np.ndarray, near: np.ndarray) -> np.ndarray:
        return norm(ratio(activations(x), activations(near)))

    return _relative(context, radius, n_samples, change)


def _relative(
    context: MetricContext, radius: float, n_samples: int, below: Change
) -> np.ndarray:
    """The largest relative change of the heatmap per another change, (B,)."""
    result = np.zeros(len(context.x))
    for near, heatmaps in nearby(context, radius, n_samples):
        change = norm(ratio(context.heatmaps, heatmaps))
        result = np.maximum(result, change / np.maximum(below(context.x, near), EPS))
    return result


def nearby(
    context: MetricContext, radius: float, n_samples: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield nearby images (B, H, W, C) and their heatmaps (B, H, W).

    Args:
        context: The explanation, its model and its analyzer.
        radius: Largest change of a value, relative to the image's range; uniform.
        n_samples: How many images to draw for each sample.

    Raises:
        InputError: The inputs are token ids.
    """
    if getattr(context.analyzer, "kind", "images") == "texts":
        raise InputError(
            "The metric explains nearby inputs, and the inputs are token ids.",
            "images, a table or series of numbers, or a metric that changes no numbers",
            'compute("deletion", model, e)',
        )
    above("radius", radius)
    whole_number("n_samples", n_samples, 1)
    rng, count = context.rng(), len(context.x)
    reach = radius * np.ptp(context.x.reshape(count, -1), axis=1)[:, None, None, None]
    for _ in range(n_samples):
        near = context.x + reach * rng.uniform(-1, 1, context.x.shape[1:])
        e = context.analyzer.analyze(
            context.given(near), context.target, context.batch_size, False
        )
        yield near, np.asarray(e.heatmap(), float)


def norm(values: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of each sample, (B,)."""
    norms: np.ndarray = np.linalg.norm(values.reshape(len(values), -1), axis=1)
    return norms


def ratio(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return (before - after) / before; a zero below counts as EPS."""
    quotient: np.ndarray = (before - after) / np.where(before == 0, EPS, before)
    return quotient
