"""Shapley values of a Gaussian process, against enumeration; their errors."""

import numpy as np
import pytest

import tfxai
from tests.benchmarks.shapley_error import Table, exact, kernel_explainer
from tfxai.errors import OptionError
from tfxai.sampling import gaussian
from tfxai.sampling.games import KernelShap
from tfxai.sampling.interactions import exact as values_of
from tfxai.sampling.masks import all_masks

D = 6
MASKS = all_masks(D)
S = np.where(MASKS, 1.0, -1.0)
A = np.random.default_rng(0).uniform(0.1, 0.9, D)
WIDE = np.ones((1, 14))
W = np.random.default_rng(1).normal(size=14)


def kernel():
    """(64, 64), from its definition."""
    products = S[:, None] * S[None]
    return (np.prod(1 + A * products, -1) - np.prod(1 - A * products, -1)) / 2


def shapley(v):
    """The Shapley values (6, n) of games (64, n), from all subsets."""
    return values_of(v, D)[0]


def test_the_kernel_and_its_values_are_those_of_all_subsets():
    k = kernel() / kernel()[0, 0]
    np.testing.assert_allclose(gaussian.odd_kernel(S, S, A), k, atol=1e-12)
    found = gaussian.values_of_kernel(S, A)
    np.testing.assert_allclose(found, shapley(k).T, atol=1e-12)
    way = shapley(np.eye(64))
    wanted = np.diag(way @ k @ way.T)
    np.testing.assert_allclose(gaussian.variance_of_values(A), wanted, rtol=1e-5)


def test_the_posterior_solves_the_kriging_system():
    """[K S; S' 0] [w; m] = [c; 2 I]: values w g, and variances v - [c; 2 I] [w; m]."""
    rows = [1, 3, 9, 12, 17, 22, 28, 31, 5, 63]
    g = np.random.default_rng(2).normal(size=10)
    k, way = kernel() / kernel()[0, 0], shapley(np.eye(64))
    s, inner = S[rows], k[np.ix_(rows, rows)] + 1e-8 * np.eye(10)
    system = np.block([[inner, s], [s.T, np.zeros((D, D))]])
    right = np.vstack([(way @ k[:, rows]).T, 2 * np.eye(D)])
    weights = np.linalg.solve(system, right)
    values, errors = gaussian.Process(s, g, A).posterior()
    np.testing.assert_allclose(values, weights[:10].T @ g, rtol=1e-6)
    left = g - s @ np.linalg.lstsq(s, g, rcond=None)[0]
    free = np.linalg.inv(system)[:10, :10]  # K^-1 without the trend
    missed = []
    for j in range(10):
        rest = np.delete(np.arange(10 + D), j)
        w = np.linalg.solve(system[np.ix_(rest, rest)], system[rest, j])
        variance = system[j, j] - system[j, rest] @ w
        missed.append((g[j] - w[:9] @ np.delete(g, j)) ** 2 / variance)
    scale = max(left @ free @ left / (10 - D), np.mean(missed))
    wanted = (np.diag(way @ k @ way.T) - (right * weights).sum(0)) * scale
    np.testing.assert_allclose(errors, np.sqrt(wanted), rtol=1e-5)


def test_designs_hold_one_subset_of_each_pair_and_follow_the_seed(monkeypatch):
    for d, pairs in ((12, 300), (14, 90), (40, 60)):
        first, again = (gaussian.design(d, pairs, (s, 0)) for s in (0, 1))
        assert first.shape == (pairs, d) and (first[:, 0] == 1).all()
        assert len(np.unique(first, axis=0)) == pairs
        assert not (first == 1).all(1).any()
        assert np.linalg.matrix_rank(np.vstack([first, np.ones(d)])) == d
        assert (first != again).any()
    monkeypatch.setattr(gaussian, "BLOCK", 20)
    parts = list(gaussian.designs(14, 50, 0))
    assert [len(p) for p in parts] == [16, 17, 17]
    assert (parts[0] != parts[1][:16]).any()


def table(v):
    """Products of two, three and five of 14 columns."""
    y = v[:, 0] * v[:, 1] + 2 * v[:, 2:5].prod(1) - v[:, 4:9].prod(1) + v @ W
    return np.stack([y, np.tanh(y)], 1)


