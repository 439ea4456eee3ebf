"""What a training shows: its maps and numbers are those of the weights just then."""

import csv
import importlib.util
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import tfxai
from tfxai import callbacks, sinks, strips
from tfxai.callbacks import ExplainCallback
from tfxai.errors import (
    InputError,
    MissingPackageError,
    NotExplainedWarning,
    OptionError,
    SinkWarning,
    TargetError,
    UnknownNameError,
)
from tfxai.metrics.measure import measure
from tfxai.metrics.randomisation import rank_correlation

ROOT = Path(__file__).resolve().parents[1]
L = keras.layers
EPOCHS, BATCHES = 3, 5
BOXES = [[0, 0, 0.4, 0.4], [[0.5, 0, 1, 1]], [0.2, 0.2, 0.9, 0.9]]
GRID = {"segmenter": "grid", "segmenter_options": {"cells": 4}}
#: name -> its options: what reads the weights in a way of its own.
ANALYZERS = {
    "sglrp": {},
    "integrated_gradients": {"steps": 8},
    "smoothgrad": {"n": 4},
    "lime": {"n_samples": 40, **GRID},
}
#: The same, where there is more time.
MORE = {**ANALYZERS, "gradient": {}, "gradcam": {}, "occlusion": {}, "deep_taylor": {}}
MEASURES = ("relevance_mass", "sparseness", "max_sensitivity", "randomisation_distance")


def network():
    """A small network with Dropout and BatchNormalization."""
    x = keras.Input((12, 12, 3))
    y = L.BatchNormalization()(L.Conv2D(4, 3, activation="relu")(x))
    y = L.Dropout(0.3)(L.MaxPooling2D()(y))
    y = L.Flatten()(L.Conv2D(4, 3, name="last")(y))
    return keras.Model(x, L.Dense(3, "softmax")(y))


def data():
    """Random pictures (40, 12, 12, 3), and which of three classes they are."""
    x = np.random.default_rng(0).uniform(0, 1, (40, 12, 12, 3)).astype("float32")
    y = np.arange(40) % 3
    x[y == 1, :5, :5] = 1
    return x, y


def fitted(watching, epochs=EPOCHS, model=None, **options):
    """The model after `fit` at a fixed seed, and its history."""
    x, y = data()
    if model is None:
        keras.utils.set_random_seed(7)
        model = network()
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    history = model.fit(
        x, y, 8, epochs, verbose=0, callbacks=watching, shuffle=True, **options
    )
    return model, history.history


class Weights(keras.callbacks.Callback):
    """The weights before the training and after each epoch and batch."""

    def __init__(self):
        super().__init__()
        self.at, self.after = {}, []

    def on_train_begin(self, logs=None):
        self.at[0] = self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        self.after.append(self.model.get_weights())

    def on_epoch_end(self, epoch, logs=None):
        self.at[epoch + 1] = self.model.get_weights()


def keeper():
    """A logger, and what it was given: (step, name) -> array."""
    kept = {}
    return kept, lambda step, name, array: kept.__setitem__((step, name), array)


