"""The perturbation CNN: published values, blocked convolution, optimisation loop."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tests.conftest import SHARED, shared_path
from tfxai.core.explanation import Explanation
from tfxai.errors import (
    BlackBoxError,
    EvenKernelWarning,
    InputError,
    ModelError,
    OptionError,
    StuckWarning,
    UncertainClassWarning,
)
from tfxai.perturbation import generator as generators
from tfxai.perturbation.checks import check_result
from tfxai.perturbation.convolution import BlockedConvolution
from tfxai.perturbation.descent import ITERATIONS_PER_CALL, PATIENCE, Descent
from tfxai.perturbation.postprocess import center_of_mass, processed

L = keras.layers
FOLDER = "references/sampling"


# -- the stored cases ----------------------------------------------------------------


def cases():
    found = sorted((SHARED / FOLDER).glob("pert_*.json")) or [SHARED / "absent.json"]
    return [f.stem for f in found]


@pytest.fixture
def stored(request):
    folder = shared_path(FOLDER)
    facts = json.loads((folder / f"{request.param}.json").read_text())
    arrays = dict(np.load(folder / f"{request.param}.npz"))
    model = keras.models.load_model(folder / "models" / facts["model"])
    return facts, arrays, model


def near(ours, wanted, tolerance):
    assert np.shape(ours) == np.shape(wanted)
    assert np.abs(ours - wanted).max() <= tolerance * np.abs(wanted).max()


@pytest.mark.shared
@pytest.mark.parametrize("stored", cases(), indirect=True)
def test_the_generator_its_loss_and_its_slopes(stored):
    facts, arrays, model = stored
    layers = [facts["nlayers"]] * facts["nblocks"]
    network = generators.shared(facts["kernel_size"], layers, 3, "random")
    generator = generators.convolutional(network, "none", facts["l1_coeff"], 1.0)
    x = tf.constant(arrays["image"][None], tf.float32)
    parameters = [
        tf.constant(arrays[k][None], tf.float32) for k in ("kernel_hwio", "bias")
    ]
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        changed = generator.perturb(parameters, x, [])
        score = model(changed)[:, facts["target_class"]]
        cost = generator.cost(parameters, x, changed, 0)
        loss = score + cost
    near(changed.numpy()[0], arrays["perturbed"], 1e-5)
    assert float(score[0]) == pytest.approx(facts["perturbed_score"], rel=1e-4)
    assert float(cost[0]) == pytest.approx(facts["l1_term"], rel=1e-5)
    assert float(loss[0]) == pytest.approx(facts["loss"], rel=1e-4)
    kernel, bias = tape.gradient(loss, parameters)
    near(kernel.numpy()[0], arrays["grad_kernel"], 1e-3)
    near(bias.numpy()[0], arrays["grad_bias"], 1e-3)


@pytest.mark.shared
@pytest.mark.parametrize("stored", cases(), indirect=True)
def test_the_losses_of_adam_and_where_it_ends(stored, monkeypatch):
    facts, arrays, model = stored
    start = [np.float32(arrays["kernel_hwio"]), np.float32(arrays["bias"])]
    monkeypatch.setattr(generators, "_random_layer", lambda *_: start)
    ends = []
    step = Descent._step

    def recorded(self, i, state, data):
        result = step(self, i, state, data)
        tf.py_function(lambda *p: ends.append([v.numpy() for v in p]), result[0][0], [])
        return result

    monkeypatch.setattr(Descent, "_step", recorded)
    n_iterations = facts["adam"]["steps"]
    e = tfxai.explain(
        model, np.float32(arrays["image"][None]), "perturbation_cnn",
        facts["target_class"], n_iterations=n_iterations,
        kernel_size=facts["kernel_size"], n_blocks=facts["nblocks"],
        n_layers=facts["nlayers"], l1=facts["l1_coeff"],
        unit=1.0, learning_rate=facts["adam"]["lr"], normalise="none", restarts=0,
    )  # fmt: skip
    near(e.extra["loss_history"][0], arrays["adam_losses"], 1e-3)
    best = arrays["adam_losses"].min()
    assert e.extra["loss"][0] == pytest.approx(best, rel=1e-4)
    assert e.extra["score_before"][0] == pytest.approx(
        facts["original_score"], abs=1e-5
    )
    assert len(ends) == n_iterations
    near(ends[-1][0][0], arrays["adam_kernel"], 1e-3)
    near(ends[-1][1][0], arrays["adam_bias"], 1e-3)


@pytest.mark.shared
@pytest.mark.parametrize("stored", cases(), indirect=True)
def test_the_published_picture_and_its_centre(stored):
    facts, arrays, _ = stored
    difference = arrays["image"].astype(float) - arrays["perturbed"]
    heatmap = processed(difference, dilation=20)
    assert heatmap.max() == pytest.approx(facts["difference_max"], rel=1e-6)
    np.testing.assert_allclose(
        heatmap / heatmap.max(), arrays["difference_over_max"], atol=1e-6
    )
    np.testing.assert_allclose(
        center_of_mass(heatmap), facts["center_of_mass_row_col"], rtol=1e-6
    )
    np.testing.assert_allclose(
        center_of_mass(heatmap[::-1]), facts["center_of_mass_flipped_rows"], rtol=1e-6
    )


def test_each_step_of_the_picture_can_be_left_out():
    rng = np.random.default_rng(0)
    d = rng.normal(size=(20, 30, 3))
    mean = d.mean(-1)
    np.testing.assert_allclose(processed(d, None, None, 0), mean)
    np.testing.assert_allclose(processed(d, 3, None, 0), np.abs(mean) ** 3)
    inside = processed(d, 1, 0.1, 0)
    assert (inside[:2] == 0).all() and (inside[18:] == 0).all()
    assert (inside[:, :3] == 0).all() and (inside[:, 27:] == 0).all()
    np.testing.assert_allclose(inside[2:18, 3:27], np.abs(mean)[2:18, 3:27])
    point = np.zeros((224, 300, 1))
    point[100, 150] = 1.0
    for side, dilation in ((20, None), (5, 5)):
        grown = processed(point, 6, None, dilation)
        assert (grown > 0).sum() == side * side  # sized by the shorter side
    assert np.isnan(center_of_mass(np.zeros((4, 4)))).all()


# -- the convolution -----------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 5, 9, 19])
@pytest.mark.parametrize("shape", [(7, 16, 3), (6, 13, 2), (3, 5, 1), (12, 33, 4)])
def test_rows_convolve_as_a_convolution_does(size, shape):
    rng = np.random.default_rng(size)
    x = tf.constant(rng.normal(size=shape), tf.float32)
    kernel = tf.constant(rng.normal(size=(size, size, *[shape[-1]] * 2)), tf.float32)
    bias = tf.constant(rng.normal(size=shape[-1:]), tf.float32)
    convolution = BlockedConvolution(shape[1], size)
    y, wanted = convolution.to_blocks(x), x[None]
    for _ in range(2):  # the second reads the padding after the last pixel
        y = convolution.convolve(y, convolution.matrix(kernel), bias)
        wanted = tf.nn.conv2d(wanted, kernel, 1, "SAME") + bias
    near(convolution.from_blocks(y, shape[-1]).numpy(), wanted.numpy()[0], 1e-5)


def test_the_unshared_network_is_keras_layers():
    rng = np.random.default_rng(3)
    initial, perturb = generators.unshared(3, [2, 1], 3, "random", 6)
    parameters = initial(rng, 0)
    x = keras.Input((9, 11, 3))
    y = L.Conv2D(6, 3, padding="same")(x)
    y = L.Conv2D(6, 3, padding="same", activation="relu")(y)
    y = L.Conv2D(3, 3, padding="same", activation="relu")(y)
    model = keras.Model(x, y)
    model.set_weights(parameters)
    data = rng.normal(size=(1, 9, 11, 3)).astype("float32")
    ours = perturb(parameters, tf.constant(data[0])).numpy()
    near(ours, model(data).numpy()[0], 1e-5)


@pytest.mark.parametrize("unshared", [False, True])
def test_a_start_near_the_identity_changes_little(unshared):
    x = np.random.default_rng(0).uniform(3, 250, (1, 24, 24, 3)).astype("float32")
    rng, own = np.random.default_rng(0), (3, [3, 3, 3], 3, "identity")
    network = generators.unshared(*own, 8) if unshared else generators.shared(*own)
    generator = generators.convolutional(network, "range", 1.0, None)
    parameters = [tf.constant(p[None]) for p in network[0](rng, 0)]
    changed = generator.perturb(parameters, x, []).numpy()
    assert changed.min() == pytest.approx(x.min(), rel=1e-4)
    assert changed.max() == pytest.approx(x.max(), rel=1e-4)
    assert 0 < np.abs(changed - x).mean() < 0.25 * (x.max() - x.min())
    assert np.corrcoef(changed.ravel(), x.ravel())[0, 1] > 0.8


def test_a_constant_answer_divides_by_nothing():
    x = tf.constant([[[1.0], [5.0]]])
    with tf.GradientTape() as tape:
        y = tf.zeros_like(x)
        tape.watch(y)
        stretched = generators.stretched(y, x)
    assert (stretched.numpy() == 1.0).all()
    assert np.isfinite(tape.gradient(stretched, y).numpy()).all()


# -- the optimisation loop ------------------------------------------------------------


def adam(gradient, x, n_iterations, rate):
    """Return the points before each update: Kingma and Ba 2015, algorithm 1."""
    m = v = np.zeros_like(x)
    points = []
    for t in range(1, n_iterations + 1):
        points.append(x)
        g = gradient(x)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = x - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return np.array(points)


def bowl(parameters, iteration, data):
    """Return the squared distance to data[0], for each sample."""
    loss = tf.reduce_sum(tf.square(parameters[0] - data[0]), -1)
    return loss, loss, 10 * loss


def silent(*_):
    return None


def test_the_loop_is_adam_for_each_sample_and_keeps_the_best():
    rng = np.random.default_rng(1)
    start, goal = rng.normal(size=(2, 3, 4))
    count = ITERATIONS_PER_CALL + 8  # more than one call, and not a multiple
    descent = Descent(bowl, list, count, 0.9, 0.0)
    found = descent([np.float32(start)], [tf.constant(goal, tf.float32)], silent)
    for b in range(3):
        points = adam(lambda p, b=b: 2 * (p - goal[b]), start[b], count, 0.9)
        losses = np.square(points - goal[b]).sum(-1)
        np.testing.assert_allclose(found.history[0, b], losses, rtol=1e-3)
        np.testing.assert_allclose(found.history[1, b], 10 * losses, rtol=1e-3)
        best = losses.argmin()
        assert best > 0 and found.loss[b] == pytest.approx(losses[best], rel=1e-3)
        np.testing.assert_allclose(found.parameters[0][b], points[best], atol=1e-4)
    assert (found.iterations == count).all()


def test_a_sample_that_no_longer_falls_stops_alone():
    start = np.float32([[0.0], [200.0]])
    descent = Descent(bowl, list, 400, 0.1, 1e-3)
    found = descent([start], [tf.zeros((2, 1))], silent)
    assert found.iterations.tolist() == [PATIENCE + 1, 400]
    assert np.isnan(found.history[:, 0, PATIENCE + 1 :]).all()
    assert np.isfinite(found.history[:, 1]).all()
    alone = descent([start[1:]], [tf.zeros((1, 1))], silent)
    np.testing.assert_allclose(found.history[:, 1], alone.history[:, 0], rtol=1e-5)
    all_done = descent([start[:1]], [tf.zeros((1, 1))], silent)
    assert all_done.history.shape == (2, 1, 400)
    assert all_done.iterations[0] == PATIENCE + 1


def test_it_settles_after_every_step():
    descent = Descent(bowl, lambda p: [tf.maximum(p[0], 0.5)], 200, 0.1, 0.0)
    found = descent([np.float32([[3.0]])], [tf.zeros((1, 1))], silent)
    assert found.parameters[0][0, 0] == 0.5


def test_a_loss_that_is_not_finite_is_an_error():
    def loss(parameters, iteration, data):
        value, _, score = bowl(parameters, iteration, data)
        return tf.where(iteration == 3, np.nan, value), value, score

    text = "sample 0 became NaN or infinity at iteration 3"
    with pytest.raises(ModelError, match=text):
        Descent(loss, list, 9, 0.1, 0.0)(
            [np.ones((1, 2), "f")], [tf.zeros((1, 2))], silent
        )


# -- the analyzer --------------------------------------------------------------------


def small(seed=1, units=3):
    x = keras.Input((16, 20, 3))
    y = L.BatchNormalization()(L.Conv2D(4, 3)(x))
    y = L.Dropout(0.5)(L.Flatten()(L.Activation("relu")(y)))
    return zoo.fill(keras.Model(x, L.Dense(units, "softmax")(y)), seed)


def images(count=3, seed=4):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (count, 16, 20, 3)).astype("float32")


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncertainClassWarning)
        warnings.simplefilter("ignore", StuckWarning)
        yield


def test_what_an_explanation_holds():
    model, x = small(), images()
    before = [v.numpy() for v in model.variables]
    analyzer = tfxai.create_analyzer(
        "perturbation_cnn", model, n_iterations=40, restarts=0,
        learning_rate=1e-3,
    )  # fmt: skip
    e = analyzer.analyze(x, [[0, 2]] * 3, batch_size=4)
    for v, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), old)
    p = model.predict(x, verbose=0)
    np.testing.assert_allclose(e.extra["score_before"], p[:, [0, 2]], atol=1e-5)
    changed = e.extra["perturbed"]
    np.testing.assert_allclose(e.relevance, x[:, None] - changed, atol=1e-6)
    for t, k in enumerate((0, 2)):
        after = model.predict(changed[:, t], verbose=0)
        np.testing.assert_allclose(e.extra["score_after"][:, t], after[:, k], atol=1e-5)
        away = np.abs(x - changed[:, t]).mean((1, 2, 3))
        np.testing.assert_allclose(e.extra["l1"][:, t], away, rtol=1e-5)
        unit = x.max((1, 2, 3)) - x.min((1, 2, 3))
        np.testing.assert_allclose(
            e.extra["loss"][:, t], after[:, k] + away / unit, rtol=1e-4
        )
        assert (e.extra["top_classes"][:, t] == np.argsort(-p, -1)).all()
        np.testing.assert_allclose(e.extra["top_before"][:, t], -np.sort(-p), atol=1e-5)
    losses = e.extra["loss_history"]
    np.testing.assert_allclose(losses.min(-1), e.extra["loss"], rtol=1e-5)
    assert losses.shape == (3, 2, 40) and (losses.min(-1) < losses[..., 0]).all()
    heatmap = processed(e.relevance[1, 1])
    np.testing.assert_allclose(e.heatmap()[1, 1], heatmap, rtol=1e-4)
    wanted = center_of_mass(heatmap)
    np.testing.assert_allclose(e.extra["center_of_mass"][1, 1], wanted, rtol=1e-5)
    one = analyzer.analyze(x[1:2], 2)
    np.testing.assert_allclose(one.relevance[0], e.relevance[1, 1], atol=1e-4)


def test_a_stuck_start_is_begun_again_and_the_best_kept():
    model, x = small(), images()
    options = {"n_iterations": 15, "learning_rate": 1e-3, "tolerance": 0}
    runs = [
        tfxai.explain(model, x, "perturbation_cnn", restarts=r, **options).extra
        for r in (0, 3)
    ]
    assert (runs[1]["loss"] <= runs[0]["loss"] + 1e-6).all()
    assert (runs[1]["loss"] < runs[0]["loss"] - 1e-3).any()
    assert (runs[1]["score_history"][:, 0] != runs[0]["score_history"][:, 0]).any()


def test_a_sure_answer_is_left_by_a_start_farther_away():
    """The gradient of a probability of exactly 1 is zero; a start with three times the
    noise reaches an image with a smaller probability.
    """
    x = keras.Input((16, 20, 3))
    y = L.Dense(2, "softmax")(L.GlobalAveragePooling2D()(x))
    model, scores = keras.Model(x, y), []
    model.layers[-1].set_weights(
        [np.float32([[400, 0], [-200, 0], [-200, 0]]), np.float32([-30.0, 0.0])]
    )
    data = images(1) * np.float32([1.0, 0.5, 0.5])
    assert model.predict(data, verbose=0)[0, 0] == 1
    for restarts in (1, 2, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StuckWarning)
            e = tfxai.explain(
                model, data, "perturbation_cnn", n_iterations=10, restarts=restarts
            )
        scores.append(float(e.extra["score_after"][0]))
    assert scores[0] > 0.99 > 0.1 > scores[-1]


def test_the_noise_grows_from_the_third_start_on():
    initial, _ = generators.shared(3, [3], 3, "identity")
    kernels = [initial(np.random.default_rng(5), n)[0] for n in range(4)]
    differences = [k - kernels[0] for k in kernels]
    noise = kernels[0].copy()
    noise[1, 1, range(3), range(3)] -= 1
    for factor, d in zip((0, 0, 2, 8), differences, strict=True):  # .1 .1 .3 .9
        np.testing.assert_allclose(d, factor * noise, atol=1e-6)


def test_a_start_whose_channel_dies_is_begun_again(monkeypatch):
    random_layer, starts = generators._random_layer, []

    def with_dead_channel(*args):
        kernel, bias = random_layer(*args)
        starts.append(1)
        return [kernel, bias - np.float32([5, 0, 0]) if len(starts) == 1 else bias]

    monkeypatch.setattr(generators, "_random_layer", with_dead_channel)
    x, lost = images(2), []
    for restarts in (0, 1):
        starts.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            e = tfxai.explain(
                small(), x, "perturbation_cnn", n_iterations=5, restarts=restarts
            )
        flat = [w for w in caught if "became flat" in str(w.message)]
        lost.append((e.extra["channels_lost"].tolist(), len(flat)))
    assert lost == [([1, 1], 1), ([0, 0], 0)]


def test_the_class_that_is_explained_is_that_of_the_picture():
    x = keras.Input((16, 20, 3))
    model = keras.Model(x, L.Dense(2, "softmax")(L.GlobalAveragePooling2D()(x)))
    model.layers[-1].set_weights(
        [np.float32([[9, 0], [0, 0], [-9, 0]]), np.float32([-0.5, 0.0])]
    )
    data = images(1) * np.float32([1.0, 1.0, 0.6])
    assert model.predict(data, verbose=0)[0, 0] > 0.6
    options = {"n_iterations": 60, "learning_rate": 0.01, "restarts": 0, "l1": 0}
    one, other = (
        tfxai.explain(model, data, "perturbation_cnn", t, **options) for t in (None, 0)
    )
    np.testing.assert_array_equal(
        one.extra["loss_history"], other.extra["loss_history"]
    )
    assert one.target[0] == 0 and one.extra["score_after"][0] < 0.2  # below 0.5


def test_inputs_are_checked_each_time():
    model, x = small(), images(2)
    analyzer = tfxai.create_analyzer(
        "perturbation_cnn", model, n_iterations=2, restarts=0
    )
    analyzer.analyze(x)
    x[1] = 0.5
    with pytest.raises(InputError, match=r"\[1\] are of one colour"):
        analyzer.analyze(x)
    with pytest.raises(OptionError, match="kernel_size=51"):
        tfxai.explain(model, images(1), "perturbation_cnn", kernel_size=51)


def test_an_even_kernel_is_made_odd_and_said_aloud():
    with pytest.warns(EvenKernelWarning, match="kernel_size=5 is used"):
        analyzer = tfxai.create_analyzer("perturbation_cnn", small(), kernel_size=4)
    assert analyzer.options["kernel_size"] == 5


def test_a_class_that_is_not_well_defined_is_said_aloud():
    model, x = small(), images()
    low = int(model.predict(x[:1], verbose=0).argmin())
    with pytest.warns(UncertainClassWarning, match="is below 0.5"):
        tfxai.explain(model, x[:1], "perturbation_cnn", low, n_iterations=2, restarts=0)
    with pytest.warns(StuckWarning, match="fell by less than half"):
        tfxai.explain(
            model,
            x[:1],
            "perturbation_cnn",
            n_iterations=1,
            restarts=0,
            learning_rate=1e-6,
        )


@pytest.mark.parametrize("moved, texts", [(50, ["is below 0.5"]), (-50, [])])
def test_the_probability_is_doubted_and_not_the_score(moved, texts):
    """A shift of all logits changes the score of a class, but not its probability."""
    model, x = small(units=2), images(1)
    p = model.predict(x, verbose=0)[0]
    k = int(p.argmin() if texts else p.argmax())
    model.layers[-1].bias.assign_add([moved, moved])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        e = tfxai.explain(
            model, x, "perturbation_cnn", k, scale="logit", n_iterations=2, restarts=0
        )
    assert (e.extra["score_before"][0] > 0.5) == (e.extra["probability"][0] < 0.5)
    assert e.extra["probability"][0] == pytest.approx(p[k], rel=1e-4)
    found = [w for w in caught if w.category is UncertainClassWarning]
    assert len(found) == len(texts)
    assert all(t in str(w.message) for t, w in zip(texts, found, strict=True))


STUCK, FLAT = "fell by", "became flat"


@pytest.mark.parametrize(
    "method, before, after, lost, texts",
    [
        ("perturbation_cnn", 0.8, 0.41, 0, [STUCK]),
        ("perturbation_cnn", 0.8, 0.39, 0, []),
        ("perturbation_cnn", 0.8, 0.39, 1, [FLAT]),
        ("perturbation_cnn", 0.8, 0.41, 2, [STUCK, FLAT]),
        ("perturbation_cnn", -2.0, -2.9, 0, [STUCK]),  # a logit: half of its size
        ("perturbation_cnn", -2.0, -3.1, 0, []),
        ("meaningful_perturbation", 0.8, 0.41, 0, [STUCK]),
        ("extremal_perturbation", 0.8, 0.41, 0, []),
        ("extremal_perturbation", 0.8, 0.39, 0, [STUCK]),
        ("extremal_perturbation", 0.8, 0.39, 1, [STUCK, FLAT]),
    ],
)
def test_where_a_run_led_nowhere_is_said_aloud(method, before, after, lost, texts):
    extra = {"score_before": before, "score_after": after, "channels_lost": lost}
    extra = {k: np.array([v]) for k, v in extra.items()}
    for probability, first in (
        (0.49, [UncertainClassWarning]),
        (0.5, []),
        (np.nan, []),
    ):
        extra["probability"] = np.array([probability])
        e = Explanation(np.zeros((1, 2, 2, 1), "f"), np.zeros(1, int), np.zeros(1),
                        method, np.zeros((1, 2, 2, 1), "f"), extra)  # fmt: skip
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_result(e)
        kinds = [w.category for w in caught]
        assert kinds == first + [StuckWarning] * len(texts)
        messages = [str(w.message) for w in caught[len(first) :]]
        assert all(t in m for t, m in zip(texts, messages, strict=True))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_iterations": 0}, "n_iterations=0"),
        ({"restarts": -1}, "restarts=-1"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"l1": -1}, "l1=-1"),
        ({"start": "zeros"}, "start='zeros'"),
        ({"normalise": "mean"}, "normalise='mean'"),
        ({"kernel_size": 0}, "kernel_size=0"),
        ({"n_layers": 0}, "n_layers=0"),
        ({"unit": -2}, "unit=-2"),
        ({"border": "wide"}, "border='wide'"),
        ({"border": 0.6}, "border=0.6"),
        ({"dilation": 1.5}, "dilation=1.5"),
    ],
)
def test_options_are_checked_at_the_door(options, text):
    with pytest.raises(OptionError, match=text):
        tfxai.create_analyzer("perturbation_cnn", small(), **options)


@pytest.mark.parametrize(
    "method", ["perturbation_cnn", "meaningful_perturbation", "extremal_perturbation"]
)
def test_what_cannot_be_explained_says_why(method):
    model, x = small(), images(2)
    x[1] = 0.5
    with pytest.raises(InputError, match=r"\[1\] are of one colour"):
        tfxai.explain(model, x, method, n_iterations=1)
    x[1, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN or infinity in sample"):
        tfxai.explain(model, x, method, n_iterations=1)
    with pytest.raises(BlackBoxError, match="only returns outputs"):
        tfxai.explain(lambda v: v.mean((1, 2)), x[:1], method, n_iterations=1)
    with pytest.raises(OptionError, match="n_iterations=0"):
        tfxai.create_analyzer(method, model, n_iterations=0)
