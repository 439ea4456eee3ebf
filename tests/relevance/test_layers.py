"""Layers, operations and idioms: what the library opens, and what it makes of them.

`NETS` is a table name -> builder of small classifiers of three classes. Every network
is asked the same questions: the model's own logits, conservation, many targets at once,
the model untouched. `STEPS` sets single steps against formulas in NumPy.
"""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.common import global_state

import tfxai
from tests import oracles as O
from tfxai.errors import ModelError, UnsupportedLayerError
from tfxai.graph.program import trace
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.heads import Head
from tfxai.relevance.rewrite import Rewritten

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*destroy the mask.*"),
    pytest.mark.filterwarnings("ignore:.*`build\\(\\)` was called on layer.*"),
    pytest.mark.filterwarnings("ignore::tfxai.errors.TfxaiWarning"),
]

L = keras.layers
ops = keras.ops
CLASSES, WORDS, LENGTH, BATCH = 3, 12, 3, 5


# -- layers as users write them ------------------------------------------------------


def weight(layer, name, *shape):
    return layer.add_weight(shape=shape, initializer="normal", name=name)


class Positions(L.Layer):
    """Words and their places, two tables."""

    def __init__(self):
        super().__init__()
        self.words = L.Embedding(WORDS, 6)
        self.places = L.Embedding(LENGTH, 6, name="shift_places")

    def call(self, x):
        return self.words(x) + self.places(ops.arange(0, LENGTH))


class ClassToken(L.Layer):
    """One learned token in front."""

    def build(self, shape):
        self.token = weight(self, "shift_token", 1, 1, shape[-1])

    def call(self, x):
        first = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([first, x], 1)

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] + 1, shape[2])


class Patches(L.Layer):
    """Squares of 2 x 2 as tokens."""

    def call(self, x):
        p = ops.image.extract_patches(x, size=2)
        return ops.reshape(p, (ops.shape(x)[0], p.shape[1] * p.shape[2], p.shape[3]))


class WeightTimes(L.Layer):
    """`self.w * x`: the variable on the left."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1])

    def call(self, x):
        return self.w * x


class Sliced(L.Layer):
    """A part of a variable."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], 7)

    def call(self, x):
        return ops.matmul(x, self.w[:, :5])


class Symmetric(L.Layer):
    """A kernel that is computed from a variable."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], shape[-1])

    def call(self, x):
        return ops.matmul(x, (self.w + ops.transpose(self.w)) / 2.0)


class EinsumVariable(L.Layer):
    """ops.einsum of a tensor and a variable."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], 2, 3)

    def call(self, x):
        return ops.einsum("...i,iho->...ho", x, self.w)


class ByHand(L.Layer):
    """A dense layer, spelled out."""

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], 4)
        self.b = weight(self, "bias", 4)

    def call(self, x):
        return ops.matmul(x, self.w) + self.b


class ConvVariable(L.Layer):
    """ops.conv with a variable; weights are standardised first."""

    def build(self, shape):
        self.w = weight(self, "kernel", 3, 3, shape[-1], 3)

    def call(self, x):
        w = self.w - ops.mean(self.w, (0, 1, 2), keepdims=True)
        return ops.conv(x, w, strides=1, padding="same")


class OwnCell(L.Layer):
    """A recurrent cell written by hand."""

    state_size = 4

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1], 4)
        self.u = weight(self, "recurrent_kernel", 4, 4)

    def call(self, x, states):
        h = ops.tanh(ops.matmul(x, self.w) + ops.matmul(states[0], self.u))
        return h, [h]


class ConcatenatingCell(L.Layer):
    """A recurrent cell that joins what it reads and what it knows."""

    state_size = 4

    def build(self, shape):
        self.w = weight(self, "kernel", shape[-1] + 4, 4)

    def call(self, x, states):
        h = ops.tanh(ops.matmul(ops.concatenate([x, states[0]], -1), self.w))
        return h, [h]


class Encoder(L.Layer):
    """A transformer block, as a layer of layers."""

    def __init__(self):
        super().__init__()
        self.look = L.MultiHeadAttention(2, 3)
        self.one, self.two = L.LayerNormalization(), L.LayerNormalization()
        self.up, self.down = L.Dense(8, "gelu"), L.Dense(6)
        self.supports_masking = True

    def call(self, x, training=None):
        x = self.one(x + self.look(x, x))
        return self.two(x + self.down(self.up(x), training=training))


class Subclassed(keras.Model):
    """A model with a `call` of its own, and a Sequential inside."""

    def __init__(self):
        super().__init__()
        self.body = keras.Sequential([L.Dense(6, "relu"), L.Dropout(0.5), L.Dense(5)])
        self.last = L.Dense(CLASSES)

    def call(self, x, training=False):
        return self.last(ops.relu(self.body(x, training=training)) * 2.0)


class Reader(keras.Model):
    """A subclassed model that reads tokens and makes its own mask."""

    def __init__(self):
        super().__init__()
        self.words = L.Embedding(WORDS, 6)
        self.mean, self.last = L.GlobalAveragePooling1D(), L.Dense(CLASSES)

    def call(self, x):
        return self.last(self.mean(self.words(x), mask=ops.not_equal(x, 0)))


class OwnCall(keras.Model):
    """A functional model whose `call` does more."""

    def __init__(self):
        x = keras.Input((6,))
        super().__init__(x, L.Dense(CLASSES)(x))

    def call(self, x, **options):
        return super().call(x) * 2.0


class SequentialOwnCall(keras.Sequential):
    def call(self, x, **options):
        return super().call(x) * 2.0


class Lookup(L.Layer):
    """An embedding by ops.take."""

    def build(self, shape):
        self.table = weight(self, "embeddings", WORDS, 6)

    def call(self, x):
        return ops.take(self.table, x, 0)


# -- the table of networks -----------------------------------------------------------


def net(shape, body, dtype="float32", end=L.Flatten):
    """Input -> body -> flat -> Dense(3)."""
    x = keras.Input(shape, dtype=dtype)
    y = body(x)
    y = end()(y) if len(y.shape) > 2 else y
    return keras.Model(x, L.Dense(CLASSES)(y))


def vector(body):
    return net((6,), body)


def image(body):
    return net((4, 4, 4), body)


def sequence(body):
    return net((LENGTH, 6), body)


def text(body, mask=False):
    def embedded(x):
        return body(L.Embedding(WORDS, 6, mask_zero=mask)(x))

    return net((LENGTH,), embedded, "int32", L.GlobalAveragePooling1D)


def masked(body):
    return text(body, True)


def called(model, x):
    """A subclassed model that knows its shapes."""
    model(x)
    return model


def _merges(x):
    a, b = L.Conv2D(4, 3, activation="relu")(x), L.Conv2D(4, 3)(x)
    pairs = (L.Subtract, L.Average, L.Maximum, L.Minimum, L.Multiply, L.Add)
    return L.Concatenate()([f()([a, b]) for f in pairs])


def _squeeze_excite(x):
    y = L.Conv2D(4, 3, activation="relu")(x)
    s = L.Dense(4, "sigmoid")(L.Dense(2, "relu")(L.GlobalAveragePooling2D()(y)))
    return y * L.Reshape((1, 1, 4))(s)


def _masked_inside(x):
    """A nested functional model whose mask comes from outside."""
    i = keras.Input((LENGTH, 6))
    inner = keras.Model(i, L.SimpleRNN(4)(L.Dense(5, "tanh")(i)))
    return inner(L.Masking()(x))


def _pooled_inside(e):
    return keras.Sequential([L.Dense(4), L.GlobalAveragePooling1D()])(e)


