"""Gradient descent on parameters of each sample: one compiled loop for a whole batch.

Each sample has its own parameters. The variables of the network do not change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError
from tfxai.base.tensors import Tensor
from tfxai.core.compilation import compiled

BETA, BETA_2, EPSILON = 0.9, 0.999, 1e-8
#: Iterations in one call of the compiled loop. Between two calls the progress bar is
#: updated and Ctrl-C takes effect.
ITERATIONS_PER_CALL = 25
#: A sample stops after this many iterations without a decrease by `tolerance`.
PATIENCE = 100

Array = np.ndarray[Any, Any]
#: (gradient, m, v, number of the update) -> (m, v, direction).
Optimiser = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
#: (parameters, iteration, data) -> (loss, criterion that selects the best, score),
#: each (B,).
Loss = Callable[[list[Tensor], Tensor, list[Tensor]], tuple[Tensor, Tensor, Tensor]]


def _adam(
    gradient: Tensor, m: Tensor, v: Tensor, n: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Adam: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1."""
    m, v = BETA * m + (1 - BETA) * gradient, BETA_2 * v + (1 - BETA_2) * gradient**2
    return m, v, m / (1 - BETA**n) / (tf.sqrt(v / (1 - BETA_2**n)) + EPSILON)


def _momentum(
    gradient: Tensor, m: Tensor, v: Tensor, n: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Momentum: the running mean of gradients, without normalisation."""
    m = BETA * m + (1 - BETA) * gradient
    return m, v, m


OPTIMISERS: dict[str, Optimiser] = {"adam": _adam, "momentum": _momentum}


@dataclass(frozen=True)
class DescentResult:
    """The best parameters of every sample, and the history of the loop.

    Attributes:
        parameters: List of arrays (B, ...).
        loss: The criterion (B,) that the parameters minimise.
        best: The iteration (B,) that evaluated these parameters.
        history: Loss and score before every update, (2, B, n_iterations); NaN after
            the last iteration of a sample.
        iterations: Number of iterations (B,).
    """

    parameters: list[Array]
    loss: Array
    best: Array
    history: Array
    iterations: Array


class Descent:
    """The loop for samples of one shape: call it with initial parameters and data.

    Args:
        loss: Function that returns loss, criterion and score of each sample.
        project: Function applied to the parameters after every update.
        n_iterations: Number of iterations.
        learning_rate: Factor of each update.
        tolerance: Stop a sample when its criterion has not fallen by this share in
            `PATIENCE` iterations. 0 never stops.
        optimiser: A name of `OPTIMISERS`.
        decay: The learning rate falls as half a cosine, to 0 at the last iteration.
    """

    def __init__(
        self, loss: Loss, project: Callable[[list[Tensor]], list[Tensor]],
        n_iterations: int, learning_rate: float, tolerance: float,
        optimiser: str = "adam", decay: bool = False,
    ) -> None:  # fmt: skip
        self._loss, self._project, self.n_iterations = loss, project, n_iterations
        self._rate, self._tolerance = learning_rate, tolerance
        self._optimiser, self._decay = OPTIMISERS[optimiser], decay
        self._iterate = compile_by_shape(self._iterations)

    def __call__(
        self, start: list[Array], data: list[Tensor],
        on_progress: Callable[[int, float], Any], names: Any = None,
    ) -> DescentResult:  # fmt: skip
        """Return the best parameters of every sample.

        Args:
            start: Initial parameters, a list of arrays (B, ...).
            data: Tensors (B, ...) that `loss` receives.
            on_progress: Function (number of iterations, mean best score), called after
                every `ITERATIONS_PER_CALL` iterations.
            names: Names (B,) of the samples in errors.

        Raises:
            ModelError: A loss or a score is not finite.
        """
        batch = len(start[0])
        state = _initial_state(start)
        history: list[Array] = []
        for first in range(0, self.n_iterations, ITERATIONS_PER_CALL):
            last = min(first + ITERATIONS_PER_CALL, self.n_iterations)
            ends = tf.constant(first), tf.constant(last)
            state, values = self._iterate(*ends, state, data)
            history.append(values.numpy()[: last - first])
            _check_finite(
                history[-1], first, np.arange(batch) if names is None else names
            )
            on_progress(last, float(np.mean(state[3][-2])))
            if not state[4][2].numpy().any():
                break
        return self._result(state, np.concatenate(history))

    def _result(self, state: Any, history: Array) -> DescentResult:
        """Return the result of the final state and the history (iterations, 2, B)."""
        *parameters, loss, _, best = [v.numpy() for v in state[3]]
        history = np.moveaxis(history, 0, -1)
        iterations = np.isfinite(history[0]).sum(-1)
        padding = ((0, 0), (0, 0), (0, self.n_iterations - history.shape[-1]))
        history = np.pad(history, padding, constant_values=np.nan)
        return DescentResult(parameters, loss, best.astype(int), history, iterations)

    def _iterations(self, first: Tensor, last: Tensor, state: Any, data: Any) -> Any:
        """Run iterations `first` to `last`.

        Returns the state, and loss and score before each update, (iterations, 2, B).
        """
        shape = [ITERATIONS_PER_CALL, 2, data[0].shape[0]]

        def body(i: Tensor, state: Any, history: Tensor) -> Any:
            state, *values = self._step(i, state, data)
            row = tf.stack(values)
            history = tf.tensor_scatter_nd_update(history, [[i - first]], [row])
            return i + 1, state, history

        _, state, history = tf.while_loop(
            lambda i, state, history: (i < last) & tf.reduce_any(state[4][2]),
            body, (first, state, tf.fill(shape, np.float32(np.nan))),
            parallel_iterations=1,
        )  # fmt: skip
        return state, history

    def _step(self, i: Tensor, state: Any, data: Any) -> Any:
        """Run one iteration: return the state, the loss and the score before it."""
        p, m, v, best, (mark, since, running) = state
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(p)
            loss, criterion, score = self._loss(p, i, data)
        gradients = tape.gradient(loss, p, unconnected_gradients="zero")
        better = running & (criterion < best[-3])
        iteration = tf.fill(tf.shape(criterion), tf.cast(i, tf.float32))
        best = _select(better, [*p, criterion, score, iteration], best)
        enough = best[-3] < mark - self._tolerance * tf.abs(mark)
        enough |= ~tf.math.is_finite(mark)
        mark = tf.where(enough, best[-3], mark)
        since = tf.where(enough, 0, since + 1)
        values = [
            tf.where(running, tf.where(tf.math.is_finite(n), n, np.inf), np.nan)
            for n in (loss, score)
        ]
        if self._tolerance:
            running &= since < PATIENCE
        n = tf.cast(i + 1, tf.float32)
        updates = [self._optimiser(*t, n) for t in zip(gradients, m, v, strict=True)]
        m, v, directions = (list(part) for part in zip(*updates, strict=True))
        rate: Any = self._rate
        if self._decay:
            part = tf.cast(i, tf.float32) / self.n_iterations
            rate = self._rate * (1 + tf.cos(np.pi * part)) / 2
        moved = [a - rate * b for a, b in zip(p, directions, strict=True)]
        new = _select(running, self._project(moved), p)
        return [new, m, v, best, [mark, since, running]], *values


def _initial_state(start: list[Array]) -> Any:
    """Return [parameters, m, v, best, marks] as tensors.

    best: The best parameters, then their criterion, score and iteration. marks: The
    criterion at the last sufficient decrease, the iterations since then, and which
    samples are running.
    """
    batch = len(start[0])
    zeros = [np.zeros_like(p) for p in start]
    infinite = np.full(batch, np.inf, np.float32)
    best = [*start, infinite, infinite, infinite]
    marks = [infinite, np.zeros(batch, np.int32), np.ones(batch, bool)]
    state = [list(start), zeros, zeros, best, marks]
    return tf.nest.map_structure(tf.constant, state)


def compile_by_shape(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` of nested tensors, compiled once for each set of shapes."""
    known: dict[Any, Callable[..., Any]] = {}

    def call(*args: Any) -> Any:
        flat = tf.nest.flatten(args)
        key = tuple(tuple(v.shape) for v in flat)
        if key not in known:
            specs = tf.nest.map_structure(tf.type_spec_from_value, args)
            rebuilt = partial(_call_nested, function, specs)
            known[key] = compiled(rebuilt, tf.nest.flatten(specs))
        return known[key](*flat)

    return call


def _call_nested(function: Callable[..., Any], like: Any, *flat: Tensor) -> Any:
    """Call a function of nested tensors, nested as `like`, with the flat list."""
    return function(*tf.nest.pack_sequence_as(like, flat))


def _select(which: Tensor, new: list[Tensor], old: list[Tensor]) -> list[Tensor]:
    """Return `new` where `which` (B,) is True, else `old`."""
    return [
        tf.where(tf.reshape(which, [-1, *[1] * (len(a.shape) - 1)]), a, b)
        for a, b in zip(new, old, strict=True)
    ]


def _check_finite(history: Array, first: int, names: Any) -> None:
    """Raise ModelError for infinite values (iterations, 2, B); NaN means stopped."""
    bad = np.argwhere(np.isinf(history))
    if len(bad):
        iteration, _, sample = bad[0]
        raise ModelError(
            f"The loss or the score of sample {names[sample]} became NaN or infinity "
            f"at iteration {first + iteration}.",
            "a network whose outputs and gradients are finite",
            "a smaller learning_rate",
        )
