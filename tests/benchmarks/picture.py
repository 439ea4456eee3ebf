"""Make the README's picture (notebooks/two_digits.png) from the demo's own scenes.

python -m tests.benchmarks.picture
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import tfxai
from tfxai.base.atomic_write import atomic_write
from tfxai.demo import network, scenes

OUT = Path(__file__).resolve().parents[2] / "notebooks" / "two_digits.png"
METHODS = ("lrp", "clrp", "sglrp")
ZOOM = 4


def main() -> None:
    """One scene; for each of its digits, the map of three methods."""
    model, s = network(), scenes(2, seed=1)
    maps = [
        tfxai.explain(model, s.images, m, s.labels, low=0, high=1).heatmap()[1]
        for m in METHODS
    ]
    under, rows = _larger(s.images[1]), []
    for digit, box in enumerate(s.boxes[1]):
        over = [tfxai.plot.overlay(under, _larger(m[digit]), boxes=[box]) for m in maps]
        rows.append([under, *over])
    names = [f"why {digit}?" for digit in s.labels[1]]
    figure = tfxai.plot.grid(rows, names, ["scene", *METHODS])
    with atomic_write(OUT) as temporary:
        figure.savefig(temporary, dpi=64)
    print(OUT)


def _larger(x: np.ndarray) -> np.ndarray:
    return x.repeat(ZOOM, 0).repeat(ZOOM, 1)


if __name__ == "__main__":
    main()
