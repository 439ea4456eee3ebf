"""Key sizes and sensitivity curves against stored values, and by hand."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.conftest import SHARED, shared_path
from tests.metrics.linear_model import images, linear
from tfxai.core.explanation import Explanation
from tfxai.errors import (
    InputError,
    ModelError,
    OptionError,
    OutOfBoundsWarning,
    TfxaiError,
    UncertainClassWarning,
)
from tfxai.metrics.baselines import baseline_images
from tfxai.metrics.masking import key_size, sensitivity
from tfxai.metrics.registry import compute

FOLDER = "references/sampling"


def cases():
    found = sorted((SHARED / FOLDER).glob("leg_*.json")) or [SHARED / "absent.json"]
    return [f.stem for f in found]


@pytest.fixture(scope="module", params=cases())
def stored(request):
    folder = shared_path(FOLDER)
    facts = json.loads((folder / f"{request.param}.json").read_text())
    arrays = dict(np.load(folder / f"{request.param}.npz"))
    wrapped = tfxai.wrap(keras.models.load_model(folder / "models" / facts["model"]))
    x = arrays["image"][None].astype(np.float32)
    x = x if x.ndim == 4 else x[..., None]
    return facts, arrays, wrapped, x


def ground(name, arrays, x):
    noise = arrays["noise_background"].reshape(x.shape)
    return noise if name == "noise" else name


@pytest.mark.shared
def test_the_stored_key_sizes(stored):
    facts, arrays, wrapped, x = stored
    heatmap, step = arrays["heatmap"][None], 1 / 999
    for name, known in facts["key_size"].items():
        result = key_size(wrapped, x, heatmap, ground(name, arrays, x))
        assert result[0] == pytest.approx(known["key_size"], abs=1.01 * step)
        if not facts["ties"]:
            assert result[0] == pytest.approx(known["key_size"], abs=1e-9)


@pytest.mark.shared
def test_the_stored_sensitivity_curves(stored):
    facts, arrays, wrapped, x = stored
    # The order of equal pixels is not stored, so a pixel or two may differ.
    near = 0.02 if facts["ties"] else 1e-5
    for name, known in zip(
        arrays["sensitivity_backgrounds"], arrays["sensitivity_prob"], strict=True
    ):
        result = sensitivity(
            wrapped, x, arrays["heatmap"][None], arrays["sensitivity_alphas"],
            ground(str(name), arrays, x), facts["target_class"],
        )  # fmt: skip
        np.testing.assert_allclose(result[0], known, atol=near)


def test_by_hand():
    """The class is that of the larger half: masking it changes the top class."""

    def predict(batch):
        left, right = (batch[:, :, i : i + 2].mean((1, 2, 3)) for i in (0, 2))
        p = left / (left + right)
        return np.stack([p, 1 - p], 1)

    x = np.full((1, 4, 4, 1), 50, np.float32)
    x[:, :, :2] = 100
    heatmap = np.zeros((1, 4, 4))
    heatmap[:, :, :2] = np.arange(8, 0, -1).reshape(4, 2)
    curve = sensitivity(predict, x, heatmap, [0, 0.25, 0.5, 1], baseline=1)
    lefts, rights = [100, (4 + 400) / 8, 1, 1], [50, 50, 50, 1]
    wanted = [a / (a + b) for a, b in zip(lefts, rights, strict=True)]
    np.testing.assert_allclose(curve[0], wanted, rtol=1e-6)
    # five of eight pixels on the left at 1: (5 + 300) / 8 < 50
    size = key_size(predict, x, heatmap, baseline=1)
    assert int(size[0] * 16) == 5
    assert key_size(predict, x, heatmap, baseline=100)[0] == 1
    assert key_size(predict, x, np.abs(heatmap - 9), baseline=1)[0] > size[0]


def test_a_blur_is_a_gaussian_mean():
    """One bright pixel spreads over its neighbours, separately in each channel."""
    x = np.zeros((1, 31, 31, 2))
    x[0, 15, 15, 0] = 1
    x[..., 1] = 7
    for name, sigma in (("blur-2", 2), ("blur", 5)):
        result = baseline_images(name, x, None, 0)[0]
        line = np.exp(-(np.arange(-15, 16) ** 2) / 2 / sigma**2)
        wanted = np.outer(line, line) / line.sum() ** 2
        near = slice(10, 21)  # away from the border, and from where the tail is cut
        np.testing.assert_allclose(
            result[near, near, 0], wanted[near, near], rtol=0.01, atol=0
        )
        np.testing.assert_allclose(result[..., 1], 7)
    with pytest.raises(OptionError, match='"blur-S"'):
        baseline_images("blur-x", x, None, 0)


def test_what_is_refused():
    x = np.ones((1, 4, 4, 1), np.float32)
    with pytest.raises(InputError, match="Heatmaps of shape"):
        key_size(lambda v: v, x, np.zeros((1, 4, 5)))
    with pytest.raises(OptionError, match="baseline='grey'"):
        key_size(lambda v: v[:, 0, :2, 0] / 2, x, np.zeros((1, 4, 4)), "grey")
    with pytest.raises(OptionError, match="shares="):
        sensitivity(lambda v: v[:, 0, :2, 0] / 2, x, np.zeros((1, 4, 4)), [-1, 50])
    with pytest.raises(InputError, match="one finite heatmap"):
        key_size(lambda v: v[:, 0, :2, 0] / 2, x, np.full((1, 4, 4), np.nan))
    for wrong in (9, [0, 1]):
        with pytest.raises(TfxaiError, match="target"):
            key_size(lambda v: v[:, 0, :2, 0] / 2, x, np.zeros((1, 4, 4)), target=wrong)
    with pytest.raises(OptionError, match="baseline="):
        baseline_images(np.zeros((5, 5)), x, None, 0)


def test_an_explanation_brings_its_class_and_its_pictures():
    model, x = linear(), images(2)
    e = tfxai.explain(model, x, "input_t_gradient", [2, 2])
    shares = [0, 0.2, 0.6]
    wanted = sensitivity(model, x, e.heatmap(), shares, target=2)
    np.testing.assert_array_equal(sensitivity(model, x, e, shares), wanted)
    p = model.predict(x, verbose=0)
    np.testing.assert_allclose(wanted[:, 0], p[:, 2], rtol=1e-5)
    with pytest.raises(InputError, match="other images"):
        key_size(model, x[::-1], e)


def test_the_order_may_be_signed_and_the_scale_log_odds():
    """Two pixels: the second has the larger |relevance|, and it is negative."""
    x = np.float32([[3, 1]]).reshape(1, 1, 2, 1)
    heatmap = np.float32([[2, -5]]).reshape(1, 1, 2)

    def predict(v):
        z = np.exp(np.asarray(v)[:, 0, :, 0])
        return z / z.sum(-1, keepdims=True)

    shares, known = [0, 0.5, 1], {"target": 0, "baseline": 0.0}
    for order, first in (("size", (3, 0)), ("signed", (0, 1))):
        odds = [3 - 1, first[0] - first[1], 0]
        result = sensitivity(
            predict, x, heatmap, shares, order=order, scale="log_odds", **known
        )
        np.testing.assert_allclose(result, [odds], atol=1e-5)
        result = sensitivity(predict, x, heatmap, shares, order=order, **known)
        np.testing.assert_allclose(
            result, [1 / (1 + np.exp(-np.array(odds)))], rtol=1e-5
        )
    for wrong in ({"order": "sign"}, {"scale": "odds"}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            sensitivity(predict, x, heatmap, shares, **wrong)


def test_a_baseline_outside_the_range_is_a_warning():
    x = images(1)
    for name in ("white", "noise", "dist-50"):
        with pytest.warns(OutOfBoundsWarning, match="0..255"):
            baseline_images(name, x, x.sum(-1), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("white", "noise", "dist-50"):
            baseline_images(name, 200 * x, x.sum(-1), 0)
        for name in ("black", "mean", "blur", 0.5):
            baseline_images(name, x, x.sum(-1), 0)


def test_measures_of_the_top_class_need_classes():
    one = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Flatten(),
                            keras.layers.Dense(1)])  # fmt: skip
    e = tfxai.explain(one, images(2), "gradient", 0)
    for name in ("key_size", "aic", "sic"):
        with pytest.raises(InputError, match="two or more classes"):
            compute(name, one, e)
    model = linear()
    least = model.predict(images(2), verbose=0).argmin(1)
    e = tfxai.explain(model, images(2), "gradient", least)
    for name in ("aic", "sic"):
        with pytest.warns(UncertainClassWarning, match="not the top class"):
            compute(name, model, e)


def test_an_improbable_class_is_a_warning():
    model, x = linear(), images()
    y = model.predict(x, verbose=0)
    heatmaps = np.random.default_rng(0).random(x.shape[:3])
    with pytest.warns(UncertainClassWarning, match=r"sample\(s\) \[0, 1, 2\]"):
        result = key_size(model, x, heatmaps, target=y.argmin(-1))
    np.testing.assert_array_equal(result, 0)


def test_answers_that_are_not_finite_are_named():
    model, x = linear(), images(2)
    heatmaps = np.random.default_rng(0).random(x.shape[:3])
    given = {"baseline": "black", "preprocess": tf.math.log}
    assert np.isfinite(sensitivity(model, x, heatmaps, [0], **given)).all()
    text = r"NaN or infinity for a changed copy of sample\(s\) \[0\]"
    with pytest.raises(ModelError, match=text):
        sensitivity(model, x, heatmaps, [0, 0.5], **given)
    with pytest.raises(ModelError, match=text):
        key_size(model, x, heatmaps, **given)
    x[1, 2, 3] = 0
    with pytest.raises(ModelError, match=r"for sample\(s\) \[1\] themselves"):
        key_size(model, x, heatmaps, 0.5, preprocess=tf.math.log)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_what_comes_after_the_flip_is_not_asked(batch_size):
    """Five of 16 pixels flip the class; with eight masked the output is NaN."""
    x = keras.Input((4, 4, 1))
    z = keras.layers.Dense(2, name="z")(keras.layers.Flatten()(x))
    model = keras.Model(x, keras.layers.Softmax()(z))
    own = np.float32([[1, 0]] * 16), np.float32([0, 11.5])
    model.get_layer("z").set_weights(own)

    def seen(v):
        left = tf.reduce_sum(v, (1, 2, 3), keepdims=True)
        return tf.where(left > 8, v, np.nan)

    heatmap, given = np.arange(16.0).reshape(1, 4, 4), {"batch_size": batch_size}
    data = np.ones((1, 4, 4, 1), np.float32)
    result = key_size(model, data, heatmap, "black", preprocess=seen, **given)
    assert int(result[0] * 16) == 5


def test_a_callable_that_fails_is_named():
    def predict(batch):
        p = np.where((batch == 0).sum((1, 2, 3)) < 5, 0.9, np.nan)
        return np.stack([p, 1 - p], 1)

    x, heatmap = 1 + images(1, 4, 1), np.arange(16.0).reshape(1, 4, 4)
    text = r"NaN or infinity for a changed copy of sample\(s\) \[0\]"
    with pytest.raises(ModelError, match=text):
        key_size(predict, x, heatmap, "black")
    e = Explanation(
        heatmap[..., None], np.array([0]), np.array([0.9]), "by hand", x, {}
    )
    for name in ("key_size", "aic"):
        with pytest.raises(ModelError, match=text):
            compute(name, predict, e, baseline=0)
