"""Class activation maps against their formulas, for every layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage.transform import resize

import tfxai
from tests import zoo
from tfxai.errors import ModelError, OptionError, UnknownNameError
from tfxai.gradient.resize import resized

L = keras.layers


def network(shape=(12, 10, 3)):
    x = keras.Input(shape)
    y = L.Conv2D(5, 3, activation="relu", name="one")(x)
    y = L.MaxPooling2D(name="pool")(y)
    y = L.Conv2D(4, 2, name="two")(y)
    y = L.BatchNormalization(name="norm")(y)
    y = L.ReLU(name="last")(y)
    return zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(y))))


def images(count=2, shape=(12, 10, 3), seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, *shape)).astype("float32")


def inside(model, layer, x, target):
    """Return A and dA (B, h, w, c) of a layer's output, and the scores."""
    two = keras.Model(model.inputs, [model.get_layer(layer).output, *model.outputs])
    with tf.GradientTape() as tape:
        a, y = two(x)
        tape.watch(a)
        # the part of the network after the layer
        score = keras.Model(model.get_layer(layer).output, model.output)(a)[:, target]
    return a.numpy(), tape.gradient(score, a).numpy(), y.numpy()[:, target]


def gradcam(a, g):
    return (a * g.mean((1, 2), keepdims=True)).sum(-1)


def plus_plus(a, g):
    below = 2 * g**2 + a.sum((1, 2), keepdims=True) * g**3
    alpha = np.divide(g**2, below, out=np.zeros_like(g), where=below != 0)
    w = (alpha * np.maximum(g, 0)).sum((1, 2), keepdims=True)
    return (a * w).sum(-1)


def layercam(a, g):
    return (a * np.maximum(g, 0)).sum(-1)


FORMULAS = {"gradcam": gradcam, "gradcam_plus_plus": plus_plus, "layercam": layercam}


def enlarged(maps, shape):
    """Return the maps resized as in the SGLRP repository."""
    resized_maps = [resize(m, shape, order=1, mode="reflect") for m in maps]
    return np.stack(resized_maps)[..., None]


@pytest.mark.parametrize("layer", ["one", "pool", "two", "norm", "last"])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_formulas(name, layer):
    model, x = network(), images()
    a, g, score = inside(model, layer, x, 1)
    wanted = enlarged(FORMULAS[name](a, g), (12, 10))
    e = tfxai.explain(model, x, name, 1, layer=layer)
    np.testing.assert_allclose(e.score, score, rtol=1e-5)
    assert np.abs(e.relevance - wanted).max() <= 1e-5 * np.abs(wanted).max()
    clipped = tfxai.explain(model, x, name, 1, layer=layer, relu=True, resize="none")
    bare = np.maximum(FORMULAS[name](a, g), 0)[..., None]
    np.testing.assert_allclose(clipped.relevance, bare, rtol=1e-4, atol=1e-6)


def test_scorecam_asks_about_each_channel():
    model, x = network(), images()
    a, _, _ = inside(model, "last", x, 2)
    wanted = np.zeros(a.shape[:-1])
    for b, maps in enumerate(a):
        scores = []
        for channel in np.moveaxis(maps, -1, 0):
            mask = resize(channel, (12, 10), order=1, mode="reflect")[..., None]
            low, high = mask.min(), mask.max()
            mask = (mask - low) / (high - low) if high > low else 0 * mask
            scores.append(model(x[b : b + 1] * mask.astype("float32"))[0, 2].numpy())
        w = np.exp(scores) / np.exp(scores).sum()
        wanted[b] = (maps * w).sum(-1)
    for batch_size in (1, 3, 32):
        analyzer = tfxai.create_analyzer("scorecam", model)
        e = analyzer.analyze(x, 2, batch_size)
        np.testing.assert_allclose(e.relevance, enlarged(wanted, (12, 10)), rtol=1e-4)
    assert e.extra["layer"] == "last"


@pytest.mark.parametrize("target", [0, lambda y: 2 * y[:, 2] - y[:, 1]])
def test_guided_gradcam_is_a_product(target):
    model, x = network(), images()
    cam, guided, both = (
        tfxai.explain(model, x, name, target).relevance
        for name in ("gradcam", "guided_backprop", "guided_gradcam")
    )
    np.testing.assert_allclose(both, cam * guided, rtol=1e-5, atol=1e-8)


def test_relu_follows_the_repository_and_captum():
    """GradCAM.analyze and GuidedGradCAM.analyze of uchidalab/softmaxgradient-lrp."""
    model, x = network(), images()
    a, g, _ = inside(model, "two", x, 1)
    signed = enlarged(gradcam(a, g), (12, 10))
    guided = tfxai.explain(model, x, "guided_backprop", 1).relevance
    before = enlarged(np.maximum(gradcam(a, g), 0), (12, 10))
    after = np.maximum(signed, 0)
    assert np.abs(before - after).max() > 1e-3 * np.abs(signed).max()
    wanted = {
        ("gradcam", True): after,
        ("gradcam", "layer"): before,
        ("guided_gradcam", True): after * np.maximum(guided, 0),
        ("guided_gradcam", "layer"): before * guided,
    }
    for (name, relu), map_ in wanted.items():
        e = tfxai.explain(model, x, name, 1, relu=relu, layer="two")
        assert np.abs(e.relevance - map_).max() <= 2e-5 * np.abs(map_).max()
    with pytest.raises(OptionError, match="relu='after'"):
        tfxai.create_analyzer("gradcam", model, relu="after")


