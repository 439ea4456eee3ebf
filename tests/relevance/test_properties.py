"""Properties of relevance that hold whatever the network is.

Networks are drawn by Hypothesis; weights follow from a seed and the layer's name, so
that two models with the same layer names are the same network.
"""

import json
import random
import warnings
import zlib
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tfxai
from tfxai.errors import (
    InputError,
    NoFirstLayerWarning,
    NothingToExplainWarning,
    OtherOutputWarning,
    TargetError,
    UnsupportedLayerError,
)
from tfxai.graph import linear, step
from tfxai.graph.program import trace
from tfxai.graph.step import Mapped
from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.heads import Head
from tfxai.relevance.recipes import clrp_head, sglrp_head
from tfxai.relevance.rewrite import Rewritten

#: A map that is zero everywhere would prove nothing: choose another network.
pytestmark = pytest.mark.filterwarnings("error::tfxai.errors.TfxaiWarning")

L = keras.layers
ops = keras.ops
CLASSES = 4
RELEVANCE = [row.name for row in tfxai.analyzers() if row.family == "relevance"]
#: Without those that count `model.layers`, which is a matter of spelling.
UNCOUNTED = [name for name in RELEVANCE if "until" not in name]
DIRECT = ["gradient", "input_t_gradient", *RELEVANCE]
BOUNDED = {"low": -1.0, "high": 1.0}

PRESETS = {
    "z": P.every_kernel(R.z_rule),
    "epsilon": P.epsilon(),
    "z_plus": P.every_kernel(R.z_plus),
    "deep_taylor": P.deep_taylor(),
    "bounded": P.bounded(-1.0, 1.0),
    "alpha_beta": P.every_kernel(R.alpha_beta),
    "flat": P.every_kernel(R.flat, add=R.flat, average=R.flat),
    "w_square": P.every_kernel(R.w_square, add=R.w_square, average=R.w_square),
}


def examples(count):
    """Hypothesis settings of this file: the same `count` examples in every run.

    They are not shrunk: a network of three blocks can be read, and takes a second.
    """
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


# -- random networks -----------------------------------------------------------------


def fill(model, seed=0, bias=True):
    """Give every variable values that follow from `seed` and the layer's name."""
    for v in model.weights:
        layer, name = v.path.split("/")[-2:]
        rng = np.random.default_rng([seed, zlib.crc32(f"{layer}/{name}".encode())])
        value = rng.normal(size=v.shape)
        if name.endswith("kernel"):
            value *= np.sqrt(2 / np.prod(v.shape[:-1]))
        elif name == "gamma":
            value = np.sign(value) * rng.uniform(0.5, 1.5, v.shape)
        elif name == "moving_variance":
            value = rng.uniform(0.5, 2.0, v.shape)
        else:  # bias, beta, moving_mean
            value *= 0.3 * bias
        v.assign(value.astype("float32"))
    return model


@dataclass(frozen=True)
class Net:
    """A drawn network: what it is made of, so that a failing one can be read."""

    blocks: tuple[str, ...]
    end: str
    bias: bool
    seed: int
    stem: bool = True

    def model(self):
        """Build it: image (8, 8, 2) -> CLASSES logits."""
        i = keras.Input((8, 8, 2))
        blocks = ("conv", *self.blocks) if self.stem else self.blocks
        x = i
        for number, block in enumerate(blocks):
            x = self._block(block, x, f"{number}_{block}")
        x = {
            "flatten": L.Flatten,
            "average": L.GlobalAveragePooling2D,
            "max": L.GlobalMaxPooling2D,
        }[self.end]()(x)
        x = L.Dense(8, "relu", use_bias=self.bias, name="hidden")(x)
        o = L.Dense(CLASSES, use_bias=self.bias, name="logits")(x)
        return fill(keras.Model(i, o), self.seed, self.bias)

    def _block(self, block, x, name):
        def conv(x, name, activation="relu", padding="same", size=3, width=4):
            return L.Conv2D(
                width, min(size, x.shape[1]), padding=padding, activation=activation,
                use_bias=self.bias, name=name,
            )(x)  # fmt: skip

        if block == "conv":
            return conv(x, name, padding="valid")
        if block == "strided":
            layer = L.Conv2D(4, 3, 2, "same", use_bias=self.bias, name=name)
            return L.ReLU()(layer(x))
        if block == "depthwise":
            layer = L.DepthwiseConv2D(
                3, padding="same", depth_multiplier=2, use_bias=self.bias, name=name
            )
            return ops.relu(layer(x))
        if block == "norm":  # folded into the convolution before it
            x = conv(x, name, None)
            return L.ReLU()(L.BatchNormalization(name=f"{name}_norm")(x))
        if block == "norm_first":  # folded into the convolution after it
            return conv(L.BatchNormalization(name=f"{name}_norm")(x), name)
        if block == "residual":
            return x + conv(x, name, width=x.shape[-1])
        if block == "concat":
            return L.Concatenate()([conv(x, f"{name}_a"), conv(x, f"{name}_b", size=1)])
        if block == "dropout":
            return L.Dropout(0.5)(x)
        pool = {"max": L.MaxPooling2D, "average": L.AveragePooling2D}[block]
        return pool(2, padding="same")(x)

    def inputs(self, count=2):
        """A batch of inputs within (-1, 1)."""
        rng = np.random.default_rng(self.seed + 1)
        return rng.uniform(-0.95, 0.95, (count, 8, 8, 2)).astype("float32")


