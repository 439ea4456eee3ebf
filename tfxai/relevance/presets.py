"""Presets: which rule each kind of step gets.

A preset is a value: `epsilon().replace(conv="z_plus", first="flat")` is another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from tfxai.base.errors import OptionError
from tfxai.graph.step import KERNEL, KINDS
from tfxai.relevance import multipliers as M
from tfxai.relevance import rules as R
from tfxai.relevance.rules import Rule

#: What a step gets where a preset says nothing. A sum or a mean shares by what each
#: input contributed (the z rule), values that only move go back where they came from;
#: what mixes tensors, or has no sum, follows AttnLRP (Achtibat et al. 2024).
DEFAULTS: Mapping[str, Rule] = MappingProxyType(
    {
        "activation": R.pass_on,
        "relu": R.pass_on,
        "identity": R.pass_on,
        "route": R.move,
        "max": R.move,
        "add": R.z_rule,
        "average": R.z_rule,
        "scale": R.z_rule,
        "softmax": R.taylor,
        "norm": R.frozen,
        "product": R.half,
        "gate": R.signal,
        "embedding": R.embed,
        "fixed": R.pass_on,
    }
)


@dataclass(frozen=True)
class Preset:
    """kind -> rule, and the rule of the first layer with a kernel (None: no other).

    until: (k, rule): layers with a kernel among `model.layers[0..k]` get that rule.
    reference: the baseline that rules compare with (`tfxai.core.baselines`), or None;
        with one, a map is the multipliers times what the input is above its baseline.
    """

    table: Mapping[str, Rule | None] = field(default_factory=dict)
    first: Rule | None = None
    until: tuple[int, Rule] | None = None
    reference: Any = None

    def replace(self, first: Any = None, until: Any = None, **rows: Any) -> "Preset":
        """The same preset with some rows (kind=rule) or the first layer's replaced."""
        unknown = set(rows) - set(KINDS)
        if unknown:
            raise OptionError(
                f"There is no kind {sorted(unknown)}.",
                f"kinds: {sorted(KINDS)}",
                f'extend.layer(MyLayer, new_kinds={{{min(unknown)!r}: "what it is"}})',
            )
        table = {**self.table, **{k: R.find(v) for k, v in rows.items()}}
        return replace(
            self,
            table=table,
            first=self.first if first is None else R.find(first),
            until=self.until if until is None else (int(until[0]), R.find(until[1])),
        )

    def rule(
        self, kind: str, is_first: bool = False, place: int | None = None
    ) -> Rule | None:
        """The rule for a step of this kind, in `model.layers[place]`; None: no rule."""
        if is_first and self.first is not None:
            return self.first
        below = place is not None and self.until and place <= self.until[0]
        if self.until and below and kind in KERNEL:
            return self.until[1]
        return self.table.get(kind, DEFAULTS.get(kind))

    def get_config(self) -> dict[str, Any]:
        """The preset as plain data."""
        return {
            "table": {k: r and r.get_config() for k, r in self.table.items()},
            "first": self.first and self.first.get_config(),
            "until": self.until and [self.until[0], self.until[1].get_config()],
            "reference": keras.tree.map_structure(R.plain, self.reference),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Preset":
        """The preset of a config."""
        table = {k: v and R.from_config(v) for k, v in config["table"].items()}
        first, until = config["first"], config["until"]
        return cls(
            table,
            first and R.from_config(first),
            until and (until[0], R.from_config(until[1])),
            config["reference"],
        )


def every_kernel(rule: Rule, **rows: Rule) -> Preset:
    """One rule for dense, conv and depthwise steps and for affine ones."""
    return Preset(
        {"dense": rule, "conv": rule, "depthwise": rule, "scale": rule, **rows}
    )


def one(rule: Rule) -> Any:
    """A preset without options: one rule for every kernel."""
    return lambda: every_kernel(rule)


def epsilon(epsilon: float = R.EPSILON, bias: bool = True) -> Preset:
    """LRP-epsilon everywhere."""
    return every_kernel(R.epsilon_rule(epsilon=epsilon, bias=bias))


def epsilon_unbiased(epsilon: float = R.EPSILON) -> Preset:
    """LRP-epsilon everywhere, without the bias."""
    return every_kernel(R.epsilon_rule(epsilon=epsilon, bias=False))


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, bias: bool = True) -> Preset:
    """LRP-alpha-beta everywhere."""
    return every_kernel(R.alpha_beta(alpha=alpha, beta=beta, bias=bias))


def gamma(gamma: float = 0.25, bias: bool = True) -> Preset:
    """LRP-gamma everywhere."""
    return every_kernel(R.gamma(gamma=gamma, bias=bias))


def deep_taylor() -> Preset:
    """Deep Taylor decomposition: z+ wherever contributions are summed.

    Sums and means too: their weights are positive, so z+ shares by what each input
    contributed (Montavon et al. 2017, section 4.1), and nothing is counted twice.
    """
    return every_kernel(R.z_plus, add=R.z_plus, average=R.z_plus)


