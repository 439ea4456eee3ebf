"""Rules that carry multipliers: what a change of x adds to the output, per unit of it.

d stands for the difference from the baseline, whose values are in `linear.before`.
"""

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor
from tfxai.graph.linear import Local
from tfxai.relevance.algebra import Activation, Relevance
from tfxai.relevance.registry import rule
from tfxai.relevance.rules import divided, listed


@rule("rescale")
def rescale(linear: Local, x: Activation, r: Relevance, *, eps=1e-6):
    """m' = m * dz / dx, d = from the baseline to here; the slope where dx is tiny.

    Shrikumar et al. 2017, arXiv:1704.02685, section 3.5.2.
    """
    before = _before(linear)
    m, (dx,) = r.tensor, _changes(linear)
    ratio = tf.math.divide_no_nan(linear.z - before.z, dx)
    near = tf.abs(dx) < eps * (1 + tf.abs(linear.xs[0]))  # rounding there, no change
    return tf.where(near, linear.T(m), m * ratio)


@rule("rescale_max")
def rescale_max(linear: Local, x: Activation, r: Relevance, *, eps=1e-6):
    """m' dx = T(m (w - z0)) + T0(m (z - w)), w = max(z, z0), T and T0 to the winners.

    What the winner here gained over the baseline is its own, and what the winner at the
    baseline lost is its own; the two sum to m (z - z0).
    """
    before, m = _before(linear), r.tensor
    most = tf.maximum(linear.z, before.z)
    here = listed(linear.T(m * (most - before.z)))
    there = listed(before.T(m * (linear.z - most)))
    return [
        tf.where(tf.abs(dx) < eps, 0.0, tf.math.divide_no_nan(a + b, dx))
        for a, b, dx in zip(here, there, _changes(linear), strict=True)
    ]


@rule("both_ends")
def both_ends(linear: Local, x: Activation, r: Relevance):
    """m' = (J + J0)^T m / 2, the slopes here and at the baseline: exact for products.

    d(a b) = da (b + b0) / 2 + (a + a0) / 2 db.
    """
    if linear.step.sides:
        name = linear.step.name
        raise divided(linear, f"rules={{{name!r}: ...}}, or integrated_gradients")
    m = r.tensor
    pairs = zip(listed(linear.T(m)), listed(_before(linear).T(m)), strict=True)
    return [(a + b) / 2 for a, b in pairs]


@rule("embed_change")
def embed_change(linear: Local, x: Activation, r: Relevance):
    """The contribution of a token: the sum of m (e - e0) over its vector e."""
    return tf.reduce_sum(r.tensor * (linear.z - _before(linear).z), -1)


def _before(linear: Local) -> Local:
    if linear.before is None:
        raise OptionError(
            f"The rule at {linear.step.name!r} compares with a baseline, and there is "
            "none.",
            "a preset with a reference",
            'create_analyzer("deeplift", model, baseline=0)',
        )
    return linear.before


def _changes(linear: Local) -> list[Tensor]:
    return [x - x0 for x, x0 in zip(linear.xs, _before(linear).xs, strict=True)]