BLOCKS = (
    *("conv", "strided", "depthwise", "norm", "norm_first"),
    *("residual", "concat", "dropout", "max", "average"),
)


def nets(bias=None, stem=True):
    """Strategy: a network, without biases, with, or either."""
    return st.builds(
        Net,
        blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3).map(tuple),
        end=st.sampled_from(("flatten", "average", "max")),
        bias=st.booleans() if bias is None else st.just(bias),
        seed=st.integers(0, 2**16),
        stem=st.just(stem) if stem is not None else st.booleans(),
    )


def propagate(model, preset, head, x, target):
    """The maps (T, B, ...) of every input, run eagerly: no analyzer in between."""
    graph = Rewritten(model, trace(model), preset, head)
    made = graph.maps(x if isinstance(x, list) else [x], tf.constant(target, tf.int32))
    return [m.numpy() for m in made["relevance"]], made["logits"].numpy()


def totals(maps):
    """The sum of each map over all inputs, (T, B), in float64."""
    return sum(m.astype("float64").sum(tuple(range(2, m.ndim))) for m in maps)


def close(actual, wanted, tolerance=1e-5, noise=1e-12):
    """Equal up to `tolerance` times the largest wanted value, or to `noise`."""
    assert actual.shape == wanted.shape
    slack = tolerance * np.abs(wanted).max() + noise
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=slack)


def conserved(maps, wanted, tolerance=2e-5):
    """The maps' sums are `wanted` (T, B), up to rounding of the summands."""
    slack = tolerance * totals([np.abs(m) for m in maps]) + 1e-9
    difference = np.abs(totals(maps) - wanted)
    assert (difference <= slack).all(), (totals(maps), wanted)


# -- conservation --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["epsilon", "z_plus", "deep_taylor", "bounded"])
@examples(20)
@given(net=nets(bias=False))
def test_relevance_of_a_positive_logit_sums_to_it(name, net):
    preset = P.epsilon(epsilon=1e-12) if name == "epsilon" else PRESETS[name]
    every = [list(range(CLASSES))] * 2
    maps, f = propagate(net.model(), preset, H.masked, net.inputs(), every)
    conserved(maps, np.maximum(f, 0).T)


@pytest.mark.parametrize("name", ["z", "flat", "w_square"])
@examples(20)
@given(net=nets(bias=False))
def test_relevance_of_any_logit_sums_to_it(name, net):
    every = [list(range(CLASSES))] * 2
    maps, f = propagate(net.model(), PRESETS[name], H.one_hot, net.inputs(), every)
    conserved(maps, f.T)


@examples(12)
@given(st.sampled_from([(1, 0), (2, 1), (1.5, 0.5)]), st.integers(0, 2**16))
def test_alpha_beta_conserves_where_both_signs_contribute(alphabeta, seed):
    # All activations > 0 and each unit has a positive and a negative weight.
    rng = np.random.default_rng(seed)
    i = keras.Input((6,))
    x = L.Dense(5, "softplus", use_bias=False)(i)
    model = keras.Model(i, L.Dense(CLASSES, use_bias=False)(x))
    for v in model.weights:
        kernel = rng.normal(size=v.shape)
        kernel[0], kernel[1] = np.abs(kernel[0]) + 0.1, -np.abs(kernel[1]) - 0.1
        v.assign(kernel)
    alpha, beta = alphabeta
    preset = P.every_kernel(R.alpha_beta(alpha=alpha, beta=beta))
    x = rng.uniform(0.1, 1, (3, 6)).astype("float32")
    maps, f = propagate(model, preset, H.one_hot, x, [[0, 1, 2, 3]] * 3)
    conserved(maps, f.T)


