"""The rules: how one step hands its relevance down.

A rule is a function `(linear, x, r, **options) -> relevance of x`:

- `linear` is the step's map, `linear(x)` = W x + b, `linear.T(s)` = W^T s,
  `linear.map(f)` the map with f(W) and f(b), `linear.unbiased` the one without b;
- `x` is what the step reads (a `Activation`), `r` the relevance of its output.

Formulas: `*` and `/` are element-wise, v+ = max(v, 0), v- = min(v, 0).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, negative, positive
from tfxai.graph.linear import Local
from tfxai.relevance.algebra import Activation, Relevance, stabilize
from tfxai.relevance.registry import RULES, Rule, find, from_config, plain, rule

__all__ = ["RULES", "Rule", "find", "from_config", "plain", "rule"]

EPSILON = 1e-7  # Keras' own fuzz factor, and iNNvestigate's epsilon
STABILIZER = 1e-6  # Zennit's, in every rule


def divided(linear: Local, write: str) -> OptionError:
    """The error for slopes of which a part, that of a divisor, would be left out."""
    return OptionError(
        f"Step {linear.step.name!r} divides by what depends on the input.",
        "products and sums, which slopes and multipliers pass",
        write,
    )


# -- steps without a kernel ----------------------------------------------------------


@rule("pass")
def pass_on(linear: Local, x: Activation, r: Relevance):
    """R' = R: an activation, or a step that does nothing at inference."""
    name = linear.step.gate
    return r.gated(linear.z, x.values[0], name) if name else r


@rule("move")
def move(linear: Local, x: Activation, r: Relevance):
    """Each value goes back where it came from.

    Of max pooling to the winner: the first one of a window; of a global maximum, evenly
    to all that tie.
    """
    return r.through(linear.T, x, linear.z)


@rule("gradient")
def gradient(linear: Local, x: Activation, r: Relevance):
    """R' = J^T R, the plain chain rule (no relevance rule: it conserves nothing)."""
    if linear.step.divides:
        raise divided(linear, 'method="gradient", or "integrated_gradients"')
    return linear.T(r.tensor)


@rule("guided")
def guided(linear: Local, x: Activation, r: Relevance):
    """R' = relu'(z) * max(R, 0). Springenberg et al. 2015, arXiv:1412.6806."""
    return linear.T(positive(r.tensor))


@rule("deconv")
def deconv(linear: Local, x: Activation, r: Relevance):
    """R' = max(R, 0), open or not. Zeiler and Fergus 2014, arXiv:1311.2901."""
    return positive(r.tensor)


@rule("embed")
def embed(linear: Local, x: Activation, r: Relevance):
    """The relevance of a token is the sum of that of its vector."""
    return tf.reduce_sum(r.tensor, -1)


# -- steps that are no sums ----------------------------------------------------------


@rule("taylor")
def taylor(linear: Local, x: Activation, r: Relevance):
    """R' = x * J^T(R / f(x)), J the slope at x; for s = softmax(x), x (R - s sum R).

    Achtibat et al. 2024, arXiv:2402.05602, eq. 7 and proposition 3.1. What the slope
    does not account for is absorbed, as by a bias.
    """
    return x * linear.T(r / linear(x))


@rule("frozen")
def frozen(linear: Local, x: Activation, r: Relevance, *, eps=0.0):
    """R' = x * M^T(R / (M x + b)), M the normalisation at its mean and variance.

    Achtibat et al. 2024, arXiv:2402.05602, section 3.3.3.
    """
    return x * linear.frozen.T(r / stabilize(linear(x), eps))


@rule("half")
def half(linear: Local, x: Activation, r: Relevance):
    """A product of n tensors: an n-th of R to each, by x * J^T(R / z).

    Achtibat et al. 2024, arXiv:2402.05602, propositions 3.2 and 3.3.
    """
    return (x * linear.T(r / linear(x))) * (1 / len(x.values))


@rule("signal")
def signal(linear: Local, x: Activation, r: Relevance):
    """A gated product: all of R to the signal, none to the gate.

    Arras et al. 2017, arXiv:1706.07206, section 3.2.
    """
    down = (x * linear.T(r / linear(x))) * (1 / len(linear.signals))
    return down.only(linear.signals)


