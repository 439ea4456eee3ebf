"""The layers whose activations a class activation map weights, and their gradients."""

from typing import Any

import tensorflow as tf

from tfxai.base.errors import ModelError, OptionError
from tfxai.base.tensors import Tensor, positive, size
from tfxai.core.embedding_cut import gradients_of, select_scores
from tfxai.core.model import ModelWrapper
from tfxai.core.target_functions import on_program
from tfxai.core.targets import explained_outputs
from tfxai.gradient.base import GradientContext
from tfxai.gradient.resize import RESIZES, resized
from tfxai.graph.program import Program
from tfxai.graph.step import MOVES, Step

Shape = tuple[Any, ...]


class CamLayers:
    """The selected layers of a model, with their activations and gradients."""

    def __init__(self, wrapped: ModelWrapper, layer: str | None, resize: str) -> None:
        # In the "rule" program, each layer has an output of its own.
        self.program = wrapped.program("rule")
        if not isinstance(resize, str) or resize not in RESIZES:
            raise OptionError(f"resize={resize!r}.", f"one of {list(RESIZES)}")
        self.resize = RESIZES[resize]
        self.steps = select_layers(self.program, layer)

    @property
    def layer(self) -> Any:
        """The name of the step; a list of one per input where there are several."""
        names = [s and s.name for s in self.steps]
        return names[0] if len(names) == 1 else names

    def activations(self, context: GradientContext) -> list[Tensor]:
        """Return the activations A (B, ..., C) for each input with a layer."""
        values = self.program.run(context.model_inputs)
        return [values[s.output] for s in self.steps if s is not None]

    def activations_and_gradients(
        self, context: GradientContext
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return A (B, ..., C) and d f_t / d A (T, B, ..., C) per input with a layer.

        Sets `score` and `target` of the context.
        """
        watched = {s.output for s in self.steps if s is not None}
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:

            def watch(number: int, value: Tensor) -> None:
                if number in watched:
                    tape.watch(value)

            values = self.program.run(context.model_inputs, seen=watch)
            outputs = explained_outputs(self.program, values[self.program.output])
            context.score, context.target = select_scores(
                outputs,
                context.target,
                on_program(context.target_fn, self.program),
            )
        a = [values[s.output] for s in self.steps if s is not None]
        return a, gradients_of(tape, context.score, a)

    def resized_to_inputs(
        self, maps: list[Tensor], context: GradientContext, relu: bool | str
    ) -> list[Tensor]:
        """Return maps (T, B, ...) as relevance (T, B, ..., 1) of the inputs' sizes.

        An input without a layer gets zeros.

        Args:
            maps: A map for each input with a layer.
            context: The context of the batch.
            relu: True keeps positive values of the resized maps, "layer" resizes the
                positive values of the maps.
        """
        rest, relevance = iter(maps), []
        for step, x in zip(self.steps, context.model_inputs, strict=True):
            if step is None:
                relevance.append(tf.zeros([size(context.target)[1], *size(x)]))
                continue
            m = positive(next(rest)) if relu == "layer" else next(rest)
            r = resized(m, size(x)[1:-1], self.resize)[..., None]
            relevance.append(positive(r) if relu else r)
        return relevance


def check_relu(relu: Any) -> None:
    """Raise OptionError unless `relu` is False, True or "layer"."""
    if not isinstance(relu, bool) and not (isinstance(relu, str) and relu == "layer"):
        raise OptionError(
            f"relu={relu!r}.",
            'False, True, or "layer" for the positive values before resizing',
            "relu=True",
        )


def select_layers(program: Program, layer: str | None) -> list[Step | None]:
    """Return one step per input whose output is resized to that input.

    For several inputs, this is the last step that depends on that input alone, or else
    the last that depends on it at all. An input without spatial axes gets None.

    Args:
        program: The steps of the model.
        layer: Name of a layer or step. None selects the last with spatial axes.

    Raises:
        ModelError: No input has such a step.
        UnknownNameError: There is no layer of this name.
    """
    steps = _candidates(program, layer)
    found = [
        _last_spatial(program, steps, i, shape)
        for i, shape in enumerate(program.input_shapes)
    ]
    if not any(found):
        names = ", ".join(s.name for s in steps[-5:])
        raise ModelError(
            f"The inputs have shapes {list(program.input_shapes)}, and none of the "
            f"layers ({names}) keeps their spatial axes.",
            "images, volumes or series, and a layer with an output of their rank",
            'layer="..." (analyzer.coverage() of "lrp.epsilon" lists them)',
        )
    return found


def _candidates(program: Program, layer: str | None) -> list[Step]:
    """Return the steps called `layer`, or by default all steps before the output."""
    if layer is None:
        end = _output_steps(program)
        return [s for s in program.steps if s.kind != "fixed" and s not in end]
    named = [s for s in program.steps if layer in (*s.names, s.call.split("@")[0])]
    return named or [program.find(layer)]


def _last_spatial(
    program: Program, steps: list[Step], number: int, shape: Shape
) -> Step | None:
    """Return the last step with the rank of input `number` that depends on it."""
    reads, rank = program.reads, len(shape) - 1
    spatial = [
        s
        for s in steps
        if len(s.shape) == rank and rank > 1 and _has_positions(s.shape)
    ]
    dependent = [s for s in spatial if number in reads[s.output]]
    alone = [s for s in dependent if len(reads[s.output]) == 1]
    found = alone or dependent
    return found[-1] if found else None


def _has_positions(shape: Shape) -> bool:
    """Return True if the spatial axes hold more than one position."""
    return any(n is None or n > 1 for n in shape[:-1])


def _output_steps(program: Program) -> list[Step]:
    """Return the step that computes the output, and those that only rearrange it."""
    by_output = {s.output: s for s in program.steps}
    step, end = by_output.get(program.output), []
    while step is not None:
        end.append(step)
        step = by_output.get(step.inputs[0]) if step.kind in MOVES else None
    return end
