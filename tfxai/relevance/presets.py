"""Presets: which rule each kind of step gets.

A preset is a value; `epsilon().replace(conv="z_plus", first="flat")` returns another.
"""

from collections.abc import Callable, Mapping
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

#: Rules of the kinds that a preset does not list. Sums and means divide relevance by
#: the contributions of their inputs (the z rule), and values that only move return to
#: where they came from. Products and nonlinear steps follow AttnLRP (Achtibat et al.
#: 2024).
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
        "fourier": R.z_rule,
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
    """A rule for each kind of step.

    Args:
        table: Rule of each kind, {kind: rule}. None forbids the kind; a kind that is
            not listed gets its rule from `DEFAULTS`.
        first: Rule of the first layer with a kernel. None uses the rule of its kind.
        until: Pair (k, rule): the rule of layers with a kernel in `model.layers[0..k]`.
        baseline: Baseline that the rules compare with (`tfxai.core.baselines`), or
            None. With a baseline, relevance is the multipliers times the difference
            between input and baseline.
        background: True if `baseline` holds examples (n, ...), over which relevance is
            averaged.
    """

    table: Mapping[str, Rule | None] = field(default_factory=dict)
    first: Rule | None = None
    until: tuple[int, Rule] | None = None
    baseline: Any = None
    background: bool = False

    def replace(self, first: Any = None, until: Any = None, **rows: Any) -> "Preset":
        """Return the preset with other rules.

        Args:
            first: New rule of the first layer, its name, or (low, high) for z_box. None
                keeps the present one.
            until: New pair (k, rule). None keeps the present one.
            rows: New rules by kind, such as `conv="z_plus"`.

        Raises:
            OptionError: A name in `rows` is no kind.
        """
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
        self, kind: str, is_first: bool = False, layer_index: int | None = None
    ) -> Rule | None:
        """Return the rule of a step, or None if the preset forbids the kind.

        Args:
            kind: Kind of the step.
            is_first: True for the first layer with a kernel.
            layer_index: Index of the step's layer in `model.layers`, if it has one.
        """
        special = self.special_rule(kind, is_first, layer_index)
        return special or self.table.get(kind, DEFAULTS.get(kind))

    def special_rule(
        self, kind: str, is_first: bool, layer_index: int | None
    ) -> Rule | None:
        """Return the rule of a step by its place in the model, or None.

        Arguments as for `rule`.
        """
        if is_first and self.first is not None:
            return self.first
        if self.until and layer_index is not None and kind in KERNEL:
            last, rule = self.until
            if layer_index <= last:
                return rule
        return None

    def get_config(self) -> dict[str, Any]:
        """Return the preset as plain data."""
        return {
            "table": {k: r and r.get_config() for k, r in self.table.items()},
            "first": self.first and self.first.get_config(),
            "until": self.until and [self.until[0], self.until[1].get_config()],
            "reference": keras.tree.map_structure(R.plain, self.baseline),
            "background": self.background,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Preset":
        """Return the preset of a config."""
        table = {k: v and R.from_config(v) for k, v in config["table"].items()}
        first, until = config["first"], config["until"]
        return cls(
            table,
            first and R.from_config(first),
            until and (until[0], R.from_config(until[1])),
            _baseline_of(config),
            config.get("background", False),  # absent before version 0.3
        )


def _baseline_of(config: Mapping[str, Any]) -> Any:
    """Return the baseline of a config; examples of a background are arrays."""
    if config.get("background"):
        return [np.asarray(v) for v in config["reference"]]
    return config["reference"]


def every_kernel(rule: Rule, **rows: Rule) -> Preset:
    """Return a preset with one rule for dense, conv, depthwise and scale steps.

    Args:
        rule: The rule.
        rows: Rules of other kinds, or other rules for these, by kind.
    """
    return Preset(
        {"dense": rule, "conv": rule, "depthwise": rule, "scale": rule, **rows}
    )


def uniform(rule: Rule, **rows: Rule) -> Callable[[], Preset]:
    """Return a function without options that returns `every_kernel(rule, **rows)`."""
    return lambda: every_kernel(rule, **rows)


def epsilon(epsilon: float = R.EPSILON, bias: bool = True) -> Preset:
    """Return LRP-epsilon in every layer.

    Args:
        epsilon: Stabilizer, at least 0. Larger values absorb more relevance.
        bias: Include biases in the sums. They absorb relevance.
    """
    return every_kernel(R.epsilon_rule(epsilon=epsilon, bias=bias))


def epsilon_unbiased(epsilon: float = R.EPSILON) -> Preset:
    """Return LRP-epsilon in every layer, without biases.

    Args:
        epsilon: Stabilizer, at least 0. Larger values absorb more relevance.
    """
    return every_kernel(R.epsilon_rule(epsilon=epsilon, bias=False))


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, bias: bool = True) -> Preset:
    """Return LRP-alpha-beta in every layer.

    Args:
        alpha: Weight of the positive contributions, at least 1.
        beta: Weight of the negative contributions, alpha - 1.
        bias: Include biases in the sums.
    """
    return every_kernel(R.alpha_beta(alpha=alpha, beta=beta, bias=bias))


