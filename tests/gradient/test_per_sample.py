"""Baselines with one for each sample: paths, DeepLIFT, and what wraps them."""

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tfxai.errors import InputError

L = keras.layers
rng = np.random.default_rng(0)
X = rng.normal(size=(5, 4)).astype("float32")
STARTS = rng.normal(size=(5, 4)).astype("float32")


@pytest.fixture(scope="module")
def wrapped():
    x = keras.Input((4,))
    y = L.Dense(5, "tanh")(L.Dense(6, "tanh", name="hidden")(x))
    return tfxai.wrap(zoo.fill(keras.Model(x, L.Dense(3)(y))))


FEW = {"n_steps": 3}
CASES = {
    "deeplift": {},
    "integrated_gradients": FEW,
    "guided_integrated_gradients": FEW,
    "idgi": FEW,
    "conductance": {**FEW, "at": "hidden"},
    "internal_influence": {**FEW, "at": "hidden"},
}


DEFAULT = ("deeplift", "integrated_gradients")


@pytest.mark.parametrize(
    "method",
    [m if m in DEFAULT else pytest.param(m, marks=pytest.mark.slow) for m in CASES],
)
def test_each_sample_has_its_own(wrapped, method):
    given = CASES[method]
    e = tfxai.create_analyzer(method, wrapped, baseline=STARTS, **given).analyze(
        X, 1, batch_size=2
    )
    np.testing.assert_array_equal(e.extra["baseline"], STARTS)
    one = tfxai.explain(wrapped, X[3:4], method, 1, baseline=STARTS[3], **given)
    np.testing.assert_allclose(e.relevance[3], one.relevance[0], rtol=1e-4, atol=1e-6)
    if method != "internal_influence":
        change = wrapped.model(X)[:, 1] - wrapped.model(STARTS)[:, 1]
        np.testing.assert_allclose(e.extra["change"], change, atol=1e-5)


@pytest.mark.slow
def test_noise_around_a_method_keeps_them(wrapped):
    base = {"base_method": "integrated_gradients", "n_samples": 3, "noise": 0.1}
    e = tfxai.explain(
        wrapped, X, "smoothgrad", 1, batch_size=2,
        base_options={"n_steps": 3, "baseline": STARTS}, **base,
    )  # fmt: skip
    one = tfxai.explain(
        wrapped, X[3:4], "smoothgrad", 1,
        base_options={"n_steps": 3, "baseline": STARTS[3]}, **base,
    )  # fmt: skip
    np.testing.assert_allclose(e.relevance[3], one.relevance[0], rtol=1e-4, atol=1e-6)


def test_an_inner_layer_has_them_too(wrapped):
    analyzer = tfxai.create_analyzer("deeplift", wrapped, baseline=STARTS)
    e = analyzer.relevance_at("hidden", X, 1, batch_size=2)
    change = wrapped.model(X)[:, 1] - wrapped.model(STARTS)[:, 1]
    np.testing.assert_allclose(e.relevance.sum(1), change, atol=1e-5)


def test_several_inputs_have_them_or_not():
    a, b = keras.Input((4,)), keras.Input((2,))
    model = zoo.fill(keras.Model([a, b], L.Dense(2)(L.Concatenate()([a, b]))))
    other = X[:, :2]
    e = tfxai.explain(model, [X, other], "deeplift", 1, baseline=[STARTS, 0.5])
    kernel = model.layers[-1].kernel.numpy()[:, 1]
    np.testing.assert_allclose(
        e.relevance[0], (X - STARTS) * kernel[:4], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        e.relevance[1], (other - 0.5) * kernel[4:], rtol=1e-4, atol=1e-6
    )


def test_another_number_of_samples_is_named(wrapped):
    for method in ("deeplift", "integrated_gradients"):
        with pytest.raises(InputError, match="each of 5 samples, and x has 2"):
            tfxai.explain(wrapped, X[:2], method, 1, baseline=STARTS)
        with pytest.raises(InputError, match=r"shape \(1, 3\) for inputs"):
            tfxai.explain(wrapped, X, method, 1, baseline=STARTS[:, :3])


def test_a_compiled_function_keeps_the_baselines_of_all_samples():
    x = keras.Input((3,))
    model = zoo.fill(keras.Model(x, L.Dense(2)(L.Dense(5, "tanh")(x))))
    values = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    analyzer = tfxai.create_analyzer("deeplift", model, baseline=values[1])
    function, target = analyzer.compiled(values[0]), np.zeros((4, 1), "int32")
    before = np.asarray(function([values[0]], target)["relevance"][0])
    analyzer.analyze(values[0], batch_size=3)
    after = np.asarray(function([values[0]], target)["relevance"][0])
    np.testing.assert_array_equal(before, after)