def bounded(low: Any = None, high: Any = None) -> Preset:
    """Deep Taylor with the box rule at the input, for inputs within [low, high]."""
    return deep_taylor().replace(first=box(low, high))


def box(low: Any, high: Any) -> Rule:
    """The box rule, checked."""
    if low is not None and high is not None and np.any(np.asarray(low) > high):
        raise OptionError(f"low={low} is above high={high}.", "low <= high")
    return R.z_box(low=low, high=high)


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


def flat_a(epsilon: float = 0.1) -> Preset:
    """Preset A-flat."""
    return flat_first(sequential_a(epsilon))


def flat_b(epsilon: float = 0.1) -> Preset:
    """Preset B-flat."""
    return flat_first(sequential_b(epsilon))


def flat_b_until(until_layer_idx: int = 0, epsilon: float = 0.1) -> Preset:
    """Preset B-flat, flat for all of `model.layers[0..until_layer_idx]`."""
    return flat_b(epsilon).replace(until=(until_layer_idx, R.flat))


def until_index(
    rule: Any = "epsilon", until_layer_idx: int = 0, until_layer_rule: Any = "flat"
) -> Preset:
    """One rule, and another for `model.layers[0..until_layer_idx]`."""
    return every_kernel(R.find(rule)).replace(until=(until_layer_idx, until_layer_rule))


# -- Zennit's composites -------------------------------------------------------------


def composite(conv: Rule, first: Any = None, epsilon: float = R.STABILIZER) -> Preset:
    """Epsilon for dense layers and sums, a rule for convolutions, one for the first."""
    sums = R.epsilon_rule(epsilon=epsilon)
    rows = {"dense": sums, "scale": sums, "add": sums, "average": sums}
    return every_kernel(conv, **rows).replace(first=first)


_PLUS = R.z_plus(bias=True, eps=R.STABILIZER)
_ALPHA_2_BETA_1 = R.alpha_beta(eps=R.STABILIZER)
_FLAT = R.flat(eps=R.STABILIZER)


def epsilon_plus(epsilon: float = R.STABILIZER) -> Preset:
    """EpsilonPlus: z+ with bias for convolutions."""
    return composite(_PLUS, epsilon=epsilon)


def epsilon_plus_flat(epsilon: float = R.STABILIZER) -> Preset:
    """EpsilonPlusFlat."""
    return composite(_PLUS, _FLAT, epsilon)


def epsilon_alpha2_beta1(epsilon: float = R.STABILIZER) -> Preset:
    """EpsilonAlpha2Beta1."""
    return composite(_ALPHA_2_BETA_1, epsilon=epsilon)


def epsilon_alpha2_beta1_flat(epsilon: float = R.STABILIZER) -> Preset:
    """EpsilonAlpha2Beta1Flat."""
    return composite(_ALPHA_2_BETA_1, _FLAT, epsilon)


def epsilon_gamma_box(
    low: Any = None,
    high: Any = None,
    gamma: float = 0.25,
    epsilon: float = R.STABILIZER,
) -> Preset:
    """EpsilonGammaBox: gamma for convolutions, the box rule at the input."""
    boosted = R.gamma(gamma=gamma, eps=R.STABILIZER)
    return composite(boosted, box(low, high)(eps=R.STABILIZER), epsilon)


def excitation_backprop() -> Preset:
    """Zennit's ExcitationBackprop: z+ in every layer, slopes at activations."""
    sums = R.epsilon_rule(epsilon=R.STABILIZER)
    slopes = {"relu": R.gradient, "activation": R.gradient}
    return every_kernel(_PLUS, add=sums, average=sums, **slopes)


# -- transformers, and modified gradients --------------------------------------------


def attention(epsilon: float = R.STABILIZER, gamma: float | None = None) -> Preset:
    """AttnLRP: epsilon in linear layers; for images, gamma in them does better."""
    sums = R.epsilon_rule(epsilon=epsilon)
    linear = sums if gamma is None else R.gamma(gamma=gamma, eps=epsilon)
    return every_kernel(linear, scale=sums, add=sums, average=sums)


def slopes(relu: Rule) -> Preset:
    """The gradient everywhere, and a rule for every ReLU."""
    kept = {k: DEFAULTS[k] for k in ("route", "identity", "max", "embedding", "fixed")}
    return Preset({**dict.fromkeys(KINDS, R.gradient), **kept, "relu": relu})


def rescale(baseline: Any = 0) -> Preset:
    """DeepLift: multipliers by the rescale rule, against a baseline.

    A softmax inside the network and a normalisation have no rescale rule.
    """
    ends = {"product": M.both_ends, "gate": M.both_ends}
    none: dict[str, Rule | None] = {"softmax": None, "norm": None}
    changes = {"activation": M.rescale, "max": M.rescale_max}
    table = {**slopes(M.rescale).table, **changes, **ends, **none}
    return Preset({**table, "embedding": M.embed_change}, reference=baseline)
