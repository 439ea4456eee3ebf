"""Relevance that says little about the model is a warning, and other relevance none."""

import warnings

import keras
import numpy as np
import pytest
from skimage import data, transform

import tfxai
from tests import zoo
from tfxai.core.explanation import Explanation
from tfxai.core.plausibility import constant, likeness, rounding_noise
from tfxai.errors import DoubtfulRelevanceWarning

L = keras.layers
IMAGE = transform.resize(data.astronaut(), (40, 40)).astype("float32")[None]


def said(run):
    """Return the texts of the warnings about doubtful relevance."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    found = [w for w in caught if w.category is DoubtfulRelevanceWarning]
    return [str(w.message) for w in found]


def explained(relevance, x=IMAGE, score=1.0, targets=None):
    shape = (len(x),) if targets is None else (len(x), targets)
    return Explanation(
        relevance, np.zeros(shape, int), np.full(shape, score), "m", x, {}
    )


def test_constant_relevance():
    same = np.full_like(IMAGE, 0.3)
    assert constant(explained(same)).tolist() == [True]
    assert constant(explained(same * (1 + 1e-7 * IMAGE))).tolist() == [True]
    one = same.copy()
    one[0, 3, 3, 1] = 0.31  # not among the elements that are looked at first
    assert constant(explained(one)).tolist() == [False]
    assert constant(explained(0 * same)).tolist() == [False]  # a warning of its own
    assert constant(explained(np.ones((1, 1)), np.ones((1, 1)))).tolist() == [False]
    several = np.stack([same, IMAGE], 1)
    assert constant(explained(several, targets=2)).tolist() == [[True, False]]


def test_rounding_noise_is_beside_the_score():
    noise = 1e-8 * IMAGE
    assert rounding_noise(explained(noise)).tolist() == [True]
    assert rounding_noise(explained(noise, score=1e-8)).tolist() == [False]
    assert rounding_noise(explained(0 * noise)).tolist() == [False]


def test_the_correlation_is_numpys():
    x = IMAGE.sum(-1)[0]
    edges = np.hypot(*np.gradient(x))
    noise = np.random.default_rng(0).normal(size=IMAGE.shape)
    relevance = noise * (IMAGE + edges[None, ..., None])
    e = explained(relevance.astype("float32"))
    heat = np.abs(relevance).sum(-1)[0]
    like = likeness(e)
    for name, other in (("values", x), ("edges", edges)):
        few = [v[::2, ::2].ravel() for v in (heat, other)]  # 20 of 40 places
        wanted = np.corrcoef(*few)[0, 1]
        assert 0.05 < wanted < 0.95
        np.testing.assert_allclose(like[name], [wanted], rtol=1e-5)


@pytest.mark.parametrize(
    ("relevance", "words"),
    [
        (IMAGE * 2, "follows |x| (correlation 1.00)"),
        (np.hypot(*np.gradient(IMAGE.sum(-1)[0]))[None, ..., None], "the edges of x"),
        (np.ones_like(IMAGE), "one number everywhere"),
    ],
)
def test_an_analyzer_warns(relevance, words):
    x = keras.Input(IMAGE.shape[1:])
    model = keras.Model(x, L.Dense(2)(L.GlobalAveragePooling2D()(x)))
    analyzer = tfxai.create_analyzer("gradient", model)
    analyzer.make = lambda *given: lambda inputs, target, most: {
        "relevance": [np.float32(relevance)[None]], "score": np.ones((1, 1)),
        "target": np.zeros((1, 1), int), "each": {},
    }  # fmt: skip
    (text,) = said(lambda: analyzer.analyze(IMAGE, 0))
    assert words in text
    line = text.splitlines()[0].split(": ")[-1]  # the line of help follows
    assert len(eval(line, {"tfxai": tfxai, "model": model, "x": IMAGE}))


def test_a_flat_rule_of_a_first_dense_layer_is_named():
    x = keras.Input((30, 30, 1))
    dense = L.Dense(4, "relu")(L.Flatten()(x))
    model = zoo.fill(keras.Model(x, L.Dense(3)(dense)))
    images = np.random.default_rng(1).uniform(size=(1, 30, 30, 1)).astype("float32")
    (text,) = said(lambda: tfxai.explain(model, images, "lrp.epsilon_plus_flat", 0))
    assert "one number everywhere" in text
    assert not said(lambda: tfxai.explain(model, images, "lrp.epsilon", 0))


def test_a_black_box_that_never_changes_is_named():
    noisy = np.random.default_rng(0)

    def still(x):
        return 0.5 + 1e-9 * noisy.normal(size=(len(x), 2))

    texts = said(lambda: tfxai.explain(still, IMAGE, "kernel_shap", 0, n_samples=60))
    assert any("rounding noise" in t for t in texts)


def test_the_input_as_relevance_is_no_surprise():
    x = keras.Input(IMAGE.shape[1:])
    model = keras.Model(x, L.Dense(2)(L.GlobalAveragePooling2D()(x)))
    assert not said(lambda: tfxai.explain(model, IMAGE, "input", 0))
    assert said(lambda: tfxai.explain(model, IMAGE, "input_t_gradient", 0)) != []
