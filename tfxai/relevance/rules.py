"""Propagation rules: relevance of a step's output -> relevance of its inputs.

A rule is a function `(linear, x, r, **options) -> R'`:

- `linear` is the step as an affine function: `linear(x)` = W x + b, `linear.T(s)` =
  W^T s, `linear.map(f)` has the weights f(W) and f(b), `linear.unbiased` has no b;
- `x` is the step's input (an `Activation`);
- `r` is the relevance R of the step's output.

It returns R', the relevance of the step's inputs.

Formulas: `*` and `/` are element-wise, v+ = max(v, 0), v- = min(v, 0).
"""

# A product with a tensor has the type Any, since TensorFlow has no types:
# mypy: disable-error-code="no-any-return"

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, negative, positive
from tfxai.graph.linear import Local
from tfxai.relevance.algebra import (
    Activation,
    Relevance,
    plain_relevance,
    stabilize,
)
from tfxai.relevance.registry import RULES, Rule, find, from_config, plain, rule

__all__ = ["RULES", "Rule", "find", "from_config", "plain", "rule"]

EPSILON = 1e-7  # the fuzz factor of Keras, and iNNvestigate's default epsilon
STABILIZER = 1e-6  # Zennit's default in every rule

#: An element-wise function, such as `positive`.
Elementwise = Callable[[Tensor], Tensor]


def divisor_error(linear: Local, write: str) -> OptionError:
    """Return the error for a gradient that would omit the part of a divisor."""
    return OptionError(
        f"Step {linear.step.name!r} divides by a tensor that depends on the input.",
        "products and sums, which gradients and multipliers can pass",
        write,
    )


# -- steps without a kernel ----------------------------------------------------------


@rule("pass")
def pass_on(linear: Local, x: Activation, r: Relevance) -> Relevance:
    """R' = R, for activations, single factors, and what does nothing at inference."""
    name = linear.step.gate
    return r.gated(linear.z, x.values[0], name) if name else r


@rule("move")
def move(linear: Local, x: Activation, r: Relevance) -> Relevance:
    """R' = the relevance of each value at the position where the value came from.

    Max pooling returns it to the winner: the first one in a window. A global maximum
    divides it evenly among all winners.
    """
    return r.through(linear.T, x, linear.z)


@rule("gradient")
def gradient(linear: Local, x: Activation, r: Relevance) -> Tensor:
    """R' = J^T R, the chain rule. It is no relevance rule and conserves nothing."""
    if linear.step.divides:
        raise divisor_error(linear, 'method="gradient", or "integrated_gradients"')
    return linear.T(r.tensor)


@rule("guided")
def guided(linear: Local, x: Activation, r: Relevance) -> Tensor:
    """R' = relu'(z) * max(R, 0).

    References:
        Springenberg et al. 2015, arXiv:1412.6806.
    """
    return linear.T(positive(r.tensor))


@rule("deconv")
def deconv(linear: Local, x: Activation, r: Relevance) -> Tensor:
    """R' = max(R, 0), whether the ReLU is active or not.

    References:
        Zeiler and Fergus 2014, arXiv:1311.2901.
    """
    return positive(r.tensor)


@rule("embed")
def embed(linear: Local, x: Activation, r: Relevance) -> Tensor:
    """R' = sum of R over the embedding vector of each token."""
    return tf.reduce_sum(r.tensor, -1)


# -- nonlinear steps -----------------------------------------------------------------


@rule("taylor")
def taylor(linear: Local, x: Activation, r: Relevance) -> Relevance:
    """R' = x * J^T(R / f(x)), J the Jacobian at x; for a softmax s, x (R - s sum R).

    The part of f(x) that J x does not account for absorbs relevance, as a bias does.

    References:
        Achtibat et al. 2024, arXiv:2402.05602, eq. 7 and proposition 3.1.
    """
    return x * linear.T(r / linear(x))


@rule("frozen")
def frozen(
    linear: Local, x: Activation, r: Relevance, *, eps: float = 0.0
) -> Relevance:
    """R' = x * M^T(R / (M x + b)), M the normalisation with constant mean and variance.

    Args:
        eps: Stabilizer, added to M x + b with its sign.

    References:
        Achtibat et al. 2024, arXiv:2402.05602, section 3.3.3.
    """
    return x * linear.frozen.T(r / stabilize(linear(x), eps))


@rule("half")
def half(linear: Local, x: Activation, r: Relevance) -> Relevance:
    """R' = x * J^T(R / z) / n: each of the n factors of a product receives R / n.

    References:
        Achtibat et al. 2024, arXiv:2402.05602, propositions 3.2 and 3.3.
    """
    down = (x * linear.T(r / linear(x))) * (1 / len(linear.factors))
    return down.only(linear.factors) if linear.step.divisors else down


