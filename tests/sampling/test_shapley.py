"""Shapley values against their definition, and games with known values."""

import itertools
import math

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import InputError, OptionError
from tfxai.sampling.masks import coalitions, connected_sets, masks_of_sets, permutations
from tfxai.sampling.regression import shapley_regression
from tfxai.sampling.segments import SEGMENTERS, neighbours, segment_inputs

L = keras.layers


def exact(v, d):
    """Shapley values by their definition; v: frozenset -> number."""
    phi = np.zeros(d)
    for i in range(d):
        others = [j for j in range(d) if j != i]
        for size in range(d):
            weight = 1 / (d * math.comb(d - 1, size))
            for kept in itertools.combinations(others, size):
                phi[i] += weight * (v(frozenset(kept) | {i}) - v(frozenset(kept)))
    return phi


def network(columns):
    """A network on tables with products, so that its games are not additive."""
    x = keras.Input((columns,))
    y = L.Dense(8, "tanh")(x)
    return zoo.fill(keras.Model(x, L.Dense(2)(L.Multiply()([y, L.Dense(8)(x)]))))


def game(model, x, fill, target):
    """S -> the output at x where only the columns in S are kept."""
    every = list(itertools.product([False, True], repeat=x.shape[-1]))
    y = model.predict(np.where(every, x, fill).astype("float32"), verbose=0)
    known = {
        frozenset(np.flatnonzero(m).tolist()): float(v)
        for m, v in zip(every, y[:, target], strict=True)
    }
    return known.__getitem__


@pytest.mark.parametrize("d", [2, 3, 5, 8])
def test_kernel_shap_of_small_games_is_exact(d):
    model, x = network(d), np.random.default_rng(0).normal(size=(2, d))
    e = tfxai.explain(model, np.float32(x), "kernel_shap", 1, baseline=0.1)
    for b in range(2):
        wanted = exact(game(model, np.float32(x[b]), 0.1, 1), d)
        np.testing.assert_allclose(e.relevance[b], wanted, atol=1e-6)
    total = e.relevance.sum(-1)
    np.testing.assert_allclose(total, e.score - e.extra["baseline_score"], atol=1e-5)


def test_kernel_shap_of_larger_games_comes_near_and_adds_up():
    d, model = 12, network(12)
    x = np.float32(np.random.default_rng(0).normal(size=(1, d)))
    wanted = exact(game(model, x[0], 0.0, 0), d)
    errors = []
    for count in (60, 600, 3000):
        e = tfxai.explain(model, x, "kernel_shap", 0, baseline=0, n_samples=count)
        assert e.relevance.sum() == pytest.approx(
            float(e.score[0] - e.extra["baseline_score"][0]), abs=1e-5
        )
        errors.append(np.abs(e.relevance[0] - wanted).max() / np.abs(wanted).max())
    assert errors[0] < 0.5 and errors[1] < 0.1 and errors[2] < 0.03
    e = tfxai.explain(model, x, "kernel_shap", 0, baseline=0, n_samples=2**d)
    np.testing.assert_allclose(e.relevance[0], wanted, atol=1e-5)


def test_shapley_sampling_comes_near_and_says_how_near():
    """The standard error is that of pairs of an order and its reverse."""
    d, model = 6, network(6)
    x = np.float32(np.random.default_rng(0).normal(size=(1, d)))
    wanted, z = exact(game(model, x[0], 0.0, 0), d), []
    for seed in range(30):
        e = tfxai.explain(
            model, x, "shapley_sampling", 0, baseline=0, n_samples=300, seed=seed
        )
        z.append((e.relevance[0] - wanted) / e.extra["standard_error"][0])
        assert e.relevance.sum() == pytest.approx(
            float(e.score[0] - e.extra["baseline_score"][0]), abs=1e-4
        )
    assert np.abs(e.relevance[0] - wanted).max() < 0.3 * np.abs(wanted).max()
    assert 0.7 < np.sqrt(np.mean(np.square(z))) < 1.35


def myerson(v, around, d):
    """The Shapley values of S -> the sum of v over S's connected parts."""

    def parts(kept):
        left, found = set(kept), []
        while left:
            part, front = set(), {left.pop()}
            while front:
                part |= front
                front = {j for i in front for j in around[i] if j in left}
                left -= front
            found.append(frozenset(part))
        return found

    return exact(lambda kept: sum(v(p) for p in parts(kept)), d)


def test_c_shapley_of_whole_and_of_separate_parts():
    """A game that adds up over connected parts has its Shapley values, on a line."""
    d = 5
    x = np.ones((1, d, 1, 1), np.float32)
    around = [{i - 1, i + 1} & set(range(d)) for i in range(d)]

    def value(kept):
        """Two kept neighbours i and i + 1 contribute (i + 1)^2."""
        kept = sorted(kept)
        return sum((i + 1) ** 2 for i in kept if i + 1 in kept) + 0.5 * sum(kept)

    def predict(batch):
        kept = [np.flatnonzero(v.ravel()).tolist() for v in batch]
        return np.array([[value(k)] for k in kept], float)

    wanted = exact(lambda k: value(k), d)
    np.testing.assert_allclose(myerson(value, around, d), wanted)
    segments = np.arange(d).reshape(d, 1)
    e = tfxai.explain(
        predict, x, "c_shapley", 0, segmenter=segments, baseline=0, max_size=d
    )
    np.testing.assert_allclose(e.extra["coefficients"][0], wanted, atol=1e-5)
    # sets of a single segment
    short = tfxai.explain(
        predict, x, "c_shapley", 0, segmenter=segments, baseline=0, max_size=1
    )
    alone = [value([i]) * math.factorial(b) / math.factorial(1 + b)
             for i, b in enumerate([1, 2, 2, 2, 1])]  # fmt: skip
    np.testing.assert_allclose(short.extra["coefficients"][0], alone, atol=1e-5)


