"""Several seeds pass a step at once only where samples stay samples."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tests import zoo


def _twice(x):
    """Both halves of the batch, twice as long, and back."""
    both = tf.concat([x, -x], 0)
    both = tf.nn.gelu(both)
    first, second = tf.split(both, 2, 0)
    return first + 0.5 * second


def _time_major(x):
    y = tf.transpose(x, [1, 0, 2])
    return tf.transpose(tf.nn.softmax(y, 2) * y, [1, 0, 2])


def _blocks(x):
    y = tf.space_to_batch(x[:, :, None], [2, 1], [[0, 0], [0, 0]])
    return tf.batch_to_space(tf.tanh(y), [2, 1], [[0, 0], [0, 0]])[:, :, 0]


def _tokens_of_the_batch(x):
    token = tf.tile(tf.ones([1, 1, 4]), [tf.shape(x)[0], 1, 1])
    return tf.concat([token, x], 1)


def _reversed_batch_twice(x):
    return tf.reverse(tf.tanh(tf.reverse(x, [0])), [0])


def _normalised(x):
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    scale = tf.reduce_mean(centred**2, -1, keepdims=True) + 1e-3
    return centred * tf.math.rsqrt(scale)


def _in_rows(x):
    return tf.reshape(tf.nn.relu(tf.reshape(x, [-1, 4])), [-1, 6, 4])


#: function of (B, 6, 4) -> must its steps all be passed at once?
BODIES = {
    "twice": (_twice, False),
    "time_major": (_time_major, False),
    "blocks": (_blocks, False),
    "tokens_of_the_batch": (_tokens_of_the_batch, False),
    "reversed": (_reversed_batch_twice, False),
    "normalised": (_normalised, True),
    "attention": (lambda x: tf.nn.softmax(x @ tf.transpose(x, [0, 2, 1])) @ x, True),
    "reshaped": (_in_rows, True),
    "unstacked": (lambda x: tf.add_n([tf.tanh(v) for v in tf.unstack(x, 6, 1)]), True),
}  # fmt: skip


class Body(keras.Model):
    """A model of raw TensorFlow operations between two dense layers."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.first, self.flat, self.last = L.Dense(4), L.Flatten(), L.Dense(3)

    def call(self, x):
        y = self.function(self.first(x))
        return self.last(self.flat(y))


@pytest.mark.parametrize("name", BODIES)
def test_targets_together_are_targets_one_by_one(name):
    function, at_once = BODIES[name]
    model = Body(function)
    x = np.random.default_rng(0).normal(size=(3, 6, 4)).astype("float32")
    model(x)
    zoo.fill(model)
    wrapped = tfxai.wrap(model)
    for method in ("lrp.epsilon", "lrp.attn", "sglrp.sequential_preset_a"):
        analyzer = tfxai.create_analyzer(method, wrapped)
        assert all(s.by_sample for s in analyzer.graph.program.steps) is at_once
        together = analyzer.analyze(x, [[0, 1, 2]] * 3).relevance
        size = np.abs(together).max()
        for c in range(3):
            alone = analyzer.analyze(x, c).relevance
            np.testing.assert_allclose(together[:, c], alone, atol=1e-5 * size)


def _spread(x):
    """Sums (B, 4) of values (B, 6, 4), read along the positions where B is 1 or 6."""
    return x[:, :4] - tf.reduce_mean(x, 1)


W = np.random.default_rng(1).normal(size=(4, 4)).astype("float32")
#: function of (B, 6, 4) -> are all of its steps passed at once?
STEPS = {
    "einsum": (lambda x: tf.einsum("btc,cd->btd", x, W), True),
    "einsum of samples in the middle": (
        lambda x: tf.einsum("btc,cd->tbd", x, W),
        False,
    ),
    "constant first": (lambda x: tf.matmul(np.ones((6, 6), "float32"), x), True),
    "gather of positions": (lambda x: tf.gather(x, [3, 1], axis=1), True),
    "cumulative sum of positions": (lambda x: tf.cumsum(x, 1), True),
    "padded positions": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]]), True),
    "rolled positions": (lambda x: tf.roll(x, 2, 1), True),
    "joined channels": (lambda x: tf.concat([x, tf.tanh(x)], -1), True),
    "named slice": (lambda x: x[:, 1::2], True),
    "open slice": (lambda x: x[..., ::-1], True),
    "open slice of samples": (lambda x: x[:, 0, 0][..., ::-1], False),
    "reversed positions": (lambda x: x[:, ::-1], True),
    "reversed samples": (lambda x: x[::-1], False),
    "softmax of channels": (lambda x: tf.nn.softmax(x), True),
    "softmax of samples": (
        lambda x: tf.nn.softmax(x[:, 0, 0]) + tf.square(x[:, 1, 1]),
        False,
    ),
    "spread": (_spread, False),
    "mean of positions": (lambda x: tf.reduce_mean(x, 1), True),
    "stacked": (lambda x: tf.stack([x, -x], 1), True),
    "stacked in front": (lambda x: tf.stack([x, -x], 0), False),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_that_keep_their_samples(name):
    function, at_once = STEPS[name]
    specs = [tf.TensorSpec((None, 6, 4))]
    steps = tfxai.wrap(lambda x: function(x), specs=specs).program().steps
    assert all(s.by_sample for s in steps) is at_once
