"""Presets: which rule each kind of step gets.

A preset is a value: `epsilon().replace(conv="z_plus", first="flat")` is another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from tfxai.errors import OptionError
from tfxai.relevance import rules as R
from tfxai.relevance.rules import Rule

#: What a step gets where a preset says nothing. A sum or a mean shares by what each
#: input contributed (the z rule), values that only move go back where they came from.
DEFAULTS: Mapping[str, Rule] = MappingProxyType(
    {
        "activation": R.pass_on,
        "identity": R.pass_on,
        "route": R.move,
        "max": R.move,
        "add": R.z_rule,
        "average": R.z_rule,
        "scale": R.z_rule,
    }
)


@dataclass(frozen=True)
class Preset:
    """kind -> rule, and the rule of the first layer with a kernel (None: no other)."""

    table: Mapping[str, Rule] = field(default_factory=dict)
    first: Rule | None = None

    def replace(self, first: Any = None, **rows: Any) -> "Preset":
        """The same preset with some rows (kind=rule) or the first layer's replaced."""
        table = {**self.table, **{k: R.find(v) for k, v in rows.items()}}
        return Preset(table, self.first if first is None else R.find(first))

    def rule(self, kind: str, is_first: bool = False) -> Rule | None:
        """The rule for a step of this kind; None where the preset has none."""
        if is_first and self.first is not None:
            return self.first
        return self.table.get(kind, DEFAULTS.get(kind))


def every_kernel(rule: Rule, **rows: Rule) -> Preset:
    """One rule for dense, conv and depthwise steps and for affine ones."""
    return Preset(
        {"dense": rule, "conv": rule, "depthwise": rule, "scale": rule, **rows}
    )


def epsilon(epsilon: float = R.EPSILON, bias: bool = True) -> Preset:
    """LRP-epsilon everywhere."""
    return every_kernel(R.epsilon_rule(epsilon=epsilon, bias=bias))


def deep_taylor() -> Preset:
    """Deep Taylor decomposition: z+ wherever contributions are summed.

    Sums and means too: their weights are positive, so z+ shares by what each input
    contributed (Montavon et al. 2017, section 4.1), and nothing is counted twice.
    """
    return every_kernel(R.z_plus, add=R.z_plus, average=R.z_plus)


def bounded(low: Any = None, high: Any = None) -> Preset:
    """Deep Taylor with the box rule at the input, for inputs within [low, high]."""
    if low is not None and high is not None and np.any(np.asarray(low) > high):
        raise OptionError(f"low={low} is above high={high}.", "low <= high")
    return deep_taylor().replace(first=R.z_box(low=low, high=high))


def sequential(alpha: float, beta: float, epsilon: float = 0.1) -> Preset:
    """iNNvestigate's presets: epsilon for dense layers, alpha-beta for convolutions."""
    above = R.epsilon_rule(epsilon=epsilon)
    below = R.alpha_beta(alpha=alpha, beta=beta)
    return every_kernel(below, dense=above, scale=R.z_rule)


def sequential_a(epsilon: float = 0.1) -> Preset:
    """Preset A: epsilon above, alpha 1 beta 0 below."""
    return sequential(1.0, 0.0, epsilon)


def sequential_b(epsilon: float = 0.1) -> Preset:
    """Preset B: epsilon above, alpha 2 beta 1 below."""
    return sequential(2.0, 1.0, epsilon)


def flat_first(preset: Preset) -> Preset:
    """The preset with the flat rule at the input (A-flat, B-flat)."""
    return preset.replace(first=R.flat)