def test_c_shapley_on_a_line_has_the_weights_of_the_paper():
    """2 / ((u + 2)(u + 1) u) for a set inside a line, u of its size (eq. 9)."""
    d, middle = 9, 4
    x = np.ones((1, d, 1), np.float32)
    for u in (1, 2, 3):
        place = frozenset(range(middle, middle + u))

        def predict(batch, place=place):
            kept = [frozenset(np.flatnonzero(v.ravel()).tolist()) for v in batch]
            return np.array([[float(k == place)] for k in kept])

        e = tfxai.explain(
            predict, x, "c_shapley", 0, segmenter=np.arange(d), baseline=0, max_size=3
        )
        # positive where a segment completes the set, negative where it leaves it
        value = e.extra["coefficients"][0, middle + (u - 1) // 2]
        assert value == pytest.approx(2 / ((u + 2) * (u + 1) * u), abs=1e-6)


# -- masks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "d, count", [(2, 2), (4, 14), (4, 9), (6, 13), (10, 100), (40, 500)]
)
def test_coalitions(d, count):
    masks, weights, _ = coalitions(np.random.default_rng(0), count, d)
    assert len(masks) <= count and len(masks) == len(weights)
    sizes = masks.sum(-1)
    assert sizes.min() > 0 and sizes.max() < d
    if count >= 2**d - 2:
        assert len(np.unique(masks, axis=0)) == 2**d - 2
        listed = [(d - 1) / (math.comb(d, s) * s * (d - s)) for s in sizes]
        np.testing.assert_allclose(weights, listed)
    total = sum((d - 1) / (s * (d - s)) for s in range(1, d))
    assert weights.sum() == pytest.approx(total)
    both = {m.tobytes() for m in masks}
    assert all((~m).tobytes() in both for m in masks)


def test_orders_are_beside_their_reverse():
    orders = permutations(np.random.default_rng(0), 6, 5)
    assert (np.sort(orders, 1) == np.arange(5)).all()
    np.testing.assert_array_equal(orders[1::2], orders[::2, ::-1])


def test_too_few_subsets_are_named():
    masks = masks_of_sets([frozenset([0]), frozenset([1, 2])], 4)
    with pytest.raises(OptionError, match="undetermined"):
        shapley_regression(masks, np.zeros((2, 1)), np.ones(2), np.zeros(1), np.ones(1))
    x = np.ones((1, 30), np.float32)
    with pytest.raises(OptionError, match="10 subsets of 30"):
        tfxai.explain(network(30), x, "kernel_shap", 0, baseline=0, n_samples=10)
    with pytest.raises(OptionError, match="max_size=9"):
        tfxai.explain(
            lambda v: v[:, :1, 0, 0], np.ones((1, 16, 16, 1), "float32"), "c_shapley",
            0, segmenter="grid", segmenter_options={"cells": 12}, baseline=0,
            max_size=9,
        )  # fmt: skip


# -- segments ------------------------------------------------------------------------


def test_neighbours_and_connected_sets():
    labels = np.array([[0, 0, 1], [2, 3, 1]])
    around = neighbours(labels)
    assert around == [{1, 2, 3}, {0, 3}, {0, 3}, {0, 1, 2}]
    found = list(connected_sets(around, 2))
    assert found[:4] == [frozenset([i]) for i in range(4)]
    pairs = {frozenset(p) for p in [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]}
    assert set(found[4:]) == pairs and len(found) == 9
    assert len(list(connected_sets(around, 4))) == 4 + 5 + 4 + 1


def test_segments_follow_a_picture_and_are_remembered(monkeypatch):
    x = np.zeros((1, 20, 24, 3), np.float32)
    x[0, :, :12] = (255, 0, 0)
    x[0, :, 12:, 2] = 255
    for name in ("quickshift", "slic", "felzenszwalb", "watershed"):
        options = {
            "quickshift": {"max_dist": 10},
            "slic": {"n_segments": 2},
            "watershed": {"markers": 4},
        }.get(name)
        labels, counts = segment_inputs(x, name, options)
        assert counts[0] >= 2 and set(np.unique(labels)) == set(range(counts[0]))
        if name != "watershed":
            left, right = set(labels[0, :, :11].ravel()), set(labels[0, :, 13:].ravel())
            assert not left & right
    labels, counts = segment_inputs(x, "grid", {"cells": (2, 3)})
    np.testing.assert_array_equal(np.bincount(labels.ravel()), [80] * 6)
    monkeypatch.setattr("skimage.segmentation.quickshift", None)
    again, _ = segment_inputs(x, "quickshift", {"max_dist": 10})
    with pytest.raises(TypeError):
        SEGMENTERS["quickshift"].function(x[0])
    assert again.shape == (1, 20, 24)
    with pytest.raises(OptionError, match="an image"):
        segment_inputs(x[..., 0, 0], "slic")
    with pytest.raises(InputError, match="single segment"):
        segment_inputs(x, np.ones((20, 24), int))
