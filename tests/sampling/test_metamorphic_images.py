"""Black boxes of images under changes that matter in a known way, for every method.

The tables are those of `test_metamorphic.py`.
"""

import numpy as np
import pytest

import tfxai

GRID = {"segmenter": "grid", "segmenter_options": {"cells": 3}, "baseline": 0}
METHODS = {
    "occlusion": {"window": 2, "baseline": 0},
    "kernel_shap": GRID,
    "shapley_sampling": GRID | {"n_samples": 40},
    "c_shapley": GRID | {"max_size": 2},
    "lime": GRID | {"n_samples": 100},
    "rise": {"n_samples": 60, "cells": 3},
    "leg": {"base_size": 3, "n_samples": 60, "unit": 1.0},
    "leg_tv": {"base_size": 3, "n_samples": 60, "unit": 1.0, "lambdas": [0.1]},
}
#: Methods that add noise to the image, which whole numbers cannot hold.
NOISE = ("leg", "leg_tv")
X = np.random.default_rng(0).integers(1, 9, (2, 6, 6, 2)).astype(float)
WEIGHTS = np.random.default_rng(1).normal(size=(72, 3))
pytestmark = [
    pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning"),
]
every = pytest.mark.parametrize("method", METHODS)


def model(x):
    """A function with products: (B, 3)."""
    y = x.reshape(len(x), -1).astype(float) @ WEIGHTS
    return y + 0.01 * y[:, ::-1] * y


def values(method, f=model, x=X, batch_size=32):
    """The relevance (B, 6, 6) of output 1, channels summed."""
    analyzer = tfxai.create_analyzer(method, f, **METHODS[method])
    return np.asarray(analyzer.analyze(x, 1, batch_size).heatmap("sum"), float)


@pytest.fixture(scope="module")
def wanted():
    return {method: values(method) for method in METHODS}


@every
def test_an_offset_and_a_scale_of_the_output(method, wanted):
    """RISE weights masks by the output: an offset adds the mean of the masks."""
    found = values(method, lambda x: 1e6 * (model(x) + 300))
    known = wanted[method]
    if method == "rise":
        known = known + values(method, lambda x: np.full((len(x), 2), 300.0))
    size = np.abs(known).max()
    np.testing.assert_allclose(found / 1e6, known, rtol=1e-4, atol=1e-4 * size)


@pytest.mark.parametrize(
    "method, dtype",
    [(m, d) for m in METHODS for d in ("float32", "int64", "uint8")
     if m not in NOISE or d == "float32"],
)  # fmt: skip
def test_the_dtype_of_the_input(method, dtype, wanted):
    """RISE multiplies by masks between 0 and 1, which whole numbers round."""

    def typed(x):
        assert x.dtype == dtype
        return model(x)

    found = values(method, typed, X.astype(dtype))
    size = np.abs(wanted[method]).max()
    rounded = 0.2 if method == "rise" and dtype != "float32" else 1e-4
    np.testing.assert_allclose(found, wanted[method], atol=rounded * size)


@every
def test_the_dtype_of_the_output_and_work_in_place(method, wanted):
    def in_place(x):
        y = model(x).astype("float32")
        x[:] = -1
        return y

    x = X.copy()
    size = np.abs(wanted[method]).max()
    np.testing.assert_allclose(
        values(method, in_place, x), wanted[method], rtol=1e-4, atol=1e-4 * size
    )
    np.testing.assert_array_equal(x, X)


@every
def test_the_batch_size_and_the_other_samples(method, wanted):
    np.testing.assert_allclose(
        values(method, batch_size=3), wanted[method], rtol=1e-5, atol=1e-6
    )
    one = values(method, x=X[1:])
    np.testing.assert_allclose(one, wanted[method][1:], rtol=1e-5, atol=1e-6)
    twice = values(method, x=np.concatenate([X[:1]] * 2))
    np.testing.assert_allclose(twice[1], wanted[method][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in NOISE])
def test_the_order_of_the_channels_and_a_channel_that_is_not_read(method, wanted):
    """LEG draws noise for each channel."""
    size = np.abs(wanted[method]).max()
    close = {"rtol": 1e-4, "atol": 1e-4 * size}
    found = values(method, lambda x: model(x[..., ::-1]), X[..., ::-1])
    np.testing.assert_allclose(found, wanted[method], **close)
    more = np.concatenate([X, X[..., :1] ** 2], -1)
    found = values(method, lambda x: model(x[..., :2]), more)
    np.testing.assert_allclose(found, wanted[method], **close)
