"""DeepLIFT's reveal-cancel rule: its formula in float64, and the paper's example."""

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import OptionError

L = keras.layers
rng = np.random.default_rng(0)
X = rng.normal(size=(3, 6)).astype("float32")
START = np.linspace(-1, 1, 6, dtype="float32")


def test_the_minimum_of_two_numbers_is_shared():
    """min(a, b) = a - relu(a - b): rescale gives all to one (paper, section 3.5.3)."""
    x = keras.Input((2,))
    a, gap = L.Dense(1, use_bias=False), L.Dense(1, "relu", use_bias=False)
    model = keras.Model(x, L.Subtract()([a(x), gap(x)]))
    a.kernel.assign([[1.0], [0.0]])
    gap.kernel.assign([[1.0], [-1.0]])
    point = np.float32([[5, 3], [3, 5]])
    e = tfxai.explain(model, point, "deeplift", 0, rule="reveal_cancel")
    np.testing.assert_allclose(e.relevance, 1.5, rtol=1e-6)
    plain = tfxai.explain(model, point, "deeplift", 0).relevance
    np.testing.assert_allclose(plain, [[0, 3], [3, 0]], atol=1e-6)


def through(x, x0, w, b, f, m):
    """Multipliers of x for m of f(x w + b): sections 3.5.1 and 3.5.3, one by one."""
    c = (x - x0)[:, None] * w
    z0 = x0 @ w + b
    up, down = np.maximum(c, 0).sum(0), np.minimum(c, 0).sum(0)
    more = ((f(z0 + up) - f(z0)) + (f(z0 + down + up) - f(z0 + down))) / 2
    less = ((f(z0 + down) - f(z0)) + (f(z0 + up + down) - f(z0 + up))) / 2
    more = np.divide(more, up, out=np.zeros(up.shape), where=up != 0)
    less = np.divide(less, down, out=np.zeros(up.shape), where=down != 0)
    own = np.where(c > 0, more, np.where(c < 0, less, (more + less) / 2))
    return (w * own * m).sum(1)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_two_layers_by_their_formula(name):
    x = keras.Input((6,))
    y = L.Dense(4, name)(L.Dense(5, name)(x))
    model = zoo.fill(keras.Model(x, L.Dense(2)(y)))
    w, b, v, c, u, _ = (p.astype(float) for p in model.get_weights())
    f = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}[name]
    e = tfxai.explain(model, X, "deeplift", 1, baseline=START, rule="reveal_cancel")
    for k, point in enumerate(X.astype(float)):
        start = START.astype(float)
        h, h0 = f(point @ w + b), f(start @ w + b)
        m = through(h, h0, v, c, f, u[:, 1])
        m = through(point, start, w, b, f, m)
        wanted = m * (point - start)
        np.testing.assert_allclose(e.relevance[k], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rule", ["reveal_cancel", "genomics"])
def test_it_accounts_for_the_whole_change(rule):
    x = keras.Input((8, 8, 2))
    y = L.BatchNormalization()(L.Conv2D(4, 3)(x))
    y = L.Add()([L.ReLU()(y), L.DepthwiseConv2D(3, padding="same")(y)])
    y = L.MaxPooling2D()(L.Activation("elu")(y))
    y = L.Dense(5, "gelu")(L.Flatten()(L.LayerNormalization()(y)))
    model = zoo.fill(keras.Model(x, L.Dense(3)(y)))
    data = rng.normal(size=(2, 8, 8, 2)).astype("float32")
    analyzer = tfxai.create_analyzer("deeplift", model, baseline=0.2, rule=rule)
    e = analyzer.analyze(data, [[0, 1]] * 2)
    size = np.abs(e.relevance).sum((2, 3, 4))
    assert (np.abs(e.extra["completeness"]) <= 1e-5 * size).all()
    rules = {row["rule"] for row in analyzer.coverage() if row["kind"] == "dense"}
    assert rules == {"reveal_cancel"}
    convs = {row["rule"] for row in analyzer.coverage() if row["kind"] == "conv"}
    assert convs == {"reveal_cancel" if rule == "reveal_cancel" else "gradient"}
    plain = tfxai.explain(model, data, "deeplift", [[0, 1]] * 2, baseline=0.2)
    assert np.abs(plain.relevance - e.relevance).max() > 1e-3


def test_another_rule_is_named():
    model = keras.Sequential([keras.Input((6,)), L.Dense(2)])
    with pytest.raises(OptionError, match="rule='linear'"):
        tfxai.create_analyzer("deeplift", model, rule="linear")


def test_a_layer_whose_activation_is_propagated_with_it_is_named():
    x = keras.Input((3,))
    y = L.Activation("tanh", name="act")(L.Dense(6, name="d1")(x))
    model = zoo.fill(keras.Model(x, L.Dense(2)(L.ReLU()(L.Dense(5)(y)))))
    z = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    with pytest.raises(OptionError, match="its activation as one") as error:
        tfxai.explain(model, z, "deeplift", 1, rule="reveal_cancel", at="d1")
    given = eval(f"dict({error.value.write})")
    e = tfxai.explain(model, z, "deeplift", 1, rule="reveal_cancel", **given)
    assert np.abs(e.extra["completeness"]).max() <= 1e-5
