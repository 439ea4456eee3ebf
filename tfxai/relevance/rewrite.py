"""The rewrite: program + preset + head -> a second Keras model that returns relevance.

The forward pass is the user's own operations on the user's own variables, so the model
follows every training step. The way back takes one rule per step. Relevance is
(K, B, ...): the seeds of all targets lead and share one forward pass and one graph.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import keras
import tensorflow as tf

from tfxai.arrays import Tensor, positive, size
from tfxai.errors import NoFirstLayerWarning, OptionError, UnsupportedLayerError
from tfxai.graph.linear import Local
from tfxai.graph.program import Program
from tfxai.graph.step import KERNEL, MONOTONE, MOVES, Step
from tfxai.registry import nearest
from tfxai.relevance import rules as R
from tfxai.relevance.heads import Head
from tfxai.relevance.presets import Preset
from tfxai.relevance.rules import Rule
from tfxai.relevance.signal import Relevance, Signal, plain_relevance


@dataclass(frozen=True)
class Planned:
    """A step with its rule; `first`: is it the first kernel that the input meets?"""

    step: Step
    rule: Rule
    first: bool


def plan(program: Program, preset: Preset, overrides: Mapping) -> tuple[Planned, ...]:
    """Give every step its rule; a step without one is an error that names it.

    overrides: {kind or layer name: rule}, stronger than the preset.
    """
    names = {n for s in program.steps for n in (s.name, _layer(s), s.kind)}
    kinds = {*KERNEL, *MOVES, "activation", "max", "add", "average", "scale"}
    for key in set(overrides) - names - kinds:
        raise OptionError(
            f"rules={{{key!r}: ...}} names no kind and no layer of this model.",
            f"one of {sorted(kinds)} or a layer, perhaps {nearest(key, names)}",
            "analyzer.coverage() lists every step",
        )
    own = {key: R.find(value) for key, value in overrides.items()}
    firsts = _firsts(program)
    if preset.first is not None and not firsts:
        warnings.warn(
            f"No layer with a kernel reads the network's input, so that the rule "
            f"{preset.first} for the first layer has no place.",
            NoFirstLayerWarning,
            stacklevel=2,
        )
    return tuple(_planned(step, step in firsts, preset, own) for step in program.steps)


def _planned(step: Step, first: bool, preset: Preset, own: Mapping) -> Planned:
    named = own.get(step.name) or own.get(_layer(step)) or own.get(step.kind)
    rule = named or preset.rule(step.kind, first)
    if rule is None:
        raise UnsupportedLayerError(
            f"Step {step.name!r} ({step.layer}) is of kind {step.kind!r}, and this "
            "preset has no rule for that kind.",
            "a rule for the step",
            f'create_analyzer(..., rules={{{step.name!r}: "gradient"}}), or another '
            f"rule of {sorted(R.RULES)}",
        )
    return Planned(step, rule, first)


def _layer(step: Step) -> str:
    """The layer's name, for all of its calls."""
    return step.name.partition("@")[0]


def _firsts(program: Program) -> set[Step]:
    """Steps with a kernel that read the network's input, moved, pooled or scaled."""
    raw, firsts = set(program.inputs), set()
    for step in program.steps:
        if raw.issuperset(step.inputs):
            if step.kind in MONOTONE:
                raw.add(step.output)
            elif step.kind in KERNEL:
                firsts.add(step)
    return firsts


class Rewritten(keras.Model):
    """`model` turned round: inputs and a target in, relevance and logits out.

    Call it with the flat list of the model's inputs and `target`, int32 (B, T): indices
    into the flattened output, -1 for the top class. It returns a dict:

    - "relevance": a list, one (T, B, ...) tensor per input of the model;
    - "logits": (B, ..., n), before softmax; "target": (B, T), the -1 resolved.
    """

    def __init__(
        self,
        model: keras.Model,
        program: Program,
        preset: Preset,
        head: Head,
        overrides: Mapping | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(name=f"{model.name}_{head.name}", dtype="float32")
        self.model, self.program, self.head, self.relu = model, program, head, relu
        self.plan = plan(program, preset, overrides or {})
        self.built = True

    def call(self, inputs: list[Tensor], target: Tensor) -> dict[str, Any]:
        """Forward once, back once for all seeds."""
        inputs = [tf.cast(x, tf.float32) for x in inputs]
        values = self.program.run(inputs)
        logits = values[self.program.output]
        target, mask = choose(logits, target)
        seeds = self.head.seeds(Signal([logits]), mask)
        if not isinstance(seeds, Relevance):
            seeds = plain_relevance(tf.reshape(seeds, [-1, *size(mask)[1:]]))
        maps = self._back(values, seeds)
        return {
            "relevance": self._merged(maps, size(mask)[0]),
            "logits": logits,
            "target": target,
        }

    def _back(self, values: dict[int, Tensor], seeds: Relevance) -> list[Tensor]:
        """The relevance (K, B, ...) of every input of the network."""
        arrived: dict[int, list[Relevance]] = {self.program.output: [seeds]}
        for planned in reversed(self.plan):
            step = planned.step
            parts = arrived.pop(step.output, None)
            if parts is None:
                continue
            local = Local(step, [values[i] for i in step.inputs], values[step.output])
            x = self._signal(planned, values)
            result = planned.rule.apply(local, x, reduce(add, parts))
            for i, part in zip(step.inputs, result.each(), strict=True):
                arrived.setdefault(i, []).append(part)
        count = seeds.count
        return [
            self._formed(arrived.get(i), values[i], count) for i in self.program.inputs
        ]

    def _signal(self, planned: Planned, values: dict[int, Tensor]) -> Signal:
        step = planned.step
        known = self.program.nonnegative.issuperset(step.inputs)
        xs = [values[i] for i in step.inputs]
        if not planned.first:
            return Signal(xs, known)
        sources = [values[i] for i in self.program.inputs]
        return Signal(xs, known, lambda v: self._carry(v, step), sources)

    def _carry(self, values: list[Tensor], step: Step) -> list[Tensor]:
        """Values at the network's inputs, carried to where a first step reads them."""
        carried = dict(zip(self.program.inputs, values, strict=True))
        for s in self.program.steps:
            if s.kind in MONOTONE and carried.keys() >= set(s.inputs):
                carried[s.output] = s.run([carried[i] for i in s.inputs])
        return [carried[i] for i in step.inputs]

    @staticmethod
    def _formed(parts: list[Relevance] | None, x: Tensor, seeds: Any) -> Tensor:
        """base * ratio + plain at an input; zeros where no relevance arrived."""
        if parts is None:
            return tf.zeros([seeds, *size(x)])
        return tf.broadcast_to(reduce(add, parts).tensor, [seeds, *size(x)])

    def _merged(self, maps: list[Tensor], targets: Any) -> list[Tensor]:
        """One map per target from the maps of all seeds."""
        if self.head.merge is not None:
            halves = [[m[:targets] for m in maps], [m[targets:] for m in maps]]
            maps = self.head.merge(*halves)
        return [positive(m) for m in maps] if self.relu else maps


def choose(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Resolve -1 to the top class; the targets (B, T), and one-hot (T, B, ..., n)."""
    flat = tf.reshape(logits, [size(logits)[0], -1])
    top = tf.argmax(flat, -1, output_type=target.dtype)[:, None]
    target = tf.where(target < 0, top, target)
    mask = tf.one_hot(tf.transpose(target), tf.shape(flat)[-1], dtype=logits.dtype)
    return target, tf.reshape(mask, [size(mask)[0], *size(logits)])
