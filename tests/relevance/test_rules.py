"""Every rule on every kind of linear layer, against its matrix formula in float64."""

from contextlib import contextmanager
from functools import cache, partial

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import oracles as O
from tests import zoo
from tfxai.graph import fold, linear
from tfxai.graph import step as step_module
from tfxai.graph.linear import Local
from tfxai.graph.program import trace
from tfxai.graph.step import Scaled, whole
from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.rewrite import Rewritten
from tfxai.relevance.signal import Signal, plain_relevance

L = keras.layers

#: name -> (the library's rule, the formula)
RULES = {
    "z": (R.z_rule, O.z),
    "z_unbiased": (R.z_rule(bias=False), partial(O.z, bias=False)),
    "epsilon": (R.epsilon_rule(epsilon=0.05), partial(O.epsilon, epsilon=0.05)),
    "epsilon_unbiased": (
        R.epsilon_rule(epsilon=0.05, bias=False),
        partial(O.epsilon, epsilon=0.05, bias=False),
    ),
    "z_plus": (R.z_plus, O.z_plus),
    "z_plus_biased": (
        R.z_plus(bias=True, eps=0.01),
        partial(O.z_plus, bias=True, eps=0.01),
    ),
    "alpha_2_beta_1": (R.alpha_beta, O.alpha_beta),
    "alpha_2_beta_1_unbiased": (
        R.alpha_beta(bias=False),
        partial(O.alpha_beta, bias=False),
    ),
    "alpha_1_beta_0": (
        R.alpha_beta(alpha=1, beta=0),
        partial(O.alpha_beta, alpha=1, beta=0),
    ),
    "alpha_1.5_beta_0.5": (
        R.alpha_beta(alpha=1.5, beta=0.5, eps=0.01),
        partial(O.alpha_beta, alpha=1.5, beta=0.5, eps=0.01),
    ),
    "gamma": (R.gamma, O.gamma),
    "gamma_1_stabilized": (
        R.gamma(gamma=1.0, eps=0.01),
        partial(O.gamma, gamma=1.0, eps=0.01),
    ),
    "gamma_unbiased": (
        R.gamma(bias=False, eps=0.01),
        partial(O.gamma, bias=False, eps=0.01),
    ),
    "w_square": (R.w_square, O.w_square),
    "w_square_biased": (
        R.w_square(bias=True, eps=0.01),
        partial(O.w_square, bias=True, eps=0.01),
    ),
    "flat": (R.flat, O.flat),
    "flat_stabilized": (R.flat(eps=0.01), partial(O.flat, eps=0.01)),
    "z_box": (R.z_box(low=-1.5, high=2.0), partial(O.z_box, low=-1.5, high=2.0)),
    "z_box_of_the_sample": (
        R.z_box(eps=0.01),
        lambda x, m, r: O.z_box(
            x, m, r, x.min(1, keepdims=True), x.max(1, keepdims=True), eps=0.01
        ),
    ),
}
#: One rule of each sort of formula, where a test is about something else.
SORTS = ("z", "epsilon", "alpha_2_beta_1", "z_plus", "w_square", "flat", "z_box")


def close(ours, oracle, tolerance=1e-5):
    """Equal, relative to the largest value; the oracle is not empty."""
    scale = np.abs(oracle).max()
    assert scale > 0, "the oracle is zero everywhere: nothing is tested"
    assert ours.shape == oracle.shape
    assert np.abs(ours - oracle).max() <= tolerance * scale


@contextmanager
def named(name):
    """Say in a failure which row of a table it was."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error


# -- one step ------------------------------------------------------------------------


@cache
def step_of(name):
    """The one step of a layer, the layer's matrix and its model."""
    model = zoo.one_layer(name)
    (step,) = trace(model, batch_norm="rule").steps
    return step, O.matrix(model.layers[-1]), model


def seeds(xs, m, count):
    """Relevance (K, B, n_out) of both signs; none where x W or x W + b cancels.

    A quotient by a sum that cancels is noise in float32, whoever computes it.
    """
    x = np.concatenate([O.rows(v) for v in xs], 1)
    size = np.abs(x) @ np.abs(m.W)
    typical = (size + np.abs(m.b)) / np.sqrt(np.maximum(m.wired.sum(0), 1))
    sound = np.minimum(abs(x @ m.W), abs(x @ m.W + m.b)) > 0.2 * typical
    sound |= size == 0
    assert sound.mean() > 0.5
    drawn = np.random.default_rng(2).normal(size=(count, *sound.shape))
    return np.float32(drawn * sound)


