"""Conservation, linearity and independence of the batch, on random networks."""

import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import tfxai
from tests.relevance.drawn import (
    CLASSES,
    DIRECT,
    PRESETS,
    Net,
    close,
    conserved,
    dense,
    examples,
    fill,
    nets,
    propagate,
    soft_inputs,
    totals,
)
from tfxai.errors import NothingToExplainWarning
from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.analyzer_table import clrp_head, sglrp_head
from tfxai.relevance.heads import Head

#: A network with zero relevance tests nothing: choose another one.
pytestmark = pytest.mark.filterwarnings(  # a random network may return its input
    "error::tfxai.errors.TfxaiWarning",
    "ignore::tfxai.errors.DoubtfulRelevanceWarning",
)

L = keras.layers

# -- conservation --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["epsilon", "z_plus", "deep_taylor", "bounded"])
@examples(20)
@given(net=nets(bias=False))
def test_relevance_of_a_positive_logit_sums_to_it(name, net):
    preset = P.epsilon(epsilon=1e-12) if name == "epsilon" else PRESETS[name]
    every = [list(range(CLASSES))] * 2
    maps, f = propagate(net.model(), preset, H.masked, net.inputs(), every)
    conserved(maps, np.maximum(f, 0).T)


@pytest.mark.parametrize("name", ["z", "flat", "w_square"])
@examples(20)
@given(net=nets(bias=False))
def test_relevance_of_any_logit_sums_to_it(name, net):
    every = [list(range(CLASSES))] * 2
    maps, f = propagate(net.model(), PRESETS[name], H.one_hot, net.inputs(), every)
    conserved(maps, f.T)


@examples(12)
@given(st.sampled_from([(1, 0), (2, 1), (1.5, 0.5)]), st.integers(0, 2**16))
def test_alpha_beta_conserves_where_both_signs_contribute(alphabeta, seed):
    # All activations > 0 and each unit has a positive and a negative weight.
    rng = np.random.default_rng(seed)
    i = keras.Input((6,))
    x = L.Dense(5, "softplus", use_bias=False)(i)
    model = keras.Model(i, L.Dense(CLASSES, use_bias=False)(x))
    for v in model.weights:
        kernel = rng.normal(size=v.shape)
        kernel[0], kernel[1] = np.abs(kernel[0]) + 0.1, -np.abs(kernel[1]) - 0.1
        v.assign(kernel)
    alpha, beta = alphabeta
    preset = P.every_kernel(R.alpha_beta(alpha=alpha, beta=beta))
    x = rng.uniform(0.1, 1, (3, 6)).astype("float32")
    maps, f = propagate(model, preset, H.one_hot, x, [[0, 1, 2, 3]] * 3)
    conserved(maps, f.T)


@pytest.mark.parametrize("head", [clrp_head(), sglrp_head()], ids=["clrp", "sglrp"])
@pytest.mark.parametrize("name", ["bounded", "deep_taylor", "epsilon", "flat"])
@examples(10)
@given(net=nets())
def test_the_two_halves_of_a_contrast_cancel(head, name, net):
    model, x, target = net.model(), net.inputs(3), [[0, 1], [1, 2], [2, 3]]
    merged, _ = propagate(model, PRESETS[name], head, x, target)
    halves, _ = propagate(model, PRESETS[name], replace(head, merge=None), x, target)
    (ours, theirs), (a, b) = np.split(halves[0], 2), np.split(totals(halves), 2)
    k = np.divide(a, b, out=np.zeros_like(a), where=b != 0)
    wanted = ours - k[..., None, None, None] * theirs
    size = np.abs(ours) + np.abs(k[..., None, None, None] * theirs)
    slack = 1e-4 * size.max((2, 3, 4), keepdims=True) + 1e-9
    assert (np.abs(merged[0] - wanted) <= slack).all()
    left = np.where(b != 0, 0, a)  # without a dual half, only the target's half remains
    assert (np.abs(totals(merged) - left) <= 1e-5 * size.sum((2, 3, 4)) + 1e-9).all()


# -- linearity, and the gradient -----------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
@examples(10)
@given(net=nets(stem=None))
def test_relevance_is_linear_in_the_seed(name, net):
    rng = np.random.default_rng(net.seed)
    u, v = rng.normal(size=(2, 2, CLASSES)).astype("float32")

    def three(logits, target):
        return tf.stack([u, v, 2 * u - 3 * v])

    preset, x = PRESETS[name], net.inputs()
    (maps,), _ = propagate(net.model(), preset, Head("three", three), x, [[0] * 3] * 2)
    slack = 2e-5 * (2 * np.abs(maps[0]) + 3 * np.abs(maps[1])).max() + 1e-9
    wanted = 2 * maps[0] - 3 * maps[1]
    np.testing.assert_allclose(maps[2], wanted, rtol=0, atol=slack)


@pytest.mark.parametrize("head", [clrp_head, sglrp_head], ids=["clrp", "sglrp"])
@examples(10)
@given(net=nets())
def test_without_scaling_a_contrast_is_one_half_minus_the_other(head, net):
    model, x, target = net.model(), net.inputs(), [[1, 3], [0, 2]]
    preset = PRESETS["bounded"]
    signed, _ = propagate(model, preset, head(scaling=False), x, target)
    halves, _ = propagate(model, preset, replace(head(), merge=None), x, target)
    ours, theirs = np.split(halves[0], 2)
    slack = 2e-5 * np.abs(halves[0]).max() + 1e-9
    np.testing.assert_allclose(signed[0], ours - theirs, rtol=0, atol=slack)