def with_weights(weights):
    model = network()
    model.set_weights(weights)
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One training, watched in every way at once until it is stopped by a measure."""
    folder, x = tmp_path_factory.mktemp("run"), data()[0][:3]
    weights, (maps, logger), (shown, pictures) = Weights(), keeper(), keeper()
    often, of_batch = keeper()
    watching = [
        ExplainCallback(x, 1, name, to=[logger], **options)
        for name, options in ANALYZERS.items()
    ]
    watching[0] = ExplainCallback(
        x, 1, to=[
            callbacks.png(folder / "strips"), callbacks.gif(folder / "m.gif", 0.2, 2),
            callbacks.npz(folder / "maps"), callbacks.hdf5(folder / "maps.h5"),
            logger, callbacks.overlays(pictures),
        ], measures=MEASURES, boxes=BOXES,
    )  # fmt: skip
    watching.append(ExplainCallback(x, 1, "gradient", 2, "batch", [of_batch]))
    keras_own = [
        keras.callbacks.EarlyStopping(
            "relevance_mass", mode="max", min_delta=1.0, patience=EPOCHS - 1
        ),
        keras.callbacks.CSVLogger(folder / "log.csv"),
    ]
    model, history = fitted([*watching, weights, *keras_own], EPOCHS + 3)
    return {
        "folder": folder, "x": x, "weights": weights, "maps": maps, "shown": shown,
        "model": model, "history": history, "watching": watching, "often": often,
    }  # fmt: skip


@pytest.fixture(scope="module")
def model():
    """A model that any test may train further: it is compiled once."""
    return fitted([], 1)[0]


# -- the maps are those of the weights -----------------------------------------------


@pytest.mark.parametrize("name", ANALYZERS)
def test_the_map_of_each_epoch_is_that_of_its_weights(run, name):
    model, maps = network(), []
    for step in range(EPOCHS + 1):
        model.set_weights(run["weights"].at[step])
        if step in (0, EPOCHS):  # made anew, and one that has seen other weights
            analyzer = tfxai.create_analyzer(name, model, **ANALYZERS[name])
        e = analyzer.analyze(run["x"], 1)
        seen = run["maps"][step, name]
        size = np.abs(e.relevance).max()
        np.testing.assert_allclose(seen, e.relevance, atol=1e-5 * size, rtol=0)
        maps.append(seen / size)
    gaps = [np.abs(a - b).max() for a, b in itertools.pairwise(maps)]
    assert min(gaps) > 1e-3  # and they move


def test_the_graph_is_built_once(run, model):
    for watch in run["watching"]:
        assert len(watch.analyzer._maps) == 1
    watch = ExplainCallback(run["x"], 1, "gradient", to=[lambda *_: None])
    fitted([watch], 1, model)
    first = watch.analyzer
    fitted([watch], 1, model)
    assert watch.analyzer is first
    watch.set_model(network())
    watch.on_train_begin()
    assert watch.analyzer.wrapped.model is watch.model is not model


# -- the training is not changed -----------------------------------------------------


def test_the_weights_are_bit_identical_to_those_of_a_training_alone(run):
    alone, _ = fitted([])
    for a, b in zip(run["model"].get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    pairs = zip(alone.get_weights(), run["weights"].at[EPOCHS - 1], strict=True)
    assert all((a != b).any() for a, b in pairs)  # each moves to the last


def test_no_global_draw_is_made():
    x, _ = data()
    watch = ExplainCallback(x[:2], 0, "lime", to=[lambda *_: None],
                            measures=["faithfulness_correlation", "road"],
                            **ANALYZERS["lime"])  # fmt: skip
    watch.set_model(network())
    before = random.getstate(), np.random.get_state()
    watch.on_train_begin()
    watch.on_epoch_begin(0)
    watch.on_epoch_end(0, {})
    assert random.getstate() == before[0]
    assert str(np.random.get_state()) == str(before[1])


# -- numbers in logs -----------------------------------------------------------------


def test_the_logs_hold_the_number_of_the_measure(run):
    model = with_weights(run["weights"].at[0])
    analyzer = tfxai.create_analyzer("sglrp", model)
    start = analyzer.analyze(run["x"], 1).heatmap()
    for epoch in range(EPOCHS):
        model.set_weights(run["weights"].at[epoch + 1])
        e = analyzer.analyze(run["x"], 1)
        for name in MEASURES[:3]:
            made = measure(name, model, e, boxes=BOXES, analyzer=analyzer)
            seen = run["history"][name][epoch]
            assert seen == pytest.approx(made.mean(), rel=1e-4)
        pairs = zip(start, e.heatmap(), strict=True)
        far = np.mean([1 - rank_correlation(a, b) for a, b in pairs])
        seen = run["history"]["randomisation_distance"][epoch]
        assert seen == pytest.approx(far, abs=1e-4) and seen > 0.005


def test_keras_own_callbacks_see_the_numbers(run):
    rows = list(csv.DictReader((run["folder"] / "log.csv").open()))
    for name in MEASURES:
        assert [float(r[name]) for r in rows] == run["history"][name]
    assert len(rows) == EPOCHS  # the mass cannot grow by 1.0: it was stopped, and early


def test_the_names_may_have_a_prefix(run, model):
    watch = ExplainCallback(run["x"], 1, measures=["sparseness"], prefix="my_")
    _, history = fitted([watch], 1, model)
    e = tfxai.explain(model, run["x"], target=1)
    made = measure("sparseness", model, e).mean()
    assert history["my_sparseness"] == [pytest.approx(made, rel=1e-4)]


def test_a_name_in_logs_is_not_taken_from_another(run, model):
    watch = [
        ExplainCallback(run["x"], 1, name, measures=["sparseness"])
        for name in ("gradient", "input_t_gradient")
    ]
    with pytest.warns(SinkWarning, match=r"logs.*'sparseness'.*\n.*\n.*prefix="):
        _, history = fitted(watch, 1, model)
    made = measure("sparseness", model, watch[0].analyzer.analyze(run["x"], 1))
    assert history["sparseness"] == [pytest.approx(made.mean())]


# -- when ----------------------------------------------------------------------------


def steps_of(model, epochs, initial_epoch=0, **options):
    """The steps at which the logger was called."""
    kept, logger = keeper()
    watch = ExplainCallback(data()[0][:2], 1, "gradient", to=[logger], **options)
    fitted([watch], epochs, model, initial_epoch=initial_epoch)
    return [step for step, _ in kept]


def test_every_two_epochs(model):
    assert steps_of(model, 5, every=2) == [0, 2, 4]
    assert steps_of(model, 6, every=3, initial_epoch=2) == [2, 3, 6]


def test_every_two_batches(run):
    often, after = run["often"], run["weights"].after
    assert [step for step, _ in often] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert len(after) == EPOCHS * BATCHES
    model = network()
    analyzer = tfxai.create_analyzer("gradient", model)
    for step in (4, 14):
        model.set_weights(after[step - 1])
        e = analyzer.analyze(run["x"], 1)
        np.testing.assert_allclose(often[step, "gradient"], e.relevance, atol=1e-6)


def test_several_batches_in_one_call():
    # Of five batches, three and two at once.
    small = keras.Sequential([keras.Input((12, 12, 3)), L.Flatten(), L.Dense(3)])
    small.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=3)
    assert steps_of(small, 2, every=2, unit="batch") == [0, 3, 5, 8, 10]


def test_trained_further_the_steps_go_on(model):
    kept, logger = keeper()
    watch = ExplainCallback(data()[0][:2], 1, "gradient", 4, "batch", [logger])
    fitted([watch], 1, model)
    fitted([watch], 2, model, initial_epoch=1)
    assert [step for step, _ in kept] == [0, 4, 8]


# -- where to ------------------------------------------------------------------------


def test_the_strips_are_inputs_above_overlays(run):
    names = sorted(p.name for p in (run["folder"] / "strips").iterdir())
    assert names == [f"{i:06d}.png" for i in range(EPOCHS + 1)]
    seen = np.asarray(Image.open(run["folder"] / "strips" / "000002.png")) / 255
    times = 14  # of 12 pixels, at least 160
    side = 12 * times + strips.GAP
    assert seen.shape == (2 * side, 3 * side, 3)
    for i, map in enumerate(run["maps"][2, "sglrp"].sum(-1)):
        tiles = [run["x"][i], tfxai.plot.overlay(run["x"][i], map)]
        for row, tile in enumerate(tiles):
            shown = seen[row * side :, i * side :][: 12 * times : times, ::times][
                :, :12
            ]
            np.testing.assert_allclose(shown, tile, atol=1.01 / 255)
        wanted = np.uint8(np.round(255 * tiles[1]))
        np.testing.assert_array_equal(run["shown"][2, f"sglrp/{i}"], wanted)


def test_the_moving_picture_has_a_frame_for_each_step(run):
    with Image.open(run["folder"] / "m.gif") as moving:
        assert moving.n_frames == EPOCHS + 1 and moving.info["duration"] == 200
        strip = Image.open(run["folder"] / "strips" / "000003.png")
        moving.seek(EPOCHS)
        seen = np.asarray(moving.convert("RGB"), int)[16:]
    gap = np.abs(seen - np.asarray(strip, int)[:, : seen.shape[1]])
    assert seen.shape == (strip.height, strip.height, 3)  # two rows, of two samples
    assert gap.mean() < 8  # 256 colours, of noise


def test_a_moving_picture_of_another_model_begins_anew(tmp_path):
    watch = ExplainCallback(
        data()[0][:1], 1, "gradient", to=[callbacks.gif(tmp_path / "m.gif")]
    )
    for epochs, frames in ((3, 4), (1, 2)):
        model, _ = fitted([watch], epochs)
        with Image.open(tmp_path / "m.gif") as moving:
            assert moving.n_frames == frames
    fitted([watch], 2, model)  # further
    with Image.open(tmp_path / "m.gif") as moving:
        assert moving.n_frames == 2 + 2


def test_the_arrays_on_disk_are_those_of_each_step(run):
    x, folder = run["x"], run["folder"]
    with h5py.File(folder / "maps.h5") as file:
        assert set(file) == {"inputs", *(f"{i:06d}" for i in range(EPOCHS + 1))}
        assert file.attrs["method"] == "sglrp"
        np.testing.assert_array_equal(file["inputs"], x)
        for step in range(EPOCHS + 1):
            group, e = file[f"{step:06d}"], tfxai.load(folder / f"maps/{step:06d}.npz")
            for name in ("relevance", "target", "score"):
                np.testing.assert_array_equal(group[name], getattr(e, name))
            seen = run["maps"][step, "sglrp"]
            np.testing.assert_array_equal(e.relevance, seen)


def test_a_step_of_an_earlier_training_is_replaced(tmp_path):
    e = tfxai.explain(network(), data()[0][:2], "gradient", 1)
    sink = callbacks.hdf5(tmp_path / "deep" / "maps.h5")
    sink.write(3, tfxai.explain(network(), data()[0][:5], "gradient", 0))
    sink.write(3, e)
    with h5py.File(tmp_path / "deep" / "maps.h5") as file:
        np.testing.assert_array_equal(file["000003/relevance"], e.relevance)
        assert len(file["inputs"]) == 2


def test_several_inputs_targets_and_what_is_no_picture(tmp_path):
    a, b = keras.Input((6, 6, 3)), keras.Input((4,))
    y = L.Concatenate()([L.Flatten()(a), b])
    model = keras.Model([a, b], L.Dense(3)(y))
    rng = np.random.default_rng(1)
    x = [rng.normal(size=(2, *s)).astype("f") for s in ((6, 6, 3), (4,))]
    e = tfxai.explain(model, x, "gradient", [[0, 2], [1, 2]])
    (maps, logger), (shown, pictures) = keeper(), keeper()
    sinks.logged(logger).write(1, e)
    callbacks.overlays(pictures).write(1, e)
    callbacks.hdf5(tmp_path / "m.h5").write(1, e)
    np.testing.assert_array_equal(maps[1, "gradient/1"], e.relevance[1])
    names = [f"gradient/{i}/{t}" for i, t in ((0, 0), (0, 2), (1, 1), (1, 2))]
    assert [name for _, name in shown] == names
    wanted = tfxai.plot.overlay(x[0][1], e.heatmap()[1, 0])
    np.testing.assert_allclose(shown[1, names[2]] / 255, wanted, atol=1 / 255)
    assert strips.strip(e).shape == (3 * (27 * 6 + 4), 2 * (27 * 6 + 4), 3)
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file["000001/relevance/1"], e.relevance[1])
        np.testing.assert_array_equal(file["inputs/0"], x[0])

    series = keras.Sequential([keras.Input((9, 2)), L.Flatten(), L.Dense(2)])
    e = tfxai.explain(series, rng.normal(size=(2, 9, 2)), "gradient", 0)
    callbacks.overlays(pictures).write(2, e)
    drawn = shown[2, "gradient"]
    assert drawn.dtype == np.uint8 and np.ptp(drawn) > 200
    np.testing.assert_array_equal(strips.strip(e), drawn)


# -- TensorBoard ---------------------------------------------------------------------


def test_without_tensorboard_one_line_before_any_training(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    with pytest.raises(MissingPackageError) as error:
        callbacks.tensorboard(tmp_path / "logs")
    assert str(error.value) == (
        "callbacks.tensorboard needs the package tensorboard: "
        'python -m pip install "tfxai[tensorboard]".'
    )
    assert isinstance(error.value, ImportError) and not list(tmp_path.iterdir())


def test_the_summaries_are_the_overlays(model, tmp_path):
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("the package tensorboard is not installed")
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    shown, pictures = keeper()
    x = data()[0][:2]
    to = [callbacks.tensorboard(tmp_path / "logs"), callbacks.overlays(pictures)]
    assert not list(tmp_path.iterdir())
    fitted([ExplainCallback(x, 1, to=to)], 2, model)
    (path,) = (tmp_path / "logs").iterdir()
    found = {
        e.step: [v for v in e.summary.value if v.tag == "sglrp"]
        for e in EventFileLoader(str(path)).Load() if e.HasField("summary")
    }  # fmt: skip
    assert list(found) == [0, 1, 2]
    for step, (value,) in found.items():
        width, height, *encoded = value.tensor.string_val
        assert (width, height) == (b"12", b"12")
        seen = [tf.io.decode_png(v).numpy() for v in encoded]
        wanted = [shown[step, f"sglrp/{i}"] for i in range(2)]
        np.testing.assert_array_equal(seen, wanted)


# -- what is wrong -------------------------------------------------------------------


def test_what_is_wrong_is_an_error_before_the_training(tmp_path):
    x, to = data()[0][:2], [lambda *_: None]
    (tmp_path / "file").write_text("")
    for error, match, make in (
        (UnknownNameError, "sglrp", lambda: ExplainCallback(x, 1, "sgrlp", to=to)),
        (OptionError, "epsilno", lambda: ExplainCallback(x, to=to, epsilno=1)),
        (OptionError, "every=0", lambda: ExplainCallback(x, every=0, to=to)),
        (OptionError, "epoch", lambda: ExplainCallback(x, unit="step", to=to)),
        (OptionError, "a list of sinks", lambda: ExplainCallback(x, to=to[0])),
        (OptionError, "a list of", lambda: ExplainCallback(x, to=[callbacks.png])),
        (OptionError, "writes nothing", lambda: ExplainCallback(x)),
        (UnknownNameError, "road", lambda: ExplainCallback(x, measures=["raod"])),
        (OptionError, "a list", lambda: ExplainCallback(x, measures="road")),
        (OptionError, "no boxes", lambda: ExplainCallback(x, measures=MEASURES)),
        (OptionError, ".gif", lambda: callbacks.gif("moving.png")),
        (OptionError, "above 0", lambda: callbacks.gif("moving.gif", 0)),
        (OptionError, ".h5", lambda: callbacks.hdf5("maps.npz")),
        (OptionError, "a file", lambda: callbacks.png(tmp_path / "file")),
        (OptionError, "step, name", lambda: callbacks.overlays(3)),
        (OptionError, "samples=0", lambda: callbacks.png("strips", 0)),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            make()


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (InputError, "batch axis", {"inputs": np.zeros((12, 12, 3))}),
        (InputError, "shape", {"inputs": np.zeros((2, 9, 9, 3))}),
        (TargetError, "3", {"targets": 3}),
        (InputError, "boxes", {"measures": ["relevance_mass"], "boxes": BOXES}),
        (UnknownNameError, "no_such", {"analyzer": "gradcam", "layer": "no_such"}),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_model_is_an_error_before_the_first_epoch(
    model, error, match, options
):
    given = {"inputs": data()[0][:2], "to": [lambda *_: None], **options}
    weights = Weights()
    with pytest.raises(error, match=match):
        fitted([ExplainCallback(**given), weights], 1, model)
    assert not weights.after


def test_a_sink_that_fails_is_named_and_stops_nothing(run, model):
    def my_logger(step, name, array):
        if step == 2:
            raise OSError("no space left")

    kept, logger = keeper()
    watch = ExplainCallback(run["x"], 1, "gradient", to=[my_logger, logger])
    with pytest.warns(SinkWarning) as caught:
        _, history = fitted([watch], 3, model)
    (told,) = [str(w.message) for w in caught if w.category is SinkWarning]
    assert told == (
        "The sink my_logger failed (OSError: no space left); training goes on."
    )
    assert [step for step, _ in kept] == [0, 1, 2, 3]
    assert len(history["loss"]) == 3


def test_a_folder_that_cannot_be_written_is_named(model, tmp_path):
    places = [
        callbacks.png(tmp_path / "a"), callbacks.gif(tmp_path / "b/m.gif"),
        callbacks.npz(tmp_path / "c"), callbacks.hdf5(tmp_path / "d/m.h5"),
    ]  # fmt: skip
    for name in "abcd":
        (tmp_path / name).write_text("no folder")
    watch = ExplainCallback(data()[0][:2], 1, "gradient", to=places)
    with pytest.warns(SinkWarning) as caught:
        _, history = fitted([watch], 1, model)
    told = {str(w.message).split(" failed")[0] for w in caught}
    assert told == {f"The sink {p.name}" for p in places}
    assert len(history["loss"]) == 1


class Spoiler(keras.callbacks.Callback):
    """Weights that become NaN after the second epoch, and come back in the third."""

    def on_epoch_end(self, epoch, logs=None):
        variables = [*self.model.variables, *self.model.optimizer.variables]
        if epoch == 0:
            self.kept = [v.numpy() for v in variables]
        for variable, value in zip(variables, self.kept, strict=True):
            variable.assign(value)
        if epoch == 1:
            weights = self.model.get_weights()
            self.model.set_weights([np.full_like(v, np.nan) for v in weights])


def test_weights_that_are_lost_midway_give_nan_and_a_warning(run, model):
    watch = ExplainCallback(
        run["x"], 1, "gradient", measures=["sparseness", "randomisation_distance"]
    )
    with pytest.warns(NotExplainedWarning, match="sparseness could not be measured"):
        _, history = fitted([Spoiler(), watch], 3, model)
    for name in ("sparseness", "randomisation_distance"):
        first, second, third = history[name]
        assert np.isnan(second) and first == third > 0


def test_an_explanation_that_fails_midway_is_a_warning(run, model, monkeypatch):
    kept, logger = keeper()
    watch = ExplainCallback(
        run["x"], 1, "gradient", to=[logger], measures=["sparseness"]
    )
    explain = watch._explained

    def failing():
        if len(kept) == 2:
            kept["failed"] = monkeypatch.undo()
            raise MemoryError("too large")
        return explain()

    monkeypatch.setattr(watch, "_explained", failing)
    with pytest.warns(NotExplainedWarning) as caught:
        _, history = fitted([watch], 3, model)
    (told,) = [str(w.message) for w in caught if w.category is NotExplainedWarning]
    assert told == (
        "gradient could not explain (MemoryError: too large); training goes on."
    )
    assert list(kept) == [(0, "gradient"), (1, "gradient"), "failed", (3, "gradient")]
    assert list(np.isnan(history["sparseness"])) == [False, True, False]


# -- mixed precision, several devices ------------------------------------------------


@pytest.mark.slow
def test_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        kept, logger = keeper()
        weights = Weights()
        x = data()[0][:2]
        watch = ExplainCallback(x, 1, to=[logger], measures=["randomisation_distance"])
        model, history = fitted([watch, weights], 2)
        assert model.layers[1].compute_dtype == "float16"
        alone, _ = fitted([], 2)
        for step in (0, 1, 2):
            model.set_weights(weights.at[step])
            e = tfxai.explain(model, x, "sglrp", 1)
            size = np.abs(e.relevance).max()
            seen = kept[step, "sglrp"]
            assert seen.dtype == np.float32 and size > 0
            np.testing.assert_allclose(seen, e.relevance, atol=1e-4 * size)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    for a, b in zip(weights.at[2], alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(history["randomisation_distance"]).all()


MIRRORED = """
import json
import tensorflow as tf
device = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(device, two)
import keras, numpy as np, tfxai
from tests import test_callbacks as t

