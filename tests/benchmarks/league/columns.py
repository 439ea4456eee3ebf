"""Tables whose class is known to come from certain columns.

Haufe et al. 2014, doi:10.1016/j.neuroimage.2013.10.067: a suppressor is a column that
tells nothing about the class, but a good model uses it to remove noise from others.
"""

import numpy as np

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
COLUMNS = 12


def _drawn(x: np.ndarray, y: np.ndarray, columns: list[int]) -> Drawn:
    seen = np.zeros(x.shape, bool)
    seen[:, columns] = True
    return np.float32(x), y.astype(int), seen


def suppressors(rng: np.random.Generator, n: int) -> Drawn:
    """Columns 0 to 2 are signal plus noise; 3 to 5 are the same noise alone."""
    y = rng.integers(2, size=n)
    x = rng.normal(size=(n, COLUMNS))
    noise = rng.normal(size=(n, 3))
    x[:, :3] = 0.6 * (2 * y - 1)[:, None] + noise + 0.4 * rng.normal(size=(n, 3))
    x[:, 3:6] = noise
    return _drawn(x, y, [0, 1, 2])


def correlated(rng: np.random.Generator, n: int) -> Drawn:
    """The sum of columns 0 to 2 is the class; 3 to 8 are correlated with them (.6)."""
    x = rng.normal(size=(n, COLUMNS))
    for k in range(3, 9):
        x[:, k] = 0.6 * x[:, k % 3] + 0.8 * x[:, k]
    return _drawn(x, x[:, :3].sum(1) > 0, [0, 1, 2])


def interactions(rng: np.random.Generator, n: int) -> Drawn:
    """The class is the sign of x0 x1 + x2 x3."""
    x = rng.normal(size=(n, COLUMNS))
    return _drawn(x, x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] > 0, [0, 1, 2, 3])


def mixed(rng: np.random.Generator, n: int) -> Drawn:
    """A monotone column, and one whose sign counts by a category (columns 2 to 5)."""
    x = rng.normal(size=(n, COLUMNS))
    category = rng.integers(4, size=n)
    x[:, 2:6] = np.eye(4)[category]
    z = 2 * np.tanh(x[:, 0]) + np.where(category < 2, 2, -2) * x[:, 1]
    return _drawn(x, z > 0, [0, 1, 2, 3, 4, 5])
