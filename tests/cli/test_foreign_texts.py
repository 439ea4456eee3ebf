"""Names and labels from files reach neither the terminal nor a spreadsheet as code."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

import tfxai
from tests.datasets.batches import draw, small
from tfxai.base.text import check_depth, printable, storable
from tfxai.cli.main import main
from tfxai.errors import OptionError
from tfxai.io.tables import write_csv

TITLE = "\x1b]0;owned\x07\x1b[31m"


@pytest.fixture
def home(tmp_path):
    small().save(tmp_path / "net.keras")
    return tmp_path


def call(home, command, *words):
    given = [command, "--model", home / "net.keras", *words]
    return CliRunner().invoke(main, [str(w) for w in given])


def test_control_characters_are_escaped():
    assert printable("a\x1b[31m\x9b\x07ä\tb\n") == "a\\x1b[31m\\x9b\\x07ä\tb\n"
    assert printable("\u202egnp\udcff\r") == "\\u202egnp\\udcff\\r"
    assert storable("a\0\ud800b") == "a\ufffd?b"
    check_depth("[" * 60 + "]" * 60 + "[]" * 999)
    with pytest.raises(ValueError, match="64 nested"):
        check_depth('{"a":' * 65)


def test_no_command_prints_them(home):
    draw(home / "in" / f"{TITLE}a.png", 0)
    (home / "in" / f"{TITLE}b.png").write_bytes(b"no image")
    (home / "in" / f"{TITLE}c.txt").write_text("skipped")
    (home / "labels.json").write_text(json.dumps([f"{TITLE}{i}" for i in range(4)]))
    words = ("--method", "gradient", "--out", home / "out")
    labels = ("--labels", home / "labels.json")
    for result in (
        call(home, "explain", *words, *labels, home / "in"),
        call(home, "run", *words[:3], home / "maps", home / "in"),
        call(
            home, "compare", "--methods", "gradient", "--metrics", "gini", home / "in"
        ),
        call(home, "explain", "--method", TITLE, home / "in"),
        call(home, "explain", *words, "--target", TITLE, home / "in"),
        CliRunner().invoke(main, ["verify", f"{home}/{TITLE}"]),
    ):
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert "\x1b" not in result.output and "\x07" not in result.output
        assert "\\x1b" in result.output or "x1b" in result.output
    assert tfxai.load(home / "maps").failures[0].name == f"{TITLE}b.png"


def test_cells_that_a_spreadsheet_would_run(tmp_path):
    rows = [
        ["=1+1", "+a", "-a", "@a", "\tb", " =c", "a=b"],
        ["-1.5", -2.5, "+3e-4", "-inf"],
    ]
    path = write_csv(tmp_path / "a.csv", ["=h"], rows)
    with open(path, newline="", encoding="utf-8") as file:
        found = list(csv.reader(file))
    assert found[0] == ["'=h"]
    assert found[1] == ["'=1+1", "'+a", "'-a", "'@a", "'\tb", "' =c", "a=b"]
    assert found[2] == ["-1.5", "-2.5", "+3e-4", "-inf"]


@pytest.mark.parametrize(
    "value", ["a", None, {}, np.nan, 10**400, True], ids=lambda v: str(type(v))
)
def test_an_option_that_is_no_number_is_an_option_error(value):
    x = np.ones((1, 8, 9, 3), np.float32)
    for method, option in (
        ("lrp.epsilon", "epsilon"), ("lrp.gamma", "gamma"), ("smoothgrad", "noise"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=option):
            tfxai.explain(small(), x, method, **{option: value})
    with pytest.raises(OptionError, match="seed"):
        tfxai.explain(small(), x, "smoothgrad", seed=2**70)
    if value is not None and value is not True:
        with pytest.raises(OptionError, match="low"):
            tfxai.explain(small(), x, "sglrp", low=value, high=9.0)
