"""The perturbation CNN: the time of an iteration, and its success on real images.

    python -m tests.benchmarks.perturbation cost [--shared ../shared]
    python -m tests.benchmarks.perturbation study [--every 2] [NET ...]
    python -m tests.benchmarks.perturbation image notebooks/perturbation.png

`cost`: an iteration in units of a forward pass and the gradient of the input, at the
same batch, measured alternately; and a batch of 8 in units of one image.

`study`: for every second image whose object is the network's top class, the published
settings and the defaults: the share whose score falls to a tenth, the mean |x - x'|,
and the share whose centre of mass lies in the object's box.
"""

import json
import os
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import tensorflow as tf

import tfxai
from tests.benchmarks.two_classes import NETWORKS
from tfxai.io.images import read
from tfxai.perturbation import generator
from tfxai.perturbation.descent import ITERATIONS_PER_CALL, Descent
from tfxai.perturbation.optimisation import Objective

PUBLISHED = {
    "start": "random", "normalise": "standard", "learning_rate": 0.01, "l1": 4.0,
    "tolerance": 0.0, "restarts": 0,
}  # fmt: skip
SETTINGS = {"published": PUBLISHED, "defaults": {}}


@click.group()
def main() -> None:
    """Measure the time of an iteration, or the success on images."""


def network(name: str, shared: Path) -> tuple:
    if name == "vgg19":
        return keras.applications.VGG19(weights=None), None
    preprocess = NETWORKS[name][1]
    return keras.models.load_model(shared / f"models/{name}.keras"), preprocess


def timed(run, times: int) -> list[float]:
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        spent.append(time.perf_counter() - start)
    return spent


@main.command()
@click.argument("names", nargs=-1)
@click.option("--shared", default="../shared", type=Path)
@click.option("--batch", "batches", multiple=True, type=int, default=[1, 8])
@click.option("--rounds", default=5)
def cost(names: tuple, shared: Path, batches: tuple, rounds: int) -> None:
    """Compare an iteration with forward pass and gradient."""
    print("| network | batch | gradient, ms | iteration / gradient | ms per image |")
    print("|---|--:|--:|--:|--:|")
    for name in names or ("squeezenet_v1_0", "mobilenet_v2", "vgg19"):
        model, preprocess = network(name, shared)
        wrapped = tfxai.wrap(model, preprocess)
        side = model.input_shape[1]
        for batch in batches:
            rng = np.random.default_rng(0)
            x = rng.uniform(0, 255, (batch, side, side, 3)).astype("float32")
            one = generator.shared(3, [3, 3, 3], 3, "identity")
            cnn = generator.convolutional(one, "range", 0.3, None)
            count = ITERATIONS_PER_CALL
            objective = Objective(wrapped, cnn, tf.nn.softmax, None, count)
            descent = Descent(objective.loss, list, count, 1e-3, 0.0)
            start = [np.stack([p] * batch) for p in one[0](rng, 0)]
            data = [tf.constant(x), tf.zeros((batch, 1), tf.int32)]

            def iterations(descent=descent, start=start, data=data):
                descent(start, data, lambda *_: None)

            gradients = gradient(wrapped, x)
            iterations(), gradients()
            pairs = [
                (timed(gradients, count), timed(iterations, 1)) for _ in range(rounds)
            ]
            plain = np.median([t for p in pairs for t in p[0]])
            ours = np.median([p[1][0] / count for p in pairs])
            print(
                f"| {name} | {batch} | {1e3 * plain:.0f} | {ours / plain:.2f} "
                f"| {1e3 * ours / batch:.0f} |",
                flush=True,
            )


def gradient(wrapped, x: np.ndarray):
    """Return a compiled forward pass and gradient of the first class's probability."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(x.shape, tf.float32)])
    def compiled(v):
        with tf.GradientTape() as tape:
            tape.watch(v)
            y = tf.nn.softmax(wrapped.outputs_of(wrapped.prepared([v])))[:, 0]
        return tape.gradient(y, v)

    v = tf.constant(x)
    return lambda: compiled(v).numpy()


@main.command()
@click.argument("names", nargs=-1)
@click.option("--shared", default="../shared", type=Path)
@click.option("--every", default=2)
@click.option("--iterations", default=300)
def study(names: tuple, shared: Path, every: int, iterations: int) -> None:
    """Compare the published settings with the defaults."""
    boxes = json.loads((shared / "images/boxes.json").read_text())
    print("| network | settings | images | to a tenth | mean L1 | centre in the box |")
    print("|---|---|--:|--:|--:|--:|")
    for name in names or ("mobilenet_v2", "squeezenet_v1_0"):
        model, preprocess = network(name, shared)
        side = model.input_shape[1]
        first = {
            n: o[0]["boxes"] for n, o in sorted(boxes.items()) if not o[0]["rank"][name]
        }
        chosen = list(first)[::every]
        x = np.stack([read(shared / "images" / n, (side, side)) for n in chosen])
        for title, options in SETTINGS.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", tfxai.errors.TfxaiWarning)
                e = tfxai.explain(
                    model, x, "perturbation_cnn", None, preprocess, 8,
                    n_iterations=iterations, **options,
                )  # fmt: skip
            fell = e.extra["score_after"] <= e.extra["score_before"] / 10
            at = e.extra["center_of_mass"] / side
            inside = [
                any(t <= r <= b and lo <= c <= hi for t, lo, b, hi in first[n])
                for n, (r, c) in zip(chosen, at, strict=True)
            ]
            print(
                f"| {name} | {title} | {len(x)} | {fell.mean():.0%} "
                f"| {e.extra['l1'].mean():.1f} | {np.mean(inside):.0%} |",
                flush=True,
            )


#: The rows of the figure: (title, method, iterations).
ROWS = (
    ("CNN", "perturbation_cnn", 200),
    ("meaningful", "meaningful_perturbation", 150),
    ("extremal", "extremal_perturbation", 400),
)


@main.command()
@click.argument("out", type=Path)
@click.option("--shared", default="../shared", type=Path)
def image(out: Path, shared: Path) -> None:
    """Draw the figure of docs/perturbation.md: three methods, a cat, MobileNetV2."""
    model, preprocess = network("mobilenet_v2", shared)
    x = read(shared / "images/deepexp_cat.jpg", (224, 224))[None]
    rows = []
    for _, method, iterations in ROWS:
        e = tfxai.explain(model, x, method, None, preprocess, n_iterations=iterations)
        overlay = tfxai.plot.overlay(x[0], e.heatmap()[0])
        rows.append([x[0] / 255, e.extra["perturbed"][0] / 255, overlay])
        print(method, e.extra["score_before"], e.extra["score_after"])
    columns = ("image", "perturbed", "heatmap")
    figure = tfxai.plot.grid(rows, [r[0] for r in ROWS], columns)
    figure.savefig(out, dpi=80)


if __name__ == "__main__":
    main()
