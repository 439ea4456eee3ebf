"""Feature visualisation: one run with the defaults against ten random restarts.

    python -m tests.benchmarks.visualization [--shared ../shared] [--write]
    python -m tests.benchmarks.visualization --picture notebooks/visualization.png

For two trained networks, classes and channels of an inner layer, and both methods: the
activation that `tfxai.visualize` reaches with its defaults, in units of the best of ten
starts that all run to the end (`starts=10, kept=10`, another seed). `--write` writes
docs/tables/visualization.md. `--picture` draws classes of MobileNet by both methods.
"""

import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
from PIL import Image

import tfxai
from tests.benchmarks.measured import when_and_where
from tfxai.io.tables import markdown

TABLE = Path(__file__).resolve().parents[2] / "docs/tables/visualization.md"
#: network -> (low, high, {layer: targets}).
NETWORKS = {
    "cifar10_cnn": (0, 1, {None: [0, 3, 5], 2: [1, 7]}),
    "mobilenet_v1_025_128": (-1, 1, {None: [340, 1], "conv_pw_11": [3, 20]}),
}
HEAD = ["network", "at", "method", "targets", "mean", "smallest", "s", "s of ten"]


def ratios(model, targets: list, at, method: str, low: float, high: float, **options):
    """Return default / best of ten for each target, and the seconds of both."""
    spent, found = [], []
    for more in ({}, {"starts": 10, "kept": 10, "seed": 1}):
        start = time.perf_counter()
        v = tfxai.visualize(
            model, targets, at, method, low=low, high=high, progress=False,
            **options, **more,
        )  # fmt: skip
        spent.append(time.perf_counter() - start)
        found.append(v.activation)
    return found[0] / found[1], spent


def draw(shared: Path, picture: Path) -> None:
    """Write the picture of docs/concepts.md."""
    model = keras.models.load_model(shared / "models/mobilenet_v1_025_128.keras")
    wrapped = tfxai.wrap(model)
    classes = {340: "zebra", 1: "goldfish", 980: "volcano"}
    found = [
        tfxai.visualize(wrapped, list(classes), method=method, low=-1, high=1)
        for method in ("fourier", "maco")
    ]
    rows = [list((v.images + 1) / 2) for v in found]
    figure = tfxai.plot.grid(rows, ["fourier", "maco"], list(classes.values()))
    figure.savefig(picture, dpi=60)
    with Image.open(picture) as image:
        few = image.convert("RGB").quantize(128)
    few.save(picture, optimize=True)


@click.command()
@click.option("--shared", default="../shared", type=Path)
@click.option("--write", is_flag=True)
@click.option("--picture", type=Path)
def main(shared: Path, write: bool, picture: Path | None) -> None:
    """Print, or write, the table of docs/tables/visualization.md."""
    if picture is not None:
        draw(shared, picture)
        return
    rows = []
    for name, (low, high, layers) in NETWORKS.items():
        model = keras.models.load_model(shared / f"models/{name}.keras")
        wrapped = tfxai.wrap(model)
        for at, targets in layers.items():
            layer = model.layers[at].name if isinstance(at, int) else at or "output"
            for method in ("fourier", "maco"):
                ratio, spent = ratios(wrapped, targets, at, method, low, high)
                rows.append(
                    [
                        name, layer, method, str(len(targets)),
                        f"{100 * np.mean(ratio):.0f} %", f"{100 * ratio.min():.0f} %",
                        *(f"{s:.0f}" for s in spent),
                    ]
                )  # fmt: skip
                print(*rows[-1], flush=True)
    text = markdown(HEAD, rows, 3)
    if write:
        TABLE.write_text(
            "# Feature visualisation: one run against ten restarts\n\nMade by "
            "`python -m tests.benchmarks.visualization --shared FOLDER --write`.\n"
            f"{when_and_where()}\n"
            f"Description: [concepts.md](../concepts.md).\n\n{text}\n",
            "utf-8",
        )
    else:
        print(text)


if __name__ == "__main__":
    main()
