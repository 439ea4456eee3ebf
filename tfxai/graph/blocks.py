"""Attention in blocks of query rows, for passes that recompute: memory O(length).

The weights of attention have a number for each pair of tokens. Here the steps from the
product of queries and keys to the product with the values become one step, which never
holds the weights of all queries at once: it computes a block of queries after another,
forward and back.

Rabe and Staats 2021, arXiv:2112.05682.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, size
from tfxai.graph.step import Step

#: Bytes of the largest tensor of a block, for one sample; smaller steps stay whole.
BLOCK = 1 << 27
#: Kinds of steps between the two products.
BETWEEN = frozenset(
    {"route", "identity", "softmax", "max", "product", "scale", "add", "activation"}
)
#: Types that a tensor without relevance may have, in the order in which they are tried.
TYPES = (bool, np.float32, np.int32)
#: Sizes of the axes of queries and keys where slices are tried.
TRIED = 5
#: The rows that are tried.
ROWS = (1, 2)
Array = np.ndarray[Any, Any]
#: (tensors, one per input) -> results.
Function = Callable[[list[Tensor]], list[Tensor]]


@dataclass(frozen=True, eq=False)
class Blocked(Step):
    """Several steps as one, computed in blocks of rows.

    Attributes:
        inner: The steps, in their order; the last one makes the output.
        axes: For each input, the axis along which it is cut, or None.
        axis: The axis of the output along which blocks are put together.
        rows: The number of rows.
        block: The number of rows of a block.
        work: The bytes of the outputs of all inner steps for a block, for one sample.
    """

    inner: tuple[Step, ...] = ()
    axes: tuple[int | None, ...] = ()
    axis: int = 0
    rows: int = 0
    block: int = 0
    work: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "apply", self._whole)

    def _whole(self, inputs: list[Tensor]) -> Tensor:
        """The output; its gradient computes each block again."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def forward(*xs: Tensor) -> Any:
            def gradient(slope: Tensor, variables: Any = None) -> Any:
                found = self._gradient(list(xs), slope)
                return found if variables is None else (found, [None] * len(variables))

            made = self.in_blocks(
                self._outputs, list(xs), self.axes, lambda: [self.axis]
            )
            return made[0], gradient

        return forward(*inputs)

    def in_blocks(
        self,
        function: Function,
        tensors: list[Tensor],
        axes: Sequence[int | None],
        out: Callable[[], Sequence[int | None]],
    ) -> list[Tensor]:
        """Return the results of a function of blocks.

        Args:
            function: Function of the tensors of one block.
            tensors: The whole tensors.
            axes: For each, the axis along which it is cut; None passes it as it is.
            out: After the first block, for each result the axis along which blocks are
                put together; None adds them.
        """
        count = -(-self.rows // self.block)
        first = self.rows - (count - 1) * self.block
        made = function(_cut(tensors, axes, 0, first, self.rows))
        if count == 1:
            return made
        ways = out()
        arrays = [
            made[i] if way is None else _array(made[i], way, count - 1, self.block)
            for i, way in enumerate(ways)
        ]

        def body(k: Tensor, *state: Any) -> tuple[Any, ...]:
            start = first + k * self.block
            parts = function(_cut(tensors, axes, start, self.block, self.rows))
            new = [
                tf.ensure_shape(s + p, s.shape) if way is None else s.write(k, p)
                for s, p, way in zip(state, parts, ways, strict=True)
            ]
            return (k + 1, *new)

        _, *state = tf.while_loop(
            lambda k, *_: k < count - 1, body, (tf.constant(0), *arrays),
            parallel_iterations=1,
        )  # fmt: skip
        return [
            s if way is None
            else tf.concat([m, *tf.unstack(s.stack(), count - 1)], way)
            for m, s, way in zip(made, state, ways, strict=True)
        ]  # fmt: skip

    def values(self, inputs: list[Tensor]) -> dict[int, Tensor]:
        """Return the tensors of one block, by number."""
        found = dict(zip(self.inputs, inputs, strict=True))
        for step in self.inner:
            found[step.output] = step.run([found[i] for i in step.inputs])
        return found

    def _outputs(self, inputs: list[Tensor]) -> list[Tensor]:
        return [self.values(inputs)[self.output]]

    def _gradient(self, xs: list[Tensor], slope: Tensor) -> list[Any]:
        """The gradient of each input, None of whole numbers and booleans."""
        floats = [i for i, x in enumerate(xs) if x.dtype.is_floating]

        def slopes(tensors: list[Tensor]) -> list[Tensor]:
            *inputs, s = tensors
            inputs = [tf.identity(v) for v in inputs]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([inputs[i] for i in floats])
                made = self._outputs(inputs)
            none = tf.UnconnectedGradients.ZERO
            found: list[Tensor] = tape.gradient(
                made, [inputs[i] for i in floats], [s], none
            )
            return found

        axes = [*self.axes, self.axis]
        made = self.in_blocks(
            slopes, [*xs, slope], axes, lambda: [self.axes[i] for i in floats]
        )
        full: list[Any] = [None] * len(xs)
        for i, g in zip(floats, made, strict=True):
            full[i] = g
        return full


def blocked_steps(
    steps: Sequence[Step], output: int, kept: Sequence[int], axes: Mapping[int, int]
) -> tuple[Step, ...]:
    """Return steps in which large attention is computed in blocks.

    Attention stays as it is where one of its tensors is read from elsewhere or is
    wanted, where it holds a constant for each pair of tokens, or is not a function of
    each query by itself.

    Args:
        steps: The steps of a program, in an order in which they run.
        output: The tensor that they compute.
        kept: Further tensors that are read.
        axes: The axis of the batch of each tensor, where it is not the first.
    """
    readers: dict[int, list[Step]] = {}
    for step in steps:
        for i in set(step.inputs):
            readers.setdefault(i, []).append(step)
    made = {s.output: s for s in steps}
    wanted = {output, *kept}
    instead: dict[int, Step | None] = {}
    for step in steps:
        if step.kind != "softmax" or not _large(step, BLOCK) or step.output in instead:
            continue
        chain = _chain(step, made, readers, wanted, axes)
        one = chain and _as_one(chain, step, made, axes)
        if one:
            instead |= dict.fromkeys((s.output for s in chain), None)
            instead[one.output] = one
    found = [instead.get(s.output, s) for s in steps]
    return tuple(s for s in found if s is not None)


def work_bytes(steps: Sequence[Step]) -> int:
    """Return the bytes of the largest block of steps, for one sample."""
    return max((s.work for s in steps if isinstance(s, Blocked)), default=0)


def _large(step: Step, least: int) -> bool:
    known = len(step.shape or ()) > 1 and None not in step.shape
    return known and 4 * prod(step.shape) >= least


def _fits(step: Step, axes: Mapping[int, int]) -> bool:
    """True for a step that may be computed in blocks."""
    plain = step.kind in BETWEEN and step.weights is None
    return plain and not any(axes.get(i) for i in (step.output, *step.inputs))


def _chain(
    softmax: Step,
    made: Mapping[int, Step],
    readers: Mapping[int, list[Step]],
    wanted: set[int],
    axes: Mapping[int, int],
) -> list[Step]:
    """The steps around a softmax with a number for each pair; none where they mix."""
    least = 4 * prod(softmax.shape)
    found, waiting = {softmax.output: softmax}, [softmax]
    while waiting:
        for i in waiting.pop().inputs:
            step = made.get(i)
            if step and i not in found and _large(step, least) and _fits(step, axes):
                found[i] = step
                waiting.append(step)
    last = softmax
    while _large(last, least):
        after = readers.get(last.output, [])
        if len(after) != 1 or not _fits(after[0], axes):
            return []
        last = after[0]
        found[last.output] = last
    chain = [s for s in made.values() if s.output in found]
    inside = {s.output for s in chain if s is not last}
    closed = all(r.output in found for i in inside for r in readers.get(i, ()))
    fits = all(_fits(s, axes) for s in chain)
    return chain if closed and fits and not inside & wanted else []


def _as_one(
    chain: list[Step], softmax: Step, made: Mapping[int, Step], axes: Mapping[int, int]
) -> Blocked | None:
    """One step in place of a chain; None where it cannot be cut."""
    inner = {s.output for s in chain}
    inputs = tuple(dict.fromkeys(i for s in chain for i in s.inputs if i not in inner))
    sources = [made.get(i) for i in inputs]
    if any(s is None or not s.shape or None in s.shape for s in sources):
        return None
    rows, last = softmax.shape[-2], chain[-1]
    work = 4 * sum(prod(s.shape) for s in chain[:-1])
    block = max(1, BLOCK * rows // (4 * prod(softmax.shape)))
    step = Blocked(
        last.name, last.kind, last.apply, layer=last.layer, shape=last.shape,
        place=last.place, inputs=inputs, output=last.output, inner=tuple(chain),
        rows=rows, block=min(block, rows), work=work * block // rows,
    )  # fmt: skip
    cut = _axes_of(step, [s for s in sources if s], softmax.shape[-2:])
    return None if cut is None else replace(step, axes=cut[0], axis=cut[1])


def _axes_of(
    step: Blocked, sources: list[Step], pairs: tuple[int, ...]
) -> tuple[tuple[int | None, ...], int] | None:
    """The axes of queries of the inputs and of the output, found with few tokens.

    Rows of the result must be the result of rows.
    """
    small = {n: TRIED + k for k, n in enumerate(dict.fromkeys(pairs))}
    shapes = [(2, *(small.get(n, n) for n in s.shape)) for s in sources]
    rng = np.random.default_rng(0)
    for dtype in TYPES:
        xs = [
            rng.normal(size=n).astype(dtype if s.kind == "fixed" else np.float32)
            for n, s in zip(shapes, sources, strict=True)
        ]
        whole = _tried(step, xs)
        if whole is None:
            continue
        for axes in _choices(shapes, small[pairs[0]]):
            pairs_of = zip(xs, axes, strict=True)
            rows = [x if a is None else np.take(x, ROWS, a) for x, a in pairs_of]
            some = _tried(step, rows)
            axis = None if some is None else _same_rows(whole, some)
            if axis is not None:
                return axes, axis
    return None


def _choices(
    shapes: list[tuple[int, ...]], rows: int
) -> Iterator[tuple[int | None, ...]]:
    """Axes of this size of one input or more, those with few cuts first."""
    each = [[None, *(i for i, n in enumerate(s) if i and n == rows)] for s in shapes]
    if prod(map(len, each)) <= 512:
        every = list(product(*each))
        every.sort(key=lambda axes: sum(a is not None for a in axes))
        yield from every[1:]


def _tried(step: Blocked, xs: Sequence[Array]) -> Array | None:
    """The output of the inner steps; None where they have other shapes or types."""
    try:
        with tf.init_scope():  # also while a function is traced
            tensors = [tf.constant(x) for x in xs]
            return np.asarray(step.values(tensors)[step.output])
    except Exception:  # operations differ in what they raise
        return None


def _same_rows(whole: Array, some: Array) -> int | None:
    """The axis along which `some` are the tried rows of `whole`."""
    for axis in range(1, whole.ndim):
        part = np.take(whole, ROWS, axis) if whole.shape[axis] > 2 else whole
        same = part.shape == some.shape
        if same and np.allclose(part, some, rtol=1e-5, atol=1e-6):
            return axis
    return None


def _cut(
    tensors: Sequence[Tensor],
    axes: Sequence[int | None],
    start: Any,
    count: int,
    rows: int,
) -> list[Tensor]:
    """Rows of tensors; those without an axis, or with one row for all, are whole."""
    found = []
    for x, axis in zip(tensors, axes, strict=True):
        if axis is None or (x.shape[axis] == 1 and rows > 1):
            found.append(x)
            continue
        begin, sizes = [0] * len(x.shape), size(x)
        begin[axis], sizes[axis] = start, count
        y = tf.slice(x, begin, sizes)
        shape = x.shape.as_list()
        shape[axis] = count
        found.append(tf.ensure_shape(y, shape))
    return found


def _array(first: Tensor, axis: int, count: int, rows: int) -> Any:
    """An array for the further blocks of a result."""
    shape = first.shape.as_list()
    shape[axis] = rows
    return tf.TensorArray(first.dtype, count, element_shape=shape)
