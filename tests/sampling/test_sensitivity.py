"""Sobol indices and HSIC, against their definitions."""

import numpy as np
import pytest

import tfxai
from tfxai.errors import OptionError
from tfxai.sampling.masks import all_masks
from tfxai.sampling.sensitivity import (
    dependence,
    quasi_random_masks,
    total_indices,
)

D = 6
EVERY = all_masks(D)
X = np.ones((1, D))


def f(v):
    """Products of two and three of six columns; the last one does nothing."""
    y = v[:, 0] + 2 * v[:, 1] * v[:, 2] - v[:, 2] * v[:, 3] * v[:, 4]
    return np.stack([y, v[:, 0] - 2 * v[:, 4]], 1)


def exact(values):
    """E[Var(f | the others)] / Var(f), (D,), from the values (64,) of all masks."""
    cube = values.reshape([2] * D)
    return [cube.var(axis=i).mean() / cube.var() for i in range(D)]


def test_total_indices_of_all_masks_are_exact():
    y = f(EVERY.astype(float))
    places = np.arange(64)[:, None] ^ (1 << np.arange(D)[::-1])
    found = total_indices(y, y[places])
    for t in range(2):
        np.testing.assert_allclose(found[:, t], exact(y[:, t]), rtol=1e-12)
    np.testing.assert_allclose(found[:, 1], [0.2, 0, 0, 0, 0.8, 0], atol=1e-12)


def test_sobol_comes_near_and_tells_how_near():
    wanted = np.stack([exact(y) for y in f(EVERY.astype(float)).T])
    given = {"baseline": 0, "n_samples": 1792, "batch_size": 2048}
    quasi = tfxai.explain(f, X, "sobol", [[0, 1]], **given)
    np.testing.assert_allclose(quasi.extra["coefficients"][0], wanted, atol=0.03)
    given["sampling"] = "independent"
    e = tfxai.explain(f, X, "sobol", [[0, 1]], **given)
    found, error = e.extra["coefficients"][0], e.extra["standard_error"][0]
    np.testing.assert_allclose(found, wanted, atol=0.1)
    assert (np.abs(found - wanted) <= 4 * error + 1e-9).all()
    assert 0 < error[0, :5].max() < 0.1 and (found[:, 5] == 0).all()
    np.testing.assert_allclose(e.relevance[0], found, atol=1e-6)
    assert e.extra["evaluations"].tolist() == [[1792, 1792]]


def test_hsic_is_the_trace_of_its_kernels():
    masks = quasi_random_masks(1, 50, D)
    y = f(masks.astype(float))
    (found, errors), n = dependence(masks, y), len(masks)
    h = np.eye(n) - 1 / n
    for t in range(2):
        gaps = np.abs(y[:, t, None] - y[:, t])
        width = np.median([gaps[a, b] for a in range(n) for b in range(a)])
        kernel = np.exp(-(gaps**2) / (2 * width**2))
        for i in range(D):
            same = (masks[:, i, None] == masks[:, i]).astype(float)
            wanted = np.trace(same @ h @ kernel @ h) / (n - 1) ** 2
            np.testing.assert_allclose(found[i, t], wanted, rtol=1e-9, atol=1e-15)
            rows = (h @ same @ h * (h @ kernel @ h)).sum(1)
            error = rows.std(ddof=1) * 2 / n**1.5
            np.testing.assert_allclose(errors[i, t], error, rtol=1e-9, atol=1e-15)


def test_intervals_of_hsic_hold_the_value_of_independent_masks():
    truth, inside = dependence(EVERY, f(EVERY.astype(float)))[0], []
    for seed in range(60):
        masks = np.random.default_rng(seed).random((150, D)) < 0.5
        found, error = dependence(masks, f(masks.astype(float)))
        inside.append(np.abs(found - truth) <= 1.976 * error)
    assert 0.92 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize("method", ["sobol", "hsic"])
def test_errors_are_those_of_independent_masks(method):
    given = {"baseline": 0, "n_samples": 512}
    e = tfxai.explain(f, X, method, 0, sampling="independent", **given)
    assert e.stable_ranks(2).shape == (1, 2) and e.extra["evaluations"] == [511, 512][
        method == "hsic"]  # fmt: skip
    middle = (e.extra["interval_low"] + e.extra["interval_high"]) / 2
    np.testing.assert_allclose(middle, e.extra["coefficients"], atol=1e-12)
    quasi = tfxai.explain(f, X, method, 0, **given)
    assert not {"standard_error", "interval_low"} & set(quasi.extra)
    with pytest.raises(OptionError, match=f'{method}", sampling="independent"'):
        quasi.stable_ranks(2)
    with pytest.raises(OptionError, match="quasi_random"):
        tfxai.create_analyzer(method, f, sampling="plain")


def test_hsic_ranks_what_the_output_depends_on():
    e = tfxai.explain(f, X, "hsic", [[0, 1]], baseline=0, n_samples=512)
    (first, second) = e.extra["coefficients"][0]
    assert first[5] < 1e-4 < first[[0, 1, 2]].min()
    assert second.argmax() == 4 and second[[1, 2, 3, 5]].max() < 0.02 * second[4]
    constant = tfxai.explain(
        lambda v: 0 * v[:, :1] + 1 + (v[:, :1] > 5), X, "hsic", 0, baseline=0
    )
    assert (constant.relevance == 0).all()


def test_masks_are_balanced_and_follow_the_seed():
    masks = quasi_random_masks(0, 256, 9)
    np.testing.assert_allclose(masks.mean(0), 0.5)
    pairs = (masks[:, :, None] == masks[:, None]).mean(0)[~np.eye(9, dtype=bool)]
    np.testing.assert_allclose(pairs, 0.5, atol=0.1)
    assert (quasi_random_masks(1, 256, 9) != masks).any()
    np.testing.assert_array_equal(quasi_random_masks(0, 256, 9), masks)


@pytest.mark.parametrize("method", ["sobol", "hsic"])
def test_pictures_texts_and_columns_that_equal_the_baseline(method):
    x = np.ones((2, 4, 4, 1))
    x[1, :, :2] = 0
    cells = np.arange(4).reshape(2, 2).repeat(2, 0).repeat(2, 1)
    e = tfxai.explain(
        lambda v: v.mean((1, 2)), x, method, 0, segmenter=cells, baseline=0,
        n_samples=64,
    )  # fmt: skip
    left, right = e.extra["coefficients"][1, [0, 2]], e.extra["coefficients"][1, [1, 3]]
    assert (left == 0).all() and (right > 0.01).all()

    def count(texts):
        return np.array([[float("not" in t.split())] for t in texts])

    e = tfxai.explain(count, ["not a film"], method, 0, n_samples=64)
    assert e.relevance[0, 0] > 10 * e.relevance[0, 1:].max()
    with pytest.raises(OptionError, match="n_samples=3"):
        tfxai.create_analyzer(method, f, n_samples=3)
