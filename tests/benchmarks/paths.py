"""How fast integrated gradients and smoothgrad ask, beside a plain batched gradient.

    python -m tests.benchmarks.paths [SqueezeNet-like network of keras.applications]

One picture, 50 steps, 10 at a time: the throughput in slopes per second, as a share of
that of a hand-written `tf.function` gradient called on batches of 10. One process, in
turns. Then the peak memory of 10, 100 and 1000 steps, a subprocess each.
"""

import os
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.benchmarks.relevance import gradient

STEPS, ROOM = 50, 10
CASES = {
    "integrated_gradients": {"n_steps": STEPS},
    "smoothgrad": {"n_samples": STEPS},
    "expected_gradients": {"n_samples": STEPS},
}


def build(network: str) -> tuple[keras.Model, np.ndarray]:
    """The network with random weights, and a picture."""
    model = getattr(keras.applications, network)(weights=None)
    shape = (1, *model.input_shape[1:])
    return model, np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def seconds(function) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def speed(network: str, rounds: int) -> None:
    """Print the throughput of every case."""
    model, x = build(network)
    slope, batch = gradient(model), np.repeat(x, ROOM, 0)
    functions = {
        "gradient by hand": lambda: [slope(batch) for _ in range(STEPS // ROOM)]
    }
    for name, options in CASES.items():
        given = {"background": x} if name == "expected_gradients" else {}
        analyzer = tfxai.create_analyzer(name, model, **options, **given)
        functions[name] = lambda a=analyzer: a.analyze(x, 0, batch_size=ROOM)
    for function in functions.values():
        function()
    turns = [{k: seconds(f) for k, f in functions.items()} for _ in range(rounds)]
    print("| network | analyzer | slopes per second | of a plain gradient's |")
    print("|---|---|---|---|")
    for name in functions:
        taken = statistics.median(t[name] for t in turns)
        share = statistics.median(t["gradient by hand"] / t[name] for t in turns)
        print(f"| {network} | {name} | {STEPS / taken:.1f} | {share:.2f} |")


def memory(network: str, steps: int) -> None:
    """Print the peak memory of this process, with so many steps, in MB."""
    model, x = build(network)
    analyzer = tfxai.create_analyzer("integrated_gradients", model, n_steps=steps)
    analyzer.analyze(x, 0, batch_size=ROOM)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


@click.command()
@click.argument("network", default="MobileNetV2")
@click.option("--rounds", default=5)
@click.option("--peak", type=int, help="only the peak memory of so many steps")
def main(network: str, rounds: int, peak: int | None) -> None:
    """Print both tables."""
    if peak is not None:
        return memory(network, peak)
    speed(network, rounds)
    for steps in (10, 100, 1000):
        command = [sys.executable, "-m", "tests.benchmarks.paths", network]
        made = subprocess.run(
            [*command, "--peak", str(steps)], capture_output=True, text=True, check=True
        )
        print(f"{steps} steps: {made.stdout.split()[-1]} MB")
    return None


if __name__ == "__main__":
    main()
