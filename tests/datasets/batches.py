"""Shared by the tests of runs: a model, a folder of images, comparison of shards."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.zoo import fill

L = keras.layers

ROOT = Path(__file__).resolve().parents[2]


def small(size=(8, 9), channels=3):
    """Return a model with a convolution, pooling and four classes, for images 8 x 9."""
    x = keras.Input((*size, channels))
    h = L.Conv2D(4, 3, activation="relu", name="conv")(x)
    h = L.GlobalAveragePooling2D(name="pool")(h)
    model = fill(keras.Model(x, L.Dense(4, "softmax", name="classes")(h)))
    model.get_layer("conv").kernel.assign(model.get_layer("conv").kernel / 100)
    return model


def draw(path, seed, mode="RGB", size=(9, 8)):
    """Write an image with random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], channels), np.uint8)
    Image.fromarray(pixels.squeeze(), mode).save(path)


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten images of three classes: unusual and repeated names, grey and alpha."""
    home = tmp_path_factory.mktemp("images")
    for i in range(4):
        draw(home / "Bär" / f"a b {i}.png", i)
    for i in range(3):
        draw(home / "cat" / f"a b {i}.png", 10 + i, size=(12, 20))
    draw(home / "cat" / "grey.png", 20, "L")
    draw(home / "zebra" / "deep" / "alpha ü.png", 21, "RGBA")
    draw(home / "zebra" / "x#%'\".png", 22)
    draw(home / "zebra" / ".hidden.png", 23)
    (home / "zebra" / "notes.txt").write_text("not an image")
    return home


def names_in(folder):
    found = [p for p in folder.rglob("*.png") if not p.name.startswith(".")]
    return sorted(p.relative_to(folder).as_posix() for p in found)


def same_maps(maps, e, rtol=1e-6):
    whole = maps[:]
    np.testing.assert_array_equal(whole.target, e.target)
    np.testing.assert_allclose(whole.score, e.score, rtol=1e-5, atol=1e-6)
    top = np.abs(e.relevance).max()
    np.testing.assert_allclose(whole.relevance, e.relevance, rtol, atol=rtol * top)


def contents(folder):
    """Return name of a shard -> its bytes."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("shard-*.h5"))}


def record(path, label, name=None):
    """Return a record in the format of TensorFlow's scripts for ImageNet."""

    def of(*values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    feature = {"image/encoded": of(path.read_bytes())}
    if name:
        feature["image/filename"] = of(name.encode())
    number = tf.train.Int64List(value=[label])
    feature["image/class/label"] = tf.train.Feature(int64_list=number)
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()
