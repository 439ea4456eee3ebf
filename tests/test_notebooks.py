"""Every notebook runs, offline, and says what it claims."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def outputs(notebook) -> str:
    """All that the cells printed."""
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    return "".join(o.get("text", "") for c in cells for o in c.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_notebook_is_kept_without_outputs(path):
    notebook = nbformat.read(path, 4)
    assert notebook.cells
    assert outputs(notebook) == ""


@pytest.mark.slow
def test_quickstart():
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", 4)
    NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    text = outputs(notebook)
    assert "False" not in text and text.count("True") == 2
    alike = {
        line.split()[0]: float(line.split()[1])
        for line in text.splitlines()
        if line.startswith(("lrp  ", "clrp ", "sglrp ")) and line[-3] == "."
    }
    assert set(alike) == {"lrp", "clrp", "sglrp"}
    assert alike["sglrp"] < alike["lrp"] - 0.5