def _sequences_both_ways(e):
    return L.GlobalMaxPooling1D()(L.Bidirectional(L.LSTM(3, return_sequences=True))(e))


def _zeros_for_masked(e):
    cell = L.LSTMCell(3)
    layer = L.RNN(cell, return_sequences=True, zero_output_for_mask=True)
    return L.Flatten()(layer(e))


def _mask_as_input():
    x, seen = keras.Input((LENGTH, 6)), keras.Input((LENGTH, LENGTH), dtype="int32")
    y = L.MultiHeadAttention(2, 3)(x, x, attention_mask=ops.cast(seen, "bool"))
    return keras.Model([x, seen], L.Dense(CLASSES)(L.Flatten()(y)))


def _twice(x):
    i = keras.Input((6,))
    inner = keras.Model(i, L.Dense(6, "relu")(i) + i)
    return inner(inner(x) * 0.5)


def _shared(x):
    layer = L.Dense(6, "relu")
    return L.Concatenate()([layer(layer(x)), layer(x[:, ::-1])])


def _two_inputs():
    a, b = keras.Input((5,)), keras.Input((LENGTH, 6))
    y = L.LSTM(3)(b, initial_state=[L.Dense(3)(a), L.Dense(3)(a)])
    return keras.Model([a, b], L.Dense(CLASSES)(L.Concatenate()([y, a])))


def _cross_attention():
    a, b = keras.Input((2, 6)), keras.Input((LENGTH, 6))
    y = L.MultiHeadAttention(2, 3)(L.Dense(6)(a), L.Dense(6)(b))
    return keras.Model([a, b], L.Dense(CLASSES)(L.Flatten()(y)))


def _cross_masked():
    a, b = (keras.Input((n,), dtype="int32") for n in (2, LENGTH))
    words = L.Embedding(WORDS, 6, mask_zero=True)
    y = L.Attention(score_mode="concat", use_scale=True)([words(a), words(b)])
    y = L.GlobalAveragePooling1D()(y)
    return keras.Model([a, b], L.Dense(CLASSES)(y))


def _encoder_decoder(e):
    y, h, c = L.LSTM(4, return_sequences=True, return_state=True)(e)
    return L.LSTM(4)(y, initial_state=[h, c])


def _scores(x):
    y, s = L.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)
    return L.Concatenate()([L.Flatten()(y), L.Flatten()(s)])


def _attention_mask(x):
    near = np.abs(np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))) < 2
    return L.MultiHeadAttention(2, 3)(x, x, attention_mask=near[None])


def _adapted(axis):
    layer = L.Normalization(axis=axis)
    data = np.random.default_rng(7).normal(size=(40, 4, 4, 4)) * [1, 2, 3, 4]
    layer.adapt(np.concatenate([data, -data]))  # no mean, that nothing is shifted
    return layer


def _glu(x):
    a, b = ops.split(L.Conv2D(8, 3)(x), 2, -1)
    return a * ops.sigmoid(b)


def _instance_norm(x):
    y = L.Conv2D(3, 3)(x)
    d = y - ops.mean(y, (1, 2), keepdims=True)
    return d / ops.sqrt(ops.mean(d * d, (1, 2), keepdims=True) + 1e-3)


def _by_hand_attention(x):
    q, k, v = ops.split(L.Dense(18)(x), 3, -1)
    s = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) / 6**0.5)
    return ops.matmul(s, v)


def _gathered(x):
    return ops.take(x, [2, 1, 1], 1) + ops.repeat(x[:, :1], 3, 1)


