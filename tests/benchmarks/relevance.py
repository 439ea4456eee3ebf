"""The time of relevance methods, as a multiple of a hand-written input gradient.

    python -m tests.benchmarks.relevance            # VGG16, batch 1 and 8
    python -m tests.benchmarks.relevance MobileNetV2 --batch 1 --rounds 9
    python -m tests.benchmarks.relevance MobileNetV2 --method hirescam --method fullgrad

The functions alternate in one process (A B C A B C ...), so that changing load of the
machine affects all of them equally. Weights are random: no download.
"""

import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import tensorflow as tf

import tfxai

#: Method -> its options, and the limit of the ratio to the gradient.
CASES = {
    "gradient": ({}, 1.05),
    "lrp.epsilon": ({}, 1.15),
    "lrp.epsilon_plus": ({}, 1.6),
    "lrp.alpha_2_beta_1": ({}, 2.2),
    "lrp.sequential_preset_a": ({}, 2.2),
    "lrp.sequential_preset_b": ({}, 2.2),
    "lrp.epsilon_gamma_box": ({"low": -1, "high": 1}, 2.6),
    "deep_taylor": ({}, 1.6),
    "deep_taylor.bounded": ({"low": -1, "high": 1}, 1.6),
    "clrp": ({"low": -1, "high": 1}, 2.4),
    "sglrp": ({"low": -1, "high": 1}, 2.4),
}


def gradient(model: keras.Model):
    """Return the hand-written input gradient of output 0."""
    spec = tf.TensorSpec((None, *model.input_shape[1:]))

    @tf.function(input_signature=[spec])
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(model(x, training=False)[:, 0])
        return tape.gradient(y, x)

    return slope


def maps(model: keras.Model, name: str, options: dict):
    """Return the compiled function of an analyzer and the seconds of its first call."""
    analyzer = tfxai.create_analyzer(name, model, **options)
    x = np.zeros((1, *model.input_shape[1:]), np.float32)
    start = time.perf_counter()
    compiled = analyzer.compiled(x)
    compiled([x], np.zeros((1, 1), np.int32))
    return compiled, time.perf_counter() - start


def measure(functions: dict, rounds: int) -> dict[str, list[float]]:
    """Return `rounds` alternating timings of every function, after one warm-up."""
    for run in functions.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, run in functions.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def turns(slope, made: dict, x: tf.Tensor) -> dict:
    """Return the alternating functions: the gradient and every analyzer, on `x`."""
    target = tf.zeros((len(x), 1), tf.int32)
    runs = {n: lambda f=f: f([x], target) for n, (f, _) in made.items()}
    return {"by hand": lambda: slope(x), **runs}


def further(network: str, model, slope, seeds: int, rounds: int) -> None:
    """Print the time of each target after the first, in input gradients.

    A target of `sglrp` has two seeds, its own class and the others.
    """
    x = tf.random.stateless_uniform((1, *model.input_shape[1:]), (1, 2), -1, 1)
    targets = {n: np.arange(n, dtype=np.int32)[None] for n in (1, seeds)}
    runs = {"by hand": lambda: slope(x)}
    for name in ("lrp.epsilon", "lrp.epsilon_plus", "lrp.alpha_2_beta_1", "sglrp"):
        analyzer = tfxai.create_analyzer(name, model, **CASES[name][0])
        for n, t in targets.items():
            run = analyzer.compiled(x, t)
            runs[f"{name} {n}"] = lambda run=run, t=t: run([x], t)
    middle = {n: statistics.median(t) for n, t in measure(runs, rounds).items()}
    print("| network | analyzer | each further target, x gradient | wanted |")
    print("|---|---|---|---|")
    for name in ("lrp.epsilon", "lrp.epsilon_plus", "lrp.alpha_2_beta_1", "sglrp"):
        more = (middle[f"{name} {seeds}"] - middle[f"{name} 1"]) / (seeds - 1)
        wanted = 1.3 if name == "sglrp" else 0.65
        print(f"| {network} | {name} | {more / middle['by hand']:.2f} | <= {wanted} |")


@click.command()
@click.argument("network", default="VGG16")
@click.option("--batch", multiple=True, type=int, default=(1, 8), show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--seeds", type=int, help="Instead: the cost of each further target.")
@click.option("--method", multiple=True, help="Instead: these methods, by default.")
def main(
    network: str,
    batch: tuple[int, ...],
    rounds: int,
    seeds: int | None,
    method: tuple[str, ...],
) -> None:
    """Print a table for a network of keras.applications with random weights."""
    build = getattr(keras.applications, network)
    model = build(weights=None, classifier_activation=None)
    slope = gradient(model)
    if seeds is not None:
        return further(network, model, slope, seeds, rounds)
    cases: dict = {n: ({}, 1.15) for n in method} or CASES
    made = {n: maps(model, n, options) for n, (options, _) in cases.items()}
    print("| network | batch | analyzer | median | x gradient | wanted | first call |")
    print("|---|---|---|---|---|---|---|")
    for size in batch:
        x = tf.random.stateless_uniform((size, *model.input_shape[1:]), (1, 2), -1, 1)
        seconds = measure(turns(slope, made, x), rounds)
        base = statistics.median(seconds.pop("by hand"))
        print(
            f"| {network} | {size} | gradient by hand | {base * 1e3:.0f} ms | 1 | | |"
        )
        for name, times in seconds.items():
            middle = statistics.median(times)
            print(
                f"| {network} | {size} | {name} | {middle * 1e3:.0f} ms "
                f"| {middle / base:.2f} | <= {cases[name][1]} | {made[name][1]:.1f} s |"
            )


if __name__ == "__main__":
    main()
