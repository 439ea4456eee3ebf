"""Path methods against formulas: for quadratic networks every sum is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.errors import InputError, OptionError
from tfxai.gradient.blur import blur
from tfxai.gradient.paths import QUADRATURES

L = keras.layers
W = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
X = np.array([[1.0, 2.0, -1.0, 3.0], [0.5, 0.0, 2.0, -1.0]], np.float32)
B = np.array([0.5, -0.5, 0.25, 1.0], np.float32)


@pytest.fixture(scope="module")
def quadratic():
    """Return f(x) = (w x)^2, with the gradient 2 (w x) w."""
    x = keras.Input((4,))
    y = L.Dense(1, use_bias=False)(x)
    model = keras.Model(x, y * y)
    model.set_weights([W[:, None]])
    return model


def network():
    x = keras.Input((9, 8, 3))
    y = L.Conv2D(5, 3, activation="tanh")(x)
    y = L.Conv2D(4, 3, strides=2, activation="softplus")(y)
    return zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(y))))


def images(count=2, seed=3):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, 9, 8, 3)).astype("float32")


@pytest.mark.parametrize("rule", ["midpoint", "gauss_legendre", "trapezoid"])
def test_symmetric_rules_are_exact_for_a_quadratic(quadratic, rule):
    e = tfxai.explain(
        quadratic, X, "integrated_gradients", 0, n_steps=7, quadrature=rule, baseline=B
    )
    # the gradient at the middle of the line, 2 w (x + b)/2 w, times x - b
    wanted = (X - B) * ((X + B) @ W)[:, None] * W
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-5)
    assert np.abs(e.extra["completeness"]).max() < 1e-4


def test_the_left_rule_is_a_riemann_sum(quadratic):
    e = tfxai.explain(
        quadratic, X, "integrated_gradients", 0, n_steps=4, quadrature="left"
    )
    wanted = X * (X @ W)[:, None] * W * 3 / 4  # the mean of 0, 1/4, 1/2, 3/4, twice
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-5)
    missing = e.relevance.sum(1) - (X @ W) ** 2
    np.testing.assert_allclose(e.extra["completeness"], missing, rtol=1e-4)


@pytest.mark.parametrize("name", QUADRATURES)
def test_nodes_and_weights_average_a_line(name):
    nodes, weights = QUADRATURES[name](64)
    assert weights.sum() == pytest.approx(1)
    error = abs(weights @ nodes - 0.5)
    assert error == pytest.approx(1 / 128) if name == "left" else error < 1e-12


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("zero", np.zeros_like(X)),
        ("min", X.min(1, keepdims=True)),
        ("max", X.max(1, keepdims=True)),
        ("mean", X.mean(1, keepdims=True)),
        (0.3, np.full_like(X, 0.3)),
    ],
)
def test_baselines_by_name(quadratic, name, wanted):
    e = tfxai.explain(quadratic, X, "integrated_gradients", 0, n_steps=3, baseline=name)
    ours = (X - wanted) * ((X + wanted) @ W)[:, None] * W
    np.testing.assert_allclose(e.relevance, ours, rtol=1e-5, atol=1e-6)


def test_a_baseline_is_in_the_units_of_the_raw_input(quadratic):
    raw = dict(baseline=127.5, n_steps=3, preprocess=lambda v: v / 127.5 - 1)
    e = tfxai.explain(quadratic, (X + 1) * 127.5, "integrated_gradients", 0, **raw)
    np.testing.assert_allclose(e.relevance, X * (X @ W)[:, None] * W, rtol=1e-4)


def test_expected_gradients_of_a_line_are_exact():
    x = keras.Input((4,))
    model = keras.Model(x, L.Dense(1, use_bias=False)(x))
    model.set_weights([W[:, None]])
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    e = tfxai.explain(model, X, "expected_gradients", 0, background=rows, n_samples=20)
    np.testing.assert_allclose(e.relevance, (X - rows.mean(0)) * W, rtol=1e-5)
    assert np.abs(e.extra["completeness"]).max() < 1e-5


def test_expected_gradients_come_near_their_integral(quadratic):
    rows = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    wanted = np.mean([(X - b) * ((X + b) @ W)[:, None] * W for b in rows], 0)
    near, far = (
        tfxai.explain(
            quadratic, X, "expected_gradients", 0, background=rows, n_samples=n
        )
        for n in (4000, 40)
    )
    assert np.abs(near.relevance - wanted).max() < 0.02 * np.abs(wanted).max()
    # completeness compares with the mean of f over the drawn baselines
    missing = near.relevance.sum(1) - ((X @ W) ** 2 - ((rows @ W) ** 2).mean())
    np.testing.assert_allclose(near.extra["completeness"], missing, atol=1e-2)
    again = tfxai.explain(
        quadratic, X, "expected_gradients", 0, background=rows, n_samples=40, seed=1
    )
    assert (again.relevance != far.relevance).any()


def test_blur_is_a_gaussian_whose_weights_sum_to_one():
    x = images()
    blurred = np.asarray(blur(tf.constant(x), tf.constant([0.0, 1.5])))
    np.testing.assert_allclose(blurred[0], x, atol=1e-6)
    rows = []
    for n in (9, 8):
        g = np.exp(-0.5 * (np.subtract.outer(np.arange(n), np.arange(n)) / 1.5) ** 2)
        rows.append(g / g.sum(1, keepdims=True))
    wanted = np.einsum("ph,qw,bhwc->bpqc", *rows, x)
    np.testing.assert_allclose(blurred[1], wanted, atol=1e-5)


def test_blur_integrated_gradients_account_for_the_change():
    model, x = network(), images()
    e = tfxai.explain(model, x, "blur_integrated_gradients", 1, n_steps=200, sigma=3.0)
    soft = np.asarray(blur(tf.constant(x), tf.constant([3.0])))[0]
    change = (model(x) - model(soft)).numpy()[:, 1]
    np.testing.assert_allclose(e.relevance.sum((1, 2, 3)), change, rtol=1e-2)
    np.testing.assert_allclose(
        e.extra["completeness"], e.relevance.sum((1, 2, 3)) - change, atol=1e-4
    )


# -- guided integrated gradients -----------------------------------------------------


def guided(gradient, x, start, n_steps, fraction, distance):
    """Return the result of the paper's algorithm for one sample, in float64."""
    at, total = start.copy(), np.abs(x - start).sum()
    sums = np.zeros_like(x)
    for step in range(1, n_steps + 1):
        g, share = gradient(at), step / n_steps
        low, high = max(share - distance, 0), min(share + distance, 1)
        lowest, highest = start + low * (x - start), start + high * (x - start)
        wanted = total * (1 - share)
        while True:
            old = at.copy()
            d = x - start
            covered = np.divide(at - start, d, np.full_like(x, high), where=d != 0)
            at = np.where(covered < low, lowest, at)
            left = np.abs(at - x).sum()
            if left - wanted <= 1e-6 * total:
                sums += (at - old) * g
                break
            free = ~np.isclose(at, highest, rtol=0, atol=1e-12)
            sizes = np.where(free, np.abs(g), np.inf)
            limit = np.quantile(sizes, fraction, method="lower")
            chosen = free & (sizes <= limit)
            gain = np.abs(at - highest)[chosen].sum()
            part = (left - wanted) / gain if gain else np.inf
            at = np.where(chosen, at + min(part, 1) * (highest - at), at)
            sums += (at - old) * g
            if part <= 1:
                break
    return sums


