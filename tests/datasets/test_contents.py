"""Inputs are verified and identified by their content; odd files stop nobody."""

import os
import shutil
import struct
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import tfxai
from tests.datasets import batches
from tests.datasets.batches import contents, draw, record, small
from tfxai.cli.main import main
from tfxai.datasets import crc32c, sources
from tfxai.datasets import run as dataset
from tfxai.errors import (
    FailedSamplesWarning,
    InputError,
    OptionError,
    RecipeError,
    WriteError,
)

#: Fixture that pytest builds separately for this file.
model = batches.model


@pytest.fixture
def images(tmp_path):
    """Four images."""
    for i in range(4):
        draw(tmp_path / "in" / f"{i}.png", i)
    return tmp_path / "in"


def start(model, data, out, **options):
    return tfxai.run(model, data, "gradient", out, shard_size=2, **options)


def same_size_and_time(path, data):
    before = path.stat()
    path.write_bytes(data + bytes(before.st_size - len(data)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


# -- changed inputs ------------------------------------------------------------------


def test_a_picture_of_the_same_size_and_time_is_another_recipe(model, images, tmp_path):
    start(model, images, tmp_path / "maps")
    before = contents(tmp_path / "maps")
    os.utime(images / "3.png", (1, 1))  # a copy of the data has other times
    assert start(model, images, tmp_path / "maps").skipped == [0, 1]
    smaller = tmp_path / "smaller.png"
    draw(smaller, 9, size=(4, 4))
    same_size_and_time(images / "3.png", smaller.read_bytes())
    with pytest.raises(RecipeError, match=r"source\.fingerprint was"):
        start(model, images, tmp_path / "maps")
    assert contents(tmp_path / "maps") == before


def test_trusted_times_are_compared_instead(model, images, tmp_path):
    given = {"out": tmp_path / "maps", "trust_times": True}
    start(model, images, **given)
    smaller = tmp_path / "smaller.png"
    draw(smaller, 9, size=(4, 4))
    same_size_and_time(images / "3.png", smaller.read_bytes())
    assert start(model, images, **given).skipped == [0, 1]
    os.utime(images / "3.png", (1, 1))
    with pytest.raises(RecipeError, match=r"source\.fingerprint was"):
        start(model, images, **given)
    with pytest.raises(RecipeError, match=r'source\.compared was "times"'):
        start(model, images, **given | {"trust_times": False})
    with pytest.raises(OptionError, match=r"trust_times=True.*kind 'arrays'"):
        start(model, np.ones((2, 8, 9, 3)), tmp_path / "m", trust_times=True)


@pytest.mark.parametrize("kind", ["png", "npz", "tfrecord"])
def test_a_file_that_changes_during_the_run_is_not_explained(
    model, images, tmp_path, kind
):
    x = np.random.default_rng(0).uniform(0, 9, (4, 8, 9, 3)).astype("float32")
    if kind == "png":
        data, changed = images, images / "3.png"
    elif kind == "npz":
        data = changed = tmp_path / "data.npz"
        np.savez(data, x=x)
    else:
        data = changed = tmp_path / "data.tfrecord"
        write_records(data, images, range(4))
    source = dataset.open_source(data, tfxai.wrap(model))
    if kind == "npz":
        np.savez(data, x=x[[0, 1, 2, 0]])
    elif kind == "png":
        draw(changed, 77)
    else:
        write_records(data, images, [0, 1, 2, 9])
    assert [source.row(i).reason for i in range(3)] == [""] * 3
    assert "has changed since the start" in source.row(3).reason


def write_records(path, images, labels):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i, label in enumerate(labels):
            writer.write(record(images / f"{i}.png", label))


def test_code_that_preprocess_calls_is_part_of_the_recipe(tmp_path):
    small().save(tmp_path / "net.keras")
    x = np.random.default_rng(0).uniform(0, 9, (2, 8, 9, 3)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x)
    code = tmp_path / "prep.py"

    def call(text):
        code.write_text(text)
        words = ["--method", "gradient", "--out", tmp_path / "maps"]
        words += ["--preprocess", f"{code}:f", tmp_path / "data.npz"]
        given = ["run", "--model", tmp_path / "net.keras", *words]
        return CliRunner().invoke(main, [str(w) for w in given])

    text = "S = 2.\ndef g(x):\n    return x / S\ndef f(x):\n    return g(x)\n"
    assert call(text).exit_code == 0 and call(text).exit_code == 0
    for old, new in (("/ S", "* S"), ("S = 2.", "S = 3.")):
        result = call(text.replace(old, new))
        assert result.exit_code == 2 and "preprocess was" in result.stderr, new


OUTSIDE = 2.0


def helper(x):
    return x / OUTSIDE


def calls_a_helper(x):
    return (lambda v: helper(v))(x)


def test_globals_of_a_function_are_part_of_its_fingerprint(monkeypatch):
    first = dataset.recipe.fingerprint_callable(calls_a_helper)
    assert first == dataset.recipe.fingerprint_callable(calls_a_helper)
    monkeypatch.setitem(globals(), "OUTSIDE", 3.0)
    other = dataset.recipe.fingerprint_callable(calls_a_helper)
    monkeypatch.setitem(globals(), "helper", lambda x: x * 2)
    third = dataset.recipe.fingerprint_callable(calls_a_helper)
    assert len({first, other, third}) == 3


# -- damaged inputs ------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 9, 1023, 1024, 1025, 70_001, 200_000])
def test_checksums_are_those_of_tensorflow(tmp_path, size):
    data = np.random.default_rng(size).bytes(size)
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        writer.write(data)
    written = (tmp_path / "a").read_bytes()
    assert crc32c.masked_crc32c(data) == struct.unpack("<I", written[-4:])[0]
    assert crc32c.masked_crc32c(written[:8]) == struct.unpack("<I", written[8:12])[0]
    assert crc32c.crc32c(b"123456789") == 0xE3069283  # RFC 3720


def test_a_damaged_record_is_listed_and_the_others_go_on(model, images, tmp_path):
    path = tmp_path / "data.tfrecord"
    write_records(path, images, [1, 1, 1, 1])
    data = bytearray(path.read_bytes())
    start_of = [
        m for m in range(len(data)) if data[m:].startswith(b"image/class/label")
    ]
    place = start_of[2] + len(b"image/class/label") + 6
    assert data[place] == 1
    data[place] ^= 1  # the label of record 2
    path.write_bytes(data)
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(path)))
    with pytest.warns(FailedSamplesWarning, match="1 sample"):
        done = start(model, path, tmp_path / "maps", target="label")
    assert [f.index for f in done.failures] == [2]
    assert "checksum of record data.tfrecord#2 differs" in done.failures[0].reason
    assert tfxai.load(tmp_path / "maps")[:].label.tolist() == [1, 1, 1]
    data[3] ^= 8  # the length of record 0
    path.write_bytes(data)
    with pytest.raises(InputError, match="record 0 at byte 0"):
        start(model, path, tmp_path / "m")


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", ["x", "y"])
def test_a_damaged_npz_is_refused_before_the_first_row(model, tmp_path, pack, name):
    path, rng = tmp_path / "data.npz", np.random.default_rng(0)
    x = rng.uniform(0, 9, (40, 8, 9, 3)).astype("float32")
    pack(path, x=x, y=rng.integers(0, 4, 40))
    with zipfile.ZipFile(path) as opened:
        info = opened.getinfo(f"{name}.npy")
    data = bytearray(path.read_bytes())
    data[info.header_offset + info.compress_size // 2 + 60] ^= 4
    path.write_bytes(data)
    for trust_times in (False, True):
        with pytest.raises(InputError, match=rf"'data.npz', {name}: it cannot be read"):
            start(model, path, tmp_path / "maps", trust_times=trust_times)
    assert not (tmp_path / "maps").exists()


# -- odd files -----------------------------------------------------------------------


def test_odd_files_are_listed_and_the_others_go_on(model, images, tmp_path):
    (images / "a.png").symlink_to(images / "gone.png")
    (images / "b.png").symlink_to(images / "b.png")
    os.mkfifo(images / "c.png")
    with pytest.warns(FailedSamplesWarning, match="3 sample"):
        done = start(model, images, tmp_path / "maps")
    assert [f.name for f in done.failures] == ["a.png", "b.png", "c.png"]
    reasons = [f.reason for f in done.failures]
    for reason, text in zip(
        reasons, ("no file 'a.png'", "Too many levels", "a pipe"), strict=True
    ):
        assert text in reason and str(tmp_path) not in reason
    assert tfxai.load(tmp_path / "maps")[:].name == [f"{i}.png" for i in range(4)]
    with pytest.warns(FailedSamplesWarning):
        assert start(model, images, tmp_path / "maps").computed == []


def test_links_in_a_circle_are_walked_once(tmp_path):
    for name in ("a", "b"):
        draw(tmp_path / "in" / name / "x.png", 0)
    (tmp_path / "in" / "a" / "to").symlink_to(tmp_path / "in" / "b")
    (tmp_path / "in" / "b" / "to").symlink_to(tmp_path / "in" / "a")
    found = sources.find_images([tmp_path / "in"])
    assert sorted(found.files) == ["a/to/x.png", "a/x.png", "b/to/x.png", "b/x.png"]


def test_a_class_folder_that_is_not_utf_8(model, tmp_path):
    home = os.fsencode(tmp_path / "in")
    for i, name in enumerate((b"a", b"caf\xe9", b"caf\xe8")):
        os.makedirs(os.path.join(home, name))
        draw(tmp_path / "x.png", i)
        shutil.copy(tmp_path / "x.png", os.path.join(home, name, b"x.png"))
    start(model, tmp_path / "in", tmp_path / "maps")
    maps = tfxai.load(tmp_path / "maps")
    assert maps.recipe["source"]["classes"] == {"a": 0, "caf\\xe8": 1, "caf\\xe9": 2}
    assert maps[:].label.tolist() == [0, 1, 2]


def test_names_and_labels_of_records_that_cannot_be_stored(model, images, tmp_path):
    path = tmp_path / "data.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for i, (name, label) in enumerate(
            [("a.png", 1), ("b\0.png", 1), ("c.png", -(2**63)), ("d\udcff.png", 2)]
        ):
            one = tf.train.Example.FromString(record(images / f"{i}.png", label))
            coded = name.encode("utf-8", "surrogateescape")
            one.features.feature["image/filename"].bytes_list.value.append(coded)
            writer.write(one.SerializeToString())
    with pytest.warns(FailedSamplesWarning, match="2 sample"):
        done = start(model, path, tmp_path / "maps", target="label")
    assert [f.index for f in done.failures] == [1, 2]
    assert "NUL" in done.failures[0].reason
    assert tfxai.load(tmp_path / "maps")[:].name == ["a.png", "d\ufffd.png"]
    for y in (np.array([1, -(2**63)]), np.array([1, 2**64 - 1], np.uint64), [1, 1e300]):
        with pytest.raises(InputError, match="y holds the label"):
            start(model, (np.ones((2, 8, 9, 3)), np.array(y)), tmp_path / "m")
    with pytest.raises(OptionError, match="first_label"):
        start(model, path, tmp_path / "m", first_label=2**70)


