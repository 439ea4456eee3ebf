"""`analyzer.graph` is a Keras model: called, saved, exported, distributed."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.errors import MissingFileError, ModelError, OptionError
from tfxai.relevance import presets as P
from tfxai.relevance.registry import Rule

L = keras.layers
BOX = {"low": np.array([-1.0, -1.0, -1.5]), "high": 1}

#: name -> network of the zoo, analyzer, options that are not the defaults.
CASES = {
    "sglrp": ("batch_norm", "sglrp", {"low": -1, "high": 1}),
    "box": ("batch_norm", "lrp.epsilon_gamma_box", {**BOX, "gamma": 0.5}),
    "rules": ("cnn", "lrp.epsilon", {"epsilon": 0.5, "rules": {"conv": "gamma"}}),
    "first": ("cnn_max", "lrp.z", {"input_layer_rule": "flat", "relu": True}),
    "until": ("cnn", "lrp.sequential_preset_b_flat_until_idx", {"until_layer_idx": 3}),
    "two_inputs": ("two_inputs", "clrp", {"scaling": False}),
    "guided": ("residual", "guided_backprop", {}),
    "text": ("text", "lrp.attn", {"epsilon": 1e-3}),
}


def text() -> keras.Model:
    """Return a model with tokens, attention and a recurrent layer."""
    x = keras.Input((6,), dtype="int32")
    y = L.Embedding(9, 4, mask_zero=True)(x)
    y = L.LayerNormalization()(L.Add()([y, L.MultiHeadAttention(2, 3)(y, y)]))
    return zoo.fill(keras.Model(x, L.Dense(4, "softmax")(L.LSTM(5)(y))))


def case(name):
    """Return a case's model, inputs in the model's structure, and analyzer."""
    network, method, options = CASES[name]
    model = text() if network == "text" else zoo.network(network)
    tokens = np.array([[1, 4, 2, 8, 0, 0], [3, 5, 7, 1, 2, 6]], np.int32)
    xs = [tokens] if network == "text" else zoo.inputs(model)
    x = xs if len(xs) > 1 else xs[0]
    return model, x, tfxai.create_analyzer(method, model, **options)


def listed(v):
    return v if isinstance(v, list | tuple) else [v]


def far(a, b):
    """Return the largest difference, relative to the largest value of b."""
    pairs = list(zip(listed(a), listed(b), strict=True))
    scale = max(np.abs(w).max() for _, w in pairs)
    assert scale > 0
    return max(np.abs(np.asarray(v) - w).max() for v, w in pairs) / scale


@pytest.mark.parametrize("name", CASES)
def test_the_graph_predicts_and_explains(name):
    model, x, analyzer = case(name)
    target = np.array([1, 2])
    result, e = analyzer.graph(x, target), analyzer.analyze(x, target)
    assert far(result["relevance"], e.relevance) <= 1e-6
    assert far(result["prediction"], np.asarray(model(x))) <= 1e-6
    assert np.array_equal(result["target"], target)
    top = analyzer.graph(x)
    assert far(top["relevance"], analyzer.analyze(x).relevance) <= 1e-6
    several = analyzer.graph(x, np.array([[1, 3], [2, 0]]))["relevance"]
    wanted = analyzer.analyze(x, [[1, 3], [2, 0]]).relevance
    assert far(several, wanted) <= 1e-6


@pytest.mark.parametrize("wrong", [[1, 340], [-2, 1], [[0, 1], [1, 340]]])
def test_the_graph_refuses_a_class_that_is_not_there(wrong):
    _, x, analyzer = case("sglrp")
    with pytest.raises(tf.errors.InvalidArgumentError, match="A target is -1"):
        analyzer.graph(x, np.array(wrong))


def test_predict_answers_in_batches():
    model, x, analyzer = case("sglrp")
    many = np.concatenate([x] * 3)
    result = analyzer.graph.predict(many, batch_size=4, verbose=0)
    assert far(result["relevance"], analyzer.analyze(many).relevance) <= 1e-6
    assert far(result["prediction"], np.asarray(model(many))) <= 1e-6


READ = """
import sys, numpy as np, tensorflow as tf
folder, names = sys.argv[1], sys.argv[2:]
def check(result, data, prediction):
    result = list(result) if isinstance(result, (list, tuple)) else [result]
    wanted = [data[k] for k in sorted(data) if k.startswith("r")]
    scale = max(np.abs(w).max() for w in wanted)
    worst = max(np.abs(np.asarray(m) - w).max() for m, w in zip(result, wanted))
    assert worst <= 1e-6 * scale, (name, worst, scale)
    assert np.abs(np.asarray(prediction) - data["prediction"]).max() <= 1e-6, name
