"""How much of f(x) - f(x0) integrated gradients account for, on real networks.

    python -m tests.benchmarks.completeness [--shared ../shared] [--steps 50]

For every network and picture of `shared`, top class, black baseline: the gap |sum of
relevance - (f(x) - f(x0))| in units of |f(x) - f(x0)|, by quadrature: median and worst.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.benchmarks.two_classes import NETWORKS

QUADRATURES = ("midpoint", "gauss_legendre", "trapezoid", "left")


def pictures(folder: Path, side: int, count: int) -> np.ndarray:
    """The first pictures of the folder, (count, side, side, 3)."""
    size = {"target_size": (side, side), "interpolation": "bilinear"}
    files = sorted(folder.glob("*.jpg"))[:count]
    return np.stack(
        [keras.utils.img_to_array(keras.utils.load_img(f, **size)) for f in files]
    )


@click.command()
@click.option("--shared", default="../shared", type=Path)
@click.option("--steps", default=50)
@click.option("--count", default=8, help="pictures")
def main(shared: Path, steps: int, count: int) -> None:
    """Print the table."""
    print(f"| network | quadrature | median gap, {steps} steps | worst |")
    print("|---|---|---|---|")
    for network, (side, preprocess, _) in NETWORKS.items():
        model = keras.models.load_model(shared / "models" / f"{network}.keras")
        x = pictures(shared / "images", side, count)
        black = tfxai.wrap(model, preprocess).logits(0 * x[:1])
        for rule in QUADRATURES:
            e = tfxai.explain(
                model, x, "integrated_gradients", preprocess=preprocess,
                n_steps=steps, quadrature=rule, batch_size=16,
            )  # fmt: skip
            gap = np.abs(e.extra["completeness"]) / np.abs(e.score - black[0, e.target])
            print(f"| {network} | {rule} | {np.median(gap):.2%} | {gap.max():.2%} |")


if __name__ == "__main__":
    main()
