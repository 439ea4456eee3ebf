"""Conditional relevance (CRP) against formulas in float64."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import tfxai
from tests import zoo
from tests.conftest import shared_path
from tests.relevance.stored import loader
from tfxai.errors import (
    ModelError,
    NothingToExplainWarning,
    OptionError,
    TargetError,
    UnknownNameError,
)

L = keras.layers
EPSILON = 1e-3


def signed(z):
    return z + np.where(z >= 0, EPSILON, -EPSILON)


def back(r, x, weights, z):
    """The epsilon rule of a dense layer."""
    return x * ((r / signed(z)) @ weights.T)


@pytest.fixture(scope="module")
def chain():
    x = keras.Input((5,))
    y = L.Dense(6, "relu", name="one")(x)
    y = L.Dense(4, "relu", name="two")(y)
    return tfxai.wrap(zoo.fill(keras.Model(x, L.Dense(3, name="out")(y))))


def by_hand(model, x, target, masks):
    """The relevance of the input in float64, masked at the outputs of "one", "two"."""
    w = [v.astype(np.float64) for v in model.get_weights()]
    x = x.astype(np.float64)
    z1 = x @ w[0] + w[1]
    a1 = np.maximum(z1, 0)
    z2 = a1 @ w[2] + w[3]
    a2 = np.maximum(z2, 0)
    z3 = a2 @ w[4] + w[5]
    r = back(np.eye(3)[target] * z3, a2, w[4], z3)
    r = back(r * masks.get("two", 1), a1, w[2], z2)
    return back(r * masks.get("one", 1), x, w[0], z1)


@pytest.mark.parametrize(
    ("conditions", "masks"),
    [
        ({"one": [0, 3]}, {"one": [1, 0, 0, 1, 0, 0]}),
        ({"two": 2}, {"two": [0, 0, 1, 0]}),
        ({"two": (1,)}, {"two": [0, 1, 0, 0]}),
        (
            {"two": range(1, 4), "one": [0, -3]},
            {"two": [0, 1, 1, 1], "one": [1, 0, 0] * 2},
        ),
        (
            {"one": np.array([0.5, 0, 2, 0, 0, 1]), 2: np.array([1, 0, 1, 1]) > 0},
            {"one": [0.5, 0, 2, 0, 0, 1], "two": [1, 0, 1, 1]},
        ),
    ],
)  # fmt: skip
def test_the_masked_epsilon_rule_by_hand(chain, conditions, masks):
    (x,) = zoo.inputs(chain.model, 4)
    target = np.array([0, 2, 1, 2])
    options = {"epsilon": EPSILON, "conditions": conditions}
    analyzer = tfxai.create_analyzer("lrp.epsilon", chain, **options)
    wanted = by_hand(chain.model, x, target, {k: np.array(v) for k, v in masks.items()})
    e = analyzer.analyze(x, target)
    np.testing.assert_allclose(e.relevance, wanted, atol=1e-5)
    assert np.abs(wanted).max() > 0.01
    if "two" in masks:
        return
    for target in ([[0, 1]] * 4, lambda y: y[:, 2]):  # several; a function
        e = analyzer.analyze(x, target)
        first = e.relevance[:, 1] if isinstance(target, list) else e.relevance
        number = 1 if isinstance(target, list) else 2
        masks = {k: np.array(v) for k, v in masks.items()}
        wanted = by_hand(chain.model, x, np.full(4, number), masks)
        np.testing.assert_allclose(first, wanted, atol=1e-5)


def pictures():
    x = keras.Input((8, 8, 2))
    y = L.Conv2D(4, 3, padding="same", activation="relu", name="stem")(x)
    z = L.BatchNormalization(name="norm")(L.Conv2D(4, 3, padding="same", name="in")(y))
    y = L.Add(name="sum")([y, L.ReLU(name="inside")(z)])
    y = L.GlobalAveragePooling2D()(L.Conv2D(5, 3, activation="relu", name="last")(y))
    return zoo.fill(keras.Model(x, L.Dense(3)(y)))


@pytest.mark.parametrize(
    "method",
    [
        "lrp.epsilon_plus",
        *(pytest.param(m, marks=pytest.mark.slow) for m in ("lrp.attn", "clrp")),
        pytest.param("guided_backprop", marks=pytest.mark.slow),
    ],
)
def test_the_conditions_of_all_channels_add_up(method):
    """The maps of single channels add up to that of the layer: masks are linear."""
    wrapped = tfxai.wrap(pictures())
    (x,) = zoo.inputs(wrapped.model, 2)

    def found(conditions):
        return tfxai.explain(wrapped, x, method, 0, conditions=conditions).relevance

    plain = found(None)
    near = {"atol": 1e-5 * np.abs(plain).max()}
    np.testing.assert_allclose(found({"last": range(5)}), plain, **near)
    if method in ("clrp", "guided_backprop"):  # a maximum is not linear
        return
    parts = found({"last": [0, 3]}) + found({"last": [1, 2, 4]})
    np.testing.assert_allclose(parts, plain, **near)


def test_what_goes_around_a_layer_is_left_out():
    """As in zennit-crp with exclude_parallel=True; the shortcut is the rest."""
    model = pictures()
    wrapped = tfxai.wrap(model)
    (x,) = zoo.inputs(model, 2)
    plain = tfxai.explain(wrapped, x, "lrp.epsilon", 1).relevance
    branch, both = (
        tfxai.explain(wrapped, x, "lrp.epsilon", 1, conditions={name: range(4)})
        for name in ("inside", "sum")
    )
    np.testing.assert_allclose(both.relevance, plain, atol=1e-6)
    assert np.abs(branch.relevance - plain).max() > 0.1 * np.abs(plain).max()
    analyzer = tfxai.create_analyzer("lrp.epsilon", wrapped)
    at_sum = analyzer.relevance_at("sum", x, 1)
    a = keras.Model(model.input, model.get_layer("inside").output)(x)
    share = np.asarray(at_sum.relevance) * np.asarray(a) / np.asarray(at_sum.inputs)
    own = tfxai.create_analyzer(
        "lrp.epsilon", wrapped, conditions={"inside": [0, 1, 2, 3]}
    )
    np.testing.assert_allclose(
        own.relevance_at("inside", x, 1).relevance, np.nan_to_num(share), atol=1e-5
    )


def test_a_neuron_and_the_layer_itself():
    model = pictures()
    (x,) = zoo.inputs(model, 2)
    analyzer = tfxai.create_analyzer(
        "lrp.epsilon", model, conditions={"stem": [(3, 4, 1), (0, 0, 2)]}
    )
    plain = tfxai.create_analyzer("lrp.epsilon", analyzer.wrapped)
    mask = np.zeros((8, 8, 4))
    mask[3, 4, 1] = mask[0, 0, 2] = 1
    wanted = plain.relevance_at("stem", x, 2).relevance * mask
    found = analyzer.relevance_at("stem", x, 2).relevance
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    r = analyzer.analyze(x, 2).relevance
    assert not r[:, 6:].any()  # outside of the receptive fields
    assert r[:, 2:5, 3:6].any()


def test_the_heads_of_an_attention():
    """Masks of single heads add up to the relevance of the attention weights."""
    x = keras.Input((5, 8))
    y = L.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.GlobalAveragePooling1D()(y))))
    wrapped = tfxai.wrap(model)
    (v,) = zoo.inputs(model, 2)
    analyzer = tfxai.create_analyzer("lrp.attn", wrapped)
    (weights,) = (r["step"] for r in analyzer.coverage() if r["kind"] == "softmax")
    maps = []
    for chosen in ([True, False], [False, True], [True, True]):
        mask = np.array(chosen)[:, None, None]
        maps.append(
            tfxai.explain(
                wrapped, v, "lrp.attn", 1, conditions={weights: mask}
            ).relevance
        )
    assert np.abs(maps[0]).max() > 0
    assert np.abs(maps[0] - maps[1]).max() > 1e-4
    np.testing.assert_allclose(maps[0] + maps[1], maps[2], atol=1e-6)


def test_a_saved_graph_keeps_its_conditions(chain, tmp_path):
    (x,) = zoo.inputs(chain.model, 4)
    analyzer = tfxai.create_analyzer("lrp.epsilon", chain, conditions={"one": [0, 3]})
    analyzer.graph.save(tmp_path / "why.keras")
    again = tfxai.load(tmp_path / "why.keras")
    found = again(x, np.full(4, 1))["relevance"]
    np.testing.assert_allclose(found, analyzer.analyze(x, 1).relevance, atol=1e-6)


@pytest.mark.parametrize(
    ("conditions", "error", "text"),
    [
        ([1], OptionError, r"Write: conditions=\{\"block3\": \[12, 40\]\}"),
        ({}, OptionError, "a mapping from layers"),
        ({"three": [1]}, UnknownNameError, "three"),
        ({"one": [6]}, OptionError, r"shape \(6,\)"),
        ({"one": []}, OptionError, "channels below 6"),
        ({"one": [(1, 2)]}, OptionError, "indices of 1 number"),
        ({"one": np.ones(4)}, OptionError, r"a mask of shape \(4,\)"),
        ({"one": "all"}, OptionError, "'all'"),
    ],
)
def test_conditions_that_are_refused(chain, conditions, error, text):
    with pytest.raises(error, match=text):
        tfxai.create_analyzer("lrp.epsilon", chain, conditions=conditions)


def test_parallel_layers_and_residuals_are_refused():
    x = keras.Input((4,))
    y = L.Add()([L.Dense(3, name="left")(x), L.Dense(3, name="right")(x)])
    wrapped = tfxai.wrap(zoo.fill(keras.Model(x, L.Dense(2)(y))))
    with pytest.raises(OptionError, match="parallel"):
        tfxai.create_analyzer(
            "lrp.epsilon", wrapped, conditions={"left": [0], "right": [1]}
        )
    analyzer = tfxai.create_analyzer("lrp.epsilon", wrapped, conditions={"left": [0]})
    with pytest.raises(OptionError, match="conditions=None"):
        analyzer.residual(np.ones((1, 4)))


def test_a_mask_where_nothing_passes_leaves_nothing():
    x = keras.Input((5, 4))
    y = L.MultiHeadAttention(2, 3, name="mha")(x, x)
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.GlobalAveragePooling1D()(y))))
    z = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    none = {"mha:softmax": np.zeros((2, 1, 1))}
    with pytest.warns(NothingToExplainWarning):  # lrp.cp holds the attention weights
        e = tfxai.explain(model, z, "lrp.cp", 1, conditions=none)
    assert not e.relevance.any()


def test_a_condition_below_the_explained_layer_is_an_error(chain):
    names = [v.name for v in chain.model.layers if v.weights]
    z = np.ones((1, *chain.model.input_shape[1:]), "float32")
    with pytest.raises(OptionError, match="does not follow the layer"):
        tfxai.explain(
            chain, z, "lrp.epsilon", 0, at=names[-1], conditions={names[0]: [0]}
        )
    same = {names[0]: [0]}
    e = tfxai.explain(chain, z, "lrp.epsilon", 0, at=names[0], conditions=same)
    assert np.count_nonzero(np.abs(e.relevance).sum(0)) <= 1


def test_the_channels_of_a_model_with_channels_first_are_an_error():
    x = keras.Input((3, 8, 8))
    y = L.Conv2D(4, 3, data_format="channels_first", name="c")(x)
    model = keras.Model(x, L.Dense(2)(L.Flatten()(y)))
    with pytest.raises(ModelError, match="width for the channels"):
        tfxai.create_analyzer("lrp.epsilon", model, conditions={"c": [5]})


@pytest.mark.parametrize("method", ["lrp.epsilon_plus", "clrp", "deeplift"])
def test_several_sets_are_one_map_each(method):
    wrapped = tfxai.wrap(pictures())
    (x,) = zoo.inputs(wrapped.model, 3)
    sets = [
        {"last": [0, 3]},
        {"stem": [1], "last": 2},
        {"last": np.array([1.0, 0, 0.5, 0, 0])},
        {"last": [4], "stem": [(3, 4, 1), (0, 0, 2)]},
    ]
    analyzer = tfxai.create_analyzer(method, wrapped, conditions=sets)
    e = analyzer.analyze(x, [0, 1, 2], batch_size=4)
    assert e.relevance.shape == (3, 4, 8, 8, 2) and e.target.tolist()[1] == [1] * 4
    for number, one in enumerate(sets):
        alone = tfxai.explain(wrapped, x, method, [0, 1, 2], conditions=one)
        near = {"atol": 1e-6 * np.abs(alone.relevance).max() + 1e-9, "rtol": 1e-4}
        np.testing.assert_allclose(e.relevance[:, number], alone.relevance, **near)
        np.testing.assert_allclose(e.score[:, number], alone.score)
        assert alone.relevance.any() or method == "clrp"
    if method == "clrp":
        return
    f = analyzer.analyze(x, lambda y: y[:, 1])
    alone = tfxai.explain(wrapped, x, method, 1, conditions=sets[1])
    np.testing.assert_allclose(f.relevance[:, 1], alone.relevance, atol=1e-6)
    with pytest.raises(TargetError, match="4 sets of conditions with 2 targets"):
        analyzer.analyze(x, [[0, 1]] * 3)


def test_a_saved_graph_keeps_its_sets(chain, tmp_path):
    (x,) = zoo.inputs(chain.model, 4)
    sets = [{"one": [0, 3]}, {"two": [1]}]
    analyzer = tfxai.create_analyzer("lrp.epsilon", chain, conditions=sets)
    analyzer.graph.save(tmp_path / "why.keras")
    found = tfxai.load(tmp_path / "why.keras")(x, np.full(4, 1))["relevance"]
    wanted = analyzer.analyze(x, 1).relevance
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert np.abs(wanted[:, 0] - wanted[:, 1]).max() > 1e-3


@pytest.mark.shared
def test_the_maps_of_zennit_crp():
    """zennit-crp 0.6.0 with zennit 0.4.6, EpsilonPlus, in float64: the stored maps."""
    with np.load(Path(__file__).parents[1] / "data" / "zennit_crp.npz") as data:
        stored = dict(data)
    folder = shared_path("references/zennit_captum/plain_cnn_a")
    module = loader("references/zennit_captum")
    arch = json.loads((folder / "arch.json").read_text())
    with np.load(folder / "weights.npz") as weights:
        model = module.build_keras_model(arch, dict(weights))
    with np.load(folder / "data.npz") as data:
        x, target = data["x"], data["targets"]
    sets = {
        "one": {"conv2": [1, 4]},
        "two": {"conv2": [1, 4], "conv3": [0, 3, 7]},
        "last": {"conv3": [0, 3, 7]},
        "neuron_layer": {"fc1": [2, 5]},
    }
    e = tfxai.explain(
        model, x, "lrp.epsilon_plus", target, conditions=list(sets.values())
    )
    for number, name in enumerate(sets):
        found, wanted = e.relevance[:, number].sum(-1), stored[name]
        assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max(), name
