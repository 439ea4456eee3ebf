"""Texts: prompts and strings in, relevance of tokens and words out."""

import html
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tests import zoo
from tests.core.test_sequence_targets import VOCABULARY, language_model
from tfxai.base.errors import InputError, ModelError, OptionError

WORDS = ["<pad>", "the", "keys", "to", "cabinet", "is", "are", "old", "key", "and", "."]
PROMPT, OTHER = "the keys to the cabinet", "the old key"
#: Padded by all methods, so that equality with the unpadded model tests the padding.
NEAR = {"rtol": 1e-4, "atol": 1e-5}


def encode(text):
    return [WORDS.index(w) if w in WORDS else -1 for w in text.split()]


def decode(ids):
    return " ".join(WORDS[i] for i in ids)


@pytest.fixture(scope="module")
def model():
    return language_model()


@pytest.fixture(scope="module")
def lm(model):
    return model, encode, decode


def logits(model, ids):
    """The logits (V,) after ids, by the model itself, without padding."""
    x = {"token_ids": np.array([ids]), "padding_mask": np.ones((1, len(ids)), int)}
    return model(x)[0, -1].numpy().astype(float)


def greedy(model, ids, count):
    made = []
    for _ in range(count):
        made.append(int(logits(model, [*ids, *made]).argmax()))
    return made


def taped(model, ids, score):
    """sum over the vector of x * d score / d x, of unpadded ids."""
    lookup = model.get_layer("lookup")
    mask = next(i for i in model.inputs if i.name == "padding_mask")
    tail = keras.Model([mask, lookup.output], model.output)
    vectors = lookup(np.array([ids]))
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        value = score(tail([tf.ones((1, len(ids)), tf.int32), vectors])[0])
    return tf.reduce_sum(vectors * tape.gradient(value, vectors), -1)[0].numpy()


def log_p(z, token):
    return z[token] - z.max() - np.log(np.exp(z - z.max()).sum())


def test_generated_tokens_one_after_another_without_a_new_graph(lm, model):
    analyzer = tfxai.text.create_analyzer("input_t_gradient", lm)
    made, inner = [], analyzer._analyzer
    make = inner.make
    inner.make = lambda *args: made.append(1) or make(*args)
    e = analyzer.analyze(PROMPT, n_tokens=3)
    ids = encode(PROMPT)
    answer = greedy(model, ids, 3)
    assert e.target.tolist() == answer and e.relevance.shape == (3, 7)
    for k, token in enumerate(answer):
        row = [*ids, *answer[:k]]
        wanted = taped(model, row, lambda z, token=token: z[-1, token])
        np.testing.assert_allclose(e.relevance[k, : len(row)], wanted, **NEAR)
        assert (e.relevance[k, len(row) :] == 0).all()
        np.testing.assert_allclose(e.score[k], logits(model, row)[token], rtol=1e-4)
        assert e.tokens[k] == [WORDS[i] for i in row]
    page = html.unescape(e._repr_html_())
    assert all(f">{w}<" in page for w in PROMPT.split())
    assert WORDS[answer[0]] in page
    both = analyzer.analyze([PROMPT, OTHER], n_tokens=3)
    assert len(made) == 1  # four analyses of sequences of several lengths
    np.testing.assert_allclose(both.relevance[0], e.relevance, **NEAR)
    one = analyzer.analyze(OTHER, n_tokens=3)
    np.testing.assert_allclose(both.relevance[1, :, :5], one.relevance, **NEAR)
    assert both.target.tolist() == [answer, one.target.tolist()]
    assert both.tokens[1][:3] == OTHER.split() and len(both.tokens[1]) == 5


