"""The evaluations that a method records are those that it makes; errors by name."""

import keras
import numpy as np
import pandas
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.errors import InputError, MoreEvaluationsWarning, OptionError

D = 6
X = np.ones((1, D))
L = keras.layers


def counted(seen):
    def f(v):
        seen.append(len(v))
        return (v[:, :1] * v[:, 1:2] + v[:, 2:].sum(1, keepdims=True)) ** 2

    return f


@pytest.mark.parametrize(
    "method, n_samples, made",
    [
        ("shapley_interactions", 62, 62),
        ("shapley_interactions", 40, 120),
        ("shapley_interactions", 61, 120),
        ("shapley_sampling", 10, 20),
        ("shapley_sampling", 47, 40),
        ("kernel_shap", 40, 40),
        ("sobol", 10, 56),
        ("sobol", 60, 56),
        ("hsic", 40, 40),
        ("partition_shap", 400, 26),
        ("lime", 50, 50),
    ],
)
@pytest.mark.filterwarnings("ignore::tfxai.errors.LowFidelityWarning")
def test_evaluations_are_counted_and_more_than_n_samples_is_a_warning(
    method, n_samples, made, recwarn
):
    seen = []
    given = {"baseline": 0, "n_samples": n_samples, "batch_size": 999}
    e = tfxai.explain(counted(seen), X, method, 0, **given)
    assert e.extra["evaluations"].tolist() == [made]
    assert made <= sum(seen) <= made + 4  # and of the sample and its baseline
    warned = [w for w in recwarn if w.category is MoreEvaluationsWarning]
    assert bool(warned) == (made > n_samples)
    if warned:
        assert warned[0].message.seen.endswith(f"n_samples={made}")


def test_connected_sets_are_counted():
    seen = []
    e = tfxai.explain(counted(seen), X, "c_shapley", 0, max_size=2, baseline=0)
    assert e.extra["evaluations"][0] == sum(seen) - 3 == 11


def test_segments_of_one_player_have_their_whole_value():
    def f(texts):
        return np.array([[2.0 + 3.0 * ("good" in t)] for t in texts])

    for method, wanted in (
        ("lime", 3), ("kernel_shap", 3), ("shapley_sampling", 3), ("c_shapley", 3),
        ("partition_shap", 3), ("shapley_interactions", 3), ("sobol", 1),
    ):  # fmt: skip
        e = tfxai.explain(f, ["good"], method, 0)
        np.testing.assert_allclose(e.relevance, [[wanted]], atol=1e-6, err_msg=method)
        if wanted == 1:
            with pytest.raises(InputError, match=f"{method}.*compares"):
                tfxai.text.explain(f, "good", 0, method=method)
            continue
        word = tfxai.text.explain(f, "good", 0, method=method)
        np.testing.assert_allclose(np.ravel(word.relevance), [3], atol=1e-6)
    signs = np.where(np.arange(1000) < 500, 1, -1)
    e = tfxai.explain(f, ["good"], "hsic", 0)
    half = (1 - np.exp(-0.5)) / 2  # of the pairs in which mask and output differ
    np.testing.assert_allclose(e.relevance, half * (signs**2).sum() ** 2 / 2 / 999**2,
                               rtol=1e-5)  # fmt: skip


def test_faults_are_named():
    table = np.random.default_rng(0).normal(size=(20, D))
    table[:, 3] = np.nan
    rows, x = (pandas.DataFrame(v, columns=list("abcdef")) for v in (table, X))

    def f(v):
        return np.nan_to_num(np.asarray(v)).sum(1, keepdims=True)

    with pytest.raises(OptionError, match=r"column\(s\) \[3\]"):
        tfxai.explain(f, x, "kernel_shap", 0, background=("kmeans", 5, rows))
    e = tfxai.explain(f, x, "kernel_shap", 0, background=rows)
    np.testing.assert_allclose(e.relevance, X - np.nan_to_num(table).mean(0), atol=1e-6)
    wide = np.ones((1, 30_000))
    for method in ("sobol", "hsic"):
        with pytest.raises(OptionError, match=r"arange\(30000\) // 2"):
            tfxai.explain(f, wide, method, 0, baseline=0)
    e = tfxai.explain(
        f, wide[:, :9], "hsic", 0, baseline=0, segmenter=np.arange(9) // 2, n_samples=8
    )
    assert e.extra["coefficients"].shape == (1, 5)
    with pytest.raises(OptionError, match="covariance are both given"):
        tfxai.create_analyzer("leg", f, noise=0.3, covariance=np.eye(4))
    tfxai.create_analyzer("leg", f, noise=0.3, covariance=None)


def test_a_preprocess_of_numpy_is_named_and_a_callable_takes_it():
    image = keras.Input((8, 8, 1))
    flat = L.Flatten()(image)
    model = zoo.fill(keras.Model(image, L.Dense(2)(flat)))
    x = 255 * np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    grid = {"segmenter": "grid", "segmenter_options": {"cells": 2}, "baseline": 0}

    def preprocess(v):
        return np.asarray(v) / 255

    for bad in (preprocess, lambda v: v.astype("float32"), lambda v: v.numpy()):
        for method in ("lime", "gradient"):
            with pytest.raises(OptionError, match=r"preprocess=lambda x: x / 255"):
                tfxai.explain(model, x, method, 0, preprocess=bad)
    wanted = tfxai.explain(
        model, x, "kernel_shap", 0, preprocess=lambda x: x / 255, **grid
    )
    e = tfxai.explain(
        lambda x: model.predict(preprocess(x), verbose=0), x, "kernel_shap", 0, **grid
    )
    np.testing.assert_allclose(e.relevance, wanted.relevance, atol=1e-5)


def test_targets_without_a_gradient():
    """Score-CAM needs scores alone; what needs a gradient says so, LEG what to type."""
    image = keras.Input((8, 8, 1))
    conv = L.Conv2D(3, 3, padding="same", activation="relu")(image)
    model = zoo.fill(keras.Model(image, L.Dense(3)(L.GlobalAveragePooling2D()(conv))))
    wrapped = tfxai.wrap(model)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype("float32")

    def whole(y):
        return tf.cast(500 * y[:, 0], tf.int32)

    e = tfxai.explain(wrapped, x, "scorecam", whole)
    a = keras.Model(image, conv)(x)[0].numpy()
    h = (a - a.min((0, 1))) / np.ptp(a, (0, 1))
    scores = [float(whole(model(x * h[..., c : c + 1]))[0]) for c in range(3)]
    w = np.exp(np.subtract(scores, max(scores)))
    assert len(set(scores)) > 1
    np.testing.assert_allclose(e.relevance[0, ..., 0], a @ w / w.sum(), rtol=1e-4)
    for method in ("ablationcam", "eigencam"):
        other = tfxai.explain(wrapped, x, method, whole)
        assert other.score == e.score and other.relevance.any()
    given = {"base_size": 4, "unit": 1.0, "n_samples": 40}
    with pytest.raises(OptionError, match=r"the target .*\n.*\n?.*'regression'"):
        tfxai.explain(wrapped, x, "leg", whole, **given)
    e = tfxai.explain(wrapped, x, "leg", whole, estimator="regression", **given)
    assert e.score == float(whole(model(x))[0])
