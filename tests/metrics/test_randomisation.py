"""Randomised weights layer by layer: the user's model keeps its weights."""

import keras
import numpy as np
import pytest
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

import tfxai
from tests import zoo
from tests.metrics.linear_model import images, linear
from tfxai.core.analyzer import Analyzer
from tfxai.errors import InputError, ModelError, OptionError
from tfxai.metrics.randomisation import (
    data_randomisation,
    randomisation,
    rank_correlation,
    ssim,
)

L = keras.layers


def nested():
    """A network with a shared, a nested and a normalised layer."""
    x = keras.Input((12, 12, 3))
    y = L.Conv2D(4, 3, name="first", activation="relu")(x)
    y = L.BatchNormalization(name="norm")(y)
    inner = keras.Sequential(
        [keras.Input((10, 10, 4)), L.Conv2D(4, 3, padding="same", name="inner")]
    )
    y = inner(inner(y))
    y = L.Dense(3, name="last")(L.Flatten()(L.AveragePooling2D(2)(y)))
    return zoo.fill(keras.Model(x, y))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = L.Conv2D(4, 3, activation="relu", name="first")
        self.flat, self.last = L.Flatten(), L.Dense(3, name="last")

    def call(self, x):
        return self.last(self.flat(self.conv(x)))


def subclassed():
    model = Subclassed()
    model(images(1))
    return zoo.fill(model)


