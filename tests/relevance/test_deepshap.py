"""DeepSHAP: the mean of DeepLIFT over a background, and SHAP's own numbers."""

from itertools import combinations
from math import factorial

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.errors import InputError, OptionError

L = keras.layers
rng = np.random.default_rng(0)
ROWS = rng.normal(size=(45, 6)).astype("float32")
X = rng.normal(size=(3, 6)).astype("float32")


def tables():
    x = keras.Input((6,))
    y = L.Dense(5, "tanh")(L.Dense(7, "relu")(x))
    return zoo.fill(keras.Model(x, L.Dense(3)(y)))


@pytest.fixture(scope="module")
def wrapped():
    return tfxai.wrap(tables())


@pytest.fixture(scope="module")
def analyzer(wrapped):
    return tfxai.create_analyzer("deepshap", wrapped, background=ROWS)


def test_it_is_the_mean_of_deeplift(wrapped, analyzer):
    few = tfxai.create_analyzer("deepshap", wrapped, background=ROWS[:5])
    e = few.analyze(X, [[0, 2]] * 3)
    each = [
        tfxai.explain(wrapped, X, "deeplift", [[0, 2]] * 3, baseline=row).relevance
        for row in ROWS[:5]
    ]
    np.testing.assert_allclose(e.relevance, np.mean(each, 0), atol=1e-6)
    model = wrapped.model
    e = analyzer.analyze(X, 1)
    change = model(X)[:, 1] - tf.reduce_mean(model(ROWS)[:, 1])
    np.testing.assert_allclose(e.extra["change"], change, atol=1e-6)
    np.testing.assert_allclose(e.relevance.sum(1), change, atol=1e-6)
    assert "background" not in e.extra


def test_shapley_values_of_a_product_of_two_features():
    x = keras.Input((2,))
    model = keras.Model(x, x[:, :1] * x[:, 1:])
    rows, point = ROWS[:4, :2], X[:1, :2]
    e = tfxai.explain(model, point, "deepshap", 0, background=rows)

    def value(known):  # the mean score with the other features from the background
        mixed = [point[0, i] if i in known else rows[:, i] for i in range(2)]
        return float(np.mean(mixed[0] * mixed[1]))

    for i in range(2):
        wanted = 0.0
        for size in range(2):
            for known in combinations([j for j in range(2) if j != i], size):
                share = factorial(size) * factorial(1 - size) / 2
                wanted += share * (value({*known, i}) - value(known))
        np.testing.assert_allclose(e.relevance[0, i], wanted, rtol=1e-5)


def test_a_function_of_the_outputs_is_compared_with_its_mean(wrapped, analyzer):
    e = analyzer.analyze(X, lambda y: y[:, 0] ** 2)
    model = wrapped.model
    change = model(X)[:, 0] ** 2 - tf.reduce_mean(model(ROWS)[:, 0] ** 2)
    np.testing.assert_allclose(e.extra["change"], change, rtol=1e-4, atol=1e-5)


def test_it_is_saved_with_its_background(analyzer, tmp_path):
    analyzer.graph.save(tmp_path / "why.keras")
    again = tfxai.load(tmp_path / "why.keras")(X, target=tf.zeros(3, tf.int32))
    wanted = analyzer.analyze(X, 0).relevance
    np.testing.assert_allclose(again["relevance"], wanted, atol=1e-6)


def test_tokens_have_a_background_of_tokens():
    x = keras.Input((5,), dtype="int32")
    y = L.Dense(6, "tanh")(L.Flatten()(L.Embedding(9, 4)(x)))
    model = zoo.fill(keras.Model(x, L.Dense(2)(y)))
    words = np.random.default_rng(0).integers(0, 9, (6, 5))
    e = tfxai.explain(model, words[:2], "deepshap", 1, background=words[2:])
    change = model(words)[:2, 1] - tf.reduce_mean(model(words)[2:, 1])
    np.testing.assert_allclose(e.relevance.sum(1), change, rtol=1e-4, atol=1e-5)


def test_what_is_no_background_is_named(wrapped):
    for given, error, text in (
        (None, OptionError, "deepshap has no background"),
        ("mean", OptionError, "background='mean'"),
        (np.zeros((2, 5)), InputError, r"shape \(2, 5\)"),
    ):
        with pytest.raises(error, match=text):
            tfxai.create_analyzer("deepshap", wrapped, background=given)


@pytest.mark.slow
def test_shap_has_the_same_numbers(wrapped, analyzer):
    shap = pytest.importorskip("shap")
    wanted = shap.DeepExplainer(wrapped.model, ROWS).shap_values(X)
    e = analyzer.analyze(X, [[0, 1, 2]] * 3)
    np.testing.assert_allclose(np.swapaxes(e.relevance, 1, 2), wanted, atol=1e-6)
    x = keras.Input((6, 6, 2))
    y = L.MaxPooling2D()(L.Conv2D(4, 3, activation="relu")(x))
    conv = zoo.fill(keras.Model(x, L.Dense(2)(L.Flatten()(y))))
    pictures = rng.normal(size=(8, 6, 6, 2)).astype("float32")
    wanted = shap.DeepExplainer(conv, pictures[2:]).shap_values(pictures[:2])
    e = tfxai.explain(conv, pictures[:2], "deepshap", 1, background=pictures[2:])
    np.testing.assert_allclose(e.relevance, wanted[..., 1], atol=1e-6)


def test_a_mask_for_each_sample_and_no_warning(wrapped, recwarn):
    masks = tfxai.targets.masked_sum(np.eye(3))
    e = tfxai.explain(wrapped, X, "deepshap", masks, background=ROWS)
    one = tfxai.explain(wrapped, X, "deepshap", [0, 1, 2], background=ROWS)
    np.testing.assert_allclose(e.relevance, one.relevance, atol=1e-5)
    assert not [w for w in recwarn if "not used" in str(w.message)]
