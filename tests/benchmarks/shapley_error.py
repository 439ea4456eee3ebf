"""The error of estimates of Shapley values against the number of evaluations.

    python -m tests.benchmarks.shapley_error [--repetitions 10]

Two networks with random weights have sixteen columns or segments, so that all 65,536
masks can be evaluated: the exact values. The error is the norm of the difference,
relative to that of the values, averaged over repetitions with other seeds. `shap` is
evaluated on the same masks, if it is installed.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Callable, Iterator
from functools import partial

import click
import keras
import numpy as np

from tests import zoo
from tfxai.sampling.games import KernelShap, ShapleySampling
from tfxai.sampling.masks import all_masks

D = 16
MASKS = all_masks(D)
PLACES = 1 << np.arange(D)[::-1]
L = keras.layers


def tables() -> dict[str, np.ndarray]:
    """Return the outputs (65536,) of two networks under all masks, by name."""
    x, image = keras.Input((D,)), keras.Input((8, 8, 1))
    dense = zoo.fill(keras.Model(x, L.Dense(1)(L.Dense(16, "relu")(x))))
    body = L.Flatten()(L.Conv2D(6, 3, activation="relu")(image))
    cnn = zoo.fill(keras.Model(image, L.Dense(1)(L.Dense(8, "tanh")(body))))
    rng = np.random.default_rng(2)
    row, pixels = (2 * rng.normal(size=s) for s in (D, (8, 8, 1)))
    cells = MASKS.reshape(-1, 4, 4, 1).repeat(2, 1).repeat(2, 2)
    return {
        "dense": dense.predict(np.float32(row * MASKS), 8192, verbose=0)[:, 0],
        "CNN": cnn.predict(np.float32(pixels * cells), 8192, verbose=0)[:, 0],
    }


class Table:
    """A game whose values are known: what the methods read of a `Game`."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.d, self.varying = (
            values[:, None].astype(float),
            D,
            np.arange(D),
        )
        self.score, self.baseline_score = self._values[-1], self._values[0]

    def values_of_varying(self, masks: np.ndarray) -> np.ndarray:
        return self._values[masks @ PLACES]

    def spread(self, values: np.ndarray) -> np.ndarray:
        return values


def exact(values: np.ndarray) -> np.ndarray:
    """Return the Shapley values (16,), from all subsets."""
    return KernelShap(1 << D, 0)(Table(values))[0][:, 0]


def ours(kind: Callable[..., object]) -> Callable[..., np.ndarray]:
    """Return (values, evaluations, seed) -> estimates, by a method of this package."""
    return lambda values, n, seed: kind(n, seed)(Table(values))[0][:, 0]


def kernel_explainer(values: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return the estimates of `shap.KernelExplainer`, without a selection."""
    import shap

    np.random.seed(seed)
    f = _of_masks(values)
    explainer = shap.KernelExplainer(f, np.zeros((1, D)))
    found = explainer.shap_values(np.ones(D), nsamples=n, l1_reg=False, silent=True)
    return np.ravel(found)


def permutation_explainer(values: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return the estimates of `shap.explainers.Permutation`."""
    import shap

    np.random.seed(seed)
    masker = shap.maskers.Independent(np.zeros((1, D)))
    explainer = shap.explainers.Permutation(_of_masks(values), masker, seed=seed)
    return np.ravel(explainer(np.ones((1, D)), max_evals=n, silent=True).values)


def _of_masks(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda v: values[(np.asarray(v) > 0.5) @ PLACES].astype(float)


def estimators() -> Iterator[tuple[str, Callable[..., np.ndarray]]]:
    """Yield the name and the function of each estimator that is installed."""
    yield "`kernel_shap`", ours(KernelShap)
    paper = partial(KernelShap, estimator="least_squares")
    yield '`estimator="least_squares"`', ours(paper)
    yield "`shapley_sampling`", ours(ShapleySampling)
    try:
        import shap
    except ImportError:
        return
    version = f"shap {shap.__version__}"
    yield f"`KernelExplainer` of {version}", kernel_explainer
    yield f"`Permutation` of {version}", permutation_explainer


@click.command()
@click.option("--repetitions", default=10, help="Seeds of each estimate.")
def main(repetitions: int) -> None:
    """Print the table."""
    numbers, games = (100, 333, 1000, 3333, 10_000), tables()
    head = [f"{name}, {n}" for name in games for n in numbers]
    print(f"| estimator | {' | '.join(head)} |\n|---|{'---:|' * len(head)}")
    truth = {name: exact(v) for name, v in games.items()}
    for name, estimate in estimators():
        cells = []
        for game, values in games.items():
            size = np.linalg.norm(truth[game])
            for n in numbers:
                gaps = [
                    np.linalg.norm(estimate(values, n, s) - truth[game])
                    for s in range(repetitions)
                ]
                cells.append(f"{np.mean(gaps) / size:.2g}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
