"""Curves of removed and inserted pixels against loops over single pixels."""

import numpy as np
import pytest

import tfxai
from tests.metrics.linear_model import (
    exact,
    explained,
    images,
    linear,
    softmax,
    weights,
)
from tfxai.errors import NothingToExplainWarning
from tfxai.metrics.baselines import baseline_images
from tfxai.metrics.registry import compute

TARGET = [2, 0]


@pytest.fixture(scope="module")
def model():
    return linear(side=5, channels=2)


def x_of():
    return images(2, 5, 2)


def answer(model, x, target, link=True):
    z = x.reshape(-1).astype(float) @ np.asarray(model.weights[0]).astype(float)
    return softmax(z)[target] if link else z[target]


def curve(model, first, then, order, target, link=True):
    """Return the score with 0, 1, 2 ... of the groups in `order` taken from `then`."""
    image = first.astype(float).copy()
    scores = [answer(model, image, target, link)]
    for place in order:
        for r, c in place:
            image[r, c] = then[r, c]
        scores.append(answer(model, image, target, link))
    return np.array(scores)


def single(heatmap):
    """Return the pixels one by one, the largest value first; equal ones row by row."""
    cells = sorted(np.ndindex(heatmap.shape), key=lambda p: (-heatmap[p], p))
    return [[p] for p in cells]


def area(scores):
    n = len(scores) - 1
    return sum((scores[k] + scores[k + 1]) / 2 / n for k in range(n))


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_deletion_and_insertion_are_loops(model, batch_size):
    x = x_of()
    e = exact(model, x, TARGET)
    mean = x.mean((1, 2), keepdims=True) * np.ones_like(x)
    blur = baseline_images("blur", x, None, 0)
    kinds = {"deletion": (x, mean), "insertion": (blur, x)}
    for name, (first, then) in kinds.items():
        result = compute(name, model, e, n_steps=25, batch_size=batch_size)
        for i, k in enumerate(TARGET):
            order = single(e.heatmap()[i])
            wanted = area(curve(model, first[i], then[i], order, k))
            assert result[i] == pytest.approx(wanted, abs=1e-6)


def test_fewer_steps_are_fewer_points_of_the_same_curve(model):
    x = x_of()
    e = exact(model, x, TARGET)
    mean = x.mean((1, 2), keepdims=True) * np.ones_like(x)
    result = compute("deletion", model, e, n_steps=4, output="logit")
    for i, k in enumerate(TARGET):
        scores = curve(model, x[i], mean[i], single(e.heatmap()[i]), k, link=False)
        at = [0, 6, 12, 19, 25]  # 25 / 4 = 6.25, 12.5 (to even), 18.75
        wanted = np.trapezoid(scores[at], np.array(at) / 25)
        assert result[i] == pytest.approx(wanted, abs=1e-5)
    every = compute("deletion", model, e, n_steps=25)
    np.testing.assert_allclose(compute("deletion", model, e, n_steps=1000), every)


def test_a_class_that_is_never_on_top_has_a_curve():
    model = linear(side=5, channels=2, seed=3)
    x = x_of()
    low = model(x).numpy().argmin(1)
    e = exact(model, x, low)
    result = compute("deletion", model, e, n_steps=25, baseline=0)
    for i, k in enumerate(low):
        order = single(e.heatmap()[i])
        wanted = area(curve(model, x[i], np.zeros_like(x[i]), order, k))
        assert result[i] == pytest.approx(wanted, abs=1e-6)


def test_equal_values_go_row_by_row(model):
    x = x_of()
    e = explained(model, x, np.zeros_like(x), TARGET)
    with pytest.warns(NothingToExplainWarning):
        result = compute("deletion", model, e, baseline=0, n_steps=25)
    for i, k in enumerate(TARGET):
        order = [[p] for p in np.ndindex(5, 5)]
        wanted = area(curve(model, x[i], np.zeros_like(x[i]), order, k))
        assert result[i] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("steps", [3, 9, 50])
def test_region_perturbation_is_a_loop_over_squares(model, steps):
    """Squares of 2 in a image of 5: the last ones are narrower."""
    x = x_of()
    e = exact(model, x, TARGET)
    result = compute(
        "region_perturbation", model, e, patch=2, n_steps=steps, baseline=0.5
    )
    for i, k in enumerate(TARGET):
        squares = [
            [(r, c) for r in range(a, min(a + 2, 5)) for c in range(b, min(b + 2, 5))]
            for a in (0, 2, 4)
            for b in (0, 2, 4)
        ]
        heatmap = e.heatmap()[i].astype(float)
        squares.sort(key=lambda s: -sum(heatmap[p] for p in s))
        scores = curve(model, x[i], np.full_like(x[i], 0.5), squares[:steps], k)
        wanted = np.mean([scores[0] - s for s in scores])
        assert result[i] == pytest.approx(wanted, abs=1e-6)


def test_pixel_flipping_by_hand():
    """A linear score: flipping pixel k to 0 costs its own relevance."""
    model = linear(None, side=2, channels=1)
    x = images(1, 2, 1)
    r = np.sort((x * weights(model, [1])).ravel())[::-1]
    e = exact(model, x, [1], base=0)
    result = compute("pixel_flipping", model, e, n_steps=2, baseline=0, output="logit")
    assert result[0] == pytest.approx((0 + r[0] + (r[0] + r[1])) / 3, rel=1e-4)


def test_what_is_compiled_is_compiled_once(model):
    """A Python `preprocess` runs only when a function is traced."""
    traced = []

    def preprocess(x):
        traced.append(x.shape)
        return x

    wrapped = tfxai.wrap(model, preprocess)
    e = tfxai.explain(wrapped, x_of(), "gradient", TARGET)
    first = [compute(n, wrapped, e, n_steps=5) for n in ("deletion", "insertion")]
    again = [compute(n, wrapped, e, n_steps=9) for n in ("deletion", "insertion")]
    other = [compute("deletion", wrapped, e, n_steps=9, output="logit")]
    assert len(traced) == 1 and not np.allclose(other[0], again[0])
    assert not np.array_equal(first[0], first[1])
