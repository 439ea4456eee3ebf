"""The README says what is so."""

import re
from pathlib import Path

import numpy as np

import tfxai
from tests import zoo
from tfxai.graph.step import KERNEL, KINDS
from tfxai.metrics.measure import measures
from tfxai.relevance.presets import DEFAULTS

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def rows() -> list[str]:
    """The table of analyzers, as the registry would write it."""
    return [
        f"| `{r.name}` | {r.summary} | {r.needs} | {r.paper} |"
        for r in tfxai.analyzers()
    ]


def test_the_table_of_analyzers_is_the_registry():
    head = "| analyzer | what it is | needs | paper |\n|---|---|---|---|\n"
    table = README.split(head)[1].split("\n\n")[0]
    assert table.splitlines() == rows()


def measured() -> list[str]:
    """The table of measures, as their registry would write it."""
    return [
        f"| `{m.name}` | {m.better} | {m.summary} | {m.paper} |" for m in measures()
    ]


def test_the_table_of_measures_is_their_registry():
    head = "| measure | better | what it is | paper |\n|---|---|---|---|\n"
    assert README.split(head)[1].split("\n\n")[0].splitlines() == measured()


def test_the_table_of_kinds_is_the_default_preset():
    table = README.split("| kind | layers and")[1].split("\n\n")[0]
    told = {}
    for line in table.splitlines()[2:]:
        kind, _, rule, _ = (cell.strip() for cell in line.strip("|").split("|"))
        told[kind.strip("`")] = rule.strip("`")
    learned = dict.fromkeys(KERNEL, "the analyzer's")
    assert list(told) == list(KINDS)
    assert told == {**{k: r.name for k, r in DEFAULTS.items()}, **learned}


def test_the_two_commands_stand_on_the_first_screen():
    first = README.splitlines()[:20]
    assert 'python -m pip install ".[cpu]" && tfxai demo' in first
    assert 'python -m pip install ".[cpu,test]" && python -m pytest' in first


def test_the_python_of_the_first_screen_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    monkeypatch.chdir(tmp_path)
    model = zoo.network("mlp_softmax")
    names = {"model": model, "x": zoo.inputs(model)[0]}
    exec(code.replace("340", "1"), names)
    assert np.isfinite(names["e"].relevance).all()
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"


def test_no_placeholder_is_left():
    assert not re.search(r"^[A-Z]{4,}$|BOXAREA|REFNETS|REFCOUNT", README, re.M)
