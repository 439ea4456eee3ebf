"""Relevance of position encodings (PA-LRP) against formulas in NumPy float64."""

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tests.relevance.test_transformers import product, softmax
from tfxai.errors import ModelError, OptionError

L = keras.layers
LENGTH, WIDTH, HEADS = 5, 4, 2
#: sines and cosines of a rotary encoding, (length, width of a head).
ANGLES = np.arange(LENGTH)[:, None] * np.array([1.0, 1.0, 0.1, 0.1])
COS, SIN = (f(ANGLES).astype("float32") for f in (np.cos, np.sin))


@keras.saving.register_keras_serializable("tests")
class Learned(L.Layer):
    """A table of positions that is added to tokens."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], name="table")

    def call(self, x):
        return x + self.table


def close(found, wanted, near=1e-5):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= near * np.abs(wanted).max()


def tables(batch=3):
    """Return a network of tokens with a learned table and without biases, and ids."""
    ids = keras.Input((LENGTH,), dtype="int32")
    x = Learned(name="learned")(L.Embedding(9, WIDTH, name="words")(ids))
    x = L.Dense(6, "relu", use_bias=False, name="hidden")(x)
    y = L.Dense(3, use_bias=False, name="end")(L.Flatten()(x))
    return zoo.fill(keras.Model(ids, y)), np.arange(batch * LENGTH).reshape(
        batch, -1
    ) % 9


def by_table(model, ids, k):
    """Return the relevance of tokens and positions (B, L): eq. 5 of the paper."""
    words, table, first, last = (w.astype(float) for w in model.get_weights())
    e = words[ids]
    z = e + table
    h = z @ first
    c = np.where(h > 0, last[:, k].reshape(LENGTH, -1), 0) @ first.T  # R / z
    return (e * c).sum(-1), (table * c).sum(-1)


def test_tables_take_their_share_of_the_sum():
    model, ids = tables()
    wrapped = tfxai.wrap(model)
    options = {"positions": True, "epsilon": 0.0}
    e = tfxai.explain(wrapped, ids, "lrp.attn", 1, **options)
    tokens, positions = by_table(model, ids, 1)
    close(e.relevance, tokens)
    close(e.extra["positions"], positions)
    close(e.extra["position_total"], positions.sum(1))
    total = e.relevance.sum(1) + e.extra["positions"].sum(1)
    np.testing.assert_allclose(total, e.score, rtol=1e-5)  # tokens + positions = score
    assert np.abs(e.extra["completeness"]).max() <= 1e-5 * np.abs(e.score).max()
    assert np.abs(positions.sum(1) / e.score).min() > 0.1  # else a share of nothing
    two = tfxai.explain(wrapped, ids, "lrp.attn", [[2, 1]] * 3, **options, batch_size=2)
    close(two.extra["positions"][:, 1], positions)
    plain = tfxai.explain(wrapped, ids, "lrp.attn", 1, epsilon=0.0)
    close(plain.relevance, tokens)


def test_every_relevance_method_returns_positions(tmp_path):
    model, ids = tables(2)
    wrapped = tfxai.wrap(model)
    _, positions = by_table(model, ids, 0)
    for name in ("lrp.z", "lrp.cp", "lrp.gamma"):
        analyzer = tfxai.create_analyzer(name, wrapped, positions=True)
        e = analyzer.analyze(ids, 0)
        if name != "lrp.gamma":  # 1e-6 stabilizes the sums of lrp.cp
            close(e.extra["positions"], positions, 1e-3)
        np.testing.assert_allclose(e.extra["completeness"], 0, atol=1e-4)
        assert np.abs(analyzer.residual(ids, 0).relative).max() < 1e-3
    analyzer.graph.save(tmp_path / "graph.keras")
    loaded = keras.saving.load_model(tmp_path / "graph.keras")
    assert [t.number for t in loaded.tables] == [
        t.number for t in analyzer.graph.tables
    ]
    for name in ("deeplift", "guided_backprop"):
        with pytest.raises(OptionError, match="gradients or changes"):
            tfxai.create_analyzer(name, wrapped, positions=True)
    plain = zoo.fill(keras.Sequential([keras.Input((4,)), L.Dense(2)]))
    with pytest.raises(ModelError, match="positions=True, and no step"):
        tfxai.create_analyzer("lrp.z", plain, positions=True)


def halves(x):
    """Return (-b, a) of (a, b), along the last axis."""
    a, b = x[..., ::2], x[..., 1::2]
    if isinstance(x, np.ndarray):
        return np.stack([-b, a], -1).reshape(x.shape)
    return keras.ops.reshape(keras.ops.stack([-b, a], -1), (-1, LENGTH, WIDTH))


def turned(x):
    return x * COS + halves(x) * SIN


def rotary():
    """Return attention of one head with a rotary encoding, without biases."""
    x = tokens = keras.Input((LENGTH, WIDTH))
    q, k, v = (L.Dense(WIDTH, use_bias=False, name=n)(x) for n in "qkv")
    scores = keras.ops.matmul(turned(q), keras.ops.transpose(turned(k), (0, 2, 1)))
    x = keras.ops.matmul(keras.ops.softmax(scores), v)
    y = L.Dense(3, use_bias=False, name="end")(L.Flatten()(x))
    return zoo.fill(keras.Model(tokens, y))


def by_rotation(model, x, target):
    """Return the relevance of one sample (L, D), and of its positions (L,)."""
    layers = [model.get_layer(n) for n in ("q", "k", "v", "end")]
    wq, wk, wv, end = (v.kernel.numpy().astype(float) for v in layers)
    x = x.astype(float)
    q, k, v = x @ wq, x @ wk, x @ wv
    u, w = turned(q), turned(k)
    s = u @ w.T
    a = softmax(s)
    r_a, r_v = product(a, v, (a @ v) * end[:, target].reshape(LENGTH, -1))
    r_s = s * (r_a - a * r_a.sum(-1, keepdims=True))
    r_u, r_w = product(u, w.T, r_s)
    down, positions = v * 0, np.zeros(LENGTH)
    for m, z, r, kernel in ((q, u, r_u, wq), (k, w, r_w.T, wk)):
        c = r / z
        parts = m * COS * c, halves(m) * SIN * c  # of the sum; then half of each
        positions += sum(parts).sum(-1) / 2
        half = parts[0] / 2
        back = parts[1] / 2
        back = np.stack([back[:, 1::2], back[:, ::2]], -1).reshape(m.shape)
        down += x * (((half + back) / m) @ kernel.T)
    return down + x * ((r_v / v) @ wv.T), positions


def test_rotary_encodings_take_half():
    model = rotary()
    x = np.random.default_rng(3).normal(size=(2, LENGTH, WIDTH)).astype("float32")
    wrapped = tfxai.wrap(model)
    e = tfxai.explain(wrapped, x, "lrp.attn", 1, positions=True, epsilon=0.0)
    pairs = [by_rotation(model, v, 1) for v in x]
    close(e.relevance, np.stack([p[0] for p in pairs]), 1e-3)
    close(e.extra["positions"], np.stack([p[1] for p in pairs]), 1e-3)
