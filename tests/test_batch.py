"""Whole data sets: the shards hold what `explain` says, whatever happens on the way."""

import functools
import inspect
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfxai
from tests.zoo import fill
from tfxai import pictures
from tfxai.batch import cluster, recipe, shards
from tfxai.batch import run as dataset
from tfxai.errors import (
    FailedSamplesWarning,
    IncompleteWarning,
    InputError,
    MissingFileError,
    ModelError,
    OptionError,
    RecipeError,
    RecipeWarning,
    TargetError,
    UnwrittenError,
)
from tfxai.relevance import presets

ROOT = Path(__file__).resolve().parents[1]
L = keras.layers


def small(size=(8, 9), channels=3):
    """Convolution, pooling, four classes; pictures of 8 x 9."""
    x = keras.Input((*size, channels))
    h = L.Conv2D(4, 3, activation="relu", name="conv")(x)
    h = L.GlobalAveragePooling2D(name="pool")(h)
    model = fill(keras.Model(x, L.Dense(4, "softmax", name="classes")(h)))
    model.get_layer("conv").kernel.assign(model.get_layer("conv").kernel / 100)
    return model


def draw(path, seed, mode="RGB", size=(9, 8)):
    """A picture of random pixels."""
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
    """Ten pictures of three classes: odd names, names that return, grey and alpha."""
    home = tmp_path_factory.mktemp("pictures")
    for i in range(4):
        draw(home / "Bär" / f"a b {i}.png", i)
    for i in range(3):
        draw(home / "cat" / f"a b {i}.png", 10 + i, size=(12, 20))
    draw(home / "cat" / "grey.png", 20, "L")
    draw(home / "zebra" / "deep" / "alpha ü.png", 21, "RGBA")
    draw(home / "zebra" / "x#%'\".png", 22)
    draw(home / "zebra" / ".hidden.png", 23)
    (home / "zebra" / "notes.txt").write_text("no picture")
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
    """Every shard -> its bytes."""
    return {p.name: p.read_bytes() for p in sorted(folder.glob("shard-*.h5"))}


# -- what is written is what `explain` says ------------------------------------------


def test_a_folder_of_pictures(folder, model, tmp_path):
    done = tfxai.run(
        model, folder, "lrp.epsilon", tmp_path / "maps", shard_size=4, batch_size=3
    )
    assert (done.maps, done.failures, done.unwritten) == (10, [], {})
    assert sorted(contents(tmp_path / "maps")) == [f"shard-0000{i}.h5" for i in "012"]
    names = names_in(folder)
    x = np.stack([pictures.read(folder / n, (8, 9)) for n in names])
    maps = tfxai.load(tmp_path / "maps")
    same_maps(maps, tfxai.explain(model, x, "lrp.epsilon"))
    assert len(maps) == 10 and maps.complete and maps.failures == []
    assert maps[:].name == names and maps[:].index.tolist() == list(range(10))
    assert maps[:].label.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    assert maps.recipe["source"]["classes"] == {"Bär": 0, "cat": 1, "zebra": 2}
    assert maps.recipe["method"] == "lrp.epsilon" and not list(
        (tmp_path / "maps").glob(".*")
    )


def test_a_folder_that_holds_a_link_to_itself(model, tmp_path):
    draw(tmp_path / "in" / "a" / "x.png", 0)
    draw(tmp_path / "elsewhere" / "y.png", 1)
    (tmp_path / "in" / "a" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "elsewhere")
    tfxai.run(model, tmp_path / "in", "gradient", tmp_path / "maps")
    assert tfxai.load(tmp_path / "maps")[:].name == ["a/x.png", "b/y.png"]


def test_the_bar_counts_what_is_left_and_tells_the_rate(
    folder, model, tmp_path, monkeypatch
):
    told = []

    @contextmanager
    def bar(title, total, show):
        told.append((title, total, show))
        yield lambda n, note="": told.append((n, note))

    monkeypatch.setattr(dataset, "bar", bar)
    given = {"method": "gradient", "out": tmp_path, "shard_size": 3, "batch_size": 2}
    tfxai.run(model, folder, **given)
    (tmp_path / "shard-00003.h5").unlink()
    tfxai.run(model, folder, progress=False, **given)
    assert [t for t in told if len(t) == 3] == [
        ("gradient", 10, None), ("gradient", 1, False)
    ]  # fmt: skip
    steps = [t for t in told if len(t) == 2]
    assert [n for n, _ in steps] == [2, 1] * 3 + [1, 1]
    assert all(re.fullmatch(r"[\d.e+]+ samples/s", note) for _, note in steps)


def test_slices_are_read_from_the_shards_that_hold_them(folder, model, tmp_path):
    out = tmp_path / "maps"
    tfxai.run(model, folder, "gradient", out, shard_size=3)
    maps = tfxai.load(out)
    all_ = maps[:]
    for rows in (slice(2, 7), slice(-1, None), slice(9, 0, -2), slice(None, None, 4)):
        part = maps[rows]
        np.testing.assert_array_equal(np.asarray(part), all_.relevance[rows])
        assert part.name == all_.name[rows]
        for column in ("target", "score", "label", "index"):
            wanted = getattr(all_, column)[rows]
            np.testing.assert_array_equal(getattr(part, column), wanted)
    np.testing.assert_array_equal(maps[-3].relevance, all_.relevance[7])
    assert maps[-3].name == all_.name[7] and maps[-3].target == all_.target[7]
    assert [one.name for one in maps] == all_.name
    (out / "shard-00000.h5").write_bytes(b"torn")  # only the others are opened
    maps._paths[0] = out / "gone.h5"
    np.testing.assert_array_equal(maps[3:6].relevance, all_.relevance[3:6])
    with pytest.raises(IndexError):
        maps[10]
    with pytest.raises(InputError, match="slice"):
        maps["a"]
    with pytest.raises(InputError, match="empty"):
        maps[5:5]


