"""LEG with absolute values and with a given covariance, against NumPy."""

import numpy as np
import pytest

import tfxai
from tfxai.errors import OptionError
from tfxai.sampling.leg.grid import Grid

RNG = np.random.default_rng(5)
N = 6  # cells of a series of six positions
ROOT = np.tril(RNG.normal(size=(N, N)) / 9) + np.eye(N) / 4
COVARIANCE = ROOT @ ROOT.T
X = RNG.normal(size=(1, N, 1))
W = RNG.normal(size=N)
OPTIONS = {"base_size": N, "unit": 1.0, "seed": 4}


def f(v):
    z = v[..., 0] @ W
    return (z + np.sin(2 * z) + v[:, 0, 0] ** 2)[:, None]


def draws(root, count):
    """The noise of LEG, (count, N): blocks of 32 normals of their own seed."""
    blocks = [
        np.random.default_rng([4, 0, b]).standard_normal((32, N)) for b in range(9)
    ]
    return np.float32(np.concatenate(blocks)[:count] @ root.T)


@pytest.mark.parametrize("estimator", ["score", "absolute"])
def test_the_mean_over_draws(estimator):
    e = tfxai.explain(
        f, X, "leg", 0, estimator=estimator, sampling="plain", n_samples=70,
        covariance=COVARIANCE, **OPTIONS,
    )  # fmt: skip
    z = draws(np.linalg.cholesky(COVARIANCE), 70)
    change = (f(X + z[..., None]) - f(X))[:, 0]
    if estimator == "absolute":
        z, change = np.abs(z), np.abs(change)
    wanted = np.linalg.solve(COVARIANCE, (change[:, None] * z).mean(0))
    np.testing.assert_allclose(e.relevance[0, :, 0], wanted, rtol=1e-4, atol=1e-5)
    terms = np.linalg.solve(COVARIANCE, (change[:, None] * z).T).T
    error = terms.std(0, ddof=1) / np.sqrt(70)
    found = np.ravel(e.extra["standard_error"])
    np.testing.assert_allclose(found, error, rtol=1e-4)


@pytest.mark.parametrize("sampling", ["plain", "antithetic", "orthogonal"])
def test_a_line_has_its_weights_under_any_covariance(sampling):
    e = tfxai.explain(
        lambda v: v[..., 0] @ W[:, None], X, "leg", 0, estimator="regression",
        sampling=sampling, n_samples=200, covariance=COVARIANCE, **OPTIONS,
    )  # fmt: skip
    np.testing.assert_allclose(e.relevance[0, :, 0], W, rtol=1e-3, atol=1e-3)


def test_the_covariance_of_the_grid_is_the_default():
    d = Grid((N,)).differences.toarray()
    sigma = d.T @ d + np.ones((N, N)) / N
    given = {"estimator": "regression", "sampling": "antithetic", "n_samples": 4000}
    own = tfxai.explain(f, X, "leg", 0, covariance=0.02**2 * sigma, **given, **OPTIONS)
    plain = tfxai.explain(f, X, "leg", 0, noise=0.02, **given, **OPTIONS)
    np.testing.assert_allclose(own.relevance, plain.relevance, rtol=0.05, atol=0.02)


def test_absolute_values_have_no_sign_and_default_to_independent_draws():
    e = tfxai.explain(
        lambda v: -v[:, 2] * 3, X, "leg", 0, estimator="absolute", n_samples=4000,
        covariance=np.eye(N) * 0.01, **OPTIONS,
    )  # fmt: skip
    wanted = np.full(N, 3 * 2 / np.pi)  # E|z| E|z'| / 0.01, and E z^2 / 0.01 at 2
    wanted[2] = 3
    np.testing.assert_allclose(e.relevance[0, :, 0], wanted, rtol=0.06)
    assert e.extra["sampling"] == "plain"


@pytest.mark.parametrize(
    "options, text",
    [
        ({"estimator": "absolute", "sampling": "antithetic"}, "not paired"),
        ({"covariance": np.eye(5)}, r"\(5, 5\) for a base grid of 6 cells"),
        ({"covariance": -np.eye(N)}, "positive definite"),
        ({"covariance": np.triu(np.ones((N, N)))}, "not symmetric"),
        ({"covariance": "eye"}, "covariance has shape"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, text):
    with pytest.raises(OptionError, match=text):
        tfxai.explain(f, X, "leg", 0, **OPTIONS, **options)
