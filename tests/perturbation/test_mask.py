"""Optimised masks: their parts by formula, and a known region that they must find."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

import tfxai
from tfxai.errors import OptionError
from tfxai.perturbation import mask

L = keras.layers


def test_a_mask_chooses_between_blurs():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(2, 12, 9, 3)).astype("float32")
    levels = mask.pyramid(x, [4.0, 2.0, 0.0])
    for b in range(2):
        for level, sigma in enumerate((4.0, 2.0)):
            wanted = np.stack(
                [
                    gaussian_filter(x[b, ..., c], sigma, mode="nearest")
                    for c in range(3)
                ],
                -1,
            )
            np.testing.assert_allclose(levels[b, level], wanted, atol=1e-5)
    np.testing.assert_array_equal(levels[:, 2], x)
    m = rng.uniform(size=(2, 12, 9)).astype("float32")
    m[0, 0, :3] = 0, 0.5, 1
    blended = mask.blended(tf.constant(levels), tf.constant(m)).numpy()
    for index in np.ndindex(m.shape):
        b, at = index[0], index[1:]
        low = min(int(2 * m[index]), 1)
        part = 2 * m[index] - low
        pair = levels[(b, low, *at)], levels[(b, low + 1, *at)]
        np.testing.assert_allclose(
            blended[index], (1 - part) * pair[0] + part * pair[1], atol=1e-5
        )


@pytest.mark.parametrize(("stride", "sigma"), [(3, 6.0), (2, 1.5), (1, 3.0)])
def test_the_smooth_maximum_by_hand(stride, sigma):
    spatial = (11, 8)
    coarse = [-(-n // stride) for n in spatial]
    m = np.random.default_rng(stride).uniform(size=(2, *coarse)).astype("float32")
    smooth, whole = mask.smooth_maximum(spatial, stride, sigma)(tf.constant(m))
    smooth = smooth.numpy()
    assert smooth.shape == (2, *spatial)
    margin = stride * int(np.ceil(sigma / stride))
    assert whole.shape == (2, *(stride * n + 2 * margin for n in coarse))
    part = whole[:, margin : margin + 11, margin : margin + 8]
    np.testing.assert_array_equal(part, smooth)
    border = whole.numpy().copy()
    border[:, margin:-margin, margin:-margin] = 0
    assert 0 < border.max() < 1  # the part outside the image
    reach = 1 + int(np.ceil(sigma / stride))
    middle = (stride - 1) / 2
    for b, row, column in np.ndindex(*smooth.shape):
        near, i, j = [], row // stride, column // stride
        for u in range(i - reach, i + reach + 1):
            for v in range(j - reach, j + reach + 1):
                inside = 0 <= u < coarse[0] and 0 <= v < coarse[1]
                away = np.hypot(stride * u + middle - row, stride * v + middle - column)
                k = np.exp(-2 * max(0, away / sigma - 0.5) ** 2)
                near.append(k * m[b, u, v] if inside else 0.0)
        near = np.array(near)
        soft = np.exp(20 * near) / np.exp(20 * near).sum()
        assert smooth[b, row, column] == pytest.approx(float(soft @ near), abs=1e-5)


def test_the_costs_by_formula():
    rng = np.random.default_rng(2)
    m = rng.uniform(size=(2, 4, 5)).astype("float32")
    deletion = mask.deletion((16, 20), 5, 3.0, 0.3, 0.7, 3.0, None)
    assert deletion.start(rng, 0)[0].shape == (4, 5)
    cost = deletion.cost([tf.constant(m)], None, None, 0).numpy()
    variation = [np.mean(np.abs(np.diff(m, axis=a)) ** 3, (1, 2)) for a in (1, 2)]
    wanted = 0.3 * np.abs(1 - m).mean((1, 2)) + 0.7 * (variation[0] + variation[1])
    np.testing.assert_allclose(cost, wanted, rtol=1e-5)
    preservation = mask.preservation((16, 20), 0.25, 2, 2.0, 3.0, 4, 50.0, 0, None)
    m = rng.uniform(size=(2, 8, 10)).astype("float32")
    _, whole = mask.smooth_maximum((16, 20), 2, 2.0)(tf.constant(m))
    whole = np.sort(whole.numpy().reshape(2, -1))
    count = whole.shape[1]
    r = np.arange(count) >= count - 80  # a quarter of 16 x 20
    wanted = 50 * np.square(whole - r).mean(-1)
    cost = preservation.cost([tf.constant(m)], None, None, tf.constant(7)).numpy()
    np.testing.assert_allclose(cost, wanted, rtol=1e-3)  # near ties have a random order


def cornered():
    """Return a model whose class depends on the brightness of one corner only."""
    x = keras.Input((32, 32, 1))
    corner = L.Cropping2D(((4, 18), (4, 18)))(x)
    total = L.GlobalAveragePooling2D()(corner)
    model = keras.Model(x, L.Dense(2, "softmax")(total))
    model.layers[-1].set_weights([np.float32([[16, 0]]), np.float32([0, 3])])
    return model


def spots():
    """Return two bright spots, one of them in the corner."""
    x = np.zeros((1, 32, 32, 1), np.float32)
    x[:, 6:12, 6:12] = 1.0
    x[:, 20:26, 20:26] = 1.0
    return x


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (
            "meaningful_perturbation",
            {"cells": 8, "blur": 6.0, "jitter": 0, "l1": 0.2, "tv": 0.2},
        ),
        (
            "extremal_perturbation",
            {"area": 0.1, "blur": 6.0, "learning_rate": 0.05, "flip": False},
        ),
    ],
)
def test_a_planted_place_is_found(method, options):
    model, x = cornered(), spots()
    assert model.predict(x, verbose=0)[0, 0] > 0.9
    e = tfxai.explain(model, x, method, 0, n_iterations=150, **options)
    m = e.relevance[0, ..., 0]
    assert m.min() >= 0 and m.max() <= 1
    if method == "meaningful_perturbation":
        assert m[4:14, 4:14].sum() > 0.6 * m.sum()  # the corner is a tenth
        assert e.extra["score_after"][0] < 0.3 * e.extra["score_before"][0]
    else:
        spot, other = m[6:12, 6:12].mean(), m[20:26, 20:26].mean()
        assert spot > 0.9 and other < 0.1
        assert m.mean() == pytest.approx(0.1, abs=0.03)
        assert e.extra["score_after"][0] > e.extra["score_before"][0]
    row, column = e.extra["center_of_mass"][0]
    assert 4 <= row <= 16 and 4 <= column <= 16


def test_jitter_is_drawn_from_the_seed():
    model, x = cornered(), spots()
    options = {"n_iterations": 12, "cells": 8, "blur": 3.0, "jitter": 3}
    scores = [
        tfxai.explain(model, x, "meaningful_perturbation", 0, seed=s, **options).extra[
            "score_history"
        ]
        for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.abs(scores[0] - scores[2]).max() > 0


@pytest.mark.parametrize(
    ("method", "options", "text"),
    [
        ("meaningful_perturbation", {"cells": 0}, "cells=0"),
        ("meaningful_perturbation", {"jitter": -1}, "jitter=-1"),
        ("meaningful_perturbation", {"beta": 0.5}, "beta=0.5"),
        ("extremal_perturbation", {"area": 1.5}, "area=1.5"),
        ("extremal_perturbation", {"area": "0.1"}, "area='0.1'"),
        ("extremal_perturbation", {"levels": 1}, "levels=1"),
        ("extremal_perturbation", {"stride": 0}, "stride=0"),
        ("extremal_perturbation", {"sigma": -1}, "sigma=-1"),
    ],
)
def test_options_are_checked_at_the_door(method, options, text):
    with pytest.raises(OptionError, match=text):
        tfxai.create_analyzer(method, cornered(), **options)
