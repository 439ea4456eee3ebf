"""One network written in many ways, with the same layer names and weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.relevance.drawn import CLASSES, PRESETS, UNCOUNTED, conv, dense, propagate
from tfxai.relevance import heads as H

L = keras.layers
ops = keras.ops


def body(x, relu, add, join):
    """Convolution, residual sum and concatenation in the given spellings."""
    x = relu(conv("a"), x)
    x = L.BatchNormalization(name="norm")(x)
    x = add(x, relu(conv("b"), x))
    return join(x, relu(conv("c"), x))


def layer_relu(layer, x):
    return L.Activation("relu")(layer(x))


def fused_relu(layer, x):
    layer.activation = keras.activations.relu
    return layer(x)


def op_relu(layer, x):
    return ops.relu(layer(x))


LAYERS = (lambda a, b: L.Add()([a, b]), lambda a, b: L.Concatenate()([a, b]))
OPS = (ops.add, lambda a, b: ops.concatenate([a, b], -1))
OPERATORS = (lambda a, b: a + b, lambda a, b: ops.concatenate([a, b], 3))


def with_layers():
    i = keras.Input((6, 6, 2))
    x = body(i, layer_relu, *LAYERS)
    x = L.Flatten()(L.MaxPooling2D()(x))
    x = L.ReLU()(dense("d", 8)(x))
    return keras.Model(i, L.Softmax()(dense("e", CLASSES)(x)))


def with_fused_activations():
    i = keras.Input((6, 6, 2))
    x = body(i, fused_relu, *LAYERS)
    x = L.Flatten()(L.MaxPooling2D()(x))
    x = dense("d", 8, "relu")(x)
    return keras.Model(i, dense("e", CLASSES, "softmax")(x))


def with_ops():
    i = keras.Input((6, 6, 2))
    x = body(i, op_relu, *OPS)
    x = ops.max_pool(x, 2, 2)
    x = ops.relu(dense("d", 8)(ops.reshape(x, (-1, 3 * 3 * 8))))
    return keras.Model(i, ops.softmax(dense("e", CLASSES)(x)))


def with_operators():
    i = keras.Input((6, 6, 2))
    x = body(i, layer_relu, *OPERATORS)
    x = L.Reshape((-1,))(L.MaxPooling2D()(L.Identity()(x)))
    x = L.Dropout(0.3)(L.ReLU()(dense("d", 8)(x)))
    return keras.Model(i, keras.activations.softmax(dense("e", CLASSES)(x)))


def block():
    """The body as a separate model."""
    i = keras.Input((6, 6, 2))
    return keras.Model(i, body(i, fused_relu, *OPERATORS), name="block")


def as_sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)), block(), L.MaxPooling2D(), L.Flatten(),
            dense("d", 8, "relu"), dense("e", CLASSES), L.Activation("softmax"),
        ]
    )  # fmt: skip


def as_nested_model():
    i = keras.Input((6, 6, 2))
    end = keras.Sequential(
        [keras.Input((6, 6, 8)), L.MaxPooling2D(), L.Flatten(), dense("d", 8, "relu")]
    )
    return keras.Model(i, dense("e", CLASSES, "softmax")(end(block()(i))))


def as_nested_in_nested():
    inner, middle = as_nested_model(), keras.Input((6, 6, 2))
    middle = keras.Model(middle, inner(middle))
    i = keras.Input((6, 6, 2))
    return keras.Model(i, L.Identity()(middle(i)))


SPELLINGS = (
    with_fused_activations, with_ops, with_operators,
    as_sequential, as_nested_model, as_nested_in_nested,
)  # fmt: skip


@pytest.fixture(scope="module")
def spelled_inputs():
    rng = np.random.default_rng(5)
    return rng.uniform(-0.9, 0.9, (2, 6, 6, 2)).astype("float32")


def maps_of_all(model, x, target, names=None):
    """Return the relevance for each preset and method, or for the presets `names`."""
    target = tf.constant(target)
    maps = {
        name: propagate(model, PRESETS[name], H.one_hot, x, target)[0][0]
        for name in names or PRESETS
    }
    if names is not None:
        return maps
    for name in UNCOUNTED:
        result = tfxai.create_analyzer(name, model).graph.propagate([x], target)
        maps[f"analyzer {name}"] = result["relevance"][0].numpy()
    return maps