def gamma(gamma: float = 0.25, bias: bool = True) -> Preset:
    """Return LRP-gamma in every layer.

    Args:
        gamma: Weight of the additional contributions, at least 0.
        bias: Include biases in the sums.
    """
    return every_kernel(R.gamma(gamma=gamma, bias=bias))


def deep_taylor(bias: bool | str = False) -> Preset:
    """Return deep Taylor decomposition: z+ for every step that sums contributions.

    This includes sums and means. Their weights are positive, so z+ divides relevance by
    the contributions of the inputs (Montavon et al. 2017, section 4.1) and conserves
    it.

    Args:
        bias: "both" includes biases in the sums, as iNNvestigate 1.0.8.3, which the
            SGLRP repository pins; True includes b+ alone. They absorb relevance.
    """
    rule = R.z_plus(bias=bias) if bias else R.z_plus
    return every_kernel(rule, add=R.z_plus, average=R.z_plus)


def bounded(low: Any = None, high: Any = None, bias: bool | str = False) -> Preset:
    """Return deep Taylor with the box rule in the first layer.

    Args:
        low: Smallest possible value of the network's input. A number, or an array that
            broadcasts against the input; None uses the smallest value of each sample.
        high: Largest possible value of the network's input. As for `low`.
        bias: "both" includes biases in the sums behind the first layer, as iNNvestigate
            1.0.8.3, which the SGLRP repository pins; True includes b+ alone.
    """
    return deep_taylor(bias).replace(first=box_rule(low, high))


def box_rule(low: Any, high: Any) -> Rule:
    """Return the box rule for inputs in [low, high].

    Raises:
        OptionError: `low` is above `high`.
    """
    rule = R.z_box(low=low, high=high)
    if low is not None and high is not None and np.any(np.asarray(low) > high):
        raise OptionError(f"low={low} is above high={high}.", "low <= high")
    return rule


def sequential(alpha: float, beta: float, epsilon: float = 0.1) -> Preset:
    """Return iNNvestigate's preset: epsilon for dense, alpha-beta for convolutions.

    Args:
        alpha: Weight of the positive contributions, at least 1.
        beta: Weight of the negative contributions, alpha - 1.
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    above = R.epsilon_rule(epsilon=epsilon)
    below = R.alpha_beta(alpha=alpha, beta=beta)
    return every_kernel(below, dense=above, scale=R.z_rule)


def sequential_a(epsilon: float = 0.1) -> Preset:
    """Return preset A: epsilon in dense layers, alpha 1 beta 0 in convolutions.

    Args:
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return sequential(1.0, 0.0, epsilon)


