"""Rows of products, normalisations, and operations on a variable of a layer's own."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.tensors import size
from tfxai.graph.activations import with_activation
from tfxai.graph.kinds import Arguments, L, opening, operation, unsupported
from tfxai.graph.step import Step, Weights, along, whole


@operation("Matmul", "Einsum", "Dot", "Tensordot", "Inner", "Outer", "Vdot")
def _bilinear(op, call, arguments):
    """Of two tensors a product; of one and a constant, or a variable, a linear map."""
    if len(arguments.keras_tensors) > 1:
        return [Step("", "product", call, nonnegative="kept")]
    return _weighted("dense", op, arguments) or [Step("", "average", call)]


def _weighted(kind: str, op: Any, arguments: Arguments) -> list[Step] | None:
    """An operation on one tensor and one array of weights, wherever that stands."""
    leaves = keras.tree.flatten((arguments.args, arguments.kwargs))
    numbers = [v for v in leaves if _is_weight(v)]
    if len(numbers) != 1:
        return None
    weight = numbers[0]

    def live(v):
        value = weight() if callable(weight) else weight
        return tf.cast(tf.convert_to_tensor(value), tf.float32), None

    def apply(v, k):
        args, kwargs = keras.tree.map_structure(
            lambda w: v[0] if isinstance(w, keras.KerasTensor) else
            whole(k) if w is weight else w,
            (arguments.args, arguments.kwargs),
        )  # fmt: skip
        return op.call(*args, **kwargs)

    weights = Weights(live, channels=None)
    return [Step("", kind, apply, weights)]


def _is_weight(v: Any) -> bool:
    return not isinstance(v, keras.KerasTensor) and (
        callable(v) or (hasattr(v, "shape") and len(v.shape) > 0)
    )


operation("Conv", "ConvTranspose")(
    lambda op, call, arguments: _weighted("conv", op, arguments)
)
operation("DepthwiseConv")(
    lambda op, call, arguments: _weighted("depthwise", op, arguments)
)


@operation(L.EinsumDense)
def _einsum_dense(layer, call, arguments):
    if layer.quantization_mode is not None:
        return None

    def apply(v, k):
        return keras.ops.einsum(layer.equation, v[0], whole(k))

    weights = Weights(lambda v: (layer.kernel, along(layer.bias)), channels=None)
    return with_activation(Step("", "dense", apply, weights), layer)


@operation(L.Dot)
def _dot(layer, call, arguments):
    return None if layer.normalize else [Step("", "product", call, nonnegative="kept")]


@opening("DotProductAttention")
def _attention(op, query, key, value, bias=None, mask=None, scale=None):
    """softmax(q k / sqrt(d)) v, step by step; (B, T, heads, d)."""
    ops = keras.ops
    if op.attn_logits_soft_cap is not None or query.shape[2] != key.shape[2]:
        why = "with a soft cap, or with fewer heads for the keys than for the queries"
        raise unsupported(op, "dot_product_attention", why)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = ops.einsum("btnh,bsnh->bnts", ops.multiply(query, scale), key)
    if bias is not None:
        scores = scores + bias
    if op.is_causal:
        steps = ops.cumsum(ops.ones_like(scores), -1) <= ops.cumsum(
            ops.ones_like(scores), -2
        )
        scores = ops.where(steps, scores, -1e9)
    if mask is not None:
        scores = ops.where(mask, scores, -1e9)
    return ops.einsum("bnts,bsnh->btnh", ops.softmax(scores, -1), value)


# -- normalisations: linear, once their mean and variance are held fixed -------------


def _norm(call: Callable, frozen: Callable) -> list[Step]:
    return [Step("", "norm", call, frozen=frozen)]


@operation(L.LayerNormalization)
def _layer_norm(layer, call, arguments):
    rank = len(arguments.shapes[0])
    axes = [a % rank for a in layer.axis]
    shape = [arguments.shapes[0][a] if a in axes else 1 for a in range(rank)]
    centred = not getattr(layer, "rms_scaling", False)

    def frozen(v):
        x = v[0]
        moment = tf.math.reduce_variance(x, axes, keepdims=True)
        factor = tf.math.rsqrt(moment + layer.epsilon)
        if layer.gamma is not None:
            factor *= tf.reshape(tf.convert_to_tensor(layer.gamma), shape)
        return _centred(lambda u: tf.reduce_mean(u, axes, keepdims=True), centred), (
            factor
        )

    return _norm(call, frozen)


def _centred(mean: Callable, centred: bool = True) -> Callable:
    """(x, factor) -> (x - mean x) factor."""
    return lambda v: ((v[0] - mean(v[0])) if centred else v[0]) * v[1]


@operation(L.GroupNormalization)
def _group_norm(layer, call, arguments):
    rank = len(arguments.shapes[0])
    axis = layer.axis % rank

    def grouped(v):
        n = size(v)
        groups = n[axis] if layer.groups == -1 else layer.groups
        return tf.reshape(v, [*n[:axis], groups, n[axis] // groups, *n[axis + 1 :]])

    within = [a for a in range(1, rank + 1) if a != axis]

    def mean(v):
        return _spread(tf.reduce_mean(grouped(v), within, keepdims=True), v)

    def _spread(m, v):
        return tf.reshape(tf.broadcast_to(m, tf.shape(grouped(v))), tf.shape(v))

    def frozen(v):
        spread = tf.math.reduce_variance(grouped(v[0]), within, keepdims=True)
        factor = _spread(tf.math.rsqrt(spread + layer.epsilon), v[0])
        if layer.scale:
            shape = [1] * rank
            shape[axis] = -1
            factor *= tf.reshape(tf.convert_to_tensor(layer.gamma), shape)
        return _centred(mean), factor

    return _norm(call, frozen)


def _by_ratio(call: Callable) -> Callable:
    """Of y = x f(x) with f > 0, the factor f: no mean is taken away, nothing added."""

    def frozen(v):
        x = v[0]
        return _centred(lambda u: 0, False), tf.math.divide_no_nan(call([x]), x)

    return frozen


@operation(*[c for c in (L.UnitNormalization, getattr(L, "RMSNormalization", None))
             if c], "Normalize", "RMSNorm")  # fmt: skip
def _scaled_norm(op, call, arguments):
    """By the length, or the root of the mean square: y / x is the factor."""
    if len(arguments.keras_tensors) > 1:
        return None
    return _norm(call, _by_ratio(call))


@operation("LayerNorm")
def _layer_norm_operation(op, call, arguments):
    """The factor is the slope's own part: gamma / sqrt(variance + epsilon)."""
    if len(arguments.keras_tensors) > 1:
        return None
    axes = [a % len(arguments.shapes[0]) for a in _listed(op.axis)]

    def frozen(v):
        def mean(u):
            return tf.reduce_mean(u, axes, keepdims=True)

        centre = mean(v[0])
        shift = call([tf.broadcast_to(centre, tf.shape(v[0]))])  # beta
        return _centred(mean), tf.math.divide_no_nan(call(v) - shift, v[0] - centre)

    return _norm(call, frozen)


def _listed(v: Any) -> list:
    return list(v) if isinstance(v, list | tuple) else [v]
