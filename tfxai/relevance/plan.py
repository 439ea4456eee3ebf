"""Which rule each step of a network gets."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from tfxai.base.errors import NoFirstLayerWarning, OptionError, UnsupportedLayerError
from tfxai.base.validation import nearest
from tfxai.graph.program import Program
from tfxai.graph.step import KERNEL, KINDS, MONOTONE, Step
from tfxai.relevance import rules as R
from tfxai.relevance.presets import Preset
from tfxai.relevance.rules import Rule


@dataclass(frozen=True)
class StepRule:
    """A step with its rule; `first`: is it the first kernel that the input meets?"""

    step: Step
    rule: Rule
    first: bool


def plan(program: Program, preset: Preset, overrides: Mapping) -> tuple[StepRule, ...]:
    """Give every step its rule; a step without one is an error that names it.

    overrides: {kind or layer name: rule}, stronger than the preset.
    """
    names = {n for s in program.steps for n in s.names}
    kinds = set(KINDS) | {s.kind for s in program.steps}
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


def _planned(step: Step, first: bool, preset: Preset, own: Mapping) -> StepRule:
    named = next((own[n] for n in (*step.names, step.kind) if n in own), None)
    rule = named or preset.rule(step.kind, first, step.place)
    if rule is None:
        raise UnsupportedLayerError(
            f"Step {step.name!r} ({step.layer}) is of kind {step.kind!r}, and this "
            "preset has no rule for that kind.",
            "a rule for the step",
            f'create_analyzer(..., rules={{{step.name!r}: "gradient"}}), or another '
            f"rule of {sorted(R.RULES)}",
        )
    return StepRule(step, rule, first)


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
