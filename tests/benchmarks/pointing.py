"""The pointing game for every method, on the demo's scenes and on photographs.

    python -m tests.benchmarks.pointing [--shared ../shared] [--scenes 64] [NAMES ...]

For both digits of every scene, and both animals of every photograph (SqueezeNet): the
share of positive relevance in the right box, and how often the maximum lies in it. A
method with the option `low` gets the range of the network's input.
"""

import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.benchmarks.two_classes import NETWORKS, mask, pictures
from tfxai.demo import network, scenes
from tfxai.demo.evaluation import hit, share
from tfxai.demo.scenes import inside

#: Required options of some methods, and options that make methods comparable.
OPTIONS = {
    "lrp.rule_until_index": {"until_layer_idx": 2},
    "smoothgrad": {"base_method": "input_t_gradient"},
    "squaregrad": {"base_method": "input_t_gradient"},
    "vargrad": {"base_method": "input_t_gradient"},
}
NETWORK = "squeezenet_v1_0"


def maps(name, model, x, targets, low, high, background, preprocess=None) -> tuple:
    """Return the heatmaps (B, 2, H, W) of a method, and its seconds."""
    known = {r.name: r.options for r in tfxai.methods()}[name]
    options = dict(OPTIONS.get(name, {}))
    if "low" in known:
        options |= {"low": low, "high": high}
    if "background" in known:
        options |= {"background": background}
    start = time.perf_counter()
    e = tfxai.explain(model, x, name, targets, preprocess, **options)
    return e.heatmap(), time.perf_counter() - start


def measured(found: np.ndarray, masks: np.ndarray) -> str:
    """Return the mean share and the mean of the hits, as two cells."""
    return f"{np.nanmean(share(found, masks)):.0%} | {hit(found, masks).mean():.0%}"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--shared", default="../shared", type=Path)
@click.option("--scenes", "count", default=64)
def main(names: tuple, shared: Path, count: int) -> None:
    """Print the table; the first line is for uniform relevance."""
    model, s = network(), scenes(count)
    boxes = inside(s.boxes, s.images.shape[1:3])
    side, preprocess, (low, high) = NETWORKS[NETWORK]
    real = keras.models.load_model(shared / "models" / f"{NETWORK}.keras")
    x, classes, found = pictures(shared / "images", side)
    masks = np.array([[mask(b, side) for b in pair] for pair in found])
    print("| analyzer | scenes: share | hit | pictures: share | hit | seconds |")
    print("|---|---|---|---|---|---|")
    chance = [f"{m.mean():.0%} | {m.mean():.0%}" for m in (boxes, masks)]
    print(f"| chance | {chance[0]} | {chance[1]} | |")
    for name in names or [r.name for r in tfxai.methods()]:
        one, _ = maps(name, model, s.images, s.labels, 0, 1, scenes(50, seed=9).images)
        two, seconds = maps(
            name, real, x, classes, low, high, x[:, ::-1].copy(), preprocess
        )
        cells = f"{measured(one, boxes)} | {measured(two, masks)}"
        print(f"| `{name}` | {cells} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
