"""`tfxai run`: its files equal the results of the API; its exit code."""

import inspect
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import tfxai
from tests.datasets.batches import contents, draw, names_in, same_maps, small
from tests.zoo import fill
from tfxai.cli import run as run_files
from tfxai.cli.main import main
from tfxai.io import images, networks

EXECUTE = run_files.dataset.execute


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    small().save(home / "net.keras")
    for i in range(3):
        draw(home / "in" / "cat" / f"ä {i}.png", i)
        draw(home / "in" / "dog" / f"ä {i}.png", 9 + i)
    (home / "labels.json").write_text(json.dumps(["dog", "bird", "cat", "fish"]))
    (home / "prep.py").write_text("def half(x):\n    return x / 2.\n")
    return home


def run(home, *words):
    given = ["run", "--model", home / "net.keras", *words]
    return CliRunner().invoke(main, [str(w) for w in given])


def test_the_command_writes_what_the_api_says(home, tmp_path):
    words = [
        *("--method", "sglrp", "--out", tmp_path, "--shard-size", 4),
        *("--labels", home / "labels.json", "--target", "label", "--dtype", "float16"),
        *("--preprocess", f"{home}/prep.py:half", "--batch-size", 4, home / "in"),
    ]
    result = run(home, *words)
    assert result.exit_code == 0, result.output
    assert f"6 explanation(s) in {tmp_path}" in result.stdout
    assert "bounds: low 0, high 127.5" in result.stderr
    names = names_in(home / "in")
    x = np.stack([images.read(home / "in" / n, (8, 9)) for n in names])
    e = tfxai.explain(
        small(), x, "sglrp", [2] * 3 + [0] * 3, preprocess=lambda x: x / 2.0,
        low=0, high=127.5,
    )  # fmt: skip
    maps = tfxai.load(tmp_path)
    same_maps(maps, e, rtol=2**-11)
    assert maps[:].name == names and maps[:].label.tolist() == [2] * 3 + [0] * 3
    before = contents(tmp_path)
    result = run(home, *words)
    assert result.exit_code == 0 and "2 shard(s) existed already" in result.stderr
    assert contents(tmp_path) == before
    result = run(home, *words, "--option", "relu=true")
    assert result.exit_code == 2 and "options.relu was null" in result.stderr
    assert "--overwrite" in result.stderr


def test_failures_are_listed_and_the_exit_code_is_one(home, tmp_path):
    draw(tmp_path / "in" / "a.png", 0)
    (tmp_path / "in" / "b.jpg").write_bytes(b"no jpeg")
    words = ("--method", "gradient", "--out", tmp_path / "m", tmp_path / "in")
    for text in ("1 explanation(s)", "0 explanation(s)"):  # also when all shards exist
        result = run(home, *words)
        assert result.exit_code == 1 and text in result.stdout
        assert "b.jpg: " in result.stderr and "no jpeg" in result.stderr
        assert "failures.json" in result.stderr
    one = tfxai.load(tmp_path / "m")
    assert len(one) == 1 and one.failures[0].name == "b.jpg"


def test_a_wrong_option_is_named(home, tmp_path):
    paths = ("--out", tmp_path, home / "in")
    for words, text in (
        (("--shard", "4/4"), "0/4, 1/4, 2/4 and 3/4"),
        (("--size", "8"), "--size 224x224"),
        (("--size", "9x9"), "no size"),
        (("--low", "0"), "--low -1 --high 1"),
        (("--target", "cat"), "--labels labels.json"),
        (("--option", "seed=3", "--method", "smoothgrad"), "--seed VALUE"),
        (("--option", "target=3"), "--target VALUE"),
        (("--option", "batch-size=4"), "--batch-size VALUE"),
        (("--option", "overwrite=true"), "the command's own --overwrite"),
        (("--option", "progress=true"), "no option 'progress'"),
        (("--workers", "2"), "engine='ray'"),
        (("--strategy", "mirrored", "--engine", "ray"), "strategy='mirrored'."),
        (("--method", "gradeint"), "gradient"),
        (("--overwrite", "--shard", "0/2"), "delete the others' work"),
    ):
        result = run(home, *words, *paths)
        assert result.exit_code == 2, (words, result.output)
        assert text in result.stderr
    assert not list(tmp_path.iterdir())


