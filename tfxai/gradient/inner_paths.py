"""Layers along a path of the input: conductance and internal influence.

The input moves from a baseline to x, and all activations move with it.
`integrated_gradients(at=...)` moves the activations of one layer along a straight line.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.errors import InputError
from tfxai.base.tensors import Tensor, align, merge_seeds, size
from tfxai.base.validation import whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baselines, per_sample
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, row
from tfxai.gradient.paths import gauss_legendre, result_with_completeness

#: (levels (k,)) -> the inputs of the model (k, B, ...) at 0 (baseline) to 1 (x).
Line = Callable[[Tensor], list[Tensor]]


@row(
    "conductance", "path", "how much of the change flows through each unit of a layer",
    "Dhamdhere, Sundararajan and Yan 2019, arXiv:1805.12233",
    formula="R = sum over the steps of d f_t / d A * dA, A the activations of the "
    "layer",
    limits="It depends on the baseline, and on the layer. The sum is incomplete where "
    "a part of the model bypasses the layer.",
    also_in="Captum",
)  # fmt: skip
def conductance(
    wrapped: ModelWrapper,
    n_steps: int = 50,
    baseline: Any = 0,
    target: Any = None,
    at: Any = None,
    conditions: Any = None,
) -> Analyzer:
    """Return an analyzer of the sum over steps of d f_t / d A times the change of A.

    The input moves along a straight line from x0 to x in equal steps. The gradient is
    that of the middle of a step, A the activations of a layer. They account for f(x) -
    f(x0) where all of it passes through the layer; `extra["completeness"]` is the
    difference.

    Args:
        wrapped: The model.
        n_steps: Number of steps.
        baseline: Start x0 of the path; see `integrated_gradients`.
        target: Default target of `analyze`.
        at: Layer whose activations are explained: its name, its number in
            `model.layers`, or the layer. None is the input, where conductance is
            integrated gradients.
        conditions: Neuron conductance: what flows from the inputs through the chosen
            channels or neurons of one layer alone, such as {"block3": [(2, 3, 4)]}, or
            {"block3": [1, 4]} for channels. The relevance is that of the inputs.

    Raises:
        OptionError: An option is out of range.
        InputError: The input holds tokens (raised by `analyze`).

    References:
        Dhamdhere et al. 2019, arXiv:1805.12233, eq. 3; with `conditions` eq. 2. Captum:
        LayerConductance, NeuronConductance.
    """
    whole_number("n_steps", n_steps, 1)
    baseline = per_sample(baseline, wrapped.specs)

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        line, start = _line(context, baseline)

        def points(i: Tensor) -> tuple[list[Tensor], ...]:
            k = size(i)[0]
            first = tf.cast(i[0], tf.float32)
            ends = (first + tf.range(tf.cast(k + 1, tf.float32))) / n_steps
            middles = (first + tf.range(tf.cast(k, tf.float32)) + 0.5) / n_steps
            ends, middles = tf.minimum(ends, 1.0), tf.minimum(middles, 1.0)
            a, inputs = _activations(context, line(ends)), line(middles)
            return _activations(context, inputs), [v[1:] - v[:-1] for v in a], inputs

        relevance = context.sum_gradients(n_steps, points)
        if conditions is not None:
            return context.result(relevance)
        first_points = context.entry.to_points(start)
        initial, _ = context.entry.scores(
            first_points, start, context.target, context.target_fn
        )
        return result_with_completeness(context, relevance, mean=initial)

    options = {"n_steps": n_steps, "baseline": baseline}
    return analyzer(
        "conductance", wrapped, explain, target, options, at=at, conditions=conditions
    )


@row(
    "internal_influence", "path", "the mean gradient of a layer along a path of the "
    "input", "Leino et al. 2018, arXiv:1802.03788",
    formula="R = mean over a in [0, 1] of d f_t / d A at x0 + a (x - x0), A the "
    "activations of the layer",
    limits="It is a gradient and no contribution: the values do not add up to the "
    "score. It depends on the baseline.",
    also_in="Captum, trulens-explain",
)  # fmt: skip
def internal_influence(
    wrapped: ModelWrapper,
    n_steps: int = 50,
    baseline: Any = 0,
    target: Any = None,
    at: Any = None,
) -> Analyzer:
    """Return an analyzer of the mean of d f_t / d A along the line from x0 to x.

    It is how fast the score changes with each unit of a layer, on average over inputs
    between the baseline and x.

    Args:
        wrapped: The model.
        n_steps: Number of points, by Gauss-Legendre quadrature.
        baseline: Start x0 of the path; see `integrated_gradients`.
        target: Default target of `analyze`.
        at: Layer of the activations A: its name, its number in `model.layers`, or the
            layer. None is the input.

    Raises:
        OptionError: An option is out of range.
        InputError: The input holds tokens (raised by `analyze`).

    References:
        Leino et al. 2018, arXiv:1802.03788, eq. 1, of the uniform distribution on the
        line. Captum: InternalInfluence.
    """
    whole_number("n_steps", n_steps, 1)
    baseline = per_sample(baseline, wrapped.specs)
    nodes, weights = (tf.constant(v, tf.float32) for v in gauss_legendre(n_steps))

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        line, _ = _line(context, baseline)

        def points(i: Tensor) -> tuple[list[Tensor], ...]:
            inputs, share = line(tf.gather(nodes, i)), tf.gather(weights, i)
            a = _activations(context, inputs)
            return a, [align(share, v[0]) for v in a], inputs

        return context.result(context.sum_gradients(n_steps, points))

    options = {"n_steps": n_steps, "baseline": baseline}
    return analyzer("internal_influence", wrapped, explain, target, options, at=at)


def _line(context: GradientContext, baseline: Any) -> tuple[Line, list[Tensor]]:
    """Return the line from the baseline to the inputs, and its start."""
    if any(v.dtype.is_integer for v in context.model_inputs) or any(
        context.entry.tokens
    ):
        program = context.wrapped.program()
        names = [s.name for s in program.steps if s.kind == "embedding"]
        at = f", at={names[0]!r}" if names else ""
        raise InputError(
            "The inputs are token ids, between which there is no line.",
            "inputs of numbers, or a line between the vectors of tokens",
            f'method="integrated_gradients"{at}',
        )
    start = context.wrapped.prepared(baselines(baseline, context.inputs))
    pairs = list(zip(start, context.model_inputs, strict=True))

    def line(levels: Tensor) -> list[Tensor]:
        return [x0 + align(levels, x) * (x - x0) for x0, x in pairs]

    return line, [tf.broadcast_to(x0, tf.shape(x)) for x0, x in pairs]


def _activations(context: GradientContext, inputs: list[Tensor]) -> list[Tensor]:
    """Return the points (k, B, ...) of inputs (k, B, ...)."""
    k = size(inputs[0])[0]
    points = context.entry.to_points([merge_seeds(v) for v in inputs])
    return [tf.reshape(p, [k, context.batch, *size(p, 1)]) for p in points]
