"""Networks whose contributions are known in closed form: the truth of the network.

All take 12 numbers and return two logits, the first of which is always 0; the baseline
is 0. Contributions are the Shapley values of the second logit:

- linear: sum w x; of column i it is w_i x_i.
- additive: sum w relu(x - t); of column i it is w_i (relu(x_i - t_i) - relu(-t_i)).
- minimum: w min(x0, x1) + v min(x2, x3), x >= 0; of x0 and of x1 it is w min / 2.

Only some columns have a weight; the others contribute nothing, whatever their values.
"""

from collections.abc import Mapping

import keras
import numpy as np

import tfxai
from tests.benchmarks.league.columns import COLUMNS
from tests.benchmarks.league.entries import SEGMENTS, WITH_BACKGROUND, entries
from tests.benchmarks.league.scores import precision
from tfxai.errors import TfxaiError

L = keras.layers
Planted = tuple[keras.Model, np.ndarray, np.ndarray]


def _model(layers: list[tuple[np.ndarray, np.ndarray]]) -> keras.Model:
    """A network of given kernels and biases, a ReLU between two of them."""
    body = [L.Dense(k.shape[1], activation="relu") for k, _ in layers[:-1]]
    model = keras.Sequential([keras.Input((COLUMNS,)), *body, L.Dense(2)])
    model.set_weights([np.float32(a) for layer in layers for a in layer])
    return model


def _second(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The kernel and the bias of the two logits."""
    return np.stack([np.zeros(len(w)), w], 1), np.zeros(2)


def _weights(rng: np.random.Generator) -> np.ndarray:
    w = rng.uniform(0.5, 2, COLUMNS) * rng.choice([-1, 1], COLUMNS)
    w[rng.choice(COLUMNS, 8, replace=False)] = 0
    return w


def linear(rng: np.random.Generator, n: int) -> Planted:
    """Return the network, inputs (n, 12) and their contributions (n, 12)."""
    w, x = _weights(rng), rng.normal(size=(n, COLUMNS))
    return _model([_second(w)]), np.float32(x), w * x


def additive(rng: np.random.Generator, n: int) -> Planted:
    """As `linear`, with a threshold in every column."""
    w, t = _weights(rng), rng.normal(0, 0.5, COLUMNS)
    x = rng.normal(size=(n, COLUMNS))
    model = _model([(np.eye(COLUMNS), -t), _second(w)])
    return model, np.float32(x), w * (np.maximum(x - t, 0) - np.maximum(-t, 0))


def minimum(rng: np.random.Generator, n: int) -> Planted:
    """Two minima of two columns: min(a, b) = relu(a) - relu(a - b), a >= 0."""
    x = rng.uniform(0, 2, (n, COLUMNS))
    v = rng.uniform(0.5, 2, 2) * rng.choice([-1, 1], 2)
    kernel, truth = np.zeros((COLUMNS, 4)), np.zeros((n, COLUMNS))
    for i in range(2):
        a, b = 2 * i, 2 * i + 1
        kernel[a, 2 * i] = kernel[a, 2 * i + 1] = 1
        kernel[b, 2 * i + 1] = -1
        truth[:, [a, b]] = v[i] * np.minimum(x[:, a], x[:, b])[:, None] / 2
    model = _model([(kernel, np.zeros(4)), _second(np.repeat(v, 2) * [1, -1, 1, -1])])
    return model, np.float32(x), truth


PLANTED = {"linear": linear, "additive": additive, "minimum": minimum}


def correlation(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each map with the contributions; constant: 0."""
    a, b = (v - v.mean(1, keepdims=True) for v in (maps.astype(float), truth))
    norm = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.where(norm > 0, (a * b).sum(1) / np.where(norm > 0, norm, 1), 0)


def measured(
    seeds: range, count: int, only: tuple = ()
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return entry -> network -> (correlation, precision of the columns) per seed."""
    found: dict[str, dict[str, list]] = {}
    for name, planted in PLANTED.items():
        for seed in seeds:
            model, x, truth = planted(np.random.default_rng([seed, 5]), count)
            wrapped = tfxai.wrap(model)
            for entry, r in _maps(wrapped, x, only).items():
                pair = correlation(r, truth).mean(), precision(r, truth != 0).mean()
                found.setdefault(entry, {}).setdefault(name, []).append(pair)
    return found


def _maps(wrapped: object, x: np.ndarray, only: tuple) -> Mapping[str, np.ndarray]:
    """The maps of every entry for tables."""
    made = {"|x|": np.abs(x)}
    for entry, (method, options) in entries("tables").items():
        if only and method not in only:
            continue
        given = dict(options)
        if method in (*SEGMENTS, *WITH_BACKGROUND):
            given["background"] = np.zeros((2, COLUMNS), np.float32)
        try:
            e = tfxai.explain(wrapped, x, method, np.ones(len(x), int), **given)
        except TfxaiError:
            continue
        made[entry] = np.asarray(e.relevance)
    return made