NETS = {
    # functions of one value, and what moves values
    "dense": lambda: vector(L.Dense(6, "relu")),
    "activations": lambda: vector(
        lambda x: L.ELU()(L.Dense(6, "gelu")(L.Dense(6, "tanh")(x)))
    ),
    "hard_swish": lambda: vector(
        lambda x: (lambda y: y * ops.hard_sigmoid(y))(L.Dense(6)(x))
    ),
    "hard_swish_spelled": lambda: vector(
        lambda x: (lambda y: y * (L.ReLU(6.0)(y + 3.0) / 6.0))(L.Dense(6)(x))
    ),
    "swish_layers": lambda: vector(
        lambda x: L.Multiply()([x, L.Activation("sigmoid")(L.Dense(6)(x))])
    ),
    "where": lambda: vector(
        lambda x: (lambda y: ops.where(y > 0.1, y, 0.2 * y))(L.Dense(6)(x))
    ),
    "maximum_of_zero": lambda: vector(lambda x: ops.maximum(L.Dense(6)(x), 0)),
    "clip": lambda: vector(lambda x: ops.clip(L.Dense(6)(x), -0.5, 0.5)),
    "take_and_repeat": lambda: sequence(lambda x: L.Dense(3, "relu")(_gathered(x))),
    "tile_and_pad": lambda: sequence(
        lambda x: L.Dense(3, "relu")(
            ops.pad(ops.tile(x, (1, 2, 1)), [[0, 0], [1, 2], [0, 0]])
        )
    ),
    "slices_and_transposes": lambda: image(
        lambda x: ops.sum(ops.transpose(x, (0, 3, 1, 2))[:, 1:3, ::2, -1:], 3)
    ),
    "roll_flip_stack": lambda: sequence(
        lambda x: L.Dense(2)(ops.stack([ops.roll(x, 1, 1), ops.flip(x, 2)], 1))
    ),
    "crop_permute_upsample": lambda: image(
        lambda x: L.Cropping2D(1)(L.UpSampling2D(2)(L.Permute((2, 1, 3))(x)))
    ),
    "bilinear": lambda: image(
        lambda x: L.Conv2D(3, 3)(L.UpSampling2D(2, interpolation="bilinear")(x))
    ),
    "lambda": lambda: vector(L.Lambda(lambda v: ops.relu(v) * 2.0)),
    # merges, products and gates
    "merges": lambda: image(_merges),
    "glu": lambda: image(_glu),
    "squeeze_excite": lambda: image(_squeeze_excite),
    "matmul": lambda: sequence(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))),
    "einsum": lambda: sequence(lambda x: ops.einsum("bij,bkj->bik", x, L.Dense(6)(x))),
    "dot": lambda: sequence(lambda x: L.Dot(axes=2)([x, L.Dense(6, "tanh")(x)])),
    "constants": lambda: vector(
        lambda x: ops.matmul(2.0 * x / 3.0, np.float32(np.eye(6) + 0.5)) - x
    ),
    # variables of a layer's own
    "weight_times": lambda: vector(lambda x: L.Dense(4, "relu")(WeightTimes()(x))),
    "sliced": lambda: vector(lambda x: ops.relu(Sliced()(x))),
    "symmetric": lambda: vector(lambda x: ops.relu(Symmetric()(x))),
    "einsum_variable": lambda: sequence(lambda x: ops.relu(EinsumVariable()(x))),
    "einsum_dense": lambda: sequence(
        L.EinsumDense("bti,io->bto", (LENGTH, 5), bias_axes="o", activation="relu")
    ),
    "dense_by_hand": lambda: vector(lambda x: ops.relu(ByHand()(x))),
    "conv_variable": lambda: image(lambda x: ops.relu(ConvVariable()(x))),
    "spectral": lambda: vector(lambda x: L.SpectralNormalization(L.Dense(4))(x)),
    # normalisations
    "batch_norm_axis_1": lambda: image(
        lambda x: L.ReLU()(L.BatchNormalization(axis=1)(L.Conv2D(4, 3)(x)))
    ),
    "group_norm": lambda: image(lambda x: L.GroupNormalization(2)(L.Conv2D(4, 3)(x))),
    "group_norm_instance": lambda: image(
        lambda x: L.GroupNormalization(-1)(L.Conv2D(4, 3)(x))
    ),
    "group_norm_one": lambda: image(
        lambda x: L.GroupNormalization(1)(L.Conv2D(4, 3, activation="relu")(x))
    ),
    "layer_norm_two_axes": lambda: image(
        lambda x: L.LayerNormalization(axis=(1, 3))(L.Conv2D(4, 3)(x))
    ),
    "rms_norm": lambda: image(
        lambda x: L.RMSNormalization()(L.Conv2D(4, 3, activation="relu")(x))
    ),
    "unit_norm": lambda: vector(lambda x: L.UnitNormalization()(L.Dense(5)(x))),
    "instance_norm_by_hand": lambda: image(_instance_norm),
    "adapted": lambda: image(
        lambda x: L.Conv2D(3, 3)(L.ZeroPadding2D(1)(_adapted(-1)(x)))
    ),
    "adapted_as_a_whole": lambda: image(
        lambda x: L.Conv2D(3, 3, padding="same", activation="relu")(_adapted(None)(x))
    ),
    "rescaled": lambda: image(
        lambda x: L.Conv2D(3, 3, activation="relu")(L.Rescaling([1.0, 2, 3, 4])(x))
    ),
    # tokens and attention
    "tokens": lambda: text(L.Dense(5, "relu")),
    "tokens_masked": lambda: masked(L.Dense(5, "relu")),
    "positions": lambda: net(
        (LENGTH,), lambda x: L.Dense(4, "relu")(Positions()(x)), "int32"
    ),
    "reader": lambda: called(Reader(), np.ones((2, LENGTH), "int32")),
    "attention_block": lambda: text(Encoder()),
    "attention_block_masked": lambda: masked(Encoder()),
    "attention_with_dropout": lambda: masked(
        lambda e: L.MultiHeadAttention(2, 3, dropout=0.1)(e, e)
    ),
    "attention_causal": lambda: masked(
        lambda e: L.MultiHeadAttention(2, 3)(e, e, use_causal_mask=True)
    ),
    "attention_mask": lambda: sequence(_attention_mask),
    "attention_scores": lambda: sequence(_scores),
    "attention_of_groups": lambda: sequence(
        lambda x: L.GroupQueryAttention(3, 4, 2)(x, x)
    ),
    "attention_dot": lambda: masked(lambda e: L.Attention(use_scale=True)([e, e])),
    "attention_dot_causal": lambda: sequence(
        lambda x: L.Attention()([x, L.Dense(6)(x), x], use_causal_mask=True)
    ),
    "attention_additive": lambda: masked(lambda e: L.AdditiveAttention()([e, e])),
    "attention_by_hand": lambda: sequence(_by_hand_attention),
    "cross_attention": _cross_attention,
    "cross_attention_masked": _cross_masked,
    "vision": lambda: image(
        lambda x: Encoder()(ClassToken()(L.Dense(6)(Patches()(x))))
    ),
    # recurrence
    "lstm_masked": lambda: masked(
        lambda e: L.SimpleRNN(3)(L.LSTM(3, return_sequences=True)(e))
    ),
    "lstm_backwards": lambda: masked(
        L.LSTM(3, return_sequences=True, go_backwards=True)
    ),
    "lstm_states": lambda: masked(_encoder_decoder),
    "gru": lambda: masked(L.GRU(3)),
    "gru_reset_before": lambda: text(L.GRU(3, reset_after=False)),
    "simple_rnn": lambda: text(L.SimpleRNN(4)),
    "stacked_cells": lambda: text(L.RNN([L.SimpleRNNCell(3), L.LSTMCell(2)])),
    "own_cell": lambda: sequence(lambda x: L.RNN(OwnCell(), unroll=True)(x)),
    "bidirectional": lambda: text(lambda e: L.Bidirectional(L.LSTM(3))(e)),
    "bidirectional_sum": lambda: masked(
        lambda e: L.Bidirectional(L.SimpleRNN(3), merge_mode="sum")(e)
    ),
    "bidirectional_sequences": lambda: masked(_sequences_both_ways),
    "zero_output_for_mask": lambda: masked(_zeros_for_masked),
    "time_distributed": lambda: net(
        (3, 4, 4, 2), L.TimeDistributed(L.Conv2D(3, 3, activation="relu"))
    ),
    "conv_lstm": lambda: net((3, 4, 4, 2), L.ConvLSTM2D(2, 3)),
    "masking": lambda: sequence(lambda x: L.SimpleRNN(3)(L.Masking()(x))),
    # models in models
    "pooled_inside": lambda: masked(_pooled_inside),
    "functional_with_own_call": OwnCall,
    "sequential_with_own_call": lambda: SequentialOwnCall(
        [keras.Input((6,)), L.Dense(CLASSES)]
    ),
    "lookup": lambda: net((LENGTH,), Lookup(), "int32"),
    "told_training": lambda: sequence(lambda x: L.MaxPooling1D(2)(x, training=False)),
    "mask_from_outside": lambda: sequence(_masked_inside),
    "model_twice": lambda: vector(_twice),
    "layer_twice": lambda: vector(_shared),
    "two_inputs": _two_inputs,
    "subclassed": lambda: called(Subclassed(), np.zeros((2, 6), "float32")),
    "subclassed_inside": lambda: vector(
        called(Subclassed(), np.zeros((2, 6), "float32"))
    ),
    "softmax_at_the_end": lambda: keras.Sequential(
        [keras.Input((6,)), L.Dense(5, "relu"), L.Dense(CLASSES, "softmax")]
    ),
}  # fmt: skip


class Case:
    """A network with weights, five samples, and its analyzer."""

    def __init__(self, name, build=None):
        keras.utils.set_random_seed(3)
        self.model = fill((build or NETS[name])())
        self.x = samples(self.model)
        self.analyzer = tfxai.create_analyzer("lrp.epsilon", self.model)
        self.kinds = {row["kind"] for row in self.analyzer.coverage()}

    def logits(self, x=None):
        """The model's own answer, before a final softmax."""
        y = np.asarray(self.model(self.x if x is None else x))
        return np.log(y) if self.analyzer.graph.program.link == "softmax" else y

    def maps(self, x=None, target=None):
        """(maps of every input, score); three targets at once unless told."""
        x = self.x if x is None else x
        target = [list(range(CLASSES))] * size(x) if target is None else target
        e = self.analyzer.analyze(x, target)
        return keras.tree.flatten(e.relevance), e.score

    def gradients(self, x):
        """d logit_t / d x, (B, 3, ...) per input; for float inputs."""
        xs = [tf.constant(v) for v in keras.tree.flatten(x)]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(xs)
            y = self.model(keras.tree.pack_sequence_as(x, xs))
            parts = [y[:, t] for t in range(CLASSES)]
        slopes = [tape.gradient(p, xs) for p in parts]
        return [np.stack(s, 1) for s in zip(*slopes, strict=True)]


case = cache(Case)


def size(x):
    return len(keras.tree.flatten(x)[0])


def cut(x, part):
    return keras.tree.map_structure(lambda v: v[part], x)


def fill(model, seed=0, shift=1.0):
    """Weights of both signs; biases and whatever is only added times `shift`."""
    rng = np.random.default_rng(seed)
    for v in model.variables:
        if v.path.split("/")[-1] in ("mean", "variance", "count") or "seed" in v.name:
            continue  # an adapted layer, a random one
        value = rng.normal(size=v.shape)
        if v.name in ("gamma", "scale", "moving_variance"):
            value = rng.uniform(0.5, 1.5, v.shape)
        elif is_shift(v):
            value = rng.uniform(0.1, 0.3, v.shape) * shift
        elif "embeddings" not in v.name:
            value *= 0.8
        v.assign(value)
    return model


