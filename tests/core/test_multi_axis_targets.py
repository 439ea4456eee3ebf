"""Targets of outputs with more axes, and the titles that say what they are."""

import keras
import numpy as np
import pytest
from keras import layers as L

import tfxai
from tests import zoo
from tfxai import targets
from tfxai.base.errors import TargetError
from tfxai.viz.cells import all_titles


@pytest.fixture(scope="module")
def model():
    """A segmentation: three classes at each of 4 x 4 positions."""
    i = keras.Input((4, 4, 2))
    return zoo.fill(keras.Model(i, L.Softmax()(L.Conv2D(3, 3, padding="same")(i))))


def images():
    return np.random.default_rng(0).normal(0, 2, (2, 4, 4, 2)).astype("float32")


def first_lines(e, names=None):
    return [t.split("\n")[0] for t in all_titles(e, names).ravel()]


@pytest.mark.parametrize("name", ["gradient", "lrp.epsilon", "occlusion"])
def test_an_index_for_each_sample(model, name):
    x = images()
    z = tfxai.wrap(model).logits(x)
    e = tfxai.explain(model, x, name, [(1, 2, 0), (3, 0, 2)])
    np.testing.assert_allclose(e.score, [z[0, 1, 2, 0], z[1, 3, 0, 2]], rtol=1e-5)
    one = tfxai.explain(model, x[1:], name, (3, 0, 2))
    np.testing.assert_allclose(e.relevance[1:], one.relevance, atol=1e-6)
    two = tfxai.explain(
        model, x, name, [[(1, 2, 0), (0, 0, 0)], [(0, 0, 1), (3, 0, 2)]]
    )
    np.testing.assert_allclose(two.relevance[1, 1], one.relevance[0], atol=1e-6)
    assert two.target.shape == (2, 2)


def test_titles_say_the_target(model, tmp_path):
    x = images()
    e = tfxai.explain(model, x, "gradient", (1, 2, 2))
    assert first_lines(e) == ["class 2 at (1, 2)"] * 2
    assert first_lines(e, ["sky", "road", "car"]) == ["car at (1, 2)"] * 2
    loaded = tfxai.load(e.save(tmp_path / "e.npz"))
    assert first_lines(loaded) == first_lines(e)
    mask = np.eye(4)
    for target, wanted in (
        (targets.masked_sum(mask, 1), "masked_sum(mask, 1)"),
        (targets.log_odds((1, 2, 2)), "log_odds((1, 2, 2))"),
        (lambda y: y[:, 0, 0, 0], "function"),
    ):
        assert first_lines(tfxai.explain(model, x, "gradient", target)) == [wanted] * 2


def test_a_mask_of_positions_is_a_target(model):
    x = images()
    z = tfxai.wrap(model).logits(x)
    mask = np.eye(4)
    for name in ("gradient", "lrp.epsilon", "occlusion"):
        e = tfxai.explain(model, x, name, targets.masked_sum(mask, 1))
        wanted = (mask * z[..., 1]).sum((1, 2))
        np.testing.assert_allclose(e.score, wanted, rtol=1e-4)


@pytest.mark.parametrize(
    "target", [(1, 2), (1, 2, 3), (-1, 0, 0), [(0, 0, 0)], [(0, 0, 0), (4, 0, 0)], 5]
)
def test_an_index_outside_is_named(model, target):
    with pytest.raises(TargetError, match="but each output has shape") as caught:
        tfxai.explain(model, images(), "gradient", target)
    assert "target=(0, 0, 0)" in caught.value.write