def test_targets(folder, model, tmp_path):
    names = names_in(folder)
    x = np.stack([pictures.read(folder / n, (8, 9)) for n in names])
    label = np.array([0] * 4 + [1] * 4 + [2] * 2)
    wanted = {
        "int": (3, 3),
        "several": ([2, 0], np.tile([2, 0], (10, 1))),
        "label": ("label", label),
    }
    for name, (asked, target) in wanted.items():
        tfxai.run(model, folder, "gradient", tmp_path / name, asked, shard_size=6)
        e = tfxai.explain(model, x, "gradient", target)
        same_maps(tfxai.load(tmp_path / name), e)
    assert tfxai.load(tmp_path / "several")[4].relevance.shape == (2, 8, 9, 3)


def test_classes_by_the_names_of_labels(folder, model, tmp_path):
    labels = ["zebra", "dog", "cat, house cat", "bird"]
    with pytest.warns(FailedSamplesWarning, match="4 sample"):
        done = tfxai.run(
            model, folder, "gradient", tmp_path, "label", labels=labels, batch_size=4
        )
    assert [f.name for f in done.failures] == names_in(folder)[:4]  # Bär: no label
    assert "not known (-1)" in done.failures[0].reason
    assert tfxai.load(tmp_path)[:].target.tolist() == [2] * 4 + [0] * 2


def labels_of(data, tmp_path, model, **options):
    """name -> label, of a run by a folder's name."""
    out = tmp_path / f"maps{len(list(tmp_path.iterdir()))}"
    tfxai.run(model, data, "gradient", out, **options)
    found = tfxai.load(out)[:]
    return dict(zip(found.name, found.label.tolist(), strict=True))


def test_several_folders_are_the_classes(model, tmp_path):
    home = tmp_path / "in"
    for i, name in enumerate(("a/x.png", "a/deep/y.png", "b/x.png")):
        draw(home / name, i)
    (home / "0").mkdir()
    found = labels_of(sorted(home.iterdir()), tmp_path, model)
    assert found == {
        f"{home}/a/x.png": 1, f"{home}/a/deep/y.png": 1, f"{home}/b/x.png": 2
    }  # fmt: skip
    draw(home / "stray.png", 3)  # a shell's pics/* gives it as well
    found = labels_of(sorted(home.iterdir()), tmp_path, model)
    assert list(found.values()) == [1, 1, 2, -1]
    (home / "b").rename(tmp_path / "b")
    draw(tmp_path / "parts" / "1" / "cat" / "x.png", 0)
    draw(tmp_path / "parts" / "2" / "cat" / "x.png", 1)
    draw(tmp_path / "parts" / "2" / "ant" / "x.png", 2)
    parts = sorted((tmp_path / "parts").iterdir())
    assert list(labels_of(parts, tmp_path, model).values()) == [1, 0, 1]


def test_the_numbers_of_subfolders(model, tmp_path):
    home = tmp_path / "in"
    for i in "123":
        draw(home / i / "x.png", int(i))
    found = labels_of(home, tmp_path, model, labels=["3", "1", "2"])
    assert list(found.values()) == [1, 2, 0]
    (home / "0").mkdir()
    (home / ".cache").mkdir()
    told = keras.utils.image_dataset_from_directory(
        home, image_size=(8, 9), shuffle=False, verbose=0
    )
    found = labels_of(home, tmp_path, model)
    assert list(found.values()) == [1, 2, 3]
    assert np.concatenate([y for _, y in told]).tolist() == [1, 2, 3]
    draw(home / "stray.png", 4)
    assert list(labels_of(home, tmp_path, model).values()) == [1, 2, 3, -1]


def test_a_folder_that_cannot_be_read_is_named(model, tmp_path, monkeypatch):
    draw(tmp_path / "in" / "a" / "x.png", 0)
    draw(tmp_path / "in" / "b" / "x.png", 1)
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match=r"in/b' cannot be read: Permission denied"):
        tfxai.run(model, tmp_path / "in", "gradient", tmp_path / "maps")


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
def test_an_npz(model, tmp_path, pack):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (7, 8, 9, 3), np.uint8)
    y = rng.integers(0, 4, 7)
    pack(tmp_path / "data.npz", x=x, y=y + 1)
    tfxai.run(
        model, tmp_path / "data.npz", "sglrp", tmp_path / "maps", "label",
        first_label=1, shard_size=3, low=0, high=255,
    )  # fmt: skip
    maps = tfxai.load(tmp_path / "maps")
    same_maps(maps, tfxai.explain(model, x, "sglrp", y, low=0, high=255))
    np.testing.assert_array_equal(maps[:].label, y)
    np.savez(tmp_path / "other.npz", data=x)
    with pytest.raises(InputError, match=r"\['data'\]"):
        tfxai.run(model, tmp_path / "other.npz", out=tmp_path / "m")
    np.savez(tmp_path / "short.npz", x=x, y=y[:3])
    with pytest.raises(InputError, match=r"y of shape \(7,\)"):
        tfxai.run(model, tmp_path / "short.npz", out=tmp_path / "m")
    np.savez(tmp_path / "other.npz", x=x[..., 0])
    with pytest.raises(InputError, match=r"\(8, 9\)"):
        tfxai.run(model, tmp_path / "other.npz", out=tmp_path / "m")


def record(path, label, name=None):
    """A record as TensorFlow's scripts for ImageNet write it."""

    def of(*values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    feature = {"image/encoded": of(path.read_bytes())}
    if name:
        feature["image/filename"] = of(name.encode())
    number = tf.train.Int64List(value=[label])
    feature["image/class/label"] = tf.train.Feature(int64_list=number)
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


def test_tfrecords_with_the_keys_of_imagenet(folder, model, tmp_path):
    names = names_in(folder)
    bad = tf.train.Example().SerializeToString()
    (tmp_path / "records").mkdir()
    for part in range(2):
        path = tmp_path / "records" / f"train-0000{part}-of-00002"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for i, name in enumerate(names[part * 5 : part * 5 + 5]):
                called = None if i == 2 else f"n{part}_{i}.JPEG"
                writer.write(record(folder / name, 1 + i % 4, called))
            if part == 0:
                writer.write(bad)
    x = np.stack([pictures.read(folder / n, (8, 9)) for n in names])
    with pytest.warns(FailedSamplesWarning, match="1 sample"):
        done = tfxai.run(
            model, tmp_path / "records", "lrp.epsilon", tmp_path / "maps",
            "label", first_label=1, shard_size=4,
        )  # fmt: skip
    assert [(f.index, f.name) for f in done.failures] == [(5, "train-00000-of-00002#5")]
    assert "image/encoded" in done.failures[0].reason
    maps = tfxai.load(tmp_path / "maps")
    same_maps(maps, tfxai.explain(model, x, "lrp.epsilon", [0, 1, 2, 3, 0] * 2))
    assert maps[1:4].name == ["n0_1.JPEG", "train-00000-of-00002#2", "n0_3.JPEG"]
    assert maps[:].index.tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    torn = tmp_path / "torn.tfrecord"
    torn.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="record 4 at byte"):
        tfxai.run(model, torn, out=tmp_path / "m")


