"""The error of LIME's coefficients against the number of evaluations, beside `lime`.

    python -m pip install --no-deps lime
    python -m tests.benchmarks.lime_error [--repetitions 10]

The two networks of `shapley_error` have sixteen segments, so that all 65,536 masks are
known. Each estimator has its own weights and penalty; its error is the norm of the
difference from its own regression over all masks, relative to that of the values,
averaged over repetitions with other seeds.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
from sklearn.metrics import pairwise_distances

from tests.benchmarks.shapley_error import MASKS, PLACES, D, tables
from tfxai.sampling.masks import bernoulli
from tfxai.sampling.regression import fit_linear_model, proximity

ONES = np.ones((1, D))


def ours(values: np.ndarray, n: int | None, seed: int) -> np.ndarray:
    """Return the coefficients of LIME, of n masks; None takes all."""
    masks = MASKS if n is None else bernoulli(np.random.default_rng(seed), n, D)
    y = values[masks @ PLACES].astype(float)
    return fit_linear_model(masks, y, proximity(masks, "cosine", 0.25)).coefficients


def package(values: np.ndarray, n: int | None, seed: int) -> np.ndarray:
    """Return the coefficients of the `lime` package, with the options for images."""
    from lime.lime_base import LimeBase

    random = np.random.RandomState(seed)
    masks = MASKS if n is None else random.randint(0, 2, n * D).reshape(n, D)
    masks = np.array(masks, float)
    masks[0] = 1
    y = values[(masks > 0) @ PLACES].astype(float)[:, None]
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=random)
    with np.errstate(all="ignore"):
        away = pairwise_distances(masks, ONES, "cosine").ravel()
    fit = base.explain_instance_with_data(
        masks, y, away, 0, D, feature_selection="none"
    )
    found = np.zeros(D)
    for i, v in fit[1]:
        found[i] = v
    return found


@click.command()
@click.option("--repetitions", default=10, help="Seeds of each estimate.")
def main(repetitions: int) -> None:
    """Print the table."""
    numbers, games = (100, 200, 500, 1000, 2000, 5000, 10_000), tables()
    head = [f"{name}, {n}" for name in games for n in numbers]
    print(f"| estimator | {' | '.join(head)} |\n|---|{'---:|' * len(head)}")
    for name, estimate in (("`lime`", ours), ("`lime` package", package)):
        cells = []
        for values in games.values():
            whole = estimate(values, None, 0)
            for n in numbers:
                gaps = [
                    np.linalg.norm(estimate(values, n, s) - whole)
                    for s in range(repetitions)
                ]
                cells.append(f"{np.mean(gaps) / np.linalg.norm(whole):.2g}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
