"""Owen values and interactions, against their definitions and the package shap.

The constants are the output of shap 0.51.0 on the table of `test_shap_values`:
`shap.explainers.Partition(table, Partition(BACKGROUND[:20], clustering=LINKAGE))`, and
`shap.KernelExplainer(table, shap.kmeans(BACKGROUND, 5))`.
"""

from itertools import combinations, permutations, product
from math import factorial

import numpy as np
import pytest

import tfxai
from tests.sampling.test_shap_values import BACKGROUND, X, enumerated, table
from tfxai.errors import InexactWarning, OptionError
from tfxai.sampling.hierarchies import halves, leaves
from tfxai.sampling.interactions import neighbouring_orders
from tfxai.sampling.partition import evaluations

ROWS = BACKGROUND[:20]
LINKAGE = np.array(
    [[2, 7, 0.69, 2], [4, 6, 0.90, 2], [1, 3, 0.92, 2], [5, 9, 0.96, 3],
     [0, 8, 1.0, 3], [11, 12, 1.04, 6], [10, 13, 1.15, 8]]
)  # fmt: skip
OWEN = [
    [[-0.4471709579, 0.2359678071, 0.2334052083, -0.1355788398,
      0.0403383342, 0.0536411072, 0.00162844, -0.0243480747],
     [0.3491163693, 0.0419962095, -0.0177117732, -0.179746308,
      0.0448872509, -0.1208998474, 0.1612443233, -0.2104883003]],
    [[-0.3362202611, 0.1532307776, 0.6064654414, -0.2560258625,
      -0.5100160889, 0.0464990621, -0.010126636, -0.0675474755],
     [0.2423689546, 0.0068552788, -0.50643919, -0.1379109411,
      -0.6164020132, -0.0316155135, 0.0006350229, -0.4389797944]],
]  # fmt: skip


#: TreeExplainer's, of a tree that is `thresholds` on the whole `GRID`.
INTERACTIONS = [
    [37 / 18, 1 / 2, -1 / 12, -5 / 12],
    [1 / 2, 5 / 3, 1 / 3, 0],
    [-1 / 12, 1 / 3, 1 / 18, -1 / 4],
    [-5 / 12, 0, -1 / 4, -11 / 18],
]
GRID = np.array(list(product([0.0, 1, 2], repeat=4)))
KMEANS = [
    [-0.3654844553, 0.3156954807, 0.152264655, -0.1190656279,
     0.1086876008, 0.0538644191, -0.0002461308, -0.0087781481],
    [0.3883385298, 0.060619241, -0.0281269223, -0.1163374858,
     0.1324387545, -0.0177896633, 0.0806811167, -0.0137239589],
]  # fmt: skip
KMEANS_BASE = [-0.1218789619, 0.08582925]


def orders(node):
    """All orders of the leaves that keep each part together."""
    if not isinstance(node, list):
        return [[node]]
    found = []
    for parts in permutations(node):
        heads = [[]]
        for part in parts:
            heads = [h + o for h in heads for o in orders(part)]
        found += heads
    return found


def owen(v, node):
    """The mean contributions over those orders; v is a function of a set."""
    every = orders(node)
    phi = np.zeros(len(every[0]))
    for order in every:
        for place, i in enumerate(order):
            phi[i] += v({*order[: place + 1]}) - v({*order[:place]})
    return phi / len(every)


def index(v, d, i, j):
    """The Shapley interaction index, from its definition."""
    total, others = 0.0, [k for k in range(d) if k not in (i, j)]
    for size in range(d - 1):
        weight = factorial(size) * factorial(d - size - 2) / factorial(d - 1)
        for s in map(set, combinations(others, size)):
            total += weight * (v(s | {i, j}) - v(s | {i}) - v(s | {j}) + v(s))
    return total


def game(x, rows=ROWS, f=table):
    """v of a row of the table, with remembered values."""
    known = {}

    def v(kept):
        key = frozenset(kept)
        if key not in known:
            mixed = rows.copy()
            mixed[:, list(kept)] = x[list(kept)]
            known[key] = f(mixed)[:, 0].mean()
        return known[key]

    return v


def test_owen_values_are_those_of_shap():
    e = tfxai.explain(
        table, X, "partition_shap", [[0, 1]] * 2, hierarchy=LINKAGE, background=ROWS,
        batch_size=4096,
    )  # fmt: skip
    np.testing.assert_allclose(e.extra["coefficients"], OWEN, rtol=0, atol=1e-9)
    np.testing.assert_allclose(e.relevance, OWEN, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "node",
    [[[0, 1], [2, [3, 4]]], [[0, 3, 1], [2, 4]], [0, 1, 2, 3, 4], [[[4, 0], 1], 3, 2]],
)
def test_owen_values_are_means_over_orders(node):
    x = X[:, :5]

    def f(v):
        return table(np.concatenate([v, np.ones((len(v), 3))], 1))

    e = tfxai.explain(
        f, x, "partition_shap", 0, hierarchy=node, background=ROWS[:4, :5],
        batch_size=999,
    )  # fmt: skip
    wanted = [owen(game(row, ROWS[:4, :5], f), node) for row in x]
    np.testing.assert_allclose(e.extra["coefficients"], wanted, atol=1e-12)


