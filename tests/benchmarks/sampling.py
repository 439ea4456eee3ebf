"""The throughput of the sampling methods relative to the compiled forward pass.

    python -m tests.benchmarks.sampling [--shared ../shared] [NETWORK ...]

Throughput: images per second that LEG (outputs, base 28) and LIME (with given segments)
evaluate, relative to a plain `tf.function` of the network on batches of the same size;
for a black box relative to the callable. The functions alternate in one process.
Memory: the peak of 500 and 5000 samples, each in a subprocess. bfloat16: the speed of
the forward pass, and the correlation of the results with those of float32.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import tensorflow as tf

import tfxai
from tests.benchmarks.two_classes import NETWORKS

BATCH = 32
SEGMENTS = {"segmenter": "grid", "segmenter_options": {"cells": 7}}
METHODS = {
    "leg": {"estimator": "score", "sampling": "antithetic"},
    "leg, regression": {"estimator": "regression"},
    "lime": {**SEGMENTS},
    "rise": {},
}


def build(network: str, shared: Path) -> tuple[keras.Model, Callable, np.ndarray]:
    """Return the network (with random weights if `shared` has none), and an image."""
    side, preprocess, _ = NETWORKS.get(network, (224, lambda x: x / 127.5 - 1, None))
    if network in NETWORKS:
        model = keras.models.load_model(shared / "models" / f"{network}.keras")
    else:
        model = getattr(keras.applications, network)(weights=None)
    file = shared / "images" / "leg_trafficlight.jpg"
    size = {"target_size": (side, side), "interpolation": "bilinear"}
    x = keras.utils.img_to_array(keras.utils.load_img(file, **size))[None]
    return model, preprocess, x


def forward(model: keras.Model, preprocess: Callable, x: np.ndarray) -> Callable:
    """Return the compiled forward pass of images (n, ...)."""
    spec = tf.TensorSpec((None, *x.shape[1:]), tf.float32)
    function = tf.function(lambda v: model(preprocess(v), training=False))
    return function.get_concrete_function(spec)


def seconds(function: Callable) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def speed(
    network: str, shared: Path, samples: int, rounds: int, only: str | None
) -> None:
    """Print the relative throughput of every method."""
    model, preprocess, x = build(network, shared)
    plain, batch = forward(model, preprocess, x), np.repeat(x, BATCH, 0)
    count = {"n_samples": samples}
    functions: dict[str, Callable] = {
        "forward": lambda: [
            np.asarray(plain(tf.constant(batch))) for _ in range(samples // BATCH)
        ]
    }
    evaluations = {}
    for name, options in METHODS.items():
        if only not in (None, name):
            continue
        method = name.partition(",")[0]
        analyzer = tfxai.create_analyzer(
            method, model, preprocess=preprocess, **count, **options
        )
        functions[name] = lambda a=analyzer: a.analyze(x, 0, batch_size=BATCH)
        evaluations[name] = samples * (x.shape[-1] if method == "leg" else 1)
    box = tfxai.create_analyzer(
        "leg", lambda v: plain(tf.constant(v)).numpy(), estimator="regression", **count
    )
    if only in (None, "leg, black box"):
        functions["leg, black box"] = lambda: box.analyze(x, 0, batch_size=BATCH)
        evaluations["leg, black box"] = samples * x.shape[-1]
    for function in functions.values():
        function()
    turns = [{k: seconds(f) for k, f in functions.items()} for _ in range(rounds)]
    for name, count in evaluations.items():
        each = [t["forward"] / samples / (t[name] / count) for t in turns]
        taken = statistics.median(t[name] for t in turns) / count
        print(
            f"| {network} | {name} | {1 / taken:.0f} | {statistics.median(each):.2f} |"
        )


def halves(network: str, shared: Path, samples: int) -> None:
    """Print the effect of bfloat16 on the forward pass and on the relevance."""
    model, preprocess, x = build(network, shared)
    batch = np.repeat(x, BATCH, 0)
    wrapped = tfxai.wrap(model, preprocess)
    spec = tf.TensorSpec((None, *x.shape[1:]), tf.float32)
    taken, maps = {}, {}
    for precision in ("float32", "bfloat16"):
        function = tf.function(
            lambda v, p=precision: wrapped.outputs_of(wrapped.prepared([v]), p)
        ).get_concrete_function(spec)
        np.asarray(function(tf.constant(batch)))
        taken[precision] = statistics.median(
            seconds(lambda f=function: np.asarray(f(tf.constant(batch))))
            for _ in range(3)
        )
        maps[precision] = [
            tfxai.explain(
                model, x, method, preprocess=preprocess, precision=precision, **options
            ).relevance.ravel()
            for method, options in (
                ("leg", {"n_samples": 16}),
                ("lime", {"n_samples": samples, **SEGMENTS}),
            )
        ]
    pairs = zip(*maps.values(), strict=True)
    alike = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs]
    gain = taken["float32"] / taken["bfloat16"]
    print(f"| {network} | {gain:.2f} | {alike[0]:.4f} | {alike[1]:.4f} |")


def peak(network: str, shared: Path, method: str, samples: int) -> None:
    """Print the peak memory of this process, in MB."""
    model, preprocess, x = build(network, shared)
    tfxai.explain(
        model, x, method.partition(",")[0], preprocess=preprocess, n_samples=samples,
        **METHODS[method],
    )  # fmt: skip
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


@click.command()
@click.argument("networks", nargs=-1)
@click.option("--shared", default="../shared", type=Path)
@click.option("--samples", default=320)
@click.option("--rounds", default=3)
@click.option("--only", help="only one row, such as 'leg, black box'")
@click.option("--peak", "of", help="only the peak memory of a method")
@click.option("--part", type=click.Choice(["speed", "memory", "bfloat16"]))
def main(
    networks: tuple,
    shared: Path,
    samples: int,
    rounds: int,
    only: str,
    of: str,
    part: str,
) -> None:
    """Print the tables."""
    networks = networks or (*NETWORKS, "VGG19")
    if of:
        return peak(networks[0], shared, of, samples)
    if part in (None, "speed"):
        print("| network | method | images per second | relative to the forward pass |")
        print("|---|---|---|---|")
        for network in networks:
            speed(network, shared, samples, rounds, only)
    if part in (None, "bfloat16"):
        print("\n| network | forward pass, times faster | LEG alike | LIME alike |")
        print("|---|---|---|---|")
        for network in networks:
            halves(network, shared, samples)
    if part in (None, "memory"):
        for method in METHODS:
            peaks = []
            for count in (500, 5000):
                command = [sys.executable, "-m", "tests.benchmarks.sampling"]
                command += [networks[0], "--shared", str(shared), "--peak", method]
                done = subprocess.run(
                    [*command, "--samples", str(count)],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                peaks.append(done.stdout.split()[-1])
            print(f"{method}: {peaks[0]} MB for 500 samples, {peaks[1]} MB for 5000")
    return None


if __name__ == "__main__":
    main()
