"""Every method and every metric on trained networks and their images.

    python -m tests.benchmarks.metrics table NET [--pictures 4] [--csv FILE] [NAME ...]
    python -m tests.benchmarks.metrics keys NET [--pictures 8] [--csv FILE] [NAME ...]
    python -m tests.benchmarks.metrics forget NET [--pictures 4] [--stages 6] [NAME..]
    python -m tests.benchmarks.metrics cost [NET ...]

`table`: the means over images whose object is the network's top class, the similarity
to the heatmap of the network with random weights (rank correlation, SSIM), and the
ranks of the control explanations `random` and `edges` by the faithfulness metrics. It
takes hours on a large network: with `--csv` it can be interrupted and resumed, because
rows of this network and number of images in the file are not computed again. `keys`:
the key sizes for every baseline. `forget`: the signed similarity of the heatmaps while
the weights are randomised, layer after layer from the top. `cost`: deletion and
insertion of 32 images in 100 steps, against the compiled forward passes that they need,
alternating.
"""

import csv
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.benchmarks.pointing import OPTIONS
from tests.benchmarks.two_classes import NETWORKS
from tfxai.core.control_maps import CONTROLS
from tfxai.io.images import read
from tfxai.io.tables import markdown, write_csv
from tfxai.metrics.comparison import Comparison
from tfxai.metrics.key_size import key_sizes
from tfxai.metrics.randomisation import randomisation
from tfxai.metrics.registry import compute, lookup, metrics
from tfxai.viz.report import ARROWS

CIFAR = "cifar10_cnn"
SMALL = {"mobilenet_v1_025_128": (128, lambda x: x / 127.5 - 1.0, (-1.0, 1.0))}
#: Options of the methods that sample or optimise, so that a run ends within a day.
FEWER = {
    "kernel_shap": {"n_samples": 300}, "lime": {"n_samples": 300},
    "shapley_sampling": {"n_samples": 300}, "rise": {"n_samples": 500},
    "leg": {"n_samples": 200}, "leg_tv": {"n_samples": 200},
    "perturbation_cnn": {"n_iterations": 100, "restarts": 0},
    "meaningful_perturbation": {"n_iterations": 60},
    "extremal_perturbation": {"n_iterations": 80},
}  # fmt: skip
KEYS = ("gradient", "input_t_gradient", "lrp.epsilon", "sglrp", "gradcam", "lime")
KEYS += ("leg", "random", "edges")
FORGETFUL = ("gradient", "guided_backprop", "deconvnet", "lrp.epsilon", "lrp.z_plus")
FORGETFUL += ("lrp.w_square", "sglrp")
#: Options of metrics that explain again, which takes most of the time.
QUICK = {"max_sensitivity": {"n_samples": 2}}
#: The metrics of faithfulness.
FAITHFULNESS = ("aic", "deletion", "faithfulness_correlation", "infidelity")
FAITHFULNESS += ("insertion", "key_size", "mufidelity", "pixel_flipping")
FAITHFULNESS += ("region_perturbation", "road", "sic")
#: Columns of `table` after the metrics: similarity after randomising all weights.
AGAIN = ("random weights: rank correlation", "random weights: SSIM")
KEY = ("network", "pictures", "method")
GROUP = 8  # methods between two writes of the file

Row = dict[str, str]


@click.group()
def main() -> None:
    """Evaluate every method by every metric."""


def network(name: str, shared: Path, count: int) -> tuple:
    """Return the wrapped network, images, their boxes, and the range of its input."""
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
    """As `network`: the first images with a correct top class, without boxes."""
    logits = keras.models.load_model(shared / f"models/{CIFAR}.keras")
    model = keras.Model(logits.inputs, keras.layers.Softmax()(logits.outputs[0]))
    wrapped = tfxai.wrap(model, lambda x: x / 255.0)
    known = np.load(shared / "images/cifar10.npz")
    x = known["images"].astype("float32")
    right = wrapped.logits(x).argmax(-1) == known["labels"]
    return wrapped, x[right][:count], None, (0.0, 1.0)


def methods(names: tuple, x: np.ndarray, reach: tuple) -> dict:
    """label -> (name, options), for `tfxai.compare`."""
    known = {r.name: r.options for r in tfxai.methods()}
    result = {}
    for name in names or (*known, *CONTROLS):
        options = {**OPTIONS.get(name, {}), **FEWER.get(name, {})}
        if "segmenter" in known.get(name, ()) and x.shape[1] < 64:
            options |= {"segmenter": "grid", "segmenter_options": {"cells": 6}}
        if "low" in known.get(name, ()):
            options |= {"low": reach[0], "high": reach[1]}
        if "background" in known.get(name, ()):
            options |= {"background": x[:, ::-1].copy()}
        result[name] = (name, options)
    return result


def about(pictures: int) -> Callable:
    """Return a decorator with the arguments and options of a command on a network."""
    decorators = (
        click.argument("net"),
        click.argument("names", nargs=-1),
        click.option("--shared", default="../shared", type=Path),
        click.option("--pictures", default=pictures, show_default=True),
        click.option("--csv", "file", type=Path),
    )

    def put(command: Callable) -> Callable:
        for decorate in reversed(decorators):
            command = decorate(command)
        return command

    return put


