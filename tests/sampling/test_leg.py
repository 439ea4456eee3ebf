"""LEG and LEG-TV end to end, against stored references and closed forms."""

import json
import warnings

import cvxpy
import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import Ridge

import tfxai
from tests import zoo
from tests.conftest import SHARED, shared_path
from tfxai.errors import (
    InexactWarning,
    InputError,
    ModelError,
    OptionError,
)
from tfxai.sampling.leg import total_variation
from tfxai.sampling.leg.config import LegConfig
from tfxai.sampling.leg.estimate import ESTIMATORS, RegressionEstimator
from tfxai.sampling.leg.grid import Grid
from tfxai.sampling.leg.noise import orthogonal_noise
from tfxai.sampling.leg.total_variation import resolve_solver

L = keras.layers
FOLDER = "references/sampling"


# -- the stored cases ----------------------------------------------------------------


def cases():
    found = sorted((SHARED / FOLDER).glob("leg_*.json")) or [SHARED / "absent.json"]
    return [f.stem for f in found]


@pytest.fixture
def stored(request, monkeypatch):
    """A stored case; its noise replaces the sampled noise."""
    folder = shared_path(FOLDER)
    facts = json.loads((folder / f"{request.param}.json").read_text())
    arrays = dict(np.load(folder / f"{request.param}.npz"))
    model = keras.models.load_model(folder / "models" / facts["model"])

    def draws(self, grid, channel):
        z = np.float32(arrays["noise"][channel]).reshape(-1, *grid.shape)
        yield from np.array_split(z, 7)

    monkeypatch.setattr(LegConfig, "draws", draws)
    x = np.float32(arrays["image"])
    x = x[None] if x.ndim == 3 else x[None, ..., None]
    options = {
        "base_size": facts["base_size"],
        "bordered": facts["padding"],
        "noise": facts["noise_level"],
        "sampling": "antithetic" if facts["antithetic"] else "plain",
        "truncate": facts["truncate_to_int"],
    }
    return facts, arrays, model, x, options


