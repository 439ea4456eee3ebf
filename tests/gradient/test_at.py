"""`at=`: layers in place of the input, against gradients of sub-models by hand."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.gradient.test_cam import images
from tfxai.errors import (
    BlackBoxError,
    InputError,
    ModelError,
    NothingToExplainWarning,
    OptionError,
    UnknownNameError,
)

L = keras.layers


@cache
def known():
    """Return a wrapped network, its halves, images and a baseline image."""
    i = keras.Input((6, 6, 2))
    a = L.Conv2D(3, 3, activation="tanh", name="block")(i)
    z = L.Dense(4, "tanh", name="hidden")(L.Flatten(name="flat")(a))
    model = zoo.fill(keras.Model(i, L.Dense(3, name="end")(z)))
    head = keras.Model(i, model.get_layer("block").output)
    tail = keras.Model(model.get_layer("block").output, model.output)
    return tfxai.wrap(model), head, tail, images(2, (6, 6, 2))


def slope(tail, a, k):
    a = tf.constant(a)
    with tf.GradientTape() as tape:
        tape.watch(a)
        score = tail(a)[:, k]
    return tape.gradient(score, a).numpy().astype(float)


def close(found, wanted, near=1e-5):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= near * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["gradient", "input_t_gradient", "input"])
def test_one_gradient_at_a_layer(name):
    wrapped, head, tail, x = known()
    a = head(x).numpy()
    e = tfxai.explain(wrapped, x, name, [[2, 0]] * 2, at="block")
    for number, k in enumerate((2, 0)):
        g = slope(tail, a, k)
        wanted = {"gradient": g, "input_t_gradient": a * g, "input": a + 0 * g}[name]
        close(e.relevance[:, number], wanted)
    close(e.inputs, a)
    assert e.extra["at"].startswith("block") and "values" not in e.extra
    y = wrapped.model(x).numpy()
    np.testing.assert_allclose(e.score, y[:, [2, 0]], rtol=1e-5)


def test_integrated_gradients_along_the_line_of_the_activations():
    wrapped, head, tail, x = known()
    a, a0 = head(x).numpy(), head(np.zeros_like(x)).numpy()
    nodes, weights = np.polynomial.legendre.leggauss(20)
    mean = sum(
        w / 2 * slope(tail, a0 + np.float32((t + 1) / 2) * (a - a0), 1)
        for t, w in zip(nodes, weights, strict=True)
    )
    e = tfxai.explain(wrapped, x, "integrated_gradients", 1, at=1, n_steps=20)
    close(e.relevance, (a - a0) * mean, 1e-4)
    assert np.abs(e.extra["completeness"]).max() < 1e-4


def test_conductance_and_influence_follow_the_input():
    wrapped, head, tail, x = known()
    n, base = 10, 0.3

    def at(level):
        return head(np.float32(base) + np.float32(level) * (x - np.float32(base)))

    wanted = sum(
        slope(tail, at((i + 0.5) / n), 1) * (at((i + 1) / n) - at(i / n)).numpy()
        for i in range(n)
    )
    options = {"at": "block", "baseline": base, "n_steps": n}
    for batch_size in (2, 32):
        analyzer = tfxai.create_analyzer("conductance", wrapped, **options)
        e = analyzer.analyze(x, 1, batch_size)
        close(e.relevance, wanted, 1e-4)
    change = wrapped.model(x)[:, 1] - tail(at(0))[:, 1]
    np.testing.assert_allclose(e.extra["change"], change, rtol=1e-4)
    nodes, weights = np.polynomial.legendre.leggauss(n)
    wanted = sum(
        w / 2 * slope(tail, at((t + 1) / 2), 1)
        for t, w in zip(nodes, weights, strict=True)
    )
    e = tfxai.explain(wrapped, x, "internal_influence", 1, **options)
    close(e.relevance, wanted, 1e-4)


def skipping():
    """Return a network with a shortcut around "hidden", and its weights in float64."""
    i = keras.Input((4,))
    h = L.Dense(4, "tanh", name="hidden")(i)
    y = L.Dense(3)(L.Activation("tanh")(L.Add(name="sum")([i, h])))
    model = zoo.fill(keras.Model(i, y))
    return model, [w.astype(float) for w in model.get_weights()]


def test_conductance_through_neurons_is_that_of_the_inputs():
    """The sum over the path of dF/dh * dh/dx * dx, in float64, without the shortcut."""
    model, (w, b, v, _) = skipping()
    x, n = np.random.default_rng(0).normal(size=(3, 4)), 6
    wanted = np.zeros((3, 2, 4))
    neurons = [1, 3]
    for step in range(n):
        at = (step + 0.5) / n * x
        h = np.tanh(at @ w + b)
        for number, k in enumerate((2, 0)):
            above = (1 - np.tanh(at + h) ** 2) * v[:, k]  # dF / dh
            each = (above * (1 - h**2))[:, None] * w[None]  # (B, inputs, neurons)
            wanted[:, number] += each[..., neurons].sum(-1) * x / n
    x = x.astype("float32")
    options = {"n_steps": n, "conditions": {"hidden": neurons}}
    for batch_size in (4, 32):
        analyzer = tfxai.create_analyzer("conductance", model, **options)
        close(analyzer.analyze(x, [[2, 0]] * 3, batch_size).relevance, wanted)
    one = tfxai.explain(model, x, "conductance", lambda y: 2 * y[:, 2], **options)
    close(one.relevance, 2 * wanted[:, 0])
    with pytest.raises(OptionError, match="one of the two"):
        tfxai.create_analyzer("conductance", model, at="hidden", **options)
    two = {"hidden": [0], "sum": [1]}
    for wrong, text in ((two, "conditions name 2 layers"), ([two], "from one layer")):
        with pytest.raises(OptionError, match=text):
            tfxai.create_analyzer("conductance", model, conditions=wrong)


def test_conductance_at_the_input_is_integrated_gradients():
    wrapped, *_, x = known()
    e = tfxai.explain(wrapped, x, "conductance", 1, n_steps=8)
    ig = tfxai.explain(
        wrapped, x, "integrated_gradients", 1, n_steps=8, quadrature="midpoint"
    )
    close(e.relevance, ig.relevance)
    close(e.extra["change"], ig.extra["change"])


def test_conductance_computes_nothing_beyond_the_input():
    i = keras.Input((2,))
    model = zoo.fill(keras.Model(i, L.Dense(2)(keras.ops.log(1.05 - i))))
    wrapped, x = tfxai.wrap(model), np.ones((1, 2), "float32")
    parts = [
        tfxai.explain(wrapped, x, "conductance", 1, n_steps=3, batch_size=n).relevance
        for n in (2, 3)  # of 3 steps, 2 at once: the last call has one too many
    ]
    assert np.abs(parts[1]).min() > 0
    close(*parts)


def test_what_passes_beside_the_layer_stays_as_it_is():
    """A skip connection is no part of the gradient at the layer, but is of the path."""
    i = keras.Input((4,))
    a = L.Dense(4, "tanh", name="branch")(i)
    model = zoo.fill(keras.Model(i, L.Dense(2)(L.Activation("tanh")(L.Add()([i, a])))))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    branch = model.get_layer("branch")(x)
    with tf.GradientTape() as tape:
        tape.watch(branch)
        score = model.layers[-1](tf.tanh(x + branch))[:, 1]
    e = tfxai.explain(model, x, "gradient", 1, at="branch")
    close(e.relevance, tape.gradient(score, branch).numpy())
    fine = tfxai.explain(model, x, "conductance", 1, at="branch", n_steps=200)
    total = fine.relevance.sum(1) - fine.extra["change"]
    np.testing.assert_allclose(total, fine.extra["completeness"], atol=1e-6)
    assert np.abs(total).max() > 1e-2  # what the skip connection carries


def test_vectors_of_tokens_are_a_layer():
    i = keras.Input((5,), dtype="int32")
    vectors = L.Embedding(9, 4, name="words")(i)
    y = L.GlobalAveragePooling1D()(L.Dense(3, "tanh")(vectors))
    model = zoo.fill(keras.Model(i, L.Dense(2)(y)))
    ids = np.array([[1, 2, 3, 4, 5], [5, 5, 1, 0, 2]])
    e = tfxai.explain(model, ids, "input_t_gradient", 1, at="words")
    assert e.relevance.shape == (2, 5, 4)
    whole = tfxai.explain(model, ids, "input_t_gradient", 1)
    close(e.relevance.sum(-1), whole.relevance)
    with pytest.raises(InputError, match="token ids, between which"):
        tfxai.explain(model, ids, "conductance", 1, at="words")
    tfxai.explain(model, ids, "integrated_gradients", 1, at="words")  # as it suggests


def test_layers_that_are_none():
    wrapped, *_ = known()
    with pytest.raises(UnknownNameError, match="'blok'"):
        tfxai.create_analyzer("gradient", wrapped, at="blok")
    i = keras.Input((3, 4))
    model = keras.Model(i, L.Dense(2)(L.LSTM(3, name="memory")(i)))
    with pytest.raises((ModelError, UnknownNameError)):
        tfxai.create_analyzer("gradient", model, at="memory:pack")


def test_noise_is_drawn_from_the_seed():
    wrapped, *_, x = known()
    e = tfxai.explain(wrapped, x, "random", [[0, 1]] * 2, stddev=2.0)
    np.testing.assert_array_equal(e.relevance[0, 0], e.relevance[1, 1])
    assert 1.5 < e.relevance.std() < 2.5
    other = tfxai.explain(wrapped, x, "random", 0, seed=1)
    assert np.abs(other.relevance - e.relevance[:, 0] / 2).max() > 0.1


def test_expected_gradients_between_activations():
    """Behind a linear layer, the weights times the change from the mean activation."""
    i = keras.Input((6, 6, 2))
    a = L.Conv2D(3, 3, activation="tanh", name="block")(i)
    model = zoo.fill(keras.Model(i, L.Dense(3)(L.Flatten()(a))))
    x, rows = images(2, (6, 6, 2)), images(4, (6, 6, 2))[2:]
    e = tfxai.explain(
        model, x, "expected_gradients", 1, background=rows, n_samples=4, at="block"
    )
    block = keras.Model(i, a)
    gap = block(x) - tf.reduce_mean(block(rows), 0)
    weights = model.layers[-1].kernel.numpy()[:, 1].reshape(4, 4, 3)
    close(e.relevance, np.asarray(gap) * weights, 1e-4)
    np.testing.assert_allclose(e.inputs, block(x), rtol=1e-5, atol=1e-6)
    assert e.extra["standard_error"].shape == e.relevance.shape


@pytest.mark.parametrize("name", ["smoothgrad", "certified"])
def test_methods_around_a_layer_have_its_activations(name):
    wrapped, head, tail, x = known()
    noise = {"noise": 1e-6} if name == "smoothgrad" else {"sigma": 1e-6}
    e = tfxai.explain(
        wrapped, x, name, 1, base_options={"at": "block"}, n_samples=50, **noise
    )
    np.testing.assert_allclose(e.inputs, head(x), rtol=1e-5, atol=1e-6)
    wanted = slope(tail, head(x), 1)
    if name == "smoothgrad":
        close(e.relevance, wanted, 1e-3)
        return
    total = wanted.sum(-1).reshape(2, -1)
    best = total > np.sort(total)[:, -5:-4]  # 4 of 16
    assert (e.relevance.reshape(2, -1) == np.where(best, 1, -1)).all()


def test_a_warning_names_the_line_of_the_caller():
    i = keras.Input((3,))
    y = L.Dense(4, name="hidden")(i)
    model = keras.Model(i, L.Dense(2, kernel_initializer="zeros")(y))
    wrapped, x = tfxai.wrap(model), np.ones((1, 3), "float32")
    layer = {"at": "hidden"}
    for name, given in (("gradient", {}), ("gradient", layer), ("lrp.epsilon", {})):
        analyzer = tfxai.create_analyzer(name, wrapped, **given)
        with pytest.warns(NothingToExplainWarning) as seen:
            analyzer.analyze(x, 0)
        assert seen[0].filename == __file__, name


def deletion(tail, a, groups, cover, k):
    """f_k(a) - f_k(a without a group) for each unit, by a loop in float64."""
    plain, found = tail(a).numpy().astype(float)[:, k], np.zeros(a.shape)
    for group in np.unique(groups):
        mask = np.broadcast_to(groups == group, a.shape[1:])
        lost = plain - tail(np.where(mask, cover, a)).numpy()[:, k]
        found[:, mask] = lost[:, None]
    return found


@pytest.mark.parametrize(
    "groups, options",
    [
        (np.arange(48).reshape(4, 4, 3), {"window": (1, 1, 1)}),
        (np.arange(16).reshape(4, 4, 1), {"window": 1}),
        (np.arange(3), {"segments": np.arange(3)}),
    ],
    ids=["units", "positions", "channels"],
)
@pytest.mark.parametrize("baseline", [0, 0.3, "mean"])
def test_deletion_at_a_layer_is_a_loop(groups, options, baseline):
    wrapped, head, tail, x = known()
    a = head(x).numpy()
    cover = a.mean((1, 2), keepdims=True) if baseline == "mean" else baseline
    e = tfxai.explain(
        wrapped, x, "occlusion", [[2, 0]] * 2, at="block", baseline=baseline,
        batch_size=9, **options,
    )  # fmt: skip
    for number, k in enumerate((2, 0)):
        wanted = deletion(tail, a, groups, cover, k)
        found = np.broadcast_to(e.relevance[:, number], wanted.shape)
        np.testing.assert_allclose(found, wanted, atol=2e-6)
    close(e.inputs, a)
    np.testing.assert_allclose(
        e.score, wrapped.model(x).numpy()[:, [2, 0]], rtol=1e-5, atol=1e-6
    )


def test_deletion_at_a_layer_by_a_background_and_beside_a_shortcut():
    i = keras.Input((4,))
    a = L.Dense(4, "tanh", name="branch")(i)
    model = zoo.fill(keras.Model(i, L.Dense(2)(L.Activation("tanh")(L.Add()([i, a])))))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    x, rows = x[:2], x[2:]
    branch = model.get_layer("branch")
    a, covers = branch(x).numpy(), branch(rows).numpy()

    def tail(a):
        return model.layers[-1](tf.tanh(x + a))

    wanted = np.mean([deletion(tail, a, np.arange(4), c, 1) for c in covers], 0)
    double = tfxai.wrap(model, preprocess=lambda v: v * 2)
    e = tfxai.explain(double, x / 2, "occlusion", 1, at="branch", background=rows / 2)
    np.testing.assert_allclose(e.relevance, wanted, atol=2e-6)
    assert np.abs(wanted).max() > 0.05
    with pytest.raises(OptionError, match="precision='bfloat16' with at"):
        tfxai.create_analyzer("occlusion", model, at="branch", precision="bfloat16")
    with pytest.raises(BlackBoxError, match="a black box"):
        tfxai.create_analyzer("occlusion", lambda v: v, at="branch")


@pytest.mark.parametrize("method", ["conductance", "internal_influence"])
def test_the_line_for_token_ids_can_be_typed(method):
    i = keras.Input((4,), dtype="int32")
    y = L.Dense(3, "tanh", name="hidden")(L.Embedding(9, 5, name="words")(i))
    head = L.Dense(2, name="end")
    model = zoo.fill(keras.Model(i, head(L.GlobalAveragePooling1D()(y))))
    x = np.array([[1, 2, 3, 4]])
    with pytest.raises(InputError, match="no line") as caught:
        tfxai.explain(model, x, method, target=0, at="hidden")
    options = eval(f"dict({caught.value.write})")
    e = tfxai.explain(model, x, target=0, n_steps=50, **options)
    vectors = np.asarray(model.get_layer("words")(x))
    assert e.relevance.shape == vectors.shape
    w, b = (np.asarray(v) for v in model.get_layer("hidden").weights)
    start = np.asarray(model.get_layer("words")(0 * x))  # the vector of token 0
    change = np.tanh(vectors @ w + b) - np.tanh(start @ w + b)
    wanted = change.mean(1) @ np.asarray(head.kernel)[:, 0]
    np.testing.assert_allclose(e.relevance.sum(), wanted, rtol=1e-4)
