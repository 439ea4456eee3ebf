"""Targets of sequences: tokens that follow a position, of language models.

The output (B, L, V) of a language model holds, at each position, the logits of the
token that follows it. A target names positions and tokens of each sample, and reads
them from a small array, so that other positions and tokens need no new graph.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import TargetError
from tfxai.base.tensors import Tensor, as_rows
from tfxai.base.validation import is_int
from tfxai.core.ready_target import Bound, ReadyTarget
from tfxai.graph.private import layers_within
from tfxai.viz.words import token_input

Array = np.ndarray[Any, Any]
#: (last positions (B,), shape (B, L, V), logits of the positions (B,) -> (B, V)) -> the
#: target with its positions and tokens for each sample.
Resolve = Callable[[Array, tuple[int, ...], Callable[[Array], Array]], ReadyTarget]
_WRITE = "target=tfxai.targets.next_token(3)"


def last_positions(
    model: Any, inputs: Sequence[Array], names: Sequence[str], length: int | None
) -> Array | None:
    """Return the last position (B,) of each sample that is not padding.

    That is the last 1 of the mask of the token ids: the input of their name with "mask"
    for "token_ids", or the one of their shape that holds 0 and 1 alone; of a model with
    `Embedding(mask_zero=True)`, the last id that is not 0; else the last position.

    Args:
        model: The model.
        inputs: The checked inputs.
        names: Their names, or none.
        length: The length of the output.

    Returns:
        None where no input holds token ids (B, length).
    """
    ids = _ids(inputs, names, length)
    if ids is None:
        return None
    mask = _mask_of(ids, inputs, names)
    if mask is None and _masks_zero(model):
        mask = inputs[ids]
    if mask is None:
        return np.full(len(inputs[ids]), inputs[ids].shape[1] - 1)
    return np.asarray(mask.shape[1] - 1 - np.argmax(mask[:, ::-1] != 0, axis=1))


def _ids(
    inputs: Sequence[Array], names: Sequence[str], length: int | None
) -> int | None:
    """The number of the token ids that the output follows."""
    fitting = [
        i for i, v in enumerate(inputs)
        if v.ndim == 2 and v.dtype.kind in "iu" and v.shape[1] == length
    ]  # fmt: skip
    if len(names) == len(inputs):
        others = ("segment", "type", "position")
        named = [
            i for i in fitting
            if "ids" in names[i] and not any(o in names[i] for o in others)
        ]  # fmt: skip
        decoder = [i for i in named if "decoder" in names[i]]
        fitting = decoder or named or fitting
    if not fitting:
        return None
    return fitting[token_input([inputs[i] for i in fitting])]


def _mask_of(ids: int, inputs: Sequence[Array], names: Sequence[str]) -> Array | None:
    """The mask of the token ids, among the inputs."""
    rest = [
        i for i, v in enumerate(inputs)
        if i != ids and v.shape == inputs[ids].shape and np.isin(v, (0, 1)).all()
    ]  # fmt: skip
    if len(names) == len(inputs):
        prefix = names[ids].split("token_ids")[0].split("input_ids")[0]
        masks = [i for i in rest if "mask" in names[i]]
        rest = [i for i in masks if names[i].startswith(prefix)] or masks
    return inputs[rest[0]] if rest else None


def _masks_zero(model: Any) -> bool:
    if not isinstance(model, keras.Model):
        return False
    return any(getattr(layer, "mask_zero", False) for layer in layers_within(model))


def next_token(token: Any = None, other: Any = None, position: Any = None) -> Any:
    """Return the target z_t: the logit of the token that follows a position.

    With `other`, the difference z_t - z_o: why this token, rather than that one.

    Args:
        token: The id of the token, or (B,) ids; None is the one the model chooses.
        other: The id of the token that it is compared with, or (B,) ids.
        position: Where the token follows, or (B,) positions; None is the last position
            of each sample that is not padding.
    """
    shown = ", ".join(
        f"{n}={v!r}" if n else repr(v)
        for n, v in (("", token), ("other", other), ("position", position))
        if v is not None
    )
    name = f"next_token({shown})"

    def resolve(last: Array, shape: tuple[int, ...], logits: Any) -> ReadyTarget:
        batch = len(last)
        at = last if position is None else _column(position, batch, "position")
        _check(at, shape[1], "position")
        chosen = None if token is None else _column(token, batch, "token")
        if chosen is None:
            chosen = np.argmax(logits(at), -1)
        _check(chosen, shape[2], "token")
        columns = [at, chosen]
        if other is not None:
            columns.append(_column(other, batch, "other"))
            _check(columns[-1], shape[2], "other token")
        return _reading(_next, np.stack(columns, 1).astype(np.int32), name)

    return _sequence(name, resolve)


def continuation(tokens: Any, position: Any = None) -> Any:
    """Return the target sum_i log p(token_i | everything before it).

    Token i follows position + i, so that the input holds all tokens but the last one,
    from position + 1 on.

    Args:
        tokens: The ids (n,) of the continuation, or (B, n) for each sample.
        position: The position that the first token follows, or (B,) positions; None is
            that at which the last token follows the last position that is not padding.
    """
    array = _whole(tokens, "tokens")
    if array.ndim not in (1, 2) or not array.size:
        raise TargetError(
            f"tokens={tokens!r}.", "ids (n,) or (B, n)", "continuation([5, 3])"
        )
    name = f"continuation({array.tolist()})"

    def resolve(last: Array, shape: tuple[int, ...], logits: Any) -> ReadyTarget:
        batch, count = len(last), array.shape[-1]
        if array.ndim == 2 and len(array) != batch:
            raise TargetError(
                f"The continuation has {len(array)} rows for {batch} sample(s).",
                f"ids ({count},) or ({batch}, {count})",
            )
        first = last - count + 1
        if position is not None:
            first = _column(position, batch, "position")
        _check(first, shape[1], "position")
        _check(first + count - 1, shape[1], "last position")
        _check(array, shape[2], "token")
        rows = np.broadcast_to(array, (batch, count))
        values = np.concatenate([first[:, None], rows], 1).astype(np.int32)
        return _reading(_continued, values, name)

    return _sequence(name, resolve)


def _sequence(name: str, resolve: Resolve) -> ReadyTarget:
    """A target that `resolved` completes, when the inputs are known."""

    def score(model: Bound, outputs: Tensor) -> Tensor:
        raise TargetError(
            f"target=tfxai.targets.{name}, and the inputs are not known.",
            "a model with an input of token ids (B, L) and an output (B, L, V)",
            "target=(3, 5): position 3, token 5",
        )

    return ReadyTarget(name, (), score, key=object(), resolve=resolve)


def resolved(
    target: ReadyTarget,
    last: Array | None,
    shape: tuple[int | None, ...],
    logits: Callable[[Array], Array],
) -> ReadyTarget:
    """Return a target of sequences with the positions and tokens of each sample.

    Args:
        target: What `next_token` or `continuation` returned.
        last: The last positions (B,), or None.
        shape: The shape (B, L, V) of the explained output.
        logits: Logits (B, V) of positions (B,).

    Raises:
        TargetError: The model is none of sequences, or a number is out of range.
    """
    if last is None or len(shape) != 3 or None in shape[1:]:
        raise TargetError(
            f"target=tfxai.targets.{target.name}, but the outputs have shape {shape}, "
            "and no input holds token ids of that length.",
            "a model with an input of token ids (B, L) and an output (B, L, V)",
            "target=tfxai.targets.logit(0)",
        )
    assert target.resolve is not None
    return target.resolve(last, shape, logits)


def _reading(formula: Any, values: Any, name: str) -> ReadyTarget:
    """The target `formula(bound, outputs, values)`, values for each sample."""

    def score(model: Bound, outputs: Tensor) -> Tensor:
        width = values.shape[-1]
        rows = tf.broadcast_to(values, [tf.shape(outputs)[0], width])
        return formula(model, outputs, rows)

    def of(other: Any) -> ReadyTarget:
        return _reading(formula, other, formula.__name__)

    fixed = isinstance(values, np.ndarray)
    key = (values.shape, values.tobytes()) if fixed else values.ref()
    return ReadyTarget(name, (), score, key=key, weights=values, of=of, each=True)


def _next(model: Bound, outputs: Tensor, values: Tensor) -> Tensor:
    """z[position, token] - z[position, other]; values (N, 2 or 3)."""
    rows, at = as_rows(outputs), values[:, 0] * outputs.shape[2]
    found = tf.gather(rows, at[:, None] + values[:, 1:], axis=1, batch_dims=1)
    return found[:, 0] if values.shape[1] == 2 else found[:, 0] - found[:, 1]


def _continued(model: Bound, outputs: Tensor, values: Tensor) -> Tensor:
    """sum_i log p[position + i, token_i]; values (N, 1 + n)."""
    tokens = values[:, 1:]
    at = values[:, :1] + tf.range(tokens.shape[1])
    z = tf.gather(outputs, at, axis=1, batch_dims=1)
    found = tf.gather(_log_p(model, z), tokens, axis=2, batch_dims=2)
    return tf.reduce_sum(found, -1)


def _log_p(model: Bound, z: Tensor) -> Tensor:
    """log p of explained outputs, which are logits unless the link is not known."""
    if model.exact == "sigmoid":
        raise TargetError(
            "The model ends in sigmoid: its outputs are no distribution over tokens.",
            "a model that returns logits, or ends in softmax",
            _WRITE,
        )
    normal = tf.nn.log_softmax(z)
    if model.link != "unknown":
        return normal
    sums = tf.abs(tf.reduce_sum(z, -1, keepdims=True) - 1) < 1e-3
    are = sums & (tf.reduce_min(z, -1, keepdims=True) >= 0)
    return tf.where(are, tf.math.log(tf.maximum(z, 1e-30)), normal)


def _column(value: Any, batch: int, what: str) -> Array:
    """One number for all samples, or one for each, as (B,)."""
    array = _whole(value, what)
    if array.shape not in ((), (batch,)):
        raise TargetError(
            f"{what}={value!r} for {batch} sample(s).", f"an int, or ({batch},) ints"
        )
    return np.broadcast_to(array, (batch,))


def _whole(value: Any, what: str) -> Array:
    """Whole numbers as an array, or TargetError."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iu" and not is_int(value):
        raise TargetError(f"{what}={value!r}.", "whole numbers: ids", _WRITE)
    return array


def _check(values: Array, size: int, what: str) -> None:
    """Raise TargetError for a number outside 0 to size - 1."""
    if values.min() < 0 or values.max() >= size:
        wrong = values.min() if values.min() < 0 else values.max()
        raise TargetError(f"{what} {wrong} is outside.", f"0 to {size - 1}", _WRITE)