@pytest.mark.parametrize("head", [clrp_head(), sglrp_head()], ids=["clrp", "sglrp"])
@pytest.mark.parametrize("name", ["bounded", "deep_taylor", "epsilon", "flat"])
@examples(10)
@given(net=nets())
def test_the_two_halves_of_a_contrast_cancel(head, name, net):
    model, x, target = net.model(), net.inputs(3), [[0, 1], [1, 2], [2, 3]]
    merged, _ = propagate(model, PRESETS[name], head, x, target)
    halves, _ = propagate(model, PRESETS[name], replace(head, merge=None), x, target)
    (ours, theirs), (a, b) = np.split(halves[0], 2), np.split(totals(halves), 2)
    k = np.divide(a, b, out=np.zeros_like(a), where=b != 0)
    wanted = ours - k[..., None, None, None] * theirs
    size = np.abs(ours) + np.abs(k[..., None, None, None] * theirs)
    slack = 1e-4 * size.max((2, 3, 4), keepdims=True) + 1e-9
    assert (np.abs(merged[0] - wanted) <= slack).all()
    left = np.where(b != 0, 0, a)  # without a dual map, our half stays alone
    assert (np.abs(totals(merged) - left) <= 1e-5 * size.sum((2, 3, 4)) + 1e-9).all()


# -- linearity, and the gradient -----------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
@examples(10)
@given(net=nets(stem=None))
def test_relevance_is_linear_in_the_seed(name, net):
    rng = np.random.default_rng(net.seed)
    u, v = rng.normal(size=(2, 2, CLASSES)).astype("float32")

    def three(logits, target):
        return tf.stack([u, v, 2 * u - 3 * v])

    preset, x = PRESETS[name], net.inputs()
    (maps,), _ = propagate(net.model(), preset, Head("three", three), x, [[0], [0]])
    slack = 2e-5 * (2 * np.abs(maps[0]) + 3 * np.abs(maps[1])).max() + 1e-9
    wanted = 2 * maps[0] - 3 * maps[1]
    np.testing.assert_allclose(maps[2], wanted, rtol=0, atol=slack)


@pytest.mark.parametrize("head", [clrp_head, sglrp_head], ids=["clrp", "sglrp"])
@examples(10)
@given(net=nets())
def test_without_scaling_a_contrast_is_one_half_minus_the_other(head, net):
    model, x, target = net.model(), net.inputs(), [[1, 3], [0, 2]]
    preset = PRESETS["bounded"]
    signed, _ = propagate(model, preset, head(scaling=False), x, target)
    halves, _ = propagate(model, preset, replace(head(), merge=None), x, target)
    ours, theirs = np.split(halves[0], 2)
    slack = 2e-5 * np.abs(halves[0]).max() + 1e-9
    np.testing.assert_allclose(signed[0], ours - theirs, rtol=0, atol=slack)


@examples(20)
@given(net=nets(stem=None))
def test_lrp_0_is_gradient_times_input(net):
    # Even with biases: the message R / a is the gradient, whatever z absorbs.
    model, x, rows = net.model(), tf.constant(net.inputs(3)), [[0], [1], [2]]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
        score = tf.gather(y, rows, batch_dims=1)
    wanted = (x * tape.gradient(score, x)).numpy()
    z, f = propagate(model, PRESETS["z"], H.one_hot, x, rows)
    close(f, y.numpy())
    close(z[0][0], wanted, 2e-5)
    epsilon, _ = propagate(model, P.epsilon(1e-12), H.one_hot, x, rows)
    close(epsilon[0][0], wanted, 2e-5)
    e = tfxai.create_analyzer("input_t_gradient", model)
    with warnings.catch_warnings(action="ignore", category=NothingToExplainWarning):
        close(e.analyze(x, target=[0, 1, 2]).relevance, wanted, 2e-5)


