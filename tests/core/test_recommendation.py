"""What `recommend` says works when it is typed, and `explain` begins with it."""

import warnings

import keras
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import tfxai
from tests import zoo
from tfxai.core.recommendation import ACCESS, TABLE

L = keras.layers
rng = np.random.default_rng(4)


def network(shape, units=3):
    x = keras.Input(shape)
    y = L.Dense(8, "relu")(L.Flatten()(x))
    if len(shape) == 3:
        y = L.Flatten()(L.Conv2D(4, 3, activation="relu")(x))
    return zoo.fill(keras.Model(x, L.Dense(units)(y)))


def words(dtype="int32"):
    x = keras.Input((6,), dtype=dtype)
    y = L.GlobalAveragePooling1D()(L.Embedding(9, 5)(x))
    return zoo.fill(keras.Model(x, L.Dense(3)(y)))


def attention():
    x = keras.Input((12, 12, 3))
    y = L.Reshape((9, 6))(L.Conv2D(6, 4, 4)(x))
    y = L.Add()([y, L.MultiHeadAttention(2, 3)(y, y)])
    y = L.Dense(3)(L.GlobalAveragePooling1D()(y))
    return zoo.fill(keras.Model(x, L.Softmax()(y)))


def vectorised():
    read = L.TextVectorization(max_tokens=20, output_sequence_length=6)
    read.adapt(["a new film", "an old one"])
    x = keras.Input((), dtype="string")
    y = L.GlobalAveragePooling1D()(L.Embedding(20, 4)(read(x)))
    return keras.Model(x, L.Dense(2)(y))


def two():
    a, b = keras.Input((4,)), keras.Input((5,))
    return zoo.fill(keras.Model([a, b], L.Dense(3)(L.Concatenate()([a, b]))))


def forest():
    data = load_iris()
    return RandomForestClassifier(8, random_state=0).fit(data.data, data.target)


def drawn(*shape):
    return rng.normal(size=(2, *shape)).astype("float32")


FIRST = "lrp.epsilon_gamma_box"
IDS = rng.integers(1, 9, (2, 6))
#: name -> (model, x, its key in `TABLE`, the first method).
CASES = {
    "image": (network((12, 12, 3)), drawn(12, 12, 3), ("steps", "image"), FIRST),
    "two classes": (
        *(network((12, 12, 3), 2), drawn(12, 12, 3), ("steps", "image")),
        FIRST,
    ),
    "attention": (*(attention(), drawn(12, 12, 3), ("steps", "image"), "lrp.attn"),),
    "series": (network((9, 2)), drawn(9, 2), ("steps", "series"), None),
    "table": (network((7,)), drawn(7), ("steps", "table"), None),
    "ids": (words(), IDS, ("steps", "tokens"), "lrp.attn"),
    "ids as numbers": (words("float32"), IDS, ("steps", "tokens"), "lrp.attn"),
    "two inputs": (
        *(two(), [drawn(4), drawn(5)], ("steps", "several inputs")),
        "lrp.epsilon",
    ),
    "forest": (
        *(forest().predict_proba, load_iris().data[:2], ("outputs", "table")),
        "kernel_shap",
    ),
    "texts of a Keras model": (
        *(vectorised(), ["a new film", "an old one"], ("outputs", "texts")),
        "kernel_shap",
    ),
    "texts": (
        lambda texts: np.array([[len(t), 1.0] for t in texts]),
        *(["a new film", "an old one"], ("outputs", "texts"), "kernel_shap"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_line_works_as_it_is_typed(case):
    model, x, key, first = CASES[case]
    found = tfxai.recommend(model, x)
    assert len(found) == 3 == len({row.method for row in found})
    assert found.of == f"{ACCESS[key[0]]}; input: {key[1]}"
    others = list(TABLE[key][1:])
    if case == "two classes":
        others = ["squaregrad", "integrated_gradients"]
    assert [r.method for r in found][1:] == others
    assert first in (None, found[0].method)
    names = {
        "tfxai": tfxai,
        "model": model,
        "x": x,
        "x_train": x if isinstance(x, list) else np.asarray(x),
    }
    for row in found:
        assert row.line in str(found) and row.why in str(found)
        assert row.cost and row.cost in str(found)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            e = eval(row.line, names)
        assert e.method == row.method


@pytest.mark.parametrize("case", ["image", "two classes", "ids", "two inputs"])
def test_explain_without_a_method_takes_the_first(case):
    model, x, *_ = CASES[case]
    found = tfxai.recommend(model, x)
    e = tfxai.explain(model, x, target=1)
    same = tfxai.explain(model, x, found[0].method, target=1)
    assert (e.method, e.extra["default_for"]) == (found[0].method, found.of)
    for a, b in zip(*(keras.tree.flatten(v.relevance) for v in (e, same)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "default_for" not in same.extra


def test_it_survives_a_file(tmp_path):
    model, x, *_ = CASES["image"]
    e = tfxai.explain(model, x)
    e.save(tmp_path / "e.npz")
    assert tfxai.load(tmp_path / "e.npz").extra["default_for"] == e.extra["default_for"]


def test_preprocess_and_output_reach_the_model():
    model, x, *_ = CASES["image"]
    both = keras.Model(model.input, {"a": model.layers[1].output, "b": model.output})
    e = tfxai.explain(both, x, preprocess=lambda v: v / 2, output="b", target=2)
    np.testing.assert_allclose(e.score, model(x / 2)[:, 2], rtol=1e-5)
