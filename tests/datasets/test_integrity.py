"""Runs verify what they read: damaged, exchanged and foreign files, lost folders."""

import json
import os
import random
import shutil
import threading
import time

import h5py
import numpy as np
import pytest

import tfxai
from tests.datasets import batches
from tests.datasets.batches import contents
from tfxai.datasets import own_files, recipe, shard_reader, shards, worker
from tfxai.errors import (
    BrokenFileError,
    BrokenFileWarning,
    IncompleteWarning,
    RecipeError,
    TfxaiError,
    UncheckedWarning,
    WriteError,
)

#: Fixture that pytest builds separately for this file.
model = batches.model
X = np.random.default_rng(0).uniform(0, 9, (10, 8, 9, 3)).astype("float32")
Y = np.arange(10) % 4
FIELDS = ("relevance", "target", "score", "label", "index")


def start(model, out, x=X, **options):
    given = {"shard_size": 3, "target": "label", **options}
    return tfxai.run(model, (x, Y), "gradient", out, **given)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A run of four shards."""
    out = tmp_path_factory.mktemp("run") / "maps"
    start(model, out)
    return out


@pytest.fixture
def out(whole, tmp_path):
    """A copy of the run, to be damaged."""
    return shutil.copytree(whole, tmp_path / "maps")


def read_all(folder):
    maps = tfxai.load(folder)
    found = maps[:]
    assert maps.failures == [] and maps.warnings == []
    return found


def flip(path, at, bit):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def rewrite(path, change):
    """Change a shard as a program that knows its digest would."""
    with h5py.File(path, "a") as file:
        change(file)
    data = path.read_bytes()[shards.HEADER :]
    path.write_bytes(shards.header(shards.hashlib.sha256(data).hexdigest()) + data)


# -- damaged files -------------------------------------------------------------------


def test_no_flipped_bit_is_read(out):
    rng = random.Random(0)
    files = [out / "recipe.json", *sorted(out.glob("shard-*.h5"))]
    for path in files:
        before, size = path.read_bytes(), path.stat().st_size
        places = [rng.randrange(size) for _ in range(12)]
        for at in (*places, *((0, 511, 512, size - 1) if path != files[0] else ())):
            flip(path, at, rng.randrange(8))
            with pytest.raises(RecipeError):
                read_all(out)
            path.write_bytes(before)
    read_all(out)


def test_zeroed_blocks_and_cut_files_are_not_read(out):
    path = out / "shard-00002.h5"
    before = path.read_bytes()
    for damaged in (
        before[:-64], before[:600], before[:100], b"", before + b"\0",
        before[:2000] + bytes(512) + before[2512:], bytes(len(before)),
    ):  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(BrokenFileError, match=r"shard-00002\.h5.*\n.*\n.*again"):
            read_all(out)


def test_only_the_shards_that_are_read_are_compared(out, whole):
    flip(out / "shard-00002.h5", -20, 3)  # among the numbers
    maps = tfxai.load(out)
    assert maps[:6].relevance.tolist() == tfxai.load(whole)[:6].relevance.tolist()
    for _ in range(2):
        with pytest.raises(BrokenFileError, match="do not have the digest"):
            maps[6]


def test_a_resumed_run_computes_damaged_shards_again(model, out, whole):
    flip(out / "shard-00001.h5", -9, 0)
    (out / "shard-00003.h5").write_bytes(b"broken")
    with pytest.warns(BrokenFileWarning, match=r"2 shard.*\[1, 3\]"):
        done = start(model, out)
    assert done.damaged == [1, 3] and done.skipped == [0, 2]
    assert contents(out) == contents(whole)


def test_a_damaged_recipe_is_written_again_if_the_shards_are_of_this_run(
    model, out, whole, tmp_path
):
    wanted = (whole / "recipe.json").read_text()
    for text in ("", "{", wanted.replace('"seed": 0', '"seed": 1'), "[" * 100_000):
        (out / "recipe.json").write_text(text)
        with pytest.raises(BrokenFileError, match="cannot be read"):
            tfxai.load(out)
        with pytest.warns(BrokenFileWarning, match="it is written again"):
            done = start(model, out)
        assert done.computed == [] and (out / "recipe.json").read_text() == wanted
    (out / "recipe.json").write_text("{")
    with pytest.raises(BrokenFileError, match="cannot be read"):
        start(model, out, target=1)
    assert (out / "recipe.json").read_text() == "{"


# -- exchanged files -----------------------------------------------------------------


def test_a_shard_in_the_place_of_another_is_refused(model, out, whole):
    shutil.copy(out / "shard-00001.h5", out / "shard-00002.h5")
    with pytest.raises(BrokenFileError, match="it is shard 1, in the place of 2"):
        tfxai.load(out)
    with pytest.warns(BrokenFileWarning, match=r"\[2\]"):
        start(model, out)
    assert contents(out) == contents(whole)


def test_a_shard_of_another_run_is_refused(model, out, tmp_path):
    start(model, tmp_path / "other", x=X + 1)
    shutil.copy(tmp_path / "other" / "shard-00001.h5", out)
    for read in (tfxai.load, lambda out: start(model, out)):
        with pytest.raises(RecipeError, match=r"shard-00001.*another recipe"):
            read(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.attrs.update(count=4),
        lambda f: f.attrs.update(count=-1),
        lambda f: f.attrs.update(count="three"),
        lambda f: f.attrs.update(number=np.zeros(3)),
        lambda f: f.attrs.pop("recipe"),
        lambda f: f.pop("score"),
        lambda f: f.pop("failed"),
        lambda f: f.update(other=np.zeros(3)),
        lambda f: f.pop("relevance") and f.update(relevance=np.zeros((3, 8, 9, 3))),
        lambda f: f.pop("relevance") and f.update(relevance=np.zeros((3, 8), "f4")),
        lambda f: f.pop("scale") and f.update(scale=np.ones((3, 2))),
        lambda f: f.pop("target") and f.update(target=np.ones(3)),
        lambda f: f.pop("index") and f.update(index=np.array([3, 3, 4])),
        lambda f: f.pop("name") and f.update(name=np.arange(3)),
    ],
)
def test_a_shard_that_disagrees_with_itself_or_the_recipe_is_refused(out, change):
    rewrite(out / "shard-00001.h5", change)
    with pytest.raises(RecipeError, match="shard"):
        tfxai.load(out)


def test_numbers_of_other_files_are_never_read(out, tmp_path):
    secret = np.arange(3 * 8 * 9 * 3, dtype="f4").tobytes()
    (tmp_path / "secret").write_bytes(secret)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.frombuffer(secret, "f4").reshape(3, 8, 9, 3)
    shape = (3, 8, 9, 3)
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", shape)
    path, before = out / "shard-00001.h5", (out / "shard-00001.h5").read_bytes()
    make = {
        "link": lambda f: f.update(
            relevance=h5py.ExternalLink(tmp_path / "other.h5", "x")
        ),
        "soft link": lambda f: f.update(relevance=h5py.SoftLink("/scale")),
        "storage": lambda f: f.create_dataset(
            "relevance", shape, "f4", external=[(tmp_path / "secret", 0, len(secret))]
        ),
        "virtual": lambda f: f.create_virtual_dataset("relevance", layout),
        "chunks": lambda f: f.create_dataset("relevance", shape, "f4", chunks=shape),
        "bomb": lambda f: f.create_dataset("relevance", (3, 2**40), "f4"),
    }
    for replace in make.values():
        path.write_bytes(before)
        rewrite(path, lambda f, r=replace: f.pop("relevance") and r(f))
        with pytest.raises(BrokenFileError, match=r"relevance (is|has)"):
            tfxai.load(out)


def test_a_recipe_with_other_numbers_is_refused(out):
    text = (out / "recipe.json").read_text()
    for change in ({"source": {"count": 9}}, {"seed": 1}, {"batch_size": 7}):
        other = json.loads(text)
        other["source"] |= change.get("source", {})
        other |= {k: v for k, v in change.items() if k != "source"}
        (out / "recipe.json").write_text(json.dumps(other))
        with pytest.raises(BrokenFileError, match="do not have the digest"):
            tfxai.load(out)
        del other["digest"]  # one that a program with this knowledge wrote
        (out / "recipe.json").write_text(recipe._to_text(other))
        if "batch_size" not in change:
            with pytest.raises(RecipeError, match="another recipe"):
                tfxai.load(out)


def test_a_recipe_of_millions_of_shards_is_read_at_once(out):
    for count in (3 * 10**7, 2**62):
        other = json.loads((out / "recipe.json").read_text())
        other["source"]["count"] = count
        other.pop("digest")
        for path in out.glob("shard-*.h5"):
            path.unlink()
        (out / "recipe.json").write_text(recipe._to_text(other))
        begin = time.perf_counter()
        with pytest.warns(IncompleteWarning, match=r"first: \[0, 1, 2, 3, 4\]"):
            maps = tfxai.load(out)
        assert time.perf_counter() - begin < 1 and len(maps) == 0
        assert "shards missing" in repr(maps) and not maps.complete
    for wrong in (-1, 2.5, "10", None, True, [10]):
        other["source"]["count"] = wrong
        (out / "recipe.json").write_text(recipe._to_text(other))
        with pytest.raises(RecipeError, match="is incomplete"):
            tfxai.load(out)


def test_other_versions_are_named(model, out):
    rewrite(out / "shard-00001.h5", lambda f: f.attrs.update(format="tfxai-maps/9"))
    for read in (tfxai.load, lambda out: start(model, out)):
        with pytest.raises(RecipeError, match=r"shard-00001.*maps/9.*another version"):
            read(out)
    other = json.loads((out / "recipe.json").read_text())
    del other["digest"]
    (out / "recipe.json").write_text(recipe._to_text(other | {"format": "x-maps/3"}))
    with pytest.raises(RecipeError, match=r"recipe.json.*x-maps/3.*another version"):
        tfxai.load(out)


def test_a_folder_of_the_first_version_is_read_with_a_warning(
    model, out, whole, monkeypatch
):
    """Version 0.1 wrote neither user blocks nor digests."""
    old = json.loads((out / "recipe.json").read_text()) | {"format": "tfxai-maps/1"}
    del old["digest"]
    (out / "recipe.json").write_text(json.dumps(old))
    for path in out.glob("shard-*.h5"):
        with h5py.File(path, "a") as file:
            file.attrs.update(format="tfxai-maps/1", recipe=recipe.digest(old))
        path.write_bytes(path.read_bytes()[shards.HEADER :])
    with pytest.warns(UncheckedWarning, match=r"Version 0\.1 .*maps"):
        found = read_all(out)
    for name in FIELDS:
        np.testing.assert_array_equal(
            getattr(found, name), getattr(tfxai.load(whole)[:], name)
        )
    with pytest.raises(RecipeError, match=r'format was "tfxai-maps/1", and is now'):
        start(model, out)
    shutil.copy(whole / "shard-00001.h5", out)
    with pytest.raises(RecipeError, match=r"shard-00001.*another version"):
        tfxai.load(out)


# -- lost folders --------------------------------------------------------------------


@pytest.mark.parametrize("change", ["deleted", "renamed", "deleted and made again"])
def test_a_folder_that_is_changed_during_the_run_stops_it(
    model, tmp_path, monkeypatch, change
):
    out, write = tmp_path / "maps", shards.write

    def change_before_the_third(folder, shard, *rest):
        if shard.number == 2:
            out.rename(tmp_path / "elsewhere")
            if change != "renamed":
                shutil.rmtree(tmp_path / "elsewhere")
            if change == "deleted and made again":
                out.mkdir()
        return write(folder, shard, *rest)

    monkeypatch.setattr(shards, "write", change_before_the_third)
    with pytest.raises(WriteError, match="deleted or renamed during the run"):
        start(model, out)
    if change == "deleted and made again":
        assert list(contents(out)) == ["shard-00002.h5"]  # without a recipe
        with pytest.raises(TfxaiError):
            tfxai.load(out)
    else:
        assert not out.exists()


def test_a_shard_that_vanishes_is_named_at_the_end(model, tmp_path, monkeypatch):
    write = shards.write

    def lose_the_first(folder, shard, *rest):
        if shard.number == 2:
            (folder / "shard-00000.h5").unlink()
        return write(folder, shard, *rest)

    monkeypatch.setattr(shards, "write", lose_the_first)
    with pytest.raises(WriteError, match=r"1 file.*shard-00000\.h5"):
        start(model, tmp_path)
    assert [m.number for m in start(model, tmp_path).computed] == [0]


def test_a_worker_does_not_make_the_folder_again(tmp_path):
    with pytest.raises(FileNotFoundError):
        shards.write(tmp_path / "gone", shards.Shard(0), "digest", False)
    assert not (tmp_path / "gone").exists()
    with pytest.raises(WriteError, match="no longer holds"):
        worker._check_folder(tmp_path)


def test_a_pipe_in_the_place_of_a_file_does_not_block(out):
    (out / "shard-00001.h5").unlink()
    os.mkfifo(out / "shard-00001.h5")
    done = threading.Event()

    def read():
        with pytest.raises(BrokenFileError, match="not a regular file"):
            tfxai.load(out)
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(10)


# -- overwrite -----------------------------------------------------------------------


def test_overwrite_deletes_only_files_of_a_run(model, out):
    foreign = {
        **{"shard-data.h5": b"mine", "failures-notes.json": b'{"failed": 1}'},
        **{"failures.txt": b"{}", "shard-0001.h5": b"", "shard-00001.h5.bak": b"a"},
        **{".shard-notes.h5": b"b", "recipe.json.old": b"c", "failures-1.json": b"d"},
    }
    for name, data in foreign.items():
        (out / name).write_bytes(data)
    with h5py.File(out / "shard-00077.h5", "w") as file:
        file["mine"] = 3
    kept = (out / "shard-00077.h5").read_bytes()
    shutil.copy(out / "shard-00003.h5", out / "shard-00099.h5")  # of a longer run
    (out / ".shard-00002-abcd1234.h5").write_bytes(b"tfxai-maps/2 half")
    listed = {"format": "tfxai-maps/2", "failed": [], "unwritten": {}}
    (out / "failures-0-of-2.json").write_text(json.dumps(listed))
    done = start(model, out, target=1, overwrite=True)
    assert done.explained == 10
    left = {p.name: p.read_bytes() for p in out.iterdir()}
    assert left.items() >= (foreign | {"shard-00077.h5": kept}).items()
    own = {"recipe.json", *(f"shard-0000{i}.h5" for i in range(4))}
    assert left.keys() == own | foreign.keys() | {"shard-00077.h5"}


def test_overwrite_refuses_the_place_of_a_foreign_file(model, out):
    (out / "recipe.json").write_text('{"cake": ["eggs"]}')
    with pytest.raises(RecipeError, match=r"recipe\.json.*not a file of tfxai"):
        start(model, out, overwrite=True)
    assert (out / "recipe.json").read_text() == '{"cake": ["eggs"]}'
    (out / "failures.json").write_text('["mine"]')
    for overwrite in (True, False):
        with pytest.raises(RecipeError, match=r"failures\.json.*not a file of tfxai"):
            start(model, out, overwrite=overwrite)
    assert (out / "failures.json").read_text() == '["mine"]'
    (out / "failures.json").unlink()
    assert len(contents(out)) == 4
    (out / "recipe.json").unlink()
    with h5py.File(out / "shard-00001.h5", "w") as file:
        file["mine"] = 3
    with pytest.raises(RecipeError, match=r"shard-00001\.h5.*not a file of tfxai"):
        start(model, out, overwrite=True)
    assert len(own_files.shard_files(out)) == 4
    (out / "shard-00001.h5").unlink()
    assert start(model, out, overwrite=True).explained == 10


def test_overwrite_replaces_damaged_files_of_a_run(model, out, whole):
    (out / "shard-00001.h5").write_bytes(bytes(3000))
    flip(out / "recipe.json", 40, 7)
    start(model, out, overwrite=True)
    assert contents(out) == contents(whole)
    assert shard_reader.check_bytes(out / "shard-00001.h5")