def test_a_bias_absorbs_its_share_unless_it_is_left_out():
    i = keras.Input((6,))
    model = fill(keras.Model(i, dense("e", CLASSES)(i)), 1)
    bias, x = model.get_layer("e").bias.numpy(), soft_inputs()
    assert np.abs(bias).min() > 0.01
    every = [list(range(CLASSES))] * len(x)
    maps, f = propagate(model, PRESETS["z"], H.one_hot, x, every)
    conserved(maps, (f - bias).T)
    maps, f = propagate(model, P.epsilon(1e-12, bias=False), H.one_hot, x, every)
    conserved(maps, f.T)


# -- together or one by one ----------------------------------------------------------


@pytest.mark.parametrize("method", DIRECT)
@examples(3)
@given(net=nets(stem=None))
def test_neither_seeds_nor_batches_change_a_map(method, net):
    def same(actual, wanted):  # the halves of a contrast may cancel to noise
        close(actual, wanted, 5e-5, noise=1e-7)

    warnings.simplefilter("ignore", NothingToExplainWarning)  # a logit may be < 0
    analyzer = tfxai.create_analyzer(method, net.model())
    x = net.inputs(5)
    every = analyzer.analyze(x, target="all")
    assert every.target.tolist() == [list(range(CLASSES))] * 5
    for c in range(CLASSES):
        alone = analyzer.analyze(x, target=c)
        same(every.relevance[:, c], alone.relevance)
        same(every.score[:, c], alone.score)
    pairs = analyzer.analyze(x, target=[[2, 0]] * 5)
    same(pairs.relevance, every.relevance[:, [2, 0]])
    mixed = analyzer.analyze(x, target=[0, 1, 2, 3, 0])
    for b, c in enumerate([0, 1, 2, 3, 0]):
        same(mixed.relevance[b], every.relevance[b, c])
        alone = analyzer.analyze(x[b : b + 1], target=c)
        same(mixed.relevance[b], alone.relevance[0])
    for batch_size in (1, 2, 3, 7):
        parts = analyzer.analyze(x, "all", batch_size)
        same(parts.relevance, every.relevance)
        parts = analyzer.analyze(x, [0, 1, 2, 3, 0], batch_size)
        same(parts.relevance, mixed.relevance)
        same(parts.score, mixed.score)


def test_the_top_class_is_each_samples_own():
    net = Net(("conv",), "flatten", bias=True, seed=4)
    model, x = net.model(), net.inputs(8)
    top = model(x).numpy().argmax(-1)
    assert len(set(top)) > 1
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    e = analyzer.analyze(x)
    assert e.target.tolist() == top.tolist()
    np.testing.assert_allclose(e.score, model(x).numpy().max(-1), rtol=1e-5)
    close(e.relevance, analyzer.analyze(x, target=top).relevance)


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "sglrp"])
def test_a_smaller_last_batch_is_not_traced_again(method):
    net = Net(("conv",), "flatten", bias=True, seed=4)
    traced = []

    def preprocess(v):  # Python runs once for each trace
        if not tf.executing_eagerly():
            traced.append(v.shape)
        return v / 2

    model, x = net.model(), net.inputs(5)
    analyzer = tfxai.create_analyzer(method, model, preprocess)
    e = analyzer.analyze(x, target=1, batch_size=2)
    assert len(traced) == 1
    for count, batch_size in ((3, 32), (5, 4), (1, 1), (4, 3)):
        again = analyzer.analyze(x[:count], target=1, batch_size=batch_size)
        close(again.relevance, e.relevance[:count])
    assert len(traced) == 1
    plain = tfxai.create_analyzer(method, model).analyze(x / 2, target=1)
    close(e.relevance, plain.relevance)


def test_asking_a_wrapped_model_traces_once():
    net = Net(("conv",), "flatten", bias=True, seed=4)
    traced = []

    def preprocess(v):
        if not tf.executing_eagerly():
            traced.append(v.shape)
        return v

    model, x = net.model(), net.inputs(5)
    wrapped = tfxai.wrap(model, preprocess)
    close(wrapped.logits(x, batch_size=2), model(x).numpy())
    close(wrapped.logits(x[:3]), model(x[:3]).numpy())
    close(wrapped.scores(x, 2, batch_size=3), model(x).numpy()[:, 2])
    assert len(traced) == 1


# -- one network, written in many ways -----------------------------------------------


def conv(name, activation=None):
    return L.Conv2D(4, 3, padding="same", activation=activation, name=name)


def dense(name, units, activation=None):
    return L.Dense(units, activation, name=name)


