"""Audio and images in, relevance of samples and of the written tokens out."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import tfxai
from tests import zoo
from tfxai.base.errors import InputError, ModelError, OptionError
from tfxai.text.signals import AUDIO, IMAGES, Signal

WORDS = ["<start>", "yes", "no", "go", "stop"]
NEAR = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def model():
    """Features (B, frames, 4) and token ids -> the logits of the next token."""
    features = keras.Input((None, 4), name="encoder_features")
    heard = keras.Input((None,), dtype="int32", name="encoder_padding_mask")
    ids = keras.Input((None,), dtype="int32", name="decoder_token_ids")
    mask = keras.Input((None,), dtype="int32", name="decoder_padding_mask")
    x = L.Conv1D(6, 2, activation="tanh", name="source")(features)
    x = keras.ops.sum(x * keras.ops.cast(heard[:, 1:, None], "float32"), 1)
    y = L.Embedding(len(WORDS), 6, name="lookup")(ids)
    y = y * keras.ops.cast(mask[..., None], "float32")
    y = L.Conv1D(6, 3, padding="causal", activation="tanh", name="prefix")(y)
    z = L.Dense(len(WORDS), name="out")(y * (1 + x[:, None]))
    inputs = {
        "encoder_features": features, "encoder_padding_mask": heard,
        "decoder_token_ids": ids, "decoder_padding_mask": mask,
    }  # fmt: skip
    return zoo.fill(keras.Model(inputs, z))


def encode(samples):
    """Frames of four samples, and what the decoder begins with."""
    return np.reshape(samples, (-1, 4)), [0]


def decode(ids):
    return " ".join(WORDS[i] for i in ids)


def audio(seed, samples=32):
    return np.random.default_rng(seed).uniform(-1, 1, samples)


def taped(model, features, ids, token):
    """x * d z[-1, token] / d x of features, that of the vectors of ids, and z[-1]."""
    layer = model.get_layer
    x = tf.constant(features[None], tf.float32)
    vectors = layer("lookup")(np.array([ids]))
    with tf.GradientTape() as tape:
        tape.watch([x, vectors])
        hidden = tf.reduce_sum(layer("source")(x), 1)
        z = layer("out")(layer("prefix")(vectors) * (1 + hidden[:, None]))[0, -1]
        score = z[token]
    a, b = tape.gradient(score, [x, vectors])
    return (x * a)[0].numpy(), tf.reduce_sum(vectors * b, -1)[0].numpy(), z.numpy()


def test_features_of_audio_and_the_written_tokens(model):
    analyzer = tfxai.text.create_analyzer("input_t_gradient", (model, encode, decode))
    heard = [audio(0), audio(1)]
    e = analyzer.analyze(heard[0], n_tokens=3)
    assert e["audio"].relevance.shape == (3, 8, 4)
    row = [0]
    for k, token in enumerate(e.target):
        features = encode(heard[0])[0]
        source, prefix, z = taped(model, features, row, int(token))
        assert z.argmax() == token
        np.testing.assert_allclose(e["audio"].relevance[k], source, **NEAR)
        found = e["token_ids"].relevance[k, : len(row)]
        np.testing.assert_allclose(found, prefix, **NEAR)
        np.testing.assert_allclose(e.score[k], z[token], **NEAR)
        assert e["token_ids"].tokens[k] == [WORDS[i] for i in row]
        row.append(int(token))
    both = analyzer.analyze(heard, answer="go", contrast="stop")
    for b, samples in enumerate(heard):
        one = analyzer.analyze(samples, answer=[[3]], contrast=4)
        np.testing.assert_allclose(
            both["audio"].relevance[b, 0], one["audio"].relevance[0], **NEAR
        )
        source = [taped(model, encode(samples)[0], [0], t)[0] for t in (3, 4)]
        np.testing.assert_allclose(
            one["audio"].relevance[0], source[0] - source[1], **NEAR
        )


@pytest.mark.parametrize(
    ("samples", "options", "error", "found"),
    [
        (audio(0), {"answer": "go stop"}, InputError, "'go stop' is no token"),
        (audio(0), {"images": audio(0)}, OptionError, "in place of texts"),
        (audio(0), {"method": "kernel_shap"}, OptionError, "explains words"),
        ([audio(0), audio(0, 40)], {}, InputError, r"returned the shapes \(8, 4\)"),
        (audio(0, 0), {}, InputError, r"float64 of shape \(0, 4\)"),
        ([], {}, InputError, "There is no audio"),
    ],
)
def test_bad_audio_is_named(model, samples, options, error, found):
    given = {"method": "input_t_gradient", "n_tokens": 1, **options}
    with pytest.raises(error, match=found):
        tfxai.text.explain((model, encode, decode), samples, **given)


def test_what_the_decoder_begins_with_is_asked_for(model):
    for wrong in (lambda x: encode(x)[0], lambda x: (encode(x)[0], [])):
        with pytest.raises(ModelError, match="decoder begins with"):
            tfxai.text.explain((model, wrong, decode), audio(0))


#: What is given, and what the error says that it is.
WRONG = {
    AUDIO: [
        ("the keys", "The text 'the keys'"), (np.zeros(0), "The audio is empty"),
        (np.array(["a"]), "dtype <U1"), (np.zeros((9, 2)), r"shape \(9, 2\)"),
        (np.array([0.5, np.nan]), "NaN or infinity"), (np.zeros(4), "silent"),
        (np.zeros((2, 3, 4)), r"shape \(3, 4\)"),
        (np.zeros(4, np.int16), "dtype int16"),
        ([np.ones(3), np.ones(4)], r"shapes \(3,\) and \(4,\)"),
    ],
    IMAGES: [
        (np.zeros((4, 4)), r"shape \(4, 4\)"), (np.zeros((4, 4, 4)), "has 4 channels"),
        (np.zeros((4, 4, 1)), "has 1 channels"), (np.zeros((0, 4, 3)), "is empty"),
        (np.array([["a"]]), "dtype <U1"), (b"\x89PNG", "The text"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [(k, given, found) for k, rows in WRONG.items() for given, found in rows],
)
def test_wrong_arrays_are_named_and_what_to_type_works(kind, given, found):
    axes, channels, padding = (1, None, 0.0) if kind == AUDIO else (3, 3, None)
    signal = Signal(kind, "x", list, axes, channels, padding=padding)
    with pytest.raises(InputError, match=found) as caught:
        signal.values(given)
    line = caught.value.write
    if line and not line.startswith("tfxai"):
        ones = {signal.one_of: np.ones_like(given), "np": np}
        assert len(signal.values(eval(line, ones))) == 1
