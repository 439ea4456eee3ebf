"""Models read from TensorFlow's own trace: spellings, references, and other models."""

import importlib
import os
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.graph.spellings import GROUPS, SHIFT, U, V, W, between, weight
from tfxai.errors import UnsupportedLayerError

L = keras.layers
X = np.random.default_rng(1).normal(size=(3, 8)).astype("float32")
METHODS = ["lrp.attn", "lrp.alpha_2_beta_1"]
#: Rotations have factors of both signs: linear rules alone are blind to their spelling.
CASES = [(g, m) for g in GROUPS for m in METHODS if (g, m) != ("attention", METHODS[1])]


def analyzed(function, method, x=X, target=1, **options):
    """The map of a function of tensors."""
    wrapped = tfxai.wrap(function, specs=[tf.TensorSpec((None, *x.shape[1:]))])
    return tfxai.create_analyzer(method, wrapped, **options).analyze(x, target=target)


def off(found, wanted):
    """The largest difference, as a share of the largest value."""
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize(("group", "method"), CASES)
def test_every_spelling_has_one_map(group, method):
    first, *rest = GROUPS[group].values()
    wanted = analyzed(first, method).relevance
    assert np.abs(wanted).max() > 0
    for function in rest:
        assert off(analyzed(function, method).relevance, wanted) < 1e-5


@pytest.mark.parametrize("group", GROUPS)
def test_a_spelling_is_read_as_one_kind(group):
    kinds = {"rms": "norm", "layer norm": "norm", "relu": "relu", "softmax": "softmax"}
    if group == "attention":
        return
    for function in GROUPS[group].values():
        wrapped = tfxai.wrap(function, specs=[(None, 8)])
        found = [s.kind for s in wrapped.program().steps]
        assert found.count(kinds.get(group, "activation")) >= 1
        assert len(found) == (7 if group == "softmax" else 3), found


K = weight(3, 1, 16)


def averaged(h):
    """Logits from the mean over positions (B, n, 16)."""
    return tf.reduce_mean(tf.nn.relu(h + SHIFT), 1) @ V


POINT = weight(1, 1, 2, 16)
PADS = [[0, 0], [1, 1], [0, 0], [0, 0]]


def separable(x, pad, padding):
    """Logits from a separable convolution, with its padding in one name scope."""
    with tf.name_scope("layer"):
        depth = tf.concat([K[:, None, :, :1], K[:, None, :, 1:2]], -1)
        h = pad(x[..., None, None])
        h = tf.nn.separable_conv2d(h, depth, POINT, [1, 1, 1, 1], padding)
    return averaged(h[:, :, 0])