def test_arrays_and_pipelines(model, tmp_path):
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 255, (11, 8, 9, 3)).astype("float32")
    y = rng.integers(0, 4, 11)
    x[4, 0, 0, 0] = np.nan
    good = np.delete(np.arange(11), 4)
    e = tfxai.explain(model, x[good], "gradient", y[good])
    data = {
        "arrays": (x, y),
        "pipeline": tf.data.Dataset.from_tensor_slices((x, y)).batch(3),
    }
    for name, given in data.items():
        with pytest.warns(FailedSamplesWarning, match="NaN"):
            tfxai.run(model, given, "gradient", tmp_path / name, "label", shard_size=4)
        (tmp_path / name / "shard-00001.h5").unlink()
        with pytest.warns(FailedSamplesWarning):
            done = tfxai.run(
                model, given, "gradient", tmp_path / name, "label", shard_size=4
            )
        assert [m.number for m in done.made] == [1] and done.skipped == [0, 2]
        same_maps(tfxai.load(tmp_path / name), e)
    with pytest.raises(InputError, match="never ends"):
        tfxai.run(model, data["pipeline"].repeat(), out=tmp_path / "m")


def test_labels_may_be_a_list(model, tmp_path):
    x = np.random.default_rng(3).uniform(0, 255, (2, 8, 9, 3)).astype("float32")
    for name, given in (("array", x), ("tensor", tf.constant(x))):
        tfxai.run(model, (given, [3, 1]), "gradient", tmp_path / name, "label")
        same_maps(
            tfxai.load(tmp_path / name), tfxai.explain(model, x, "gradient", [3, 1])
        )
    with pytest.raises(InputError, match=r"y of shape \(2,\)"):
        tfxai.run(model, (x, [0, 1, 2]), "gradient", tmp_path / "m", "label")


def shuffled(x, y, **options):
    return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(9, **options).batch(2)


def test_a_pipeline_whose_samples_change_is_refused(model, tmp_path):
    x = np.random.default_rng(4).uniform(0, 255, (9, 8, 9, 3)).astype("float32")
    y = np.arange(9) % 4
    passes = iter(range(99))

    def growing():  # another number of samples each time
        yield from x[: 9 - next(passes)]

    spec = tf.TensorSpec(x.shape[1:], tf.float32)
    shorter = tf.data.Dataset.from_generator(growing, output_signature=spec)
    third, count = x[3, 0, 0, 0], iter(np.arange(99))
    kinds = iter(np.random.default_rng(5).integers(0, 4, 99))

    def drawn(numbers):  # not of tf.random: under a global seed each pass is the same
        return tf.ensure_shape(
            tf.numpy_function(lambda: next(numbers), [], tf.int64), ()
        )

    samples = tf.data.Dataset.from_tensor_slices(x)
    noise = samples.map(
        lambda v: v + tf.where(v[0, 0, 0] == third, tf.cast(drawn(count), v.dtype), 0)
    )
    labels = samples.map(lambda v: (v, drawn(kinds)))
    for name, data, place in (
        ("order", shuffled(x, y, seed=1), r"\d"),
        ("values", noise.batch(4), "3"),
        ("labels", labels.batch(4), r"\d"),
        ("fewer", shorter.batch(4), "8"),
    ):
        with pytest.raises(InputError, match=f"Sample {place} .* not what it was") as e:
            tfxai.run(model, data, "gradient", tmp_path / name, shard_size=4)
        assert "reshuffle_each_iteration=False" in str(e.value)


def test_a_shuffle_that_is_always_the_same(model, tmp_path):
    x = np.random.default_rng(4).uniform(0, 255, (9, 8, 9, 3)).astype("float32")
    y = np.arange(9) % 4
    data = shuffled(x, y, seed=1, reshuffle_each_iteration=False)
    seen = [np.concatenate(v) for v in zip(*data.as_numpy_iterator(), strict=True)]
    e = tfxai.explain(model, seen[0], "gradient", seen[1])
    assert (seen[0] != x).any()
    given = (model, data, "gradient", tmp_path, "label")
    for part in ("1/2", "0/2"):
        tfxai.run(*given, shard_size=3, shard=part)
    (tmp_path / "shard-00001.h5").unlink()
    done = tfxai.run(*given, shard_size=3)
    assert [m.number for m in done.made] == [1]
    maps = tfxai.load(tmp_path)
    same_maps(maps, e)
    assert maps[:].index.tolist() == list(range(9))
    np.testing.assert_array_equal(maps[:].label, seen[1])


@pytest.mark.slow
def test_a_sample_does_not_depend_on_its_batch_or_shard(model, tmp_path):
    x = np.random.default_rng(2).uniform(0, 255, (6, 8, 9, 3)).astype("float32")
    one = {"n": 5, "noise": 9.0, "seed": 3}
    tfxai.run(model, x, "smoothgrad", tmp_path / "a", batch_size=4, **one)
    tfxai.run(model, x, "smoothgrad", tmp_path / "b", batch_size=1, shard_size=2, **one)
    a, b = tfxai.load(tmp_path / "a")[:], tfxai.load(tmp_path / "b")[:]
    np.testing.assert_allclose(a.relevance, b.relevance, rtol=1e-4, atol=1e-9)
    tfxai.run(model, x, "smoothgrad", tmp_path / "c", **{**one, "seed": 4})
    assert np.abs(tfxai.load(tmp_path / "c")[:].relevance - a.relevance).max() > 1e-6


# -- half precision ------------------------------------------------------------------