def test_reasons_hold_no_absolute_paths(model, images, tmp_path):
    (images / "0.png").write_bytes(b"no image")
    given = [images, tmp_path / "more"]
    draw(tmp_path / "more" / "x.png", 0)
    with pytest.warns(FailedSamplesWarning):
        done = start(model, given, tmp_path / "maps")
    assert done.failures[0].reason.startswith("'0.png' is not an image")


# -- explain -------------------------------------------------------------------------


def explain(tmp_path, *paths):
    small().save(tmp_path / "net.keras")
    given = ["explain", "--model", tmp_path / "net.keras", "--method", "gradient"]
    given += ["--batch-size", 2, "--out", tmp_path / "out", *paths]
    return CliRunner().invoke(main, [str(w) for w in given])


def test_explain_goes_on_after_names_that_it_cannot_write(images, tmp_path):
    long, longest = "l" * 235 + ".png", "m" * 251 + ".png"
    draw(images / "0.png", 5)
    (images / "0.png").rename(images / long)
    (images / "1.png").rename(images / longest)
    (images / "a.png").symlink_to(images / "gone.png")
    os.mkfifo(images / "b.png")
    result = explain(tmp_path, images)
    assert result.exit_code == 1 and result.exception.__class__ is SystemExit
    written = sorted(p.name for p in (tmp_path / "out").glob("*.png"))
    assert written == [
        "2.gradient.png", "3.gradient.png", f"{'l' * 235}.gradient.png"
    ]  # fmt: skip
    assert "a shorter file name" in result.stderr and "a pipe" in result.stderr
    assert "There is no file" in result.stderr


def test_explain_does_not_make_its_folder_again(images, tmp_path, monkeypatch):
    written = []
    from tfxai.cli import explain as work

    def removes(e, rows, path, write=work._write):
        if len(written) == 2:
            shutil.rmtree(tmp_path / "out")
        written.append(path)
        write(e, rows, path)

    monkeypatch.setattr(work, "_write", removes)
    result = explain(tmp_path, images)
    assert result.exit_code == 2 and "cannot be written" in result.stderr
    assert not (tmp_path / "out").exists()
    lost = work.ExplainResult({images: tmp_path / "gone"})
    lost.done.append(work.ClassResult(images, "a", None, 1.0))
    with pytest.raises(WriteError, match="no longer exist"):
        work._check_written(lost)