def test_a_flat_hierarchy_is_the_shapley_value_and_dummies_get_nothing():
    rows = ROWS.copy()
    rows[:, 3] = X[0, 3]
    e = tfxai.explain(
        table, X[:1], "partition_shap", 0, hierarchy=list(range(8)), background=rows,
        batch_size=9999,
    )  # fmt: skip
    wanted = enumerated(lambda v: table(v)[:, 0], X[0], rows)
    np.testing.assert_allclose(e.extra["coefficients"][0], wanted, atol=1e-12)
    assert e.extra["coefficients"][0, 3] == 0
    assert e.extra["exact_evaluations"][0] == 2**7 - 2


def test_a_small_budget_shares_equally_and_tells():
    given = {"background": ROWS, "batch_size": 999}
    halved = [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert evaluations(((0, 1), (2, 3))) == 2 + 2 * 2 * 2
    with pytest.warns(InexactWarning, match="n_samples=42"):
        e = tfxai.explain(table, X, "partition_shap", 0, n_samples=2, **given)
    v = game(X[0])
    left, right = {0, 1, 2, 3}, {4, 5, 6, 7}
    both, none = v(left | right), v(set())
    first = (v(left) - none + both - v(right)) / 2
    np.testing.assert_allclose(e.extra["coefficients"][0, :4], first / 4, atol=1e-12)
    np.testing.assert_allclose(e.extra["coefficients"][0].sum(), both - none)
    more = tfxai.explain(table, X, "partition_shap", 0, n_samples=42, **given)
    same = tfxai.explain(table, X, "partition_shap", 0, hierarchy=halved, **given)
    np.testing.assert_array_equal(more.relevance, same.relevance)
    with pytest.warns(InexactWarning):
        part = tfxai.explain(table, X, "partition_shap", 0, n_samples=20, **given)
    np.testing.assert_allclose(
        part.extra["coefficients"].sum(1), more.extra["coefficients"].sum(1)
    )


def test_the_halves_of_an_image_and_of_two_inputs():
    cells = np.arange(8).reshape(2, 4).repeat(2, 0).repeat(2, 1)
    assert halves([cells]) == (((0, 1), (4, 5)), ((2, 3), (6, 7)))
    assert halves([np.arange(3), np.arange(3, 5)]) == ((0, (1, 2)), (3, 4))
    assert sorted(leaves(halves([np.arange(11)]))) == list(range(11))


def test_hierarchies_of_names_of_words_and_of_pictures():
    names = [f"c{i}" for i in range(8)]
    lists = [["c0", "c7"], [["c1", "c2"], "c3", ["c4", "c5", "c6"]]]
    e = tfxai.explain(
        table, X, "partition_shap", 0, hierarchy=lists, background=ROWS,
        features=names, batch_size=9999,
    )  # fmt: skip
    plain = [[0, 7], [[1, 2], 3, [4, 5, 6]]]
    same = tfxai.explain(
        table, X, "partition_shap", 0, hierarchy=plain, background=ROWS, batch_size=9999
    )
    np.testing.assert_array_equal(e.relevance, same.relevance)

    def count(texts):
        return np.array([[float("not" in t) * ("good" in t) + len(t.split())]
                         for t in texts])  # fmt: skip

    e = tfxai.explain(count, ["not a good film"], "partition_shap", 0)
    np.testing.assert_allclose(e.relevance, [[1.5, 1, 1.5, 1]], atol=1e-6)


@pytest.mark.parametrize(
    "hierarchy, text",
    [
        ([[0, 1], [2, 3, 4, 5, 6]], r"misses \[7\]"),
        ([*range(8), 3], r"has \[3\] twice"),
        ([[0, 1], "age"], "'age'"),
        ([[0, 1], []], "empty list"),
        ([True, *range(1, 8)], "True"),
        ("kmeans", "hierarchy='kmeans'"),
        (LINKAGE[:5], r"shape \(5, 4\)"),
        (LINKAGE[::-1].copy(), "joins"),
    ],
)
def test_hierarchies_that_do_not_fit_are_refused(hierarchy, text):
    with pytest.raises(OptionError, match=text):
        tfxai.explain(
            table, X, "partition_shap", 0, hierarchy=hierarchy, background=ROWS[:1]
        )


# -- interactions --------------------------------------------------------------------


def test_interactions_follow_their_definition():
    e = tfxai.explain(
        table, X, "shapley_interactions", 0, background=ROWS[:5], batch_size=9999
    )
    found = e.extra["interactions"]
    for b, row in enumerate(X):
        v = game(row, ROWS[:5])
        for i, j in ((0, 1), (2, 4), (7, 3)):
            wanted = index(v, 8, i, j) / 2
            np.testing.assert_allclose(found[b, i, j], wanted, atol=1e-12)
            assert found[b, j, i] == found[b, i, j]
        values = enumerated(lambda u: table(u)[:, 0], row, ROWS[:5])
        np.testing.assert_allclose(found[b].sum(1), values, atol=1e-12)
        np.testing.assert_allclose(e.extra["coefficients"][b], values, atol=1e-12)
    assert (e.extra["interaction_error"] == 0).all()


def thresholds(v):
    chosen = np.where(v[:, 2] > 0, v[:, 3], 1) * v[:, 0]
    return v[:, 0] * v[:, 1] + chosen + (v[:, 1] > v[:, 2]) * 2.0


def test_interactions_are_those_of_shap():
    e = tfxai.explain(
        thresholds, GRID[[75]], "shapley_interactions", background=GRID, batch_size=9999
    )
    np.testing.assert_allclose(e.extra["interactions"][0], INTERACTIONS, atol=1e-9)


def test_orders_hold_every_pair_twice():
    for d in (2, 3, 4, 7, 8):
        found = neighbouring_orders(d)
        assert (np.sort(found, 1) == np.arange(d)).all()
        pairs = np.sort(np.stack([found[:, :-1], found[:, 1:]], -1).reshape(-1, 2), 1)
        _, counts = np.unique(pairs, axis=0, return_counts=True)
        assert len(counts) == d * (d - 1) // 2 and (counts == 2).all()


def test_sampled_interactions_come_near_and_tell_how_near():
    given = {"baseline": 0, "batch_size": 9999}
    true = tfxai.explain(table, X[:1], "shapley_interactions", 0, **given)
    gaps, errors = [], []
    for seed in range(8):
        e = tfxai.explain(
            table, X[:1], "shapley_interactions", 0, n_samples=250, seed=seed, **given
        )
        gap = (e.extra["interactions"] - true.extra["interactions"])[0]
        apart = ~np.eye(8, dtype=bool)
        gaps.append(gap[apart])
        errors.append(e.extra["interaction_error"][0][apart])
        assert np.isnan(e.extra["interaction_error"][0][~apart]).all()
        total = e.extra["interactions"].sum((1, 2))
        np.testing.assert_allclose(total, e.score - e.extra["baseline_score"])
    gaps, errors = np.array(gaps), np.array(errors)
    spread, stated = np.sqrt((gaps**2).mean()), np.sqrt((errors**2).mean())
    assert 0.7 < spread / stated < 1.4
    assert np.abs(gaps.mean(0)).max() < 4 * stated / np.sqrt(8)


def test_pictures_of_different_numbers_of_segments_are_padded():
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1))

    def cut(v):
        n = 2 if v[0, 0, 0] == x[0, 0, 0, 0] else 4
        return np.arange(16).reshape(4, 4) * n // 16

    e = tfxai.explain(
        lambda v: v.sum((1, 2)) ** 2, x, "shapley_interactions", 0, segmenter=cut,
        baseline=0,
    )  # fmt: skip
    found = e.extra["interactions"]
    assert found.shape == (2, 4, 4)
    assert np.isnan(found[0, 2:]).all() and np.isnan(found[0, :, 2:]).all()
    a, b = x[0].reshape(2, 8).sum(1)
    np.testing.assert_allclose(found[0, :2, :2], [[a * a, a * b], [a * b, b * b]])


