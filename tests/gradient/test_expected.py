"""Expected gradients: values and errors against the same draws in NumPy."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import t

import tfxai
from tests import zoo
from tfxai.gradient.expected import drawn

L = keras.layers
ROWS = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")
X = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")


@pytest.fixture(scope="module")
def model():
    x = keras.Input((4,))
    return zoo.fill(keras.Model(x, L.Dense(3)(L.Dense(9, "tanh")(x))))


def terms(model, n, seed, target):
    """(x - x0) times the gradient of each draw, (n, 3, 4), and the ends of groups."""
    order, at, ends = drawn(n, len(ROWS), seed)
    x0 = ROWS[order][:, None]
    points = tf.constant(x0 + np.float32(at)[:, None, None] * (X - x0))
    with tf.GradientTape() as tape:
        tape.watch(points)
        y = tf.reshape(model(tf.reshape(points, (-1, 4))), (n, 3, 3))[..., target]
    return (X - x0) * tape.gradient(y, points).numpy(), ends


@pytest.mark.parametrize("n, batch_size", [(43, 4), (6, 32), (100, 32)])
def test_values_and_intervals_are_those_of_groups_of_draws(model, n, batch_size):
    e = tfxai.explain(
        model, X, "expected_gradients", [[0, 2]] * 3, background=ROWS, n_samples=n,
        seed=5, batch_size=batch_size,
    )  # fmt: skip
    for k, target in enumerate((0, 2)):
        found, ends = terms(model, n, 5, target)
        np.testing.assert_allclose(e.relevance[:, k], found.mean(0), rtol=2e-4)
        pairs = itertools.pairwise(ends)
        means = np.array([found[a:b].mean(0) for a, b in pairs])
        groups = min(10, n)
        spread = means.var(0) * groups
        shared = spread.mean(-1, keepdims=True) / (groups - 1)
        error = np.sqrt((spread + 0.1 * shared) / (groups - 0.9) / groups)
        np.testing.assert_allclose(e.extra["standard_error"][:, k], error, rtol=1e-3)
        half = t.ppf(0.975, groups - 1) * error
        low, high = (e.extra[f"interval_{v}"][:, k] for v in ("low", "high"))
        np.testing.assert_allclose(low, e.relevance[:, k] - half, atol=1e-4)
        np.testing.assert_allclose(high, e.relevance[:, k] + half, atol=1e-4)
    assert e.stable_ranks(2).shape == (3, 2, 2)


def test_one_draw_has_no_error_and_positions_are_stratified(model):
    one = tfxai.explain(model, X, "expected_gradients", 0, background=ROWS, n_samples=1)
    assert np.isnan(one.extra["standard_error"]).all()
    order, at, ends = drawn(70, 7, 0)
    assert (np.bincount(order) == 10).all()
    for a, b in itertools.pairwise(ends):
        assert sorted((at[a:b] * 7).astype(int)) == list(range(7))


def test_intervals_of_two_inputs_and_of_tokens():
    a, b = keras.Input((4,)), keras.Input((4,))
    model = zoo.fill(keras.Model([a, b], L.Dense(2)(L.Multiply()([a, b]))))
    e = tfxai.explain(
        model, [X, X], "expected_gradients", 0, background=[ROWS, ROWS], n_samples=20
    )
    for i in (0, 1):
        low, high = (e.extra[f"interval_{v}_{i}"] for v in ("low", "high"))
        np.testing.assert_allclose((low + high) / 2, e.relevance[i], atol=1e-5)
    ids = keras.Input((5,), dtype="int32")
    flat = L.Flatten()(L.Embedding(9, 4)(ids))
    words = zoo.fill(keras.Model(ids, L.Dense(2)(L.Dense(8, "tanh")(flat))))
    rows = np.random.default_rng(0).integers(0, 9, (6, 5))
    given = {"background": rows, "n_samples": 60}
    runs = [
        tfxai.explain(words, rows[:2], "expected_gradients", 0, seed=s, **given)
        for s in range(4)
    ]
    assert runs[0].extra["standard_error"].shape == (2, 5)
    spread = np.std([e.relevance for e in runs], 0, ddof=1)
    stated = np.mean([e.extra["standard_error"] for e in runs], 0)
    assert 0.4 < np.sqrt((spread**2).mean() / (stated**2).mean()) < 2
