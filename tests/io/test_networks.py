"""Networks, preprocessing and labels by name, and the errors for unknown names."""

import json
import re
import socket
import urllib.error

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.zoo import fill
from tfxai.errors import (
    DownloadError,
    LabelError,
    MissingFileError,
    ModelError,
    OptionError,
    UnknownNameError,
)
from tfxai.io import networks

X = np.float32([[1, -2, 3, 0.5]])


@pytest.fixture(scope="module")
def model():
    x = keras.Input((4,))
    return fill(keras.Model(x, keras.layers.Dense(3, activation="softmax")(x)))


@pytest.fixture(scope="module")
def unsafe():
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Lambda(lambda v: v * 2)(x))


# -- networks ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_file_of_keras(model, tmp_path, name):
    model.save(tmp_path / name)
    loaded = networks.load(tmp_path / name)
    assert (loaded.predict(X, verbose=0) == model.predict(X, verbose=0)).all()


def test_a_saved_model_folder(model, tmp_path):
    model.export(str(tmp_path / "folder"), verbose=False)
    loaded = networks.load(str(tmp_path / "folder"))
    assert np.allclose(loaded.serve(X), model(X))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_runs_only_if_asked(unsafe, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    unsafe.save(path)
    with pytest.raises(ModelError, match="--unsafe"):
        networks.load(path)
    assert np.allclose(networks.load(path, safe_mode=False)(X), 2 * X)


@pytest.mark.parametrize("name", ["no.keras", "no/net", "no.h5"])
def test_no_such_file(name):
    with pytest.raises(MissingFileError, match=name):
        networks.load(name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.keras", b"text"),
        ("a.h5", b"text"),
        ("a.json", b"{}"),
        ("a.keras", b"PK\5\6"),
    ],
)
def test_a_file_that_is_no_model(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name) as caught:
        networks.load(tmp_path / name)
    assert "File not found" not in str(caught.value)  # Keras' text for a broken zip


def test_weights_alone_are_no_model(model, tmp_path):
    model.save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(ModelError, match="whole model"):
        networks.load(tmp_path / "net.weights.h5")


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="contains no SavedModel"):
        networks.load(tmp_path)


def test_a_network_by_name_in_any_case(monkeypatch, model):
    monkeypatch.setattr(keras.applications, "MobileNetV2", lambda: model)
    assert networks.load("mobilenetv2") is model


def test_an_unknown_network_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="perhaps MobileNetV2"):
        networks.load("MobilNetV2")


@pytest.mark.parametrize(
    "error",
    [
        Exception("URL fetch failure on https://x: None -- no route"),
        TimeoutError("timed out"),
        urllib.error.URLError("no host"),
    ],
)
def test_a_failed_download(monkeypatch, error):
    timeouts = []

    def offline():
        timeouts.append(socket.getdefaulttimeout())
        raise error

    monkeypatch.setattr(keras.applications, "VGG16", offline)
    with pytest.raises(DownloadError, match="weights of VGG16"):
        networks.load("vgg16")
    assert 0 < timeouts[0] <= 10 and socket.getdefaulttimeout() is None


def test_any_other_error_of_a_named_network_is_not_hidden(monkeypatch):
    def broken():
        raise RuntimeError("a bug")

    monkeypatch.setattr(keras.applications, "VGG16", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        networks.load("VGG16")


# -- preprocessing -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16", "densenet", "VGG16"])
def test_a_module_of_keras_inside_a_graph(name):
    f = networks.preprocess(name)
    x = np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 3)).astype(np.float32)
    module = getattr(keras.applications, name.lower())
    output = tf.function(f)(tf.constant(x))
    assert np.allclose(output, module.preprocess_input(x.copy()), atol=1e-5)


def test_caffe_mode_flips_the_channels():
    x = tf.constant([[[[10.0, 20.0, 30.0]]]])
    output = tf.function(networks.preprocess("vgg16"))(x)
    assert np.allclose(output, [[[[30 - 103.939, 20 - 116.779, 10 - 123.68]]]])


def test_every_named_network_brings_its_own():
    names = [n for n in dir(keras.applications) if n[0].isupper()]
    assert len(names) > 30
    for name in names:
        assert callable(networks.preprocess(networks.own_preprocess(name)))
    assert networks.own_preprocess("mobilenetv2") == "mobilenet_v2"
    assert networks.own_preprocess("net.keras") is None


