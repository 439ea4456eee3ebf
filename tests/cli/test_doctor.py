"""`tfxai doctor`: what it measures is true, and a fault is a failed check."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import tfxai
from tfxai.cli import device_checks, diagnosis, doctor
from tfxai.cli.diagnosis import Finding
from tfxai.cli.main import main

ROOT = Path(__file__).parents[2]


def by_name(findings):
    return {f.name: f for f in findings}


# -- the command ---------------------------------------------------------------------


def command(*words, **environment):
    """Run `tfxai doctor` in a fresh process."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100", **environment}
    line = [sys.executable, "-m", "tfxai.cli.main", "doctor", *words]
    return subprocess.run(line, env=env, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.gpu
def test_a_fresh_process_passes_in_a_minute():
    before = os.times().children_user
    process = command("--json")
    seconds = os.times().children_user - before  # of one core; others may be busy
    assert process.returncode == 0, process.stdout + process.stderr
    report = json.loads(process.stdout)
    assert report["ok"] is True and seconds <= 60
    rows = {(r["group"], r["name"]): r for r in report["findings"]}
    names = {name for group, name in rows if group == "versions"}
    assert {"Python", "tfxai", "keras"} <= names
    assert names & {"tensorflow", "tensorflow-cpu"}
    for name, _ in device_checks.COMPARED.values():
        assert 0 <= rows["maps", name]["value"] <= 1e-4
        assert re.search("CPU:0 and (CPU:1|GPU:0)", rows["maps", name]["note"])
    for name in ("gradient", "lrp.epsilon", "sglrp", "lime"):
        assert rows["speed", name]["value"] > 0


@pytest.mark.gpu
def test_a_gpu_is_found_and_its_memory_grows():
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("there is no GPU")
    process = command("--gpu", "--json")
    assert process.returncode == 0, process.stdout + process.stderr
    rows = json.loads(process.stdout)["findings"]
    memory = [r for r in rows if r["group"] == "memory" and "GPU:" in r["name"]]
    assert memory and all(r["note"].endswith("growth true") for r in memory)


@pytest.fixture
def findings(monkeypatch):
    """Findings that the command prints in place of its own."""
    rows = [Finding("versions", "keras", "3.9"), Finding("maps", "lime", 2e-7, True)]
    monkeypatch.setattr(doctor, "find", lambda need_gpu: rows)
    return rows


def test_the_exit_code_is_that_of_the_checks(findings):
    result = CliRunner().invoke(main, ["doctor"], env={"COLUMNS": "90"})
    assert result.exit_code == 0 and result.stdout.endswith("all checks passed\n")
    (line,) = [s for s in result.stdout.splitlines() if "lime" in s]
    assert line.split() == ["maps", "lime", "2e-07", "ok"]
    findings.append(Finding("kernels", "convolution", "failed", False, "no cuDNN"))
    result = CliRunner().invoke(main, ["doctor"], env={"COLUMNS": "90"})
    assert result.exit_code == 1 and result.stdout.endswith("1 check(s) failed\n")
    assert "FAILED" in result.stdout and "no cuDNN" in result.stdout
    result = CliRunner().invoke(main, ["doctor", "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and report["ok"] is False
    assert report["findings"][1]["value"] == 2e-7


def test_not_a_number_is_valid_json(findings):
    findings.append(Finding("maps", "sglrp", float("nan"), False))
    report = CliRunner().invoke(main, ["doctor", "--json"]).stdout
    assert (
        json.loads(report, parse_constant=pytest.fail)["findings"][2]["value"] is None
    )


def test_our_commands_take_the_memory_of_a_gpu_as_they_need_it(monkeypatch, findings):
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    CliRunner().invoke(main, ["doctor"])
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    CliRunner().invoke(main, ["doctor"])
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "false"


# -- the checks ----------------------------------------------------------------------


def test_there_is_one_method_of_each_family():
    rows = {row.name: row for row in tfxai.methods()}
    assert set(device_checks.COMPARED) == {row.family for row in rows.values()}
    for family, (name, options) in device_checks.COMPARED.items():
        assert rows[name].family == family
        assert set(options) <= set(rows[name].options)


def test_kernels_have_the_values_of_numpy(monkeypatch):
    found = device_checks.kernels()
    assert [f.ok for f in found] == [True] * 3 and max(f.value for f in found) < 1e-6
    product, wanted = device_checks.KERNELS["product"]
    wrong = {
        "wrong": (lambda x: 1.001 * product(x), wanted),
        "elsewhere": (lambda x: np.zeros(0) if x is None else missing(), wanted),
    }
    monkeypatch.setattr(device_checks, "KERNELS", wrong)
    first, second = device_checks.kernels()
    assert first.ok is False and first.value == pytest.approx(1e-3, rel=0.1)
    assert second.ok is False and second.note == "OSError: libcudnn.so.9 is missing"


def missing():
    raise OSError("libcudnn.so.9 is missing\nsecond line")


def test_settings_of_tensorflow_are_as_before():
    def settings():
        enabled = tf.config.experimental.tensor_float_32_execution_enabled
        return tf.config.get_soft_device_placement(), enabled()

    before = settings()
    device_checks.kernels()
    with pytest.raises(OSError), device_checks._exact():
        missing()
    assert settings() == before


@pytest.mark.parametrize("change, ok", [(0.0, True), (1e-3, False)])
def test_a_device_that_computes_otherwise_fails(monkeypatch, change, ok):
    names, networks = iter(["CPU:0", "CPU:0 again"]), []
    first = device_checks._network("CPU:0")
    second = device_checks._network("CPU:0")
    second.weights[0].assign(second.weights[0] * (1 + change))
    monkeypatch.setattr(device_checks, "pair", lambda: tuple(names))
    monkeypatch.setattr(
        device_checks, "_network", lambda d: first if d == "CPU:0" else second
    )
    monkeypatch.setattr(
        device_checks,
        "_map",
        lambda name, options, model, device, rough=False: np.asarray(
            tfxai.explain(model, device_checks.images(1), name).relevance, float
        ),
    )
    monkeypatch.setattr(device_checks, "COMPARED", {"gradient": ("gradient", {})})
    monkeypatch.setattr(device_checks, "_by_xla", lambda *_: None)
    row, _ = device_checks.maps(lambda n, name: networks.append(name))
    assert row.ok is ok and networks == ["gradient"]
    assert row.note == "CPU:0 and CPU:0 again, at most 0.0001"


def test_a_method_that_fails_is_a_row(monkeypatch):
    monkeypatch.setattr(
        device_checks, "COMPARED", {"cam": ("gradcam", {"layer": "none"})}
    )
    monkeypatch.setattr(device_checks, "_by_xla", lambda *_: None)
    row, _ = device_checks.maps(lambda n, name: None)
    assert row.ok is False and row.value == "failed" and "none" in row.note


def test_a_map_of_zeros_is_no_agreement():
    assert np.isnan(device_checks.largest(np.zeros(3), np.zeros(3)))
    assert not device_checks.largest(np.zeros(3), np.zeros(3)) <= device_checks.LIMIT
    assert device_checks.largest(np.array([2.0, -4]), np.array([2.0, -3])) == 0.25


def test_a_gpu_of_the_driver_that_tensorflow_does_not_see_fails(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text(
        '#!/bin/sh\n[ "$1" = --query-gpu=name,driver_version,memory.total ] || exit 1\n'
        "echo 'NVIDIA L4, 550.54.15, 23034 MiB'\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    rows = by_name(diagnosis.devices())
    assert rows["driver"].value == "NVIDIA L4, 550.54.15, 23034 MiB"
    assert rows["GPUs of TensorFlow"].ok is False
    assert 'pip install "tfxai[gpu]"' in rows["GPUs of TensorFlow"].note
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")  # no driver
    assert by_name(diagnosis.devices())["GPUs of TensorFlow"].ok is None
    assert by_name(diagnosis.devices(True))["GPUs of TensorFlow"].ok is False


def test_the_speed_is_counted_in_images(monkeypatch):
    seconds = iter([0.0, 0.4, 0.8, 1.25])
    monkeypatch.setattr(device_checks.time, "perf_counter", lambda: next(seconds))
    calls = []

    class Analyzer:
        def analyze(self, x, progress):
            calls.append(len(x))

    assert device_checks._rate(Analyzer(), np.zeros((5, 1))) == 3 * 5 / 1.25
    assert calls == [5] * 4  # the first one is not counted


def test_what_it_says_of_this_machine():
    rows = by_name(diagnosis.versions())
    assert rows["Python"].value == ".".join(map(str, sys.version_info[:3]))
    assert rows["tfxai"].value == tfxai.__version__
    memory = by_name(diagnosis.memory())["machine"].value
    assert float(memory.removesuffix(" GiB")) > 0.5
