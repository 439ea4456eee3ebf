"""Explanations as collections: parts, names, tables, sums over groups, files."""

import keras
import numpy as np
import pandas
import pytest
from keras import layers as L

import tfxai
from tfxai.core.explanation import Explanation
from tfxai.errors import InputError, OptionError
from tfxai.viz.words import merged


def explained(**fields):
    """Three samples of a table of four columns, for two targets each."""
    rng = np.random.default_rng(0)
    given = {
        "relevance": rng.normal(size=(3, 2, 4)).astype(np.float32),
        "target": np.array([[0, 1], [1, 2], [2, 0]]),
        "score": rng.normal(size=(3, 2)),
        "method": "m",
        "inputs": rng.normal(size=(3, 4)).astype(np.float32),
        "extra": {"error": np.arange(3.0), "baseline": np.ones(3), "steps": 7},
        "names": ["cat", "dog", "owl"],
        "features": ["age", "sex=f", "sex=m", "fare"],
        "option_names": ["baseline", "steps"],
    }
    return Explanation(**{**given, **fields})


def classifier(columns=4, classes=3):
    inputs = keras.Input((columns,))
    outputs = L.Dense(classes, kernel_initializer=keras.initializers.GlorotUniform(1))
    return keras.Model(inputs, outputs(inputs))


@pytest.mark.parametrize(
    ("which", "rows"),
    [
        (0, [0]), (-1, [2]), (np.int64(1), [1]), (slice(1, 3), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]), ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
    ],
)  # fmt: skip
def test_a_part_holds_the_values_of_its_samples(which, rows):
    e = explained(tokens=[["a"], ["b"], ["c"]])
    part = e[which]
    assert len(part) == len(rows) and len(e) == 3
    for name in ("relevance", "target", "score", "inputs"):
        np.testing.assert_array_equal(getattr(part, name), getattr(e, name)[rows])
    np.testing.assert_array_equal(part.extra["error"], np.array(rows, float))
    # an option is not per sample, also where it has as many values as there are samples
    np.testing.assert_array_equal(part.extra["baseline"], np.ones(3))
    assert part.extra["steps"] == 7 and part.names == e.names
    assert part.tokens == [["abc"[i]] for i in rows]


def test_iteration_gives_every_sample_once():
    e = explained()
    parts = list(e)
    assert [p.target.tolist() for p in parts] == [[[0, 1]], [[1, 2]], [[2, 0]]]
    assert all(isinstance(p, Explanation) for p in parts)
    joined = np.concatenate([p.relevance for p in parts])
    np.testing.assert_array_equal(joined, e.relevance)


@pytest.mark.parametrize("which", [slice(3, 3), [], 1.5, [0.5]])
def test_what_selects_no_sample_is_an_error(which):
    with pytest.raises(InputError, match="3 samples"):
        explained()[which]


def test_a_number_out_of_range_is_an_index_error():
    for which in (3, -4, [0, 3]):
        with pytest.raises(IndexError, match="of 3 samples"):
            explained()[which]


def test_one_of_several_inputs_by_name():
    e = explained()
    image = np.ones((3, 2, 5, 5, 1))
    both = Explanation(
        [image, e.relevance], e.target, e.score, "m", [image[:, 0], e.inputs],
        features={"table": e.features}, input_names=["image", "table"],
    )  # fmt: skip
    np.testing.assert_array_equal(both["table"].relevance, e.relevance)
    assert both["table"].features == e.features and both["image"].features is None
    np.testing.assert_array_equal(both.heatmap(which="image"), image[..., 0])
    assert [r.shape for r in both[1:].relevance] == [(2, 2, 5, 5, 1), (2, 2, 4)]
    with pytest.raises(OptionError, match=r"which='tabel'.*\n.*\['image', 'table'\]"):
        both["tabel"]
    rows = both.to_dataframe()
    assert rows["input"].value_counts().to_dict() == {"image": 150, "table": 24}


