"""Folders, records, arrays and pipelines: the shards hold the results of `explain`."""

import os
import re
from contextlib import contextmanager

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.datasets import batches
from tests.datasets.batches import contents, draw, names_in, record, same_maps
from tfxai.datasets import run as dataset
from tfxai.datasets import shards
from tfxai.errors import FailedSamplesWarning, InputError
from tfxai.io import images

#: Fixtures that pytest builds separately for this file.
model, folder = batches.model, batches.folder

# -- the shards hold the results of `explain` ----------------------------------------


def test_a_folder_of_pictures(folder, model, tmp_path):
    done = tfxai.run(
        model, folder, "lrp.epsilon", tmp_path / "maps", shard_size=4, batch_size=3
    )
    assert (done.explained, done.failures, done.unwritten) == (10, [], {})
    assert sorted(contents(tmp_path / "maps")) == [f"shard-0000{i}.h5" for i in "012"]
    names = names_in(folder)
    x = np.stack([images.read(folder / n, (8, 9)) for n in names])
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
    calls = []

    @contextmanager
    def bar(title, total, show):
        calls.append((title, total, show))
        yield lambda n, note="": calls.append((n, note))

    monkeypatch.setattr(dataset, "bar", bar)
    given = {"method": "gradient", "out": tmp_path, "shard_size": 3, "batch_size": 2}
    tfxai.run(model, folder, **given)
    (tmp_path / "shard-00003.h5").unlink()
    tfxai.run(model, folder, progress=False, **given)
    assert [c for c in calls if len(c) == 3] == [
        ("gradient", 10, None), ("gradient", 1, False)
    ]  # fmt: skip
    steps = [c for c in calls if len(c) == 2]
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
    (out / "shard-00000.h5").write_bytes(b"torn")  # `maps` does not open it
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
    x = np.stack([images.read(folder / n, (8, 9)) for n in names])
    label = np.array([0] * 4 + [1] * 4 + [2] * 2)
    wanted = {
        "int": (3, 3),
        "several": ([2, 0], np.tile([2, 0], (10, 1))),
        "label": ("label", label),
    }
    for name, (given, target) in wanted.items():
        tfxai.run(model, folder, "gradient", tmp_path / name, given, shard_size=6)
        e = tfxai.explain(model, x, "gradient", target)
        same_maps(tfxai.load(tmp_path / name), e)
    assert tfxai.load(tmp_path / "several")[4].relevance.shape == (2, 8, 9, 3)


def test_classes_by_the_names_of_labels(folder, model, tmp_path):
    labels = ["zebra", "dog", "cat, house cat", "bird"]
    with pytest.warns(FailedSamplesWarning, match="4 sample"):
        done = tfxai.run(
            model, folder, "gradient", tmp_path, "label", labels=labels, batch_size=4
        )
    assert [f.name for f in done.failures] == names_in(folder)[
        :4
    ]  # no label matches Bär
    assert "not known (-1)" in done.failures[0].reason
    assert tfxai.load(tmp_path)[:].target.tolist() == [2] * 4 + [0] * 2


def labels_of(data, tmp_path, model, **options):
    """Run on a data set and return name of a sample -> label."""
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
    draw(home / "stray.png", 3)  # a shell expands images/* to it too
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
    reference = keras.utils.image_dataset_from_directory(
        home, image_size=(8, 9), shuffle=False, verbose=0
    )
    found = labels_of(home, tmp_path, model)
    assert list(found.values()) == [1, 2, 3]
    assert np.concatenate([y for _, y in reference]).tolist() == [1, 2, 3]
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
    x = np.stack([images.read(folder / n, (8, 9)) for n in names])
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
        assert [m.number for m in done.computed] == [1] and done.skipped == [0, 2]
        same_maps(tfxai.load(tmp_path / name), e)
    with pytest.raises(InputError, match="is infinite"):
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

    def growing():  # a different number of samples in each pass
        yield from x[: 9 - next(passes)]

    spec = tf.TensorSpec(x.shape[1:], tf.float32)
    shorter = tf.data.Dataset.from_generator(growing, output_signature=spec)
    third, count = x[3, 0, 0, 0], iter(np.arange(99))
    kinds = iter(np.random.default_rng(5).integers(0, 4, 99))

    def drawn(numbers):  # not tf.random, which repeats itself under a global seed
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
        with pytest.raises(
            InputError, match=f"Sample {place} .* differs from the first pass"
        ) as e:
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
    assert [m.number for m in done.computed] == [1]
    maps = tfxai.load(tmp_path)
    same_maps(maps, e)
    assert maps[:].index.tolist() == list(range(9))
    np.testing.assert_array_equal(maps[:].label, seen[1])


@pytest.mark.slow
def test_a_sample_does_not_depend_on_its_batch_or_shard(model, tmp_path):
    x = np.random.default_rng(2).uniform(0, 255, (6, 8, 9, 3)).astype("float32")
    one = {"n_samples": 5, "noise": 9.0, "seed": 3}
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
    kept, scale = shards.encode(r, 1, "float16")
    assert kept.dtype == np.float16 and np.isfinite(kept).all()
    back = shards.decode(kept, scale)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back[:4], r[:4], rtol=2**-11)  # the 11 bits of a half
    np.testing.assert_allclose(back[4], r[4], rtol=2**-11, atol=3e-45)
    assert (back[5] == 0).all() and (np.sign(back[:4]) == np.sign(r[:4])).all()
    odd = np.array([[np.nan, np.inf, 2.0]], np.float32)
    back = shards.decode(*shards.encode(odd, 1, "float16"))
    np.testing.assert_array_equal(back, odd)


def test_half_precision_in_a_run(model, tmp_path):
    x = np.random.default_rng(2).uniform(0, 255, (5, 8, 9, 3)).astype("float32")
    tfxai.run(model, x, "gradient", tmp_path, [1, 2], dtype="float16")
    e = tfxai.explain(model, x, "gradient", np.tile([1, 2], (5, 1)))
    same_maps(tfxai.load(tmp_path), e, rtol=2**-11)
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        assert file["relevance"].dtype == np.float16 and file["scale"].shape == (5, 2)


@pytest.mark.parametrize("dtype", ["float64", ">f8", "int32", "uint8", "float16"])
@pytest.mark.parametrize("source", ["arrays", "npz", "tf.data"])
def test_a_callable_gets_the_type_of_the_data(dtype, source, tmp_path):
    """In float32 a time stamp of 1.7e9 + 37 is 1.7e9."""
    low = 0 if dtype in ("uint8", "float16") else 1_700_000_000
    x = np.array([[low + 37, 5], [low + 2, 7]]).astype(dtype)
    own = np.dtype(dtype).newbyteorder("=")

    def seconds(v):
        assert v.dtype == own
        return v[:, :1].astype(float) - low

    np.savez(tmp_path / "x.npz", x=x)
    data = x if source == "arrays" else tmp_path / "x.npz"
    if source == "tf.data":
        data = tf.data.Dataset.from_tensor_slices(x.astype(own)).batch(2)
    tfxai.run(seconds, data, "occlusion", tmp_path / "maps", target=0)
    maps = tfxai.load(tmp_path / "maps")
    e = tfxai.explain(seconds, x.astype(own), "occlusion", 0)
    np.testing.assert_array_equal(maps[:].relevance, e.relevance)
    assert e.score.tolist() == maps[:].score.tolist() == [37, 2]
