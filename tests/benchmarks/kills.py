"""Kill runs at random moments and start them again: maps bit for bit.

    python -m tests.benchmarks.kills --kills 20             # the process of the run
    python -m tests.benchmarks.kills --kills 20 --engine ray  # workers and the driver

With Ray, two of three kills end a worker, whose shards another worker computes; every
third ends the driver with its cluster.
"""

import atexit
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from tests.datasets.batches import ROOT, contents, small
from tests.datasets.test_batch_slow import command_line, family, kill

RUN = """
import sys
import tfxai
options = {"engine": "ray", "workers": 2} if sys.argv[3] == "ray" else {}
tfxai.run(
    f"{sys.argv[1]}/net.keras", f"{sys.argv[1]}/data.npz", "smoothgrad", sys.argv[2],
    n_samples=60, shard_size=4, batch_size=4, **options)
"""


def start(home: Path, out: Path, engine: str) -> subprocess.Popen[bytes]:
    """Start the run in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    env |= {"RAY_USAGE_STATS_ENABLED": "0"}
    words = [sys.executable, "-c", RUN, str(home), str(out), engine]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(words, env=env, cwd=ROOT, **quiet)


def wait_for_shards(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the folder holds `count` shards or the process ends."""
    while process.poll() is None and len(contents(out)) < count:
        time.sleep(0.02)


@click.command()
@click.option("--kills", default=20)
@click.option("--engine", type=click.Choice(["serial", "ray"]), default="serial")
@click.option("--shards", default=200, help="The number of shards of the run.")
@click.option("--seed", default=0)
def main(kills: int, engine: str, shards: int, seed: int) -> None:
    """Print how many kills were survived, and compare the maps."""
    rng, done = random.Random(seed), {"driver": 0, "worker": 0}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        small((32, 32)).save(home / "net.keras")
        x = np.random.default_rng(0).uniform(0, 255, (shards * 4, 32, 32, 3))
        np.savez(home / "data.npz", x=x.astype("float32"))
        assert start(home, home / "whole", "serial").wait() == 0
        wanted, out = contents(home / "whole"), home / "out"
        process = start(home, out, engine)
        atexit.register(lambda: process.poll() is None and kill(process.pid))
        for number in range(kills):
            if process.poll() is not None:
                raise SystemExit(f"the run ended after {number} kills: more shards")
            more = rng.randint(1, 3)
            wait_for_shards(out, len(contents(out)) + more, process)
            time.sleep(rng.uniform(0, 0.3))
            working = [
                p for p in family(process.pid) if b"MapWorker" in command_line(p)
            ]
            if engine == "ray" and number % 3 and working:
                os.kill(rng.choice(working), signal.SIGKILL)
                done["worker"] += 1
            else:
                kill(process.pid)
                process.wait()
                done["driver"] += 1
                process = start(home, out, engine)
            held = contents(out)
            assert held.items() <= wanted.items(), "a shard is not complete or absent"
            click.echo(f"{sum(done.values())} kills, {len(held)} shards, all equal")
        code, found = process.wait(), contents(out)
    click.echo(f"kills: {done}, exit code {code}")
    click.echo(f"{len(found)} of {len(wanted)} shards, equal: {found == wanted}")
    sys.exit(code or found != wanted)


if __name__ == "__main__":
    main()