def test_half_precision_neither_overflows_nor_underflows():
    rng = np.random.default_rng(0)
    r = rng.normal(size=(6, 40)).astype("float32")
    r *= np.array([1, 1e30, 1e-30, 3e38 / 5, 1e-41, 0], np.float32)[:, None]
    r[0, 0], r[0, 1] = 1e-6, np.abs(r[0]).max() * 4e-9
    kept, scale = shards.packed(r, 1, "float16")
    assert kept.dtype == np.float16 and np.isfinite(kept).all()
    back = shards.unpacked(kept, scale)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back[:4], r[:4], rtol=2**-11)  # the 11 bits of a half
    np.testing.assert_allclose(back[4], r[4], rtol=2**-11, atol=3e-45)
    assert (back[5] == 0).all() and (np.sign(back[:4]) == np.sign(r[:4])).all()
    odd = np.array([[np.nan, np.inf, 2.0]], np.float32)
    back = shards.unpacked(*shards.packed(odd, 1, "float16"))
    np.testing.assert_array_equal(back, odd)


def test_half_precision_in_a_run(model, tmp_path):
    x = np.random.default_rng(2).uniform(0, 255, (5, 8, 9, 3)).astype("float32")
    tfxai.run(model, x, "gradient", tmp_path, [1, 2], dtype="float16")
    e = tfxai.explain(model, x, "gradient", np.tile([1, 2], (5, 1)))
    same_maps(tfxai.load(tmp_path), e, rtol=2**-11)
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        assert file["relevance"].dtype == np.float16 and file["scale"].shape == (5, 2)


# -- again, shared, other ------------------------------------------------------------


def test_again_makes_what_is_missing_and_nothing_twice(folder, model, tmp_path):
    tfxai.run(model, folder, "gradient", tmp_path, shard_size=3)
    before = contents(tmp_path)
    (tmp_path / "shard-00001.h5").unlink()
    with pytest.warns(IncompleteWarning, match=r"1 of 4 .* \[1\]"):
        maps = tfxai.load(tmp_path)
    assert len(maps) == 7 and maps.missing == [1] and not maps.complete
    assert maps[:].index.tolist() == [0, 1, 2, 6, 7, 8, 9]
    stats = {p: p.stat() for p in tmp_path.glob("shard-*")}
    (tmp_path / ".shard-00001-left.h5").write_bytes(b"half")
    done = tfxai.run(small(), folder, "gradient", tmp_path, shard_size=3, batch_size=8)
    assert [m.number for m in done.made] == [1] and done.skipped == [0, 2, 3]
    assert contents(tmp_path) == before
    assert not (tmp_path / ".shard-00001-left.h5").exists()
    for path, was in stats.items():
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (was.st_ino, was.st_mtime_ns)


def test_another_recipe_is_refused_by_name(folder, model, tmp_path):
    options = {"shard_size": 5, "epsilon": 0.1}
    tfxai.run(model, folder, "lrp.epsilon", tmp_path, **options)
    before = contents(tmp_path)
    other = small()
    other.get_layer("classes").bias.assign_add([0, 0, 1e-6, 0])
    for change, told in (
        ({"epsilon": 0.2}, "options.epsilon was 0.1, and is now 0.2"),
        ({"dtype": "float16"}, 'dtype was "float32", and is now "float16"'),
        ({"shard_size": 6}, "shard_size was 5, and is now 6"),
        ({"target": 1}, "target was null, and is now 1"),
        ({"preprocess": lambda x: x / 255}, "preprocess was null, and is now"),
        ({"model": other}, "model was"),
        ({"data": folder / "cat"}, "source.count was 10, and is now 4"),
        ({"method": "gradient", "epsilon": None}, "method was"),
    ):
        given = {"model": model, "data": folder, "method": "lrp.epsilon"}
        given |= {"out": tmp_path, **options, **change}
        given = {k: v for k, v in given.items() if v is not None}
        with pytest.raises(RecipeError) as caught:
            tfxai.run(**given)
        assert told in str(caught.value) and "--overwrite" in str(caught.value)
    assert contents(tmp_path) == before
    done = tfxai.run(model, folder, "gradient", tmp_path, overwrite=True)
    assert done.maps == 10 and sorted(contents(tmp_path)) == ["shard-00000.h5"]
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(RecipeError, match="holds maps, but no recipe"):
        tfxai.run(model, folder, "gradient", tmp_path)


def test_a_changed_picture_is_another_recipe(model, tmp_path):
    draw(tmp_path / "in" / "a.png", 0)
    tfxai.run(model, tmp_path / "in", "gradient", tmp_path / "maps")
    os.utime(tmp_path / "in" / "a.png", (1, 1))
    with pytest.raises(RecipeError, match=r"source\.fingerprint"):
        tfxai.run(model, tmp_path / "in", "gradient", tmp_path / "maps")


def test_fingerprints_know_weights_layers_and_code_but_not_counted_names():
    first, again = recipe.of_model(small()), recipe.of_model(small())
    assert first == again
    other = keras.models.clone_model(small())
    other.set_weights(small().get_weights())
    assert recipe.of_model(other) == first
    other.get_layer("conv").activation = keras.activations.tanh
    assert recipe.of_model(other) != first
    assert recipe.called(lambda x: x + 1) != recipe.called(lambda x: x + 2)
    assert recipe.called(lambda x: x + 1) == recipe.called(lambda x: x + 1)
    assert recipe.plain(np.arange(3)) == [0, 1, 2]
    assert recipe.plain(np.arange(99)) != recipe.plain(np.arange(99)[::-1])


def halves(by):
    return lambda x: x / by


class Scaled:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * self.by


class Fitted:
    def __init__(self, by):
        self.by = by

    def __repr__(self):
        return "Fitted()"

    def predict(self, x):
        return x * self.by


@pytest.mark.parametrize(
    "make",
    [
        lambda s: functools.partial(np.multiply, s),
        lambda s: functools.partial(halves, by=s),
        lambda s: lambda x, by=s: x * by,
        lambda s: lambda x, *, by=s: x * by,
        halves,
        lambda s: lambda x: halves(s)(x),
        lambda s: L.Rescaling(s),
        lambda s: keras.Sequential([keras.Input((3,)), L.Rescaling(s)]),
        Scaled,
        lambda s: Scaled(s).__call__,
        lambda s: tf.function(lambda x: x * s),
        lambda s: Scaled(Scaled({"a": {s, 1.0}})),
        lambda s: np.vectorize(lambda x: x * s),
        lambda s: functools.lru_cache(lambda x: x * s),
        lambda s: Fitted(s).predict,
    ],
)
def test_fingerprints_know_what_a_function_holds(make):
    same, other = recipe.called(make(2.0)), recipe.called(make(5.0))
    assert same == recipe.called(make(2.0)) and same != other


