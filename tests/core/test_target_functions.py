"""A function target receives the model's own outputs; ready-made targets are exact."""

import importlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tests import zoo
from tfxai import targets
from tfxai.base.errors import (
    InputError,
    ModelError,
    NotFiniteWarning,
    TargetError,
)
from tfxai.metrics.masking import sensitivity
from tfxai.metrics.randomisation import randomisation
from tfxai.metrics.registry import compute
from tfxai.viz.cells import all_titles

#: One method of each path from the outputs to the score.
METHODS = (
    *("gradient", "lrp.epsilon", "deep_taylor", "deeplift", "guided_backprop"),
    *("gradcam", "expected_gradients", "occlusion", "lime", "rise"),
)


network = zoo.image_network


def images():
    return np.random.default_rng(0).normal(0, 2, (2, 6, 6, 2)).astype("float32")


@pytest.fixture(scope="module")
def softmax():
    return network(L.Dense(3), L.Softmax())


def variance(y):
    """p (1 - p) of class 0."""
    return y[:, 0] * (1 - y[:, 0])


@pytest.mark.parametrize("name", METHODS)
def test_a_function_receives_the_models_own_outputs(softmax, name):
    x = images()
    p = softmax(x).numpy()
    options = {
        "lime": {"n_samples": 360, "segmenter": "grid"},
        "expected_gradients": {"background": x},
    }.get(name, {})
    options = {"rise": {"n_samples": 8}}.get(name, options)
    e = tfxai.explain(softmax, x, name, variance, **options)
    np.testing.assert_allclose(e.score, variance(p), rtol=1e-4)


@pytest.mark.parametrize("name", ["gradient", "lrp.epsilon", "occlusion"])
def test_the_target_of_a_function_is_no_class(softmax, name, tmp_path):
    x = images()
    for target, shown in ((variance, "variance"), (targets.logit(2), "logit(2)")):
        e = tfxai.explain(softmax, x, name, target)
        assert e.target.tolist() == [-1, -1] and e.target.dtype.kind == "i"
        assert e.extra["target_function"] == shown
        assert repr(e).endswith(f"target {shown})")
        e = tfxai.load(e.save(tmp_path / "e.npz"))[1:]
        assert e.target.tolist() == [-1] and repr(e).endswith(f"target {shown})")
        assert set(e.to_dataframe()["target"]) == {shown}
        names = ["bird", "cat", "dog"]  # -1 is not the last of them
        assert all_titles(e, names)[0, 0].startswith(f"{shown}\n")
    assert ">logit(2)</td>" in e._repr_html_()


@pytest.mark.parametrize("call", [
    lambda model, e: compute("pixel_flipping", model, e),
    lambda model, e: sensitivity(model, e.inputs, e, [0.5]),
    lambda model, e: randomisation("gradient", model, e.inputs, variance),
])  # fmt: skip
def test_metrics_of_classes_refuse_a_function(softmax, call):
    e = tfxai.explain(softmax, images(), "gradient", variance)
    with pytest.raises(InputError, match="is of the function variance") as caught:
        call(softmax, e)
    assert caught.value.write == "analyzer.analyze(x, target=340)"


@pytest.mark.parametrize("function", [
    lambda y: np.asarray(y)[:, 0],
    lambda y: y.numpy()[:, 0],
    lambda y: y[:, 0] if y[0, 0] > 0 else y[:, 1],
    lambda y: y[:, 0] * float(y[0, 1]),
])  # fmt: skip
def test_a_function_that_needs_the_numbers_is_named(softmax, function):
    wrapped, x = tfxai.wrap(softmax), images()
    for name in ("gradient", "lrp.epsilon"):
        with pytest.raises(TargetError, match="needs the numbers") as caught:
            tfxai.explain(wrapped, x, name, function)
    target = eval(caught.value.write.removeprefix("target="), {"tf": tf})
    e = tfxai.explain(wrapped, x, "gradient", target)
    np.testing.assert_allclose(e.score, softmax(x)[:, 0], rtol=1e-5)


def test_one_hot_rows_are_no_classes(softmax):
    rows = np.eye(3, dtype=int)[[2, 1]]
    with pytest.raises(TargetError, match="one-hot rows of 3") as caught:
        tfxai.explain(softmax, images(), "gradient", rows)
    assert caught.value.write == "target=np.argmax(target, -1)"
    for target in (np.argmax(rows, -1), rows.astype(float)):  # a mask of floats
        e = tfxai.explain(softmax, images(), "gradient", target)
        wanted = tfxai.wrap(softmax).logits(images())[[0, 1], [2, 1]]
        np.testing.assert_allclose(e.score, wanted, rtol=1e-5)


