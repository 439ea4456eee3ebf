"""Graphs that are easy to get wrong: shared tensors, large kernels, several inputs."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import tfxai
from tests.relevance import spellings
from tests.relevance.drawn import (
    BOUNDED,
    CLASSES,
    PRESETS,
    close,
    conserved,
    conv,
    dense,
    examples,
    fill,
    propagate,
    soft_inputs,
    totals,
)
from tests.relevance.programs import program_of
from tests.relevance.spellings import maps_of_all, with_layers
from tfxai.errors import (
    NoFirstLayerWarning,
    NothingToExplainWarning,
    OtherOutputWarning,
)
from tfxai.graph import linear, step
from tfxai.graph.step import Mapped
from tfxai.relevance import heads as H

#: A network with zero relevance tests nothing: choose another one.
pytestmark = pytest.mark.filterwarnings(  # a random network may return its input
    "error::tfxai.errors.TfxaiWarning",
    "ignore::tfxai.errors.DoubtfulRelevanceWarning",
)

L = keras.layers
ops = keras.ops
#: The fixture, imported for this file.
spelled_inputs = spellings.spelled_inputs

# -- shapes of graphs that are easy to get wrong --------------------------------------

TWICE = {
    "x + x": lambda x: x + x,
    "Add": lambda x: L.Add()([x, x]),
    "Concatenate": lambda x: L.Concatenate()([x, x]),
    "stack": lambda x: ops.stack([x, x], 1),
}


@pytest.mark.parametrize("double", TWICE)
def test_a_tensor_that_is_read_twice_by_one_step_is_counted_once(double):
    i = keras.Input((6,))
    x = L.Flatten()(TWICE[double](dense("d", 8, "relu")(i)))
    model, x = fill(keras.Model(i, dense("e", CLASSES)(x)), 0, False), soft_inputs()
    maps, f = propagate(model, PRESETS["z"], H.one_hot, x, [[2]] * len(x))
    conserved(maps, f[:, 2][None])


def test_a_cast_that_rounds_is_not_passed_over():
    i = keras.Input((6,))
    x = ops.cast(ops.cast(3 * i, "int32"), "float32")
    model, x = fill(keras.Model(i, dense("e", CLASSES)(x))), soft_inputs()
    close(tfxai.wrap(model).logits(x), model(x).numpy())


def test_a_normalisation_that_is_itself_an_output_can_be_explained():
    i = keras.Input((6,))
    b = L.BatchNormalization(name="bn")(dense("d", 8, "relu")(i))
    model, x = fill(keras.Model(i, [b, dense("e", CLASSES)(b)])), soft_inputs()
    target = model(x)[0].numpy().argmax(-1)
    e = tfxai.create_analyzer("lrp.epsilon", model, output=0).analyze(x, target)
    close(e.score, model(x)[0].numpy().max(-1))


def test_a_rule_for_a_layer_is_for_all_of_its_calls():
    layer, i = dense("again", 6, "relu"), keras.Input((6,))
    model = keras.Model(i, dense("e", CLASSES)(layer(layer(i))))
    analyzer = tfxai.create_analyzer("lrp.epsilon", model, rules={"again": "flat"})
    rules = [r["rule"] for r in analyzer.coverage() if r["kind"] == "dense"]
    assert rules[:2] == ["flat", "flat"]


@pytest.mark.parametrize(
    "before",
    [L.Rescaling(0.5), L.AveragePooling2D(2), L.BatchNormalization()],
    ids=["Rescaling", "AveragePooling2D", "BatchNormalization"],
)
def test_the_rule_for_the_input_is_never_silently_left_out(before):
    i = keras.Input((6, 6, 2))
    x = L.MaxPooling2D(2)(conv("a", "relu")(before(i)))
    model = keras.Model(i, dense("e", CLASSES)(L.Flatten()(x)))
    analyzer = tfxai.create_analyzer("lrp.epsilon", model, input_layer_rule="flat")
    assert "flat" in [r["rule"] for r in analyzer.coverage()]


def test_a_rule_for_the_input_without_a_place_is_a_warning():
    i = keras.Input((6, 6, 2))
    x = conv("a", "relu")(L.ReLU()(i))
    model = keras.Model(i, dense("e", CLASSES)(L.Flatten()(x)))
    with pytest.warns(NoFirstLayerWarning, match="flat"):
        tfxai.create_analyzer("lrp.epsilon", model, input_layer_rule="flat")


@pytest.mark.parametrize("name", ["sglrp", "sglrp.sequential_preset_a", "clrp"])
@pytest.mark.parametrize("last", ["sigmoid", "softmax", "linear"])
def test_the_slope_of_a_softmax_that_is_none_is_a_warning(name, last):
    x = keras.Input((6,))
    model = keras.Model(x, L.Dense(CLASSES, last)(L.Dense(4, "relu")(x)))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        box = {} if "preset" in name else {"low": -1.0, "high": 1.0}
        tfxai.create_analyzer(name, model, **box)
    found = [w for w in seen if w.category is OtherOutputWarning]
    assert len(found) == (last == "sigmoid" and name != "clrp")
    assert all('method="clrp"' in str(w.message) for w in found)


@pytest.mark.parametrize("scale", [1 / 127.5, -1 / 127.5])
def test_the_box_of_a_rescaled_input_is_that_of_the_raw_input(scale):
    """Rescaling is merged into the first layer: W s, b + 0.25 W 1; raw bounds."""
    net = [L.Conv2D(4, 3, activation="relu"), L.Flatten(), dense("e", CLASSES)]
    rescaled = [keras.Input((6, 6, 2)), L.Rescaling(scale, 0.25), *net]
    model = fill(keras.Sequential(rescaled))
    first = L.Conv2D(4, 3, activation="relu")
    plain = keras.Sequential([keras.Input((6, 6, 2)), first, *net[1:]])
    kernel, bias = net[0].get_weights()
    first.set_weights([kernel * scale, bias + 0.25 * kernel.sum((0, 1, 2))])
    x = np.random.default_rng(0).uniform(0, 255, (2, 6, 6, 2)).astype("float32")
    box = {"low": 0, "high": 255, "target": 1}
    close(
        tfxai.explain(model, x, "sglrp", **box).relevance,
        tfxai.explain(plain, x, "sglrp", **box).relevance,
    )


#: Presets with each way to map a kernel.
RULES = ("epsilon", "alpha_beta", "z_plus", "w_square", "flat", "bounded")


def test_large_dense_kernels_are_mapped_in_blocks(monkeypatch, spelled_inputs):
    model, x = fill(with_layers(), 6), spelled_inputs
    whole = maps_of_all(model, x, [[0, 3], [1, 2]], RULES)
    result = []

    class Counted(Mapped):
        def __init__(self, kernel, function):
            result.append(kernel.shape)
            super().__init__(kernel, function)

    monkeypatch.setattr(linear, "BLOCK", 20)
    monkeypatch.setattr(step, "BLOCK", 20)
    monkeypatch.setattr(linear, "Mapped", Counted)
    in_blocks = maps_of_all(model, x, [[0, 3], [1, 2]], RULES)
    assert len(result) > 10
    for name, wanted in whole.items():
        close(in_blocks[name], wanted, 2e-5)


@examples(6)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    padding=st.sampled_from(["same", "valid"]),
)
def test_a_large_convolution_is_turned_round_exactly(kernel, padding):
    i = keras.Input((112, 113, 16))
    large = L.Conv2D(3, kernel, padding=padding, activation="relu", name="a")
    x = L.GlobalAveragePooling2D()(large(i))
    model = fill(keras.Model(i, dense("e", CLASSES)(x)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.config, "get_visible_devices", lambda kind: [])
        assert program_of(model).steps[0].transpose is not None
    x = np.random.default_rng(0).normal(size=(2, 112, 113, 16)).astype("float32")
    wanted = tfxai.explain(model, x, "input_t_gradient", target=2).relevance
    maps, _ = propagate(model, PRESETS["z"], H.one_hot, x, [[2], [2]])
    close(maps[0][0], wanted, 2e-5)


# -- the edges of float32 ------------------------------------------------------------


def class_maps(model, preset, x):
    """Return the relevance of a unit seed at every class: float64 (n, B, ...)."""
    batch = len(x[0]) if isinstance(x, list) else len(x)
    every = [list(range(model.output_shape[-1]))] * batch
    maps, f = propagate(model, preset, H.unit, x, every)
    return [m.astype("float64") for m in maps], f.astype("float64")


def contrast_by_hand(model, preset, x, target, kind):
    """Return CLRP or SGLRP of one class from `class_maps`, in NumPy float64."""
    maps, f = class_maps(model, preset, x)
    n = f.shape[-1]
    others = [j for j in range(n) if j != target]
    if kind == "clrp":
        own = np.maximum(f[:, target], 0)
        dual = np.repeat(own[:, None] / (n - 1), n, 1)
    else:
        p = np.exp(f - f.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        dual = p * p[:, [target]]
        own = dual[:, others].sum(-1)

    def weighted(m, seeds):
        return seeds.reshape(-1, *[1] * (m.ndim - 1)) * m

    ours = [weighted(m[target], own) for m in maps]
    theirs = [sum(weighted(m[j], dual[:, j]) for j in others) for m in maps]
    a, b = (totals([m[None] for m in part])[0] for part in (ours, theirs))
    k = np.divide(a, b, out=np.zeros_like(a), where=b != 0)
    return [u - weighted(v, k) for u, v in zip(ours, theirs, strict=True)]


def edge_model(logits_bias):
    i = keras.Input((6,))
    end = dense("e", len(logits_bias), "softmax")
    model = keras.Model(i, end(dense("d", 8, "relu")(i)))
    fill(model, 4)
    end.bias.assign(logits_bias)
    return model


def test_sglrp_of_a_probability_that_rounds_to_1_is_small_and_not_zero():
    model, x = edge_model([30.0, 0.0, 1.0]), soft_inputs()
    assert (model.predict(x, verbose=0)[:, 0] == 1).all()
    e = tfxai.explain(model, x, "sglrp", target=0, **BOUNDED)
    (wanted,) = contrast_by_hand(model, PRESETS["bounded"], x, 0, "sglrp")
    assert 0 < np.abs(wanted).max() < 1e-10
    close(e.relevance, wanted.astype("float32"), 1e-4)


def test_a_probability_of_exactly_1_gives_zeros_and_a_warning():
    model, x = edge_model([300.0, 0.0, 1.0]), soft_inputs()
    with pytest.warns(NothingToExplainWarning, match="zero everywhere"):
        e = tfxai.explain(model, x, "sglrp", target=0, **BOUNDED)
    assert (e.relevance == 0).all()
    np.testing.assert_allclose(e.score, 300, atol=3)


@pytest.mark.parametrize("method", ["clrp", "sglrp"])
def test_a_dual_map_that_sums_to_zero_leaves_the_targets_own(method):
    model, x = edge_model([1.0, 1.0, 1.0]), soft_inputs()
    end = model.get_layer("e")
    kernel = end.kernel.numpy()
    kernel[:, 1:] = -np.abs(kernel[:, 1:])  # z+ finds no positive contribution
    kernel[:, 0] = np.abs(kernel[:, 0])
    end.kernel.assign(kernel)
    e = tfxai.explain(model, x, method, target=0, **BOUNDED)
    (maps,), f = class_maps(model, PRESETS["bounded"], x)
    assert (maps[1:] == 0).all()
    p = np.exp(f) / np.exp(f).sum(-1, keepdims=True)
    seed = f[:, 0] if method == "clrp" else p[:, 0] * (1 - p[:, 0])
    assert np.isfinite(e.relevance).all()
    assert (e.relevance.sum(-1) > 0).all()
    close(e.relevance, (seed[:, None] * maps[0]).astype("float32"), 1e-5)


# -- sequences, volumes, several inputs ----------------------------------------------


def sequence_model():
    i = keras.Input((9, 2))
    x = L.Conv1D(3, 3, padding="causal", activation="relu", name="a")(i)
    x = L.MaxPooling1D(2)(x)
    x = L.Conv1D(3, 3, activation="relu", name="b")(x)
    return fill(keras.Model(i, dense("e", 3)(L.GlobalAveragePooling1D()(x))), 8)


def volume_model():
    i = keras.Input((4, 4, 4, 1))
    x = L.Conv3D(5, 3, padding="same", activation="relu", name="a")(i)
    x = L.AveragePooling3D(2)(x)
    x = L.Conv3D(6, 2, activation="relu", name="b")(x)
    return fill(keras.Model(i, dense("e", 3)(L.Flatten()(x))), 11)


def two_input_model():
    i, j = keras.Input((5, 5, 1), name="image"), keras.Input((4,), name="numbers")
    x = L.Flatten()(L.Conv2D(2, 3, activation="relu", name="a")(i))
    x = L.Concatenate()([x, dense("d", 3, "relu")(j)])
    return fill(keras.Model([i, j], dense("e", 3)(dense("f", 6, "relu")(x))), 11)


def batch_of(model, count=3):
    rng = np.random.default_rng(7)
    return [
        rng.uniform(-0.9, 0.9, (count, *t.shape[1:])).astype("float32")
        for t in model.inputs
    ]


MODELS = (sequence_model, volume_model, two_input_model)


@pytest.mark.parametrize("method", ["clrp", "sglrp"])
@pytest.mark.parametrize("make", MODELS)
def test_contrasts_of_sequences_volumes_and_two_inputs(make, method):
    model = make()
    x = batch_of(model)
    single = len(x) == 1
    top = np.bincount(model(x[0] if single else x).numpy().argmax(-1)).argmax()
    given_x = x[0] if single else x
    e = tfxai.explain(model, given_x, method, target=int(top), **BOUNDED)
    wanted = contrast_by_hand(model, PRESETS["bounded"], x, top, method)
    relevance = [e.relevance] if single else e.relevance
    assert isinstance(e.relevance, np.ndarray if single else list)
    assert [r.shape for r in relevance] == [v.shape for v in x]
    for r, w in zip(relevance, wanted, strict=True):
        assert np.abs(w).max() > 1e-4
        close(r, w.astype("float32"), 2e-5)
    conserved([r[None] for r in relevance], np.zeros((1, 3)), 1e-4)


@pytest.mark.parametrize("make", MODELS)
def test_lrp_conserves_over_sequences_volumes_and_two_inputs(make):
    model = make()
    for v in model.weights:
        if v.name == "bias":
            v.assign(np.zeros(v.shape))
    x = batch_of(model)
    given_x = x[0] if len(x) == 1 else x
    e = tfxai.explain(model, given_x, "lrp.epsilon", target=2, epsilon=1e-12)
    g = tfxai.explain(model, given_x, "input_t_gradient", target=2)
    relevance = e.relevance if len(x) > 1 else [e.relevance]
    gradient = g.relevance if len(x) > 1 else [g.relevance]
    for r, w in zip(relevance, gradient, strict=True):
        close(r, w, 2e-5)
    wanted = model(given_x).numpy()[:, 2]
    assert np.abs(wanted).max() > 1e-3
    conserved([r[None] for r in relevance], wanted[None])
