"""Blocks of networks, written in several ways: what `Net` is made of.

A block is a function (writer, number of channels read) -> function of a tensor.
It draws its weights first, so that they are the same in each spelling.
"""

import random
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.graph import spellings as S

Function = Callable[[tf.Tensor], tf.Tensor]
L = keras.layers
#: Channels behind the first block.
WIDTHS = {"vector": 16, "sequence": 16, "picture": 4}
ACTIVATIONS = (S.RELU, S.GELU, S.SILU, S.GELU_TANH, S.HARD, S.MISH)
SIGMOID = {
    "tf": tf.sigmoid,
    "quotient": lambda h: 1 / (1 + tf.exp(-h)),
    "reciprocal": lambda h: tf.math.reciprocal(1 + tf.exp(-h)),
    "tanh": lambda h: 0.5 * (1 + tf.tanh(0.5 * h)),
    "keras": keras.activations.sigmoid,
}


class Writer:
    """Draws weights from one seed, and spellings from another; None: the first ones.

    padded: may zeros be padded by an operation of its own?
    """

    def __init__(
        self, seed: Sequence[int], ways: int | None, padded: bool = True
    ) -> None:
        self.rng = np.random.default_rng(list(seed))
        self.padded = padded
        self._random = None if ways is None else random.Random(ways)

    def way(self, *ways: Any) -> Any:
        """One of equal forms."""
        return ways[0] if self._random is None else self._random.choice(ways)

    def weight(self, *shape: int, gain: float = 1.0) -> np.ndarray:
        """A kernel of the given gain."""
        scale = gain / np.sqrt(np.prod(shape[:-1]))
        return (self.rng.normal(size=shape) * scale).astype("float32")

    def vector(self, size: int, middle: float = 0.0) -> np.ndarray:
        """Biases, or gains around `middle`."""
        return (middle + 0.3 * self.rng.normal(size=size)).astype("float32")

    def held(self, value: np.ndarray) -> Any:
        """A weight as a variable or as a constant."""
        return self.way(tf.Variable, tf.constant)(value)


def chained(functions: Sequence[Function]) -> Function:
    """The functions one after another."""
    return lambda x: reduce(lambda v, f: f(v), functions, x)


def layer(made: Any, shape: tuple[int | None, ...], *weights: np.ndarray) -> Any:
    """A Keras layer with these weights."""
    made.build(shape)
    made.set_weights(list(weights))
    return made


# -- parts -----------------------------------------------------------------------------


def shift(writer: Writer, b: np.ndarray) -> Function:
    """x + b."""
    c, part = writer.held(b), writer.held(0.25 * b)
    return writer.way(
        lambda x: x + c,
        lambda x: tf.nn.bias_add(x, c),
        lambda x: (x + part) + (c - part),
        lambda x: x - (-c),
        lambda x: tf.add(c, x),
    )


def activation(writer: Writer) -> Function:
    """One of the activations."""
    table = ACTIVATIONS[writer.rng.integers(len(ACTIVATIONS))]
    return writer.way(*table.values())


def product(writer: Writer, w: np.ndarray) -> Function:
    """x w over the last axis."""
    k = writer.held(w)
    turned = writer.held(np.ascontiguousarray(w.T))
    return writer.way(
        lambda x: tf.matmul(x, k),
        lambda x: tf.tensordot(x, k, 1),
        lambda x: tf.einsum("...i,ij->...j", x, k),
        lambda x: tf.matmul(x, turned, transpose_b=True),
        lambda x: 2.0 * tf.matmul(x, 0.5 * k),
    )


def affine(writer: Writer, n: int, m: int) -> Function:
    """x w + b, by operations or by a layer."""
    w, b = writer.weight(n, m), writer.vector(m)
    by_operations = chained([product(writer, w), shift(writer, b)])
    return writer.way(
        lambda: by_operations, lambda: layer(L.Dense(m), (None, n), w, b)
    )()


def time_major(function: Function) -> Function:
    """The function of a sequence with time in front."""

    def turned(x: tf.Tensor) -> tf.Tensor:
        return tf.transpose(function(tf.transpose(x, [1, 0, 2])), [1, 0, 2])

    return turned


def summed(writer: Writer) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """a + b."""
    return writer.way(
        lambda a, b: a + b, lambda a, b: tf.add_n([a, b]), lambda a, b: b + a,
        lambda a, b: L.Add()([a, b]), lambda a, b: a - (-b),
    )  # fmt: skip


