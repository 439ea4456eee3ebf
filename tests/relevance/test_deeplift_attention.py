"""DeepLIFT through softmaxes, normalisations and products: formulas, and additivity.

The oracles are NumPy in float64: each returns the matrix S with df = S dx.
"""

import sys
import types

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo

L, ops = keras.layers, keras.ops
SHAPE = (6, 8)


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def explained(f, x, x0, out=5):
    """Return our map of output `out` of f, a function of one tensor (n,)."""
    i = keras.Input(x.shape[1:])
    model = keras.Model(i, L.Dense(1, use_bias=False)(L.Flatten()(f(i))))
    pick = np.zeros((model.layers[-1].kernel.shape[0], 1), "float32")
    pick[out] = 1
    model.layers[-1].kernel.assign(pick)
    return tfxai.explain(model, x, "deeplift", 0, baseline=x0).relevance


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def secant_of_softmax(z, z0):
    """S of a softmax of a vector, from the quotients d s / d log s themselves."""
    s, s0 = softmax(z), softmax(z0)
    mean = (s - s0) / (np.log(s) - np.log(s0))
    return np.diag(mean) - np.outer(mean, mean) / mean.sum()


def secant_of_norm(x, x0, eps, centred=True):
    """S of (x - mean) / root(variance + eps): product rule, and rescale of 1 / root."""
    n = len(x)
    centre = np.eye(n) - centred / n
    u, u0 = centre @ x, centre @ x0
    v, v0 = ((w**2).mean() + eps for w in (u, u0))
    slope = (v**-0.5 - v0**-0.5) / (v - v0)
    of_root = slope * (u + u0) / n @ centre
    return centre * (v**-0.5 + v0**-0.5) / 2 + np.outer((u + u0) / 2, of_root)


