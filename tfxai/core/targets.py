"""What to explain: every form of `target` as indices into the flattened output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, TargetError
from tfxai.base.tensors import Tensor

TOP = -1  # resolved by `or_top`, inside the graph, where the logits are


@dataclass(frozen=True)
class Target:
    """indices (B, T) int32 into the flattened output; `axes` () or (T,) of the result.

    function: outputs (B, ...) -> scores (B,), instead of an index.
    """

    indices: np.ndarray
    axes: tuple[int, ...] = ()
    function: Callable | None = None


def resolve(target: Any, batch: int, outputs: tuple[int | None, ...] | None) -> Target:
    """Check a target against the batch size and the output's shape (None: unknown).

    target: None (the top class), an int, (B,) ints, (B, T) ints for several maps each,
    "all" classes, an index tuple for outputs with more axes, or a function
    `outputs -> (B,) scores`.
    """
    if callable(target):
        return Target(np.full((batch, 1), TOP, np.int32), (), target)
    shape = None if outputs is None else outputs[1:]
    if target is None:
        if shape is not None and len(shape) > 1:
            raise TargetError(
                f"The model's output has shape {outputs}; a top class is not defined.",
                f"an index tuple of {len(shape)} numbers, or a function",
                f"target={(0,) * len(shape)}, or target=lambda y: ...",
            )
        return Target(np.full((batch, 1), TOP, np.int32))
    if isinstance(target, str):
        return _all(target, batch, shape)
    if shape is not None and len(shape) > 1:
        return _index(target, batch, shape)
    return _classes(target, batch, None if shape is None else shape[-1])


def or_top(indices: Any, rows: Any) -> Tensor:
    """The indices (B, T), where they are -1 the place of each row's largest number.

    rows: (B, n), the outputs of each sample side by side.
    """
    indices = tf.convert_to_tensor(indices)
    top = tf.argmax(rows, -1, output_type=indices.dtype)
    return tf.where(indices < 0, tf.expand_dims(top, 1), indices)


def one_class(target: Any, y: np.ndarray) -> np.ndarray:
    """The class (B,) of each sample, for a target and answers (B, classes).

    Raises InputError, TargetError.
    """
    if y.ndim != 2:
        raise InputError(
            f"The model answers {y.shape} to {len(y)} pictures.",
            "one number for each class, (B, classes)",
        )
    goal = resolve(target, len(y), y.shape)
    if goal.function is not None or goal.axes:
        raise InputError(f"target={target!r}.", "one class of each picture", "target=3")
    return or_top(np.int64(goal.indices), y).numpy()[:, 0]


def _all(target: str, batch: int, shape: tuple | None) -> Target:
    if target != "all":
        raise TargetError(
            f"target={target!r}.",
            'a class index, or "all"; labels are for the command line',
            'target=340, or target="all"',
        )
    if shape is None or None in shape:
        raise TargetError(
            'target="all", but the number of classes is not known.',
            "a model whose output shape is fixed",
            "target=[[0, 1, 2]]",
        )
    count = int(np.prod(shape))
    return Target(np.tile(np.arange(count, dtype=np.int32), (batch, 1)), (count,))


def _index(target: Any, batch: int, shape: tuple) -> Target:
    """An index tuple for an output with more axes, such as (row, column, class)."""
    whole = isinstance(target, tuple) and all(_is_int(t) for t in target)
    inside = whole and len(target) == len(shape)
    inside = inside and all(
        t >= 0 and (n is None or t < n) for t, n in zip(target, shape, strict=True)
    )
    if not inside or None in shape:
        raise TargetError(
            f"target={target!r}, but each output has shape {shape}.",
            f"a tuple of {len(shape)} indices within a known shape, or a function",
            f"target={(0,) * len(shape)}, or target=lambda y: ...",
        )
    flat = int(np.ravel_multi_index(target, shape))
    return Target(np.full((batch, 1), flat, np.int32))


def _classes(target: Any, batch: int, count: int | None) -> Target:
    try:
        array = np.asarray(target)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iu" or array.ndim > 2 or array.size == 0:
        raise TargetError(
            f"target={target!r}.",
            "an int, (B,) ints, (B, T) ints, an index tuple, a function or None",
            "target=340, or target=[[340, 386]] for two maps of one sample",
        )
    if array.ndim and len(array) != batch:
        raise TargetError(
            f"target has length {len(array)}, but the batch has {batch} sample(s).",
            f"one target for all, ({batch},) ints or ({batch}, T) ints",
            "target=[[340, 386]] for two maps of one sample",
        )
    if array.min() < 0 or (count is not None and array.max() >= count):
        wrong = array.min() if array.min() < 0 else array.max()
        limit = "" if count is None else f" and at most {count - 1}"
        raise TargetError(
            f"target {wrong} is no class: the model has {count or 'its'} outputs.",
            f"a number of at least 0{limit}",
        )
    if array.ndim < 2:
        column = array.astype(np.int32).reshape(-1, 1)
        return Target(np.broadcast_to(column, (batch, 1)))
    return Target(array.astype(np.int32), (array.shape[1],))


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
