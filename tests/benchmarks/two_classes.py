"""Two classes in one image: the change of the heatmap with the target.

    python -m tests.benchmarks.two_classes [--shared ../shared]

For every image with two boxed classes and both ImageNet networks of `shared`: the share
of positive relevance in the right box, and the correlation of the two heatmaps. Prints
the table of docs/tables/two_classes.md.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tfxai.demo.evaluation import correlation, share
from tfxai.demo.scenes import inside

PICTURES = (*(f"sglrp_zebra_elephant{i}" for i in (1, 2, 3)), "leg_trafficlight")
METHODS = ("input_t_gradient", "lrp.epsilon", "lrp", "clrp", "sglrp")
METHODS += ("sglrp.sequential_preset_a", "sglrp.sequential_preset_b")
#: network -> (side, preprocess, the network's range)
NETWORKS = {
    "squeezenet_v1_0": (
        227,
        lambda x: x[..., ::-1] - np.array([104.0, 117.0, 123.0], np.float32),
        (np.array([-104.0, -117, -123]), np.array([151.0, 138, 132])),
    ),
    "mobilenet_v2": (224, lambda x: x / 127.5 - 1.0, (-1.0, 1.0)),
}


def pictures(folder: Path, side: int) -> tuple[np.ndarray, np.ndarray, list]:
    """Return the images (B, side, side, 3), the two classes (B, 2), and their boxes."""
    boxes = json.loads((folder / "boxes.json").read_text())
    x, classes, found = [], [], []
    for name in PICTURES:
        image = keras.utils.load_img(
            folder / f"{name}.jpg", target_size=(side, side), interpolation="bilinear"
        )
        objects = boxes[f"{name}.jpg"][:2]
        x.append(keras.utils.img_to_array(image))
        classes.append([o["index"] for o in objects])
        found.append([o["boxes"] for o in objects])
    return np.stack(x), np.array(classes), found


def mask(boxes: list, side: int) -> np.ndarray:
    """Return the mask of pixels whose centre is in a box [y0, x0, y1, x1] (0 to 1)."""
    return inside(np.array(boxes), (side, side)).any(0)


def measures(maps: np.ndarray, boxes: list) -> tuple[float, float, float]:
    """Return mean shares of relevance in the right and wrong box, and the correlation.

    maps: (B, 2, H, W), the heatmaps of both classes of each image.
    """
    masks = np.array([[mask(b, maps.shape[-1]) for b in pair] for pair in boxes])
    return (
        float(share(maps, masks).mean()),
        float(share(maps, masks[:, ::-1]).mean()),
        float(correlation(maps[:, 0], maps[:, 1]).mean()),
    )


def table(shared: Path, networks: Iterable[str] = NETWORKS) -> list[dict]:
    """Return one row per network and method."""
    rows = []
    for network in networks:
        side, preprocess, (low, high) = NETWORKS[network]
        model = keras.models.load_model(shared / "models" / f"{network}.keras")
        wrapped = tfxai.wrap(model, preprocess)
        x, classes, boxes = pictures(shared / "images", side)
        area = float(np.mean([mask(b, side).mean() for pair in boxes for b in pair]))
        rows.append({"network": network, "method": "chance (the box's area)",
                     "right": area, "wrong": area, "correlation": None})  # fmt: skip
        for method in METHODS:
            bounded = {"low": low, "high": high}
            row = {r.name: r for r in tfxai.methods()}[method]
            options = bounded if "low" in row.options else {}
            e = tfxai.explain(wrapped, x, method, classes, **options)
            right, wrong, correlation = measures(e.heatmap(), boxes)
            rows.append({"network": network, "method": method, "right": right,
                         "wrong": wrong, "correlation": correlation})  # fmt: skip
    return rows


def lines(rows: list[dict]) -> list[str]:
    """Return the table in Markdown."""
    made = ["| network | method | in the right box | in the other box | correlation |"]
    made.append("|---|---|---|---|---|")
    for r in rows:
        c = "" if r["correlation"] is None else f"{r['correlation']:+.2f}"
        shares = f"{r['right']:.0%} | {r['wrong']:.0%}"
        made.append(f"| {r['network']} | {r['method']} | {shares} | {c} |")
    return made


@click.command()
@click.option("--shared", type=Path, default=Path("../shared"), show_default=True)
def main(shared: Path) -> None:
    """Print the table as Markdown."""
    print("\n".join(lines(table(shared))))


if __name__ == "__main__":
    main()
