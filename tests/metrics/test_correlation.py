"""Correlation and robustness metrics against values computed by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr

import tfxai
from tests.metrics.linear_model import exact, explained, images, linear, weights
from tfxai.errors import InputError, NothingToExplainWarning, OptionError
from tfxai.metrics.correlation import pearson
from tfxai.metrics.registry import compute

TARGET = [0, 1, 2]
CORRELATIONS = [
    ("faithfulness_correlation", {}),
    ("mufidelity", {"grid": 5}),  # squares of 3: 12 / 5, rounded up
]


@pytest.fixture(scope="module", params=["softmax", None], ids=["softmax", "linear"])
def model(request):
    return linear(request.param)


def test_pearson_by_hand():
    # a: -1 0 1, b: -1 2 -1 -> 0; b: -1 -1 2 -> 3 / sqrt(2 * 6)
    result = pearson(np.array([1.0, 2, 3]), np.array([0.0, 3, 0]))
    assert result == pytest.approx(0, abs=1e-15)
    result = pearson(np.array([1.0, 2, 3]), np.array([0.0, 0, 3]))
    assert result == pytest.approx(3 / np.sqrt(12))
    assert pearson(np.ones(3) * 0.1, np.array([0.0, 0, 3])) == 0


def test_mufidelity_is_of_ranks_of_squares():
    """Four squares of 2 x 2; each random subset holds one of them."""
    model, x = linear(None, side=4, channels=1), images(1, 4, 1)
    true = exact(model, x, [1], base=0)
    cost = true.relevance[0, ..., 0].reshape(2, 2, 2, 2).sum((1, 3)).ravel()
    cubed = np.zeros((2, 2, 2, 2))
    cubed[:, 0, :, 0] = (cost**3).reshape(2, 2)  # only the order is kept
    e = explained(model, x, cubed.reshape(1, 4, 4, 1), [1])
    options = {"grid": 2, "share": 0.25, "baseline": 0}
    assert compute("mufidelity", model, e, **options)[0] == pytest.approx(1, abs=0.01)
    r = np.array([3.0, -1, 2, 0])
    at = np.repeat(np.repeat(r.reshape(2, 2), 2, 0), 2, 1)
    e = explained(model, x, at[None, ..., None], [1])
    draws = np.argsort(np.random.default_rng(4).random((50, 4)), 1)[:, 0]
    result = compute("mufidelity", model, e, n_samples=50, seed=4, **options)
    wanted = spearmanr(r[draws], cost[draws]).statistic
    assert result[0] == pytest.approx(wanted, abs=0.01)  # equal costs, but for rounding


@pytest.mark.parametrize("name, options", CORRELATIONS)
def test_the_truth_correlates_fully(name, options, model):
    x = images()
    true = exact(model, x, TARGET)
    result = compute(name, model, true, **options)
    np.testing.assert_allclose(result, 1, atol=1e-5)
    against = explained(model, x, -3 * true.relevance, TARGET)
    result = compute(name, model, against, **options)
    np.testing.assert_allclose(result, -1, atol=1e-5)


def test_a_subset_of_one_pixel_is_a_list_of_pixels():
    """share = 1 / 4 of 4 pixels: the correlation of random single pixels."""
    model, x = linear(None, side=2, channels=1), images(1, 2, 1)
    r = np.array([3.0, -1, 2, 0])
    e = explained(model, x, r.reshape(1, 2, 2, 1), [1])
    cost = (x * weights(model, [1])).ravel()
    draws = np.argsort(np.random.default_rng(4).random((50, 4)), 1)[:, 0]
    result = compute(
        "faithfulness_correlation", model, e,
        share=0.25, n_samples=50, baseline=0, seed=4,
    )  # fmt: skip
    wanted = np.corrcoef(r[draws], cost[draws])[0, 1]
    assert result[0] == pytest.approx(wanted, abs=1e-5)
    # and the scaled infidelity of the same subsets
    a, b = r[draws], cost[draws]
    result = compute(
        "infidelity", model, e, share=0.25, n_samples=50, baseline=0, seed=4
    )
    beta = (a * b).sum() / (a * a).sum()
    assert result[0] == pytest.approx(((beta * a - b) ** 2).mean(), rel=1e-4)
    result = compute(
        "infidelity", model, e, share=0.25, n_samples=50, baseline=0, seed=4,
        scaling=False,
    )  # fmt: skip
    assert result[0] == pytest.approx(((a - b) ** 2).mean(), rel=1e-4)


def test_the_truth_has_no_infidelity(model):
    x = images()
    true = exact(model, x, TARGET)
    result = compute("infidelity", model, true, scaling=False)
    np.testing.assert_allclose(result, 0, atol=1e-10)
    double = explained(model, x, 2 * true.relevance, TARGET)
    np.testing.assert_allclose(compute("infidelity", model, double), 0, atol=1e-10)
    assert (compute("infidelity", model, double, scaling=False) > 1e-5).all()
    # relevance of the wrong sign counts as relevance that predicts nothing
    against = explained(model, x, -true.relevance, TARGET)
    small = explained(model, x, 1e-12 * true.relevance, TARGET)
    none = compute("infidelity", model, small, scaling=False)
    np.testing.assert_allclose(compute("infidelity", model, against), none, rtol=1e-6)


@pytest.mark.parametrize("perturb", ["subset", "gaussian"])
def test_a_map_of_zeros_has_the_infidelity_of_ones(perturb, model):
    x = images()
    with pytest.warns(NothingToExplainWarning):
        zeros, ones = (
            compute(
                "infidelity", model, explained(model, x, v * np.ones_like(x), TARGET),
                perturb=perturb,
            )
            for v in (0, 1)
        )  # fmt: skip
    np.testing.assert_allclose(zeros, ones, rtol=1e-6)


@pytest.mark.parametrize(
    "preprocess", [lambda v: v / 10, lambda v: v[..., ::-1]], ids=["scale", "flip"]
)
def test_noise_is_counted_behind_the_preprocess(preprocess):
    x = images()
    wrapped = tfxai.wrap(linear(None), preprocess)
    e = tfxai.explain(wrapped, x, "gradient", np.array(TARGET))
    options = {"perturb": "gaussian", "scaling": False}
    result = compute("infidelity", wrapped, e, **options)
    np.testing.assert_allclose(result, 0, atol=1e-9)


def test_gradients_have_no_infidelity_under_noise(model):
    x = images()
    w = weights(model, TARGET)
    e = explained(model, x, w, TARGET)
    options = {"perturb": "gaussian", "scaling": False}
    result = compute("infidelity", model, e, **options)
    np.testing.assert_allclose(result, 0, atol=1e-10)
    # Twice the gradient errs by the gradient: E (I . w)^2 = (sigma ptp)^2 |w|^2
    double = explained(model, x, 2 * w, TARGET)
    result = compute("infidelity", model, double, n_samples=4000, **options)
    ptp = np.ptp(x.reshape(3, -1), 1)
    wanted = (0.1 * ptp) ** 2 * (w**2).reshape(3, -1).sum(1)
    np.testing.assert_allclose(result, wanted, rtol=0.1)
    narrow = explained(model, x, w[..., :1], TARGET)
    with pytest.raises(InputError, match="gradient for every value"):
        compute("infidelity", model, narrow, perturb="gaussian")


def test_max_sensitivity_of_known_maps(model):
    x = images()
    gradients = tfxai.create_analyzer("gradient", model)
    e = gradients.analyze(x, np.array(TARGET))
    result = compute("max_sensitivity", model, e, analyzer=gradients)
    np.testing.assert_allclose(result, 0, atol=1e-6)
    # R = x w changes by d w for every x.
    product = tfxai.create_analyzer("input_t_gradient", model)
    e = product.analyze(x, np.array(TARGET))
    result = compute(
        "max_sensitivity", model, e, analyzer=product, radius=0.1, n_samples=4, seed=3
    )
    rng, w = np.random.default_rng(3), weights(model, TARGET)
    draws = [rng.uniform(-1, 1, x.shape[1:]) for _ in range(4)]
    for i in range(3):
        length = np.linalg.norm((x[i] * w[i]).sum(-1))
        moves = [np.linalg.norm((0.1 * np.ptp(x[i]) * d * w[i]).sum(-1)) for d in draws]
        assert result[i] == pytest.approx(max(moves) / length, rel=1e-4)


def test_options_that_make_no_subsets(model):
    e = exact(model, images(), TARGET)
    for options in ({"share": 0}, {"share": 1}, {"n_samples": 1}, {"n_samples": 2.5}):
        with pytest.raises(OptionError, match=next(iter(options))):
            compute("faithfulness_correlation", model, e, **options)
    with pytest.raises(OptionError, match="perturb='square'"):
        compute("infidelity", model, e, perturb="square")
