"""Scores of maps against a known truth: batches of |relevance| (N, ...) and masks."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata


def _rows(maps: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|relevance| and the truth as rows (N, D)."""
    n = len(maps)
    return np.abs(maps.astype(float)).reshape(n, -1), truth.reshape(n, -1)


def precision(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the share of the K strongest that are true, where K are.

    Of the values that equal the K-th one, each counts with the share that the K have
    room for: the mean over the orders of equal values.
    """
    r, t = _rows(maps, truth)
    k = t.sum(1)
    least = np.take_along_axis(-np.sort(-r, 1), k[:, None] - 1, 1)
    above, equal = r > least, r == least
    room = (k - above.sum(1)) / equal.sum(1)
    return ((above & t).sum(1) + room * (equal & t).sum(1)) / k


def auc(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return how often a true element is above another one; equal ones count half."""
    r, t = _rows(maps, truth)
    k = t.sum(1)
    pairs = (rankdata(r, axis=1) * t).sum(1) - k * (k + 1) / 2
    return pairs / (k * (t.shape[1] - k))


def mass(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the share of |relevance| that is on the truth."""
    r, t = _rows(maps, truth)
    r[~r.any(1)] = 1
    return (r * t).sum(1) / r.sum(1)


def rank(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the place of the strongest true element; 1 is the strongest of all."""
    r, t = _rows(maps, truth)
    best = np.where(t, r, -1).max(1, keepdims=True)
    return 1 + ((r > best) & ~t).sum(1) + ((r == best) & ~t).sum(1) / 2


#: Units of mass, about, in which `earth_mover` moves the relevance.
UNITS = 96


def earth_mover(maps: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return 1 minus the way from |relevance| to the truth, 1 being the diagonal.

    Of a map of zeros, every element has the same share. Clark et al. 2023,
    arXiv:2306.12816, section 3.4. The mass is moved in `UNITS` equal parts (.01 exact).
    """
    return np.array([_way(m, t) for m, t in zip(maps, truth, strict=True)])


def _way(one: np.ndarray, truth: np.ndarray) -> float:
    places, goal = np.argwhere(np.ones(truth.shape)), np.argwhere(truth)
    r = np.abs(one.astype(float)).ravel()
    r = r if r.any() else np.ones(r.shape)
    goal = np.repeat(goal, -(-UNITS // len(goal)), 0)
    ends = np.cumsum(r) / r.sum() * len(goal)
    units = places[np.searchsorted(ends, np.arange(len(goal)) + 0.5)]
    far = np.linalg.norm(units[:, None] - goal[None], axis=-1)
    rows, columns = linear_sum_assignment(far)
    longest = np.linalg.norm(np.array(truth.shape) - 1)
    return 1 - float(far[rows, columns].mean() / longest)


#: name -> function, of all kinds of input; `earth_mover` needs distances.
SCORES = {"precision": precision, "AUC": auc, "mass": mass, "rank": rank}