def back(step, xs, r, rule, nonnegative):
    """The library's answer for r (K, B, n_out), as (K, B, n_in)."""
    values = [tf.constant(v) for v in xs]
    z = step.run(values)
    signal = Signal(values, nonnegative, lambda v: v, values)
    arrived = plain_relevance(tf.reshape(r, [len(r), *z.shape]))
    made = rule.apply(Local(step, values, z), signal, arrived).tensors()
    return np.concatenate([np.reshape(t, (*r.shape[:2], -1)) for t in made], 2)


#: Grouped convolutions are compiled by XLA at every eager call: one rule of each sort.
SLOW = {"conv2d_groups": ("z", "alpha_2_beta_1", "flat")}


#: Where a step has no kernel, all wires of an output weigh the same, and the library
#: leaves it at that: the same shares, but another scale for eps. And several inputs
#: have each its own range.
KERNELS_ONLY = ("w_square_biased", "flat_stabilized", "z_box_of_the_sample")


def rules_for(layer, step):
    names = SLOW.get(layer, RULES)
    return [n for n in names if step.weights or n not in KERNELS_ONLY]


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "nonnegative"])
@pytest.mark.parametrize("layer", zoo.LAYERS)
def test_a_rule_is_its_matrix_formula(layer, signed):
    step, m, model = step_of(layer)
    xs = zoo.inputs(model, signed=signed)
    x = np.concatenate([O.rows(v) for v in xs], 1).astype(np.float64)
    for count in (1, 3):
        r = seeds(xs, m, count)
        for name in rules_for(layer, step):
            rule, formula = RULES[name]
            ours = back(step, xs, r, rule, nonnegative=not signed)
            with named(f"{name} of {count} seed(s)"):
                close(ours, formula(x, m, np.float64(r)))


@pytest.mark.parametrize("shape", [(3,), (6, 1, 3), (6, 6, 3)], ids=str)
def test_the_box_rule_takes_bounds_that_broadcast(shape):
    step, m, model = step_of("depthwise2d_same_strided")
    xs = zoo.inputs(model)
    low = np.random.default_rng(3).uniform(-2, -1, shape)
    high = -0.7 * low
    x, r = O.rows(xs[0]).astype(np.float64), seeds(xs, m, 2)
    ours = back(step, xs, r, R.z_box(low=low, high=high), nonnegative=False)
    l, h = (O.rows(np.broadcast_to(v, (1, 6, 6, 3))) for v in (low, high))
    close(ours, O.z_box(x, m, np.float64(r), l, h))


# -- convolutions that are too large for a matrix ------------------------------------


def with_kernel(layer, function):
    """The float64 layer with function(kernel) and no bias."""
    copy = O.linear_part(layer)
    kernel, bias = copy.get_weights()
    copy.set_weights([function(kernel), 0 * bias])
    return copy


