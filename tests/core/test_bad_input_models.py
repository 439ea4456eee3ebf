"""Layers and models that cannot be explained are named, with the line that helps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
import tfxai.extend
from tests.core.bad_inputs import Subclassed, filled, inputs, raises
from tfxai.errors import BlackBoxError, ModelError, UnsupportedLayerError
from tfxai.relevance.presets import Preset

L = keras.layers


@pytest.fixture
def restored():
    """Put the registries back afterwards."""
    with tfxai.extend.restored():
        yield


# -- layers that no rule covers ------------------------------------------------------


class Halve(L.Layer):
    """Divide negative values by two, in NumPy: no reader can read it."""

    def call(self, x):
        """Keep x > 0."""
        y = tf.numpy_function(lambda v: np.where(v > 0, v, v / 2), [x], tf.float32)
        return tf.ensure_shape(y, x.shape)


def halving(layer):
    i = keras.Input((4,))
    return filled(keras.Model(i, L.Dense(3)(layer(L.Dense(5)(i)))), 2)


def type_in(error, **names):
    """Type the first line that an error suggests."""
    exec(error.write.split(", or ")[0].split(", where ")[0], {"tfxai": tfxai, **names})


def test_a_custom_layer_is_named_and_the_shown_line_makes_it_work(restored):
    model, x = halving(Halve(name="mine")), inputs(3, 4)
    with raises(
        UnsupportedLayerError, "of the layer 'mine' (Halve) calls a Python function"
    ) as caught:
        tfxai.create_analyzer("lrp.epsilon", model)
    assert isinstance(caught.value, NotImplementedError)
    type_in(caught.value, Halve=Halve)
    e = tfxai.explain(model, x, "lrp.epsilon", target=1)
    known = halving(L.LeakyReLU(0.5))
    wanted = tfxai.explain(known, x, "lrp.epsilon", target=1)
    assert np.abs(wanted.relevance).max() > 0.1
    np.testing.assert_allclose(e.relevance, wanted.relevance, rtol=1e-5)
    np.testing.assert_allclose(e.score, model(x).numpy()[:, 1], rtol=1e-5)


def test_a_layer_that_draws_at_random_is_named():
    class Noisy(L.Layer):
        def call(self, x):
            return x + tf.random.normal(x.shape[1:])

    with raises(UnsupportedLayerError, "'mine' (Noisy) draws at random"):
        tfxai.create_analyzer("lrp.epsilon", halving(Noisy(name="mine")))


def test_a_subclass_with_its_own_call_is_a_layer_of_its_own():
    class Doubled(L.Dense):
        def call(self, x, training=None):
            return super().call(x) * 2

    model = filled(keras.Model(i := keras.Input((4,)), Doubled(3, name="twice")(i)))
    x = inputs(3, 4)
    e = tfxai.explain(model, x, "lrp.epsilon", target=1, epsilon=1e-9)
    w, b = model.layers[-1].get_weights()
    np.testing.assert_allclose(e.score, (2 * (x @ w + b))[:, 1], rtol=1e-5)
    np.testing.assert_allclose(e.relevance, 2 * x * w[:, 1], rtol=1e-4, atol=1e-6)


def test_a_recurrent_layer_of_unknown_length_is_read_for_each_length():
    i = keras.Input((None, 2))
    model = filled(keras.Model(i, L.Dense(2)(L.LSTM(3, name="memory")(i))))
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    for length in (4, 6):
        x = inputs(2, length, 2)
        j = keras.Input((length, 2))
        known = keras.Model(j, model.layers[-1](model.layers[-2](j)))
        wanted = tfxai.explain(known, x, "lrp.epsilon", target=1)
        found = analyzer.analyze(x, target=1)
        np.testing.assert_allclose(found.relevance, wanted.relevance, 1e-3, 1e-6)
    e = tfxai.explain(model, x, "gradient", target=1)
    step = np.zeros_like(x)
    step[:, 2, 1] = 1e-2
    rise = (model(x + step) - model(x - step)).numpy()[:, 1] / 2e-2
    assert np.abs(rise).max() > 1e-3
    np.testing.assert_allclose(e.relevance[:, 2, 1], rise, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize(
    "function, name",
    [
        (lambda v: keras.ops.cumprod(v, 1), "Cumprod"),
        (lambda v: keras.ops.prod(v, 1, True), "Prod"),
    ],
    ids=["cumprod", "prod"],
)
def test_an_operation_without_a_row_is_named(function, name):
    i = keras.Input((4,))
    model = keras.Model(i, L.Dense(3)(function(i)))
    with raises(UnsupportedLayerError, f"({name}) has no relevance rule"):
        tfxai.create_analyzer("sglrp", model)


def test_the_line_for_an_operation_can_be_typed(restored):
    i, x = keras.Input((4,)), inputs(2, 4)
    dense = L.Dense(3, use_bias=False)
    model = filled(keras.Model(i, dense(keras.ops.cumprod(i, 1))))
    with pytest.raises(UnsupportedLayerError) as caught:
        tfxai.create_analyzer("lrp.z", model)
    type_in(caught.value)
    rules = {"product": "gradient"}
    e = tfxai.explain(model, x, "lrp.z", target=1, rules=rules)
    v = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(v)
        z = tf.math.cumprod(v, 1)
    wanted = tape.gradient(z, v, z * dense.kernel[:, 1])  # the z rule, then J^T r
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-4, atol=1e-6)


def test_a_kind_without_a_rule_is_named_and_the_shown_rule_makes_it_work():
    i = keras.Input((4,))
    first, last = L.Dense(5, name="hidden"), L.Dense(3)
    model = filled(keras.Model(i, last(L.Softmax(name="gate")(first(i)))))
    with raises(
        UnsupportedLayerError, "'hidden' (Dense)", "rules={'hidden': \"gradient\"}"
    ):
        tfxai.create_analyzer("lrp.epsilon", model, preset=Preset({}))
    x, t = inputs(3, 4), 2
    e = tfxai.explain(
        model, x, "lrp.epsilon", target=t, epsilon=1e-12, rules={"gate": "gradient"}
    )
    w, b = first.get_weights()
    v, c = last.get_weights()
    z = x @ w + b
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    f = p @ v + c
    r = p * v[:, t]  # epsilon rule: R = p * V (f / f)
    r = p * (r - (p * r).sum(-1, keepdims=True))  # the Jacobian of softmax
    wanted = x * ((r / z) @ w.T)
    np.testing.assert_allclose(e.score, f[:, t], rtol=1e-5)
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-3, atol=1e-5)


# -- models --------------------------------------------------------------------------


class RawCode(keras.Model):
    """A subclassed model in raw TensorFlow."""

    def __init__(self):
        super().__init__(name="raw")
        self.dense = L.Dense(3)

    def call(self, x):
        """Three answers."""
        return self.dense(tf.nn.relu(x))


class TwoArguments(keras.Model):
    """A subclassed model that is called with two tensors."""

    def __init__(self):
        super().__init__(name="pair")
        self.dense = L.Dense(3)

    def call(self, a, b):
        """Three answers."""
        return self.dense(a + b)


@pytest.mark.parametrize("method", ["sglrp", "lrp.epsilon", "gradient"])
def test_a_black_box_gives_no_relevance_and_no_gradient(method):
    class Estimator:
        def scores(self, x):
            return x.reshape(len(x), -1)[:, :3]

    def predict(x):
        return Estimator().scores(x)

    with raises(BlackBoxError, "function 'predict' is a black box", "differentiate"):
        tfxai.create_analyzer(method, predict)
    with raises(BlackBoxError, "Estimator.scores is a black box"):
        tfxai.create_analyzer(method, Estimator().scores)
    wrapped, x = tfxai.wrap(predict), inputs(2, 4)
    np.testing.assert_array_equal(wrapped.logits(x), x[:, :3])
    with raises(BlackBoxError, "function 'predict' is a black box"):
        wrapped.gradient(x)


def test_an_estimator_and_its_classes_as_text_are_named():
    class Estimator:
        def predict(self, x):
            return np.array(["cat"] * len(x))

        def predict_proba(self, x):
            return np.tile([0.25, 0.75], (len(x), 1))

    clf, x = Estimator(), inputs(2, 3)
    with raises(ModelError, "Estimator is not a model", "model=clf.predict_proba"):
        tfxai.create_analyzer("occlusion", clf)
    with raises(ModelError, "'cat' is the first value", "model=clf.predict_proba"):
        tfxai.wrap(clf.predict).logits(x)
    with raises(ModelError, "'cat' is the first value", "model=clf.predict_proba"):
        tfxai.wrap(lambda v: np.array(["cat"] * len(v), object)).logits(x)
    model = clf.predict_proba
    assert tfxai.wrap(model).logits(x).shape == (2, 2)
    with raises(BlackBoxError, 'method="occlusion"'):
        tfxai.explain(model, x, "sglrp")
    assert tfxai.explain(model, x, method="occlusion").relevance.shape == x.shape


@pytest.mark.parametrize(
    "answer, shape", [(lambda x: 3.0, "()"), (lambda x: x[:1], "(1, 4)")]
)
def test_a_black_box_must_answer_every_sample(answer, shape):
    with raises(ModelError, f"returned shape {shape} for 3 sample(s)", "(B, ...)"):
        tfxai.wrap(answer).logits(inputs(3, 4))


@pytest.mark.parametrize("method", ["sglrp", "gradient"])
@pytest.mark.parametrize(
    "given, seen",
    [
        (keras.Model, "type is not a model"),
        (keras.Sequential, "type is not a model"),
        (Subclassed, "type is not a model"),
        ("net.keras", "str is not a model"),
        (None, "NoneType is not a model"),
        ([1], "list is not a model"),
        (inputs(2, 4), "ndarray is not a model"),
    ],
    ids=["Model", "Sequential", "own class", "path", "None", "list", "array"],
)
def test_what_is_no_model_is_named(given, seen, method):
    with raises(ModelError, seen, "a Keras model", "load_model"):
        tfxai.create_analyzer(method, given)


@pytest.mark.parametrize("method", ["sglrp", "gradient"])
def test_a_model_that_is_not_built_is_named(method):
    unbuilt = keras.Sequential([L.Dense(3)], name="unbuilt")
    with raises(ModelError, "'unbuilt' is not built", "model.build((None"):
        tfxai.create_analyzer(method, unbuilt)
    with raises(ModelError, "'coded' is not built", "model(x[:1])"):
        tfxai.create_analyzer(method, Subclassed())


def test_following_the_advice_makes_an_unbuilt_model_work():
    sequential, coded, x = keras.Sequential([L.Dense(3)]), Subclassed(), inputs(2, 4)
    sequential.build((None, 4))
    coded(x[:1])
    coded.dense.set_weights(sequential.get_weights())
    kernel = sequential.layers[0].kernel.numpy()
    for model in (sequential, coded):
        e = tfxai.explain(model, x, "gradient", target=1)
        np.testing.assert_allclose(e.relevance, [kernel[:, 1]] * 2, rtol=1e-6)


def test_a_subclassed_model_that_cannot_be_read_is_named():
    x = inputs(2, 4)
    raw, pair = RawCode(), TwoArguments()
    raw(x)
    pair(x, x)
    line = "keras.Model(inputs, model.call(*inputs))"
    found = tfxai.explain(raw, x, "lrp.z_IB", target=1).relevance
    wanted = np.maximum(x, 0) * raw.dense.kernel.numpy()[:, 1]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    with raises(UnsupportedLayerError, "'pair' (TwoArguments)", "'b'", line):
        tfxai.create_analyzer("lrp.epsilon", pair)
    e = tfxai.explain(raw, np.abs(x), "input_t_gradient", target=1)
    wanted = np.abs(x) * raw.dense.kernel.numpy()[:, 1]
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-5, atol=1e-6)


def test_the_shown_line_gives_a_subclassed_model_a_graph():
    pair, a, b = TwoArguments(), inputs(2, 4), inputs(2, 4, seed=3)
    pair(a, b)
    i, j = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([i, j], pair.call(i, j))
    e = tfxai.explain(model, [a, b], "lrp.epsilon", target=1, epsilon=1e-9)
    for ours, x in zip(e.relevance, (a, b), strict=True):
        wanted = x * pair.dense.kernel.numpy()[:, 1]
        np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-5)


def test_probabilities_of_a_model_that_ends_in_none_are_refused():
    model = filled(keras.Model(i := keras.Input((4,)), L.Dense(3)(i), name="linear"))
    with raises(ModelError, "'linear'", "softmax or sigmoid", "wrapped.logits(x)"):
        tfxai.wrap(model).probabilities(inputs(2, 4))