def body(x, relu, add, join):
    """Convolution, residual sum, concatenation: with the given spellings."""
    x = relu(conv("a"), x)
    x = L.BatchNormalization(name="norm")(x)
    x = add(x, relu(conv("b"), x))
    return join(x, relu(conv("c"), x))


def layer_relu(layer, x):
    return L.Activation("relu")(layer(x))


def fused_relu(layer, x):
    layer.activation = keras.activations.relu
    return layer(x)


def op_relu(layer, x):
    return ops.relu(layer(x))


LAYERS = (lambda a, b: L.Add()([a, b]), lambda a, b: L.Concatenate()([a, b]))
OPS = (ops.add, lambda a, b: ops.concatenate([a, b], -1))
OPERATORS = (lambda a, b: a + b, lambda a, b: ops.concatenate([a, b], 3))


def with_layers():
    i = keras.Input((6, 6, 2))
    x = body(i, layer_relu, *LAYERS)
    x = L.Flatten()(L.MaxPooling2D()(x))
    x = L.ReLU()(dense("d", 8)(x))
    return keras.Model(i, L.Softmax()(dense("e", CLASSES)(x)))


def with_fused_activations():
    i = keras.Input((6, 6, 2))
    x = body(i, fused_relu, *LAYERS)
    x = L.Flatten()(L.MaxPooling2D()(x))
    x = dense("d", 8, "relu")(x)
    return keras.Model(i, dense("e", CLASSES, "softmax")(x))


def with_ops():
    i = keras.Input((6, 6, 2))
    x = body(i, op_relu, *OPS)
    x = ops.max_pool(x, 2, 2)
    x = ops.relu(dense("d", 8)(ops.reshape(x, (-1, 3 * 3 * 8))))
    return keras.Model(i, ops.softmax(dense("e", CLASSES)(x)))


def with_operators():
    i = keras.Input((6, 6, 2))
    x = body(i, layer_relu, *OPERATORS)
    x = L.Reshape((-1,))(L.MaxPooling2D()(L.Identity()(x)))
    x = L.Dropout(0.3)(L.ReLU()(dense("d", 8)(x)))
    return keras.Model(i, keras.activations.softmax(dense("e", CLASSES)(x)))


def block():
    """The body as a model of its own."""
    i = keras.Input((6, 6, 2))
    return keras.Model(i, body(i, fused_relu, *OPERATORS), name="block")


def as_sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)), block(), L.MaxPooling2D(), L.Flatten(),
            dense("d", 8, "relu"), dense("e", CLASSES), L.Activation("softmax"),
        ]
    )  # fmt: skip


def as_nested_model():
    i = keras.Input((6, 6, 2))
    end = keras.Sequential(
        [keras.Input((6, 6, 8)), L.MaxPooling2D(), L.Flatten(), dense("d", 8, "relu")]
    )
    return keras.Model(i, dense("e", CLASSES, "softmax")(end(block()(i))))


def as_nested_in_nested():
    inner, middle = as_nested_model(), keras.Input((6, 6, 2))
    middle = keras.Model(middle, inner(middle))
    i = keras.Input((6, 6, 2))
    return keras.Model(i, L.Identity()(middle(i)))


SPELLINGS = (
    with_fused_activations, with_ops, with_operators,
    as_sequential, as_nested_model, as_nested_in_nested,
)  # fmt: skip


@pytest.fixture(scope="module")
def spelled_inputs():
    rng = np.random.default_rng(5)
    return rng.uniform(-0.9, 0.9, (2, 6, 6, 2)).astype("float32")


@pytest.fixture(scope="module")
def spelled(spelled_inputs):
    """The maps of the net with layers, which all other spellings must give."""
    model, target = fill(with_layers(), 6), [[0, 3], [1, 2]]
    assert np.ptp(model(spelled_inputs)) > 0.01
    return maps_of_all(model, spelled_inputs, target)