def test_an_analyzer_gives_its_names_to_every_explanation(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    texts = {"names": ["a", "b", "c"], "features": list("wxyz")}
    e = tfxai.explain(classifier(), x, "gradient", **texts)
    assert e.names == ["a", "b", "c"] and e.features == ["w", "x", "y", "z"]
    again = tfxai.load(e.save(tmp_path / "e.npz"))
    assert (again.names, again.features) == (e.names, e.features)
    assert list(again.option_names) == e.option_names and len(again[1:]) == 1
    frame = pandas.DataFrame(x, columns=["p", "q", "r", "s"])
    assert tfxai.explain(classifier(), frame, "gradient").features == list("pqrs")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"names": ["a", "b"]}, "2 names, but the explained output has 3 classes"),
        ({"features": ["a"]}, "1 names of features, but the input has 4 columns"),
        ({"features": {"x": ["a"]}}, "'x', which is no input of the model"),
        ({"tokens": [["a"]]}, "tokens holds 1 lists, and the batch 2 samples"),
        ({"tokens": [["a"] * 5] * 2}, "5 texts for sample 0.*4 positions"),
        ({"names": "abc"}, "names='abc'"),
    ],
)
def test_a_wrong_number_of_names_is_an_error(options, text):
    with pytest.raises(OptionError, match=text):
        tfxai.explain(classifier(), np.ones((2, 4)), "gradient", **options)


def test_a_data_frame_has_a_row_per_sample_target_and_feature():
    e = explained()
    rows = e.to_dataframe()
    assert list(rows) == ["sample", "target", "score", "feature", "value", "relevance"]
    assert len(rows) == 3 * 2 * 4
    row = rows.iloc[8 + 4 + 1]
    assert (row["sample"], row["target"], row["feature"]) == (1, "owl", "sex=f")
    assert row["relevance"] == e.relevance[1, 1, 1]
    assert (row["value"], row["score"]) == (e.inputs[1, 1], e.score[1, 1])


def test_a_data_frame_of_tokens_series_and_images():
    e = explained(tokens=[["the", "cat"], ["a"], ["b", "c", "d", "e"]], features=None)
    rows = e.to_dataframe()
    assert rows["token"].tolist() == ["the", "cat"] * 2 + ["a"] * 2 + list("bcde") * 2
    x = np.arange(12.0).reshape(2, 3, 2)
    series = Explanation(
        x * 10, np.zeros(2, int), np.ones(2), "m", x, features=["u", "v"]
    )
    rows = series.to_dataframe()
    assert rows["channel"].tolist() == ["u", "v"] * 6
    assert rows["position"].tolist() == [0, 0, 1, 1, 2, 2] * 2
    np.testing.assert_array_equal(rows["relevance"], 10 * np.arange(12))
    x = np.arange(24.0).reshape(1, 2, 4, 3)
    image = Explanation(x, np.zeros(1, int), np.ones(1), "m", x).to_dataframe()
    assert list(image)[-3:] == ["y", "x", "relevance"] and len(image) == 8
    np.testing.assert_array_equal(image["relevance"], x.sum(-1).ravel())


def test_sums_by_columns():
    e = explained()
    groups = e.sum_by({"sex": ["sex=f", "sex=m"]})
    assert groups.features == ["age", "sex", "fare"]
    np.testing.assert_allclose(
        groups.relevance[..., 1], e.relevance[..., 1] + e.relevance[..., 2]
    )
    np.testing.assert_allclose(groups.relevance[..., 2], e.relevance[..., 3])
    by_number = e.sum_by({"sex": [1, -2]})
    np.testing.assert_array_equal(by_number.relevance, groups.relevance)
    with pytest.raises(OptionError, match="a number below 4"):
        e.sum_by({"sex": [4]})
    assert np.isnan(groups.inputs[:, 1]).all()  # no single value
    np.testing.assert_allclose(groups.inputs[:, 0], e.inputs[:, 0])
    with pytest.raises(OptionError, match="'sex' has a column 'gender'"):
        e.sum_by({"sex": ["gender"]})
    by_label = e.sum_by(["a", "b", "a", "b"])
    np.testing.assert_allclose(
        by_label.relevance[..., 0], e.relevance[..., [0, 2]].sum(-1), rtol=1e-5
    )
    with pytest.raises(
        OptionError, match=r"shape \(3,\) for relevance of shape \(4,\)"
    ):
        e.sum_by(["a", "b", "c"])


