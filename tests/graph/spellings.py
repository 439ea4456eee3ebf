"""Ways to write one function: norms, activations, softmax and attention.

`GROUPS` is a table name -> spelling -> function of x (B, 8), made of TensorFlow and
Keras operations. All functions of a group are equal, so that they have one map.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

Function = Callable[[tf.Tensor], tf.Tensor]
RNG = np.random.default_rng(0)


def weight(*shape: int) -> tf.Variable:
    """A random matrix of unit gain."""
    return tf.Variable((RNG.normal(size=shape) / np.sqrt(shape[0])).astype("float32"))


W, V, U = weight(8, 16), weight(16, 5), weight(16, 16)
GAIN = tf.Variable((1 + 0.3 * RNG.normal(size=16)).astype("float32"))
SHIFT = tf.Variable((0.3 * RNG.normal(size=16)).astype("float32"))


def between(function: Function) -> Function:
    """function between two matrices."""
    return lambda x: function(x @ W) @ V


def square(h: tf.Tensor) -> tf.Tensor:
    """The mean square, and a small constant."""
    return tf.reduce_mean(tf.square(h), -1, keepdims=True) + 1e-6


RMS = {
    "rsqrt": lambda h: h * tf.math.rsqrt(square(h)) * GAIN,
    "sqrt": lambda h: h / tf.sqrt(square(h)) * GAIN,
    "reciprocal": lambda h: h * tf.math.reciprocal(tf.sqrt(square(h))) * GAIN,
    "power": lambda h: GAIN * (h * tf.pow(square(h), -0.5)),
    "gain first": lambda h: (GAIN * tf.math.rsqrt(square(h))) * h,
    "product": lambda h: (
        h * tf.math.rsqrt(tf.reduce_mean(h * h, -1, keepdims=True) + 1e-6) * GAIN
    ),
    "sum": lambda h: (
        h * tf.math.rsqrt(tf.reduce_sum(h**2, -1, keepdims=True) / 16 + 1e-6) * GAIN
    ),
    "keras": lambda h: keras.ops.rms_normalization(h, GAIN, epsilon=1e-6),
    "length": lambda h: (
        h / tf.sqrt(tf.reduce_sum(h * h, -1, keepdims=True) + 16e-6) * 4.0 * GAIN
    ),
    "norm": lambda h: (
        h / tf.maximum(tf.norm(h, axis=-1, keepdims=True), 1e-12) * 4 * GAIN
    ),
    "exp log": lambda h: h * tf.exp(-0.5 * tf.math.log(square(h))) * GAIN,
}


def moments(h: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and variance, written out."""
    mean = tf.reduce_mean(h, -1, keepdims=True)
    return mean, tf.reduce_mean((h - mean) ** 2, -1, keepdims=True)


LAYER = keras.layers.LayerNormalization(epsilon=1e-3)
LAYER.build((None, 16))
LAYER.gamma.assign(GAIN)
LAYER.beta.assign(SHIFT)


def plain(h: tf.Tensor) -> tf.Tensor:
    """By mean and variance."""
    mean, variance = moments(h)
    return (h - mean) * tf.math.rsqrt(variance + 1e-3) * GAIN + SHIFT


def of_tensorflow(h: tf.Tensor) -> tf.Tensor:
    """By tf.nn."""
    mean, variance = tf.nn.moments(h, [-1], keepdims=True)
    return tf.nn.batch_normalization(h, mean, variance, SHIFT, GAIN, 1e-3)


def of_squares(h: tf.Tensor) -> tf.Tensor:
    """Variance as the mean square without the square of the mean."""
    mean = tf.reduce_mean(h, -1, keepdims=True)
    variance = tf.reduce_mean(h * h, -1, keepdims=True) - mean * mean
    return (h - mean) / tf.sqrt(variance + 1e-3) * GAIN + SHIFT


def of_variance(h: tf.Tensor) -> tf.Tensor:
    """By tf.math.reduce_variance."""
    variance = tf.math.reduce_variance(h, -1, keepdims=True)
    centred = h - tf.reduce_mean(h, -1, keepdims=True)
    return centred / tf.sqrt(variance + 1e-3) * GAIN + SHIFT