EXACT = W + np.array([0.5, 0.5, 2 / 3, 2 / 3, 2 / 3 - 0.2, *[-0.2] * 4, *[0] * 5])


def test_values_come_near_and_tell_how_near():
    given = {"baseline": 0, "batch_size": 9999}
    e = tfxai.explain(table, WIDE, "kernel_shap", [[0, 1]], n_samples=400, **given)
    gap = np.abs(e.extra["coefficients"][0, 0] - EXACT)
    assert (gap <= 4 * e.extra["standard_error"][0, 0] + 1e-6).all()
    assert gap.max() < 0.05 and e.extra["evaluations"].tolist() == [[400, 400]]
    total = e.extra["coefficients"].sum(-1)
    np.testing.assert_allclose(total, e.score - e.extra["baseline_score"], rtol=1e-9)
    old = tfxai.explain(
        table, WIDE, "kernel_shap", [[0, 1]], n_samples=400, estimator="least_squares",
        **given,
    )  # fmt: skip
    assert np.abs(old.extra["coefficients"][0, 0] - EXACT).max() > 3 * gap.max()
    assert old.extra["estimator"] == "least_squares"
    one = tfxai.explain(table, WIDE, "kernel_shap", 1, n_samples=400, **given)
    np.testing.assert_allclose(one.relevance[0], e.relevance[0, 1], atol=1e-6)
    with pytest.raises(OptionError, match="undetermined"):
        tfxai.explain(table, WIDE, "kernel_shap", 0, n_samples=24, **given)
    with pytest.raises(OptionError, match="least_squares"):
        tfxai.create_analyzer("kernel_shap", table, estimator="kernel")


def test_blocks_are_averaged(monkeypatch):
    monkeypatch.setattr(gaussian, "BLOCK", 60)
    given = {"baseline": 0, "batch_size": 9999, "n_samples": 360}
    e = tfxai.explain(table, WIDE, "kernel_shap", 0, **given)
    designs = list(gaussian.designs(14, 180, 0))
    parts = []
    for s in designs:
        v = [table((t * s > 0).astype(float))[:, :1] for t in (1, -1)]
        total = table(WIDE)[0, :1] - table(0 * WIDE)[0, :1]
        parts.append(gaussian.Block.of(s, (v[0] - v[1]) / 2, total))
    mean = np.mean([p.values[:, 0] for p in parts], 0)
    np.testing.assert_allclose(e.extra["coefficients"][0], mean, rtol=1e-9)
    error = np.sqrt(sum(p.errors[:, 0] ** 2 for p in parts)) / 3
    np.testing.assert_allclose(e.extra["standard_error"][0], error, rtol=1e-6)


def test_a_line_is_exact_and_a_constant_is_zero():
    given = {"baseline": 0, "batch_size": 9999, "n_samples": 100}
    e = tfxai.explain(lambda v: v @ W[:, None], WIDE, "kernel_shap", 0, **given)
    np.testing.assert_allclose(e.extra["coefficients"][0], W, atol=1e-9)
    assert e.extra["standard_error"].max() < 1e-9
    flat = tfxai.explain(lambda v: 0 * v[:, :1] + 3, WIDE, "kernel_shap", 0, **given)
    np.testing.assert_allclose(flat.relevance, 0, atol=1e-12)


def test_a_third_of_the_evaluations_of_shap():
    """Sixteen columns of a forest: 300 evaluations against 900, over three seeds."""
    pytest.importorskip("shap")
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 16))
    y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + x[:, 3] * (x[:, 4] > 0) + x[:, 5] ** 2
    forest = RandomForestRegressor(5, max_depth=6, random_state=0).fit(x, y)
    values = forest.predict(np.where(all_masks(16), x[3], 0))
    truth = exact(values)
    ours = [KernelShap(300, s)(Table(values))[0][:, 0] - truth for s in range(3)]
    theirs = [kernel_explainer(values, 900, s) - truth for s in range(3)]
    assert np.linalg.norm(ours) < np.linalg.norm(theirs)
