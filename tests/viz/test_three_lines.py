"""Three lines from a trained model to a figure with names, for each kind of input."""

import keras
import numpy as np
import pytest
from keras import layers as L

import tfxai
from tests.viz.test_figures import row_names
from tests.viz.test_plot import noise, texts

NAMES = ["no", "yes"]


def named(e, *wanted):
    """The figure, which names its method and the explained class of each sample."""
    figure = e.plot()
    parts = figure.subfigs or [figure]
    found = [t for part in parts for t in texts(part)]
    assert any(t.split(" · ")[0] == e.method for t in found)
    for target in e.target.ravel():
        assert any(t.startswith(NAMES[target % 2]) for t in found)
    for text in wanted:
        assert any(text in t for t in found), (text, found)
    return figure


def test_an_image():
    i = keras.Input((8, 8, 3))
    model = keras.Model(i, L.Dense(2)(L.Flatten()(L.Conv2D(2, 3)(i))))
    e = tfxai.explain(model, noise(1, 8, 8, 3), "lrp.epsilon", names=NAMES)
    bar = named(e, "input", f"score {e.score[0]:.4g}").axes[-1]
    assert [t.get_text().split(" ")[-1] for t in bar.get_xticklabels()] == [
        "against", "0", "for",
    ]  # fmt: skip


def test_a_table():
    i = keras.Input((3,))
    model = keras.Model(i, L.Dense(2)(L.Dense(4, "relu")(i)))
    features = ["age", "fare", "deck"]
    e = tfxai.explain(
        model, noise(1, 3), "integrated_gradients", names=NAMES, features=features,
        baseline=0,
    )  # fmt: skip
    axes = named(e).axes[0]
    order = np.argsort(-np.abs(e.relevance[0]))
    assert [n.split(" = ")[0] for n in row_names(axes)] == [features[i] for i in order]
    steps = tfxai.plot.waterfall(e).axes[0]
    base = e.score[0] - e.extra["change"].ravel()[0]
    assert steps.get_xlabel().startswith(f"base value {base:.3g} ")


def test_a_text():
    ids = keras.Input((4,), dtype="int32")
    pooled = L.GlobalAveragePooling1D()(L.Embedding(9, 3)(ids))
    model = keras.Model(ids, L.Dense(2)(pooled))
    tokens = [["a", "great", "fil", "##m"]]
    x = np.array([[1, 2, 3, 4]])
    e = tfxai.explain(model, x, "input_t_gradient", names=NAMES, tokens=tokens)
    words = named(e).axes[0].texts
    assert [t.get_text() for t in words] == ["a", "great", "film"]


def test_a_series():
    i = keras.Input((12, 2))
    model = keras.Model(i, L.Dense(2)(L.GlobalAveragePooling1D()(L.Conv1D(3, 3)(i))))
    features = ["heart rate", "steps"]
    e = tfxai.explain(
        model, noise(1, 12, 2), "gradient", names=NAMES, features=features
    )
    axes = named(e).axes[0]
    assert row_names(axes) == features and axes.get_xlabel() == "position"


def test_a_segmentation():
    i = keras.Input((6, 6, 3))
    model = keras.Model(i, L.Conv2D(2, 3, padding="same")(i))
    e = tfxai.explain(
        model, noise(1, 6, 6, 3), "gradient", target=(2, 3, 1), names=NAMES
    )
    named(e, "yes at (2, 3)")


def test_two_inputs():
    image, row = keras.Input((6, 6, 3), name="image"), keras.Input((2,), name="clinic")
    both = L.Concatenate()([L.Flatten()(image), row])
    model = keras.Model([image, row], L.Dense(2)(both))
    x = {"image": noise(1, 6, 6, 3), "clinic": noise(1, 2)}
    e = tfxai.explain(
        model, x, "input_t_gradient", names=NAMES, features={"clinic": ["age", "bmi"]}
    )
    figure = named(e, "· image", "· clinic")
    rows = row_names(figure.subfigs[1].axes[0])
    assert {n.split(" = ")[0] for n in rows} == {"age", "bmi"}
    np.testing.assert_array_equal(e["clinic"].relevance, e.relevance[1])


def test_a_forest_of_scikit_learn():
    pandas = pytest.importorskip("pandas")
    from sklearn.ensemble import RandomForestClassifier

    x = noise(40, 3).astype("float32")
    forest = RandomForestClassifier(5, random_state=0).fit(x, x[:, 1] > 0)
    frame = pandas.DataFrame(x[:3], columns=["age", "fare", "deck"])
    options = {"names": NAMES, "background": x, "target": 1}
    e = tfxai.explain(forest.predict_proba, frame, "kernel_shap", **options)
    axes = named(e[0]).axes[0]
    assert row_names(axes)[0].startswith("fare = ")
    assert axes.get_xlabel() == "relevance (output of the model)"
    swarm = tfxai.plot.beeswarm(e)
    assert row_names(swarm.axes[0])[0] == "fare"
    assert texts(swarm)[:2] == ["kernel_shap", "yes"]