# -- blocks ----------------------------------------------------------------------------


def dense(writer: Writer, n: int) -> Function:
    """A dense layer with an activation."""
    return chained([affine(writer, n, 16), activation(writer)])


def of_time(writer: Writer, n: int) -> Function:
    """A dense layer with an activation, maybe time-major inside."""
    f = dense(writer, n)
    return writer.way(f, time_major(f))


def residual(writer: Writer, n: int) -> Function:
    """x + mlp(x)."""
    f = chained([affine(writer, n, n), activation(writer), affine(writer, n, n)])
    join = summed(writer)
    return lambda x: join(x, f(x))


def gated(writer: Writer, n: int) -> Function:
    """A gated linear unit."""
    w, v = writer.weight(n, n), writer.weight(n, n)
    a, g = product(writer, w), product(writer, v)
    both = product(writer, np.concatenate([w, v], -1))
    gate = writer.way(*SIGMOID.values())

    def together(x: tf.Tensor) -> tf.Tensor:
        first, second = tf.split(both(x), 2, -1)
        return first * gate(second)

    return writer.way(
        lambda x: a(x) * gate(g(x)),
        lambda x: tf.multiply(gate(g(x)), a(x)),
        lambda x: L.Multiply()([a(x), gate(g(x))]),
        lambda x: a(x) / (1 + tf.exp(-g(x))),
        together,
    )


def rms_norm(writer: Writer, n: int) -> Function:
    """A dense layer behind an RMS norm."""
    table = {k: f for k, f in S.RMS.items() if k != "norm"}  # it has no epsilon
    return chained([writer.way(*table.values()), affine(writer, n, n)])


def layer_norm(writer: Writer, n: int) -> Function:
    """A dense layer behind a layer norm."""
    return chained([writer.way(*S.LAYER_NORM.values()), affine(writer, n, n)])


def weighed(writer: Writer, n: int) -> Function:
    """A softmax that weighs values."""
    scores, values = affine(writer, n, n), affine(writer, n, n)
    softmax = writer.way(*S.SOFTMAX.values())
    return lambda x: softmax(scores(x)) * values(x) * 4.0


def masked(writer: Writer) -> Function:
    """Scores of what comes later cut off, by a sum.

    A selection in its place has another map under alpha-beta: the sum is a step.
    """

    def kept(s: tf.Tensor) -> tf.Tensor:
        n = tf.shape(s)[-1]
        return tf.linalg.band_part(tf.ones([n, n]), -1, 0)

    return writer.way(
        lambda s: s + (1 - kept(s)) * -1e9,
        lambda s: s + tf.where(kept(s) > 0, 0.0, -1e9),
        lambda s: s - 1e9 * (1 - kept(s)),
    )


def attention(writer: Writer, n: int) -> Function:
    """Attention of two heads, with a residual connection."""
    q, k, v, o = (writer.weight(n, n) for _ in range(4))
    half = n // 2
    maps = [product(writer, w) for w in (q, k, v)]
    out, join = product(writer, o), summed(writer)
    both = product(writer, np.concatenate([q, k, v], -1))
    softmax = writer.way(*S.SOFTMAX.values())
    scale = np.float32(half**-0.5)
    mask = masked(writer) if writer.rng.random() < 0.5 else tf.identity
    projected = writer.way(
        lambda x: [f(x) for f in maps], lambda x: tf.split(both(x), 3, -1)
    )

    def heads(t: tf.Tensor) -> tf.Tensor:
        return tf.reshape(t, [-1, tf.shape(t)[1], 2, half])

    def by_matmul(x: tf.Tensor) -> tf.Tensor:
        a, b, c = (tf.transpose(heads(t), [0, 2, 1, 3]) for t in projected(x))
        p = softmax(mask(tf.matmul(a, b, transpose_b=True) * scale))
        return merged(tf.transpose(tf.matmul(p, c), [0, 2, 1, 3]))

    def by_einsum(x: tf.Tensor) -> tf.Tensor:
        a, b, c = (heads(t) for t in projected(x))
        p = softmax(mask(tf.einsum("bqhd,bkhd->bhqk", a * scale, b)))
        return merged(tf.einsum("bhqk,bkhd->bqhd", p, c))

    def by_heads(x: tf.Tensor) -> tf.Tensor:
        parts = zip(*(tf.split(t, 2, -1) for t in projected(x)), strict=True)
        made = [
            tf.matmul(softmax(mask(tf.matmul(a, b, transpose_b=True) * scale)), c)
            for a, b, c in parts
        ]
        return tf.concat(made, -1)

    def merged(t: tf.Tensor) -> tf.Tensor:
        return tf.reshape(t, [-1, tf.shape(t)[1], n])

    inner = writer.way(by_matmul, by_einsum, by_heads)
    return lambda x: join(x, out(inner(x)))


