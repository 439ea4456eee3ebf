"""What the gradient analyzers share: how one is made, and sums over many points."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, merge_seeds, size
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import Entrance, Function
from tfxai.core.inputs import compiled, signature
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register

NEEDS = "a model that TensorFlow can differentiate"


class Asked:
    """One batch inside a compiled function: prepared inputs, points, targets.

    entry, function: see `Entrance`. inputs: raw, as the user gave them; seen: prepared.
    room: how many samples may be evaluated at once. target (B, T) and score (B, T) are
    those of the inputs themselves once `resolve` was called, so that what is explained
    does not change along a path.
    """

    def __init__(
        self,
        wrapped: ModelWrapper,
        entry: Entrance,
        function: Function,
        max_batch: Tensor,
        target: Tensor,
        inputs: list[Tensor],
    ) -> None:
        self.wrapped, self.entry, self.function = wrapped, entry, function
        self.max_batch, self.inputs = max_batch, inputs
        self.seen = wrapped.prepared(inputs)
        self.points = entry.enter(self.seen)
        self.score, self.target = None, target

    def resolve(self) -> None:
        """One forward pass: which classes are explained, and their scores."""
        self.score, self.target = self.entry.scores(
            self.points, self.seen, self.target, self.function
        )

    @property
    def batch(self) -> Any:
        """B."""
        return size(self.points[0])[0]

    def prepared(self, inputs: list[Tensor]) -> list[Tensor]:
        """The points of other raw inputs."""
        return self.entry.enter(self.wrapped.prepared(inputs))

    def scores(self, points: list[Tensor]) -> Tensor:
        """The targets' scores (B, T) at other points."""
        return self.entry.scores(points, self.seen, self.target, self.function)[0]

    def slopes(self, points: list[Tensor]) -> list[Tensor]:
        """d score / d point, (T, k, B, ...), at points (k, B, ...)."""
        k = size(points[0])[0]
        flat = [merge_seeds(p) for p in points]
        inputs = [_tiled(v, k) for v in self.seen]
        target = tf.tile(self.target, [k, 1])
        grads, _, _ = self.entry.slopes(flat, inputs, target, self.function)
        return [tf.reshape(g, [size(g)[0], k, self.batch, *size(g, 2)]) for g in grads]

    def summed(self, count: int, points: Callable) -> list[Tensor]:
        """Sum over i < count of weight_i * slope at point_i, (T, B, ...) per point.

        points: (indices (k,)) -> (points, weights), lists of (k, B, ...); a weight
            broadcasts against its point. At most `max_batch` samples are evaluated at
            once, for any `count`.
        """
        per = tf.maximum(self.max_batch // self.batch, 1)
        targets = size(self.target)[1]
        start = [tf.zeros([targets, *size(p)]) for p in self.points]

        def body(done: Tensor, *sums: Tensor) -> tuple:
            chosen = tf.range(done, tf.minimum(done + per, count))
            at, weights = points(chosen)
            slopes = self.slopes(at)
            more = [
                tf.reduce_sum(w * g, 1) for w, g in zip(weights, slopes, strict=True)
            ]
            kept = [
                tf.ensure_shape(s + m, s.shape) for s, m in zip(sums, more, strict=True)
            ]
            return (done + per, *kept)

        _, *sums = tf.while_loop(
            lambda done, *_: done < count,
            body,
            (tf.constant(0), *start),
            parallel_iterations=1,
        )
        return sums

    def result(self, maps: list[Tensor], **extra: Tensor) -> dict[str, Any]:
        """What a compiled function returns: maps (T, B, ...) of points, and extras."""
        relevance = self.entry.leave(maps)
        return {
            "relevance": relevance,
            "score": self.score,
            "target": self.target,
            **extra,
        }


def _tiled(v: Tensor, k: Any) -> Tensor:
    return tf.tile(v, [k, *[1] * (len(v.shape) - 1)])


def analyzer(
    name: str,
    wrapped: ModelWrapper,
    explain: Callable[[Asked], dict[str, Any]],
    target: Any = None,
    options: dict | None = None,
    jit_compile: bool = False,
    check: Callable | None = None,
) -> Analyzer:
    """An analyzer of one compiled function `explain`: a batch asked -> its maps."""
    wrapped.check_differentiable()

    def make(inputs: list, function: Function, one: bool) -> Callable:
        entry = wrapped.entrance(inputs)

        def maps(max_batch: Tensor, target: Tensor, *xs: Tensor) -> dict[str, Any]:
            return explain(Asked(wrapped, entry, function, max_batch, target, list(xs)))

        goal = tf.TensorSpec((None, 1 if one else None), tf.int32)
        specs = [tf.TensorSpec((), tf.int32), goal, *signature(wrapped.specs, inputs)]
        run = compiled(maps, specs, jit_compile)
        return lambda batch, target, max_batch: run(max_batch, target, *batch)

    return Analyzer(name, wrapped, make, target, options, check)


def row(
    name: str,
    family: str,
    summary: str,
    paper: str,
    needs: str = NEEDS,
    forwards: tuple[Callable[..., Any], ...] = (),
    internal: tuple[str, ...] = (),
) -> Callable[[Callable[..., Analyzer]], Callable[..., Analyzer]]:
    """Return a decorator that registers a builder of analyzers as a method.

    The builder takes (wrapped, **options). Arguments as for `MethodSpec`.
    """

    def put(function: Callable[..., Analyzer]) -> Callable[..., Analyzer]:
        register(
            MethodSpec(
                name, family, summary, needs, paper, function, forwards, internal
            )
        )
        return function

    return put
