"""Further class activation maps of one gradient: other weights, other scores."""

import math
from typing import Any

import tensorflow as tf

from tfxai.base.errors import ModelError
from tfxai.base.tensors import Tensor, size
from tfxai.base.validation import at_least, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, row
from tfxai.gradient.cam import (
    NEEDS,
    build,
    mean_gradient,
    result,
    spatial_axes,
    weighted,
)
from tfxai.gradient.cam_layers import CamLayers, check_relu, explained, of_classes

# -- weights -------------------------------------------------------------------------


def gradient(a: Tensor, g: Tensor) -> Tensor:
    """Return w_c = g_c at each position (HiResCAM, eq. 5)."""
    return g


def mean_by_activation(a: Tensor, g: Tensor) -> Tensor:
    """Return w_c = sum(A_c g_c) / sum(A_c) over all positions (XGrad-CAM, eq. 8)."""
    axes = spatial_axes(g)
    total = tf.reduce_sum(a, axes, keepdims=True)
    return tf.math.divide_no_nan(tf.reduce_sum(a * g, axes, keepdims=True), total)


def principal(v: Tensor) -> Tensor:
    """Return the projection of (..., n, C) on the first right singular vector.

    The sign is that of the sum over the channels: the product of the two is >= 0.
    """
    n, channels = size(v)[-2:]  # n may be a tensor
    if isinstance(n, int) and n < channels:  # the smaller of the two Gram matrices
        values, vectors = tf.linalg.eigh(tf.matmul(v, v, transpose_b=True))
        scale = tf.sqrt(tf.maximum(values[..., -1:], 0))
        projection = vectors[..., -1] * scale
    else:
        _, vectors = tf.linalg.eigh(tf.matmul(v, v, transpose_a=True))
        projection = tf.matmul(v, vectors[..., -1:])[..., 0]
    sums = tf.reduce_sum(v, -1)
    sign = tf.sign(tf.reduce_sum(projection * sums, -1, keepdims=True))
    return projection * tf.where(sign == 0, 1.0, sign)


def projected(v: Tensor, center: bool) -> Tensor:
    """Return the first principal map (T, B, ...) of (T, B, ..., C)."""
    shape = size(v)
    flat = tf.reshape(v, [*shape[:2], math.prod(shape[2:-1]), shape[-1]])
    if center:
        flat -= tf.reduce_mean(flat, 2, keepdims=True)
    return tf.reshape(principal(flat), shape[:-1])


# -- analyzers -----------------------------------------------------------------------


@row("hirescam", "cam", "activations of a layer times their gradients",
     "Draelos and Carin 2020, arXiv:2011.08891", NEEDS,
     formula="R = sum over c of A_c * d f_t / d A_c",
     limits="The map is as coarse as the layer. Where the network behind the layer is "
     "not linear, it does not sum to the score.",
     also_in="pytorch-grad-cam",
)  # fmt: skip
def hirescam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of HiResCAM, the sum over c of A_c d f_t / d A_c.

    At a layer behind which the network is linear, the map sums to the score without
    biases.

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
        relu: Keep positive values only: True of the resized map, "layer" of the map of
            the layer before resizing.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` is none of these names.

    References:
        Draelos and Carin 2020, arXiv:2011.08891, eq. 5. Also in pytorch-grad-cam.
    """
    return build("hirescam", weighted(gradient), wrapped, layer, relu, resize, target)


@row("xgradcam", "cam", "activations of a layer, weighted by mean gradients of their "
     "positions", "Fu et al. 2020, arXiv:2008.02312", NEEDS,
     formula="R = sum over c of w_c A_c, w_c = sum(A_c d f_t / d A_c) / sum(A_c)",
     limits="The map is as coarse as the layer. A channel with activations of both "
     "signs has a divisor near 0.",
     also_in="pytorch-grad-cam",
)  # fmt: skip
def xgradcam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of XGrad-CAM, the sum over c of w_c A_c.

    w_c = sum(A_c d f_t / d A_c) / sum(A_c): the mean of the gradients, weighted by the
    activations. A channel whose activations sum to 0 gets the weight 0.

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
        relu: Keep positive values only: True of the resized map, "layer" of the map of
            the layer before resizing.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` is none of these names.

    References:
        Fu et al. 2020, arXiv:2008.02312, eq. 8. Also in pytorch-grad-cam.
    """
    combine = weighted(mean_by_activation)
    return build("xgradcam", combine, wrapped, layer, relu, resize, target)


@row("eigencam", "cam", "the first principal component of a layer's activations",
     "Muhammad and Yeasin 2020, arXiv:2008.00299", NEEDS,
     formula="R = A v_1, A (positions, channels), v_1 its first right singular vector",
     limits="It ignores the class: every target has the same map, which shows the "
     "most active object.",
     also_in="pytorch-grad-cam",
     cost="one forward pass",
)  # fmt: skip
def eigencam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    center: bool = False,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Eigen-CAM, A V_1: the same map for every target.

    A (positions, C) is projected on its first right singular vector. Its sign is chosen
    so that the map agrees with the sum of the channels.

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
        relu: Keep positive values only: True of the resized map, "layer" of the map of
            the layer before resizing.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
        center: Subtract the mean of each channel before, as pytorch-grad-cam does and
            the paper does not.
        target: Default target of `analyze`, of the score alone.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` is none of these names.

    References:
        Muhammad and Yeasin 2020, arXiv:2008.00299, eq. 3.
    """
    check_relu(relu)
    wrapped.check_differentiable()
    layers = CamLayers(wrapped, layer, resize)

    def explain(context: GradientContext) -> dict[str, Any]:
        program, sites = layers.at(context)
        values = program.run(context.model_inputs)
        explained(program, values, context, slope=False)
        targets = size(context.target)[1]
        maps = []
        for site in sites:
            a = site.spatial(site.value(values), 1)
            m = projected(a[None], center)
            maps.append(tf.repeat(m, targets, 0))
        return result(layers.resized_to_inputs(maps, context, relu), context)

    options = {"layer": layers.layer, "relu": relu}
    return analyzer("eigencam", wrapped, explain, target, options, once_per_sample=True)