@pytest.mark.parametrize("layer", ["softmax", "sigmoid", "log_softmax", None])
def test_relevance_starts_from_z_times_the_gradient_at_the_logits(layer):
    head = L.Dense(3, layer, name="head")
    model = network(head)
    x = images()
    before = keras.Model(model.input, head.input)(x)
    z = before @ head.kernel + head.bias
    with tf.GradientTape() as tape:
        tape.watch(z)
        score = variance(head.activation(z) if layer else z)
    seed = (z * tape.gradient(score, z)).numpy()
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    e = analyzer.relevance_at("head", x, variance)
    np.testing.assert_allclose(e.relevance, seed, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(e.score, score, rtol=1e-5)


class Subclassed(keras.Model):
    """A model whose graph only relevance methods read."""

    def __init__(self):
        super().__init__()
        self.first, self.last = L.Dense(5, "relu"), L.Dense(3, "softmax")

    def call(self, x):
        return self.last(self.first(x))


@pytest.mark.parametrize("name", ["gradient", "lrp.epsilon", "occlusion"])
def test_a_subclassed_model_passes_its_own_outputs(name):
    model, x = Subclassed(), images().reshape(2, -1)
    p = model(x).numpy()
    e = tfxai.explain(model, x, name, variance)
    np.testing.assert_allclose(e.score, variance(p), rtol=1e-4)


@pytest.mark.parametrize("name", ["gradient", "lrp.epsilon", "occlusion"])
def test_ready_made_targets_of_a_softmax(softmax, name):
    x = images()
    p = softmax(x).numpy().astype(float)
    z = tfxai.wrap(softmax).logits(x)
    top = p.max(1)
    for target, wanted in (
        (targets.logit(2), z[:, 2]),
        (targets.logit(), z.max(1)),
        (targets.log_probability(1), np.log(p[:, 1])),
        (targets.log_probability(), np.log(top)),
        (targets.log_odds(1), np.log(p[:, 1] / (1 - p[:, 1]))),
        (targets.difference(0, 2), np.log(p[:, 0] / p[:, 2])),
        (targets.masked_sum([1, 0, 2]), z[:, 0] + 2 * z[:, 2]),
    ):
        score = tfxai.explain(softmax, x, name, target).score
        np.testing.assert_allclose(score, wanted, rtol=1e-3, atol=1e-4)


def test_the_logit_as_target_is_the_class(softmax):
    x = images()
    for name in ("gradient", "lrp.epsilon", "deep_taylor", "gradcam"):
        ours = tfxai.explain(softmax, x, name, targets.logit(2))
        wanted = tfxai.explain(softmax, x, name, 2)
        np.testing.assert_allclose(ours.relevance, wanted.relevance, atol=1e-6)


def test_log_probability_is_exact_where_the_probability_is_zero():
    model = network(L.Dense(3), L.Rescaling(1e3), L.Softmax())
    x = images()
    z = tfxai.wrap(model).logits(x).astype(float)
    low = int(z[0].argmin())
    assert model(x).numpy()[0, low] == 0
    e = tfxai.explain(model, x[:1], "gradient", targets.log_probability(low))
    np.testing.assert_allclose(e.score, z[0, low] - z[0].max(), rtol=1e-4)
    assert np.abs(e.relevance).max() > 0


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_outputs_that_are_moved_behind_the_softmax(link):
    layers = (L.Dense(6), L.Reshape((3, 2)), L.Activation(link), L.Permute((2, 1)))
    model = network(*layers)
    x = images()
    y = model(x).numpy()
    for name in ("gradient", "lrp.epsilon", "occlusion"):
        e = tfxai.explain(model, x, name, lambda y: y[:, 1, 2] ** 2)
        np.testing.assert_allclose(e.score, y[:, 1, 2] ** 2, rtol=1e-4)
        e = tfxai.explain(model, x, name, targets.log_probability((1, 2)))
        np.testing.assert_allclose(e.score, np.log(y[:, 1, 2]), rtol=1e-3)


def test_a_score_that_is_not_finite_is_a_warning(softmax):
    with pytest.warns(NotFiniteWarning, match=r"the score of sample\(s\) \[0, 1\] is"):
        tfxai.explain(softmax, images(), "gradient", lambda y: tf.math.log(y[:, 0] - 9))
    with pytest.raises(ModelError, match="The target function returned NaN"):
        tfxai.explain(
            softmax, images(), "occlusion", lambda y: tf.math.log(y[:, 0] - 9)
        )


@pytest.mark.parametrize(
    "make, error, seen",
    [
        (lambda: targets.logit(3), TargetError, r"logit\(3\), but each output has"),
        (lambda: targets.logit("cat"), TargetError, "index of a target is 'cat'"),
        (lambda: targets.logit((0, 1)), TargetError, r"logit\(\(0, 1\)\)"),
        (lambda: targets.masked_sum([0, 0, 0]), TargetError, "zero everywhere"),
        (lambda: targets.masked_sum([0, 1]), TargetError, "The mask has shape"),
        (lambda: targets.masked_sum(["a"]), TargetError, "dtype"),
    ],
)
def test_wrong_ready_made_targets_are_named(softmax, make, error, seen):
    with pytest.raises(error, match=seen):
        tfxai.explain(softmax, images(), "gradient", make())


def test_what_the_error_about_probabilities_types_works():
    model, x = network(L.Dense(3)), images()
    with pytest.raises(ModelError, match="does not end in softmax or sigmoid"):
        tfxai.explain(model, x, "gradient", targets.log_probability(0))
    ended = keras.Sequential([model, L.Softmax()])
    tfxai.explain(ended, x, "gradient", targets.log_probability(0))
    tfxai.explain(model, x, "gradient", targets.logit(0))


def test_equal_targets_are_compiled_once(softmax):
    analyzer = tfxai.create_analyzer("gradient", softmax)
    for _ in range(3):
        analyzer.analyze(images(), targets.log_odds(1))
        analyzer.analyze(images(), targets.masked_sum([1, 0, 1]))
    assert len(analyzer._functions) == 2


def test_targets_is_an_attribute_and_a_module():
    assert importlib.import_module("tfxai.targets") is tfxai.targets is targets
    assert sys.modules["tfxai.targets"].__name__ == "tfxai.core.target_functions"
