"""The same tests for every network: logits, conservation, many targets, masks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import default_run
from tests.relevance.layer_zoo import (
    NETS,
    Case,
    case,
    close,
    cut,
    fill,
    kinds_of,
    same_scores,
    samples,
    sequence,
    vector,
)
from tests.relevance.own_layers import BATCH, CLASSES, LENGTH, WORDS, ClassToken
from tests.relevance.programs import program_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*destroy the mask.*"),
    pytest.mark.filterwarnings("ignore:.*`build\\(\\)` was called on layer.*"),
    pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning"),
]

L = keras.layers
ops = keras.ops

# -- one question to every network ---------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_the_logits_are_the_models_own_and_live(name):
    net = case(name)
    for count in (1, 3, BATCH):
        x = cut(net.x, slice(count))
        same_scores(net.maps(x)[1], net.logits(x), net)
    before = net.logits()
    try:
        fill(net.model, seed=9)
        after = net.logits()
        assert np.abs(after - before).max() > 0.01 * np.abs(before).max()
        same_scores(net.maps()[1], after, net)
    finally:
        fill(net.model)


@pytest.mark.parametrize("name", NETS)
def test_many_targets_are_one_by_one_and_a_batch_is_its_samples(name):
    net = case(name)
    together, _ = net.maps()
    # One target alone is a function of its own, compiled for one network of each sort;
    # elsewhere, the same target twice.
    alone = name in default_run.NETWORKS and name not in LONG
    every = [t if alone else [[t, t]] * BATCH for t in range(CLASSES)]
    single = [net.maps(target=t)[0] for t in every]
    if not alone:
        single = [[m[:, 0] for m in maps] for maps in single]
    for ours, *wanted in zip(together, *single, strict=True):
        close(ours, np.stack(wanted, 1), 1e-4)
    lone = [net.maps(cut(net.x, slice(i, i + 1)))[0] for i in range(BATCH)]
    for ours, *wanted in zip(together, *lone, strict=True):
        close(np.concatenate(wanted), ours, 1e-4)


#: Networks of many steps, which take seconds to compile.
LONG = ("lstm_masked", "masking")


@pytest.mark.parametrize("name", NETS)
def test_without_biases_only_softmax_steps_absorb(name):
    net = case(name)
    try:
        fill(net.model, shift=0.0)
        maps, score = net.maps()
        if "softmax" in net.kinds:
            _only_softmax_absorbs(net)
        else:
            total = sum(_totals(m) for m in maps)
            size = sum(_totals(np.abs(m)) for m in maps)
            slack = 1e-3 * np.abs(score) + 1e-6 * size
            assert (score != 0).mean() > 0.7
            assert (np.abs(total - score) <= slack).all()
    finally:
        fill(net.model)


def _only_softmax_absorbs(net):
    table = net.analyzer.residual(net.x, 1)
    start = np.abs(table.start)
    softmax = np.array([k == "softmax" for k in table.kinds])
    rest = np.abs(table.absorbed[~softmax]) / start
    through = 1e-3 + 1e-4 * np.abs(table.absorbed[softmax]).sum(0) / start
    assert (rest <= through).all(), rest.max()
    assert np.abs(table.absorbed[softmax] / start).max() > 1e-3
    assert np.allclose(table.absorbed.sum(0), table.total, atol=1e-3 * start.max())


def _totals(m):
    """(B, T, ...) -> (B, T)."""
    return m.astype("float64").sum(tuple(range(2, m.ndim)))


def test_the_table_has_both_sorts():
    kinds = [kinds_of(name) for name in NETS]
    soft = [k for k in kinds if "softmax" in k]
    assert len(soft) >= 10 and len(kinds) - len(soft) >= 40
    known = set().union(*kinds)
    assert known >= {"gate", "product", "norm", "embedding", "fixed", "max", "scale"}


#: Networks whose steps are homogeneous in a float input if they have no biases.
HOMOGENEOUS = (
    *("dense", "where", "maximum_of_zero", "take_and_repeat", "tile_and_pad", "lambda"),
    *("slices_and_transposes", "roll_flip_stack", "crop_permute_upsample", "bilinear"),
    *("constants", "weight_times", "sliced", "symmetric", "einsum_variable"),
    *("einsum_dense", "dense_by_hand", "conv_variable", "spectral", "adapted"),
    *("batch_norm_axis_1", "adapted_as_a_whole", "rescaled", "time_distributed"),
    *("model_twice", "layer_twice", "subclassed", "subclassed_inside"),
)


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_lrp_0_is_input_times_gradient_without_biases(name):
    net = case(name)
    try:
        fill(net.model, shift=0.0)
        xs = keras.tree.flatten(net.x)
        gradients = net.gradients(net.x)
        for ours, x, gradient in zip(net.maps()[0], xs, gradients, strict=True):
            close(ours, x[:, None] * gradient, 1e-4)
    finally:
        fill(net.model)


PRESETS = (
    *("lrp.z_plus", "lrp.alpha_2_beta_1", "lrp.flat", "lrp.gamma"),
    *("deep_taylor", "sglrp", "guided_backprop", "deconvnet"),
)


def _eager(net, method, count=2):
    """Return the relevance of another method for each target, without compiling."""
    x = cut(net.x, slice(count))
    graph = tfxai.create_analyzer(method, net.wrapped).graph
    xs = [tf.constant(v) for v in keras.tree.flatten(x)]
    target = tf.constant([list(range(CLASSES))] * count)
    maps = tf.function(graph.propagate, autograph=False)(xs, target)["relevance"]
    return x, [np.swapaxes(m, 0, 1) for m in maps]


#: Networks with different kinds of steps: each preset runs on each of them.
MIXED = (
    *("merges", "einsum_variable", "conv_variable", "tokens_masked", "group_norm"),
    *("attention_dot",),
)


@pytest.mark.parametrize("method", PRESETS)
def test_every_preset_is_finite_on_every_sort_of_network(method):
    for name in MIXED:
        x, maps = _eager(case(name), method)
        for v, m in zip(keras.tree.flatten(x), maps, strict=True):
            assert m.shape == (len(v), CLASSES, *v.shape[1:]), name
            assert np.isfinite(m).all(), name
            assert np.abs(m).max() > 0, name


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize(
    "name",
    ["hard_swish", "swish_layers", "clip", "where", "glu", "matmul", "einsum", "dot",
     "layer_norm_two_axes", "group_norm", "unit_norm", "attention_mask", "own_cell",
     "attention_by_hand", "cross_attention", "spectral",
     ],
)  # fmt: skip
def test_without_relu_modified_gradients_are_the_gradient(name, method):
    net = case(name)
    assert "relu" not in net.kinds
    x, maps = _eager(net, method)
    for ours, wanted in zip(maps, net.gradients(x), strict=True):
        close(ours, wanted, 1e-4)


# -- masks ---------------------------------------------------------------------------

MASKED = [n for n in NETS if n.endswith("_masked") or n in (
    "attention_with_dropout", "attention_dot", "attention_additive", "gru",
    "bidirectional_sum", "lstm_states", "masking", "mask_from_outside", "reader",
)]  # fmt: skip


MASKED.remove("cross_attention_masked")  # the padded query has its own outputs


@pytest.mark.parametrize("name", MASKED)
def test_padding_gets_no_relevance(name):
    net = case(name)
    size = 0
    for x, m in zip(keras.tree.flatten(net.x), net.maps()[0], strict=True):
        padded = x == 0
        assert padded.any()
        assert (m[np.broadcast_to(padded[:, None], m.shape)] == 0).all()
        size = size + np.abs(m).reshape(len(m), CLASSES, -1).sum(-1)
    assert (size > 0).all()


#: Layers after an Embedding with mask_zero=True, for any length.
PADDABLE = {
    "mean": lambda: lambda e: e,
    "attention": lambda: (lambda f: lambda e: f(e, e))(L.MultiHeadAttention(2, 3)),
    "dot": lambda: (lambda f: lambda e: f([e, e]))(L.Attention()),
    "lstm": lambda: L.LSTM(3),
    "bidirectional": lambda: L.Bidirectional(L.SimpleRNN(3)),
}


@pytest.mark.parametrize("body", PADDABLE)
def test_a_padded_sentence_is_the_sentence(body):
    words, middle, last = L.Embedding(WORDS, 6, mask_zero=True), None, L.Dense(3)
    middle, models = PADDABLE[body](), []
    for length in (2, 3):
        x = keras.Input((length,), dtype="int32")
        y = middle(words(x))
        y = L.GlobalAveragePooling1D()(y) if len(y.shape) > 2 else y
        models.append(keras.Model(x, last(y)))
    fill(models[0])
    x = np.random.default_rng(0).integers(1, WORDS, (2, 2))
    short, long = (
        tfxai.explain(m, v, "lrp.epsilon", [[0, 2]] * 2)
        for m, v in zip(models, (x, np.pad(x, ((0, 0), (0, 1)))), strict=True)
    )
    close(long.score, short.score)
    close(long.relevance[..., :2], short.relevance, 1e-4)
    assert (long.relevance[..., 2:] == 0).all()


def _mask_as_input():
    x, seen = keras.Input((LENGTH, 6)), keras.Input((LENGTH, LENGTH), dtype="int32")
    y = L.MultiHeadAttention(2, 3)(x, x, attention_mask=ops.cast(seen, "bool"))
    return keras.Model([x, seen], L.Dense(CLASSES)(L.Flatten()(y)))


def test_a_mask_that_is_an_input_gets_nothing():
    net = Case("mask", _mask_as_input)
    net.x[1][:] = np.eye(LENGTH, dtype="int32")
    maps, score = net.maps()
    close(score, net.logits())
    assert np.abs(maps[0]).max() > 0 and np.abs(maps[1]).max() == 0
    assert maps[1].shape == (BATCH, CLASSES, LENGTH, LENGTH)


# -- models of several outputs -------------------------------------------------------


@pytest.mark.parametrize("output", [0, 1])
def test_one_of_two_outputs(output):
    a, b = keras.Input((6,)), keras.Input((6,))
    y = L.Dense(5, "relu")(L.Concatenate()([a, b]))
    model = fill(keras.Model([a, b], [L.Dense(3)(y), L.Dense(4)(y * a[:, :5])]))
    xs = samples(model)
    e = tfxai.create_analyzer("lrp.epsilon", tfxai.wrap(model, output=output)).analyze(
        xs, 2
    )
    close(e.score, np.asarray(model(xs)[output])[:, 2])
    whole = tfxai.explain(keras.Model([a, b], model.outputs[output]), xs, "lrp.epsilon",
                          target=2)  # fmt: skip
    for ours, wanted in zip(e.relevance, whole.relevance, strict=True):
        close(ours, wanted)


def test_a_layer_that_adds_a_constant_is_the_operation_that_does():
    c = tf.constant([[0.2, -0.3, 0.4, 0.1, 0.0, 0.5]])
    maps = []
    for add in (lambda x: L.Add()([x, c]), lambda x: x + c):
        net = Case("add", lambda add=add: vector(lambda x: add(L.Dense(6)(x))))
        maps.append(net.maps()[0][0])
        assert len(net.analyzer.coverage()) == 2  # the constant is a bias
    close(*maps)


# -- what is known of a tensor -----------------------------------------------------


def _where_minus_one():
    y = L.Dense(5, "relu")(x := keras.Input((6,)))
    return keras.Model(x, ops.where(y > 0.5, y, -1.0))


def _penalty():
    y = L.Dense(5, "relu")(x := keras.Input((6,)))
    return keras.Model(x, y + (ops.cast(y > 0.5, "float32") - 1.0) * 3.0)


def _negative_token():
    y = L.Dense(5, "relu")(x := keras.Input((4, 6)))
    return keras.Model(x, ClassToken()(y))


@pytest.mark.parametrize("make", [_where_minus_one, _penalty, _negative_token])
def test_what_is_said_to_be_nonnegative_is(make):
    model = fill(make())
    for v in model.variables:
        if "token" in v.path:
            v.assign(-np.ones(v.shape))
    program = program_of(model)
    values = program.run([tf.constant(samples(model))])
    for step in program.steps:
        if step.output in program.nonnegative:
            assert np.min(np.asarray(values[step.output], float)) >= 0, step.name


def test_many_targets_beside_a_mask_without_batch_axis():
    def causal(x):
        one = ops.cumsum(ops.ones_like(x[0, :, :1]), 0)
        s = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        s = ops.where(one >= ops.transpose(one), s, -1e9)
        return ops.matmul(ops.softmax(s), x)

    net = Case("causal", lambda: sequence(causal))
    together, _ = net.maps()
    close(together[0][:, 1], net.maps(target=1)[0][0], 1e-4)
