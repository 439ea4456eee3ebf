"""Runs over data sets with bad samples, full disks and wrong arguments."""

import json
import pickle
import re
import shutil
import subprocess
import sys
import types
import warnings
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.datasets import batches
from tests.datasets.batches import contents, draw, names_in, record, same_maps, small
from tests.zoo import fill
from tfxai.datasets import cluster, shards
from tfxai.errors import (
    FailedSamplesWarning,
    InputError,
    MissingFileError,
    ModelError,
    OptionError,
    RecipeError,
    TargetError,
    WriteError,
)
from tfxai.io import images

L = keras.layers
#: Fixtures that pytest builds separately for this file.
model, folder = batches.model, batches.folder

# -- failures ------------------------------------------------------------------------


def test_an_unreadable_picture_is_listed_and_stops_nobody(folder, model, tmp_path):
    shutil.copytree(folder, tmp_path / "in")
    (tmp_path / "in" / "cat" / "a b 1.png").write_bytes(b"not a real GIF")
    (tmp_path / "in" / "zebra" / "none.png").write_bytes(b"")
    with pytest.warns(FailedSamplesWarning, match="2 sample"):
        done = tfxai.run(
            model, tmp_path / "in", "gradient", tmp_path / "maps", shard_size=4
        )
    names = names_in(tmp_path / "in")
    lost = ["cat/a b 1.png", "zebra/none.png"]
    assert [f.name for f in done.failures] == lost
    assert [f.index for f in done.failures] == [names.index(n) for n in lost]
    assert "b'not a real G'" in done.failures[0].reason
    assert "it is empty" in done.failures[1].reason
    listed = json.loads((tmp_path / "maps" / "failures.json").read_text())
    assert [f["name"] for f in listed["failed"]] == lost and done.failures_path.exists()
    maps = tfxai.load(tmp_path / "maps")
    assert maps.failures == done.failures
    kept = [n for n in names if n not in lost]
    x = np.stack([images.read(tmp_path / "in" / n, (8, 9)) for n in kept])
    assert maps[:].name == kept
    same_maps(maps, tfxai.explain(model, x, "gradient"))
    with pytest.warns(
        FailedSamplesWarning, match="2 sample"
    ):  # the second run lists them too
        again = tfxai.run(
            model, tmp_path / "in", "gradient", tmp_path / "maps", shard_size=4
        )
    assert again.computed == [] and again.failures == done.failures


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
    assert found[0].startswith("00000000 to 00000001: clrp: the relevance")
    assert found[1].startswith("00000002 to 00000003: clrp: the relevance")


def test_warnings_name_the_samples_that_they_are_of(tmp_path):
    x = keras.Input((2,))
    model = keras.Model(x, L.Dense(2, "relu")(x))
    model.set_weights([np.eye(2), np.zeros(2)])
    data = np.ones((8, 2), np.float32)
    data[[1, 6, 7]] = -1  # the ReLU outputs zero

    class Two(tf.distribute.MirroredStrategy):
        def __init__(self):
            pass

        @property
        def extended(self):
            return types.SimpleNamespace(worker_devices=("/cpu:0", "/device:CPU:0"))

    for name, options in (("a", {}), ("b", {"strategy": Two()})):
        options |= {"batch_size": 4, "target": 0}
        done = tfxai.run(model, data, "gradient", tmp_path / name, **options)
        named = [re.findall(r"0000000\d(?= is zero|, )", t) for t in done.warned]
        found = sorted(n for names in named for n in names)
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
        with pytest.raises(WriteError) as caught:
            tfxai.run(model, folder, "gradient", out, shard_size=2)
        text = str(caught.value)
        assert "No space left" in text and "the same command again" in text
        held = contents(out)
        assert 0 < len(held) < 5 and not list(out.glob(".shard*"))
        tfxai.run(model, folder, "gradient", tmp_path / "whole", shard_size=2)
        whole = contents(tmp_path / "whole")
        assert all(whole[name] == data for name, data in held.items())
        again = ["mount", "-o", "remount,size=400k", str(out)]
        subprocess.run(again, check=True, capture_output=True)
        done = tfxai.run(model, folder, "gradient", out, shard_size=2)
        assert len(done.computed) == 5 - len(held) and contents(out) == whole
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
    with pytest.raises(WriteError, match=r"1 shard.*: 1, .*No space"):
        tfxai.run(model, folder, "gradient", tmp_path, shard_size=3)
    assert sorted(contents(tmp_path)) == [f"shard-0000{i}.h5" for i in "023"]
    listed = json.loads((tmp_path / "failures.json").read_text())
    assert list(listed["unwritten"]) == ["1"]


