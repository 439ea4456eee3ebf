"""`tfxai verify`: its table, its sentence, its exit code."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import tfxai
from tests.datasets.batches import contents, small
from tests.datasets.test_integrity import flip, rewrite
from tfxai.cli.main import main
from tfxai.datasets import own_files, recipe, shards
from tfxai.datasets.verify import GOOD, MISSING, CheckedFiles, verify


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    small().save(home / "net.keras")
    x = np.random.default_rng(0).uniform(0, 9, (10, 8, 9, 3)).astype("float32")
    np.savez(home / "data.npz", x=x)
    assert again(home, home / "maps").exit_code == 0
    return home


@pytest.fixture
def out(home, tmp_path):
    return shutil.copytree(home / "maps", tmp_path / "maps")


def again(home, out):
    given = ["run", "--model", home / "net.keras", "--method", "gradient"]
    given += ["--shard-size", 2, "--out", out, home / "data.npz"]
    return CliRunner().invoke(main, [str(w) for w in given])


def call(folder):
    return CliRunner().invoke(main, ["verify", str(folder)], env={"COLUMNS": "200"})


def test_a_run_without_damage(out):
    assert verify(out) == [
        CheckedFiles("recipe.json", "recipe.json", 1, 0, GOOD),
        CheckedFiles("shard-00000.h5", "shard-00004.h5", 5, 10, GOOD),
    ]
    result = call(out)
    assert result.exit_code == 0 and "every file is correct" in result.stdout
    assert "shard-00000.h5 to shard-00004.h5" in result.stdout and not result.stderr


def test_what_is_broken_is_listed_and_the_sentence_repairs_it(home, out):
    flip(out / "shard-00001.h5", 700, 3)
    shutil.copy(out / "shard-00002.h5", out / "shard-00003.h5")
    (out / "shard-00004.h5").unlink()
    flip(out / "recipe.json", 60, 1)
    assert call(out).exit_code == 1
    shutil.copy(home / "maps" / "recipe.json", out)
    rows = verify(out)
    assert [(r.first, r.samples) for r in rows] == [
        *(("recipe.json", 0), ("shard-00000.h5", 2), ("shard-00001.h5", 0)),
        *(("shard-00002.h5", 2), ("shard-00003.h5", 0), ("shard-00004.h5", 0)),
    ]
    assert rows[2].state == "its bytes do not have the digest that it holds"
    assert "it is shard 2, in the place of 3" in rows[4].state
    assert rows[5].state == MISSING
    result = call(out)
    assert result.exit_code == 1
    assert "3 file(s) are not correct" in result.stderr
    assert "repeat the tfxai run" in result.stderr.replace("\n", " ")
    assert again(home, out).exit_code == 0  # what the sentence says
    assert call(out).exit_code == 0 and contents(out) == contents(home / "maps")


def test_a_damaged_recipe_is_listed_and_repaired(home, out):
    (out / "recipe.json").write_text("[" * 100_000)
    rows = verify(out)
    assert "cannot be read" in rows[0].state and rows[0].broken
    assert (rows[1].count, rows[1].state) == (5, GOOD)
    assert call(out).exit_code == 1
    result = again(home, out)
    assert result.exit_code == 0, result.output
    assert call(out).exit_code == 0


def test_a_shard_of_another_run_is_to_be_deleted_first(home, out):
    rewrite(out / "shard-00002.h5", lambda f: f.attrs.update(recipe="another"))
    result = call(out)
    assert result.exit_code == 1 and "shard-00002.h5. Delete them" in result.stderr
    assert again(home, out).exit_code == 2
    (out / "shard-00002.h5").unlink()
    assert again(home, out).exit_code == 0 and call(out).exit_code == 0


def test_a_long_table_is_cut_and_gaps_are_rows(out, monkeypatch):
    monkeypatch.setattr("tfxai.cli.verify.SHOWN", 2)
    flip(out / "shard-00001.h5", 700, 3)
    result = call(out)
    assert "... and 2 more rows" in result.stderr
    assert "shard-00001.h5" in result.stdout and "shard-00002" not in result.stdout
    found = recipe.read(out)
    found["source"]["count"] = 2**60
    (out / "recipe.json").write_text(recipe._to_text(found))
    assert verify(out)[-1].count == 2**59 - 5


def test_what_is_no_run_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        result = call(folder)
        assert result.exit_code == 2 and "holds no recipe.json" in result.stderr
    (tmp_path / "recipe.json").write_text('{"format": "tfxai-maps/9"}')
    assert "another version" in call(tmp_path).stderr
    assert own_files.shard_files(tmp_path) == {}
    with pytest.raises(tfxai.errors.MissingFileError):
        tfxai.load(tmp_path / "gone")
    assert shards.FORMAT == "tfxai-maps/2"
