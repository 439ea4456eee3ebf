"""FullGrad: the gradients of the input and of every bias, laid over each other."""

from typing import Any

import tensorflow as tf

from tfxai.base.errors import ModelError, OptionError
from tfxai.base.tensors import Tensor, size
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import gradients_of
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, row
from tfxai.gradient.cam import NEEDS, result
from tfxai.gradient.cam_layers import explained
from tfxai.gradient.resize import RESIZES, resized
from tfxai.graph.program import Program
from tfxai.graph.step import Step


@row("fullgrad", "cam", "input times gradient plus the gradients of all biases",
     "Srinivas and Fleuret 2019, arXiv:1905.00780", NEEDS,
     formula="R = psi(x * d f_t / d x) + sum over layers of psi(b * d f_t / d b), psi "
     "= absolute value, scaled to [0, 1] and resized",
     limits="It has no sign, and each layer is scaled to [0, 1], so that its sum is "
     "no longer the score. It often shows edges.",
     also_in="pytorch-grad-cam",
     cost="one forward and one backward pass of the model",
)  # fmt: skip
def fullgrad(
    wrapped: ModelWrapper,
    rescale: bool = True,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of FullGrad, a map (B, height, width, 1).

    The sum over the channels of psi(x dx), plus that of psi(b dz) of every layer z =
    W a + b with spatial axes. psi takes absolute values, scales those of a layer to
    [0, 1], and resizes. BatchNormalization is part of the layer before it, so that b
    includes its shift. For a network of linear layers and ReLU, x dx and b dz of all
    layers sum to the score (`extra["completeness"]` is what is missing of it).

    Args:
        wrapped: The model.
        rescale: Scale the absolute values of each layer to [0, 1], as the paper's code.
            False keeps the contributions with their signs.
        resize: Interpolation to the input's size, "linear" or "nearest".
        target: Default target of `analyze`.

    Raises:
        ModelError: An input has no spatial axes.
        OptionError: `resize` is none of these names.

    References:
        Srinivas and Fleuret 2019, arXiv:1905.00780, eq. 4 and 5. pytorch-grad-cam
        computes it without the input and without the shift of batch normalisation.
    """
    names = [n for n in RESIZES if n != "none"]
    if not isinstance(resize, str) or resize not in names:
        raise OptionError(f"resize={resize!r}.", f"one of {names}", 'resize="linear"')
    wrapped.check_differentiable()
    whole = wrapped.program()
    shapes = list(whole.input_shapes)
    if any(len(s) < 3 for s in shapes) or whole.lookups:
        raise ModelError(
            f"The inputs have shapes {shapes}, and a map of biases needs positions.",
            "images, volumes or series of numbers",
            'method="input_t_gradient"',
        )

    def explain(context: GradientContext) -> dict[str, Any]:
        inputs = [tf.cast(v, tf.float32) for v in context.model_inputs]
        program = whole.at([v.shape for v in inputs])
        z, biases, g = _slopes(program, inputs, context)
        parts = [x[None] * v for x, v in zip(inputs, g, strict=False)]
        total = tf.add_n([_total(p) for p in parts])
        relevance = [_map(p, rescale) for p in parts]
        #: Sums of maps of one size, by input and size: resizing is linear.
        sums: list[dict[Any, Tensor]] = [{} for _ in inputs]
        for step, slope in zip(z, g[len(inputs) :], strict=True):
            over = [n for n in range(len(inputs)) if _lies_over(program, step, n)]
            found, added = _of_bias(biases[step.output], slope, rescale and over)
            total += added
            for number in over:
                at = (step.shape[:-1], step.output if None in step.shape else 0)
                sums[number][at] = sums[number].get(at, 0.0) + found
        for number, x in enumerate(inputs):
            for v in sums[number].values():
                relevance[number] += resized(v, size(x)[1:-1], RESIZES[resize])
        relevance = [r[..., None] for r in relevance]
        extra = {"completeness": context.score - tf.transpose(total)}
        return {**result(relevance, context), **extra}

    return analyzer("fullgrad", wrapped, explain, target, once_per_sample=True)


def _slopes(
    program: Program, inputs: list[Tensor], context: GradientContext
) -> tuple[list[Step], dict[int, Tensor], list[Tensor]]:
    """Return the steps with biases, the biases, and d f_t / d (inputs, outputs)."""
    biases: dict[int, Tensor] = {}
    steps: list[Step] = []
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(inputs)

        def run(step: Step, values: list[Tensor]) -> Tensor:
            kept: dict[int, Any] = {}
            out = step.run(values, kept)
            bias = kept.get(step.output, (None, None))[1]
            if bias is not None:
                tape.watch(out)
                biases[step.output] = bias
                steps.append(step)
            return out

        values = program.run(inputs, run=run)
        number = explained(program, values, context)
    watched = [*inputs, *(values[s.output] for s in steps)]
    return steps, biases, gradients_of(tape, number, watched)


def _lies_over(program: Program, step: Step, number: int) -> bool:
    """Return True if a step's output has the positions of an input."""
    rank = len(program.input_shapes[number]) - 1
    spatial = len(step.shape) == rank and any(
        n is None or n > 1 for n in step.shape[:-1]
    )
    return (
        spatial
        and not program.batch_axis(step.output)
        and number in program.reads[step.output]
    )


def _of_bias(bias: Tensor, slope: Tensor, rescale: Any) -> tuple[Tensor, Tensor]:
    """Return psi of b dz summed over the channels (T, B, ...), and its sum (T, B).

    A bias of channels is one factor of a matrix product, which needs no tensor b dz.
    """
    channels = slope.shape[-1]
    if channels is None or bias.shape.num_elements() not in (1, channels):
        part = bias * slope
        return _map(part, rescale), _total(part)
    vector = tf.broadcast_to(tf.reshape(bias, [-1]), [channels])
    shape = size(slope)[:-1]
    if not rescale:
        found = tf.reshape(tf.linalg.matvec(_rows(slope), vector), shape)
        return found, _total(found[..., None])
    weights, strength = tf.abs(vector), tf.abs(slope)
    summed = tf.reshape(tf.linalg.matvec(_rows(strength), weights), shape)
    axes = list(range(2, len(slope.shape) - 1))
    low, high = (
        f(weights * f(strength, axes, keepdims=True), -1)
        for f in (tf.reduce_min, tf.reduce_max)
    )
    scaled = tf.math.divide_no_nan(summed - channels * low, high - low)
    total = tf.linalg.matvec(_rows(slope), vector)
    return scaled, _total(tf.reshape(total, shape)[..., None])


def _rows(v: Tensor) -> Tensor:
    """Return (..., C) as a matrix."""
    return tf.reshape(v, [-1, v.shape[-1]])


def _total(v: Tensor) -> Tensor:
    """Return the sums (T, B) of (T, B, ...)."""
    return tf.reduce_sum(v, range(2, len(v.shape)))


def _map(v: Tensor, rescale: bool) -> Tensor:
    """Return psi of contributions (T, B, ..., C), summed over C, without resizing."""
    if not rescale:
        return tf.reduce_sum(v, -1)
    v, axes = tf.abs(v), list(range(2, len(v.shape)))
    low, high = (
        f(v, axes, keepdims=True)[..., 0] for f in (tf.reduce_min, tf.reduce_max)
    )
    channels = tf.cast(size(v)[-1], v.dtype)
    summed = tf.reduce_sum(v, -1) - channels * low
    return tf.math.divide_no_nan(summed, high - low)
