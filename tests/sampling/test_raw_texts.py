"""Raw texts of callables and of Keras models with a TextVectorization layer.

The constants are the output of `shap.explainers.Exact(f, masker)` of shap 0.51.0, whose
masker removes words, or writes [MASK] in their place.
"""

import keras
import numpy as np
import pytest

import tfxai
from tfxai.errors import InputError, OptionError

TEXT = "the plot was not very good but the music was"
#: baseline -> the values (T, 10).
SHAP = {
    "mean": [
        [0.0689690098, -0.0560309902, -0.0143643235, -1.4657992725, 0.0220940098,
         0.2211356765, -0.0038643235, -0.0038643235, 0.1000578704, 0.0],
        [0.316227766] * 5 + [0.816227766] + [0.316227766] * 2 + [0.816227766,
         0.316227766],
    ],
    "[MASK]": [
        [0, -0.0625, 0, -0.94305555556, -0.015, -0.083333333333, 0, 0, -0.027777777778,
         0],
        [0, 0, 0, 0, 0, 0.5, 0, 0, 0.5, 0],
    ],
}  # fmt: skip
GOOD = {"good": 2.0, "music": 1.0, "plot": 0.5, "very": 0.3}


def read(texts):
    """Good words count by position, and "not" turns them; the root of the length."""
    assert isinstance(texts, list) and all(isinstance(t, str) for t in texts)
    out = []
    for text in texts:
        w = text.split()
        y = sum(GOOD.get(v, 0.0) / (1 + i) for i, v in enumerate(w))
        both = ("good" in w) and ("music" in w)
        out.append([y * (-1.5 if "not" in w else 1), len(w) ** 0.5 + both])
    return np.array(out)


@pytest.mark.parametrize("baseline", SHAP)
def test_words_are_those_of_shap(baseline):
    e = tfxai.explain(
        read, [TEXT], "kernel_shap", [[0, 1]], baseline=baseline, n_samples=1024,
        batch_size=1024,
    )  # fmt: skip
    np.testing.assert_allclose(e.relevance[0], SHAP[baseline], rtol=0, atol=1e-6)
    assert e.tokens == [TEXT.split()]
    assert list(e.inputs) == [TEXT]


def count(texts):
    return np.array([[len(str(t).split()) + 5.0 * ("bad" in str(t))] for t in texts])


TEXTS = ["a bad film", "good", "what a very bad day it is"]


@pytest.mark.parametrize("method", ["kernel_shap", "shapley_sampling", "lime"])
@pytest.mark.parametrize("batch_size", [1, 32])
def test_texts_of_different_lengths_are_a_batch(method, batch_size):
    wide = {"kernel_width": 2.5} if method == "lime" else {}
    e = tfxai.explain(
        count, TEXTS, method, 0, batch_size=batch_size, n_samples=130, **wide
    )
    wanted = np.zeros((3, 7))
    for b, text in enumerate(TEXTS):
        words = text.split()
        wanted[b, : len(words)] = [1 + 5 * (w == "bad") for w in words]
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-5, atol=1e-5)
    assert e.tokens == [t.split() for t in TEXTS]
    assert e[1].tokens == [["good"]]


def test_a_table_a_figure_and_a_file(tmp_path):
    e = tfxai.explain(count, TEXTS, "kernel_shap", 0)
    rows = e.to_dataframe() if _pandas() else None
    if rows is not None:
        assert rows["token"].tolist() == [w for t in TEXTS for w in t.split()]
    again = tfxai.load(e.save(tmp_path / "e.npz"))
    assert again.tokens == e.tokens and list(again.inputs) == TEXTS
    assert "film" in str(tfxai.plot.text(e)) and e.plot().axes


def _pandas():
    from importlib.util import find_spec

    return find_spec("pandas") is not None


def test_sentences_tokens_and_spans():
    text = "It rains. Is it bad? Yes"
    parts = ["It rains.", "Is it bad?", "Yes"]
    e = tfxai.explain(count, [text], "kernel_shap", 0, segmenter="sentences")
    assert e.tokens == [parts]
    np.testing.assert_allclose(e.relevance, [[2, 8, 1]], rtol=1e-6)
    e = tfxai.explain(
        count, [text], "kernel_shap", 0, segmenter=lambda t: t.split(), n_samples=70
    )
    assert e.tokens == [text.split()]
    e = tfxai.explain(
        count, [text], "kernel_shap", 0, segmenter=lambda t: [(0, 9), (10, 24)]
    )
    np.testing.assert_allclose(e.relevance, [[2, 9]], rtol=1e-6)


