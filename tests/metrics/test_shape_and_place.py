"""What a map looks like and where it points, by hand."""

from dataclasses import replace

import numpy as np
import pytest

import tfxai
from tests.metrics.pictures import explained, linear, pictures, weights
from tfxai.errors import InputError, NothingToExplainWarning
from tfxai.metrics.registry import compute


@pytest.fixture(scope="module")
def model():
    return linear(None, side=2, channels=1)


def asked(name, model, map, **options):
    """The measure of one map given as rows."""
    map = np.array(map, float)[None, ..., None]
    x = pictures(1, map.shape[1], 1)
    return compute(name, model, explained(model, x, map, [0]), **options)[0]


def test_gini_by_hand(model):
    assert asked("sparseness", model, [[0, 0], [0, -5]]) == pytest.approx(0.75)
    assert asked("sparseness", model, [[2, -2], [2, 2]]) == pytest.approx(0)
    # sorted 1 1 2 4: 1 - 2 (1 * 3.5 + 1 * 2.5 + 2 * 1.5 + 4 * 0.5) / (8 * 4)
    assert asked("sparseness", model, [[4, 1], [-1, 2]]) == pytest.approx(1 - 22 / 32)


def test_entropy_by_hand(model):
    assert asked("complexity", model, [[0, 0], [0, -5]]) == pytest.approx(0)
    assert asked("complexity", model, [[2, -2], [2, 2]]) == pytest.approx(np.log(4))
    wanted = 0.5 * np.log(2) + 0.25 * np.log(4) + 2 * 0.125 * np.log(8)
    assert asked("complexity", model, [[4, 1], [-1, 2]]) == pytest.approx(wanted)


MAP = np.zeros((4, 4))
MAP[0, 3], MAP[1, 1], MAP[2, 2], MAP[3, 0] = 5, 3, 2, -10


@pytest.fixture(scope="module")
def larger():
    return linear(None, side=4, channels=1)


def test_pointing_by_hand(larger):
    """The largest value is in the corner above right, (0, 3)."""
    corner, left = [[0, 0.75, 0.25, 1]], [[0, 0, 1, 0.5]]
    assert asked("pointing_game", larger, MAP, boxes=corner, tolerance=0) == 1
    assert asked("pointing_game", larger, MAP, boxes=left, tolerance=0) == 0
    # column 3 is two pixels from column 1
    assert asked("pointing_game", larger, MAP, boxes=left, tolerance=1.9 / 4) == 0
    assert asked("pointing_game", larger, MAP, boxes=left, tolerance=2 / 4) == 1
    assert asked("pointing_game", larger, MAP, boxes=left) == 0  # .03 of 4 pixels
    far = [[0.75, 0, 1, 0.25]]  # (3, 0): sqrt(18) away
    assert asked("pointing_game", larger, MAP, boxes=far, tolerance=4.2 / 4) == 0
    assert asked("pointing_game", larger, MAP, boxes=far, tolerance=4.3 / 4) == 1


def test_mass_and_rank_by_hand(larger):
    middle = [[0.25, 0.25, 0.75, 0.75]]  # holds 3 and 2, of 10; 2 of the 4 best
    assert asked("relevance_mass", larger, MAP, boxes=middle) == pytest.approx(0.5)
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, 3] = mask[0, 1, 1] = mask[0, 3, 0] = True
    assert asked("relevance_mass", larger, MAP, boxes=mask) == pytest.approx(0.8)
    # the best three are (0, 3), (1, 1), (2, 2): two of them are in the mask
    assert asked("relevance_rank", larger, MAP, boxes=mask) == pytest.approx(2 / 3)
    # the best four: those three, and the first of the zeros, (0, 0)
    assert asked("relevance_rank", larger, MAP, boxes=middle) == pytest.approx(2 / 4)
    second = np.zeros((1, 4, 4), bool)
    second[0, 1, 1] = True  # the second best, where one pixel is asked for
    assert asked("relevance_rank", larger, MAP, boxes=second) == 0
    both = [[[0.25, 0.25, 0.75, 0.75], [0, 0.75, 0.25, 1]]]
    assert asked("relevance_mass", larger, MAP, boxes=both) == pytest.approx(1)


def test_a_map_with_nothing_positive_has_the_mass_of_a_constant_one(larger):
    with pytest.warns(NothingToExplainWarning, match="nothing positive"):
        made = asked("relevance_mass", larger, -np.abs(MAP), boxes=[[0, 0, 1, 0.25]])
    assert made == pytest.approx(0.25)


def test_completeness_by_hand(larger):
    x = pictures(2, 4, 1)
    r = x * weights(larger, [0, 1])
    made = compute("completeness", larger, explained(larger, x, r, [0, 1]))
    np.testing.assert_allclose(made, 0, atol=1e-4)
    made = compute("completeness", larger, explained(larger, x, 3 * r, [0, 1]))
    np.testing.assert_allclose(made, 2, rtol=1e-3)
    # the method says that it is 1 above what it shares out
    total = 3 * r.reshape(2, -1).sum(1)
    told = explained(larger, x, 3 * r, [0, 1], change=total + np.array([-1, 1]))
    wanted = [1 / abs(total[0] - 1), 1 / abs(total[1] + 1)]
    np.testing.assert_allclose(compute("completeness", larger, told), wanted, 1e-4)


def test_integrated_gradients_are_complete():
    model, x = linear(None), pictures()
    e = tfxai.explain(model, x, "integrated_gradients", baseline=0.5)
    assert (compute("completeness", model, e) < 1e-3).all()
    # what was done to the map afterwards is seen
    scaled = replace(e, relevance=10 * e.relevance)
    np.testing.assert_allclose(compute("completeness", model, scaled), 9, rtol=1e-2)
    cut = replace(e, relevance=np.maximum(e.relevance, 0))
    lost = np.minimum(e.relevance, 0).sum((1, 2, 3)) / e.extra["change"]
    made = compute("completeness", model, cut)
    np.testing.assert_allclose(made, np.abs(lost), rtol=1e-2)


def test_deeplift_is_complete_and_scaled_it_is_not():
    model, x = linear(None), pictures()
    e = tfxai.explain(model, x, "deeplift")
    np.testing.assert_allclose(compute("completeness", model, e), 0, atol=1e-4)
    scaled = replace(e, relevance=3 * e.relevance)
    np.testing.assert_allclose(compute("completeness", model, scaled), 2, rtol=1e-2)


def test_the_runner_up_has_another_map(larger):
    """The weights of the second class are -1 times, of the third like, the first's."""
    w = np.random.default_rng(0).uniform(0.1, 1, 16)
    model = linear(None, side=4, channels=1)
    analyzer = tfxai.create_analyzer("gradient", model)
    x = pictures(2, 4, 1)
    for third, wanted in ((0.5 * w, 1), (-2 * w, -1)):
        model.set_weights([np.stack([w, -w, third], 1)])
        e = analyzer.analyze(x, 0)
        made = compute("discriminativeness", model, e, analyzer=analyzer)
        np.testing.assert_allclose(made, wanted, atol=1e-5)


def test_one_output_has_no_runner_up():
    def answer(batch):
        return batch.mean((1, 2, 3))[:, None]

    x = pictures(1, 4, 1)
    analyzer = tfxai.create_analyzer("occlusion", answer, window=2)
    e = analyzer.analyze(x, 0)
    with pytest.raises(InputError, match="one output"):
        compute("discriminativeness", answer, e, analyzer=analyzer)