def test_a_function_of_a_file_and_of_a_module(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def half(x):\n    return x / 2\n")
    assert networks.preprocess(f"{path}:half")(3.0) == 1.5
    assert networks.preprocess("math:floor")(3.7) == 3


@pytest.mark.parametrize(
    ("text", "error", "seen"),
    [
        ("mobilenetv2", UnknownNameError, "perhaps .*mobilenet_v2"),
        ("{}/mine.py:hafl", OptionError, "perhaps half"),
        ("{}/mine.py:number", OptionError, "no function 'number'"),
        ("{}/broken.py:f", OptionError, "ZeroDivisionError"),
        ("{}/typo.py:f", OptionError, "SyntaxError"),
        ("{}/no.py:f", MissingFileError, "no.py"),
        ("no_such_package.x:f", OptionError, "No module named 'no_such_package'"),
    ],
)
def test_no_such_preprocessing(tmp_path, text, error, seen):
    (tmp_path / "mine.py").write_text("number = 1\ndef half(x): return x / 2\n")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "typo.py").write_text("def f(:")
    with pytest.raises(error, match=seen):
        networks.preprocess(text.format(tmp_path))


# -- labels --------------------------------------------------------------------------

NAMES = ["tench", "white shark", "maillot", "maillot, tank suit", "crane", "crane"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(NAMES)),
        ("a.json", json.dumps({str(i): n for i, n in enumerate(NAMES)})),
        ("a.json", json.dumps({str(i): [f"n{i}", n] for i, n in enumerate(NAMES)})),
        ("a.txt", "\n".join(NAMES)),
        ("a.txt", "\ufeff" + "\r\n".join(NAMES) + "\r\n\r\n"),
    ],
)
def test_labels_of_every_form(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    assert networks.labels(tmp_path / name) == NAMES


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        '{"0": "a", "2": "b"}',
        "{",
        "[]",
        '{"a": 1}',
        '"a"',
        "3",
        '{"a": 0, "b": 0}',
    ],
)
def test_no_labels(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(LabelError, match=r"a\.json"):
        networks.labels(tmp_path / "a.json")


FISH = ["tench", "goldfish", "great white shark"]
SYNSETS = ("n01440764", "n01443537", "n01484850")
LONG = ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark"]
LABEL_FILES = {
    "index,name": ("a.csv", "0,tench\n1,goldfish\n2,great white shark\n", FISH),
    "CSV in .txt": ("a.txt", "0,tench\n1,goldfish\n2,great white shark\n", FISH),
    "header": ("a.csv", "index,label\n0,tench\n1,goldfish\n2,great white shark", FISH),
    "pandas": ("a.csv", ",name\n0,tench\n1,goldfish\n2,great white shark", FISH),
    "name,index": ("a.csv", "tench,0\ngoldfish,1\ngreat white shark,2", FISH),
    "quoted": ("a.csv", "".join(f'{i},"{n}"\n' for i, n in enumerate(LONG)), LONG),
    "three columns": (
        "a.csv",
        "".join(
            f"{i},{s},{n}\n"
            for i, (s, n) in enumerate(zip(SYNSETS, FISH, strict=True))
        ),
        FISH,
    ),
    "one column": ("a.csv", "label\ntench\ngoldfish\ngreat white shark", FISH),
    "tab": ("a.tsv", "0\ttench\n1\tgoldfish\n2\tgreat white shark", FISH),
    "index name": ("a.txt", "0 tench\n1 goldfish\n2 great white shark\n", FISH),
    "any order": ("a.txt", "2 great white shark\n0 tench\n1 goldfish", FISH),
    "index: name": ("a.txt", "0: tench\n1: goldfish\n2: great white shark\n", FISH),
    "class_indices": (
        "a.json", '{"tench": 0, "great white shark": 2, "goldfish": 1}', FISH
    ),
    "id2label": (
        "config.json",
        json.dumps({"model_type": "vit", "id2label": dict(enumerate(FISH))}),
        FISH,
    ),
    "label2id": (
        "config.json", json.dumps({"label2id": {n: i for i, n in enumerate(FISH)}}),
        FISH,
    ),
    "clsidx_to_labels": (
        "a.txt",
        "{0: 'tench, Tinca tinca',\n 1: 'goldfish, Carassius auratus',\n"
        " 2: 'great white shark'}",
        LONG,
    ),
    "synset_words": (
        "synset_words.txt",
        "".join(f"{s} {n}\n" for s, n in zip(SYNSETS, LONG, strict=True)),
        LONG,
    ),
    "synsets alone": ("a.txt", "\n".join(SYNSETS), list(SYNSETS)),
    "digits": ("a.txt", "0\n1\n2", ["0", "1", "2"]),
    "names with numbers": ("a.txt", "7 up\ncola\n", ["7 up", "cola"]),
    "0.5 mile": ("a.txt", "0.5 mile\n1.5 mile\n", ["0.5 mile", "1.5 mile"]),
    "class 0": ("a.txt", "class 1\nclass 0\n", ["class 1", "class 0"]),
    "a dict without braces": ("a.txt", "1: 'goldfish',\n0: 'tench',", FISH[:2]),
    "one line with U+2028": ("a.txt", "a\u2028b\nc", ["a\u2028b", "c"]),
    "bullets": ("a.txt", "- tench\n- goldfish\n- great white shark", FISH),
    "name=index": ("a.txt", "goldfish=1\ntench=0\n", FISH[:2]),
    "name,synset": (
        "a.txt", "".join(f"{n},{s}\n" for s, n in zip(SYNSETS, LONG, strict=True)), LONG
    ),
    "CR": ("a.txt", "tench\rgoldfish\r", FISH[:2]),
    **{
        f"index {m}": ("a.txt", f"{m[:-1]}1{m[-1]} b\n{m[:-1]}0{m[-1]} a", ["a", "b"])
        for m in ("()", ")", ".", "=", "|", "-", ";")
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LABEL_FILES)
def test_label_files_as_they_are_published(tmp_path, name):
    file, text, wanted = LABEL_FILES[name]
    (tmp_path / file).write_text(text, newline="")
    assert networks.labels(tmp_path / file) == wanted
    windows = re.sub("(?<!\r)\n", "\r\n", "\ufeff" + text)
    (tmp_path / file).write_text(windows, newline="")
    assert networks.labels(tmp_path / file) == wanted


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        ("a.txt", "1 tench\n2 goldfish", "none has the index 0"),
        ("a.csv", "1,tench\n2,goldfish", "none has the index 0"),
        ("a.csv", "0,tench\n0,goldfish", "an index occurs twice"),
        ("a.csv", "tench,fish\nzebra,mammal", "neither the first nor the last"),
        ("a.csv", "0,tench,fish\n1,zebra,mammal", "2 columns of names"),
        ("a.txt", "0 tench\ngoldfish\n2 shark", "only 2 of 3 lines"),
        ("a.txt", "{0: tench}", "neither JSON nor a Python literal"),
        ("a.yaml", "names:\n  0: tench", "is not read"),
        ("labels.py", "LABELS = ['tench', 'goldfish']", "is not read"),
        ("a.txt", "", "empty"),
        ("a.txt", "item {\n  id: 1\n  name: 'tench'\n}", "blocks in braces"),
        ("a.json", '{"0": "a", "0": "b", "1": "c"}', "the key '0' occurs twice"),
        ("a.txt", "{0: 'a', 0: 'b', 1: 'c'}", "the key 0 occurs twice"),
        ("a.json", '{"id2label": {"0": "a", "2": "b"}}', "none has the index 1"),
    ],
)
def test_label_files_that_cannot_be_read_are_errors(tmp_path, name, text, seen):
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError, match=seen):
        networks.labels(tmp_path / name)


