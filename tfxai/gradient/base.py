"""Shared parts of gradient analyzers: the context of one batch, and gradient sums."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.registry import built_in
from tfxai.base.tensors import (
    Tensor,
    align,
    chunk_indices,
    inside,
    merge_seeds,
    size,
)
from tfxai.core.analyzer import Analyzer
from tfxai.core.compilation import compiled, few
from tfxai.core.conditions import one_condition
from tfxai.core.embedding_cut import EmbeddingCut, TargetFn
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import signature
from tfxai.core.layer_choice import layer_step
from tfxai.core.layer_cut import layer_cut
from tfxai.core.memory import Ticker, passing
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register

NEEDS = "a model that TensorFlow can differentiate"


class GradientContext:
    """The inputs, points and targets of one batch inside a compiled function.

    Attributes:
        wrapped: The model.
        entry: The part of the model from the points on; see `EmbeddingCut`.
        target_fn: The target function, or None where the targets are classes.
        max_batch: The number of samples that may be evaluated at once.
        inputs: The raw inputs, as the user passed them.
        model_inputs: The inputs after `preprocess`, as the model receives them.
        points: The tensors at which gradients are taken.
        target: Class indices (B, T). `resolve` replaces -1 by the top class of the
            inputs, so that the target does not change along a path.
        score: The scores (B, T) of the inputs; None before `resolve`.
    """

    def __init__(
        self,
        wrapped: ModelWrapper,
        entry: EmbeddingCut,
        target_fn: TargetFn,
        max_batch: Tensor,
        target: Tensor,
        inputs: list[Tensor],
    ) -> None:
        self.wrapped, self.entry = wrapped, entry
        self.target_fn = entry.function_of(target_fn)
        self.max_batch, self.inputs = max_batch, inputs
        self.model_inputs = wrapped.prepared(inputs)
        self.points = entry.to_points(self.model_inputs)
        self.score: Tensor = None
        self.target = target

    def resolve(self) -> None:
        """Set `target` and `score` by one forward pass over the inputs."""
        self.score, self.target = self.entry.scores(
            self.points, self.model_inputs, self.target, self.target_fn
        )

    @property
    def batch(self) -> Any:
        """The number of samples B."""
        return size(self.points[0])[0]

    def prepared(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return the points of other raw inputs."""
        return self.entry.to_points(self.wrapped.prepared(inputs))

    def scores(self, points: list[Tensor]) -> Tensor:
        """Return the scores (B, T) of the targets at other points."""
        return self.entry.scores(
            points, self.model_inputs, self.target, self.target_fn
        )[0]

    def input_gradients(self) -> list[Tensor]:
        """Return d score / d point (T, B, ...) at the inputs; set `score`, `target`.

        One forward pass serves the scores and the gradients.
        """
        gradients, self.score, self.target = self.entry.gradients(
            self.points, self.model_inputs, self.target, self.target_fn
        )
        return gradients

    def gradients(
        self, points: list[Tensor], model_inputs: list[Tensor] | None = None
    ) -> list[Tensor]:
        """Return d score / d point (T, k, B, ...) at points (k, B, ...).

        Args:
            points: The points.
            model_inputs: The inputs (k, B, ...) to which they belong, if they are not
                the inputs of the batch.
        """
        k = size(points[0])[0]
        flat = [merge_seeds(p) for p in points]
        if model_inputs is None:
            inputs = [repeat_batch(v, k) for v in self.model_inputs]
        else:
            inputs = [merge_seeds(v) for v in model_inputs]
        target = tf.tile(self.target, [k, 1])
        grads, _, _ = self.entry.gradients(flat, inputs, target, self.target_fn)
        return [tf.reshape(g, [size(g)[0], k, self.batch, *size(g, 2)]) for g in grads]

    def sum_gradients(self, count: int, points: Callable[..., Any]) -> list[Tensor]:
        """Return the sum over i < count of weight_i * gradient at point_i.

        Args:
            count: Number of points.
            points: Function (indices (k,)) -> (points, weights), lists of (k, B, ...).
                A weight broadcasts against its point. A third list has the model's
                inputs to which the points belong.

        Returns:
            One tensor (T, B, ...) per point. At most `max_batch` samples are evaluated
            at once, for any `count`.
        """
        first = chunk_indices(count, tf.maximum(self.max_batch // self.batch, 1))
        n_targets = size(self.target)[1]
        start = [tf.zeros([n_targets, *size(p)]) for p in self.points]

        def body(done: Tensor, *sums: Tensor) -> tuple[Tensor, ...]:
            indices, used = inside(done + first, count)
            at, weights, *model_inputs = points(indices)
            terms = [
                tf.reduce_sum(w * g * align(used, g[0, 0]), 1)
                for w, g in zip(weights, self.gradients(at, *model_inputs), strict=True)
            ]
            added = [
                tf.ensure_shape(s + t, s.shape)
                for s, t in zip(sums, terms, strict=True)
            ]
            return (done + size(first)[0], *added)

        _, *sums = tf.while_loop(
            lambda done, *_: done < count,
            body,
            (tf.constant(0), *start),
            parallel_iterations=1,
        )
        return list(sums)

    def result(self, relevance: list[Tensor], **extra: Tensor) -> dict[str, Any]:
        """Return what a compiled function returns: relevance, score, target, extras.

        Args:
            relevance: One tensor (T, B, ...) per point; `EmbeddingCut.to_inputs` turns
                them into relevance of the inputs.
            **extra: Further arrays (B, T, ...) for `Explanation.extra`.
        """
        return {
            "relevance": self.entry.to_inputs(relevance),
            "score": self.score,
            "target": self.target,
            **extra,
        }


def repeat_batch(v: Tensor, k: Any) -> Tensor:
    """Repeat a batch: (B, ...) -> (k B, ...)."""
    return tf.tile(v, [k, *[1] * (len(v.shape) - 1)])


def analyzer(
    name: str,
    wrapped: ModelWrapper,
    explain: Callable[[GradientContext], dict[str, Any]],
    target: Any = None,
    options: dict[str, Any] | None = None,
    check: Callable[[Explanation], None] | None = None,
    once_per_sample: bool = False,
    at: Any = None,
    kind: type[Analyzer] | None = None,
    conditions: Any = None,
) -> Analyzer:
    """Return an analyzer of one compiled function.

    Args:
        name: Name of the method.
        wrapped: The model.
        explain: Function (context of one batch) -> result dict, see
            `GradientContext.result`. It is compiled once for each input signature.
        target: Default target of `analyze`.
        options: Options that the explanation reports in `extra`.
        check: Function that receives every explanation and may warn.
        once_per_sample: True where `explain` evaluates no copies of the samples.
        at: The layer whose activations are the points; None takes the inputs.
        kind: The class of the analyzer; None is `Analyzer`.
        conditions: A mapping from one layer to its units through which all gradients
            pass; None lets them pass everywhere.
    """
    wrapped.check_differentiable()
    options = dict(options or {})
    if at is not None and conditions is not None:
        raise OptionError(f"at={at!r} with conditions.", "one of the two", f"at={at!r}")
    layer, mask = at, None
    if conditions is not None:
        layer, mask = one_condition(wrapped, conditions)
    if at is not None:
        options["at"] = layer_step(wrapped.model, wrapped.program("rule"), at).name

    def make(
        inputs: list[Any], target_fn: TargetFn, single_target: bool
    ) -> Callable[..., Any]:
        tick = Ticker() if made.recompute else None
        if tick is not None and layer is not None:
            raise OptionError(
                f"recompute=True with a layer, {layer!r}.",
                "one of the two",
                f"recompute=True, or at={layer!r}",
            )
        entry: EmbeddingCut = (
            wrapped.embedding_cut(inputs, tick)
            if layer is None
            else layer_cut(wrapped, layer, inputs, mask)
        )

        def explain_batch(
            target: Tensor, max_batch: Tensor, *xs: Tensor
        ) -> dict[str, Any]:
            context = GradientContext(
                wrapped, entry, target_fn, max_batch, target, list(xs)
            )
            result = explain(context)
            if at is not None:
                result["each"] = {"values": context.points[0]}
            return result

        target_spec = tf.TensorSpec((None, 1 if single_target else None), tf.int32)
        input_specs = signature(wrapped.specs, inputs)
        specs = [target_spec, tf.TensorSpec((), tf.int32), *input_specs]
        own = once_per_sample and target_fn is None and built_in(explain)
        first = few if own and not tick and wrapped.stepwise(inputs) else None
        run = compiled(explain_batch, specs, first)
        return passing(
            name, entry.program, lambda b, t, m: run(t, m, *b), tick, once_per_sample
        )

    made = (kind or Analyzer)(name, wrapped, make, target, options, check)
    made.once_per_sample, made.inner = once_per_sample, at is not None
    return made


def row(
    name: str,
    family: str,
    summary: str,
    paper: str,
    needs: str = NEEDS,
    **more: Any,
) -> Callable[[Callable[..., Analyzer]], Callable[..., Analyzer]]:
    """Return a decorator that registers a builder function as the method `name`.

    Args:
        name: Name of the method.
        family: Family under which the method is listed.
        summary: One line that describes the method.
        paper: Authors, year and identifier of the paper.
        needs: Requirements on the model.
        **more: `formula`, `limits`, `also_in` and `cost` of `MethodSpec`.

    The decorated function takes (wrapped, target, **options) and returns an analyzer.
    """

    def put(function: Callable[..., Analyzer]) -> Callable[..., Analyzer]:
        register(MethodSpec(name, family, summary, needs, paper, function, **more))
        return function

    return put
