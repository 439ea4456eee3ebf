"""Every notebook runs, offline, and says what it claims."""

import re
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import tfxai
from tests.conftest import SHARED
from tfxai.demo import scenes
from tfxai.demo.network import build
from tfxai.sampling import sp_lime

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


def executed(name: str) -> str:
    """What a notebook prints when it is run from the top."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    return outputs(notebook)


@pytest.mark.slow
def test_quickstart():
    text = executed("quickstart")
    assert "False" not in text and text.count("True") == 2
    alike = {
        line.split()[0]: float(line.split()[1])
        for line in text.splitlines()
        if line.startswith(("lrp  ", "clrp ", "sglrp ")) and line[-3] == "."
    }
    assert set(alike) == {"lrp", "clrp", "sglrp"}
    assert alike["sglrp"] < alike["lrp"] - 0.5


@pytest.mark.slow
def test_transformers():
    text = executed("transformers")
    told = re.findall(r"^(.*\S) +(\d+)% +(\d+)%$", text, re.M)
    shares = {name: (int(right), int(wrong)) for name, right, wrong in told}
    assert shares["chance"][0] < 12
    (gamma,) = [v for k, v in shares.items() if k.startswith("lrp.attn, gamma")]
    assert gamma[0] > shares["lrp.attn"][0] + 10 > shares["gradient x input"][0] + 20
    assert shares["sglrp"][0] > 65 and shares["sglrp"][1] < 3
    assert "largest relevance of a padded position: 0.0" in text
    hit = re.search(r"belongs to the judgement: ([\d.]+)%", text)
    assert float(hit[1]) > 97
    most, drawn = (
        float(re.search(rf"without {name} token: (-?[\d.]+)", text)[1])
        for name in ("the most relevant", "a random")
    )
    assert most < 0 < drawn


@pytest.mark.slow
def test_lime():
    text = executed("lime")

    def told(name: str) -> list[float]:
        (line,) = re.findall(rf"^ *{name}: (.*)$", text, re.M)
        return [float(v) for v in re.findall(r"[+-]?\d+\.?\d*", line)]

    old, new = text.split("old class, ")[1].split("new class, ")
    for part in (old, new.split("segment ")[0]):
        after, seeds = (
            float(v) for v in re.findall(r"correlation, .*: ([+-][\d.]+)", part)
        )
        assert after < seeds
    before, after = map(float, re.findall(r"coefficients: (\S+) -> (\S+)", new)[0])
    assert after > before + 0.1
    assert told("held out, every 8 has a watermark")[-1] > 95
    assert told("held out, no watermark")[0] < 70
    assert told("watermark in the top 2")[-1] >= 90
    assert told("trained without watermarks, in the top 2")[-1] < 20


@pytest.mark.slow
def test_bad_explanation():
    text = executed("bad_explanation")
    rows = re.findall(r"^\| (\w[\w.]*) \| (.*) \|$", text, re.M)
    told = {
        name: [float(v.strip("*")) for v in cells.split(" | ")]
        for name, cells in rows
        if name != "method"
    }
    mass, deletion = ({m: v[k] for m, v in told.items()} for k in (0, 1))
    assert mass["sglrp"] > mass["edges"] + 0.2 > mass["random"] + 0.2
    assert deletion["sglrp"] < deletion["edges"] / 3 and deletion["edges"] > 0.15
    alike = dict(re.findall(r"^the two digits' maps, ([\w.]+): (\S+)$", text, re.M))
    assert float(alike["sglrp"]) < -0.8 and float(alike["edges"]) == 1
    stages = re.findall(
        r"random, ([\w.]+): rank correlation (\S+), SSIM (\S+)$", text, re.M
    )
    assert len(stages) == 5
    for name, rank, ssim in stages:
        most = max(float(rank), float(ssim))
        assert most == 1 if name == "edges" else most < 0.85
    times = re.findall(r"^times the mass of noise, ([\w.]+): (\S+)$", text, re.M)
    assert len(times) == 4 and all(float(v) > 2 for _, v in times)


@pytest.mark.slow
def test_training_callback():
    text = executed("training_callback")

    def told(name: str) -> list[tuple[float, float]]:
        """Accuracy and the mass on the watermarks, epoch by epoch."""
        line = rf"^{name}, epoch \d: accuracy (\S+), relevance_mass ([\d.]+)"
        return [(float(a), float(m)) for a, m in re.findall(line, text, re.M)]

    right, mass = zip(*told("watermarks"), strict=True)
    assert len(mass) == 6 and right[-1] > 0.95
    assert mass[0] < 0.35 and mass[-1] > 0.7 and mass[-1] > mass[1] > mass[0]
    right, mass = zip(*told("fair"), strict=True)
    assert right[-1] > 0.7 and max(mass) < 0.15
    assert "stopped after 3 of 6 epochs" in text
    assert "explanations: 000000.npz" in text and "000006.npz" in text


def table_calls(name: str) -> list[str]:
    """What stands in the right column of a notebook's tables of old and new calls."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    return re.findall(r"^\| .*`.* \| `((?:tfxai|e|pick)\..*)` \|$", text, re.M)


