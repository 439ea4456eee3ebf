"""Runs in separate processes: killed, on several devices, on two Ray nodes."""

import importlib.util
import multiprocessing
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import tfxai
from tests.datasets.batches import ROOT, contents, draw, same_maps, small

pytestmark = pytest.mark.slow

#: The token of the test cluster, which recent versions of Ray require.
KEY = {
    **{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)},
    "RAY_USAGE_STATS_ENABLED": "0",
}
MEMORY = """
import resource, sys
import numpy as np
import tfxai
from tests.datasets.batches import small
from tfxai.datasets.sources import Source

class Many(Source):
    kind, shape = "many", (96, 96, 3)
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def read(self, i):
        x = np.full(self.shape, i % 200, np.float32)
        return x, -1, self.name(i)
    def settings(self): return {"kind": "many", "count": self.count, "fingerprint": ""}

from tfxai.datasets import run as dataset
dataset.open_source = lambda data, *rest: Many(data)
result = tfxai.run(
    small((96, 96)), int(sys.argv[1]), "gradient", sys.argv[2], shard_size=32,
    batch_size=8)
print(result.explained, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
DEVICES = """
import sys
import numpy as np
import tensorflow as tf
from tests.two_devices import split
two = split()
import tfxai
from tests.datasets.batches import small
from tfxai.core import analyzer

seen = []
plain = analyzer.Analyzer.analyze
def analyze(self, x, *rest):
    device = self.wrapped.model.weights[0].value.device
    seen.append((device[-5:], len(x)))
    return plain(self, x, *rest)
analyzer.Analyzer.analyze = analyze
"""
TWO_DEVICES = (
    DEVICES
    + """
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
        strategy=tf.distribute.MirroredStrategy(two), **options)
    a, b = two
    assert sorted(seen) == [(a, 2), (a, 2), (a, 2), (b, 1), (b, 2), (b, 2)], seen
assert [w.value.device for w in model.weights] == before
print("done")
"""
)
COMMAND = (
    DEVICES
    + """
from tfxai.cli.main import main
home = sys.argv[1]
main.main([
    "run", "--model", f"{home}/net.keras", "--method", "lrp.epsilon", "--batch-size",
    "4", "--strategy", "mirrored", "--out", f"{home}/maps", f"{home}/data.npz",
], standalone_mode=False)
print(sorted((two.index(device), count) for device, count in seen))
"""
)


def python(code, *words):
    """Run `code` in a separate process, and return its output."""
    env = os.environ | KEY | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], env=env, capture_output=True,
        text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# -- killed --------------------------------------------------------------------------


def again(home, out):
    """The same run, for a separate process."""
    tfxai.run(
        f"{home}/net.keras", f"{home}/in", "smoothgrad", out, n_samples=100,
        shard_size=4, batch_size=4,
    )  # fmt: skip


def stamps(folder):
    """Return name of a shard -> inode and time, which change if it is written again."""
    found = {}
    for path in folder.glob("shard-*.h5"):
        stat = path.stat()
        found[path.name] = (stat.st_ino, stat.st_mtime_ns)
    return found


def test_killed_at_random_moments_and_started_again(tmp_path):
    small((32, 32)).save(tmp_path / "net.keras")
    for i in range(480):
        draw(tmp_path / "in" / f"{i % 3}" / f"{i:03d}.png", i)
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(["tensorflow", "tfxai.datasets.run", __name__])
    whole, out, rng = tmp_path / "whole", tmp_path / "killed", random.Random(0)
    first = forked.Process(target=again, args=(tmp_path, whole))
    first.start()
    first.join()
    assert first.exitcode == 0
    wanted, times = contents(whole), sorted(t for _, t in stamps(whole).values())
    one = (times[-1] - times[5]) / (len(times) - 6) / 1e9  # seconds for a shard
    assert len(wanted) == 120
    grown = []
    for number in range(8):
        before = stamps(out)
        process = forked.Process(target=again, args=(tmp_path, out))
        process.start()
        if number % 4 == 3:  # during the start
            time.sleep(rng.uniform(0, 2))
        else:  # while it computes or writes
            more = rng.randint(1, 3)
            while len(stamps(out)) < len(before) + more and process.is_alive():
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 1.5) * one)
        assert process.is_alive()
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        now = stamps(out)
        assert {k: now[k] for k in before} == before  # no shard is written twice
        grown.append(len(now) - len(before))
        assert contents(out).items() <= wanted.items()  # complete or absent
    assert sum(n > 0 for n in grown) >= 6 and sum(grown) < 120, grown
    last = forked.Process(target=again, args=(tmp_path, out))
    last.start()
    last.join()
    assert last.exitcode == 0 and contents(out) == wanted
    assert tfxai.load(out).complete and not list(out.glob(".shard-*"))


def test_memory_does_not_grow_with_the_data(tmp_path):
    held = {}
    for count in (200, 2000):
        maps, peak = python(MEMORY, count, tmp_path / str(count)).split()
        assert int(maps) == count
        held[count] = float(peak)
    # 1800 more samples of 108 KiB each take 190 MiB.
    assert held[2000] < held[200] + 40, held


# -- devices -------------------------------------------------------------------------


@pytest.mark.gpu
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
        # A least-squares fit amplifies rounding errors more than a gradient does.
        same_maps(tfxai.load(tmp_path / name), e, 1e-4 if name == "lime" else 1e-5)


@pytest.mark.gpu
def test_the_command_splits_over_the_devices_of_this_machine(tmp_path):
    x = np.random.default_rng(0).uniform(0, 255, (5, 8, 9, 3)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x)
    small().save(tmp_path / "net.keras")
    said = python(COMMAND, tmp_path)
    assert said.splitlines()[-1] == "[(0, 1), (0, 2), (1, 2)]"
    same_maps(tfxai.load(tmp_path / "maps"), tfxai.explain(small(), x, "lrp.epsilon"))


# -- Ray -----------------------------------------------------------------------------

DRIVER = """
import sys
import numpy as np
import tfxai
from tests.datasets.test_batch_slow import heavy, many
done = tfxai.run(
    heavy(), many(), "smoothgrad", sys.argv[1], n_samples=60, shard_size=8,
    batch_size=8, engine="ray", address=sys.argv[2])
