"""Targets of sequences: positions and tokens, against tf.GradientTape."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tests import zoo
from tfxai import targets
from tfxai.base.errors import TargetError

VOCABULARY, WIDTH = 11, 4


def language_model(link=None, length=None, mask=True):
    """Token ids (B, L) and a mask -> the logits (B, L, V) of the next token."""
    ids = keras.Input((length,), dtype="int32", name="token_ids")
    x = L.Embedding(VOCABULARY, WIDTH, name="lookup")(ids)
    inputs = {"token_ids": ids}
    if mask:
        inputs["padding_mask"] = keras.Input(
            (length,), dtype="int32", name="padding_mask"
        )
        x = x * keras.ops.cast(inputs["padding_mask"][..., None], "float32")
    x = L.Conv1D(6, 3, padding="causal", activation="tanh")(x)
    x = L.Dense(VOCABULARY, link)(x)
    return zoo.fill(keras.Model(inputs, x))


@pytest.fixture(scope="module")
def model():
    return language_model()


IDS = np.array([[1, 4, 2, 9, 0, 0], [3, 3, 8, 1, 7, 0]], "int32")
X = {"token_ids": IDS, "padding_mask": (IDS > 0).astype("int32")}
LAST = [3, 4]


def taped(model, score, x=None):
    """sum over the vector of x * d score / d x, and the scores, by a tape."""
    x = X if x is None else x
    tail = keras.Model(
        [*[i for i in model.inputs if i.name == "padding_mask"],
         model.get_layer("lookup").output], model.output,
    )  # fmt: skip
    vectors = model.get_layer("lookup")(x["token_ids"])
    masks = [tf.constant(x["padding_mask"])] if "padding_mask" in x else []
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        scores = score(tail([*masks, vectors]))
    gradient = tape.gradient(scores, vectors)
    return tf.reduce_sum(vectors * gradient, -1).numpy(), scores.numpy()


def at(z, *places):
    """The elements z[b, position, token] of each sample."""
    return tf.stack([z[b, p, t] for b, (p, t) in enumerate(places)])


def relevance(e):
    return np.asarray(e["token_ids"].relevance)


def test_positions_and_tokens(model):
    z = model(X).numpy()
    e = tfxai.explain(model, X, "input_t_gradient", (3, 5))
    wanted, scores = taped(model, lambda z: z[:, 3, 5])
    np.testing.assert_allclose(relevance(e), wanted, atol=1e-5)
    np.testing.assert_allclose(e.score, scores, rtol=1e-4)
    e = tfxai.explain(model, X, "input_t_gradient", [(3, 5), (1, 2)])
    wanted, _ = taped(model, lambda z: at(z, (3, 5), (1, 2)))
    np.testing.assert_allclose(relevance(e), wanted, atol=1e-5)
    both = [[(3, 5), (0, 1)], [(1, 2), (4, 4)]]
    e = tfxai.explain(model, X, "input_t_gradient", both)
    second, _ = taped(model, lambda z: at(z, (0, 1), (4, 4)))
    np.testing.assert_allclose(relevance(e)[:, 1], second, atol=1e-5)
    np.testing.assert_allclose(e.score[:, 1], [z[0, 0, 1], z[1, 4, 4]], rtol=1e-4)


@pytest.mark.parametrize("name", ["input_t_gradient", "lrp.z", "occlusion"])
def test_none_is_the_chosen_token_after_the_last_one(model, name):
    z = model(X).numpy()
    tokens = [int(z[b, p].argmax()) for b, p in enumerate(LAST)]
    e = tfxai.explain(model, X, name)
    places = list(zip(LAST, tokens, strict=True))
    assert [np.unravel_index(t, (6, VOCABULARY)) for t in e.target] == places
    wanted = tfxai.explain(model, X, name, places)
    np.testing.assert_allclose(relevance(e), relevance(wanted), atol=1e-6)
    np.testing.assert_allclose(e.score, [z[b, p, t] for b, (p, t) in enumerate(places)],
                               rtol=1e-4)  # fmt: skip
    e = tfxai.explain(model, X, name, targets.next_token())
    np.testing.assert_allclose(relevance(e), relevance(wanted), atol=1e-5)


def test_a_contrast_is_a_difference_of_logits(model):
    e = tfxai.explain(model, X, "input_t_gradient", targets.next_token(5, 2))

    def score(z):
        return at(z, (3, 5), (4, 5)) - at(z, (3, 2), (4, 2))

    wanted, scores = taped(model, score)
    np.testing.assert_allclose(relevance(e), wanted, atol=1e-5)
    np.testing.assert_allclose(e.score, scores, rtol=1e-4)
    each = targets.next_token([5, 1], [2, 7], position=[0, 2])
    e = tfxai.explain(model, X, "input_t_gradient", each)
    wanted, scores = taped(
        model, lambda z: at(z, (0, 5), (2, 1)) - at(z, (0, 2), (2, 7))
    )
    np.testing.assert_allclose(relevance(e), wanted, atol=1e-5)
    gradient = tfxai.wrap(model).gradient(X, each)[1]
    vectors = model.get_layer("lookup")(IDS).numpy()
    np.testing.assert_allclose((gradient * vectors).sum(-1), wanted, atol=1e-5)
    np.testing.assert_allclose(tfxai.wrap(model).scores(X, each), scores, rtol=1e-4)


@pytest.mark.parametrize("link", [None, "softmax"])
def test_the_log_probability_of_a_continuation(link):
    model = language_model(link)

    def score(y):
        log_p = tf.math.log(y) if link else tf.nn.log_softmax(y)
        return at(log_p, (2, 9), (3, 7)) + at(log_p, (3, 6), (4, 6))

    wanted, scores = taped(model, score)
    for target in (
        targets.continuation([[9, 6], [7, 6]]),  # ends after the last token
        targets.continuation([[9, 6], [7, 6]], position=[2, 3]),
    ):
        e = tfxai.explain(model, X, "input_t_gradient", target)
        np.testing.assert_allclose(e.score, scores, rtol=1e-4)
        np.testing.assert_allclose(relevance(e), wanted, atol=1e-5)


def test_other_positions_and_tokens_need_no_new_graph(model):
    analyzer = tfxai.create_analyzer("input_t_gradient", model)
    made, make = [], analyzer.make
    analyzer.make = lambda *args: made.append(1) or make(*args)
    for token in range(3):
        analyzer.analyze(X, targets.next_token(token, 4, token))
        analyzer.analyze(X, targets.continuation([token, 2]))
        analyzer.analyze(X, [(token, 1), (2, token)])
    assert len(made) == 3


def test_without_a_mask_the_last_position_counts():
    plain = language_model(length=6, mask=False)
    x = {"token_ids": IDS}
    z = plain(x).numpy()
    e = tfxai.explain(plain, IDS, "input_t_gradient")
    np.testing.assert_allclose(e.score, z[:, 5].max(-1), rtol=1e-4)
    i = keras.Input((6,), dtype="int32")
    vectors = L.Embedding(VOCABULARY, WIDTH, mask_zero=True)(i)
    masked = zoo.fill(keras.Model(i, L.Dense(VOCABULARY)(vectors)))
    e = tfxai.explain(masked, IDS, "input_t_gradient")
    wanted = masked(IDS).numpy()[[0, 1], LAST].max(-1)
    np.testing.assert_allclose(e.score, wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (targets.next_token(11), "token 11"),
        (targets.next_token(3, -1), "other token -1"),
        (targets.next_token(3, position=6), "position 6"),
        (targets.next_token([1, 2, 3]), r"for 2 sample"),
        (targets.continuation([1, 2, 3, 4, 5]), "position -1"),
        (targets.continuation([11]), "token 11"),
        ((6, 2), r"target=\(6, 2\)"),
    ],
)
def test_numbers_outside_are_named(model, target, found):
    with pytest.raises(TargetError, match=found) as caught:
        tfxai.explain(model, X, "gradient", target)
    line = caught.value.write
    if "next_token" in line:
        tfxai.explain(model, X, "gradient", eval(line.removeprefix("target=")))


def test_other_models_have_no_next_token():
    i = keras.Input((6,))
    model = zoo.fill(keras.Model(i, L.Dense(3)(i)))
    x = np.ones((1, 6), "float32")
    with pytest.raises(TargetError, match="no input holds token ids") as caught:
        tfxai.explain(model, x, "gradient", targets.next_token(2))
    tfxai.explain(
        model, x, "gradient", eval(caught.value.write.removeprefix("target="))
    )
    for wrong in ("a", 1.5, [[1], [2, 3]]):
        with pytest.raises(TargetError):
            targets.continuation(wrong)