def transposed(layer, x, s):
    """W^T s of a layer without bias, (K, B, ...)."""
    x = tf.constant(x, tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = layer(x)
    return np.stack([tape.gradient(y, x, tf.constant(v)) for v in s])


@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (5, 1)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_large_convolutions(kernel, padding):
    layer = L.Conv2D(2, kernel, padding=padding)
    model = zoo.stacked([layer], (29, 28, 16))
    (step,) = trace(model).steps
    xs = zoo.inputs(model)
    x = np.float64(xs[0])
    r = np.random.default_rng(2).normal(size=(2, 2, *model.output.shape[1:]))
    r = np.float32(r)

    square = with_kernel(layer, np.square)
    shared = transposed(square, x, r / np.asarray(square(np.ones_like(x))))
    ours = back(step, xs, r.reshape(2, 2, -1), R.w_square, nonnegative=False)
    close(ours, shared.reshape(2, 2, -1))

    up, down = (with_kernel(layer, f) for f in (O.positive, O.negative))
    z = np.asarray(up(O.positive(x)) + down(O.negative(x)))
    shared = O.positive(x) * transposed(up, x, r / z)
    shared += O.negative(x) * transposed(down, x, r / z)
    ours = back(step, xs, r.reshape(2, 2, -1), R.z_plus, nonnegative=False)
    close(ours, shared.reshape(2, 2, -1))


# -- whole networks ------------------------------------------------------------------


def everywhere(rule, **rows):
    """The table of an oracle: one rule for kernels, z for sums and means."""
    kinds = dict.fromkeys(("dense", "conv", "depthwise", "scale"), rule)
    return {**kinds, "add": O.z, "average": O.z, **rows}


def sequential(**options):
    """Epsilon above, alpha-beta below, z where a norm stands alone."""
    rule = partial(O.alpha_beta, **options)
    return everywhere(rule, dense=O_EPSILON, scale=O.z)


O_EPSILON = partial(O.epsilon, epsilon=0.1)
DEEP_TAYLOR = everywhere(O.z_plus, add=O.z_plus, average=O.z_plus)
#: name -> (the library's preset, the oracle's table, the oracle's first rule)
PRESETS = {
    "z": (P.every_kernel(R.z_rule), everywhere(O.z), None),
    "epsilon": (P.epsilon(0.05), everywhere(partial(O.epsilon, epsilon=0.05)), None),
    "epsilon_unbiased": (
        P.epsilon(0.05, bias=False),
        everywhere(partial(O.epsilon, epsilon=0.05, bias=False)),
        None,
    ),
    "deep_taylor": (P.deep_taylor(), DEEP_TAYLOR, None),
    "bounded": (P.bounded(-1, 2), DEEP_TAYLOR, partial(O.z_box, high=2.0)),
    "sequential_a": (P.sequential_a(), sequential(alpha=1, beta=0), None),
    "sequential_b": (P.sequential_b(), sequential(), None),
    "a_flat": (P.flat_first(P.sequential_a()), sequential(alpha=1, beta=0), O.flat),
    "b_flat": (P.flat_first(P.sequential_b()), sequential(), O.flat),
    "w_square": (P.every_kernel(R.w_square), everywhere(O.w_square), None),
    "flat": (P.every_kernel(R.flat), everywhere(O.flat), None),
    "row_by_row": (
        P.epsilon(0.1).replace(conv="w_square", add="epsilon", first=(-1, 1)),
        everywhere(O_EPSILON, conv=O.w_square, add=O.epsilon),
        O.z_box,
    ),
}
TARGETS = np.array([[0, 3], [2, 1]], np.int32)  # (B, T)


@cache
def network(name):
    """The network, its inputs, and its matrices."""
    model = zoo.network(name)
    return model, zoo.inputs(model), cache(O.matrix)


def one_hot(logits):
    return np.eye(logits.shape[-1])[TARGETS.T]


def rewritten(model, xs, preset, head, **options):
    """The library's maps (T, B, ...) of TARGETS."""
    graph = Rewritten(model, trace(model), preset, head, **options)
    made = graph.maps([tf.constant(v) for v in xs], tf.constant(TARGETS))
    return [np.asarray(r) for r in made["relevance"]]


def wide(xs):
    return [np.float64(v) for v in xs]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", [n for n in zoo.NETWORKS if n != "batch_norm"])
def test_a_preset_is_its_rules_one_after_another(name, preset):
    model, xs, matrix = network(name)
    ours, table, first = PRESETS[preset]

    def seeds(logits):
        return O.one_hot(logits, one_hot(logits))

    oracle = O.lrp(model, wide(xs), seeds, table, first, matrix)
    made = rewritten(model, xs, ours, H.one_hot)
    for r, expected in zip(made, oracle, strict=True):
        close(r, expected, 2e-5)


@pytest.mark.parametrize("preset", ["z", "epsilon", "sequential_b"])
def test_a_relu6_that_saturates(preset):
    """There the quotient a / z of a = min(z, 6) is not 1."""
    model = zoo.stacked([L.Dense(16, "relu6"), L.Dense(4)], (6,))
    model.layers[1].set_weights([20 * w for w in model.layers[1].get_weights()])
    xs = zoo.inputs(model)
    assert (np.asarray(model.layers[1](xs[0])) == 6).any()
    ours, table, _ = PRESETS[preset]

    def seeds(logits):
        return O.one_hot(logits, one_hot(logits))

    (oracle,) = O.lrp(model, wide(xs), seeds, table)
    close(rewritten(model, xs, ours, H.one_hot)[0], oracle)


#: name -> (the library's head, the oracle, whether two halves are balanced)
HEADS = {
    "one_hot": (H.one_hot, O.one_hot, False),
    "unit": (H.unit, lambda f, t: t, False),
    "masked": (H.masked, O.masked, False),
    "contrastive": (H.contrastive, O.contrastive, True),
    "contrastive_relu": (
        H.contrastive(relu_logits=True),
        partial(O.contrastive, relu_logits=True),
        True,
    ),
    "contrastive_difference": (H.contrastive_difference, O.contrastive, False),
    "contrastive_difference_relu": (
        H.contrastive_difference(relu_logits=True),
        partial(O.contrastive, relu_logits=True),
        False,
    ),
    "softmax_gradient": (H.softmax_gradient, O.softmax_gradient, True),
    "softmax_gradient_relu": (
        H.softmax_gradient(relu_logits=True),
        partial(O.softmax_gradient, relu_logits=True),
        True,
    ),
    "softmax_gradient_difference": (
        H.softmax_gradient_difference,
        O.softmax_gradient,
        False,
    ),
    "softmax_gradient_difference_relu": (
        H.softmax_gradient_difference(relu_logits=True),
        partial(O.softmax_gradient, relu_logits=True),
        False,
    ),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["mlp_softmax", "two_inputs", "residual"])
def test_a_head_is_its_formula(name, head):
    model, xs, matrix = network(name)
    library, formula, balanced = HEADS[head]

    def maps(seeds):
        return O.lrp(model, wide(xs), seeds, DEEP_TAYLOR, matrix=matrix)

    def halves(logits):
        made = formula(logits, one_hot(logits))
        return made if isinstance(made, tuple) else (made, 0 * made)

    if balanced:
        ours, theirs = maps(lambda f: halves(f)[0]), maps(lambda f: halves(f)[1])
        oracle = O.balanced_difference(ours, theirs)
    else:
        oracle = maps(lambda f: halves(f)[0] - halves(f)[1])
    made = rewritten(model, xs, P.deep_taylor(), library)
    for r, expected in zip(made, oracle, strict=True):
        close(r, expected, 2e-5)


# -- BatchNormalization --------------------------------------------------------------


def norm(**options):
    return L.BatchNormalization(epsilon=0.01, **options)


#: name -> (two layers, input shape). Each pair is one affine map, and folds into one.
FOLDED = {
    "dense, norm": (lambda: [L.Dense(4), norm()], (6,)),
    "wide dense, norm": (lambda: [L.Dense(4), norm()], (70,)),
    "dense 3d, norm": (lambda: [L.Dense(4), norm()], (3, 5)),
    "conv1d, norm": (lambda: [L.Conv1D(3, 3, padding="causal"), norm()], (8, 2)),
    "conv2d, norm": (lambda: [L.Conv2D(3, 3), norm()], (5, 5, 2)),
    "conv2d without bias, norm": (
        lambda: [L.Conv2D(3, 3, padding="same", use_bias=False), norm()],
        (5, 5, 2),
    ),
    "conv2d, bare norm": (
        lambda: [L.Conv2D(3, 3), norm(scale=False, center=False)],
        (5, 5, 2),
    ),
    "depthwise, norm": (
        lambda: [L.DepthwiseConv2D(3, depth_multiplier=2), norm()],
        (5, 5, 2),
    ),
    "depthwise channels first, norm": (
        lambda: [
            L.DepthwiseConv2D(2, depth_multiplier=2, data_format="channels_first"),
            norm(axis=1),
        ],
        (3, 4, 4),
    ),
    "separable, norm": (
        lambda: [L.SeparableConv2D(3, 3, depth_multiplier=2), norm()],
        (5, 5, 2),
    ),
    "transposed, norm": (lambda: [L.Conv2DTranspose(3, 3), norm()], (3, 4, 2)),
    "transposed strided, norm": (
        lambda: [L.Conv2DTranspose(3, 3, strides=2, padding="same"), norm()],
        (3, 4, 2),
    ),
    "norm, dense": (lambda: [norm(), L.Dense(4)], (6,)),
    "norm, dense 3d": (lambda: [norm(), L.Dense(4)], (3, 5)),
    "norm, conv valid": (lambda: [norm(), L.Conv2D(3, 3)], (5, 5, 2)),
    "norm, conv same": (lambda: [norm(), L.Conv2D(3, 3, padding="same")], (5, 5, 2)),
    "norm, conv causal": (
        lambda: [norm(), L.Conv1D(3, 3, padding="causal")],
        (8, 2),
    ),
    "norm, conv same strided": (
        lambda: [norm(), L.Conv2D(3, 3, strides=2, padding="same", use_bias=False)],
        (6, 5, 2),
    ),
    "norm, depthwise": (
        lambda: [norm(), L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)],
        (5, 5, 2),
    ),
    "norm, separable": (
        lambda: [norm(), L.SeparableConv2D(3, 3, padding="same", depth_multiplier=2)],
        (5, 5, 2),
    ),
    "norm, transposed": (
        lambda: [norm(), L.Conv2DTranspose(3, 3, strides=2, padding="same")],
        (3, 4, 2),
    ),
    "rescaling, dense": (lambda: [L.Rescaling(0.5, 0.3), L.Dense(4)], (6,)),
    "rescaling, conv same": (
        lambda: [L.Rescaling(2.0, -0.5), L.Conv2D(3, 3, padding="same")],
        (5, 5, 2),
    ),
    "rescaling, conv same, norm": (
        lambda: [L.Rescaling(2.0, -0.5), L.Conv2D(3, 3, padding="same"), norm()],
        (5, 5, 2),
    ),
    "norm, conv, norm": (
        lambda: [norm(), L.Conv2D(3, 3, padding="same"), norm()],
        (5, 5, 2),
    ),
    "conv, norm, norm": (lambda: [L.Conv2D(3, 3), norm(), norm()], (5, 5, 2)),
}


