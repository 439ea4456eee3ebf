"""AttnLRP on small transformers: a NumPy formula, conservation, inserted words."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfxai
from tfxai.relevance.rules import RULES

EPSILON = 1e-6
TOKENS, WIDTH, HEADS, CLASSES = 6, 8, 2, 3


def block(x, name, width, heads=HEADS):
    """Apply attention and an MLP, both to normalised tokens and with a residual sum."""
    y = layers.LayerNormalization(name=f"{name}_norm1")(x)
    look = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")
    x = layers.Add(name=f"{name}_add1")([x, look(y, y)])
    y = layers.LayerNormalization(name=f"{name}_norm2")(x)
    y = layers.Dense(2 * width, activation="gelu", name=f"{name}_mlp1")(y)
    y = layers.Dense(width, name=f"{name}_mlp2")(y)
    return layers.Add(name=f"{name}_add2")([x, y])


def one_block():
    """x + attention(norm(x)), normalised, averaged over tokens: (B, 6, 8) -> (B, 3)."""
    x = tokens = keras.Input((TOKENS, WIDTH))
    y = layers.LayerNormalization(name="norm1")(x)
    look = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name="attention")
    x = layers.Add()([x, look(y, y)])
    x = layers.LayerNormalization(name="norm2")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, layers.Dense(CLASSES, name="out")(x))


def vision():
    """Two blocks on patches of 4 x 4: (B, 16, 16, 3) -> (B, 3), every bias zero."""
    x = scene = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 4, 4, name="patches")(x)
    x = layers.Reshape((-1, 16))(x)
    x = block(block(x, "one", 16), "two", 16)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(scene, layers.Dense(CLASSES, name="out")(x))


def shaken(model, seed, size=0.3):
    """Return the model with normal noise added to all weights, biases and gammas."""
    rng = np.random.default_rng(seed)
    for v in model.trainable_variables:
        v.assign_add(rng.normal(0, size, v.shape))
    return model


# -- AttnLRP in NumPy, one sample x (T, D), float64 ----------------------------------


def stable(z):
    return z + EPSILON * np.where(z >= 0, 1.0, -1.0)


def linear(x, kernel, bias, r):
    """The epsilon rule of x W + b, (T, D) and (T, M)."""
    return x * ((r / stable(x @ kernel + bias)) @ kernel.T)


def share(parts, r):
    """The epsilon rule of a sum."""
    return [p * r / stable(sum(parts)) for p in parts]


class Norm:
    """(x - mean) gamma / sigma + beta over the last axis, sigma constant."""

    def __init__(self, layer, x):
        self.x, self.beta = x, layer.beta.numpy()
        sigma = np.sqrt(x.var(-1, keepdims=True) + layer.epsilon)
        centre = np.eye(x.shape[-1]) - 1 / x.shape[-1]
        # (T, D, D): x W is the normalised token
        self.kernel = centre * (layer.gamma.numpy() / sigma)[:, None]
        self.z = np.einsum("td,tde->te", x, self.kernel) + self.beta

    def back(self, r):
        return self.x * np.einsum("te,tde->td", r / self.z, self.kernel)


def softmax(v):
    e = np.exp(v - v.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def product(a, b, r):
    """R / 2 for each factor of a @ b."""
    s = r / stable(2 * (a @ b))
    return a * (s @ b.T), b * (a.T @ s)


def attention_back(layer, x, r):
    """Return the relevance of x as query, key and value, and the layer's output."""
    dense = (layer.query_dense, layer.key_dense, layer.value_dense)
    kernels = [d.kernel.numpy().astype("float64") for d in dense]
    biases = [d.bias.numpy() for d in dense]
    out, shift = layer.output_dense.kernel.numpy(), layer.output_dense.bias.numpy()
    flat = out.reshape(-1, out.shape[-1])
    head = [
        [x @ w[:, h] + b[h] for w, b in zip(kernels, biases, strict=True)]
        for h in range(HEADS)
    ]
    scale = (WIDTH // HEADS) ** -0.5
    scores = [scale * q @ k.T for q, k, _ in head]
    mixed = [softmax(s) @ v for s, (_, _, v) in zip(scores, head, strict=True)]
    joined = np.concatenate(mixed, -1)
    y = joined @ flat + shift
    if r is None:
        return y
    parts = np.split(linear(joined, flat, shift, r), HEADS, -1)
    total = np.zeros_like(x)
    for h, (q, k, v) in enumerate(head):
        a = softmax(scores[h])
        r_a, r_v = product(a, v, parts[h])
        r_s = scores[h] * (r_a - a * r_a.sum(-1, keepdims=True))
        r_q, r_k = product(scale * q, k.T, r_s)
        for i, part in enumerate((r_q, r_k.T, r_v)):
            total += linear(x, kernels[i][:, h], biases[i][h], part)
    return total


def attn_lrp(model, x, target):
    """Return the relevance (T, D) of one sample's logit."""
    x = x.astype("float64")
    layer = model.get_layer("attention")
    first = Norm(model.get_layer("norm1"), x)
    found = attention_back(layer, first.z, None)
    last = Norm(model.get_layer("norm2"), x + found)
    pooled = last.z.mean(0, keepdims=True)
    kernel, bias = (w.numpy() for w in model.get_layer("out").weights)
    r = (pooled @ kernel + bias) * np.eye(CLASSES)[target]
    r = linear(pooled, kernel, bias, r)
    r = last.z / TOKENS * r / stable(pooled)
    kept, r = share([x, found], last.back(r))
    return kept + first.back(attention_back(layer, first.z, r))


# with seed 0, a sample has scores near 0, where float32 keeps three digits
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_attention_is_the_papers_formula(seed):
    keras.utils.set_random_seed(seed)
    model = shaken(one_block(), seed)
    x = np.random.default_rng(seed).normal(size=(4, TOKENS, WIDTH)).astype("float32")
    target = np.arange(4) % CLASSES
    e = tfxai.explain(model, x, "lrp.attn", target)
    for i, t in enumerate(target):
        wanted = attn_lrp(model, x[i], t)
        error = np.abs(e.relevance[i] - wanted).max() / np.abs(wanted).max()
        assert error < 1e-4


# -- conservation --------------------------------------------------------------------


def absorbed(model, x):
    """Return the fraction of relevance that each step absorbs: {kind: (steps, B)}."""
    analyzer = tfxai.create_analyzer("lrp.attn", model)
    goal = np.zeros((len(x), 1), "int32")
    result = analyzer.graph.absorbed([x], keras.ops.convert_to_tensor(goal))
    steps = np.asarray(result["steps"])[:, 0] / np.abs(np.asarray(result["start"])[0])
    kinds = [row["kind"] for row in reversed(analyzer.coverage())]
    return {k: steps[[i for i, n in enumerate(kinds) if n == k]] for k in set(kinds)}


def test_without_biases_only_softmax_steps_absorb():
    keras.utils.set_random_seed(0)
    model = vision()
    for v in model.trainable_variables:
        if v.name == "kernel":
            v.assign(1.5 * v)
    x = np.random.default_rng(0).random((8, 16, 16, 3)).astype("float32")
    shares = absorbed(model, x)
    assert len(shares["softmax"]) == 2
    assert np.abs(shares.pop("softmax")).max(1).min() > 1e-3
    assert max(np.abs(v).max() for v in shares.values()) < 1e-3


def test_gamma_of_a_vision_transformer_is_in_its_linear_layers():
    """The rest follows AttnLRP, as in the example for ViTs of LXT."""
    wrapped = tfxai.wrap(shaken(vision(), 1, 0.1))
    x = np.random.default_rng(0).random((2, 16, 16, 3)).astype("float32")
    e = tfxai.explain(wrapped, x, "lrp.attn", 0, gamma=0.25)
    rule = RULES["gamma"](gamma=0.25, eps=1e-6)
    kinds = {"dense": rule, "conv": rule}
    again = tfxai.explain(wrapped, x, "lrp.attn", 0, rules=kinds)
    np.testing.assert_allclose(e.relevance, again.relevance, atol=1e-6)
    plain = tfxai.explain(wrapped, x, "lrp.attn", 0).relevance
    assert np.abs(e.relevance - plain).max() > 0.05 * np.abs(plain).max()


def test_biases_absorb_too():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).random((8, 16, 16, 3)).astype("float32")
    shares = absorbed(shaken(vision(), 0, 0.1), x)
    assert {"conv", "dense", "norm", "softmax"} <= {
        k for k, v in shares.items() if np.abs(v).max() > 1e-2
    }
    quiet = ("activation", "average", "product", "route")
    assert max(np.abs(shares[k]).max() for k in quiet) < 1e-3


