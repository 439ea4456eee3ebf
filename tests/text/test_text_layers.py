"""Relevance of words at a layer and of heads; words in sentences in paragraphs."""

import keras
import numpy as np
import pytest

import tfxai
from tests.core.test_sequence_targets import language_model
from tests.text.test_text import NEAR, OTHER, PROMPT, WORDS, decode, encode, sentiment
from tests.text.test_text_metrics import causal_model
from tfxai.base.errors import OptionError, UnknownNameError

#: By shap 0.51.0: `shap.explainers.Partition(score, masker)` of the ten words, with a
#: masker that removes words and whose `clustering` are the halves of `TREE`.
TREE = [[[[0, 1], [2, [3, 4]]], [5, 6]], [7, [8, 9]]]
SHAP = [
    0.02837618, 0.02837618, 0.02797811, 2.17626216, 0.17626216, 1.28327206, 0.28327206,
    0.04156977, 0.03542954, -1.46457046,
]  # fmt: skip
TEXT = "It is a superb film. Not dull!\nI was bored."


@pytest.fixture(scope="module")
def attention():
    seen = []
    model = causal_model(seen, 2)
    return model, tfxai.wrap(model)


def test_relevance_of_tokens_at_a_layer(attention):
    model, wrapped = attention
    analyzer = tfxai.text.create_analyzer(
        "lrp.attn", (wrapped, encode, decode), epsilon=0.0
    )
    ids, token = encode(PROMPT), 6
    e = analyzer.analyze(PROMPT, answer="are .", at="a1")
    inner = keras.Model(model.inputs, model.get_layer("a1").output)
    out = inner(np.array([[*ids, 6]]))
    out = np.asarray(out[0] if isinstance(out, list | tuple) else out)[0]
    weights = model.layers[-1].get_weights()[0]
    # The sum of the residual branches is read by the last layer, at one position.
    for k, (position, token) in enumerate(((4, 6), (5, 10))):
        wanted = np.zeros(6)
        wanted[position] = out[position] @ weights[:, token]
        np.testing.assert_allclose(e.relevance[k], wanted, rtol=1e-3, atol=1e-5)
        # Behind the layer the model is linear: its gradient is a column of weights.
        for method, number in (
            ("input_t_gradient", wanted[position]),
            ("gradient", np.linalg.norm(weights[:, token])),
        ):
            other = tfxai.text.create_analyzer(method, (wrapped, encode, decode))
            found = other.analyze(PROMPT, answer="are .", at="a1").relevance[k]
            assert np.flatnonzero(found).tolist() == [position]
            np.testing.assert_allclose(found[position], number, rtol=1e-4)
    assert e.tokens[1] == [*PROMPT.split(), "are"] and e.extra["at"] == "a1"
    assert ">cabinet<" in tfxai.plot.text(e)
    both = analyzer.analyze([OTHER, PROMPT], answer="are .", at="a1")
    np.testing.assert_allclose(both.relevance[1], e.relevance, **NEAR)
    first = next(r["step"] for r in analyzer.coverage() if r["kind"] == "embedding")
    e = analyzer.analyze(PROMPT, answer="are", at=first)
    np.testing.assert_allclose(
        e.relevance, analyzer.analyze(PROMPT, answer="are").relevance, **NEAR
    )


def test_which_layer_and_which_head(attention):
    _, wrapped = attention
    lm = wrapped, encode, decode
    analyzer = tfxai.text.create_analyzer("lrp.attn", lm)
    names, heads = analyzer.heads([PROMPT, OTHER], answer="are")
    assert heads.shape == (2, 2, 2) and len(names) == 2
    e = tfxai.text.explain(lm, [PROMPT, OTHER], answer="are", at="heads")
    assert e.relevance.shape == (2, 1, 4)
    np.testing.assert_allclose(e.relevance[:, 0], heads.reshape(2, 4), **NEAR)
    assert e.features == [f"{n} head {h}" for n in names for h in range(2)]
    assert e.to_dataframe()["feature"].tolist() == e.features * 2
    assert e.plot().axes
    one = tfxai.text.explain(lm, PROMPT, answer="are", at=names[1])
    np.testing.assert_allclose(one.extra["heads"], heads[:1, 1], **NEAR)
    np.testing.assert_allclose(one.relevance.sum(), heads[0, 1].sum(), rtol=1e-4)
    slopes = tfxai.text.create_analyzer("input_t_gradient", lm)
    e = slopes.analyze(PROMPT, answer="are", at="heads")
    # The softmax is not read behind the last layer: two halves are the whole product.
    half = tfxai.text.explain(lm, PROMPT, answer="are", at=names[1], **{
        "method": "lrp.attn", "epsilon": 0.0})  # fmt: skip
    np.testing.assert_allclose(
        e.relevance[0, 2:] / 2, half.extra["heads"][0], rtol=1e-3
    )


