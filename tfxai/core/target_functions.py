"""Functions of the outputs as targets (`tfxai.targets`), and their use on logits.

A function as target receives the model's own outputs. The targets of this module are
computed from the logits where the model ends in softmax or sigmoid, so that a
probability that rounds to 0 or 1 keeps its logarithm and its gradient:

    tfxai.explain(model, x, "gradient", target=tfxai.targets.log_probability(3))

They are equal if their arguments are, so that each is compiled once.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError, TargetError
from tfxai.base.tensors import Tensor, as_rows
from tfxai.base.validation import is_int, unmasked
from tfxai.core.detections import anchor, similarity
from tfxai.core.function_keys import key_of
from tfxai.core.inputs import fits
from tfxai.core.ready_target import Bound, ReadyTarget
from tfxai.core.sequences import continuation, next_token
from tfxai.core.targets import or_top
from tfxai.graph.program import Program

__all__ = [
    "anchor",
    "continuation",
    "difference",
    "log_odds",
    "log_probability",
    "logit",
    "masked_sum",
    "next_token",
    "similarity",
]


def on_program(target_fn: Any, program: Program) -> Any:
    """Return a target function for the logits of a program that a method has read.

    Args:
        target_fn: A `Bound` function, another one, or None; those are returned.
        program: The steps whose logits the function receives.
    """
    if not isinstance(target_fn, Bound):
        return target_fn
    return replace(target_fn, program=program, link=program.link)


def bound(
    function: Callable[..., Any],
    program: Program | None,
    link: str,
    outputs: tuple[int | None, ...],
) -> Bound:
    """Return a target function of a model, checked against its outputs.

    Args:
        function: The target function.
        program: The steps of the model; None where they were not read.
        link: How the model's own outputs follow from the explained outputs.
        outputs: The shape of the explained outputs.

    Raises:
        TargetError: An index of a ready-made target is not one of the outputs.
        ModelError: The target needs probabilities, and the model returns none.
    """
    result = Bound(function, program, link, key_of(function))
    if isinstance(function, ReadyTarget):
        for index in function.indices:
            _check_index(function.name, index, outputs[1:])
        if function.probabilities and link == "linear":
            raise ModelError(
                f"target=tfxai.targets.{function.name}, and the model does not end in "
                "softmax or sigmoid.",
                "a model that ends in probabilities",
                "target=tfxai.targets.logit(0), or "
                "keras.Sequential([model, keras.layers.Softmax()])",
            )
    return result


def logit(index: Any = None) -> ReadyTarget:
    """Return the target z_k: an output before softmax or sigmoid.

    Args:
        index: Class k, a tuple for an output with more axes; None is the top class.
    """
    return _of_one("logit", index, lambda model, outputs: outputs, False)


def log_probability(index: Any = None) -> ReadyTarget:
    """Return the target log p_k.

    Args:
        index: Class k, a tuple for an output with more axes; None is the top class.
    """
    return _of_one("log_probability", index, _log_probabilities, True)


def log_odds(index: Any = None) -> ReadyTarget:
    """Return the target log p_k / (1 - p_k).

    Args:
        index: Class k, a tuple for an output with more axes; None is the top class.
    """
    return _of_one("log_odds", index, _log_odds, True)


def difference(index: Any, other: Any) -> ReadyTarget:
    """Return the target z_k - z_j, of a softmax log p_k / p_j.

    Args:
        index: Class k, or a tuple for an output with more axes.
        other: Class j, or a tuple.

    Raises:
        TargetError: An index is neither an int nor a tuple of ints.
    """
    k, j = _plain(index), _plain(other)

    def score(model: Bound, outputs: Tensor) -> Tensor:
        return _element(outputs, k) - _element(outputs, j)

    return ReadyTarget(f"difference({k}, {j})", (k, j), score)


def masked_sum(mask: Any, index: int | None = None) -> ReadyTarget:
    """Return the target sum over a mask: sum_i m_i z_i over the logits.

    Args:
        mask: Weights, or booleans, of the positions of one output, such as (H, W), or
            of each sample's, (B, H, W); of all its elements, such as (H, W, classes) or
            (B, H, W, classes), where `index` is None.
        index: The class whose logits are added.

    Raises:
        TargetError: The mask holds other values than finite numbers and booleans, or
            nothing but zeros.
    """
    weights = np.asarray(unmasked("mask", mask))
    if weights.dtype.kind not in "biuf" or not np.isfinite(weights).all():
        raise TargetError(
            f"masked_sum got a mask of dtype {weights.dtype}, or with NaN or infinity.",
            "booleans or finite numbers",
            "tfxai.targets.masked_sum(mask > 0.5, 2)",
        )
    if not weights.any():
        raise TargetError(
            f"masked_sum got a mask of shape {weights.shape} that is zero everywhere.",
            "a mask of at least one element",
            "mask.any()",
        )
    weights = weights.astype(np.float32)
    k = None if index is None else _plain(index)
    key = (weights.shape, weights.tobytes(), k)
    return _sum_over(weights, k, key)


def _sum_over(weights: Any, k: Any, key: Any) -> ReadyTarget:
    """The target sum over weights, an array or a variable."""

    def score(model: Bound, outputs: Tensor) -> Tensor:
        chosen = outputs if k is None else outputs[..., k]
        shape, given = chosen.shape[1:].as_list(), list(weights.shape)
        if given != shape and given[1:] != shape:
            raise _mask_error(tuple(given), tuple(outputs.shape[1:]))
        return tf.reduce_sum(as_rows(chosen * tf.cast(weights, chosen.dtype)), -1)

    shown = "mask" if k is None else f"mask, {k}"

    def of(other: Any) -> ReadyTarget:
        return _sum_over(other, k, (other.ref(), k))

    name = f"masked_sum({shown})"
    return ReadyTarget(name, (), score, key=key, weights=weights, of=of)


def _mask_error(mask: tuple[int, ...], shape: tuple[int | None, ...]) -> TargetError:
    """The error for a mask that does not fit the outputs."""
    return TargetError(
        f"The mask has shape {mask}, and each output {shape}.",
        f"a mask {shape[:-1]} of the positions together with a class, one {shape} of "
        "all elements, or one of these for each sample, (B, ...)",
        "target=tfxai.targets.masked_sum(mask, 0)",
    )


def as_target(target: Any, outputs: tuple[int | None, ...], one_sigmoid: bool) -> Any:
    """Return the target; of an array of floats or booleans, the sum over that mask.

    Args:
        target: Any target.
        outputs: The shape of the explained outputs, with a batch axis.
        one_sigmoid: The last axis is the two classes of one sigmoid. A mask without it
            is that of class 1.
    """
    target = unmasked("target", target)
    array = np.asarray(target) if hasattr(target, "__array__") else None
    if array is None or array.ndim < 2 or array.dtype.kind not in "bf":
        return target
    if not one_sigmoid or len(outputs) < 3:
        return masked_sum(array)
    for mask in (array, array[..., 0] if array.shape[-1] == 1 else array):
        if any(fits(mask.shape[i:], outputs[1:-1]) for i in (0, 1)):
            return masked_sum(mask, 1)
    return masked_sum(array)


def masks_of(function: Any, outputs: tuple[int | None, ...], batch: int) -> Any:
    """Return the weights of a target: (B, ...), (1, ...) for all samples, or None.

    Args:
        function: A target function.
        outputs: The shape of the explained outputs, with a batch axis.
        batch: How many samples there are.

    Raises:
        TargetError: The mask does not fit the outputs, or the number of masks is not
            that of the samples.
    """
    weights = function.weights if isinstance(function, ReadyTarget) else None
    if weights is None or function.each:
        return weights
    one = outputs[1:] if function.key[-1] is None else outputs[1:-1]
    if fits(weights.shape, one):
        return weights[None]
    if not fits(weights.shape[1:], one):
        raise _mask_error(tuple(weights.shape), outputs[1:])
    if len(weights) != batch:
        raise TargetError(
            f"The target has {len(weights)} masks for {batch} sample(s).",
            "one mask for all samples, or one for each",
            "target=tfxai.targets.masked_sum(masks[:len(x)], 0)",
        )
    return weights


def of_variable(function: Any, masks: tf.Variable) -> Bound:
    """Return the target function that reads the masks (b, ...) from a variable."""
    new = function.function.of(masks)
    made: Bound = replace(function, function=new, key=key_of(new))
    return made


def odds_of_logits(z: Tensor) -> Tensor:
    """Return log p / (1 - p) of a softmax, exact also where p is 1 in float32.

    That is z_k - log sum exp of the other classes. For the top class these are summed
    without it; for any other class 1 - p is far from 0.
    """
    top = tf.argmax(z, -1)
    first = tf.cast(tf.one_hot(top, z.shape[-1]), tf.bool)
    lowest = tf.fill(tf.shape(z), z.dtype.min)
    rest = tf.reduce_logsumexp(tf.where(first, lowest, z), -1, keepdims=True)
    log_p = tf.nn.log_softmax(z)
    safe = tf.where(first, tf.math.log(0.5) + tf.zeros_like(z), log_p)
    return tf.where(first, z - rest, log_p - tf.math.log1p(-tf.exp(safe)))


def odds_of_probabilities(p: Tensor) -> Tensor:
    """Return log p / (1 - p) of probabilities, which are exact to 1e-7."""
    p = tf.clip_by_value(p, 1e-7, 1 - 1e-7)
    return tf.math.log(p) - tf.math.log1p(-p)


def name_of_function(function: Any) -> str:
    """Return how titles name a target function."""
    if isinstance(function, ReadyTarget):
        return function.name
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    return "function" if name == "<lambda>" else str(name)


def _of_one(
    name: str,
    index: Any,
    values: Callable[[Bound, Tensor], Tensor],
    probabilities: bool,
) -> ReadyTarget:
    """The target that is one element of a function of the explained outputs."""
    k = None if index is None else _plain(index)

    def score(model: Bound, outputs: Tensor) -> Tensor:
        if k is None:
            return _top(values(model, outputs), outputs)
        return _element(values(model, outputs), k)

    shown = "" if k is None else repr(k)
    return ReadyTarget(f"{name}({shown})", (k,), score, probabilities)


def _log_probabilities(model: Bound, outputs: Tensor) -> Tensor:
    """log p of every element."""
    if model.exact in ("softmax", "log_softmax"):
        return tf.nn.log_softmax(outputs)
    if model.exact == "sigmoid":
        return tf.math.log_sigmoid(outputs)
    own = model.own(outputs)
    return own if model.link == "log_softmax" else tf.math.log(own)


def _log_odds(model: Bound, outputs: Tensor) -> Tensor:
    """log p / (1 - p) of every element."""
    if model.exact in ("softmax", "log_softmax"):
        return odds_of_logits(outputs)
    if model.exact == "sigmoid":
        return outputs
    own = model.own(outputs)
    p = tf.exp(own) if model.link == "log_softmax" else own
    return odds_of_probabilities(p)


def _top(values: Tensor, outputs: Tensor) -> Tensor:
    """The values (B,) at the top class of the outputs."""
    rows = as_rows(outputs)
    top = or_top(-tf.ones([tf.shape(rows)[0], 1], tf.int32), rows)
    return tf.gather(as_rows(values), top, batch_dims=1)[:, 0]


def _element(values: Tensor, index: Any) -> Tensor:
    """The element (B,) at an index."""
    return values[(slice(None), *(index if isinstance(index, tuple) else (index,)))]


def _plain(index: Any) -> Any:
    """The index as an int or a tuple of ints."""
    if is_int(index):
        return int(index)
    if isinstance(index, tuple) and index and all(is_int(i) for i in index):
        return tuple(int(i) for i in index)
    raise TargetError(
        f"The index of a target is {index!r}.",
        "a class, or a tuple of ints for an output with more axes",
        "tfxai.targets.logit(3), or tfxai.targets.logit((10, 10, 2))",
    )


def _check_index(name: str, index: Any, shape: tuple[int | None, ...]) -> None:
    """Raise TargetError for an index outside the outputs."""
    if index is None:
        if len(shape) == 1:
            return
        outside = True
    else:
        parts = index if isinstance(index, tuple) else (index,)
        outside = len(parts) != len(shape) or any(
            not 0 <= i < (i + 1 if n is None else n)
            for i, n in zip(parts, shape, strict=False)
        )
    if outside:
        example = 0 if len(shape) == 1 else (0,) * len(shape)
        raise TargetError(
            f"target=tfxai.targets.{name}, but each output has shape {shape}.",
            f"an index of {len(shape)} number(s) within it",
            f"target=tfxai.targets.logit({example})",
        )