@pytest.mark.parametrize("fraction, distance", [(0.25, 0.02), (0.5, 0.3), (0.1, 1.0)])
def test_guided_integrated_gradients_are_the_algorithm(fraction, distance):
    x = keras.Input((12,))
    model = zoo.fill(keras.Model(x, L.Dense(2)(L.Dense(9, "tanh")(x))))
    data = np.random.default_rng(2).normal(size=(3, 12)).astype("float32")
    options = {"n_steps": 9, "fraction": fraction, "distance": distance}
    e = tfxai.explain(
        model, data, "guided_integrated_gradients", 1, baseline=0.1, **options
    )
    (a, b, c, _), start = (
        (v.astype(float) for v in model.get_weights()),
        np.full(12, 0.1),
    )

    def gradient(v):
        h = np.tanh(v @ a + b)
        return a @ ((1 - h * h) * c[:, 1])

    wanted = [guided(gradient, v.astype(float), start, **options) for v in data]
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-3, atol=1e-4)


def test_guided_integrated_gradients_move_what_matters_least_first(quadratic):
    straight, bent = (
        tfxai.explain(quadratic, X, name, 0, n_steps=100)
        for name in ("integrated_gradients", "guided_integrated_gradients")
    )
    assert np.abs(bent.extra["completeness"]).max() < 0.3
    assert np.abs(straight.relevance - bent.relevance).max() > 0.05


