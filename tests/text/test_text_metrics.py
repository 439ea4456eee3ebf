"""Metrics of texts, attention rollout, and the published values of AttnLRP."""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import tfxai
from tests import zoo
from tests.benchmarks import text_truth
from tests.core.test_sequence_targets import VOCABULARY, language_model
from tests.text.test_text import OTHER, PROMPT, decode, encode, log_p, logits
from tfxai.base.errors import OptionError


@pytest.fixture(scope="module")
def model():
    return language_model()


def p_of(model, ids, token):
    """The probability of a token after ids; of a text without words after id 0."""
    return np.exp(log_p(logits(model, list(ids) or [0]), token))


def test_metrics_by_their_formulas(model):
    lm = model, encode, decode
    analyzer = tfxai.text.create_analyzer("input_t_gradient", lm)
    e = analyzer.analyze(OTHER, answer="is .")
    found = analyzer.evaluate(e)
    assert list(found) == list(tfxai.text.TEXT_METRICS)
    for k in range(2):
        ids = [*encode(OTHER), 5][: 3 + k]
        token, n = (5, 10)[k], 3 + k
        r = e.relevance[k, :n]
        order = np.argsort(-r, kind="stable")
        out = [p_of(model, np.delete(ids, order[:i]), token) for i in range(n + 1)]
        only = [
            p_of(model, [ids[i] for i in sorted(order[:c])], token)
            for c in range(n + 1)
        ]
        counts = [int(np.ceil(q * n)) for q in (0.01, 0.05, 0.1, 0.2, 0.5)]
        wanted = {
            "comprehensiveness": np.mean([out[0] - out[c] for c in counts]),
            "sufficiency": np.mean([out[0] - only[c] for c in counts]),
            "deletion": np.trapezoid(out, dx=1 / n),
            "insertion": np.trapezoid(only, dx=1 / n),
            "additivity": abs(r.sum() - e.score[k]) / abs(e.score[k]),
        }
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name][k], value, rtol=1e-3, atol=1e-6)
    both = analyzer.analyze([PROMPT, OTHER], answer="is .")
    again = analyzer.evaluate(both, ["deletion"])["deletion"]
    assert again.shape == (2, 2)
    np.testing.assert_allclose(again[1], found["deletion"], rtol=1e-3)
    exact = tfxai.text.explain(lm, OTHER, answer="is", method="kernel_shap")
    gap = exact.score[0] - np.log(p_of(model, [0], 5))
    np.testing.assert_allclose(exact.relevance.sum(), gap, rtol=1e-3)
    assert analyzer.evaluate(exact, ["additivity"])["additivity"] < 1e-3
    with pytest.raises(OptionError, match="metrics='auc'"):
        analyzer.evaluate(e, ["auc"])
    with pytest.raises(OptionError, match="not that of a token"):
        analyzer.evaluate(analyzer.analyze(OTHER, answer="is .", whole=True))


def test_metrics_of_a_classifier():
    i = keras.Input((None,), dtype="int32", name="token_ids")
    m = keras.Input((None,), dtype="int32", name="padding_mask")
    x = L.Embedding(VOCABULARY, 4)(i) * ops.cast(m[..., None], "float32")
    y = L.Softmax()(L.Dense(3)(ops.tanh(ops.sum(x, 1))))
    model = zoo.fill(keras.Model({"token_ids": i, "padding_mask": m}, y))
    analyzer = tfxai.text.create_analyzer("occlusion", (model, encode, decode))
    e = analyzer.analyze([OTHER], target=1)
    found = analyzer.evaluate(e, ["deletion"])["deletion"]
    ids, order = np.array(encode(OTHER)), np.argsort(-e.relevance[0], kind="stable")
    rest = [np.delete(ids, order[:c]) for c in range(3)] + [np.array([0])]
    p = []
    for row in rest:
        x = {"token_ids": row[None], "padding_mask": np.ones((1, len(row)), "int32")}
        p.append(np.asarray(model(x))[0, 1])
    np.testing.assert_allclose(found, [np.trapezoid(p, dx=1 / 3)], rtol=1e-3)


def test_random_weights_change_the_relevance(model):
    before = [np.array(w) for w in model.get_weights()]
    analyzer = tfxai.text.create_analyzer("input_t_gradient", (model, encode, decode))
    found = analyzer.randomisation(PROMPT, answer="are .")
    both = analyzer.randomisation([PROMPT, OTHER], answer="are .")
    np.testing.assert_allclose(both[0], found, rtol=1e-6)
    assert found.shape == (2,) and (np.abs(found) < 0.95).all()
    for w, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(w, kept)
    with pytest.raises(OptionError, match="whole=True"):
        analyzer.randomisation(PROMPT, answer="are .", whole=True)


def causal_model(seen, layers=2):
    """Causal layers of attention; `seen` gets their weights."""
    i = keras.Input((None,), dtype="int32", name="token_ids")
    x = L.Embedding(VOCABULARY, 4)(i)
    for k in range(layers):
        y, weights = L.MultiHeadAttention(2, 3, name=f"a{k}")(
            x, x, use_causal_mask=True, return_attention_scores=True
        )
        seen.append(weights)
        x = x + y
    return zoo.fill(keras.Model(i, L.Dense(VOCABULARY)(x)))


