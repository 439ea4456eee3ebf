"""Position-aware relevance: position encodings as inputs of the network.

Bakish et al. 2025, arXiv:2506.02138 (PA-LRP): a transformer reads pairs of a token and
its position. A table that is added to the tokens takes its share of the sum; the sines
and cosines of a rotary encoding are one of two factors of a product, and take half.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from tfxai.base.errors import ModelError
from tfxai.base.tensors import Tensor
from tfxai.graph.program import Program
from tfxai.graph.step import Step, whole

Shape = tuple[int | None, ...]
#: Kinds of steps that may have a table in place of a bias.
BIASED = ("dense", "conv", "depthwise", "scale")


@dataclass(frozen=True)
class Table:
    """A tensor of a program that encodes positions.

    Args:
        number: Its number.
        axes: The axes of the positions, without the batch.
    """

    number: int
    axes: tuple[int, ...]


def with_positions(program: Program) -> tuple[Program, tuple[Table, ...]]:
    """Return the program with position encodings as tensors of their own, and these.

    Raises:
        ModelError: The program has none.
    """
    fresh = 1 + max(
        [*program.inputs, *(s.output for s in (*program.steps, *program.finish))]
    )
    lengths = {s.shape[0] for s in program.steps if len(s.shape) == 2}
    made = {s.output: s for s in program.steps}
    shapes: dict[int, Shape] = dict(
        zip(program.inputs, (s[1:] for s in program.input_shapes), strict=True)
    )
    shapes |= {s.output: s.shape for s in program.steps}
    steps: list[Step] = []
    tables: list[Table] = []
    axes: dict[int, int] = {}
    for step in program.steps:
        opened, table = [step], None
        if step.kind == "add" and step.sides:
            opened, table = _of_sum(step, made, lengths, fresh)
        elif step.kind in BIASED and step.weights is not None:
            opened, table = _of_weights(step, shapes, lengths, fresh)
        steps += opened
        if table is not None:
            tables.append(table)
            new = {s.output: program.batch_axis(step.output) for s in opened}
            axes |= {i: axis for i, axis in new.items() if i >= fresh}
            fresh += 2
    if not tables:
        raise ModelError(
            "positions=True, and no step adds a table of positions (length, width) to "
            "tokens or rotates queries and keys.",
            "a transformer with learned, sinusoidal or rotary position encodings",
            "positions=False",
        )
    known: Any = getattr(program, "axes", None)
    more: dict[str, Any] = {} if known is None else {"axes": {**known, **axes}}
    return replace(program, steps=tuple(steps), **more), tuple(tables)


def by_position(
    tables: Iterable[Table], relevance: Iterable[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the relevance of each position (T, B, L), and the total (T, B).

    The positions are those of the first table. A table of another length, such as one
    of windows, is in the total alone.
    """
    rows = [_per_position(table, r) for table, r in zip(tables, relevance, strict=True)]
    first = rows[0]
    same = [r for r in rows if r.shape[-1] == first.shape[-1]]
    return tf.add_n(same), tf.add_n([tf.reduce_sum(r, -1) for r in rows])


def _per_position(table: Table, relevance: Tensor) -> Tensor:
    """Return (T, B, L) from the relevance (T, B, ...) of a table."""
    kept = [a + 2 for a in table.axes]
    other = [a for a in range(2, len(relevance.shape)) if a not in kept]
    summed = tf.reduce_sum(relevance, other)
    shape = tf.shape(summed)
    length = tf.reduce_prod(shape[2:])
    found = tf.reshape(summed, tf.concat([shape[:2], [length]], 0))
    known = tf.TensorShape([relevance.shape[a] for a in kept]).num_elements()
    return tf.ensure_shape(found, [None, None, known])


def _of_sum(
    step: Step, made: dict[int, Step], lengths: set[int | None], fresh: int
) -> tuple[list[Step], Table | None]:
    """Return a sum in which a constant table carries relevance, and the table."""
    for side in step.sides:
        source = made.get(step.inputs[side])
        if source is None or source.kind != "fixed":
            continue
        found = _positions(tuple(source.shape), tuple(step.shape), lengths)
        if found:
            constant = _constant(step, fresh, lambda xs, side=side: xs[side])
            inputs = tuple(fresh if i == side else n for i, n in enumerate(step.inputs))
            sides = tuple(i for i in step.sides if i != side)
            total = replace(step, inputs=inputs, sides=sides)
            return [constant, total], Table(fresh, found)
    return [step], None