@pytest.mark.slow
def test_the_new_calls_of_the_tables_run():
    calls = table_calls("from_other_tools")
    assert len(calls) == 29
    x = scenes(2, seed=1).images

    def segmented(picture):
        return np.indices((64, 64)).sum(0) // 32

    names = {"tfxai": tfxai, "x": x, "model": build(), "f": segmented, "pick": sp_lime}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tfxai.errors.TfxaiWarning)
        for call in calls:
            made = eval(call, names)
            if isinstance(made, tfxai.Explanation):
                assert np.isfinite(made.relevance).all(), call
                names["e"] = made


@pytest.mark.slow
def test_from_other_tools():
    text = executed("from_other_tools")

    def told(name: str) -> list[float]:
        (line,) = re.findall(rf"^{name}(.*)$", text, re.M)
        return [float(v) for v in re.findall(r"[+-]?\d+\.?\d*(?:e-?\d+)?", line)]

    for name in ("lrp.epsilon", "sglrp"):
        assert told(f"{name}, largest difference:")[0] < 1e-4
    assert told("lime, old and new: correlation")[0] > 0.95
    if "lime is not installed" not in text:
        assert told("lime itself and its formula, largest difference:")[0] < 1e-6
    here = told("the same draws here:")
    for own, wanted in zip(told("the old formula:"), here, strict=True):
        assert abs(own - wanted) < 0.1
    assert told("the default here:")[0] > max(here[0], 0.9)
    old, new = (told(f"total variation of LEG-TV, {t}:")[0] for t in ("old", "new"))
    assert abs(old - new) < 1e-3 * old < 0.5 * told("total variation of LEG:")[0]


SHARES = r"right +(\d+)% +wrong +(\d+)% +correlation ([+-][\d.]+)"


def shares(text: str) -> dict[str, tuple[float, ...]]:
    """method -> share in the right box and in the wrong one, and the correlation."""
    rows = re.findall(rf"^(\w+) +{SHARES}$", text, re.M)
    return {name: tuple(map(float, values)) for name, *values in rows}


