"""Black boxes under changes that must not matter, or matter in a known way.

Offset and scale of the output, dtype of inputs and outputs, work in place, order of the
columns, duplicates, dummy and symmetric players, and the batch size.
"""

import numpy as np
import pytest

import tfxai

N = 4
#: method -> options under which it is exact, or the same for every order of columns.
METHODS = {
    "occlusion": {},
    "kernel_shap": {},
    "shapley_sampling": {"n_samples": 300},
    "c_shapley": {"max_size": N},
    "lime": {"n_samples": 400, "kernel_width": 1.0},
}
SHAPLEY = ["kernel_shap"]


def model(x):
    """A function with products, in which columns 0 and 1 are symmetric: (B, 2)."""
    a, b, c, d = x.astype(float).T
    return np.stack([a * b + a + b + 2 * c * d - d, c - a * b * d], 1)


X = np.array([[2.0, 3.0, 1.0, 4.0], [1.0, 5.0, 2.0, 3.0]])


def values(method, f=model, x=X, batch_size=32, **more):
    """The relevance (B, N) of output 0."""
    options = {"baseline": 0, **METHODS[method], **more}
    analyzer = tfxai.create_analyzer(method, f, **options)
    return np.asarray(analyzer.analyze(x, 0, batch_size).relevance, float)


pytestmark = [
    pytest.mark.filterwarnings("ignore::tfxai.errors.LowFidelityWarning"),
]
every = pytest.mark.parametrize("method", METHODS)


@every
@pytest.mark.parametrize("offset", [1.0, -3.5e7, 1e10])
def test_an_offset_of_the_output_changes_nothing(method, offset):
    found = values(method, lambda x: model(x) + offset)
    np.testing.assert_allclose(found, values(method), rtol=1e-4, atol=1e-4)


@every
@pytest.mark.parametrize("scale", [1e-12, -2.0, 1e12])
def test_a_scale_of_the_output_scales_the_values(method, scale):
    found = values(method, lambda x: scale * model(x))
    wanted = values(method)
    np.testing.assert_allclose(found / scale, wanted, rtol=1e-5, atol=1e-12)


@every
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8"])
def test_the_dtype_of_the_input_changes_nothing(method, dtype):
    """All numbers of X are exact in every dtype."""

    def typed(x):
        assert x.dtype == dtype
        return model(x)

    found = values(method, typed, X.astype(dtype))
    np.testing.assert_array_equal(found, values(method))


@every
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", object])
def test_the_dtype_of_the_output_changes_nothing(method, dtype):
    found = values(method, lambda x: model(x).astype(dtype))
    np.testing.assert_array_equal(found, values(method))


@every
def test_work_in_place_changes_nothing(method):
    def in_place(x):
        y = model(x)
        x[:] = -1
        return y

    x = X.copy()
    np.testing.assert_array_equal(values(method, in_place, x), values(method))
    np.testing.assert_array_equal(x, X)


@every
def test_the_batch_size_changes_nothing(method):
    wanted = values(method)
    for size in (1, 3):
        np.testing.assert_array_equal(values(method, batch_size=size), wanted)
    one = np.concatenate([values(method, x=X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(one, wanted)


@pytest.mark.parametrize("method", ["occlusion", *SHAPLEY])
def test_the_order_of_the_columns_is_that_of_the_values(method):
    order = np.array([2, 0, 3, 1])
    back = np.argsort(order)
    found = values(method, lambda x: model(x[:, back]), X[:, order])
    wanted = values(method)[:, order]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("method", ["occlusion", "kernel_shap", "shapley_sampling"])
def test_a_dummy_column_gets_nothing_and_changes_nothing(method):
    """One that varies and one that equals its baseline."""
    more = np.concatenate([X, [[7.0, 0.0], [8.0, 0.0]]], 1)
    found = values(method, lambda x: model(x[:, :N]), more, n_samples=3000) if (
        method == "shapley_sampling"
    ) else values(method, lambda x: model(x[:, :N]), more)  # fmt: skip
    np.testing.assert_allclose(found[:, N:], 0, atol=1e-6)
    if method != "shapley_sampling":
        np.testing.assert_allclose(found[:, :N], values(method), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("method", SHAPLEY)
def test_symmetric_columns_get_the_same(method):
    x = np.array([[3.0, 3.0, 1.0, 4.0]])
    found = values(method, x=x)[0]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.parametrize("method", SHAPLEY)
def test_a_duplicate_shares_the_value_of_its_column(method):
    """The mean of a column and its copy is the column; each gets half, if additive."""
    f = lambda x: x @ np.array([[1.0], [2.0], [-1.0], [0.5]])  # noqa: E731
    wanted = values(method, f)
    twice = np.concatenate([X, X[:, :1]], 1)

    def both(x):
        mean = (x[:, :1] + x[:, N:]) / 2
        return f(np.concatenate([mean, x[:, 1:N]], 1))

    found = values(method, both, twice)
    np.testing.assert_allclose(found[:, 1:N], wanted[:, 1:], rtol=1e-6)
    np.testing.assert_allclose(found[:, [0, N]], wanted[:, :1].repeat(2, 1) / 2)


@every
def test_of_an_additive_function_every_method_returns_its_terms(method):
    """In any order: a dummy, two symmetric columns, one twice, one at its baseline."""
    terms = np.array([2.0, 1.5, 1.5, 0.0, -1.0, -1.0, 7.0, 0.25])
    x = np.array([[1.0, 2.0, 2.0, 5.0, 3.0, 3.0, 0.0, 4.0]])
    for order in (np.arange(8), np.array([6, 2, 0, 4, 7, 1, 3, 5])):
        f = lambda v, o=order: v @ terms[o][:, None]  # noqa: E731
        sizes = {"max_size": 8} if method == "c_shapley" else {}
        found = values(method, f, x[:, order], **sizes)
        wanted = (terms * x)[:, order]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["kernel_shap", "shapley_sampling"])
def test_the_values_add_up_to_the_change_of_the_output(method):
    found = values(method).sum(1)
    np.testing.assert_allclose(found, model(X)[:, 0], rtol=1e-6)
