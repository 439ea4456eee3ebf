"""What methods of words return beside relevance, ends of answers, and additivity."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

import tfxai
from tests.core.test_sequence_targets import language_model
from tests.text.test_text import (
    NEAR,
    OTHER,
    PROMPT,
    decode,
    encode,
    greedy,
    log_p,
    logits,
)
from tfxai.base.errors import InputError, OptionError
from tfxai.cli.tokenizers import of_vocabulary, tokenizer_of
from tfxai.text.analyzer import TextAnalyzer


@pytest.fixture(scope="module")
def model():
    return language_model()


@pytest.fixture(scope="module")
def lm(model):
    return tfxai.wrap(model), encode, decode


def pairs(texts):
    """good: 1; not: -1; both: -5 beside their sum."""
    good = np.array(["good" in t for t in texts], float)
    no = np.array(["not" in t for t in texts], float)
    return (good - no - 5 * good * no)[:, None]


def test_interactions_and_errors_of_the_words_of_a_function():
    texts = ["it is not good", "good"]
    e = tfxai.text.explain(pairs, texts, method="shapley_interactions", target=0)
    wanted = np.zeros((4, 4))
    wanted[2, 3] = wanted[3, 2] = -2.5
    wanted[2, 2], wanted[3, 3] = -1, 1
    np.testing.assert_allclose(e.extra["interactions"][0], wanted, atol=1e-6)
    np.testing.assert_allclose(e.extra["interactions"][1, 0, 0], 1, atol=1e-6)
    assert np.isnan(e.extra["interactions"][1, 0, 1:]).all()
    np.testing.assert_allclose(e.relevance, [[0, 0, -3.5, -1.5], [1, 0, 0, 0]])
    assert e.extra["segments"].tolist() == [[0, 1, 2, 3], [0, -1, -1, -1]]
    assert e.stable_ranks(2)[0].tolist() == [True, True]
    e = tfxai.text.explain(
        lambda texts: np.array([len(set(t.split()) & set("abc")) ** 3 for t in texts]),
        "a b c d e f", method="shapley_sampling", n_samples=24,
    )  # fmt: skip
    assert e.extra["n_samples"] == 24 and (e.extra["standard_error"] > 0).any()
    low, high = e.extra["interval_low"], e.extra["interval_high"]
    assert (low <= e.relevance).all() and (e.relevance <= high).all()


def test_arrays_of_a_language_model_belong_to_prompt_and_token(lm):
    analyzer = tfxai.text.create_analyzer("kernel_shap", lm)
    both = analyzer.analyze([PROMPT, OTHER], answer="are .")
    one = analyzer.analyze(OTHER, answer="are .")
    assert both.extra["coefficients"].shape == (2, 2, 6)
    assert np.isnan(both.extra["coefficients"][1, 1, 4:]).all()
    for name in ("coefficients", "standard_error", "interval_low"):
        found = both[1].extra[name][0, :, :4]
        np.testing.assert_allclose(found, one.extra[name], **NEAR)
    assert both.extra["evaluations"].shape == (2, 2)
    assert one.extra["segments"].tolist() == [[0, 1, 2, -1], [0, 1, 2, 3]]
    assert both.extra["segments"][1].tolist() == [0, 1, 2, 3, -1, -1]
    np.testing.assert_allclose(both.relevance[1, 1, :4], one.extra["coefficients"][1])


def test_a_single_word_is_explained_by_the_method_itself(lm):
    for method in ("sobol", "hsic"):
        with pytest.raises(InputError, match="compares players"):
            tfxai.text.explain(pairs, "good", method=method)
    for method in ("kernel_shap", "lime", "partition_shap", "shapley_interactions"):
        e = tfxai.text.explain(lm, "keys", 1, method)
        assert e.extra["coefficients"].shape == (1, 1)
        occluded = tfxai.text.explain(lm, "keys", 1, "occlusion")
        np.testing.assert_allclose(e.relevance, occluded.relevance, rtol=1e-4)


def ending(method, lm, end):
    """An analyzer of the model whose answers end with a token."""
    analyzer = tfxai.text.create_analyzer(method, lm)
    reader = replace(analyzer.reader, end=(end,))
    return TextAnalyzer(method, analyzer.wrapped, reader, {})


def test_a_prompt_that_has_ended_goes_on_in_no_batch(lm, model):
    answers = {t: greedy(model, encode(t), 3) for t in (PROMPT, OTHER)}
    first, second = answers[PROMPT], answers[OTHER]
    last = next(i for i, t in enumerate(second) if t not in first)
    end, count = second[last], last + 1
    assert count < 3
    for method in ("input_t_gradient", "kernel_shap"):
        analyzer = ending(method, lm, end)
        both = analyzer.analyze([PROMPT, OTHER], n_tokens=3)
        assert both.target[0].tolist() == first
        assert both.target[1].tolist() == [*second[:count], *[-1] * (3 - count)]
        assert (both.relevance[1, count:] == 0).all()
        assert np.isnan(both.score[1, count:]).all()
        assert np.isfinite(both.score[0]).all()
        one = analyzer.analyze(OTHER, n_tokens=3)
        assert one.target.tolist() == second[:count]
        width = one.relevance.shape[1]
        found = both.relevance[1, :count, :width]
        np.testing.assert_allclose(found, one.relevance, **NEAR)
        assert both.tokens[1] == one.tokens[-1]
        assert both.extra["answer"][1] == one.extra["answer"][0]
        values, alone = analyzer.evaluate(both), analyzer.evaluate(one)
        for name, v in values.items():
            np.testing.assert_allclose(v[1, :count], alone[name], rtol=1e-3, atol=1e-6)
            assert np.isnan(v[1, count:]).all()
        assert "no token" in tfxai.plot.text(both)
    whole = analyzer.analyze([PROMPT, OTHER], n_tokens=3, whole=True)
    alone = analyzer.analyze(OTHER, n_tokens=3, whole=True)
    np.testing.assert_allclose(whole.score[1], alone.score, rtol=1e-4)
    found = ending("input_t_gradient", lm, end).randomisation([PROMPT, OTHER])
    assert np.isnan(found[1, count:]).all() and np.isfinite(found[1, :count]).all()


def test_the_text_of_an_answer_has_spaces(lm):
    e = tfxai.text.explain(lm, PROMPT, method="gradient", answer="are old .")
    assert e.extra["answer"] == ["are old ."]


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "deeplift", "kernel_shap", "partition_shap"]
)
def test_values_add_up_to_the_change_from_the_baseline(lm, model, method):
    analyzer = tfxai.text.create_analyzer(method, lm)
    e = analyzer.analyze(OTHER, answer="is")
    assert np.abs(e.relevance).max() > 0.01
    ids = encode(OTHER)
    if "shap" in method:
        change = log_p(logits(model, ids), 5) - log_p(logits(model, [0]), 5)
    else:  # from the vectors of id 0, with the same mask
        change = logits(model, ids)[5] - logits(model, [0, 0, 0])[5]
    np.testing.assert_allclose(e.relevance.sum(), change, rtol=1e-3)
    assert analyzer.evaluate(e)["additivity"] < 1e-3


def test_methods_that_do_not_add_up_have_no_additivity(lm):
    for method in ("occlusion", "sobol", "gradient", "guided_backprop"):
        analyzer = tfxai.text.create_analyzer(method, lm)
        e = analyzer.analyze("the keys", answer="are")
        assert "additivity" not in analyzer.evaluate(e)
        with pytest.raises(OptionError, match="add up to nothing") as caught:
            analyzer.evaluate(e, ["additivity"])
        assert caught.value.write == 'method="lrp.attn"'


def test_pictures_are_no_words():
    rng = np.random.default_rng(0)
    e = tfxai.Explanation(
        rng.random((1, 4, 4, 3)), np.zeros(1, int), np.ones(1), "gradient",
        rng.random((1, 4, 4, 3)),
    )  # fmt: skip
    for given in (e, [e, e], {"a": e}):
        with pytest.raises(InputError, match="without tokens"):
            tfxai.plot.text(given)


def test_the_words_of_a_vocabulary(tmp_path):
    known = ["[UNK]", "a", "film", "don't", ",", "USA"]
    encoded = of_vocabulary(known).encode("A film, don't USA usa nonsense")
    words = ["a", "film", ",", "don't", "USA", "usa", "nonsense"]
    assert encoded == ([1, 2, 4, 3, 5, 0, 0], words)
    bare = of_vocabulary(known[1:])
    with pytest.raises(InputError, match="holds 'usa', which is not in the vocab"):
        bare.encode("a usa")
    assert bare.decode([0, 1]) == "a film"
    (tmp_path / "f.py").write_text(
        "def read(texts):\n    return [[1, 2]] * len(texts), [['a', 'b']] * len(texts)"
    )
    own = tokenizer_of(f"{tmp_path}/f.py:read")
    assert own.encode("x") == ([1, 2], ["a", "b"])
    with pytest.raises(OptionError, match="no texts of ids"):
        _ = own.functions
    orders = list(itertools.permutations(["a", "film"]))
    assert [bare.encode(" ".join(o))[0] for o in orders] == [[0, 1], [1, 0]]
