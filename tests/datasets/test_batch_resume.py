"""Resumed runs, runs that share a folder, and errors for another recipe."""

import functools
import inspect
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.datasets import batches
from tests.datasets.batches import contents, names_in, same_maps, small
from tfxai.datasets import recipe
from tfxai.datasets import run as dataset
from tfxai.errors import (
    IncompleteWarning,
    ModelError,
    OptionError,
    RecipeError,
    RecipeWarning,
)
from tfxai.io import images
from tfxai.relevance import presets

L = keras.layers
#: Fixtures that pytest builds separately for this file.
model, folder = batches.model, batches.folder

# -- resumed runs, shared folders, other recipes -------------------------------------


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
    assert [m.number for m in done.computed] == [1] and done.skipped == [0, 2, 3]
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
    for change, text in (
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
        assert text in str(caught.value) and "--overwrite" in str(caught.value)
    assert contents(tmp_path) == before
    done = tfxai.run(model, folder, "gradient", tmp_path, overwrite=True)
    assert done.explained == 10 and sorted(contents(tmp_path)) == ["shard-00000.h5"]
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(RecipeError, match="holds shards, but no recipe"):
        tfxai.run(model, folder, "gradient", tmp_path)


def test_fingerprints_know_weights_layers_and_code_but_not_counted_names():
    first, again = recipe.fingerprint_model(small()), recipe.fingerprint_model(small())
    assert first == again
    other = keras.models.clone_model(small())
    other.set_weights(small().get_weights())
    assert recipe.fingerprint_model(other) == first
    other.get_layer("conv").activation = keras.activations.tanh
    assert recipe.fingerprint_model(other) != first
    assert recipe.fingerprint_callable(lambda x: x + 1) != recipe.fingerprint_callable(
        lambda x: x + 2
    )
    assert recipe.fingerprint_callable(lambda x: x + 1) == recipe.fingerprint_callable(
        lambda x: x + 1
    )
    assert recipe.to_plain_data(np.arange(3)) == [0, 1, 2]
    assert recipe.to_plain_data(np.arange(99)) != recipe.to_plain_data(
        np.arange(99)[::-1]
    )


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
    same, other = (
        recipe.fingerprint_callable(make(2.0)),
        recipe.fingerprint_callable(make(5.0)),
    )
    assert same == recipe.fingerprint_callable(make(2.0)) and same != other


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


def test_a_preset_is_described_without_addresses():
    def preset(**rows):
        return presets.epsilon_plus().replace(**rows)

    text = json.dumps(recipe.to_plain_data(preset(first="flat")))
    assert "0x" not in text
    assert text == json.dumps(recipe.to_plain_data(preset(first="flat")))
    assert text != json.dumps(recipe.to_plain_data(preset(first="z_plus")))
    assert recipe.to_plain_data(presets.epsilon(0.1)) != recipe.to_plain_data(
        presets.epsilon(0.2)
    )
    names = {f"name{i}" for i in range(30)}
    assert recipe.to_plain_data(names) == sorted(names)
    assert recipe.to_plain_data(frozenset(names)) == sorted(names)


def test_what_cannot_be_described_is_a_warning():
    with pytest.warns(RecipeWarning, match="as a builtins.object only"):
        assert recipe.to_plain_data([object()]) == ["builtins.object"]
    around = []
    around.append(around)
    assert recipe.to_plain_data(around) == ["itself"]


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
    """A mocked Ray that fails; test_batch_slow.py uses the real one."""
    tfxai.run(model, folder, "gradient", tmp_path, shard_size=5)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    ray = mock.MagicMock()
    ray.is_initialized.return_value = False
    ray.cluster_resources.return_value = {"CPU": 0}
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray.data)
    for address, wrong, text in (
        ("127.0.0.1:1", None, "'127.0.0.1:1': ConnectionRefused"),  # before Ray waits
        ("auto", ConnectionError("nobody"), "nobody\n  Wanted: the address"),
        (None, None, "too few for one worker"),
    ):
        ray.init.side_effect = wrong
        with pytest.raises(OptionError, match=text):
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
    x = np.stack([images.read(folder / n, (8, 9)) for n in names_in(folder)])
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
        assert [m.number for m in done.computed] == list(range(i, 5, 3))
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
            recipe.write_or_compare(tmp_path, {"number": number})
        except RecipeError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(agree, [1] * 16)) == [None] * 16
        (tmp_path / "recipe.json").unlink()
        texts = list(pool.map(agree, range(16)))
    won = json.loads((tmp_path / "recipe.json").read_text())["number"]
    assert [i for i, text in enumerate(texts) if text is None] == [won]
    assert all(f"number was {won}" in text for text in texts if text)
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.json"]


def test_no_option_of_a_method_is_taken_by_the_run():
    own = set(inspect.signature(dataset.execute).parameters) - {"options"}
    for row in tfxai.methods():
        assert own & set(row.options) <= {"seed", "target"}, row.name
