"""The demo network: a small CNN that recognises the two digits of a scene.

It is trained once, in less than a minute on two cores, and stored in the user's cache.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import CacheWarning
from tfxai.base.progress import bar
from tfxai.cli.demo.scenes import Scenes, scenes

STEPS = 1500
BATCH = 12  # twice the batch and half the steps give a lower accuracy
RATE = 3e-3


def network(
    cache: bool = True, progress: bool = True, retrain: bool = False
) -> keras.Model:
    """Return the trained network: (n, 64, 64, 3) in [0, 1] -> probabilities (n, 10).

    Args:
        cache: Load the network from `cache_folder()`, where the first call stores it.
            False trains it and stores nothing.
        progress: Show a progress bar during the training.
        retrain: Train the network even if it is in the cache.

    Warns:
        CacheWarning: The cache cannot be used. The network is trained instead.

    Example:
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
    """Return the share of scenes whose two digits have the two highest outputs."""
    outputs = model.predict(scenes.images, verbose=0)
    highest = np.argsort(outputs, axis=1)[:, -2:]
    correct = np.sort(highest, axis=1) == np.sort(scenes.labels, axis=1)
    return float(correct.all(axis=1).mean())


def cache_folder() -> Path:
    """Return the folder of the trained network: `tfxai` in the user's cache folder."""
    variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
    root = os.environ.get(variable)
    return (Path(root) if root else Path.home() / ".cache") / "tfxai"


def build() -> keras.Model:
    """Return the untrained network; its weights do not depend on the global seed."""
    he, glorot = keras.initializers.HeNormal, keras.initializers.GlorotUniform
    pool = partial(layers.MaxPooling2D, dtype="float32")

    def conv(name: str, width: int, kernel: int, strides: int = 1) -> Any:
        options = {"padding": "same", "activation": "relu", "dtype": "float32"}
        return layers.Conv2D(
            width, kernel, strides, name=name,
            kernel_initializer=he(int(name[-1])), **options,
        )  # fmt: skip

    x = scene = keras.Input((64, 64, 3), name="scene", dtype="float32")
    x = pool(name="pool1")(conv("conv1", 16, 5, strides=2)(x))
    x = pool(name="pool2")(conv("conv2", 32, 3)(x))
    x = conv("conv4", 96, 3)(conv("conv3", 64, 3)(x))
    # the maximum: with an average over 64 positions the training is slower
    x = layers.GlobalMaxPooling2D(name="where", dtype="float32")(x)
    last = {"activation": "softmax", "kernel_initializer": glorot(5)}
    x = layers.Dense(10, name="digit", dtype="float32", **last)(x)
    return keras.Model(scene, x, name="demo")


def train(model: keras.Model, progress: bool = True) -> None:
    """Train `model` to give each of the two digits of a scene the probability 1/2.

    Args:
        model: A model as `build` returns it; it is changed in place.
        progress: Show a progress bar.
    """
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
    """Return Adam with a high learning rate, a warm-up and clipped gradients."""
    rates = keras.optimizers.schedules.CosineDecay(
        RATE / 100, STEPS - 60, warmup_target=RATE, warmup_steps=60
    )
    return keras.optimizers.Adam(rates, global_clipnorm=1.0)


def _batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield new scenes (12, 64, 64, 3) and their soft labels (12, 10) for each step."""
    halves = np.eye(10, dtype="float32") / 2
    for seed in range(STEPS):
        batch = scenes(BATCH, seed, split="train")
        yield batch.images, halves[batch.labels].sum(axis=1)


def _path() -> Path:
    """Return the cached file; its name contains a hash of the source."""
    here = Path(__file__)
    source = here.read_bytes() + here.with_name("scenes.py").read_bytes()
    return cache_folder() / f"demo-{hashlib.sha256(source).hexdigest()[:12]}.keras"


def _load() -> keras.Model | None:
    """Return the cached network; None without it, and a warning if it is broken."""
    try:
        path = _path()
        return keras.models.load_model(path, compile=False) if path.is_file() else None
    except Exception as error:  # a broken archive raises many types of errors
        _warn("read", error)
        return None


def _store(model: keras.Model) -> None:
    """Write the network to the cache atomically."""
    try:
        with atomic_write(_path()) as temporary:
            model.save(temporary)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        _warn("write", error)


def _warn(verb: str, error: Exception) -> None:
    """Warn that the cache cannot be used, and state what happens instead."""
    then = {"read": "it is trained again", "write": "the next call trains it again"}
    text = (
        f"cannot {verb} the cached demo network ({type(error).__name__}: {error}); "
        f"{then[verb]}. Set XDG_CACHE_HOME to a folder with write permission."
    )
    warnings.warn(text, CacheWarning, stacklevel=4)