def test_attention_rollout():
    seen = []
    model = causal_model(seen)
    given = model, encode, decode
    e = tfxai.text.explain(given, PROMPT, 2, "attention_rollout")
    ids = encode(PROMPT)
    first, second = keras.Model(model.inputs, seen)(np.array([ids]))
    product = np.eye(5)
    for weights in (first, second):
        product = (np.asarray(weights)[0].mean(0) + np.eye(5)) / 2 @ product
    np.testing.assert_allclose(e.relevance[0, :5], product[-1], rtol=1e-4)
    np.testing.assert_allclose(e.relevance.sum(-1), 1, rtol=1e-5)
    both = tfxai.text.explain(given, [PROMPT, "the keys"], 1, "attention_rollout")
    np.testing.assert_allclose(both.relevance[0, 0, :5], product[-1], rtol=1e-4)
    np.testing.assert_allclose(both.relevance.sum(-1), 1, rtol=1e-5)  # with padding
    weighted = tfxai.text.explain(given, PROMPT, 2, "attention_relevance").relevance
    assert (weighted[0, :5] > 0).all() and weighted[0, 4] > 1  # its own row
    z = np.asarray(model(np.array([ids])))[0, -1]
    np.testing.assert_allclose(e.score[0], z.max(), rtol=1e-4)
    with pytest.raises(OptionError, match="no option 'epsilon'"):
        tfxai.text.create_analyzer("attention_rollout", given, epsilon=1)


def test_relevance_of_layers_and_heads():
    seen = []
    model = causal_model(seen, 1)
    given = model, encode, decode
    analyzer = tfxai.text.create_analyzer("lrp.attn", given, epsilon=0.0)
    ids, token = encode(PROMPT), 6
    names, heads = analyzer.heads(PROMPT, answer="are")
    assert len(names) == 1 and heads.shape == (1, 1, 2)
    layer, weights = model.get_layer("a0"), keras.Model(model.inputs, seen)
    look = np.asarray(
        weights(np.array([ids]))[0]
        if isinstance(weights(np.array([ids])), list)
        else weights(np.array([ids]))
    )[0]
    x = model.layers[1](np.array([ids]))[0].numpy()
    value = dict(
        zip(
            [
                w.path.split("/")[-2:][0] + "/" + w.path.split("/")[-1]
                for w in layer.weights
            ],
            layer.get_weights(),
            strict=True,
        )
    )
    v = np.einsum("kd,dhe->khe", x, value["value/kernel"]) + value["value/bias"]
    out = model.layers[-1].get_weights()[0][:, token]
    slope = np.einsum("khe,hed,d->hk", v, value["attention_output/kernel"], out)
    wanted = (look[:, -1] * slope).sum(-1) / 2
    np.testing.assert_allclose(heads[0, 0], wanted, rtol=1e-3)
    e = analyzer.analyze(PROMPT, answer="are")
    name = next(r["step"] for r in analyzer.coverage() if r["kind"] == "embedding")
    at = analyzer.relevance_at(name, PROMPT, answer="are").relevance
    np.testing.assert_allclose(at.sum(-1)[:, :5], e.relevance, rtol=1e-4, atol=1e-6)
    games = tfxai.text.create_analyzer("occlusion", given)
    with pytest.raises(OptionError, match="no relevance of layers"):
        games.heads(PROMPT)


def test_the_sentences_of_the_truth_table():
    rng = np.random.default_rng(0)
    for _ in range(40):
        words, right, wrong, must = text_truth.copying(rng)
        named = words[-2]
        assert wrong == named and {words[i] for i in must} == {right} != {named}
        words, right, _, must = text_truth.negation(rng)
        good = words[4] in text_truth.GOOD
        assert (right == "happy") == (good != ("not" in words))
        assert must == ({3, 4} if "not" in words else {4})
        words, right, _, must = text_truth.agreement(rng)
        (noun,) = (words[i] for i in must)
        assert (right == "are") == noun.endswith("s") and words[must.pop() - 1] == "the"
    assert text_truth.found(np.array([1, -3, 2.0]), {1, 2})
    assert not text_truth.found(np.array([1, -3, 2.0]), {0})
    np.testing.assert_allclose(text_truth.wilson(5, 10), (0.2366, 0.7634), atol=1e-4)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("length", [10, 16])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_attnlrp_as_published(shared, monkeypatch, name, length):
    monkeypatch.syspath_prepend(str(shared / "references" / "attnlrp"))
    from load_case import build, fill, read

    c, weights, data = read(name)
    if "positions" in weights:
        rows = np.zeros((length - 10, c["width"]), np.float32)
        weights["positions"] = np.concatenate([weights["positions"][:10], rows])
    made = fill(
        build({**c, "tokens": length}, "layer"), {**c, "tokens": length}, weights
    )
    z = made.get_layer("out")(made.get_layer("norm").output)
    model = keras.Model(made.inputs, z)
    given = model, lambda t: [int(i) for i in t.split()], lambda ids: str(ids[0])
    analyzer = tfxai.text.create_analyzer("lrp.attn", given, epsilon=0.0)
    texts = [" ".join(map(str, row)) for row in data["x"]]
    wanted = data["relevance/lxt_efficient_attnlrp/f64"].sum(-1)
    for text, token, row in zip(texts, data["target"], wanted, strict=True):
        e = analyzer.analyze(text, answer=str(token))
        np.testing.assert_allclose(e.relevance[0], row, atol=1e-5 * np.abs(row).max())
    short = [" ".join(t.split()[:n]) for t, n in zip(texts, (9, 4, 7, 8), strict=True)]
    both = analyzer.analyze(short, answer="3 5").relevance
    for row, text in zip(both, short, strict=True):
        one = analyzer.analyze(text, answer="3 5").relevance
        size = np.abs(one).max()
        np.testing.assert_allclose(row[:, : one.shape[1]], one, atol=2e-6 * size)
    x = np.zeros((1, length), np.int32)
    x[0, :10] = data["x"][0]
    e = tfxai.explain(model, x, "lrp.attn", (5, 3))
    assert (e.relevance[0, 6:] == 0).all() and e.relevance[0, :6].all()
