"""Metrics of masked images, of the order and of stability, against NumPy."""

import numpy as np
import pytest
from scipy.stats import rankdata

import tfxai
from tests.metrics.linear_model import exact, explained, images, linear, softmax, value
from tests.metrics.linear_model import weights as weights_of
from tfxai.metrics.registry import compute
from tfxai.sampling.segments import segment_inputs

TARGET = np.array([0, 1, 2])


@pytest.fixture(scope="module")
def model():
    return linear()


def probability(model, x, target):
    """The probability of the target, in float64."""
    w = np.asarray(model.weights[0]).astype(float)
    return softmax(x.reshape(len(x), -1) @ w)[np.arange(len(x)), target]


def test_drop_and_gain_by_their_formula(model):
    x = images()
    r = x * weights_of(model, TARGET)
    positive = np.maximum(r.sum(-1, keepdims=True), 0)
    shown = x * positive / positive.max((1, 2, 3), keepdims=True)
    p, q = probability(model, x, TARGET), probability(model, shown, TARGET)
    drop, gain = np.maximum(p - q, 0) / p, np.maximum(q - p, 0) / (1 - p)
    assert (drop + gain > 0.001).all()
    e = explained(model, x, r, TARGET)
    np.testing.assert_allclose(compute("average_drop", model, e), drop, atol=1e-5)
    np.testing.assert_allclose(compute("average_gain", model, e), gain, atol=1e-5)


def test_the_exact_relevance_of_a_linear_score_is_monotonous(model):
    """Pixels are added from negative to positive relevance: first all steps fall."""
    x = images()
    base = np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)
    e = exact(model, x, TARGET)
    found = compute("monotonicity", model, e, n_steps=144, output="logit")
    r = ((x - base) * weights_of(model, TARGET)).sum(-1).reshape(3, -1)
    np.testing.assert_allclose(found, (r >= 0).mean(1), atol=0.02)
    reverse = explained(model, x, -np.asarray(e.relevance), TARGET)
    again = compute("monotonicity", model, reverse, n_steps=144, output="logit")
    np.testing.assert_allclose(again, found, atol=0.02)  # the same steps, backwards


def test_monotonicity_of_a_positive_model_is_1():
    model = linear(None, side=4, channels=1)
    model.set_weights([np.abs(model.get_weights()[0])])
    heatmap = np.arange(16.0).reshape(4, 4)
    options = {"baseline": 0.0, "output": "logit"}
    assert value("monotonicity", model, heatmap, **options) == 1


def test_the_rank_correlation_with_effects_is_1_where_the_score_is_one_pixel():
    model = linear(None, side=4, channels=1)
    w = np.zeros((16, 3))
    w[:, 0] = 2.0 ** np.arange(16)  # each pixel has twice the effect of the one before
    model.set_weights([w])
    heatmap = 2.0 ** np.arange(16).reshape(4, 4)
    options = {"n_groups": 16, "n_samples": 40, "output": "logit"}
    right = value("monotonicity_correlation", model, heatmap, **options)
    assert right > 0.95
    wrong = value("monotonicity_correlation", model, heatmap[::-1, ::-1], **options)
    assert wrong == pytest.approx(-right, abs=1e-6)


def test_irof_by_its_formula(model):
    x = np.repeat(np.repeat(images(side=3), 4, 1), 4, 2)  # nine squares of one colour
    e = exact(model, x, TARGET)
    found = compute("irof", model, e, n_segments=9)
    heatmaps = np.asarray(e.relevance, float).sum(-1)
    for i, heatmap in enumerate(heatmaps):
        parts = segment_inputs(x[i : i + 1], "slic", {"n_segments": 9})[0][0]
        means = {s: heatmap[parts == s].mean() for s in np.unique(parts)}
        copy, drops = x[i].astype(float), []
        before = probability(model, x[i][None], TARGET[i : i + 1])
        for s in sorted(means, key=lambda s: -means[s]):
            copy[parts == s] = x[i].mean((0, 1))
            drops.append(1 - probability(model, copy[None], TARGET[i : i + 1]) / before)
        assert len(drops) > 3
        assert found[i] == pytest.approx(np.mean(drops), abs=1e-5)


def test_the_symmetric_gain_is_a_difference_of_two_deletions(model):
    x = images()
    e = exact(model, x, TARGET)
    back = explained(model, x, -np.asarray(e.relevance), TARGET)
    last, first = (compute("deletion", model, v, n_steps=30) for v in (back, e))
    gain = compute("symmetric_relevance_gain", model, e, n_steps=30)
    np.testing.assert_allclose(gain, last - first, atol=1e-6)
    assert (gain > 0).all()


def test_stability_of_a_linear_models_gradient_times_input(model):
    """R(x') - R(x) = w (x' - x): relative changes of both are equal, per element."""
    model = linear(None, channels=1)
    x = images(channels=1)
    analyzer = tfxai.create_analyzer("input_t_gradient", model)
    e = analyzer.analyze(x, TARGET)
    ris = compute("relative_input_stability", model, e, analyzer=analyzer)
    np.testing.assert_allclose(ris, 1, rtol=1e-3)
    ros = compute("relative_output_stability", model, e, analyzer=analyzer)
    lipschitz = compute("local_lipschitz", model, e, analyzer=analyzer)
    rng, (worst, steepest) = np.random.default_rng(0), np.zeros((2, 3))
    w = np.asarray(model.weights[0]).astype(float)
    for _ in range(10):
        reach = 0.02 * np.ptp(x.reshape(3, -1), axis=1)[:, None, None, None]
        step = (reach * rng.uniform(-1, 1, x.shape[1:])).reshape(3, -1)
        outputs = np.linalg.norm(step @ w, axis=1)
        relative = np.linalg.norm(step / x.reshape(3, -1), axis=1)
        worst = np.maximum(worst, relative / outputs)
        change = np.linalg.norm(step * w.T[TARGET], axis=1)
        steepest = np.maximum(steepest, change / np.linalg.norm(step, axis=1))
    np.testing.assert_allclose(ros, worst, rtol=1e-3)
    np.testing.assert_allclose(lipschitz, steepest, rtol=1e-3)


def test_the_auc_by_hand():
    model = linear(None, side=4, channels=1)
    rng = np.random.default_rng(0)
    heatmap = rng.integers(0, 5, (4, 4)).astype(float)
    box = np.zeros((1, 4, 4), bool)
    box[0, 1:3, 1:4] = True
    inside, outside = heatmap[box[0]], heatmap[~box[0]]
    pairs = np.sign(inside[:, None] - outside) / 2 + 0.5
    assert len(np.unique(rankdata(heatmap))) < 16  # there are ties
    found = value("localisation_auc", model, heatmap, boxes=box)
    assert found == pytest.approx(pairs.mean())