@pytest.mark.slow
def test_two_animals():
    text = executed("two_animals")
    scene, rest = text.split("A - k B")
    told = shares(scene)
    assert set(told) == {"lrp", "clrp", "sglrp"}
    assert told["lrp"][2] > 0.2 and told["lrp"][1] > 9
    for name in ("clrp", "sglrp"):
        right, wrong, alike = told[name]
        assert right > told["lrp"][0] + 8 and wrong < 4 and alike < -0.8, name
    clrp, sglrp = re.findall(r"^\w+: (\d+)% of the negative seed for", scene, re.M)
    assert clrp == "11" and float(sglrp) > 75
    assert float(re.search(r"and sglrp: correlation (\S+)", text)[1]) > 0.99
    if "the photographs are missing" in text:
        assert not SHARED.exists()
        return
    animals = shares(rest)
    for name in ("clrp", "sglrp"):
        assert animals[name][0] > animals["lrp"][0] + 8, name
        assert animals[name][1] < animals["lrp"][1] - 8, name
        assert animals[name][2] < animals["lrp"][2] - 0.4, name
    against = re.findall(r"^image (\d): .* contrasted with (\w+) (\d+)%", rest, re.M)
    (second, zebra, most), (first, tusker, much) = against
    assert (second, zebra, first, tusker) == ("2", "zebra", "1", "tusker")
    assert float(most) > 85 and float(much) > 60


@pytest.mark.slow
def test_leg():
    text = executed("leg")
    slopes = re.findall(r"gradient (\S+), predicted by LEG (\S+)$", text, re.M)
    assert len(slopes) == 3
    for seen, foretold in slopes:
        assert abs(float(seen) - float(foretold)) < 0.1 * abs(float(seen))
    rows = re.findall(r"^(\w+) +(\d+) +([\d.]+) +([\d.]+)$", text, re.M)
    off = {(name, int(n)): float(v) for name, n, v, _ in rows}
    assert len(off) == 8
    assert off["score", 1600] > 2 * off["regression", 400]
    assert off["regression", 400] > 1.5 * off["gradient", 100]
    assert off["score", 100] > 1.5 * off["score", 400] > 2 * off["score", 1600]
    for name, n, error, told in rows:
        assert 0.6 < float(told) / float(error) < 1.6, (name, n)
    for wanted, error in re.findall(r"^tolerance (\S+): .* error (\S+)$", text, re.M):
        assert float(error) < 1.5 * float(wanted)
    found = re.findall(r"total variation (\S+), cells at zero (\d+)%", text)
    variation, zero = (list(map(float, v)) for v in zip(*found, strict=True))
    assert len(zero) == 5 and zero == sorted(zero) and zero[-1] > 90 > 40 > zero[0]
    assert variation == sorted(variation, reverse=True)
    sizes = dict(re.findall(r"^key size, (\S+): mean ([\d.]+)%", text, re.M))
    assert float(sizes["random"]) > 5 * max(float(sizes["LEG"]), float(sizes["LEG-TV"]))


@pytest.mark.slow
def test_perturbation_cnn():
    text = executed("perturbation_cnn")
    scores = [
        (name, float(before), float(after), float(l1))
        for name, before, after, l1 in re.findall(
            r"^(\w+): score (\S+) -> (\S+), L1 (\S+)$", text, re.M
        )
    ]
    cnn, meaningful, extremal, stuck, again = scores
    for name, before, after, _ in (cnn, meaningful, again):
        assert after < 0.1 * before, name
    assert extremal[2] > 0.9 * extremal[1] and stuck[2] > 0.5 * stuck[1]
    assert stuck[3] < cnn[3] / 2
    (top, before, after), (second, less, more), *_ = re.findall(
        r"^(\d) +([\d.]+) +([\d.]+)$", text, re.M
    )
    assert (top, second) == ("5", "6")
    assert float(before) > 0.5 > float(after) and float(more) > 0.5 > float(less)
    assert "the last is e.heatmap(): True" in text
    inside = dict(re.findall(r"^(\w+): (\d+)% lies in the box of", text, re.M))
    chance = float(re.search(r"^chance: (\d+)%$", text, re.M)[1])
    assert all(float(v) > 4 * chance for v in inside.values()) and len(inside) == 3
    warned = re.findall(r"^(\w+Warning): (\w+)", text, re.M)
    assert warned[0] == ("StuckWarning", "perturbation_cnn")
    assert warned[-1] == ("UncertainClassWarning", "meaningful_perturbation")
