"""Facts that are read from a graph: signs, ReLUs, divisors, names, nested analyzers."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.relevance.programs import program_of
from tfxai.base.tensors import positive
from tfxai.errors import UnknownNameError, UnreachedInputWarning
from tfxai.graph.linear import Local

L, ops = keras.layers, keras.ops
WEIGHTS = np.float32([[1], [-1], [1]])


def summed(function, weights=WEIGHTS):
    """f(x) = w . function(x), for three values."""
    i = keras.Input((3,))
    last = L.Dense(1, use_bias=False, name="last")
    model = keras.Model(i, last(function(i)))
    last.kernel.assign(weights)
    return model


@pytest.mark.parametrize("other", [-5, -5.0])
def test_a_branch_below_0_is_seen(other):
    def function(i):
        h = L.ReLU(name="h")(i)
        return ops.where(h > 0.3, h, other)

    x = np.float32([[1, 0.1, 2]])
    analyzer = tfxai.create_analyzer("lrp.z_plus", summed(function))
    place = analyzer.coverage()[-2]["step"]  # the selection, in front of the sum
    # values 1, -5, 2 with the weights 1, -1, 1: contributions 1, 5 and 2 of 8
    found = analyzer.relevance_at(place, x, 0).relevance
    np.testing.assert_allclose(found, [[1, 5, 2]], rtol=1e-6)


RELUS = {
    "clip": lambda v: ops.clip(v, 0, 6),
    "LeakyReLU(0)": L.LeakyReLU(negative_slope=0.0),
    "maximum of zeros": lambda v: ops.maximum(v, np.zeros(3, "float32")),
    "relu6": L.ReLU(max_value=6.0),
}
NO_RELUS = {
    "clip from -1": lambda v: ops.clip(v, -1, 6),
    "LeakyReLU": L.LeakyReLU(negative_slope=0.1),
    "maximum of ones": lambda v: ops.maximum(v, np.ones(3, "float32")),
}


@pytest.mark.parametrize("name", [*RELUS, *NO_RELUS])
def test_guided_backprop_knows_a_relu(name):
    model = summed({**RELUS, **NO_RELUS}[name])
    x = np.float32([[1, 2, 3]])
    found = tfxai.explain(model, x, "guided_backprop", target=0).relevance
    np.testing.assert_allclose(found, [[1, 0 if name in RELUS else -1, 1]])


@pytest.mark.parametrize("method", ["guided_backprop", "gradient"])
def test_slopes_do_not_leave_out_a_divisor(method):
    model = summed(lambda i: i / ops.sum(i, -1, keepdims=True))
    found = tfxai.explain(model, np.float32([[1, 2, 3]]), method, target=0).relevance
    w = WEIGHTS.ravel()
    wanted = (w - (w @ [1, 2, 3]) / 6) / 6  # d/dx of (w . x) / sum(x)
    np.testing.assert_allclose(found, [wanted], rtol=1e-5)


@pytest.mark.parametrize("method", ["guided_backprop", "gradient"])
def test_a_mask_is_no_divisor_to_slopes(method):
    def function(i):
        here = ops.cast(i > 0.5, "float32")
        return L.ReLU()(i) * here / ops.sum(here, -1, keepdims=True)

    model, x = summed(function, np.ones((3, 1))), np.float32([[1, 0.2, 3]])
    found = tfxai.explain(model, x, method, target=0).relevance
    np.testing.assert_allclose(found, [[0.5, 0, 0.5]])


def normalised():
    """Return a convolution and a normalisation that is merged into it."""
    i = keras.Input((4, 4, 2))
    z = L.Conv2D(3, 1, name="conv")(i)
    y = L.GlobalAveragePooling2D()(L.ReLU()(L.BatchNormalization(name="norm")(z)))
    model = keras.Model(i, y)
    norm = model.get_layer("norm")
    norm.gamma.assign([3, 2, 1])
    norm.beta.assign([1, 1, 1])
    return model, keras.Model(i, [z, norm(z)])


#: How a second input w joins a tensor v, and which methods give w no relevance.
BOTH = {"lrp.epsilon", "gradient"}
WAYS = {
    "embedding": ("int32", lambda v, w: v + L.Embedding(4, 3)(w)[:, 0], set()),
    "one-hot": ("int32", lambda v, w: v + ops.one_hot(w[:, 0], 3), BOTH),
    "floor": ("float32", lambda v, w: v + ops.floor(w), BOTH),
    "mask": ("int32", lambda v, w: ops.where(w > 1, v, 0.0), BOTH),
    "condition": ("bool", lambda v, w: ops.where(w, v, 1.0), BOTH),
    "gate": ("float32", lambda v, w: v * ops.sigmoid(w), {"lrp.epsilon"}),
    "divisor": ("float32", lambda v, w: v / w, {"lrp.epsilon"}),
    "two ways": ("float32", lambda v, w: v + w + ops.floor(w), set()),
}


@pytest.mark.parametrize("method", sorted(BOTH))
@pytest.mark.parametrize("name", WAYS)
def test_an_input_without_relevance_is_a_warning(name, method):
    dtype, joined, silent = WAYS[name]
    a, b = keras.Input((3,)), keras.Input((3,), dtype=dtype)
    model = keras.Model([a, b], L.Dense(1)(joined(L.Dense(3)(a), b)))
    inputs = [np.float32([[1, 2, 3]]), np.array([[1, 2, 3]], dtype)]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        maps = tfxai.explain(model, inputs, method, target=0).relevance
        tfxai.explain(model, [inputs[0], inputs[1] * 0], method, target=0)
    warned = [str(w.message) for w in seen if w.category is UnreachedInputWarning]
    assert len(warned) == (method in silent)
    assert maps[0].any() and maps[1].any() == (not warned)
    assert all("input(s) [1]" in t and "occlusion" in t for t in warned)


def test_a_merged_layer_goes_by_the_name_of_what_it_makes():
    model, both = normalised()
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float32")
    conv, norm = both(x)
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    found = analyzer.relevance_at("norm", x)
    np.testing.assert_allclose(found.inputs, norm, rtol=1e-5, atol=1e-5)
    with pytest.raises(UnknownNameError, match="'norm' is merged into 'conv'"):
        analyzer.relevance_at("conv", x)
    apart = tfxai.create_analyzer("lrp.epsilon", model, batch_norm="rule")
    found = apart.relevance_at("conv", x)
    np.testing.assert_allclose(found.inputs, conv, rtol=1e-5, atol=1e-5)


def test_a_large_kernel_is_mapped_twice():
    rng = np.random.default_rng(0)
    i = keras.Input((1100,))
    model = keras.Model(i, L.Dense(1000, bias_initializer="ones")(i))
    (step,) = program_of(model).steps
    x = tf.constant(rng.normal(size=(2, 1100)), tf.float32)
    local = Local(step, [x], step.run([x]))
    found = local.unbiased.map(positive).map(lambda w: 2 * w)
    kernel = 2 * np.maximum(model.layers[-1].kernel.numpy(), 0)
    np.testing.assert_allclose(found(x), x @ kernel, rtol=1e-3, atol=1e-3)
    s = tf.constant(rng.normal(size=(1, 2, 1000)), tf.float32)
    np.testing.assert_allclose(found.T(s)[0], s[0] @ kernel.T, rtol=1e-3, atol=1e-3)
