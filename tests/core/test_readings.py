"""A model is read once, and again where it has changed."""

import gc
import weakref
from unittest.mock import patch

import keras
import numpy as np
import pytest
from keras import layers as L

import tfxai
from tests import zoo
from tfxai.graph.trace import shapes


def images():
    return np.random.default_rng(0).normal(0, 2, (2, 6, 6, 2)).astype("float32")


@pytest.fixture
def traces():
    """Return the list of the shapes that were traced."""
    seen = []

    def counted(call, specs, *rest, traced=shapes.traced_call):
        seen.append(specs)
        return traced(call, specs, *rest)

    with patch("tfxai.graph.trace.shapes.traced_call", counted):
        yield seen


def network():
    return zoo.image_network(L.Dense(5, "tanh", name="middle"), L.Dense(3, "softmax"))


def test_methods_and_outputs_share_one_trace(traces):
    model, x = network(), images()
    for method in ("gradient", "lrp.epsilon", "sglrp"):
        tfxai.explain(model, x, method)
    assert len(traces) == 1
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, np.array([0, 1]), verbose=0)
    model.predict(x, verbose=0)
    late = tfxai.explain(model, x, "lrp.epsilon", target=1)
    assert len(traces) == 1
    head = model.layers[-1]
    z = keras.Model(model.input, head.input)(x) @ head.kernel + head.bias
    np.testing.assert_allclose(late.score, np.asarray(z)[:, 1], rtol=1e-4)


class Scaled(keras.Model):
    """A model whose output depends on attributes of several kinds."""

    common = 1.0

    def __init__(self):
        super().__init__()
        self.last = L.Dense(3)
        self.factor, self.table = 1.0, {"a": [1.0]}
        self.settings = Settings()
        self.function, self.method = times(1.0), Settings().scaled
        self.array, self.window = np.ones(3, "float32"), slice(0, 3)
        self.history, self.deep = 1.0, {"a": [{"b": ({"c": [1.0]},)}]}

    def call(self, x):
        k = self.factor * self.table["a"][0] * self.settings.factor * self.history
        k = k * self.deep["a"][0]["b"][0]["c"][0] * self.common
        y = self.method(self.function(self.last(L.Flatten()(x)))) * k * self.array
        return L.ZeroPadding1D((0, 3))(y[:, self.window, None])[:, :3, 0]


class Settings:
    """Settings that a model reads when it is called."""

    factor = 1.0

    def scaled(self, y):
        return y * self.factor


def times(number):
    return lambda v: v * number


def _inside(model):
    model.last.activation = keras.activations.tanh


def _of_class(model):
    type(model).common = 2.0 if type(model).common == 1.0 else 1.0


CHANGES = {
    "number": lambda m: setattr(m, "factor", 2.0),
    "container": lambda m: m.table["a"].__setitem__(0, 2.0),
    "object": lambda m: setattr(m.settings, "factor", 2.0),
    "closure": lambda m: setattr(m, "function", times(2.0)),
    "layer": _inside,
    "array": lambda m: m.array.__setitem__(1, 3.0),
    "slice": lambda m: setattr(m, "window", slice(0, 1)),
    "method": lambda m: setattr(m.method.__self__, "factor", 2.0),
    "name of keras": lambda m: setattr(m, "history", 2.0),
    "deep container": lambda m: m.deep["a"][0]["b"][0]["c"].__setitem__(0, 2.0),
    "class": _of_class,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_an_attribute_is_seen(change, traces):
    model, x = Scaled(), images()
    model(x)
    zoo.fill(model)
    before = tfxai.explain(model, x, "gradient", target=1).score
    CHANGES[change](model)
    e = tfxai.explain(model, x, "lrp.epsilon", target=1)
    np.testing.assert_allclose(e.score, np.asarray(model(x))[:, 1], rtol=1e-5)
    assert np.abs(e.score - before).max() > 1e-3
    assert len(traces) == 2


def test_a_reading_is_freed_with_its_model():
    model = network()
    model.compile("sgd", "mse")
    model.predict(images(), verbose=0)
    tfxai.explain(model, images(), "sglrp")
    known = weakref.ref(model)
    del model
    gc.collect()
    assert known() is None


def test_an_analyzer_outlives_the_name_of_its_model():
    analyzer = tfxai.create_analyzer("lrp.epsilon", network())
    gc.collect()
    wanted = tfxai.explain(network(), images(), "lrp.epsilon")
    e = analyzer.analyze(images())
    np.testing.assert_allclose(e.relevance, wanted.relevance, rtol=1e-4, atol=1e-7)
