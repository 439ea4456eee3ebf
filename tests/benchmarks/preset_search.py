"""The search of a preset: ROAD on held-out images against every fixed preset.

    python -m tests.benchmarks.preset_search [--shared ../shared] [--write]

For two trained networks: the best fixed preset and the found rules, by ROAD on the half
of the images that the search does not see. `--write` writes
docs/tables/preset_search.md.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.benchmarks.measured import when_and_where
from tfxai.io.images import read
from tfxai.io.tables import markdown

TABLE = Path(__file__).resolve().parents[2] / "docs/tables/preset_search.md"
HEAD = [
    "network", "best fixed preset", "images", "sets of rules", "fixed", "found", "gain",
]  # fmt: skip


def cifar(shared: Path) -> np.ndarray:
    """Return every third image of CIFAR-10."""
    with np.load(shared / "images/cifar10.npz") as file:
        return file["images"][::3].astype(np.float32) / 255


def pictures(shared: Path) -> np.ndarray:
    """Return the pictures of `shared`, 128 x 128, in -1 to 1."""
    files = sorted((shared / "images").glob("*.jpg"))
    return np.stack([read(f, (128, 128)) for f in files]) / 127.5 - 1


NETWORKS = {"cifar10_cnn": cifar, "mobilenet_v1_025_128": pictures}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--shared", default="../shared", type=Path)
@click.option("--seconds", default=180.0)
@click.option("--write", is_flag=True)
def main(names: tuple, shared: Path, seconds: float, write: bool) -> None:
    """Print, or write, the table of docs/tables/preset_search.md."""
    rows = []
    for name in names or NETWORKS:
        model = keras.models.load_model(shared / f"models/{name}.keras")
        if model.layers[-1].activation is keras.activations.linear:
            model = keras.Sequential([*model.layers, keras.layers.Softmax()])
            model.build((None, 32, 32, 3))
        x = NETWORKS[name](shared).astype(np.float32)
        found = tfxai.search_preset(model, x, seconds=seconds, progress=False)
        held_out = dict(found.rows)
        fixed = next(n for n in held_out if n != "found")
        rows.append(
            [
                name, f"`{fixed}`", str(len(x) - len(x) // 2), str(found.evaluated),
                f"{held_out[fixed]:.3f}", f"{held_out['found']:.3f}",
                f"{100 * found.gain:.1f} %",
            ]
        )  # fmt: skip
        print(found.markdown(), {k: str(v) for k, v in found.rules.items()}, flush=True)
    text = markdown(HEAD, rows, 2)
    print(text)
    if write:
        TABLE.write_text(
            "# The search of a preset: ROAD on held-out images, lower is better\n\n"
            "Made by `python -m tests.benchmarks.preset_search --shared FOLDER "
            f"--seconds {seconds:g} --write`.\n"
            f"{when_and_where()}\n"
            f"Description: [concepts.md](../concepts.md).\n\n{text}\n",
            "utf-8",
        )


if __name__ == "__main__":
    main()
