"""The release: wheel and sdist, installed outside the checkout, and its licences."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import tfxai
from tests import licences, versions
from tests.test_docker import settings

ROOT = Path(__file__).resolve().parents[1]
SMOKE = """
import sys, numpy as np, tfxai
assert tfxai.__file__.startswith(sys.argv[1]), tfxai.__file__
import keras
from tfxai.demo.network import build
x = np.random.default_rng(0).uniform(0, 1, (2, 64, 64, 3)).astype("float32")
model = build()
e = tfxai.explain(model, x, "sglrp", low=0, high=1)
assert np.abs(e.relevance).max() > 0 and e.relevance.shape == x.shape
e.save("why.npz")
assert np.array_equal(tfxai.load("why.npz").relevance, e.relevance)
c = tfxai.compare(model, x, methods=["gradient"], metrics=["sparseness"])
c.report("report.html")
assert "<html" in open("report.html").read()
print(tfxai.__version__)
"""


def run(*words, **options):
    process = subprocess.run(words, capture_output=True, text=True, **options)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_the_version_is_one():
    assert settings()["metadata"]["version"] == tfxai.__version__ == "0.2.0"
    changes = (ROOT / "docs" / "changelog.md").read_text("utf-8")
    assert changes.split("\n## ")[1].split()[0] == tfxai.__version__


def test_licences_are_listed():
    """The table holds every dependency, with a licence that one may ship with."""
    found = licences.rows(frozenset(["cpu"]))
    rows = {name: (version, licence) for name, version, licence in found}
    assert "Apache" in rows["keras"][1] and "MIT" in rows["rich"][1]
    assert "mosek" not in rows  # only of another extra
    assert {"markdown-it-py", "ml-dtypes"} <= set(rows)  # needed by those needed
    text = licences.TABLE.read_text("utf-8")
    table = [tuple(row) for row in versions.rows(text)]
    assert licences.page(table) == text
    listed = {name: (version, licence) for name, version, licence in table}
    options = settings()["options"], settings()["options.extras_require"]
    given = options[0]["install_requires"] + "\n" + options[1]["cpu"]
    direct = set(re.findall(r"^([a-z][\w-]+)", given, re.M))
    assert len(direct) == 12 and direct <= set(listed)
    for name, (version, licence) in listed.items():
        if name != "namex":  # its metadata hold the text of Apache 2.0 alone
            assert licence and licence != "not declared", name
        assert not re.search(r"\b[AL]?GPL|proprietary", licence, re.I), name
        if rows.get(name, ("",))[0] == version:
            assert rows[name][1] == licence


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist of a copy of the checkout."""
    room = tmp_path_factory.mktemp("release")
    for name in ("tfxai", "setup.py", "setup.cfg", "README.md", "LICENSE", "tests"):
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__", ".*_cache", "files")
        if source.is_dir():
            shutil.copytree(source, room / "source" / name, ignore=ignore)
        else:
            shutil.copy(source, room / "source" / name)
    python = [sys.executable, "setup.py", "-q"]
    run(*python, "sdist", "--dist-dir", room / "sdist", cwd=room / "source")
    (archive,) = (room / "sdist").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(room / "unpacked", filter="data")
    (unpacked,) = (room / "unpacked").iterdir()
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
    pip += ["--no-build-isolation"]
    for name, source in (("wheel", room / "source"), ("again", unpacked)):
        run(*pip, "-w", room / name, source)
    return room


def names_of(folder):
    (wheel,) = folder.glob("tfxai-*.whl")
    with zipfile.ZipFile(wheel) as file:
        return wheel, set(file.namelist())


@pytest.mark.slow
def test_the_wheel_holds_the_package_alone(built):
    _, names = names_of(built / "wheel")
    suffixes = {".py", ".pyi", ".css", ".html", ".json", ".typed"}
    package = {
        p.relative_to(ROOT).as_posix() for p in (ROOT / "tfxai").rglob("*")
        if p.suffix in suffixes or p.name == "py.typed"
    }  # fmt: skip
    assert package <= names
    others = {n for n in names - package if ".dist-info/" not in n}
    assert not others
    assert names_of(built / "again")[1] == names  # from the sdist, the same


@pytest.mark.slow
def test_it_works_outside_the_checkout(built, tmp_path):
    wheel, _ = names_of(built / "wheel")
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    run(*pip, "--target", target, wheel)
    environment = os.environ | {"PYTHONPATH": str(target), "TF_CPP_MIN_LOG_LEVEL": "3"}
    inside = {"cwd": tmp_path, "env": environment}
    printed = run(sys.executable, "-c", SMOKE, target, **inside)
    assert printed.splitlines()[-1] == tfxai.__version__
    command = [sys.executable, target / "bin" / "tfxai"]
    assert run(*command, "--version", **inside) == f"tfxai {tfxai.__version__}\n"
    assert "sglrp" in run(*command, "methods", **inside)


# -- versions ------------------------------------------------------------------------


def test_the_table_of_versions_holds_what_was_run():
    text = versions.TABLE.read_text("utf-8")
    found = versions.rows(text)
    assert versions.page(found) == text and found
    new = ["3.13.0", "2.21.0", "3.15.1", "2.4", "fast tests", "3 passed", "2026-12-01"]
    more = versions.merged(found, new)
    assert versions.rows(versions.page(more)) == sorted([*found, new])
    again = [*new[:5], "2 passed, 1 failed", "2026-12-02"]
    assert versions.merged(more, again) == sorted([*found, again])


def test_what_is_declared_was_run():
    """Every Python and TensorFlow, and the floor of Keras, have a row that passed."""
    table = versions.rows(versions.TABLE.read_text("utf-8"))
    passed = [r for r in table if re.fullmatch(r"\d+ passed(, \d+ skipped)?", r[5])]
    for declared, column in ((versions.PYTHONS, 0), (versions.TENSORFLOWS, 1)):
        found = {".".join(row[column].split(".")[:2]) for row in passed}
        assert found >= set(declared)
    assert versions.floor() in {row[2] for row in passed}


@pytest.mark.parametrize(
    "output, wanted",
    [
        ("23 passed in 9.1s", "23 passed"),
        ("== 1 failed, 22 passed, 3 skipped ==", "1 failed, 22 passed, 3 skipped"),
        ("1 error in 0.1s", "1 error"),
        ("no tests ran in 0.01s", "no tests ran"),
    ],
)
def test_the_result_is_that_of_pytest(output, wanted):
    assert versions.result_of(output) == wanted


def test_the_versions_are_those_of_setup_cfg():
    text = settings()["options"]["install_requires"]
    assert f"keras >= {versions.floor()}" in text
    low, high = re.findall(r"3\.(\d+)", settings()["options"]["python_requires"])
    assert tuple(f"3.{n}" for n in range(int(low), int(high))) == versions.PYTHONS
    extra = settings()["options.extras_require"]["cpu"]
    assert extra.endswith(f">= {versions.TENSORFLOWS[0]}")
    requested = versions.requirements("2.20", "floor")
    assert requested[:2] == ["tensorflow-cpu==2.20.*", f"keras=={versions.floor()}"]
    assert versions.find_python("2.0") is None