def folded(h: tf.Tensor) -> tf.Tensor:
    """As a factor and a shift."""
    mean, variance = moments(h)
    k = tf.math.rsqrt(variance + 1e-3) * GAIN
    return h * k + (SHIFT - mean * k)


LAYER_NORM = {
    "layer": LAYER, "plain": plain, "tf.nn": of_tensorflow, "squares": of_squares,
    "variance": of_variance, "folded": folded,
}  # fmt: skip
ROOT = np.float32(np.sqrt(2))
GELU = {
    "keras": lambda h: keras.ops.gelu(h, approximate=False),
    "tf.nn": tf.nn.gelu,
    "erf": lambda h: 0.5 * h * (1 + tf.math.erf(h / ROOT)),
    "erfc": lambda h: 0.5 * h * tf.math.erfc(-h / ROOT),
    "cdf": lambda h: h * ((tf.math.erf(h * np.float32(2**-0.5)) + 1) * 0.5),
}
C = np.float32(np.sqrt(2 / np.pi))
GELU_TANH = {
    "keras": lambda h: keras.ops.gelu(h, approximate=True),
    "cube": lambda h: 0.5 * h * (1 + tf.tanh(C * (h + 0.044715 * h**3))),
    "factored": lambda h: 0.5 * h * (1 + tf.tanh(C * h * (1 + 0.044715 * h * h))),
    "sigmoid": lambda h: h * tf.sigmoid(2 * C * (h + 0.044715 * h * h * h)),
}
SILU = {
    "tf.nn": tf.nn.silu,
    "keras": keras.ops.silu,
    "product": lambda h: h * tf.sigmoid(h),
    "quotient": lambda h: h / (1 + tf.exp(-h)),
    "tanh": lambda h: 0.5 * h * (1 + tf.tanh(h / 2)),
}
RELU = {
    "relu": tf.nn.relu,
    "maximum": lambda h: tf.maximum(h, 0.0),
    "where": lambda h: tf.where(h > 0, h, 0.0),
    "mask": lambda h: h * tf.cast(h > 0, tf.float32),
    "abs": lambda h: (h + tf.abs(h)) / 2,
}
HARD = {
    "keras": keras.ops.hard_silu,
    "relu6": lambda h: h * tf.nn.relu6(h + 3) / 6,
    "clip": lambda h: h * tf.clip_by_value(h / 6 + 0.5, 0, 1),
}
MISH = {
    "keras": keras.activations.mish,
    "softplus": lambda h: h * tf.tanh(tf.math.softplus(h)),
    "log": lambda h: h * tf.tanh(tf.math.log(1 + tf.exp(h))),
}


def weighed(function: Function) -> Function:
    """A softmax that weighs values."""
    return lambda x: (function(x @ W) * tf.tanh(x @ W @ U)) @ V


def exponentials(shift: Function) -> Function:
    """exp / sum(exp), behind a shift of the scores."""

    def softmax(s: tf.Tensor) -> tf.Tensor:
        e = tf.exp(s - shift(s))
        return e / tf.reduce_sum(e, -1, keepdims=True)

    return softmax


def highest(s: tf.Tensor) -> tf.Tensor:
    """The largest score."""
    return tf.reduce_max(s, -1, keepdims=True)


def by_reciprocal(s: tf.Tensor) -> tf.Tensor:
    """exp times the reciprocal of its sum."""
    e = tf.exp(s)
    return e * tf.math.reciprocal(tf.reduce_sum(e, -1, keepdims=True))


SOFTMAX = {
    "tf.nn": tf.nn.softmax,
    "twice": lambda s: tf.exp(s) / tf.reduce_sum(tf.exp(s), -1, keepdims=True),
    "shifted": exponentials(highest),
    "stopped": exponentials(lambda s: tf.stop_gradient(highest(s))),
    "logsumexp": lambda s: tf.exp(s - tf.reduce_logsumexp(s, -1, keepdims=True)),
    "log": lambda s: tf.exp(tf.nn.log_softmax(s)),
    "reciprocal": by_reciprocal,
}

# -- attention: 8 tokens of 16 numbers, 4 heads of queries, 2 of keys and values -------