def is_shift(v):
    return "shift" in v.path or v.name in ("bias", "beta", "moving_mean")


def specs(model):
    """(shape, dtype) of every input; a subclassed model does not say."""
    if isinstance(model, Reader):
        return [((LENGTH,), "int32")]
    if isinstance(model, Subclassed):
        return [((6,), "float32")]
    return [(tuple(t.shape[1:]), t.dtype) for t in model.inputs]


def samples(model, count=BATCH, seed=1):
    """A batch of floats, or of tokens that end in zeros."""
    rng = np.random.default_rng(seed)
    made = []
    for shape, dtype in specs(model):
        text = "int" in str(dtype)
        v = rng.integers(1, WORDS, (count, *shape)) if text else None
        v = np.float32(rng.normal(size=(count, *shape))) if v is None else np.int32(v)
        if len(shape) == (1 if text else 2):
            v[0, -1:] = 0  # padded, for those that mask
            v[min(2, count - 1), 1 - shape[0] :] = 0
        made.append(v)
    return made if len(made) > 1 else made[0]


def close(ours, wanted, tolerance=1e-5):
    """Equal, relative to the largest value; something to compare."""
    ours, wanted = np.asarray(ours), np.asarray(wanted)
    assert ours.shape == wanted.shape
    assert np.abs(wanted).max() > 0, "zero everywhere: nothing is tested"
    assert np.isfinite(ours).all()
    assert np.abs(ours - wanted).max() <= tolerance * np.abs(wanted).max()


def same_scores(ours, logits, net, tolerance=1e-5):
    """Behind a softmax only differences of logits are known."""
    if net.analyzer.graph.program.link == "softmax":
        ours, logits = (v - v[:, :1] for v in (ours, logits))
    close(ours, logits, tolerance)


# -- one question to every network ---------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_the_logits_are_the_models_own_and_live(name):
    net = case(name)
    for count in (1, 3, BATCH):
        x = cut(net.x, slice(count))
        same_scores(net.maps(x)[1], net.logits(x), net)
    before = net.logits()
    try:
        fill(net.model, seed=9)
        after = net.logits()
        assert np.abs(after - before).max() > 0.01 * np.abs(before).max()
        same_scores(net.maps()[1], after, net)
    finally:
        fill(net.model)


#: Many steps: the graph for one target is not compiled beside that for several.
SLOW = (
    *("lstm_masked", "lstm_states", "lstm_backwards", "bidirectional", "stacked_cells"),
    *("bidirectional_sum", "gru_reset_before", "masking", "mask_from_outside"),
)


@pytest.mark.parametrize("name", NETS)
def test_many_targets_are_one_by_one_and_a_batch_is_its_samples(name):
    net = case(name)
    together, _ = net.maps()
    every = [t if name not in SLOW else [[t, t]] * BATCH for t in range(CLASSES)]
    single = [net.maps(target=t)[0] for t in every]
    if name in SLOW:
        single = [[m[:, 0] for m in maps] for maps in single]
    for ours, *wanted in zip(together, *single, strict=True):
        close(ours, np.stack(wanted, 1), 1e-4)
    alone = [net.maps(cut(net.x, slice(i, i + 1)))[0] for i in range(BATCH)]
    for ours, *wanted in zip(together, *alone, strict=True):
        close(np.concatenate(wanted), ours, 1e-4)


@pytest.mark.parametrize("name", NETS)
def test_without_biases_only_softmax_steps_absorb(name):
    net = case(name)
    try:
        fill(net.model, shift=0.0)
        maps, score = net.maps()
        if "softmax" in net.kinds:
            _only_softmax_absorbs(net)
        else:
            total = sum(_totals(m) for m in maps)
            size = sum(_totals(np.abs(m)) for m in maps)
            slack = 1e-3 * np.abs(score) + 1e-6 * size
            assert (score != 0).mean() > 0.7
            assert (np.abs(total - score) <= slack).all()
    finally:
        fill(net.model)


def _only_softmax_absorbs(net):
    table = net.analyzer.residual(net.x, 1)
    start = np.abs(table.start)
    softmax = np.array([k == "softmax" for k in table.kinds])
    rest = np.abs(table.absorbed[~softmax]) / start
    through = 1e-3 + 1e-4 * np.abs(table.absorbed[softmax]).sum(0) / start
    assert (rest <= through).all(), rest.max()
    assert np.abs(table.absorbed[softmax] / start).max() > 1e-3
    assert np.allclose(table.absorbed.sum(0), table.total, atol=1e-3 * start.max())


def _totals(m):
    """(B, T, ...) -> (B, T)."""
    return m.astype("float64").sum(tuple(range(2, m.ndim)))


def test_the_table_has_both_sorts():
    kinds = [case(name).kinds for name in NETS]
    soft = [k for k in kinds if "softmax" in k]
    assert len(soft) >= 10 and len(kinds) - len(soft) >= 40
    known = set().union(*kinds)
    assert known >= {"gate", "product", "norm", "embedding", "fixed", "max", "scale"}


#: Without biases, networks that are homogeneous in a float input, step by step.
HOMOGENEOUS = (
    *("dense", "where", "maximum_of_zero", "take_and_repeat", "tile_and_pad", "lambda"),
    *("slices_and_transposes", "roll_flip_stack", "crop_permute_upsample", "bilinear"),
    *("constants", "weight_times", "sliced", "symmetric", "einsum_variable"),
    *("einsum_dense", "dense_by_hand", "conv_variable", "spectral", "adapted"),
    *("batch_norm_axis_1", "adapted_as_a_whole", "rescaled", "time_distributed"),
    *("model_twice", "layer_twice", "subclassed", "subclassed_inside"),
)


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_lrp_0_is_input_times_gradient_without_biases(name):
    net = case(name)
    try:
        fill(net.model, shift=0.0)
        xs = keras.tree.flatten(net.x)
        slopes = net.gradients(net.x)
        for ours, x, slope in zip(net.maps()[0], xs, slopes, strict=True):
            close(ours, x[:, None] * slope, 1e-4)
    finally:
        fill(net.model)


PRESETS = (
    *("lrp.z_plus", "lrp.alpha_2_beta_1", "lrp.flat", "lrp.gamma"),
    *("deep_taylor", "sglrp", "guided_backprop", "deconvnet"),
)


def _eager(net, method, count=2):
    """The maps of another analyzer for each target in turn, without compiling it."""
    x = cut(net.x, slice(count))
    graph = tfxai.create_analyzer(method, net.model).graph
    xs = [tf.constant(v) for v in keras.tree.flatten(x)]
    target = tf.constant([list(range(CLASSES))] * count)
    maps = tf.function(graph.maps, autograph=False)(xs, target)["relevance"]
    return x, [np.swapaxes(m, 0, 1) for m in maps]


#: Networks that differ in what the rules meet: each preset goes through each of them.
MIXED = (
    *("merges", "einsum_variable", "conv_variable", "tokens_masked", "group_norm"),
    *("attention_dot",),
)