def sequential_b(epsilon: float = 0.1) -> Preset:
    """Return preset B: epsilon in dense layers, alpha 2 beta 1 in convolutions.

    Args:
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return sequential(2.0, 1.0, epsilon)


def flat_first(preset: Preset) -> Preset:
    """Return the preset with the flat rule in the first layer (A-flat, B-flat)."""
    return preset.replace(first=R.flat)


def flat_a(epsilon: float = 0.1) -> Preset:
    """Return preset A-flat.

    Args:
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return flat_first(sequential_a(epsilon))


def flat_b(epsilon: float = 0.1) -> Preset:
    """Return preset B-flat.

    Args:
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return flat_first(sequential_b(epsilon))


def flat_b_until(until_layer_idx: int = 0, epsilon: float = 0.1) -> Preset:
    """Return preset B-flat, with the flat rule in several layers.

    Args:
        until_layer_idx: Index of the last layer in `model.layers` with the flat rule.
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return flat_b(epsilon).replace(until=(until_layer_idx, R.flat))


def until_index(
    rule: Any = "epsilon", until_layer_idx: int = 0, until_layer_rule: Any = "flat"
) -> Preset:
    """Return one rule for the first layers and another for the layers above.

    Args:
        rule: Rule of the layers above, or its name.
        until_layer_idx: Index of the last layer in `model.layers` that gets
            `until_layer_rule`.
        until_layer_rule: Rule of the layers up to that index, or its name.
    """
    return every_kernel(R.find(rule)).replace(until=(until_layer_idx, until_layer_rule))


# -- Zennit's composites -------------------------------------------------------------


def composite(conv: Rule, first: Any = None, epsilon: float = R.STABILIZER) -> Preset:
    """Return a preset in the form of Zennit's composites.

    Args:
        conv: Rule of convolutions.
        first: Rule of the first layer. None uses the rule of its kind.
        epsilon: Stabilizer of the epsilon rule in dense layers, sums and means.
    """
    sums = R.epsilon_rule(epsilon=epsilon)
    rows = {"dense": sums, "scale": sums, "add": sums, "average": sums}
    return every_kernel(conv, **rows).replace(first=first)


_PLUS = R.z_plus(bias=True, eps=R.STABILIZER)
_ALPHA_2_BETA_1 = R.alpha_beta(eps=R.STABILIZER)
_FLAT = R.flat(eps=R.STABILIZER)


def epsilon_plus(epsilon: float = R.STABILIZER) -> Preset:
    """Return EpsilonPlus: z+ with bias in convolutions, epsilon in other layers.

    Args:
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return composite(_PLUS, epsilon=epsilon)


def epsilon_plus_flat(epsilon: float = R.STABILIZER) -> Preset:
    """Return EpsilonPlusFlat: EpsilonPlus with the flat rule in the first layer.

    Args:
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return composite(_PLUS, _FLAT, epsilon)


def epsilon_alpha2_beta1(epsilon: float = R.STABILIZER) -> Preset:
    """Return EpsilonAlpha2Beta1: alpha-beta in convolutions, epsilon in other layers.

    Args:
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return composite(_ALPHA_2_BETA_1, epsilon=epsilon)


def epsilon_alpha2_beta1_flat(epsilon: float = R.STABILIZER) -> Preset:
    """Return EpsilonAlpha2Beta1Flat: the same with the flat rule in the first layer.

    Args:
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    return composite(_ALPHA_2_BETA_1, _FLAT, epsilon)


def epsilon_gamma_box(
    low: Any = None,
    high: Any = None,
    gamma: float = 0.25,
    epsilon: float = R.STABILIZER,
) -> Preset:
    """Return EpsilonGammaBox: gamma in convolutions, the box rule in the first layer.

    Args:
        low: Smallest possible value of the network's input. A number, or an array that
            broadcasts against the input; None uses the smallest value of each sample.
        high: Largest possible value of the network's input. As for `low`.
        gamma: Weight of the additional contributions, at least 0.
        epsilon: Stabilizer of the epsilon rule, at least 0.
    """
    conv = R.gamma(gamma=gamma, eps=R.STABILIZER)
    return composite(conv, box_rule(low, high)(eps=R.STABILIZER), epsilon)