def near(ours, wanted, tolerance):
    assert ours.shape == wanted.shape
    assert np.abs(ours - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.shared
@pytest.mark.parametrize("stored", cases(), indirect=True)
def test_answers_to_the_stored_noise(stored):
    facts, arrays, model, x, options = stored
    e = tfxai.explain(model, x, "leg", estimator="score", **options)
    assert e.target.tolist() == [facts["target_class"]]
    assert e.score[0] == pytest.approx(facts["original_prob"], abs=1e-5)
    if facts["antithetic"]:
        # The reference subtracts f(x) from both; f(x + z) - f(x - z) is the same.
        assert options["truncate"]
    near(e.extra["base"][0], arrays["leg"], 1e-3)
    near(e.heatmap()[0], arrays["heatmap"], 1e-3)


@pytest.mark.shared
@pytest.mark.parametrize(
    "stored", [c for c in cases() if "trunc" not in c], indirect=True
)
def test_slopes_at_the_stored_noise(stored):
    _, arrays, model, x, options = stored
    e = tfxai.explain(model, x, "leg", estimator="gradient", **options)
    near(e.extra["base"][0], arrays["mean_gradient"], 1e-3)


# -- closed forms --------------------------------------------------------------------


def linear(shape, classes=3):
    """f = W x: LEG is W, summed over each cell."""
    x = keras.Input(shape)
    return zoo.fill(keras.Model(x, L.Dense(classes)(L.Flatten()(x))))


@pytest.mark.parametrize("shape, base", [((9, 7, 2), (4, 3)), ((11, 2), (5,))])
@pytest.mark.parametrize("bordered", [True, False])
def test_slopes_of_a_line_are_its_weights_cell_by_cell(shape, base, bordered):
    model = linear(shape)
    x = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
    w = model.layers[-1].kernel.numpy()[:, 1].reshape(shape) * 255
    wanted = np.zeros((shape[-1], *base))
    for place in np.ndindex(*shape):
        cell = tuple(i * p // n for i, p, n in zip(place, base, shape, strict=False))
        wanted[(place[-1], *cell)] += w[place]
    options = {"base_size": base, "bordered": bordered, "scale": "logit"}
    e = tfxai.explain(model, x, "leg", 1, n_samples=3, **options)
    assert e.extra["estimator"] == "gradient"
    for row in e.extra["base"]:
        near(row, wanted, 1e-4)
    assert np.abs(e.extra["standard_error"]).max() <= 1e-4 * np.abs(wanted).max()
    assert e.relevance.shape == x.shape


def test_answers_come_near_the_weights_and_say_how_near():
    model = linear((6, 6, 1))
    x = np.full((1, 6, 6, 1), 100, np.float32)
    w = model.layers[-1].kernel.numpy()[:, 0].reshape(6, 6) * 255
    options = {"base_size": 6, "scale": "logit", "estimator": "score"}
    for sampling in ("antithetic", "plain"):
        e = tfxai.explain(
            model, x, "leg", 0, n_samples=6000, sampling=sampling, **options
        )
        z = (e.extra["base"][0, 0] - w) / e.extra["standard_error"][0, 0]
        assert np.abs(z).max() < 5 and 0.6 < np.sqrt((z**2).mean()) < 1.5
    batch_sizes = []

    def predict(batch):
        batch_sizes.append(len(batch))
        return model(batch).numpy()

    box = tfxai.explain(predict, x, "leg", 0, n_samples=200, batch_size=24, **options)
    ours = tfxai.explain(model, x, "leg", 0, n_samples=200, **options)
    near(box.extra["base"], ours.extra["base"], 1e-3)
    assert max(batch_sizes) <= 24 and sum(batch_sizes) == 200 + 2


@pytest.mark.parametrize("count", [60, 100, 2000])
@pytest.mark.parametrize("sampling", ["auto", "antithetic", "plain"])
def test_a_regression_has_the_size_of_the_map(sampling, count):
    """For a linear model and any noise: few samples shrink the estimate a little."""
    model = linear((6, 6, 1))
    x = np.full((1, 6, 6, 1), 100, np.float32)
    w = model.layers[-1].kernel.numpy()[:, 0].reshape(6, 6) * 255
    options = {"base_size": 6, "scale": "logit", "estimator": "regression"}
    for seed in range(4):
        e = tfxai.explain(
            lambda v: model(v).numpy(), x, "leg", 0, n_samples=count, seed=seed,
            sampling=sampling, **options,
        )  # fmt: skip
        leg, error = (e.extra[k][0, 0] for k in ("base", "standard_error"))
        assert 0.6 < np.linalg.norm(leg) / np.linalg.norm(w) < 1.2
        gap = np.linalg.norm(leg - w)
        if count > 72 or (sampling == "plain" and count > 36):
            assert gap < 0.02 * np.linalg.norm(w)  # a linear model is estimated exactly
        else:
            assert gap < 3 * np.linalg.norm(error)
        assert e.extra["evaluations"].tolist() == [[count]]


@pytest.mark.shared
@pytest.mark.parametrize("name", cases())
def test_the_stored_regressions(name):
    """The limit of penalty 0 is least squares with an intercept."""
    folder = shared_path(FOLDER)
    facts = json.loads((folder / f"{name}.json").read_text())
    arrays = dict(np.load(folder / f"{name}.npz"))
    grid = Grid((facts["base_size"],) * 2, facts["padding"])
    for c, wanted in enumerate(arrays.get("leg_regression", [])):
        z = np.asarray(arrays["noise"][c], float).reshape(-1, *grid.shape)
        df = arrays["probs"][c][: len(z)] - facts["original_prob"]
        estimator = RegressionEstimator(grid, facts["noise_level"], paired=False)
        estimator.penalties = np.array([1e-12])
        for part in np.array_split(np.arange(len(z)), 5):
            estimator.add(z[part], df[part, None])
        near(estimator.result()[0][0], wanted, 1e-5)


def test_the_ridge_is_that_of_scikit_learn():
    """The penalty of least cross-validation, its estimate, and its posterior."""
    grid, rng = Grid((4, 5)), np.random.default_rng(0)
    e = rng.normal(size=(60, 20))
    y = e @ rng.normal(size=(20, 2)) + [0.1, 3] * rng.normal(size=(60, 2))
    estimator = RegressionEstimator(grid, 0.5, paired=True)
    z = 0.5 * grid.apply_root(e.reshape(-1, 4, 5))
    estimator.add(z[:11], y[:11])
    estimator.add(z[11:], y[11:])
    leg, error = estimator.result()
    tried = estimator.penalties * np.trace(e.T @ e) / 20
    for t in range(2):
        scores = []
        for alpha in tried:
            hat = e @ np.linalg.solve(e.T @ e + alpha * np.eye(20), e.T)
            left = 60 - np.trace(hat)
            scores.append(((y[:, t] - hat @ y[:, t]) ** 2).sum() / left**2)
        alpha = tried[int(np.argmin(scores))]
        fit = Ridge(alpha=alpha, fit_intercept=False).fit(e, y[:, t])
        near(leg[t], grid.solve_root_transposed(fit.coef_.reshape(4, 5)) / 0.5, 1e-8)
        hat = e @ np.linalg.solve(e.T @ e + alpha * np.eye(20), e.T)
        variance = ((y[:, t] - hat @ y[:, t]) ** 2).sum() / (60 - np.trace(hat))
        cover = variance * np.linalg.inv(e.T @ e + alpha * np.eye(20))
        dual = (
            grid.solve_root_transposed(np.eye(20).reshape(-1, 4, 5)).reshape(20, 20).T
            / 0.5
        )
        near(error[t].ravel(), np.sqrt(np.diag(dual @ cover @ dual.T)), 1e-8)


def test_orthogonal_draws():
    """The normals are orthogonal, and have the lengths of independent normals."""
    grid = Grid((3, 4), bordered=False)
    blocks = orthogonal_noise(grid, [0, 0], 1000)
    z = np.concatenate([next(blocks) for _ in range(60)])
    e = grid.solve_root(z).reshape(-1, 12)
    for i in range(0, len(e) - 12, 12):
        gram = e[i : i + 12] @ e[i : i + 12].T
        assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-9
    lengths = (e**2).sum(-1)
    assert lengths.mean() == pytest.approx(12, rel=0.05)
    assert lengths.var() == pytest.approx(24, rel=0.2)
    second = e.T @ e / len(e)
    np.testing.assert_allclose(second, np.eye(12), atol=0.15)
    few = np.concatenate([b for b, _ in zip(orthogonal_noise(grid, [0, 0], 5), range(1),
                                            strict=False)])  # fmt: skip
    assert len(few) == 5


def test_too_few_orthogonal_directions_are_refused():
    x = np.full((1, 6, 6, 1), 100, np.float32)
    options = {"base_size": 6, "estimator": "regression", "sampling": "orthogonal"}
    with pytest.raises(OptionError, match="on 36 orthogonal directions"):
        tfxai.explain(linear((6, 6, 1)), x, "leg", 0, n_samples=80, **options)


def test_a_regression_stops_at_its_tolerance():
    model, x = linear((6, 6, 1)), np.full((1, 6, 6, 1), 100, np.float32)

    def predict(batch):
        noise = np.random.default_rng(int(abs(batch.sum()) * 1000) % 2**31)
        return model(batch).numpy() + 6 * noise.normal(size=(len(batch), 3))

    w = model.layers[-1].kernel.numpy()[:, 0].reshape(6, 6) * 255
    e = tfxai.explain(
        predict, x, "leg", 0, base_size=6, n_samples=10**5, tolerance=0.1, scale="logit"
    )
    leg, error = (e.extra[k][0, 0] for k in ("base", "standard_error"))
    assert e.extra["estimator"] == "regression"
    assert np.linalg.norm(error) <= 0.1 * np.linalg.norm(leg)
    assert 0.03 < np.linalg.norm(leg - w) / np.linalg.norm(w) < 0.2
    assert 80 < e.extra["evaluations"][0, 0] < 10**5


def test_pictures_of_any_size():
    x = keras.Input((None, None, 1))
    y = L.GlobalAveragePooling2D()(L.Conv2D(3, 3, activation="relu")(x))
    model = zoo.fill(keras.Model(x, y))
    analyzer = tfxai.create_analyzer("leg", model, base_size=4, n_samples=4)
    rise = tfxai.create_analyzer("rise", model, n_samples=4)
    for side in (8, 11):
        data = np.random.default_rng(0).uniform(0, 9, (1, side, side, 1))
        one = analyzer.analyze(np.float32(data), 0)
        again = tfxai.explain(
            model, np.float32(data), "leg", 0, base_size=4, n_samples=4
        )
        np.testing.assert_array_equal(one.relevance, again.relevance)
        assert rise.analyze(np.float32(data), 0).relevance.shape == data.shape


def test_a_tolerance_stops_early():
    model = linear((6, 6, 1))
    x, batch_sizes = np.full((1, 6, 6, 1), 100, np.float32), []

    def predict(batch):
        batch_sizes.append(len(batch))
        return model(batch).numpy()

    options = {"base_size": 6, "scale": "logit", "n_samples": 10**6}
    options |= {"estimator": "score", "sampling": "antithetic"}
    e = tfxai.explain(predict, x, "leg", 0, tolerance=0.2, **options)
    error = np.linalg.norm(e.extra["standard_error"]) / np.linalg.norm(e.extra["base"])
    assert 0.1 < error <= 0.2 and sum(batch_sizes) < 10**5


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_one_draw_knows_no_error(name):
    """One draw has no standard error: it is NaN, not 0."""
    grid, rng = Grid((2, 3)), np.random.default_rng(0)
    z = 0.5 * grid.apply_root(rng.normal(size=(4, 2, 3)))
    outputs = rng.normal(size=(4, 1, 2, 3)) if name == "gradient" else z.sum((1, 2))
    outputs = outputs if name == "gradient" else outputs[:, None]
    estimator = ESTIMATORS[name](grid, 0.5, True)
    for count in (1, 2, 4):
        estimator.add(z[estimator.count : count], outputs[estimator.count : count])
        leg, error = estimator.result()
        assert np.isfinite(leg).all() and error.shape == (1, 2, 3)
        assert np.isnan(error).all() if count == 1 else np.isfinite(error).all()
        if name == "gradient" and count > 1:
            spread = (count - 1) * outputs[:count].var(0, ddof=1)
            shared = 0.1 * spread.mean() / (count - 1)
            wanted = np.sqrt((spread + shared) / (count - 0.9) / count)
            np.testing.assert_allclose(error, wanted, rtol=1e-9)


def test_one_pair_asks_for_two_answers_and_tells_no_error():
    x = np.full((1, 6, 6, 1), 100, np.float32)
    options = {"base_size": 6, "n_samples": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = tfxai.explain(linear((6, 6, 1)), x, "leg", 0, **options)
    assert np.isnan(e.extra["standard_error"]).all() and e.relevance.all()
    with pytest.warns(InexactWarning, match=r"sample\(s\) \[0\] is unknown"):
        again = tfxai.explain(linear((6, 6, 1)), x, "leg", 0, tolerance=9.0, **options)
    np.testing.assert_array_equal(again.relevance, e.relevance)


@pytest.mark.parametrize("method", ["leg", "leg_tv"])
def test_a_tolerance_that_was_not_met_is_a_warning(method):
    """Sample 1 is so bright that noise does not change its gradient."""
    x = keras.Input((6, 6, 1))
    y = L.Flatten()(L.Activation(lambda v: v**3)(L.Rescaling(1 / 100)(x)))
    model = zoo.fill(keras.Model(x, L.Dense(3)(y)))
    data = np.full((2, 6, 6, 1), 1, np.float32)
    data[1] = 10**6
    options = {"base_size": 6, "scale": "logit", "n_samples": 20, "unit": 255.0}
    if method == "leg_tv":
        options["lambdas"] = [0.3]
    message = (
        r"n_samples=20 .*sample\(s\) \[0\] is (.*) of the relevance, .*tolerance=0.05"
    )
    for target in (0, [[0, 2]] * 2):
        with pytest.warns(InexactWarning, match=message) as caught:
            e = tfxai.explain(model, data, method, target, tolerance=0.05, **options)
        error, size = (
            np.linalg.norm(e.extra[k].reshape(2, -1), axis=1)
            for k in ("standard_error", "base")
        )
        assert error[0] > 0.05 * size[0] and error[1] <= 0.05 * size[1]
        text = str(caught[0].message)
        assert f"is {error[0] / size[0]:.2g} of the relevance" in text
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = 1.01 * error[0] / size[0]
        tfxai.explain(model, data, method, target, tolerance=near, **options)
        tfxai.explain(model, data, method, 0, **options)


@pytest.mark.parametrize(
    "options, look",
    [
        ({}, 32),  # gradients: there are only 32 pairs
        ({"n_samples": 15}, 8),
        ({"n_samples": 15, "sampling": "plain"}, 15),
        ({"n_samples": 500}, 64),
        ({"estimator": "regression"}, 44),  # 1.2 pairs for each of 36 cells
        ({"estimator": "regression", "n_samples": 80}, 40),
    ],
)
def test_the_first_look_is_not_behind_the_last_draw(options, look):
    config = LegConfig(tfxai.wrap(linear((6, 6, 1))), tolerance=0.1, **options)
    grid = Grid((6, 6))
    assert config.first_check(grid) == look
    assert sum(map(len, config.draws(grid, 0))) >= look


@pytest.mark.parametrize("method", ["leg", "leg_tv"])
def test_the_unit_is_the_extent_of_a_sample_or_that_of_bytes(method):
    x = np.random.default_rng(0).uniform(0, 1, (4, 6, 6, 1)).astype("float32")
    x *= np.float32([1, 3, 200, 0]).reshape(-1, 1, 1, 1)
    x[1] -= 2
    tanh = L.Activation("tanh")
    model = keras.Sequential([linear((6, 6, 1)), L.Rescaling(0.003), tanh])
    options = {"base_size": 6, "n_samples": 4}
    e = tfxai.explain(model, x, method, 0, **options)
    units = [x[0].max(), np.ptp(x[1]), 255.0, 1.0]
    assert x[0].max() > np.ptp(x[0]) and np.ptp(x[1]) > np.abs(x[1]).max()
    for v, unit, relevance in zip(x, units, e.relevance, strict=True):
        one = tfxai.explain(model, v[None], method, 0, unit=float(unit), **options)
        largest = np.abs(one.relevance).max()
        np.testing.assert_allclose(relevance, one.relevance[0], atol=1e-5 * largest)


@pytest.mark.parametrize("scale", ["probability", "logit", "log_odds"])
def test_what_is_explained(scale):
    x = keras.Input((6, 6, 1))
    y = L.Dense(3)(L.Flatten()(L.Rescaling(1 / 255)(x)))
    model = zoo.fill(keras.Model(x, L.Softmax()(y)))
    data = np.random.default_rng(0).uniform(0, 255, (2, 6, 6, 1)).astype("float32")
    options = {"base_size": 6, "noise": 1e-6, "n_samples": 1, "scale": scale}
    both = tfxai.explain(model, data, "leg", [[0, 2]] * 2, **options)
    p = model(data).numpy()
    scores = {"probability": p, "log_odds": np.log(p / (1 - p))}
    if scale in scores:
        np.testing.assert_allclose(both.score, scores[scale][:, [0, 2]], rtol=1e-4)
    against = tfxai.explain(model, data, "leg", 0, contrast=2, **options)
    wanted = both.extra["base"][:, 0] - both.extra["base"][:, 1]
    near(against.extra["base"], wanted, 1e-3)
    np.testing.assert_allclose(
        against.score, both.score[:, 0] - both.score[:, 1], rtol=1e-4
    )
    # with almost no noise LEG is the gradient
    link = {"probability": tf.identity, "logit": tf.math.log}
    link["log_odds"] = lambda p: tf.math.log(p / (1 - p))
    with tf.GradientTape() as tape:
        v = tf.constant(data)
        tape.watch(v)
        s = link[scale](model(v))
        s = s[:, 0] - s[:, 2]
    gradient = tape.gradient(s, v).numpy()[..., 0] * 255
    near(against.extra["base"][:, 0], gradient, 1e-3)


def test_leg_tv_of_the_same_samples():
    model = linear((8, 8, 2))
    x = np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 2)).astype("float32")
    options = {"base_size": 8, "scale": "logit", "n_samples": 4}
    e = tfxai.explain(model, x, "leg_tv", 1, lambdas=[0.2, 0.6], **options)
    plain = tfxai.explain(model, x, "leg", 1, **options)
    np.testing.assert_array_equal(e.extra["base"], plain.extra["base"])
    d = Grid((8, 8)).differences
    assert e.extra["by_lambda"].shape == (1, 2, 2, 8, 8)

    def variation(g):
        return np.abs(d @ g.ravel()).sum()

    for c in range(2):
        leg, few, many = e.extra["base"][0, c], *e.extra["by_lambda"][0, :, c]
        assert variation(many) < variation(few) < variation(leg)
    first = np.moveaxis(e.extra["by_lambda"][0, 0], 0, -1)
    np.testing.assert_allclose(e.relevance[0], first, atol=1e-4)
    assert e.extra["violation"].max() <= 1e-9


def test_batches_change_nothing():
    model = linear((6, 6, 1))
    x = np.random.default_rng(0).uniform(0, 255, (3, 6, 6, 1)).astype("float32")
    for estimator in ("score", "gradient"):
        options = {"base_size": 4, "n_samples": 50, "estimator": estimator}
        analyzer = tfxai.create_analyzer("leg", model, **options)
        e = analyzer.analyze(x, [[0, 1]] * 3)
        one = analyzer.analyze(x[1:2], 1, batch_size=7)
        near(one.relevance[0], e.relevance[1, 1], 1e-3)


# -- errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, seen",
    [
        ({"base_size": 7}, "base_size=7"),
        ({"base_size": 0}, "base_size=0"),
        ({"noise": 0}, "noise=0"),
        ({"n_samples": 0}, "n_samples=0"),
        (
            {"estimator": "regression", "sampling": "plain", "n_samples": 1},
            "n_samples=1",
        ),
        ({"sampling": "sobol"}, "sampling='sobol'"),
        ({"scale": "odds"}, "scale='odds'"),
        ({"estimator": "gradient", "truncate": True}, "no gradient"),
        ({"tolerance": -1}, "tolerance=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"clip": (255, 0)}, "clip=(255, 0)"),
        ({"clip": 5}, "clip=5"),
        ({"contrast": -1}, "contrast=-1"),
        ({"contrast": 3}, "contrast=3"),
        ({"contrast": "cat"}, "contrast='cat'"),
        ({"preprocess": tf.round}, "no gradient passes through"),
    ],
)
def test_a_wrong_option_is_named(options, seen):
    x = np.zeros((1, 6, 6, 1), np.float32)
    with pytest.raises(OptionError) as caught:
        tfxai.explain(linear((6, 6, 1)), x, "leg", 0, **{"base_size": 6, **options})
    assert seen in caught.value.seen


def test_a_licence_is_asked_for_before_anything_else(monkeypatch):
    batch_sizes = []
    monkeypatch.setattr(cvxpy, "installed_solvers", lambda: ["CLARABEL", "MOSEK"])
    monkeypatch.setattr(total_variation, "mosek_fault", lambda: "there is no licence")
    with pytest.raises(OptionError, match="there is no licence"):
        tfxai.create_analyzer("leg_tv", batch_sizes.append, solver="MOSEK")
    assert not batch_sizes
    assert resolve_solver("auto") == "CLARABEL"
    monkeypatch.setattr(total_variation, "mosek_fault", lambda: None)
    assert resolve_solver("auto") == resolve_solver("mosek") == "MOSEK"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("rescode.err_license_expired(1001): The license has expired.", "has expired"),
        ("rescode.err_missing_license_file(1008): not found", "there is no licence"),
        ("rescode.err_space(1051): Out of space.", "fails on a trivial program"),
    ],
)
def test_a_fault_of_mosek_is_named(monkeypatch, text, seen):
    def fail(*_, **__):
        raise RuntimeError(text)

    monkeypatch.setattr(cvxpy, "installed_solvers", lambda: ["CLARABEL", "MOSEK"])
    monkeypatch.setattr(cvxpy.Problem, "solve", fail)
    with pytest.raises(OptionError, match=seen) as caught:
        resolve_solver("MOSEK")
    assert "MOSEKLM_LICENSE_FILE" in caught.value.wanted


