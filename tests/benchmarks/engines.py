"""Images per second of two Ray workers, as a multiple of one worker's.

    python -m tests.benchmarks.engines            # needs Ray, and two idle cores

The benchmark starts two nodes on this machine, each pinned to its own core (which its
worker inherits), with one TensorFlow thread each. One worker and both workers execute
the same run alternately. The first shards, in which graphs are built, do not count.
"""

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.datasets.test_batch_slow import (
    KEY,
    free_port,
    node,
    wait_for_nodes,
    wait_for_port,
)

WANTED = 1.7


def steady(result, workers: int) -> float:
    """Return images per second after the first two shards of every worker."""
    done = sorted(result.computed, key=lambda s: s.ended)
    start, rest = done[2 * workers - 1].ended, done[2 * workers :]
    return sum(s.explained for s in rest) / (rest[-1].ended - start)


def rate(model, x, out: Path, address: str, workers: int, shard: int) -> float:
    """Execute one run and return its images per second."""
    import ray

    result = tfxai.run(
        model, x, "lrp.epsilon", out, shard_size=shard, batch_size=shard,
        engine="ray", address=address, workers=workers, overwrite=True,
    )  # fmt: skip
    ray.shutdown()
    return steady(result, workers)


@click.command()
@click.option("--shards", default=40, show_default=True)
@click.option("--shard-size", default=16, show_default=True)
@click.option("--size", default=128, show_default=True, help="Pixels of a side.")
@click.option("--repeat", default=3, show_default=True)
def main(shards: int, shard_size: int, size: int, repeat: int) -> None:
    """Print both rates and the median of their ratios."""
    os.environ.update(KEY)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("Two cores are needed.")
    keras.utils.set_random_seed(0)
    shape = (size, size, 3)
    model = keras.applications.MobileNetV2(shape, weights=None)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (shards * shard_size, *shape), np.uint8)
    port = free_port()
    address = f"127.0.0.1:{port}"
    place = ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
    head = ["--head", f"--port={port}", "--include-dashboard=false", *place]
    ratios = []
    with ExitStack() as nodes:
        folder = Path(nodes.enter_context(tempfile.TemporaryDirectory()))
        os.sched_setaffinity(0, cores[:1])
        nodes.enter_context(node(*head, folder=folder))
        wait_for_port(port)
        os.sched_setaffinity(0, cores[1:2])
        nodes.enter_context(node(f"--address={address}", *place, folder=folder))
        os.sched_setaffinity(0, cores)
        wait_for_nodes(address, 2)
        for _ in range(repeat):
            one, two = (
                rate(model, x, folder / "maps", address, n, shard_size) for n in (1, 2)
            )
            ratios.append(two / one)
            load = os.getloadavg()[0]
            print(
                f"one worker {one:.1f}, two {two:.1f} images/s, ratio "
                f"{two / one:.2f} (load of the machine {load:.1f})",
                flush=True,
            )
            time.sleep(1)
    median = float(np.median(ratios))
    print(f"median ratio {median:.2f} (wanted: >= {WANTED})")
    sys.exit(median < WANTED)


if __name__ == "__main__":
    main()
