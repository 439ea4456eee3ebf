"""BatchNormalization, merged or alone, against matrix formulas in float64."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import oracles as O
from tests import zoo
from tests.relevance.programs import program_of
from tests.relevance.rule_tables import (
    PRESETS,
    RULES,
    SORTS,
    back,
    close,
    named,
    network,
    one_hot,
    rewritten,
    seeds,
    wide,
)
from tfxai.graph import linear
from tfxai.graph import step as step_module
from tfxai.graph.step import Scaled, whole
from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance.relevance_model import RelevanceModel

L = keras.layers


def norm(**options):
    return L.BatchNormalization(epsilon=0.01, **options)


#: name -> (two layers, input shape). Each pair is affine, and is merged into one step.
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
    """Return the model's layers as one matrix."""
    copies = [O.in_float64(layer) for layer in O.layers_of(model)]

    def function(x):
        for layer in copies:
            x = layer(x)
        return x

    shape = model.inputs[0].shape[1:]
    W, b = O.affine(function, shape)
    return O.Matrix(W, b, (W != 0).astype(float))


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks", "whole"])
@pytest.mark.parametrize("pair", FOLDED)
def test_batch_norm_folds_into_its_linear_neighbour(pair, blocks, monkeypatch):
    if blocks:  # rules map a dense kernel in blocks of its rows
        monkeypatch.setattr(linear, "BLOCK", 5)
        monkeypatch.setattr(step_module, "BLOCK", 5)
    make, shape = FOLDED[pair]
    model = zoo.stacked(make(), shape)
    program = program_of(model)
    m, xs = composed(model), zoo.inputs(model, signed=not blocks)
    x = O.rows(xs[0]).astype(np.float64)
    for name in RULES if blocks else SORTS:
        rule, formula = RULES[name]
        r = seeds(xs, m, 2)
        with named(name):
            ours = back(program, xs, r, rule, nonnegative=blocks)
            close(ours, formula(x, m, np.float64(r)))


def test_what_comes_out_of_a_kernel_is_scaled_as_the_model_does():
    model = zoo.stacked([L.Conv2D(64, 1), norm()], (4, 4, 64))
    (step,) = program_of(model).steps
    kernel, _ = step.weights.read([tf.zeros((1, 4, 4, 64))])
    assert isinstance(kernel, Scaled)
    scale = model.layers[-1].gamma / np.sqrt(model.layers[-1].moving_variance + 0.01)
    close(whole(kernel), model.layers[-2].kernel * scale)


#: Layers before a convolution that are merged into it.
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
    def built(*shape):
        conv = L.Conv2D(5, 3, strides=2, padding=padding, activation="relu")
        rest = [conv, L.GlobalAveragePooling2D(), L.Dense(3)]
        return zoo.stacked([*IN_FRONT[front](), *rest], shape)

    known, opened = built(7, 6, 2), built(None, None, 2)
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


#: Pairs that do not share their channels, or that cannot be merged exactly.
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
        graph = RelevanceModel(model, program_of(model), P.epsilon(0.05), H.unit)
        assert any(p.step.kind == "scale" for p in graph.plan), name
        result = graph.propagate([tf.constant(xs[0])], tf.constant(targets))[
            "relevance"
        ]

        def seeds(logits, targets=targets, outputs=outputs):
            return np.eye(outputs)[targets.T].reshape(2, *logits.shape)

        oracle = O.lrp(model, wide(xs), seeds, PRESETS["epsilon"][1])
        with named(name):
            close(np.asarray(result[0]), oracle[0], 2e-5)


def folded_by_hand(model):
    """Return the network with its first norm merged into the convolution before it."""
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
