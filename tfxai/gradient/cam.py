"""Class activation maps: weighted activations of one layer, resized to the input.

The relevance has one channel, (B, height, width, 1), and is signed; `relu=True` keeps
positive values only, after resizing, as most of the papers do. The layer is the last
one with the input's spatial axes, also inside a nested model; `layer=` selects another.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import (
    Tensor,
    chunk_indices,
    inside,
    merge_seeds,
    positive,
    size,
)
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import build as build_analyzer
from tfxai.gradient.base import GradientContext, analyzer, repeat_batch, row
from tfxai.gradient.cam_layers import CamLayers, check_relu
from tfxai.gradient.resize import resized

NEEDS = "a Keras model of Keras layers and ops, with spatial axes inside"
SELVARAJU = "Selvaraju et al. 2017, arXiv:1610.02391"

#: (activations A (1, B, ..., C), gradients d f_t / d A (T, B, ..., C)) -> weights.
Weights = Callable[[Tensor, Tensor], Tensor]


# -- weights -------------------------------------------------------------------------


def _spatial_axes(v: Tensor) -> list[int]:
    """Return the spatial axes of (T, B, ..., C)."""
    return list(range(2, len(v.shape) - 1))


def mean_gradient(a: Tensor, g: Tensor) -> Tensor:
    """Return w_c = mean of d f_t / d A_c over all positions (Grad-CAM, eq. 1)."""
    return tf.reduce_mean(g, _spatial_axes(g), keepdims=True)


def plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """Return w_c = sum of alpha_c relu(g_c) over all positions (Grad-CAM++, eq. 19).

    alpha = g^2 / (2 g^2 + sum(A_c) g^3). This equals the paper for A >= 0, after a
    ReLU; otherwise alpha can have either sign.
    """
    total = tf.reduce_sum(a, _spatial_axes(g), keepdims=True)
    alpha = tf.math.divide_no_nan(1.0, 2 + total * g)
    return tf.reduce_sum(alpha * positive(g), _spatial_axes(g), keepdims=True)


def positive_gradient(a: Tensor, g: Tensor) -> Tensor:
    """Return w_c = relu(g_c) at each position (LayerCAM, eq. 6)."""
    return positive(g)


# -- analyzers -----------------------------------------------------------------------


def build(
    name: str,
    weights: Weights,
    wrapped: ModelWrapper,
    layer: str | None = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
    factor: Callable[[GradientContext], list[Tensor]] | None = None,
) -> Analyzer:
    """Return an analyzer of the sum over c of weights(A, dA)_c A_c, resized.

    Args:
        name: Name of the method.
        weights: Function of the activations and their gradients.
        wrapped: The model.
        layer: Name of the layer; None selects the last with spatial axes.
        relu: Keep positive values only: True of the resized map, as the SGLRP
            repository, "layer" of the map of the layer before resizing, as Captum.
        resize: "linear", "nearest" or "none"; see `gradcam`.
        target: Default target of `analyze`.
        factor: Function (context) -> relevance to multiply the result with.
    """
    check_relu(relu)
    wrapped.check_differentiable()
    layers = CamLayers(wrapped, layer, resize)

    def explain(context: GradientContext) -> dict[str, Any]:
        pairs = zip(*layers.activations_and_gradients(context), strict=True)
        maps = [tf.reduce_sum(weights(a[None], g) * a, -1) for a, g in pairs]
        relevance = layers.resized_to_inputs(maps, context, relu)
        if factor is not None:
            factors = factor(context)
            if relu is True:
                factors = [positive(v) for v in factors]
            relevance = [r * f for r, f in zip(relevance, factors, strict=True)]
        return {
            "relevance": relevance,
            "score": context.score,
            "target": context.target,
        }

    options = {"layer": layers.layer, "relu": relu}
    return analyzer(name, wrapped, explain, target, options, once_per_sample=True)


@row("gradcam", "cam", "activations of a layer, weighted by their mean gradients",
     SELVARAJU, NEEDS)  # fmt: skip
def gradcam(
    wrapped: ModelWrapper,
    layer: str | None = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Grad-CAM.

    With several inputs, each gets its own relevance (MultiGradCAM in the SGLRP
    repository).

    Args:
        wrapped: The model.
        layer: Name of the layer; None selects the last with spatial axes.
        relu: Keep positive values only: True of the resized map, as the SGLRP
            repository, "layer" of the map of the layer before resizing, as Captum.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
            "linear" uses anti-aliasing for downsampling; "none" keeps the size of the
            layer.
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` is none of these names.

    References:
        Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2.
    """
    return build("gradcam", mean_gradient, wrapped, layer, relu, resize, target)