@row("eigengradcam", "cam", "the first principal component of activations times "
     "gradients", "Gildenblat 2021, github.com/jacobgil/pytorch-grad-cam",
     NEEDS,
     formula="R = the projection of A * d f_t / d A on its first right singular "
     "vector",
     limits="The first component is no sum of contributions: what is in the other "
     "components is not shown.",
     also_in="pytorch-grad-cam",
)  # fmt: skip
def eigengradcam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    center: bool = True,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of EigenGradCAM, the first principal component of A dA.

    The map agrees with HiResCAM in sign. (The sign of pytorch-grad-cam is that of its
    singular value decomposition, and arbitrary.)

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
        relu: Keep positive values only: True of the resized map, "layer" of the map of
            the layer before resizing.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
        center: Subtract the mean of each channel before, as pytorch-grad-cam does.
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` is none of these names.

    References:
        The method has no paper; github.com/jacobgil/pytorch-grad-cam defines it.
    """
    return build(
        "eigengradcam", lambda a, g: projected(a * g, center), wrapped, layer, relu,
        resize, target,
    )  # fmt: skip


@row("finercam", "cam", "Grad-CAM of the difference from the most similar classes",
     "Zhang et al. 2025, arXiv:2501.11309", NEEDS,
     formula="R = gradcam of sum_d p_d (f_t - alpha f_d) / sum_d p_d, d the classes "
     "most similar to t",
     limits="What the target and its most similar classes share is not shown, also "
     "where it is the evidence. The map is as coarse as the layer.",
     also_in="pytorch-grad-cam",
)  # fmt: skip
def finercam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    n_classes: int = 3,
    alpha: float = 1.0,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Finer-CAM: Grad-CAM of a class against similar classes.

    The gradient is that of sum_d p_d (f_t - alpha f_d) / sum_d p_d, over the classes d
    whose logits are closest to that of the target, with their probabilities p_d as
    constant weights. (The authors' code differentiates the weights as well.)

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
        relu: Keep positive values only: True of the resized map, "layer" of the map of
            the layer before resizing.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
        n_classes: Number of similar classes, at most all others.
        alpha: Strength of the comparison; 0 is Grad-CAM.
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input, or the model has one
            class.
        TargetError: The target is a function.
        OptionError: An option is out of range.

    References:
        Zhang et al. 2025, arXiv:2501.11309, eq. 4 to 6. Also in pytorch-grad-cam.
    """
    whole_number("n_classes", n_classes, 1)
    at_least("alpha", alpha, 0)

    def utility(outputs: Tensor, score: Tensor, target: Tensor) -> Tensor:
        total = outputs.shape[-1]
        if total < 2:
            raise ModelError(
                f"finercam compares classes, and the model has {total} output.",
                "two or more classes",
                'method="gradcam"',
            )
        z = of_classes(outputs, target)  # (B, T, n)
        itself = tf.one_hot(target % total, total, on_value=z.dtype.max)
        distance = tf.abs(z - score[..., None]) + itself
        _, others = tf.math.top_k(-distance, min(n_classes, total - 1))
        p = tf.stop_gradient(tf.gather(tf.nn.softmax(z), others, batch_dims=2))
        p /= tf.reduce_sum(p, -1, keepdims=True)
        rest = tf.reduce_sum(p * tf.gather(z, others, batch_dims=2), -1)
        return score - alpha * rest

    return build(
        "finercam", weighted(mean_gradient), wrapped, layer, relu, resize, target,
        utility=utility, options={"n_classes": n_classes, "alpha": alpha},
    )  # fmt: skip