def test_sums_by_segments_of_each_image():
    segments = np.array([[[0, 0], [1, 1]], [[0, 1], [2, 2]]])
    relevance = np.arange(16.0).reshape(2, 2, 2, 2)
    x = relevance + 1
    extra = {"segments": segments}
    e = Explanation(relevance, np.zeros(2, int), np.ones(2), "lime", x, extra)
    groups = e.sum_by("segments")
    wanted = [[0 + 1 + 2 + 3, 4 + 5 + 6 + 7, 0], [8 + 9, 10 + 11, 12 + 13 + 14 + 15]]
    np.testing.assert_allclose(groups.relevance, wanted)
    with pytest.raises(OptionError, match="no such groups"):
        explained().sum_by("segments")


def test_pieces_of_words_are_joined():
    bert = ["[CLS]", "un", "##believ", "##able", "!", "[SEP]"]
    assert merged(bert) == (["[CLS]", "unbelievable", "!", "[SEP]"], [0, 1, 1, 1, 2, 3])
    piece = ["<s>", "▁un", "believ", "able", "▁film", "</s>"]
    assert merged(piece) == (
        ["<s>", "unbelievable", "film", "</s>"],
        [0, 1, 1, 1, 2, 3],
    )
    gpt = ["A", "Ġbad", "ly", "Ġfilm"]
    assert merged(gpt) == (["A", "badly", "film"], [0, 1, 1, 2])
    bpe = ["bad", "ly</w>", "film</w>"]
    assert merged(bpe) == (["badly", "film"], [0, 0, 1])
    assert merged(["a", "##", "b"]) == (["a", "##", "b"], [0, 1, 2])
    e = explained(tokens=[["▁un", "do", "▁it"], ["▁a", "▁b", "▁c", "d"], ["▁x"]])
    words = e.sum_by("words")
    assert words.tokens == [["undo", "it"], ["a", "b", "cd"], ["x"]]
    np.testing.assert_allclose(words.relevance[0, :, 0], e.relevance[0, :, :2].sum(-1))
    np.testing.assert_allclose(words.relevance[1, :, 2], e.relevance[1, :, 2:].sum(-1))
    assert not words.relevance[2, :, 1:].any()


def test_a_notebook_shows_method_targets_and_scores():
    e = explained(score=np.array([[1.25, 2], [3, 4], [5, 6]]), method="<m>")
    text = e._repr_html_()
    assert "<b>&lt;m&gt;</b>" in text and "steps=7" in text and "<script" not in text
    for cell in ("cat", "dog", "owl", "1.25", "6"):
        assert f">{cell}</td>" in text
    assert text.count("<img") == 1 and len(text) < 400_000


def test_a_mask_of_zeros_and_ones_gives_no_warning(recwarn):
    ids, mask = keras.Input((4,), dtype="int32"), keras.Input((4,), dtype="int32")
    vectors = L.Embedding(9, 3)(ids)
    weights = keras.ops.cast(mask, "float32")[..., None]
    model = keras.Model([ids, mask], L.Dense(2)(keras.ops.sum(vectors * weights, 1)))
    x = [np.array([[1, 2, 3, 4]]), np.array([[1, 1, 1, 0]])]
    tfxai.explain(model, x, "input_t_gradient", target=0)
    assert not [w for w in recwarn if issubclass(w.category, tfxai.errors.TfxaiWarning)]