@examples(20)
@given(net=nets(stem=None))
def test_lrp_0_is_gradient_times_input(net):
    # Also with biases: the message R / a is the gradient.
    model, x, rows = net.model(), tf.constant(net.inputs(3)), [[0], [1], [2]]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
        score = tf.gather(y, rows, batch_dims=1)
    wanted = (x * tape.gradient(score, x)).numpy()
    z, f = propagate(model, PRESETS["z"], H.one_hot, x, rows)
    close(f, y.numpy())
    close(z[0][0], wanted, 2e-5)
    epsilon, _ = propagate(model, P.epsilon(1e-12), H.one_hot, x, rows)
    close(epsilon[0][0], wanted, 2e-5)
    e = tfxai.create_analyzer("input_t_gradient", model)
    with warnings.catch_warnings(action="ignore", category=NothingToExplainWarning):
        close(e.analyze(x, target=[0, 1, 2]).relevance, wanted, 2e-5)


def test_a_bias_absorbs_its_share_unless_it_is_left_out():
    i = keras.Input((6,))
    model = fill(keras.Model(i, dense("e", CLASSES)(i)), 1)
    bias, x = model.get_layer("e").bias.numpy(), soft_inputs()
    assert np.abs(bias).min() > 0.01
    every = [list(range(CLASSES))] * len(x)
    maps, f = propagate(model, PRESETS["z"], H.one_hot, x, every)
    conserved(maps, (f - bias).T)
    maps, f = propagate(model, P.epsilon(1e-12, bias=False), H.one_hot, x, every)
    conserved(maps, f.T)


# -- together or one by one ----------------------------------------------------------


@pytest.mark.parametrize("method", DIRECT)
@examples(2)
@given(net=nets(stem=None))
def test_neither_seeds_nor_batches_change_a_map(method, net):
    def same(actual, wanted):  # the halves of a contrast may cancel to noise
        close(actual, wanted, 5e-5, noise=1e-7)

    warnings.simplefilter("ignore", NothingToExplainWarning)  # a logit may be < 0
    analyzer = tfxai.create_analyzer(method, net.model())
    x = net.inputs(5)
    every = analyzer.analyze(x, target="all")
    assert every.target.tolist() == [list(range(CLASSES))] * 5
    for c in range(CLASSES):
        alone = analyzer.analyze(x, target=c)
        same(every.relevance[:, c], alone.relevance)
        same(every.score[:, c], alone.score)
    pairs = analyzer.analyze(x, target=[[2, 0]] * 5)
    same(pairs.relevance, every.relevance[:, [2, 0]])
    mixed = analyzer.analyze(x, target=[0, 1, 2, 3, 0])
    for b, c in enumerate([0, 1, 2, 3, 0]):
        same(mixed.relevance[b], every.relevance[b, c])
        alone = analyzer.analyze(x[b : b + 1], target=c)
        same(mixed.relevance[b], alone.relevance[0])
    for batch_size in (1, 2, 3, 7):
        parts = analyzer.analyze(x, "all", batch_size)
        same(parts.relevance, every.relevance)
        parts = analyzer.analyze(x, [0, 1, 2, 3, 0], batch_size)
        same(parts.relevance, mixed.relevance)
        same(parts.score, mixed.score)


def test_the_top_class_is_each_samples_own():
    net = Net(("conv",), "flatten", bias=True, seed=4)
    model, x = net.model(), net.inputs(8)
    top = model(x).numpy().argmax(-1)
    assert len(set(top)) > 1
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    e = analyzer.analyze(x)
    assert e.target.tolist() == top.tolist()
    np.testing.assert_allclose(e.score, model(x).numpy().max(-1), rtol=1e-5)
    close(e.relevance, analyzer.analyze(x, target=top).relevance)


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "sglrp"])
def test_a_smaller_last_batch_is_not_traced_again(method):
    net = Net(("conv",), "flatten", bias=True, seed=4)
    traced = []

    def preprocess(v):  # Python runs once for each trace
        if not tf.executing_eagerly():
            traced.append(v.shape)
        return v / 2

    model, x = net.model(), net.inputs(5)
    analyzer = tfxai.create_analyzer(method, model, preprocess)
    e = analyzer.analyze(x, target=1, batch_size=2)
    assert len(traced) == 1
    for count, batch_size in ((3, 32), (5, 4), (1, 1), (4, 3)):
        again = analyzer.analyze(x[:count], target=1, batch_size=batch_size)
        close(again.relevance, e.relevance[:count])
    assert len(traced) == 1
    plain = tfxai.create_analyzer(method, model).analyze(x / 2, target=1)
    close(e.relevance, plain.relevance)


def test_asking_a_wrapped_model_traces_once():
    net = Net(("conv",), "flatten", bias=True, seed=4)
    traced = []

    def preprocess(v):
        if not tf.executing_eagerly():
            traced.append(v.shape)
        return v

    model, x = net.model(), net.inputs(5)
    wrapped = tfxai.wrap(model, preprocess)
    close(wrapped.logits(x, batch_size=2), model(x).numpy())
    close(wrapped.logits(x[:3]), model(x[:3]).numpy())
    close(wrapped.scores(x, 2, batch_size=3), model(x).numpy()[:, 2])
    assert len(traced) == 1