@row("gradcam_plus_plus", "cam",
     "activations of a layer, weighted by their positive gradients",
     "Chattopadhay et al. 2018, arXiv:1710.11063", NEEDS,
)  # fmt: skip
def gradcam_plus_plus(
    wrapped: ModelWrapper,
    layer: str | None = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Grad-CAM++ of the logit.

    Args:
        wrapped: The model.
        layer: Name of the layer; None selects the last with spatial axes.
        relu: Keep positive values only: True of the resized map, as the SGLRP
            repository, "layer" of the map of the layer before resizing, as Captum.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` is none of these names.

    References:
        Chattopadhay et al. 2018, arXiv:1710.11063, eq. 19.
    """
    return build(
        "gradcam_plus_plus", plus_plus, wrapped, layer, relu, resize, target,
    )  # fmt: skip


@row("layercam", "cam", "activations of a layer, weighted at each position",
     "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943", NEEDS,
)  # fmt: skip
def layercam(
    wrapped: ModelWrapper,
    layer: str | None = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of LayerCAM.

    Args:
        wrapped: The model.
        layer: Name of the layer; None selects the last with spatial axes.
        relu: Keep positive values only: True of the resized map, as the SGLRP
            repository, "layer" of the map of the layer before resizing, as Captum.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` is none of these names.

    References:
        Jiang et al. 2021, doi:10.1109/TIP.2021.3089943, eq. 6.
    """
    return build("layercam", positive_gradient, wrapped, layer, relu, resize, target)


@row("guided_gradcam", "cam", "Grad-CAM times guided backpropagation", SELVARAJU,
     NEEDS)  # fmt: skip
def guided_gradcam(
    wrapped: ModelWrapper,
    layer: str | None = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Grad-CAM times guided backpropagation.

    The relevance has the shape of the input.

    Args:
        wrapped: The model.
        layer: Name of the layer; None selects the last with spatial axes.
        relu: Keep positive values only: True of Grad-CAM and of guided
            backpropagation, as the SGLRP repository, so that no value is negative;
            "layer" of Grad-CAM before resizing alone, as Captum.
        resize: Interpolation of Grad-CAM to the input's size, "linear" or "nearest".
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` is none of these names.

    References:
        Selvaraju et al. 2017, arXiv:1610.02391, section 3.2.
    """
    if resize == "none":
        raise OptionError(
            'guided_gradcam with resize="none".',
            "an interpolation to the input's size, for the product",
            'resize="nearest"',
        )
    guided: Any = build_analyzer("guided_backprop", wrapped, {})

    def factor(context: GradientContext) -> list[Tensor]:
        graph = guided.graph_for(context.target_fn)
        result = graph.propagate(context.model_inputs, context.target)
        relevance: list[Tensor] = result["relevance"]
        return relevance

    return build(
        "guided_gradcam", mean_gradient, wrapped, layer, relu, resize, target,
        factor,
    )  # fmt: skip


@row("scorecam", "cam", "activations of a layer, weighted by scores of masked inputs",
     "Wang et al. 2020, arXiv:1910.01279", NEEDS)  # fmt: skip
def scorecam(
    wrapped: ModelWrapper,
    layer: str | None = None,
    relu: bool | str = False,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Score-CAM, the sum over c of w_c A_c.

    w = softmax over c of f_t(x * H_c), where H_c is A_c resized to the input and scaled
    to [0, 1]. There is one forward pass for each channel.

    Args:
        wrapped: The model.
        layer: Name of the layer; None selects the last with spatial axes.
        relu: Keep positive values only: True of the resized map, as the SGLRP
            repository, "layer" of the map of the layer before resizing, as Captum.
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.

    References:
        Wang et al. 2020, arXiv:1910.01279, eq. 7 and 8.
    """
    check_relu(relu)
    wrapped.check_differentiable()
    layers = CamLayers(wrapped, layer, "linear")

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        numbers = [i for i, s in enumerate(layers.steps) if s is not None]
        maps = []
        for number, a in zip(numbers, layers.activations(context), strict=True):
            scores = _masked_scores(context, number, a, layers.resize)
            w = tf.transpose(tf.nn.softmax(scores, 0), [2, 1, 0])  # (T, B, C)
            w = tf.reshape(w, [*size(w)[:2], *[1] * (len(a.shape) - 2), size(w)[2]])
            maps.append(tf.reduce_sum(w * a, -1))
        return {
            "relevance": layers.resized_to_inputs(maps, context, relu),
            "score": context.score,
            "target": context.target,
        }

    options = {"layer": layers.layer, "relu": relu}
    return analyzer("scorecam", wrapped, explain, target, options)


def _masked_scores(
    context: GradientContext, number: int, a: Tensor, resize: Callable[..., Tensor]
) -> Tensor:
    """Return f_t(x * H_c) for all channels c, (C, B, T)."""
    x = context.points[number]
    sizes, channels = size(x)[1:-1], a.shape[-1]
    channel_first = tf.transpose(a, [len(a.shape) - 1, *range(len(a.shape) - 1)])
    first = chunk_indices(channels, tf.maximum(context.max_batch // context.batch, 1))
    (chunk,) = size(first)

    def scores_from(start: Tensor) -> Tensor:
        """Return the scores (k, B, T) of the channels from `start` on."""
        part = tf.gather(channel_first, inside(start + first, channels)[0])
        part = resized(part, sizes, resize)
        k, axes = size(part)[0], list(range(2, len(part.shape)))
        low, high = (
            f(part, axes, keepdims=True) for f in (tf.reduce_min, tf.reduce_max)
        )
        masked = x * tf.math.divide_no_nan(part - low, high - low)[..., None]
        points = [repeat_batch(p, k) for p in context.points]
        points[number] = tf.reshape(masked, [-1, *size(x, 1)])
        inputs = [repeat_batch(v, k) for v in context.model_inputs]
        target = tf.tile(context.target, [k, 1])
        new, _ = context.entry.scores(points, inputs, target, context.target_fn)
        return tf.reshape(new, [k, context.batch, -1])

    scores = tf.map_fn(
        scores_from, tf.range(0, channels, chunk), parallel_iterations=1,
        fn_output_signature=tf.TensorSpec((None, None, context.target.shape[1])),
    )  # fmt: skip
    return merge_seeds(scores)[:channels]