def excitation_backprop() -> Preset:
    """Return Zennit's ExcitationBackprop: z+ in layers, the gradient at activations."""
    sums = R.epsilon_rule(epsilon=R.STABILIZER)
    gradients = {"relu": R.gradient, "activation": R.gradient}
    return every_kernel(_PLUS, add=sums, average=sums, **gradients)


# -- transformers, and modified gradients --------------------------------------------


def attention(epsilon: float = R.STABILIZER, gamma: float | None = None) -> Preset:
    """Return AttnLRP, for transformers.

    Args:
        epsilon: Stabilizer of the epsilon rule in linear layers, at least 0.
        gamma: Use the gamma rule with this weight in linear layers. It is better than
            epsilon for images; None uses epsilon.
    """
    sums = R.epsilon_rule(epsilon=epsilon)
    linear = sums if gamma is None else R.gamma(gamma=gamma, eps=epsilon)
    return every_kernel(linear, scale=sums, add=sums, average=sums, gate=R.glu)


def conservative(epsilon: float = R.STABILIZER, gamma: float | None = None) -> Preset:
    """Return CP-LRP, for transformers: attention weights and gates are constants.

    The relevance of an attention goes to its values alone, and none to queries and
    keys; that of a gated linear unit goes to the signal.

    Args:
        epsilon: Stabilizer of the epsilon rule in linear layers, at least 0.
        gamma: Use the gamma rule with this weight in linear layers. None uses epsilon.
    """
    return attention(epsilon, gamma).replace(product=R.weighted, gate=R.signal)


def modified_gradient(relu: Rule) -> Preset:
    """Return the gradient in every step, and the rule `relu` for every ReLU."""
    kept = {k: DEFAULTS[k] for k in ("route", "identity", "max", "embedding", "fixed")}
    return Preset({**dict.fromkeys(KINDS, R.gradient), **kept, "relu": relu})


#: Rule of DeepLIFT -> the kinds whose positive and negative changes are kept apart.
_APART = {
    "rescale": (),
    "reveal_cancel": ("dense", "conv", "depthwise", "scale", "add", "average"),
    "genomics": ("dense",),
}


def rescale(baseline: Any = 0, rule: str = "rescale") -> Preset:
    """Return DeepLIFT: multipliers of the rescale rule, or of the reveal-cancel rule.

    Products, normalisations and softmaxes have multipliers of their own, which account
    for the whole change.

    Args:
        baseline: Input that each sample is compared with. A number, an array without
            batch axis or with one baseline for each sample, "zero", "min", "max" or
            "mean".
        rule: Rule of activations: "rescale"; "reveal_cancel", which keeps positive and
            negative changes apart, so that they do not cancel; or "genomics", which is
            reveal-cancel behind dense layers and rescale elsewhere.

    Raises:
        OptionError: `rule` is none of these names.
    """
    if not isinstance(rule, str) or rule not in _APART:
        raise OptionError(
            f"rule={rule!r}.", f"one of {list(_APART)}", 'rule="reveal_cancel"'
        )
    changes = {"activation": M.rescale, "max": M.rescale_max}
    ends = dict.fromkeys(("product", "gate", "softmax", "norm"), M.both_ends)
    apart = dict.fromkeys(_APART[rule], M.reveal_cancel)
    table = {**modified_gradient(M.rescale).table, **changes, **ends, **apart}
    return Preset({**table, "embedding": M.embed_change}, baseline=baseline)


def rescale_over(background: Any = None, rule: str = "rescale") -> Preset:
    """Return DeepSHAP: the mean of DeepLIFT over examples as baselines.

    For a linear model, and for ReLU networks where no unit changes its state, the
    relevance is the Shapley values of the features over the background.

    Args:
        background: Examples like `x` that each sample is compared with, an array
            (n, ...). A list of arrays for several inputs.
        rule: Rule of activations: "rescale", "reveal_cancel" or "genomics"; see
            `deeplift`.

    References:
        Lundberg and Lee 2017, arXiv:1705.07874, section 4.2.
    """
    return replace(rescale(rule=rule), baseline=background, background=True)
