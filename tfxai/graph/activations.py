"""Rows of the activations: fused into a layer, a layer themselves, or an operation."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfxai.graph.kinds import Arguments, L, find_row, identity, operation
from tfxai.graph.step import Step

_POSITIVE = {"relu", "relu6", "sigmoid", "softplus", "exponential", "hard_sigmoid"}
_POSITIVE |= {"sparse_plus", "squareplus", "sparse_sigmoid"}
_ELEMENTWISE = _POSITIVE | {
    *("leaky_relu", "elu", "selu", "celu", "gelu", "silu", "tanh", "mish"),
    *("softsign", "hard_tanh", "hard_silu", "hard_shrink", "soft_shrink"),
    *("tanh_shrink", "threshold", "log_sigmoid"),
}
_SOFTMAX = {"softmax", "log_softmax", "sparsemax"}
_ACTIVATIONS = {
    getattr(home, name): name
    for home in (keras.activations, keras.ops)
    for name in _ELEMENTWISE | _SOFTMAX
    if hasattr(home, name)
}


def activation(function: Any) -> list[Step] | None:
    """The steps of a fused activation: none for linear, None for an unknown one."""
    if function is None or function is keras.activations.linear:
        return []
    if isinstance(function, keras.layers.Layer):
        row = find_row(function)
        none = Arguments((), {})
        return row.steps(function, lambda v: function.call(*v), none) if row else None
    name = _ACTIVATIONS.get(function)
    if name is None:
        return None
    return [_activation(name, lambda v: function(*v))]


def with_activation(step: Step, layer: Any) -> list[Step] | None:
    """A step and the activation that is fused into its layer; None: unknown."""
    after = activation(layer.activation)
    return None if after is None else [step, *after]


def _activation(name: str, call: Callable) -> Step:
    if name in _SOFTMAX:
        return Step("", "softmax", call, layer=name)
    sign = "yes" if name in _POSITIVE else "no"
    gate = name if name in ("relu", "relu6") else None
    kind = "relu" if gate else "activation"
    return Step("", kind, call, nonnegative=sign, gate=gate, layer=name)


@operation(L.Activation)
def _activation_layer(layer, call, arguments):
    steps = activation(layer.activation)
    return [identity()] if steps == [] else steps


@operation(L.ReLU, "ReLU")
def _relu_layer(layer, call, arguments):
    """A leaky ReLU is none; one with a threshold is, but cuts elsewhere than at 0."""
    if getattr(layer, "negative_slope", 0):
        return [Step("", "activation", call, layer="LeakyReLU")]
    if getattr(layer, "threshold", 0):
        return [Step("", "relu", call, layer="ReLU")]
    bounded = getattr(layer, "max_value", None) is not None
    return [_activation("relu6" if bounded else "relu", call)]


@operation(L.LeakyReLU, L.ELU, L.PReLU)
def _signed_activation(layer, call, arguments):
    if getattr(layer, "negative_slope", 1) == 0:
        return [_activation("relu", call)]
    return [Step("", "activation", call, layer=type(layer).__name__)]


@operation("Clip")
def _clip(op, call, arguments):
    """From 0 on it is a ReLU with a bound."""
    low = op.x_min
    if np.ndim(low) == 0 and low == 0 and len(arguments.keras_tensors) == 1:
        return [_activation("relu6", call)]
    return _one_value(op, call, arguments)


@operation(L.Softmax)
def _softmax_layer(layer, call, arguments):
    return [_over_last("softmax", layer.axis, call, arguments)]


def _over_last(name: str, axis: Any, call: Callable, arguments: Any) -> Step:
    """A softmax over the last axis; over any other it is not what classes end in."""
    rank = len(arguments.keras_tensors[0].shape)
    last = isinstance(axis, int) and axis % rank == rank - 1
    return _activation(name, call) if last else Step("", "softmax", call)


def _named_activation(op, call, arguments):
    words = {"Exp": "exponential"}
    name = words.get(type(op).__name__) or _snake(type(op).__name__)
    if name in _SOFTMAX:
        return [_over_last(name, op.axis, call, arguments)]
    return [_activation(name, call)]


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _one_value(op, call, arguments):
    """Any other function of one value at a time; one-sided, unlike a real sum."""
    if len(arguments.keras_tensors) > 1:
        return None
    name = type(op).__name__
    sign = "yes" if name in ("Absolute", "Abs", "Sqrt", "Rsqrt", "Square") else "no"
    return [Step("", "activation", call, nonnegative=sign, layer=_snake(name))]


operation(
    "Absolute", "Abs", "Arctan", "Cbrt", "Cos", "Cosh", "Erf", "Exp2", "Expm1",
    "Log", "Log1p", "Log2", "Log10", "NanToNum", "Power", "Reciprocal", "Rsqrt", "Sin",
    "Sinh", "Sqrt", "Square",
)(_one_value)  # fmt: skip

_OPERATIONS = ("Relu Relu6 Sigmoid Softplus Softsign Silu LogSigmoid LeakyRelu HardSilu"
               " HardSigmoid Elu Selu Gelu Celu TanhShrink HardTanh HardShrink Tanh"
               " SoftShrink SparsePlus SparseSigmoid Squareplus Threshold Exp"
               " Softmax LogSoftmax Sparsemax")  # fmt: skip
operation(*_OPERATIONS.split())(_named_activation)
