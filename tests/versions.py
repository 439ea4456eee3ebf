"""Run tests with several versions of Python, TensorFlow and Keras, and write the table.

    python -m tests.versions                        # every combination that is found
    python -m tests.versions --python 3.12 --tensorflow 2.20 --keras newest -- TESTS

Each environment is a virtual environment in a temporary folder. Without tests after
`--`, the fast tests run. A row of `docs/tables/versions.md` is what one environment ran
last; a combination without a row was not run.
"""

import argparse
import datetime
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "tables" / "versions.md"
PYTHONS, TENSORFLOWS = ("3.11", "3.12", "3.13"), ("2.19", "2.20", "2.21")
KERAS = ("floor", "newest")
#: What the tests import, besides the dependencies of the package.
PACKAGES = ("pytest", "pytest-xdist", "hypothesis", "pandas", "tensorboard")
HEAD = ["Python", "TensorFlow", "Keras", "NumPy", "tests", "result", "date"]
ASK = (
    "import sys, tensorflow, keras, numpy; print('.'.join(map(str, sys.version_info[:3]\
)), tensorflow.__version__, keras.__version__, numpy.__version__)"
)


def floor() -> str:
    """Return the oldest Keras that setup.cfg allows."""
    text = (ROOT / "setup.cfg").read_text("utf-8")
    return re.findall(r"^ +keras >= ?([\d.]+)$", text, re.M)[0]


def find_python(version: str) -> str | None:
    """Return an interpreter of a version, "3.12", on the PATH or of pyenv."""
    for name in (f"python{version}", sys.executable):
        found = shutil.which(name)
        if found and _version(found) == version:
            return found
    installed = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    return str(max(installed, default="")) or None


def _version(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    process = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return process.stdout.strip()


def requirements(tensorflow: str, keras: str) -> list[str]:
    """Return what pip installs besides the package."""
    wanted = {"floor": f"keras=={floor()}", "newest": "keras"}
    own = wanted.get(keras, f"keras=={keras}")
    return [f"tensorflow-cpu=={tensorflow}.*", own, *PACKAGES]


def result_of(output: str) -> str:
    """Return the counts of pytest's last line, "12 passed, 1 failed"."""
    found = re.findall(r"(\d+ (?:passed|failed|errors?|skipped))", output)
    return ", ".join(dict.fromkeys(found[-4:])) or "no tests ran"


def run(python: str, tensorflow: str, keras: str, tests: list[str]) -> list[str]:
    """Return the row of one environment."""
    with tempfile.TemporaryDirectory() as room:
        subprocess.run([python, "-m", "venv", room], check=True)
        inside = f"{room}/bin/python"
        pip = [inside, "-m", "pip", "install", "-q"]
        installed = subprocess.run(
            [*pip, str(ROOT), *requirements(tensorflow, keras)],
            capture_output=True, text=True,
        )  # fmt: skip
        name = " ".join(tests) or "fast tests"
        today = datetime.date.today().isoformat()
        if installed.returncode:
            requested = [_version(python), tensorflow, keras, ""]
            return [*requested, name, "cannot be installed together", today]
        versions = subprocess.run([inside, "-c", ASK], capture_output=True, text=True)
        tested = subprocess.run(
            [inside, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        last = (tested.stdout.strip().splitlines() or [""])[-1]
        return [*versions.stdout.split(), name, result_of(last), today]


def rows(text: str) -> list[list[str]]:
    """Return the rows of the table."""
    lines = [s for s in text.splitlines() if s.startswith("|")][2:]
    return [[cell.strip(" `") for cell in s.strip("|").split("|")] for s in lines]


def merged(old: list[list[str]], new: list[str]) -> list[list[str]]:
    """Return the rows with a new one in place of that of the same environment."""
    return sorted([r for r in old if r[:3] != new[:3] or r[4] != new[4]] + [new])


def page(table: list[list[str]]) -> str:
    """Return the whole file."""
    lines = [
        f"| {' | '.join(cells)} |" for cells in (HEAD, ["---"] * len(HEAD), *table)
    ]
    return (
        "# Versions\n\nWritten by `python -m tests.versions`; do not edit.\n"
        "Description: [contributing.md](../contributing.md).\n\n"
        + "\n".join(lines)
        + "\n"
    )


def main() -> None:
    """Run the environments, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", nargs="+", default=PYTHONS)
    parser.add_argument("--tensorflow", nargs="+", default=TENSORFLOWS)
    parser.add_argument("--keras", nargs="+", default=KERAS)
    parser.add_argument("tests", nargs="*")
    given = parser.parse_args()
    for version, *others in itertools.product(
        given.python, given.tensorflow, given.keras
    ):
        python = find_python(version)
        if python is None:
            print(f"there is no Python {version}")
            continue
        new = run(python, *others, given.tests)
        old = rows(TABLE.read_text("utf-8")) if TABLE.exists() else []
        TABLE.write_text(page(merged(old, new)), "utf-8")
        print(" | ".join(new))


if __name__ == "__main__":
    main()
