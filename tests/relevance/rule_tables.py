"""Rules and presets with their matrix formulas, and functions that run both."""

from contextlib import contextmanager
from functools import cache, partial

import numpy as np
import tensorflow as tf

import tfxai
from tests import oracles as O
from tests import zoo
from tfxai.graph.linear import Local
from tfxai.graph.step import MOVES
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.algebra import Activation, plain_relevance
from tfxai.relevance.relevance_model import RelevanceModel

#: name -> (the library's rule, the formula)
RULES = {
    "z": (R.z_rule, O.z),
    "z_flat": (R.z_flat, O.z),
    "z_unbiased": (R.z_rule(bias=False), partial(O.z, bias=False)),
    "epsilon": (R.epsilon_rule(epsilon=0.05), partial(O.epsilon, epsilon=0.05)),
    "epsilon_unbiased": (
        R.epsilon_rule(epsilon=0.05, bias=False),
        partial(O.epsilon, epsilon=0.05, bias=False),
    ),
    "z_plus": (R.z_plus, O.z_plus),
    "z_plus_biased": (
        R.z_plus(bias=True, eps=0.01),
        partial(O.z_plus, bias=True, eps=0.01),
    ),
    "z_plus_both_biases": (
        R.z_plus(bias="both", eps=0.01),
        partial(O.z_plus_both_biases, eps=0.01),
    ),
    "alpha_2_beta_1": (R.alpha_beta, O.alpha_beta),
    "alpha_2_beta_1_unbiased": (
        R.alpha_beta(bias=False),
        partial(O.alpha_beta, bias=False),
    ),
    "alpha_1_beta_0": (
        R.alpha_beta(alpha=1, beta=0),
        partial(O.alpha_beta, alpha=1, beta=0),
    ),
    "alpha_1.5_beta_0.5": (
        R.alpha_beta(alpha=1.5, beta=0.5, eps=0.01),
        partial(O.alpha_beta, alpha=1.5, beta=0.5, eps=0.01),
    ),
    "gamma": (R.gamma, O.gamma),
    "gamma_1_stabilized": (
        R.gamma(gamma=1.0, eps=0.01),
        partial(O.gamma, gamma=1.0, eps=0.01),
    ),
    "gamma_unbiased": (
        R.gamma(bias=False, eps=0.01),
        partial(O.gamma, bias=False, eps=0.01),
    ),
    "w_square": (R.w_square, O.w_square),
    "w_square_biased": (
        R.w_square(bias=True, eps=0.01),
        partial(O.w_square, bias=True, eps=0.01),
    ),
    "flat": (R.flat, O.flat),
    "flat_stabilized": (R.flat(eps=0.01), partial(O.flat, eps=0.01)),
    "z_box": (R.z_box(low=-1.5, high=2.0), partial(O.z_box, low=-1.5, high=2.0)),
    "z_box_of_the_sample": (
        R.z_box(eps=0.01),
        lambda x, m, r: O.z_box(
            x, m, r, x.min(1, keepdims=True), x.max(1, keepdims=True), eps=0.01
        ),
    ),
}
#: One rule of each form, for tests of other things.
SORTS = ("z", "epsilon", "alpha_2_beta_1", "z_plus", "w_square", "flat", "z_box")


def close(ours, oracle, tolerance=1e-5):
    """Assert equality relative to the largest value; the oracle is not zero."""
    scale = np.abs(oracle).max()
    assert scale > 0, "the oracle is zero everywhere: nothing is tested"
    assert ours.shape == oracle.shape
    assert np.abs(ours - oracle).max() <= tolerance * scale