# -- planted words -------------------------------------------------------------------

LENGTH, WORDS, PLANTED = 12, 40, 6  # words 1 to 3 are good, 4 to 6 bad


def sentences(n, seed):
    """Return tokens (n, 12), padded with 0; labels (n,): bad, neutral, good; positions.

    Neutral sentences have no inserted word, so that good and bad each need one.
    """
    rng = np.random.default_rng(seed)
    tokens = rng.integers(PLANTED + 1, WORDS, (n, LENGTH), dtype="int32")
    lengths = rng.integers(5, LENGTH, n)
    tokens *= np.arange(LENGTH) < lengths[:, None]
    places, words = rng.integers(0, lengths), rng.integers(1, PLANTED + 1, n)
    labels = np.where(words <= PLANTED // 2, 2, 0)
    labels[rng.random(n) < 1 / 3] = 1
    planted = labels != 1
    tokens[np.flatnonzero(planted), places[planted]] = words[planted]
    return tokens, labels, places


WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "sentence_reader.npz"


def untrained_reader():
    """Return a classifier of sentences: bad, neutral, good."""
    x = tokens = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(WORDS, 16, mask_zero=True)(x)
    x = layers.LayerNormalization()(block(x, "block", 16))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, layers.Dense(3, "softmax")(x))


