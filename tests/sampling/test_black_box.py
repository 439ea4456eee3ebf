"""Plain callables: the dtype of inputs and outputs, and work in place."""

import keras
import numpy as np
import pytest

import tfxai
from tfxai.errors import InputError, ModelError, OptionError, TargetError
from tfxai.metrics.registry import compute

EXACT = {
    "occlusion": {},
    "kernel_shap": {},
    "shapley_sampling": {"n_samples": 20},
    "c_shapley": {"max_size": 2},
}


def product(x):
    """3.5e7 + 1.3 a + .7 b + a b, (B, 1)."""
    a, b = x[:, 0], x[:, 1]
    return (3.5e7 + 1.3 * a + 0.7 * b + a * b)[:, None]


@pytest.mark.parametrize("method", ["kernel_shap", "shapley_sampling"])
def test_outputs_are_subtracted_in_float64(method):
    """Half of a b = 6 belongs to each: 2.6 + 3 and 2.1 + 3."""
    e = tfxai.explain(product, np.array([[2.0, 3.0]]), method, 0, baseline=0)
    np.testing.assert_allclose(e.relevance, [[5.6, 5.1]], rtol=1e-6)
    assert e.score.dtype == np.float64 and e.score[0] == 3.5e7 + 10.7


def test_occlusion_and_lime_subtract_in_float64():
    x = np.array([[2.0, 3.0]])
    e = tfxai.explain(product, x, "occlusion", 0)
    np.testing.assert_allclose(e.relevance, [[2.6 + 6, 2.1 + 6]], rtol=1e-6)
    e = tfxai.explain(
        lambda v: product(v) - v[:, :1] * v[:, 1:], x, "lime", 0, baseline=0
    )
    np.testing.assert_allclose(e.relevance, [[2.6, 2.1]], rtol=1e-5)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("dtype", ["float64", "int64", "uint64"])
def test_a_time_stamp_arrives_exactly(method, dtype):
    x = np.array([[1.7e9 + 37, 5]]).astype(dtype)
    start = np.array([1.7e9, 5]).astype(dtype)

    def seconds(v):
        assert v.dtype == dtype
        return (v[:, :1] - start[:1]).astype(float)

    e = tfxai.explain(seconds, x, method, 0, baseline=start, **EXACT[method])
    np.testing.assert_array_equal(e.relevance, [[37, 0]])
    assert e.inputs.dtype == dtype


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(
    "x, baseline",
    [
        (np.array([[True, False]]), np.array([False, False])),
        (np.array([["red", "a longer word"]]), np.array(["green", "b"])),
        (np.array([["g", "a"]]), np.array(["green", "a much longer word"])),
        (np.array([[b"red", b"x"]]), np.array([b"green", b"x"])),
        (np.array([["red", 3.5]], object), np.array(["green", 0], object)),
        (np.array([[1, 2]], np.uint8), 0),
        (np.array([[1, 2]], np.int16), 0),
        (np.array([[1, 2]], np.float16), 0),
    ],
)
def test_a_callable_gets_the_dtype_that_was_given(method, x, baseline):
    seen = []

    def differs(v):
        seen.append(v.dtype)
        return 2.0 * (v[:, :1] == x[0, 0])

    e = tfxai.explain(differs, x, method, 0, baseline=baseline, **EXACT[method])
    np.testing.assert_allclose(e.relevance, [[2, 0]], atol=1e-12)
    assert {d.kind for d in seen} == {x.dtype.kind}
    assert x.dtype.kind in "US" or set(seen) == {x.dtype}


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64", "float16"])
@pytest.mark.parametrize("method", ["rise", "leg", "lime", "kernel_shap", "occlusion"])
def test_images_arrive_in_their_dtype(method, dtype):
    """uint8 images are often divided by 255 where their dtype is uint8 alone."""
    x = np.random.default_rng(0).integers(0, 255, (1, 8, 8, 3)).astype(dtype)

    def bright(v):
        assert v.dtype == dtype and v.shape[1:] == (8, 8, 3)
        return v.reshape(len(v), -1).astype(float)[:, :5]

    options = {"n_samples": 100} if method in ("rise", "lime") else {}
    options |= {"base_size": 4, "n_samples": 100} if method == "leg" else {}
    if method in ("lime", "kernel_shap"):
        options["segmenter"] = "grid"
        options["segmenter_options"] = {"cells": 2}
    e = tfxai.explain(bright, x, method, 3, **options)
    assert np.isfinite(e.relevance).all() and e.score[0] == bright(x)[0, 3]


@pytest.mark.parametrize("method", ["rise", "leg", "lime", "kernel_shap", "occlusion"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_callable_that_works_in_place_gets_a_copy(method, frozen):
    """Keras' own preprocess_input changes a float32 array."""
    x = np.float32(np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)))
    x.flags.writeable = not frozen
    before = x.copy()
    weights = np.random.default_rng(1).normal(size=(192, 3))

    def clean(v):
        return v.reshape(len(v), -1) @ weights

    def in_place(v):
        return clean(keras.applications.imagenet_utils.preprocess_input(v, mode="tf"))

    def careful(v):
        return in_place(v.copy())

    options = {"n_samples": 50} if method in ("rise", "lime", "kernel_shap") else {}
    options |= {"base_size": 4, "n_samples": 100} if method == "leg" else {}
    if method in ("lime", "kernel_shap"):
        options |= {"segmenter": "grid", "segmenter_options": {"cells": 3}}
    e = tfxai.explain(in_place, x, method, 1, **options)
    np.testing.assert_array_equal(x, before)
    wanted = tfxai.explain(careful, x, method, 1, **options)
    np.testing.assert_array_equal(e.relevance, wanted.relevance)
    np.testing.assert_array_equal(e.inputs, before)


