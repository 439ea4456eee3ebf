"""Standard errors and intervals of sampled values, tolerances, and stable ranks."""

import numpy as np
import pytest

import tfxai
from tests.benchmarks import coverage
from tfxai.errors import InexactWarning, OptionError
from tfxai.sampling.masks import bernoulli
from tfxai.sampling.regression import fit_linear_model

RNG = np.random.default_rng(0)
W = RNG.normal(size=12)
VALUES = np.tanh(coverage.MASKS @ W) + 0.3 * coverage.MASKS[:, 0] * coverage.MASKS[:, 1]


#: The exact value of HSIC takes a second; tests/sampling/test_sensitivity.py has it.
METHODS = [m for m in coverage.METHODS if m != "hsic"]


@pytest.mark.parametrize("method", METHODS)
def test_intervals_hold_the_exact_value(method):
    """60 draws of 12 values: two thirds of a binomial deviation per 1 % of coverage."""
    share = coverage.coverage(method, VALUES, 150, 60)
    assert 0.91 <= share <= 0.985


@pytest.mark.parametrize("method", METHODS)
def test_errors_shrink_with_the_root_of_the_samples(method):
    estimate, seeds = coverage.METHODS[method][0], 2 if method == "kernel_shap" else 8
    low, high = (
        np.mean([np.subtract(*estimate(VALUES, n, s)[::-1]) for s in range(seeds)])
        for n in (200, 800)
    )
    wanted = 2.0 if method != "kernel_shap" else 5.0  # interactions are found, too
    assert wanted / 1.5 < low / high < wanted * 1.9


def f(v):
    """Products of three of 12 columns; pairs of complements are exact for two."""
    y = 3 * v[:, :3].prod(1) + 12 * v[:, 3:6].prod(1) + v[:, 6:11].sum(1) / 10
    return y[:, None]


X = np.ones((2, 12)) + np.arange(2)[:, None]


def test_what_an_explanation_holds():
    for method in ("kernel_shap", "lime", "shapley_sampling"):
        e = tfxai.explain(f, X, method, [[0, 0]] * 2, baseline=0, n_samples=200)
        names = ("standard_error", "interval_low", "interval_high")
        error, low, high = (e.extra[n] for n in names)
        assert error.shape == low.shape == e.extra["coefficients"].shape == (2, 2, 12)
        np.testing.assert_allclose((low + high) / 2, e.extra["coefficients"])
        assert (error[..., :6] > 1e-4).all() and (
            high - low >= 3.9 * error - 1e-9
        ).all()


def test_exact_values_have_no_error():
    e = tfxai.explain(f, X, "kernel_shap", 0, baseline=0, n_samples=4096)
    assert (e.extra["standard_error"] == 0).all()
    np.testing.assert_allclose(e.extra["interval_low"], e.extra["coefficients"])
    assert not e.stable_ranks(2).any()  # three columns have the largest value
    assert e.stable_ranks(3)[:, 2].all()


def test_penalties_and_selections_have_no_errors():
    for options in ({"regressor": "lasso"},
                    {"n_features": 3, "feature_selection": "forward"}):  # fmt: skip
        e = tfxai.explain(f, X, "lime", 0, baseline=0, n_samples=99, **options)
        assert "standard_error" not in e.extra
        with pytest.raises(OptionError, match='"kernel_shap"'):
            e.stable_ranks(2)


def test_larger_sizes_are_listed_only_where_enough_draws_remain():
    """Two pairs for the sizes from 4 to 8 once had the weight of 2772 subsets."""
    spread = [
        np.std([coverage.KernelShap(n, s, estimator="least_squares")(
            coverage.Table(VALUES))[0] for s in range(6)], axis=0).mean()
        for n in (300, 600)
    ]  # fmt: skip
    assert spread[1] < spread[0]


def test_stable_ranks():
    """Three values of 4, three of 1, and then others of .1."""
    e = tfxai.explain(f, X, "kernel_shap", 0, baseline=0, n_samples=600)
    found = e.stable_ranks(4)
    assert found.shape == (2, 4)
    assert found[:, 2].all() and not found[:, 3].all()
    assert e[0].stable_ranks(1).shape == (1, 1)
    two = tfxai.explain(f, X, "kernel_shap", [[0, 0]] * 2, baseline=0, n_samples=600)
    np.testing.assert_array_equal(two.stable_ranks(4)[:, 0], found)
    for k in (0, 12, 1.5):
        with pytest.raises(OptionError, match="from 1 to 11"):
            e.stable_ranks(k)


# -- RISE, and tolerances ------------------------------------------------------------


