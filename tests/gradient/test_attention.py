"""Attention rollout and Chefer's relevance, against a tape on Keras' own attention."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests import zoo
from tfxai.errors import ModelError, OptionError

L, ops = keras.layers, keras.ops


class WithClass(L.Layer):
    """Puts a class token in front."""

    def build(self, shape):
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")

    def call(self, x):
        return ops.concatenate([ops.tile(self.token, (ops.shape(x)[0], 1, 1)), x], 1)


def vit(pooled, blocks=2):
    """Return a ViT of 2 x 3 patches, and its layers: patches, (norm, attention) ..."""
    x = keras.Input((8, 12, 3))
    patches = L.Conv2D(6, 4, 4, name="patches")
    y = L.Reshape((6, 6))(patches(x))
    front = None if pooled else WithClass()
    y = y if pooled else front(y)
    layers = []
    for _ in range(blocks):
        norm, attention = L.LayerNormalization(), L.MultiHeadAttention(2, 3)
        dense = L.Dense(6, "gelu")
        z = norm(y)
        y = L.Add()([y, attention(z, z)])
        y = L.Add()([y, dense(y)])
        layers.append((norm, attention, dense))
    end = L.LayerNormalization()
    y = end(y)
    y = L.GlobalAveragePooling1D()(y) if pooled else y[:, 0]
    head = L.Dense(3)
    model = zoo.fill(keras.Model(x, head(y)))
    return model, (patches, front, layers, end, head)


def by_tape(parts, x, pooled, target):
    """Return the weights (B, heads, L, L) of all blocks, and their gradients."""
    patches, front, layers, end, head = parts
    weights = []
    with tf.GradientTape() as tape:
        y = ops.reshape(patches(x), (len(x), 6, 6))
        y = y if pooled else front(y)
        tape.watch(y)
        for norm, attention, dense in layers:
            z = norm(y)
            moved, scores = attention(z, z, return_attention_scores=True)
            weights.append(scores)
            y = y + moved
            y = y + dense(y)
        y = end(y)
        y = tf.reduce_mean(y, 1) if pooled else y[:, 0]
        score = head(y)[:, target]
    gradients = tape.gradient(score, weights)
    return [np.asarray(v, float) for v in weights], [
        np.asarray(g, float) for g in gradients
    ]


def relevancy(weights, gradients, rollout):
    """R of all tokens (B, L, L), by the formulas of the papers."""
    r = np.eye(weights[0].shape[-1])[None]
    for a, g in zip(weights, gradients, strict=True):
        if rollout:
            r = (a.mean(1) + np.eye(a.shape[-1])) / 2 @ r
        else:
            r = r + np.maximum(a * g, 0).mean(1) @ r
    return r


def pictures(count=2):
    return np.random.default_rng(3).normal(size=(count, 8, 12, 3)).astype("float32")


@pytest.mark.parametrize("pooled", [False, True])
def test_images_by_the_formulas(pooled):
    model, parts = vit(pooled)
    x, wrapped = pictures(), tfxai.wrap(model)
    weights, gradients = by_tape(parts, x, pooled, 2)
    for name in ("attention_rollout", "attention_relevance"):
        r = relevancy(weights, gradients, name == "attention_rollout")
        row = r.mean(1) if pooled else r[:, 0, 1:]
        wanted = row.reshape(2, 2, 3).repeat(4, 1).repeat(4, 2)[..., None]
        e = tfxai.explain(wrapped, x, name, [[2, 0]] * 2, resize="nearest")
        np.testing.assert_allclose(e.relevance[:, 0], wanted, rtol=2e-4, atol=1e-6)
        np.testing.assert_allclose(e.score[:, 0], model(x)[:, 2], rtol=1e-5)
        gap = np.abs(e.relevance[:, 0] - e.relevance[:, 1]).max()
        assert (gap < 1e-6) == (name == "attention_rollout")


def test_tokens_have_one_value_each():
    x = keras.Input((5,), dtype="int32")
    y = L.Embedding(9, 6)(x)
    attention = L.MultiHeadAttention(2, 3)
    y = L.LayerNormalization()(y + attention(y, y, use_causal_mask=True))
    model = zoo.fill(keras.Model(x, L.Dense(2)(y[:, -1])))
    words = np.random.default_rng(0).integers(0, 9, (3, 5))
    e = tfxai.explain(model, words, "attention_rollout", 1)
    v = model.layers[1](words)
    _, scores = attention(v, v, use_causal_mask=True, return_attention_scores=True)
    wanted = (np.asarray(scores).mean(1)[:, -1] + np.eye(5)[-1]) / 2
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-4, atol=1e-6)
    assert tfxai.explain(model, words, "attention_relevance", 1).relevance.shape == (
        3,
        5,
    )


def windows():
    """Return a model whose attention is over windows of 2 x 2 patches."""
    x = keras.Input((4, 4, 5))
    y = ops.transpose(ops.reshape(x, (-1, 2, 2, 2, 2, 5)), (0, 1, 3, 2, 4, 5))
    y = ops.reshape(y, (-1, 4, 5))
    y = ops.reshape(L.MultiHeadAttention(2, 3)(y, y), (-1, 16, 5))
    return keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(y)))


def test_other_models_are_named():
    i = keras.Input((8, 8, 3))
    cnn = keras.Model(i, L.Dense(2)(L.Flatten()(L.Conv2D(3, 3)(i))))
    t = keras.Input((6, 4))
    uneven = L.MultiHeadAttention(2, 3)(t[:, :2], t)
    pooled = keras.Model(t, L.Dense(2)(L.Flatten()(uneven)))
    for model, text in (
        (cnn, "No step of the model"), (pooled, "over tokens of"),
        (windows(), "over tokens of"),
    ):  # fmt: skip
        with pytest.raises(ModelError, match=text):
            tfxai.create_analyzer("attention_relevance", model)
    with pytest.raises(OptionError, match="resize='cubic'"):
        tfxai.create_analyzer("attention_rollout", vit(True)[0], resize="cubic")


def test_an_encoder_and_a_decoder_of_one_length_are_named():
    a, b = keras.Input((6, 8)), keras.Input((6, 8))
    attention = [L.MultiHeadAttention(2, 4) for _ in range(3)]
    encoded = L.LayerNormalization()(a + attention[0](a, a))
    decoded = L.LayerNormalization()(b + attention[1](b, b))
    decoded = L.LayerNormalization()(decoded + attention[2](decoded, encoded))
    model = keras.Model([a, b], L.Dense(3)(L.GlobalAveragePooling1D()(decoded)))
    x = np.ones((2, 6, 8), "float32")
    with pytest.raises(ModelError, match="read different inputs"):
        tfxai.explain(model, [x, x], "attention_rollout", 1)


def test_segments_beside_tokens_get_none():
    ids = keras.Input((6,), dtype="int32", name="token_ids")
    segments = keras.Input((6,), dtype="int32", name="segment_ids")
    y = L.Embedding(20, 8)(ids) + L.Embedding(2, 8)(segments)
    y = L.LayerNormalization()(y + L.MultiHeadAttention(2, 4)(y, y))
    y = L.Dense(3)(L.GlobalAveragePooling1D()(y))
    model = keras.Model([segments, ids], y)
    x = [np.zeros((1, 6), "int32"), np.arange(6)[None]]
    beside, tokens = tfxai.explain(model, x, "attention_rollout", 1).relevance
    assert not beside.any()
    np.testing.assert_allclose(tokens.sum(), 1, rtol=1e-5)
