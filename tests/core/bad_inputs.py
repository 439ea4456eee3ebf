"""Small models, random inputs and `raises`: what the tests of errors share."""

import re

import keras
import numpy as np
import pytest

from tfxai.errors import TfxaiError

L = keras.layers


def filled(model, seed=0):
    """The model with random weights."""
    rng = np.random.default_rng(seed)
    for v in model.weights:
        v.assign(rng.normal(size=v.shape) / np.sqrt(max(1, np.prod(v.shape[:-1]))))
    return model


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def raises(error, *parts):
    """Expect `error`, a TfxaiError, with these telling parts in this order."""
    assert issubclass(error, TfxaiError)
    return pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, parts)))


@pytest.fixture(scope="module")
def model():
    i = keras.Input((4, 4, 2))
    x = L.Conv2D(3, 3, activation="relu", name="conv")(i)
    return filled(keras.Model(i, L.Dense(6, "softmax")(L.Flatten()(x)), name="net"))


class Subclassed(keras.Model):
    """A model that is only code."""

    def __init__(self):
        super().__init__(name="coded")
        self.dense = L.Dense(3)

    def call(self, x):
        """Three answers."""
        return self.dense(x)