@pytest.mark.parametrize("log", [False, True])
def test_a_softmax_by_its_formula(log):
    x, x0 = 3 * rows(3, 8), rows(8, seed=1)
    found = explained(ops.log_softmax if log else ops.softmax, x, x0)
    for k, z in enumerate(x.astype(float)):
        s = secant_of_softmax(z, x0.astype(float))
        mean = np.diag(s) + s.sum(1) - np.diag(s)  # its rows add up to 0
        assert np.abs(mean).max() < 1e-12
        if log:
            p, p0 = softmax(z), softmax(x0.astype(float))
            share = (p - p0) / (np.log(p) - np.log(p0))
            s = np.eye(8) - share / share.sum()
        np.testing.assert_allclose(found[k], s[5] * (z - x0), rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize(
    "name, centred", [("LayerNormalization", True), ("RMSNormalization", False)]
)
def test_a_normalisation_by_its_formula(name, centred):
    x, x0 = 2 * rows(3, 8), rows(8, seed=1)
    layer = getattr(L, name)(epsilon=1e-3)
    found = explained(layer, x, x0)
    for k, z in enumerate(x.astype(float)):
        s = secant_of_norm(z, x0.astype(float), 1e-3, centred)
        np.testing.assert_allclose(found[k], s[5] * (z - x0), rtol=2e-4, atol=1e-6)


def test_products_and_quotients_are_shapley_values():
    x, x0 = rows(3, 3), rows(3, seed=1)
    values = {
        "product": lambda a, b, c: a * b * c,
        "quotient": lambda a, b, c: a / (b * b + 1) + 0 * c,
    }
    from itertools import permutations

    for name, f in values.items():

        def split(v, f=f):
            return f(*(v[:, i : i + 1] for i in range(3)))

        found = explained(split, x, x0, 0)
        for k, z in enumerate(x.astype(float)):
            wanted = np.zeros(3)
            for order in permutations(range(3)):
                at = x0.astype(float)
                for i in order:
                    before = f(*at)
                    at[i] = z[i]
                    wanted[i] += (f(*at) - before) / 6
            np.testing.assert_allclose(
                found[k], wanted, rtol=1e-4, atol=1e-6, err_msg=name
            )


def test_close_to_the_baseline_the_map_is_gradient_times_change():
    x = keras.Input(SHAPE)
    y = L.LayerNormalization()(x)
    y = L.Add()([x, L.MultiHeadAttention(2, 4)(y, y)])
    wrapped = tfxai.wrap(zoo.fill(keras.Model(x, L.Dense(2)(L.Flatten()(y)))))
    data = rows(2, *SHAPE)
    near = data[0] + 1e-4 * rows(*SHAPE, seed=3)
    e = tfxai.explain(wrapped, data[:1], "deeplift", 1, baseline=near)
    g = tfxai.explain(wrapped, data[:1], "gradient", 1).relevance
    wanted = g * (data[:1] - near)
    assert np.abs(e.relevance - wanted).max() <= 1e-3 * np.abs(wanted).max()


def _attention(x):
    y = L.LayerNormalization()(x)
    return L.Add()([x, L.MultiHeadAttention(2, 4)(y, y, use_causal_mask=True)])


def _gated(x):
    y = L.RMSNormalization()(x)
    return L.Dense(5, "silu")(y) * L.Dense(5)(y) * L.Dense(5, "sigmoid")(y)


def _divided(x):
    y = x / (ops.sum(x * x, -1, keepdims=True) + 1)
    return L.UnitNormalization()(L.GroupNormalization(2)(y))


def _written(x):
    e = ops.exp(x - ops.max(x, 1, keepdims=True))
    y = e / ops.sum(e, 1, keepdims=True)
    return ops.log_softmax(L.AdditiveAttention()([y, x]))


@pytest.mark.parametrize("body", [_attention, _gated, _divided, _written])
def test_the_map_accounts_for_the_whole_change(body):
    x = keras.Input(SHAPE)
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(body(x)))))
    analyzer = tfxai.create_analyzer("deeplift", model, baseline="mean")
    data = rows(2, *SHAPE)
    e = analyzer.analyze(data, [[0, 1]] * 2)  # operation by operation
    start = data.mean(1, keepdims=True) + 0 * data
    change = (model(data) - model(start)).numpy()[:, :2]
    size = np.abs(e.relevance).sum((2, 3)).max()
    assert np.abs(e.relevance.sum((2, 3)) - change).max() <= 1e-5 * size
    if body is _attention:  # compiled, with one target
        one = analyzer.analyze(data[:1], 1).relevance
        np.testing.assert_allclose(one, e.relevance[:1, 1], rtol=1e-3, atol=1e-5)


def test_masks_of_padding_are_those_of_the_tokens():
    """The baseline 0 is padding: alone it has no mean."""
    x = keras.Input((5,), dtype="int32")
    y = L.Embedding(9, 4, mask_zero=True)(x)
    model = zoo.fill(keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(y))))
    words = np.int32([[3, 1, 0, 0, 0], [2, 5, 5, 8, 1]])
    table = model.layers[1].embeddings.numpy()
    kernel, _ = model.layers[-1].get_weights()
    e = tfxai.explain(model, words, "deeplift", 1)
    share = (words > 0) / (words > 0).sum(1, keepdims=True)
    wanted = share * ((table[words] - table[0]) @ kernel[:, 1])
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["BertTextClassifier", "GPT2CausalLM", "LlamaCausalLM", "Gemma3nCausalLM"]
)
def test_models_of_keras_hub(name):
    sys.modules.setdefault("grain", types.SimpleNamespace(MapDataset=object))
    pytest.importorskip("keras_hub", reason="needs keras-hub, not installed")
    from tests.text import hub_zoo

    lm = hub_zoo.build(name)
    given = {} if "Classifier" in name else {"answer": "are"}
    analyzer = tfxai.text.create_analyzer("deeplift", lm)
    e = analyzer.analyze(hub_zoo.PROMPT, **given)
    size = np.abs(e.relevance).sum()
    assert size > 1e-3 and np.abs(e.extra["completeness"]).max() <= 1e-5 * size
