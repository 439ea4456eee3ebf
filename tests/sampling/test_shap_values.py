"""Shapley values against those of the package shap, and against enumeration.

The constants are the output of `shap.explainers.Exact(table, Independent(background,
max_samples=100))(X)` of shap 0.51.0; its KernelExplainer agrees to 1e-15.
"""

import math
from itertools import combinations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.errors import InputError, OptionError

_RNG = np.random.default_rng(0)
BACKGROUND, X = _RNG.normal(size=(100, 8)), _RNG.normal(size=(2, 8))
W = _RNG.normal(size=(8, 2))
#: rows of the background -> the values (B, T, 8), and the base values (T,).
SHAP = {
    1: (
        [[[-0.33472474, 0.2745162118, -0.5489607136, -0.0467545257,
           -0.0916513047, 0.0710470011, 0.0338032653, -0.1055925227],
          [0.5407396943, 0.0940276341, 0.6511042386, -0.1817559433,
           -0.1131835698, -0.1443425896, 0.9047861753, -0.669675611]],
         [[-0.2502442282, 0.2321158463, 0.0726018192, -0.0398606928,
           -1.0261297807, 0.0775217542, 0.020848556, -0.1667946699],
          [0.2732094157, 0.0369228835, -0.0493567193, -0.0175769878,
           -0.4939536717, 0.0063869902, 0.1684782162, -0.3922962182]]],
        [0.7633761603, -0.509771167],
    ),
    100: (
        [[[-0.3390620689, 0.2231748457, 0.1707262662, -0.072784341,
           0.1218902501, 0.0370342657, -0.0009373701, -0.0003140088],
          [0.3365991933, 0.0528169507, 0.0226517308, -0.0821329149,
           0.1241668372, 0.0119496635, 0.0245482772, 0.0097211389]],
         [[-0.2536492507, 0.1372663314, 0.492953733, -0.0567452237,
           -0.4882982335, 0.0379485926, -0.0152761421, -0.0460960354],
          [0.1599021177, 0.0190669949, -0.4467173004, -0.0602278162,
           -0.4590046224, 0.0625718062, -0.0715590686, -0.2535973546]]],
        [-0.1246690071, 0.071607985],
    ),
}  # fmt: skip


def table(v):
    """Products, a threshold and a tanh of 8 columns: (B, 2)."""
    z = np.tanh(v @ W)
    z[:, 0] += v[:, 0] * v[:, 1] - v[:, 2] * v[:, 3] * v[:, 4]
    z[:, 1] += np.where(v[:, 5] > v[:, 6], v[:, 7], 0)
    return z


def enumerated(f, x, background):
    """The Shapley values (F,) of one row, from the definition."""
    d = len(x)

    def v(kept):
        rows = background.copy()
        rows[:, list(kept)] = x[list(kept)]
        return f(rows).mean()

    phi = np.zeros(d)
    for i in range(d):
        others = [j for j in range(d) if j != i]
        for size in range(d):
            weight = 1 / (d * math.comb(d - 1, size))
            for kept in combinations(others, size):
                phi[i] += weight * (v((*kept, i)) - v(kept))
    return phi


@pytest.mark.parametrize("count", SHAP)
def test_kernel_shap_is_that_of_shap(count):
    values, base = SHAP[count]
    given = {"background": BACKGROUND[:count]}
    e = tfxai.explain(table, X, "kernel_shap", [[0, 1]] * 2, **given)
    np.testing.assert_allclose(e.relevance, values, rtol=0, atol=1e-7)
    np.testing.assert_allclose(e.extra["coefficients"], values, rtol=0, atol=1e-9)
    np.testing.assert_allclose(e.extra["baseline_score"], [base] * 2, atol=1e-9)


def test_one_row_of_a_background_is_a_baseline():
    e = tfxai.explain(table, X, "kernel_shap", 1, baseline=BACKGROUND[0])
    np.testing.assert_allclose(e.relevance, np.array(SHAP[1][0])[:, 1], atol=1e-7)


@pytest.mark.parametrize("method", ["shapley_sampling", "c_shapley"])
def test_the_other_methods_take_a_background(method):
    """The sampled values within four standard errors; all connected sets: exactly."""
    n, rows = 4, BACKGROUND[:7, :4]

    def f(v):
        return (v[:, :1] * v[:, 1:2] - v[:, 2:3] * v[:, 3:]) ** 2

    options = {"max_size": n} if method == "c_shapley" else {"n_samples": 3000}
    e = tfxai.explain(f, X[:, :n], method, 0, background=rows, **options)
    wanted = [enumerated(f, x, rows) for x in X[:, :n]]
    if method == "shapley_sampling":
        gap = np.abs(e.relevance - wanted)
        assert (gap <= 4 * e.extra["standard_error"] + 1e-6).all()
        np.testing.assert_allclose(e.relevance.sum(1), np.sum(wanted, 1), rtol=1e-5)
    else:
        base = [f(rows).mean()] * 2
        np.testing.assert_allclose(e.extra["baseline_score"], base)