def test_no_parameter_of_a_run_is_taken_for_an_option(home, tmp_path, monkeypatch):
    def ran(*_, **__):
        raise AssertionError("the option was accepted")

    monkeypatch.setattr(run_files.dataset, "execute", ran)
    monkeypatch.setattr(networks, "load", lambda *_, **__: small())
    for name in set(inspect.signature(EXECUTE).parameters) - {"options"}:
        words = ("--option", f"{name}=1", "--out", tmp_path, home / "in")
        result = run(home, "--method", "gradient", *words)
        assert result.exit_code == 2 and name in result.stderr, result.output
        assert "the command's own" in result.stderr or "no option" in result.stderr


def test_a_strategy_over_one_device_is_refused(home, tmp_path, monkeypatch):
    """Two devices are tested in test_batch_slow.py."""
    gpu = [types.SimpleNamespace(name="/device:GPU:0")]
    listed = {"GPU": [], "CPU": [types.SimpleNamespace(name="/device:CPU:0")]}
    monkeypatch.setattr(tf.config, "list_logical_devices", listed.get)
    words = ("--strategy", "mirrored", "--out", tmp_path / "maps", home / "in")
    result = run(home, *words)
    assert result.exit_code == 2 and "one device, '/device:CPU:0'" in result.stderr
    listed.update({"GPU": gpu, "CPU": listed["CPU"] * 2})  # never beside a GPU
    result = run(home, *words)
    assert result.exit_code == 2 and "one device, '/device:GPU:0'" in result.stderr
    assert "Wanted: two GPUs or more" in result.stderr
    assert not list(tmp_path.iterdir())


def test_several_maps_and_parts(home, tmp_path):
    words = ["--method", "gradient", "--target", 1, "--target", 3, "--out", tmp_path]
    for i in (1, 0):
        result = run(home, *words, "--shard", f"{i}/2", "--shard-size", 2, home / "in")
        assert result.exit_code == 0
    x = np.stack([images.read(home / "in" / n, (8, 9)) for n in names_in(home / "in")])
    e = tfxai.explain(small(), x, "gradient", np.tile([1, 3], (6, 1)))
    same_maps(tfxai.load(tmp_path), e)


def test_an_npz_is_explained_as_it_stands(home, tmp_path):
    x = np.random.default_rng(0).uniform(0, 1, (3, 8, 9, 3)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x)
    words = ("--method", "sglrp", tmp_path / "data.npz")
    result = run(home, *words, "--out", tmp_path / "a")
    assert result.exit_code == 0 and "bounds" not in result.stderr
    same_maps(tfxai.load(tmp_path / "a"), tfxai.explain(small(), x, "sglrp"))
    bounds = ("--low", 0, "--high", 1)
    assert run(home, *words, "--out", tmp_path / "b", *bounds).exit_code == 0
    e = tfxai.explain(small(), x, "sglrp", low=0, high=1)
    same_maps(tfxai.load(tmp_path / "b"), e)


def test_an_npz_of_series(tmp_path):
    x = keras.Input((6, 2))
    h = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(3, 3)(x))
    model = fill(keras.Model(x, keras.layers.Dense(2)(h)))
    model.save(tmp_path / "net.keras")
    data = np.random.default_rng(0).normal(size=(3, 6, 2)).astype("float32")
    np.savez(tmp_path / "data.npz", x=data)
    given = ["run", "--model", tmp_path / "net.keras", "--method", "sglrp"]
    given += ["--out", tmp_path / "maps", tmp_path / "data.npz"]
    result = CliRunner().invoke(main, [str(w) for w in given])
    assert result.exit_code == 0, result.output
    same_maps(tfxai.load(tmp_path / "maps"), tfxai.explain(model, data, "sglrp"))


def test_labels_name_the_target_where_there_are_no_folders(home, tmp_path):
    x = np.random.default_rng(0).uniform(0, 9, (2, 8, 9, 3)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x)
    words = ("--method", "gradient", "--labels", home / "labels.json")
    given = ("--out", tmp_path / "maps", tmp_path / "data.npz")
    assert run(home, *words, "--target", "cat", *given).exit_code == 0
    e = tfxai.explain(small(), x, "gradient", 2)
    same_maps(tfxai.load(tmp_path / "maps"), e)
    result = run(home, *words, *given)
    assert result.exit_code == 2 and "no labels: it has no effect" in result.stderr
