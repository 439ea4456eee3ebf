"""IDGI and XRAI against the algorithms of their papers, written in NumPy."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.gradient.test_cam import images
from tfxai.core.memory import Ticker
from tfxai.errors import InputError, OptionError
from tfxai.gradient.xrai import by_region, regions

L = keras.layers


@cache
def known():
    i = keras.Input((16, 12, 3))
    y = L.Conv2D(3, 3, activation="tanh", name="block")(i)
    model = zoo.fill(keras.Model(i, L.Dense(3)(L.Flatten()(y))))
    return tfxai.wrap(model), images(2, (16, 12, 3))


def score_and_slope(model, x, k):
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = model(x)[:, k]
    return score.numpy().astype(float), tape.gradient(score, x).numpy().astype(float)


@pytest.mark.parametrize("n_steps, batch_size", [(7, 4), (7, 32), (1, 32)])
def test_idgi_shares_each_step_along_its_gradient(n_steps, batch_size):
    wrapped, x = known()
    analyzer = tfxai.create_analyzer("idgi", wrapped, n_steps=n_steps, baseline=0.2)
    e = analyzer.analyze(x, [[1, 0]] * 2, batch_size)
    for number, k in enumerate((1, 0)):
        wanted = 0
        for j in range(n_steps):
            here, there = (0.2 + (j + d) / n_steps * (x - 0.2) for d in (0, 1))
            before, g = score_and_slope(wrapped.model, here, k)
            after, _ = score_and_slope(wrapped.model, there, k)
            share = g**2 / (g**2).sum((1, 2, 3), keepdims=True)
            wanted = wanted + share * (after - before)[:, None, None, None]
        found = e.relevance[:, number]
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert np.abs(e.extra["completeness"]).max() < 1e-5  # for any number of steps


def test_idgi_of_a_layer():
    wrapped, x = known()
    e = tfxai.explain(wrapped, x, "idgi", 1, n_steps=3, at="block")
    assert e.relevance.shape == (2, 14, 10, 3)
    total = e.relevance.sum((1, 2, 3))
    np.testing.assert_allclose(total, e.extra["change"], rtol=1e-4)


def greedy(m, masks, least):
    """The paper's loop, which compares all regions anew at each step."""
    covered, result = np.zeros(m.shape, bool), np.zeros(m.shape)
    left = list(masks)
    while True:
        new = [mask & ~covered for mask in left]
        usable = [v for v in new if v.sum() >= least]
        if not usable:
            break
        best = max(usable, key=lambda v: m[v].mean())
        result[best] = m[best].mean()
        covered |= best
    if not covered.all():
        result[~covered] = m[~covered].mean()
    return result


def test_regions_are_added_in_the_order_of_their_means():
    rng = np.random.default_rng(0)
    m = rng.normal(size=(9, 8))
    masks = rng.random((12, 9, 8)) < 0.25
    for least in (1, 6):
        found = by_region(m, masks, least)
        np.testing.assert_allclose(found, greedy(m, masks, least), rtol=1e-5)
    np.testing.assert_allclose(found.sum(), m.sum())


def test_xrai_ranks_regions_of_the_mean_of_two_paths():
    wrapped, x = known()
    x = x.copy()
    x[:, 4:9, 3:8] += 2  # a square
    options = {"scales": (50, 500), "dilation": 1, "min_size": 900}
    e = tfxai.explain(wrapped, x, "xrai", [[1, 0]] * 2, n_steps=8, **options)
    paths = [
        tfxai.explain(
            wrapped, x, "integrated_gradients", [[1, 0]] * 2, n_steps=8, baseline=b
        ).relevance
        for b in ("min", "max")
    ]
    mean = np.mean(paths, 0).sum(-1)
    assert e.relevance.shape == (2, 2, 16, 12, 1) and e.method == "xrai"
    for i in range(2):
        masks = regions(x[i], (50, 500), 0.8, 900, 1)
        assert masks.shape[1:] == (16, 12) and len(masks) > 2
        assert masks.any(0).all()
        least = 50 * 16 * 12 / 224**2
        for t in range(2):
            wanted = greedy(mean[i, t], masks, least)
            np.testing.assert_allclose(e.relevance[i, t, ..., 0], wanted, rtol=1e-3,
                                       atol=1e-6)  # fmt: skip


def test_xrai_computes_tensors_again(monkeypatch):
    wrapped, x = known()
    tickers = []
    monkeypatch.setattr(
        "tfxai.gradient.base.Ticker", lambda: tickers.append(Ticker()) or tickers[-1]
    )
    options = {"n_steps": 2, "scales": (500,)}
    e = tfxai.explain(wrapped, x, "xrai", 1, **options)
    assert not tickers
    found = tfxai.explain(wrapped, x, "xrai", 1, recompute=True, **options)
    assert len(tickers) == 2  # of the paths from "min" and "max"
    np.testing.assert_allclose(found.relevance, e.relevance, rtol=1e-3, atol=1e-6)


def test_what_xrai_refuses():
    wrapped, _ = known()
    with pytest.raises(OptionError, match="scales=7"):
        tfxai.create_analyzer("xrai", wrapped, scales=7)
    i = keras.Input((5,))
    model = zoo.fill(keras.Model(i, L.Dense(2)(i)))
    with pytest.raises(InputError, match="xrai segments images"):
        tfxai.explain(model, np.ones((2, 5), "float32"), "xrai")