for name in names:
    data = dict(np.load(f"{folder}/{name}.npz"))
    x = [data[k] for k in sorted(data) if k.startswith("x")]
    x = x if len(x) > 1 else x[0]
    served = tf.saved_model.load(f"{folder}/{name}")
    result = served.explain(x, tf.constant([1, 2]))
    maps = [result[k] for k in sorted(result) if k.startswith("relevance")]
    check(maps, data, result["prediction"])
    for wrong in ([1, 340], [-2, 1]):
        try:
            served.explain(x, tf.constant(wrong))
        except tf.errors.InvalidArgumentError as error:
            assert "A target is -1" in str(error), error
        else:
            raise AssertionError(f"{name} explained {wrong}")
    assert "tfxai" not in sys.modules
for name in names:
    import keras, tfxai.relevance
    data = dict(np.load(f"{folder}/{name}.npz"))
    x = [data[k] for k in sorted(data) if k.startswith("x")]
    x = x if len(x) > 1 else x[0]
    for graph in (
        keras.models.load_model(f"{folder}/{name}.keras"),
        tfxai.load(f"{folder}/{name}.keras"),
    ):
        result = graph(x, np.array([1, 2]))
        check(result["relevance"], data, result["prediction"])
print("read", len(names))
"""


def test_a_fresh_process_reads_what_was_saved_and_exported(tmp_path):
    for name in CASES:
        model, x, analyzer = case(name)
        graph, e = analyzer.graph, analyzer.analyze(x, [1, 2])
        graph.save(tmp_path / f"{name}.keras")
        graph.export(tmp_path / name)
        arrays = {f"x{i}": v for i, v in enumerate(listed(x))}
        arrays |= {f"r{i}": v for i, v in enumerate(listed(e.relevance))}
        prediction = np.asarray(model(x))
        np.savez(tmp_path / f"{name}.npz", prediction=prediction, **arrays)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path), *CASES],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip().endswith(f"read {len(CASES)}"), done.stderr[-2000:]


def test_a_saved_recipe_keeps_its_options(tmp_path):
    model, x, analyzer = case("rules")
    analyzer.graph.save(tmp_path / "x.keras")
    again = tfxai.load(tmp_path / "x.keras")(x)["relevance"]
    default = tfxai.create_analyzer("lrp.epsilon", model).analyze(x).relevance
    assert far(again, analyzer.analyze(x).relevance) <= 1e-6
    assert far(again, default) > 1e-2


def test_weights_are_stored_once(tmp_path):
    x = keras.Input((64,))
    y = L.Dense(512, "relu")(x)
    model = keras.Model(x, L.Dense(128)(L.Dense(256, "relu")(y)))
    graph = tfxai.create_analyzer("sglrp", model).graph
    for what, name in ((model, "model.keras"), (graph, "graph.keras")):
        what.save(tmp_path / name)
    sizes = [(tmp_path / f"{n}.keras").stat().st_size for n in ("model", "graph")]
    assert sizes[0] > 4 * model.count_params()
    assert sizes[1] - sizes[0] < 20_000
    assert len(tfxai.load(tmp_path / "graph.keras").weights) == len(model.weights)
    graph.export(tmp_path / "served")
    data = next((tmp_path / "served" / "variables").glob("*.data*"))
    assert data.stat().st_size < 4.1 * model.count_params() + 20_000


def test_a_rule_without_a_name_cannot_be_saved(tmp_path):
    model = zoo.network("mlp")
    mine = Rule("mine", lambda linear, x, r: x * linear.T(r / linear(x)))
    preset = P.epsilon().replace(dense=mine)
    graph = tfxai.create_analyzer("lrp.z", model, preset=preset).graph
    with pytest.raises(OptionError, match="not registered"):
        graph.save(tmp_path / "x.keras")


def test_load_says_what_it_was_given(tmp_path):
    zoo.network("mlp").save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="not one that explains"):
        tfxai.load(tmp_path / "model.keras")
    with pytest.raises(MissingFileError):
        tfxai.load(tmp_path / "absent.keras")


def test_the_graph_follows_training():
    model, x, analyzer = case("sglrp")
    before = analyzer.graph(x)["relevance"].numpy()
    for v in model.trainable_variables:
        v.assign(v * 1.1 + 0.05)
    after = analyzer.graph(x)
    fresh = tfxai.create_analyzer("sglrp", model, low=-1, high=1).analyze(x)
    assert far(after["relevance"], fresh.relevance) <= 1e-6
    assert far(before, fresh.relevance) > 1e-2


MIRRORED = """
import numpy as np, tensorflow as tf
from tests.two_devices import split
two = split()
import tfxai
from tests import zoo
strategy = tf.distribute.MirroredStrategy(two)
with strategy.scope():
    model = zoo.network("batch_norm")
    analyzer = tfxai.create_analyzer("sglrp", model, low=-1, high=1)
x = zoo.inputs(model, samples=8)[0]
wanted = analyzer.analyze(x).relevance
data = strategy.experimental_distribute_dataset(
    tf.data.Dataset.from_tensor_slices(x).batch(8)
)
@tf.function
def step(batch):
    return strategy.run(lambda v: analyzer.graph(v)["relevance"], args=(batch,))
