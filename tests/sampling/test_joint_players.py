"""LIME and the Shapley values of several inputs: their segments are numbered together.

The constants are the output of shap 0.51.0, `shap.explainers.Exact` of the same
function and background: of the columns of both inputs, and of an image by a masker
of 12 cells.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tfxai.errors import InputError, OptionError

_RNG = np.random.default_rng(5)


def _normal(*shape):
    return _RNG.normal(size=shape).astype("float32")


A, B, ROWS_A, ROWS_B = _normal(2, 3), _normal(2, 4), _normal(20, 3), _normal(20, 4)
KERNELS = [_normal(3, 5), _normal(4, 5), _normal(5, 2)]
#: The values of class 0, those of class 1 are their negatives; and the base value.
SHAP = [
    [0.0488903161, 0.0157400673, 0.0254798735, 0.0471779825, 0.0248954871,
     -0.0575376269, 0.1308672875],
    [-0.0183350353, -0.1488266704, 0.028837119, 0.0094132828, 0.0174712633,
     -0.0102106255, -0.0161171027],
]  # fmt: skip
BASE = 0.4593977671


def network():
    """softmax of a product of two hidden layers, one for each input."""
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    hidden = [keras.layers.Dense(5, "tanh", use_bias=False)(v) for v in (a, b)]
    y = keras.layers.Dense(2, "softmax", use_bias=False)(
        keras.layers.Multiply()(hidden)
    )
    model = keras.Model([a, b], y)
    model.set_weights(KERNELS)
    return model


def predict(inputs):
    """The same in NumPy, in float64."""
    a, b = inputs.values() if isinstance(inputs, dict) else inputs
    wa, wb, wo = (np.float64(k) for k in KERNELS)
    z = np.exp((np.tanh(a.astype(float) @ wa) * np.tanh(b.astype(float) @ wb)) @ wo)
    return z / z.sum(1, keepdims=True)


@pytest.mark.parametrize("kind", ["model", "model of a dict", "tuple", "dict"])
def test_two_inputs_are_those_of_shap(kind):
    x, rows = (A, B), (ROWS_A, ROWS_B)
    if "dict" in kind:
        x, rows = {"a": A, "b": B}, {"b": ROWS_B, "a": ROWS_A}
    f = network() if "model" in kind else predict
    e = tfxai.explain(f, x, "kernel_shap", 0, background=rows)
    found = np.concatenate(e.relevance, 1)
    np.testing.assert_allclose(found, SHAP, rtol=0, atol=1e-6)
    np.testing.assert_allclose(e.extra["coefficients"], SHAP, rtol=0, atol=1e-6)
    np.testing.assert_allclose(e.extra["baseline_score"], BASE, atol=1e-6)


def test_a_data_set_of_several_inputs_is_a_background():
    rows = tf.data.Dataset.from_tensor_slices((ROWS_A, ROWS_B)).map(lambda a, b: {
        "a": a, "b": b}).batch(8)  # fmt: skip
    e = tfxai.explain(network(), [A, B], "kernel_shap", 0, background=rows)
    np.testing.assert_allclose(np.concatenate(e.relevance, 1), SHAP, atol=1e-6)


def test_an_image_of_twelve_segments_is_that_of_shap():
    rng = np.random.default_rng(7)
    x, rows = rng.random((1, 6, 8, 1)), rng.random((5, 6, 8, 1))
    k = rng.normal(size=(6, 8, 3))
    cells = np.arange(12).reshape(3, 4).repeat(2, 0).repeat(2, 1)

    def look(v):
        z = np.maximum(np.einsum("bhw,hwk->bk", v[..., 0], k), 0)
        return np.stack([z[:, 0] * z[:, 1], z[:, 2] ** 2], 1)

    e = tfxai.explain(
        look, x, "kernel_shap", 0, segmenter=cells, background=rows, n_samples=4096,
        batch_size=4096,
    )  # fmt: skip
    known = [
        1.1674601899, 0.7753266156, 1.0010647102, 1.6229162639, 0.004026998,
        2.5918629113, -0.7338820086, 0.1806541244, 3.1619937519, 1.0867775503,
        0.3507170385, -1.20576609,
    ]  # fmt: skip
    np.testing.assert_allclose(e.extra["coefficients"], [known], rtol=0, atol=1e-8)
    np.testing.assert_allclose(e.extra["baseline_score"], 1.5540137423)


RNG = np.random.default_rng(0)
IMAGE, TABLE = RNG.random((2, 4, 4, 1)), RNG.random((2, 3))
GIVEN = {"segmenter": ["grid", "auto"], "segmenter_options": [{"cells": 2}, None]}


def both(inputs):
    """mean(image) t0 + t1, (B, 1)."""
    image, table = inputs
    return image.mean((1, 2)) * table[:, :1] + table[:, 1:2]


@pytest.mark.parametrize("method", ["kernel_shap", "shapley_sampling"])
def test_an_image_and_a_table(method):
    """A product is shared equally between its factors."""
    e = tfxai.explain(both, (IMAGE, TABLE), method, 0, baseline=0, **GIVEN)
    cells = IMAGE.reshape(2, 2, 2, 2, 2).mean((2, 4)) / 4  # of mean(image)
    half = cells * TABLE[:, :1, None] / 2
    wanted = half.repeat(2, 1).repeat(2, 2)[..., None]
    np.testing.assert_allclose(e.relevance[0], wanted, rtol=1e-5)
    columns = np.stack([half.sum((1, 2)), TABLE[:, 1], 0 * TABLE[:, 1]], 1)
    np.testing.assert_allclose(e.relevance[1], columns, rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(e.extra["segments_1"], [[4, 5, 6]] * 2)


def test_c_shapley_has_no_sets_of_both_inputs():
    def apart(inputs):
        return inputs[0].mean((1, 2)) + inputs[1][:, :1] * inputs[1][:, 1:2]

    e = tfxai.explain(apart, (IMAGE, TABLE), "c_shapley", 0, baseline=0, max_size=4,
                      **GIVEN)  # fmt: skip
    cells = IMAGE.reshape(2, 2, 2, 2, 2).mean((2, 4)) / 4
    np.testing.assert_allclose(e.relevance[0][:, ::2, ::2, 0], cells, rtol=1e-5)
    half = TABLE[:, 0] * TABLE[:, 1] / 2
    np.testing.assert_allclose(e.relevance[1][:, :2], np.stack([half, half], 1))


def test_lime_of_a_dict_equals_lime_of_its_columns():
    def sums(v):
        return v["a"][:, :1] * 2 - v["b"][:, 1:2]

    x = {"a": TABLE, "b": TABLE + 1}
    e = tfxai.explain(sums, x, "lime", 0, baseline=0, n_samples=64)
    np.testing.assert_allclose(e["a"].relevance[:, 0], 2 * TABLE[:, 0], rtol=1e-5)
    np.testing.assert_allclose(e["b"].relevance[:, 1], -1 - TABLE[:, 1], rtol=1e-5)
    assert abs(e["a"].relevance[:, 1:]).max() < 1e-6
    np.testing.assert_array_equal(e["b"].extra["segments"], [[3, 4, 5]] * 2)
    assert "segments_0" not in e["b"].extra


def test_lime_takes_a_background():
    """The mean output over the rows is linear in the masks, as is the function."""
    rows = RNG.random((9, 3))
    w = np.array([[2.0], [-1.0], [0.0]])
    e = tfxai.explain(lambda v: v @ w, TABLE, "lime", 0, background=rows, n_samples=50)
    wanted = (TABLE - rows.mean(0)) * w[:, 0]
    np.testing.assert_allclose(e.relevance, wanted, atol=1e-6)
    np.testing.assert_allclose(e.extra["intercept"], (rows @ w).mean(), rtol=1e-9)


def test_an_input_without_a_baseline_is_never_covered():
    """The mask of padding of token ids stays; covering it would change the mean."""
    ids, mask = np.array([[3, 5, 0], [4, 0, 0]]), np.array([[1, 1, 0], [1, 0, 0]])

    def mean(v):
        return (v["ids"] * v["mask"]).sum(1, keepdims=True) / v["mask"].sum(1)[:, None]

    x = {"ids": ids, "mask": mask}
    for given in ([9, None], {"mask": None, "ids": 9}):
        e = tfxai.explain(mean, x, "kernel_shap", 0, baseline=given)
        np.testing.assert_allclose(e["ids"].relevance[:, :2], [[-3, -2], [-5, 0]],
                                   atol=1e-6)  # fmt: skip
        assert (e["mask"].relevance == 0).all()
        assert e.extra["coefficients"].shape == (2, 3)


def test_groups_of_one_of_several_inputs():
    def product(v):
        return v["a"][:, :1] * v["a"][:, 1:2] * v["b"][:, :1]

    x = {"a": TABLE, "b": TABLE[:, :1]}
    e = tfxai.explain(
        product, x, "kernel_shap", 0, baseline=0, groups={"a": {"pair": ["u", "v"]}},
        features={"a": ["u", "v", "w"]},
    )  # fmt: skip
    y = product(x)[:, 0]
    np.testing.assert_allclose(e["a"].relevance[:, :2], np.stack([y, y], 1) / 4)
    np.testing.assert_allclose(e["b"].relevance[:, 0], y / 2, rtol=1e-6)
    with pytest.raises(OptionError, match="a mapping from an input") as error:
        tfxai.explain(product, x, "kernel_shap", 0, baseline=0, groups={"c": {}})
    assert "groups={'a': {" in str(error.value)


def test_options_for_another_number_of_inputs_are_refused():
    with pytest.raises(OptionError, match="one value for each input"):
        tfxai.explain(both, (IMAGE, TABLE), "lime", 0, baseline=[0, 0, 0])
    with pytest.raises(OptionError, match="baseline=None"):
        tfxai.explain(lambda v: v[:, :1], TABLE, "kernel_shap", 0, baseline=None)
    one = {"baseline": 0, "segmenter": [np.zeros((4, 4), int), "auto"]}
    with pytest.raises(InputError, match="one single segment"):
        tfxai.explain(lambda v: v[0][:, 0, 0], (IMAGE, TABLE), "lime", 0,
                      **{**one, "baseline": [0, None]})  # fmt: skip
