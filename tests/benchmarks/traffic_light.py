"""Make the image of docs/black_box.md (notebooks/traffic_light.png).

    python -m tests.benchmarks.traffic_light [--shared ../shared]

The traffic light of the LEG repository under both ImageNet networks of `shared`: LEG
and LEG-TV (lambda .1 and .3) beside LIME, Kernel SHAP, RISE and Grad-CAM, each with its
defaults (RISE and LIME with 1000 samples), of the class "traffic light".
"""

import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np

import tfxai
from tests.benchmarks.sampling import build
from tfxai.base.atomic_write import atomic_write

OUT = Path(__file__).resolve().parents[2] / "notebooks" / "traffic_light.png"
TARGET = 920
METHODS = {
    "LEG": ("leg", {}),
    "LEG-TV .1": ("leg_tv", {"lambdas": [0.1]}),
    "LEG-TV .3": ("leg_tv", {"lambdas": [0.3]}),
    "LIME": ("lime", {}),
    "Kernel SHAP": ("kernel_shap", {}),
    "RISE": ("rise", {"n_samples": 1000}),
    "Grad-CAM": ("gradcam", {}),
}
NAMES = {"squeezenet_v1_0": "SqueezeNet", "mobilenet_v2": "MobileNetV2"}


@click.command()
@click.option("--shared", default="../shared", type=Path)
def main(shared: Path) -> None:
    """Draw it, and print what each map took."""
    rows = []
    for network in NAMES:
        model, preprocess, x = build(network, shared)
        row = [x[0]]
        for name, (method, options) in METHODS.items():
            start = time.perf_counter()
            e = tfxai.explain(
                model, x, method, TARGET, preprocess=preprocess, **options
            )
            print(f"{NAMES[network]} {name}: {time.perf_counter() - start:.1f} s")
            map = e.heatmap()[0]
            if method == "rise":  # against what the answer is in the mean
                map = map - np.asarray(e.extra["mean"])[0]
            row.append(tfxai.plot.overlay(x[0], map))
        rows.append(row)
    figure = tfxai.plot.grid(rows, list(NAMES.values()), ["picture", *METHODS])
    with atomic_write(OUT) as temporary:
        figure.savefig(temporary, dpi=64)
    print(OUT)


if __name__ == "__main__":
    main()
