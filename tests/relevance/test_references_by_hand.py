"""Each known difference from iNNvestigate on one neuron, computed by hand."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import tfxai
from tests import oracles as O
from tests import zoo
from tests.relevance.old_rules import BOX, KNOWN_DIFFERENCES, Entry
from tests.relevance.stored import far, restored, run
from tfxai.errors import NothingToExplainWarning
from tfxai.relevance import heads as H

L = keras.layers

# -- each row on one neuron, by hand -------------------------------------------------


def net(shape: tuple, *layers: Any) -> keras.Model:
    """Return a chain of layers; those with weights are given as (layer, weights)."""
    x = y = keras.Input(shape)
    for layer in layers:
        y = (layer[0] if isinstance(layer, tuple) else layer)(y)
    for layer, numbers in (v for v in layers if isinstance(v, tuple)):
        shapes = [w.shape for w in layer.weights]
        cuts = np.cumsum([np.prod(s) for s in shapes])[:-1].astype(int)
        parts = np.split(np.asarray(numbers, np.float32), cuts)
        layer.set_weights([p.reshape(s) for p, s in zip(parts, shapes, strict=True)])
    return keras.Model(x, y)


def dense(*weights: float, units: int = 1) -> tuple[keras.Layer, list]:
    """Return a dense layer without bias."""
    return L.Dense(units, use_bias=False), list(weights)


def separable() -> keras.Model:
    return net((1, 1, 1), (L.SeparableConv2D(1, 1, use_bias=False), [-1, -2]))


def norm(*weights: float) -> keras.Model:
    return net((1,), (L.BatchNormalization(), list(weights)))


def sum_of_two() -> keras.Model:
    """f = a + b with a = b = 2 x."""
    x = keras.Input((1,))
    a, b = L.Dense(1, use_bias=False), L.Dense(1, use_bias=False)
    h = a(x)
    model = keras.Model(x, L.Add()([h, b(h)]))
    a.set_weights([np.array([[2]])])
    b.set_weights([np.array([[1]])])
    return model


def mean_of_relu() -> keras.Model:
    """f = (relu(a) + relu(a - 2 b)) / 2."""
    mean = L.Reshape((2, 1)), L.GlobalAveragePooling1D()
    return net((2,), dense(1, 1, 0, -2, units=2), L.Activation("relu"), *mean)


def two(layer: keras.Layer) -> keras.Model:
    """f = layer(x1, x2)."""
    x = keras.Input((2,))
    a, b = L.Dense(1, use_bias=False), L.Dense(1, use_bias=False)
    model = keras.Model(x, layer([a(x), b(x)]))
    a.set_weights([np.array([[1], [0]])])
    b.set_weights([np.array([[0], [1]])])
    return model


def half(x, m, r):
    """Product of two factors: R / 2 for each, independent of x."""
    return np.concatenate([r, r], -1) / 2


def transposed(x, m, r):
    """W^T R."""
    return r @ m.W.T


class Example(NamedTuple):
    """Example of a row: the paper's relevance (by `formula`), and iNNvestigate's."""

    row: str
    network: Callable[[], keras.Model]
    x: list[float]
    method: str
    formula: Callable
    paper: list[float]
    old: list[float]


#: The numbers of the first six are those of RULES.md, section 7.
EXAMPLES = (
    Example(
        "biases", lambda: net((1,), (L.Dense(1), [1, -0.5])), [1],
        "lrp.alpha_1_beta_0", O.z_plus, [0.5], [1.0],
    ),
    Example(
        "biases", lambda: net((2,), (L.Dense(1), [1, -0.4, 0.5])), [1, 1],
        "lrp.alpha_2_beta_1", O.alpha_beta, [1.467, -1.1], [1.467, 4.4],
    ),
    Example("norm", lambda: norm(0.5, 0, 1, 1), [3], "lrp.z", O.z, [1.5], [2.9985]),
    Example("norm", lambda: norm(1, 0.5, 1, 4), [3], "lrp.z", O.z, [1.5], [1.125]),
    Example("separable", separable, [1], "lrp.z_plus", O.z_plus, [2], [0]),
    Example(
        "separable", separable, [1], "lrp.alpha_2_beta_1_IB",
        partial(O.alpha_beta, bias=False), [4], [-2],
    ),
    Example("add", sum_of_two, [1], "deep_taylor", O.z_plus, [4], [8]),
    Example(
        "mean", lambda: net((2, 1), L.GlobalAveragePooling1D()), [1, 3],
        "deep_taylor", O.z_plus, [0.5, 1.5], [1, 1],
    ),
    Example(
        "padding",
        lambda: net(
            (2, 1),
            L.ZeroPadding1D((1, 0)),
            (L.Conv1D(1, 3, use_bias=False), [9, 1, 1]),
            L.Flatten(),
        ),
        [1, -0.5], "deep_taylor.bounded",
        partial(O.z_box, low=np.array([0, -1, -1]), high=np.array([0, 1, 1])),
        [0.4, 0.1], [0.5, 0],
    ),
    Example(
        "relu", lambda: net((1,), dense(1, -1, units=2), L.ReLU(), dense(1, 1)), [1],
        "lrp.flat", O.flat, [1], [0.5],
    ),
    Example(
        "leaky_relu", lambda: net((1,), dense(-1), L.LeakyReLU(0.2), dense(-1)), [1],
        "lrp.z", O.z, [0.2], [0.04],
    ),
    Example(
        "merge", lambda: two(L.Average()), [1, 3], "lrp.z", O.z, [0.5, 1.5], [1, 1],
    ),
    Example(
        "merge", lambda: two(L.Subtract()), [3, 1], "lrp.z", O.z, [3, -1], [2, -2],
    ),
    Example(
        "product", lambda: two(L.Multiply()), [1, 3], "lrp.z", O.z, [1.5, 1.5], [9, 3],
    ),
    Example(
        "start", lambda: net((2,), (L.Dense(1), [1, 2, 0.3])), [1, 1],
        "guided_backprop", transposed, [1, 2], [3.3, 6.6],
    ),
    Example(
        "start", lambda: net((2,), dense(1, 2)), [0, -1],
        "deconvnet", transposed, [1, 2], [-2, -4],
    ),
    Example(
        "activation", mean_of_relu, [1, 1], "deep_taylor", O.z_plus,
        [0.5, 0], [0.25, 0],
    ),
)  # fmt: skip


@pytest.mark.parametrize("e", EXAMPLES, ids=[f"{e.row} {e.paper}" for e in EXAMPLES])
def test_a_row_on_one_neuron(e):
    model, box = e.network(), BOX if e.method == "deep_taylor.bounded" else {}
    x, top = np.reshape(e.x, (1, *model.input_shape[1:])), np.zeros((1, 1), np.int32)
    graph = tfxai.create_analyzer(e.method, model, **box).graph
    linear = ("dense", "conv", "scale", "add", "average", "Subtract")
    kinds = {**dict.fromkeys(linear, e.formula), "Multiply": half}
    start = np.ones_like if graph.head is H.unit else np.asarray

    paper = O.lrp(model, [np.asarray(x, "float64")], lambda f: start(f)[None], kinds)[0]
    assert np.ravel(paper) == pytest.approx(np.float64(e.paper), abs=1e-3)
    assert far(run(graph, [x], top)[0], paper) < 1e-5

    entry = Entry("by hand", e.row, graph)
    rows = tuple(r for r in KNOWN_DIFFERENCES if r.applies(entry))
    assert e.row in [r.name for r in rows]
    old = restored(entry, rows, [x], top)[0]
    assert np.ravel(old) == pytest.approx(np.float64(e.old), abs=1e-3)
    others = tuple(r for r in rows if r.name != e.row)
    assert far(restored(entry, others, [x], top)[0], old) > 1e-2, "it is another row"


def test_every_row_has_an_example():
    assert {e.row for e in EXAMPLES} == {r.name for r in KNOWN_DIFFERENCES}


def test_a_nested_model_is_the_network_written_out():
    """Bug 8: iNNvestigate uses the gradient in the inner model, without a warning."""
    model, flat = zoo.nested()
    x, targets = zoo.inputs(flat), np.array([[0, 2], [3, 1]], np.int32)
    rules = {"dense": O.z_plus, "conv": O.z_plus}

    def seeds(f):
        return O.masked(f, np.eye(4)[targets.T])

    paper = O.lrp(flat, [np.asarray(x[0], "float64")], seeds, rules, O.z_box)[0]
    for network in (flat, model):
        analyzer = tfxai.create_analyzer("deep_taylor.bounded", network, low=-1, high=1)
        assert far(run(analyzer.graph, x, targets)[0], paper) < 1e-5


# -- iNNvestigate 1.0.8.3, which the SGLRP repository pins ----------------------------


def biased(seed=0):
    """A ReLU network of three dense layers with large biases, and its weights."""
    x = keras.Input((5,))
    y = L.Dense(7, "relu")(L.Dense(8, "relu")(x))
    model = keras.Model(x, L.Dense(3)(y))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 1, w.shape) for w in model.get_weights()])
    weights = [w.astype(float) for w in model.get_weights()]
    return model, list(zip(weights[::2], weights[1::2], strict=True))


def old_deep_taylor(layers, x, seed, box=None):
    """R' = R (x w)+ / (sum (x w)+ + b) in each layer; the box rule has no bias."""
    activations = [x]
    for w, b in layers[:-1]:
        activations.append(np.maximum(activations[-1] @ w + b, 0))
    r = seed
    for a, (w, b) in list(zip(activations, layers, strict=True))[:0:-1]:
        c = np.maximum(a[:, :, None] * w, 0)
        z = c.sum(1) + b
        r = np.einsum("bio,bo->bi", c, np.divide(r, z, where=r != 0, out=0 * r))
    w, b = layers[0]
    c = np.maximum(x[:, :, None] * w, 0)
    z = c.sum(1) + b
    if box is not None:
        low, high = box
        c = x[:, :, None] * w - low * np.maximum(w, 0) - high * np.minimum(w, 0)
        z = c.sum(1)
    return np.einsum("bio,bo->bi", c, np.divide(r, z, where=r != 0, out=0 * r))


