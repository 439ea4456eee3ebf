"""The demo network: a plain CNN that names the two digits of a scene.

It is trained once, in less than a minute on two cores, and kept in the user's cache.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import layers

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import TfxaiWarning
from tfxai.base.progress import bar
from tfxai.cli.demo.scenes import Scenes, scenes

STEPS = 1500
BATCH = 12  # many small steps: twice the batch and half the steps learn less
RATE = 3e-3


class CacheWarning(TfxaiWarning):
    """The demo network could not be read from, or written to, the user's cache."""


def network(
    cache: bool = True, progress: bool = True, retrain: bool = False
) -> keras.Model:
    """The trained network: (n, 64, 64, 3) in [0, 1] -> probabilities (n, 10).

    With `cache` it is trained by the first call only; the next ones load it from
    `cache_folder()`, unless told to `retrain`. A cache that cannot be used is a
    `CacheWarning`, never an error.

        model = network()
        accuracy(model, scenes(500))                      # about 0.95
    """
    model = _load() if cache and not retrain else None
    if model is None:
        model = build()
        train(model, progress)
        if cache:
            _store(model)
    return model


def accuracy(model: keras.Model, scenes: Scenes) -> float:
    """The share of scenes whose two digits are the model's two highest outputs."""
    outputs = model.predict(scenes.images, verbose=0)
    guesses = np.argsort(outputs, axis=1)[:, -2:]
    right = np.sort(guesses, axis=1) == np.sort(scenes.labels, axis=1)
    return float(right.all(axis=1).mean())


def cache_folder() -> Path:
    """Where the trained network is kept: `tfxai` in the user's cache folder."""
    variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
    root = os.environ.get(variable)
    return (Path(root) if root else Path.home() / ".cache") / "tfxai"


def build() -> keras.Model:
    """The untrained network; the same weights every time, whatever the global seed."""
    he, glorot = keras.initializers.HeNormal, keras.initializers.GlorotUniform
    pool = partial(layers.MaxPooling2D, dtype="float32")

    def conv(name, width, kernel, strides=1):
        seed = he(int(name[-1]))
        look = {"padding": "same", "activation": "relu", "dtype": "float32"}
        return layers.Conv2D(
            width, kernel, strides, name=name, kernel_initializer=seed, **look
        )

    x = scene = keras.Input((64, 64, 3), name="scene", dtype="float32")
    x = pool(name="pool1")(conv("conv1", 16, 5, strides=2)(x))
    x = pool(name="pool2")(conv("conv2", 32, 3)(x))
    x = conv("conv4", 96, 3)(conv("conv3", 64, 3)(x))
    # the maximum: an average over 64 places is too faint a signal to learn from soon
    x = layers.GlobalMaxPooling2D(name="where", dtype="float32")(x)
    last = {"activation": "softmax", "kernel_initializer": glorot(5)}
    x = layers.Dense(10, name="digit", dtype="float32", **last)(x)
    return keras.Model(scene, x, name="demo")


def train(model: keras.Model, progress: bool = True) -> None:
    """Teach `model` to give each of the two digits of a scene the probability 1/2."""
    # a second model on the same layers, so that `model` keeps no optimizer
    learner = keras.Model(model.inputs, model.outputs)
    learner.compile(_optimizer(), "categorical_crossentropy")
    with bar("training the demo network", STEPS, show=progress) as advance:
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: advance(1)
        )
        steps = {"steps_per_epoch": STEPS, "callbacks": [callback]}
        learner.fit(_batches(), shuffle=False, verbose=0, **steps)


def _optimizer() -> keras.optimizers.Optimizer:
    """Adam at a high rate, made safe by a warm-up and short gradients."""
    rates = keras.optimizers.schedules.CosineDecay(
        RATE / 100, STEPS - 60, warmup_target=RATE, warmup_steps=60
    )
    return keras.optimizers.Adam(rates, global_clipnorm=1.0)


def _batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Fresh scenes (12, 64, 64, 3) for every step, their soft labels (12, 10)."""
    halves = np.eye(10, dtype="float32") / 2
    for seed in range(STEPS):
        batch = scenes(BATCH, seed, split="train")
        yield batch.images, halves[batch.labels].sum(axis=1)


def _path() -> Path:
    """The cached file; its name changes with the source of the recipe."""
    here = Path(__file__)
    source = here.read_bytes() + here.with_name("scenes.py").read_bytes()
    return cache_folder() / f"demo-{hashlib.sha256(source).hexdigest()[:12]}.keras"


def _load() -> keras.Model | None:
    """The cached network; None, and a warning if there is a file, if it is no use."""
    try:
        path = _path()
        return keras.models.load_model(path, compile=False) if path.is_file() else None
    except Exception as error:  # a torn archive fails in as many ways as it has parts
        _warn("read", error)
        return None


def _store(model: keras.Model) -> None:
    """Write the network whole: a reader sees the old file or the new one."""
    try:
        with atomic_write(_path()) as temporary:
            model.save(temporary)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        _warn("write", error)


def _warn(verb: str, error: Exception) -> None:
    """Say why the cache was no use, and what happens instead."""
    then = {"read": "it is trained again", "write": "the next call trains it again"}
    text = (
        f"cannot {verb} the cached demo network ({type(error).__name__}: {error}); "
        f"{then[verb]}. Set XDG_CACHE_HOME to a folder that can be written."
    )
    warnings.warn(text, CacheWarning, stacklevel=4)