def _of_weights(
    step: Step, shapes: dict[int, Shape], lengths: set[int | None], fresh: int
) -> tuple[list[Step], Table | None]:
    """Return a step with its table as a tensor, and the table; or the step itself."""
    shape = tuple(step.shape)
    read = [shapes[i] for i in step.inputs]
    if None in shape or any(None in s for s in read):
        return [step], None
    kernel, bias = step.weights.read([tf.zeros((1, *s)) for s in read])
    added = bias is not None and _positions(_aligned(bias, shape), shape, lengths)
    if added:
        return _opened_sum(step, fresh), Table(fresh + 1, tuple(added))
    if step.kind != "scale" or bias is not None or isinstance(kernel, tuple):
        return [step], None
    turned = _rotated(_aligned(whole(kernel), shape), lengths)
    if turned is None:
        return [step], None
    return _opened_product(step, fresh), Table(fresh, (turned,))


def _opened_sum(step: Step, fresh: int) -> list[Step]:
    """Return W x + P as the product and the sum with a tensor P."""
    read, shape = step.weights.read, tuple(step.shape)
    plain = replace(step.weights, read=lambda xs: (read(xs)[0], None))
    return [
        replace(
            step, name=_part(step, "tokens"), weights=plain, output=fresh,
            nonnegative="no", gate=None,
        ),
        _constant(step, fresh + 1, lambda xs: read(xs)[1]),
        Step(
            step.name, "add", lambda v: v[0] + v[1], layer=step.layer, shape=shape,
            by_sample=step.by_sample, place=step.place, inputs=(fresh, fresh + 1),
            output=step.output, merged=step.merged,
        ),
    ]  # fmt: skip


def _opened_product(step: Step, fresh: int) -> list[Step]:
    """Return P x as a product of two tensors."""
    read = step.weights.read
    return [
        _constant(step, fresh, lambda xs: whole(read(xs)[0])),
        Step(
            step.name, "product", lambda v: v[0] * v[1], layer=step.layer,
            shape=tuple(step.shape), by_sample=step.by_sample, place=step.place,
            inputs=(*step.inputs, fresh), output=step.output, merged=step.merged,
        ),
    ]  # fmt: skip


def _constant(step: Step, number: int, read: Any) -> Step:
    """Return a step that makes the table of each sample from the live variables."""

    def apply(xs: list[Tensor]) -> Tensor:
        return tf.broadcast_to(read(xs), tf.shape(step.run(xs)))

    return Step(
        _part(step, "positions"), "fixed", apply, layer=step.layer,
        sides=tuple(range(len(step.inputs))), shape=tuple(step.shape),
        by_sample=step.by_sample, place=step.place, inputs=step.inputs, output=number,
    )  # fmt: skip


def _part(step: Step, what: str) -> str:
    """Return the name of a part of a step."""
    name, at, number = step.name.partition("@")
    return f"{name}:{what}{at}{number}"


def _aligned(v: Any, shape: Shape) -> Shape:
    """Return the shape of what broadcasts to (B, *shape), without the batch."""
    dims = tuple(getattr(v, "shape", ()))
    missing = len(shape) - len(dims)
    return (1,) * missing + dims if missing >= 0 else dims[-missing:]


def _positions(
    table: Shape, shape: Shape, lengths: set[int | None]
) -> tuple[int, ...] | None:
    """Return the axes of the positions of an added table; None if it is none.

    It has a number for each position and channel: (length, width), a grid (height,
    width, channels), or (heads, length, length) for each pair of positions, of which
    the second ones count.
    """
    if len(table) < 2 or 1 in table or table != shape:
        return None
    if len(table) == 2:
        return (0,) if table[0] in lengths else None
    pairs = table[-1] == table[-2] and table[-1] in lengths
    return (len(table) - 1,) if pairs else tuple(range(len(table) - 1))


def _rotated(table: Shape, lengths: set[int | None]) -> int | None:
    """Return the axis of the positions of factors (length, width); None for others."""
    axes = [i for i, n in enumerate(table) if n != 1]
    return axes[0] if len(axes) == 2 and table[axes[0]] in lengths else None
