"""Loops over the samples (`tf.map_fn`, `keras.ops.map`), read as what they compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tests import zoo
from tfxai.errors import UnsupportedLayerError
from tfxai.graph.step import KINDS


def _strongest(h):
    return tf.math.top_k(tf.reduce_sum(h, -1), 2).indices


def _row(pair):
    vectors, chosen = pair
    return tf.gather(vectors, chosen)


def _column(pair):
    vectors, chosen = pair
    return tf.gather(vectors, chosen, axis=-1)


def _curve(vectors):
    return tf.nn.relu(vectors * [1.0, -2.0, 3.0, 0.5]) + 1.0


def _mapped(function):
    """The loop over samples of a function of (vectors, chosen)."""
    return lambda h, i: tf.map_fn(function, (h, i), fn_output_signature=tf.float32)


#: name -> (a loop over the samples, the same without a loop), functions of (B, 5, 4).
SPELLINGS = {
    "gather": (_mapped(_row), lambda h, i: tf.gather(h, i, batch_dims=1)),
    "gather of an axis": (
        lambda h, i: _mapped(_column)(h, tf.minimum(i, 3)),
        lambda h, i: tf.gather(h, tf.minimum(i, 3), axis=-1, batch_dims=1),
    ),
    "keras.ops.map": (
        lambda h, i: keras.ops.map(_row, (h, i)),
        lambda h, i: tf.gather(h, i, batch_dims=1),
    ),
    "fixed rows": (
        lambda h, _: tf.map_fn(lambda v: tf.gather(v, [3, 1]), h),
        lambda h, _: tf.gather(h, [3, 1], axis=1),
    ),
    "element by element": (lambda h, _: tf.map_fn(_curve, h), lambda h, _: _curve(h)),
    "two tensors": (
        lambda h, _: tf.map_fn(lambda p: p[0] * p[1], (h, h[:, ::-1]), tf.float32),
        lambda h, _: h * h[:, ::-1],
    ),
}


class Looped(keras.Model):
    """A Dense layer, a function of its vectors and of two positions, a Dense layer."""

    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = L.Dense(4), L.Dense(3), function
        self.flat = L.Flatten()

    def call(self, x):
        h = self.first(x)
        return self.last(self.flat(self.function(h, _strongest(h))))


X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")


def built(function):
    model = Looped(function)
    model(X)
    return zoo.fill(model)


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_loop_has_the_map_of_what_it_computes(name):
    looped, plain = (built(f) for f in SPELLINGS[name])
    np.testing.assert_allclose(looped(X), plain(X), 1e-5, 1e-5)
    for method in ("lrp.epsilon", "lrp.alpha_2_beta_1"):
        ours, wanted = (
            tfxai.explain(m, X, method, [[0, 1]] * 4).relevance for m in (looped, plain)
        )
        np.testing.assert_allclose(ours, wanted, atol=1e-5 * np.abs(wanted).max())


def test_each_step_has_its_own_way_back():
    model = built(SPELLINGS["gather"][0])
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        score = model(x)[:, 1]
    wanted = tape.gradient(score, x) * score[:, None, None]
    rules = dict.fromkeys(KINDS, "gradient")
    ours = tfxai.explain(model, X, "lrp.z", 1, rules=rules).relevance
    np.testing.assert_allclose(ours, wanted, atol=1e-5 * np.abs(wanted).max())


def _running(h, _):
    return tf.transpose(
        tf.scan(lambda sum_, v: sum_ + v, h, tf.zeros([5, 4])), [0, 1, 2]
    )


def _numbered(h, _):
    count = tf.shape(h)[0]
    found = tf.TensorArray(tf.float32, count)

    def body(i, found):
        return i + 1, found.write(i, h[i] * tf.cast(i, tf.float32))

    return tf.while_loop(lambda i, _: i < count, body, (0, found))[1].stack()


REFUSALS = {
    "sum over samples": (_running, "from one sample to the next"),
    "number of the turn": (_numbered, "the number of the turn"),
    "whole batch": (
        lambda h, _: tf.map_fn(lambda v: v + tf.reduce_mean(h, 0), h),
        "mixes the samples|whole batch",
    ),
    "product of matrices": (
        lambda h, _: tf.map_fn(lambda v: v @ tf.ones([4, 2]), h),
        "in a loop over the samples",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_read_is_named(name):
    function, words = REFUSALS[name]
    with pytest.raises(UnsupportedLayerError, match=words):
        tfxai.create_analyzer("lrp.epsilon", built(function))
    gradient = tfxai.explain(built(function), X, "gradient", 1).relevance
    assert np.isfinite(gradient).all() and gradient.any()
