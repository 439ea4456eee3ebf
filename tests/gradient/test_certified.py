"""Certificates of the top k: bounds, radii, and perturbations inside the radius."""

import keras
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, norm

import tfxai
from tests import zoo
from tfxai.errors import ModelError, NotFiniteWarning, OptionError
from tfxai.gradient.certified import (
    Draws,
    certificates,
    in_top,
    lower_bounds,
    per_pixel,
)

L = keras.layers


def test_the_bounds_are_those_of_clopper_and_pearson():
    """At the bound, as many successes or more have exactly the probability `level`."""
    bounds = lower_bounds(20, 0.01)
    assert bounds[0] == 0
    for k in (1, 7, 20):
        np.testing.assert_allclose(binom.sf(k - 1, 20, bounds[k]), 0.01, rtol=1e-9)


def test_counts_become_certificates_by_hand():
    counts = np.array([0, 3, 50, 97, 100]).reshape(1, 1, 5)
    found = certificates([counts], 100, 0.2, 0.75, 0.05)
    p = [
        brentq(lambda q, k=k: binom.sf(k - 1, 100, q) - 0.005, 0, 1) for k in (97, 100)
    ]
    assert found["relevance"][0][0, 0].tolist() == [-1, -1, 0, 1, 1]
    wanted = 0.2 * norm.ppf([p[1], p[0], 0.5, p[0], p[1]])
    np.testing.assert_allclose(found["radius"][0, 0], wanted, atol=1e-5)
    assert found["abstained"] == [[0.2]]
    np.testing.assert_allclose(found["in_top"][0, 0], [0, 0.03, 0.5, 0.97, 1])


def test_the_top_k_of_pixels():
    maps = np.zeros((1, 1, 2, 2, 3))
    maps[0, 0, 0, 1] = [5, -9, 1]  # -3 in sum
    maps[0, 0, 1, 0] = [1, 1, 1]
    assert per_pixel(maps, False)[0, 0, ..., 0].tolist() == [[0, -3], [3, 0]]
    assert per_pixel(maps.transpose(0, 1, 4, 2, 3), True).shape == (1, 1, 1, 2, 2)
    best = in_top(per_pixel(maps, False), 0.25)[0, 0, ..., 0]
    assert best.tolist() == [[False, False], [True, False]]
    equal = in_top(np.float32([[[2, 1, 1, 0], [3, 3, 3, 3]]]), 0.5)
    assert equal[0].tolist() == [[True, False, False, False], [False] * 4]
    assert in_top(np.ones((1, 1, 1)), 0.5).all()


def linear():
    """A model whose map x * w has a known smoothed top k."""
    x = keras.Input((6,))
    model = keras.Model(x, L.Dense(1, use_bias=False)(x))
    model.layers[-1].kernel.assign(np.ones((6, 1)))
    return model


def test_a_linear_model_has_the_radius_of_theory():
    """The best of x + noise is the second with p = F(gap / (sigma root 2))."""
    x = np.zeros((1, 6), "float32")
    x[0, 1], sigma = 0.9, 0.15
    e = tfxai.explain(
        linear(), x, "certified", base_method="input_t_gradient", fraction=1 / 6,
        sigma=sigma, n_samples=400,
    )  # fmt: skip
    assert e.relevance[0].tolist() == [-1, 1, -1, -1, -1, -1]
    bound = (0.001 / 12) ** (1 / 400)  # 400 of 400 draws
    np.testing.assert_allclose(e.extra["radius"], sigma * norm.ppf(bound), rtol=1e-5)
    level = sigma * norm.ppf(0.75)
    np.testing.assert_allclose(e.extra["certified_radius"], level)
    assert level < e.extra["radius"].max() < 0.9 / np.sqrt(2)  # the true radius
    far = x.copy()
    far[0, 1] = 0.05
    e = tfxai.explain(linear(), far, "certified", base_method="input_t_gradient")
    assert e.extra["abstained"] > 0.5 and e.relevance[0, 1] != -1


@pytest.fixture(scope="module")
def network():
    x = keras.Input((8, 8, 3))
    y = L.GlobalAveragePooling2D()(L.Conv2D(6, 3, activation="softplus")(x))
    return tfxai.wrap(zoo.fill(keras.Model(x, L.Dense(3)(L.Dense(5, "tanh")(y)))))


def pictures(count=1):
    return np.random.default_rng(5).uniform(0, 1, (count, 8, 8, 3)).astype("float32")


