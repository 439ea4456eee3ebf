"""TCAV and CRAFT: parts by formula, and concepts that are planted."""

import keras
import numpy as np
import pytest
from scipy import stats

import tfxai
from tests import zoo
from tfxai.errors import InputError, ModelError, OptionError, TargetError
from tfxai.gradient import craft as crafts
from tfxai.gradient import tcav as tcavs

L = keras.layers
SIDE = 12


def coloured(colour, count, seed):
    """Images of a dark noise with a bright square of one channel."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 0.3, (count, SIDE, SIDE, 3)).astype("float32")
    for v in x if colour is not None else ():
        i, j = rng.integers(0, SIDE - 5, 2)
        v[i : i + 5, j : j + 5, colour] += 1
    return x


@pytest.fixture(scope="module")
def seer():
    """Class 0 likes channel 0, dislikes channel 1, and does not see channel 2."""
    x = keras.Input((SIDE, SIDE, 3))
    y = L.Conv2D(3, 1, activation="relu", name="seen")(x)
    z = L.Dense(2, name="out")(L.GlobalAveragePooling2D()(y))
    model = keras.Model(x, L.Softmax()(z))
    kernel = np.eye(3, dtype="float32")[None, None]
    model.get_layer("seen").set_weights([kernel, np.zeros(3, "float32")])
    weights = np.float32([[5, 0], [-3, 0], [0, 4]])
    model.get_layer("out").set_weights([weights, np.float32([0.1, 0])])
    return tfxai.wrap(model)


@pytest.fixture(scope="module")
def scored(seer):
    concepts = {name: coloured(c, 20, c) for c, name in enumerate(["red", "green"])}
    concepts["nothing"] = coloured(None, 20, 9)
    random = coloured(None, 60, 5)
    x = coloured(0, 6, 7)
    return x, tfxai.tcav(seer, x, concepts, random, "seen", 0, n_runs=6)


def test_tcav_finds_what_the_class_likes(scored):
    _, found = scored
    assert found.names == ["red", "green", "nothing"]
    np.testing.assert_array_equal(found.scores[0], 1)
    np.testing.assert_array_equal(found.scores[1], 0)
    assert found.accuracy[:2].mean() > 0.95
    assert found.accuracy[2].mean() < 0.8
    assert found.significant()["nothing"] is False
    assert found.p_value[2] > 0.05
    red = found.directions[0].mean((0, 1, 2))
    assert red[0] > 3 * np.abs(red[1:]).max()


def test_tcav_by_formula(scored):
    """The derivative of a linear class is its weights times the direction."""
    x, found = scored
    slope = np.broadcast_to(np.array([5, -3, 0]) / SIDE**2, (SIDE, SIDE, 3))
    wanted = (found.directions * slope).sum((2, 3, 4))
    for i in range(len(x)):
        np.testing.assert_allclose(found.derivatives[..., i], wanted, atol=1e-7)
    np.testing.assert_allclose(
        np.linalg.norm(found.directions.reshape(3, 6, -1), axis=2), 1
    )
    np.testing.assert_array_equal(found.scores, (found.derivatives > 0).mean(2))
    a, b = found.scores[2], found.random
    pooled = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 6)
    t = (a.mean() - b.mean()) / pooled
    assert found.p_value[2] == pytest.approx(2 * stats.t.sf(abs(t), 10))


def test_the_direction_is_the_normal_of_the_classifier():
    rng = np.random.default_rng(1)
    a, b = rng.normal(2, 0.1, (30, 2)) * [1, 0], rng.normal(0, 0.1, (30, 2))
    normal, accuracy = tcavs.direction(a, b, 0)
    assert accuracy == 1
    assert normal[0] > 0.99
    assert tcavs.p_value(np.ones(3), np.ones(3)) == 1
    assert tcavs.p_value(np.ones(3), np.zeros(3)) == 0


def test_tcav_in_a_table_and_a_figure(scored):
    _, found = scored
    table = found.to_dataframe()
    assert table["score"].tolist() == found.scores.mean(1).tolist()
    axes = found.plot().axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == found.names
    heights = [p.get_height() for p in axes.patches]
    np.testing.assert_allclose(heights, found.scores.mean(1))


def test_tcav_refuses(seer):
    x = coloured(0, 4, 0)
    with pytest.raises(OptionError, match=r'concepts=\{"striped": x_striped\}'):
        tfxai.tcav(seer, x, x, x, "seen", 0)
    with pytest.raises(InputError, match="'red' has 2 examples"):
        tfxai.tcav(seer, x, {"red": x[:2]}, x, "seen", 0)
    with pytest.raises(InputError, match="at least 8"):
        tfxai.tcav(seer, x, {"red": x}, x, "seen", 0)
    with pytest.raises(TargetError, match="one target"):
        tfxai.tcav(seer, x, {"red": x}, x, "seen", [[0, 1]] * 4)


def test_the_total_indices_of_known_functions():
    """f = 3 a + b: 9 / 10 and 1 / 10; f = a b: 4 / 7 for each factor."""
    linear = crafts.total_indices(lambda m: 3 * m[:, 0] + m[:, 1], 3, 2048, 0)
    np.testing.assert_allclose(linear, [0.9, 0.1, 0], atol=0.01)
    product = crafts.total_indices(lambda m: m[:, 0] * m[:, 1], 2, 2048, 0)
    np.testing.assert_allclose(product, 4 / 7, atol=0.01)
    np.testing.assert_array_equal(
        crafts.total_indices(lambda m: np.ones(len(m)), 2, 8, 0), 0
    )


def test_crops_by_hand():
    x = np.arange(2 * 10 * 14, dtype="float32").reshape(2, 10, 14, 1)
    crops = crafts.crops_of(x, 0.5)
    assert crops.shape == (2 * 2 * 3, 5, 5, 1)
    np.testing.assert_array_equal(crops[0], x[0, :5, :5])
    np.testing.assert_array_equal(crops[-1], x[1, 4:9, 8:13])


@pytest.fixture(scope="module")
def crafted(seer):
    x = np.concatenate([coloured(c, 4, c) for c in range(3)])
    options = {"n_concepts": 3, "patch": 0.5, "n_masks": 16}
    return x, tfxai.craft(seer, x, "seen", 0, **options)


def test_craft_finds_the_planted_colours(crafted):
    x, found = crafted
    main = found.concepts.argmax(1)
    assert sorted(main) == [0, 1, 2]
    assert found.error < 0.15
    ranks = main[found.top(3)]
    np.testing.assert_array_equal(ranks, [0, 1, 2])  # weights 5, -3 and 0
    assert found.importance[main == 2] < 0.05
    for c, colour in enumerate(main):
        best = found.examples(c, 2)
        assert (best.mean((1, 2)).argmax(1) == colour).all()
        peak = np.unravel_index(found.maps[4 * colour, ..., c].argmax(), (SIDE, SIDE))
        assert x[(4 * colour, *peak, colour)] > 0.9


def test_craft_by_formula(seer, crafted):
    """U W are the activations of the crops; the indices those of the linear class."""
    x, found = crafted
    product = np.einsum("bhwr,rc->bhwc", found.maps, found.concepts)
    assert np.abs(product - x).mean() < 0.05
    weights = (found.maps.mean((1, 2)) * (found.concepts @ [5, -3, 0])) ** 2
    wanted = (weights / weights.sum(1, keepdims=True)).mean(0)
    np.testing.assert_allclose(found.importance, wanted, atol=0.12)


def test_craft_in_figures(crafted):
    x, found = crafted
    assert len(found.plot(2, 4).axes) == 8
    assert len(found.plot_maps(x, 2).axes) == 3 * len(x)


def test_craft_refuses(seer):
    x = coloured(0, 3, 0)
    with pytest.raises(OptionError, match="at most"):
        tfxai.craft(seer, x, "seen", 0, n_concepts=4)
    with pytest.raises(ModelError, match="positions on two axes"):
        tfxai.craft(seer, x, "out", 0)
    with pytest.raises(OptionError, match="one class"):
        tfxai.craft(seer, x, "seen", [0, 1, 0])
    y = keras.Input((SIDE, SIDE, 3))
    z = L.GlobalAveragePooling2D()(L.Conv2D(3, 3, name="signed")(y))
    model = zoo.fill(keras.Model(y, L.Dense(2)(z)))
    with pytest.raises(ModelError, match="a layer behind a ReLU"):
        tfxai.craft(model, x, "signed", 0)
    table = keras.Sequential([keras.Input((5,)), L.Dense(2, name="d")])
    with pytest.raises(InputError, match="one batch of images"):
        tfxai.craft(table, np.ones((2, 5)), "d", 0)
