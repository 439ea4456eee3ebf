"""AttnLRP of BERT, padded or not, against a tape in float64 with the slopes of LXT."""

import os
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

import tfxai
from tests.text import hub_zoo

pytestmark = pytest.mark.slow
TEXTS = ["the keys to the cabinet", "keys are"]
held = tf.stop_gradient


@pytest.fixture(scope="module")
def model():
    sys.modules.setdefault("grain", types.SimpleNamespace(MapDataset=object))
    if not os.environ.get("CI"):
        pytest.importorskip("keras_hub", reason="needs keras-hub, not installed")
    return hub_zoo.build("BertTextClassifier")


def f8(weights):
    return tf.constant(np.asarray(weights), tf.float64)


def dense(x, layer):
    return x @ f8(layer.kernel) + f8(layer.bias)


def divided(x, n):
    """x, with the gradient divided by n: the uniform rule of products."""
    return x / n + held(x - x / n)


def alike(f, x):
    """f(x) with the slope f(x) / x: the identity rule of activations."""
    return x * held(f(x) / x)


def norm(x, layer):
    """A LayerNormalization whose standard deviation is constant."""
    x = x - tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(x * x, -1, keepdims=True)
    x = x * held(tf.math.rsqrt(variance + layer.epsilon))
    return x * f8(layer.gamma) + f8(layer.beta)


def attention(x, layer, mask):
    q, k, v = (
        tf.einsum("btd,dhk->bthk", x, f8(part.kernel)) + f8(part.bias)
        for part in (layer.query_dense, layer.key_dense, layer.value_dense)
    )
    pairs = tf.einsum("bqhk,bshk->bhqs", q, k) / np.sqrt(q.shape[-1])
    weights = tf.nn.softmax(divided(pairs, 2) - 1e9 * (1 - mask)[:, None, None])
    y = divided(tf.einsum("bhqs,bshk->bqhk", weights, v), 2)
    out = layer.output_dense
    return tf.einsum("bqhk,hkd->bqd", y, f8(out.kernel)) + f8(out.bias)


def gelu(x):
    return x * (1 + tf.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def relevance(model, ids, mask, target):
    """x * d logit / d x with LXT's gradients, summed over the vector of each token."""
    backbone = model.backbone
    part = backbone.get_layer
    vectors = f8(tf.gather(backbone.token_embedding.embeddings, ids))
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        places = f8(part("position_embedding").position_embeddings)[: ids.shape[1]]
        x = vectors + places + f8(part("segment_embedding").embeddings)[0]
        x = norm(x, part("embeddings_layer_norm"))
        for layer in backbone.transformer_layers:
            y = attention(x, layer._self_attention_layer, f8(mask))
            x = norm(x + y, layer._self_attention_layer_norm)
            y = alike(gelu, dense(x, layer._feedforward_intermediate_dense))
            y = dense(y, layer._feedforward_output_dense)
            x = norm(x + y, layer._feedforward_layer_norm)
        pooled = alike(tf.tanh, dense(x[:, 0], part("pooled_dense")))
        logit = dense(pooled, model.output_dense)[:, target]
    return tf.reduce_sum(vectors * tape.gradient(logit, vectors), -1), logit


def test_bert_is_explained_by_attnlrp_as_published(model):
    x = {k: np.asarray(v).astype("int32") for k, v in model.preprocessor(TEXTS).items()}
    wanted, logits = relevance(model, x["token_ids"], x["padding_mask"], 1)
    analyzer = tfxai.text.create_analyzer("lrp.attn", model, epsilon=0.0)
    both = analyzer.analyze(TEXTS, target=1)
    np.testing.assert_allclose(both.score, logits, rtol=1e-4, atol=1e-6)
    for text, row, mine in zip(TEXTS, wanted.numpy(), both.relevance, strict=True):
        alone = analyzer.analyze(text, target=1).relevance[0]
        limit = 2e-6 * np.abs(row).max()
        np.testing.assert_allclose(mine, row[: len(mine)], atol=limit)
        np.testing.assert_allclose(alone, row[: len(alone)], atol=limit)
