"""What `ExplainCallback` adds to an epoch of the demo network's training.

    python -m tests.benchmarks.callback             # 1500 batches of 12, as the demo's
    python -m tests.benchmarks.callback --steps 150 --rounds 9

One process; epochs with and without it take turns (A B A B ...), after one of each to
warm up. Every epoch is explained (`every=1`), written and measured. The scenes are
drawn beforehand: drawing them anew, as the demo does, makes an epoch longer. "In the
callback" is the time between two marks around it, which a busy machine blurs less.
"""

import os
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import tensorflow as tf

from tfxai import callbacks
from tfxai.demo import scenes
from tfxai.demo.network import BATCH, STEPS, build

HELD = 100  # batches that are drawn; an epoch goes through them again and again


class Mark(keras.callbacks.Callback):
    """When the end of the epoch came to this place in the list."""

    at = 0.0

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.at = time.perf_counter()


def batches(steps: int) -> tf.data.Dataset:
    """`steps` batches (12, 64, 64, 3) and their labels (12, 10)."""
    s = scenes(HELD * BATCH, split="train")
    y = np.eye(10, dtype="float32")[s.labels].mean(1)
    made = tf.data.Dataset.from_tensor_slices((s.images, y)).batch(BATCH)
    return made.repeat().take(steps).prefetch(2)


def watches(samples: int, folder: str) -> dict[str, list]:
    """Name -> callbacks: nothing, the maps in memory, and all that costs time."""
    s = scenes(samples, seed=1)
    boxes, target = [[b] for b in s.boxes[:, 0]], s.labels[:, 0]
    writing = {
        "to": [callbacks.png(f"{folder}/strips"), callbacks.npz(f"{folder}/maps")],
        "metrics": ["relevance_mass", "randomisation_distance"],
    }
    return {
        "without": [],
        "maps alone": [
            callbacks.ExplainCallback(s.images, target, to=[lambda *_: None])
        ],
        "png, npz, two metrics": [
            callbacks.ExplainCallback(s.images, target, boxes=boxes, **writing)
        ],
    }


@click.command()
@click.option("--steps", default=STEPS, show_default=True, help="Batches in an epoch.")
@click.option("--samples", default=4, show_default=True, help="Pictures explained.")
@click.option("--rounds", default=5, show_default=True)
def main(steps: int, samples: int, rounds: int) -> None:
    """Print the medians, and how much longer than an epoch alone each is."""
    model, data = build(), batches(steps)
    model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy")
    with tempfile.TemporaryDirectory() as folder:
        cases = watches(samples, folder)
        turns: list[dict] = []
        for turn in range(rounds + 1):
            turns.append({})
            for name, watching in cases.items():
                marks = Mark(), Mark()
                start = time.perf_counter()
                model.fit(
                    data, epochs=turn + 1, initial_epoch=turn, verbose=0, shuffle=False,
                    callbacks=[marks[0], *watching, marks[1]],
                )  # fmt: skip
                taken = time.perf_counter() - start
                turns[-1][name] = taken, marks[1].at - marks[0].at
    table(turns)


def table(turns: list[dict]) -> None:
    """Print the medians of all turns but the first, which warms up."""
    print("| an epoch | first | median | longer by | in the callback | of the epoch |")
    print("|---|--:|--:|--:|--:|--:|")
    middle = statistics.median
    for name, (first, _) in turns[0].items():
        rest = [t[name] for t in turns[1:]]
        more = middle(t[name][0] / t["without"][0] - 1 for t in turns[1:])
        inside, share = middle(i for _, i in rest), middle(i / (t - i) for t, i in rest)
        print(
            f"| {name} | {first:.2f} s | {middle(t for t, _ in rest):.2f} s "
            f"| {more:+.1%} | {inside * 1e3:.0f} ms | {share:.2%} |"
        )


if __name__ == "__main__":
    main()