class Secret(L.Layer):
    """A layer without a configuration."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return self.factor * x

    def get_config(self):
        raise NotImplementedError("no configuration")


def uncopied():
    x = keras.Input((12, 12, 3))
    y = L.Conv2D(4, 3, activation="relu", name="first")(x)
    y = L.Dense(3, name="last")(L.Flatten()(Secret(2.0)(y)))
    return zoo.fill(keras.Model(x, y))


def deferred():
    """A Sequential model that was built by its first batch."""
    conv = L.Conv2D(4, 3, activation="relu", name="first")
    model = keras.Sequential([conv, L.Flatten(), L.Dense(3, name="last")])
    model(images(1))
    return zoo.fill(model)


def same(model, kept):
    pairs = zip(model.variables, kept, strict=True)
    return all(np.array_equal(np.asarray(v), k) for v, k in pairs)


@pytest.mark.parametrize("order", ["cascading", "independent"])
@pytest.mark.parametrize("make", [nested, subclassed, uncopied, deferred])
def test_the_maps_are_those_of_randomised_networks(make, order):
    model, x = make(), images(2)
    kept = [np.array(np.asarray(v)) for v in model.variables]
    result = randomisation("gradient", model, x, order=order, seed=3)
    assert same(model, kept)
    names = {nested: ("last", "inner", "norm", "first")}
    assert result.layers == names.get(make, ("last", "first"))
    first = tfxai.explain(model, x, "gradient")
    np.testing.assert_array_equal(result.target, model(x).numpy().argmax(1))
    np.testing.assert_allclose(result.original, first.heatmap(), atol=1e-6)
    for s, stage in enumerate(result.heatmaps):
        for i, (a, b) in enumerate(zip(result.original, stage, strict=True)):
            assert not np.allclose(a, b, rtol=0.01, atol=0)
            wanted = spearmanr(np.abs(a).ravel(), np.abs(b).ravel()).statistic
            assert result.rank_correlation[s, i] == pytest.approx(wanted, abs=1e-9)
            assert result.ssim[s, i] == pytest.approx(ssim(a, b))
    again = randomisation("gradient", model, x, order=order, seed=3)
    np.testing.assert_array_equal(again.heatmaps, result.heatmaps)
    other = randomisation("gradient", model, x, order=order, seed=4)
    assert not np.allclose(other.heatmaps[0], result.heatmaps[0])


def test_a_cascade_keeps_what_it_drew_and_one_layer_alone_does_not():
    """The first stage is the same in both orders; the second one differs."""
    model, x = nested(), images(2)
    cascade = randomisation("gradient", model, x, order="cascading")
    alone = randomisation("gradient", model, x, order="independent")
    np.testing.assert_allclose(cascade.heatmaps[0], alone.heatmaps[0], atol=1e-6)
    assert not np.allclose(cascade.heatmaps[1], alone.heatmaps[1], atol=1e-3)


def test_some_stages_are_those_of_all():
    model, x = nested(), images(2)
    for order in ("cascading", "independent"):
        full = randomisation("gradient", model, x, order=order)
        for stages, shown in ((1, [3]), (2, [0, 3]), (9, [0, 1, 2, 3])):
            some = randomisation("gradient", model, x, order=order, stages=stages)
            assert some.layers == tuple(full.layers[i] for i in shown)
            np.testing.assert_allclose(some.heatmaps, full.heatmaps[shown], atol=1e-6)
            np.testing.assert_allclose(
                some.rank_correlation, full.rank_correlation[shown], atol=1e-5
            )


def test_a_layer_whose_weights_are_all_alike_is_no_stage():
    """Permuting an untrained BatchNormalization would not change the heatmap."""
    x = keras.Input((12, 12, 3))
    y = L.BatchNormalization()(L.Conv2D(4, 3, name="conv")(x))
    model = keras.Model(x, L.Dense(3, name="last")(L.Flatten()(y)))
    for order in ("cascading", "independent"):
        result = randomisation("gradient", model, images(2), order=order)
        assert result.layers == ("last", "conv")
        assert (result.signed < 0.9).all()
    blank = keras.Model(x, L.Flatten()(L.BatchNormalization()(x)))
    with pytest.raises(ModelError, match="no weights that differ"):
        randomisation("gradient", blank, images(1))


def test_the_maps_of_a_network_that_learnt_labels_by_lot():
    model, other, x = linear(None), linear(None, seed=9), images(2)
    result = data_randomisation("input_t_gradient", model, other, x)
    top = model.predict(x, verbose=0).argmax(1)
    np.testing.assert_array_equal(result.target, top)
    for heatmaps, network in ((result.original, model), (result.heatmaps[0], other)):
        kernel = np.asarray(network.weights[0]).T[top].reshape(2, 12, 12, 3)
        np.testing.assert_allclose(heatmaps, (x * kernel).sum(-1), atol=1e-5)
    pairs = zip(result.original, result.heatmaps[0], strict=True)
    wanted = [rank_correlation(a, b) for a, b in pairs]
    np.testing.assert_allclose(result.rank_correlation, [wanted])
    assert result.layers == ("permuted labels",) and np.abs(wanted).max() < 0.5
    with pytest.raises(InputError, match="permuted labels"):
        data_randomisation("gradient", model, linear(None, side=10, channels=2), x)


def test_a_linear_map_by_hand():
    """One layer: the gradient is its kernel, which keeps its standard deviation."""
    model, x = linear(None), images(2)
    result = randomisation("gradient", model, x, target=1)
    kernel = np.asarray(model.weights[0])
    np.testing.assert_allclose(
        result.original[0], kernel[:, 1].reshape(12, 12, 3).sum(-1), atol=1e-6
    )
    assert np.ptp(result.heatmaps[0], axis=0).max() < 1e-6  # the same for both images
    deviation = result.heatmaps[0, 0].std() / np.sqrt(3)
    # cut at two deviations, a normal distribution has one of 0.88
    assert deviation == pytest.approx(0.88 * kernel.std(), rel=0.2)
    assert np.abs(result.rank_correlation).max() < 0.35


def test_similarities_by_hand():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 9, 9))
    assert ssim(a, -3 * a) == pytest.approx(1)
    assert rank_correlation(a, -(a**3)) == pytest.approx(1)
    assert rank_correlation(a, np.zeros((9, 9))) == 0
    scaled = [(np.abs(v) - np.abs(v).min()) / np.ptp(np.abs(v)) for v in (a, b)]
    wanted = structural_similarity(*scaled, data_range=1.0)
    assert ssim(a, b) == pytest.approx(wanted)
    assert np.isfinite(ssim(a[:4, :6], b[:4, :6]))
    flat = np.zeros((9, 9))
    assert ssim(a, flat) == ssim(flat, a) == 0 and ssim(flat, flat) == 1


def test_signs_that_turn_are_seen():
    """The image is a factor of both: |heatmap| is similar, the signs are not."""
    model, other, x = linear(None), linear(None), images(2) ** 3
    model.set_weights([np.sign(model.get_weights()[0])])
    kernel = np.random.default_rng(0).choice([-1.0, 1.0], (432, 3))
    other.set_weights([kernel])
    x = x.mean(-1, keepdims=True) * np.float32([1, 0.01, 0.01])
    result = data_randomisation("input_t_gradient", model, other, x)
    assert result.rank_correlation.min() > 0.9 and np.abs(result.signed).max() < 0.3
    for i in range(2):
        a, b = result.original[i].ravel(), result.heatmaps[0, i].ravel()
        assert result.signed[0, i] == pytest.approx(spearmanr(a, b).statistic)


@pytest.mark.parametrize("make", [nested, subclassed, uncopied])
def test_the_model_is_as_it_was_after_an_error(make, monkeypatch):
    model, x = make(), images(2)
    kept = [np.array(np.asarray(v)) for v in model.variables]
    seen = []

    whole = Analyzer.analyze

    def analyze(self, *args):
        seen.append(len(seen))
        if len(seen) == 3:  # the second stage: a layer is random already
            raise RuntimeError("stop")
        return whole(self, *args)

    monkeypatch.setattr(Analyzer, "analyze", analyze)
    with pytest.raises(RuntimeError, match="stop"):
        randomisation("gradient", model, x)
    assert len(seen) == 3 and same(model, kept)


def test_what_is_refused():
    model, x = linear(), images(2)
    with pytest.raises(OptionError, match="order='random'"):
        randomisation("gradient", model, x, order="random")
    with pytest.raises(OptionError, match="stages=0"):
        randomisation("gradient", model, x, stages=0)
    with pytest.raises(ModelError, match="no layers"):
        randomisation("occlusion", lambda v: v, x)
    with pytest.raises(InputError, match="one class per sample"):
        randomisation("gradient", model, x, target="all")
    empty = keras.Sequential([keras.Input((12, 12, 3)), L.GlobalAveragePooling2D()])
    with pytest.raises(ModelError, match="no weights"):
        randomisation("gradient", empty, x)
