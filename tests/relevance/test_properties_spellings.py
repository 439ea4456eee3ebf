"""Spelling, a final softmax and precision do not change the relevance."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.relevance import spellings
from tests.relevance.drawn import (
    CLASSES,
    PRESETS,
    UNCOUNTED,
    close,
    dense,
    fill,
    soft_inputs,
)
from tests.relevance.spellings import (
    SPELLINGS,
    maps_of_all,
    with_fused_activations,
    with_layers,
)

#: A network with zero relevance tests nothing: choose another one.
pytestmark = pytest.mark.filterwarnings(  # a random network may return its input
    "error::tfxai.errors.TfxaiWarning",
    "ignore::tfxai.errors.DoubtfulRelevanceWarning",
)

L = keras.layers
ops = keras.ops
#: The fixture, imported for this file.
spelled_inputs = spellings.spelled_inputs

# -- one network, written in many ways -----------------------------------------------


@pytest.fixture(scope="module")
def spelled(spelled_inputs):
    """Return the relevance of the net with layers, which all spellings must match."""
    model, target = fill(with_layers(), 6), [[0], [1]]
    assert np.ptp(model(spelled_inputs)) > 0.01
    return maps_of_all(model, spelled_inputs, target)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_spelling_of_a_network_does_not_change_its_maps(
    spelling, spelled, spelled_inputs
):
    model = fill(spelling(), 6)
    maps = maps_of_all(model, spelled_inputs, [[0], [1]])
    assert len(maps) == len(PRESETS) + len(UNCOUNTED) == len(spelled)
    for name, wanted in spelled.items():
        assert np.abs(wanted).max() > 1e-6, name
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(
            maps[name], wanted, rtol=0, atol=1e-6 * scale, err_msg=name
        )


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("method", ["gradient", "input_t_gradient"])
def test_the_spelling_does_not_change_a_gradient(method, spelling, spelled_inputs):
    maps = [
        tfxai.explain(fill(make(), 6), spelled_inputs, method, target=2).relevance
        for make in (with_layers, spelling)
    ]
    assert np.abs(maps[0]).max() > 1e-4
    close(maps[1], maps[0], 1e-6)


ENDS = {
    "fused": lambda x: dense("e", CLASSES, "softmax")(x),
    "Softmax": lambda x: L.Softmax()(dense("e", CLASSES)(x)),
    "Activation": lambda x: L.Activation("softmax")(dense("e", CLASSES)(x)),
    "ops": lambda x: ops.softmax(dense("e", CLASSES)(x)),
    "called": lambda x: keras.activations.softmax(dense("e", CLASSES)(x)),
    "Dropout": lambda x: L.Dropout(0.5)(dense("e", CLASSES, "softmax")(x)),
    "Reshape": lambda x: L.Reshape((-1,))(L.Softmax()(dense("e", CLASSES)(x))),
    "Identity": lambda x: L.Identity()(ops.softmax(dense("e", CLASSES)(x))),
    "several": lambda x: ops.reshape(
        L.Reshape((1, -1))(L.Dropout(0.5)(dense("e", CLASSES, "softmax")(x))),
        (-1, CLASSES),
    ),
}


def softmax_net(end):
    i = keras.Input((6,))
    return fill(keras.Model(i, end(dense("d", 8, "relu")(i))), 0)


def outputs_and_relevance(model, x):
    """Return logits and relevance of the top class, eagerly and (gradient) compiled."""
    wrapped, top = tfxai.wrap(model), tf.fill([len(x), 1], -1)
    gradient = tfxai.explain(wrapped, x, "gradient")
    result = {"logits": wrapped.logits(x), "score": gradient.score}
    result["gradient"] = gradient.relevance
    for name in ("sglrp", "clrp", "lrp.epsilon"):
        graph = tfxai.create_analyzer(name, wrapped).graph
        result[name] = graph.propagate([x], top)["relevance"][0].numpy()
    return result


@pytest.fixture(scope="module")
def without_softmax():
    return outputs_and_relevance(softmax_net(dense("e", CLASSES)), soft_inputs())


@pytest.mark.parametrize("end", ENDS)
def test_softmax_is_taken_off_however_it_was_written(end, without_softmax):
    x, model = soft_inputs(), softmax_net(ENDS[end])
    result = outputs_and_relevance(model, x)
    assert result.keys() == without_softmax.keys()
    for name, wanted in without_softmax.items():
        assert np.abs(wanted).max() > 1e-3
        close(result[name], wanted, 1e-6)
    probabilities = tfxai.wrap(model).probabilities(x)
    close(probabilities, model.predict(x, verbose=0), 1e-6)


REARRANGED = {
    "Reshape": lambda x: L.Reshape((2, 2))(L.Softmax()(x)),
    "Flatten": lambda x: L.Flatten()(L.Softmax()(L.Reshape((2, 2))(x))),
    "slice": lambda x: L.Softmax()(x)[:, 1:3],
    "padding": lambda x: L.ZeroPadding1D(1)(L.Softmax(-1)(L.Reshape((2, 2))(x))),
    "axis": lambda x: L.Softmax(axis=1)(L.Reshape((2, 2))(x)),
    "ops axis": lambda x: ops.softmax(L.Reshape((2, 2))(x), axis=1),
}


@pytest.mark.parametrize("end", REARRANGED)
def test_probabilities_are_the_models_own_where_classes_are_rearranged(end):
    x = soft_inputs()
    model = softmax_net(lambda v: REARRANGED[end](dense("e", CLASSES)(v)))
    close(tfxai.wrap(model).probabilities(x), model.predict(x, verbose=0), 1e-6)


# -- mixed precision -----------------------------------------------------------------


@pytest.fixture
def policy():
    """Set the global dtype policy by name, and restore it afterwards."""
    old = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(old)


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_nearly_the_same_maps(
    name, policy, spelled, spelled_inputs
):
    wanted = explained(fill(with_fused_activations(), 6), spelled_inputs)
    policy(name)
    model = fill(with_fused_activations(), 6)
    assert model.get_layer("a").compute_dtype == name.removeprefix("mixed_")
    maps = maps_of_all(model, spelled_inputs, [[0], [1]])
    maps |= explained(model, spelled_inputs)
    assert keras.config.dtype_policy().name == name
    for name, value in {**spelled, **wanted}.items():
        assert maps[name].dtype == np.float32
        assert np.abs(value).max() > 1e-6
        close(maps[name], value, 2e-2)


def explained(model, x):
    """Return relevance by the public API."""
    methods = ("gradient", "input_t_gradient", "sglrp", "lrp.epsilon")
    return {m: tfxai.explain(model, x, m, target=1).relevance for m in methods}


# -- a constant factor inside a product ----------------------------------------------

W = np.float32([2.0, -0.5, 3.0])
#: Ways to write a product of a, b (and c) with the constant W.
TWO = {
    "(a*b)*W": lambda a, b: (a * b) * W,
    "a*(b*W)": lambda a, b: a * (b * W),
    "(a*W)*b": lambda a, b: (a * W) * b,
    "(a*b)/(1/W)": lambda a, b: (a * b) / (1 / W),
}
THREE = {
    "(a*b*c)*W": lambda a, b, c: (a * b * c) * W,
    "((a*b)*W)*c": lambda a, b, c: ((a * b) * W) * c,
    "a*((b*c)*W)": lambda a, b, c: a * ((b * c) * W),
    "(a*W)*(b*c)": lambda a, b, c: (a * W) * (b * c),
    "(-(a*b)/(1/W))*-c": lambda a, b, c: (-(a * b) / (1 / W)) * -c,
    "(a*b)*(c*W)": lambda a, b, c: (a * b) * (c * W),
}


@pytest.mark.parametrize(("ways", "count"), [(TWO, 2), (THREE, 3)])
@pytest.mark.parametrize("method", ["lrp.epsilon", "deeplift"])
def test_a_constant_factor_leaves_the_shares_of_a_product(ways, count, method):
    rng = np.random.default_rng(2)
    x = [np.float32(rng.uniform(0.3, 1.5, (2, 3))) for _ in range(count)]
    total = np.prod(x, 0) * W
    for name, product in ways.items():
        inputs = [keras.Input((3,)) for _ in range(count)]
        model = keras.Model(inputs, product(*inputs))
        np.testing.assert_allclose(model(x), total, rtol=1e-5, err_msg=name)
        e = tfxai.explain(model, x, method, 1)
        wanted = np.eye(3)[1] * total / count
        for r in e.relevance:
            np.testing.assert_allclose(r, wanted, atol=1e-5, err_msg=name)
