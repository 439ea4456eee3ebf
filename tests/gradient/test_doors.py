"""Unusual inputs: whole numbers, open shapes, target functions, wrong options."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.core.registry import SPATIAL
from tfxai.errors import InputError, ModelError, OptionError, TargetError
from tfxai.viz import thumbnails

L, ops = keras.layers, keras.ops


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# -- class activation maps -----------------------------------------------------------


def test_a_layer_below_another_inputs_layer_keeps_its_slope():
    a, b = keras.Input((8, 8, 2)), keras.Input((6, 6, 2))
    first = L.Conv2D(3, 3, activation="relu", name="first")(a)
    both = L.Conv2D(4, 3, activation="relu", name="both")(L.Concatenate()([first, b]))
    model = zoo.fill(keras.Model([a, b], L.Dense(3)(L.Flatten()(both))))
    xs = [rows(2, 8, 8, 2), rows(2, 6, 6, 2)]
    e = tfxai.explain(model, xs, "gradcam", 1, resize="none")
    assert e.extra["layer"] == ["first:relu", "both:relu"]
    parts = [model.get_layer("first").output, model.outputs[0]]
    here = keras.Model(model.inputs, parts)(xs)[0]
    with tf.GradientTape() as tape:
        tape.watch(here)
        y = model.get_layer("both")(ops.concatenate([here, xs[1]], -1))
        score = model.layers[-1](ops.reshape(y, (2, -1)))[:, 1]
    gradient = tape.gradient(score, here).numpy().mean((1, 2), keepdims=True)
    wanted = (here.numpy() * gradient).sum(-1, keepdims=True)
    np.testing.assert_allclose(e.relevance[0], wanted, rtol=1e-4, atol=1e-7)
    assert np.abs(e.relevance[1]).max() > 0


def test_a_table_beside_a_picture_gets_zeros():
    a, b = keras.Input((8, 8, 2)), keras.Input((4,))
    y = L.Flatten()(L.Conv2D(3, 3, activation="relu")(a))
    model = zoo.fill(keras.Model([a, b], L.Dense(3)(L.Concatenate()([y, b]))))
    xs = [rows(2, 8, 8, 2), rows(2, 4)]
    for name in ("gradcam", "scorecam", "guided_gradcam"):
        e = tfxai.explain(model, xs, name, 1)
        assert e.relevance[1].shape == (2, 4) and (e.relevance[1] == 0).all()
        assert np.abs(e.relevance[0]).max() > 0


# -- whole numbers -------------------------------------------------------------------


def image_model(dtype):
    x = keras.Input((6, 6, 3), dtype=dtype)
    y = L.Conv2D(4, 3, activation="relu")(L.Rescaling(1 / 255)(x))
    return zoo.fill(keras.Model(x, L.Dense(3)(L.Flatten()(y))))


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_pictures_of_whole_numbers_are_no_tokens(dtype):
    model, plain = image_model(dtype), image_model("float32")
    x = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)).astype(dtype)
    np.testing.assert_allclose(tfxai.wrap(model).logits(x), plain(x), rtol=1e-5)
    with pytest.raises(ModelError, match="or integer images"):
        tfxai.explain(model, x, "smoothgrad", 1)
    names = "gradient integrated_gradients lrp.epsilon occlusion gradcam deeplift"
    for name in names.split():
        ours, wanted = (
            tfxai.explain(m, v, name, 1).relevance
            for m, v in ((model, x), (plain, x.astype("float32")))
        )
        gap = np.abs(ours - wanted).max()
        assert gap <= 1e-5 * np.abs(wanted).max() > 0, name
    for baseline in (-1, 300, 0.5, "mean") if dtype == "uint8" else (0.5, "mean"):
        with pytest.raises(OptionError, match="baseline="):
            tfxai.explain(model, x, "integrated_gradients", 1, baseline=baseline)


def tokens_of(dtype, cast=False):
    x = keras.Input((5,), dtype=dtype)
    y = L.Embedding(9, 4)(ops.cast(x, "int32") if cast else x)
    return zoo.fill(keras.Model(x, L.Dense(3)(L.Dense(4, "tanh")(L.Flatten()(y)))))


@pytest.mark.parametrize("dtype, cast", [("float32", False), ("int64", True)])
def test_tokens_are_tokens_whatever_their_dtype(dtype, cast):
    plain, model = tokens_of("int32"), tokens_of(dtype, cast)
    words = np.random.default_rng(0).integers(0, 9, (2, 5))
    for name in ("gradient", "input_t_gradient", "integrated_gradients", "deeplift",
                 "guided_integrated_gradients"):  # fmt: skip
        wanted = tfxai.explain(plain, words.astype("int32"), name, 1).relevance
        ours = tfxai.explain(model, words.astype(dtype), name, 1).relevance
        assert np.abs(wanted).max() > 0
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-6)
    with pytest.raises(ModelError, match="whole numbers: tokens"):
        tfxai.explain(model, words.astype(dtype), "smoothgrad", 1)


def test_tokens_that_also_go_another_way_are_named():
    x = keras.Input((5,))
    y = L.Concatenate()([L.Flatten()(L.Embedding(9, 4)(x)), L.Dense(2)(x)])
    model = zoo.fill(keras.Model(x, L.Dense(3)(y)))
    words = np.float32(np.random.default_rng(0).integers(0, 9, (2, 5)))
    for name in ("gradient", "integrated_gradients", "deeplift"):
        with pytest.raises(ModelError, match="a token has no single vector"):
            tfxai.explain(model, words, name, 1)
    assert np.abs(tfxai.explain(model, words, "occlusion", 1).relevance).max() > 0


class Reader(keras.Model):
    def __init__(self):
        super().__init__()
        self.words, self.last = L.Embedding(9, 4), L.Dense(3)

    def call(self, x):
        return self.last(ops.mean(self.words(x), 1))


def test_a_subclassed_reader_of_floats_and_of_whole_numbers():
    model, words = Reader(), np.random.default_rng(0).integers(0, 9, (2, 5))
    model(words)
    zoo.fill(model)
    analyzer = tfxai.create_analyzer("input_t_gradient", model)
    first = analyzer.analyze(np.float32(words), 1).relevance
    again = analyzer.analyze(words, 1).relevance
    table = model.words.embeddings.numpy()
    wanted = table[words] @ model.last.kernel.numpy()[:, 1] / 5
    np.testing.assert_allclose(first, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(again, wanted, rtol=1e-4, atol=1e-6)


# -- open shapes ---------------------------------------------------------------------


def test_one_analyzer_for_pictures_of_two_sizes():
    x = keras.Input((None, None, 3))
    y = L.Conv2D(4, 3, activation="relu")(x)
    y = L.Conv2D(4, 3, padding="same", activation="relu")(y)
    model = zoo.fill(keras.Model(x, L.Dense(3)(L.GlobalAveragePooling2D()(y))))
    names = "gradient integrated_gradients blur_integrated_gradients smoothgrad gradcam"
    names += " guided_integrated_gradients scorecam occlusion deeplift"
    for name in names.split():
        analyzer = tfxai.create_analyzer(name, model)
        for side in (8, 13):
            data = rows(2, side, side + 1, 3)
            e = analyzer.analyze(data, 1)
            fresh = tfxai.explain(model, data, name, 1)
            np.testing.assert_allclose(e.relevance, fresh.relevance, atol=1e-6)
            assert e.relevance.shape[:3] == (2, side, side + 1)


def test_occlusion_of_sentences_of_two_lengths():
    x = keras.Input((None,), dtype="int32")
    model = zoo.fill(
        keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(L.Embedding(9, 3)(x))))
    )
    analyzer = tfxai.create_analyzer("occlusion", model)
    for words in (np.array([[1]]), np.array([[1, 2, 3, 4, 5]])):
        e = analyzer.analyze(words, 1)
        wanted = tfxai.explain(model, words, "occlusion", 1).relevance
        assert e.relevance.shape == words.shape
        np.testing.assert_allclose(e.relevance, wanted)


# -- target functions ----------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    x = keras.Input((6,))
    return zoo.fill(keras.Model(x, L.Dense(4)(L.Dense(5, "tanh")(x)), name="small"))


@pytest.mark.parametrize(
    "function, seen",
    [
        (lambda y: y[0], "returned shape (4,) for 2 samples"),
        (lambda y: tf.reduce_sum(y), "returned shape ()"),
        (lambda y: y, "returned shape (2, 4)"),
        (lambda y: y[:, 9, 9], "failed on outputs of shape (2, 4)"),
    ],
)
@pytest.mark.parametrize("name", ["gradient", "lrp.epsilon", "occlusion"])
def test_a_target_function_gives_one_score_per_sample(model, name, function, seen):
    with pytest.raises(TargetError) as caught:
        tfxai.explain(model, rows(4, 6), name, function)
    assert seen in caught.value.seen


def test_deeplift_tells_what_a_bent_function_leaves_unexplained(model):
    def function(y):
        return y[:, 0] ** 2

    data = rows(3, 6)
    e = tfxai.explain(model, data, "deeplift", function)
    change = function(model(data)) - function(model(0 * data))
    missing = e.relevance.sum(1) - change.numpy()
    assert np.abs(missing).max() > 0.01
    np.testing.assert_allclose(e.extra["completeness"], missing, atol=1e-4)


# -- options -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options, seen",
    [
        ("blur_integrated_gradients", {"sigma": 0}, "sigma=0"),
        ("blur_integrated_gradients", {"sigma": -1.0}, "sigma=-1.0"),
        ("blur_integrated_gradients", {"sigma": (1, 2)}, "sigma=(1, 2)"),
        ("smoothgrad", {"base_options": {"target": 1}}, "base_options={'target'"),
        (
            "smoothgrad",
            {"base_method": "occlusion"},
            "base_method='occlusion' evaluates",
        ),
        ("smoothgrad", {"base_method": "smoothgrad"}, "base_method='smoothgrad'"),
        ("smoothgrad", {"noise": "a"}, "noise='a'"),
        ("guided_integrated_gradients", {"fraction": "a"}, "fraction='a'"),
        ("integrated_gradients", {"baseline": None}, "baseline=None"),
        ("integrated_gradients", {"baseline": [[1], [1, 2]]}, "baseline=[[1]"),
        ("integrated_gradients", {"baseline": np.nan}, "baseline=nan"),
        ("deeplift", {"baseline": np.inf}, "baseline=inf"),
        ("gradient", {"postprocess": [1]}, "postprocess=[1]"),
    ],
)
def test_a_wrong_option_is_named(model, name, options, seen):
    with pytest.raises(OptionError) as caught:
        tfxai.explain(model, rows(2, 6), name, 1, **options)
    assert seen in caught.value.seen


@pytest.mark.parametrize(
    "background", [rows(6), rows(0, 6), rows(3, 5), "train", rows(3, 6) * np.nan]
)
def test_a_wrong_background_is_named(model, background):
    wrong = OptionError if isinstance(background, str) else InputError
    with pytest.raises(wrong):
        tfxai.create_analyzer("expected_gradients", model, background=background)


def test_a_large_background_is_held_once(model):
    examples = rows(2, 6)
    analyzer = tfxai.create_analyzer(
        "expected_gradients", model, background=examples, n_samples=8000
    )
    e = analyzer.analyze(rows(2, 6, seed=1), 1, batch_size=64)
    assert np.abs(e.extra["completeness"]).max() < 1e-2


@pytest.mark.parametrize(
    "name, options",
    [
        ("integrated_gradients", {"baseline": np.linspace(0, 1, 6)}),
        (
            "smoothgrad",
            {"base_method": "sglrp", "base_options": {"low": np.full(6, -9.0)}},
        ),
        ("occlusion", {"segments": np.array([0, 0, 1, 1, 2, 2])}),
    ],
)
def test_what_was_asked_is_saved_with_the_map(model, name, options, tmp_path):
    e = tfxai.explain(model, rows(2, 6), name, 1, **options)
    again = tfxai.load(e.save(tmp_path / "why.npz"))
    np.testing.assert_array_equal(again.relevance, e.relevance)
    for key, value in options.items():
        kept = again.extra[key]
        if key == "base_options":
            kept, value = kept["low"], value["low"].tolist()
        np.testing.assert_array_equal(kept, value)


@pytest.mark.parametrize(
    "name",
    [
        *(r.name for r in tfxai.methods() if r.family in SPATIAL),
        "blur_integrated_gradients",
    ],
)
def test_channels_first_is_refused_where_places_are_asked_for(name):
    i = keras.Input((2, 3, 3))
    inner = keras.Sequential([i, L.GlobalAveragePooling2D("channels_first", name="g")])
    with pytest.raises(ModelError, match="'g' reads channels first"):
        tfxai.create_analyzer(name, keras.Sequential([i, inner]))


def test_channels_first_is_no_matter_to_slopes():
    i = keras.Input((2, 3, 3))
    model = keras.Model(i, L.GlobalAveragePooling2D("channels_first")(L.ReLU()(i)))
    x = np.zeros((1, 2, 3, 3), "float32")
    x[0, 0, 0, 0] = 9
    for name in ("lrp.epsilon", "input_t_gradient"):
        found = tfxai.explain(model, x, name, target=0).relevance
        np.testing.assert_allclose(found, x / 9, rtol=1e-5)


@pytest.mark.parametrize("target", [None, [[0, 1]]])
def test_channels_first_is_drawn_as_channels_last(target, tmp_path):
    x = np.random.default_rng(0).uniform(0, 1, (1, 3, 4, 6)).astype("float32")
    explanations = []
    for name, shape in (("first", x.shape[1:]), ("last", (4, 6, 3))):
        i = keras.Input(shape)
        pool = L.GlobalAveragePooling2D(f"channels_{name}")
        seen = x if name == "first" else np.moveaxis(x, 1, -1)
        model = keras.Model(i, pool(i))
        e = tfxai.explain(model, seen, "input_t_gradient", target)
        explanations.append(tfxai.load(e.save(tmp_path / f"{name}.npz")))
    first, last = explanations
    assert first.heatmap().shape == (1, *np.shape(target)[1:], 4, 6)
    np.testing.assert_allclose(first.heatmap(), last.heatmap(), rtol=1e-6)
    few = first[:1]
    np.testing.assert_allclose(thumbnails.strip(few), thumbnails.strip(last), atol=1)
    np.testing.assert_array_equal(thumbnails._drawn(first), thumbnails._drawn(last))
    with pytest.raises(ModelError, match="channels first, and 'compare'"):
        i = keras.Input(x.shape[1:])
        pooled = L.GlobalAveragePooling2D("channels_first")(i)
        tfxai.compare(keras.Model(i, pooled), x)


def test_weights_of_double_precision_are_named():
    i = keras.Input((3,))
    model = keras.Model(i, L.Dense(2, dtype="float64")(i))
    with pytest.raises(ModelError, match="weights of float64"):
        tfxai.explain(model, rows(2, 3), "lrp.epsilon", target=0)


def test_weights_of_half_precision_are_read_in_float32():
    i = keras.Input((3,))
    model = keras.Model(i, L.Dense(2, dtype="float16")(i))
    x = rows(2, 3)
    e = tfxai.explain(model, x, "lrp.epsilon", target=0)
    wanted = x * np.float32(model.weights[0].numpy())[:, 0]
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-4, atol=1e-6)


def test_whole_numbers_that_are_looked_up_and_computed_with_are_named():
    x = keras.Input((5,), dtype="int32")
    numbers = L.Dense(2)(ops.cast(x, "float32"))
    y = L.Concatenate()([L.Flatten()(L.Embedding(9, 4)(x)), numbers])
    model = zoo.fill(keras.Model(x, L.Dense(3)(y)))
    with pytest.raises(ModelError, match="a token has no single vector"):
        tfxai.explain(model, np.ones((2, 5), "int32"), "gradient", 1)
