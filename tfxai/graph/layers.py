"""Rows of the linear layers: what is convolved, and how its weights are read live."""

from collections.abc import Callable

import keras
import tensorflow as tf

from tfxai.graph import fast
from tfxai.graph.activations import with_activation
from tfxai.graph.kinds import L, operation
from tfxai.graph.step import Mapped, Step, Weights, along


def _out(kernel, factors):
    return kernel * factors  # (..., in, out)


def _into(kernel, factors):
    return kernel * factors[:, None]  # (..., in, out)


def _live(layer, axis: int = -1) -> Callable:
    """Its kernel, and its bias along that axis."""
    return lambda v: (layer.kernel, along(layer.bias, axis))


def _channels(layer) -> int:
    return -1 - layer.rank if layer.data_format == "channels_first" else -1


@operation(L.Dense)
def _dense(layer, call, arguments):
    if layer.quantization_mode is not None:
        return None
    weights = Weights(_live(layer), _out, _into)
    step = Step("", "dense", _product, weights, transpose=fast.dense_back)
    return with_activation(step, layer)


def _product(v, kernel):
    """Compute x W."""
    if not isinstance(kernel, Mapped):
        return keras.ops.matmul(v[0], kernel)
    total = None
    for block in kernel.blocks():
        # In order, so that one block at a time is in memory.
        with tf.control_dependencies([] if total is None else [total]):
            part = keras.ops.matmul(v[0][..., block], kernel.rows(block))
        total = part if total is None else total + part
    return total


@operation(L.Conv1D, L.Conv2D, L.Conv3D)
def _conv(layer, call, arguments):
    axis = _channels(layer)
    into = _into if layer.groups == 1 else None
    weights = Weights(_live(layer, axis), _out, into, axis)
    there, back = fast.convolution(layer, arguments.keras_tensors[0].shape[1:])
    step = Step("", "conv", there or _convolution(layer), weights, back)
    return with_activation(step, layer)


def _convolution(layer) -> Callable:
    padding = "valid" if layer.padding == "causal" else layer.padding
    reach = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
    before = [[0, 0], [0, 0], [0, 0]]
    before[2 if layer.data_format == "channels_first" else 1] = [reach, 0]

    def convolve(v, kernel):
        x = tf.pad(v[0], before) if layer.padding == "causal" else v[0]
        return keras.ops.conv(
            x, kernel, list(layer.strides), padding,
            layer.data_format, layer.dilation_rate,
        )  # fmt: skip

    return convolve


@operation(L.DepthwiseConv1D, L.DepthwiseConv2D)
def _depthwise(layer, call, arguments):
    axis = _channels(layer)

    def convolve(v, kernel):
        return keras.ops.depthwise_conv(
            v[0], kernel, layer.strides, layer.padding,
            layer.data_format, layer.dilation_rate,
        )  # fmt: skip

    def out(kernel, factors):  # (..., C, M), output channel = c * M + m
        return kernel * tf.reshape(factors, kernel.shape[-2:])

    weights = Weights(_live(layer, axis), out, _into, axis)
    return with_activation(Step("", "depthwise", convolve, weights), layer)


@operation(L.SeparableConv1D, L.SeparableConv2D)
def _separable(layer, call, arguments):
    """One linear map in two factors; sign-splitting rules need it as one kernel."""
    axis = _channels(layer)

    def convolve(v, kernel):
        if not isinstance(kernel, tuple):
            return _convolution(layer)(v, kernel)
        return keras.ops.separable_conv(
            v[0], *kernel, layer.strides, layer.padding,
            layer.data_format, layer.dilation_rate,
        )  # fmt: skip

    def dense(kernel):  # D (..., C, M), P (..., C * M, out) -> (..., C, out)
        depth, point = kernel
        c, m = depth.shape[-2:]
        point = tf.reshape(point, [c, m, -1])
        return tf.einsum("...cm,cmo->...co", tf.convert_to_tensor(depth), point)

    def live(v):
        kernel = layer.depthwise_kernel, layer.pointwise_kernel
        return kernel, along(layer.bias, axis)

    weights = Weights(
        live,
        lambda k, f: (k[0], k[1] * f),
        lambda k, f: (k[0] * f[:, None], k[1]),
        axis,
        dense,
    )
    return with_activation(Step("", "conv", convolve, weights), layer)


@operation(L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose)
def _transposed(layer, call, arguments):
    axis = _channels(layer)

    def convolve(v, kernel):
        return keras.ops.conv_transpose(
            v[0], kernel, list(layer.strides), layer.padding, layer.output_padding,
            layer.data_format, layer.dilation_rate,
        )  # fmt: skip

    weights = Weights(_live(layer, axis), _into, _out, axis)  # (..., out, in)
    return with_activation(Step("", "conv", convolve, weights), layer)
