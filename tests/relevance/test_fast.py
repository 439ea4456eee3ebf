"""Fast convolutions equal TensorFlow's: W x and W^T s, for every shape."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.relevance.programs import program_of
from tfxai.graph import fast

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
    "parts": ((6, 7, 256), (512, 3, 1, "same")),
    "parts, valid": ((7, 6, 257), (256, (1, 2), 1, "valid")),
    "parts, stride 1": ((28, 28, 256), (256, (2, 1), 1, "same")),
}


def convolution_step(shape, options):
    """Return a convolution, its step, and images."""
    rng = np.random.default_rng(1)
    filters, kernel, strides, padding = options
    layer = L.Conv2D(filters, kernel, strides, padding, bias_initializer="ones")
    model = keras.Sequential([keras.Input(shape), layer])
    size = layer.kernel.shape
    layer.kernel.assign(rng.normal(size=size) / np.sqrt(np.prod(size[:-1])))
    (step,) = [s for s in program_of(model).steps if s.kind == "conv"]
    return layer, step, tf.constant(rng.normal(size=(3, *shape)), tf.float32)


@pytest.fixture(autouse=True)
def small_maps_on_a_cpu(monkeypatch):
    """Treat small feature maps as large ones, and hide GPUs."""
    monkeypatch.setattr(fast, "MANY", 28 * 28)
    monkeypatch.setattr(fast, "MUCH", 6 * 6 * 256)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])


@pytest.mark.parametrize("row", ROWS)
def test_a_faster_way_is_the_convolution_and_its_gradient(row):
    layer, step, x = convolution_step(*ROWS[row])
    kernel, bias = step.weights.read([x])
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = layer(x)
    there = step.apply([x], kernel) + bias
    np.testing.assert_allclose(there, z, rtol=0, atol=2e-5)
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
        ((30, 30, fast.FEW + 1), {"strides": 2}),
        ((30, 30, 3), {"strides": (1, 2)}),
        ((30, 30, 3), {"dilation_rate": 2}),
        ((30, 30, 4), {"strides": 2, "groups": 2}),
        ((None, 30, 3), {"strides": 2}),
        ((30, 30, fast.DEEP - 1), {}),
        ((27, 28, fast.DEEP), {}),
        ((9, 9, fast.WIDE), {"filters": 64}),
        ((5, 7, fast.WIDE), {"filters": 256}),
        ((9, 9, fast.WIDE - 1), {"filters": fast.WIDE}),
        ((9, 9, fast.WIDE), {"filters": fast.WIDE, "kernel_size": 1}),
        ((9, 9, fast.WIDE), {"filters": fast.WIDE, "strides": 2}),
    ],
)
def test_where_tensorflows_own_are_taken(shape, options):
    layer = L.Conv2D(**{"filters": 4, "kernel_size": 3, **options})
    layer.build((None, *shape))
    assert fast.convolution(layer, shape) == (None, None)


def test_where_there_is_a_gpu_tensorflows_own_are_taken(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    for shape, options in ROWS.values():
        layer = L.Conv2D(*options)
        assert fast.convolution(layer, shape) == (None, None)


def test_a_deep_kernel_is_read_in_parts():
    layer = L.Conv2D(512, 3, padding="same")
    there, _ = fast.convolution(layer, (6, 7, 256))
    shapes = tf.TensorSpec((2, 6, 7, 256)), tf.TensorSpec((3, 3, 256, 512))
    graph = tf.function(lambda x, k: there([x], k)).get_concrete_function(*shapes).graph
    kernels = [
        op.inputs[1].shape.as_list()
        for op in graph.get_operations()
        if op.type == "Conv2D"
    ]
    assert kernels == [[3, 3, 256, 64]] * 8