def test_rise_tells_its_error():
    """Of 24 seeds, against the mean of 8,000 masks."""
    x = np.arange(1.0, 9).reshape(1, 8, 1)

    def g(v):
        return np.tanh(v[:, :, 0] @ (np.arange(8) - 3.0) / 20)[:, None]

    given = {"cells": 4, "scale": "auto"}
    analyzer = [
        tfxai.explain(g, x, "rise", 0, n_samples=96, seed=s, batch_size=512, **given)
        for s in range(24)
    ]
    long = tfxai.explain(
        g, x, "rise", 0, n_samples=8000, seed=77, batch_size=4096, **given
    )
    truth = long.relevance
    inside = [
        (e.extra["interval_low"] <= truth) & (truth <= e.extra["interval_high"])
        for e in analyzer
    ]
    assert 0.88 <= np.mean(inside) <= 0.99
    spread = np.std([e.relevance for e in analyzer], 0)
    stated = np.mean([e.extra["standard_error"] for e in analyzer], 0)
    assert 0.75 < (spread / stated).mean() < 1.25
    assert (long.extra["evaluations"] == 8000).all()
    assert long.stable_ranks(3).shape == (1, 3)


CASES = [
    ("kernel_shap", {"baseline": 0}),
    ("shapley_sampling", {"baseline": 0}),
    ("lime", {"baseline": 0}),
]


@pytest.mark.filterwarnings("ignore::tfxai.errors.LowFidelityWarning")
@pytest.mark.parametrize("method, options", CASES)
def test_sampling_stops_at_a_tolerance(method, options):
    count = 800 if method == "kernel_shap" else 3000
    given = {"n_samples": count, "batch_size": 4096, **options}
    e = tfxai.explain(f, X[:1], method, 0, tolerance=0.2, **given)
    all_of_them = tfxai.explain(f, X[:1], method, 0, **given)
    values, error = e.extra["coefficients"], e.extra["standard_error"]
    assert np.linalg.norm(error) <= 0.2 * np.linalg.norm(values)
    assert (
        e.extra["evaluations"][0] < count * 2 / 3 < all_of_them.extra["evaluations"][0]
    )
    with pytest.warns(InexactWarning, match=r"above tolerance=1e-06"):
        few = tfxai.explain(
            f, X[:1], method, 0, tolerance=1e-6, **{**given, "n_samples": 300}
        )
    same = tfxai.explain(f, X[:1], method, 0, **{**given, "n_samples": 300})
    np.testing.assert_allclose(few.relevance, same.relevance, rtol=1e-5)


def test_rise_stops_at_a_tolerance_and_samples_do_not_share_it():
    x = np.stack([np.ones((8, 1)), np.tile([[-1.0], [1]], (4, 1))])

    def g(v):
        return v[:, :, 0].sum(1, keepdims=True)

    given = {"n_samples": 1280, "cells": 4, "batch_size": 512}
    with pytest.warns(InexactWarning, match=r"sample\(s\) \[1\]"):
        e = tfxai.explain(g, x, "rise", 0, tolerance=0.05, **given)
    first, second = e.extra["evaluations"]
    assert first < 600 and second == 1280 and first % 64 == 0
    alone = tfxai.explain(g, x[:1], "rise", 0, tolerance=0.05, **given)
    np.testing.assert_allclose(alone.relevance[0], e.relevance[0], rtol=1e-6)


def test_tolerances_that_do_not_fit_are_refused():
    for method in ("lime", "rise", "kernel_shap", "shapley_sampling"):
        with pytest.raises(OptionError, match="tolerance"):
            tfxai.create_analyzer(method, f, tolerance=0)
    with pytest.raises(OptionError, match='regressor="linear"'):
        tfxai.create_analyzer("lime", f, tolerance=0.1, regressor="ridge")


def test_masks_of_lime_are_pairs_of_complements_where_there_are_enough():
    masks = bernoulli(np.random.default_rng(0), 102, 7)
    assert masks.shape == (102, 7) and masks[0].all()
    np.testing.assert_array_equal(masks[1:101:2], ~masks[2:102:2])
    few = bernoulli(np.random.default_rng(0), 28, 7)
    assert few[0].all() and (few[1:27:2] == few[2:28:2]).any()
    # A product of two segments has the same value for both masks of a pair.
    y = (masks[:101, 0] ^ masks[:101, 1]) * 1.0
    fit = fit_linear_model(masks[1:101], y[1:], np.ones(100))
    np.testing.assert_allclose(fit.coefficients, 0, atol=1e-12)
