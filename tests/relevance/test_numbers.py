"""Numerics: half precision, zero, very large values, and constant values."""

from functools import cache

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo

pytestmark = [
    pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning"),
    pytest.mark.usefixtures("uncompiled"),
]

L = keras.layers
RELEVANCE = [row.name for row in tfxai.methods() if row.family == "relevance"]
RELEVANCE.remove("deepshap")  # means of `deeplift`
SHAPE = (10, 10, 3)


def network(head="softmax"):
    """Return a network of layers that half precision or variance 0 may break."""
    x = keras.Input(SHAPE)
    y = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, use_bias=False)(x)))
    y = L.MaxPooling2D()(y)
    y = L.SeparableConv2D(8, 3, padding="same", activation="relu")(y)
    y = L.LayerNormalization()(L.Add()([y, L.Conv2D(8, 1)(y)]))
    y = L.Dense(6, activation="gelu")(L.GlobalAveragePooling2D()(y))
    y = L.Activation(head, dtype="float32")(L.Dense(4)(y))
    return keras.Model(x, y)


def images(count=3):
    return np.random.default_rng(4).normal(size=(count, *SHAPE)).astype("float32")


@cache
def in_precision(policy: str):
    """Return the network with the same weights under a dtype policy, read once."""
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        model = network()
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(zoo.fill(network()).get_weights())
    assert model.layers[1].compute_dtype == policy.removeprefix("mixed_")
    return tfxai.wrap(model)


@pytest.mark.parametrize("name", RELEVANCE)
@pytest.mark.parametrize("half", ["mixed_float16", "mixed_bfloat16"])
def test_maps_of_a_mixed_precision_model_are_those_of_float32(half, name):
    x = images()
    models = in_precision("float32"), in_precision(half)
    wanted, ours = (tfxai.explain(m, x, name) for m in models)
    assert np.abs(wanted.relevance).max() > 0
    gap = np.abs(ours.relevance - wanted.relevance).max()
    assert gap <= 2e-2 * np.abs(wanted.relevance).max()
    assert ours.relevance.dtype == np.float32
    np.testing.assert_allclose(ours.score, wanted.score, 2e-2)


@cache
def dead():
    """Return a network with channels that are 0, and normalisations of constants."""
    model = zoo.fill(network())
    conv, norm = model.layers[1], model.layers[2]
    kernel = conv.kernel.numpy()
    kernel[..., :3] = 0
    conv.kernel.assign(kernel)
    norm.moving_variance.assign(np.zeros(8))
    norm.gamma.assign([0, 0, 1, 1, 1, 1, 1, 1])
    return tfxai.wrap(model)


@cache
def silent():
    """Return a network whose LayerNormalization reads equal values in all channels."""
    model = zoo.fill(network())
    for layer in model.layers:
        if isinstance(layer, L.SeparableConv2D | L.Conv2D) and layer.use_bias:
            for v in layer.weights:
                v.assign(np.zeros(v.shape))
    return tfxai.wrap(model)


@cache
def lively():
    return tfxai.wrap(zoo.fill(network()))


@pytest.mark.parametrize("name", RELEVANCE)
@pytest.mark.parametrize("make", [lively, dead, silent])
def test_maps_are_finite(make, name, recwarn):
    one = np.ones(SHAPE, "float32")
    x = np.stack([0 * one, one, -one, 0.5 * one, *(1e6 * images()), 1e-6 * one])
    e = tfxai.explain(make(), x, name, target="all")
    assert np.isfinite(e.relevance).all()
    assert np.isfinite(e.score).all()
    seen = {w.category.__name__ for w in recwarn}
    assert "NotFiniteWarning" not in seen


@pytest.mark.parametrize(
    "name",
    ["lrp.z", "lrp.epsilon", "lrp.alpha_2_beta_1", "lrp.gamma", "guided_backprop"],
)
def test_a_million_times_the_input_is_a_million_times_the_map(name):
    """Without biases and with a negligible stabilizer: R(k x) = k R(x)."""
    x = keras.Input(SHAPE)
    y = L.Conv2D(6, 3, activation="relu", use_bias=False)(x)
    y = L.MaxPooling2D()(y)
    y = L.Conv2D(6, 3, activation="relu", use_bias=False)(y)
    model = zoo.fill(keras.Model(x, L.Dense(4, use_bias=False)(L.Flatten()(y))))
    data = images()
    analyzer = tfxai.create_analyzer(name, model)
    one = analyzer.analyze(data, 1).relevance
    many = analyzer.analyze(1e6 * data, 1).relevance
    wanted = one if name == "guided_backprop" else 1e6 * one
    assert np.abs(one).max() > 0
    # For the small input, the stabilizer is 1e-6, and sums are about 1.
    assert np.abs(many - wanted).max() <= 1e-3 * np.abs(wanted).max()


def test_deeplift_is_finite_where_nothing_differs_from_the_baseline():
    x = keras.Input(SHAPE)
    y = L.MaxPooling2D()(L.Conv2D(6, 3, activation="gelu")(x))
    model = zoo.fill(keras.Model(x, L.Dense(4, "relu")(L.Flatten()(y))))
    one = np.ones(SHAPE, "float32")
    data = np.stack([0 * one, one, 1e6 * images(1)[0], 1e-6 * one])
    for baseline in (0, 1):
        e = tfxai.explain(model, data, "deeplift", "all", baseline=baseline)
        assert np.isfinite(e.relevance).all()
        assert (e.relevance[baseline] == 0).all()
