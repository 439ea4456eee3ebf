"""RISE: its masks, and its mean over masks against a direct computation."""

import tracemalloc

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import InputError, OptionError
from tfxai.sampling.rise import random_masks

L = keras.layers


def masks(seed, count, cells, keep, spatial):
    return np.concatenate(list(random_masks(seed, count, cells, keep, spatial)))


def test_masks_are_soft_and_keep_their_share():
    m = masks(0, 3000, 4, 0.3, (24, 17))
    assert m.shape == (3000, 24, 17) and m.min() >= 0 and m.max() <= 1
    assert m.mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(m.mean(0), 0.3, atol=0.05)
    assert 0.2 < ((m > 0) & (m < 1)).mean() < 0.9
    steps = np.abs(np.diff(m, axis=1)).max()
    assert steps <= 4 / 24 + 1e-6  # a cell is 6 pixels high: no step is steeper
    np.testing.assert_array_equal(m[:100], masks(0, 100, 4, 0.3, (24, 17)))


def test_the_mean_of_masks_by_hand():
    x = keras.Input((10, 12, 2))
    model = zoo.fill(keras.Model(x, L.Dense(3, "softmax")(L.Flatten()(x))))
    data = np.random.default_rng(0).normal(size=(2, 10, 12, 2)).astype("float32")
    options = {"n_samples": 150, "cells": 3, "keep": 0.4, "baseline": 0.5, "seed": 7}
    e = tfxai.explain(model, data, "rise", [[0, 2]] * 2, batch_size=9, **options)
    m = masks(7, 150, 3, 0.4, (10, 12))
    for b in range(2):
        seen = 0.5 + m[..., None] * (data[b] - 0.5)
        p = model.predict(seen, verbose=0)
        for t, k in enumerate((0, 2)):
            wanted = (p[:, k, None, None] * m).mean(0) / 0.4
            np.testing.assert_allclose(e.relevance[b, t, ..., 0], wanted, atol=1e-5)
            assert e.extra["mean"][b, t] == pytest.approx(p[:, k].mean(), abs=1e-5)


def test_it_finds_the_one_place_that_counts():
    def predict(batch):
        return batch[:, 20:24, 4:8].mean((1, 2))

    x = np.ones((1, 32, 32, 1), np.float32)
    e = tfxai.explain(predict, x, "rise", 0, n_samples=1500, cells=8)
    place = np.unravel_index(e.relevance[0, ..., 0].argmax(), (32, 32))
    assert np.abs(np.array(place) - [21.5, 5.5]).max() <= 2.5
    series = tfxai.explain(
        lambda v: v[:, 9], np.ones((1, 30, 1), "float32"), "rise", 0, cells=10
    )
    assert abs(int(series.relevance[0, :, 0].argmax()) - 9) <= 1


@pytest.mark.parametrize(
    "options, seen",
    [
        ({"n_samples": 0}, "n_samples=0"),
        ({"cells": 0}, "cells=0"),
        ({"keep": 1.0}, "keep=1.0"),
        ({"baseline": "mean"}, "baseline='mean'"),
        ({"scale": "odds"}, "scale='odds'"),
    ],
)
def test_what_is_refused(options, seen):
    with pytest.raises(OptionError) as caught:
        tfxai.create_analyzer("rise", lambda x: x, **options)
    assert seen in caught.value.seen
    with pytest.raises(InputError, match="inputs of shapes"):
        tfxai.explain(lambda v: v, np.ones((1, 4), "float32"), "rise", 0)


def test_masks_of_large_images_are_built_by_batch_size():
    """64 masks of 2000 x 1000 take 512 MB; two of them 16 MB."""
    x = np.ones((1, 2000, 1000, 1), np.float16)
    tracemalloc.start()
    analyzer = tfxai.create_analyzer("rise", lambda v: v[:, 0, 0], n_samples=6)
    e = analyzer.analyze(x, 0, batch_size=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6
    m = masks(0, 6, 7, 0.5, (2000, 1000))
    wanted = (m[:, :1, :1] * m).mean(0) / 0.5
    np.testing.assert_allclose(e.relevance[0, ..., 0], wanted, atol=1e-3)


def test_masks_do_not_depend_on_how_many_are_built_at_once():
    whole = masks(3, 70, 4, 0.5, (9, 11))
    for size in (1, 5, 64):
        parts = list(random_masks(3, 70, 4, 0.5, (9, 11), size))
        assert max(map(len, parts)) == size
        np.testing.assert_array_equal(np.concatenate(parts), whole)
