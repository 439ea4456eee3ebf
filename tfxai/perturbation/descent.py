"""One loop for all that is learnt about an input: compiled, a batch at once.

Each sample has parameters of its own; none of the network's variables has a part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError
from tfxai.base.tensors import Tensor

BETA, BETA_2, EPSILON = 0.9, 0.999, 1e-8
#: Steps between two looks from outside, for the progress bar and Ctrl-C.
LOOK = 25
#: A sample is done when so many steps have not made its loss better by `tolerance`.
PATIENCE = 100


def _adam(slope: Tensor, m: Tensor, v: Tensor, n: Tensor) -> tuple:
    """Kingma and Ba 2015, arXiv:1412.6980, algorithm 1."""
    m, v = BETA * m + (1 - BETA) * slope, BETA_2 * v + (1 - BETA_2) * slope**2
    return m, v, m / (1 - BETA**n) / (tf.sqrt(v / (1 - BETA_2**n)) + EPSILON)


def _momentum(slope: Tensor, m: Tensor, v: Tensor, n: Tensor) -> tuple:
    """The running mean of slopes, in which large ones stay large."""
    m = BETA * m + (1 - BETA) * slope
    return m, v, m


#: name -> (slope, m, v, number of the step) -> (m, v, the way down).
RULES: dict[str, Callable] = {"adam": _adam, "momentum": _momentum}

#: (parameters, step, data) -> (loss, what the best is chosen by, score), each (B,).
Loss = Callable[[list, Tensor, list], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Descended:
    """The best parameters of every sample, and how they were found.

    parameters: a list of (B, ...); loss: (B,), what they were chosen by; best: (B,),
    the step before which they stood; history: (2, B, steps), loss and score before
    every step, NaN after the last; steps: (B,), how many.
    """

    parameters: list
    loss: np.ndarray
    best: np.ndarray
    history: np.ndarray
    steps: np.ndarray


class Descent:
    """The loop for samples of one shape: call it with starts and data.

    settle, rule: see `Generator`. rate: of a step. tolerance: stop a sample when its
    loss has not fallen by this share of itself in `PATIENCE` steps; 0 never does.
    """

    def __init__(
        self, loss: Loss, settle: Callable[[list], list], steps: int, rate: float,
        tolerance: float, rule: str = "adam",
    ) -> None:  # fmt: skip
        self._loss, self._settle, self._steps = loss, settle, steps
        self._rate, self._tolerance, self._rule = rate, tolerance, RULES[rule]
        self._run = by_shape(self._some)

    def __call__(
        self, start: list, data: list, seen: Callable[[int, float], Any],
        names: Any = None,
    ) -> Descended:  # fmt: skip
        """start: a list of (B, ...). seen: told (steps so far, the mean best score).

        names: (B,), what the samples are called in errors.
        """
        batch = len(start[0])
        zeros = [np.zeros_like(p) for p in start]
        none = np.full(batch, np.inf, np.float32)
        best = [*start, none, none, none]
        marks = [none, np.zeros(batch, np.int32), np.ones(batch, bool)]
        state: Any = [list(start), zeros, zeros, best, marks]
        state = tf.nest.map_structure(tf.constant, state)
        history: list[np.ndarray] = []
        for first in range(0, self._steps, LOOK):
            last = min(first + LOOK, self._steps)
            ends = tf.constant(first), tf.constant(last)
            state, told = self._run(*ends, state, data)
            history.append(told.numpy()[: last - first])
            _check(history[-1], first, np.arange(batch) if names is None else names)
            seen(last, float(np.mean(state[3][-2])))
            if not state[4][2].numpy().any():
                break
        return self._told(state, np.concatenate(history))

    def _told(self, state: Any, history: np.ndarray) -> Descended:
        *parameters, loss, _, best = [v.numpy() for v in state[3]]
        history = np.moveaxis(history, 0, -1)
        steps = np.isfinite(history[0]).sum(-1)
        wide = ((0, 0), (0, 0), (0, self._steps - history.shape[-1]))
        history = np.pad(history, wide, constant_values=np.nan)
        return Descended(parameters, loss, best.astype(int), history, steps)

    def _some(self, first: Tensor, last: Tensor, state: Any, data: list) -> tuple:
        """Steps `first` to `last`; and (LOOK, 2, B), loss and score before each."""
        told = tf.fill([LOOK, 2, data[0].shape[0]], np.float32(np.nan))

        def body(i: Tensor, state: Any, told: Tensor) -> tuple:
            state, *now = self._step(i, state, data)
            told = tf.tensor_scatter_nd_update(told, [[i - first]], [tf.stack(now)])
            return i + 1, state, told

        _, state, told = tf.while_loop(
            lambda i, state, told: (i < last) & tf.reduce_any(state[4][2]),
            body, (first, state, told), parallel_iterations=1,
        )  # fmt: skip
        return state, told

    def _step(self, i: Tensor, state: Any, data: list) -> tuple:
        p, m, v, best, (mark, since, running) = state
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(p)
            loss, judged, score = self._loss(p, i, data)
        slopes = tape.gradient(loss, p, unconnected_gradients="zero")
        better = running & (judged < best[-3])
        now = tf.fill(tf.shape(judged), tf.cast(i, tf.float32))
        best = _chosen(better, [*p, judged, score, now], best)
        much = best[-3] < mark - self._tolerance * tf.abs(mark)
        much |= ~tf.math.is_finite(mark)
        mark = tf.where(much, best[-3], mark)
        since = tf.where(much, 0, since + 1)
        told = [
            tf.where(running, tf.where(tf.math.is_finite(n), n, np.inf), np.nan)
            for n in (loss, score)
        ]
        if self._tolerance:
            running &= since < PATIENCE
        n = tf.cast(i + 1, tf.float32)
        ways = [self._rule(*three, n) for three in zip(slopes, m, v, strict=True)]
        m, v, way = (list(part) for part in zip(*ways, strict=True))
        moved = self._settle([a - self._rate * b for a, b in zip(p, way, strict=True)])
        state = [_chosen(running, moved, p), m, v, best, [mark, since, running]]
        return state, *told


def by_shape(function: Callable) -> Callable:
    """`function` of nested tensors, compiled once for each set of shapes."""
    known: dict[Any, Callable] = {}

    def run(*args: Any) -> Any:
        flat = tf.nest.flatten(args)
        key = tuple(tuple(v.shape) for v in flat)
        if key not in known:
            specs = tf.nest.map_structure(tf.type_spec_from_value, args)
            traced = tf.function(function, autograph=False)
            known[key] = traced.get_concrete_function(*specs)
        return known[key](*flat)

    return run


def _chosen(which: Tensor, one: list, other: list) -> list:
    """`one` where `which` (B,), else `other`."""
    return [
        tf.where(tf.reshape(which, [-1, *[1] * (len(a.shape) - 1)]), a, b)
        for a, b in zip(one, other, strict=True)
    ]


def _check(history: np.ndarray, first: int, names: Any) -> None:
    """Refuse losses and scores (steps, 2, B) that are not finite (NaN: has stopped)."""
    bad = np.argwhere(np.isinf(history))
    if len(bad):
        step, _, sample = bad[0]
        raise ModelError(
            f"The loss or the score of sample {names[sample]} became NaN or infinity "
            f"at step {first + step}.",
            "a network whose answers and slopes are finite",
            "a smaller learning_rate",
        )