def trained(watching):
    keras.utils.set_random_seed(7)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = t.network()
        model.compile("adam", "sparse_categorical_crossentropy")
    return strategy.num_replicas_in_sync, t.fitted(watching, 2, model)

(kept, logger), weights, x = t.keeper(), t.Weights(), t.data()[0][:3]
watching = [
    t.ExplainCallback(x, 1, name, to=[logger], prefix=name, boxes=t.BOXES,
                      measures=["relevance_mass"], **t.MORE[name])
    for name in t.MORE
]
replicas, (model, history) = trained([*watching, weights])
_, (alone, _) = trained([])
gaps = {}
for name, options in t.MORE.items():
    for step in range(3):
        e = tfxai.explain(t.with_weights(weights.at[step]), x, name, 1, **options)
        size = np.abs(e.relevance).max()
        gap = np.abs(kept[step, name] - e.relevance).max() / size
        gaps[f"{name} {step}"] = float(gap)
pairs = zip(model.get_weights(), alone.get_weights(), strict=True)
same = all(np.array_equal(a, b) for a, b in pairs)
print(json.dumps([replicas, gaps, same, history]))
"""


@pytest.mark.slow
def test_on_two_devices():
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(
        [sys.executable, "-c", MIRRORED], env=env, cwd=ROOT, capture_output=True,
        text=True, timeout=400,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    replicas, gaps, same, history = json.loads(process.stdout.splitlines()[-1])
    assert replicas == 2 and same
    assert len(gaps) == 3 * len(MORE) and max(gaps.values()) < 1e-5
    masses = [history[f"{name}relevance_mass"] for name in MORE]
    assert np.shape(masses) == (len(MORE), 2) and np.min(masses) >= 0
    assert not np.isnan(masses).any()


def test_a_logger_that_writes_into_its_array_spoils_nothing():
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    e = tfxai.explain(network(), x, "gradient", 1)
    was, seen = e.relevance.copy(), []

    def vandal(step, name, array):
        seen.append(array.copy())
        array[:] = 0

    sinks.logged(vandal).write(0, e)
    np.testing.assert_array_equal(e.relevance, was)
    np.testing.assert_array_equal(seen[0], was)
