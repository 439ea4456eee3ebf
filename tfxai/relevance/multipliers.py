"""Rules that propagate multipliers: change of the output per unit of change of x.

d stands for the difference from the baseline; the values at the baseline are in
`linear.before` and have the index 0.
"""

from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, negative, positive
from tfxai.graph.linear import Local
from tfxai.relevance.algebra import Activation, Relevance
from tfxai.relevance.registry import rule
from tfxai.relevance.rules import as_list


@rule("rescale")
def rescale(linear: Local, x: Activation, r: Relevance, *, eps: float = 1e-6) -> Tensor:
    """m' = m * dz / dx; m * (the derivative at x) where dx is tiny.

    Args:
        eps: Smallest relative change |dx| / (1 + |x|) for which the quotient is used.

    References:
        Shrikumar et al. 2017, arXiv:1704.02685, section 3.5.2.
    """
    before = _at_baseline(linear)
    m, (dx,) = r.tensor, _changes(linear)
    ratio = tf.math.divide_no_nan(linear.z - before.z, dx)
    near = tf.abs(dx) < eps * (1 + tf.abs(linear.xs[0]))  # dx may be a rounding error
    return tf.where(near, linear.T(m), m * ratio)


@rule("rescale_max")
def rescale_max(
    linear: Local, x: Activation, r: Relevance, *, eps: float = 1e-6
) -> list[Tensor]:
    """m' dx = T(m (w - z0)) + T0(m (z - w)), w = max(z, z0), T and T0 to the winners.

    The winner at x receives the gain over the baseline, and the winner at the baseline
    receives the loss. Their sum is m (z - z0).

    Args:
        eps: Smallest change |dx| that receives a multiplier; 0 below it.
    """
    before, m = _at_baseline(linear), r.tensor
    w = tf.maximum(linear.z, before.z)
    gain = as_list(linear.T(m * (w - before.z)))
    loss = as_list(before.T(m * (linear.z - w)))
    return [
        tf.where(tf.abs(dx) < eps, 0.0, tf.math.divide_no_nan(a + b, dx))
        for a, b, dx in zip(gain, loss, _changes(linear), strict=True)
    ]


@rule("reveal_cancel")
def reveal_cancel(linear: Local, x: Activation, r: Relevance) -> Any:
    """m' = sum_j w (m+ where w dx > 0, m- where w dx < 0), for y = f(z), z = W x + b.

    dz+ and dz- are the sums of the positive and of the negative w dx. m+ = m dy+ / dz+
    with dy+ = (f(z0 + dz+) - f(z0) + f(z) - f(z0 + dz-)) / 2, and likewise m-: the
    Shapley values of the two. Where dx = 0, m' is the mean of both. Where no activation
    alone reads z, m+ = m- = m. The plan gives the activation the rule `pass`.

    References:
        Shrikumar et al. 2017, arXiv:1704.02685, sections 3.5.1 and 3.5.3.
    """
    before, m = _at_baseline(linear), r.tensor
    if linear.behind is None:
        return linear.T(m)
    dxs = _changes(linear)
    up, down = linear.map(positive, False), linear.map(negative, False)
    above, below = [positive(v) for v in dxs], [negative(v) for v in dxs]
    gain, loss = up(above) + down(below), down(above) + up(below)

    def f(z: Tensor) -> Tensor:
        return linear.behind.run([z])  # type: ignore[union-attr]

    start, end = f(before.z), f(linear.z)
    middle = f(before.z + gain) - f(before.z + loss)
    more = m * tf.math.divide_no_nan(end - start + middle, 2 * gain)
    less = m * tf.math.divide_no_nan(end - start - middle, 2 * loss)
    rising = zip(as_list(up.T(more)), as_list(down.T(less)), strict=True)
    falling = zip(as_list(down.T(more)), as_list(up.T(less)), strict=True)
    found = []
    for dx, (a, b), (c, d) in zip(dxs, rising, falling, strict=True):
        p, n = a + b, c + d
        found.append(tf.where(dx > 0, p, tf.where(dx < 0, n, (p + n) / 2)))
    return found


@rule("both_ends")
def both_ends(linear: Local, x: Activation, r: Relevance) -> list[Tensor]:
    """m' = S^T m with S dx = dz: products, quotients, normalisations and softmaxes.

    A product follows d(a b) = da (b + b0) / 2 + (a + a0) / 2 db, the Shapley value of
    its factors; a quotient is the product with 1 / b, a normalisation the product of
    the centred input with the reciprocal root of its variance, which has the rescale
    rule. A softmax s follows d s_i = l_i (dx_i - sum_j l_j dx_j / sum_j l_j), with the
    logarithmic means l_i = d s_i / d log s_i; for dx = 0 these are the slopes. Factors
    that carry no relevance, such as masks, have no multipliers.

    References:
        Lundberg and Lee 2017, arXiv:1705.07874, section 4.2 (products of multipliers;
        SHAP's code has the same rules for products and roots); Ang 2015,
        doi:10.1016/j.enpol.2015.07.007 (logarithmic means).
    """
    _at_baseline(linear)
    return linear.secant(r.tensor)


@rule("embed_change")
def embed_change(linear: Local, x: Activation, r: Relevance) -> Tensor:
    """Contribution of a token: the sum of m (e - e0) over its embedding vector e."""
    return tf.reduce_sum(r.tensor * (linear.z - _at_baseline(linear).z), -1)


def _at_baseline(linear: Local) -> Local:
    """Return the same step at the baseline, or raise OptionError."""
    if linear.before is None:
        raise OptionError(
            f"The rule of step {linear.step.name!r} compares with a baseline, and the "
            "preset has none.",
            "a preset with a baseline",
            'create_analyzer("deeplift", model, baseline=0)',
        )
    return linear.before


def _changes(linear: Local) -> list[Tensor]:
    """Return dx for each input of the step."""
    before = _at_baseline(linear)
    return [x - x0 for x, x0 in zip(linear.xs, before.xs, strict=True)]
