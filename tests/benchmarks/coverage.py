"""The share of 95 % intervals that contain the exact value, on three small networks.

    python -m tests.benchmarks.coverage [--repetitions 1000]

The networks have random weights and twelve segments, so that all 4096 masks can be
evaluated: the exact Shapley values, and LIME's regression over all masks. Each
repetition draws new masks. The table has the mean over the segments, at the default
`n_samples` and at a tenth of it.

RISE and SmoothGrad have no exact value: each repetition draws from a pool of masks or
of noise, and the number that is estimated is the mean over the pool. LEG's value is the
mean of many gradients; "leg, callable" is its estimate without gradients.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import click
import keras
import numpy as np
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.core.intervals import with_interval
from tfxai.gradient.expected import drawn
from tfxai.gradient.noise import error_of_mean
from tfxai.sampling.games import KernelShap, ShapleySampling
from tfxai.sampling.intervals import regression_error
from tfxai.sampling.leg.config import LegConfig
from tfxai.sampling.leg.estimate import ESTIMATORS
from tfxai.sampling.masks import bernoulli, in_pairs
from tfxai.sampling.regression import fit_linear_model, proximity
from tfxai.sampling.rise import moments, random_masks
from tfxai.sampling.sensitivity import Hsic, Sobol, dependence, total_indices

D = 12
L = keras.layers
MASKS = np.array(list(product([False, True], repeat=D)))
PLACES = 1 << np.arange(D)[::-1]


def networks() -> dict[str, keras.Model]:
    """Return a network of a table, of a series and of an image."""
    table, series, image = (keras.Input(s) for s in ((D,), (D, 1), (6, 8, 1)))
    dense = L.Dense(8, "tanh")(L.Dense(16, "relu")(table))
    recurrent = L.LSTM(6)(series)
    grid = L.Flatten()(L.Conv2D(4, 3, activation="relu")(image))
    pairs = {"dense": (table, dense), "LSTM": (series, recurrent), "CNN": (image, grid)}
    return {
        name: zoo.fill(keras.Model(i, L.Dense(1)(h))) for name, (i, h) in pairs.items()
    }


def values_of(model: keras.Model) -> np.ndarray:
    """Return the output (4096,) of a random input under all masks of 12 segments."""
    shape = model.input_shape[1:]
    x = 2 * np.random.default_rng(2).normal(size=shape).astype("float32")
    kept = MASKS.reshape(-1, *shape) if len(shape) < 3 else MASKS.reshape(
        -1, 3, 4, 1
    ).repeat(2, 1).repeat(2, 2)  # fmt: skip
    return np.asarray(model.predict(x * kept, 4096, verbose=0), float)[:, 0]


class Table:
    """A game whose values are known: what `KernelShap` reads of a `Game`."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.d, self.varying = values[:, None], D, np.arange(D)
        self.score, self.baseline_score = self._values[-1], self._values[0]

    def values_of_varying(self, masks: np.ndarray) -> np.ndarray:
        return self._values[masks @ PLACES]

    def spread(self, values: np.ndarray) -> np.ndarray:
        return values