@main.command()
@about(pictures=4)
def table(net: str, names: tuple, shared: Path, pictures: int, file: Path) -> None:
    """Print the table of means, and the ranks of the control explanations."""
    warnings.simplefilter("ignore")
    wrapped, x, boxes, reach = network(net, shared, pictures)
    chosen, rows = methods(names, x, reach), kept(file)
    key = {"network": net, "pictures": str(len(x))}
    found = {r["method"]: r for r in rows if key.items() <= r.items()}
    left = [name for name in chosen if name not in found]
    for i in range(0, len(left), GROUP):
        group = left[i : i + GROUP]
        c = tfxai.compare(
            wrapped, x, methods={name: chosen[name] for name in group},
            metrics={m.name: (m.name, QUICK.get(m.name, {})) for m in metrics()},
            boxes=boxes, randomise=len(x),
        )  # fmt: skip
        found |= {name: {**key, "method": name, **cells(c, name)} for name in group}
        rows += [found[name] for name in group]
        if file is not None:
            write_csv(file, list(rows[0]), [[r[n] for n in rows[0]] for r in rows])
    print(shown([found[name] for name in chosen]))


def kept(file: Path | None) -> list[Row]:
    """Return the rows of an earlier run."""
    if file is None or not file.exists():
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def cells(c: Comparison, name: str) -> Row:
    """Return a method's mean by every metric, as a number or an error message."""
    result: dict[str, Any] = {n: c.mean(name, n) for n in c.metrics}
    result |= dict.fromkeys(AGAIN)
    again = c.randomised.get(name)
    if again is not None:
        likeness = again.rank_correlation, again.ssim
        result |= {n: v[-1].mean() for n, v in zip(AGAIN, likeness, strict=True)}
    why = c.errors.get(name) or c.errors.get((name, "randomisation"), "not measured")
    return {
        n: c.errors.get((name, n), why) if v is None else repr(float(v))
        for n, v in result.items()
    }


def number(cell: str) -> float | None:
    """A cell's number; None where it holds a reason, or "nan"."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def shown(rows: list[Row]) -> str:
    """Return the ranks, the table of numbers, and the error messages."""
    refused: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for n, cell in row.items():
            if n not in KEY and number(cell) is None:
                refused.setdefault((n, cell), []).append(row["method"])
    names = [n for n in rows[0] if any(number(r[n]) is not None for r in rows)]
    names = [n for n in names if n not in KEY]
    arrows = ["↓" if n in AGAIN else ARROWS[lookup(n).better] for n in names]
    heads = [f"{n} {arrow}" for n, arrow in zip(names, arrows, strict=True)]
    lines = [[f"`{r['method']}`", *(brief(r[n]) for n in names)] for r in rows]
    ranks = [
        [f"`{name}`", *(place(rows, name, n) for n in FAITHFULNESS)]
        for name in CONTROLS
        if any(r["method"] == name for r in rows)
    ]
    parts = [markdown(["place", *FAITHFULNESS], ranks)] if ranks else []
    reasons = [
        f"{n}: {why} ({'all' if len(who) == len(rows) else ', '.join(who)})"
        for (n, why), who in refused.items()
    ]
    return "\n\n".join([*parts, markdown(["method", *heads], lines), *reasons])


def brief(cell: str) -> str:
    """Two digits of a cell's number."""
    value = number(cell)
    return "-" if value is None else f"{value:.2g}"


def place(rows: list[Row], name: str, by: str) -> str:
    """Return the rank of a method by a metric; 1 is the best, or equal to it."""
    known = {r["method"]: v for r in rows if (v := number(r[by])) is not None}
    if name not in known:
        return "-"
    sign = 1 if lookup(by).better == "higher" else -1
    return str(1 + sum(sign * v > sign * known[name] for v in known.values()))


@main.command()
@about(pictures=8)
def keys(net: str, names: tuple, shared: Path, pictures: int, file: Path) -> None:
    """Print the key sizes of every method and every baseline."""
    warnings.simplefilter("ignore")
    wrapped, x, _, reach = network(net, shared, pictures)
    chosen = methods(names or KEYS, x, reach)
    c = tfxai.compare(wrapped, x, methods=chosen, metrics=["sparseness"])
    result = key_sizes(wrapped, c.explanations)
    if file is not None:
        result.csv(file)
    print(result.markdown())


@main.command()
@about(pictures=4)
@click.option("--stages", default=6, show_default=True)
def forget(
    net: str, names: tuple, shared: Path, pictures: int, file: Path, stages: int
) -> None:
    """Print the signed rank correlation of each stage with the original heatmap."""
    warnings.simplefilter("ignore")
    wrapped, x, _, reach = network(net, shared, pictures)
    lines: list[list[str]] = []
    for name, options in methods(names or FORGETFUL, x, reach).values():
        r = randomisation(
            name, wrapped.model, x, None, wrapped.preprocess, stages=stages, **options
        )
        lines.append([f"`{name}`", *(f"{v:.2f}" for v in r.signed.mean(1))])
    heads = ["from the top to", *r.layers]
    if file is not None:
        write_csv(file, heads, lines)
    print(markdown(heads, lines))


@main.command()
@click.argument("nets", nargs=-1)
@click.option("--shared", default="../shared", type=Path)
@click.option("--pictures", default=32)
@click.option("--rounds", default=3)
def cost(nets: tuple, shared: Path, pictures: int, rounds: int) -> None:
    """Deletion and insertion against the forward passes that they need."""
    lines = []
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
                    compute(name, wrapped, e)
                times.append(time.perf_counter() - begin)
        raw, *others = (statistics.median(v) for v in spent.values())
        lines.append([net, f"{raw:.1f}", *(f"{v / raw:.2f}" for v in others)])
    print(markdown(["network", "forward, s", "deletion", "insertion"], lines))


if __name__ == "__main__":
    main()
