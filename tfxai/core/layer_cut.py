"""A network from a layer on: gradients and paths of the activations of that layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, chunks
from tfxai.core.compilation import compiled
from tfxai.core.embedding_cut import EmbeddingCut, TargetFn, gradients_of
from tfxai.core.inputs import signature
from tfxai.core.layer_choice import layer_step
from tfxai.core.model import ModelWrapper
from tfxai.core.target_functions import on_program
from tfxai.core.targets import explained_outputs
from tfxai.graph.program import Program
from tfxai.graph.step import Step

Array = np.ndarray[Any, Any]


class LayerCut(EmbeddingCut):
    """A network whose points are the activations of one layer, (B, ...).

    Args:
        program: The steps of the network.
        step: The step whose output is the point.
    """

    def __init__(self, program: Program, step: Step) -> None:
        super().__init__(lambda _: None, program, [False] * len(program.inputs))
        self._steps, self._number, self.name = program, step.output, step.name

    def function_of(self, target_fn: TargetFn) -> TargetFn:
        """Return a target function for what `outputs` returns."""
        function: TargetFn = on_program(target_fn, self._steps)
        return function

    def to_points(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return the activations for prepared inputs."""
        return [self._steps.run(inputs)[self._number]]

    def outputs(self, points: list[Tensor], inputs: list[Tensor]) -> Tensor:
        """Return the explained output for other activations.

        What does not pass through the layer is computed from the inputs.
        """
        values = self._steps.run(inputs, {self._number: points[0]})
        return explained_outputs(self._steps, values[self._steps.output])

    def to_inputs(self, relevance: list[Tensor], reduce: Any = None) -> list[Tensor]:
        """Return the relevance of the layer."""
        return relevance


class ThroughLayer(EmbeddingCut):
    """A network whose gradients pass through chosen units of one layer alone.

    The points are the inputs. A gradient is that of the units with respect to the
    inputs, weighted by the gradient of the score with respect to the units; what passes
    beside the layer is no part of it.

    Args:
        cut: The network from the layer on.
        mask: 1 for the chosen units and 0 for others; it broadcasts to (B, ...).
    """

    def __init__(self, cut: LayerCut, mask: Array) -> None:
        super().__init__(lambda _: None, cut.program, [False] * len(cut.tokens))
        self._cut, self._mask = cut, mask

    def function_of(self, target_fn: TargetFn) -> TargetFn:
        """Return a target function for what `outputs` returns."""
        return self._cut.function_of(target_fn)

    def outputs(self, points: list[Tensor], inputs: list[Tensor]) -> Tensor:
        """Return the explained output for other inputs."""
        return self._cut.outputs(self._cut.to_points(points), points)

    def gradients(
        self,
        points: list[Tensor],
        inputs: list[Tensor],
        target: Tensor,
        target_fn: TargetFn,
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the gradients (T, B, ...), scores and targets (B, T)."""
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(points)
            units = self._cut.to_points(points)
            with tape.stop_recording():
                slopes, score, target = self._cut.gradients(
                    units, points, target, target_fn
                )
            parts = slopes[0] * self._mask * units[0]  # (T, B, ...)
            total = tf.reduce_sum(parts, range(2, len(parts.shape)))
            through = tf.transpose(total)
        return gradients_of(tape, through, points), score, target


def layer_cut(
    wrapped: ModelWrapper,
    at: Any,
    inputs: list[Any],
    mask: Array | None = None,
) -> Any:
    """Return the network from a layer on, for checked inputs.

    With a mask, it is the network through the chosen units of the layer.
    """
    shapes = [v.shape for v in wrapped.sample(inputs)]
    program = wrapped.program("rule").at(shapes)
    cut = LayerCut(program, layer_step(wrapped.model, program, at))
    return cut if mask is None else ThroughLayer(cut, mask)


def activations_of(
    wrapped: ModelWrapper, at: Any, inputs: list[Any], batch_size: int = 32
) -> Callable[[list[Any]], Array]:
    """Return a function (checked inputs) -> activations (B, ...) of a layer, float32.

    Args:
        wrapped: The model.
        at: The layer: its name, its number in `model.layers`, or the layer. None is
            what the last step of the model reads.
        inputs: Inputs of the shapes that the function receives.
        batch_size: How many inputs are computed at once.

    Raises:
        UnknownNameError, OptionError, ModelError: See `layer_step`.
    """
    program = wrapped.program("rule").at([v.shape for v in wrapped.sample(inputs)])
    if at is None:
        number = next(s for s in program.steps if s.output == program.output).inputs[0]
    else:
        number = layer_step(wrapped.model, program, at).output
    run = compiled(
        lambda *v: program.run(wrapped.prepared(list(v)))[number],
        signature(wrapped.specs, inputs),
    )

    def activations(given: list[Any]) -> Array:
        rows = chunks(len(given[0]), batch_size)
        parts = [np.asarray(run(*(v[s] for v in given))) for s in rows]
        return np.concatenate(parts)

    return activations
