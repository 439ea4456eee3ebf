"""The user's model is unchanged, and an analyzer follows its training."""

import gc
import json
import random
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.relevance import spellings
from tests.relevance.drawn import CLASSES, DIRECT, dense, fill
from tests.relevance.spellings import as_nested_model, with_fused_activations
from tfxai.errors import InputError, TargetError, UnsupportedLayerError

#: A network with zero relevance tests nothing: choose another one.
pytestmark = pytest.mark.filterwarnings(  # a random network may return its input
    "error::tfxai.errors.TfxaiWarning",
    "ignore::tfxai.errors.DoubtfulRelevanceWarning",
)

L = keras.layers
ops = keras.ops
#: The fixture, imported for this file.
spelled_inputs = spellings.spelled_inputs

# -- the user's model ----------------------------------------------------------------


def parts(value):
    """Return the present content of a container, which may be changed in place."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, list | tuple | set) else []


def snapshot(model):
    """Return everything that an analyzer could change, and keep the objects alive."""
    layers = [model, *model._flatten_layers(include_self=False)]
    return {
        "weights": [v.numpy().tobytes() for v in model.variables],
        "nodes": [(*k._inbound_nodes, None, *k._outbound_nodes) for k in layers],
        "keys": [list(vars(k)) for k in layers],
        "values": [list(vars(k).values()) for k in layers],
        "contents": [[parts(v) for v in vars(k).values()] for k in layers],
        "config": json.dumps(model.get_config(), default=str),
        "trainable": [k.trainable for k in layers]
        + [v.trainable for v in model.variables],
        "keras": [
            keras.config.floatx(),
            keras.config.epsilon(),
            keras.config.image_data_format(),
            keras.config.dtype_policy().name,
            keras.config.is_traceback_filtering_enabled(),
        ],
        "mode": [tf.executing_eagerly(), tf.config.functions_run_eagerly()],
        "random": [random.getstate(), str(np.random.get_state())],
    }


def assert_same(before, after):
    """Assert equality; for mutable objects, identity."""
    assert before.keys() == after.keys()
    for name in ("nodes", "values"):
        for a, b in zip(before[name], after[name], strict=True):
            assert len(a) == len(b), name
            assert all(v is w for v, w in zip(a, b, strict=True)), name
    for a, b in zip(before["contents"], after["contents"], strict=True):
        for v, w in zip(a, b, strict=True):
            assert [id(i) for i in v] == [id(i) for i in w]
    rest = before.keys() - {"nodes", "values", "contents"}
    for name in rest:
        assert before[name] == after[name], name


def lived_in_model():
    """Return a nested, compiled model with shared, normalisation and frozen layers."""
    i = keras.Input((6, 6, 2))
    shared = L.Conv2D(2, 3, padding="same", activation="relu", name="shared")
    x = L.BatchNormalization(name="bn")(shared(shared(i)))
    model = as_nested_model()
    model = keras.Model(i, L.Dropout(0.2)(model(x)))
    shared.trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    return fill(model, 2)


@pytest.mark.parametrize("method", DIRECT)
def test_the_users_model_is_left_as_it_was(method, spelled_inputs):
    model = lived_in_model()
    model.predict(spelled_inputs, verbose=0)
    before = snapshot(model)
    tf.random.set_seed(3)
    drawn = tf.random.uniform([4]).numpy()
    tf.random.set_seed(3)
    analyzer = tfxai.create_analyzer(method, model)
    e = analyzer.analyze(spelled_inputs, target=1)
    assert np.abs(e.relevance).max() > 0
    assert (tf.random.uniform([4]).numpy() == drawn).all()
    assert_same(before, snapshot(model))


@pytest.mark.parametrize("method", ["sglrp", "gradient"])
def test_the_users_model_is_left_as_it_was_after_an_error(method, spelled_inputs):
    model = lived_in_model()
    before = snapshot(model)
    analyzer = tfxai.create_analyzer(method, model)
    with pytest.raises(InputError):
        analyzer.analyze(np.full((1, 6, 6, 2), np.nan))
    with pytest.raises(TargetError):
        analyzer.analyze(spelled_inputs, target=CLASSES)
    with pytest.raises(ZeroDivisionError):
        tfxai.explain(model, spelled_inputs, method, preprocess=lambda v: 1 / 0)
    assert_same(before, snapshot(model))


def test_a_model_with_an_unsupported_layer_is_left_as_it_was():
    i = keras.Input((4, 3))
    raw = L.Lambda(
        lambda v: tf.ensure_shape(tf.py_function(abs, [v], v.dtype), v.shape)
    )
    model = keras.Model(i, L.Dense(2)(raw(L.Dense(3, "relu")(i))))
    before = snapshot(model)
    with pytest.raises(UnsupportedLayerError, match="Lambda"):
        tfxai.create_analyzer("sglrp", model)
    assert_same(before, snapshot(model))


def test_the_snapshot_sees_what_a_careless_analyzer_does(spelled_inputs):
    model = lived_in_model()
    before = snapshot(model)
    model.layers[1].activation = keras.activations.linear
    with pytest.raises(AssertionError):
        assert_same(before, snapshot(model))
    before = snapshot(model)
    model(keras.Input((6, 6, 2)))  # one more inbound node
    with pytest.raises(AssertionError):
        assert_same(before, snapshot(model))


@pytest.mark.parametrize("method", ["sglrp", "lrp.epsilon", "input_t_gradient"])
def test_an_analyzer_follows_training(method, spelled_inputs):
    model = fill(with_fused_activations(), 11)
    analyzer = tfxai.create_analyzer(method, model)
    early = analyzer.analyze(spelled_inputs, target=1).relevance
    before = {v.path: v.numpy() for v in model.variables}
    model.compile(keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy")
    model.fit(spelled_inputs, np.array([1, 2]), epochs=3, verbose=0)
    moved = [p for p, v in before.items() if (model_value(model, p) != v).any()]
    for name in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"):
        assert any(p.endswith(name) for p in moved), name
    late = analyzer.analyze(spelled_inputs, target=1)
    fresh = tfxai.create_analyzer(method, model).analyze(spelled_inputs, target=1)
    assert np.abs(late.relevance - early).max() > 1e-2 * np.abs(early).max()
    np.testing.assert_array_equal(late.relevance, fresh.relevance)
    np.testing.assert_array_equal(late.score, fresh.score)


def model_value(model, path):
    return next(v.numpy() for v in model.variables if v.path == path)


# -- memory --------------------------------------------------------------------------


def tensors():
    """Return how many tensors Python holds, those of graphs included."""
    gc.collect()
    return sum(isinstance(o, tf.Tensor) for o in gc.get_objects())


@pytest.mark.parametrize("targets", [1, 2])
def test_a_call_without_compiling_leaves_no_tensor_behind(targets):
    i = keras.Input((4,))
    h = ops.relu(dense("a", 4)(i))
    model = fill(keras.Model(i, dense("e", CLASSES)(h + dense("b", 4)(h))))
    graph = tfxai.create_analyzer("lrp.epsilon", model).graph
    x, target = tf.ones((2, 4)), tf.constant([[0, 1], [2, 3]])[:, :targets]
    counts = []
    for _ in range(3):
        assert np.abs(graph(x, target)["relevance"]).max() > 1e-3
        counts.append(tensors())
    assert counts[1] == counts[2]


def test_an_analyzer_is_freed_with_its_model(spelled_inputs):
    model = fill(with_fused_activations(), 11)
    analyzer = tfxai.create_analyzer("sglrp", model)
    analyzer.analyze(spelled_inputs, target=1)
    held = [weakref.ref(v) for v in (analyzer, analyzer.wrapped, model)]
    del analyzer, model
    gc.collect()
    assert [v() for v in held] == [None] * 3
