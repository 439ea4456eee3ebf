"""PatternNet and PatternAttribution against their formulas in NumPy float64."""

from functools import cache

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import InputError, ModelError, OptionError

L = keras.layers


@cache
def known():
    """Return a network of a convolution and two dense layers, and examples."""
    i = keras.Input((5, 5, 2))
    y = L.Conv2D(3, 3, strides=2, activation="relu", name="conv")(i)
    y = L.Dense(6, activation="relu", name="hidden")(L.Flatten()(y))
    model = zoo.fill(keras.Model(i, L.Dense(3, name="end")(y)))
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(50, 50)) / 7
    x = (rng.normal(size=(40, 50)) @ mixing).reshape(40, 5, 5, 2)
    return tfxai.wrap(model), (x + 0.3).astype("float32")


def rows_of(x):
    """The patches of the convolution, (B, 4, 18)."""
    spots = [x[:, i : i + 3, j : j + 3].reshape(len(x), -1)
             for i in (0, 2) for j in (0, 2)]  # fmt: skip
    return np.stack(spots, 1)


def pattern(x, w, b, gated):
    """cov(x, y) / var(y) of each unit, over active rows: x (n, d), w (d, u)."""
    y, a = x @ w, np.zeros_like(w)
    for u in range(w.shape[1]):
        on = y[:, u] + b[u] > 0 if gated else np.ones(len(x), bool)
        if on.sum() > 1:
            centred = y[on, u] - y[on, u].mean()
            a[:, u] = (x[on] - x[on].mean(0)).T @ centred / (centred @ centred)
    return a


def by_hand(model, examples, x, k, estimator, signal):
    """The map of class k, by matrices."""
    relu = estimator == "relu"
    parts = [model.get_layer(n).get_weights() for n in ("conv", "hidden", "end")]
    parts = [(w.reshape(-1, w.shape[-1]).astype(float), b) for w, b in parts]

    def forward(v):
        patches = rows_of(v.astype(float))
        first = np.maximum(patches @ parts[0][0] + parts[0][1], 0)
        flat = first.reshape(len(v), -1)
        second = np.maximum(flat @ parts[1][0] + parts[1][1], 0)
        return patches, flat, second, second @ parts[2][0] + parts[2][1]

    patches, flat, second, _ = forward(examples)
    inputs = [patches.reshape(-1, patches.shape[-1]), flat, second]
    gates = (relu, relu, False)
    kernels = []
    for v, (w, b), gated in zip(inputs, parts, gates, strict=True):
        a = pattern(v, w, b, gated)
        kernels.append(a if signal else a * w)
    _, flat, second, y = forward(x)
    r = y[:, [k]] * kernels[2][:, k] * (second > 0)
    r = (r @ kernels[1].T) * (flat > 0)
    r = (r.reshape(len(x), 4, -1) @ kernels[0].T).reshape(len(x), 4, 3, 3, 2)
    result = np.zeros(x.shape)
    for n, (i, j) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        result[:, i : i + 3, j : j + 3] += r[:, n]
    return result


@pytest.mark.parametrize("estimator", ["relu", "linear"])
@pytest.mark.parametrize("name", ["pattern.net", "pattern.attribution"])
def test_the_formulas(name, estimator):
    wrapped, x = known()
    analyzer = tfxai.create_analyzer(name, wrapped, estimator=estimator)
    analyzer.fit(x[:25]).fit(x[25:], batch_size=7)  # as of all at once
    e = analyzer.analyze(x[:3], [[2, 0]] * 3)
    for number, k in enumerate((2, 0)):
        wanted = by_hand(wrapped.model, x, x[:3], k, estimator, name == "pattern.net")
        found = e.relevance[:, number]
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_patterns_find_the_signal_among_distractors():
    """The linear example of the paper: x = a y + noise along d, and w cancels d."""
    rng = np.random.default_rng(1)
    a, d = np.array([1.0, 0.0]), np.array([1.0, 1.0])
    x = rng.normal(size=(500, 1)) * a + 3 * rng.normal(size=(500, 1)) * d
    i = keras.Input((2,))
    model = keras.Model(i, L.Dense(1, use_bias=False)(i))
    model.set_weights([np.array([[1.0], [-1.0]])])  # orthogonal to d
    analyzer = tfxai.create_analyzer("pattern.net", model, background=x)
    e = analyzer.analyze(x[:4])
    wanted = (x[:4] @ np.array([1.0, -1.0]))[:, None] * a
    assert np.abs(e.relevance - wanted).max() <= 0.2 * np.abs(wanted).max()
    gradient = tfxai.explain(model, x[:4], "gradient").relevance
    np.testing.assert_allclose(gradient, np.tile([1, -1], (4, 1)))  # the filter


def test_what_cannot_be_fitted_is_named():
    wrapped, x = known()
    analyzer = tfxai.create_analyzer("pattern.net", wrapped)
    with pytest.raises(OptionError, match=r"no patterns yet.*\n.*\n.*fit\("):
        analyzer.analyze(x)
    with pytest.raises(OptionError, match="keeps every tensor"):
        tfxai.explain(wrapped, x, "pattern.net", background=x, recompute=True)
    with pytest.raises(OptionError, match="estimator='both'"):
        tfxai.create_analyzer("pattern.net", wrapped, estimator="both")
    i = keras.Input((5, 5, 2))
    model = keras.Model(i, L.Dense(2)(L.Flatten()(L.DepthwiseConv2D(2)(i))))
    with pytest.raises(ModelError, match="'depthwise'"):
        tfxai.create_analyzer("pattern.net", model)
    i = keras.Input((4,), dtype="int32")
    model = keras.Model(i, L.Dense(2)(L.Flatten()(L.Embedding(5, 2)(i))))
    with pytest.raises(InputError, match="token ids"):
        tfxai.create_analyzer("pattern.attribution", model)