@pytest.mark.parametrize("method", ["smoothgrad", "integrated_gradients"])
def test_relu_keeps_the_positive_values(method):
    model, x = network(), images()
    signed = tfxai.explain(model, x, method, 1)
    positive = tfxai.explain(model, x, method, 1, relu=True)
    assert signed.relevance.min() < 0
    assert (positive.relevance == np.maximum(signed.relevance, 0)).all()
    for name in ("completeness", "change"):
        if name in signed.extra:
            assert (positive.extra[name] == signed.extra[name]).all()


# -- which layer ---------------------------------------------------------------------


def _vgg():
    return network()


def _squeeze():
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(3, 3, activation="relu", name="classes")(x)
    return keras.Model(x, L.GlobalAveragePooling2D()(y))


def _nested():
    i = keras.Input((8, 8, 2))
    inner = keras.Model(i, L.Conv2D(4, 3, activation="relu", name="deep")(i), name="in")
    x = keras.Input((8, 8, 2))
    return keras.Model(x, L.Dense(2)(L.GlobalMaxPooling2D()(inner(x))))


def _segmentation():
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(4, 3, padding="same", activation="relu", name="before")(x)
    return keras.Model(x, L.Reshape((8, 8, 3))(L.Conv2D(3, 1, name="logits")(y)))


def _keepdims():
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(4, 3, activation="relu", name="wide")(x)
    y = L.Conv2D(3, 1)(L.GlobalAveragePooling2D(keepdims=True)(y))
    return keras.Model(x, L.Flatten()(y))


def _series():
    x = keras.Input((20, 2))
    y = L.Conv1D(4, 3, activation="relu", name="steps")(x)
    return keras.Model(x, L.Dense(2)(L.Flatten()(y)))


@pytest.mark.parametrize(
    "build, found, target",
    [
        (_vgg, "last", 0),
        (_squeeze, "classes:relu", 0),
        (_nested, "in/deep:relu", 0),
        (_segmentation, "before:relu", (1, 2, 0)),
        (_keepdims, "wide:relu", 0),
        (_series, "steps:relu", 0),
    ],
    ids=["vgg", "squeeze", "nested", "segmentation", "keepdims", "series"],
)
def test_the_last_layer_with_spatial_axes_is_found(build, found, target):
    model = zoo.fill(build())
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
    e = tfxai.explain(model, np.float32(x), "gradcam", target)
    assert e.extra["layer"] == found
    assert e.relevance.shape == (*x.shape[:-1], 1)


def test_several_inputs_get_a_map_each_also_of_a_shared_layer():
    """MultiGradCAM: a shared layer has one call, and one relevance, per input."""
    a, b = keras.Input((8, 8, 2)), keras.Input((8, 8, 2))
    shared = L.Conv2D(4, 3, activation="relu", name="shared")
    parts = [L.Flatten()(shared(v)) for v in (a, b)]
    model = zoo.fill(keras.Model([a, b], L.Dense(3)(L.Concatenate()(parts))))
    xs = [images(2, (8, 8, 2), seed) for seed in (1, 2)]
    for options in ({}, {"layer": "shared"}):
        e = tfxai.explain(model, xs, "gradcam", 1, resize="none", **options)
        assert sorted(e.extra["layer"]) == ["shared:relu", "shared:relu@2"]
        k = model.layers[-1].kernel.numpy()[:, 1].reshape(2, 6, 6, 4)
        for x, w, ours in zip(xs, k, e.relevance, strict=True):
            wanted = (shared(x).numpy() * w.mean((0, 1))).sum(-1)[..., None]
            np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-6)


def test_a_layer_behind_the_meeting_speaks_for_both_inputs():
    a, b = keras.Input((8, 8, 2)), keras.Input((8, 8, 2))
    y = L.Conv2D(4, 3, activation="relu", name="after")(L.Concatenate()([a, b]))
    model = zoo.fill(keras.Model([a, b], L.Dense(3)(L.Flatten()(y))))
    xs = [images(2, (8, 8, 2), seed) for seed in (1, 2)]
    e = tfxai.explain(model, xs, "gradcam", 1)
    assert e.extra["layer"] == ["after:relu", "after:relu"]
    np.testing.assert_array_equal(e.relevance[0], e.relevance[1])


# -- resizing to the input -----------------------------------------------------------


@pytest.mark.parametrize("small, large", [((3, 4), (12, 10)), ((1, 5), (7, 5))])
def test_a_map_is_enlarged_as_scikit_image_does(small, large):
    maps = np.random.default_rng(0).normal(size=(1, 2, *small)).astype("float32")
    ours = np.asarray(resized(tf.constant(maps), list(large)))[0]
    wanted = enlarged(maps[0], large)[..., 0]
    np.testing.assert_allclose(ours, wanted, atol=1e-5)


def test_a_map_that_is_made_smaller_keeps_its_mean():
    fine = np.zeros((1, 1, 64, 64), np.float32)
    fine[..., ::2, ::2] = 1.0  # every eighth value alone would not show this pattern
    small = np.asarray(resized(tf.constant(fine), [8, 8]))
    assert np.abs(small - 0.25).max() < 0.02


@pytest.mark.parametrize(
    "options, error, seen",
    [
        ({"layer": "thre"}, UnknownNameError, "'thre'"),
        ({"resize": "cubic"}, OptionError, "'cubic'"),
        ({"layer": "dense"}, ModelError, "(dense) keeps their spatial axes"),
    ],
)
def test_what_cannot_be_laid_over_is_named(options, error, seen):
    model = network()
    model.layers[-1].name = "dense"
    with pytest.raises(error) as caught:
        tfxai.create_analyzer("gradcam", model, **options)
    assert seen in caught.value.seen
