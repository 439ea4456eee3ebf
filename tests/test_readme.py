"""The README is short, its commands are found, and its example runs as pasted."""

import re
import subprocess
from pathlib import Path

import numpy as np

import tfxai

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_it_is_short():
    assert len(README.encode()) <= 10_000


def test_the_two_commands_stand_on_the_first_screen():
    first = README.splitlines()[:20]
    assert 'python -m pip install ".[cpu]" && tfxai demo' in first
    assert 'python -m pip install ".[cpu,test]" && python -m pytest' in first


def test_the_script_finds_the_test_command():
    (line,) = re.findall(r"^tests=\$\((.*)\)$", (ROOT / ".ci/run").read_text(), re.M)
    found = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout == 'python -m pip install ".[cpu,test]" && python -m pytest\n'


def test_the_example_runs_as_pasted(tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
    assert len(code.splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    e, model, x, y = (names[n] for n in ("e", "model", "x", "y"))
    assert np.isfinite(e.relevance).all() and e.relevance.shape == x[:4].shape
    assert np.abs(e.relevance).max() > 0
    assert (model.predict(x, verbose=0).argmax(-1) == y).mean() > 0.9
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"


def test_which_method_names_methods():
    for page in (README, (ROOT / "docs/methods.md").read_text("utf-8")):
        table = page.split("| question | method |\n|---|---|\n")[1].split("\n\n")[0]
        named = re.findall(r"`(.*?)`", table)
        assert len(table.splitlines()) == 8
        assert set(named) <= {r.name for r in tfxai.methods()}


def test_the_pictures_are_small_files():
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", README)
    assert {Path(p).name for p in pictures} >= {"text.png", "table.png", "report.png"}
    for picture in pictures:
        data = (ROOT / picture).read_bytes()
        assert data[:4] == b"\x89PNG" and 4000 < len(data) < 400_000, picture