def convolution(
    writer: Writer, w: np.ndarray, padding: str = "SAME", stride: int = 1
) -> Function:
    """A convolution over one or two axes, without bias."""
    rank, k = w.ndim - 2, writer.held(w)
    made = L.Conv1D if rank == 1 else L.Conv2D
    own = made(w.shape[-1], w.shape[:-2], stride, padding.lower(), use_bias=False)
    ways = [
        lambda x: tf.nn.convolution(x, k, stride, padding),
        layer(own, (None, *[None] * rank, w.shape[-2]), w),
    ]
    if rank == 1:
        flat = writer.held(w[None])
        ways.append(
            lambda x: tf.nn.conv2d(x[:, None], flat, [1, stride], padding)[:, 0]
        )
    if padding == "SAME" and stride == 1 and writer.padded:
        sides = [[0, 0], *[[1, 1]] * rank, [0, 0]]
        ways.append(lambda x: tf.nn.convolution(tf.pad(x, sides), k, 1, "VALID"))
    return writer.way(*ways)


def conv(writer: Writer, n: int, stride: int = 1) -> Function:
    """A 3 x 3 convolution with an activation."""
    w, b = writer.weight(3, 3, n, 4, gain=1.4), writer.vector(4)
    parts = convolution(writer, w, stride=stride), shift(writer, b), activation(writer)
    return chained(parts)


def conv_time(writer: Writer, n: int) -> Function:
    """A convolution over time with an activation."""
    w, b = writer.weight(3, n, 16, gain=1.4), writer.vector(16)
    return chained([convolution(writer, w), shift(writer, b), activation(writer)])


def strided(writer: Writer, n: int) -> Function:
    """A convolution of stride 2 with an activation."""
    return conv(writer, n, 2)


def normed(writer: Writer, n: int) -> Function:
    """A convolution with a normalisation behind it, and an activation."""
    w, gain, beta = writer.weight(3, 3, n, 4), writer.vector(4, 1.0), writer.vector(4)
    mean, variance = writer.vector(4), writer.vector(4, 1.0) ** 2 + np.float32(0.2)
    k = gain / np.sqrt(variance + np.float32(1e-3))
    c = beta - mean * k
    plain = convolution(writer, w)
    folded = chained([convolution(writer, w * k), shift(writer, c)])
    made = layer(L.BatchNormalization(), (None, None, None, 4), gain, beta, mean,
                 variance)  # fmt: skip
    act = activation(writer)
    norms = [
        chained([plain, lambda x: made(x, training=False)]),
        chained([plain, lambda x: tf.nn.batch_normalization(
            x, mean, variance, beta, gain, 1e-3)]),
        chained([plain, lambda x: x * k + c]),
        chained([plain, lambda x: (x - mean) * k + beta]),
        chained([plain, lambda x: (x - mean) / np.sqrt(variance + 1e-3) * gain + beta]),
        folded,
    ]  # fmt: skip
    return chained([writer.way(*norms), act])


def depthwise(writer: Writer, n: int) -> Function:
    """A depthwise convolution with an activation."""
    w, b = writer.weight(3, 3, n, 1, gain=2.0), writer.vector(n)
    k = writer.held(w)
    own = L.DepthwiseConv2D(3, padding="same", use_bias=False)
    made = layer(own, (None, None, None, n), w)
    act = activation(writer)
    ones = [1, 1, 1, 1]
    ways = [lambda x: tf.nn.depthwise_conv2d(x, k, ones, "SAME"), made]
    if writer.padded:
        sides = [[0, 0], [1, 1], [1, 1], [0, 0]]
        ways.append(
            lambda x: tf.nn.depthwise_conv2d(tf.pad(x, sides), k, ones, "VALID")
        )
    return chained([writer.way(*ways), shift(writer, b), act])


def residual_conv(writer: Writer, n: int) -> Function:
    """x + conv(x)."""
    w, b = writer.weight(3, 3, n, n), writer.vector(n)
    f = chained([convolution(writer, w), shift(writer, b), activation(writer)])
    join = summed(writer)
    return lambda x: join(x, f(x))


