"""Models that no reader reads as a whole, random ones, and inputs of any size."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tfxai import extend
from tfxai.errors import RandomOutputWarning, UnsupportedLayerError

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 8)).astype("float32")
W = tf.Variable(RNG.normal(size=(8, 16)).astype("float32"))
V = tf.Variable(RNG.normal(size=(16, 3)).astype("float32"))


@tf.custom_gradient
def turned(v):
    """The same values with the opposite slope: no relevance rule covers it."""
    return tf.identity(v), lambda g: -g


def logits(x):
    return tf.nn.relu(turned(x) @ W) @ V


ENDS = {
    "softmax": tf.nn.softmax,
    "log_softmax": tf.nn.log_softmax,
    "sigmoid": tf.sigmoid,
}


@pytest.mark.parametrize("end", ENDS)
def test_the_last_step_of_a_model_that_cannot_be_read_is_taken_off(end):
    wrapped = tfxai.wrap(lambda x: ENDS[end](logits(x)), specs=[(None, 8)])
    assert wrapped.link == end
    with pytest.raises(UnsupportedLayerError):
        wrapped.program()
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        z = logits(x)[:, 1]
    e = tfxai.explain(wrapped, X, "gradient", target=1)
    np.testing.assert_allclose(e.score, z, rtol=1e-5)
    np.testing.assert_allclose(e.relevance, tape.gradient(z, x), rtol=1e-5, atol=1e-6)
    own = np.asarray(ENDS[end](logits(X)))
    chances = np.exp(own) if end == "log_softmax" else own
    np.testing.assert_allclose(wrapped.probabilities(X), chances, rtol=1e-4)


def test_one_sigmoid_of_a_model_that_cannot_be_read_has_two_classes():
    def function(x):
        return tf.sigmoid(logits(x)[:, :1])

    wrapped = tfxai.wrap(function, specs=[(None, 8)])
    maps = [tfxai.explain(wrapped, X, "gradient", target=t).relevance for t in (0, 1)]
    np.testing.assert_allclose(maps[0], -maps[1])
    p = np.asarray(function(X))
    np.testing.assert_allclose(wrapped.probabilities(X), np.hstack([1 - p, p]), 1e-4)


def test_a_tf_function_without_a_signature_takes_the_shape_of_the_input():
    function = tf.function(lambda x: tf.nn.softmax(tf.nn.relu(x @ W) @ V))
    wrapped = tfxai.wrap(function)
    e = tfxai.explain(wrapped, X, "input_t_gradient", target=1)
    z = (tf.nn.relu(X @ W) @ V)[:, 1]
    np.testing.assert_allclose(e.score, z, rtol=1e-5)
    np.testing.assert_allclose(e.relevance.sum(-1), z, rtol=1e-4)
    e = tfxai.explain(wrapped, X, "lrp.z", target=1)  # the shape is known now
    np.testing.assert_allclose(e.relevance.sum(-1), z, rtol=1e-4)


class Noise(L.Layer):
    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


def test_a_model_that_draws_at_random_is_a_warning():
    i = keras.Input((8,))
    model = keras.Model(i, L.Dense(3, "softmax")(Noise()(L.Dense(4)(i))))
    with pytest.warns(RandomOutputWarning, match="different outputs for the same"):
        tfxai.explain(model, X, "gradient", target=1)
    still = keras.Model(i, L.Dense(3, "softmax")(L.Dropout(0.5)(i, training=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RandomOutputWarning)
        e = tfxai.explain(still, X, "lrp.z", target=1)  # `predict` drops nothing
    kernel = still.layers[-1].kernel.numpy()
    np.testing.assert_allclose(e.relevance, X * kernel[:, 1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("length", [5, 7])
def test_the_layers_of_each_time_step_at_any_length(length):
    i = keras.Input((None, 6))
    h = L.GlobalAveragePooling1D()(L.TimeDistributed(L.Dense(4, "leaky_relu"))(i))
    model = keras.Model(i, L.Dense(3, "softmax")(h))
    x = RNG.normal(size=(3, length, 6)).astype("float32")
    for method in ("lrp.z", "integrated_gradients"):
        e = tfxai.explain(model, x, method, target=1)
        z = np.log(model.predict(x, verbose=0))
        others = tfxai.wrap(model).logits(x)
        np.testing.assert_allclose(e.score, others[:, 1], rtol=1e-5)
        np.testing.assert_allclose(np.diff(others), np.diff(z), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(e.relevance.sum((1, 2)), e.score, rtol=1e-3)
        assert np.abs(e.relevance).sum(-1).min() > 0  # every frame counts


class Scaled(L.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="normal")

    def call(self, x):
        return keras.ops.relu(x * self.scale)


def test_a_layer_as_wide_as_the_marker_of_the_batch():
    i = keras.Input((4,))
    model = keras.Model(i, L.Dense(2)(Scaled()(L.Dense(10007, use_bias=False)(i))))
    x = X[:2, :4]
    e = tfxai.explain(model, x, "lrp.z", target=1)
    np.testing.assert_allclose(e.score, model(x)[:, 1], rtol=1e-4)
    np.testing.assert_allclose(e.relevance.sum(-1), e.score, rtol=1e-3, atol=1e-6)


class Mixed(L.Layer):
    """Each output depends on all inputs of its sample."""

    def call(self, x):
        return tf.cumsum(x, -1)


def test_an_activation_that_mixes_its_inputs_is_refused():
    i = keras.Input((8,))
    model = keras.Model(i, L.Dense(3)(Mixed(name="mixed")(L.Dense(4)(i))))
    with extend.restored():
        extend.layer(Mixed, kind="activation")
        analyzer = tfxai.create_analyzer("lrp.epsilon", model)
        with pytest.raises(UnsupportedLayerError, match=r"'mixed'.*several") as caught:
            analyzer.analyze(X, target=1)
        exec(caught.value.write, {"extend": extend, "Mixed": Mixed})
        e = tfxai.explain(model, X, "lrp.epsilon", target=1)
    np.testing.assert_allclose(e.relevance.sum(-1), e.score, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["lrp.flat", "lrp.w_square"])
def test_upsampled_zeros_lose_nothing(method):
    i = keras.Input((6, 6, 3))
    h = L.Conv2D(4, 3, activation="relu")(i)
    h = L.UpSampling2D(2, interpolation="bilinear")(h)
    h = L.MaxPooling2D(2)(L.Conv2D(4, 3, activation="relu")(h))
    model = keras.Model(i, L.Dense(3)(L.Flatten()(h)))
    x = RNG.normal(size=(2, 6, 6, 3)).astype("float32")
    e = tfxai.explain(model, x, method, target=1)
    np.testing.assert_allclose(e.relevance.sum((1, 2, 3)), e.score, rtol=1e-4)
