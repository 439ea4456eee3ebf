"""SmoothGrad and variants, against the same draws computed one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import t

import tfxai
from tests import zoo
from tfxai.errors import OptionError

L = keras.layers
N, NOISE, SEED = 7, 0.2, 3


@pytest.fixture(scope="module")
def model():
    x = keras.Input((6, 5, 2))
    y = L.Conv2D(4, 3, activation="relu")(x)
    return zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(y))))


def images(count=3):
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (count, 6, 5, 2)).astype("float32")


def relevance_of_draws(model, x, base_method, target, **options):
    """Return the relevance of every draw, (N, B, ...)."""
    analyzer = tfxai.create_analyzer(base_method, model, **options)
    spread = np.ptp(x, (1, 2, 3), keepdims=True) * NOISE
    relevance = []
    for i in range(N):
        drawn = tf.random.stateless_normal(x.shape[1:], [SEED, i]).numpy()
        relevance.append(analyzer.analyze(x + spread * drawn, target).relevance)
    return np.array(relevance)


@pytest.mark.parametrize(
    "base_method, options", [("gradient", {}), ("sglrp", {"low": -2, "high": 2})]
)
@pytest.mark.parametrize(
    "name, reduce",
    [
        ("smoothgrad", lambda m: m.mean(0)),
        ("squaregrad", lambda m: (m**2).mean(0)),
        ("vargrad", lambda m: m.var(0)),
    ],
)
@pytest.mark.filterwarnings("ignore::tfxai.errors.OutOfBoundsWarning")
def test_the_moments_are_those_of_the_draws(model, name, reduce, base_method, options):
    x = images()
    wanted = reduce(relevance_of_draws(model, x, base_method, [0, 1, 2], **options))
    for batch_size in (32, 6, 2):
        analyzer = tfxai.create_analyzer(
            name,
            model,
            base_method=base_method,
            base_options=options,
            n_samples=N,
            noise=NOISE,
            seed=SEED,
        )
        e = analyzer.analyze(x, [0, 1, 2], batch_size)
        assert np.abs(wanted).max() > 0
        assert np.abs(e.relevance - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert e.extra["base_method"] == base_method and e.extra["n_samples"] == N


def test_no_noise_is_the_map_itself(model):
    x = images()
    e = tfxai.explain(
        model, x, "smoothgrad", base_method="lrp.epsilon", noise=0.0, n_samples=3
    )
    plain = tfxai.explain(model, x, "lrp.epsilon")
    np.testing.assert_allclose(e.relevance, plain.relevance, atol=1e-6)
    assert np.abs(tfxai.explain(model, x, "vargrad", noise=0.0).relevance).max() < 1e-12


def test_noise_that_turns_the_answer_does_not_turn_the_question():
    x = keras.Input((2,))
    model = keras.Model(x, L.Dense(2, use_bias=False)(L.Dense(2, use_bias=False)(x)))
    model.set_weights([np.eye(2), np.array([[1.0, 0.0], [0.0, 1.0]])])
    data = np.array([[1.0, 0.999], [0.999, 1.0]], np.float32)
    e = tfxai.explain(model, data, "smoothgrad", n_samples=40, noise=100.0)
    assert e.target.tolist() == [0, 1]
    np.testing.assert_allclose(e.relevance, np.eye(2), atol=1e-6)


def test_several_targets_and_seeds(model):
    x = images()
    both = tfxai.explain(model, x, "smoothgrad", [[0, 1]] * 3, n_samples=5)
    one = tfxai.explain(model, x, "smoothgrad", 1, n_samples=5)
    np.testing.assert_allclose(both.relevance[:, 1], one.relevance, atol=1e-6)
    other = tfxai.explain(model, x, "smoothgrad", 1, n_samples=5, seed=1)
    assert (other.relevance != one.relevance).any()


def test_inner_options_are_checked(model):
    with pytest.raises(OptionError, match=r"(?s)'sglrp' has no option 'lo'.*low"):
        tfxai.create_analyzer(
            "smoothgrad", model, base_method="sglrp", base_options={"lo": 1}
        )
    with pytest.raises(OptionError, match="noise=-1"):
        tfxai.create_analyzer("smoothgrad", model, noise=-1)
    with pytest.raises(OptionError, match="n_samples=0"):
        tfxai.create_analyzer("smoothgrad", model, n_samples=0)


def test_smoothgrad_tells_its_standard_error(model):
    x, target = images(2), [[0, 2], [1, 0]]
    draws = relevance_of_draws(model, x, "gradient", target)
    given = {"n_samples": N, "noise": NOISE, "seed": SEED}
    e = tfxai.explain(model, x, "smoothgrad", target, **given)
    spread = ((draws - draws.mean(0)) ** 2).sum(0)
    shared = spread.mean((2, 3, 4), keepdims=True) / (N - 1)
    wanted = np.sqrt((spread + 0.1 * shared) / (N - 0.9) / N)
    np.testing.assert_allclose(e.extra["standard_error"], wanted, rtol=1e-3, atol=1e-6)
    half = t.ppf(0.975, N - 1) * wanted
    low, high = (e.extra[f"interval_{k}"] for k in ("low", "high"))
    np.testing.assert_allclose(low, e.relevance - half, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(high, e.relevance + half, rtol=1e-3, atol=1e-5)
    assert e.stable_ranks(2).shape == (*np.shape(target), 2)
    one = tfxai.explain(model, x, "smoothgrad", target, n_samples=1)
    assert np.isnan(one.extra["standard_error"]).all()


def test_the_standard_error_does_not_cancel():
    """The gradients 2 x + 2 s z differ by a thousandth of their size."""
    i = keras.Input((4,))
    model = keras.Model(i, keras.ops.sum(i**2, -1, keepdims=True))
    x, given = np.float32([[1, 2, 3, 4]]), {"target": 0, "n_samples": 50}
    e = tfxai.explain(model, x, "smoothgrad", noise=1e-3, **given)
    v = tfxai.explain(model, x, "vargrad", noise=1e-3, **given).relevance
    np.testing.assert_allclose(e.extra["standard_error"], np.sqrt(v / 49), rtol=1e-2)
    np.testing.assert_allclose(e.relevance, 2 * x, rtol=1e-3)
