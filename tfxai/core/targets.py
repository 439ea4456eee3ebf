"""Targets: every form of `target` as indices into the flattened output."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, TargetError
from tfxai.base.tensors import Tensor, as_rows
from tfxai.base.validation import is_int, unmasked
from tfxai.graph.program import Program
from tfxai.graph.step import Step

TOP = -1  # the top class, which `or_top` resolves where the logits are computed


@dataclass(frozen=True)
class Target:
    """What to explain for each sample.

    Attributes:
        indices: Indices (B, T) int32 into the flattened output; -1 is the top class.
        axes: The axes of the result for the targets: () for one, (T,) for several.
        target_fn: own outputs (B, ...) -> scores (B,), in place of an index; or None.
        masks: A mask for each sample (B, ...) or for all (1, ...), whose sum
            `target_fn` is; or None.
    """

    indices: np.ndarray
    axes: tuple[int, ...] = ()
    target_fn: Callable[..., Any] | None = None
    masks: np.ndarray | None = None


def resolve(target: Any, batch: int, outputs: tuple[int | None, ...] | None) -> Target:
    """Return a target, checked against the batch size and the shape of the outputs.

    Args:
        target: None (the top class), an int, (B,) ints, (B, T) ints for several targets
            per sample, "all" classes, an index tuple for outputs with more axes, (B,
            axes) or (B, T, axes) ints for an index or several per sample, or a
            function `own outputs -> (B,) scores`.
        batch: How many samples there are.
        outputs: The shape of the outputs; None where it is not known.

    Raises:
        TargetError: The target does not fit.
    """
    if callable(target):
        return Target(np.full((batch, 1), TOP, np.int32), (), target)
    target = unmasked("target", target)
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
    count = None if shape is None else shape[-1] if shape else 1
    return _classes(target, batch, count)


def or_top(indices: Any, rows: Any) -> Tensor:
    """Return indices (B, T) in which -1 is replaced by the top class.

    Args:
        indices: Indices (B, T) into the flattened outputs.
        rows: The flattened outputs (B, n).
    """
    indices = tf.convert_to_tensor(indices)
    top = tf.argmax(rows, -1, output_type=indices.dtype)
    return tf.where(indices < 0, tf.expand_dims(top, 1), indices)


def has_two_classes(program: Program | None) -> bool:
    """Return True where each output is one sigmoid: class 1 and, at -z, class 0."""
    if program is None or program.link != "sigmoid":
        return False
    shape = program.output_shape
    return len(shape) == 1 or shape[-1] == 1


def explained_outputs(program: Program, logits: Tensor) -> Tensor:
    """Return the explained outputs of a program: its logits.

    Those of one sigmoid, z (B, ..., 1), are (-z, z): the logits of its two classes.
    """
    if not has_two_classes(program):
        return logits
    z = logits if len(program.output_shape) > 1 else tf.expand_dims(logits, -1)
    return tf.concat([-z, z], -1)


def explained_shape(
    program: Program | None, shape: tuple[int | None, ...]
) -> tuple[int | None, ...]:
    """Return the shape of the explained outputs, from that of the model's own."""
    if not has_two_classes(program):
        return shape
    return (*(shape if len(shape) == 1 else shape[:-1]), 2)


def logits_of(program: Program, outputs: Tensor) -> Tensor:
    """Return the logits whose `explained_outputs` are given."""
    if not has_two_classes(program):
        return outputs
    return outputs[..., 1:] if len(program.output_shape) > 1 else outputs[..., 1]


def own_outputs(program: Program | None, outputs: Tensor) -> Tensor:
    """Return the model's own outputs, from the explained outputs (logits).

    Args:
        program: The steps of the model; None returns the outputs as they are.
        outputs: The explained outputs (B, ...), before a final softmax or sigmoid.

    Raises:
        TargetError: Steps behind the softmax drop some of its values.
    """
    if program is None or not program.finish:
        return outputs
    outputs = logits_of(program, outputs)
    first, *moves = program.finish
    if moves:
        outputs = _before_moves(program, moves, outputs)
    return program.finished({first.inputs[0]: outputs})


def _before_moves(program: Program, moves: list[Step], outputs: Tensor) -> Tensor:
    """Return the input of the final softmax, from logits that `moves` have moved.

    The moves of the numbers 1, 2, ... show where each value comes from; 0 is padding.
    """
    shape = program.finish[0].shape
    source: Any = None
    if None not in shape:
        count = int(np.prod(shape, dtype=int))
        with tf.init_scope():
            values = {program.finish[0].output: _numbers((1, *shape), count)}
            for step in moves:
                values[step.output] = step.run([values[i] for i in step.inputs])
            moved = np.asarray(values[moves[-1].output]).astype(int).ravel()
        source = np.full(count + 1, -1)
        source[moved] = np.arange(len(moved))
        source = source[1:]
    if source is None or (program.link != "sigmoid" and (source < 0).any()):
        raise TargetError(
            f"The layers behind the model's {program.link} drop some of its values, or "
            "its shape is not known, so that its outputs do not follow from the "
            "logits.",
            "a class or an index, or one of tfxai.targets",
            "target=tfxai.targets.logit(0)",
        )
    rows = tf.gather(as_rows(outputs), np.maximum(source, 0), axis=1)
    return tf.reshape(rows, [-1, *shape])


