"""LIME and Shapley values of small images, of dummies and of weak baselines."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import Lasso, LinearRegression, Ridge

import tfxai
from tfxai.errors import (
    InputError,
    OptionError,
    SingleSegmentWarning,
    WeakBaselineWarning,
)
from tfxai.sampling.covers import resolve_baseline
from tfxai.sampling.masks import bernoulli
from tfxai.sampling.segments import segment_inputs


def blobs(n, side, channels):
    """Smooth random images (n, side, side, channels) in 0..1."""
    from skimage.transform import resize

    coarse = np.random.default_rng(0).random((n, side // 4, side // 4, channels))
    return np.array([resize(v, (side, side, channels), order=1) for v in coarse])


@pytest.mark.parametrize(
    "side, channels, least",
    [(16, 1, 3), (28, 1, 5), (32, 2, 5), (32, 3, 5), (64, 3, 5)],
)
def test_small_images_have_several_segments(side, channels, least):
    counts = segment_inputs(blobs(8, side, channels))[1]
    assert counts.min() >= least


def test_one_sample_without_edges_gets_a_grid_and_the_others_their_own():
    x = blobs(3, 32, 3)
    x[1] = 0.5
    alone = segment_inputs(x[::2], "felzenszwalb")
    with pytest.warns(SingleSegmentWarning, match=r"sample\(s\) \[1\].* 7 x 7 cells"):
        segments, counts = segment_inputs(x, "felzenszwalb")
    assert counts[1] == 49
    np.testing.assert_array_equal(segments[::2], alone[0])
    same = segment_inputs(x, "grid")[1]
    assert same.tolist() == [49, 49, 49]
    with pytest.warns(SingleSegmentWarning, match="'<lambda>'.* 4 x 4 cells"):
        segment_inputs(x[:1, :8, :8], lambda v: np.zeros(v.shape[:2], int))


def test_an_array_of_one_segment_is_an_error_and_so_is_one_pixel():
    with pytest.raises(InputError, match="one single segment"):
        segment_inputs(np.ones((2, 4, 4, 1)), np.zeros((4, 4), int))
    with pytest.raises(InputError, match="one single segment"):
        segment_inputs(np.ones((2, 1, 1, 1)), "grid")
    with pytest.raises(InputError, match=r"x\[:, None\]"):
        tfxai.explain(lambda v: v[:, None], np.ones(3), "kernel_shap", 0, baseline=0)


@pytest.mark.parametrize("method", ["lime", "kernel_shap", "shapley_sampling"])
@pytest.mark.parametrize("side, channels", [(28, 1), (32, 3)])
@pytest.mark.filterwarnings("ignore::tfxai.errors.LowFidelityWarning")
def test_methods_explain_small_images_by_default(method, side, channels):
    x = blobs(2, side, channels)
    e = tfxai.explain(lambda v: v.mean((1, 2)) ** 2, x, method, 0, baseline="black")
    assert np.isfinite(e.relevance).all() and e.relevance.any(axis=(1, 2, 3)).all()


def test_columns_that_equal_the_baseline_get_nothing():
    """Three of forty columns matter: 1/3 for each, and 0 for all others."""
    x = np.zeros((1, 40))
    x[0, [3, 17, 31]] = 1
    e = tfxai.explain(
        lambda v: v[:, [3, 17, 31]].prod(1, keepdims=True), x, "kernel_shap", 0,
        baseline=0,
    )  # fmt: skip
    np.testing.assert_allclose(e.relevance[0, [3, 17, 31]], 1 / 3, rtol=1e-6)
    assert np.count_nonzero(e.relevance) == 3


@pytest.mark.parametrize("method", ["kernel_shap", "shapley_sampling"])
@pytest.mark.filterwarnings("ignore::tfxai.errors.NothingToExplainWarning")
def test_no_column_and_one_column_that_varies(method):
    model = lambda v: v.sum(1, keepdims=True) ** 2  # noqa: E731
    x = np.array([[2.0, 3.0, 5.0], [2.0, 3.0, 4.0]])
    e = tfxai.explain(model, x, method, 0, baseline=x[1])
    np.testing.assert_array_equal(e.relevance, [[0, 0, 19], [0, 0, 0]])


def test_a_baseline_that_hardly_changes_the_output_is_a_warning():
    """The mean of one-colour cells is the image itself; of black it is not."""
    x = np.repeat(np.repeat(np.random.default_rng(0).random((1, 4, 4, 1)), 2, 1), 2, 2)
    model = lambda v: 3.5e4 + (v**2).sum((1, 2))  # noqa: E731
    options = {"segmenter": "grid", "segmenter_options": {"cells": 4}}
    x[0, 0, 0] += 0.1
    with pytest.warns(WeakBaselineWarning, match='baseline="black"'):
        tfxai.explain(model, x, "kernel_shap", 0, baseline="mean", **options)
    e = tfxai.explain(model, x, "kernel_shap", 0, baseline="black", **options)
    assert e.relevance.any()
    total = e.extra["coefficients"].sum(-1)
    np.testing.assert_allclose(total, e.score - e.extra["baseline_score"], rtol=1e-9)


def test_models_share_what_xla_compiles(recwarn):
    """XLA frees no executable; a new one for each call would leak."""
    from tfxai.core.queries import _in_one_pass

    x = keras.Input((5,))
    made = keras.Model(x, keras.layers.Dense(2)(x))
    _in_one_pass.cache_clear()
    for _ in range(8):
        tfxai.explain(made, np.ones((1, 5), "float32"), "kernel_shap", 0, baseline=0)
    assert _in_one_pass.cache_info().misses == 1
    assert not [w for w in recwarn if "retracing" in str(w.message)]


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 20, 2), (32, 28, 3)])
def test_leg_explains_small_images_by_default(shape):
    """The default grid of 28 cells is the side itself where that is shorter."""
    w = np.random.default_rng(2).normal(size=np.prod(shape))
    f = lambda v: v.reshape(len(v), -1) @ w[:, None]  # noqa: E731
    x = np.random.default_rng(3).random((1, *shape))
    e = tfxai.explain(f, x, "leg", 0, unit=1.0, n_samples=30)
    same = tfxai.explain(
        f, x, "leg", 0, unit=1.0, n_samples=30,
        base_size=tuple(min(28, n) for n in shape[:2]),
    )  # fmt: skip
    np.testing.assert_array_equal(e.relevance, same.relevance)
    assert e.relevance.shape == x.shape and e.relevance.any()


@pytest.mark.parametrize("regressor", ["linear", "ridge", "lasso"])
def test_lime_gives_columns_that_equal_the_baseline_nothing(regressor):
    """Of forty columns three vary, and a product makes the fit inexact."""
    x = np.zeros((2, 40))
    x[:, :3], x[1, 0] = 1, 0

    def product(v):
        return (v[:, 0] * v[:, 1] + v[:, 2])[:, None]

    e = tfxai.explain(product, x, "lime", 0, baseline=0, regressor=regressor)
    assert not e.relevance[:, 3:].any() and e.relevance[1, 0] == 0
    masks = bernoulli(np.random.default_rng(0), 1000, 40)[:, :3].astype(float)
    fits = {"linear": LinearRegression(), "ridge": Ridge(1.0), "lasso": Lasso(1e-3)}
    fit = fits[regressor].fit(masks, product(masks)[:, 0], e.extra["weights"][0])
    np.testing.assert_allclose(e.relevance[0, :3], fit.coef_, atol=1e-6)
    chosen = tfxai.explain(
        product, x, "lime", 0, baseline=0, n_features=2, feature_selection="forward"
    )
    assert set(np.flatnonzero(chosen.relevance[0])) < {0, 1, 2}
    same = tfxai.explain(product, x[:1], "lime", 0, baseline=x[0])
    assert not same.relevance.any() and same.extra["intercept"] == pytest.approx([2.0])


@pytest.mark.parametrize("x", [np.ones((1, 1, 1, 3)), np.ones((1, 1))])
def test_the_method_that_is_suggested_explains_one_position(x):
    def total(v):
        return v.reshape(len(v), -1).sum(-1, keepdims=True)

    with pytest.raises(InputError, match='method="occlusion"') as caught:
        tfxai.explain(total, x, "kernel_shap", 0, baseline=0)
    assert "slic" not in str(caught.value)
    e = tfxai.explain(total, x, method="occlusion", target=0)
    assert e.relevance.tolist() == [[[[3.0]]]] if x.ndim == 4 else [[1.0]]


def test_small_segments_are_covered_by_the_mean_of_the_input():
    """The mean of a segment of one pixel is the pixel."""
    x = np.random.default_rng(5).normal(size=(2, 8, 8, 3)).astype("float32")
    pixels = np.arange(64).reshape(1, 8, 8).repeat(2, 0)
    found = resolve_baseline("auto", x, pixels)
    mean = np.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)
    np.testing.assert_allclose(found, mean, atol=1e-6)
    np.testing.assert_array_equal(found, resolve_baseline("input_mean", x, pixels))
    halves = (pixels >= 32).astype(int)
    large = resolve_baseline("auto", x, halves)
    np.testing.assert_array_equal(large, resolve_baseline("mean", x, halves))
    np.testing.assert_allclose(large[0, 0, 0], x[0, :4].mean((0, 1)), atol=1e-6)
    both = np.stack([pixels[0], halves[0]])
    mixed = resolve_baseline("auto", x, both)
    np.testing.assert_array_equal(mixed, np.stack([found[0], large[1]]))


def test_only_the_default_has_a_finer_grid():
    x = np.random.default_rng(5).random((1, 16, 16, 3))
    assert segment_inputs(x)[1].tolist() == [64]
    assert segment_inputs(x, "grid")[1].tolist() == [49]
    assert segment_inputs(x, "auto", {"cells": 3})[1].tolist() == [9]
    quickshift = segment_inputs(x, "quickshift", {"max_dist": 4, "ratio": 0.9})
    same = segment_inputs(x, "auto", {"max_dist": 4, "ratio": 0.9})
    np.testing.assert_array_equal(same[0], quickshift[0])
    with pytest.raises(OptionError, match="a dict of options"):
        segment_inputs(x, "auto", 7)


@pytest.mark.parametrize("method", ["lime", "kernel_shap", "shapley_sampling"])
@pytest.mark.filterwarnings("ignore::tfxai.errors.LowFidelityWarning")
def test_the_defaults_find_two_pixels_of_noise(method):
    """Superpixels of noise, and means of single pixels, find nothing."""
    x = np.random.default_rng(6).normal(size=(1, 8, 8, 1))
    x[0, 2, 5], x[0, 6, 1] = 2.0, -2.0

    def model(v):
        return v[:, 2, 5] - v[:, 6, 1]

    e = tfxai.explain(model, x, method, 0)
    strongest = np.argsort(-np.abs(e.relevance[0, ..., 0]).ravel())[:2]
    assert set(strongest) == {2 * 8 + 5, 6 * 8 + 1}
