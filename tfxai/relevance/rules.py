"""The rules: how one step hands its relevance down.

A rule is a function `(linear, x, r, **options) -> relevance of x`:

- `linear` is the step's map, `linear(x)` = W x + b, `linear.T(s)` = W^T s,
  `linear.map(f)` the map with f(W) and f(b), `linear.unbiased` the one without b;
- `x` is what the step reads (a `Signal`), `r` the relevance of its output.

Formulas: `*` and `/` are element-wise, v+ = max(v, 0), v- = min(v, 0).
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tfxai.arrays import Tensor, negative, positive
from tfxai.errors import OptionError, UnknownNameError
from tfxai.graph.linear import Local
from tfxai.registry import nearest
from tfxai.relevance.signal import Relevance, Signal, plain_relevance, stabilize

EPSILON = 1e-7  # Keras' own fuzz factor, and iNNvestigate's epsilon


@dataclass(frozen=True)
class Rule:
    """A named rule with its options filled in; `rule(**options)` fills in more."""

    name: str
    function: Callable
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> "Rule":
        known = list(inspect.signature(self.function).parameters)[3:]
        for name in options:
            if name not in known:
                raise OptionError(
                    f"The rule {self.name!r} has no option {name!r}.",
                    f"one of {known}" if known else "no option",
                )
        return Rule(self.name, self.function, {**self.options, **options})

    def apply(self, linear: Local, x: Signal, r: Relevance) -> Relevance:
        """The relevance of the step's inputs."""
        result = self.function(linear, x, r, **self.options)
        return result if isinstance(result, Relevance) else plain_relevance(result)

    def __str__(self) -> str:
        options = ", ".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.name}({options})" if options else self.name


RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Callable], Rule]:
    """Register a function as the rule `name`."""

    def put(function: Callable) -> Rule:
        RULES[name] = Rule(name, function)
        return RULES[name]

    return put


def find(value: "Rule | str | tuple") -> Rule:
    """A rule, its name, or (low, high) for the box rule."""
    if isinstance(value, Rule):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        return RULES["z_box"](low=value[0], high=value[1])
    if isinstance(value, str) and value in RULES:
        return RULES[value]
    raise UnknownNameError(
        f"There is no rule {value!r}.",
        f"one of {sorted(RULES)}, perhaps {nearest(str(value), RULES)}",
    )


# -- steps without a kernel ----------------------------------------------------------


@rule("pass")
def pass_on(linear: Local, x: Signal, r: Relevance):
    """R' = R: an activation, or a step that does nothing at inference."""
    name = linear.step.gate
    return r.gated(linear.z, x.values[0], name) if name else r


@rule("move")
def move(linear: Local, x: Signal, r: Relevance):
    """Each value goes back where it came from.

    Of max pooling to the winner: the first one of a window; of a global maximum, evenly
    to all that tie.
    """
    return r.through(linear.T, x)


@rule("gradient")
def gradient(linear: Local, x: Signal, r: Relevance):
    """R' = J^T R, the plain chain rule (no relevance rule: it conserves nothing)."""
    return linear.T(r.tensor)


# -- linear steps --------------------------------------------------------------------


@rule("z")
def z_rule(linear: Local, x: Signal, r: Relevance, *, bias: bool = True):
    """R' = x * W^T(R / z), z = W x + b. Bach et al. 2015, eq. 56 (LRP-0).

    `bias=False` takes b out of z, so that it absorbs nothing.
    """
    z = linear(x) if bias else linear.unbiased(x)
    return x * linear.T(r / z)


@rule("epsilon")
def epsilon_rule(
    linear: Local, x: Signal, r: Relevance, *, epsilon=EPSILON, bias: bool = True
):
    """R' = x * W^T(R / (z + epsilon sign z)). Bach et al. 2015, eq. 58."""
    if epsilon < 0:
        raise OptionError(f"epsilon={epsilon}.", "a number of at least 0")
    z = linear(x) if bias else linear.unbiased(x)
    return x * linear.T(r / stabilize(z, epsilon))


@rule("z_plus")
def z_plus(linear: Local, x: Signal, r: Relevance, *, bias=False, eps=0.0):
    """Positive contributions only: R' = R (x w)+ / sum (x w)+.

    Montavon et al. 2017, section 4.1; x of both signs as in alpha-beta with alpha = 1.
    """
    return contributions(linear, x, r, positive, negative, bias, eps)


