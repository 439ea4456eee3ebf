"""Integrated gradients on a path that first moves what matters least.

Kapishnikov et al. 2021, arXiv:2106.09788.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import Tensor, size
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baselines
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import Asked, analyzer, row
from tfxai.gradient.paths import check_count, complete


@row(
    "guided_integrated_gradients", "path",
    "slopes along a path that first moves what matters least",
    "Kapishnikov et al. 2021, arXiv:2106.09788",
)  # fmt: skip
def guided_integrated_gradients(
    wrapped: ModelWrapper,
    steps: int = 50,
    baseline: Any = 0,
    fraction: float = 0.25,
    distance: float = 0.02,
    target: Any = None,
) -> Analyzer:
    """Integrated gradients on an adaptive path: algorithm 1, with anchors.

    At every step the features with the smallest slopes move towards x, a `fraction` of
    all features at a time, until a share 1 / steps of the whole way is gone.
    distance: how far a feature may run ahead of, or fall behind, the straight line.
    Feature: one number of the input; tokens move along in the sizes of their vectors.
    """
    check_count("steps", steps)
    for name, value in (("fraction", fraction), ("distance", distance)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value <= 1:
            raise OptionError(f"{name}={value!r}.", "a number above 0 and at most 1")

    def explain(asked: Asked) -> dict[str, Any]:
        asked.resolve()
        start = asked.prepared(baselines(baseline, asked.inputs))
        maps = _guided(asked, start, steps, fraction, distance)
        return complete(asked, maps, start)

    options = {"steps": steps, "fraction": fraction, "distance": distance}
    options["baseline"] = baseline
    return analyzer("guided_integrated_gradients", wrapped, explain, target, options)


def _guided(
    asked: Asked, start: list[Tensor], steps: int, fraction: float, distance: float
) -> list[Tensor]:
    """The maps (T, B, ...) of guided integrated gradients.

    All targets and samples are rows (T B, features) that move by themselves.
    """
    shapes = [tuple(p.shape) for p in asked.points]
    if any(None in shape[1:] for shape in shapes):
        raise InputError(
            f"The model leaves the shape of its input open: {shapes}.",
            "a model whose input shape is fixed, to rank its features",
            'method="integrated_gradients"',
        )
    targets, batch = size(asked.target)[1], asked.batch
    goal = tf.reshape(tf.transpose(asked.target), [-1, 1])
    inputs = [tf.tile(v, [targets, *[1] * (len(v.shape) - 1)]) for v in asked.seen]
    widths = [int(np.prod(p.shape[1:])) for p in asked.points]

    def rows(parts: list[Tensor]) -> Tensor:
        flat = [tf.reshape(p, [batch, n]) for p, n in zip(parts, widths, strict=True)]
        return tf.tile(tf.concat(flat, -1), [targets, 1])

    def slope(at: Tensor) -> Tensor:
        pairs = zip(tf.split(at, widths, -1), asked.points, strict=True)
        points = [tf.reshape(v, [-1, *p.shape[1:]]) for v, p in pairs]
        grads, _, _ = asked.entry.slopes(points, inputs, goal, asked.function)
        flat = [tf.reshape(g, [-1, n]) for g, n in zip(grads, widths, strict=True)]
        return tf.concat(flat, -1)

    walk = _Walk(rows(start), rows(asked.points), steps, fraction, distance)
    _, _, sums = tf.while_loop(
        lambda i, *_: i <= steps,
        lambda i, at, sums: (i + 1, *walk.step(i, at, sums, slope(at))),
        (tf.constant(1), walk.start, tf.zeros_like(walk.start)),
        parallel_iterations=1,
    )
    return [
        tf.reshape(v, [targets, batch, *p.shape[1:]])
        for v, p in zip(tf.split(sums, widths, -1), asked.points, strict=True)
    ]


class _Walk:
    """Rows (N, features) on their way from `start` to `goal`, least slopes first."""

    def __init__(
        self, start: Tensor, goal: Tensor, steps: int, fraction: float, distance: float
    ) -> None:
        self.start, self.goal, self.way = start, goal, goal - start
        self.steps, self.distance = steps, distance
        self.total = tf.reduce_sum(tf.abs(self.way), -1, keepdims=True)
        self.few = 1 + int(fraction * (start.shape[-1] - 1))
        self.rounds = int(np.ceil(1 / fraction)) + 2

    def step(self, i: Tensor, at: Tensor, sums: Tensor, slope: Tensor) -> tuple:
        """Until a share i / steps of the way is gone; the place and the sums then."""
        share = tf.cast(i, tf.float32) / self.steps
        low = tf.maximum(share - self.distance, 0.0)
        high = tf.minimum(share + self.distance, 1.0)
        floor, ceiling = self.start + low * self.way, self.start + high * self.way
        wanted = self.total * (1 - share)

        def more(number: Tensor, at: Tensor, sums: Tensor, going: Tensor) -> tuple:
            gone = tf.math.divide_no_nan(at - self.start, self.way)
            late = (gone < low) & (self.way != 0)
            here = tf.where(late, floor, at)
            left = tf.reduce_sum(tf.abs(here - self.goal), -1, keepdims=True)
            missing = left - wanted
            going &= missing > 1e-6 * self.total
            free = here != ceiling
            sizes = tf.where(free, tf.abs(slope), np.inf)
            limit = -tf.math.top_k(-sizes, self.few).values[:, -1:]
            chosen = free & (sizes <= limit)
            ahead = tf.where(chosen, ceiling - here, 0.0)
            gain = tf.reduce_sum(tf.abs(ahead), -1, keepdims=True)
            part = tf.math.divide_no_nan(missing, gain)
            full = part >= 1
            there = tf.where(
                full & chosen, ceiling, here + tf.clip_by_value(part, 0.0, 1.0) * ahead
            )
            there = tf.where(going, there, here)
            return number + 1, there, sums + (there - at) * slope, going & full

        _, at, sums, _ = tf.while_loop(
            lambda number, at, sums, going: (
                (number < self.rounds) & tf.reduce_any(going)
            ),
            more,
            (tf.constant(0), at, sums, tf.ones_like(self.total, tf.bool)),
            parallel_iterations=1,
        )
        return at, sums