# -- linear steps --------------------------------------------------------------------


@rule("z")
def z_rule(linear: Local, x: Activation, r: Relevance, *, bias: bool = True):
    """R' = x * W^T(R / z), z = W x + b. Bach et al. 2015, eq. 56 (LRP-0).

    `bias=False` takes b out of z, so that it absorbs nothing.
    """
    z = linear(x) if bias else linear.unbiased(x)
    return x * linear.T(r / z)


@rule("epsilon")
def epsilon_rule(
    linear: Local, x: Activation, r: Relevance, *, epsilon=EPSILON, bias: bool = True
):
    """R' = x * W^T(R / (z + epsilon sign z)). Bach et al. 2015, eq. 58."""
    if epsilon < 0:
        raise OptionError(f"epsilon={epsilon}.", "a number of at least 0")
    z = linear(x) if bias else linear.unbiased(x)
    return x * linear.T(r / stabilize(z, epsilon))


@rule("z_plus")
def z_plus(linear: Local, x: Activation, r: Relevance, *, bias=False, eps=0.0):
    """Positive contributions only: R' = R (x w)+ / sum (x w)+.

    Montavon et al. 2017, section 4.1; x of both signs as in alpha-beta with alpha = 1.
    """
    return contributions(linear, x, r, positive, negative, bias, eps)


@rule("alpha_beta")
def alpha_beta(
    linear: Local,
    x: Activation,
    r: Relevance,
    *,
    alpha=2.0,
    beta=1.0,
    bias=True,
    eps=0.0,
):
    """R' = alpha R (x w)+ / sum (x w)+  -  beta R (x w)- / sum (x w)-.

    Bach et al. 2015, eq. 60: b+ joins the positive sum and b- the negative one. For
    x >= 0 in a wide layer, the negative sum is z minus the positive one: a convolution
    less, and where it is a part p of that, a rounding error 1/p times as large.
    """
    if alpha < 1 or beta < 0 or abs(alpha - beta - 1) > 1e-6:
        raise OptionError(
            f"alpha={alpha}, beta={beta}.",
            "alpha - beta = 1, alpha >= 1, beta >= 0 (else relevance is not conserved)",
        )
    if not beta or not x.nonnegative or not linear.wide:
        up = contributions(linear, x, r, positive, negative, bias, eps)
        if not beta:
            return up
        down = contributions(linear, x, r, negative, positive, bias, eps)
        return up * alpha - down * beta
    plus, minus = linear.map(positive, bias), linear.map(negative, bias)
    z = linear(x) if bias else linear.unbiased(x)
    above = plus(x)
    below = tf.minimum(z - above, 0.0)  # W- x + b-, without a second convolution
    up = pair(plus, minus, x, r, eps, True, above)
    return up * alpha - pair(minus, plus, x, r, eps, False, below) * beta


def contributions(linear, x, r, same, other, bias, eps) -> Relevance:
    """Share R among the contributions x w of one sign: `same` of W and of b.

    same = positive: z = W+ x+ + W- x- + b+,  R' = x+ * W+^T(R/z) + x- * W-^T(R/z);
    same = negative: the contributions below zero, with b-.
    """
    ours, theirs = linear.map(same, bias), linear.map(other, False)
    return pair(ours, theirs, x, r, eps, same is positive)


def pair(ours, theirs, x, r, eps, nonnegative=False, z=None) -> Relevance:
    """z = V x+ + U x- + b,  R' = x+ * V^T(R/z) + x- * U^T(R/z): V is ours, U theirs."""
    if z is None:
        z = ours(x.positive)
        if not x.nonnegative:
            z += theirs(x.negative)
    s = r / stabilize(z, eps, nonnegative)
    down = x.positive * ours.T(s)
    return down if x.nonnegative else down + x.negative * theirs.T(s)


@rule("z_plus_fast")
def z_plus_fast(linear: Local, x: Activation, r: Relevance, *, eps=0.0):
    """R' = x * W+^T(R / W+ x), for x >= 0; iNNvestigate's faster z+.

    Elsewhere the sum can cancel: use z_plus.
    """
    plus = linear.map(positive, False)
    return x * plus.T(r / stabilize(plus(x), eps))


