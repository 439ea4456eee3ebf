"""The steps that are explained, the writers, and the errors."""

import importlib.util
import json
import os
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import tfxai
from tests.training import trainings
from tests.training.trainings import (
    BOXES,
    METRICS,
    MORE,
    ROOT,
    Weights,
    data,
    fitted,
    keeper,
    network,
)
from tfxai import callbacks
from tfxai.callbacks import ExplainCallback
from tfxai.errors import (
    InputError,
    MissingPackageError,
    OptionError,
    TargetError,
    UnknownNameError,
    WriterWarning,
)
from tfxai.training import writers
from tfxai.viz import thumbnails

L = keras.layers
#: A fixture that pytest builds separately for this file.
model = trainings.model

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


def test_several_batches_in_one_call():
    # Keras runs five batches in two calls, three and two.
    small = keras.Sequential([keras.Input((12, 12, 3)), L.Flatten(), L.Dense(3)])
    small.compile("sgd", "sparse_categorical_crossentropy", steps_per_execution=3)
    assert steps_of(small, 2, every=2, unit="batch") == [0, 3, 5, 8, 10]


def test_trained_further_the_steps_go_on(model):
    kept, logger = keeper()
    watch = ExplainCallback(data()[0][:2], 1, "gradient", 4, "batch", [logger])
    fitted([watch], 1, model)
    fitted([watch], 2, model, initial_epoch=1)
    assert [step for step, _ in kept] == [0, 4, 8]


# -- writers -------------------------------------------------------------------------


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
    (maps, logger), (shown, images) = keeper(), keeper()
    writers.logged(logger).write(1, e)
    callbacks.overlays(images).write(1, e)
    callbacks.hdf5(tmp_path / "m.h5").write(1, e)
    np.testing.assert_array_equal(maps[1, "gradient/1"], e.relevance[1])
    names = [f"gradient/{i}/{t}" for i, t in ((0, 0), (0, 2), (1, 1), (1, 2))]
    assert [name for _, name in shown] == names
    wanted = tfxai.plot.overlay(x[0][1], e.heatmap()[1, 0])
    np.testing.assert_allclose(shown[1, names[2]] / 255, wanted, atol=1 / 255)
    assert thumbnails.strip(e).shape == (3 * (27 * 6 + 4), 2 * (27 * 6 + 4), 3)
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file["000001/relevance/1"], e.relevance[1])
        np.testing.assert_array_equal(file["inputs/0"], x[0])

    series = keras.Sequential([keras.Input((9, 2)), L.Flatten(), L.Dense(2)])
    e = tfxai.explain(series, rng.normal(size=(2, 9, 2)), "gradient", 0)
    callbacks.overlays(images).write(2, e)
    drawn = shown[2, "gradient"]
    assert drawn.dtype == np.uint8 and np.ptp(drawn) > 200
    np.testing.assert_array_equal(thumbnails.strip(e), drawn)


# -- TensorBoard ---------------------------------------------------------------------