parts = strategy.experimental_local_results(step(next(iter(data))))
assert [len(p) for p in parts] == [4, 4], parts
result = np.concatenate(parts)
assert np.abs(result - wanted).max() <= 1e-6 * np.abs(wanted).max()
print("same")
"""


@pytest.mark.gpu
def test_two_mirrored_replicas_give_the_same_maps():
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED], capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("same"), done.stderr[-2000:]


# -- the residual, and relevance within ----------------------------------------------


def test_a_bias_absorbs_its_share():
    x = keras.Input((1,))
    model = keras.Model(x, L.Dense(1)(x))
    model.set_weights([np.array([[3.0]]), np.array([4.0])])
    found = tfxai.create_analyzer("lrp.z", model).residual(np.array([[2.0]]))
    assert np.allclose(found.absorbed, [[4.0]])  # z = 2 * 3 + 4
    assert np.allclose(found.start, 10) and np.allclose(found.arrived, 6)
    assert np.allclose(found.relative, 0.4)
    assert "dense" in str(found) and "40 %" in str(found)


@pytest.mark.parametrize("name", ["sglrp", "rules", "until", "text"])
def test_the_steps_absorb_what_is_missing(name):
    _, x, analyzer = case(name)
    e, found = analyzer.analyze(x, [1, 2]), analyzer.residual(x, [1, 2])
    arrived = e.relevance.reshape(2, -1).sum(1)
    scale = np.abs(found.start).max()
    assert np.abs(found.arrived - arrived).max() <= 1e-5 * scale
    assert np.abs(found.absorbed.sum(0) - found.total).max() <= 1e-5 * scale
    several = analyzer.residual(x, [[1, 3], [2, 0]], batch_size=2)
    # Relevance of both signs that cancels may be larger than what the head starts with.
    largest = max(scale, np.abs(found.absorbed).max())
    assert np.abs(several.absorbed[..., 0] - found.absorbed).max() <= 2e-5 * largest


def test_the_relevance_within_is_what_is_handed_down():
    model = zoo.network("mlp")
    x, analyzer = zoo.inputs(model)[0], tfxai.create_analyzer("lrp.epsilon", model)
    found = analyzer.residual(x, 1)
    names = [p.step.name for p in analyzer.graph.plan]
    sums = [analyzer.relevance_at(n, x, 1).relevance.sum(1) for n in names]
    sums = [analyzer.analyze(x, 1).relevance.sum(1), *sums]
    lost = {n: sums[i + 1] - sums[i] for i, n in enumerate(names)}
    for name, row in zip(found.names, found.absorbed, strict=True):
        assert np.allclose(row, lost[name], atol=1e-5), name
    hidden = keras.Model(model.input, model.layers[1].output)(x)
    inner = analyzer.relevance_at(f"{model.layers[1].name}:relu", x, 1)
    assert np.allclose(inner.inputs, hidden, atol=1e-6)


def test_a_layer_that_is_not_there_is_named():
    model = zoo.network("mlp")
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    with pytest.raises(KeyError, match="absent"):
        analyzer.relevance_at("absent", zoo.inputs(model)[0])


def test_tokens_cut_by_a_mask_get_nothing():
    _, x, analyzer = case("text")
    relevance = analyzer.analyze(x).relevance
    assert np.abs(relevance[0, 4:]).max() == 0 < np.abs(relevance[0, :4]).min()
    assert tf.is_tensor(analyzer.graph(x)["relevance"])


def test_each_step_of_a_layer_and_its_output_can_be_asked_for():
    x = keras.Input((6, 8))
    y = L.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(y))))
    analyzer = tfxai.create_analyzer("lrp.attn", model)
    data = zoo.inputs(model)[0]
    shapes = {"softmax": (2, 2, 6, 6), "einsum": (2, 6, 2, 4)}
    for step, shape in shapes.items():
        assert analyzer.relevance_at(f"attention:{step}", data).inputs.shape == shape
    assert analyzer.relevance_at("attention", data).inputs.shape == (2, 6, 8)


def test_gamma_is_finite_where_the_other_sign_cancels():
    x, e = keras.Input((2,)), np.float32(1e-6)
    model = keras.Model(x, L.Dense(1, use_bias=False)(x))
    model.set_weights([np.array([[e / 2], [2 * e]])])
    data = np.array([[1.0, -1.0]], np.float32)  # z < 0, and its mirror image is -e
    result = tfxai.create_analyzer("lrp.attn", model, gamma=1.0).analyze(data, 0)
    # z < 0: c = (x w) + (x w)- = e/2, -4e; stabilised by -e
    wanted = np.array([[0.5, -4.0]]) / -4.5 * -1.5e-6
    assert np.allclose(result.relevance, wanted, rtol=1e-4, atol=0)
