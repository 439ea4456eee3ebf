"""Peak memory of an analyzer, as a multiple of that of the input gradient.

    python -m tests.benchmarks.memory                 # VGG16, batch 8
    python -m tests.benchmarks.memory ResNet50 --batch 1

Each case runs in a separate process. "peak" is the peak memory of the process, "growth"
the part of it above the memory with the model and the batch. No download.
"""

import os
import resource
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import tensorflow as tf

import tfxai
from tests.benchmarks import relevance

#: Method -> the limit of the ratio of the peaks.
CASES = {
    "lrp.epsilon": 1.5,
    "lrp.epsilon_plus": 2.0,
    "lrp.alpha_2_beta_1": 2.0,
    "lrp.sequential_preset_b": 2.0,
    "lrp.epsilon_gamma_box": 2.0,
    "deep_taylor.bounded": 2.0,
    "clrp": 2.0,
    "sglrp": 2.0,
}


def held() -> float:
    """Return the present memory of this process in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def alone(network: str, name: str, batch: int) -> None:
    """Run one case and print: peak, growth (MiB)."""
    build = getattr(keras.applications, network)
    model = build(weights=None, classifier_activation=None)
    shape = (batch, *model.input_shape[1:])
    x = tf.random.stateless_uniform(shape, (1, 2), -1, 1)
    target = np.zeros((batch, 1), np.int32)
    before = held()
    if name == "by hand":
        slope = relevance.gradient(model)
        for _ in range(2):
            slope(x)
    else:
        options = relevance.CASES.get(name, ({}, 0))[0]
        run = tfxai.create_analyzer(name, model, **options).compiled(x)
        for _ in range(2):
            run([x], target)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak} {peak - before}")


def measured(network: str, name: str, batch: int) -> tuple[float, float]:
    """Return peak and growth of one case, in MiB."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", network]
    command += ["--batch", str(batch), "--alone", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, growth = done.stdout.split()[-2:]
    return float(peak), float(growth)


@click.command()
@click.argument("network", default="VGG16")
@click.option("--batch", default=8, show_default=True)
@click.option("--alone", "name", hidden=True)
def main(network: str, batch: int, name: str | None) -> None:
    """Print a table for a network of keras.applications with random weights."""
    if name is not None:
        return alone(network, name, batch)
    base = measured(network, "by hand", batch)
    print("| network | batch | analyzer | peak | x gradient | growth | x gradient |")
    print("|---|---|---|---|---|---|---|")
    for case in ("by hand", *CASES):
        peak, growth = measured(network, case, batch)
        wanted = f" (<= {CASES[case]})" if case in CASES else ""
        print(
            f"| {network} | {batch} | {case} | {peak:.0f} MiB | {peak / base[0]:.2f}"
            f"{wanted} | {growth:.0f} MiB | {growth / base[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