def test_without_tensorboard_one_line_before_any_training(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    with pytest.raises(MissingPackageError) as error:
        callbacks.tensorboard(tmp_path / "logs")
    assert str(error.value) == (
        "callbacks.tensorboard needs the package tensorboard: "
        "python -m pip install tensorboard."
    )
    assert isinstance(error.value, ImportError) and not list(tmp_path.iterdir())


def test_the_summaries_are_the_overlays(model, tmp_path):
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("the package tensorboard is not installed")
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    shown, images = keeper()
    x = data()[0][:2]
    to = [callbacks.tensorboard(tmp_path / "logs"), callbacks.overlays(images)]
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


# -- errors --------------------------------------------------------------------------


def test_what_is_wrong_is_an_error_before_the_training(tmp_path):
    x, to = data()[0][:2], [lambda *_: None]
    (tmp_path / "file").write_text("")
    for error, match, make in (
        (UnknownNameError, "sglrp", lambda: ExplainCallback(x, 1, "sgrlp", to=to)),
        (OptionError, "epsilno", lambda: ExplainCallback(x, to=to, epsilno=1)),
        (OptionError, "epsilno", lambda: ExplainCallback(x, options={"epsilno": 1})),
        (OptionError, "options=3", lambda: ExplainCallback(x, to=to, options=3)),
        (OptionError, "no argument 'low'",
         lambda: ExplainCallback(x, to=to, low=0)),
        (OptionError, "unit of `every`",
         lambda: ExplainCallback(x, None, "leg", to=to, unit=1.0)),
        (OptionError, "targets=3", lambda: ExplainCallback(x, options={"target": 3})),
        (OptionError, "every=0", lambda: ExplainCallback(x, every=0, to=to)),
        (OptionError, "epoch", lambda: ExplainCallback(x, unit="step", to=to)),
        (OptionError, "a list of writers", lambda: ExplainCallback(x, to=to[0])),
        (OptionError, "a list of", lambda: ExplainCallback(x, to=[callbacks.png])),
        (OptionError, "writes nothing", lambda: ExplainCallback(x)),
        (UnknownNameError, "road", lambda: ExplainCallback(x, metrics=["raod"])),
        (OptionError, "a list", lambda: ExplainCallback(x, metrics="road")),
        (OptionError, "no boxes", lambda: ExplainCallback(x, metrics=METRICS)),
        (OptionError, ".gif", lambda: callbacks.gif("moving.png")),
        (OptionError, "above 0", lambda: callbacks.gif("moving.gif", 0)),
        (OptionError, ".h5", lambda: callbacks.hdf5("maps.npz")),
        (OptionError, "this is a file", lambda: callbacks.png(tmp_path / "file")),
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
        (InputError, "boxes", {"metrics": ["relevance_mass"], "boxes": BOXES}),
        (UnknownNameError, "no_such",
         {"method": "gradcam", "options": {"layer": "no_such"}}),
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


def test_a_folder_that_cannot_be_written_is_named(model, tmp_path):
    places = [
        callbacks.png(tmp_path / "a"), callbacks.gif(tmp_path / "b/m.gif"),
        callbacks.npz(tmp_path / "c"), callbacks.hdf5(tmp_path / "d/m.h5"),
    ]  # fmt: skip
    for name in "abcd":
        (tmp_path / name).write_text("no folder")
    watch = ExplainCallback(data()[0][:2], 1, "gradient", to=places)
    with pytest.warns(WriterWarning) as caught:
        _, history = fitted([watch], 1, model)
    names = {str(w.message).split(" failed")[0] for w in caught}
    assert names == {f"The writer {p.name}" for p in places}
    assert len(history["loss"]) == 1


# -- mixed precision, several devices ------------------------------------------------


@pytest.mark.slow
def test_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        kept, logger = keeper()
        weights = Weights()
        x = data()[0][:2]
        watch = ExplainCallback(x, 1, to=[logger], metrics=["randomisation_distance"])
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
from tests.two_devices import split
two = split()
import keras, numpy as np, tfxai
from tests.training import trainings as t
from tfxai.callbacks import ExplainCallback

def trained(watching):
    keras.utils.set_random_seed(7)
    strategy = tf.distribute.MirroredStrategy(two)
    with strategy.scope():
        model = t.network()
        model.compile("adam", "sparse_categorical_crossentropy")
    return strategy.num_replicas_in_sync, t.fitted(watching, 2, model)

(kept, logger), weights, x = t.keeper(), t.Weights(), t.data()[0][:3]
watching = [
    ExplainCallback(x, 1, name, to=[logger], prefix=name, boxes=t.BOXES,
                    metrics=["relevance_mass"], options=t.MORE[name])
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


@pytest.mark.gpu
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

    writers.logged(vandal).write(0, e)
    np.testing.assert_array_equal(e.relevance, was)
    np.testing.assert_array_equal(seen[0], was)


def test_the_unit_of_leg_is_not_that_of_every(model):
    x, (kept, logger) = data()[0][:1], keeper()
    options = {"unit": 1.0, "n_samples": 20, "base_size": 6, "seed": 3}
    watch = ExplainCallback(x, 1, "leg", to=[logger], options=options)
    fitted([watch], 1, model)
    assert watch.analyzer.options["unit"] == 1.0 and watch.unit == "epoch"
    wanted = tfxai.explain(model, x, "leg", 1, **options)
    np.testing.assert_allclose(
        list(kept.values())[-1], wanted.relevance, rtol=1e-4, atol=1e-6
    )