def test_another_preprocess_does_not_go_on(model, tmp_path):
    x = np.ones((2, 8, 9, 3), np.float32)
    for first, other in (
        (L.Rescaling(2.0), L.Rescaling(5.0)),
        (halves(2.0), halves(5.0)),
    ):
        given = {"method": "gradient", "out": tmp_path, "overwrite": True}
        tfxai.run(model, x, preprocess=first, **given)
        with pytest.raises(RecipeError, match="preprocess was"):
            tfxai.run(model, x, preprocess=other, **given | {"overwrite": False})


def test_a_preset_is_told_without_addresses():
    def preset(**rows):
        return presets.epsilon_plus().replace(**rows)

    told = json.dumps(recipe.plain(preset(first="flat")))
    assert "0x" not in told
    assert told == json.dumps(recipe.plain(preset(first="flat")))
    assert told != json.dumps(recipe.plain(preset(first="z_plus")))
    assert recipe.plain(presets.epsilon(0.1)) != recipe.plain(presets.epsilon(0.2))
    names = {f"name{i}" for i in range(30)}
    assert recipe.plain(names) == sorted(names)
    assert recipe.plain(frozenset(names)) == sorted(names)


def test_what_cannot_be_told_is_said():
    with pytest.warns(RecipeWarning, match="as a builtins.object only"):
        assert recipe.plain([object()]) == ["builtins.object"]
    around = []
    around.append(around)
    assert recipe.plain(around) == ["itself"]


def test_other_data_of_the_same_shape_are_another_recipe(model, tmp_path):
    x = np.random.default_rng(0).uniform(0, 9, (4, 8, 9, 3)).astype("float32")
    y = np.arange(4)

    def of(x, y, batch=2):
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch)

    given = {"method": "gradient", "out": tmp_path / "maps"}
    tfxai.run(model, of(x, y), **given)
    assert tfxai.run(model, of(x, y, 3), **given).skipped == [0]
    for other in (of(x[::-1] * 5 + 1, y), of(x, y[::-1]), of(x[::-1], y)):
        with pytest.raises(RecipeError, match=r"source\.fingerprint was"):
            tfxai.run(model, other, **given)
    given["out"] = tmp_path / "of_npz"
    for k, data in enumerate((x, x[::-1])):
        np.savez(tmp_path / "data.npz", x=data)
        os.utime(tmp_path / "data.npz", (1, 1))
        if k == 0:
            tfxai.run(model, tmp_path / "data.npz", **given)
    with pytest.raises(RecipeError, match=r"source\.sums\.x\.npy was"):
        tfxai.run(model, tmp_path / "data.npz", **given)


def test_overwrite_deletes_nothing_before_all_is_ready(folder, model, tmp_path):
    tfxai.run(model, folder, "gradient", tmp_path, shard_size=5)
    before = contents(tmp_path)
    with pytest.raises(ModelError, match="cannot be copied"):
        tfxai.run(
            lambda x: x.mean((1, 2)), folder, "occlusion", tmp_path, size=(8, 9),
            strategy=tf.distribute.MirroredStrategy(["cpu:0"]), overwrite=True,
        )  # fmt: skip
    assert len(before) == 2 and contents(tmp_path) == before


def test_overwrite_deletes_nothing_before_ray_has_started(
    folder, model, tmp_path, monkeypatch
):
    """Ray as it refuses; the real one is asked in test_batch_slow.py."""
    tfxai.run(model, folder, "gradient", tmp_path, shard_size=5)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    ray = mock.MagicMock()
    ray.is_initialized.return_value = False
    ray.cluster_resources.return_value = {"CPU": 0}
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray.data)
    for address, wrong, told in (
        ("127.0.0.1:1", None, "'127.0.0.1:1': ConnectionRefused"),  # before Ray waits
        ("auto", ConnectionError("nobody"), "nobody\n  Wanted: the address"),
        (None, None, "no room"),
    ):
        ray.init.side_effect = wrong
        with pytest.raises(OptionError, match=told):
            tfxai.run(
                model, folder, "lrp.epsilon", tmp_path, overwrite=True, engine="ray",
                address=address,
            )  # fmt: skip
    assert [call.kwargs["address"] for call in ray.init.mock_calls] == ["auto", None]
    assert len(before) == 3  # two shards and the recipe
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_named_network_brings_its_preprocessing(folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset.networks, "load", lambda name: small())
    tfxai.run("MobileNetV2", folder, "gradient", tmp_path)
    own = keras.applications.mobilenet_v2.preprocess_input
    x = np.stack([pictures.read(folder / n, (8, 9)) for n in names_in(folder)])
    e = tfxai.explain(model, x, "gradient", preprocess=own)
    same_maps(tfxai.load(tmp_path), e)
    plain = tfxai.explain(model, x, "gradient")
    assert np.abs(plain.relevance - e.relevance).max() > 1e-6


def test_jobs_share_a_folder(folder, model, tmp_path):
    out = tmp_path / "whole"
    tfxai.run(model, folder, "gradient", out, shard_size=2)
    for i in (2, 0, 1):
        done = tfxai.run(
            model, folder, "gradient", tmp_path, shard_size=2, shard=f"{i}/3"
        )
        assert [m.number for m in done.made] == list(range(i, 5, 3))
    assert contents(tmp_path) == contents(out)
    same = json.loads((out / "recipe.json").read_text())
    assert json.loads((tmp_path / "recipe.json").read_text()) == same
    for wrong in ("3/3", "-1/3", "1", "a/b", (1, 0)):
        with pytest.raises(OptionError, match="0/4, 1/4, 2/4 and 3/4"):
            tfxai.run(model, folder, "gradient", tmp_path, shard=wrong)
    with pytest.raises(OptionError, match="delete the others' work"):
        tfxai.run(model, folder, "gradient", tmp_path, shard=(0, 2), overwrite=True)


