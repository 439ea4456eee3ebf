"""The first call of an analyzer runs without a graph, and returns what a graph does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai import extend
from tfxai.core.compilation import FEW
from tfxai.relevance.relevance_model import RelevanceModel

L, ops = keras.layers, keras.ops


def cnn():
    """A small convolutional network, and a batch of images."""
    x = keras.Input((8, 8, 2))
    y = L.BatchNormalization()(L.Conv2D(5, 3, activation="relu")(x))
    y = L.Add()([y, L.Conv2D(5, 3, padding="same", activation="silu")(y)])
    y = L.Flatten()(L.MaxPooling2D()(y))
    return zoo.fill(keras.Model(x, L.Dense(3, "softmax")(y))), (8, 8, 2)


def attention():
    """A small transformer, and a batch of sequences of vectors."""
    x = keras.Input((6, 8))
    y = L.LayerNormalization()(x)
    y = L.Add()([x, L.MultiHeadAttention(2, 4)(y, y)])
    y = L.Add()([y, L.Dense(8)(L.Dense(12, "gelu")(y))])
    y = L.GlobalAveragePooling1D()(y)
    return zoo.fill(keras.Model(x, L.Dense(3, "softmax")(y))), (6, 8)


def recurrent():
    """A bidirectional LSTM, whose batch is not the first axis of all steps."""
    x = keras.Input((3, 4))
    y = L.Bidirectional(L.LSTM(4))(x)
    return zoo.fill(keras.Model(x, L.Dense(3)(y))), (3, 4)


BODIES = {"cnn": cnn, "attention": attention, "recurrent": recurrent}
CASES = (
    ("gradient", "cnn"), ("sglrp", "cnn"), ("gradcam", "cnn"), ("deeplift", "cnn"),
    ("lrp.attn", "attention"),
)  # fmt: skip
MORE = (
    ("lrp.alpha_2_beta_1", "cnn"), ("deep_taylor", "cnn"), ("lrp.w_square", "cnn"),
    ("guided_gradcam", "cnn"), ("guided_backprop", "cnn"), ("sglrp", "attention"),
    ("input_t_gradient", "attention"), ("clrp", "recurrent"),
)  # fmt: skip


def batch(shape, count=2):
    return np.random.default_rng(3).uniform(0.1, 1, (count, *shape)).astype("float32")


def close(found, wanted):
    gap = np.abs(np.asarray(found) - np.asarray(wanted)).max()
    assert gap <= 1e-6 * max(1e-6, np.abs(wanted).max())


@pytest.fixture
def eager(monkeypatch):
    """Whether each call of `RelevanceModel.propagate` ran without a graph."""
    seen, own = [], RelevanceModel.propagate

    def propagate(self, *args, **kwargs):
        seen.append(tf.executing_eagerly())
        return own(self, *args, **kwargs)

    monkeypatch.setattr(RelevanceModel, "propagate", propagate)
    return seen


@pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning")
@pytest.mark.parametrize(
    "method, body", [*CASES, *(pytest.param(*c, marks=pytest.mark.slow) for c in MORE)]
)
def test_first_and_later_maps_are_equal(method, body):
    model, shape = BODIES[body]()
    analyzer = tfxai.create_analyzer(method, model)
    x = batch(shape)
    first, later = (analyzer.analyze(x, [[0, 2]] * 2) for _ in "12")
    close(first.relevance, later.relevance)
    close(first.score, later.score)
    np.testing.assert_array_equal(first.target, later.target)
    assert np.abs(later.relevance).max() > 0


def test_the_second_call_is_compiled(eager):
    model, shape = cnn()
    analyzer = tfxai.create_analyzer("sglrp", model)
    for _ in range(3):
        analyzer.analyze(batch(shape))
    assert eager == [True, False]  # the third call runs the graph of the second


def test_a_large_batch_is_compiled_at_once(eager):
    model, shape = cnn()
    tfxai.explain(model, batch(shape, FEW + 1), "sglrp")
    assert eager == [False]


def test_a_large_model_is_compiled_at_once(eager, monkeypatch):
    model, shape = cnn()
    monkeypatch.setattr("tfxai.core.model.LARGE", 700)  # the tensors: about 1,000
    tfxai.explain(model, batch(shape), "sglrp")
    assert eager == [False]


def test_a_small_batch_uses_the_graph_of_a_larger_one(eager):
    model, shape = cnn()
    x = batch(shape, 2 * FEW + 1)
    tfxai.create_analyzer("sglrp", model).analyze(x, batch_size=2 * FEW)
    assert eager == [False]


def _rule(linear, x, r):
    return x * linear.T(r.tensor)


@pytest.mark.parametrize(
    "options",
    [
        {"target": lambda y: y[:, 1] - y[:, 0]},
        {"head": lambda logits, target: tf.nn.relu(logits) * target},
        {"rules": {"conv": _rule}},
    ],
    ids=["target", "head", "rule"],
)
def test_code_of_the_user_is_always_compiled(eager, options):
    model, shape = cnn()
    tfxai.explain(model, batch(shape), "lrp.epsilon", **options)
    assert eager == [False]


def test_a_gradient_method_of_the_user_is_always_compiled():
    model, shape = cnn()
    seen = []

    def explain(context):
        seen.append(tf.executing_eagerly())
        return context.result(context.input_gradients())

    analyzer = extend.gradient_analyzer(
        "mine", tfxai.wrap(model), explain, once_per_sample=True
    )
    found = analyzer.analyze(batch(shape), 0).relevance
    close(found, tfxai.explain(model, batch(shape), "gradient", target=0).relevance)
    assert seen == [False]


def test_preprocess_is_always_compiled(eager):
    model, shape = cnn()
    seen = []

    def halved(x):
        seen.append(tf.executing_eagerly())
        return x / 2

    e = tfxai.explain(tfxai.wrap(model, halved), batch(shape), "lrp.epsilon")
    close(e.relevance, tfxai.explain(model, batch(shape) / 2, "lrp.epsilon").relevance)
    assert (eager, seen) == ([True, True], [False])
