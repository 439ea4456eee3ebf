"""The small networks of the league: built, trained in seconds, cached as .npz."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.benchmarks.league import columns, digits, series, tokens
from tests.benchmarks.league.tasks import TASKS

L, ops = keras.layers, keras.ops
#: The accuracy on new samples that a network needs to take part.
ACCURACY = 0.85
#: Samples of the training set, of one epoch, and of the test.
SAMPLES, TESTED = 20_000, 2_000


#: The networks that are trained on fewer samples, for the size of these.
FEWER = {"cnn64": 5_000}


def _classifier(shape: tuple, body: list, classes: int = 2, **kind: Any) -> keras.Model:
    return keras.Sequential(
        [keras.Input(shape, **kind), *body, L.Dense(classes), L.Softmax()]
    )


class Positions(L.Layer):
    """Adds a learned vector to each position."""

    def build(self, shape: tuple) -> None:
        """Create the table."""
        self.table = self.add_weight(shape=shape[1:], name="table")

    def call(self, x: Any) -> Any:
        """Return x + table."""
        return x + self.table


def _attention() -> keras.Model:
    ids = keras.Input((tokens.LENGTH,), dtype="int32")
    x = Positions()(L.Embedding(tokens.VOCABULARY, 32)(ids))
    for _ in range(2):
        y = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(2, 16)(y, y)
        x = x + L.Dense(32)(L.Dense(64, "gelu")(L.LayerNormalization()(x)))
    x = L.GlobalAveragePooling1D()(L.LayerNormalization()(x))
    return keras.Model(ids, L.Softmax()(L.Dense(2)(x)))


def _conv(side: int, channels: int, classes: int = 2) -> keras.Model:
    return _classifier((side, side, channels), [
        L.Conv2D(16, 3, padding="same", activation="relu"),
        L.Conv2D(16, 3, padding="same", activation="relu"), L.MaxPooling2D(),
        L.Conv2D(32, 3, padding="same", activation="relu"), L.Flatten(),
        L.Dense(32, activation="relu"),
    ], classes)  # fmt: skip


def _large() -> keras.Model:
    """A network of images of 64 x 64, with three poolings."""
    return _classifier((64, 64, 1), [
        L.Conv2D(8, 5, strides=2, padding="same", activation="relu"),
        L.Conv2D(16, 3, padding="same", activation="relu"), L.MaxPooling2D(),
        L.Conv2D(32, 3, padding="same", activation="relu"), L.MaxPooling2D(),
        L.Flatten(), L.Dense(32, activation="relu"),
    ])  # fmt: skip


def _dense(shape: tuple) -> keras.Model:
    return _classifier(shape, [
        L.Flatten(), L.Dense(64, activation="relu"), L.Dense(32, activation="relu"),
    ])  # fmt: skip


#: (kind of input, name) -> the network.
NETWORKS: Mapping[tuple[str, str], Callable[[], keras.Model]] = {
    ("images", "linear"): lambda: _classifier((8, 8, 1), [L.Flatten()]),
    ("images", "mlp"): lambda: _dense((8, 8, 1)),
    ("images", "cnn"): lambda: _conv(8, 1),
    ("images", "cnn16"): lambda: _conv(16, 3),
    ("images", "cnn64"): _large,
    ("images", "digits"): lambda: _conv(16, 3, digits.CLASSES),
    ("tables", "linear"): lambda: _classifier((columns.COLUMNS,), []),
    ("tables", "mlp"): lambda: _dense((columns.COLUMNS,)),
    ("series", "cnn"): lambda: _classifier((series.LENGTH, 1), [
        L.Conv1D(16, 5, padding="same", activation="relu"), L.MaxPooling1D(),
        L.Conv1D(32, 5, padding="same", activation="relu"), L.Flatten(),
        L.Dense(32, activation="relu"),
    ]),
    ("series", "lstm"): lambda: _classifier((series.LENGTH, 1), [L.LSTM(24)]),
    ("tokens", "attention"): _attention,
    ("tokens", "lstm"): lambda: _classifier(
        (tokens.LENGTH,),
        [L.Embedding(tokens.VOCABULARY, 16), L.LSTM(24)], dtype="int32",
    ),
}  # fmt: skip
#: Epochs of training, at most; it stops at an accuracy of 98 %.
EPOCHS = 10


@cache
def network(kind: str, name: str) -> keras.Model:
    """Return the network, built once and compiled for training."""
    model = NETWORKS[kind, name]()
    model.compile(
        keras.optimizers.Adam(2e-3),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=10,
    )
    return model


def _reset(model: keras.Model, kind: str, name: str, seed: int) -> None:
    """Put fresh initial weights into the model and its optimizer."""
    keras.utils.set_random_seed(seed)
    model.set_weights(NETWORKS[kind, name]().get_weights())
    for v in model.optimizer.variables:
        if "learning_rate" not in v.path:
            v.assign(ops.zeros_like(v))


def load(task: str, name: str, seed: int, folder: Path) -> tuple[keras.Model, float]:
    """Return the trained network of a task, and its accuracy on new samples.

    The model is the one of `network`, with other weights. They are read from the
    folder, or trained and written there.
    """
    kind = TASKS[task].kind
    model, file = network(kind, name), folder / f"{task}-{name}-{seed}.npz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        accuracy = _train(model, task, name, seed)
        part = file.with_suffix(".part.npz")
        np.savez(part, *model.get_weights(), accuracy=accuracy)
        part.rename(file)
    with np.load(file) as kept:
        model.set_weights([kept[f"arr_{i}"] for i in range(len(model.weights))])
        return model, float(kept["accuracy"])


def _train(model: keras.Model, task: str, name: str, seed: int) -> float:
    """Train from new weights; return the accuracy on new samples."""
    rng = np.random.default_rng([seed, 1])
    x, y, _ = TASKS[task].draw(rng, FEWER.get(name, SAMPLES))
    new, right, _ = TASKS[task].draw(rng, TESTED)
    _reset(model, TASKS[task].kind, name, seed)
    accuracy = 0.0
    for _ in range(EPOCHS):
        model.fit(x, y, 100, epochs=1, verbose=0)
        answers = model.predict(new, 1000, verbose=0).argmax(-1)
        accuracy = float((answers == right).mean())
        if accuracy > 0.98:
            break
    return accuracy
