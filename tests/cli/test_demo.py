"""The demo: scenes with a known explanation, and the network for them."""

import os
import random
import warnings
from importlib import import_module

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxai.demo import accuracy, inside, network, scenes
from tfxai.demo.network import CacheWarning, build, cache_folder
from tfxai.errors import OptionError

drawing = import_module("tfxai.cli.demo.scenes")  # tfxai.demo.scenes is the function


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder."""
    variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
    monkeypatch.setenv(variable, str(tmp_path))
    return tmp_path / "tfxai"


@pytest.fixture
def brief(monkeypatch):
    """A short training on single images: the tests of the cache need no accuracy."""
    training = import_module("tfxai.cli.demo.network")
    monkeypatch.setattr(training, "STEPS", 100)  # more than the warm-up
    monkeypatch.setattr(training, "BATCH", 1)


# -- scenes --------------------------------------------------------------------------


def test_the_same_arguments_draw_the_same_scenes():
    one, two, other = scenes(5, seed=3), scenes(5, seed=3), scenes(5, seed=4)
    for name in ("images", "labels", "boxes", "canvas"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert abs(one.canvas - other.canvas).mean() > 0.02
    assert abs(one.canvas - scenes(5, seed=3, split="train").canvas).mean() > 0.02


@pytest.mark.parametrize("size", [32, 64, 101])
def test_what_a_scene_is(size):
    s = scenes(300, size=size)
    assert s.images.shape == s.canvas.shape == (300, size, size, 3)
    assert s.images.dtype == s.canvas.dtype == np.float32
    assert s.images.min() >= 0 and s.images.max() <= 1
    assert s.labels.shape == (300, 2) and s.boxes.shape == (300, 2, 4)
    assert (s.labels[:, 0] != s.labels[:, 1]).all()
    assert set(s.labels.ravel()) == set(range(10))


@pytest.mark.parametrize("size", [32, 64, 101])
def test_the_boxes_are_tight_around_the_pixels_that_were_written(size):
    s = scenes(300, size=size)
    written = (s.images != s.canvas).any(axis=-1)
    masks = inside(s.boxes, (size, size))
    assert not (written & ~masks.any(axis=1)).any()
    ink = written[:, None] & masks
    for axis in (3, 2):  # no empty row, no empty column at either end of a box
        ends = [_first_and_last(mask.any(axis=axis)) for mask in (ink, masks)]
        np.testing.assert_array_equal(*ends)


def _first_and_last(covered):
    return covered.argmax(axis=-1), covered[..., ::-1].argmax(axis=-1)


def test_the_digits_are_large_inside_and_apart():
    boxes = scenes(2000).boxes
    assert boxes.min() >= 0 and boxes.max() <= 1
    height, width = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    assert height.min() > 18 / 64 and width.min() > 4 / 64
    y0, x0, y1, x1 = np.moveaxis(boxes, -1, 0)
    beside = (x1[:, 0] <= x0[:, 1]) | (x1[:, 1] <= x0[:, 0])
    above = (y1[:, 0] <= y0[:, 1]) | (y1[:, 1] <= y0[:, 0])
    assert (beside | above).all() and not beside.all() and not above.all()


def test_ink_is_brighter_than_the_canvas():
    s = scenes(500)
    masks = inside(s.boxes, (64, 64)).any(axis=1)
    rows = zip(s.images, s.canvas, masks, strict=True)
    assert min(image[m].max() - canvas[m].mean() for image, canvas, m in rows) > 0.4
    assert s.canvas.std(axis=(1, 2)).min() > 0.02  # a texture, not a uniform colour


def test_the_digits_that_were_asked_for():
    assert (scenes(4, digits=(3, 7)).labels == [3, 7]).all()
    rows = [[1, 2], [9, 0], [5, 4]]
    np.testing.assert_array_equal(scenes(3, digits=rows).labels, rows)


def test_the_first_box_belongs_to_the_first_label():
    """A one is the narrowest digit; so is its box, first or second of the pair."""
    for digits, one in (((1, 0), 0), ((0, 1), 1)):
        boxes = scenes(200, digits=digits).boxes
        width = (boxes[..., 3] - boxes[..., 1]).mean(axis=0)
        assert width.argmin() == one


@pytest.mark.parametrize(
    "options",
    [
        {"digits": (3, 3)},
        {"digits": (3, 10)},
        {"digits": (1, 2, 3)},
        {"digits": [[1, 2]] * 3},
        {"size": 16},
        {"split": "validation"},
    ],
)
def test_what_cannot_be_drawn_is_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        scenes(2, **options)


def test_the_splits_share_no_handwritten_digit():
    from sklearn.datasets import load_digits

    (train, a), (test, b) = drawing._digits("train"), drawing._digits("test")
    both = {g.tobytes() for g in train} & {g.tobytes() for g in test}
    assert not both and len(train) + len(test) == len(load_digits().images)
    for labels in (a, b):
        assert np.bincount(labels).min() > 25


def test_inside_asks_for_the_centre_of_the_pixel():
    boxes = np.array([[[0.0, 0.0, 0.5, 0.25], [0.5, 0.5, 1.0, 1.0]]])
    masks = inside(boxes, (2, 4))
    assert masks.shape == (1, 2, 2, 4) and masks.dtype == bool
    np.testing.assert_array_equal(masks[0, 0], [[1, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(masks[0, 1], [[0, 0, 0, 0], [0, 0, 1, 1]])
    assert inside(boxes[0, 0], (2, 4)).shape == (2, 4)


# -- the network and its cache -------------------------------------------------------


def test_the_cache_folder_is_the_users(folder, monkeypatch):
    assert cache_folder() == folder
    if os.name != "nt":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "/home/somebody")
        assert str(cache_folder()) == "/home/somebody/.cache/tfxai"


def test_accuracy_counts_the_scenes_with_both_digits_on_top():
    s = scenes(4, digits=[[0, 1], [2, 3], [4, 5], [6, 7]])
    outputs = np.zeros((4, 10), "float32")
    outputs[[0, 0], [1, 0]] = outputs[[1, 1], [3, 2]] = outputs[[2, 2], [4, 6]] = 0.5
    outputs[3, 6] = 0.9  # the 7 is not among the two highest

    class Fixed(keras.Model):
        def call(self, x):
            return tf.constant(outputs[: x.shape[0]])

    assert accuracy(Fixed(), s) == 0.5


def test_the_second_call_loads_what_the_first_one_trained(folder, brief):
    first = network(progress=False)
    (file,) = folder.iterdir()
    written = file.stat().st_mtime_ns
    second = network(progress=False)
    assert file.stat().st_mtime_ns == written and second is not first
    images = scenes(4).images
    np.testing.assert_array_equal(first(images), second(images))
    assert (first(images) != build()(images)).numpy().any()  # it is trained


def test_retrain_writes_the_file_again(folder, brief):
    network(progress=False)
    (file,) = folder.iterdir()
    file.write_bytes(b"would be read")
    network(progress=False, retrain=True)
    assert keras.models.load_model(file).name == "demo"


def test_a_torn_file_is_named_and_replaced(folder, brief):
    whole = network(progress=False)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.warns(CacheWarning, match="cannot read.*trained again"):
        again = network(progress=False)
    assert list(folder.iterdir()) == [file]
    images = scenes(4).images
    np.testing.assert_allclose(again(images), whole(images), atol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CacheWarning)
        network(progress=False)


def test_a_folder_that_cannot_be_written_is_named(folder, brief):
    folder.write_text("a file is in the way")
    with pytest.warns(CacheWarning, match="cannot write") as seen:
        assert network(progress=False).output_shape == (None, 10)
    ours = [w for w in seen if w.category is CacheWarning]
    assert [w.filename for w in ours] == [__file__]  # the caller's line


def test_without_cache_nothing_is_written(folder, brief):
    network(cache=False, progress=False)
    assert not folder.exists()


def test_the_bar_is_drawn_on_stderr_and_only_if_wanted(brief, capsys):
    network(cache=False, progress=False)
    assert capsys.readouterr() == ("", "")
    network(cache=False, progress=True)
    out, err = capsys.readouterr()
    assert not out and "training the demo network" in err and "100/100" in err


def test_training_leaves_the_global_random_state(brief):
    def draws():
        anywhere = keras.random.uniform(()), tf.random.uniform(())
        numbers = np.random.rand(), random.random()
        return [float(v) for v in (*numbers, *anywhere)]

    keras.utils.set_random_seed(5)
    untouched = draws()
    keras.utils.set_random_seed(5)
    network(cache=False, progress=False)
    assert draws() == untouched


def test_the_network_is_the_same_under_any_global_policy_and_seed():
    images = scenes(4).images
    wanted = build()(images)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        outputs = build()(images)
    finally:
        keras.config.set_dtype_policy(policy)
    np.testing.assert_array_equal(outputs, wanted)


@pytest.mark.slow
def test_the_trained_network_reads_both_digits_where_they_are(folder):
    model = network(progress=False)
    s = scenes(1000, seed=11)
    assert accuracy(model, s) >= 0.94
    outputs = model.predict(s.images, verbose=0)
    for k in (0, 1):  # without the digit there is no evidence for it
        gone = inside(s.boxes[:, k], (64, 64))[..., None]
        left = model.predict(np.where(gone, s.canvas, s.images), verbose=0)
        rows = np.arange(len(s.labels)), s.labels[:, k]
        assert np.median(outputs[rows]) > 0.4 and np.median(left[rows]) < 0.05
    np.testing.assert_array_equal(
        network(progress=False).predict(s.images, verbose=0), outputs
    )