def violations(wrapped, x, count, seed, **options):
    """Return certificates, and perturbations after which one of them fails.

    Half of them are random, and half point to another image; all have the norm of the
    radius. A certificate fails if the share of draws is on the wrong side of 1/2 by
    more than chance, at the level 1e-6.
    """
    e = tfxai.explain(wrapped, x, "certified", 1, **options)
    rng, radius = np.random.default_rng(seed), e.extra["certified_radius"]
    d = rng.normal(size=(count, *x.shape[1:])).astype("float32")
    d[::2] += 4 * (rng.uniform(0, 1, (len(d[::2]), *x.shape[1:])) - x)
    d *= radius / np.sqrt((d**2).sum((1, 2, 3), keepdims=True))
    other = tfxai.create_analyzer("certified", wrapped, seed=seed, **options)
    share = other.analyze(x + d, 1, batch_size=256).extra["in_top"]
    n = options["n_samples"]
    inside, wins = e.relevance[0], np.rint(share * n)
    low = binom.cdf(wins, n, 0.5) < 1e-6
    high = binom.sf(wins - 1, n, 0.5) < 1e-6
    failed = np.where(inside == 1, low, np.where(inside == -1, high, False))
    return e, failed.reshape(count, -1).any(1)


def test_certificates_hold_inside_the_radius(network):
    e, failed = violations(network, pictures(), 12, 1, sigma=0.05, n_samples=60)
    assert (e.relevance == 1).sum() >= 3 and (e.relevance == -1).sum() >= 20
    assert not failed.any()


@pytest.mark.slow
def test_certificates_hold_in_a_hundred_perturbations(network):
    for method in ("integrated_gradients", "lrp.epsilon"):
        given = {"base_options": {"n_steps": 4}} if "int" in method else {}
        e, failed = violations(
            network, pictures(), 100, 2, sigma=0.05, n_samples=60,
            base_method=method, **given,
        )  # fmt: skip
        assert (e.relevance != 0).any() and not failed.any()


def test_a_method_outside_the_graph_and_a_callable():
    def predict(v):
        return v @ np.float32([[1, 0], [2, 1], [-3, 0]])

    x = np.float32([[0.3, 0.8, 0.5]])
    e = tfxai.explain(
        predict, x, "certified", 0, base_method="occlusion",
        base_options={"baseline": 0}, fraction=0.34, sigma=0.05,
    )  # fmt: skip
    assert e.relevance[0].tolist() == [-1, 1, -1]


def test_options_and_whole_numbers_are_named(network):
    x = pictures()
    for given, text in (
        ({"sigma": 0}, "sigma=0"), ({"tau": 0.5}, "tau=0.5"),
        ({"fraction": 1}, "fraction=1"), ({"alpha": -0.1}, "alpha=-0.1"),
        ({"base_method": "certified"}, 'base_method="certified"'),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=text):
            tfxai.create_analyzer("certified", network, **given)
    with pytest.raises(OptionError, match="at least 41 draws"):
        tfxai.explain(network, x, "certified", n_samples=40)
    tfxai.explain(network, x, "certified", n_samples=41, sigma=1e-6)
    with pytest.raises(ModelError, match="whole numbers"):
        tfxai.explain(network.model, np.ones((1, 8, 8, 3), int), "certified")


@pytest.mark.parametrize("method", ["smoothgrad", "certified"])
def test_the_relevance_of_a_layer_comes_with_its_output(method, network):
    options = {"base_method": "lrp.epsilon"}
    model = network.model
    layer = model.layers[1].name
    if method == "smoothgrad":
        options["n_samples"] = 3
    x = pictures()
    e = tfxai.explain(
        network, x, method, 0, base_options={"at": layer}, **options
    )  # fmt: skip
    made = keras.Model(model.inputs, model.get_layer(layer).output)(x)
    assert e.relevance.shape[:3] == e.inputs.shape[:3]
    np.testing.assert_allclose(e.inputs, made, atol=1e-5)


def test_maps_that_are_not_finite_certify_nothing():
    draws = Draws(0.1, 20, 0)

    def function(batch, target, max_batch):
        maps = np.broadcast_to(batch[0], (1, *batch[0].shape)).copy()
        maps[:, 1::2] = np.nan
        return {"relevance": [maps]}

    x, target = np.eye(4, dtype="float32")[:2], np.zeros((2, 1), "int32")
    with pytest.warns(NotFiniteWarning, match=r"sample\(s\) \[1\]"):
        (counts,) = draws.counts(function, [x], target, 100, lambda m: in_top(m, 0.25))
    assert counts[0, 0].tolist() == [20, 0, 0, 0]
    assert (counts[0, 1] == 10).all()