def test_a_network_and_its_callable_get_the_same():
    x = keras.Input((5,))
    model = zoo.fill(keras.Model(x, keras.layers.Dense(3, "softmax", name="d")(x)))
    data, rows = np.float32(X[:, :5]), np.float32(BACKGROUND[:9, :5])
    e = tfxai.explain(model, data, "kernel_shap", [0, 2], background=rows)

    def predict(v):
        return model(v, training=False).numpy().astype(float)

    same = tfxai.explain(predict, data, "kernel_shap", [0, 2], background=rows)
    np.testing.assert_allclose(e.relevance, same.relevance, atol=1e-6)
    for b, k in enumerate((0, 2)):
        wanted = enumerated(lambda v, k=k: predict(v)[:, k], data[b], rows)
        np.testing.assert_allclose(e.relevance[b], wanted, atol=1e-6)
    streamed = tf.data.Dataset.from_tensor_slices(rows).batch(7)
    again = tfxai.explain(model, data, "kernel_shap", [0, 2], background=streamed)
    np.testing.assert_array_equal(again.relevance, e.relevance)


def test_columns_that_equal_every_row_get_nothing():
    rows = BACKGROUND[:20].copy()
    rows[:, [1, 4]] = X[0, [1, 4]]
    e = tfxai.explain(table, X[:1], "kernel_shap", 0, background=rows)
    assert (e.relevance[0, [1, 4]] == 0).all() and (e.relevance[0] != 0).sum() == 6
    np.testing.assert_allclose(e.relevance[0], enumerated(
        lambda v: table(v)[:, 0], X[0], rows), atol=1e-7)  # fmt: skip


def test_images_and_text_take_a_background():
    rng = np.random.default_rng(1)
    x, rows = rng.random((1, 4, 4, 2)), rng.random((6, 4, 4, 2))
    cells = np.arange(4).reshape(2, 2).repeat(2, 0).repeat(2, 1)
    f = lambda v: (v[..., :1].sum((1, 2)) * v[..., 1:].sum((1, 2))) ** 2  # noqa: E731
    given = {"segmenter": cells, "background": rows}
    e = tfxai.explain(f, x, "kernel_shap", 0, **given)

    def of_cells(number):
        """Each row takes the cells of x where number is 4, else of that background."""
        images = np.concatenate([rows, x])
        picked = np.stack([images[n.astype(int)[cells], np.arange(4)[:, None],
                                  np.arange(4)] for n in number])  # fmt: skip
        return f(picked)

    wanted = enumerated(of_cells, np.full(4, 6.0), np.tile(np.arange(6.0)[:, None], 4))
    np.testing.assert_allclose(e.extra["coefficients"][0], wanted, rtol=1e-9)
    words = np.array([["red", "big"], ["blue", "big"], ["red", "tiny"]])
    same = lambda v: 1.0 * (v == ["red", "big"]).all(1, keepdims=True)  # noqa: E731
    e = tfxai.explain(same, words[:1], "kernel_shap", 0, background=words)
    np.testing.assert_allclose(e.relevance, [[1 / 3, 1 / 3]], atol=1e-7)


def test_a_background_of_another_kind_is_refused():
    given = {"background": BACKGROUND[0]}
    with pytest.raises(InputError, match=r"background=x_train\[:100\]"):
        tfxai.explain(table, X, "kernel_shap", 0, **given)
    with pytest.raises(OptionError, match="both given"):
        tfxai.explain(table, X, "kernel_shap", 0, baseline=0, background=BACKGROUND)
    with pytest.raises(OptionError, match="background holds float64, and x int64"):
        whole = X.astype(int)
        tfxai.explain(table, whole, "kernel_shap", 0, background=BACKGROUND)
    with pytest.raises(OptionError, match=r"background=x_train\[:100\]"):
        tfxai.explain(table, X, "kernel_shap", 0)


# -- groups of columns ---------------------------------------------------------------

GROUPS = {"address": [2, 5, 3], "date": [0, 7]}
PLAYERS = [[0, 7], [1], [2, 3, 5], [4], [6]]  # in the order of their first columns


def of_groups(f, x, background):
    """The Shapley values of `PLAYERS`, by enumeration."""

    def of_players(kept):
        """The mean output where the players of number 1 are kept, for each row."""
        rows = np.tile(background, (len(kept), 1, 1))
        for number, columns in enumerate(PLAYERS):
            on = kept[:, number] == 1
            rows[np.ix_(on, np.arange(len(background)), columns)] = x[columns]
        return f(rows.reshape(-1, len(x))).reshape(len(kept), -1).mean(1)

    return enumerated(of_players, np.ones(5), np.zeros((1, 5)))