@pytest.mark.parametrize("method", PRESETS)
def test_every_preset_is_finite_on_every_sort_of_network(method):
    for name in MIXED:
        x, maps = _eager(case(name), method)
        for v, m in zip(keras.tree.flatten(x), maps, strict=True):
            assert m.shape == (len(v), CLASSES, *v.shape[1:]), name
            assert np.isfinite(m).all(), name
            assert np.abs(m).max() > 0, name


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize(
    "name",
    ["hard_swish", "swish_layers", "clip", "where", "glu", "matmul", "einsum", "dot",
     "layer_norm_two_axes", "group_norm", "unit_norm", "attention_mask", "own_cell",
     "attention_by_hand", "cross_attention", "spectral",
     ],
)  # fmt: skip
def test_without_relu_modified_gradients_are_the_gradient(name, method):
    net = case(name)
    assert "relu" not in net.kinds
    x, maps = _eager(net, method)
    for ours, wanted in zip(maps, net.gradients(x), strict=True):
        close(ours, wanted, 1e-4)


# -- single steps against formulas in NumPy ------------------------------------------


def back(model, xs, r, preset=None):
    """What relevance r (K, B, ...) of the output becomes at each input."""
    given = Head("given", lambda logits, target: tf.constant(r, tf.float32))
    preset = preset or P.epsilon(epsilon=1e-12)
    graph = Rewritten(model, trace(model), preset, given)
    target = tf.zeros(r.shape[1::-1], tf.int32)
    maps = tf.function(graph.maps, autograph=False)(
        [tf.constant(x) for x in cast(model, xs)], target
    )
    return [np.asarray(m) for m in maps["relevance"]]


def cast(model, xs):
    pairs = zip(xs, model.inputs, strict=True)
    return [np.asarray(x, t.dtype) for x, t in pairs]


def summed(v, shape):
    """Sum over the axes that were broadcast from `shape` (behind K and B)."""
    axes = [a for a in range(2, v.ndim) if shape[a - 2] == 1 and v.shape[a] != 1]
    return v.sum(tuple(axes), keepdims=True)