def _numbers(shape: tuple[int, ...], count: int) -> Tensor:
    """The numbers 1 to count, as float32 of a shape."""
    return tf.reshape(tf.range(1, count + 1, dtype=tf.float32), shape)


def one_class(target: Any, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the class (B,) of each sample.

    Args:
        target: One class, (B,) classes, or None for the top classes.
        y: The outputs (B, classes).

    Raises:
        InputError: The outputs have another shape, or the target is not one class.
        TargetError: The target does not fit the outputs.
    """
    if y.ndim != 2:
        raise InputError(
            f"The model returns outputs of shape {y.shape} for {len(y)} images.",
            "one number for each class, (B, classes)",
        )
    goal = resolve(target, len(y), y.shape)
    if goal.target_fn is not None or goal.axes:
        raise InputError(f"target={target!r}.", "one class per image", "target=3")
    classes = or_top(np.int64(goal.indices), y).numpy()
    return np.asarray(classes[:, 0])


def _all(target: str, batch: int, shape: tuple[int | None, ...] | None) -> Target:
    """All classes of every sample."""
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
    count = int(np.prod([n or 0 for n in shape]))
    return Target(np.tile(np.arange(count, dtype=np.int32), (batch, 1)), (count,))


def _index(target: Any, batch: int, shape: tuple[int | None, ...]) -> Target:
    """Elements of an output with more axes, such as (row, column, class).

    One tuple is for all samples, (B, axes) one index for each, (B, T, axes) several.
    """
    same = isinstance(target, tuple) and all(is_int(t) for t in target)
    try:
        array = np.asarray([target] * batch if same else target)
    except ValueError:
        array = np.asarray(None)
    fits = array.dtype.kind in "iu" and array.ndim in (2, 3) and array.size > 0
    fits = fits and array.shape[0] == batch and array.shape[-1] == len(shape)
    if not fits or None in shape or not _inside(array, shape):
        zero = (0,) * len(shape)
        raise TargetError(
            f"target={target!r}, but each output has shape {shape}.",
            f"a tuple of {len(shape)} indices within a known shape, ({batch}, "
            f"{len(shape)}) ints, one index per sample, or a function",
            f"target={zero}, or target=lambda y: ...; two of one sample are "
            f"target=[[{zero}, {zero}]]",
        )
    flat = np.ravel_multi_index(tuple(np.moveaxis(array, -1, 0)), _known(shape))
    if array.ndim == 2:
        return Target(flat.astype(np.int32)[:, None])
    return Target(flat.astype(np.int32), (array.shape[1],))


def _inside(array: np.ndarray[Any, Any], shape: tuple[int | None, ...]) -> bool:
    """True if indices (..., axes) are inside the shape."""
    return bool((array >= 0).all() and (array < np.array(_known(shape))).all())


def _known(shape: tuple[int | None, ...]) -> list[int]:
    """The shape with 0 for unknown dimensions."""
    return [n or 0 for n in shape]


def _classes(target: Any, batch: int, count: int | None) -> Target:
    """One class for all samples, one for each, or several for each."""
    try:
        array = np.asarray(target)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iu" or array.ndim > 2 or array.size == 0:
        raise TargetError(
            f"target={target!r}.",
            "an int, (B,) ints, (B, T) ints, an index tuple, a function or None",
            "target=340, or target=[[340, 386]] for two classes of one sample",
        )
    if array.ndim and len(array) != batch:
        raise TargetError(
            f"target has length {len(array)}, but the batch has {batch} sample(s).",
            f"one target for all, ({batch},) ints or ({batch}, T) ints",
            "target=[[340, 386]] for two classes of one sample",
        )
    if array.min() < 0 or (count is not None and array.max() >= count):
        wrong = array.min() if array.min() < 0 else array.max()
        limit = "" if not count else f" and at most {count - 1}"
        raise TargetError(
            f"target {wrong} is not a class: the model has "
            f"{'its' if count is None else count} outputs.",
            f"a number of at least 0{limit}",
        )
    if array.ndim == 2 and array.shape[1] == count and _is_one_hot(array):
        raise TargetError(
            f"target holds one-hot rows of {count} classes.",
            "the indices of the classes",
            "target=np.argmax(target, -1)",
        )
    if array.ndim < 2:
        column = array.astype(np.int32).reshape(-1, 1)
        return Target(np.broadcast_to(column, (batch, 1)))
    return Target(array.astype(np.int32), (array.shape[1],))


def _is_one_hot(rows: np.ndarray[Any, Any]) -> bool:
    """True for rows of zeros and a single one; [[0, 1]] are two classes."""
    ones = (rows == 1).sum(1)
    return bool(rows.shape[1] > 2 and (ones == 1).all() and (rows.sum(1) == 1).all())
