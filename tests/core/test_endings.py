"""The last step alone decides what is explained, also where no other one is read."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L
from keras import ops

import tfxai
from tests import zoo
from tfxai import targets


class Unread(L.Layer):
    """x, by a loop whose length depends on x."""

    def call(self, x):
        return tf.while_loop(
            lambda i, v: i < tf.reduce_sum(tf.abs(v)),
            lambda i, v: (i + 10, v),
            (0.0, x),
        )[1]

    def compute_output_shape(self, shape):
        return shape


def softmax(z):
    e = ops.exp(z - ops.max(z, -1, keepdims=True))
    return e / ops.sum(e, -1, keepdims=True)


#: z -> the answer; the number of logits, and their sign.
ENDINGS = {
    "softmax": (ops.softmax, 3, 1),
    "softmax, written": (softmax, 3, 1),
    "softmax, moved": (lambda z: ops.squeeze(ops.expand_dims(softmax(z), 1), 1), 3, 1),
    "log_softmax, written": (lambda z: z - ops.logsumexp(z, -1, keepdims=True), 3, 1),
    "sigmoid": (ops.sigmoid, 1, 1),
    "sigmoid, written": (lambda z: 1 / (1 + ops.exp(-z)), 1, 1),
    "sigmoid, moved": (lambda z: ops.reshape(ops.sigmoid(z), (-1, 1)), 1, 1),
    "one minus a sigmoid": (lambda z: 1 - ops.sigmoid(z), 1, -1),
}
X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


@pytest.mark.parametrize("name", ENDINGS)
def test_the_logits_behind_a_layer_that_cannot_be_read(name):
    function, units, sign = ENDINGS[name]
    i = keras.Input((4,))
    dense = L.Dense(units)
    z = dense(Unread()(i))
    model = zoo.fill(keras.Model(i, function(z)))
    wrapped = tfxai.wrap(model)
    assert wrapped._adapter.program is None
    z = sign * (X @ dense.kernel.numpy() + dense.bias.numpy())
    wanted = np.concatenate([-z, z], 1) if units == 1 else z
    np.testing.assert_allclose(wrapped.logits(X), wanted, rtol=1e-5, atol=1e-6)
    own = model(X).numpy()
    p = np.exp(own) if name.startswith("log") else own
    p = np.concatenate([1 - p, p], 1) if units == 1 else p
    np.testing.assert_allclose(wrapped.probabilities(X), p, atol=1e-6)
    e = tfxai.explain(wrapped, X, "gradient", 0)
    np.testing.assert_allclose(e.score, wanted[:, 0], rtol=1e-5)
    slope = dense.kernel.numpy()[:, 0] * (sign if units == 3 else -sign)
    np.testing.assert_allclose(e.relevance, np.tile(slope, (3, 1)), rtol=1e-4)
    e = tfxai.explain(wrapped, X, "gradient", targets.log_probability(1))
    np.testing.assert_allclose(e.score, np.log(p[:, 1]), rtol=1e-4, atol=1e-6)
    e = tfxai.explain(wrapped, X, "gradient", lambda y: y[:, 0])
    np.testing.assert_allclose(e.score, own[:, 0], rtol=1e-5)


class Own(L.Layer):
    """A function of TensorFlow."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


@pytest.mark.parametrize(("function", "link"), [
    (tf.function(tf.nn.softmax), "softmax"),
    (tf.function(tf.nn.gelu), "unknown"),
    (lambda z: tf.pad(tf.nn.softmax(z), [[0, 0], [0, 1]], constant_values=0.5),
     "softmax"),
])  # fmt: skip
def test_an_ending_of_tensorflow_behind_such_a_layer(function, link):
    i = keras.Input((4,))
    dense = L.Dense(3)
    model = zoo.fill(keras.Model(i, Own(function)(dense(Unread()(i)))))
    wrapped = tfxai.wrap(model)
    assert wrapped.link == link
    z = X @ dense.kernel.numpy() + dense.bias.numpy()
    wanted = z if link == "softmax" else model(X)
    np.testing.assert_allclose(wrapped.logits(X)[:, :3], wanted, rtol=1e-5, atol=1e-6)
    if link == "softmax":
        slope = dense.kernel.numpy()[:, 0]
        e = tfxai.explain(wrapped, X, "gradient", 0)
        np.testing.assert_allclose(e.relevance, np.tile(slope, (3, 1)), rtol=1e-4)


@pytest.mark.parametrize("name", ["softmax", "sigmoid, written"])
def test_lime_explains_the_probability_behind_such_a_layer(name):
    function, units, _ = ENDINGS[name]
    i = keras.Input((4,))
    model = zoo.fill(keras.Model(i, function(L.Dense(units)(Unread()(i)))))
    e = tfxai.explain(model, X, "lime", 1, n_samples=40, baseline=0.0)
    p = model(X).numpy()[:, -1 if units == 1 else 1]
    np.testing.assert_allclose(e.score, p, rtol=1e-5)
    assert e.extra["scale"] == "probability"


@pytest.mark.parametrize("function", [
    lambda z: ops.relu(z), lambda z: z * ops.sigmoid(z), lambda z: 2 * ops.sigmoid(z),
    lambda z: 1 - ops.softmax(z), lambda z: ops.mean(ops.sigmoid(z), -1, keepdims=True),
])  # fmt: skip
def test_an_ending_that_is_neither_is_its_own_score(function):
    i = keras.Input((4,))
    model = zoo.fill(keras.Model(i, function(L.Dense(3)(Unread()(i)))))
    wrapped = tfxai.wrap(model)
    np.testing.assert_allclose(wrapped.logits(X), model(X), rtol=1e-5)
    assert wrapped.ending is None and wrapped.link == "unknown"
