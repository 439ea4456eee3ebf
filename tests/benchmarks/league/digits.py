"""Scenes of two handwritten digits, of which one is the class.

The digits are those of scikit-learn's `load_digits`: 1,797 images of 8 x 8 pixels
(Alpaydin and Kaynak 1998, UCI, Optical Recognition of Handwritten Digits). Scenes for
training and for the test have the same digits in other places, beside other digits.
"""

from functools import cache

import numpy as np

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
SIDE, CLASSES = 16, 10
#: The share of the largest value from which on a pixel belongs to its digit.
INK = 0.25


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) from 0 to 1, and their classes."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8) / 16, classes


def _scenes(rng: np.random.Generator, n: int, weights: np.ndarray) -> Drawn:
    """Two digits in two quarters of noise; `weights` (2, 3) are their colours.

    The first one is the class, and its pixels are the truth.
    """
    digits, classes = _digits()
    x = rng.normal(0, 0.1, (n, SIDE, SIDE, 3))
    seen = np.zeros((n, SIDE, SIDE), bool)
    which = rng.integers(len(digits), size=(n, 2))
    for i, pair in enumerate(which):
        quarters = 8 * np.stack(divmod(rng.choice(4, 2, replace=False), 2), 1)
        for k, (top, left) in enumerate(quarters):
            box = slice(top, top + 8), slice(left, left + 8)
            x[i][box] += digits[pair[k]][..., None] * weights[k]
        top, left = quarters[0]
        seen[i, top : top + 8, left : left + 8] = digits[pair[0]] >= INK
    return np.float32(x), classes[which[:, 0]], seen


def red(rng: np.random.Generator, n: int) -> Drawn:
    """The class is the red digit; the other one is green."""
    return _scenes(rng, n, np.eye(3)[:2])


def bright(rng: np.random.Generator, n: int) -> Drawn:
    """The class is the bright digit; the other one has half its values."""
    return _scenes(rng, n, np.array([[1.0] * 3, [0.5] * 3]))