def test_answers_contrasts_and_whole_answers(lm, model):
    analyzer = tfxai.text.create_analyzer("input_t_gradient", lm)
    ids, are, is_, dot = encode(PROMPT), 6, 5, 10
    e = analyzer.analyze(PROMPT, answer="are", contrast="is")
    wanted = taped(model, ids, lambda z: z[-1, are] - z[-1, is_])
    np.testing.assert_allclose(e.relevance[0], wanted, **NEAR)
    z = logits(model, ids)
    np.testing.assert_allclose(e.score, [z[are] - z[is_]], rtol=1e-4)
    assert e.target.tolist() == [are] and e.names[are] == "are"
    e = analyzer.analyze(PROMPT, answer="are .", contrast=["is", 9])
    assert e.extra["contrast_token"].tolist() == [5, 9]
    assert e[1].extra["contrast_token"].tolist() == [9]
    assert "are rather than is" in tfxai.plot.text(e)
    wanted = taped(model, [*ids, are], lambda z: z[-1, dot] - z[-1, 9])
    np.testing.assert_allclose(e.relevance[1], wanted, **NEAR)
    e = analyzer.analyze([PROMPT, OTHER], answer="are .", whole=True)

    def score(z):
        p = tf.nn.log_softmax(z)
        return p[-2, are] + p[-1, dot]

    for row, text in zip(e.relevance[:, 0], (PROMPT, OTHER), strict=True):
        ids = [*encode(text), are]
        np.testing.assert_allclose(row[: len(ids)], taped(model, ids, score), **NEAR)
    wanted = log_p(logits(model, ids[:-1]), are) + log_p(logits(model, ids), dot)
    np.testing.assert_allclose(e.score[1, 0], wanted, rtol=1e-4)


def test_an_answer_for_each_prompt(lm):
    analyzer = tfxai.text.create_analyzer("input_t_gradient", lm)
    both = analyzer.analyze([PROMPT, OTHER], answer=["are .", "is ."])
    one = analyzer.analyze([OTHER], answer="is .")
    assert both.target.tolist() == [[6, 10], [5, 10]]
    np.testing.assert_allclose(both.relevance[1, :, :4], one.relevance[0], **NEAR)
    with pytest.raises(InputError, match="1 answers for 2 text"):
        analyzer.analyze([PROMPT, OTHER], answer=["are"])
    with pytest.raises(InputError, match="1 to 2 tokens"):
        analyzer.analyze([PROMPT, OTHER], answer=["are", "is ."])


def test_occlusion_and_shapley_values_of_words(lm, model):
    ids = encode(OTHER)
    token = greedy(model, ids, 1)[0]

    def value(kept):
        return log_p(logits(model, kept), token)

    e = tfxai.text.explain(lm, OTHER, n_tokens=1, method="occlusion")
    wanted = [value(ids) - value([*ids[:i], *ids[i + 1 :]]) for i in range(3)]
    np.testing.assert_allclose(e.relevance[0], wanted, rtol=1e-3, atol=1e-5)
    masked = tfxai.text.explain(
        lm, OTHER, n_tokens=1, method="occlusion", mask_token="and"
    )
    wanted = [value(ids) - value([*ids[:i], 9, *ids[i + 1 :]]) for i in range(3)]
    np.testing.assert_allclose(masked.relevance[0], wanted, rtol=1e-3, atol=1e-5)
    e = tfxai.text.explain(
        lm, OTHER, n_tokens=1, method="kernel_shap", mask_token="and"
    )
    wanted = np.zeros(3)
    for order in itertools.permutations(range(3)):
        row = [9, 9, 9]
        for i in order:
            before = value(row)
            row[i] = ids[i]
            wanted[i] += (value(row) - before) / math.factorial(3)
    np.testing.assert_allclose(e.relevance[0], wanted, rtol=1e-3, atol=1e-5)


def sentiment(texts):
    """Two classes that count words."""
    good = np.array([t.count("superb") + 2 * t.count("lovely") for t in texts])
    return np.stack([-good, good], 1).astype(float)


def test_a_function_of_texts():
    texts = ["a superb, lovely film", "dull"]
    for method in ("occlusion", "kernel_shap"):
        e = tfxai.text.explain(sentiment, texts, method=method, target=1)
        assert e.tokens == [["a", "superb,", "lovely", "film"], ["dull"]]
        wanted = [[0, 1, 2, 0], [0, 0, 0, 0]]
        np.testing.assert_allclose(e.relevance, wanted, atol=1e-6)
        assert e.target.tolist() == [1, 1] and e.score.tolist() == [3, 0]
    text = "So superb! It is lovely. Go."
    e = tfxai.text.explain(sentiment, text, method="occlusion", unit="sentences")
    assert e.tokens == [["So superb!", "It is lovely.", "Go."]]
    np.testing.assert_allclose(e.relevance, [[1, 2, 0]])
    e = tfxai.text.explain(
        sentiment, "So superb!\nIt is. \n lovely", method="occlusion", unit="paragraphs"
    )
    assert e.tokens == [["So superb!", "It is.", "lovely"]]
    np.testing.assert_allclose(e.relevance, [[1, 0, 2]])
    seen = []
    tfxai.text.explain(
        lambda t: seen.extend(t) or sentiment(t), "so superb", method="occlusion",
        mask_token="[M]",
    )  # fmt: skip
    assert {"so superb", "[M] superb", "so [M]"} <= set(seen)


