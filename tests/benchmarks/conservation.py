"""Do the networks of keras.applications build, agree with themselves, and conserve?

    python -m tests.benchmarks.conservation                     # all of them
    python -m tests.benchmarks.conservation ResNet50 VGG16

Weights are random, variances those of the picture, and biases, shifts and means zero:
nothing but a stabiliser can absorb relevance. For each preset |seed - sum of relevance|
/ |seed|; lrp.epsilon_plus promises to conserve behind ReLUs alone, since what has no
positive contribution has nobody to hand its relevance to. A network runs in a process
of its own. No download.
"""

import os
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai

#: Presets that conserve where no bias absorbs: all inputs to all outputs are shared.
PRESETS = ("lrp.epsilon", "lrp.epsilon_plus", "lrp.epsilon_gamma_box", "lrp.attn")
NETWORKS = [
    n for n in sorted(dir(keras.applications)) if n[0].isupper()
]  # its classes are functions with a capital letter


def build(name: str) -> tuple[keras.Model, np.ndarray, tuple[float, float]]:
    """The network without any shift, a picture for it, and the picture's bounds."""
    model = getattr(keras.applications, name)(weights=None, classifier_activation=None)
    layers = layers_of(model)
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    front = (keras.layers.Normalization, keras.layers.Rescaling)
    raw = any(isinstance(v, front) for v in layers)
    bounds = (0, 255) if raw else (-1, 1)
    shape = [n or 224 for n in model.input_shape[1:]]
    x = np.random.default_rng(1).uniform(*bounds, (1, *shape)).astype("float32")
    if not any(isinstance(v, keras.layers.BatchNormalization) for v in layers):
        for v in model.weights:  # else the signal fades on its way
            if "kernel" in v.name and "depthwise" not in v.path:
                v.assign(keras.initializers.HeNormal(0)(v.shape))
    model(x, training=True)  # BatchNormalization takes the picture's own variances
    for v in model.weights:
        if any(k in v.name for k in ("bias", "beta", "mean")):
            v.assign(np.zeros(v.shape))
    for layer in layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = layer.mean * 0, layer.variance * 0 + 1
        if isinstance(layer, keras.layers.Rescaling):
            layer.offset = 0.0
    return model, x, bounds


def layers_of(model: keras.Model) -> list:
    """Every layer, of nested models too."""
    inner = [layers_of(v) for v in model.layers if hasattr(v, "layers")]
    return [*model.layers, *[v for part in inner for v in part]]


def far(a: np.ndarray, b: np.ndarray) -> float:
    """max |a - b| / max |b|."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def report(name: str) -> str:
    """One row of the table."""
    model, x, (low, high) = build(name)
    cells, steps, forward, first = [], 0, 0.0, 0.0
    for preset in PRESETS:
        start = time.perf_counter()
        bounds = {"low": low, "high": high} if preset.endswith("box") else {}
        analyzer = tfxai.create_analyzer(preset, model, **bounds)
        e = analyzer.analyze(x)
        first = first or time.perf_counter() - start
        residual = abs(e.score[0] - e.relevance.sum(dtype="float64")) / abs(e.score[0])
        cells.append(f"{residual:.0e}")
        steps = len(analyzer.coverage())
    answer = np.asarray(model(x, training=False))
    forward = far(tfxai.wrap(model).logits(x), answer)
    return (
        f"| {name} | {model.count_params() / 1e6:.0f} | {x.shape[1]} | {steps} "
        f"| {forward:.0e} | {' | '.join(cells)} | {first:.0f} s |"
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
