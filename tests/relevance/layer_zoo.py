"""Small classifiers of three classes by name, and helpers of the layer tests."""

from functools import lru_cache

import keras
import numpy as np
import tensorflow as tf

import tfxai
from tests.relevance.own_layers import (
    BATCH,
    CLASSES,
    LENGTH,
    WORDS,
    ByHand,
    ClassToken,
    ConvVariable,
    EinsumVariable,
    Encoder,
    Lookup,
    OwnCall,
    OwnCell,
    Patches,
    Positions,
    Reader,
    SequentialOwnCall,
    Sliced,
    Subclassed,
    Symmetric,
    WeightTimes,
)

L = keras.layers
ops = keras.ops


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
    """Return a subclassed model after a call, which fixes its shapes."""
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
    """A nested functional model whose mask comes from a layer outside."""
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
    layer.adapt(
        np.concatenate([data, -data])
    )  # the mean is 0, so that nothing is shifted
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


#: name -> builder. Every network goes through the same tests: the model's own logits,
#: conservation, many targets at once, an unchanged model.
NETS = {
    # element-wise functions, and steps that move values
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
    # variables of user-defined layers
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
    "training_given": lambda: sequence(lambda x: L.MaxPooling1D(2)(x, training=False)),
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
        self.wrapped = tfxai.wrap(self.model)
        self.analyzer = tfxai.create_analyzer("lrp.epsilon", self.wrapped)
        self.kinds = {row["kind"] for row in self.analyzer.coverage()}

    def logits(self, x=None):
        """Return the model's own output, before a final softmax."""
        y = np.asarray(self.model(self.x if x is None else x))
        return np.log(y) if self.analyzer.graph.program.link == "softmax" else y

    def maps(self, x=None, target=None):
        """Return (relevance of every input, score); None means all three targets."""
        x = self.x if x is None else x
        target = [list(range(CLASSES))] * size(x) if target is None else target
        e = self.analyzer.analyze(x, target)
        return keras.tree.flatten(e.relevance), e.score

    def gradients(self, x):
        """Return d logit_t / d x, (B, 3, ...) per float input."""
        xs = [tf.constant(v) for v in keras.tree.flatten(x)]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(xs)
            y = self.model(keras.tree.pack_sequence_as(x, xs))
            parts = [y[:, t] for t in range(CLASSES)]
        gradients = [tape.gradient(p, xs) for p in parts]
        return [np.stack(s, 1) for s in zip(*gradients, strict=True)]


#: The kinds of steps of each network that was built.
KINDS: dict[str, set[str]] = {}


@lru_cache(maxsize=4)
def case(name):
    """Return the network of this name; the tests of one network run in a row."""
    made = Case(name)
    KINDS[name] = made.kinds
    return made


def kinds_of(name):
    """Return the kinds of steps of a network."""
    return KINDS[name] if name in KINDS else case(name).kinds


def size(x):
    return len(keras.tree.flatten(x)[0])


def cut(x, part):
    return keras.tree.map_structure(lambda v: v[part], x)


def fill(model, seed=0, shift=1.0):
    """Set weights of both signs; biases and other added variables times `shift`."""
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
    """Return (shape, dtype) of every input; subclassed models do not declare them."""
    if isinstance(model, Reader):
        return [((LENGTH,), "int32")]
    if isinstance(model, Subclassed):
        return [((6,), "float32")]
    return [(tuple(t.shape[1:]), t.dtype) for t in model.inputs]


def samples(model, count=BATCH, seed=1):
    """Return a batch of floats, or of tokens that end in zeros."""
    rng = np.random.default_rng(seed)
    result = []
    for shape, dtype in specs(model):
        text = "int" in str(dtype)
        v = rng.integers(1, WORDS, (count, *shape)) if text else None
        v = np.float32(rng.normal(size=(count, *shape))) if v is None else np.int32(v)
        if len(shape) == (1 if text else 2):
            v[0, -1:] = 0  # padding, for the models that mask
            v[min(2, count - 1), 1 - shape[0] :] = 0
        result.append(v)
    return result if len(result) > 1 else result[0]


def close(ours, wanted, tolerance=1e-5):
    """Assert equality relative to the largest value, which is not 0."""
    ours, wanted = np.asarray(ours), np.asarray(wanted)
    assert ours.shape == wanted.shape
    assert np.abs(wanted).max() > 0, "zero everywhere: nothing is tested"
    assert np.isfinite(ours).all()
    assert np.abs(ours - wanted).max() <= tolerance * np.abs(wanted).max()


def same_scores(ours, logits, net, tolerance=1e-5):
    """Assert equal scores; after a softmax, equal differences of scores."""
    if net.analyzer.graph.program.link == "softmax":
        ours, logits = (v - v[:, :1] for v in (ours, logits))
    close(ours, logits, tolerance)


def two(op, *shapes):
    inputs = [keras.Input(s) for s in shapes]
    return keras.Model(inputs, op(*inputs))


V, M, I = (5,), (3, 4), (4, 4, 4)