@rule("signal")
def signal(linear: Local, x: Activation, r: Relevance) -> Relevance:
    """R' = R for the signal of a gated product, 0 for the gate.

    References:
        Arras et al. 2017, arXiv:1706.07206, section 3.2.
    """
    down = (x * linear.T(r / linear(x))) * (1 / len(linear.signals))
    return down.only(linear.signals)


@rule("weighted")
def weighted(
    linear: Local, x: Activation, r: Relevance, *, weights: Sequence[int] = ()
) -> Relevance:
    """R for the values of a weighted sum, 0 for their weights; else the rule `half`.

    Args:
        weights: Numbers of the factors that are a softmax or an activation; the plan
            sets them.

    References:
        Ali et al. 2022, arXiv:2202.07304, section 4.1.
    """
    values = [i for i in linear.factors if i not in weights]
    if not weights or not values:
        found: Relevance = half.function(linear, x, r)
        return found
    return ((x * linear.T(r / linear(x))) * (1 / len(values))).only(values)


@rule("glu")
def glu(linear: Local, x: Activation, r: Relevance) -> Relevance:
    """R / 2 for each factor of a gated linear unit; R for a broadcast gate's signal.

    A gate of the shape of its signal is a factor, as in AttnLRP. A gate of another
    shape, as in squeeze-and-excitation, weights whole channels and receives 0.

    References:
        Achtibat et al. 2024, arXiv:2402.05602, proposition 3.2.
    """
    alike = len({tuple(v.shape) for v in x.values}) == 1
    found: Relevance = (half if alike else signal).function(linear, x, r)
    return found


# -- linear steps --------------------------------------------------------------------


@rule("z")
def z_rule(
    linear: Local, x: Activation, r: Relevance, *, bias: bool = True
) -> Relevance:
    """R' = x * W^T(R / z), z = W x + b (LRP-0).

    Args:
        bias: Include b in z. A bias in z absorbs relevance.

    References:
        Bach et al. 2015, eq. 56.
    """
    z = linear(x) if bias else linear.unbiased(x)
    return x * linear.T(r / z)


@rule("epsilon")
def epsilon_rule(
    linear: Local,
    x: Activation,
    r: Relevance,
    *,
    epsilon: float = EPSILON,
    bias: bool = True,
) -> Relevance:
    """R' = x * W^T(R / (z + epsilon sign z)), z = W x + b.

    Args:
        epsilon: Stabilizer, at least 0. Larger values absorb more relevance.
        bias: Include b in z. A bias in z absorbs relevance.

    References:
        Bach et al. 2015, eq. 58.
    """
    if epsilon < 0:
        raise OptionError(f"epsilon={epsilon}.", "a number of at least 0")
    z = linear(x) if bias else linear.unbiased(x)
    return x * linear.T(r / stabilize(z, epsilon))


@rule("z_plus")
def z_plus(
    linear: Local,
    x: Activation,
    r: Relevance,
    *,
    bias: bool | str = False,
    eps: float = 0.0,
) -> Relevance:
    """R' = R (x w)+ / sum (x w)+, positive contributions only.

    For x of both signs, this is alpha-beta with alpha = 1 and beta = 0.

    Args:
        bias: True includes b+ in the sum, "both" b of both signs, as iNNvestigate.
        eps: Stabilizer, added to the sum.

    Raises:
        OptionError: `bias` is another text.

    References:
        Montavon et al. 2017, section 4.1.
    """
    if bias == "both":
        plus, minus = linear.map(positive), linear.map(negative)
        z = plus(x.positive) + minus(x.negative)
        return share_by_sign(plus, minus, x, r, eps, False, z)
    if not isinstance(bias, bool):
        raise OptionError(f"bias={bias!r}.", 'False, True or "both"', 'bias="both"')
    return signed_contributions(linear, x, r, positive, negative, bias, eps)