def softmax(v):
    e = np.exp(v - v.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def swap(v):
    return np.swapaxes(v, -1, -2)


def _softmax_rule(r, x):
    """x_i (R_i - s_i sum R)."""
    return [x * (r - softmax(x) * r.sum(-1, keepdims=True))]


def _matmul_rule(r, a, b):
    """A * ((R / 2 O) B^T), B * (A^T (R / 2 O))."""
    s = r / (2 * (a @ b))
    return [a * (s @ swap(b)), b * (swap(a) @ s)]


def _transposed_rule(r, a, b):
    """The same for A B^T."""
    left, right = _matmul_rule(r, a, swap(b))
    return [left, swap(right)]


def _gate_rule(r, a, b):
    return [r + 0 * a, 0 * r]


def _divide_rule(r, a, b):
    return [r, 0 * r.sum(-1, keepdims=True)]


def _shares(*signs):
    def rule(r, *xs):
        z = sum(k * x for k, x in zip(signs, xs, strict=True))
        return [k * x / z * r for k, x in zip(signs, xs, strict=True)]

    return rule


def _winner(better):
    return lambda r, a, b: [r * better(a, b), r * better(b, a)]


def _norm_rule(axes, centred=True, groups=None, epsilon=1e-3, power=2):
    """x * M^T(R / y), y = M x + beta, M = gamma / sigma (1 - mean), sigma as it is."""

    def rule(r, x, gamma=1.0, beta=0.0):
        shape = x.shape
        if groups:
            split = (shape[-1] // groups, groups)
            x = x.reshape(*shape[:-1], *split[::-1])
        over = tuple(a + x.ndim - 1 if groups and a < 0 else a for a in axes)

        def mean(v):
            return v.mean(over, keepdims=True) if centred else 0.0

        sigma = np.sqrt(((x - mean(x)) ** 2).mean(over, keepdims=True) + epsilon)

        def scaled(v):
            return np.reshape(v / sigma, shape)

        y = gamma * scaled(x - mean(x)) + beta
        made = []
        for one in r:
            s = np.reshape(one / y * gamma, x.shape) / sigma
            made.append(np.reshape(x * (s - mean(s)), shape))
        return [np.stack(made)]

    return rule


def _weighted_norm(**options):
    plain = _norm_rule(**options)

    def rule(r, x, layer):
        names = {v.name: v.numpy() for v in layer.weights}
        gamma = names.get("gamma", names.get("scale", 1.0))
        return plain(r, x, gamma, names.get("beta", 0.0))

    return rule


def _unit_rule(r, x):
    """A factor for the whole sample: R / y times y."""
    return [r]


def two(op, *shapes):
    inputs = [keras.Input(s) for s in shapes]
    return keras.Model(inputs, op(*inputs))


V, M, I = (5,), (3, 4), (4, 4, 4)

#: name -> (model, the relevance of its inputs from (r, *inputs), kind of its step)
STEPS = {
    "softmax": (lambda: two(lambda x: ops.softmax(x) * 1.0, V), _softmax_rule),
    "softmax_layer": (lambda: two(lambda x: L.Softmax()(x) * 1.0, M), _softmax_rule),
    "matmul": (lambda: two(ops.matmul, M, (4, 2)), _matmul_rule),
    "einsum": (
        lambda: two(lambda a, b: ops.einsum("bij,bkj->bik", a, b), M, (2, 4)),
        _transposed_rule,
    ),
    "dot": (
        lambda: two(lambda a, b: L.Dot(axes=2)([a, b]), M, (2, 4)), _transposed_rule,
    ),
    "multiply": (lambda: two(ops.multiply, V, V), lambda r, a, b: [r / 2, r / 2]),
    "multiply_broadcast": (
        lambda: two(ops.multiply, M, (3, 1)),
        lambda r, a, b: [r / 2, r.sum(-1, keepdims=True) / 2],
    ),
    "multiply_three": (
        lambda: two(lambda *v: L.Multiply()(v), V, V, V),
        lambda r, *x: [r / 3, r / 3, r / 3],
    ),
    "square_by_product": (lambda: two(lambda a: a * a, V), lambda r, a: [r]),
    "gate": (lambda: two(lambda a, b: a * ops.sigmoid(b), V, V), _gate_rule),
    "gate_first": (
        lambda: two(lambda a, b: ops.sigmoid(b) * a, V, V), _gate_rule,
    ),
    "gate_of_gru": (
        lambda: two(lambda a, b: (1.0 - ops.sigmoid(b)) * a, V, V), _gate_rule,
    ),
    "gate_of_itself": (lambda: two(lambda a: a * ops.hard_sigmoid(a + 9), V),
                       lambda r, a: [r]),
    "divide": (
        lambda: two(lambda a, b: a / (ops.square(b) + 1.0), V, (1,)), _divide_rule,
    ),
    "add": (lambda: two(ops.add, V, V), _shares(1, 1)),
    "add_three": (lambda: two(lambda *v: L.Add()(v), V, V, V), _shares(1, 1, 1)),
    "add_broadcast": (
        lambda: two(ops.add, M, (1, 4)),
        lambda r, a, b: [summed(v * r / (a + b), s.shape[1:])
                         for v, s in ((a, a), (b, b))],
    ),
    "subtract": (lambda: two(lambda a, b: L.Subtract()([a, b]), V, V), _shares(1, -1)),
    "subtract_op": (lambda: two(lambda a, b: a - b, V, V), _shares(1, -1)),
    "average": (lambda: two(lambda a, b: L.Average()([a, b]), V, V), _shares(1, 1)),
    "maximum": (
        lambda: two(lambda a, b: L.Maximum()([a, b]), V, V), _winner(np.greater),
    ),
    "minimum": (
        lambda: two(lambda a, b: L.Minimum()([a, b]), V, V), _winner(np.less),
    ),
    "maximum_op": (lambda: two(ops.maximum, V, V), _winner(np.greater)),
    "where": (
        lambda: two(lambda a, b: ops.where(a > b + 0.3, a, b), V, V),
        _winner_where := lambda r, a, b: [r * (a > b + 0.3), r * (a <= b + 0.3)],
    ),
    "max": (
        lambda: two(lambda a: ops.max(a, 2), M),
        lambda r, a: [r[..., None] * (a == a.max(-1, keepdims=True))],
    ),
    "mean": (
        lambda: two(lambda a: ops.mean(a, 1), M),
        lambda r, a: [a / a.sum(1, keepdims=True) * r[:, :, None]],
    ),
    "clip": (lambda: two(lambda a: ops.clip(a, -0.5, 0.5), V), lambda r, a: [r]),
    "gelu": (lambda: two(ops.gelu, V), lambda r, a: [r]),
    "power": (lambda: two(lambda a: a**2, V), lambda r, a: [r]),
    "embedding": (
        lambda: keras.Model(
            t := keras.Input((4,), dtype="int32"), L.Embedding(WORDS, 3)(t)
        ),
        lambda r, t: [r.sum(-1)],
    ),
    "layer_norm": (lambda: two(L.LayerNormalization(), M),
                   _weighted_norm(axes=(2,))),
    "layer_norm_two_axes": (
        lambda: two(L.LayerNormalization(axis=(1, 2)), M),
        _weighted_norm(axes=(1, 2)),
    ),
    "layer_norm_op": (
        lambda: two(lambda x: ops.layer_normalization(x, axis=-1), M),
        _norm_rule((2,), epsilon=keras.config.epsilon()),
    ),
    "rms_norm": (
        lambda: two(L.RMSNormalization(), M),
        _weighted_norm(axes=(2,), centred=False, epsilon=1e-6),
    ),
    "unit_norm": (lambda: two(L.UnitNormalization(), V), _unit_rule),
    "group_norm": (
        lambda: two(L.GroupNormalization(2), I),
        _weighted_norm(axes=(1, 2, 4), groups=2),
    ),
    "group_norm_one": (
        lambda: two(L.GroupNormalization(1), I), _weighted_norm(axes=(1, 2, 3)),
    ),
    "group_norm_instance": (
        lambda: two(L.GroupNormalization(-1), I), _weighted_norm(axes=(1, 2)),
    ),
}  # fmt: skip


def step_inputs(model, seed=4):
    rng = np.random.default_rng(seed)
    made = []
    for t in model.inputs:
        shape = (2, *t.shape[1:])
        floats = rng.choice([-1, 1], shape) * rng.uniform(0.2, 1.5, shape)
        made.append(rng.integers(0, WORDS, shape) if "int" in t.dtype else floats)
    return made


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_its_papers_formula(name):
    make, formula = STEPS[name]
    model = fill(make())
    xs = step_inputs(model)
    rng = np.random.default_rng(5)
    y = np.asarray(model(cast(model, xs)))
    r = rng.normal(size=(3, *y.shape))
    with_layer = "weighted" in formula.__qualname__
    wanted = formula(r, *xs, *([model.layers[-1]] if with_layer else []))
    for seeds in (3, 1):
        for ours, theirs in zip(back(model, xs, r[:seeds]), wanted, strict=True):
            theirs = np.broadcast_to(theirs, (3, *ours.shape[1:]))[:seeds]
            if not theirs.any():
                assert not ours.any()
            else:
                close(ours, theirs, 2e-4)


#: What only moves values: each value's relevance is that of the places it went to.
MOVES = {
    "take": (lambda x: ops.take(x, [2, 0, 0], 1), M),
    "repeat": (lambda x: ops.repeat(x, 3, 2), M),
    "tile": (lambda x: ops.tile(x, (1, 2, 3)), M),
    "pad": (lambda x: ops.pad(x, [[0, 0], [2, 0], [1, 3]]), M),
    "flip": (lambda x: ops.flip(x, 1), M),
    "roll": (lambda x: ops.roll(x, 2, 2), M),
    "slice": (lambda x: x[:, ::2, -3:-1], M),
    "split": (lambda x: ops.concatenate(ops.split(x, 2, -1)[::-1], 1), M),
    "unstack": (lambda x: ops.stack(ops.unstack(x, axis=1)[1:], 1), M),
    "transpose": (lambda x: ops.transpose(x, (0, 2, 1)), M),
    "swap": (lambda x: ops.moveaxis(ops.expand_dims(x, 1), 3, 1), M),
    "repeat_vector": (lambda x: L.RepeatVector(3)(x), V),
    "crop_and_pad": (lambda x: L.ZeroPadding2D(2)(L.Cropping2D(1)(x)), I),
    "upsample": (lambda x: L.UpSampling2D(2)(x), I),
    "patches": (lambda x: Patches()(x), I),
    "masking": (lambda x: L.Masking()(x), M),
    "dropout": (lambda x: L.GaussianNoise(1.0)(L.Dropout(0.5)(x)), M),
    "identity_layers": (lambda x: L.RandomFlip()(L.RandomRotation(0.1)(x)), I),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_values_brings_relevance_back(name):
    function, shape = MOVES[name]
    model = two(function, shape)
    count = int(np.prod(shape))
    numbers = np.arange(1, count + 1.0).reshape(shape)
    x = np.stack([numbers, numbers])
    went = np.asarray(model([np.float32(x)], training=False))[0].astype(int)
    r = np.random.default_rng(0).normal(size=(2, 2, *went.shape))
    wanted = np.zeros((2, 2, count + 1))  # 0: padding
    for k, b in np.ndindex(2, 2):
        np.add.at(wanted[k, b], went.ravel(), r[k, b].ravel())
    (ours,) = back(model, [x], r)
    close(ours.reshape(2, 2, -1), wanted[..., 1:])


#: Affine layers of one kernel, wherever its numbers come from.
AFFINE = {
    "weight_times": (WeightTimes, V),
    "sliced": (Sliced, V),
    "symmetric": (Symmetric, V),
    "einsum_variable": (EinsumVariable, M),
    "conv_variable": (ConvVariable, I),
    "einsum_dense": (lambda: L.EinsumDense("btd,tde->bte", (3, 2), bias_axes="e"), M),
    "spectral": (lambda: L.SpectralNormalization(L.Dense(4)), V),
    "time_distributed": (lambda: L.TimeDistributed(L.Dense(3)), M),
    "batch_norm_axis_1": (lambda: L.BatchNormalization(axis=1), M),
}
RULES = {
    "epsilon": (R.epsilon_rule(epsilon=0.1), lambda *a: O.epsilon(*a, epsilon=0.1)),
    "z_plus": (R.z_plus, O.z_plus),
    "alpha_beta": (R.alpha_beta(bias=False), lambda *a: O.alpha_beta(*a, bias=False)),
    "w_square": (R.w_square, O.w_square),
    "flat": (R.flat, O.flat),
}


@pytest.mark.parametrize("name", AFFINE)
def test_rules_on_kernels_of_every_origin(name):
    make, shape = AFFINE[name]
    model = fill(two(make(), shape), shift=0.0)
    W, b = O.affine(lambda v: model([tf.cast(v, tf.float32)]), shape)
    W = np.where(np.abs(W) > 1e-6, W, 0)
    m = O.Matrix(W, b, (W != 0).astype(float))
    (x,) = step_inputs(model)
    y = np.asarray(model([np.float32(x)]))
    r = np.random.default_rng(5).normal(size=(2, *y.shape))
    r *= np.abs(y) > 0.2 * np.abs(y).mean()  # a sum that cancels is noise
    for rule, formula in RULES.values():
        wanted = formula(O.rows(x), m, r.reshape(2, 2, -1))
        (ours,) = back(model, [x], r, P.every_kernel(rule))
        close(ours.reshape(wanted.shape), wanted, 1e-3)


def _lstm(layer, x, r, eps=1e-12):
    """Arras et al. 2017: all to the signal, shares in sums; x (T, D), r (units,)."""
    W, U, b = (w.numpy().astype("float64") for w in layer.weights)
    n = layer.units
    h, c, seen = np.zeros(n), np.zeros(n), []

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    for v in x:
        z = v @ W + h @ U + b
        i, f, o = (sigmoid(z[k * n : (k + 1) * n]) for k in (0, 1, 3))
        g = np.tanh(z[2 * n : 3 * n])
        seen.append((v, h, c, i * g, f * c, z[2 * n : 3 * n], v @ W, h @ U))
        c = f * c + i * g
        h = o * np.tanh(c)
    made, r_h, r_c = [], r, np.zeros(n)
    cut_ = slice(2 * n, 3 * n)
    for v, h, _, new, old, z, a, u in reversed(seen):
        total = r_c + r_h
        r_g, r_c = new / (new + old) * total, old / (new + old) * total
        joined = (a + u)[cut_]  # the bias takes its share of z = a + u + b
        r_sum = r_g * joined / z
        r_a, r_u = (r_sum * p[cut_] / joined for p in (a, u))
        made.append(v * (W[:, cut_] @ (r_a / a[cut_])))
        r_h = h * (U[:, cut_] @ np.divide(r_u, u[cut_], where=u[cut_] != 0,
                                          out=np.zeros(n)))  # fmt: skip
    return np.array(made[::-1])


def test_an_lstm_is_the_papers_formula():
    layer = L.LSTM(3)
    model = fill(two(layer, (3, 4)))
    (x,) = step_inputs(model)
    r = np.random.default_rng(0).normal(size=(2, 2, 3))
    (ours,) = back(model, [x], r)
    wanted = [[_lstm(layer, v, q) for v, q in zip(x, seed, strict=True)] for seed in r]
    close(ours, np.array(wanted), 1e-3)


# -- masks ---------------------------------------------------------------------------

MASKED = [n for n in NETS if n.endswith("_masked") or n in (
    "attention_with_dropout", "attention_dot", "attention_additive", "gru",
    "bidirectional_sum", "lstm_states", "masking", "mask_from_outside", "reader",
)]  # fmt: skip


MASKED.remove("cross_attention_masked")  # the padded query has outputs of its own


@pytest.mark.parametrize("name", MASKED)
def test_padding_gets_no_relevance(name):
    net = case(name)
    size = 0
    for x, m in zip(keras.tree.flatten(net.x), net.maps()[0], strict=True):
        padded = x == 0
        assert padded.any()
        assert (m[np.broadcast_to(padded[:, None], m.shape)] == 0).all()
        size = size + np.abs(m).reshape(len(m), CLASSES, -1).sum(-1)
    assert (size > 0).all()


#: Bodies behind an Embedding with mask_zero=True, for any length.
PADDABLE = {
    "mean": lambda: lambda e: e,
    "attention": lambda: (lambda f: lambda e: f(e, e))(L.MultiHeadAttention(2, 3)),
    "dot": lambda: (lambda f: lambda e: f([e, e]))(L.Attention()),
    "lstm": lambda: L.LSTM(3),
    "bidirectional": lambda: L.Bidirectional(L.SimpleRNN(3)),
}


@pytest.mark.parametrize("body", PADDABLE)
def test_a_padded_sentence_is_the_sentence(body):
    words, middle, last = L.Embedding(WORDS, 6, mask_zero=True), None, L.Dense(3)
    middle, models = PADDABLE[body](), []
    for length in (2, 3):
        x = keras.Input((length,), dtype="int32")
        y = middle(words(x))
        y = L.GlobalAveragePooling1D()(y) if len(y.shape) > 2 else y
        models.append(keras.Model(x, last(y)))
    fill(models[0])
    x = np.random.default_rng(0).integers(1, WORDS, (2, 2))
    short, long = (
        tfxai.explain(m, v, "lrp.epsilon", [[0, 2]] * 2)
        for m, v in zip(models, (x, np.pad(x, ((0, 0), (0, 1)))), strict=True)
    )
    close(long.score, short.score)
    close(long.relevance[..., :2], short.relevance, 1e-4)
    assert (long.relevance[..., 2:] == 0).all()


# -- models of several outputs -------------------------------------------------------


@pytest.mark.parametrize("output", [0, 1])
def test_one_of_two_outputs(output):
    a, b = keras.Input((6,)), keras.Input((6,))
    y = L.Dense(5, "relu")(L.Concatenate()([a, b]))
    model = fill(keras.Model([a, b], [L.Dense(3)(y), L.Dense(4)(y * a[:, :5])]))
    xs = samples(model)
    e = tfxai.create_analyzer("lrp.epsilon", tfxai.wrap(model, output=output)).analyze(
        xs, 2
    )
    close(e.score, np.asarray(model(xs)[output])[:, 2])
    whole = tfxai.explain(keras.Model([a, b], model.outputs[output]), xs, "lrp.epsilon",
                          target=2)  # fmt: skip
    for ours, wanted in zip(e.relevance, whole.relevance, strict=True):
        close(ours, wanted)


# -- the user's model stays as it was ------------------------------------------------


def state(model):
    """Nodes of every layer and operation, weights, losses, and counted names."""
    layers = list(model._flatten_layers())
    operations = [o for v in layers for o in getattr(v, "operations", [])]
    nodes = [
        (o.name, len(o._inbound_nodes), len(o._outbound_nodes))
        for o in [*layers, *operations]
    ]
    weights = [(v.path, np.asarray(v).tolist()) for v in model.variables]
    names = dict(global_state.get_global_attribute("object_name_uids"))
    for name in ("function", "operation", "keras_tensor"):  # no layer is called so
        names.pop(name, None)
    return nodes, weights, [str(v) for v in model.losses], names


UNTOUCHED = (
    *("merges", "symmetric", "reader", "vision", "attention_block_masked"),
    *("simple_rnn", "time_distributed", "mask_from_outside", "own_cell"),
    *("model_twice", "subclassed_inside", "lambda", "spectral"),
)


@pytest.mark.parametrize("name", UNTOUCHED)
def test_the_model_is_untouched(name):
    model = fill(NETS[name]())
    x = cut(samples(model), slice(1, 2))
    seen, times = state(model), {n: getattr(keras.Variable, n) for n in _DUNDER}
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    assert state(model) == seen
    target = tf.zeros((1, 1), tf.int32)
    xs = [tf.constant(v) for v in keras.tree.flatten(x)]
    tf.function(analyzer.graph.maps, autograph=False)(xs, target)
    assert state(model) == seen
    assert {n: getattr(keras.Variable, n) for n in _DUNDER} == times


_DUNDER = ("__add__", "__sub__", "__mul__", "__truediv__", "__matmul__", "__pow__")


# -- refusals ------------------------------------------------------------------------


class RawOps(L.Layer):
    def call(self, x):
        return tf.nn.relu(x) * 2.0


class Beside(L.Layer):
    """Two outputs, one of them made of a variable alone."""

    def build(self, shape):
        self.w = weight(self, "kernel", 5)

    def call(self, x):
        return x * self.w, self.w + 1.0


class TimeMajor(L.Layer):
    """The batch as second axis, then merged with another."""

    def call(self, x):
        y = ops.transpose(x, (1, 0, 2))
        y = ops.relu(ops.reshape(y, (x.shape[1], ops.shape(x)[0] * 2, 3)))
        y = ops.reshape(y, (x.shape[1], ops.shape(x)[0], 6))
        return ops.transpose(y, (1, 0, 2))


class Halved(L.Layer):
    """Not the same when it is run as when it is read."""

    def call(self, x):
        return x * (1.0 if isinstance(x, keras.KerasTensor) else 0.5)


class RawDeep(L.Layer):
    """Raw operations in a layer of a layer."""

    def __init__(self):
        super().__init__()
        self.inner, self.first = RawOps(name="raw"), L.Dense(6)

    def call(self, x):
        return self.inner(self.first(x))


def _quantized():
    layer = L.Dense(4)
    model = two(layer, (6,))
    layer.quantize("int8")
    return model


def _stateful():
    x = keras.Input(batch_shape=(2, LENGTH, 6))
    return keras.Model(x, L.LSTM(3, stateful=True)(x))


#: name -> (model, the step's name, its class)
REFUSED = {
    "raw": (lambda: two(RawOps(name="own"), (6,)), "own", "RawOps"),
    "raw_deep": (lambda: two(RawDeep(), (6,)), "raw", "RawOps"),
    "raw_lambda": (
        lambda: two(L.Lambda(lambda v: tf.sin(v), name="own"), (6,)), "own", "Lambda",
    ),
    "unknown_length": (
        lambda: two(L.LSTM(3, name="own"), (None, 6)), "own", "LSTM",
    ),
    "unknown_length_both_ways": (
        lambda: two(L.Bidirectional(L.GRU(3), name="own"), (None, 6)), "own", "",
    ),
    "unknown_length_each_step": (
        lambda: two(L.TimeDistributed(L.Dense(2), name="own"), (None, 6)),
        "own", "TimeDistributed",
    ),
    "stateful": (_stateful, "lstm", "LSTM"),
    "quantized": (_quantized, "dense", "Dense"),
    "normalized_dot": (
        lambda: two(lambda a, b: L.Dot(1, normalize=True, name="own")([a, b]), V, V),
        "own", "Dot",
    ),
    "bicubic": (
        lambda: two(L.UpSampling2D(2, interpolation="bicubic", name="own"), I),
        "own", "UpSampling2D",
    ),
    "sort_and_places": (lambda: two(lambda x: ops.top_k(x, 3)[0], V), "top_k", "TopK"),
    "batch_norm_in_training": (
        lambda: two(lambda x: L.BatchNormalization(name="own")(x, training=True), V),
        "own", "BatchNormalization",
    ),
    "beside": (lambda: two(lambda x: Beside(name="own")(x)[0], V), "own", "Beside"),
    "sort": (lambda: two(lambda x: ops.sort(x), V), "sort", "Sort"),
    "sort_inside": (lambda: two(L.Lambda(lambda x: ops.sort(x)), V), "sort", "Sort"),
    "power": (lambda: two(lambda a, b: a**b, V, V), "power", "Power"),
    "pad_with_ones": (
        lambda: two(lambda x: ops.pad(x, [[0, 0], [1, 1]], constant_values=1.0), V),
        "pad", "Pad",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_step_and_what_to_type(name):
    make, step, kind = REFUSED[name]
    model = make()
    seen = state(model)
    with pytest.raises(UnsupportedLayerError) as caught:
        tfxai.create_analyzer("lrp.epsilon", model)
    text = str(caught.value)
    assert step in caught.value.seen and kind in caught.value.seen
    assert "Wanted:" in text and "@operation(" in text
    assert kind in caught.value.write
    assert state(model) == seen


@pytest.mark.parametrize(
    "body, seen",
    [
        (lambda x: L.Embedding(WORDS, 6)(ops.minimum(x, 3)), "'minimum"),
        (lambda x: L.Dense(4)(ops.one_hot(x, WORDS)), "'one_hot"),
    ],
    ids=["minimum", "one_hot"],
)
def test_an_answer_that_no_relevance_reaches_is_named(body, seen):
    model = net((LENGTH,), body, "int32")
    with pytest.raises(UnsupportedLayerError, match=f"only through.*{seen}"):
        tfxai.create_analyzer("lrp.epsilon", model)
    assert np.asarray(tfxai.wrap(model).logits(samples(model))).shape == (BATCH, 3)


def test_what_is_divided_by_the_input_alone_is_named():
    model = vector(lambda x: ops.concatenate([ops.ones_like(x) / (x * x + 1.0), x]))
    with pytest.raises(UnsupportedLayerError, match="reads nothing that can carry"):
        tfxai.create_analyzer("lrp.epsilon", model)


def test_a_step_that_cannot_run_alone_is_named():
    model = fill(sequence(TimeMajor(name="major")))
    analyzer = tfxai.create_analyzer("lrp.epsilon", model)
    with pytest.raises(UnsupportedLayerError, match=r"'major/reshape'.*by itself"):
        analyzer.analyze(samples(model))


@pytest.mark.parametrize("method", ["lrp.epsilon", "gradient"])
def test_a_model_that_answers_otherwise_than_its_graph_is_refused(method):
    model = fill(vector(Halved()))
    analyzer = tfxai.create_analyzer(method, model)
    with pytest.raises(ModelError, match=r"otherwise than the model itself, by 1\.3"):
        analyzer.analyze(samples(model))


def test_a_mask_that_is_an_input_gets_nothing():
    net = Case("mask", _mask_as_input)
    net.x[1][:] = np.eye(LENGTH, dtype="int32")
    maps, score = net.maps()
    close(score, net.logits())
    assert np.abs(maps[0]).max() > 0 and np.abs(maps[1]).max() == 0
    assert maps[1].shape == (BATCH, CLASSES, LENGTH, LENGTH)


def test_a_layer_that_adds_a_constant_is_the_operation_that_does():
    c = tf.constant([[0.2, -0.3, 0.4, 0.1, 0.0, 0.5]])
    maps = []
    for add in (lambda x: L.Add()([x, c]), lambda x: x + c):
        net = Case("add", lambda add=add: vector(lambda x: add(L.Dense(6)(x))))
        maps.append(net.maps()[0][0])
        assert len(net.analyzer.coverage()) == 3
    close(*maps)


# -- what is known of a tensor -----------------------------------------------------


def _where_minus_one():
    y = L.Dense(5, "relu")(x := keras.Input((6,)))
    return keras.Model(x, ops.where(y > 0.5, y, -1.0))


def _penalty():
    y = L.Dense(5, "relu")(x := keras.Input((6,)))
    return keras.Model(x, y + (ops.cast(y > 0.5, "float32") - 1.0) * 3.0)


def _negative_token():
    y = L.Dense(5, "relu")(x := keras.Input((4, 6)))
    return keras.Model(x, ClassToken()(y))


@pytest.mark.parametrize("make", [_where_minus_one, _penalty, _negative_token])
def test_what_is_said_to_be_nonnegative_is(make):
    model = fill(make())
    for v in model.variables:
        if "token" in v.path:
            v.assign(-np.ones(v.shape))
    program = trace(model)
    values = program.run([tf.constant(samples(model))])
    for step in program.steps:
        if step.output in program.nonnegative:
            assert np.min(np.asarray(values[step.output], float)) >= 0, step.name


def test_many_targets_beside_a_mask_without_batch_axis():
    def causal(x):
        one = ops.cumsum(ops.ones_like(x[0, :, :1]), 0)
        s = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        s = ops.where(one >= ops.transpose(one), s, -1e9)
        return ops.matmul(ops.softmax(s), x)

    net = Case("causal", lambda: sequence(causal))
    together, _ = net.maps()
    close(together[0][:, 1], net.maps(target=1)[0][0], 1e-4)