# -- tokens --------------------------------------------------------------------------


def reader():
    x = keras.Input((5,), dtype="int32")
    y = L.Embedding(8, 4)(x)
    y = L.Dense(6, "tanh")(L.Flatten()(y))
    return zoo.fill(keras.Model(x, L.Dense(2)(y)))


def test_the_path_of_tokens_runs_between_their_vectors():
    model, x = reader(), np.array([[1, 2, 3, 4, 5], [7, 7, 1, 0, 2]])
    table = model.layers[1].get_weights()[0]
    rest = keras.Model(i := keras.Input((5, 4)), _after(model, i))
    e = tfxai.explain(model, x, "integrated_gradients", 1, n_steps=20, baseline=6)
    vectors = tfxai.explain(
        rest, table[x], "integrated_gradients", 1, n_steps=20, baseline=table[6]
    )
    np.testing.assert_allclose(e.relevance, vectors.relevance.sum(-1), rtol=1e-4)
    gradients = tfxai.explain(rest, table[x], "gradient", 1).relevance
    length = tfxai.explain(model, x, "gradient", 1).relevance
    np.testing.assert_allclose(length, np.linalg.norm(gradients, axis=-1), rtol=1e-5)
    product = tfxai.explain(model, x, "input_t_gradient", 1).relevance
    np.testing.assert_allclose(product, (gradients * table[x]).sum(-1), atol=1e-6)


def _after(model, y):
    for layer in model.layers[2:]:
        y = layer(y)
    return y


def test_postprocess_is_said_by_name(quadratic):
    plain = 2 * (X @ W)[:, None] * W
    for name, wanted in (("abs", np.abs(plain)), ("square", plain**2)):
        e = tfxai.explain(quadratic, X, "gradient", 0, postprocess=name)
        np.testing.assert_allclose(e.relevance, wanted, rtol=1e-5)


# -- wrong options -------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, options, error, seen",
    [
        ("integrated_gradients", {"n_steps": 0}, OptionError, "n_steps=0"),
        ("integrated_gradients", {"n_steps": 2.5}, OptionError, "n_steps=2.5"),
        ("integrated_gradients", {"quadrature": "simpson"}, OptionError, "simpson"),
        ("integrated_gradients", {"baseline": "grey"}, OptionError, "grey"),
        ("integrated_gradients", {"baseline": np.zeros(3)}, InputError, "(3,)"),
        (
            "integrated_gradients",
            {"baseline": np.stack([X[0]] * 3)},
            InputError,
            "one for each of 3 samples, and x has 2",
        ),
        ("expected_gradients", {}, OptionError, "no background"),
        ("guided_integrated_gradients", {"fraction": 0}, OptionError, "fraction=0"),
        ("guided_integrated_gradients", {"distance": 2}, OptionError, "distance=2"),
        ("blur_integrated_gradients", {}, InputError, "cannot be blurred"),
        ("gradient", {"postprocess": "log"}, OptionError, "postprocess='log'"),
    ],
)
def test_a_wrong_option_is_named(quadratic, method, options, error, seen):
    with pytest.raises(error) as caught:
        tfxai.explain(quadratic, X, method, 0, **options)
    assert seen in caught.value.seen