@pytest.fixture(scope="module")
def classifier():
    i = keras.Input((None,), dtype="int32", name="token_ids")
    m = keras.Input((None,), dtype="int32", name="padding_mask")
    x = L.Embedding(VOCABULARY, 4)(i) * keras.ops.cast(m[..., None], "float32")
    y = L.Dense(3)(keras.ops.tanh(keras.ops.sum(x, 1)))
    return zoo.fill(keras.Model({"token_ids": i, "padding_mask": m}, L.Softmax()(y)))


def test_a_classifier_of_strings(classifier):
    ids = np.array([encode(PROMPT), [*encode(OTHER), 0, 0]])
    x = {"token_ids": ids, "padding_mask": (ids > 0).astype("int32")}
    wanted = tfxai.explain(classifier, x, "input_t_gradient", 2)["token_ids"]
    given = classifier, encode, decode
    e = tfxai.text.explain(given, [PROMPT, OTHER], method="input_t_gradient", target=2)
    np.testing.assert_allclose(e.relevance, wanted.relevance, **NEAR)
    assert e.tokens == [PROMPT.split(), OTHER.split()]
    p = np.asarray(classifier(x))
    e = tfxai.text.explain(given, [PROMPT, OTHER], method="occlusion")
    top = p.argmax(-1)
    assert e.target.tolist() == top.tolist()
    np.testing.assert_allclose(e.score, p.max(-1), rtol=1e-4)
    short = {"token_ids": ids[1:, 1:3], "padding_mask": np.ones((1, 2), "int32")}
    gap = p[1].max() - np.asarray(classifier(short))[0, top[1]]
    np.testing.assert_allclose(e.relevance[1, 0], gap, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "found"),
    [
        ({"texts": ""}, InputError, "The text is ''"),
        ({"texts": None}, InputError, "texts=None"),
        ({"texts": b"the keys"}, InputError, "texts=b'the keys'"),
        ({"texts": [PROMPT, 3]}, InputError, "The text is 3"),
        ({"texts": "the nonsense"}, InputError, "not in the vocabulary"),
        ({"contrast": ""}, InputError, "contrast=''"),
        ({"contrast": 1.5}, InputError, "contrast=1.5"),
        ({"contrast": ["is", None, "is"]}, InputError, "contrast=None"),
        ({"contrast": "nonsense"}, InputError, "contrast='nonsense' holds"),
        ({"answer": 3}, InputError, "answer=3"),
        ({"contrast": "is ."}, InputError, r"contrast='is .' has 2 tokens"),
        ({"contrast": ["is"]}, InputError, "1 contrasts for 3 tokens"),
        ({"answer": "are", "contrast": "are"}, InputError, "is the answer itself"),
        ({"answer": "nonsense"}, InputError, "not in the vocabulary"),
        ({"contrast": -1}, InputError, "token -1 is not in the vocabulary"),
        ({"method": "occlusion", "contrast": 11}, InputError, "token 11 is not"),
        ({"answer": [[60]]}, InputError, "token 60 is not in the vocabulary"),
        ({"answer": [6]}, InputError, r"answer=\[6\]"),
        ({"n_tokens": 0}, OptionError, "n_tokens=0"),
        ({"target": 3}, OptionError, "target=3"),
        ({"whole": True, "contrast": "is"}, OptionError, "whole=True"),
        ({"method": "occlusion", "unit": "letters"}, OptionError, "unit='letters'"),
        ({"method": "leg"}, OptionError, "'leg' does not explain words"),
    ],
)
def test_bad_options_are_named(lm, options, error, found):
    given = {"texts": PROMPT, "method": "input_t_gradient", **options}
    with pytest.raises(error, match=found) as caught:
        tfxai.text.explain(lm, **given)
    line = caught.value.write or ""
    if line.startswith(("contrast=", "answer=")):
        fixed = {**given, "target": None, **eval(f"dict({line})")}
        assert np.isfinite(tfxai.text.explain(lm, **fixed).relevance).all()


def test_ids_behind_the_vocabulary_are_named_by_their_number(model):
    given = model, encode, lambda ids: WORDS[:9][ids[0]]
    e = tfxai.text.explain(given, OTHER, method="gradient", answer="the")
    assert e.names == [*WORDS[:9], "[9]", "[10]"] and e.target.tolist() == [1]


