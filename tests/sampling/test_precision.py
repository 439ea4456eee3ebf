"""precision="bfloat16": opt-in, close to float32, and an error where unsupported."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.conftest import shared_path
from tfxai.errors import OptionError

L = keras.layers


def network():
    """A network with every kind of step that keeps bfloat16, and some that must not."""
    x = keras.Input((12, 12, 3))
    y = L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(x))
    y = L.ReLU(6.0)(y)
    y = L.SeparableConv2D(8, 3, padding="same", activation="relu")(y)
    z = L.DepthwiseConv2D(3, padding="same")(L.ZeroPadding2D(1)(y))
    y = L.Add()([y, L.Cropping2D(1)(z)])
    y = L.Concatenate()([L.MaxPooling2D()(y), L.AveragePooling2D(2)(y)])
    y = L.LayerNormalization()(y)
    y = L.Dense(6, "gelu")(L.GlobalAveragePooling2D()(y))
    return zoo.fill(keras.Model(x, L.Dense(4, "softmax")(y)))


def test_the_answers_are_near_and_not_the_same():
    model = network()
    x = np.random.default_rng(0).uniform(-1, 1, (5, 12, 12, 3)).astype("float32")
    wrapped = tfxai.wrap(model)
    full = wrapped.outputs_of([tf.constant(x)]).numpy()
    half = wrapped.outputs_of([tf.constant(x)], "bfloat16").numpy()
    gap = np.abs(half - full).max() / np.abs(full).max()
    assert half.dtype == np.float32 and 1e-5 < gap < 2e-2
    assert {v.dtype for v in model.weights} == {"float32"}


@pytest.mark.shared
@pytest.mark.parametrize("estimator", ["regression", "gradient"])
def test_maps_of_a_trained_network_agree(estimator):
    model = keras.models.load_model(shared_path("models") / "cifar10_cnn.keras")
    images = np.load(shared_path("images") / "cifar10.npz")
    x = next(images[k] for k in images.files if images[k].ndim == 4)[:1]
    options = {"estimator": estimator, "base_size": 8, "n_samples": 300}
    maps = [
        tfxai.explain(
            model, np.float32(x), "leg", preprocess=lambda v: v / 255,
            precision=p, scale="logit", **options,
        ).extra["base"].ravel()
        for p in ("float32", "bfloat16")
    ]  # fmt: skip
    assert 0.99 < np.corrcoef(maps)[0, 1] < 1 - 1e-9


@pytest.mark.shared
@pytest.mark.parametrize(
    "method, options",
    [
        ("occlusion", {}),
        ("lime", {"segmenter": "grid", "n_samples": 300, "baseline": "black"}),
        ("kernel_shap", {"segmenter": "grid", "n_samples": 300, "baseline": "black"}),
        ("rise", {"n_samples": 300}),
    ],
)
@pytest.mark.filterwarnings("ignore::tfxai.errors.LowFidelityWarning")
def test_masked_maps_of_a_trained_network_agree(method, options):
    model = keras.models.load_model(shared_path("models") / "cifar10_cnn.keras")
    images = np.load(shared_path("images") / "cifar10.npz")
    x = next(images[k] for k in images.files if images[k].ndim == 4)[:1]
    maps = [
        tfxai.explain(
            model, np.float32(x), method, preprocess=lambda v: v / 255, precision=p,
            **options,
        ).relevance.ravel()
        for p in ("float32", "bfloat16")
    ]  # fmt: skip
    assert 0.99 < np.corrcoef(maps)[0, 1] < 1 - 1e-9


@pytest.mark.parametrize("name", ["leg", "leg_tv", "occlusion"])
def test_what_cannot_be_asked_in_bfloat16_is_refused(name):
    with pytest.raises(OptionError, match="are not known"):
        tfxai.create_analyzer(name, lambda x: x, precision="bfloat16")
    with pytest.raises(OptionError, match="precision='float16'"):
        tfxai.create_analyzer(name, network(), precision="float16")
