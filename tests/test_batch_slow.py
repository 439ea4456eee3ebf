"""Runs in processes of their own: killed, on many devices, on two Ray nodes."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tfxai
from tests.test_batch import ROOT, contents, draw, same_maps, small

pytestmark = pytest.mark.slow

MEMORY = """
import resource, sys
import numpy as np
import tfxai
from tests.test_batch import small
from tfxai.sources import Source

class Many(Source):
    kind, shape = "many", (96, 96, 3)
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def read(self, i):
        x = np.full(self.shape, i % 200, np.float32)
        return x, -1, self.name(i)
    def told(self): return {"kind": "many", "count": self.count, "fingerprint": ""}

from tfxai import dataset
dataset.open_source = lambda data, *rest: Many(data)
made = tfxai.run(
    small((96, 96)), int(sys.argv[1]), "gradient", sys.argv[2], shard_size=32,
    batch_size=8)
print(made.maps, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
TWO_DEVICES = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import tfxai
from tests.test_batch import small
from tfxai import analyzer

seen = []
plain = analyzer.Analyzer.analyze
def analyze(self, x, *rest):
    made = self.wrapped.model.weights[0].value.device
    seen.append((made[-5:], len(x)))
    return plain(self, x, *rest)
analyzer.Analyzer.analyze = analyze
model = small()
before = [w.value.device for w in model.weights]
x = np.random.default_rng(0).uniform(0, 255, (11, 8, 9, 3)).astype("float32")
y = np.arange(11) % 4
for name, method, target in (
    ("lrp", "lrp.epsilon", "label"), ("two", "gradient", [0, 2]), ("lime", "lime", None)
):
    options = {"n_samples": 50, "segmenter": "grid"} if method == "lime" else {}
    seen.clear()
    tfxai.run(
        model, (x, y), method, f"{sys.argv[1]}/{name}", target, batch_size=4,
        strategy=tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"]), **options)
    assert sorted(seen) == [
        ("CPU:0", 2), ("CPU:0", 2), ("CPU:0", 2), ("CPU:1", 1), ("CPU:1", 2),
        ("CPU:1", 2)], seen
assert [w.value.device for w in model.weights] == before
print("done")
"""


def python(code, *words, executable=sys.executable):
    env = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [executable, "-c", code, *map(str, words)], env=env, capture_output=True,
        text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# -- killed --------------------------------------------------------------------------


def command(home, out, *words):
    """`tfxai run` in a process of its own."""
    given = [
        *(sys.executable, "-m", "tfxai.cli", "run", "--model", home / "net.keras"),
        *("--method", "smoothgrad", "--option", "n=20", "--out", out),
        *("--shard-size", 10, "--batch-size", 5, *words, home / "in"),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([str(w) for w in given], env=env, cwd=ROOT, **quiet)


def stamps(folder):
    """Every shard that is there -> what tells whether it is written anew."""
    found = {}
    for path in folder.glob("shard-*.h5"):
        stat = path.stat()
        found[path.name] = (stat.st_ino, stat.st_mtime_ns)
    return found


def test_killed_at_random_moments_and_started_again(tmp_path):
    small().save(tmp_path / "net.keras")
    for i in range(600):
        draw(tmp_path / "in" / f"{i % 3}" / f"{i:03d}.png", i)
    begun = time.monotonic()
    assert command(tmp_path, tmp_path / "whole").wait() == 0
    taken = time.monotonic() - begun
    whole = contents(tmp_path / "whole")
    shard_times = sorted(s[1] for s in stamps(tmp_path / "whole").values())
    start = taken - (shard_times[-1] - shard_times[0]) / 1e9  # until the first shard
    assert len(whole) == 60
    rng, out, killed, grown = random.Random(0), tmp_path / "killed", 0, []
    for _ in range(20):
        before = stamps(out) if out.exists() else {}
        process = command(tmp_path, out)
        # At any moment: while it starts, while it works, a few while it writes.
        time.sleep(rng.uniform(start * 0.5, start + (taken - start) * 0.1))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = stamps(out) if out.exists() else {}
        assert {k: now[k] for k in before} == before  # nothing is done twice
        grown.append(len(now) - len(before))
        assert all(whole[n] == data for n, data in contents(out).items())
    assert killed == 20 and sum(n > 0 for n in grown) >= 2, grown
    assert command(tmp_path, out).wait() == 0
    assert contents(out) == whole
    assert tfxai.load(out).complete and not list(out.glob(".shard-*"))


def test_memory_does_not_grow_with_the_data(tmp_path):
    held = {}
    for count in (200, 2000):
        maps, peak = python(MEMORY, count, tmp_path / str(count)).split()
        assert int(maps) == count
        held[count] = float(peak)
    # 1800 maps more, of 108 KiB each, are 190 MiB.
    assert held[2000] < held[200] + 40, held


# -- devices -------------------------------------------------------------------------


def test_a_strategy_splits_each_batch(tmp_path):
    assert "done" in python(TWO_DEVICES, tmp_path)
    x = np.random.default_rng(0).uniform(0, 255, (11, 8, 9, 3)).astype("float32")
    y = np.arange(11) % 4
    for name, method, target in (
        ("lrp", "lrp.epsilon", y),
        ("two", "gradient", np.tile([0, 2], (11, 1))),
        ("lime", "lime", None),
    ):
        options = {"n_samples": 50, "segmenter": "grid"} if method == "lime" else {}
        e = tfxai.explain(small(), x, method, target, **options)
        same_maps(tfxai.load(tmp_path / name), e)
