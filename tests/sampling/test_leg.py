"""LEG and LEG-TV end to end: the stored noise asked again, and closed forms."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.conftest import SHARED, shared_path
from tfxai.errors import InputError, ModelError, OptionError
from tfxai.sampling.grid import Grid
from tfxai.sampling.question import Question

L = keras.layers
FOLDER = "references/sampling"


# -- the stored cases ----------------------------------------------------------------


def cases():
    found = sorted((SHARED / FOLDER).glob("leg_*.json")) or [SHARED / "absent.json"]
    return [f.stem for f in found]


@pytest.fixture
def stored(request, monkeypatch):
    """A stored case, whose noise is drawn in place of our own."""
    folder = shared_path(FOLDER)
    facts = json.loads((folder / f"{request.param}.json").read_text())
    arrays = dict(np.load(folder / f"{request.param}.npz"))
    model = keras.models.load_model(folder / "models" / facts["model"])

    def draws(self, grid, channel):
        z = np.float32(arrays["noise"][channel]).reshape(-1, *grid.shape)
        yield from np.array_split(z, 7)

    monkeypatch.setattr(Question, "draws", draws)
    x = np.float32(arrays["image"])
    x = x[None] if x.ndim == 3 else x[None, ..., None]
    options = {
        "base_size": facts["base_size"],
        "bordered": facts["padding"],
        "noise": facts["noise_level"],
        "sampling": "antithetic" if facts["antithetic"] else "plain",
        "cut": facts["truncate_to_int"],
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
        # There f(x) is subtracted from both; here f(x + z) - f(x - z) says the same.
        assert options["cut"]
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
    asked = []

    def answer(batch):
        asked.append(len(batch))
        return model(batch).numpy()

    box = tfxai.explain(answer, x, "leg", 0, n_samples=200, batch_size=24, **options)
    ours = tfxai.explain(model, x, "leg", 0, n_samples=200, **options)
    near(box.extra["base"], ours.extra["base"], 1e-3)
    assert max(asked) <= 24 and sum(asked) == 200 + 2


def test_a_tolerance_stops_early():
    model = linear((6, 6, 1))
    x, asked = np.full((1, 6, 6, 1), 100, np.float32), []

    def answer(batch):
        asked.append(len(batch))
        return model(batch).numpy()

    options = {"base_size": 6, "scale": "logit", "n_samples": 10**6}
    options |= {"estimator": "score", "sampling": "antithetic"}
    e = tfxai.explain(answer, x, "leg", 0, tolerance=0.2, **options)
    error = np.linalg.norm(e.extra["standard_error"]) / np.linalg.norm(e.extra["base"])
    assert 0.1 < error <= 0.2 and sum(asked) < 10**5


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
    against = tfxai.explain(model, data, "leg", 0, opposite=2, **options)
    wanted = both.extra["base"][:, 0] - both.extra["base"][:, 1]
    near(against.extra["base"], wanted, 1e-3)
    np.testing.assert_allclose(
        against.score, both.score[:, 0] - both.score[:, 1], rtol=1e-4
    )
    # with next to no noise LEG is the slope itself
    link = {"probability": tf.identity, "logit": tf.math.log}
    link["log_odds"] = lambda p: tf.math.log(p / (1 - p))
    with tf.GradientTape() as tape:
        v = tf.constant(data)
        tape.watch(v)
        s = link[scale](model(v))
        s = s[:, 0] - s[:, 2]
    slope = tape.gradient(s, v).numpy()[..., 0] * 255
    near(against.extra["base"][:, 0], slope, 1e-3)


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


# -- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    "options, seen",
    [
        ({"base_size": 7}, "base_size=7"),
        ({"base_size": 0}, "base_size=0"),
        ({"noise": 0}, "noise=0"),
        ({"n_samples": 0}, "n_samples=0"),
        ({"sampling": "sobol"}, "sampling='sobol'"),
        ({"scale": "odds"}, "scale='odds'"),
        ({"estimator": "gradient", "cut": True}, "no slope"),
        ({"tolerance": -1}, "tolerance=-1"),
    ],
)
def test_a_wrong_option_is_named(options, seen):
    x = np.zeros((1, 6, 6, 1), np.float32)
    with pytest.raises(OptionError) as caught:
        tfxai.explain(linear((6, 6, 1)), x, "leg", 0, **{"base_size": 6, **options})
    assert seen in caught.value.seen


@pytest.mark.parametrize("lambdas", [0, [0.1, 1], "0.1", [-1]])
def test_a_wrong_lambda_is_named_before_anything_is_asked(lambdas):
    with pytest.raises(OptionError, match="lambdas="):
        tfxai.create_analyzer("leg_tv", lambda x: x, lambdas=lambdas)
    with pytest.raises(OptionError, match="solver='NONE'"):
        tfxai.create_analyzer("leg_tv", lambda x: x, solver="NONE")


def test_a_callable_that_fails_is_named():
    x = np.full((2, 6, 6, 1), 100, np.float32)

    def answer(batch):
        y = batch.reshape(len(batch), -1)[:, :2].copy()
        y[np.abs(batch - 100).max((1, 2, 3)) > 1] = np.nan
        return y

    with pytest.raises(ModelError, match=r"changed copy of sample\(s\) \[0\]"):
        tfxai.explain(answer, x, "leg", 0, base_size=3, n_samples=10)
    with pytest.raises(InputError, match="inputs of shapes"):
        tfxai.explain(lambda v: v[:, :2], np.zeros((2, 5), "float32"), "leg", 0)