def write_weights():
    """Train the classifier and store its weights."""
    keras.utils.set_random_seed(0)
    model = untrained_reader()
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(*sentences(2000, 0)[:2], batch_size=32, epochs=5, verbose=0)
    np.savez_compressed(WEIGHTS, *model.get_weights())


@pytest.fixture(scope="module")
def reader():
    """Return the trained classifier of sentences by their one inserted word.

    `python -m tests.relevance.test_transformers` trains it and writes its weights.
    """
    model = untrained_reader()
    with np.load(WEIGHTS) as stored:
        model.set_weights([stored[f"arr_{i}"] for i in range(len(stored.files))])
    return model


def good_minus_bad(logits):
    return logits[:, 2] - logits[:, 0]


def test_the_planted_word_is_the_most_relevant(reader):
    tokens, labels, places = sentences(300, 1)
    assert (reader.predict(tokens, verbose=0).argmax(1) == labels).mean() > 0.97
    planted = labels != 1
    e = tfxai.explain(reader, tokens[planted], "lrp.attn", good_minus_bad)
    assert e.relevance.shape == tokens[planted].shape
    toward = e.relevance * (labels[planted] - 1)[:, None]
    assert (toward.argmax(1) == places[planted]).mean() >= 0.9


def test_without_the_most_relevant_word_the_score_is_gone(reader):
    tokens, labels, _ = sentences(300, 3)
    tokens, sign = tokens[labels != 1], labels[labels != 1] - 1
    rows = np.arange(len(tokens))

    def left(places):
        """Return the mean score of the label, with one word made neutral."""
        changed = tokens.copy()
        changed[rows, places] = PLANTED + 1
        return (sign * good_minus_bad(tfxai.wrap(reader).logits(changed))).mean()

    e = tfxai.explain(reader, tokens, "lrp.attn", good_minus_bad)
    most = (e.relevance * sign[:, None]).argmax(1)
    random = np.random.default_rng(0).integers(0, (tokens > 0).sum(1))
    whole = (sign * e.score).mean()
    assert left(most) < 0.2 * whole < 0.7 * whole < left(random)


def test_padding_gets_none(reader):
    tokens, labels, _ = sentences(50, 2)
    e = tfxai.explain(reader, tokens, "lrp.attn", labels)
    assert (e.relevance[tokens == 0] == 0).all()
    assert (np.abs(e.relevance).sum(1) > 0).all()


if __name__ == "__main__":
    write_weights()


@pytest.mark.parametrize("masked", [True, False])
def test_cp_lrp_holds_the_weights_of_attention_constant(masked):
    tokens = keras.Input((TOKENS, WIDTH))
    look, out = layers.MultiHeadAttention(HEADS, 3), layers.Dense(CLASSES)
    # With scores Keras takes its Softmax layer, which masks the weights once more.
    options = {"use_causal_mask": masked, "return_attention_scores": True}
    y = look(tokens, tokens, **options)[0]
    model = shaken(keras.Model(tokens, out(y[:, -2])), 3)
    rng = np.random.default_rng(4)
    x = tf.constant(rng.normal(size=(2, TOKENS, WIDTH)), tf.float32)
    weights = look(x, x, **options)[1]
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = tf.einsum("btd,dhk->bthk", x, look.value_dense.kernel)
        values = tf.einsum("bhqt,bthk->bqhk", weights, values + look.value_dense.bias)
        score = out(look.output_dense(values))[:, -2, 1]
    wanted = x * tape.gradient(score, x)
    found = tfxai.explain(model, x, "lrp.cp", 1, epsilon=0.0).relevance
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
