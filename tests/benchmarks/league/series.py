"""Series whose class is known to lie in certain steps."""

import numpy as np

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
LENGTH = 32
BUMP = np.array([0.5, 1, 1, 0.5])
RAMP = np.array([-1, -0.5, 0.5, 1])
#: It occurs twice in every series, and tells nothing.
DISTRACTOR = np.array([1, -1, 1])


def _noise(rng: np.random.Generator, n: int, level: float) -> np.ndarray:
    """White noise, a slow wave of random phase and height, and two distractors.

    Without these, the class would be where the series is large.
    """
    t = np.arange(LENGTH) / LENGTH
    wave = np.sin(2 * np.pi * (t + rng.random((n, 1))))
    x = level * rng.normal(size=(n, LENGTH)) + 0.5 * rng.normal(size=(n, 1)) * wave
    for at in rng.integers(LENGTH - 2, size=(2, n)):
        rows = np.arange(n)[:, None]
        x[rows, at[:, None] + np.arange(3)] += 2 * DISTRACTOR
    return x


def _put(x: np.ndarray, seen: np.ndarray, at: int, what: np.ndarray) -> None:
    x[at : at + len(what)] += what
    seen[at : at + len(what)] = True


def event(rng: np.random.Generator, n: int) -> Drawn:
    """Class 0: a bump at a random time; class 1: a ramp."""
    y = rng.integers(2, size=n)
    x, seen = _noise(rng, n, 0.2), np.zeros((n, LENGTH), bool)
    for i in range(n):
        shape = 2 * (BUMP, RAMP)[y[i]]
        _put(x[i], seen[i], rng.integers(LENGTH - 3), shape)
    return np.float32(x)[..., None], y, seen


def frequency(rng: np.random.Generator, n: int) -> Drawn:
    """A burst of 12 steps at a random time: 2 periods (class 0), or 4."""
    y = rng.integers(2, size=n)
    x, seen = _noise(rng, n, 0.2), np.zeros((n, LENGTH), bool)
    t = np.arange(12) / 12
    for i in range(n):
        burst = 1.5 * np.sin(2 * np.pi * ((2, 4)[y[i]] * t + rng.random()))
        _put(x[i], seen[i], rng.integers(LENGTH - 11), burst)
    return np.float32(x)[..., None], y, seen


def order(rng: np.random.Generator, n: int) -> Drawn:
    """Class 0: a bump before a ramp; class 1: after it."""
    y = rng.integers(2, size=n)
    x, seen = _noise(rng, n, 0.2), np.zeros((n, LENGTH), bool)
    for i in range(n):
        first = rng.integers(0, LENGTH - 12)
        second = rng.integers(first + 6, LENGTH - 3)
        at = (first, second) if y[i] == 0 else (second, first)
        _put(x[i], seen[i], at[0], 2 * BUMP)
        _put(x[i], seen[i], at[1], 2 * RAMP)
    return np.float32(x)[..., None], y, seen
