"""A network from a layer on: gradients and paths of the activations of that layer."""

from typing import Any

from tfxai.base.tensors import Tensor
from tfxai.core.embedding_cut import EmbeddingCut, TargetFn
from tfxai.core.layer_choice import layer_step
from tfxai.core.model import ModelWrapper
from tfxai.core.target_functions import on_program
from tfxai.core.targets import explained_outputs
from tfxai.graph.program import Program
from tfxai.graph.step import Step


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


def layer_cut(wrapped: ModelWrapper, at: Any, inputs: list[Any]) -> LayerCut:
    """Return the network from a layer on, for checked inputs."""
    shapes = [v.shape for v in wrapped.sample(inputs)]
    program = wrapped.program("rule").at(shapes)
    return LayerCut(program, layer_step(wrapped.model, program, at))
