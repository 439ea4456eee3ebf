"""NumPy float64 oracles: the formulas of the papers, written with matrices.

Any linear step is a matrix; `matrix` computes it by running the layer on unit vectors.
A rule is then a line or two on x (B, n_in), W (n_in, n_out), b (n_out,) and the
relevance R (K, B, n_out) of the outputs:

    R'_i = sum_j  c_ij / (sum_i c_ij + rest_j)  R_j

and the rules differ only in the contribution c_ij of i to j. The oracles share nothing
with the implementation: no messages, no transposed operations, no merged layers.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

Array = np.ndarray


def positive(v: Array) -> Array:
    """max(v, 0)."""
    return np.maximum(v, 0)


def negative(v: Array) -> Array:
    """min(v, 0)."""
    return np.minimum(v, 0)


def rows(v: Array) -> Array:
    """(B, ...) -> (B, n)."""
    return np.reshape(v, (len(v), -1))


# -- a linear layer as a matrix ------------------------------------------------------


class Matrix(NamedTuple):
    """W (n_in, n_out), b (n_out,), and the connections (1, 0) of inputs to outputs."""

    W: Array
    b: Array
    wired: Array


def shapes(layer: keras.Layer) -> list[tuple[int, ...]]:
    """Return the input shapes, without batch axis, of a layer that is called once."""
    return [tuple(t.shape[1:]) for t in keras.tree.flatten(layer.input)]


#: Without a float64 kernel in TensorFlow on CPUs; their weights are 1 / n.
_SINGLE = ("AveragePooling3D",)


def in_float64(layer: keras.Layer, **changes: Any) -> keras.Layer:
    """Return a copy of the layer in float64, with `changes` of its config."""
    dtype = "float32" if type(layer).__name__ in _SINGLE else "float64"
    copy = type(layer).from_config({**layer.get_config(), "dtype": dtype, **changes})
    run(copy, *[np.zeros((1, *s)) for s in shapes(layer)])
    copy.set_weights(layer.get_weights())
    return copy


def linear_part(layer: keras.Layer) -> keras.Layer:
    """Return the layer in float64 and without its fused activation."""
    fused = "activation" in layer.get_config()
    return in_float64(layer, **({"activation": None} if fused else {}))


def run(function: Callable, *inputs: Array) -> Array:
    """Return `function` of one tensor, or of a list of several, in float64."""
    tensors = [tf.constant(v, tf.float64) for v in inputs]
    return np.asarray(function(tensors[0] if len(tensors) == 1 else tensors))


def affine(function: Callable, *shapes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return W and b of an affine function of inputs (B, *shape), from unit vectors.

    Several inputs are concatenated to one vector.
    """
    sizes = [int(np.prod(s)) for s in shapes]
    parts = np.split(np.eye(sum(sizes)), np.cumsum(sizes)[:-1], axis=1)
    units = [u.reshape(-1, *s) for u, s in zip(parts, shapes, strict=True)]
    b = rows(run(function, *[np.zeros((1, *s)) for s in shapes]))
    W = rows(run(function, *units)) - b
    return np.where(np.abs(W) > 1e-12, W, 0.0), b[0]  # (W + b) - b is rounded


def matrix(layer: keras.Layer) -> Matrix:
    """Return the matrix of a linear layer; `wired` is from a copy with weights 1."""
    copy = linear_part(layer)
    W, b = affine(copy, *shapes(layer))
    copy.set_weights([np.ones(w.shape) for w in copy.weights])
    ones, _ = affine(copy, *shapes(layer))
    return Matrix(W, b, (ones != 0).astype(float))


# -- rules: (x, matrix, R) -> R' -----------------------------------------------------


def shared(c: Array, rest: Any, r: Array, eps: float = 0.0) -> Array:
    """R'_i = sum_j c_ij / s(sum_i c_ij + rest_j) R_j, s(z) = z + eps sign z; 0/0 = 0.

    c: (B, n_in, n_out), r: (K, B, n_out). sign 0 is 1.
    """
    z = c.sum(1) + rest
    z = z + eps * np.where(z >= 0, 1, -1)
    s = np.divide(r, z, out=np.zeros(r.shape), where=np.broadcast_to(z != 0, r.shape))
    return np.einsum("bio,kbo->kbi", c, s)


