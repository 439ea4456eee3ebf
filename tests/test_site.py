"""The documentation site builds from nothing, without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfxai
from tfxai.metrics import registry as metric_registry
from tfxai.text import TEXT_METRICS

ROOT = Path(__file__).resolve().parents[1]

#: The methods whose maps do not depend on the target.
SAME = {"input", "random", "eigencam", "attention_rollout"}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    if importlib.util.find_spec("sphinx") is None:
        why = 'the site needs: python -m pip install -e ".[docs]"'
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(why)
        pytest.skip(why)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run(
        [*command, "-d", str(tmp_path / "trees"), "docs", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-3000:]
    pages = tmp_path / "site" / "generated"
    for kind, items in (
        ("methods", tfxai.methods()),
        ("metrics", metric_registry.metrics()),
    ):
        for item in items:
            text = (pages / kind / f"{item.name}.html").read_text("utf-8")
            assert item.paper.split(",")[0].replace("&", "&amp;") in text
            assert item.name in text.split("</title>")[0]
    for method in tfxai.methods():
        text = (pages / "methods" / f"{method.name}.html").read_text("utf-8")
        for head in (
            "Formula",
            "When it fails",
            "Options",
            "Kinds of model",
            "Example",
        ):
            assert f"<h2>{head}<a" in text, f"{method.name}: {head}"
        assert "Cost of one explanation: " in text and "Other libraries: " in text
        (name,) = re.findall(r'src="../../(_images/[^"]+)"', text)
        picture = np.asarray(Image.open(tmp_path / "site" / name).convert("RGB"), int)
        image, three, seven = np.split(np.pad(picture, ((0, 0), (0, 6), (0, 0))), 3, 1)
        assert image.std() > 20 and three[:, :192].std() > 2, method.name
        same = (three[:, :192] == seven[:, :192]).all()
        assert same == (method.name in SAME), method.name
    text = (pages / "methods" / "sglrp.html").read_text("utf-8")
    assert "p_t (1 - p_t) at the target" in text and "z_box" in text
    for metric in metric_registry.metrics():
        text = (pages / "metrics" / f"{metric.name}.html").read_text("utf-8")
        for head in ("Formula", "How to read it", "A bad explanation", "Example"):
            assert f"<h2>{head}<a" in text, f"{metric.name}: {head}"
        assert "Cost of one value: " in text and "Kinds of input: " in text
        (name,) = re.findall(r'src="../../(_images/[^"]+)"', text)
        bars = (tmp_path / "site" / name).read_text("utf-8")
        values = re.findall(r'x="440" y="\d+">([^<]+)<', bars)
        assert len(values) == 4 and len(set(values)) > 1, f"{metric.name}: {values}"
    csv = next((tmp_path / "site" / "_downloads").rglob("speed.csv")).read_text("utf-8")
    assert csv.startswith("x gradient,wanted,") and "\nsglrp,2.4," in csv
    listed = (tmp_path / "site" / "validation.html").read_text("utf-8")
    for table in (ROOT / "docs" / "tables").glob("*.md"):
        assert f"/{table.stem}.csv" in listed, table
    assert (
        listed.count("Intel(R) Xeon(R)") > 25 and "tests.benchmarks.keras_hub" in listed
    )
    assert "NotFiniteWarning" in (tmp_path / "site" / "errors.html").read_text("utf-8")
    listed = (pages / "texts.html").read_text("utf-8")
    assert all(f">{n}</span></code>: " in listed for n in TEXT_METRICS)
    assert "methods/lrp.attn.html" in listed and "methods/kernel_shap.html" in listed
    assert "--preprocess" in (pages / "command_line.html").read_text("utf-8")