def test_of_many_jobs_one_writes_the_recipe(tmp_path):
    def agree(number):
        try:
            recipe.agree(tmp_path, {"number": number})
        except RecipeError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(agree, [1] * 16)) == [None] * 16
        (tmp_path / "recipe.json").unlink()
        told = list(pool.map(agree, range(16)))
    won = json.loads((tmp_path / "recipe.json").read_text())["number"]
    assert [i for i, text in enumerate(told) if text is None] == [won]
    assert all(f"number was {won}" in text for text in told if text)
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.json"]


def test_no_option_of_a_method_is_taken_by_the_run():
    own = set(inspect.signature(dataset.execute).parameters) - {"options"}
    for row in tfxai.analyzers():
        assert own & set(row.options) <= {"seed", "target"}, row.name


def test_a_shard_that_is_broken_is_named(folder, model, tmp_path):
    tfxai.run(model, folder, "gradient", tmp_path, shard_size=5)
    (tmp_path / "shard-00001.h5").write_bytes(b"broken")
    with pytest.raises(RecipeError, match=r"shard-00001\.h5.*\n.*\n.*delete it"):
        tfxai.run(model, folder, "gradient", tmp_path, shard_size=5)


# -- what goes wrong -----------------------------------------------------------------


def test_an_unreadable_picture_is_listed_and_stops_nobody(folder, model, tmp_path):
    shutil.copytree(folder, tmp_path / "in")
    (tmp_path / "in" / "cat" / "a b 1.png").write_bytes(b"GIF, they said")
    (tmp_path / "in" / "zebra" / "none.png").write_bytes(b"")
    with pytest.warns(FailedSamplesWarning, match="2 sample"):
        done = tfxai.run(
            model, tmp_path / "in", "gradient", tmp_path / "maps", shard_size=4
        )
    names = names_in(tmp_path / "in")
    lost = ["cat/a b 1.png", "zebra/none.png"]
    assert [f.name for f in done.failures] == lost
    assert [f.index for f in done.failures] == [names.index(n) for n in lost]
    assert "b'GIF, they sa'" in done.failures[0].reason
    assert "it is empty" in done.failures[1].reason
    told = json.loads((tmp_path / "maps" / "failures.json").read_text())
    assert [f["name"] for f in told["failed"]] == lost and done.listed.exists()
    maps = tfxai.load(tmp_path / "maps")
    assert maps.failures == done.failures
    kept = [n for n in names if n not in lost]
    x = np.stack([pictures.read(tmp_path / "in" / n, (8, 9)) for n in kept])
    assert maps[:].name == kept
    same_maps(maps, tfxai.explain(model, x, "gradient"))
    with pytest.warns(FailedSamplesWarning, match="2 sample"):  # again: still listed
        again = tfxai.run(
            model, tmp_path / "in", "gradient", tmp_path / "maps", shard_size=4
        )
    assert again.made == [] and again.failures == done.failures


def test_a_shard_of_failures_alone(model, tmp_path):
    draw(tmp_path / "in" / "b.png", 0)
    (tmp_path / "in" / "a.png").write_bytes(b"no")
    with pytest.warns(FailedSamplesWarning):
        tfxai.run(model, tmp_path / "in", "gradient", tmp_path / "m", shard_size=1)
    maps = tfxai.load(tmp_path / "m")
    assert maps.complete and len(maps) == 1 and maps[0].name == "b.png"