print(done.explained, len(done.computed), flush=True)
"""


def heavy():
    """Return a slower network, for images 48 x 48."""
    return small((48, 48))


def many():
    """Return 320 images: 40 shards of 8."""
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (320, 48, 48, 3)).astype("float32")


@contextmanager
def node(*words, folder):
    """A Ray node in separate processes, which end with the context."""
    env = os.environ | KEY
    env |= {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    with open(folder / "node.log", "a") as log:
        process = subprocess.Popen(
            [*start, "--num-cpus=1", "--object-store-memory=100000000", *words],
            env=env, cwd=ROOT, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        kill(process.pid)
        process.wait()
        port = next((w.rpartition("=")[2] for w in words if "--port=" in w), "none")
        last = Path("/tmp/ray/ray_current_cluster")  # else Ray would connect to it
        if last.exists() and last.read_text().strip().endswith(f":{port}"):
            last.unlink()


def family(pid):
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        path = Path(f"/proc/{parent}/task/{parent}/children")
        if path.exists():
            found += map(int, path.read_text().split())
    return found


def kill(pid):
    """Send SIGKILL to a process and its descendants."""
    for one in family(pid):
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(true, seconds, process):
    for _ in range(seconds * 5):
        if true():
            return
        assert process.poll() is None, "the driver ended too early"
        time.sleep(0.2)
    raise AssertionError("timeout")


def test_two_ray_nodes_and_one_is_killed(tmp_path):
    if importlib.util.find_spec("ray") is None:
        pytest.skip('Ray is absent: pip install "tfxai[ray]"')
    address = f"127.0.0.1:{free_port()}"
    place = ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
    port = address.rpartition(":")[2]
    out = tmp_path / "maps"
    first = ["--head", f"--port={port}", "--include-dashboard=false", *place]
    with node(*first, folder=tmp_path):
        wait_for_port(int(port))
        with node(f"--address={address}", *place, folder=tmp_path) as second:
            wait_for_nodes(address, 2)
            env = os.environ | KEY
            env |= {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
            driver = subprocess.Popen(
                [sys.executable, "-c", DRIVER, out, address], env=env, cwd=ROOT,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            try:
                wait_for(lambda: len(stamps(out)) >= 12, 240, driver)
                workers = family(second.pid)
                working = [p for p in workers if b"MapWorker" in command_line(p)]
                kill(second.pid)
                before = stamps(out)
                # A worker starts on the first node once a core is free, and imports
                # TensorFlow slowly while others run.
                said, wrong = driver.communicate(timeout=600)
            finally:
                driver.kill()
    assert driver.returncode == 0, wrong[-3000:]
    assert working, "the second node had no work"
    assert len(before) < 40 and said.split()[-2:] == ["320", "40"]
    now = stamps(out)
    assert {k: now[k] for k in before} == before and len(now) == 40
    tfxai.run(
        heavy(), many(), "smoothgrad", tmp_path / "serial", n_samples=60, shard_size=8,
        batch_size=8,
    )  # fmt: skip
    serial, maps = tfxai.load(tmp_path / "serial"), tfxai.load(out)
    same_maps(maps, serial[:], rtol=1e-5)
    names = {"model_name": ""}  # Keras numbers the models of a process
    assert {**maps.recipe, **names} == {**serial.recipe, **names} and maps.complete


def command_line(pid):
    """Return the command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_for_port(port):
    for _ in range(300):
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("Ray did not start")


def wait_for_nodes(address, count):
    code = (
        "import ray, sys, time\n"
        "ray.init(sys.argv[1], log_to_driver=False)\n"
        "while ray.cluster_resources().get('CPU', 0) < int(sys.argv[2]):\n"
        "    time.sleep(.2)\n"
    )
    python(code, address, count)