def z(x, m, r, bias=True, eps=0.0):
    """c = x w; b absorbs its part."""
    return shared(x[:, :, None] * m.W, m.b * bias, r, eps)


def epsilon(x, m, r, epsilon=1e-7, bias=True):
    """c = x w; b and epsilon absorb their parts."""
    return z(x, m, r, bias, epsilon)


def alpha_beta(x, m, r, alpha=2.0, beta=1.0, bias=True, eps=0.0):
    """alpha times c = (x w)+ with b+, minus beta times c = (x w)- with b-."""
    c, b = x[:, :, None] * m.W, m.b * bias
    up = shared(positive(c), positive(b), r, eps)
    return alpha * up - beta * shared(negative(c), negative(b), r, eps)


def z_plus(x, m, r, bias=False, eps=0.0):
    """c = (x w)+."""
    return alpha_beta(x, m, r, 1.0, 0.0, bias, eps)


def z_plus_both_biases(x, m, r, eps=0.0):
    """c = (x w)+; b of both signs is in the sum, as in iNNvestigate."""
    return shared(positive(x[:, :, None] * m.W), m.b, r, eps)


def gamma(x, m, r, gamma=0.25, bias=True, eps=0.0):
    """c = x w + gamma (x w)+ where z > 0, and x w + gamma (x w)- where z < 0."""
    c, b = x[:, :, None] * m.W, m.b * bias
    y = x @ m.W + m.b  # the sign is that of the layer's output, with b
    parts = [
        shared(c + gamma * sign(c), b + gamma * sign(b), r * (sign(y) != 0), eps)
        for sign in (positive, negative)
    ]
    return parts[0] + parts[1]


def w_square(x, m, r, bias=False, eps=0.0):
    """c = w^2, independent of x."""
    return shared(np.tile(m.W**2, (len(x), 1, 1)), m.b**2 * bias, r, eps)


def flat(x, m, r, eps=0.0):
    """c = 1 for every connection."""
    return shared(np.tile(m.wired, (len(x), 1, 1)), 0.0, r, eps)


def z_box(x, m, r, low=-1.0, high=1.0, eps=0.0):
    """c = x w - low w+ - high w-; low, high broadcast against x (B, n_in)."""
    low, high = (np.broadcast_to(v, x.shape)[:, :, None] for v in (low, high))
    c = x[:, :, None] * m.W - low * positive(m.W) - high * negative(m.W)
    return shared(c, 0.0, r, eps)


# -- heads: (logits (B, n), one-hot target (T, B, n)) -> seeds, or two halves --------


