"""One training with callbacks: each step is explained with its own weights."""

import csv
import itertools
import random

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import tfxai
from tests.training import trainings
from tests.training.trainings import (
    ANALYZERS,
    BATCHES,
    BOXES,
    EPOCHS,
    METRICS,
    Weights,
    data,
    fitted,
    keeper,
    network,
    with_weights,
)
from tfxai import callbacks
from tfxai.callbacks import ExplainCallback
from tfxai.errors import NotExplainedWarning, WriterWarning
from tfxai.metrics.randomisation import rank_correlation
from tfxai.metrics.registry import compute
from tfxai.viz import thumbnails

#: A fixture that pytest builds separately for this file.
model = trainings.model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One training with every kind of callback, stopped early by a metric."""
    folder, x = tmp_path_factory.mktemp("run"), data()[0][:3]
    weights, (maps, logger), (shown, images) = Weights(), keeper(), keeper()
    often, of_batch = keeper()
    watching = [
        ExplainCallback(x, 1, name, to=[logger], options=options)
        for name, options in ANALYZERS.items()
    ]
    watching[0] = ExplainCallback(
        x, 1, to=[
            callbacks.png(folder / "strips"), callbacks.gif(folder / "m.gif", 0.2, 2),
            callbacks.npz(folder / "maps"), callbacks.hdf5(folder / "maps.h5"),
            logger, callbacks.overlays(images),
        ], metrics=METRICS, boxes=BOXES,
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


# -- relevance belongs to the weights of its step ------------------------------------


@pytest.mark.parametrize("name", ANALYZERS)
def test_the_map_of_each_epoch_is_that_of_its_weights(run, name):
    model, maps = network(), []
    for step in range(EPOCHS + 1):
        model.set_weights(run["weights"].at[step])
        if step in (
            0,
            EPOCHS,
        ):  # a new analyzer, and one that has run with other weights
            analyzer = tfxai.create_analyzer(name, model, **ANALYZERS[name])
        e = analyzer.analyze(run["x"], 1)
        seen = run["maps"][step, name]
        size = np.abs(e.relevance).max()
        np.testing.assert_allclose(seen, e.relevance, atol=1e-5 * size, rtol=0)
        maps.append(seen / size)
    gaps = [np.abs(a - b).max() for a, b in itertools.pairwise(maps)]
    assert min(gaps) > 1e-3  # and they change


def test_the_graph_is_built_once(run, model):
    for watch in run["watching"]:
        assert len(watch.analyzer._functions) == 1
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
    assert all(
        (a != b).any() for a, b in pairs
    )  # every weight changes in the last epoch


def test_no_global_draw_is_made():
    x, _ = data()
    watch = ExplainCallback(x[:2], 0, "lime", to=[lambda *_: None],
                            metrics=["faithfulness_correlation", "road"],
                            options=ANALYZERS["lime"])  # fmt: skip
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
        for name in METRICS[:3]:
            values = compute(name, model, e, boxes=BOXES, analyzer=analyzer)
            seen = run["history"][name][epoch]
            assert seen == pytest.approx(values.mean(), rel=1e-4)
        pairs = zip(start, e.heatmap(), strict=True)
        far = np.mean([1 - rank_correlation(a, b) for a, b in pairs])
        seen = run["history"]["randomisation_distance"][epoch]
        assert seen == pytest.approx(far, abs=1e-4) and seen > 0.005


def test_keras_own_callbacks_see_the_numbers(run):
    rows = list(csv.DictReader((run["folder"] / "log.csv").open()))
    for name in METRICS:
        assert [float(r[name]) for r in rows] == run["history"][name]
    assert len(rows) == EPOCHS  # the mass cannot grow by 1.0, so training stops early


def test_the_names_may_have_a_prefix(run, model):
    watch = ExplainCallback(run["x"], 1, metrics=["sparseness"], prefix="my_")
    _, history = fitted([watch], 1, model)
    e = tfxai.explain(model, run["x"], "sglrp", target=1)
    values = compute("sparseness", model, e).mean()
    assert history["my_sparseness"] == [pytest.approx(values, rel=1e-4)]


def test_a_name_in_logs_is_not_taken_from_another(run, model):
    watch = [
        ExplainCallback(run["x"], 1, name, metrics=["sparseness"])
        for name in ("gradient", "input_t_gradient")
    ]
    with pytest.warns(WriterWarning, match=r"logs.*'sparseness'.*\n.*\n.*prefix="):
        _, history = fitted(watch, 1, model)
    values = compute("sparseness", model, watch[0].analyzer.analyze(run["x"], 1))
    assert history["sparseness"] == [pytest.approx(values.mean())]


# -- when ----------------------------------------------------------------------------


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


# -- writers -------------------------------------------------------------------------


def test_the_strips_are_inputs_above_overlays(run):
    names = sorted(p.name for p in (run["folder"] / "strips").iterdir())
    assert names == [f"{i:06d}.png" for i in range(EPOCHS + 1)]
    seen = np.asarray(Image.open(run["folder"] / "strips" / "000002.png")) / 255
    times = 14  # of 12 pixels, at least 160
    side = 12 * times + thumbnails.GAP
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


# -- failures during training --------------------------------------------------------


def test_a_sink_that_fails_is_named_and_stops_nothing(run, model):
    def my_logger(step, name, array):
        if step == 2:
            raise OSError("no space left")

    kept, logger = keeper()
    watch = ExplainCallback(run["x"], 1, "gradient", to=[my_logger, logger])
    with pytest.warns(WriterWarning) as caught:
        _, history = fitted([watch], 3, model)
    (text,) = [w.message.seen for w in caught if w.category is WriterWarning]
    assert text == (
        "The writer my_logger failed (OSError: no space left); training continues."
    )
    assert [step for step, _ in kept] == [0, 1, 2, 3]
    assert len(history["loss"]) == 3


class Spoiler(keras.callbacks.Callback):
    """Sets the weights to NaN after the second epoch and restores them in the third."""

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
        run["x"], 1, "gradient", metrics=["sparseness", "randomisation_distance"]
    )
    with pytest.warns(NotExplainedWarning, match="sparseness could not be computed"):
        _, history = fitted([Spoiler(), watch], 3, model)
    for name in ("sparseness", "randomisation_distance"):
        first, second, third = history[name]
        assert np.isnan(second) and first == third > 0


def test_an_explanation_that_fails_midway_is_a_warning(run, model, monkeypatch):
    kept, logger = keeper()
    watch = ExplainCallback(
        run["x"], 1, "gradient", to=[logger], metrics=["sparseness"]
    )
    explain = watch._explain

    def failing():
        if len(kept) == 2:
            kept["failed"] = monkeypatch.undo()
            raise MemoryError("too large")
        return explain()

    monkeypatch.setattr(watch, "_explain", failing)
    with pytest.warns(NotExplainedWarning) as caught:
        _, history = fitted([watch], 3, model)
    (text,) = [w.message.seen for w in caught if w.category is NotExplainedWarning]
    assert text == (
        "gradient could not explain (MemoryError: too large); training continues."
    )
    assert list(kept) == [(0, "gradient"), (1, "gradient"), "failed", (3, "gradient")]
    assert list(np.isnan(history["sparseness"])) == [False, True, False]
