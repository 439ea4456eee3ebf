"""Backgrounds of occlusion and integrated gradients: means over their rows."""

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import InputError, OptionError

RNG = np.random.default_rng(3)
X, ROWS = np.float32(RNG.normal(size=(3, 4))), np.float32(RNG.normal(size=(6, 4)))


def model():
    i = keras.Input((4,))
    h = keras.layers.Dense(5, "tanh")(i)
    return zoo.fill(keras.Model(i, keras.layers.Dense(2)(h)))


def mean_of_single(f, method, **options):
    """The mean of the relevance with each row as the baseline."""
    parts = [
        tfxai.explain(f, X, method, [0, 1, 1], baseline=r, **options).relevance
        for r in ROWS
    ]
    return np.mean(parts, 0)


@pytest.mark.parametrize("callable_", [False, True])
def test_occlusion_is_the_mean_over_rows(callable_):
    m = model()
    f = (lambda v: m(v).numpy().astype(float)) if callable_ else m
    e = tfxai.explain(f, X, "occlusion", [0, 1, 1], background=ROWS, batch_size=4)
    wanted = mean_of_single(f, "occlusion")
    np.testing.assert_allclose(e.relevance, wanted, atol=1e-6)


def test_occlusion_of_one_of_two_inputs_and_of_words():
    def f(v):
        return v["a"][:, :1] * v["b"][:, :1]

    x, rows = {"a": X, "b": X[:, :2]}, {"b": ROWS[:, :2], "a": ROWS}
    e = tfxai.explain(f, x, "occlusion", 0, background=rows)
    wanted = X[:, 0] * X[:, 0] - ROWS[:, 0].mean() * X[:, 0]
    np.testing.assert_allclose(e["a"].relevance[:, 0], wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(e["b"].relevance[:, 0], wanted, rtol=1e-4, atol=1e-6)
    words = np.array([["red"], ["blue"]])
    e = tfxai.explain(
        lambda v: (v == "red") * 1.0, words, "occlusion", 0,
        background=np.array([["red"], ["tan"], ["tan"], ["tan"]]),
    )  # fmt: skip
    np.testing.assert_allclose(e.relevance, [[0.75], [-0.25]])


def test_integrated_gradients_are_the_mean_over_rows():
    m = model()
    options = {"n_steps": 8}
    e = tfxai.explain(
        m, X, "integrated_gradients", [0, 1, 1], background=ROWS, **options
    )
    wanted = mean_of_single(m, "integrated_gradients", **options)
    np.testing.assert_allclose(e.relevance, wanted, atol=2e-6)
    base = np.asarray(m(ROWS)).mean(0)[[0, 1, 1]]
    np.testing.assert_allclose(e.extra["change"], e.score - base, atol=1e-5)
    np.testing.assert_allclose(e.relevance.sum(1), e.score - base, atol=1e-4)
    few = tfxai.explain(
        m, X, "integrated_gradients", [0, 1, 1], background=ROWS, batch_size=1,
        **options,
    )  # fmt: skip
    np.testing.assert_allclose(few.relevance, e.relevance, atol=2e-6)
    signed = tfxai.explain(
        m, X, "integrated_gradients", [0, 1, 1], background=ROWS, relu=True, **options
    )
    np.testing.assert_allclose(signed.relevance, np.maximum(e.relevance, 0), atol=1e-6)


@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients"])
def test_a_baseline_beside_a_background_is_refused(method):
    with pytest.raises(OptionError, match="both given"):
        tfxai.create_analyzer(method, model(), baseline=1, background=ROWS)


def test_rows_of_another_shape_are_refused():
    with pytest.raises(InputError, match="shape"):
        tfxai.explain(model(), X, "occlusion", 0, background=ROWS[:, :3])
