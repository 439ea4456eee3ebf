"""Segments of a program, for passes that recompute: cut where few numbers cross.

A backward pass needs the tensors of the forward pass. Here only those that cross a cut
are kept; the others of a segment are computed again when the backward pass reaches it.
The cuts minimise the bytes that are kept plus those of the largest segment, about the
square root of the number of blocks in a network of equal blocks.

Griewank and Walther 2000, ACM Transactions on Mathematical Software 26; Chen et al.
2016, arXiv:1604.06174.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.graph.step import Step

#: Bytes of a number.
WIDTH = 4
#: The largest number of sizes of segments that are tried.
SIZES = 40


@dataclass(frozen=True)
class Segment:
    """Consecutive steps of a program.

    Attributes:
        start: The number of the first step.
        stop: The number of the step behind the last.
        reads: The tensors from before the segment that it reads.
        makes: Its tensors that are read behind it.
        size: The bytes of the outputs of its steps, for one sample.
    """

    start: int
    stop: int
    reads: tuple[int, ...]
    makes: tuple[int, ...]
    size: int


def segments_of(
    steps: Sequence[Step], output: int, known: Collection[int] = ()
) -> list[Segment]:
    """Return the segments of the steps of a program.

    Args:
        steps: The steps, in an order in which they run.
        output: The tensor that they compute.
        known: Tensors that are given, whose steps do not run.
    """
    sizes = [0 if s.output in known else _bytes(s) for s in steps]
    last = {output: len(steps)}
    for k, step in enumerate(steps):
        if step.output not in known:
            last.update(dict.fromkeys(step.inputs, k))
    made = {s.output: k for k, s in enumerate(steps) if s.output not in known}
    crossing = _crossing(steps, sizes, last, made)
    cuts = [0, *_cuts(sizes, crossing), len(steps)]
    found = []
    for start, stop in pairwise(cuts):
        own = {s.output for s in steps[start:stop] if s.output in made}
        reads = [
            i for s in steps[start:stop] if s.output in made for i in s.inputs
        ]  # fmt: skip
        outside = tuple(dict.fromkeys(i for i in reads if i not in own))
        makes = tuple(
            s.output for s in steps[start:stop]
            if s.output in own and (last.get(s.output, -1) >= stop)
        )  # fmt: skip
        found.append(Segment(start, stop, outside, makes, sum(sizes[start:stop])))
    return found


def held_bytes(segments: Sequence[Segment], steps: Sequence[Step]) -> int:
    """Return the bytes of one sample that passes over segments hold at once."""
    makes = {i for s in segments[:-1] for i in s.makes}
    kept = sum(_bytes(s) for s in steps if s.output in makes)
    return kept + max(s.size for s in segments)


def all_bytes(steps: Sequence[Step]) -> int:
    """Return the bytes of the outputs of all steps, for one sample."""
    return sum(map(_bytes, steps))


def largest_bytes(steps: Sequence[Step]) -> int:
    """Return the bytes of the largest output of a step, for one sample."""
    return max((_bytes(s) for s in steps), default=0)


def delayed(tensors: Sequence[Tensor], after: Sequence[Tensor]) -> list[Tensor]:
    """Return equal tensors that are known only when those of `after` are.

    TensorFlow would otherwise see that what is recomputed is known already.
    """
    firsts = [tf.cast(tf.reshape(t, [-1])[:1], tf.float32) for t in after]
    never = tf.reduce_any(tf.abs(tf.concat(firsts, 0)) < 0.0)  # nor where one is NaN
    return [
        tf.logical_or(t, never) if t.dtype.is_bool else t + tf.cast(never, t.dtype)
        for t in tensors
    ]


def _bytes(step: Step) -> int:
    shape = step.shape
    known = bool(shape) and None not in shape
    return WIDTH * prod(shape) if known else WIDTH


def _crossing(
    steps: Sequence[Step], sizes: list[int], last: dict[int, int], made: dict[int, int]
) -> list[int]:
    """The bytes that cross the cut before each step; the first is none."""
    change = [0] * (len(steps) + 2)
    for output, k in made.items():
        change[k + 1] += sizes[k]
        change[min(last.get(output, k), len(steps)) + 1] -= sizes[k]
    found, live = [], 0
    for k in range(len(steps)):
        live += change[k]
        found.append(live)
    return found


def _cuts(sizes: list[int], crossing: list[int]) -> list[int]:
    """The cuts with the fewest bytes: those that cross, and the largest segment's."""
    n = len(sizes)
    inner = range(1, n)
    narrow = [
        k for k in inner
        if crossing[k] <= crossing[k - 1] or k == 1
        if k + 1 == n or crossing[k] <= crossing[k + 1]
    ]  # fmt: skip
    places, before = [0, *narrow, n], [0]
    for s in sizes:
        before.append(before[-1] + s)
    best: tuple[int, list[int]] = (before[-1], [])
    for parts in range(2, SIZES):
        found = _within(places, before, crossing, before[-1] // parts)
        if found is not None and found[0] < best[0]:
            best = found
    return best[1]


def _within(
    places: list[int], before: list[int], crossing: list[int], size: int
) -> tuple[int, list[int]] | None:
    """The cheapest cuts with segments of at most `size`, where there are any."""
    cost: list[float] = [0.0]
    origin = [0]
    for b in range(1, len(places)):
        own = crossing[places[b]] if places[b] < len(crossing) else 0
        choice = (float("inf"), 0)
        for a in range(b - 1, -1, -1):
            if before[places[b]] - before[places[a]] > size and a < b - 1:
                break
            choice = min(choice, (cost[a] + own, a))
        cost.append(choice[0])
        origin.append(choice[1])
    cuts: list[int] = []
    b, largest = len(places) - 1, 0
    while b:
        a = origin[b]
        largest = max(largest, before[places[b]] - before[places[a]])
        cuts.insert(0, places[b])
        b = a
    return int(cost[-1]) + largest, cuts[:-1]


def recomputed(
    steps: Sequence[Step],
    segments: Sequence[Segment],
    values: dict[int, Tensor],
    tick: Any = None,
) -> dict[int, Tensor]:
    """Return the tensors that a pass keeps; their gradients recompute the others.

    Args:
        steps: The steps of a program.
        segments: Their segments; the last one is not recomputed.
        values: The tensors that are known, by number.
        tick: Called with a tensor of each finished segment, and returns it; or None.
    """
    values = dict(values)
    known = set(values)
    for segment in segments:
        own = [s for s in steps[segment.start : segment.stop] if s.output not in known]

        def run(xs: dict[int, Tensor], own: list[Step] = own) -> dict[int, Tensor]:
            found = dict(xs)
            for step in own:
                found[step.output] = step.run([found[i] for i in step.inputs])
            return found

        if segment is segments[-1]:
            values.update(run(values))
            return values
        if own:
            xs = [values[i] for i in segment.reads]
            outputs = _checkpoint(run, segment, xs, tick)
            values.update(zip(segment.makes, outputs, strict=True))
    return values


def _checkpoint(
    run: Any, segment: Segment, tensors: list[Tensor], tick: Any
) -> list[Tensor]:
    """The tensors that a segment makes, with a gradient that computes it again."""

    def outputs(xs: Sequence[Tensor]) -> list[Tensor]:
        found = run(dict(zip(segment.reads, xs, strict=True)))
        return [found[i] for i in segment.makes]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def forward(*xs: Tensor) -> Any:
        def gradient(*slopes: Tensor, variables: Any = None) -> Any:
            floats = [i for i, x in enumerate(xs) if x.dtype.is_floating]
            again = delayed(xs, slopes)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([again[i] for i in floats])
                made = outputs(again)
            sources = [again[i] for i in floats]
            zero = tf.UnconnectedGradients.ZERO
            pairs = [
                p for p in zip(made, slopes, strict=True) if p[0].dtype.is_floating
            ]
            ends, seeds = zip(*pairs, strict=True) if pairs else ((), ())
            found = tape.gradient(list(ends), sources, list(seeds), zero)
            if tick is not None:
                found = tick(found)
            full: list[Any] = [None] * len(xs)
            for i, g in zip(floats, found, strict=True):
                full[i] = g
            return full if variables is None else (full, [None] * len(variables))

        made = outputs(xs)
        return made, gradient

    found = forward(*tensors)
    return list(found) if isinstance(found, list | tuple) else [found]