def lime(values: np.ndarray, n_samples: int, seed: int) -> tuple:
    """Return the coefficients of LIME, and the ends of their intervals."""
    masks = bernoulli(np.random.default_rng(seed), n_samples, D)
    weights = proximity(masks, "cosine", 0.25)
    y = values[masks @ PLACES]
    fit = fit_linear_model(masks, y, weights)
    left = y - fit.intercept - masks @ fit.coefficients
    error = regression_error(masks, left, weights, in_pairs(n_samples, D))
    found = with_interval(fit.coefficients, error, n_samples // 2)
    return found["interval_low"], found["interval_high"]


def shap(kind: Callable[[int, int], Any]) -> object:
    """Return a function like `lime` of a Shapley method."""

    def estimate(values: np.ndarray, n_samples: int, seed: int) -> tuple:
        _, found = kind(n_samples, seed)(Table(values))
        return found["interval_low"][0], found["interval_high"][0]

    return estimate


def exact_lime(values: np.ndarray) -> np.ndarray:
    """Return the coefficients of the regression over all masks."""
    return fit_linear_model(
        MASKS, values, proximity(MASKS, "cosine", 0.25)
    ).coefficients


def exact_shap(values: np.ndarray) -> np.ndarray:
    """Return the Shapley values, from all subsets."""
    return KernelShap(1 << D, 0)(Table(values))[0][:, 0]


def independent(kind: type) -> object:
    """Return the function `shap` of Sobol indices or HSIC of independent masks."""
    return shap(lambda n, seed: kind(n, seed, "independent"))


def exact_sobol(values: np.ndarray) -> np.ndarray:
    """Return the total Sobol indices, from all masks."""
    changed = values[np.arange(len(MASKS))[:, None] ^ PLACES]
    return total_indices(values[:, None], changed[..., None])[:, 0]


def exact_hsic(values: np.ndarray) -> np.ndarray:
    """Return HSIC of infinitely many masks, in which all are equally frequent."""
    n = len(MASKS)
    return dependence(MASKS, values[:, None])[0][:, 0] * (1 - 1 / n) ** 2


METHODS = {
    "lime": (lime, exact_lime),
    "kernel_shap": (shap(KernelShap), exact_shap),
    "shapley_sampling": (shap(ShapleySampling), exact_shap),
    "sobol": (independent(Sobol), exact_sobol),
    "hsic": (independent(Hsic), exact_hsic),
}
#: Their names in the table.
NAMES = {k: f'`{k}`, `sampling="independent"`' for k in ("sobol", "hsic")}


def coverage(method: str, values: np.ndarray, n_samples: int, count: int) -> float:
    """Return the share of intervals of all segments that hold the exact value."""
    estimate, exact = METHODS[method]
    truth, inside = exact(values), []
    for seed in range(count):
        low, high = estimate(values, n_samples, seed)
        inside.append((low <= truth + 1e-12) & (truth - 1e-12 <= high))
    return float(np.mean(inside))


def rise_pool(model: keras.Model, count: int = 50_000) -> np.ndarray | None:
    """Return RISE's f m / E[m] of many masks, (count, positions); None for tables."""
    shape = model.input_shape[1:]
    if len(shape) < 2:
        return None
    x = 2 * np.random.default_rng(2).normal(size=shape).astype("float32")
    m = np.concatenate(list(random_masks(0, count, 4, 0.5, shape[:-1])))
    y = model.predict(x * m[..., None], 4096, verbose=0)
    return np.asarray(y * m.reshape(count, -1) / 0.5, float)


def smoothgrad_pool(model: keras.Model, count: int = 20_000) -> np.ndarray:
    """Return the gradients at many noisy copies of an input, (count, features)."""
    shape = model.input_shape[1:]
    x = 2 * np.random.default_rng(2).normal(size=shape).astype("float32")
    noise = np.random.default_rng(3).normal(size=(count, *shape)).astype("float32")
    copies = tf.constant(x + 0.15 * np.ptp(x) * noise)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        y = model(copies)
    return np.asarray(tape.gradient(y, copies), float).reshape(count, -1)


def error_of(spread: np.ndarray, count: int) -> np.ndarray:
    """Return the standard errors of means, as gradient methods compute them."""
    return error_of_mean(tf.constant(spread[None, None]), count).numpy()[0, 0]


def pooled(terms: np.ndarray, n_samples: int, count: int, smooth: bool) -> float:
    """Return the share of intervals of means of draws that hold the pool's mean."""
    rng, truth, inside = np.random.default_rng(4), terms.mean(0), []
    for _ in range(count):
        chosen = terms[rng.integers(len(terms), size=n_samples)]
        sums, squares = chosen.sum(0), (chosen**2).sum(0)
        mean, error = moments(sums, squares, n_samples)
        if smooth:
            error = error_of(squares - sums**2 / n_samples, n_samples)
        found = with_interval(mean, error, n_samples - 1)
        low, high = (found[f"interval_{k}"] for k in ("low", "high"))
        inside.append((low <= truth) & (truth <= high))
    return float(np.mean(inside))


def expected_gradients(model: keras.Model, n_samples: int, count: int) -> float:
    """Return the share of intervals of expected gradients that hold the value.

    The background has 1000 examples. The value is the mean over 100,000 draws.
    """
    shape, rng = model.input_shape[1:], np.random.default_rng(2)
    x = 2 * rng.normal(size=shape).astype("float32")
    rows = rng.normal(size=(1000, *shape)).astype("float32")

    def terms(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        order, at, ends = drawn(n, len(rows), seed)
        x0 = rows[order]
        points = tf.constant(
            x0 + np.float32(at).reshape(-1, *[1] * len(shape)) * (x - x0)
        )
        with tf.GradientTape() as tape:
            tape.watch(points)
            y = model(points)
        slopes = np.asarray(tape.gradient(y, points), float)
        return ((x - x0) * slopes).reshape(n, -1), ends

    truth, inside = terms(100_000, 10**6)[0].mean(0), []
    for seed in range(count):
        found, ends = terms(n_samples, seed)
        groups = len(ends) - 1
        means = np.add.reduceat(found, ends[:-1], 0) / np.diff(ends)[:, None]
        error = error_of(means.var(0) * groups, groups)
        interval = with_interval(found.mean(0), error, groups - 1)
        low, high = (interval[f"interval_{k}"] for k in ("low", "high"))
        inside.append((low <= truth) & (truth <= high))
    return float(np.mean(inside))


def leg(model: keras.Model, estimator: str, n_samples: int, count: int) -> float | None:
    """Return the share of LEG's intervals that hold the value; None for tables."""
    shape = model.input_shape[1:]
    if len(shape) < 2:
        return None
    x = 2 * np.random.default_rng(2).normal(size=shape).astype("float32")
    unit = max(np.ptp(x), np.abs(x).max())
    before = model.predict(x[None], verbose=0)

    def outputs(z: np.ndarray, kind: str) -> np.ndarray:
        """Half the changes between z and -z, or the mean gradients at both."""
        copies = tf.constant(x + unit * np.concatenate([z, -z])[..., None])
        if kind == "regression":
            y = model.predict(copies, 8192, verbose=0) - before
            return (y[: len(z)] - y[len(z) :]) / 2
        with tf.GradientTape() as tape:
            tape.watch(copies)
            y = model(copies)
        g = unit * tape.gradient(y, copies).numpy()
        return (g[: len(z)] + g[len(z) :])[:, None, ..., 0] / 2

    wrapped = tfxai.wrap(model)

    def estimates(seeds: Sequence[int], n: int, kind: str) -> Iterator[tuple]:
        """Yield LEG, its errors and their degrees of freedom, of each seed."""
        configs = [
            LegConfig(wrapped, seed=s, n_samples=n, estimator=kind) for s in seeds
        ]
        grid = configs[0].grid(shape)
        draws = [np.concatenate(list(c.draws(grid, 0))) for c in configs]
        found = np.split(outputs(np.concatenate(draws), kind), len(seeds))
        for config, z, y in zip(configs, draws, found, strict=True):
            estimator = ESTIMATORS[kind](grid, config.noise, config.paired)
            estimator.add(z, y)
            yield (*estimator.result(), estimator.count - 1)

    truth, inside = next(estimates([10**6], 100_000, "gradient"))[0], []
    for first in range(0, count, 20):
        seeds = range(first, min(first + 20, count))
        for found in estimates(seeds, n_samples, estimator):
            interval = with_interval(*found)
            low, high = (interval[f"interval_{k}"] for k in ("low", "high"))
            inside.append((low <= truth) & (truth <= high))
    return float(np.mean(inside))


#: The rows of LEG: name -> estimator, and numbers of samples.
LEG = {
    "`leg`": ("gradient", (64, 6)),
    "`leg`, callable": ("regression", (2000, 200)),
}


def leg_rows(count: int) -> None:
    """Print the rows of LEG."""
    for name, (estimator, numbers) in LEG.items():
        for n_samples in numbers:
            found = [leg(m, estimator, n_samples, count) for m in networks().values()]
            shares = ["-" if s is None else f"{100 * s:.1f} %" for s in found]
            print(f"| {name} | {n_samples} | {' | '.join(shares)} |", flush=True)


POOLS = {"rise": (rise_pool, (2000, 200)), "smoothgrad": (smoothgrad_pool, (25, 3))}


@click.command()
@click.option("--repetitions", default=1000, help="Draws of each method and number.")
@click.option("--method", "only", help="One method in place of all.")
def main(repetitions: int, only: str | None) -> None:
    """Print the table."""
    print("| method | n_samples | dense | LSTM | CNN |\n|---|---:|---:|---:|---:|")
    tables = {name: values_of(model) for name, model in networks().items()}
    for method in METHODS if only is None else {only} & set(METHODS):
        for n_samples in (1000, 100):
            shares = [
                f"{100 * coverage(method, v, n_samples, repetitions):.1f} %"
                for v in tables.values()
            ]
            name = NAMES.get(method, f"`{method}`")
            print(f"| {name} | {n_samples} | {' | '.join(shares)} |", flush=True)
    if only in (None, "leg"):
        leg_rows(repetitions)
    for method, (pool_of, numbers) in POOLS.items():
        if only not in (None, method):
            continue
        pools = [pool_of(model) for model in networks().values()]
        for n_samples in numbers:
            smooth = method != "rise"
            shares = [
                "-"
                if p is None
                else f"{100 * pooled(p, n_samples, repetitions, smooth):.1f} %"
                for p in pools
            ]
            print(f"| `{method}` | {n_samples} | {' | '.join(shares)} |", flush=True)
    if only in (None, "expected_gradients"):
        for n_samples in (100, 10):
            shares = [
                f"{100 * expected_gradients(m, n_samples, repetitions):.1f} %"
                for m in networks().values()
            ]
            cells = " | ".join(shares)
            print(f"| `expected_gradients` | {n_samples} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