def test_what_the_callable_gets():
    seen = []

    def f(v):
        seen.append(v)
        return np.array([[float(len(t))] for t in v])

    tfxai.explain(f, np.array(TEXTS), "kernel_shap", 0)
    assert all(v.dtype.kind == "U" for v in seen) and "a film" in np.concatenate(seen)
    seen.clear()
    tfxai.explain(f, np.array(TEXTS, "S"), "kernel_shap", 0, baseline="_")
    assert b"a _ film" in np.concatenate(seen)


def test_two_texts_and_a_text_beside_numbers():
    def same(v):
        q, a = v["q"], v["a"]
        return np.array([[float(s.split()[0] == t.split()[0])] if s and t else [0.0]
                         for s, t in zip(q, a, strict=True)])  # fmt: skip

    x = {"q": ["one two"], "a": ["one"]}
    e = tfxai.explain(same, x, "kernel_shap", 0)
    np.testing.assert_allclose(e["q"].relevance, [[0.5, 0]], atol=1e-6)
    np.testing.assert_allclose(e["a"].relevance, [[0.5]], atol=1e-6)
    assert e.tokens == [["one", "two"]]

    def longer(v):
        return count(v[0]) * v[1][:, :1]

    numbers = np.array([[2.0, 1.0]])
    e = tfxai.explain(
        longer, (["a bad"], numbers), "kernel_shap", 0, baseline=["mean", 0]
    )
    np.testing.assert_allclose(e.relevance[0], [[1, 6]], rtol=1e-6)
    np.testing.assert_allclose(e.relevance[1], [[7, 0]], atol=1e-6)


@pytest.mark.parametrize("shape", [(1,), ()])
def test_a_keras_model_with_text_vectorization(shape):
    """The mean of embeddings is linear in the counts of words, as is the output."""
    layer = keras.layers.TextVectorization(output_sequence_length=4)
    layer.adapt(["good bad film plot"])
    i = keras.Input(shape, dtype="string")
    table = keras.layers.Embedding(len(layer.get_vocabulary()), 2)
    h = keras.layers.GlobalAveragePooling1D()(table(layer(i)))
    model = keras.Model(i, h)
    weights = np.arange(12.0).reshape(6, 2) ** 2
    table.set_weights([weights])
    texts = ["good film", "bad bad plot"]
    e = tfxai.explain(model, texts, "kernel_shap", 1, baseline="[UNK]")
    vocabulary = layer.get_vocabulary()
    for b, text in enumerate(texts):
        rows = [weights[vocabulary.index(w)] - weights[1] for w in text.split()]
        wanted = np.array(rows)[:, 1] / 4
        np.testing.assert_allclose(e.relevance[b, : len(wanted)], wanted, rtol=1e-5)
    assert e.tokens == [t.split() for t in texts]
    removed = tfxai.explain(model, texts[:1], "lime", 1, n_samples=20)
    assert np.isfinite(removed.relevance).all() and removed.relevance.any()


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"baseline": 0}, OptionError, r'baseline="\[MASK\]"'),
        ({"background": TEXTS}, OptionError, "pieces are removed"),
        ({"segmenter": "slic"}, OptionError, "'words', 'sentences'"),
        ({"segmenter": lambda t: ["zebra"]}, InputError, "no such piece"),
    ],
)
def test_options_that_do_not_fit_texts_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        tfxai.explain(count, TEXTS, "kernel_shap", 0, **options)


def test_occlusion_of_raw_texts_is_refused():
    with pytest.raises(InputError, match='method="kernel_shap"'):
        tfxai.explain(count, TEXTS, "occlusion", 0, baseline="")


def test_empty_texts_and_numbers_for_texts_are_refused():
    with pytest.raises(InputError, match="has no pieces"):
        tfxai.explain(count, ["a", "  "], "kernel_shap", 0)
    i = keras.Input((1,), dtype="string")
    model = keras.Model(i, keras.layers.TextVectorization(vocabulary=["a"])(i))
    with pytest.raises(InputError, match="takes texts"):
        tfxai.explain(model, np.zeros((2, 1)), "kernel_shap", 0)


@pytest.mark.parametrize("baseline", ["input_mean", "blur"])
def test_baselines_of_numbers_are_no_words(baseline):
    def length(texts):
        return np.array([[len(t), 0] for t in texts], float)

    with pytest.raises(OptionError, match="which covers numbers, for texts") as e:
        tfxai.explain(length, ["a bad film"], "kernel_shap", 0, baseline=baseline)
    given = eval(f"dict({e.value.write})")
    found = tfxai.explain(length, ["a bad film"], "kernel_shap", 0, **given)
    assert found.extra["baseline_score"] == 0  # no word is left
