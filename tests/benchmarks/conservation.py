"""Check construction, outputs and conservation on the keras.applications networks.

    python -m tests.benchmarks.conservation                     # all of them
    python -m tests.benchmarks.conservation ResNet50 VGG16

Weights are random, variances are those of the image, and biases, shifts and means are
zero, so that only a stabiliser can absorb relevance. The table lists |seed - sum of
relevance| / |seed| for each preset. lrp.epsilon_plus conserves only behind ReLUs, since
an output without positive contributions has no input that could receive its relevance.
Each network runs in a separate process. No download.
"""

import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import tensorflow as tf

import tfxai
from tests.relevance.programs import program_of

#: Presets that conserve relevance if no bias absorbs any.
PRESETS = ("lrp.epsilon", "lrp.epsilon_plus", "lrp.epsilon_gamma_box", "lrp.attn")
NETWORKS = [
    n for n in sorted(dir(keras.applications)) if n[0].isupper()
]  # its classes are functions with a capital letter


def build(
    name: str, side: int | None = None
) -> tuple[keras.Model, np.ndarray, tuple[float, float]]:
    """Return the network without shifts, an image for it, and the image's bounds.

    side: that of the image; None is the network's default.
    """
    keras.utils.set_random_seed(0)
    shape = {} if side is None else {"input_shape": (side, side, 3)}
    constructor = getattr(keras.applications, name)
    model = constructor(weights=None, classifier_activation=None, **shape)
    layers = layers_of(model)
    front = (keras.layers.Normalization, keras.layers.Rescaling)
    raw = any(isinstance(v, front) for v in layers)
    bounds = (0, 255) if raw else (-1, 1)
    shape = [n or 224 for n in model.input_shape[1:]]
    x = np.random.default_rng(1).uniform(*bounds, (1, *shape)).astype("float32")
    for v in model.weights:
        if "kernel" in v.name:  # keeps the scale of the activations
            v.assign(keras.initializers.HeNormal(0)(v.shape))
        elif any(k in v.name for k in ("bias", "beta", "mean")):
            v.assign(np.zeros(v.shape))
    for layer in layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = layer.mean * 0, layer.variance * 0 + 1
        if isinstance(layer, keras.layers.Rescaling):
            layer.offset = 0.0
    calibrate(model, x)
    return model, x, bounds


def calibrate(model: keras.Model, x: np.ndarray) -> None:
    """Set each BatchNormalization's variance to the second moment of its input."""
    program = program_of(model, batch_norm="rule")
    values = {program.inputs[0]: tf.constant(x)}
    for step in program.steps:
        read = [values[i] for i in step.inputs]
        if step.layer == "BatchNormalization":
            moment = tf.reduce_mean(read[0] ** 2, list(range(len(read[0].shape) - 1)))
            model.get_layer(step.name).moving_variance.assign(moment)
        values[step.output] = step.run(read)


def layers_of(model: keras.Model) -> list:
    """Return all layers, including those of nested models."""
    inner = [layers_of(v) for v in model.layers if hasattr(v, "layers")]
    return [*model.layers, *[v for part in inner for v in part]]


def far(a: np.ndarray, b: np.ndarray) -> float:
    """max |a - b| / max |b|."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def measure(
    name: str, presets: tuple[str, ...] = PRESETS, side: int | None = None
) -> dict:
    """Return the size of a network, its forward error and its residuals."""
    model, x, (low, high) = build(name, side)
    start = time.perf_counter()
    wrapped = tfxai.wrap(model)
    residuals, steps, seconds = {}, 0, 0.0
    for preset in presets:
        bounds = {"low": low, "high": high} if preset.endswith("box") else {}
        analyzer = tfxai.create_analyzer(preset, wrapped, **bounds)
        e = analyzer.analyze(x)
        seconds = seconds or time.perf_counter() - start
        total = e.relevance.sum(dtype="float64")
        residuals[preset] = float(abs(e.score[0] - total) / abs(e.score[0]))
        steps = len(analyzer.coverage())
    forward = far(wrapped.logits(x), np.asarray(model(x, training=False)))
    return {
        "millions": model.count_params() / 1e6, "side": x.shape[1], "steps": steps,
        "forward": forward, "residuals": residuals, "seconds": seconds,
    }  # fmt: skip


def report(name: str) -> str:
    """Return one row of the table."""
    m = measure(name)
    cells = " | ".join(f"{r:.0e}" for r in m["residuals"].values())
    return (
        f"| {name} | {m['millions']:.0f} | {m['side']} | {m['steps']} "
        f"| {m['forward']:.0e} | {cells} | {m['seconds']:.0f} s |"
    )


@click.command()
@click.argument("networks", nargs=-1)
@click.option("--here", is_flag=True, help="In this process (for one network).")
def main(networks: tuple[str, ...], here: bool) -> None:
    """Print a table."""
    if here:
        print(report(networks[0]))
        return
    print("| network | parameters, M | side | steps | forward | "
          + " | ".join(PRESETS) + " | build + first map |")  # fmt: skip
    print("|" + "---|" * (6 + len(PRESETS)))
    for name in networks or NETWORKS:
        command = [sys.executable, "-m", "tests.benchmarks.conservation", name]
        done = subprocess.run([*command, "--here"], capture_output=True, text=True)
        rows = [s for s in done.stdout.splitlines() if s.startswith("|")]
        last = (done.stderr.strip().splitlines() or ["?"])[-1]
        print(rows[0] if rows else f"| {name} | {last[:150]} |", flush=True)


if __name__ == "__main__":
    main()