#: What the fuzzer found: two forms of one function, and a method whose maps differed.
FOUND = {
    "a gate by a reciprocal": (
        lambda x: (x @ W) * tf.sigmoid(x @ W @ U) @ V,
        lambda x: tf.math.reciprocal(1 + tf.exp(-(x @ W @ U))) * (x @ W) @ V,
        "lrp.attn",
    ),
    "a gate by a quotient": (
        lambda x: (x @ W) * tf.sigmoid(x @ W @ U) @ V,
        lambda x: (x @ W) / (1 + tf.exp(-(x @ W @ U))) @ V,
        "lrp.attn",
    ),
    "a sum by two signs": (
        lambda x: (x @ W + tf.tanh(x @ W) @ U) @ V,
        lambda x: (x @ W - -(tf.tanh(x @ W) @ U)) @ V,
        "lrp.alpha_2_beta_1",
    ),
    "a factor in front of a product": (
        lambda x: 0.25 * (tf.tanh(x @ W) * (x @ W @ U)) @ V,
        lambda x: ((tf.tanh(x @ W) * 0.25) * (x @ W @ U)) @ V,
        "lrp.alpha_2_beta_1",
    ),
    "a negation": (
        lambda x: tf.tanh(-1.0 * tf.tanh(x @ W)) @ V,
        lambda x: tf.tanh(-tf.tanh(x @ W)) @ V,
        "lrp.alpha_2_beta_1",
    ),
    "a separable convolution that pads its input": (
        lambda x: separable(x, tf.identity, "SAME"),
        lambda x: separable(x, lambda v: tf.pad(v, PADS), "VALID"),
        "lrp.w_square",
    ),
    "a convolution over one axis": (
        lambda x: averaged(tf.nn.conv1d(x[..., None], K, 1, "SAME")),
        lambda x: averaged(tf.nn.conv2d(x[:, None, :, None], K[None], 1, "SAME")[:, 0]),
        "lrp.alpha_2_beta_1",
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_the_fuzzer_found_has_one_map(name):
    plain, other, method = FOUND[name]
    wanted = analyzed(plain, method).relevance
    assert np.abs(wanted).max() > 0
    assert off(analyzed(other, method).relevance, wanted) < 1e-4


def test_a_length_as_a_feature_is_not_held_fixed():
    def function(x):
        h = x @ W
        length = tf.norm(h, axis=-1, keepdims=True)
        return tf.concat([h, length * tf.ones_like(h[:, :1])], -1)[:, 4:] @ V[:13]

    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)[:, 1]
    wanted = tape.gradient(y, x) * x
    found = analyzed(function, "lrp.z")
    assert off(found.relevance, wanted.numpy()) < 1e-5


class Raw(tf.Module):
    """A network of TensorFlow's own operations."""

    def __init__(self):
        super().__init__()
        self.w, self.v = tf.Variable(W), tf.Variable(V)

    @tf.function(input_signature=[tf.TensorSpec((None, 8))])
    def __call__(self, x):
        return tf.nn.softmax(tf.nn.relu(x @ self.w) @ self.v)


def test_a_module_a_function_and_a_saved_model_are_read(tmp_path):
    module = Raw()
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    i = keras.Input((8,))
    layer = L.TFSMLayer(str(tmp_path / "saved"), call_endpoint="serving_default")
    net = keras.Model(i, next(iter(layer(i).values())))
    wanted = analyzed(between(tf.nn.relu), "lrp.epsilon").relevance
    for model in (module, module.__call__, loaded, net):
        found = tfxai.explain(model, X, "lrp.epsilon", target=1)
        assert off(found.relevance, wanted) < 1e-5
    module.w.assign(2 * module.w)  # alive
    found = tfxai.explain(module, X, "lrp.epsilon", target=1)
    assert off(found.relevance, 2 * wanted) < 1e-5


def test_targets_together_are_targets_one_by_one():
    function = GROUPS["attention"]["grouped"]
    both = analyzed(function, "lrp.attn", target=[[1, 3]] * 3).relevance
    for i, target in enumerate((1, 3)):
        alone = analyzed(function, "lrp.attn", target=target).relevance
        assert off(both[:, i], alone) < 1e-5


def test_the_map_of_a_probability_turns_with_the_target():
    function = GROUPS["attention"]["grouped"]
    turned = [analyzed(function, "sglrp", target=t).relevance for t in (1, 3)]
    assert np.isfinite(turned).all() and np.abs(turned[0] - turned[1]).max() > 0


def reversed_slope(x):
    @tf.custom_gradient
    def turn(v):
        return tf.identity(v), lambda g: -g

    return turn(x @ W) @ V


def branching(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: x @ W @ V, lambda: x @ W @ V * 2)


def python(x):
    return tf.ensure_shape(tf.numpy_function(lambda v: v, [x], tf.float32), x.shape) @ W


COUNTER = tf.Variable(0.0)


def counting(x):
    return x @ W + COUNTER.assign_add(1.0)


def drawing(x):
    return x @ W + tf.random.normal([16])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (reversed_slope, "CustomGradient"),
        (branching, "condition that depends on the input"),
        (python, "Python function"),
        (counting, "writes to a variable"),
        (drawing, "draws at random"),
    ],
)
def test_what_cannot_be_read_is_named(function, words):
    with pytest.raises(UnsupportedLayerError, match=words):
        analyzed(function, "lrp.epsilon")