E, A = weight(1, 16), [weight(16, 16) for _ in range(2)]
KEYS = [weight(16, 8) for _ in range(2)]
MASK = tf.constant(np.tril(np.ones((8, 8), bool)))
ANGLES = np.outer(np.arange(8), 1 / 10 ** (np.arange(2) / 2)).astype("float32")
COS, SIN = (f(np.concatenate([ANGLES, ANGLES], -1)) for f in (np.cos, np.sin))


def by_concat(t: tf.Tensor) -> tf.Tensor:
    """Rotary positions: halves turned by a concatenation."""
    a, b = tf.split(t, 2, -1)
    return t * COS + tf.concat([-b, a], -1) * SIN


def by_matrix(t: tf.Tensor) -> tf.Tensor:
    """Rotary positions: halves turned by a matrix."""
    turn = np.zeros((4, 4), "float32")
    turn[2, 0] = turn[3, 1] = -1
    turn[0, 2] = turn[1, 3] = 1
    return t * COS + (t @ turn) * SIN


def by_halves(t: tf.Tensor) -> tf.Tensor:
    """Rotary positions: each half by itself."""
    a, b = t[..., :2], t[..., 2:]
    c, s = COS[:, :2], SIN[:, :2]
    return tf.concat([a * c - b * s, b * c + a * s], -1)


def heads(t: tf.Tensor, count: int) -> tf.Tensor:
    """(B, 8, count 4) -> (B, count, 8, 4)."""
    return tf.transpose(tf.reshape(t, [-1, 8, count, 4]), [0, 2, 1, 3])


def attention(
    mask: str = "add", turn: Function = by_concat, group: str = "repeat", how: str = ""
) -> Function:
    """Causal attention over 8 tokens, each a number of x."""

    def function(x: tf.Tensor) -> tf.Tensor:
        t = x[..., None] @ E + SHIFT
        q, (k, w) = heads(t @ A[0], 4), (heads(t @ m, 2) for m in KEYS)
        q, k = turn(q), turn(k)
        if group == "einsum":
            s = tf.einsum("bkgqd,bksd->bkgqs", tf.reshape(q, [-1, 2, 2, 8, 4]), k)
            s = tf.reshape(s, [-1, 4, 8, 8])
        else:
            k, w = tf.repeat(k, 2, 1), tf.repeat(w, 2, 1)
            s = tf.matmul(q, k, transpose_b=True)
            s = tf.einsum("bhqd,bhsd->bhqs", q, k) if how == "einsum" else s
        p = tf.nn.softmax(masked(s * 0.5, mask))
        if group == "einsum":
            o = tf.einsum("bkgqs,bksd->bkgqd", tf.reshape(p, [-1, 2, 2, 8, 8]), w)
            o = tf.reshape(o, [-1, 4, 8, 4])
        else:
            o = p @ w
        o = tf.reshape(tf.transpose(o, [0, 2, 1, 3]), [-1, 8, 16])
        return tf.reduce_mean(o @ A[1], 1) @ V

    return function


def masked(s: tf.Tensor, how: str) -> tf.Tensor:
    """The scores behind a causal mask."""
    if how == "add":
        return s + tf.where(MASK, 0.0, -1e9)
    if how == "select":
        return tf.where(MASK, s, -1e9)
    kept = tf.cast(MASK, tf.float32)
    return s * kept - 1e9 * (1 - kept)


ATTENTION = {
    "add": attention(),
    "select": attention("select"),
    "multiply": attention("multiply"),
    "matrix": attention(turn=by_matrix),
    "halves": attention(turn=by_halves),
    "grouped": attention(group="einsum"),
    "einsum": attention(how="einsum"),
}


def _between(table: dict[str, Function]) -> dict[str, Function]:
    return {name: between(function) for name, function in table.items()}


GROUPS: dict[str, dict[str, Function]] = {
    "rms": _between(RMS),
    "layer norm": _between(LAYER_NORM),
    "gelu": _between(GELU),
    "gelu tanh": _between(GELU_TANH),
    "silu": _between(SILU),
    "relu": _between(RELU),
    "hard swish": _between(HARD),
    "mish": _between(MISH),
    "softmax": {name: weighed(f) for name, f in SOFTMAX.items()},
    "attention": ATTENTION,
}