def joined(writer: Writer, n: int) -> Function:
    """A convolution of a convolution beside its input."""
    w, v = writer.weight(3, 3, n, n, gain=1.4), writer.weight(1, 1, 2 * n, n, gain=1.4)
    f = chained([convolution(writer, w), activation(writer)])
    last = chained([convolution(writer, v, "VALID"), activation(writer)])
    join = writer.way(
        lambda a, b: tf.concat([a, b], -1),
        lambda a, b: L.Concatenate()([a, b]),
        lambda a, b: keras.ops.concatenate([a, b], 3),
        lambda a, b: tf.reshape(
            tf.stack([a, b], -2), [-1, tf.shape(a)[1], tf.shape(a)[2], 2 * n]
        ),
    )
    return lambda x: last(join(x, f(x)))


def squeezed(writer: Writer, n: int) -> Function:
    """Channels gated by a function of their means."""
    weights, gate = affine(writer, n, n), writer.way(*SIGMOID.values())

    def count(x: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.shape(x)[1] * tf.shape(x)[2], tf.float32)

    mean = writer.way(
        lambda x: tf.reduce_mean(x, [1, 2]),
        L.GlobalAveragePooling2D(),
        lambda x: tf.reduce_sum(x, [1, 2]) / count(x),
        lambda x: tf.reduce_mean(tf.reduce_mean(x, 2), 1),
    )
    spread = writer.way(
        lambda g: g[:, None, None],
        lambda g: tf.reshape(g, [-1, 1, 1, n]),
        lambda g: tf.expand_dims(tf.expand_dims(g, 1), 1),
    )
    return lambda x: x * spread(gate(weights(mean(x))))


def max_pooled(writer: Writer, n: int) -> Function:
    """The maxima of 1 x 1 to 2 x 2 pixels."""
    return writer.way(
        lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"),
        L.MaxPooling2D(2, padding="same"),
        lambda x: keras.ops.max_pool(x, 2, 2, "same"),
    )


def mean_pooled(writer: Writer, n: int) -> Function:
    """The means of 1 x 1 to 2 x 2 pixels."""
    return writer.way(
        lambda x: tf.nn.avg_pool2d(x, 2, 2, "SAME"),
        L.AveragePooling2D(2, padding="same"),
        lambda x: keras.ops.average_pool(x, 2, 2, "same"),
    )


def end(
    writer: Writer, kind: str, how: str, shape: Sequence[int], classes: int, soft: bool
) -> Function:
    """Flatten, mean or maximum over positions; logits; maybe a softmax."""
    axes = {"vector": [], "sequence": [1], "picture": [1, 2]}[kind]
    n = WIDTHS[kind]
    reduced: Function = writer.way(lambda x: x, lambda x: tf.identity(x))
    if how == "mean":
        by_layer = {1: L.GlobalAveragePooling1D, 2: L.GlobalAveragePooling2D}
        reduced = writer.way(lambda x: tf.reduce_mean(x, axes), by_layer[len(axes)]())
    if how == "max":
        by_layer = {1: L.GlobalMaxPooling1D, 2: L.GlobalMaxPooling2D}
        reduced = writer.way(lambda x: tf.reduce_max(x, axes), by_layer[len(axes)]())
    if how == "flatten":
        n *= shape[0]
        reduced = writer.way(
            lambda x: tf.reshape(x, [-1, n]), L.Flatten(), L.Reshape((n,)),
            lambda x: tf.reshape(x, [tf.shape(x)[0], n]),
        )  # fmt: skip
    logits = affine(writer, n, classes)
    softmax = writer.way(*S.SOFTMAX.values()) if soft else tf.identity
    return chained([reduced, logits, softmax])


ENDS = {
    "vector": ("plain",),
    "sequence": ("mean", "max", "flatten"),
    "picture": ("mean", "max"),
}
_ANY = {
    "residual": residual, "gated": gated, "rms_norm": rms_norm,
    "layer_norm": layer_norm, "weighed": weighed,
}  # fmt: skip
BLOCKS: dict[str, dict[str, Callable[[Writer, int], Function]]] = {
    "vector": {"dense": dense, **_ANY},
    "sequence": {
        "dense": of_time, "conv": conv_time, "attention": attention, **_ANY,
    },
    "picture": {
        "conv": conv, "strided": strided, "normed": normed, "depthwise": depthwise,
        "residual": residual_conv, "squeezed": squeezed, "joined": joined,
        "max": max_pooled, "mean": mean_pooled,
    },
}  # fmt: skip