@contextmanager
def named(name):
    """Add the name of a table row to the message of a failure."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error


def seeds(xs, m, count):
    """Return relevance (K, B, n_out) of both signs, 0 where x W or x W + b cancels.

    In float32, a quotient by a sum that cancels is only rounding error.
    """
    x = np.concatenate([O.rows(v) for v in xs], 1)
    size = np.abs(x) @ np.abs(m.W)
    typical = (size + np.abs(m.b)) / np.sqrt(np.maximum(m.wired.sum(0), 1))
    sound = np.minimum(abs(x @ m.W), abs(x @ m.W + m.b)) > 0.2 * typical
    sound |= size == 0
    assert sound.mean() > 0.5
    drawn = np.random.default_rng(2).normal(size=(count, *sound.shape))
    return np.float32(drawn * sound)


def back(program, xs, r, rule, nonnegative):
    """Return the library's relevance (K, B, n_in) for r (K, B, n_out).

    The program is one step, and steps that only move values around it.
    """
    known = program.run([tf.constant(v) for v in xs])
    arrived = [tf.reshape(r, [len(r), *known[program.output].shape])]
    for step in program.steps[::-1]:
        values, z = [known[i] for i in step.inputs], known[step.output]
        if step.kind in MOVES:
            arrived = [tf.stack([moved_back(step, values, v) for v in arrived[0]])]
            continue
        signal = Activation(values, nonnegative, lambda v: v, values)
        local = Local(step, values, z)
        arrived = rule.apply(local, signal, plain_relevance(arrived[0])).tensors()
    return np.concatenate([np.reshape(t, (*r.shape[:2], -1)) for t in arrived], 2)


def moved_back(step, values, r):
    """Return what values that only move receive of r."""
    with tf.GradientTape() as tape:
        tape.watch(values)
        made = step.run(values)
    return tape.gradient(made, values[0], r)


def main_step(program):
    """Return the only step that does more than move values."""
    (step,) = (s for s in program.steps if s.kind not in MOVES)
    return step


# -- whole networks ------------------------------------------------------------------


def everywhere(rule, **rows):
    """Return the rules of an oracle: one for kernels, z for sums and means."""
    kinds = dict.fromkeys(("dense", "conv", "depthwise", "scale"), rule)
    return {**kinds, "add": O.z, "average": O.z, **rows}


def sequential(**options):
    """Return epsilon for dense, alpha-beta for convolutions, z for separate norms."""
    rule = partial(O.alpha_beta, **options)
    return everywhere(rule, dense=O_EPSILON, scale=O.z)


O_EPSILON = partial(O.epsilon, epsilon=0.1)
DEEP_TAYLOR = everywhere(O.z_plus, add=O.z_plus, average=O.z_plus)
#: name -> (the library's preset, the oracle's table, the oracle's first rule)
PRESETS = {
    "z": (P.every_kernel(R.z_rule), everywhere(O.z), None),
    "epsilon": (P.epsilon(0.05), everywhere(partial(O.epsilon, epsilon=0.05)), None),
    "epsilon_unbiased": (
        P.epsilon(0.05, bias=False),
        everywhere(partial(O.epsilon, epsilon=0.05, bias=False)),
        None,
    ),
    "deep_taylor": (P.deep_taylor(), DEEP_TAYLOR, None),
    "bounded": (P.bounded(-1, 2), DEEP_TAYLOR, partial(O.z_box, high=2.0)),
    "sequential_a": (P.sequential_a(), sequential(alpha=1, beta=0), None),
    "sequential_b": (P.sequential_b(), sequential(), None),
    "a_flat": (P.flat_first(P.sequential_a()), sequential(alpha=1, beta=0), O.flat),
    "b_flat": (P.flat_first(P.sequential_b()), sequential(), O.flat),
    "w_square": (P.every_kernel(R.w_square), everywhere(O.w_square), None),
    "flat": (P.every_kernel(R.flat), everywhere(O.flat), None),
    "row_by_row": (
        P.epsilon(0.1).replace(conv="w_square", add="epsilon", first=(-1, 1)),
        everywhere(O_EPSILON, conv=O.w_square, add=O.epsilon),
        O.z_box,
    ),
}
TARGETS = np.array([[0, 3], [2, 1]], np.int32)  # (B, T)


@cache
def network(name):
    """Return a network, its inputs, and its matrices."""
    model = zoo.network(name)
    return model, zoo.inputs(model), cache(O.matrix)


def one_hot(logits):
    return np.eye(logits.shape[-1])[TARGETS.T]


def rewritten(model, xs, preset, head, **options):
    """Return the library's relevance (T, B, ...) of TARGETS."""
    graph = RelevanceModel(model, tfxai.wrap(model).program(), preset, head, **options)
    result = graph.propagate([tf.constant(v) for v in xs], tf.constant(TARGETS))
    return [np.asarray(r) for r in result["relevance"]]


def wide(xs):
    return [np.float64(v) for v in xs]
