"""Targets of outputs with more axes, and the titles that say what they are."""

import re
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
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
    for name in ("gradient", "lrp.epsilon", "occlusion"):
        analyzer = tfxai.create_analyzer(name, model)
        for mask in (np.eye(4), 1 - np.eye(4)):
            e = analyzer.analyze(x, targets.masked_sum(mask, 1))
            wanted = (mask * z[..., 1]).sum((1, 2))
            np.testing.assert_allclose(e.score, wanted, rtol=1e-4)
        assert len(analyzer._functions) == 1  # the second mask needs no new graph


@pytest.mark.parametrize(
    "target", [(1, 2), (1, 2, 3), (-1, 0, 0), [(0, 0, 0)], [(0, 0, 0), (4, 0, 0)], 5]
)
def test_an_index_outside_is_named(model, target):
    with pytest.raises(TargetError, match="but each output has shape") as caught:
        tfxai.explain(model, images(), "gradient", target)
    assert "target=(0, 0, 0)" in caught.value.write


MASKS = np.random.default_rng(1).integers(0, 2, (5, 4, 4)).astype("float32")
SLOW = (
    *("integrated_gradients", "smoothgrad", "guided_backprop", "rise", "kernel_shap"),
    *("deeplift", "meaningful_perturbation"),
)
METHODS = [
    *("gradient", "lrp.epsilon", "occlusion", "lime"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
]


def five():
    return np.random.default_rng(3).normal(0, 2, (5, 4, 4, 2)).astype("float32")


def methods_with(name):
    few = {"n_samples": 20} if name in ("smoothgrad", "rise", "lime") else {}
    grid = {"segmenter": "grid"} if name in ("lime", "kernel_shap") else {}
    return few | grid


@pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning")
@pytest.mark.parametrize("name", METHODS)
def test_a_mask_for_each_sample(model, name):
    x, options = five(), methods_with(name)
    analyzer = tfxai.create_analyzer(name, model, **options)
    e = analyzer.analyze(x, targets.masked_sum(MASKS, 1), batch_size=3)
    z = tfxai.wrap(model).logits(x)[..., 1]
    np.testing.assert_allclose(e.score, (MASKS * z).sum((1, 2)), rtol=1e-4)
    again = analyzer.analyze(x, targets.masked_sum(1 - MASKS, 1))
    np.testing.assert_allclose(again.score, ((1 - MASKS) * z).sum((1, 2)), rtol=1e-4)
    assert len(analyzer._functions) == 1  # the second masks need no new graph
    assert first_lines(e) == ["masked_sum(mask, 1)"] * 5
    for i in (0, 4):
        one = analyzer.analyze(x[i : i + 1], targets.masked_sum(MASKS[i], 1))
        np.testing.assert_allclose(e.relevance[i], one.relevance[0], atol=1e-5)


@pytest.mark.parametrize(
    "name, sizes", [("gradient", [3, 2]), ("lrp.epsilon", [3, 2]), ("lime", [1] * 5)]
)
def test_masks_are_read_in_batches_where_no_copies_are_evaluated(model, name, sizes):
    analyzer, seen = tfxai.create_analyzer(name, model, **methods_with(name)), []
    make = analyzer.make

    def counted(*given):
        function = make(*given)
        return lambda x, *rest: seen.append(len(x[0])) or function(x, *rest)

    analyzer.make = counted
    analyzer.analyze(five(), targets.masked_sum(MASKS, 1), batch_size=3)
    assert seen == sizes


def test_an_array_of_floats_or_booleans_is_a_mask(model):
    x, z = five(), tfxai.wrap(model).logits(five())
    whole = np.random.default_rng(2).normal(size=(5, 4, 4, 3)).astype("float32")
    for mask in (whole, whole > 0, whole[0], whole[0] > 0, tf.constant(whole)):
        e = tfxai.explain(model, x, "gradient", mask)
        wanted = (np.asarray(mask) * z).reshape(5, -1).sum(1)
        np.testing.assert_allclose(e.score, wanted, rtol=1e-4, atol=1e-5)
        wrapped = tfxai.wrap(model)
        np.testing.assert_allclose(
            wrapped.scores(x, mask), wanted, rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(wrapped.gradient(x, mask, 2), e.relevance, atol=1e-5)


def test_threads_do_not_share_the_variable_of_a_mask(model):
    x, masks = five()[:1], np.random.default_rng(4).uniform(0, 1, (2, 4, 4, 3))
    wrapped = tfxai.wrap(model)
    z = wrapped.logits(x)
    analyzer = tfxai.create_analyzer("gradient", wrapped)
    each = [masks[i % 2].astype("float32") for i in range(40)]
    with ThreadPoolExecutor(2) as pool:
        scores = list(pool.map(lambda m: analyzer.analyze(x, m).score, each))
    wanted = [[(m * z[0]).sum()] for m in each]
    np.testing.assert_allclose(scores, wanted, rtol=1e-4)


def test_a_mask_of_one_sigmoid_is_that_of_class_1():
    i = keras.Input((4, 4, 2))
    shape = L.Conv2D(1, 3, padding="same", activation="sigmoid")
    model, x = zoo.fill(keras.Model(i, shape(i))), five()
    z = tfxai.wrap(model).logits(x)[..., 1]
    for mask in (MASKS, MASKS[..., None], MASKS[0], MASKS[0][..., None]):
        e = tfxai.explain(model, x, "lrp.epsilon", mask)
        wanted = (mask.reshape(-1, 4, 4) * z).sum((1, 2))
        np.testing.assert_allclose(e.score, wanted, rtol=1e-4)
    both = np.stack([np.zeros_like(MASKS), MASKS], -1)
    e = tfxai.explain(model, x, "lrp.epsilon", both)
    np.testing.assert_allclose(e.score, (MASKS * z).sum((1, 2)), rtol=1e-4)


def test_a_black_box_takes_a_mask_for_each_sample():
    x = five().astype(float)
    e = tfxai.explain(
        lambda v: v * [1.0, 3.0], x, "occlusion", targets.masked_sum(MASKS, 1)
    )
    np.testing.assert_allclose(e.score, 3 * (MASKS * x[..., 1]).sum((1, 2)), rtol=1e-5)


def test_absorbed_relevance_of_a_mask_for_each_sample(model):
    analyzer, x = tfxai.create_analyzer("lrp.epsilon", model), five()
    target = targets.masked_sum(MASKS, 1)
    table = analyzer.residual(x, target, batch_size=2)
    e = analyzer.analyze(x, target)
    np.testing.assert_allclose(table.start, e.score, rtol=1e-4)
    arrived = e.relevance.sum((1, 2, 3))
    np.testing.assert_allclose(table.arrived, arrived, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        (MASKS, "The mask has shape (5, 4, 4), and each output (4, 4, 3)"),
        (np.ones((5, 3, 4, 3)), "The mask has shape (5, 3, 4, 3)"),
        (targets.masked_sum(np.ones((5, 4, 3)), 0), "The mask has shape (5, 4, 3)"),
        (targets.masked_sum(MASKS[:2], 0), "2 masks for 5 sample(s)"),
    ],
)
def test_masks_that_do_not_fit_are_named(model, mask, seen):
    with pytest.raises(TargetError, match=re.escape(seen)) as caught:
        tfxai.explain(model, five(), "gradient", mask)
    assert "tfxai.targets.masked_sum" in caught.value.write
    e = tfxai.explain(model, five(), "gradient", targets.masked_sum(MASKS, 0))
    assert e.relevance.shape == (5, 4, 4, 2)


def test_the_error_for_a_function_of_masks_names_masked_sum(model):
    with pytest.raises(TargetError, match="masked_sum"):
        tfxai.explain(model, five(), "gradient",
                      lambda y: tf.reduce_sum(y[..., 1] * MASKS, (1, 2)))  # fmt: skip