def test_models_that_do_not_fit_are_named(model, classifier):
    with pytest.raises(ModelError, match="no preprocessor") as caught:
        tfxai.text.explain(model, PROMPT)
    scope = {"tfxai": tfxai, "model": model, "encode": encode, "decode": decode}
    eval(caught.value.write, scope, {"text": PROMPT})
    pair = {
        f"{part}_token_ids": keras.Input((4,), dtype="int32", name=f"{part}_token_ids")
        for part in ("encoder", "decoder")
    }
    both = keras.Model(pair, L.Embedding(VOCABULARY, 3)(pair["decoder_token_ids"]))
    with pytest.raises(ModelError, match="what the decoder begins with"):
        tfxai.text.explain((both, encode, decode), PROMPT)
    both.num_speculative_tokens = 2  # of Gemma4AssistantCausalLM
    with pytest.raises(ModelError, match="drafts tokens for another model"):
        tfxai.text.explain((both, encode, decode), PROMPT)
    with pytest.raises(OptionError, match="returns classes"):
        tfxai.text.explain((classifier, encode, decode), PROMPT, contrast="is")
    with pytest.raises(OptionError, match="a function of texts") as caught:
        tfxai.text.explain(sentiment, PROMPT)
    tfxai.text.explain(sentiment, PROMPT, **eval(f"dict({caught.value.write})"))
    with pytest.raises(ModelError, match="returned shape"):
        tfxai.text.explain(lambda t: np.zeros(7), PROMPT, method="occlusion")
    i = keras.Input((None,), dtype="int32")
    x = zoo.fill(keras.Model(i, L.Dense(VOCABULARY)(L.Embedding(VOCABULARY, 4)(i))))
    e = tfxai.text.explain((x, encode, decode), PROMPT, 1, "gradient")
    assert np.flatnonzero(e.relevance[0]).tolist() == [4]  # the last token alone


@pytest.mark.parametrize(("before", "behind"), [([9], []), ([9], [10]), ([], [10])])
def test_what_encode_adds_to_every_text_is_no_part_of_an_answer(model, before, behind):
    given = model, lambda text: [*before, *encode(text), *behind], decode
    e = tfxai.text.explain(given, PROMPT, 1, "gradient", answer="are", contrast="is")
    ids = [*before, *encode(PROMPT), *behind]
    assert e.target.tolist() == [6] and e.inputs.tolist() == [ids]
    gap = logits(model, ids)[6] - logits(model, ids)[5]
    np.testing.assert_allclose(e.score, [gap], rtol=1e-4)


def test_a_text_of_which_no_token_is_known_is_named(model):
    given = model, lambda t: [9, *(i for i in encode(t) if i > 0)], decode
    with pytest.raises(InputError, match="not in the vocabulary"):
        tfxai.text.explain(given, "nonsense", 1, "gradient")


def test_methods_of_words_evaluate_at_most_a_batch(lm):
    sizes = []

    def count(texts):
        sizes.append(len(texts))
        return sentiment(texts)

    options = {"method": "occlusion", "batch_size": 2}
    tfxai.text.explain(count, PROMPT, target=0, **options)
    assert max(sizes) == 2
    few = tfxai.text.explain(lm, PROMPT, answer="are", **options)
    many = tfxai.text.explain(lm, PROMPT, answer="are", method="occlusion")
    np.testing.assert_allclose(few.relevance, many.relevance, **NEAR)
    with pytest.raises(OptionError, match="images is given"):
        tfxai.text.explain(sentiment, PROMPT, images=0, method="occlusion")
    with pytest.raises(InputError, match="There is no text"):
        tfxai.text.explain(sentiment, [], method="occlusion")


def test_two_classes_of_each_text(classifier):
    analyzer = tfxai.text.create_analyzer("occlusion", (classifier, encode, decode))
    both = analyzer.analyze([PROMPT, OTHER], target=[[0, 2], [2, 1]])
    assert both.relevance.shape == (2, 2, 5)
    for t, target in enumerate(([0, 2], [2, 1])):
        one = analyzer.analyze([PROMPT, OTHER], target=target)
        np.testing.assert_allclose(both.relevance[:, t], one.relevance, **NEAR)
        wanted = analyzer.evaluate(one)
        for name, values in analyzer.evaluate(both).items():
            np.testing.assert_allclose(values[:, t], wanted[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="3 targets for 2 text"):
        analyzer.analyze([PROMPT, OTHER], target=[0, 1, 2])