def test_the_slope_of_a_custom_gradient_is_what_tensorflow_says():
    found = analyzed(reversed_slope, "gradient").relevance
    np.testing.assert_allclose(found[0], -(W @ V).numpy()[:, 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("start", ["tokens", "embeddings"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.shared
def test_attnlrp_as_published(shared, monkeypatch, name, start):
    monkeypatch.syspath_prepend(str(shared / "references" / "attnlrp"))
    from load_case import load_case, read

    for form in ("layer", "written") if name == "gpt2" else ("written",):
        model, data = load_case(name, form=form, start=start)
        x = data["x"]
        if start == "embeddings":
            x = read(name)[1]["embed"][x]
        for method, lxt in (("lrp.attn", "efficient_attnlrp"), ("lrp.cp", "cplrp")):
            wanted = data[f"relevance/lxt_{lxt}/f64"]
            wanted = wanted if start == "embeddings" else wanted.sum(-1)
            analyzer = tfxai.create_analyzer(method, model, epsilon=0.0)
            found = analyzer.analyze(x, target=data["target"]).relevance
            assert off(found, wanted) < 5e-6


# -- KerasHub: one tiny backbone of each sort ------------------------------------------

TEXT = {
    "vocabulary_size": 12, "num_layers": 1, "hidden_dim": 16, "intermediate_dim": 24,
}  # fmt: skip
GROUPED = {**TEXT, "num_query_heads": 4, "num_key_value_heads": 2}
BACKBONES = {
    "LlamaBackbone": GROUPED,
    "GemmaBackbone": {**GROUPED, "head_dim": 4},
    "MixtralBackbone": {**GROUPED, "num_experts": 3, "top_k": 2},
    "FNetBackbone": {**TEXT, "max_sequence_length": 5},
    "BertBackbone": {**TEXT, "num_heads": 2, "max_sequence_length": 5},
    "ViTBackbone": {
        "image_shape": (8, 8, 3), "patch_size": (4, 4), "num_layers": 1,
        "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24,
    },
}  # fmt: skip


def backbone(name):
    """The backbone with random weights; skipped without keras-hub, unless CI=true."""
    sys.modules.setdefault("grain", types.SimpleNamespace(MapDataset=object))
    if os.environ.get("CI", "").lower() != "true":
        pytest.importorskip("keras_hub", reason="needs pip install --no-deps keras-hub")
    models = importlib.import_module("keras_hub.models")
    model, rng = getattr(models, name)(**BACKBONES[name]), np.random.default_rng(0)
    for v in model.weights:
        if "seed" not in v.path:
            spread = 0.3 * rng.normal(size=v.shape)
            v.assign(spread + (v.numpy() if len(v.shape) < 2 else 0))
    return model


def sample(model):
    """Two samples: tokens, of which the last of the first are padding, or pixels."""
    rng = np.random.default_rng(1)
    if not isinstance(model.input, dict):
        return rng.normal(size=(2, *model.input.shape[1:])).astype("float32")
    tokens = rng.integers(1, 12, (2, 5)).astype("int32")
    mask = np.int32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    given = {"token_ids": tokens, "padding_mask": mask, "segment_ids": 0 * tokens}
    return {k: given[k] for k in model.input}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_sort_of_keras_hub_is_read(name):
    body = backbone(name)
    y = keras.tree.flatten(body.output)[-1]
    if len(y.shape) > 2:
        y = L.GlobalAveragePooling1D()(y)
    model = keras.Model(body.input, L.Dense(4, name="last")(y))
    x = sample(model)
    wrapped = tfxai.wrap(model)
    kinds = {s.kind for s in wrapped.program().steps} - {"embedding", "fixed", "route"}
    rules = dict.fromkeys(kinds, "gradient")
    analyzer = tfxai.create_analyzer("lrp.z", wrapped, rules=rules)
    found = analyzer.analyze(x, target=[[1, 2]] * 2).relevance
    flat = [tf.convert_to_tensor(v) for v in keras.tree.flatten(x)]
    program = analyzer.graph.program.at([v.shape for v in flat])
    places = [s.output for s in program.steps if s.kind == "embedding"]
    values = program.run(flat)
    points = {i: values[i] for i in places} or {program.inputs[0]: flat[0]}
    with tf.GradientTape() as tape:
        tape.watch(points)
        score = program.run(flat, points)[program.output][:, 2]
    slopes = tape.gradient(score, points)
    np.testing.assert_allclose(score, model(x)[:, 2], rtol=1e-4, atol=1e-5)
    for i, slope in slopes.items():
        if not places:
            wanted = slope * score.numpy()[:, None, None, None]
            np.testing.assert_allclose(found[:, 1], wanted, rtol=1e-3, atol=1e-5)
            continue
        name = next(s.name for s in program.steps if s.output == i)
        there = analyzer.relevance_at(name, x, target=2).relevance
        wanted = slope * score.numpy()[:, None, None]
        np.testing.assert_allclose(there, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["LlamaBackbone", "ViTBackbone"])
def test_a_backbone_in_int8_has_nearly_the_map_of_its_floats(name):
    body = backbone(name)
    y = L.GlobalAveragePooling1D()(keras.tree.flatten(body.output)[-1])
    model = keras.Model(body.input, L.Dense(4, name="last")(y))
    x = sample(model)
    before = tfxai.explain(model, x, "lrp.attn", target=2).relevance
    model.quantize("int8")
    e = tfxai.explain(model, x, "lrp.attn", target=2)
    np.testing.assert_allclose(e.score, model(x)[:, 2], rtol=1e-4, atol=1e-5)
    maps = (np.ravel(keras.tree.flatten(r)[-1]) for r in (before, e.relevance))
    assert np.corrcoef(*maps)[0, 1] > 0.99
