"""Feature visualisation: its parts by formula, a model whose optimum is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.benchmarks.visualization import ratios
from tfxai.errors import (
    BlackBoxError,
    InputError,
    OptionError,
    StuckWarning,
    TargetError,
    UnknownNameError,
)
from tfxai.perturbation import spectra
from tfxai.perturbation.augmentation import random_crops

L = keras.layers
FEW = {"n_iterations": 3, "starts": 1, "kept": 1, "progress": False}


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


@pytest.mark.parametrize("shape", [(6, 8, 3), (7, 5, 1), (4, 9, 2)])
def test_the_parametrisations_by_formula(shape):
    rng = np.random.default_rng(3)
    height, width, count = shape
    images = rng.uniform(-2, 5, (4, *shape)).astype("float32")
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width),
                              indexing="ij"))  # fmt: skip
    scale = 1 / np.maximum(f, 1 / max(height, width))
    for given in (None, images):
        look = spectra.look_of(shape, -1.0, 3.0, given)
        if given is None:
            magnitude = np.stack([scale] * count)
        else:
            flat = images.astype(np.float64).reshape(-1, count)
            covariance = np.atleast_2d(np.cov(flat.T))
            product = look.colours @ look.colours.T
            ratio = product / covariance
            np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
            centred = (images - flat.mean(0)) @ np.linalg.inv(look.colours).T
            magnitude = np.mean(
                [np.abs(np.fft.rfft2(np.moveaxis(v, -1, 0))) for v in centred], 0
            )
        np.testing.assert_allclose(look.magnitude, magnitude, rtol=1e-6)
        assert np.linalg.norm(look.colours, axis=0).max() == pytest.approx(1)

        fourier = spectra.fourier(look)
        (z,) = fourier.start(rng)
        z = z * 50
        spectrum = (z[0] + 1j * z[1]) * scale * np.sqrt(height * width) / 4
        y = np.fft.irfft2(spectrum.astype(complex), (height, width))
        wanted = -1 + 4 * sigmoid(np.moveaxis(y, 0, -1) @ look.colours.T)
        found = fourier.image([tf.constant(z[None])])[0]
        np.testing.assert_allclose(found, wanted, atol=2e-6)

        maco = spectra.maco(look)
        (phase,) = maco.start(rng)
        angle = (phase - phase.mean()) / (phase.std() + 1e-5)
        y = np.fft.irfft2(magnitude * np.exp(1j * angle), (height, width))
        y = (y - y.mean()) / (y.std() + 1e-5)
        wanted = -1 + 4 * sigmoid(np.moveaxis(y, 0, -1) @ look.colours.T)
        found = maco.image([tf.constant(phase[None])])[0]
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_crops_are_parts_of_their_image():
    ramp = np.arange(64, dtype="float32")
    x = np.stack([np.add.outer(ramp, 64 * ramp), -np.add.outer(ramp, ramp)])[..., None]
    crops = random_crops((0.5, 0.1), 0.15, 0.0, 11, 0)
    first, again, last = (crops(tf.constant(x), tf.constant(i), 9) for i in (0, 0, 10))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (18, 64, 64, 1)
    assert np.all(first[:9] >= 0)  # those of the first image come first
    assert np.all(first[9:] <= 0)
    for drawn, side in ((first, 0.5), (last, 0.1)):
        across = drawn[:9, 0, -1, 0] - drawn[:9, 0, 0, 0]  # 64 per column
        sides = across.numpy() / 64 / 63
        assert sides.mean() == pytest.approx(side, abs=0.05)
        assert sides.std() == pytest.approx(0.05, abs=0.03)
    loud = random_crops((0.5, 0.1), 0.15, 2.0, 11, 0)
    noisy = loud(tf.constant(x), tf.constant(0), 9)
    assert np.std(noisy - first) == pytest.approx(2.0, rel=0.05)


@pytest.fixture(scope="module")
def linear():
    """A model whose classes and channels are sums of pixels."""
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(3, 1, name="mix")(x)
    model = keras.Model(x, L.Dense(4, "softmax", name="out")(L.Flatten()(y)))
    return tfxai.wrap(zoo.fill(model))


def test_the_optimum_of_a_linear_model(linear):
    """Each pixel goes to the end of the range that the sign of its weight says."""
    kernel, bias = (v.numpy() for v in linear.model.get_layer("mix").weights)
    out, last = (v.numpy() for v in linear.model.get_layer("out").weights)
    options = {"low": -1, "high": 2, "views": 0, "learning_rate": 3.0, "starts": 2}
    v = tfxai.visualize(linear, [2, 1], **options, progress=False)
    for target, image, found in zip([2, 1], v.images, v.activation, strict=True):
        slope = out[:, target].reshape(8, 8, 3) @ kernel[0, 0].T
        best = np.where(slope > 0, 2, -1)
        constant = (out[:, target].reshape(-1, 3) @ bias).sum() + last[target]
        most = (slope * best).sum() + constant
        assert found == pytest.approx((slope * image).sum() + constant, rel=1e-4)
        assert found > 0.95 * most
        (index,) = np.flatnonzero(np.array([2, 1]) == target)
        np.testing.assert_allclose(
            v.transparency[index], np.abs(slope).sum(-1), rtol=1e-4
        )
    assert v.history.shape == (2, 256)
    assert v.history[0, 0] < v.activation[0]
    assert v.images.min() >= -1
    assert v.images.max() <= 2


def test_channels_neurons_directions_and_functions(linear):
    kernel, bias = (v.numpy() for v in linear.model.get_layer("mix").weights)
    direction = np.array([0.6, -1.2, 2.0])
    targets = [1, (3, 4, 2), direction]
    v = tfxai.visualize(linear, targets, "mix", low=0, high=1, **FEW)
    a = v.images @ kernel[0, 0] + bias
    unit = direction / np.linalg.norm(direction)
    wanted = [a[0, ..., 1].mean(), a[1, 3, 4, 2], (a[2] @ unit).mean()]
    np.testing.assert_allclose(v.activation, wanted, rtol=1e-4)
    v = tfxai.visualize(linear, None, "mix", low=0, high=1, **FEW)
    a = v.images @ kernel[0, 0] + bias
    assert v.activation[0] == pytest.approx(np.square(a).mean(), rel=1e-4)
    v = tfxai.visualize(
        linear, lambda a: a[:, 0, 0, 0], "mix", low=0, high=1, method="maco", **FEW
    )
    a = v.images @ kernel[0, 0] + bias
    assert v.activation[0] == pytest.approx(a[0, 0, 0, 0], rel=1e-4)


def test_a_seed_repeats_and_a_batch_is_one_by_one(linear):
    o = {**FEW, "low": 0, "high": 1, "starts": 3, "n_iterations": 8, "views": 0}
    both = tfxai.visualize(linear, [0, 3], **o)
    split = tfxai.visualize(linear, [0, 3], **o, batch_size=1)
    np.testing.assert_allclose(both.images, split.images, atol=1e-5)
    other = tfxai.visualize(linear, [0, 3], **o, seed=1)
    assert np.abs(other.images - both.images).max() > 0.01


def test_the_figure_has_an_image_and_a_title_for_each_target(linear):
    v = tfxai.visualize(linear, [0, 3], low=0, high=1, **FEW)
    for opaque in (True, False):
        figure = v.plot(names=["a", "b", "c", "d"], opaque=opaque)
        assert len(figure.axes) == len(v) == 2
        texts = [t.get_text() for t in figure.texts]
        assert {"a", "d", f"{v.activation[0]:.4g}"} <= set(texts)


def test_a_dead_channel_is_a_warning():
    x = keras.Input((4, 4, 1))
    y = L.ReLU(name="dead")(L.Conv2D(1, 1, bias_initializer=lambda *a, **k: [-99.0])(x))
    model = keras.Model(x, L.GlobalAveragePooling2D()(y))
    with pytest.warns(StuckWarning, match="target 0.*did not rise.*starts"):
        tfxai.visualize(model, 0, "dead", low=0, high=1, **FEW)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, OptionError, "low=0, high=255"),
        ({"low": 1, "high": 1}, OptionError, "low < high"),
        ({"low": 0, "high": 1, "method": "pixels"}, OptionError, "'fourier', 'maco'"),
        ({"low": 0, "high": 1, "starts": 0}, OptionError, "starts=0"),
        ({"low": 0, "high": 1, "target": None}, TargetError, "target=0, or at=-2"),
        ({"low": 0, "high": 1, "target": 9}, TargetError, "4"),
        ({"low": 0, "high": 1, "target": []}, TargetError, "empty list"),
        ({"low": 0, "high": 1, "at": "mixed"}, UnknownNameError, "mix"),
        ({"low": 0, "high": 1, "at": "mix", "target": 3}, TargetError, "inside it"),
        ({"low": 0, "high": 1, "at": 1, "target": np.zeros(3)}, TargetError, "zero"),
        ({"low": 0, "high": 1, "at": "mix", "target": "a"}, TargetError, "3 floats"),
        ({"images": np.zeros((2, 5, 8, 2))}, InputError, "8, 8, 2"),
    ],
)  # fmt: skip
def test_errors_name_what_to_type(linear, options, error, text):
    with pytest.raises(error, match=text):
        tfxai.visualize(linear, **{"target": 0, **FEW, **options})


def test_models_that_are_refused():
    table = keras.Sequential([keras.Input((5,)), L.Dense(2)])
    with pytest.raises(InputError, match=r"\(B, H, W, channels\)"):
        tfxai.visualize(table, 0, low=0, high=1)
    with pytest.raises(BlackBoxError):
        tfxai.visualize(lambda x: x, 0, low=0, high=1)
    x = keras.Input((None, None, 1))
    model = keras.Model(x, L.GlobalAveragePooling2D()(L.Conv2D(2, 3)(x)))
    with pytest.raises(OptionError, match=r"Write: shape=\(128, 128\)"):
        tfxai.visualize(model, 0, low=0, high=1)
    found = tfxai.visualize(model, 0, low=0, high=1, shape=(9, 6), **FEW)
    assert found.images.shape == (1, 9, 6, 1)


@pytest.mark.slow
@pytest.mark.shared
def test_one_run_reaches_the_best_of_ten_restarts(shared):
    model = keras.models.load_model(shared / "models/cifar10_cnn.keras")
    ratio, _ = ratios(model, [0, 3, 5], None, "maco", 0, 1, n_iterations=64)
    assert ratio.mean() > 0.95
