"""The positions of tokens: which token of a transformer belongs to which patch.

A vision transformer turns a grid of patches (gh, gw, C) into tokens (T, C), and may add
class and register tokens. The steps in between only move values, or shift them by
constants. They are run on the numbers of the patches, so that each token shows the
patch that it was. This also finds the order of the tokens, where the class token is,
and the grids of a Swin transformer, which change from stage to stage.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, size
from tfxai.graph.program import Program
from tfxai.graph.step import MOVES, Step

#: Kinds of steps through which the number of a patch can be followed.
CARRYING = MOVES | {"fixed", "add", "scale"}


@dataclass(frozen=True, eq=False)
class TokenGrid:
    """Where the tokens of a tensor (B, T, C) are.

    Attributes:
        shape: The grid of patches, such as (gh, gw).
        tokens: The number of the token of each patch, row by row.
        count: The number of tokens T, class and register tokens included.
    """

    shape: tuple[int, ...]
    tokens: np.ndarray
    count: int

    @property
    def has_others(self) -> bool:
        """True if some tokens are no patches."""
        return self.count > len(self.tokens)

    def spread(self, v: Tensor, axis: int) -> Tensor:
        """Return a tensor with the grid in place of its axis of tokens."""
        patches = tf.gather(v, self.tokens, axis=axis)
        return tf.reshape(patches, [*size(v)[:axis], *self.shape, *size(v)[axis + 1 :]])


@dataclass(frozen=True, eq=False)
class TokenGrids:
    """Where the tokens of the tensors of a network are.

    Attributes:
        grids: The grid of every tensor of tokens (B, T, C), by the tensor's number.
        windows: The numbers of tensors whose rows are parts of a sample.
    """

    grids: dict[int, TokenGrid] = field(default_factory=dict)
    windows: set[int] = field(default_factory=set)


def token_grids(program: Program, number: int) -> TokenGrids:
    """Return the grids of all tensors of tokens that depend on input `number`.

    Args:
        program: The steps of the model.
        number: The number of an input. None of two or fewer axes has tokens.
    """
    rank, reads = len(program.input_shapes[number]) - 1, program.reads
    steps = [s for s in program.steps if number in reads[s.output]]
    result = TokenGrids()
    if rank < 3 or not any(len(s.shape) == 2 for s in steps):
        return result
    moved: dict[int, TokenGrid] = {}
    latest: dict[Any, TokenGrid] = {}
    for step in steps:
        if step.by_sample and result.windows.intersection(step.inputs):
            result.windows.add(step.output)
        if step.output in result.windows:
            continue
        if _is_grid(program, step, rank):
            moved |= _followed(program, step, result.windows)  # the nearest grid counts
        grid = moved.get(step.output)
        if grid is not None:
            latest[grid.count] = grid
        elif len(step.shape) == 2 and not program.batch_axis(step.output):
            grid = latest.get(step.shape[0])
        if grid is not None:
            result.grids[step.output] = grid
    return result


def is_of_tokens(step: Step, grids: list[TokenGrid]) -> bool:
    """Return True if an axis of a step's output is one of tokens, as of attention.

    Args:
        step: A step whose output has the rank of an image.
        grids: The grids of the tensors that the step depends on.
    """
    axes = step.shape[:-1]
    if None in axes or any(g.shape == axes for g in grids):
        return False
    return any(n == g.count for g in grids for n in axes)


def _is_grid(program: Program, step: Step, rank: int) -> bool:
    whole = len(step.shape) == rank and None not in step.shape
    return whole and not program.batch_axis(step.output) and math.prod(step.shape) > 0


def _followed(program: Program, start: Step, windows: set[int]) -> dict[int, TokenGrid]:
    """Return the grids of the tensors of tokens into which a grid of patches moves.

    Tensors of windows are added to `windows`.
    """
    chain, reached = [], {start.output}
    for s in program.steps:
        if s.kind in CARRYING and reached.intersection(s.inputs):
            chain.append(s)
            reached.add(s.output)
    if not any(s.kind in MOVES for s in chain):
        return {}
    shape, channels = start.shape[:-1], start.shape[-1]
    count = math.prod(shape)
    numbers = np.arange(1, count + 1, dtype=np.float32).reshape(1, *shape, 1)
    numbers = np.repeat(numbers, channels, -1)
    with tf.init_scope():
        values = _run(chain, start.output, tf.constant(numbers))
        zeros = _run(chain, start.output, tf.zeros_like(numbers))
    found = {}
    for s in chain:
        value, zero = (v.get(s.output) for v in (values, zeros))
        if value is None or zero is None or program.batch_axis(s.output):
            continue
        if value.shape[:1] != [1]:
            windows.add(s.output)
        elif len(value.shape) == 3:
            patch = value.numpy()[0].astype(float) - zero.numpy()[0]
            tokens = _tokens(patch, count)
            if tokens is not None:
                found[s.output] = TokenGrid(shape, tokens, len(patch))
    return found


def _run(chain: list[Step], start: int, value: Tensor) -> dict[int, Tensor]:
    """Return the tensors of those steps that need no other tensors.

    Where the rows of a tensor are windows of a sample, its steps need more than one.
    """
    values = {start: value}
    for s in chain:
        if all(i in values for i in s.inputs):
            with suppress(tf.errors.InvalidArgumentError):
                values[s.output] = s.run([values[i] for i in s.inputs])
    return values


def _tokens(patch: np.ndarray, count: int) -> np.ndarray | None:
    """Return the token of each patch, from the numbers (T, C) of the patches + 1.

    None where they are no numbers of patches, each of them once.
    """
    whole = np.rint(patch[:, 0]).astype(int)
    if not whole.size or np.abs(patch - whole[:, None]).max() > 0.1:
        return None
    tokens = np.flatnonzero(whole)
    order = np.argsort(whole[tokens])
    if not np.array_equal(whole[tokens][order], np.arange(1, count + 1)):
        return None
    return np.asarray(tokens[order])
