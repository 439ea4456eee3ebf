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
