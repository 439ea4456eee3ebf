"""The further class activation maps against their formulas in NumPy float64."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.gradient.test_cam import enlarged, images, network
from tfxai.errors import ModelError, OptionError, TargetError

L = keras.layers
LAYER = "two"  # its activations have both signs


@cache
def known():
    """Return the wrapped network, images, A, dA of all classes, and the logits."""
    model, x = network(), images()
    two = keras.Model(model.inputs, [model.get_layer(LAYER).output, *model.outputs])
    a, y = two(x)
    tail = keras.Model(model.get_layer(LAYER).output, model.output)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(a)
        scores = tf.unstack(tail(a), axis=1)
    g = np.stack([tape.gradient(s, a) for s in scores]).astype(float)
    return tfxai.wrap(model), x, a.numpy().astype(float), g, y.numpy().astype(float)


def xgradcam(a, g):
    w = (a * g).sum((1, 2)) / a.sum((1, 2))
    return (a * w[:, None, None]).sum(-1)


def first_component(v, center):
    """The projection of each (h, w, C) on its first right singular vector."""
    maps = []
    for rows in v.reshape(len(v), -1, v.shape[-1]):
        shifted = rows - rows.mean(0) * center
        projection = shifted @ np.linalg.svd(shifted)[2][0]
        maps.append(projection * np.sign(projection @ shifted.sum(-1)))
    return np.reshape(maps, v.shape[:-1])


FORMULAS = {
    "hirescam": ({}, lambda a, g: (a * g).sum(-1)),
    "xgradcam": ({}, xgradcam),
    "eigencam": ({}, lambda a, g: first_component(a, False)),
    "eigencam centred": ({"center": True}, lambda a, g: first_component(a, True)),
    "eigengradcam": ({}, lambda a, g: first_component(a * g, True)),
}


def close(found, wanted, near=1e-5):
    assert np.abs(found - wanted).max() <= near * np.abs(wanted).max()


@pytest.mark.parametrize("name", FORMULAS)
def test_the_formulas(name):
    wrapped, x, a, g, y = known()
    options, formula = FORMULAS[name]
    e = tfxai.explain(
        wrapped, x, name.split()[0], [[2, 0]] * 2, layer=LAYER, resize="none", **options
    )
    np.testing.assert_allclose(e.score, y[:, [2, 0]], rtol=1e-5)
    for k, target in enumerate((2, 0)):
        close(e.relevance[:, k, ..., 0], formula(a, g[target]), 1e-4)


@pytest.mark.parametrize("channels", [3, 40])
def test_a_component_by_the_smaller_gram_matrix(channels):
    from tfxai.gradient.cam_variants import projected

    v = np.random.default_rng(0).normal(size=(2, 4, 3, channels))
    ours = projected(tf.constant(v[None]), False)[0]
    np.testing.assert_allclose(ours, first_component(v, False), atol=1e-9)


def test_ablationcam_zeroes_each_channel():
    wrapped, x, a, _, y = known()
    tail = keras.Model(wrapped.model.get_layer(LAYER).output, wrapped.model.output)
    wanted = np.zeros(a.shape[:-1])
    for c in range(a.shape[-1]):
        without = a.copy()
        without[..., c] = 0
        lost = y[:, 1] - tail(without.astype("float32")).numpy()[:, 1]
        wanted += a[..., c] * (lost / np.abs(y[:, 1]))[:, None, None]
    analyzer = tfxai.create_analyzer("ablationcam", wrapped, layer=LAYER)
    for batch_size in (1, 32):
        e = analyzer.analyze(x, 1, batch_size)
        close(e.relevance, enlarged(wanted, (12, 10)), 1e-4)


@pytest.mark.parametrize("n_classes, alpha", [(1, 1.0), (2, 0.6), (9, 1.0)])
def test_finercam_is_a_difference_of_maps(n_classes, alpha):
    wrapped, x, a, g, y = known()
    maps = (a * g.mean((2, 3), keepdims=True)).sum(-1)
    wanted = np.empty(a.shape[:-1])
    for b, z in enumerate(y):
        others = [k for k in np.argsort(np.abs(z - z[1])) if k != 1][:n_classes]
        p = np.exp(z[others]) / np.exp(z[others]).sum()
        rest = sum(v * maps[k, b] for v, k in zip(p, others, strict=True))
        wanted[b] = maps[1, b] - alpha * rest
    e = tfxai.explain(
        wrapped, x, "finercam", 1, layer=LAYER, resize="none", n_classes=n_classes,
        alpha=alpha,
    )  # fmt: skip
    close(e.relevance[..., 0], wanted)
    np.testing.assert_allclose(e.score, y[:, 1], rtol=1e-5)


def test_finercam_compares_by_no_negative_share():
    with pytest.raises(OptionError, match="alpha=-1"):
        tfxai.create_analyzer("finercam", network(), alpha=-1)


def test_finercam_needs_classes():
    wrapped, x, *_ = known()
    with pytest.raises(TargetError, match=r"target function.*\n.*\n.*gradcam"):
        tfxai.explain(wrapped, x, "finercam", lambda y: y[:, 0])
    tfxai.explain(wrapped, x, "gradcam", lambda y: y[:, 0])  # as the error suggests
    i = keras.Input((6, 6, 1))
    one = keras.Model(i, L.Dense(1)(L.Flatten()(L.Conv2D(2, 3)(i))))
    with pytest.raises(ModelError, match="1 output"):
        tfxai.explain(one, np.ones((1, 6, 6, 1), "float32"), "finercam")


@cache
def smooth():
    """Return a network that is curved behind its layer "c", and its tail."""
    x = keras.Input((7, 6, 2))
    y = L.Conv2D(3, 3, name="c")(x)
    z = L.Dense(4, "tanh")(L.Flatten()(L.Activation("gelu")(y)))
    model = zoo.fill(keras.Model(x, L.Dense(3)(z)))
    return tfxai.wrap(model), keras.Model(y, model.output)


@pytest.mark.parametrize("utility", ["rest", "logit"])
def test_shapleycam_uses_the_hessian(utility):
    wrapped, tail = smooth()
    x = images(2, (7, 6, 2))
    a = wrapped.model.get_layer("c")(x)

    def slope(shift, k):
        """The gradient of the utility at (1 + shift) A."""
        at = a * (1 + shift)
        with tf.GradientTape() as tape:
            tape.watch(at)
            z = tail(at)
            u = z[:, k] + (tf.nn.log_softmax(z)[:, k] if utility == "rest" else 0)
        return tape.gradient(u, at).numpy().astype(float)

    options = {"layer": "c", "resize": "none", "utility": utility}
    both = tfxai.explain(wrapped, x, "shapleycam", [[0, 2]] * 2, **options)
    for number, k in enumerate((0, 2)):
        h = 1e-2  # H A is the derivative of the gradient along A
        product = (slope(h, k) - slope(-h, k)) / (2 * h)
        w = (slope(0, k) - product / 2).mean((1, 2), keepdims=True)
        wanted = (a.numpy() * w).sum(-1)
        one = tfxai.explain(wrapped, x, "shapleycam", k, **options)
        close(one.relevance[..., 0], wanted, 1e-3)
        close(both.relevance[:, number], one.relevance)
    plain = tfxai.explain(wrapped, x, "gradcam", 0, layer="c", resize="none")
    assert np.abs(plain.relevance - both.relevance[:, 0]).max() > 1e-2


def test_shapleycam_of_a_piecewise_linear_tail_is_gradcam():
    wrapped, x, *_ = known()
    e = tfxai.explain(wrapped, x, "shapleycam", 1, layer=LAYER, utility="logit")
    close(e.relevance, tfxai.explain(wrapped, x, "gradcam", 1, layer=LAYER).relevance)
    with pytest.raises(OptionError, match="'odds'"):
        tfxai.create_analyzer("shapleycam", wrapped, utility="odds")


@pytest.mark.parametrize("rescale", [False, True])
def test_fullgrad_lays_biases_over_the_input(rescale):
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(3, 3, padding="same", name="one")(x)
    y = L.Conv2D(4, 3, padding="same", name="two")(L.ReLU()(y))
    z = L.Dense(3, name="end")(L.Flatten()(L.ReLU()(y)))
    model = zoo.fill(keras.Model(x, z))
    v = images(2, (6, 6, 2))
    inner = keras.Model(x, [model.get_layer(n).output for n in ("one", "two", "end")])
    v_tensor = tf.constant(v)
    with tf.GradientTape() as tape:
        tape.watch(v_tensor)
        one, two, end = inner(v_tensor)
        score = end[:, 2]
    slopes = tape.gradient(score, [v_tensor, one, two])
    biases = [v, *(model.get_layer(n).bias.numpy() for n in ("one", "two"))]
    parts = [b * g.numpy().astype(float) for b, g in zip(biases, slopes, strict=True)]
    e = tfxai.explain(model, v, "fullgrad", 2, rescale=rescale)
    last = model.get_layer("end").bias.numpy()[2]
    total = sum(p.sum((1, 2, 3)) for p in parts) + last
    np.testing.assert_allclose(total, score, rtol=1e-4)  # the theorem of the paper
    assert np.abs(e.extra["completeness"]).max() < 1e-5
    if rescale:
        sizes = [np.abs(p) for p in parts]
        low = [p.min((1, 2, 3), keepdims=True) for p in sizes]
        high = [p.max((1, 2, 3), keepdims=True) for p in sizes]
        parts = [(p - m) / (n - m) for p, m, n in zip(sizes, low, high, strict=True)]
    close(e.relevance, sum(p.sum(-1, keepdims=True) for p in parts))


def test_fullgrad_counts_the_shift_of_batch_normalisation():
    model, x = network(), images()
    assert np.abs(model.get_layer("norm").beta.numpy()).max() > 0.01
    e = tfxai.explain(model, x, "fullgrad", 1)
    assert np.abs(e.extra["completeness"]).max() <= 1e-5 * np.abs(e.score).max()


def test_a_mask_as_target_is_seg_gradcam():
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(4, 3, padding="same", activation="relu", name="before")(x)
    model = zoo.fill(keras.Model(x, L.Conv2D(3, 1, name="logits")(y)))
    v, mask = images(1, (8, 8, 2)), np.zeros((8, 8), bool)
    mask[2:5, 1:7] = True
    target = tfxai.targets.masked_sum(mask, 2)
    e = tfxai.explain(model, v, "gradcam", target, resize="none")
    kernel = model.get_layer("logits").kernel.numpy()[0, 0, :, 2]
    a = keras.Model(x, y)(v).numpy()
    close(e.relevance[..., 0], (a * kernel * mask.mean()).sum(-1))
