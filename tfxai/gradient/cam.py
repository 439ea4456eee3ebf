"""Class activation maps: weighted activations of one layer, resized to the input.

The relevance has one channel, (B, height, width, 1), and is signed; `relu=True` keeps
positive values only, after resizing, as most of the papers do. The layer is the last
one with the input's spatial axes or with a token for each patch, also inside a nested
model; `layer=` selects another.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, positive
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import build as build_analyzer
from tfxai.gradient.base import GradientContext, analyzer, row
from tfxai.gradient.cam_layers import CamLayers, Utility, check_relu

NEEDS = "a Keras model of Keras layers and ops, with spatial axes inside"
SELVARAJU = "Selvaraju et al. 2017, arXiv:1610.02391"

#: (activations A (1, B, ..., C), gradients d f_t / d A (T, B, ..., C)) -> weights.
Weights = Callable[[Tensor, Tensor], Tensor]
#: The same arguments -> the map (T, B, ...) of the layer.
Combine = Callable[[Tensor, Tensor], Tensor]


# -- weights -------------------------------------------------------------------------


def spatial_axes(v: Tensor) -> list[int]:
    """Return the spatial axes of (T, B, ..., C)."""
    return list(range(2, len(v.shape) - 1))


def mean_gradient(a: Tensor, g: Tensor) -> Tensor:
    """Return w_c = mean of d f_t / d A_c over all positions (Grad-CAM, eq. 1)."""
    return tf.reduce_mean(g, spatial_axes(g), keepdims=True)


def plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """Return w_c = sum of alpha_c relu(g_c) over all positions (Grad-CAM++, eq. 19).

    alpha = g^2 / (2 g^2 + sum(A_c) g^3). This equals the paper for A >= 0, after a
    ReLU; otherwise alpha can have either sign.
    """
    total = tf.reduce_sum(a, spatial_axes(g), keepdims=True)
    alpha = tf.math.divide_no_nan(1.0, 2 + total * g)
    return tf.reduce_sum(alpha * positive(g), spatial_axes(g), keepdims=True)


def positive_gradient(a: Tensor, g: Tensor) -> Tensor:
    """Return w_c = relu(g_c) at each position (LayerCAM, eq. 6)."""
    return positive(g)


# -- analyzers -----------------------------------------------------------------------


def weighted(weights: Weights) -> Combine:
    """Return the map sum over c of weights(A, dA)_c A_c as a function of (A, dA)."""
    return lambda a, g: tf.reduce_sum(weights(a, g) * a, -1)


def build(
    name: str,
    combine: Combine,
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
    factor: Callable[[GradientContext], list[Tensor]] | None = None,
    utility: Utility | None = None,
    options: dict[str, Any] | None = None,
) -> Analyzer:
    """Return an analyzer of a map of the activations and their gradients, resized.

    Args:
        name: Name of the method.
        combine: Function of the activations (1, B, ..., C) and their gradients
            (T, B, ..., C) that returns the map (T, B, ...).
        wrapped: The model.
        layer: The layer; see `gradcam`.
        relu: Keep positive values only; see `gradcam`.
        resize: "linear", "nearest" or "none"; see `gradcam`.
        target: Default target of `analyze`.
        factor: Function (context) -> relevance to multiply the result with.
        utility: What to differentiate in place of the score.
        options: Further options that the explanation reports.
    """
    check_relu(relu)
    wrapped.check_differentiable()
    layers = CamLayers(wrapped, layer, resize)

    def explain(context: GradientContext) -> dict[str, Any]:
        values = layers.activations_and_gradients(context, utility)
        maps = [combine(a[None], g) for a, g in zip(*values, strict=True)]
        relevance = layers.resized_to_inputs(maps, context, relu)
        if factor is not None:
            factors = factor(context)
            if relu is True:
                factors = [positive(v) for v in factors]
            relevance = [r * f for r, f in zip(relevance, factors, strict=True)]
        return result(relevance, context)

    options = {"layer": layers.layer, "relu": relu, **(options or {})}
    return analyzer(name, wrapped, explain, target, options, once_per_sample=True)


def result(relevance: list[Tensor], context: GradientContext) -> dict[str, Any]:
    """Return what the compiled function of a CAM returns."""
    return {
        "relevance": relevance, "score": context.score, "target": context.target,
    }  # fmt: skip


@row("gradcam", "cam", "activations of a layer, weighted by their mean gradients",
     SELVARAJU, NEEDS,
     formula="R = sum over c of w_c A_c, w_c = mean over positions of d f_t / d A_c",
     limits="The map is as coarse as the layer. Where the positions of a channel have "
     "gradients of both signs, their mean is wrong: see `hirescam`. Two objects of "
     "one class may merge.",
     also_in="Captum, Xplique, tf-keras-vis, tf-explain, pytorch-grad-cam, saliency, "
     "TorchRay",
)  # fmt: skip
def gradcam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Grad-CAM.

    The channels of a late layer are added up, each weighted by how much it raises the
    score on average over its positions. The map is resized to the input.

    With several inputs, each gets its own relevance (MultiGradCAM in the SGLRP
    repository). The target of a mask, `tfxai.targets.masked_sum(mask, k)`, makes it
    Seg-Grad-CAM (Vinogradova et al. 2020, arXiv:2002.11434).

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
            The number is that in `model.layers`, negative from the end. A list gives
            the mean of the maps of its layers, each resized. Tokens of patches are laid
            back on their grid, without class and register tokens.
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
    return build(
        "gradcam", weighted(mean_gradient), wrapped, layer, relu, resize, target
    )


@row("gradcam_plus_plus", "cam",
     "activations of a layer, weighted by their positive gradients",
     "Chattopadhay et al. 2018, arXiv:1710.11063", NEEDS,
     formula="R = sum over c of w_c A_c, w_c = sum over positions of alpha_c max(d "
     "f_t / d A_c, 0), alpha = g^2 / (2 g^2 + g^3 sum A)",
     limits="Negative gradients are dropped, so evidence against the class is "
     "invisible. The map is as coarse as the layer.",
     also_in="Xplique, tf-keras-vis, pytorch-grad-cam",
)  # fmt: skip
def gradcam_plus_plus(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Grad-CAM++ of the logit.

    Each position has a weight alpha, so that several objects of one class are marked.

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
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
        "gradcam_plus_plus", weighted(plus_plus), wrapped, layer, relu, resize, target,
    )  # fmt: skip


@row("layercam", "cam", "activations of a layer, weighted at each position",
     "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943", NEEDS,
     formula="R = sum over c of max(d f_t / d A_c, 0) A_c",
     limits="Negative gradients are dropped, so evidence against the class is "
     "invisible. In early layers the map shows edges.",
     also_in="tf-keras-vis, pytorch-grad-cam",
)  # fmt: skip
def layercam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of LayerCAM.

    Each position has its own weight, so that early layers, whose maps are finer, can be
    used too.

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
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
    return build(
        "layercam", weighted(positive_gradient), wrapped, layer, relu, resize, target
    )


@row("guided_gradcam", "cam", "Grad-CAM times guided backpropagation", SELVARAJU,
     NEEDS,
     formula="R = gradcam * guided_backprop",
     limits="The fine structure is that of guided backpropagation, which hardly "
     "depends on the class or on the weights of the upper layers (Adebayo et al. "
     "2018).",
     also_in="Captum",
     cost="that of gradcam and of guided_backprop",
)  # fmt: skip
def guided_gradcam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Grad-CAM times guided backpropagation.

    Grad-CAM selects the place, and guided backpropagation shows fine structure there.

    The relevance has the shape of the input.

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
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
        "guided_gradcam", weighted(mean_gradient), wrapped, layer, relu, resize,
        target, factor,
    )  # fmt: skip
