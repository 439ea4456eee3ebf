"""Every notebook is kept with its outputs, and computes them again, offline."""

import re
from itertools import zip_longest
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from tfxai.cli.demo.network import _store, build

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NUMBER = r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
#: Numbers may differ by this share of the larger one, or by `LEAST`: what a notebook
#: trains itself depends on the processor.
SHARE, LEAST = 0.2, 0.05


def read(path: Path):
    return nbformat.read(path, 4)


def code_of(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def shown(cell) -> list[tuple[str, str]]:
    """What a cell shows: (kind, text); pictures have no text, the log is left out."""
    printed = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
    found = [("text", printed)] if printed else []
    for output in cell.outputs:
        data = output.get("data", {})
        pictures = [kind for kind in data if kind.startswith("image/")]
        kind = (pictures or [k for k in data if k == "text/html"] or ["text/plain"])[0]
        if data:
            found.append((kind, "" if pictures else data[kind]))
    return found


def alike(kept: str, now: str) -> bool:
    """The same text, with numbers that are equal up to rounding."""
    if re.split(NUMBER, kept) != re.split(NUMBER, now):
        return False
    numbers = (map(float, re.findall(NUMBER.replace("−", ""), t)) for t in (kept, now))
    return all(
        abs(a - b) <= max(LEAST, SHARE * max(abs(a), abs(b)))
        for a, b in zip_longest(*numbers, fillvalue=float("inf"))
    )


def test_texts_are_alike_up_to_rounding():
    assert alike("loss 0.50, 3 of 9", "loss 0.52, 3 of 9")
    assert not alike("loss 0.50", "loss 0.70")
    assert not alike("loss 5.0", "gain 5.0")
    assert not alike("1 2", "1 2 3")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_is_kept_with_its_outputs(path):
    notebook = read(path)
    cells = code_of(notebook)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    outputs = [o for c in cells for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    kinds = [kind for c in cells for kind, _ in shown(c)]
    assert sum(kind.startswith("image/") for kind in kinds) >= 3
    assert not any(re.search(r"^\s*assert\b", c.source, re.M) for c in cells)
    assert path.stat().st_size < 1_200_000
    assert not re.search(r"/home/|/tmp/|/work/|site-packages", path.read_text("utf-8"))


@pytest.fixture
def demo_network(tmp_path, monkeypatch):
    """Put the demo network of the kept outputs into a cache of its own.

    What the training returns depends on the number of threads.
    """
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_configdir())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    model = build()
    with np.load(ROOT / "tests" / "data" / "demo_network.npz") as stored:
        model.set_weights([stored[k].astype("float32") for k in stored.files])
    _store(model)


@pytest.mark.slow
@pytest.mark.usefixtures("demo_network")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_computes_its_outputs_again(path):
    notebook = read(path)
    kept = [shown(c) for c in code_of(notebook)]
    resources = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=300, resources=resources).execute()
    for cell, before in zip(code_of(notebook), kept, strict=True):
        now = shown(cell)
        assert [kind for kind, _ in now] == [kind for kind, _ in before], cell.source
        for (_, new), (_, old) in zip(now, before, strict=True):
            assert alike(old, new), f"{cell.source}\n{old}\n{new}"
