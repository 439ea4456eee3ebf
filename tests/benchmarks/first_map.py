"""Seconds from a model to its first map, and to the later ones.

    python -m tests.benchmarks.first_map > docs/tables/first_map.md
    python -m tests.benchmarks.first_map VGG16 --method lrp.attn

Each network has random weights and is called once before the clock starts. The columns:

- first: `create_analyzer` and `analyze` of one image, where no analyzer has read the
  model; the comparison of the steps with the model is part of it;
- again: the same with a new analyzer of the model;
- second: the second map of that analyzer, which compiles;
- third: its third map.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.benchmarks.measured import when_and_where

METHODS = ("sglrp", "lrp.epsilon", "deep_taylor", "gradient", "gradcam")


def seconds(run) -> tuple[float, object]:
    """Return how long `run` takes, and what it returns."""
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def row(network: str, method: str) -> str:
    """Return the row of one method for a network that nobody has read."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, network)(weights=None)
    x = np.random.default_rng(0).uniform(0, 255, (1, *model.input_shape[1:]))
    x = x.astype("float32")
    model(x)

    def first():
        analyzer = tfxai.create_analyzer(method, model)
        analyzer.analyze(x)
        return analyzer

    times = [seconds(first)[0]]
    again, analyzer = seconds(first)
    times += [again, *(seconds(lambda: analyzer.analyze(x))[0] for _ in "12")]
    return f"| {network} | {method} | " + " | ".join(f"{t:.2f}" for t in times) + " |"


@click.command()
@click.argument("networks", nargs=-1)
@click.option("--method", "methods", multiple=True, help="Method; several are possible")
def main(networks: tuple[str, ...], methods: tuple[str, ...]) -> None:
    """Print the table."""
    print("# Seconds to the first map\n")
    print("Written by `python -m tests.benchmarks.first_map`, whose text describes the")
    print("columns: one image, random weights, two cores.")
    print(f"{when_and_where()}\n")
    print("| network | method | first | again | second | third |")
    print("|---|---|--:|--:|--:|--:|")
    tfxai.methods()
    for network in networks or ("MobileNetV2", "ResNet50"):
        for method in methods or METHODS:
            print(row(network, method), flush=True)


if __name__ == "__main__":
    main()