def test_deep_taylor_with_the_biases_of_innvestigate_1_0_8_3():
    model, layers = biased()
    x = np.random.default_rng(1).uniform(-1, 1, (6, 5)).astype("float32")
    f = np.maximum(model(x).numpy().astype(float), 0)
    for t in range(3):
        seed, box = f * np.eye(3)[t], {"low": -1, "high": 1}
        for name, options, bounds in (
            ("deep_taylor", {}, None),
            ("deep_taylor.bounded", box, (-1, 1)),
            ("lrp", box, (-1, 1)),
        ):
            wanted = old_deep_taylor(layers, x, seed, bounds)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NothingToExplainWarning)
                e = tfxai.explain(model, x, name, t, bias="both", **options)
            np.testing.assert_allclose(e.relevance, wanted, rtol=1e-3, atol=1e-4)


def test_sglrp_with_the_biases_of_innvestigate_1_0_8_3():
    model, layers = biased()
    x = np.random.default_rng(1).uniform(-1, 1, (6, 5)).astype("float32")
    u = np.maximum(model(x).numpy().astype(float), 0)
    t = int(u.sum(0).argmax())
    p = np.exp(u) / np.exp(u).sum(1, keepdims=True)
    own = p[:, t] * (1 - p[:, t])
    here, alive = np.eye(3)[t], u > 0
    a = old_deep_taylor(layers, x, own[:, None] * here * alive, (-1, 1))
    b = old_deep_taylor(layers, x, p * p[:, [t]] * (1 - here) * alive, (-1, 1))
    total = b.sum(1, keepdims=True)
    k = np.divide(a.sum(1, keepdims=True), total, where=total != 0, out=0 * total)
    options = {"low": -1, "high": 1, "relu_logits": True, "bias": "both"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NothingToExplainWarning)
        e = tfxai.explain(model, x, "sglrp", t, **options)
    assert np.abs(a - k * b).max() > 1e-2
    np.testing.assert_allclose(e.relevance, a - k * b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet"])
def test_guided_backpropagation_of_iNNvestigate_with_logits_of_both_signs(name):
    """It starts from the logit f_t, so that its ReLUs act on the sign of f_t."""
    model, layers = biased(3)
    x = np.random.default_rng(1).normal(size=(6, 5)).astype("float32")
    z, a = [], x
    for w, b in layers:
        z.append(a @ w + b)
        a = np.maximum(z[-1], 0)
    seen = set()
    for t in range(3):
        f = z[-1][:, t]
        r = f[:, None] * np.eye(3)[t]
        for k in (2, 1, 0):
            if k < 2:
                r = np.maximum(r, 0) * ((z[k] > 0) if name[0] == "g" else 1)
            r = r @ layers[k][0].T
        plus = tfxai.explain(model, x, name, t)
        minus = tfxai.explain(model, x, name, tfxai.targets.masked_sum(-np.eye(3)[t]))
        for e, rows in ((plus, f > 0), (minus, f < 0)):
            seen.add(bool(rows.any()))
            ours = (e.relevance * e.score[:, None])[rows]
            np.testing.assert_allclose(ours, r[rows], rtol=1e-4, atol=1e-5)
    assert True in seen and (z[-1] < 0).any() and (z[-1] > 0).any()
