"""Warnings about options and rules that other options of the same call replace."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfxai.base.errors import UnusedOptionWarning
from tfxai.relevance import rules as R
from tfxai.relevance.plan import StepRule
from tfxai.relevance.presets import Preset
from tfxai.relevance.rules import Rule


def warn_unused(
    method: str,
    make: Callable[..., Preset],
    options: Mapping[str, Any],
    own: Preset,
    used: Preset,
    plan: Sequence[StepRule],
) -> None:
    """Warn of options of a method's preset whose rules are replaced in every step.

    Args:
        method: The name of the method.
        make: Function (options) -> the preset of the method.
        options: The given options of that preset.
        own: The preset of the method with these options.
        used: The preset that the method uses; another one if it was given.
        plan: The steps of the network with their rules.

    Warns:
        UnusedOptionWarning: No rule of the plan reads an option.
    """
    before = [own.rule(p.step.kind, p.first, p.step.place) for p in plan]
    unused = []
    for name in options:
        other = make(**{n: v for n, v in options.items() if n != name})
        rules = _different(own, other)
        read = [b for b in before if any(b is r for r in rules)]
        kept = [p for p in plan if any(p.rule is r for r in rules)]
        compared = _plain(own.baseline) != _plain(other.baseline)
        lost = compared and used.baseline is not own.baseline
        if lost or (read and not kept):
            unused.append(name)
    if unused:
        given = "".join(f", {n}={R.plain(options[n])!r}" for n in unused)
        _warn(
            f"{method}: {' and '.join(unused)} not used, since rules=, "
            "input_layer_rule= or preset= replaces the rules that read it.",
            f"tfxai.create_analyzer({method!r}, model{given})",
        )


def warn_shadowed(
    method: str, rules: Mapping[str, Any], used: Preset, plan: Sequence[StepRule]
) -> None:
    """Warn of rules for a kind whose steps all have a more specific rule.

    Args:
        method: The name of the method.
        rules: The given rules, {kind or layer name: rule}.
        used: The preset that the method uses.
        plan: The steps of the network with their rules.

    Warns:
        UnusedOptionWarning: A rule is used in no step.
    """
    names = {n for p in plan for n in p.step.names}
    for key in set(rules) - names:
        steps = [p for p in plan if p.step.kind == key]
        if steps and all(_is_special(p, rules, used) for p in steps):
            value = rules[key]
            shown = value if isinstance(value, str | tuple) else R.find(value).name
            given = {steps[0].step.names[0]: shown}
            _warn(
                f"{method}: the rule for the kind {key!r} is not used: every step of "
                "that kind has a rule for the first layers or for its name.",
                f"tfxai.create_analyzer({method!r}, model, rules={given!r})",
            )


def _is_special(p: StepRule, rules: Mapping[str, Any], used: Preset) -> bool:
    """True if the rule of a step is not that of its kind."""
    named = any(n in rules for n in p.step.names)
    return named or bool(used.special_rule(p.step.kind, p.first, p.step.place))


def _different(own: Preset, other: Preset) -> list[Rule]:
    """The rules of a preset that differ from those of another."""
    pairs = [(own.table[kind], other.table.get(kind)) for kind in own.table]
    pairs.append((own.first, other.first))
    if own.until:
        index, rule = other.until or (None, None)
        pairs.append((own.until[1], rule if index == own.until[0] else None))
    return [a for a, b in pairs if a is not None and _config(a) != _config(b)]


def _config(rule: Rule | None) -> Any:
    """A rule as plain data; of one that is not registered, its function."""
    if rule is None:
        return None
    return rule.name, rule.function, {k: R.plain(v) for k, v in rule.options.items()}


def _plain(baseline: Any) -> Any:
    """A baseline as plain data."""
    values = baseline if isinstance(baseline, list | tuple) else [baseline]
    return [R.plain(v) for v in values]


def _warn(seen: str, write: str) -> None:
    """Warn with the line to type."""
    warnings.warn(f"{seen}\n  Write: {write}", UnusedOptionWarning, stacklevel=5)