def test_an_unknown_solver_is_not_installed(monkeypatch):
    monkeypatch.setattr(cvxpy, "installed_solvers", lambda: ["CLARABEL"])
    with pytest.raises(OptionError, match="CLARABEL") as caught:
        resolve_solver("nonsense")
    assert caught.value.write == 'solver="auto"'
    with pytest.raises(OptionError, match="CLARABEL") as caught:
        resolve_solver("gurobi")
    assert caught.value.write == "python -m pip install gurobipy"


@pytest.mark.parametrize("lambdas", [0, [0.1, 1], "0.1", [-1], [], None])
def test_a_wrong_lambda_is_named_before_anything_is_asked(lambdas):
    with pytest.raises(OptionError, match="lambdas="):
        tfxai.create_analyzer("leg_tv", lambda x: x, lambdas=lambdas)
    with pytest.raises(OptionError, match="solver='NONE'"):
        tfxai.create_analyzer("leg_tv", lambda x: x, solver="NONE")
    with pytest.raises(OptionError, match="solver=None"):
        tfxai.create_analyzer("leg_tv", lambda x: x, solver=None)
    tfxai.create_analyzer("leg_tv", lambda x: x, lambdas=np.float32([0.2, 0.4]))


def test_a_callable_that_fails_is_named():
    x = np.full((2, 6, 6, 1), 100, np.float32)

    def predict(batch):
        y = batch.reshape(len(batch), -1)[:, :2].copy()
        y[np.abs(batch - 100).max((1, 2, 3)) > 1] = np.nan
        return y

    with pytest.raises(ModelError, match=r"changed copy of sample\(s\) \[0\]"):
        tfxai.explain(predict, x, "leg", 0, base_size=3, n_samples=10)
    with pytest.raises(ModelError, match=r"for sample\(s\) \[0, 1\] themselves"):
        tfxai.explain(lambda v: predict(v) * np.nan, x, "leg", 0, base_size=3)
    with pytest.raises(InputError, match="inputs of shapes"):
        tfxai.explain(lambda v: v[:, :2], np.zeros((2, 5), "float32"), "leg", 0)


@pytest.mark.filterwarnings("ignore::tfxai.errors.NothingToExplainWarning")
def test_slopes_that_are_not_finite_are_named():
    """A square root has a value at 0, and no finite gradient."""
    x = np.full((2, 6, 6, 1), 200, np.float32)
    x[1] = 100

    def root(v):
        return tf.sqrt((v - 150) * tf.cast(v > 150, tf.float32))

    given = {"base_size": 6, "n_samples": 8, "preprocess": root}
    with pytest.raises(ModelError) as caught:
        tfxai.explain(linear((6, 6, 1)), x, "leg", 0, **given)
    assert caught.value.seen == (
        "The model returned NaN or infinity as its gradient at a changed copy of "
        "sample(s) [1]."
    )
    assert "regression" in caught.value.write
    e = tfxai.explain(linear((6, 6, 1)), x, "leg", 0, estimator="regression", **given)
    assert e.relevance[0].all() and not e.relevance[1].any()
