"""Checks of a preprocessing function, and the bounds of preprocessed images."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.core.inputs import image_shape
from tfxai.core.model import ModelWrapper


def check_preprocess(wrapped: ModelWrapper) -> None:
    """Raise OptionError if `preprocess` fails inside a tf.function or changes a shape.

    Every method runs it inside a tf.function.
    """
    if wrapped.preprocess is None:
        return
    import tensorflow as tf

    spec = tf.TensorSpec((None, *image_shape(wrapped)), tf.float32)
    try:
        traced = tf.function(wrapped.preprocess).get_concrete_function(spec)
        spec.shape.assert_is_compatible_with(traced.output_shapes)
    except Exception as error:  # a user's function can raise anything
        raise OptionError(
            f"--preprocess fails: {type(error).__name__}: {error}",
            "a function (B, height, width, channels) -> the same shape, built from "
            "TensorFlow operations",
            "def preprocess(x): return x / 127.5 - 1",
        ) from error


def bounds(preprocess: Callable[..., Any] | None, channels: int) -> tuple[Any, Any]:
    """Return (low, high) of preprocessed images with pixels in [0, 255].

    Each is one number, or a list with one number per channel if they differ.
    """
    if preprocess is None:
        return 0.0, 255.0
    import tensorflow as tf

    ends = tf.constant([0.0, 255.0])[:, None, None, None]
    values = np.asarray(preprocess(tf.tile(ends, (1, 8, 8, channels))), np.float64)
    low, high = values.min((0, 1, 2)).tolist(), values.max((0, 1, 2)).tolist()
    same = len(set(low)) == len(set(high)) == 1
    return (low[0], high[0]) if same else (low, high)


#: The values of a layer's input are far from those of the training where their root
#: mean square, in units of the layer's own mean and deviation, exceeds FAR, or where
#: their variance is smaller than a share NARROW of the layer's own.
FAR, NARROW = 8.0, 0.003


def check_range(wrapped: ModelWrapper, x: np.ndarray) -> str | None:
    """Return a warning if images are far from what the network was trained with.

    The first normalisation layer of the network stores the mean and the variance of its
    input during the training. They are compared with those of the given images. A
    network without such a layer is not checked.

    Args:
        wrapped: The model with its preprocessing.
        x: Some images (B, H, W, C).
    """
    import keras

    layer = _first_normalisation(wrapped.model)
    if layer is None:
        return None
    prepared = np.asarray(wrapped.prepared([np.asarray(x[:4], np.float32)])[0])
    values = np.asarray(keras.Model(wrapped.model.inputs, layer.input)([prepared]))
    axes = tuple(range(values.ndim - 1))
    mean, variance = (
        np.asarray(v, np.float64) for v in (layer.moving_mean, layer.moving_variance)
    )
    scale = variance + layer.epsilon
    size = float(np.sqrt((((values - mean) ** 2) / scale).mean()))
    spread = float(np.median(values.var(axes) / scale))
    if size <= FAR and spread >= NARROW:
        return None
    found = (
        f"{size:.3g} times as far from the mean"
        if size > FAR
        else f"{spread:.1e} times as much variance"
    )
    return (
        f"The input of the layer {layer.name!r} has {found} as in the training: the "
        f"network's input is {prepared.min():.3g} to {prepared.max():.3g}. "
        "--preprocess, or --scale, --mean, --std and --bgr, state what it expects."
    )


def _first_normalisation(model: Any) -> Any:
    """The first batch normalisation over channels of a graph; None without one."""
    import keras

    if not hasattr(model, "layers") or not getattr(model, "built", False):
        return None
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            last = layer.axis in (-1, len(layer.output.shape) - 1)
            return layer if last else None
    return None
