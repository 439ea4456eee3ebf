"""A model as a program: flat steps over numbered tensors."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, cast

import tensorflow as tf

from tfxai.base.errors import OptionError, UnknownNameError
from tfxai.base.tensors import Tensor
from tfxai.base.validation import perhaps
from tfxai.graph.blocks import blocked_steps
from tfxai.graph.segments import Segment, all_bytes, largest_bytes, segments_of
from tfxai.graph.step import Step


@dataclass(frozen=True, eq=False)
class Program:
    """The network as plain data, for one shape of the inputs, with the batch left open.

    inputs: the ids of the model's inputs, in its own flat order; input_shapes: theirs;
    dtypes: what they are read as.
    steps: in an order in which they can run; none that the output does not need.
    output: the id of the explained tensor, before any final softmax or sigmoid.
    link: how the model turns that tensor into its output: "softmax", "sigmoid", ...
    finish: the steps that were taken off, from the tensor before softmax to the output.
    nonnegative: ids of the tensors that are known to be >= 0.
    number, batch_norm: the arguments of `trace`.
    family: the programs for other shapes. axes: tensor -> the axis of its batch, where
    that is not the first.
    numeric: the inputs whose tokens are looked up, and computed with as well.
    compiled: the function of the inputs that was traced; it returns the model's output.
    """

    inputs: tuple[int, ...]
    input_shapes: tuple[tuple[Any, ...], ...]
    steps: tuple[Step, ...]
    output: int
    output_shape: tuple[Any, ...]
    link: str
    finish: tuple[Step, ...]
    nonnegative: frozenset[int]
    number: int = 0
    batch_norm: str = "fold"
    dtypes: tuple[tf.DType, ...] = ()
    family: Any = None  # Shapes
    axes: Mapping[int, int] = field(default_factory=dict)
    numeric: frozenset[int] = frozenset()
    compiled: Any = None  # a ConcreteFunction

    def at(self, shapes: Iterable[Any]) -> "Program":
        """The program of the same model for other shapes of its inputs."""
        shapes = list(shapes)
        same = all(
            tuple(a)[1:] == b[1:]
            for a, b in zip(shapes, self.input_shapes, strict=True)
        )
        if same or self.family is None:
            return self
        return cast(Program, self.family.at(shapes, self.batch_norm))

    def batch_axis(self, number: int) -> int:
        """The axis of the batch in a tensor."""
        return self.axes.get(number, 0)

    def like(self, number: int, other: "Program") -> int:
        """The tensor that is number `number` in a program of the same model."""
        names = {s.output: s.name for s in other.steps}
        return self.find(names[number]).output

    @property
    def rearranged(self) -> bool:
        """Did steps behind the softmax change the axis of the classes?"""
        return bool(self.finish) and self.finish[0].shape[-1] != self.output_shape[-1]

    def run(
        self,
        inputs: Iterable[Tensor],
        known: Mapping[int, Tensor] | None = None,
        seen: Callable[[int, Tensor], None] | None = None,
        run: Callable[[Step, list[Tensor]], Tensor] = Step.run,
    ) -> dict[int, Tensor]:
        """Every tensor of the network, by id; those that are `known` are not made.

        seen: called with every tensor as it is made, before another reads it. run: how
        a step makes its output.
        """
        known = known or {}
        values = {**self.entered(inputs), **known}
        steps = [s for s in self.steps if s.output not in known]
        return _run(steps, values, seen, run)

    def entered(self, inputs: Iterable[Tensor]) -> dict[int, Tensor]:
        """The inputs, by id, as the model reads them."""
        triples = zip(self.inputs, inputs, self.dtypes, strict=True)
        return {i: tf.cast(x, dtype) for i, x, dtype in triples}

    @cached_property
    def segments(self) -> list[Segment]:
        """The segments of a pass that recomputes what it does not keep."""
        return segments_of(self.steps, self.output)

    def in_blocks(self, *kept: int) -> "Program":
        """The program with large attention in blocks of queries; itself without any.

        kept: tensors that are read, which stay tensors of their own.
        """
        numbers = {i for s in self.steps for i in (s.output, *s.inputs)}
        axes = {i: self.batch_axis(i) for i in numbers}
        steps = blocked_steps(self.steps, self.output, kept, axes)
        same = len(steps) == len(self.steps)
        return self if same else replace(self, steps=steps)

    @cached_property
    def blocked(self) -> "Program":
        """`in_blocks()`, found once."""
        return self.in_blocks()

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """The bytes of all outputs of steps and of the largest one, of one sample."""
        return all_bytes(self.steps), largest_bytes(self.steps)

    @cached_property
    def elements(self) -> int:
        """The number of elements of the outputs of all steps, for one sample."""
        return sum(prod(s.shape) for s in self.steps if s.shape and None not in s.shape)

    @cached_property
    def lookups(self) -> dict[int, list[Step]]:
        """input -> the embeddings that look its numbers up, just as they are."""
        same = {i: i for i in self.inputs}
        found: dict[int, list[Step]] = {}
        for s in self.steps:
            source = same.get(s.inputs[0]) if len(s.inputs) == 1 else None
            if source is not None and s.kind == "identity":
                same[s.output] = source
            elif source is not None and s.kind == "embedding":
                found.setdefault(source, []).append(s)
        return found

    def mixed(self, number: int) -> list[Step]:
        """Steps that read the tokens of input `number` otherwise than by lookup."""
        source = self.inputs[number]
        reached = {source}
        for s in self.steps:
            if s.kind == "identity" and reached.issuperset(s.inputs):
                reached.add(s.output)
        plain = ("identity", "embedding", "fixed")
        found = [
            s for s in self.steps
            if s.kind not in plain and reached.intersection(s.carried(s.inputs))
        ]  # fmt: skip
        if source in self.numeric:
            found += [s for s in self.steps if s.kind == "fixed" and source in s.inputs]
        return found

    def find(self, layer: str) -> Step:
        """The step that makes a layer's output, its fused activation included.

        layer: the name of a step, of a layer, or of a model inside the model. Raises
        UnknownNameError; a layer that is merged into its neighbour has no step, and a
        convolution that a normalisation is merged into has no output of its own.
        """
        own = [s for s in self.steps if layer in (s.name, s.call, s.merged)]
        inside = [s for s in self.steps if s.call.startswith(f"{layer}/")]
        found = own and [s for s in self.steps if s in own or s in inside]
        found = found or [s for s in self.steps if layer in s.names]
        if found and found[-1].merged and layer in found[-1].names[:2]:
            raise UnknownNameError(
                f"{found[-1].merged!r} is merged into {layer!r}, which has no output "
                "of its own.",
                "the two together, or a program that keeps them apart",
                f'{found[-1].merged!r}, or create_analyzer(..., batch_norm="rule")',
            )
        if not found:
            names = sorted({s.names[1] for s in self.steps})
            raise UnknownNameError(
                f"No step of the network is called {layer!r} (what is merged into its "
                "neighbour has no output of its own).",
                f"one of {names[:8]} ...{perhaps(layer, names)}",
                "analyzer.coverage() lists every step",
            )
        return found[-1]

    @cached_property
    def reads(self) -> dict[int, frozenset[int]]:
        """tensor -> the numbers of the inputs that it depends on."""
        made = {t: frozenset([i]) for i, t in enumerate(self.inputs)}
        for s in self.steps:
            made[s.output] = frozenset().union(*(made[i] for i in s.inputs))
        return made

    def answer(self, inputs: Iterable[Tensor]) -> Tensor:
        """The model's own output, behind its final softmax or sigmoid.

        A tensor is given up after the last step that reads it.
        """
        values = self.entered(inputs)
        steps = (*self.steps, *self.finish)
        last = {i: k for k, s in enumerate(steps) for i in s.inputs}
        for k, step in enumerate(steps):
            values[step.output] = step.run([values[i] for i in step.inputs])
            for i in set(step.inputs):
                if last[i] == k and i != self.last:
                    del values[i]
        return values[self.last]

    def finished(self, values: dict[int, Tensor]) -> Tensor:
        """The same, from the tensors of `run`."""
        return _run(self.finish, dict(values))[self.last]

    @property
    def last(self) -> int:
        """The id of the model's own output."""
        return self.finish[-1].output if self.finish else self.output


def _run(
    steps: Iterable[Step],
    values: dict[int, Tensor],
    seen: Callable[..., Any] | None = None,
    run: Callable[[Step, list[Tensor]], Tensor] = Step.run,
) -> dict[int, Tensor]:
    for step in steps:
        values[step.output] = run(step, [values[i] for i in step.inputs])
        if seen is not None:
            seen(step.output, values[step.output])
    return values


def check_output(outputs: list[Any], output: int) -> None:
    """Refuse the number of an output that the model does not have."""
    count = len(outputs)
    if not isinstance(output, int) or not 0 <= output < count:
        raise OptionError(
            f"output={output!r}, but the model has {count} output(s).",
            f"a number from 0 to {count - 1}",
        )
