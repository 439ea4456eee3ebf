"""Every rule on every kind of linear layer, against its matrix formula in float64."""

from functools import cache, partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import oracles as O
from tests import zoo
from tests.relevance.programs import program_of
from tests.relevance.rule_tables import (
    DEEP_TAYLOR,
    PRESETS,
    RULES,
    back,
    close,
    main_step,
    named,
    network,
    one_hot,
    rewritten,
    seeds,
    wide,
)
from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R

L = keras.layers

# -- one step ------------------------------------------------------------------------


@cache
def layer_of(name):
    """Return the program of a layer, the layer's matrix and its model."""
    model = zoo.one_layer(name)
    program = program_of(model, batch_norm="rule")
    return program, O.matrix(model.layers[-1]), model


#: Grouped convolutions are compiled by XLA at every eager call: one rule per form.
SLOW = {"conv2d_groups": ("z", "alpha_2_beta_1", "flat")}


#: In a step without a kernel all weights of an output are equal, and the library sets
#: them to 1: the same relevance, but another scale for eps. Each of several inputs has
#: its own range.
KERNELS_ONLY = ("w_square_biased", "flat_stabilized", "z_box_of_the_sample")


#: A separable convolution with a dilation is a depthwise one and a plain one.
TWO_STEPS = "separable2d_dilated"


def rules_for(layer, step):
    names = SLOW.get(layer, RULES)
    return [n for n in names if step.weights or n not in KERNELS_ONLY]


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "nonnegative"])
@pytest.mark.parametrize("layer", [n for n in zoo.LAYERS if n != TWO_STEPS])
def test_a_rule_is_its_matrix_formula(layer, signed):
    program, m, model = layer_of(layer)
    xs = zoo.inputs(model, signed=signed)
    x = np.concatenate([O.rows(v) for v in xs], 1).astype(np.float64)
    for count in (1, 3):
        r = seeds(xs, m, count)
        for name in rules_for(layer, main_step(program)):
            rule, formula = RULES[name]
            ours = back(program, xs, r, rule, nonnegative=not signed)
            with named(f"{name} of {count} seed(s)"):
                close(ours, formula(x, m, np.float64(r)))


@pytest.mark.parametrize("shape", [(3,), (6, 1, 3), (6, 6, 3)], ids=str)
def test_the_box_rule_takes_bounds_that_broadcast(shape):
    program, m, model = layer_of("depthwise2d_same_strided")
    xs = zoo.inputs(model)
    low = np.random.default_rng(3).uniform(-2, -1, shape)
    high = -0.7 * low
    x, r = O.rows(xs[0]).astype(np.float64), seeds(xs, m, 2)
    ours = back(program, xs, r, R.z_box(low=low, high=high), nonnegative=False)
    l, h = (O.rows(np.broadcast_to(v, (1, 6, 6, 3))) for v in (low, high))
    close(ours, O.z_box(x, m, np.float64(r), l, h))


# -- convolutions that are too large for a matrix ------------------------------------


def with_kernel(layer, function):
    """Return the float64 layer with function(kernel) and no bias."""
    copy = O.linear_part(layer)
    kernel, bias = copy.get_weights()
    copy.set_weights([function(kernel), 0 * bias])
    return copy


def transposed(layer, x, s):
    """Return W^T s of a layer without bias, (K, B, ...)."""
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
    program = program_of(model)
    xs = zoo.inputs(model)
    x = np.float64(xs[0])
    r = np.random.default_rng(2).normal(size=(2, 2, *model.output.shape[1:]))
    r = np.float32(r)

    square = with_kernel(layer, np.square)
    shared = transposed(square, x, r / np.asarray(square(np.ones_like(x))))
    ours = back(program, xs, r.reshape(2, 2, -1), R.w_square, nonnegative=False)
    close(ours, shared.reshape(2, 2, -1))

    up, down = (with_kernel(layer, f) for f in (O.positive, O.negative))
    z = np.asarray(up(O.positive(x)) + down(O.negative(x)))
    shared = O.positive(x) * transposed(up, x, r / z)
    shared += O.negative(x) * transposed(down, x, r / z)
    ours = back(program, xs, r.reshape(2, 2, -1), R.z_plus, nonnegative=False)
    close(ours, shared.reshape(2, 2, -1))


# -- whole networks ------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", [n for n in zoo.NETWORKS if n != "batch_norm"])
def test_a_preset_is_its_rules_one_after_another(name, preset):
    model, xs, matrix = network(name)
    ours, table, first = PRESETS[preset]

    def seeds(logits):
        return O.one_hot(logits, one_hot(logits))

    oracle = O.lrp(model, wide(xs), seeds, table, first, matrix)
    result = rewritten(model, xs, ours, H.one_hot)
    for r, expected in zip(result, oracle, strict=True):
        close(r, expected, 2e-5)


@pytest.mark.parametrize("preset", ["z", "epsilon", "sequential_b"])
def test_a_relu6_that_saturates(preset):
    """For a saturated ReLU6, the quotient a / z of a = min(z, 6) is not 1."""
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
        result = formula(logits, one_hot(logits))
        return result if isinstance(result, tuple) else (result, 0 * result)

    if balanced:
        ours, theirs = maps(lambda f: halves(f)[0]), maps(lambda f: halves(f)[1])
        oracle = O.balanced_difference(ours, theirs)
    else:
        oracle = maps(lambda f: halves(f)[0] - halves(f)[1])
    result = rewritten(model, xs, P.deep_taylor(), library)
    for r, expected in zip(result, oracle, strict=True):
        close(r, expected, 2e-5)