def softmax(f: Array) -> Array:
    """Exponentials that sum to 1."""
    e = np.exp(f - f.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def one_hot(f, t):
    """f_t at the target."""
    return f * t


def masked(f, t):
    """max(f_t, 0) at the target."""
    return positive(f) * t


def contrastive(f, t, relu_logits=False):
    """u_t at the target; u_t / (n - 1) at each other class. u = max(f, 0).

    relu_logits: none at classes with f <= 0.
    """
    u_t = (positive(f) * t).sum(-1, keepdims=True)
    others = (1 - t) * u_t / (f.shape[-1] - 1)
    return u_t * t, others * (f > 0) if relu_logits else others


def softmax_gradient(f, t, relu_logits=False):
    """Row t of the softmax Jacobian diag(p) - p p^T: positive and negative part.

    relu_logits: of the softmax of max(f, 0); none at classes with f <= 0.
    """
    u = positive(f) if relu_logits else f
    p = softmax(u)
    jacobian = p[:, :, None] * np.eye(p.shape[-1]) - p[:, :, None] * p[:, None]
    gradient = np.einsum("tbi,bij->tbj", t, jacobian)
    gradient = gradient * (f > 0) if relu_logits else gradient
    return positive(gradient), -negative(gradient)


def balanced_difference(ours: list[Array], theirs: list[Array]) -> list[Array]:
    """A - k B with k = sum A / sum B per target; lists hold (T, B, ...) per input."""
    a, b = (
        sum(m.sum(tuple(range(2, m.ndim))) for m in maps) for maps in (ours, theirs)
    )
    k = np.divide(a, b, out=np.zeros(a.shape), where=b != 0)
    return [
        m - k.reshape(*k.shape, *[1] * (m.ndim - 2)) * n
        for m, n in zip(ours, theirs, strict=True)
    ]


# -- whole networks ------------------------------------------------------------------

_PASS = ("Activation", "ReLU", "LeakyReLU", "Dropout")
_MOVE = ("Flatten", "Reshape", "Concatenate", "MaxPooling2D", "ZeroPadding1D")


def kind(layer: keras.Layer) -> str:
    """Return the kind of this layer."""
    name = type(layer).__name__
    words = {"Add": "add", "Dense": "dense", "BatchNormalization": "scale"}
    if "Depthwise" in name:
        return "depthwise"
    if "Average" in name:
        return "average"
    return words.get(name, "conv" if "Conv" in name else name)


def layers_of(model: keras.Model) -> list[keras.Layer]:
    """Return the layers in order, without inputs; each is called once."""
    return [v for v in model.layers if not isinstance(v, keras.layers.InputLayer)]


def forward(model: keras.Model, inputs: list[Array]) -> dict[int, Array]:
    """Return every tensor of a functional model in float64, by id of its KerasTensor.

    Without the softmax of the last layer.
    """
    values = dict(zip(map(id, model.inputs), inputs, strict=True))
    for layer in layers_of(model):
        xs = [values[id(t)] for t in keras.tree.flatten(layer.input)]
        copy = linear_part if layer.output is model.outputs[0] else in_float64
        values[id(layer.output)] = run(copy(layer), *xs)
    return values


def lrp(
    model: keras.Model,
    inputs: list[Array],
    seeds: Callable[[Array], Array],
    rules: Mapping[str, Callable],
    first: Callable | None = None,
    matrix: Callable[[keras.Layer], Matrix] = matrix,
) -> list[Array]:
    """Return the relevance (K, B, ...) of the inputs, layer by layer.

    seeds: logits (B, n) -> (K, B, n). rules: kind -> rule; `first` for layers with a
    kernel that read an input. matrix: `matrix`, or a cached version of it.
    """
    values = forward(model, inputs)
    output = model.outputs[0]
    arrived = {id(output): seeds(values[id(output)])}
    for layer in reversed(layers_of(model)):
        sources = keras.tree.flatten(layer.input)
        xs = [values[id(t)] for t in sources]
        begins = all(any(t is i for i in model.inputs) for t in sources)
        rule = first if begins and first is not None else rules.get(kind(layer))
        step = partial(rule, m=matrix(layer)) if rule is not None else None
        parts = _back(layer, step, xs, arrived[id(layer.output)])
        for t, part in zip(sources, parts, strict=True):
            arrived[id(t)] = arrived.get(id(t), 0) + part
    return [arrived[id(t)] for t in model.inputs]


def _back(layer: keras.Layer, step: Any, xs: list[Array], r: Array) -> list[Array]:
    """Return the relevance of one layer's inputs: r (K, B, ...) -> one per input."""
    if type(layer).__name__ in _PASS:
        return [r]
    if type(layer).__name__ in _MOVE:
        pulled = [_pull(layer, xs, s) for s in r]
        return [np.stack(parts) for parts in zip(*pulled, strict=True)]
    x = np.concatenate([rows(v) for v in xs], 1)
    result = step(x, r=r.reshape(*r.shape[:2], -1))
    cuts = np.cumsum([rows(v).shape[1] for v in xs])[:-1]
    return [
        p.reshape(len(r), *v.shape)
        for p, v in zip(np.split(result, cuts, 2), xs, strict=True)
    ]


def _pull(layer: keras.Layer, xs: list[Array], s: Array) -> list[Array]:
    """Return the gradient of a layer that only moves values."""
    tensors = [tf.constant(v, tf.float64) for v in xs]
    copy = in_float64(layer)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        y = copy(tensors[0] if len(tensors) == 1 else tensors)
    return [np.asarray(g) for g in tape.gradient(y, tensors, tf.constant(s))]
