"""Faster ways back are the gradient's: W^T s, for every shape of a convolution."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxai.graph import turned
from tfxai.graph.program import trace

L = keras.layers
#: (height, width, channels), and Conv2D's filters, kernel, strides and padding
ROWS = {
    "AlexNet": ((35, 35, 3), (5, 11, 4, "valid")),
    "ResNet": ((24, 24, 3), (6, 7, 2, "valid")),
    "SqueezeNet": ((23, 21, 3), (4, 7, 2, "valid")),
    "same": ((22, 23, 3), (4, 7, 2, "same")),
    "MobileNet": ((24, 24, 3), (8, 3, 2, "same")),
    "patches": ((24, 32, 3), (9, 8, 8, "valid")),
    "not all read": ((27, 30, 3), (9, 8, 8, "valid")),
    "gaps": ((13, 14, 1), (3, 2, 3, "same")),
    "oblong": ((17, 12, 2), (3, (1, 5), 2, "same")),
    "one row": ((1, 30, 4), (3, (1, 9), 4, "same")),
    "stride 1": ((28, 29, 16), (3, (3, 4), 1, "same")),
    "stride 1, valid": ((30, 28, 17), (2, (5, 2), 1, "valid")),
}


def made(shape, options):
    """The step of a convolution, and a picture."""
    rng = np.random.default_rng(1)
    filters, kernel, strides, padding = options
    layer = L.Conv2D(filters, kernel, strides, padding, bias_initializer="ones")
    model = keras.Sequential([keras.Input(shape), layer])
    layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    (step,) = [s for s in trace(model).steps if s.kind == "conv"]
    return step, tf.constant(rng.normal(size=(3, *shape)), tf.float32)


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """Small maps count as large ones: what is tested is the same."""
    monkeypatch.setattr(turned, "MANY", 28 * 28)


@pytest.mark.parametrize("row", ROWS)
def test_a_faster_way_back_is_the_gradient(row):
    step, x = made(*ROWS[row])
    kernel, _ = step.weights.read([x])
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = step.apply([x], kernel)
    s = tf.random.stateless_normal(z.shape, (1, 2))
    wanted = tape.gradient(z, x, s)
    found = step.transpose(s, kernel)
    assert found.shape == x.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)
    compiled = tf.function(step.transpose)(s, kernel)
    np.testing.assert_allclose(compiled, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "shape, options",
    [
        ((30, 30, turned.FEW + 1), {"strides": 2}),
        ((30, 30, 3), {"strides": (1, 2)}),
        ((30, 30, 3), {"dilation_rate": 2}),
        ((30, 30, 4), {"strides": 2, "groups": 2}),
        ((None, 30, 3), {"strides": 2}),
        ((30, 30, turned.DEEP - 1), {}),
        ((27, 28, turned.DEEP), {}),
    ],
)
def test_where_the_gradient_is_taken(shape, options):
    layer = L.Conv2D(4, 3, **options)
    layer.build((None, *shape))
    assert turned.convolution(layer, shape) is None