def test_warnings_are_kept_with_names(tmp_path):
    x = keras.Input((3,))
    model = fill(keras.Model(x, L.Dense(2)(x)))
    model.layers[-1].bias.assign([-9.0, -9.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = np.ones((4, 3), np.float32)
        done = tfxai.run(model, data, "clrp", tmp_path, batch_size=2)
    found = tfxai.load(tmp_path).warnings
    assert found == done.warned and len(found) == 2
    assert found[0].startswith("00000000 to 00000001: clrp: the map")
    assert found[1].startswith("00000002 to 00000003: clrp: the map")


def test_warnings_name_the_samples_that_they_are_of(tmp_path):
    x = keras.Input((2,))
    model = keras.Model(x, L.Dense(2, "relu")(x))
    model.set_weights([np.eye(2), np.zeros(2)])
    data = np.ones((8, 2), np.float32)
    data[[1, 6, 7]] = -1  # behind a dead ReLU

    class Two(tf.distribute.MirroredStrategy):
        def __init__(self):
            pass

        @property
        def extended(self):
            return types.SimpleNamespace(worker_devices=("/cpu:0", "/device:CPU:0"))

    for name, options in (("a", {}), ("b", {"strategy": Two()})):
        options |= {"batch_size": 4, "target": 0}
        done = tfxai.run(model, data, "gradient", tmp_path / name, **options)
        told = [re.findall(r"0000000\d(?= is zero|, )", t) for t in done.warned]
        found = sorted(n for names in told for n in names)
        assert found == ["00000001", "00000006", "00000007"], done.warned
        assert all("sample(s) [" not in text for text in done.warned)


def test_a_failure_of_every_sample_is_an_error_and_not_a_list(model, tmp_path):
    def broken(x):
        raise OptionError("no answer")

    class Broken:
        def __call__(self, x):
            return np.ones((len(x), 4)) if len(x) == 1 and not x.any() else broken(x)

    x = np.ones((4, 8, 9, 3), np.float32)
    with pytest.raises(OptionError, match="no answer"):
        tfxai.run(Broken(), x, "occlusion", tmp_path)
    assert contents(tmp_path) == {}


def test_a_resumed_run_ends_as_the_whole_one(model, tmp_path):
    x = np.random.default_rng(0).uniform(0, 9, (6, 8, 9, 3)).astype("float32")
    given = (model, (x, np.array([0, 1, 9, 9, 0, 1])), "gradient")
    options = {"target": "label", "shard_size": 2, "batch_size": 2}
    with pytest.warns(FailedSamplesWarning, match="2 sample"):
        whole = tfxai.run(*given, tmp_path / "a", **options)
    with pytest.warns(FailedSamplesWarning, match="2 sample"):
        tfxai.run(*given, tmp_path / "b", shard="1/3", **options)
    for path in (tmp_path / "a").glob("shard-0000[12].h5"):
        path.unlink()
    for name in "ab":
        with pytest.warns(FailedSamplesWarning, match="2 sample"):
            done = tfxai.run(*given, tmp_path / name, **options)
        assert [f.index for f in done.failures] == [2, 3]
        assert done.failures == whole.failures
        assert tfxai.load(tmp_path / name)[:].index.tolist() == [0, 1, 4, 5]


def test_a_shard_of_bad_samples_is_no_failure_of_all(tmp_path):
    class Picky:
        def __call__(self, x):
            x = np.asarray(x)
            if (x == 7).any():
                raise OptionError("no sevens")
            return np.stack([x.mean((1, 2, 3)), x.max((1, 2, 3))], 1)

    x = np.ones((4, 4, 4, 1), np.float32)
    x[2:] = 7
    options = {"shard_size": 2, "batch_size": 2, "shard": "1/2"}
    with pytest.warns(FailedSamplesWarning, match="no sevens"):
        done = tfxai.run(Picky(), x, "occlusion", tmp_path / "a", **options)
    assert [f.index for f in done.failures] == [2, 3]
    with pytest.raises(OptionError, match="no sevens"):
        tfxai.run(
            Picky(), x[::-1], "occlusion", tmp_path / "b", **options | {"shard": "0/2"}
        )


def test_a_full_disk_is_reported_and_finished_later(folder, model, tmp_path):
    out = tmp_path / "disk"
    out.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=40k", "none", str(out)]
    if subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here (mount needs root)")
    try:
        with pytest.raises(UnwrittenError) as caught:
            tfxai.run(model, folder, "gradient", out, shard_size=2)
        text = str(caught.value)
        assert "No space left" in text and "the same again" in text
        held = contents(out)
        assert 0 < len(held) < 5 and not list(out.glob(".shard*"))
        tfxai.run(model, folder, "gradient", tmp_path / "whole", shard_size=2)
        whole = contents(tmp_path / "whole")
        assert all(whole[name] == data for name, data in held.items())
        again = ["mount", "-o", "remount,size=400k", str(out)]
        subprocess.run(again, check=True, capture_output=True)
        done = tfxai.run(model, folder, "gradient", out, shard_size=2)
        assert len(done.made) == 5 - len(held) and contents(out) == whole
        assert not (out / "failures.json").exists()
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_a_write_that_fails_leaves_out_one_shard(folder, model, tmp_path, monkeypatch):
    write = Path.write_bytes

    def fails(self, data):
        if "shard-00001" in self.name:
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(UnwrittenError, match=r"1 shard.*: 1, .*No space"):
        tfxai.run(model, folder, "gradient", tmp_path, shard_size=3)
    assert sorted(contents(tmp_path)) == [f"shard-0000{i}.h5" for i in "023"]
    told = json.loads((tmp_path / "failures.json").read_text())
    assert list(told["unwritten"]) == ["1"]


def test_a_disk_that_stays_full_costs_no_computing(
    folder, model, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    asked = []
    monkeypatch.setattr(shards, "write", full)
    monkeypatch.setattr(shards, "has_room", lambda *a: asked.append(a) and False)
    with pytest.raises(UnwrittenError, match="4 shard") as caught:
        tfxai.run(model, folder, "gradient", tmp_path, shard_size=3)
    assert "No space" in str(caught.value)
    assert [size for _, size in asked] == [3 * 8 * 9 * 3 * 4] * 3


def test_room():
    assert shards.has_room(Path("."), 10) and not shards.has_room(Path("."), 2**60)


def test_what_is_refused_at_the_door(folder, model, tmp_path):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "maps"
    with pytest.raises(MissingFileError, match="no picture and no TFRecord"):
        tfxai.run(model, tmp_path / "empty", out=out)
    with pytest.raises(MissingFileError, match="There is no file"):
        tfxai.run(model, tmp_path / "gone", out=out)
    for options, error, told in (
        ({"target": "label", "data": np.ones((2, 8, 9, 3))}, TargetError, "no classes"),
        ({"target": 4}, TargetError, "target 4 is no class"),
        ({"target": lambda y: y[:, 0]}, TargetError, "no recipe can hold"),
        ({"dtype": "float64"}, OptionError, "float16"),
        ({"shard_size": 0}, OptionError, "shard_size=0"),
        ({"workers": 2}, OptionError, "engine='ray'"),
        ({"engine": "dask"}, OptionError, "serial"),
        ({"epsilonn": 2}, OptionError, "epsilonn"),
        ({"strategy": 3}, OptionError, "MirroredStrategy"),
        ({"size": (4, 4)}, OptionError, "no size"),
        ({"data": np.ones((0, 8, 9, 3))}, InputError, "no sample"),
        ({"data": np.ones((2, 8, 8, 3))}, InputError, r"\(8, 8, 3\)"),
    ):
        given = {"data": folder, "method": "lrp.epsilon", "out": out, **options}
        with pytest.raises(error, match=told):
            tfxai.run(model, **given)
    any_size = small((None, None))
    with pytest.raises(OptionError, match="--size 224x224"):
        tfxai.run(any_size, folder, "gradient", out)
    assert not contents(out) if out.exists() else True
    tfxai.run(any_size, folder, "gradient", out, size=(8, 9), overwrite=True)
    x = np.stack([pictures.read(folder / n, (8, 9)) for n in names_in(folder)])
    same_maps(tfxai.load(out), tfxai.explain(model, x, "gradient"))
    a, b = keras.Input((3,)), keras.Input((3,))
    two = keras.Model([a, b], L.Dense(2)(a + b))
    with pytest.raises(InputError, match="2 inputs"):
        tfxai.run(two, np.ones((2, 3)), "gradient", tmp_path / "two")


def test_labels_are_whole_numbers_from_the_first_label_on(model, tmp_path):
    x = np.random.default_rng(0).uniform(0, 9, (3, 8, 9, 3)).astype("float32")
    y = np.array([1, 3, 4])
    np.savez(tmp_path / "data.npz", x=x, y=y)
    for name, data in (
        ("arrays", (x, y)), ("column", (x, y[:, None])), ("floats", (x, y * 1.0)),
        ("npz", tmp_path / "data.npz"),
        ("pipeline", tf.data.Dataset.from_tensor_slices((x, y)).batch(2)),
    ):  # fmt: skip
        options = {"first_label": np.int64(1), "shard_size": np.int64(2)}
        out = tmp_path / name
        tfxai.run(model, data, "gradient", out, "label", seed=np.int64(4), **options)
        maps = tfxai.load(out)
        assert maps[:].label.tolist() == maps[:].target.tolist() == [0, 2, 3]
        assert (maps.recipe["seed"], maps.recipe["shard_size"]) == (4, 2)
    for wrong in (
        np.eye(3), np.array(["a", "b", "c"]), np.array([0, np.nan, 1]),
        np.array([0.9, 1.9, 2.0]), np.array([0, 1, None]),
    ):  # fmt: skip
        given = [(x, wrong)]
        np.savez(tmp_path / "bad.npz", x=x, y=wrong)
        given.append(tmp_path / "bad.npz")
        if wrong.dtype != object:
            given.append(tf.data.Dataset.from_tensors((x, wrong)))
        for data in given:
            with pytest.raises(InputError, match="whole numbers"):
                tfxai.run(model, data, "gradient", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_pipelines_that_fail_are_named(tmp_path):
    model = small((None, None))

    def of(*sizes, wrong=False):
        def samples():
            yield from (np.zeros((1, *size, 3), np.float32) for size in sizes)
            if wrong:
                raise ZeroDivisionError("the user's own")

        spec = tf.TensorSpec((None, None, None, 3), tf.float32)
        return tf.data.Dataset.from_generator(samples, output_signature=spec)

    for data, told in (
        (of((8, 9), (9, 9)), r"shapes \[\(8, 9, 3\), \(9, 9, 3\)\]"),
        (of((8, 9), wrong=True), "The dataset fails: .*the user's own"),
        (of(), "no sample"),
    ):
        with pytest.raises(InputError, match=f"(?s){told}"):
            tfxai.run(model, data, "gradient", tmp_path / "m")


def test_what_has_no_use_is_refused(folder, model, tmp_path):
    x = np.ones((2, 8, 9, 3), np.float32)
    for data, options in (
        (x, {"labels": ["a"]}),
        ((x, np.array([0, 1])), {"size": (8, 9)}),
        (x, {"first_label": 1}),
        (folder, {"first_label": 1}),
    ):
        with pytest.raises(OptionError, match=f"{next(iter(options))}=.*kind"):
            tfxai.run(model, data, "gradient", tmp_path / "m", **options)
    with pytest.raises(TargetError, match="one list of classes"):
        tfxai.run(model, x, "gradient", tmp_path / "m", target=[[0, 1], [2]])
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(RecipeError, match="is not whole"):
        tfxai.load(tmp_path)


def test_one_record_does_not_decide_for_all(folder, model, tmp_path):
    names = names_in(folder)[:3]
    unlabelled = tf.train.Example.FromString(record(folder / names[0], 0))
    del unlabelled.features.feature["image/class/label"]
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord")) as writer:
        writer.write(b"garbage")
        writer.write(unlabelled.SerializeToString())
        for label, name in zip((3, 2), names[1:], strict=True):
            writer.write(record(folder / name, label))
    with pytest.warns(FailedSamplesWarning, match="no tf.train.Example"):
        tfxai.run(model, tmp_path / "a.tfrecord", "gradient", tmp_path / "m")
    maps = tfxai.load(tmp_path / "m")
    assert maps[:].label.tolist() == [-1, 3, 2]
    assert [f.name for f in maps.failures] == ["a.tfrecord#0"]


def test_ray_and_copies_are_refused_by_name(folder, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r'pip install "tfxai\[ray\]"'):
        tfxai.run(model, folder, "gradient", tmp_path, engine="ray")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match="cannot be copied"):
        tfxai.run(
            lambda x: x.mean((1, 2)), folder, "occlusion", tmp_path, size=(8, 9),
            strategy=tf.distribute.MirroredStrategy(["cpu:0"]),
        )  # fmt: skip


def test_what_a_worker_of_ray_does(folder, model, tmp_path, monkeypatch):
    """Ray itself is asked in test_batch_slow.py; here its workers are called."""
    (tmp_path / "bad").mkdir()
    shutil.copy(folder / "zebra" / "x#%'\".png", tmp_path / "bad")
    (tmp_path / "bad" / "none.png").write_bytes(b"")
    twice = []

    @contextmanager
    def here(job, model, *rest):
        travelled = pickle.loads(pickle.dumps((job, model)))

        def make(numbers, advance):
            worker = cluster.Worker(travelled, None)
            for number in [*numbers, *numbers[:1]]:  # the first once more
                (text,) = worker({"shard": np.array([number])})["made"].tolist()
                twice.append(cluster.returned(text))
            yield from twice[:-1]

        yield make

    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(get=lambda v: v))
    monkeypatch.setattr(cluster, "check_ray", lambda: None)
    monkeypatch.setattr(cluster, "on_ray", here)
    out = tmp_path / "maps"
    tfxai.run(model, folder, "gradient", out, shard_size=4, engine="ray")
    again, first = twice[-1], twice[0]
    assert (again.maps, again.number, again.begun) == (4, first.number, 0)
    tfxai.run(model, folder, "gradient", tmp_path / "serial", shard_size=4)
    assert contents(out) == contents(tmp_path / "serial")
    with pytest.warns(FailedSamplesWarning, match="it is empty"):
        tfxai.run(model, tmp_path / "bad", "gradient", tmp_path / "m", engine="ray")
    assert twice[-1].failed == twice[-2].failed and len(twice[-1].failed) == 1
    with pytest.raises(OptionError, match="cannot be sent"):
        data = tf.data.Dataset.from_tensors(np.zeros((2, 8, 9, 3), "f"))
        tfxai.run(model, data, "gradient", tmp_path / "p", engine="ray")

    def refuses(*_, **__):
        raise ModelError("not here", "elsewhere")

    monkeypatch.setattr(cluster, "create_analyzer", refuses)
    with pytest.raises(ModelError, match="not here\n  Wanted: elsewhere"):
        tfxai.run(model, folder, "gradient", tmp_path / "wrong", engine="ray")