@rule("alpha_beta")
def alpha_beta(
    linear: Local,
    x: Activation,
    r: Relevance,
    *,
    alpha: float = 2.0,
    beta: float = 1.0,
    bias: bool = True,
    eps: float = 0.0,
) -> Relevance:
    """R' = alpha R (x w)+ / sum (x w)+  -  beta R (x w)- / sum (x w)-.

    b+ belongs to the positive sum, b- to the negative sum. For x >= 0 in a wide layer,
    the negative sum is computed as z minus the positive sum. This saves a convolution;
    where the negative sum is a fraction p of the positive one, its rounding error is
    1/p times as large.

    Args:
        alpha: Weight of the positive contributions, at least 1.
        beta: Weight of the negative contributions, alpha - 1.
        bias: Include b in the sums.
        eps: Stabilizer, added to each sum with its sign.

    References:
        Bach et al. 2015, eq. 60.
    """
    if alpha < 1 or beta < 0 or abs(alpha - beta - 1) > 1e-6:
        raise OptionError(
            f"alpha={alpha}, beta={beta}.",
            "alpha - beta = 1, alpha >= 1, beta >= 0 (else relevance is not conserved)",
        )
    if not beta or not x.nonnegative or not linear.wide:
        up = signed_contributions(linear, x, r, positive, negative, bias, eps)
        if not beta:
            return up
        down = signed_contributions(linear, x, r, negative, positive, bias, eps)
        return up * alpha - down * beta
    plus, minus = linear.map(positive, bias), linear.map(negative, bias)
    z = linear(x) if bias else linear.unbiased(x)
    above = plus(x)
    below = tf.minimum(z - above, 0.0)  # W- x + b-, without a second convolution
    up = share_by_sign(plus, minus, x, r, eps, True, above)
    return up * alpha - share_by_sign(minus, plus, x, r, eps, False, below) * beta


def signed_contributions(
    linear: Local,
    x: Activation,
    r: Relevance,
    same: Elementwise,
    other: Elementwise,
    bias: bool,
    eps: float,
) -> Relevance:
    """Share R among the contributions x w of one sign: `same` of W and of b.

    same = positive: z = W+ x+ + W- x- + b+,  R' = x+ * W+^T(R/z) + x- * W-^T(R/z);
    same = negative: the contributions below zero, with b-.
    """
    v, u = linear.map(same, bias), linear.map(other, False)
    return share_by_sign(v, u, x, r, eps, same is positive)


def share_by_sign(
    v: Local,
    u: Local,
    x: Activation,
    r: Relevance,
    eps: float,
    nonnegative: bool = False,
    z: Tensor | None = None,
) -> Relevance:
    """R' = x+ * V^T(R/z) + x- * U^T(R/z), z = V x+ + U x- + b."""
    if z is None:
        z = v(x.positive)
        if not x.nonnegative:
            z += u(x.negative)
    s = r / stabilize(z, eps, nonnegative)
    down = x.positive * v.T(s)
    return down if x.nonnegative else down + x.negative * u.T(s)


@rule("z_plus_fast")
def z_plus_fast(
    linear: Local, x: Activation, r: Relevance, *, eps: float = 0.0
) -> Relevance:
    """R' = x * W+^T(R / W+ x), for x >= 0; iNNvestigate's faster z+.

    For x of both signs the sum W+ x can cancel: use z_plus.

    Args:
        eps: Stabilizer, added to W+ x with its sign.
    """
    plus = linear.map(positive, False)
    return x * plus.T(r / stabilize(plus(x), eps))


@rule("gamma")
def gamma(
    linear: Local,
    x: Activation,
    r: Relevance,
    *,
    gamma: float = 0.25,
    bias: bool = True,
    eps: float = 0.0,
) -> Relevance:
    """R' = R c / sum c, c = x w + gamma (x w)+ where z > 0, z = W x + b.

    Where z < 0, c = x w + gamma (x w)-. So contributions of the output's sign count
    more. The bias enters the sum in the same way.

    Args:
        gamma: Weight of the additional contributions, at least 0.
        bias: Include b in the sum.
        eps: Stabilizer, added to the sum with its sign.

    References:
        Montavon et al. 2019, section 10.2.1, for x >= 0 and z > 0; the general form
        is Zennit's.
    """
    if gamma < 0:
        raise OptionError(f"gamma={gamma}.", "a number of at least 0")
    up, down = (_with_gamma(linear, gamma, f, bias) for f in (positive, negative))
    up0, down0 = (_with_gamma(linear, gamma, f, False) for f in (positive, negative))
    above = below = None
    if x.nonnegative:  # W- x is z - W+ x
        z = linear(x) if bias else linear.unbiased(x)
        plus = linear.map(positive, bias)(x)
        above, below = z + gamma * plus, z + gamma * (z - plus)
    if r.behind_relu(linear.z):  # R = 0 where z < 0
        return share_by_sign(up, down0, x, r, eps, False, above)
    active, inactive = (tf.cast(m, tf.float32) for m in (linear.z > 0, linear.z < 0))
    return share_by_sign(
        up, down0, x, r.where(active), eps, False, above
    ) + share_by_sign(down, up0, x, r.where(inactive), eps, False, below)