@pytest.mark.parametrize("given", [{"baseline": 0}, {"background": BACKGROUND[:11]}])
def test_a_group_of_columns_is_one_player(given):
    rows = given.get("background", np.zeros((1, 8)))
    e = tfxai.explain(table, X, "kernel_shap", 0, groups=GROUPS, **given)
    wanted = [of_groups(lambda v: table(v)[:, 0], x, rows) for x in X]
    np.testing.assert_allclose(e.extra["coefficients"], wanted, atol=1e-9)
    total = e.sum_by(GROUPS)
    assert total.features == ["date", "1", "address", "4", "6"]
    np.testing.assert_allclose(total.relevance, wanted, atol=1e-6)
    change = e.score - e.extra["baseline_score"]
    np.testing.assert_allclose(e.relevance.sum(1), change, atol=1e-6)


def test_columns_of_groups_have_names():
    names = [f"c{i}" for i in range(8)]
    named = {k: [names[i] for i in v] for k, v in GROUPS.items()}
    given = {"baseline": 0, "features": names}
    e = tfxai.explain(table, X, "kernel_shap", 0, groups=named, **given)
    same = tfxai.explain(table, X, "kernel_shap", 0, groups=GROUPS, baseline=0)
    np.testing.assert_array_equal(e.relevance, same.relevance)


@pytest.mark.parametrize(
    "groups, text",
    [
        ({"a": [0, 8]}, "column 8"),
        ({"a": ["age"]}, "column 'age'"),
        ({"a": [0, 1], "b": [1, 2]}, "Column 1 is in the groups 'a' and 'b'"),
        ({"a": []}, "'a' has the columns"),
        ([0, 1], r"groups=\[0, 1\]"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, text):
    with pytest.raises(OptionError, match=text):
        tfxai.explain(table, X, "kernel_shap", 0, groups=groups, baseline=0)


def test_groups_of_time_and_feature():
    """Four groups of a series (6, 2), of a callable and of a network: f = W x."""
    x, labels = X.reshape(2, 8)[:, :6], np.array([[0, 1], [0, 1], [3, 2]])
    x = np.float32(x.reshape(2, 3, 2))
    w = np.float32(W[:6]).reshape(3, 2, 2)

    def f(v):
        y = np.einsum("btc,tck->bk", v.astype(float), w)
        return y + (v[:, :2, 0].sum(1) * v[:, 2, 1])[:, None]

    line = keras.Sequential([keras.Input((3, 2)), keras.layers.Flatten(),
                             keras.layers.Dense(2)])  # fmt: skip
    line.layers[-1].set_weights([w.reshape(6, 2), np.zeros(2)])
    parts = x * w[..., 1]
    wanted = np.stack([parts[:, labels == k].sum(1) for k in range(4)], 1)
    for method in ("kernel_shap", "lime", "shapley_sampling", "partition_shap"):
        e = tfxai.explain(line, x, method, 1, baseline=0, segmenter=labels)
        np.testing.assert_allclose(e.extra["coefficients"], wanted, atol=1e-5)
        np.testing.assert_allclose(e.relevance, wanted[:, labels], atol=1e-5)
    shared = x[:, :2, 0].sum(1) * x[:, 2, 1] / 2
    wanted[:, [0, 2]] += shared[:, None]
    e = tfxai.explain(f, x, "kernel_shap", 1, baseline=0, segmenter=labels)
    np.testing.assert_allclose(e.extra["coefficients"], wanted, atol=1e-5)
    rows = np.zeros((3, 3, 2), np.float32)
    e = tfxai.explain(f, x, "kernel_shap", 1, background=rows, segmenter=labels)
    np.testing.assert_allclose(e.extra["coefficients"], wanted, atol=1e-5)
    e = tfxai.explain(f, x, "kernel_shap", 1, baseline="mean", segmenter=labels)
    assert (e.relevance[:, 2] == 0).all()  # a group of one value is its own mean


def test_groups_are_of_tables_and_alone():
    with pytest.raises(InputError, match="segmenter=labels"):
        tfxai.explain(lambda v: v[:, 0, 0], np.ones((1, 4, 4, 1)), "kernel_shap", 0,
                      groups=GROUPS)  # fmt: skip
    with pytest.raises(OptionError, match="both given"):
        tfxai.explain(
            table, X, "kernel_shap", 0, groups=GROUPS, baseline=0,
            segmenter=np.arange(8),
        )  # fmt: skip