# -- clusters of a background; many columns ------------------------------------------


def test_clusters_of_a_background_are_those_of_shap():
    given = {"background": ("kmeans", 5, BACKGROUND), "batch_size": 9999}
    e = tfxai.explain(table, X[:1], "kernel_shap", [[0, 1]], **given)
    np.testing.assert_allclose(e.extra["coefficients"][0], KMEANS, atol=1e-9)
    np.testing.assert_allclose(e.extra["baseline_score"][0], KMEANS_BASE, atol=1e-9)
    every = tfxai.explain(
        table, X[:1], "partition_shap", 0, background=("kmeans", 8, ROWS[:8]),
        batch_size=9999,
    )  # fmt: skip
    same = tfxai.explain(
        table, X[:1], "partition_shap", 0, background=ROWS[:8], batch_size=9999
    )
    np.testing.assert_allclose(every.relevance, same.relevance, atol=1e-6)


def test_clusters_of_two_inputs_and_what_is_refused():
    def f(v):
        return v[0][:, :1] * v[1][:, :1]

    parts, rows = (X[:, :3], X[:, 3:]), (ROWS[:, :3], ROWS[:, 3:])
    e = tfxai.explain(f, parts, "kernel_shap", 0, background=("kmeans", 20, rows))
    same = tfxai.explain(f, parts, "kernel_shap", 0, background=rows)
    for a, b in zip(e.relevance, same.relevance, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    words = np.array([["a", "b"], ["c", "d"]])
    for method, background, x, text in (
        ("kernel_shap", ("kmeans", 5), X, r'\("kmeans", 20, x_train\)'),
        ("kernel_shap", ("kmeans", 21, ROWS), X, "at most 20"),
        ("kernel_shap", ("kmeans", 0, ROWS), X, "at least 1"),
        ("kernel_shap", "kmeans", X, r'\("kmeans", 20, rows\)'),
        ("kernel_shap", ("kmeans", 2, words), words, "kmeans of a background"),
        ("occlusion", ("kmeans", 5, ROWS), X, "does not weight"),
    ):
        f = table if x is X else lambda v: np.ones(len(v))
        with pytest.raises(OptionError, match=text):
            tfxai.explain(f, x, method, 0, background=background)


@pytest.mark.filterwarnings("ignore::tfxai.errors.InexactWarning")
def test_partition_tells_the_evaluations_that_it_made():
    seen = []

    def f(v):
        seen.append(len(v))
        return v.sum(1, keepdims=True)

    flat = list(range(8))
    for hierarchy, n_samples, made in (
        (flat, 100, 0),
        ("auto", 9, 8),
        ("auto", 99, 42),
    ):
        seen.clear()
        given = {"hierarchy": hierarchy, "n_samples": n_samples, "baseline": 0}
        e = tfxai.explain(f, X[:1], "partition_shap", 0, **given)
        assert e.extra["evaluations"] == made
        assert made <= sum(seen) <= made + 4  # and of the sample and its baseline


@pytest.mark.filterwarnings("ignore::tfxai.errors.InexactWarning")
def test_the_evaluations_of_a_deep_linkage_are_a_number():
    d = 70
    rows = [[i + 1, 0 if not i else d + i - 1, i, i + 2] for i in range(d - 1)]
    given = {"hierarchy": np.array(rows, float), "n_samples": 50, "baseline": 0}
    x = np.ones((1, d))
    e = tfxai.explain(
        lambda v: v.sum(1, keepdims=True), x, "partition_shap", 0, **given
    )
    assert e.extra["exact_evaluations"].dtype == np.int64
    np.testing.assert_allclose(e.relevance, x, rtol=1e-5)


def test_a_few_of_many_columns_are_selected():
    """Five of 300 columns have a value, found from 290 subsets."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1, 300)) + 3
    weights = np.zeros(300)
    weights[rng.permutation(300)[:5]] = 1 + rng.random(5)
    e = tfxai.explain(
        lambda v: v @ weights[:, None], x, "kernel_shap", 0, baseline=0, n_samples=290,
        n_features=5,
    )  # fmt: skip
    np.testing.assert_allclose(e.extra["coefficients"][0], weights * x[0], atol=1e-6)
    assert "standard_error" not in e.extra
    with pytest.raises(OptionError, match="undetermined"):
        tfxai.explain(
            lambda v: v @ weights[:, None], x, "kernel_shap", 0, baseline=0,
            n_samples=290,
        )  # fmt: skip
    with pytest.raises(OptionError, match="n_features=0"):
        tfxai.create_analyzer("kernel_shap", lambda v: v, n_features=0)
    with pytest.raises(OptionError, match="no standard error"):
        tfxai.create_analyzer("kernel_shap", lambda v: v, n_features=2, tolerance=0.1)


def test_samples_of_few_and_of_many_varying_columns_are_selected_together():
    weights = np.array([0.1, 2, -3, 0.2])
    x = np.array([[1.0, 1, 1, 1], [0, 4, 0, 0], [0, 0, 0, 0], [0, 1, 5, 0]])
    e = tfxai.explain(
        lambda v: v @ weights[:, None], x, "kernel_shap", 0, baseline=0, n_features=2
    )
    np.testing.assert_allclose(e.relevance[1:], (weights * x)[1:], atol=1e-5)
    assert np.flatnonzero(e.relevance[0]).tolist() == [1, 2]
    assert e.extra["evaluations"][2] == 0 and "standard_error" not in e.extra
