"""Models that Keras quantised: maps against the layers' own outputs and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tfxai.base.errors import UnsupportedLayerError

L = keras.layers
#: How a layer is written, and the shape of its input.
LAYERS = {
    "dense": (lambda: L.Dense(5), (8,)),
    "two axes": (lambda: L.EinsumDense("abc,cde->abde", (3, 2, 4)), (3, 8)),
    "two axes become one": (lambda: L.EinsumDense("abde,dec->abc", (3, 5)), (3, 2, 4)),
    "an axis in the middle": (lambda: L.EinsumDense("abc,bd->adc", (5, 8)), (6, 8)),
    "a kernel of each head": (
        lambda: L.EinsumDense("abnc,ncd->abnd", (3, 2, 5)),
        (3, 2, 4),
    ),
}


def quantized(layers, shape, mode: str) -> tuple[keras.Model, np.ndarray]:
    """A quantised model, and two inputs."""
    model = keras.Sequential([keras.Input(shape), *layers])
    model.quantize(mode)
    drawn = np.random.default_rng(3).normal(size=(2, *shape))
    return model, drawn.astype("float32")


def rows(layer, n: int) -> np.ndarray:
    """The kernel that a quantised layer applies: unit vectors are rounded to such."""
    return np.asarray(layer(np.eye(n, dtype="float32")), "float64")


@pytest.mark.parametrize("mode", ["int8", "float8", "int4"])
def test_without_biases_epsilon_is_gradient_times_input(mode):
    """R = x * W1 (1[z > 0] * W2): the formula, with the kernels as they are rounded."""
    layers = [L.Dense(16, "relu", use_bias=False), L.Dense(3, use_bias=False)]
    model, x = quantized(layers, (8,), mode)
    e = tfxai.explain(model, x, "lrp.epsilon", target=1, epsilon=0)
    open_gates = np.asarray(model.layers[0](x)) > 0
    model.layers[0].activation = keras.activations.linear
    first, last = (
        rows(layer, n) for layer, n in zip(model.layers, (8, 16), strict=True)
    )
    wanted = x * ((open_gates * last[:, 1]) @ first.T)
    np.testing.assert_allclose(e.relevance, wanted, atol=1e-5 * abs(wanted).max())
    np.testing.assert_allclose(e.score, np.asarray(model_score(model, x)), rtol=1e-5)


def model_score(model, x):
    """The answer of the model whose first activation was taken off."""
    return model.layers[1](tf.nn.relu(model.layers[0](x)))[:, 1]


@pytest.mark.parametrize("name", LAYERS)
def test_epsilon_is_the_gradient_that_the_layer_declares(name):
    build, shape = LAYERS[name]
    model, x = quantized([build(), L.Flatten(), L.Dense(3)], shape, "int8")
    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        score = model(given)[:, 1]
    slope = tape.gradient(score, given)
    wanted = x * slope
    found = tfxai.explain(model, x, "gradient", target=1).relevance
    np.testing.assert_allclose(found, slope, atol=1e-5 * np.abs(slope).max())
    e = tfxai.explain(model, x, "lrp.epsilon", target=1, epsilon=0)
    np.testing.assert_allclose(e.relevance, wanted, atol=1e-4 * np.abs(wanted).max())
    np.testing.assert_allclose(e.score, score, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["lrp.z_plus", "lrp.gamma", "lrp.w_square", "sglrp"])
def test_rules_map_the_kernel_times_its_scale(method):
    layers = [L.Dense(16, "relu"), L.Dense(3)]
    model, x = quantized(layers, (8,), "int8")
    plain = keras.Sequential([keras.Input((8,)), L.Dense(16, "relu"), L.Dense(3)])
    for new, old in zip(plain.layers, model.layers, strict=True):
        scale = np.asarray(old.kernel_scale).reshape(-1)
        new.kernel.assign(np.asarray(old._kernel, "float32") / scale)
        new.bias.assign(np.asarray(old.bias))
    found = tfxai.explain(model, x, method).relevance
    wanted = tfxai.explain(plain, x, method).relevance
    # A value moves by at most 1 / 254 of the largest one of its vector.
    np.testing.assert_allclose(found, wanted, atol=0.03 * np.abs(wanted).max())


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_vectors_of_a_quantised_table(mode):
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), L.Embedding(10, 8), L.Flatten(), L.Dense(3)]
    )
    x = np.random.default_rng(0).integers(0, 10, (2, 6)).astype("int32")
    model.layers[0].quantize(mode)
    vectors = np.asarray(model.layers[0](x), "float64")
    kernel = np.asarray(model.layers[2].kernel).reshape(6, 8, 3)[..., 1]
    found = tfxai.explain(model, x, "lrp.epsilon", target=1, epsilon=0).relevance
    np.testing.assert_allclose(found, (vectors * kernel).sum(-1), atol=1e-6)


def test_another_product_of_whole_numbers_is_named(monkeypatch):
    monkeypatch.setattr("tfxai.graph.trace.quantized.MATRIX", frozenset())
    model, x = quantized([L.Dense(3)], (8,), "int8")
    named = r"layer 'dense.*' \(Dense\) divides whole numbers in a way that no step"
    with pytest.raises(UnsupportedLayerError, match=named) as caught:
        tfxai.explain(model, x, "lrp.epsilon", target=1)
    assert 'method="gradient"' in caught.value.write
