"""DeepLIFT: the rescale rule against its formula, and completeness."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.errors import OptionError

L = keras.layers


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(4, *shape)).astype("float32")


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_the_rescale_rule_by_hand(activation):
    x = keras.Input((6,))
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.Dense(5, activation)(x))))
    a, b, c, _ = model.get_weights()
    f = getattr(keras.activations, activation)
    data, start = rows(6), np.linspace(-1, 1, 6, dtype="float32")
    z, z0 = data @ a + b, start @ a + b
    m = (np.asarray(f(z)) - np.asarray(f(z0))) / (z - z0) * c[:, 2]
    e = tfxai.explain(model, data, "deeplift", 2, baseline=start)
    wanted = (m @ a.T) * (data - start)
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-3, atol=1e-5)


def _pools(x):
    y = L.Conv2D(5, 3, activation="relu")(x)
    y = L.MaxPooling2D()(y)
    y = L.Maximum()([L.Conv2D(4, 2)(y), L.Conv2D(4, 2)(y)])
    return L.GlobalMaxPooling2D()(y)


def _gates(x):
    y = L.Conv2D(5, 3, activation="silu")(x)
    s = L.Dense(5, "sigmoid")(L.GlobalAveragePooling2D()(y))
    return L.Flatten()(y * L.Reshape((1, 1, 5))(s))


def _sums(x):
    y = L.BatchNormalization()(L.Conv2D(5, 3)(x))
    y = L.Add()([L.ELU()(y), L.SeparableConv2D(5, 3, padding="same")(y)])
    return L.GlobalAveragePooling2D()(L.Subtract()([y, y * y]))


@pytest.mark.parametrize("body", [_pools, _gates, _sums])
def test_the_map_accounts_for_the_whole_change(body):
    x = keras.Input((8, 8, 2))
    model = zoo.fill(keras.Model(x, L.Dense(3)(body(x))))
    data = rows(8, 8, 2)
    for baseline in (0, 0.3, "mean"):
        e = tfxai.explain(model, data, "deeplift", [[0, 1]] * 4, baseline=baseline)
        start = {"mean": data.mean((1, 2), keepdims=True)}.get(baseline, baseline)
        start = np.broadcast_to(np.float32(start), data.shape)
        change = (model(data) - model(start)).numpy()[:, :2]
        total = e.relevance.sum((2, 3, 4))
        np.testing.assert_allclose(total, change, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(e.extra["completeness"], total - change, atol=1e-4)


def test_tokens_are_set_against_a_token():
    x = keras.Input((5,), dtype="int32")
    y = L.Dense(6, "tanh")(L.Flatten()(L.Embedding(9, 4)(x)))
    model = zoo.fill(keras.Model(x, L.Dense(2)(y)))
    words = np.random.default_rng(0).integers(0, 9, (3, 5))
    e = tfxai.explain(model, words, "deeplift", 1, baseline=8)
    change = (model(words) - model(np.full((3, 5), 8))).numpy()[:, 1]
    np.testing.assert_allclose(e.relevance.sum(1), change, rtol=1e-4, atol=1e-5)
    same = words.copy()
    same[:, 2] = 8
    assert (
        tfxai.explain(model, same, "deeplift", 1, baseline=8).relevance[:, 2] == 0
    ).all()


def test_an_inner_layer_accounts_for_it_too():
    x = keras.Input((6,))
    hidden = L.Dense(5, "tanh", name="hidden")(x)
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.Dense(4, "relu")(hidden))))
    analyzer, data = tfxai.create_analyzer("deeplift", model), rows(6)
    e = analyzer.relevance_at("hidden", data, 1)
    change = (model(data) - model(0 * data)).numpy()[:, 1]
    np.testing.assert_allclose(e.relevance.sum(1), change, rtol=1e-4, atol=1e-5)


def test_it_is_saved_with_its_baseline(tmp_path):
    x = keras.Input((6,))
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.Dense(5, "relu")(x))))
    start, data = np.linspace(-1, 1, 6, dtype="float32"), rows(6)
    analyzer = tfxai.create_analyzer("deeplift", model, baseline=start)
    wanted = analyzer.analyze(data, 1).relevance
    analyzer.graph.save(tmp_path / "why.keras")
    again = tfxai.load(tmp_path / "why.keras")
    result = again(data, target=tf.constant([1] * 4))["relevance"]
    np.testing.assert_allclose(result, wanted, atol=1e-6)


def test_what_needs_a_baseline_says_so():
    x = keras.Input((6,))
    analyzer = tfxai.create_analyzer("deeplift", keras.Model(x, L.Dense(3)(x)))
    with pytest.raises(OptionError, match="multipliers"):
        analyzer.residual(rows(6))
    with pytest.raises(OptionError, match="compares with a baseline"):
        tfxai.explain(
            keras.Model(x, L.Dense(3, "relu")(x)), rows(6), "lrp.epsilon", 1,
            rules={"relu": "rescale"},
        )  # fmt: skip
