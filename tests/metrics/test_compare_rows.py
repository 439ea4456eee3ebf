"""`tfxai.compare` of tables, texts and series: its numbers by hand, and its report."""

import re

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import tfxai
from tests import zoo
from tfxai.cli.main import main
from tfxai.errors import InputError, OptionError
from tfxai.metrics import compare as comparison

L = keras.layers
FEATURES = ["age", "<b>", "fare"]


def table_model():
    i = keras.Input((3,))
    return zoo.fill(keras.Model(i, L.Dense(2, "softmax")(L.Dense(4, "tanh")(i))))


def rows(count=4):
    return np.random.default_rng(0).normal(size=(count, 3)).astype("float32")


def area(scores):
    return (scores[1:] + scores[:-1]).sum() / 2 / (len(scores) - 1)


@pytest.fixture(scope="module")
def table():
    return tfxai.compare(
        table_model(), rows(), methods=["input_t_gradient", "random"],
        names=["no", "yes"], features=FEATURES, progress=False,
    )  # fmt: skip


def test_deletion_replaces_features_by_the_mean_of_their_column(table):
    model, x = table_model(), rows()
    p = model.predict(x, verbose=0)
    np.testing.assert_array_equal(table.target, p.argmax(-1))
    np.testing.assert_allclose(table.score, p.max(-1), rtol=1e-6)
    e = tfxai.explain(model, x, "input_t_gradient")
    mean = x.mean(0)
    for i, target in enumerate(table.target):
        v, scores = x[i].copy(), [p[i, target]]
        for feature in np.argsort(-e.relevance[i]):
            v[feature] = mean[feature]
            scores.append(model.predict(v[None], verbose=0)[0, target])
        own = table.values["input_t_gradient", "deletion"][i]
        assert own == pytest.approx(area(np.array(scores)), rel=1e-5)
        curve = np.interp(comparison.SHARES, np.arange(4) / 3, scores)
        np.testing.assert_allclose(table.curves["input_t_gradient"][i], curve, 1e-5)
    assert not table.errors and not table.warnings


def test_the_report_of_a_table_lists_the_features_by_strength(table, tmp_path):
    text = table.report(tmp_path / "r.html").read_text("utf-8")
    first = re.findall(r"<tr><th><b>(.*?)</b>.*?</tr>", text)[0]
    assert first == ["no", "yes"][table.target[0]]
    cell = re.search(r'<div class="bars">(.*?)</div>', text)[1]
    names = re.findall(r"<span>([^+-]*?) = ", cell)
    r = table.explanations["input_t_gradient"].relevance[0]
    shown = ["age", "&lt;b&gt;", "fare"]
    assert names == [shown[i] for i in np.argsort(-np.abs(r))]
    assert "share of masked features" in text  # the axis of the curves
    assert "Score of the class while features are masked" in text
    assert "{{" not in text and "<script" not in text and "image 1" not in text


def test_texts_replace_tokens_by_zero(tmp_path):
    i = keras.Input((4,), dtype="int32")
    pooled = L.GlobalAveragePooling1D()(L.Embedding(9, 3)(i))
    model = zoo.fill(keras.Model(i, L.Dense(2)(pooled)))
    ids = np.array([[1, 5, 3, 7], [2, 2, 8, 4]])
    tokens = [["a", "<great>", "fil", "##m"], ["b", "c", "d", "e"]]
    c = tfxai.compare(
        model, ids, 1, ["occlusion", "random"], tokens=tokens, progress=False
    )
    assert c.kind == "texts" and not c.errors
    r = c.explanations["occlusion"].relevance[0]
    v, scores = ids[:1].copy(), [model.predict(ids[:1], verbose=0)[0, 1]]
    for position in np.argsort(-r):
        v[0, position] = 0
        scores.append(model.predict(v, verbose=0)[0, 1])
    own = c.values["occlusion", "deletion of the logit"][0]
    assert own == pytest.approx(area(np.array(scores)), rel=1e-5)
    text = c.report(tmp_path / "r.html").read_text("utf-8")
    assert text.count(">&lt;great&gt;</span>") == 2 and text.count(">film</span>") == 2


def test_series_of_a_callable_are_compared(tmp_path):
    x = np.random.default_rng(1).normal(size=(2, 6, 2))

    def predict(x):
        return np.stack([x[:, 2, 1], x.sum((1, 2))], 1)

    c = tfxai.compare(
        predict, x, 0, [("occlusion", {"window": 1}), "random"],
        metrics=[("deletion", {"output": "logit"})], progress=False,
    )  # fmt: skip
    label = "deletion(output='logit')"
    mean, at = x[:, :, 1].mean(1), x[:, 2, 1]
    r = np.broadcast_to(c.explanations["occlusion(window=1)"].relevance, x.shape)
    order = [np.argsort(-v.ravel(), kind="stable").tolist().index(5) for v in r]
    for i in range(2):
        scores = np.where(np.arange(13) <= order[i], at[i], mean[i])
        found = c.values["occlusion(window=1)", label][i]
        assert found == pytest.approx(area(scores), rel=1e-5)
    assert "<img" in c.report(tmp_path / "r.html").read_text("utf-8")


def test_options_of_images_are_refused():
    for options in ({"boxes": [[0, 0, 1, 1]] * 4}, {"randomise": 1}):
        with pytest.raises(OptionError, match="not images"):
            tfxai.compare(table_model(), rows(), progress=False, **options)
    c = tfxai.compare(table_model(), rows(), methods=["edges"], progress=False)
    assert "no edges" in c.errors["edges"]


def test_the_command_compares_a_table(tmp_path):
    table_model().save(tmp_path / "net.keras")
    np.savetxt(
        tmp_path / "r.csv", rows(), delimiter=",", header="age,b,fare", comments=""
    )
    page = tmp_path / "page.html"
    words = ["compare", "--model", tmp_path / "net.keras", "--report", page]
    result = CliRunner().invoke(main, [*map(str, words), str(tmp_path / "r.csv")])
    assert result.exit_code == 0, result.output
    for method in ("gradient", "input_t_gradient", "lrp.epsilon", "random"):
        assert method in result.output
    assert "fare = " in page.read_text("utf-8")
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == 2 and "nothing to compare" in result.output


def test_a_single_row_has_no_mean_to_replace_by():
    with pytest.raises(InputError, match="two rows or more"):
        tfxai.compare(table_model(), rows(1), progress=False)


def test_whole_numbers_that_are_not_looked_up_are_a_table():
    x, given = rows() * 9 // 1, {"methods": ["gradient"], "progress": False}
    whole = tfxai.compare(table_model(), x.astype("int64"), **given)
    assert whole.kind == "tables"
    found, wanted = whole.values, tfxai.compare(table_model(), x, **given).values
    key = ("gradient", "deletion")
    np.testing.assert_allclose(found[key], wanted[key], rtol=1e-5)
    i = keras.Input((5,))
    y = L.GlobalAveragePooling1D()(L.Embedding(9, 4)(i))
    model = zoo.fill(keras.Model(i, L.Dense(2, "softmax")(y)))
    ids = np.random.default_rng(1).integers(1, 9, (3, 5))
    assert tfxai.compare(model, ids, **given).kind == "texts"
