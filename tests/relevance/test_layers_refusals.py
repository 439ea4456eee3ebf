"""Errors name the layers that cannot be read, and the user's model is unchanged."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.common import global_state

import tfxai
from tests.relevance.layer_zoo import (
    NETS,
    I,
    V,
    cut,
    fill,
    net,
    samples,
    sequence,
    two,
    vector,
)
from tests.relevance.own_layers import BATCH, LENGTH, WORDS, weight
from tfxai.errors import UnsupportedLayerError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*destroy the mask.*"),
    pytest.mark.filterwarnings("ignore:.*`build\\(\\)` was called on layer.*"),
    pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning"),
]

L = keras.layers
ops = keras.ops

# -- the user's model stays as it was ------------------------------------------------


def state(model):
    """Return nodes of every layer and operation, weights, losses, and counted names."""
    layers = list(model._flatten_layers())
    operations = [o for v in layers for o in getattr(v, "operations", [])]
    nodes = [
        (o.name, len(o._inbound_nodes), len(o._outbound_nodes))
        for o in [*layers, *operations]
    ]
    weights = [(v.path, np.asarray(v).tolist()) for v in model.variables]
    names = dict(global_state.get_global_attribute("object_name_uids"))
    for name in ("function", "operation", "keras_tensor"):  # no layer has this name
        names.pop(name, None)
    return nodes, weights, [str(v) for v in model.losses], names


UNTOUCHED = (
    *("merges", "symmetric", "reader", "vision", "attention_block_masked"),
    *("simple_rnn", "time_distributed", "mask_from_outside", "own_cell"),
    *("model_twice", "subclassed_inside", "lambda", "spectral"),
)


@pytest.mark.parametrize("name", UNTOUCHED)
def test_the_model_is_untouched(name):
    model = fill(NETS[name]())
    x = cut(samples(model), slice(1, 2))
    seen = state(model)
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    assert state(model) == seen
    target = tf.zeros((1, 1), tf.int32)
    xs = [tf.constant(v) for v in keras.tree.flatten(x)]
    tf.function(analyzer.graph.propagate, autograph=False)(xs, target)
    assert state(model) == seen


# -- refusals ------------------------------------------------------------------------


class RawOps(L.Layer):
    def call(self, x):
        return tf.nn.relu(x) * 2.0


class Beside(L.Layer):
    """Two outputs, one of which depends on a variable only."""

    def build(self, shape):
        self.w = weight(self, "kernel", 5)

    def call(self, x):
        return x * self.w, self.w + 1.0


class TimeMajor(L.Layer):
    """The batch as second axis, then merged with another axis."""

    def call(self, x):
        y = ops.transpose(x, (1, 0, 2))
        y = ops.relu(ops.reshape(y, (x.shape[1], ops.shape(x)[0] * 2, 3)))
        y = ops.reshape(y, (x.shape[1], ops.shape(x)[0], 6))
        return ops.transpose(y, (1, 0, 2))


class Halved(L.Layer):
    """A layer that computes something else when it is run than when it is read."""

    def call(self, x):
        return x * (1.0 if isinstance(x, keras.KerasTensor) else 0.5)


class RawDeep(L.Layer):
    """Raw operations in a nested layer."""

    def __init__(self):
        super().__init__()
        self.inner, self.first = RawOps(name="raw"), L.Dense(6)

    def call(self, x):
        return self.inner(self.first(x))


def _stateful():
    x = keras.Input(batch_shape=(2, LENGTH, 6))
    return keras.Model(x, L.LSTM(3, stateful=True)(x))


class Heads(L.Layer):
    """A norm of each head; the sizes come from `shape`, and one of them is -1."""

    def call(self, x):
        b, t = ops.shape(x)[0], ops.shape(x)[1]
        y = ops.reshape(x, (b, t, 2, -1))
        n = ops.rsqrt(ops.sum(ops.square(y), -1, keepdims=True) + 1e-6)
        return ops.reshape(y * ops.maximum(n, 1e-6), (b, t, 6))


#: name -> (model, the step's name, its class)
REFUSED = {
    "stateful": (_stateful, "lstm", "LSTM"),
    "power": (lambda: two(lambda a, b: a**b, V, V), "Pow", "Pow"),
}  # fmt: skip
#: Models without a graph of known layers, which are read from TensorFlow's trace.
TRACED = {
    "raw": lambda: two(RawOps(name="own"), (6,)),
    "raw_deep": lambda: two(RawDeep(), (6,)),
    "raw_lambda": lambda: two(L.Lambda(lambda v: tf.sin(v), name="own"), (6,)),
    "unknown_length": lambda: two(L.LSTM(3, name="own"), (None, 6)),
    "unknown_length_both_ways": lambda: two(
        L.Bidirectional(L.GRU(3), name="own"), (None, 6)
    ),
    "unknown_length_each_step": lambda: two(
        L.TimeDistributed(L.Dense(2), name="own"), (None, 6)
    ),
    "sizes_of_shape": lambda: two(
        lambda x: L.GlobalAveragePooling1D()(Heads(name="own")(x)), (None, 6)
    ),
    "normalized_dot": lambda: two(
        lambda a, b: L.Dot(1, normalize=True, name="own")([a, b]), V, V
    ),
    "reciprocal": lambda: vector(
        lambda x: ops.concatenate([ops.ones_like(x) / (x * x + 1.0), x], -1)
    ),
    "bicubic": lambda: two(L.UpSampling2D(2, interpolation="bicubic", name="own"), I),
    "sort_and_places": lambda: two(lambda x: ops.top_k(x, 3)[0], V),
    "beside": lambda: two(lambda x: Beside(name="own")(x)[0], V),
    "sort": lambda: two(lambda x: ops.sort(x), V),
    "sort_inside": lambda: two(L.Lambda(lambda x: ops.sort(x)), V),
    "batch_norm_in_training": lambda: two(  # `predict` uses the moving statistics
        lambda x: L.BatchNormalization(name="own")(x, training=True), V
    ),
    "squared_difference": lambda: two(
        lambda a, b: L.Lambda(lambda v: tf.math.squared_difference(*v))([a, b]), V, V
    ),
    "pad_with_ones": lambda: two(
        lambda x: ops.pad(x, [[0, 0], [1, 1]], constant_values=1.0), V
    ),
}


@pytest.mark.parametrize("name", TRACED)
def test_what_no_row_covers_is_read_from_the_trace(name):
    model = fill(TRACED[name]())
    seen = state(model)
    wrapped = tfxai.wrap(model)
    assert wrapped.program().compiled is not None  # the function that was traced
    assert state(model) == seen
    shapes = [(2, *(n or LENGTH for n in t.shape[1:])) for t in model.inputs]
    rng = np.random.default_rng(4)
    xs = [rng.uniform(0.5, 2.0, s).astype("float32") for s in shapes]
    x = xs if len(xs) > 1 else xs[0]
    wanted = np.asarray(model(x, training=False))
    np.testing.assert_allclose(wrapped.logits(x), wanted, rtol=1e-4, atol=1e-5)
    if wanted.ndim == 2 and wanted.shape[1] > 1:
        e = tfxai.explain(wrapped, x, "lrp.epsilon", target=1)
        assert all(np.isfinite(r).all() for r in keras.tree.flatten(e.relevance))


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_step_and_what_to_type(name):
    make, step, kind = REFUSED[name]
    model = make()
    seen = state(model)
    with pytest.raises(UnsupportedLayerError) as caught:
        tfxai.create_analyzer("lrp.epsilon", model)
    text = str(caught.value)
    assert step in caught.value.seen and kind in caught.value.seen
    assert "Wanted:" in text and 'method="gradient"' in caught.value.write
    assert state(model) == seen


def test_an_output_that_no_relevance_reaches_is_named():
    model = net((LENGTH,), lambda x: L.Dense(4)(ops.one_hot(x, WORDS)), "int32")
    with pytest.raises(UnsupportedLayerError, match=r"only through.*one_hot'"):
        tfxai.create_analyzer("lrp.epsilon", model)
    assert np.asarray(tfxai.wrap(model).logits(samples(model))).shape == (BATCH, 3)


def test_limited_tokens_are_read_from_the_trace():
    body = L.Embedding(WORDS, 6)
    model = fill(net((LENGTH,), lambda x: body(ops.minimum(x, 3)), "int32"))
    x = samples(model)
    e = tfxai.explain(model, x, "lrp.epsilon", target=1)
    np.testing.assert_allclose(e.score, np.asarray(model(x))[:, 1], rtol=1e-4)


def test_a_batch_on_the_second_axis_is_read():
    model = fill(sequence(TimeMajor(name="major")))
    x = samples(model)
    together = tfxai.explain(model, x, "lrp.epsilon", target=1)
    np.testing.assert_allclose(together.score, model(x)[:, 1], rtol=1e-5)
    for i in range(len(x)):
        alone = tfxai.explain(model, x[i : i + 1], "lrp.epsilon", target=1)
        np.testing.assert_allclose(
            together.relevance[i : i + 1], alone.relevance, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("method", ["lrp.epsilon", "gradient"])
def test_what_is_explained_is_what_tensorflow_computes(method):
    model = fill(vector(Halved()))
    x = samples(model)
    e = tfxai.explain(model, x, method, target=1)
    np.testing.assert_allclose(e.score, model(x)[:, 1], rtol=1e-5)