def maps_of_all(model, x, target):
    """Preset or analyzer -> its maps, without the cost of a compiled function."""
    target = tf.constant(target)
    maps = {
        name: propagate(model, preset, H.one_hot, x, target)[0][0]
        for name, preset in PRESETS.items()
    }
    for name in UNCOUNTED:
        made = tfxai.create_analyzer(name, model).graph.maps([x], target)
        maps[f"analyzer {name}"] = made["relevance"][0].numpy()
    return maps


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_spelling_of_a_network_does_not_change_its_maps(
    spelling, spelled, spelled_inputs
):
    model = fill(spelling(), 6)
    maps = maps_of_all(model, spelled_inputs, [[0, 3], [1, 2]])
    assert len(maps) == len(PRESETS) + len(UNCOUNTED) == len(spelled)
    for name, wanted in spelled.items():
        assert np.abs(wanted).max() > 1e-6, name
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(
            maps[name], wanted, rtol=0, atol=1e-6 * scale, err_msg=name
        )


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("method", ["gradient", "input_t_gradient"])
def test_the_spelling_does_not_change_a_gradient(method, spelling, spelled_inputs):
    maps = [
        tfxai.explain(fill(make(), 6), spelled_inputs, method, target=2).relevance
        for make in (with_layers, spelling)
    ]
    assert np.abs(maps[0]).max() > 1e-4
    close(maps[1], maps[0], 1e-6)


ENDS = {
    "fused": lambda x: dense("e", CLASSES, "softmax")(x),
    "Softmax": lambda x: L.Softmax()(dense("e", CLASSES)(x)),
    "Activation": lambda x: L.Activation("softmax")(dense("e", CLASSES)(x)),
    "ops": lambda x: ops.softmax(dense("e", CLASSES)(x)),
    "called": lambda x: keras.activations.softmax(dense("e", CLASSES)(x)),
    "Dropout": lambda x: L.Dropout(0.5)(dense("e", CLASSES, "softmax")(x)),
    "Reshape": lambda x: L.Reshape((-1,))(L.Softmax()(dense("e", CLASSES)(x))),
    "Identity": lambda x: L.Identity()(ops.softmax(dense("e", CLASSES)(x))),
    "several": lambda x: ops.reshape(
        L.Reshape((1, -1))(L.Dropout(0.5)(dense("e", CLASSES, "softmax")(x))),
        (-1, CLASSES),
    ),
}


def softmax_net(end):
    i = keras.Input((6,))
    return fill(keras.Model(i, end(dense("d", 8, "relu")(i))), 0)


def soft_inputs():
    return np.random.default_rng(0).uniform(-0.9, 0.9, (3, 6)).astype("float32")


def answers(model, x):
    """Logits, and maps of the top class: eagerly, and one by a compiled function."""
    wrapped, top = tfxai.wrap(model), tf.fill([len(x), 1], -1)
    gradient = tfxai.explain(wrapped, x, "gradient")
    made = {"logits": wrapped.logits(x), "score": gradient.score}
    made["gradient"] = gradient.relevance
    for name in ("sglrp", "clrp", "lrp.epsilon"):
        graph = tfxai.create_analyzer(name, wrapped).graph
        made[name] = graph.maps([x], top)["relevance"][0].numpy()
    return made


@pytest.fixture(scope="module")
def without_softmax():
    return answers(softmax_net(dense("e", CLASSES)), soft_inputs())


@pytest.mark.parametrize("end", ENDS)
def test_softmax_is_taken_off_however_it_was_written(end, without_softmax):
    x, model = soft_inputs(), softmax_net(ENDS[end])
    made = answers(model, x)
    assert made.keys() == without_softmax.keys()
    for name, wanted in without_softmax.items():
        assert np.abs(wanted).max() > 1e-3
        close(made[name], wanted, 1e-6)
    probabilities = tfxai.wrap(model).probabilities(x)
    close(probabilities, model.predict(x, verbose=0), 1e-6)


REARRANGED = {
    "Reshape": lambda x: L.Reshape((2, 2))(L.Softmax()(x)),
    "Flatten": lambda x: L.Flatten()(L.Softmax()(L.Reshape((2, 2))(x))),
    "slice": lambda x: L.Softmax()(x)[:, 1:3],
    "padding": lambda x: L.ZeroPadding1D(1)(L.Softmax(-1)(L.Reshape((2, 2))(x))),
    "axis": lambda x: L.Softmax(axis=1)(L.Reshape((2, 2))(x)),
    "ops axis": lambda x: ops.softmax(L.Reshape((2, 2))(x), axis=1),
}


@pytest.mark.parametrize("end", REARRANGED)
def test_probabilities_are_the_models_own_where_classes_are_rearranged(end):
    x = soft_inputs()
    model = softmax_net(lambda v: REARRANGED[end](dense("e", CLASSES)(v)))
    close(tfxai.wrap(model).probabilities(x), model.predict(x, verbose=0), 1e-6)


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
    """Rescaling folds into the first layer: W s, b + 0.25 W 1; the box in raw units."""
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


