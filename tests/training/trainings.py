"""A small network, its training at a fixed seed, and what watches it."""

from pathlib import Path

import keras
import numpy as np
import pytest

L = keras.layers

ROOT = Path(__file__).resolve().parents[2]


EPOCHS, BATCHES = 3, 5
BOXES = [[0, 0, 0.4, 0.4], [[0.5, 0, 1, 1]], [0.2, 0.2, 0.9, 0.9]]
GRID = {"segmenter": "grid", "segmenter_options": {"cells": 4}}
#: name -> its options: what reads the weights in a way of its own.
ANALYZERS = {
    "sglrp": {},
    "integrated_gradients": {"n_steps": 8},
    "smoothgrad": {"n_samples": 4},
    "lime": {"n_samples": 40, **GRID},
}
#: The same, where there is more time.
MORE = {**ANALYZERS, "gradient": {}, "gradcam": {}, "occlusion": {}, "deep_taylor": {}}
MEASURES = ("relevance_mass", "sparseness", "max_sensitivity", "randomisation_distance")


def network():
    """A small network with Dropout and BatchNormalization."""
    x = keras.Input((12, 12, 3))
    y = L.BatchNormalization()(L.Conv2D(4, 3, activation="relu")(x))
    y = L.Dropout(0.3)(L.MaxPooling2D()(y))
    y = L.Flatten()(L.Conv2D(4, 3, name="last")(y))
    return keras.Model(x, L.Dense(3, "softmax")(y))


def data():
    """Random pictures (40, 12, 12, 3), and which of three classes they are."""
    x = np.random.default_rng(0).uniform(0, 1, (40, 12, 12, 3)).astype("float32")
    y = np.arange(40) % 3
    x[y == 1, :5, :5] = 1
    return x, y


def fitted(watching, epochs=EPOCHS, model=None, **options):
    """The model after `fit` at a fixed seed, and its history."""
    x, y = data()
    if model is None:
        keras.utils.set_random_seed(7)
        model = network()
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    history = model.fit(
        x, y, 8, epochs, verbose=0, callbacks=watching, shuffle=True, **options
    )
    return model, history.history


class Weights(keras.callbacks.Callback):
    """The weights before the training and after each epoch and batch."""

    def __init__(self):
        super().__init__()
        self.at, self.after = {}, []

    def on_train_begin(self, logs=None):
        self.at[0] = self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        self.after.append(self.model.get_weights())

    def on_epoch_end(self, epoch, logs=None):
        self.at[epoch + 1] = self.model.get_weights()


def keeper():
    """A logger, and what it was given: (step, name) -> array."""
    kept = {}
    return kept, lambda step, name, array: kept.__setitem__((step, name), array)


def with_weights(weights):
    model = network()
    model.set_weights(weights)
    return model


@pytest.fixture(scope="module")
def model():
    """A model that any test may train further: it is compiled once."""
    return fitted([], 1)[0]
