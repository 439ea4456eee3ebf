"""Every analyzer x every measure, on the trained networks and their pictures.

    python -m tests.benchmarks.measures table NET [--pictures 4] [--csv FILE] [NAME ...]
    python -m tests.benchmarks.measures keys NET [--pictures 8] [--csv FILE] [NAME ...]
    python -m tests.benchmarks.measures cost [NET ...]

`table`: the means over pictures whose object is the network's first guess, and how like
the map of the network with random weights is (rank correlation, SSIM). `random` and
`edges` know nothing of the network. `keys`: the key sizes, before every background.
`cost`: deletion and insertion of 32 pictures in 100 steps, against the compiled forward
passes that they need, in turns.
"""

import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.benchmarks.pointing import TOLD
from tests.benchmarks.two_classes import NETWORKS
from tfxai.metrics.keys import key_sizes
from tfxai.metrics.measure import measure, measures
from tfxai.nothing import KNOW_NOTHING
from tfxai.pictures import read

CIFAR = "cifar10_cnn"
SMALL = {"mobilenet_v1_025_128": (128, lambda x: x / 127.5 - 1.0, (-1.0, 1.0))}
#: What is taken of the methods that sample or learn, to end within a day.
FEWER = {
    "kernel_shap": {"n_samples": 300}, "lime": {"n_samples": 300},
    "shapley_sampling": {"n_samples": 300}, "rise": {"n_samples": 500},
    "leg": {"n_samples": 200}, "leg_tv": {"n_samples": 200},
    "perturbation_cnn": {"steps": 100, "restarts": 0},
    "meaningful_perturbation": {"steps": 60}, "extremal_perturbation": {"steps": 80},
}  # fmt: skip
KEYS = ("gradient", "input_t_gradient", "lrp.epsilon", "sglrp", "gradcam", "lime")
KEYS += ("leg", "random", "edges")
#: Explaining again costs most of the time.
QUICK = {"max_sensitivity": {"samples": 2}}


@click.group()
def main() -> None:
    """Is the explanation true, by every measure?"""


def network(name: str, shared: Path, count: int) -> tuple:
    """The wrapped network, pictures, their boxes, and the range of its input."""
    if name == CIFAR:
        return cifar(shared, count)
    side, preprocess, reach = {**NETWORKS, **SMALL}[name]
    model = keras.models.load_model(shared / f"models/{name}.keras")
    known = json.loads((shared / "images/boxes.json").read_text())
    right = [n for n, objects in sorted(known.items()) if not objects[0]["rank"][name]]
    chosen = right[:: max(1, len(right) // count)][:count]
    x = np.stack([read(shared / "images" / n, (side, side)) for n in chosen])
    boxes = [known[n][0]["boxes"] for n in chosen]
    return tfxai.wrap(model, preprocess), x.astype("float32"), boxes, reach


def cifar(shared: Path, count: int) -> tuple:
    """As `network`: the first pictures that the network is right about, unboxed."""
    logits = keras.models.load_model(shared / f"models/{CIFAR}.keras")
    model = keras.Model(logits.inputs, keras.layers.Softmax()(logits.outputs[0]))
    wrapped = tfxai.wrap(model, lambda x: x / 255.0)
    known = np.load(shared / "images/cifar10.npz")
    x = known["images"].astype("float32")
    right = wrapped.logits(x).argmax(-1) == known["labels"]
    return wrapped, x[right][:count], None, (0.0, 1.0)


def methods(names: tuple, x: np.ndarray, reach: tuple) -> dict:
    """label -> (name, options), for `tfxai.compare`."""
    known = {r.name: r.options for r in tfxai.analyzers()}
    made = {}
    for name in names or (*known, *KNOW_NOTHING):
        options = {**TOLD.get(name, {}), **FEWER.get(name, {})}
        if "segmenter" in known.get(name, ()) and x.shape[1] < 64:
            options |= {"segmenter": "grid", "segmenter_options": {"cells": 6}}
        if "low" in known.get(name, ()):
            options |= {"low": reach[0], "high": reach[1]}
        if "background" in known.get(name, ()):
            options |= {"background": x[:, ::-1].copy()}
        made[name] = (name, options)
    return made


def about(pictures: int) -> Callable:
    """The arguments and options of what measures the methods on a network."""
    asked = (
        click.argument("net"),
        click.argument("names", nargs=-1),
        click.option("--shared", default="../shared", type=Path),
        click.option("--pictures", default=pictures, show_default=True),
        click.option("--csv", "file", type=Path),
    )

    def put(command: Callable) -> Callable:
        for decorate in reversed(asked):
            command = decorate(command)
        return command

    return put


@main.command()
@about(pictures=4)
def table(net: str, names: tuple, shared: Path, pictures: int, file: Path) -> None:
    """Print the table of means."""
    warnings.simplefilter("ignore")
    wrapped, x, boxes, reach = network(net, shared, pictures)
    c = tfxai.compare(
        wrapped, x, methods=methods(names, x, reach),
        metrics={m.name: (m.name, QUICK.get(m.name, {})) for m in measures()},
        boxes=boxes, randomise=len(x),
    )  # fmt: skip
    if file is not None:
        c.csv(file)
    heads = [*c.heads(), "random weights: rank ↓", "SSIM ↓"]
    print(f"| {' | '.join(heads)} |\n|---{'|--:' * (len(heads) - 1)}|")
    for row in c.rows():
        cells = ["-" if row[n] is None else f"{row[n]:.2g}" for n in c.measures]
        again = c.forgotten.get(row["method"])
        cells += ["-", "-"] if again is None else [
            f"{v[-1].mean():.2f}" for v in (again.rank_correlation, again.ssim)
        ]  # fmt: skip
        print(f"| `{row['method']}` | {' | '.join(cells)} |")
    for what, why in c.refused.items():
        print(f"{what}: {why}")


@main.command()
@about(pictures=8)
def keys(net: str, names: tuple, shared: Path, pictures: int, file: Path) -> None:
    """Print the key sizes of every method before every background."""
    warnings.simplefilter("ignore")
    wrapped, x, _, reach = network(net, shared, pictures)
    asked = methods(names or KEYS, x, reach)
    c = tfxai.compare(wrapped, x, methods=asked, metrics=["sparseness"])
    made = key_sizes(wrapped, c.explanations)
    if file is not None:
        made.csv(file)
    print(made.markdown())


@main.command()
@click.argument("nets", nargs=-1)
@click.option("--shared", default="../shared", type=Path)
@click.option("--pictures", default=32)
@click.option("--rounds", default=3)
def cost(nets: tuple, shared: Path, pictures: int, rounds: int) -> None:
    """Deletion and insertion against the forward passes that they need."""
    print("| network | forward, s | deletion | insertion |\n|---|--:|--:|--:|")
    for net in nets or ("squeezenet_v1_0", "mobilenet_v2"):
        wrapped, x, *_ = network(net, shared, pictures)
        x = np.resize(x, (pictures, *x.shape[1:]))
        e = tfxai.explain(wrapped, x, "gradient")
        spent: dict = {"forward": [], "deletion": [], "insertion": []}
        wrapped.probabilities(x)
        for _ in range(rounds):
            for name, times in spent.items():
                begin = time.perf_counter()
                if name == "forward":
                    for _ in range(101):
                        wrapped.probabilities(x)
                else:
                    measure(name, wrapped, e)
                times.append(time.perf_counter() - begin)
        raw, *others = (statistics.median(v) for v in spent.values())
        print(f"| {net} | {raw:.1f} | {' | '.join(f'{v / raw:.2f}' for v in others)} |")


if __name__ == "__main__":
    main()
