"""Model files that try to run code or to read other files, against the installed Keras.

The rows follow the CVEs that docs/security.md lists.
"""

import json
import re
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from tfxai.errors import ModelError
from tfxai.io import networks

ROOT = Path(__file__).resolve().parents[2]
SECRET = np.arange(12, dtype="float32").reshape(4, 3)


@pytest.fixture
def saved(tmp_path):
    """A saved network of one dense layer."""
    x = keras.Input((4,))
    path = tmp_path / "good.keras"
    keras.Model(x, keras.layers.Dense(3, name="dense")(x)).save(path)
    return path


def repack(path, out, config=None, weights=None):
    """Copy a .keras file with another configuration or changed weights."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json" and config is not None:
                data = json.dumps(config(json.loads(data))).encode()
            if name.endswith(".h5") and weights is not None:
                (out.parent / "w.h5").write_bytes(data)
                with h5py.File(out.parent / "w.h5", "a") as file:
                    weights(file)
                data = (out.parent / "w.h5").read_bytes()
            new.writestr(name, data)
    return out


def layer_config(whole, **changes):
    """Change the configuration of the dense layer."""
    whole["config"]["layers"][1] |= changes
    return whole


def function(module, name, *args):
    """A configuration that names any function of Python."""
    return {
        "module": module, "class_name": "function", "config": name,
        "registered_name": name, "args": list(args),
    }  # fmt: skip


def gadgets(target):
    """Return name -> change of the configuration that would write `target`."""
    command = f"touch {target}"

    def in_layer(**changes):
        return lambda whole: layer_config(whole, **changes)

    def activation(value):
        def change(config):
            config["config"]["layers"][1]["config"]["activation"] = value
            return config

        return change

    lambda_config = {"name": "l", "function": function("os", "system"), "trainable": 1}
    return {
        "a function of os as the layer": in_layer(
            module="os", class_name="system", config=command, registered_name="system"
        ),
        "subprocess": in_layer(
            module="subprocess", class_name="Popen", config={"args": ["touch", target]}
        ),
        "builtins": in_layer(
            module="builtins", class_name="exec", config=f"open({target!r}, 'w')"
        ),
        "types": in_layer(module="types", class_name="FunctionType", config={}),
        "a Lambda of os": in_layer(
            module="keras.layers", class_name="Lambda", config=lambda_config
        ),
        "a function as activation": activation(function("os", "system", command)),
        "get_file": activation(
            {
                "module": "keras.utils", "class_name": "function",
                "config": "get_file", "registered_name": "get_file",
            }
        ),
        "enable_unsafe": activation(
            function("keras.config", "enable_unsafe_deserialization")
        ),
        "TorchModuleWrapper": in_layer(
            module="keras.layers", class_name="TorchModuleWrapper",
            config={"module": "gASVAAA=", "name": "t"},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", gadgets("a"))
def test_no_configuration_runs_code(saved, tmp_path, name):
    target = tmp_path / "touched"
    path = repack(saved, tmp_path / "bad.keras", gadgets(str(target))[name])
    try:
        model = networks.load(path)
    except ModelError:
        model = None
    assert not target.exists()
    if model is not None:  # Keras may take the name for one of its own
        with pytest.raises(Exception):  # noqa: B017
            model(np.ones((1, 4)))
        assert not target.exists()
    with pytest.raises(ModelError):  # safe mode is still on
        x = keras.Input((4,))
        keras.Model(x, keras.layers.Lambda(lambda v: v)(x)).save(tmp_path / "l.keras")
        networks.load(tmp_path / "l.keras")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_is_refused(tmp_path, suffix):
    path, target = tmp_path / f"net{suffix}", tmp_path / "touched"
    x = keras.Input((4,))
    text = str(target)
    touch = keras.layers.Lambda(lambda v: (__import__("os").mkdir(text), v)[1], (4,))
    keras.Model(x, touch(x)).save(path)
    networks.load(path, safe_mode=False)(np.ones((1, 4)))
    assert target.exists()  # what it does if it is trusted
    target.rmdir()
    with pytest.raises(ModelError, match="Lambda"):
        networks.load(path)
    assert not target.exists()


def weight_changes(folder):
    """Return name -> change of the weights that would read a file of `folder`."""
    (folder / "secret").write_bytes(SECRET.tobytes())
    with h5py.File(folder / "secret.h5", "w") as file:
        file["x"] = SECRET

    def kernel(file):
        found = []
        file.visititems(
            lambda name, item: found.append(name) if item.name.endswith("/0") else None
        )
        name = next(n for n in found if file[n].shape == (4, 3))
        group = file[name].parent
        del file[name]
        return group

    def virtual(file):
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource(folder / "secret.h5", "x", (4, 3))
        kernel(file).create_virtual_dataset("0", layout)

    def link(file):
        kernel(file)["0"] = h5py.ExternalLink(folder / "secret.h5", "x")

    def storage(file):
        place = [(folder / "secret", 0, SECRET.nbytes)]
        kernel(file).create_dataset("0", (4, 3), "f4", external=place)

    return {"virtual": virtual, "link": link, "storage": storage}


@pytest.mark.parametrize("name", ["virtual", "link", "storage"])
def test_no_weights_come_from_another_file(saved, tmp_path, name):
    path = repack(saved, tmp_path / "bad.keras", weights=weight_changes(tmp_path)[name])
    with pytest.raises(ModelError):
        networks.load(path)


def test_no_name_of_a_layer_leaves_the_folder(saved, tmp_path):
    """CVE-2026-12479: a layer with assets whose name is a path."""
    vocabulary = keras.layers.StringLookup(vocabulary=["a"], name="words")
    x = keras.Input((1,), dtype="string")
    keras.Model(x, vocabulary(x)).save(tmp_path / "words.keras")

    def rename(config):
        text = json.dumps(config).replace('"words"', '"../../../escaped"')
        return json.loads(text)

    path = repack(tmp_path / "words.keras", tmp_path / "in.keras", rename)
    before = sorted(p.name for p in tmp_path.iterdir())
    with suppress(ModelError):
        networks.load(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_the_requirement_is_the_version_that_the_page_names():
    wanted = re.search(r"keras >= ([\d.]+)", (ROOT / "setup.cfg").read_text())[1]
    page = (ROOT / "docs" / "security.md").read_text()
    assert f"Keras {wanted}" in page
    have = tuple(map(int, keras.__version__.split(".")[:3]))
    fixed = re.findall(r"\| \[?CVE-\d{4}-\d+.*\| (\d+\.\d+(?:\.\d+)?) \|", page)
    needed = max(tuple(map(int, v.split("."))) for v in fixed)
    assert len(fixed) >= 9 and have >= tuple(map(int, wanted.split("."))) >= needed