def composed(model):
    """The model's layers as one matrix."""
    copies = [O.in_float64(layer) for layer in O.layers_of(model)]

    def function(x):
        for layer in copies:
            x = layer(x)
        return x

    shape = model.inputs[0].shape[1:]
    W, b = O.affine(function, shape)
    return O.Matrix(W, b, (W != 0).astype(float))


@pytest.mark.parametrize("large", [0, np.inf], ids=["late", "merged"])
@pytest.mark.parametrize("pair", FOLDED)
def test_batch_norm_folds_into_its_linear_neighbour(pair, large, monkeypatch):
    monkeypatch.setattr(fold, "LARGE", large)
    late = large == 0
    if late:  # and what rules make of a dense kernel, in blocks of its rows
        monkeypatch.setattr(linear, "BLOCK", 5)
        monkeypatch.setattr(step_module, "BLOCK", 5)
    make, shape = FOLDED[pair]
    model = zoo.stacked(make(), shape)
    (step,) = trace(model).steps
    m, xs = composed(model), zoo.inputs(model, signed=not late)
    x = O.rows(xs[0]).astype(np.float64)
    for name in RULES if late else SORTS:
        rule, formula = RULES[name]
        r = seeds(xs, m, 2)
        with named(name):
            ours = back(step, xs, r, rule, nonnegative=late)
            close(ours, formula(x, m, np.float64(r)))


