"""DeepLIFT where a choice depends on the input: experts, masks, winners."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.text.hub_zoo import EXPERTS, GROUPED
from tfxai.graph.trace.node import Node
from tfxai.graph.trace.secants import secant
from tfxai.graph.trace.tracing import trace

L, ops = keras.layers, keras.ops


def routed(shape=(4,), wide=3):
    """Return a network whose answer is that of the expert with the largest score."""
    x = keras.Input(shape)
    scores = L.Dense(wide, name="scores")(x)
    mask = ops.one_hot(ops.argmax(scores, -1), wide)
    y = ops.sum(mask * L.Dense(wide, name="experts")(x), -1)
    return zoo.fill(keras.Model(x, L.Dense(2, name="end")(L.Flatten()(y))))


def by_hand(model, x, x0, target):
    """Return the contributions (B, L, d): multipliers of the experts and the scores."""
    (wp, bp), (wh, bh) = (
        [v.numpy().astype(float) for v in model.get_layer(n).weights]
        for n in ("scores", "experts")
    )
    m = model.get_layer("end").kernel.numpy()[:, target].astype(float)  # (L,)
    dx, dp = x - x0, (x - x0) @ wp
    mask, mask0 = (np.eye(3)[(v @ wp + bp).argmax(-1)] for v in (x, x0))
    total = m * ((mask - mask0) * (x0 @ wh + bh)).sum(-1)
    share = total[..., None] * dp / (dp**2).sum(-1, keepdims=True)
    return dx * ((m[:, None] * mask) @ wh.T + share @ wp.T), (mask != mask0).any(-1)


@pytest.mark.parametrize("tokens", [1, 5])
def test_the_change_of_a_choice_goes_to_its_scores(tokens):
    shape = (4,) if tokens == 1 else (tokens, 4)
    model = routed(shape)
    x, x0 = np.float32(np.random.default_rng(2).normal(size=(2, 6, *shape)))
    wanted, changed = by_hand(
        model, x.reshape(6, tokens, 4), x0[:1].reshape(1, tokens, 4), 1
    )
    e = tfxai.explain(model, x, "deeplift", 1, baseline=x0[0])
    np.testing.assert_allclose(e.relevance, wanted.reshape(x.shape), atol=2e-5)
    y, y0 = (np.asarray(model(v))[:, 1] for v in (x, x0[:1]))
    np.testing.assert_allclose(e.relevance.reshape(6, -1).sum(1), y - y0, atol=2e-5)
    assert 0 < changed.mean() < 1  # some change the expert, some keep it
    two = tfxai.explain(model, x, "deeplift", [[0, 1]] * 6, baseline=x0[0])
    np.testing.assert_allclose(two.relevance[:, 1], e.relevance, atol=1e-5)


def test_words_choose_their_experts_at_the_baseline_too():
    """A choice by vectors of tokens is no mask of padding: it is not held."""
    ids = keras.Input((5,), dtype="int32")
    inner = routed((5, 4))
    model = zoo.fill(keras.Model(ids, inner(L.Embedding(9, 4)(ids))))
    x = np.array([[1, 2, 3, 4, 5], [8, 7, 6, 5, 4]])
    e = tfxai.explain(model, x, "deeplift", 1, baseline=0)
    change = np.asarray(model(x) - model(np.zeros_like(x)))[:, 1]
    np.testing.assert_allclose(e.extra["change"], change, atol=1e-5)
    np.testing.assert_allclose(e.relevance.sum(1), change, atol=1e-5)


def test_a_mixture_of_experts_of_keras_hub_adds_up():
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.MixtralBackbone(vocabulary_size=20, **GROUPED, **EXPERTS)
    y = L.Dense(3)(backbone.output[:, -1])
    model = zoo.fill(keras.Model(backbone.inputs, y))
    ids = np.random.default_rng(0).integers(1, 20, (4, 8))
    x = {"token_ids": ids, "padding_mask": np.ones((4, 8), int)}
    e = tfxai.explain(model, x, "deeplift", 1, baseline=0)
    gap = np.abs(e.extra["completeness"])
    assert gap.max() < 1e-5 * np.abs(e.extra["change"]).max()


def test_all_outputs_of_an_operation_have_multipliers():
    def f(x):
        a, b, c = tf.split(x, 3, -1)
        return a * b - tf.square(c)

    spec = tf.TensorSpec((None, 6), tf.float32)
    traced = trace(f, [spec])
    node = Node("norm", "own", tuple(traced.operations), traced.inputs, traced.output)
    x, x0, m = np.float32(np.random.default_rng(0).normal(size=(3, 4, 6)))
    m = m[:, :2]
    given = [tf.constant(x)], [tf.constant(x0)], tf.constant(m[None])
    (found,) = secant(traced, node)(*given)
    (a, b, c), (a0, b0, c0) = (np.split(v, 3, -1) for v in (x, x0))
    wanted = [m * (b + b0) / 2, m * (a + a0) / 2, -m * (c + c0)]
    np.testing.assert_allclose(found[0], np.concatenate(wanted, -1), rtol=1e-5)