@rule("gamma")
def gamma(
    linear: Local, x: Activation, r: Relevance, *, gamma=0.25, bias=True, eps=0.0
):
    """Favour what pulls with the output: c = x w + gamma (x w)+ where z = W x + b > 0.

    Where z < 0, c = x w + gamma (x w)-; b counts as c does. Montavon et al. 2019,
    section 10.2.1, for x >= 0 and z > 0; the general form is Zennit's.
    """
    if gamma < 0:
        raise OptionError(f"gamma={gamma}.", "a number of at least 0")
    up, down = (_boosted(linear, gamma, f, bias) for f in (positive, negative))
    to_up, to_down = (_boosted(linear, gamma, f, False) for f in (positive, negative))
    above = below = None
    if x.nonnegative:  # W+ x tells W- x as well
        z = linear(x) if bias else linear.unbiased(x)
        plus = linear.map(positive, bias)(x)
        above, below = z + gamma * plus, z + gamma * (z - plus)
    if r.behind_relu(linear.z):  # no relevance where z < 0
        return pair(up, to_down, x, r, eps, False, above)
    there, here = (tf.cast(m, tf.float32) for m in (linear.z > 0, linear.z < 0))
    return pair(up, to_down, x, r.where(there), eps, False, above) + pair(
        down, to_up, x, r.where(here), eps, False, below
    )


def _boosted(linear: Local, gamma: float, sign: Callable, bias: bool) -> Local:
    """W + gamma * sign(W), and the bias alike."""
    return linear.map(lambda w: w + gamma * sign(w), bias)


@rule("w_square")
def w_square(linear: Local, x: Activation, r: Relevance, *, bias=False, eps=0.0):
    """R' = (W^2)^T(R / W^2 1), whatever x is. Montavon et al. 2017, section 4.2."""
    return shares(linear.map(tf.square, bias), x, r, eps)


@rule("flat")
def flat(linear: Local, x: Activation, r: Relevance, *, eps=0.0):
    """R' = R spread evenly over the inputs that are wired to it. Lapuschkin 2019."""
    return shares(linear.map(tf.ones_like, False), x, r, eps)


def shares(weights: Local, x: Activation, r: Relevance, eps: float) -> Tensor:
    """R' = V^T(R / V 1) for weights V >= 0."""
    return weights.T(r / stabilize(weights(x.ones), eps, nonnegative=True))


@rule("z_box")
def z_box(linear: Local, x: Activation, r: Relevance, *, low=None, high=None, eps=0.0):
    """R' = (x - l) * W+^T s + (x - h) * W-^T s, s = R / (W+ (x - l) + W- (x - h)).

    The paper has x * W^T - l * W+^T - h * W-^T, which is the same, as W = W+ + W-, by
    a third convolution. Montavon et al. 2017, section 4.3: inputs known to lie in [low,
    high]. `low` and `high` are numbers or arrays that broadcast against the network's
    input (one number per channel, say); None is the smallest and largest value of the
    sample itself.
    """
    l, h = bounds(x, low, high)
    above = [v - lo for v, lo in zip(x.values, l, strict=True)]
    below = [v - hi for v, hi in zip(x.values, h, strict=True)]
    up, down = linear.map(positive, False), linear.map(negative, False)
    s = r / stabilize(up(above) + down(below), eps)
    parts = zip(above, below, listed(up.T(s)), listed(down.T(s)), strict=True)
    return [a * p + b * n for a, b, p, n in parts]


def listed(v: Any) -> list:
    """A list; of one tensor, the list of it."""
    return v if isinstance(v, list) else [v]


def bounds(x: Activation, low: Any, high: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Both ends of the network's input, carried to where the step reads it."""
    ends = (_bound(x, v, f) for v, f in ((low, tf.reduce_min), (high, tf.reduce_max)))
    pairs = list(zip(*ends, strict=True))  # a negative scale in between swaps them
    return [tf.minimum(*p) for p in pairs], [tf.maximum(*p) for p in pairs]


def _bound(x: Activation, value: Any, extreme: Callable) -> list[Tensor]:
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