@pytest.mark.parametrize(
    "shape, scaled",
    [((4, 4, 64), True), ((4, 5, 64), False), ((None, 4, 64), False)],
)
def test_a_kernel_much_larger_than_what_comes_out_is_not_multiplied(shape, scaled):
    model = zoo.stacked([L.Conv2D(64, 1), norm()], shape)
    (step,) = trace(model).steps
    kernel, _ = step.weights.read([tf.zeros((1, 4, 5, 64))])
    assert isinstance(kernel, Scaled) == scaled
    scale = model.layers[-1].gamma / np.sqrt(model.layers[-1].moving_variance + 0.01)
    close(whole(kernel), model.layers[-2].kernel * scale)


#: What stands in front of a convolution, and is merged into it.
IN_FRONT = {
    "rescaling": lambda: [L.Rescaling(1 / 127.5, -1.0)],
    "rescaling, padding": lambda: [
        L.Rescaling(1 / 127.5, -1.0),
        L.ZeroPadding2D(((0, 1), (2, 0))),
    ],
    "norm": lambda: [norm()],
}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("front", IN_FRONT)
def test_sides_that_are_left_open_change_no_map(front, padding):
    def made(*shape):
        conv = L.Conv2D(5, 3, strides=2, padding=padding, activation="relu")
        rest = [conv, L.GlobalAveragePooling2D(), L.Dense(3)]
        return zoo.stacked([*IN_FRONT[front](), *rest], shape)

    known, opened = made(7, 6, 2), made(None, None, 2)
    opened.set_weights(known.get_weights())
    x = np.random.default_rng(4).uniform(0, 255, (2, 7, 6, 2)).astype("float32")
    for name, options in (
        ("lrp.alpha_2_beta_1", {}),
        ("lrp.sequential_preset_a_flat", {}),
        ("lrp.epsilon_gamma_box", {"low": 0.0, "high": 255.0}),
    ):
        maps = [
            tfxai.explain(m, x, name, target=1, **options).relevance
            for m in (opened, known)
        ]
        with named(name):
            close(*maps, 1e-5)


