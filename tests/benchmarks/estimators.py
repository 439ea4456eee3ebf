"""The error of LEG's estimators for equal numbers of evaluations of the network.

    python -m tests.benchmarks.estimators [--shared ../shared]

The inputs are a digit for LeNet and the green channel of an image for SqueezeNet, with
a base grid of 28 x 28. The score is the probability of the top class (LeNet: its
logit). The error is |LEG - reference| / |reference|, the mean over seeds; the reference
is the mean of many antithetic gradients with another seed. A gradient counts as three
evaluations.
"""

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np

import tfxai
from tests.benchmarks.two_classes import NETWORKS

WAYS = [
    ("score", "plain"),
    ("score", "antithetic"),
    ("score", "orthogonal"),
    ("regression", "plain"),
    ("regression", "antithetic"),
    ("regression", "orthogonal"),
    ("gradient", "plain"),
    ("gradient", "antithetic"),
    ("gradient", "orthogonal"),
]
SLOPE = 3  # evaluations that a gradient counts as


def digit(shared: Path) -> tuple:
    """Return LeNet, its preprocessing and a digit."""
    model = keras.models.load_model(shared / "models" / "lenet_mnist.keras")
    images = np.load(shared / "images" / "mnist.npz")
    x = images[next(k for k in images.files if images[k].ndim >= 3)][:1]
    return model, None, np.float32(x).reshape(1, *model.input_shape[1:])


def green(shared: Path) -> tuple:
    """Return SqueezeNet as a model of the green channel of the traffic light."""
    name = "squeezenet_v1_0"
    side, preprocess, _ = NETWORKS[name]
    model = keras.models.load_model(shared / "models" / f"{name}.keras")
    file = shared / "images" / "leg_trafficlight.jpg"
    x = keras.utils.img_to_array(
        keras.utils.load_img(file, target_size=(side, side), interpolation="bilinear")
    )[None]
    g = keras.Input((side, side, 1))
    red, blue = (keras.ops.zeros_like(g) + c for c in (x[..., :1], x[..., 2:]))
    whole = keras.ops.concatenate([red, g, blue], -1)
    return keras.Model(g, model(preprocess(whole))), None, x[..., 1:2]


def study(name: str, case: tuple, budgets: list[int], seeds: int, many: int) -> None:
    """Print the rows of one network."""
    model, preprocess, x = case

    def leg(**options: object) -> np.ndarray:
        e = tfxai.explain(
            model, x, "leg", preprocess=preprocess, batch_size=32, **options
        )
        return e.extra["base"][0, 0]

    reference = leg(
        estimator="gradient", sampling="antithetic", n_samples=many, seed=99
    )
    size = np.linalg.norm(reference)
    for estimator, sampling in WAYS:
        cells = []
        for budget in budgets:
            count = budget // SLOPE if estimator == "gradient" else budget
            given = {"estimator": estimator, "sampling": sampling, "n_samples": count}
            try:
                maps = [leg(seed=s, **given) for s in range(seeds)]
            except tfxai.errors.OptionError:  # too few for orthogonal directions
                cells.append("refused")
                continue
            errors = [np.linalg.norm(m - reference) / size for m in maps]
            cells.append(f"{np.mean(errors):.2f}")
        print(
            f"| {name} | {estimator} | {sampling} | {' | '.join(cells)} |", flush=True
        )


@click.command()
@click.option("--shared", default="../shared", type=Path)
@click.option("--budgets", default="500,2000,6000")
@click.option("--seeds", default=2)
@click.option("--network", help="only LeNet, or SqueezeNet")
def main(shared: Path, budgets: str, seeds: int, network: str | None) -> None:
    """Print the table."""
    numbers = [int(b) for b in budgets.split(",")]
    print(f"| network | estimator | sampling | {' | '.join(map(str, numbers))} |")
    print("|---|---|---|" + "---|" * len(numbers))
    cases: list[tuple[str, Callable, int]] = [
        ("LeNet", digit, 40_000), ("SqueezeNet", green, 3_000)
    ]  # fmt: skip
    for name, make, many in cases:
        if network not in (None, name):
            continue
        study(name, make(shared), numbers, seeds, many)


if __name__ == "__main__":
    main()
