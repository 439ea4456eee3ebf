"""The plan of a network: the rule of each step."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tfxai.base.errors import NoFirstLayerWarning, OptionError, UnsupportedLayerError
from tfxai.base.validation import perhaps
from tfxai.graph.program import Program
from tfxai.graph.step import KERNEL, KINDS, MONOTONE, MOVES, Step
from tfxai.relevance import rules as R
from tfxai.relevance.presets import Preset
from tfxai.relevance.rules import Rule

#: Rules that divide R among the contributions to a sum. A single number times x is the
#: only contribution, so that R' = R, also where x = 0 or x has one sign.
SHARING = (
    "z",
    "epsilon",
    "z_plus",
    "z_plus_fast",
    "alpha_beta",
    "gamma",
    "w_square",
    "flat",
)
#: Kinds of steps whose outputs are the weights of a product (CP-LRP).
WEIGHTS = ("softmax", "activation", "relu")


@dataclass(frozen=True)
class StepRule:
    """A step with its rule.

    Args:
        step: The step.
        rule: Its rule.
        first: True for a step with a kernel that reads the network's input.
        behind: The activation that alone reads the output, of a rule for both.
    """

    step: Step
    rule: Rule
    first: bool
    behind: Step | None = None


def plan(
    program: Program, preset: Preset, overrides: Mapping[str, Any]
) -> tuple[StepRule, ...]:
    """Return every step of the program with its rule, from input to output.

    Args:
        program: The network's steps.
        preset: The rule of each kind of step.
        overrides: Rules that replace those of the preset, {kind or layer name: rule}.
            The most specific rule counts: that of a layer's name, of the first layer
            (and of the first k layers), of a kind.

    Raises:
        OptionError: A key of `overrides` is neither a kind nor a layer of the model.
        UnsupportedLayerError: A step has no rule.

    Warns:
        NoFirstLayerWarning: The preset has a rule for the first layer, and no layer
            with a kernel reads the input.
    """
    names = {n for s in program.steps for n in s.names}
    kinds = set(KINDS) | {s.kind for s in program.steps}
    for key in set(overrides) - names - kinds:
        raise OptionError(
            f"rules={{{key!r}: ...}} is neither a kind nor a layer of this model.",
            f"one of {sorted(kinds)} or a layer{perhaps(key, names)}",
            "analyzer.coverage() to list every step",
        )
    own = {key: R.find(value) for key, value in overrides.items()}
    weights = _weights(program)
    first_kernels = _first_kernels(program)
    if preset.first is not None and not first_kernels:
        warnings.warn(
            "No layer with a kernel reads the network's input, so the rule "
            f"{preset.first} for the first layer is not used.",
            NoFirstLayerWarning,
            stacklevel=2,
        )
    planned = [_step_rule(s, s in first_kernels, preset, own) for s in program.steps]
    return tuple(_with_weights(p, weights) for p in _with_activations(planned))


def _step_rule(
    step: Step, first: bool, preset: Preset, overrides: Mapping[str, Rule]
) -> StepRule:
    """Return a step with its rule, or raise UnsupportedLayerError."""
    rule = next((overrides[n] for n in step.names if n in overrides), None)
    rule = rule or preset.special_rule(step.kind, first, step.place)
    rule = rule or overrides.get(step.kind) or _preset_rule(step, preset)
    if rule is None:
        raise UnsupportedLayerError(
            f"Step {step.name!r} ({step.layer}) is of kind {step.kind!r}, and this "
            "preset has no rule for that kind.",
            "a rule for the step",
            f'create_analyzer(..., rules={{{step.name!r}: "gradient"}}), or another '
            f"rule of {sorted(R.RULES)}",
        )
    return StepRule(step, rule, first)


def _preset_rule(step: Step, preset: Preset) -> Rule | None:
    """Return the preset's rule of the step's kind; R' = R for a single number."""
    rule = preset.rule(step.kind)
    shares = step.factor and rule is not None and rule.name in SHARING
    return R.pass_on if shares else rule


def _weights(program: Program) -> set[int]:
    """Return the numbers of the tensors that weight others: softmaxes, activations.

    They may be moved or scaled before the product, and those of a softmax masked.
    """
    found: set[int] = set()
    shares: set[int] = set()
    for step in program.steps:
        moved = step.kind in MOVES or step.factor
        read = step.carried(step.inputs)
        kept = (moved or step.kind == "max") and read and shares.issuperset(read)
        if step.kind == "softmax" or kept:
            shares.add(step.output)
        if step.kind in WEIGHTS or (moved and read and found.issuperset(read)):
            found.add(step.output)
    return found | shares


def _with_weights(planned: StepRule, weights: set[int]) -> StepRule:
    """Return a step whose rule knows which of its factors are weights."""
    if planned.rule.name != R.weighted.name:
        return planned
    read = planned.step.carried(planned.step.inputs)
    own = tuple(i for i, n in enumerate(read) if n in weights)
    return replace(planned, rule=planned.rule(weights=own))


def _with_activations(planned: list[StepRule]) -> list[StepRule]:
    """Return the steps, where `reveal_cancel` knows the activation that it propagates.

    That activation reads the output of a step alone, and has the rescale rule. It hands
    the multipliers on.
    """
    readers: dict[int, list[StepRule]] = {}
    for p in planned:
        for i in p.step.inputs:
            readers.setdefault(i, []).append(p)
    behind: dict[Step, Step] = {}
    for p in planned:
        reads = readers.get(p.step.output, [])
        if p.rule.name != "reveal_cancel" or len(reads) != 1:
            continue
        (reader,) = reads
        curved = reader.step.kind in ("relu", "activation")
        if curved and len(reader.step.inputs) == 1 and reader.rule.name == "rescale":
            behind[p.step] = reader.step
    held = set(behind.values())
    return [
        replace(p, rule=R.pass_on) if p.step in held
        else replace(p, behind=behind.get(p.step))
        for p in planned
    ]  # fmt: skip


def _first_kernels(program: Program) -> set[Step]:
    """Return the steps with a kernel that read the input, moved, pooled or scaled."""
    raw, first_kernels = set(program.inputs), set()
    for step in program.steps:
        if raw.issuperset(step.inputs):
            if step.kind in MONOTONE:
                raw.add(step.output)
            elif step.kind in KERNEL:
                first_kernels.add(step)
    return first_kernels
