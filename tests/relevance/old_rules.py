"""iNNvestigate's names and rules, and the table of intended differences."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import keras
import tensorflow as tf

from tests.relevance.programs import program_of
from tfxai.base.tensors import negative, positive
from tfxai.graph.linear import Local
from tfxai.graph.program import Program
from tfxai.graph.step import MOVES
from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.relevance_model import RelevanceModel, StepRule, plan
from tfxai.relevance.rules import Rule

L = keras.layers

# -- what iNNvestigate calls it, and what it is here ---------------------------------

BOX = {"low": -1, "high": 1}
_RELU = {**BOX, "relu_logits": True}

#: iNNvestigate's names that are also names of our methods.
SAME = (
    *("gradient", "input_t_gradient", "deconvnet", "guided_backprop", "deep_taylor"),
    *("lrp.z", "lrp.z_IB", "lrp.epsilon", "lrp.epsilon_IB", "lrp.w_square"),
    *("lrp.flat", "lrp.z_plus", "lrp.z_plus_fast"),
    *("lrp.alpha_2_beta_1", "lrp.alpha_2_beta_1_IB"),
    *("lrp.alpha_1_beta_0", "lrp.alpha_1_beta_0_IB"),
    *("lrp.sequential_preset_a", "lrp.sequential_preset_a_flat"),
    *("lrp.sequential_preset_b", "lrp.sequential_preset_b_flat"),
)
#: iNNvestigate's name -> our method and its options.
PUBLIC: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in SAME},
    "lrp.z[input_layer_rule=Flat]": ("lrp.z", {"input_layer_rule": "flat"}),
    "lrp.z[input_layer_rule=(-1,1)]": ("lrp.z", {"input_layer_rule": (-1, 1)}),
    "lrp.epsilon[epsilon=0.1]": ("lrp.epsilon", {"epsilon": 0.1}),
    "lrp.epsilon_IB[epsilon=0.1]": ("lrp.epsilon_IB", {"epsilon": 0.1}),
    "lrp.epsilon[epsilon=0.1,input_layer_rule=WSquare]": (
        "lrp.epsilon",
        {"epsilon": 0.1, "input_layer_rule": "w_square"},
    ),
    **{
        f"{name}[until_layer_idx={k}]": (name, {"until_layer_idx": k})
        for name in ["lrp.sequential_preset_b_flat_until_idx"]
        for k in (2, 3, 4, 5)
    },
    "lrp[rule=Z,bn_layer_rule=Z,bn_layer_fuse_mode=two_linear]": ("lrp.z", {}),
    "deep_taylor.bounded[low=-1,high=1]": ("deep_taylor.bounded", BOX),
    "seed.GBP": ("guided_backprop", {}),
    "seed.LRPE": ("lrp.epsilon", {}),
    "seed.LRPA": ("lrp.sequential_preset_a_flat", {}),
    "seed.LRPB": ("lrp.sequential_preset_b_flat", {}),
    "seed.LRP": ("lrp", BOX),
    "seed.CLRP[scaling=True]": ("clrp", _RELU),
    "seed.CLRP[scaling=False]": ("clrp", {**_RELU, "scaling": False}),
    "seed.SGLRP[scaling=True]": ("sglrp", _RELU),
    "seed.SGLRP[scaling=False]": ("sglrp", {**_RELU, "scaling": False}),
    "seed.SGLRP_truesoftmax[scaling=True]": ("sglrp", BOX),
    "seed.SGLRPSeqA": ("sglrp.sequential_preset_a", {}),
    "seed.SGLRPSeqB": ("sglrp.sequential_preset_b", {}),
    "integrated_gradients": (
        "integrated_gradients",
        {"n_steps": 64, "quadrature": "left"},
    ),
    "integrated_gradients[steps=16,reference_inputs=0.25]": (
        "integrated_gradients",
        {"n_steps": 16, "quadrature": "left", "baseline": 0.25},
    ),
}

#: Prefixes of the names of random methods.
NOT_COVERED = ("smoothgrad",)


def public(base: str) -> tuple[str, dict[str, Any]] | None:
    """Return our method and its options; for a CAM, with the layer in the name."""
    cam = re.fullmatch(r"seed\.(Guided)?GradCAM\[layer=(\w+)(,relu=True)?\]", base)
    if cam is None:
        return PUBLIC.get(base)
    name = "guided_gradcam" if cam[1] else "gradcam"
    return name, {"layer": cam[2], "relu": cam[3] is not None}


@dataclass(frozen=True)
class Entry:
    """One analyzer of one case. In `plan`, BatchNormalization is a step of its own."""

    case: str
    name: str
    graph: RelevanceModel

    @property
    def preset(self) -> P.Preset:
        return self.graph.preset

    @cached_property
    def program(self) -> Program:
        return program_of(self.graph.model, batch_norm="rule")

    @cached_property
    def plan(self) -> tuple[StepRule, ...]:
        return plan(self.program, self.preset, {})

    def layer(self, planned: StepRule) -> keras.Layer | None:
        """Return the Keras layer of a step, or None for an operation outside of one."""
        name = planned.step.name.partition("@")[0].partition(":")[0]
        return next((v for v in self.graph.model.layers if v.name == name), None)

    @property
    def deep_taylor(self) -> bool:
        return self.preset.rule("add") is R.z_plus

    @property
    def is_gradient(self) -> bool:
        """True for a gradient with another rule for ReLU."""
        return self.preset.rule("dense") is R.gradient


# -- iNNvestigate's rules, where ours are others on purpose --------------------------


@cache
def old_alpha_beta(alpha: float, beta: float) -> Rule:
    """Bug 1: both b+ and b- are in both denominators."""

    def function(linear, x, r):
        up, down = linear.map(positive), linear.map(negative)  # with b+, with b-
        a, b = positive(x.values[0]), negative(x.values[0])
        above = tf.math.divide_no_nan(r.tensor, up(a) + down(b))
        below = tf.math.divide_no_nan(r.tensor, down(a) + up(b))
        excited = a * up.T(above) + b * down.T(above)
        return alpha * excited - beta * (a * down.T(below) + b * up.T(below))

    return Rule("old_alpha_beta", function)


class Factors(Local):
    """Bug 5: each kernel of a separable convolution is mapped separately."""

    def __init__(self, whole: Local) -> None:
        self.__dict__.update(whole.__dict__)

    def map(self, function: Callable, bias: bool = True) -> Local:
        other = super().map(function, bias)
        other.kernel = tuple(function(tf.convert_to_tensor(k)) for k in self.kernel)
        return other


def old_box(linear, x, r, *, low=None, high=None, eps=0.0):
    """Bug 5: W+ and W- of such kernels do not sum to W; all three are used."""
    (l,), (h,) = R.bounds(x, low, high)
    maps = linear.unbiased, linear.map(positive, False), linear.map(negative, False)
    values = x.values[0], -l, -h
    z = tf.add_n([m(v) for m, v in zip(maps, values, strict=True)])
    s = r / R.stabilize(z, eps)
    return tf.add_n([v * m.T(s) for m, v in zip(maps, values, strict=True)])


class Surrogate(Local):
    """Bug 4: x k + c with k = gamma / s, c = beta - mean / s, s = sqrt(var^2 + eps).

    The z rule for x / s - mean / s and then for gamma y + beta ("two_linear") equals
    that of their product: c = beta - gamma mean / s.
    """

    def __init__(self, linear: Local, norm: L.BatchNormalization, two: bool) -> None:
        self.__dict__.update(linear.__dict__)
        s = tf.sqrt(norm.moving_variance**2 + norm.epsilon)
        self.kernel, mean = norm.gamma / s, norm.moving_mean / s
        self.bias = norm.beta - (norm.gamma * mean if two else mean)
        self._mapped = True  # so that z is computed from these


def with_view(rule: Rule, view: Callable[[Local], Local]) -> Rule:
    """Return the rule applied to another view of the step."""
    return Rule(
        f"old_{rule.name}",
        lambda linear, x, r: rule.function(view(linear), x, r, **rule.options),
    )


def x2m100(linear, x, r):
    """AlphaBetaX(alpha=(2, 0), beta=(1, 0)): 2 (x+ W+ and b+) - (x+ W- and b-)."""
    a = positive(x.values[0])
    ways = [linear.map(f) for f in (positive, negative)]
    pp, pn = (a * w.T(tf.math.divide_no_nan(r.tensor, w(a))) for w in ways)
    return 2 * pp - pn


# -- the rows: what is different on purpose ------------------------------------------


def _keep(entry: Entry, planned: StepRule, rule: Rule) -> Rule:
    return rule


@dataclass(frozen=True)
class Row:
    """An intended difference: iNNvestigate's rule of a step, or its head.

    old: Function (entry, planned, our rule) -> iNNvestigate's rule.
    start: Function (entry, our head) -> iNNvestigate's head.
    """

    name: str
    reason: str
    old: Callable[[Entry, StepRule, Rule], Rule] = _keep
    start: Callable[[Entry, H.Head], H.Head] = lambda entry, head: head

    def rule(self, entry: Entry, planned: StepRule, rule: Rule) -> Rule:
        return rule if entry.is_gradient else self.old(entry, planned, rule)

    def applies(self, entry: Entry) -> bool:
        head = entry.graph.head
        steps = any(self.rule(entry, p, p.rule) is not p.rule for p in entry.plan)
        return steps or self.start(entry, head) is not head


def _behind_padding(entry: Entry, planned: StepRule, rule: Rule) -> Rule:
    made_by = {p.step.output: p.step for p in entry.plan}
    before = made_by.get(planned.step.inputs[0])
    padded = False
    while before is not None and before.kind in MOVES:
        padded = padded or "ZeroPadding" in before.layer
        before = made_by.get(before.inputs[0])
    hidden = padded and planned.first and entry.preset.first is not None
    step = planned.step
    return entry.preset.rule(step.kind, layer_index=step.place) if hidden else rule


def _both_biases(entry: Entry, planned: StepRule, rule: Rule) -> Rule:
    weights, options = planned.step.weights, {"alpha": 2, "beta": 1, **rule.options}
    if rule.name != "alpha_beta" or options.get("bias") is False or not weights:
        return rule
    alpha, beta = float(options["alpha"]), float(options["beta"])
    _, bias = weights.read([])  # the inputs are read only where steps were merged
    return rule if bias is None else old_alpha_beta(alpha, beta)


def _factor_by_factor(entry: Entry, planned: StepRule, rule: Rule) -> Rule:
    if not planned.step.layer.startswith("SeparableConv"):
        return rule
    if rule.name == "z_box":
        rule = Rule("old_z_box", old_box, rule.options)
    return with_view(rule, Factors)


def _surrogate(entry: Entry, planned: StepRule, rule: Rule) -> Rule:
    norm = entry.layer(planned)
    if not isinstance(norm, L.BatchNormalization):
        return rule
    if entry.deep_taylor:
        return R.gradient
    sequential = entry.preset.rule("dense").name != entry.preset.rule("conv").name
    rule = Rule("x2m100", x2m100) if sequential else rule
    two = "two_linear" in entry.name
    return with_view(rule, lambda linear: Surrogate(linear, norm, two))


def _even_mean(entry: Entry, planned: StepRule, rule: Rule) -> Rule:
    here = entry.deep_taylor and planned.step.kind == "average"
    return R.gradient if here else rule


def _gradient_of(*layers: type, always: bool = True) -> Callable:
    def old(entry: Entry, planned: StepRule, rule: Rule) -> Rule:
        here = isinstance(entry.layer(planned), layers)
        return R.gradient if here and (always or entry.deep_taylor) else rule

    return old


def _from_the_logit(entry: Entry, head: H.Head) -> H.Head:
    return H.one_hot if entry.is_gradient else head


#: Differences caused by an error in iNNvestigate's rule (see RULES.md beside the
#: arrays). Each row is tested: with the old rule of each step, or with the old head,
#: the stored array must come out. A difference without a row fails, and so does a row
#: that is not needed. The old rules are applied in this order.
KNOWN_DIFFERENCES = (
    Row("padding", "ZeroPadding hides the input layer", _behind_padding),
    Row("biases", "both biases are in both denominators (bug 1)", _both_biases),
    Row("separable", "separable kernels are mapped apart (bug 5)", _factor_by_factor),
    Row("norm", "BatchNormalization is another affine map (bug 4)", _surrogate),
    Row(
        "add",
        "deep Taylor: each branch gets all of R (bug 6)",
        _gradient_of(L.Add, always=False),
    ),
    Row("mean", "deep Taylor spreads R evenly over a mean", _even_mean),
    Row(
        "merge",
        "Average and Subtract get the gradient",
        _gradient_of(L.Average, L.Subtract),
    ),
    Row("product", "Multiply gets the gradient", _gradient_of(L.Multiply)),
    Row("relu", "ReLU layers let no R through at 0", _gradient_of(L.ReLU)),
    Row("leaky_relu", "LeakyReLU layers scale R", _gradient_of(L.LeakyReLU)),
    Row(
        "activation",
        "deep Taylor: Activation layers, too, let no R through at 0",
        _gradient_of(L.Activation, always=False),
    ),
    Row(
        "start",
        "guided_backprop and deconvnet start from the logit, not from 1 (section 1)",
        start=_from_the_logit,
    ),
)