def _with_gamma(linear: Local, gamma: float, sign: Elementwise, bias: bool) -> Local:
    """Return `linear` with W + gamma * sign(W), and b + gamma * sign(b)."""
    return linear.map(lambda w: w + gamma * sign(w), bias)


@rule("w_square")
def w_square(
    linear: Local,
    x: Activation,
    r: Relevance,
    *,
    bias: bool = False,
    eps: float = 0.0,
) -> Tensor:
    """R' = (W^2)^T(R / W^2 1), independent of x.

    Args:
        bias: Include b^2 in the sum.
        eps: Stabilizer, added to the sum.

    References:
        Montavon et al. 2017, section 4.2.
    """
    return share_by_weight(linear.map(tf.square, bias), x, r, eps)


@rule("flat")
def flat(linear: Local, x: Activation, r: Relevance, *, eps: float = 0.0) -> Tensor:
    """R' = V^T(R / V 1), V = 1 for connected inputs: R spread evenly over them.

    Args:
        eps: Stabilizer, added to the number of connected inputs.

    References:
        Lapuschkin et al. 2019.
    """
    return share_by_weight(linear.map(tf.ones_like, False), x, r, eps)


@rule("z_flat")
def z_flat(linear: Local, x: Activation, r: Relevance) -> Relevance:
    """R' = x * W^T(R / z) and, at z = 0 of an upsampling, W^T(R / W 1).

    The rules w_square and flat give relevance to values of 0, and the z rule loses it.
    A pooling follows the z rule everywhere, as in iNNvestigate.
    """
    z = linear(x)
    shared = x * linear.T(r / z)
    if not _enlarges(x, z):
        return shared
    empty = share_by_weight(linear, x, r.where(tf.cast(z == 0, tf.float32)), 0.0)
    return shared + plain_relevance(empty)


def _enlarges(x: Activation, z: Tensor) -> bool:
    """True if the step has more outputs than inputs."""
    read, made = (v.shape[1:].num_elements() for v in (x.values[0], z))
    return read is not None and made is not None and made > read


def share_by_weight(weights: Local, x: Activation, r: Relevance, eps: float) -> Tensor:
    """R' = V^T(R / V 1) for weights V >= 0."""
    return weights.T(r / stabilize(weights(x.ones), eps, nonnegative=True))


@rule("z_box")
def z_box(
    linear: Local,
    x: Activation,
    r: Relevance,
    *,
    low: Any = None,
    high: Any = None,
    eps: float = 0.0,
) -> list[Tensor]:
    """R' = (x - l) * W+^T s + (x - h) * W-^T s, s = R / (W+ (x - l) + W- (x - h)).

    For inputs in [l, h]. The paper's x * W^T - l * W+^T - h * W-^T is equal, since
    W = W+ + W-, but needs a third convolution.

    Args:
        low: Smallest possible value of the network's input. A number, or an array that
            broadcasts against the input (one number per channel, for example); None
            uses the smallest value of each sample.
        high: Largest possible value of the network's input, as for `low`.
        eps: Stabilizer, added to the sum with its sign.

    References:
        Montavon et al. 2017, section 4.3.
    """
    l, h = bounds(x, low, high)
    above = [v - lo for v, lo in zip(x.values, l, strict=True)]
    below = [v - hi for v, hi in zip(x.values, h, strict=True)]
    up, down = linear.map(positive, False), linear.map(negative, False)
    s = r / stabilize(up(above) + down(below), eps)
    parts = zip(above, below, as_list(up.T(s)), as_list(down.T(s)), strict=True)
    return [a * p + b * n for a, b, p, n in parts]


def as_list(v: Any) -> list[Tensor]:
    """Return a list of tensors unchanged, and one tensor as a list."""
    return v if isinstance(v, list) else [v]


def bounds(x: Activation, low: Any, high: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Return the bounds l and h of x, from the bounds of the network's input."""
    ends = (_bound(x, v, f) for v, f in ((low, tf.reduce_min), (high, tf.reduce_max)))
    pairs = list(zip(*ends, strict=True))  # a negative scale in between swaps them
    return [tf.minimum(*p) for p in pairs], [tf.maximum(*p) for p in pairs]


def _bound(x: Activation, value: Any, extreme: Callable[..., Tensor]) -> list[Tensor]:
    """Return one bound at x; `extreme` of each sample where `value` is None."""
    if x.carry is None or x.source is None:
        raise OptionError(
            "The box rule is set for a step that does not read the network's input.",
            "z_box only as the rule of the first layer",
            "input_layer_rule=(low, high)",
        )

    def bound_of(source: Tensor) -> Tensor:
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

    return x.carry([bound_of(source) for source in x.source])