def test_large_dense_kernels_are_mapped_in_blocks(monkeypatch, spelled_inputs):
    model, x = fill(with_layers(), 6), spelled_inputs
    whole = maps_of_all(model, x, [[0, 3], [1, 2]])
    made = []

    class Counted(Mapped):
        def __init__(self, kernel, function):
            made.append(kernel.shape)
            super().__init__(kernel, function)

    monkeypatch.setattr(linear, "BLOCK", 20)
    monkeypatch.setattr(step, "BLOCK", 20)
    monkeypatch.setattr(linear, "Mapped", Counted)
    in_blocks = maps_of_all(model, x, [[0, 3], [1, 2]])
    assert len(made) > 10
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
        assert trace(model).steps[0].transpose is not None
    x = np.random.default_rng(0).normal(size=(2, 112, 113, 16)).astype("float32")
    wanted = tfxai.explain(model, x, "input_t_gradient", target=2).relevance
    maps, _ = propagate(model, PRESETS["z"], H.one_hot, x, [[2], [2]])
    close(maps[0][0], wanted, 2e-5)


# -- the user's model ----------------------------------------------------------------


def parts(value):
    """What a container holds now: it may be changed in place."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, list | tuple | set) else []


def snapshot(model):
    """All that an analyzer could change, with the objects kept alive."""
    layers = [model, *model._flatten_layers(include_self=False)]
    return {
        "weights": [v.numpy().tobytes() for v in model.variables],
        "nodes": [(*k._inbound_nodes, None, *k._outbound_nodes) for k in layers],
        "keys": [list(vars(k)) for k in layers],
        "values": [list(vars(k).values()) for k in layers],
        "contents": [[parts(v) for v in vars(k).values()] for k in layers],
        "config": json.dumps(model.get_config(), default=str),
        "trainable": [k.trainable for k in layers]
        + [v.trainable for v in model.variables],
        "keras": [
            keras.config.floatx(),
            keras.config.epsilon(),
            keras.config.image_data_format(),
            keras.config.dtype_policy().name,
            keras.config.is_traceback_filtering_enabled(),
        ],
        "mode": [tf.executing_eagerly(), tf.config.functions_run_eagerly()],
        "random": [random.getstate(), str(np.random.get_state())],
    }


def assert_same(before, after):
    """Equal, and for objects that can change: the very same ones."""
    assert before.keys() == after.keys()
    for name in ("nodes", "values"):
        for a, b in zip(before[name], after[name], strict=True):
            assert len(a) == len(b), name
            assert all(v is w for v, w in zip(a, b, strict=True)), name
    for a, b in zip(before["contents"], after["contents"], strict=True):
        for v, w in zip(a, b, strict=True):
            assert [id(i) for i in v] == [id(i) for i in w]
    rest = before.keys() - {"nodes", "values", "contents"}
    for name in rest:
        assert before[name] == after[name], name


def lived_in_model():
    """Nested, shared, normalised, compiled, with a frozen layer."""
    i = keras.Input((6, 6, 2))
    shared = L.Conv2D(2, 3, padding="same", activation="relu", name="shared")
    x = L.BatchNormalization(name="bn")(shared(shared(i)))
    model = as_nested_model()
    model = keras.Model(i, L.Dropout(0.2)(model(x)))
    shared.trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    return fill(model, 2)


@pytest.mark.parametrize("method", DIRECT)
def test_the_users_model_is_left_as_it_was(method, spelled_inputs):
    model = lived_in_model()
    model.predict(spelled_inputs, verbose=0)
    before = snapshot(model)
    tf.random.set_seed(3)
    drawn = tf.random.uniform([4]).numpy()
    tf.random.set_seed(3)
    analyzer = tfxai.create_analyzer(method, model)
    e = analyzer.analyze(spelled_inputs, target=1)
    assert np.abs(e.relevance).max() > 0
    assert (tf.random.uniform([4]).numpy() == drawn).all()
    assert_same(before, snapshot(model))


@pytest.mark.parametrize("method", ["sglrp", "gradient"])
def test_the_users_model_is_left_as_it_was_after_an_error(method, spelled_inputs):
    model = lived_in_model()
    before = snapshot(model)
    analyzer = tfxai.create_analyzer(method, model)
    with pytest.raises(InputError):
        analyzer.analyze(np.full((1, 6, 6, 2), np.nan))
    with pytest.raises(TargetError):
        analyzer.analyze(spelled_inputs, target=CLASSES)
    with pytest.raises(ZeroDivisionError):
        tfxai.explain(model, spelled_inputs, method, preprocess=lambda v: 1 / 0)
    assert_same(before, snapshot(model))


def test_a_model_with_an_unsupported_layer_is_left_as_it_was():
    i = keras.Input((4, 3))
    raw = L.Lambda(lambda v: tf.cumsum(v, 1))  # TensorFlow's own, not Keras'
    model = keras.Model(i, L.Dense(2)(raw(L.Dense(3, "relu")(i))))
    before = snapshot(model)
    with pytest.raises(UnsupportedLayerError, match="Lambda"):
        tfxai.create_analyzer("sglrp", model)
    assert_same(before, snapshot(model))


def test_the_snapshot_sees_what_a_careless_analyzer_does(spelled_inputs):
    model = lived_in_model()
    before = snapshot(model)
    model.layers[1].activation = keras.activations.linear
    with pytest.raises(AssertionError):
        assert_same(before, snapshot(model))
    before = snapshot(model)
    model(keras.Input((6, 6, 2)))  # one more inbound node
    with pytest.raises(AssertionError):
        assert_same(before, snapshot(model))


@pytest.mark.parametrize("method", ["sglrp", "lrp.epsilon", "input_t_gradient"])
def test_an_analyzer_follows_training(method, spelled_inputs):
    model = fill(with_fused_activations(), 11)
    analyzer = tfxai.create_analyzer(method, model)
    early = analyzer.analyze(spelled_inputs, target=1).relevance
    before = {v.path: v.numpy() for v in model.variables}
    model.compile(keras.optimizers.SGD(0.02), "sparse_categorical_crossentropy")
    model.fit(spelled_inputs, np.array([1, 2]), epochs=3, verbose=0)
    moved = [p for p, v in before.items() if (model_value(model, p) != v).any()]
    for name in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"):
        assert any(p.endswith(name) for p in moved), name
    late = analyzer.analyze(spelled_inputs, target=1)
    fresh = tfxai.create_analyzer(method, model).analyze(spelled_inputs, target=1)
    assert np.abs(late.relevance - early).max() > 1e-2 * np.abs(early).max()
    np.testing.assert_array_equal(late.relevance, fresh.relevance)
    np.testing.assert_array_equal(late.score, fresh.score)


def model_value(model, path):
    return next(v.numpy() for v in model.variables if v.path == path)


# -- the edges of float32 ------------------------------------------------------------


def class_maps(model, preset, x):
    """The maps of a unit seed at every class: lists of float64 (n, B, ...)."""
    batch = len(x[0]) if isinstance(x, list) else len(x)
    every = [list(range(model.output_shape[-1]))] * batch
    maps, f = propagate(model, preset, H.unit, x, every)
    return [m.astype("float64") for m in maps], f.astype("float64")


def contrast_by_hand(model, preset, x, target, kind):
    """CLRP or SGLRP of one class from the class maps, in NumPy and float64."""
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
    kernel[:, 1:] = -np.abs(kernel[:, 1:])  # z+ finds no contribution to share
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


# -- mixed precision -----------------------------------------------------------------


@pytest.fixture
def policy():
    """Set the global dtype policy by name; the old one comes back."""
    old = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(old)


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_nearly_the_same_maps(
    name, policy, spelled, spelled_inputs
):
    wanted = explained(fill(with_fused_activations(), 6), spelled_inputs)
    policy(name)
    model = fill(with_fused_activations(), 6)
    assert model.get_layer("a").compute_dtype == name.removeprefix("mixed_")
    maps = maps_of_all(model, spelled_inputs, [[0, 3], [1, 2]])
    maps |= explained(model, spelled_inputs)
    assert keras.config.dtype_policy().name == name
    for name, value in {**spelled, **wanted}.items():
        assert maps[name].dtype == np.float32
        assert np.abs(value).max() > 1e-6
        close(maps[name], value, 2e-2)


def explained(model, x):
    """Maps as users make them."""
    methods = ("gradient", "input_t_gradient", "sglrp", "lrp.epsilon")
    return {m: tfxai.explain(model, x, m, target=1).relevance for m in methods}