def test_labels_that_are_missing_or_no_text(tmp_path):
    with pytest.raises(MissingFileError):
        networks.labels(tmp_path / "no.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabelError):
        networks.labels(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("tench", 0), ("TENCH", 0), ("white_shark", 1), (" White  Shark ", 1),
        ("3", 3), ("tank suit", 3), ("maillot", 2), ("maillot, tank suit", 3),
    ],
)  # fmt: skip
def test_a_class_by_label_or_index(text, index):
    assert networks.find_label(text, NAMES) == index


@pytest.mark.parametrize(
    ("text", "names", "seen"),
    [
        ("crane", NAMES, r"4 \(crane\), 5 \(crane\)[\s\S]*4 or 5"),
        ("tensh", NAMES, "perhaps 'tench'"),
        ("shark", NAMES, "'white shark'"),
        ("6", NAMES, "at most 5"),
        ("-1", NAMES, "at least 0"),
        ("tench", [], "--labels"),
    ],
)
def test_no_such_class(text, names, seen):
    with pytest.raises(LabelError, match=seen):
        networks.find_label(text, names)


def test_an_index_needs_no_labels():
    assert networks.find_label("340", []) == 340


@pytest.mark.shared
def test_imagenet(shared):
    names = networks.labels(shared / "images" / "imagenet_labels.json")
    assert len(names) == 1000
    found = {t: networks.find_label(t, names) for t in ("zebra", "African elephant")}
    assert found == {"zebra": 340, "African elephant": 386}
    with pytest.raises(LabelError, match=r"134 \(crane\), 517 \(crane\)"):
        networks.find_label("crane", names)
