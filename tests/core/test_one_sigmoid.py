"""One sigmoid is two classes: 1 with the logit z, and 0 with -z."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L
from keras import ops

import tfxai
from tests import zoo
from tfxai import targets
from tfxai.base.errors import ModelError, TargetError
from tfxai.viz.cells import all_titles

METHODS = (
    *("gradient", "lrp.epsilon", "deeplift", "gradcam"),
    *("integrated_gradients", "occlusion", "lime"),
)
#: Options that make the methods above fast.
OPTIONS = {
    "lime": {"n_samples": 360, "segmenter": "grid", "baseline": "black"},
    "integrated_gradients": {"n_steps": 5},
}


network = zoo.image_network


def images():
    """One image on each side of the decision."""
    return np.random.default_rng(0).normal(0, 2, (6, 6, 6, 2)).astype("float32")


#: Spellings of one sigmoid.
SPELLINGS = {
    "fused": lambda: (L.Dense(1, "sigmoid"),),
    "layer": lambda: (L.Dense(1), L.Activation("sigmoid")),
    "moved": lambda: (L.Dense(1, "sigmoid"), L.Reshape((1, 1)), L.Flatten()),
}


@pytest.fixture(scope="module")
def model():
    return network(*SPELLINGS["fused"]())


def logit_of(model, x):
    p = model(x).numpy().astype(float).reshape(-1)
    return np.log(p / (1 - p))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_logits_and_probabilities_have_two_columns(spelling):
    model, x = network(*SPELLINGS[spelling]()), images()
    wrapped = tfxai.wrap(model)
    z = logit_of(model, x)
    p = model(x).numpy().reshape(-1)
    assert wrapped.outputs == (None, 2)
    np.testing.assert_allclose(
        wrapped.logits(x), np.stack([-z, z], 1), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(
        wrapped.probabilities(x), np.stack([1 - p, p], 1), atol=1e-6
    )
    for name in ("gradient", "lrp.epsilon"):
        e = tfxai.explain(model, x, name)
        np.testing.assert_array_equal(e.target, z > 0)
        np.testing.assert_allclose(e.score, np.abs(z), rtol=1e-3, atol=1e-5)
    e = tfxai.explain(model, x, "occlusion")
    np.testing.assert_array_equal(e.target, z > 0)
    e = tfxai.explain(model, x, "rise", 0, n_samples=4)
    np.testing.assert_allclose(e.score, 1 - p, atol=1e-5)
    assert e.extra["scale"] == "probability"


@pytest.mark.parametrize("name", METHODS)
def test_target_0_is_the_negative_of_target_1(model, name):
    x, options = images()[:2], OPTIONS.get(name, {})
    one, zero = (tfxai.explain(model, x, name, t, **options) for t in (1, 0))
    if name == "lime":  # of the probability: p and 1 - p
        np.testing.assert_allclose(one.score + zero.score, 1, rtol=1e-5)
    else:
        np.testing.assert_allclose(zero.score, -one.score, rtol=1e-5)
    np.testing.assert_allclose(zero.relevance, -one.relevance, rtol=1e-3, atol=1e-6)
    assert np.abs(one.relevance).max() > 0
    both = tfxai.explain(model, x, name, "all", **options)
    np.testing.assert_allclose(both.relevance[:, 1], one.relevance, atol=1e-6)


def test_class_1_is_the_logit_of_the_model_without_its_sigmoid():
    bare = network(L.Dense(1))
    model = keras.Sequential([bare, L.Activation("sigmoid")])
    x = images()
    for name in ("gradient", "lrp.epsilon", "deep_taylor", "lrp.alpha_2_beta_1"):
        wanted = tfxai.explain(bare, x, name, 0)
        e = tfxai.explain(model, x, name, 1)
        np.testing.assert_allclose(e.relevance, wanted.relevance, atol=1e-6)


#: z -> the answer; the sign of z in the logit of class 1.
WRITTEN = {
    "1 / (1 + exp(-z))": (lambda z: 1 / (1 + ops.exp(-z)), 1),
    "exp(z) / (1 + exp(z))": (lambda z: ops.exp(z) / (1 + ops.exp(z)), 1),
    "exp(log_sigmoid(z))": (lambda z: ops.exp(ops.log_sigmoid(z)), 1),
    "exp(-softplus(z))": (lambda z: ops.exp(-ops.softplus(z)), -1),
    "(1 + tanh(z / 2)) / 2": (lambda z: (1 + ops.tanh(z / 2)) / 2, 1),
    "1 - sigmoid(z)": (lambda z: 1 - ops.sigmoid(z), -1),
    "1 - sigmoid(z), moved": (lambda z: ops.expand_dims(1 - ops.sigmoid(z), 1), -1),
    "sigmoid(-z)": (lambda z: ops.sigmoid(-z), -1),
    "1 - (1 - sigmoid(z))": (lambda z: 1 - (1 - ops.sigmoid(z)), 1),
    "1 / (1 + exp(z))": (lambda z: 1 / (1 + ops.exp(z)), -1),
}


@pytest.mark.parametrize("spelling", WRITTEN)
@pytest.mark.parametrize("units", [1, 3])
def test_a_sigmoid_that_is_written_out_is_one(spelling, units):
    function, sign = WRITTEN[spelling]
    i = keras.Input((4,))
    z = L.Dense(units)(i)
    model = zoo.fill(keras.Model(i, function(z)))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    z = sign * keras.Model(i, z)(x).numpy()
    wanted = np.concatenate([-z, z], 1) if units == 1 else z
    wrapped = tfxai.wrap(model)
    np.testing.assert_allclose(
        wrapped.logits(x).reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-6
    )
    p = wrapped.probabilities(x).reshape(wanted.shape)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-wanted)), atol=1e-6)
    assert {s.kind for s in wrapped.program().steps} <= {"dense", "route"}


def test_one_minus_a_sigmoid_is_the_sigmoid_of_the_negative_logit():
    turned, x = network(L.Dense(1, "sigmoid"), L.Rescaling(-1.0, 1.0)), images()
    model = network(L.Dense(1, "sigmoid"))
    *first, kernel, bias = turned.get_weights()
    model.set_weights([*first, -kernel, -bias])
    ours, other = tfxai.wrap(turned), tfxai.wrap(model)
    for name in ("lrp.epsilon", "lrp.alpha_2_beta_1"):
        wanted = tfxai.explain(other, x, name, 1)
        e = tfxai.explain(ours, x, name, 1)
        np.testing.assert_allclose(e.score, wanted.score, rtol=1e-4)
        np.testing.assert_allclose(e.relevance, wanted.relevance, atol=1e-6)


@pytest.mark.parametrize("mean", [
    lambda v: L.Average()([ops.sigmoid(z) for z in v]),
    lambda v: ops.mean(ops.sigmoid(ops.concatenate(v, -1)), -1, keepdims=True),
])  # fmt: skip
def test_a_mean_of_sigmoids_is_its_own_score(mean):
    i = keras.Input((3,))
    ways = [L.Dense(1)(i) for _ in range(3)]
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    model = zoo.fill(keras.Model(i, mean(ways)))
    p = [1 / (1 + np.exp(-z.numpy())) for z in keras.Model(i, ways)(x)]
    slopes = [q * (1 - q) * layer.kernel.numpy().T
              for q, layer in zip(p, model.layers[1:4], strict=True)]  # fmt: skip
    wrapped = tfxai.wrap(model)
    assert wrapped.outputs == (None, 1)
    for target in (0, lambda y: y[:, 0]):
        e = tfxai.explain(wrapped, x, "gradient", target)
        np.testing.assert_allclose(e.score, np.mean(p, 0)[:, 0], rtol=1e-5)
        np.testing.assert_allclose(e.relevance, np.mean(slopes, 0), atol=1e-6)
    e = tfxai.explain(wrapped, x, "occlusion", baseline=0.0)
    np.testing.assert_allclose(e.score, np.mean(p, 0)[:, 0], rtol=1e-5)
    with pytest.raises(TargetError, match="the model has 1 outputs"):
        wrapped.goal(1, [x])


def test_deep_taylor_decomposes_the_positive_part_of_either_class(model):
    x = images()
    z = logit_of(model, x)
    assert (z > 0).any() and (z < 0).any()
    for target, sign in ((1, 1), (0, -1)):
        analyzer = tfxai.create_analyzer("deep_taylor", model)
        last = analyzer.coverage()[-1]["step"]
        e = analyzer.relevance_at(last, x, target)
        np.testing.assert_allclose(
            e.relevance[:, 0], np.maximum(sign * z, 0), rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("name", ["sglrp"])
def test_sglrp_starts_from_the_gradient_of_the_probability(model, name):
    x = images()
    p = model(x).numpy()[:, 0]
    analyzer = tfxai.create_analyzer(name, model)
    last = analyzer.coverage()[-1]["step"]
    for target, sign in ((1, 1), (0, -1)):
        e = analyzer.relevance_at(last, x, target)
        np.testing.assert_allclose(e.relevance[:, 0], sign * p * (1 - p), rtol=1e-4)


def test_clrp_of_one_sigmoid_has_nothing_to_contrast(model):
    with pytest.raises(ModelError, match="nothing to contrast") as caught:
        tfxai.explain(model, images(), "clrp", 1)
    assert "lrp.epsilon" in caught.value.write and "sglrp" in caught.value.write
    for name in ("lrp.epsilon", "sglrp"):
        tfxai.explain(model, images(), name, 1)


@pytest.mark.parametrize("name", ["gradient", "lrp.epsilon", "occlusion"])
def test_functions_receive_the_one_output(model, name):
    x = images()
    p = model(x).numpy()
    e = tfxai.explain(model, x, name, lambda y: y[:, 0] ** 2)
    np.testing.assert_allclose(e.score, p[:, 0] ** 2, rtol=1e-4)
    for k, q in ((1, p[:, 0]), (0, 1 - p[:, 0])):
        e = tfxai.explain(model, x, name, targets.log_probability(k))
        np.testing.assert_allclose(e.score, np.log(q), rtol=1e-3, atol=1e-5)


def test_names_and_titles_follow(model):
    x = images()
    z = logit_of(model, x)
    titles = all_titles(tfxai.explain(model, x, "gradient"), ["bad", "good"])[:, 0]
    for title, value in zip(titles, z, strict=True):
        assert title.startswith("good" if value > 0 else "bad")


def test_a_single_output_without_a_sigmoid_stays_one():
    model, x = network(L.Dense(1)), images()
    e = tfxai.explain(model, x, "gradient", 0)
    np.testing.assert_allclose(e.score, model(x)[:, 0], rtol=1e-5)
    assert tfxai.wrap(model).outputs == (None, 1)


def test_one_sigmoid_per_position_has_two_classes_each():
    i = keras.Input((4, 4, 2))
    model = zoo.fill(keras.Model(i, L.Conv2D(1, 3, activation="sigmoid")(i)))
    x = np.random.default_rng(0).normal(0, 2, (2, 4, 4, 2)).astype("float32")
    z = logit_of(model, x).reshape(2, 2, 2)
    for name in ("gradient", "lrp.epsilon", "occlusion"):
        for k, sign in ((1, 1), (0, -1)):
            e = tfxai.explain(model, x, name, (1, 0, k))
            np.testing.assert_allclose(e.score, sign * z[:, 1, 0], rtol=1e-3)


def test_the_graph_names_the_class(model):
    x = images()
    graph = tfxai.create_analyzer("lrp.epsilon", model).graph
    result = graph(tf.constant(x))
    np.testing.assert_array_equal(result["target"], logit_of(model, x) > 0)
    np.testing.assert_allclose(result["prediction"], model(x), rtol=1e-5)


@pytest.mark.parametrize("end", ["softmax", "sigmoid", "linear", "log_softmax"])
@pytest.mark.parametrize("units", [1, 3])
def test_predictions_are_logits_and_probabilities(end, units):
    i = keras.Input((4,))
    wrapped = tfxai.wrap(
        zoo.fill(keras.Model(i, keras.layers.Dense(units, activation=end)(i)))
    )
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    logits, probabilities = wrapped.predictions(x, 2)
    np.testing.assert_array_equal(logits, wrapped.logits(x, 2))
    if end == "linear":
        assert probabilities is None
    else:
        wanted = wrapped.probabilities(x, 2)
        np.testing.assert_allclose(probabilities, wanted, rtol=0, atol=1e-6)


def test_predictions_call_a_black_box_once_for_each_batch():
    calls = []

    def predict(x):
        calls.append(len(x))
        return np.full((len(x), 2), 0.5)

    logits, probabilities = tfxai.wrap(predict).predictions(np.zeros((5, 4)), 2)
    assert calls == [2, 2, 1] and probabilities is logits