def test_a_callable_that_returns_the_same_array_every_time():
    """Its result is copied before the next call overwrites it."""
    buffer = np.zeros((1, 1))

    def reuse(v):
        buffer[:] = v.sum(1, keepdims=True)
        return buffer

    x = np.array([[1.0, 2.0, 4.0]])
    e = tfxai.create_analyzer("occlusion", reuse).analyze(x, 0, batch_size=1)
    np.testing.assert_array_equal(e.relevance, x)


def test_a_segmenter_and_a_method_that_work_in_place_get_copies():
    x = np.ones((1, 4, 4, 1))

    def halves(v):
        v[:] = 0
        return np.repeat([0, 0, 1, 1], 4).reshape(4, 4)

    e = tfxai.explain(
        lambda v: v.sum((1, 2)), x, "kernel_shap", 0, segmenter=halves, baseline=0
    )
    np.testing.assert_allclose(e.relevance.ravel(), 8)
    np.testing.assert_array_equal(x, 1)


def test_outputs_that_are_no_numbers_are_named():
    with pytest.raises(ModelError, match=r"no numbers: .*a.* is the first") as error:
        tfxai.explain(lambda v: np.array(["a"] * len(v)), np.ones((1, 2)), "occlusion")
    assert "predict_proba" in str(error.value)


def test_masked_outputs_and_records_are_named():
    x = np.array([[1.0, 2.0]])
    with pytest.raises(InputError, match="outputs is a masked array, and 1 of its 2"):
        tfxai.explain(lambda v: np.ma.masked_greater(v, 1.5), x, "occlusion", 0)
    records = np.zeros(2, [("a", "f4"), ("b", "i4")])
    with pytest.raises(InputError, match="x is ndarray of dtype"):
        tfxai.explain(lambda v: np.ones((len(v), 2)), records, "occlusion", 0)
    with pytest.raises(TargetError, match="the model has 0 outputs"):
        tfxai.explain(lambda v: np.ones((len(v), 0)), x, "occlusion", 0)


@pytest.mark.parametrize("method", EXACT)
def test_numbers_of_more_than_64_bits(method):
    x = np.array([[2.0, 3.0]], np.longdouble)
    e = tfxai.explain(lambda v: 5 * v[:, :1], x, method, 0, baseline=0, **EXACT[method])
    np.testing.assert_allclose(e.relevance, [[10, 0]], atol=1e-12)
    assert e.inputs.dtype == np.longdouble


def test_a_target_function_of_float32_constants_is_named():
    import tensorflow as tf

    def model(v):
        return v @ np.ones((2, 3))

    x = np.ones((1, 2))
    with pytest.raises(TargetError, match=r"y\.dtype"):
        tfxai.explain(
            model, x, "occlusion", lambda y: tf.reduce_sum(y * tf.one_hot(1, 3), -1)
        )
    e = tfxai.explain(
        model, x, "occlusion",
        lambda y: tf.reduce_sum(y * tf.one_hot(1, 3, dtype=y.dtype), -1),
    )  # fmt: skip
    np.testing.assert_allclose(e.relevance, 1)


def test_a_baseline_of_another_type_is_refused():
    model = lambda v: np.ones((len(v), 1))  # noqa: E731
    for method in ("occlusion", "kernel_shap"):
        with pytest.raises(OptionError, match="whole numbers that int64 holds"):
            tfxai.explain(model, np.array([[1, 2]]), method, 0, baseline=0.5)
        with pytest.raises(OptionError, match="of the input's type"):
            tfxai.explain(model, np.array([["a", "b"]]), method, 0, baseline=0.5)


@pytest.mark.parametrize("dtype", ["uint8", "float64", "float32"])
@pytest.mark.parametrize(
    "metric", ["deletion", "key_size", "mufidelity", "max_sensitivity"]
)
@pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning")
def test_metrics_hand_over_the_dtype_and_a_copy(metric, dtype):
    x = np.random.default_rng(0).integers(0, 255, (2, 6, 6, 1)).astype(dtype)
    before = x.copy()
    weights = np.random.default_rng(1).normal(size=(36, 3)) / 1000

    def clean(v):
        assert v.dtype == dtype
        y = np.exp(v.reshape(len(v), -1).astype(float) @ weights)
        return y / y.sum(1, keepdims=True)

    def in_place(v):
        y = clean(v)
        v[:] = 0
        return y

    found = []
    for model in (clean, in_place):
        analyzer = tfxai.create_analyzer("occlusion", model, window=2)
        e = analyzer.analyze(x)
        found.append(compute(metric, model, e, analyzer=analyzer))
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(x, before)