#: Pairs that are no neighbours in the same channels, or where folding is not exact.
KEPT = {
    "dense 3d, norm of the other axis": (lambda: [L.Dense(4), norm(axis=1)], (3, 5)),
    "conv2d, norm of the rows": (lambda: [L.Conv2D(3, 3), norm(axis=1)], (5, 5, 2)),
    "norm of the rows, conv2d": (
        lambda: [norm(axis=1), L.Conv2D(3, 3, padding="same")],
        (5, 5, 2),
    ),
    "norm, flatten, dense": (
        lambda: [norm(), L.Flatten(), L.Dense(4)],
        (3, 2),
    ),
    "norm, pool, conv": (
        lambda: [norm(), L.AveragePooling2D(2), L.Conv2D(3, 2)],
        (6, 6, 2),
    ),
    "conv, relu, norm": (
        lambda: [L.Conv2D(3, 3, activation="relu"), norm(), L.Flatten(), L.Dense(4)],
        (4, 4, 2),
    ),
}


def test_norms_without_a_neighbour_are_steps_of_their_own():
    for name, (make, shape) in KEPT.items():
        model = zoo.stacked(make(), shape)
        xs = zoo.inputs(model)
        outputs = int(np.prod(model.output.shape[1:]))
        targets = np.array([[0, outputs - 1], [1, 2]], np.int32)
        graph = Rewritten(model, trace(model), P.epsilon(0.05), H.unit)
        assert any(p.step.kind == "scale" for p in graph.plan), name
        made = graph.maps([tf.constant(xs[0])], tf.constant(targets))["relevance"]

        def seeds(logits, targets=targets, outputs=outputs):
            return np.eye(outputs)[targets.T].reshape(2, *logits.shape)

        oracle = O.lrp(model, wide(xs), seeds, PRESETS["epsilon"][1])
        with named(name):
            close(np.asarray(made[0]), oracle[0], 2e-5)


def folded_by_hand(model):
    """The network with its first norm multiplied into the convolution before it."""
    conv, norm, *rest = O.layers_of(model)
    gamma, beta, mean, variance = map(np.float64, norm.get_weights())
    k = gamma / np.sqrt(variance + norm.epsilon)
    folded = L.Conv2D(conv.filters, conv.kernel_size, dtype="float64")
    x = keras.Input(conv.input.shape[1:])
    y = folded(x)
    folded.set_weights([conv.get_weights()[0] * k, beta - mean * k])
    for layer in rest:
        y = O.in_float64(layer)(y)
    return keras.Model(x, y)


def test_a_network_with_batch_norm_is_the_folded_network():
    model, xs, _ = network("batch_norm")
    plain, matrix = folded_by_hand(model), cache(O.matrix)
    assert (model.layers[2].get_weights()[0] < 0).any(), "no negative gamma"

    def seeds(logits):
        return O.one_hot(logits, one_hot(logits))

    for name, (ours, table, first) in PRESETS.items():
        oracle = O.lrp(plain, wide(xs), seeds, table, first, matrix)
        with named(name):
            close(rewritten(model, xs, ours, H.one_hot)[0], oracle[0], 2e-5)