def test_a_layer_of_a_model_within_a_model(attention):
    model, wrapped = attention
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    outer = keras.Model(ids, keras.models.clone_model(model)(ids))
    outer.set_weights(model.get_weights())
    found, wanted = (
        tfxai.text.explain((m, encode, decode), PROMPT, answer="are", at="a1")
        for m in (outer, wrapped)
    )
    np.testing.assert_allclose(found.relevance, wanted.relevance, **NEAR)


def test_layers_that_do_not_fit_are_named(attention):
    _, wrapped = attention
    lm = wrapped, encode, decode
    with pytest.raises(OptionError, match="no relevance of layers"):
        tfxai.text.explain(lm, PROMPT, method="smoothgrad", at="a1")
    with pytest.raises(UnknownNameError, match="'nothing'"):
        tfxai.text.explain(lm, PROMPT, method="gradient", at="nothing")
    with pytest.raises(UnknownNameError, match="'nothing'"):
        tfxai.text.explain(lm, PROMPT, at="nothing")
    with pytest.raises(OptionError, match="at or images is given"):
        tfxai.text.explain(sentiment, PROMPT, method="occlusion", at="a1")
    ids = keras.Input((8,), dtype="int32")
    x = keras.layers.Embedding(len(WORDS), 3)(ids)
    x = keras.layers.Dense(5, name="pooled")(keras.layers.Flatten()(x))
    model = keras.Model(ids, keras.layers.Dense(2)(x))
    analyzer = tfxai.text.create_analyzer("lrp.epsilon", (model, encode, decode))
    with pytest.raises(OptionError, match="without an axis of 8 tokens") as caught:
        analyzer.analyze(OTHER, target=0, at="pooled")
    scope = {"analyzer": analyzer, "texts": OTHER}
    e = eval(caught.value.write, scope)
    assert e.relevance.shape == (1, 5)


def score(texts):
    """Words that depend on each other."""
    found = []
    for words in map(str.split, texts):
        has = {w: w in words for w in TEXT.split()}
        found.append(
            2 * has["superb"] - 1.5 * has["bored."] * (1 - 2 * ("not" in words))
            + has["dull!"] * (-1 + 2.5 * has["Not"])
            + 0.3 * has["film."] * has["superb"] + 0.1 * len(words) ** 0.5
        )  # fmt: skip
    return np.array(found)[:, None]


def test_words_in_sentences_in_paragraphs_as_in_shap():
    e = tfxai.text.explain(score, [TEXT, "bored."], method="partition_shap")
    np.testing.assert_allclose(e.relevance[0], SHAP, atol=1e-6)
    np.testing.assert_allclose(e.relevance[1, 0], -1.4, atol=1e-6)
    assert e.extra["sentences"][0].tolist() == [0] * 5 + [1] * 2 + [2] * 3
    assert e.extra["paragraphs"][0].tolist() == [0] * 7 + [1] * 3
    given = tfxai.text.explain(score, TEXT, method="partition_shap", hierarchy=TREE)
    np.testing.assert_allclose(given.relevance[0], SHAP, atol=1e-6)
    halves = list(range(10))
    other = tfxai.text.explain(score, TEXT, method="partition_shap", hierarchy=halves)
    assert np.abs(other.relevance[0] - SHAP).max() > 1e-3  # Shapley values
    # The sum over a sentence is its own value among sentences and paragraphs.
    e = tfxai.text.explain(score, TEXT, method="partition_shap")
    sums = e.sum_by(e.extra["sentences"]).relevance
    alone = tfxai.text.explain(
        score, TEXT, method="partition_shap", unit="sentences"
    )  # fmt: skip
    np.testing.assert_allclose(sums, alone.relevance, atol=1e-6)


def test_sentences_of_a_language_model():
    lm = language_model(), encode, decode
    text = "the old key . and the keys . is"
    analyzer = tfxai.text.create_analyzer("partition_shap", lm)
    both = analyzer.analyze([text, OTHER], answer="are .")
    assert both.extra["sentences"][0].tolist() == [0] * 4 + [1] * 4 + [2] * 2
    tree = [[[0, 1], [2, 3]], [[[4, 5], [6, 7]], 8]]
    wanted = tfxai.text.explain(
        lm, text, answer="are", method="partition_shap", hierarchy=tree
    )
    np.testing.assert_allclose(both.relevance[0, 0, :9], wanted.relevance[0], **NEAR)
    one = analyzer.analyze(OTHER, answer="are .")
    np.testing.assert_allclose(both.relevance[1, :, :4], one.relevance, **NEAR)
