"""BatchNormalization as Keras 2 and SavedModels compute it: one operation."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tests import zoo
from tfxai.errors import UnsupportedLayerError

X = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")


def network():
    x = keras.Input((8, 8, 3))
    y = L.ReLU()(L.BatchNormalization(name="norm")(L.Conv2D(5, 3, name="conv")(x)))
    y = L.Conv2D(4, 3, activation="relu", name="second")(y)
    return zoo.fill(keras.Model(x, L.Dense(3, name="head")(L.Flatten()(y))))


class Fused(tf.Module):
    """The same network in the operations of TensorFlow 1 and Keras 2."""

    def __init__(self, model, training=False):
        self.model, self.training = model, training

    def __call__(self, x):
        conv, norm, second, head = (
            self.model.get_layer(n) for n in ("conv", "norm", "second", "head")
        )
        y = tf.nn.conv2d(x, conv.kernel, 1, "VALID") + conv.bias
        y, *_ = tf.compat.v1.nn.fused_batch_norm(
            y, norm.gamma, norm.beta,
            None if self.training else norm.moving_mean,
            None if self.training else norm.moving_variance,
            epsilon=norm.epsilon, is_training=self.training,
        )  # fmt: skip
        y = tf.nn.conv2d(tf.nn.relu(y), second.kernel, 1, "VALID") + second.bias
        return tf.reshape(tf.nn.relu(y), [-1, 64]) @ head.kernel + head.bias


@pytest.mark.parametrize("method", ["lrp.epsilon", "lrp.alpha_2_beta_1", "sglrp"])
def test_its_maps_are_those_of_the_layer(method):
    model = network()
    wrapped = tfxai.wrap(Fused(model), specs=[tf.TensorSpec((None, 8, 8, 3))])
    np.testing.assert_allclose(wrapped.logits(X), model(X), 1e-4, 1e-5)
    ours, wanted = (
        tfxai.explain(m, X, method, [[0, 1]] * 3).relevance for m in (wrapped, model)
    )
    np.testing.assert_allclose(ours, wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_saved_model(tmp_path):
    model = network()
    module = Fused(model)
    module.serve = tf.function(module, input_signature=[tf.TensorSpec((None, 8, 8, 3))])
    tf.saved_model.save(module, tmp_path / "m", signatures=module.serve)
    loaded = tf.saved_model.load(tmp_path / "m")
    ours = tfxai.explain(loaded, X, "lrp.epsilon", 1).relevance
    wanted = tfxai.explain(model, X, "lrp.epsilon", 1).relevance
    np.testing.assert_allclose(ours, wanted, atol=1e-4 * np.abs(wanted).max())


def test_statistics_of_the_batch_are_named():
    specs = [tf.TensorSpec((None, 8, 8, 3))]
    module = tfxai.wrap(Fused(network(), training=True), specs=specs)
    with pytest.raises(UnsupportedLayerError, match="mixes the samples"):
        tfxai.explain(module, X, "lrp.epsilon", 1)


@pytest.mark.slow
def test_a_model_of_keras_2():
    if not os.environ.get("CI"):  # .ci/run installs it
        pytest.importorskip("tf_keras", reason="needs tf_keras, not installed")
    import tf_keras as old

    layers = old.layers
    model = old.Sequential(
        [
            *(
                layers.Input((8, 8, 3)),
                layers.Conv2D(4, 3),
                layers.BatchNormalization(),
            ),
            *(layers.ReLU(), layers.Flatten(), layers.Dense(3)),
        ]
    )
    with tf.GradientTape() as tape:
        x = tf.constant(X)
        tape.watch(x)
        score = model(x, training=False)[:, 1]
    wanted = x * tape.gradient(score, x)
    e = tfxai.explain(model, X, "lrp.z", 1)
    np.testing.assert_allclose(e.score, score, 1e-4, 1e-5)
    # Without biases LRP-0 is input times gradient: all of them are 0 here.
    np.testing.assert_allclose(e.relevance, wanted, atol=1e-4 * np.abs(wanted).max())