@rule("alpha_beta")
def alpha_beta(
    linear: Local, x: Signal, r: Relevance, *, alpha=2.0, beta=1.0, bias=True, eps=0.0
):
    """R' = alpha R (x w)+ / sum (x w)+  -  beta R (x w)- / sum (x w)-.

    Bach et al. 2015, eq. 60: b+ joins the positive sum and b- the negative one.
    """
    if alpha < 1 or beta < 0 or abs(alpha - beta - 1) > 1e-6:
        raise OptionError(
            f"alpha={alpha}, beta={beta}.",
            "alpha - beta = 1, alpha >= 1, beta >= 0 (else relevance is not conserved)",
        )
    up = contributions(linear, x, r, positive, negative, bias, eps)
    if not beta:
        return up
    down = contributions(linear, x, r, negative, positive, bias, eps)
    return up * alpha - down * beta


def contributions(linear, x, r, same, other, bias, eps) -> Relevance:
    """Share R among the contributions x w of one sign.

    same = positive: z = W+ x+ + W- x- + b+,  R' = x+ * W+^T(R/z) + x- * W-^T(R/z);
    same = negative: the contributions below zero, with b-.
    """
    ours, theirs = linear.map(same, bias), linear.map(other, False)
    z = ours(x.positive)
    if not x.nonnegative:
        z += theirs(x.negative)
    if same is positive:
        s = r / stabilize(z, eps, nonnegative=True)
    else:
        s = r / stabilize(z, eps)
    down = x.positive * ours.T(s)
    return down if x.nonnegative else down + x.negative * theirs.T(s)


@rule("w_square")
def w_square(linear: Local, x: Signal, r: Relevance, *, bias=False, eps=0.0):
    """R' = (W^2)^T(R / W^2 1), whatever x is. Montavon et al. 2017, section 4.2."""
    return shares(linear.map(tf.square, bias), x, r, eps)


@rule("flat")
def flat(linear: Local, x: Signal, r: Relevance, *, eps=0.0):
    """R' = R spread evenly over the inputs that are wired to it. Lapuschkin 2019."""
    return shares(linear.map(tf.ones_like, False), x, r, eps)


def shares(weights: Local, x: Signal, r: Relevance, eps: float) -> Tensor:
    """R' = V^T(R / V 1) for weights V >= 0."""
    return weights.T(r / stabilize(weights(x.ones), eps, nonnegative=True))


@rule("z_box")
def z_box(linear: Local, x: Signal, r: Relevance, *, low=None, high=None, eps=0.0):
    """R' = x * W^T s - l * W+^T s - h * W-^T s, s = R / (W x - W+ l - W- h).

    Montavon et al. 2017, section 4.3: inputs known to lie in [low, high]. `low` and
    `high` are numbers or arrays that broadcast against the network's input (one number
    per channel, say); None is the smallest and largest value of the sample itself.
    """
    ends = (_bound(x, v, f) for v, f in ((low, tf.reduce_min), (high, tf.reduce_max)))
    pairs = list(zip(*ends, strict=True))  # a negative scale in between swaps them
    l, h = [tf.minimum(*p) for p in pairs], [tf.maximum(*p) for p in pairs]
    plain, up, down = linear.unbiased, *(linear.map(f, False) for f in _SIGNS)
    z = plain(x) - up(l) - down(h)
    s = r / stabilize(z, eps, nonnegative=True)
    return [
        v * a - lo * b - hi * c
        for v, lo, hi, a, b, c in zip(
            x.values, l, h, *(_listed(m.T(s)) for m in (plain, up, down)), strict=True
        )
    ]


_SIGNS = (positive, negative)


def _listed(v: Any) -> list:
    return v if isinstance(v, list) else [v]


def _bound(x: Signal, value: Any, extreme: Callable) -> list[Tensor]:
    """The bound of the network's input, carried to where the step reads it."""
    if x.carry is None or x.source is None:
        raise OptionError(
            "The box rule stands at a step that does not read the network's input.",
            "z_box only as the rule of the first layer",
            "input_layer_rule=(low, high)",
        )

    def at(source: Tensor) -> Tensor:
        rest = list(range(1, len(source.shape)))
        bound = extreme(source, rest, keepdims=True) if value is None else value
        bound = tf.cast(bound, source.dtype)
        try:
            tf.broadcast_static_shape(bound.shape, source.shape)
        except ValueError as error:
            raise OptionError(
                f"A bound of shape {bound.shape} for an input of shape {source.shape}.",
                "a number, or an array that broadcasts against every input",
                "low=-1, high=1",
            ) from error
        return tf.broadcast_to(bound, tf.shape(source))

    return x.carry([at(source) for source in x.source])