def test_a_disk_that_stays_full_costs_no_computing(
    folder, model, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    calls = []
    monkeypatch.setattr(shards, "write", full)
    monkeypatch.setattr(shards, "has_space", lambda *a: calls.append(a) and False)
    with pytest.raises(WriteError, match="4 shard") as caught:
        tfxai.run(model, folder, "gradient", tmp_path, shard_size=3)
    assert "No space" in str(caught.value)
    assert [size for _, size in calls] == [3 * 8 * 9 * 3 * 4] * 3


def test_room():
    assert shards.has_space(Path("."), 10) and not shards.has_space(Path("."), 2**60)


def test_what_is_refused_at_the_door(folder, model, tmp_path):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "maps"
    with pytest.raises(MissingFileError, match="no image and no TFRecord"):
        tfxai.run(model, tmp_path / "empty", out=out)
    with pytest.raises(MissingFileError, match="There is no file"):
        tfxai.run(model, tmp_path / "gone", out=out)
    for options, error, text in (
        ({"target": "label", "data": np.ones((2, 8, 9, 3))}, TargetError, "no classes"),
        ({"target": 4}, TargetError, "target 4 is not a class"),
        ({"target": lambda y: y[:, 0]}, TargetError, "a recipe cannot store"),
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
        with pytest.raises(error, match=text):
            tfxai.run(model, **given)
    any_size = small((None, None))
    with pytest.raises(OptionError, match="--size 224x224"):
        tfxai.run(any_size, folder, "gradient", out)
    assert not contents(out) if out.exists() else True
    tfxai.run(any_size, folder, "gradient", out, size=(8, 9), overwrite=True)
    x = np.stack([images.read(folder / n, (8, 9)) for n in names_in(folder)])
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

    for data, text in (
        (of((8, 9), (9, 9)), r"shapes \[\(8, 9, 3\), \(9, 9, 3\)\]"),
        (of((8, 9), wrong=True), "The dataset fails: .*the user's own"),
        (of(), "no sample"),
    ):
        with pytest.raises(InputError, match=f"(?s){text}"):
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
    with pytest.raises(RecipeError, match="is incomplete"):
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
    with pytest.warns(FailedSamplesWarning, match="not a tf.train.Example"):
        tfxai.run(model, tmp_path / "a.tfrecord", "gradient", tmp_path / "m")
    maps = tfxai.load(tmp_path / "m")
    assert maps[:].label.tolist() == [-1, 3, 2]
    assert [f.name for f in maps.failures] == ["a.tfrecord#0"]


def test_ray_and_copies_are_refused_by_name(folder, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OptionError, match=r'pip install "ray\[data\]"'):
        tfxai.run(model, folder, "gradient", tmp_path, engine="ray")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match="cannot be copied"):
        tfxai.run(
            lambda x: x.mean((1, 2)), folder, "occlusion", tmp_path, size=(8, 9),
            strategy=tf.distribute.MirroredStrategy(["cpu:0"]),
        )  # fmt: skip


def test_what_a_worker_of_ray_does(folder, model, tmp_path, monkeypatch):
    """Workers of Ray, called directly; test_batch_slow.py runs them in Ray."""
    (tmp_path / "bad").mkdir()
    shutil.copy(folder / "zebra" / "x#%'\".png", tmp_path / "bad")
    (tmp_path / "bad" / "none.png").write_bytes(b"")
    twice = []

    @contextmanager
    def here(job, model, *rest):
        travelled = pickle.loads(pickle.dumps((job, model)))

        def make(numbers, advance):
            worker = cluster.RayWorker(travelled, None)
            for number in [*numbers, *numbers[:1]]:  # the first one twice
                (text,) = worker({"shard": np.array([number])})["result"].tolist()
                twice.append(cluster.parse_result(text))
            yield from twice[:-1]

        yield make

    monkeypatch.setitem(sys.modules, "ray", types.SimpleNamespace(get=lambda v: v))
    monkeypatch.setattr(cluster, "check_ray", lambda: None)
    monkeypatch.setattr(cluster, "on_ray", here)
    out = tmp_path / "maps"
    tfxai.run(model, folder, "gradient", out, shard_size=4, engine="ray")
    again, first = twice[-1], twice[0]
    assert (again.explained, again.number, again.started) == (4, first.number, 0)
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
