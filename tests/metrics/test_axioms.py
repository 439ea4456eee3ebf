"""Completeness and discriminativeness against values computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

import tfxai
from tests.metrics.linear_model import explained, images, linear, weights
from tfxai.errors import InputError
from tfxai.metrics.registry import compute


@pytest.fixture(scope="module")
def larger():
    return linear(None, side=4, channels=1)


def test_completeness_by_hand(larger):
    x = images(2, 4, 1)
    r = x * weights(larger, [0, 1])
    result = compute("completeness", larger, explained(larger, x, r, [0, 1]))
    np.testing.assert_allclose(result, 0, atol=1e-4)
    result = compute("completeness", larger, explained(larger, x, 3 * r, [0, 1]))
    np.testing.assert_allclose(result, 2, rtol=1e-3)
    # the method reports a change that differs by 1
    total = 3 * r.reshape(2, -1).sum(1)
    reported = explained(larger, x, 3 * r, [0, 1], change=total + np.array([-1, 1]))
    wanted = [1 / abs(total[0] - 1), 1 / abs(total[1] + 1)]
    np.testing.assert_allclose(compute("completeness", larger, reported), wanted, 1e-4)


def test_integrated_gradients_are_complete():
    model, x = linear(None), images()
    e = tfxai.explain(model, x, "integrated_gradients", baseline=0.5)
    assert (compute("completeness", model, e) < 1e-3).all()
    # scaling the relevance afterwards shows
    scaled = replace(e, relevance=10 * e.relevance)
    np.testing.assert_allclose(compute("completeness", model, scaled), 9, rtol=1e-2)
    cut = replace(e, relevance=np.maximum(e.relevance, 0))
    lost = np.minimum(e.relevance, 0).sum((1, 2, 3)) / e.extra["change"]
    result = compute("completeness", model, cut)
    np.testing.assert_allclose(result, np.abs(lost), rtol=1e-2)


def test_deeplift_is_complete_and_scaled_it_is_not():
    model, x = linear(None), images()
    e = tfxai.explain(model, x, "deeplift")
    np.testing.assert_allclose(compute("completeness", model, e), 0, atol=1e-4)
    scaled = replace(e, relevance=3 * e.relevance)
    np.testing.assert_allclose(compute("completeness", model, scaled), 2, rtol=1e-2)


def test_the_runner_up_has_another_map(larger):
    """The weights of the second class are -1 times, of the third like, the first's."""
    w = np.random.default_rng(0).uniform(0.1, 1, 16)
    model = linear(None, side=4, channels=1)
    analyzer = tfxai.create_analyzer("gradient", model)
    x = images(2, 4, 1)
    for third, wanted in ((0.5 * w, 1), (-2 * w, -1)):
        model.set_weights([np.stack([w, -w, third], 1)])
        e = analyzer.analyze(x, 0)
        result = compute("discriminativeness", model, e, analyzer=analyzer)
        np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_one_output_has_no_runner_up():
    def predict(batch):
        return batch.mean((1, 2, 3))[:, None]

    x = images(1, 4, 1)
    analyzer = tfxai.create_analyzer("occlusion", predict, window=2)
    e = analyzer.analyze(x, 0)
    with pytest.raises(InputError, match="one output"):
        compute("discriminativeness", predict, e, analyzer=analyzer)
