"""From masks and answers to coefficients: scikit-learn's regressions, weighted.

masks (n, d) bool, y (n,), weights (n,).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError


@dataclass(frozen=True)
class Fit:
    """y = intercept + masks coefficients, and the weighted R^2 of that.

    coefficients: (d,), 0 for those that were not selected; selected: their numbers, in
    the order in which they were.
    """

    coefficients: np.ndarray
    intercept: float
    score: float
    selected: np.ndarray


#: name -> distance of masks (n, d) from the mask that keeps all, (n,).
DISTANCES: dict[str, Callable] = {
    "cosine": lambda masks: 1 - np.sqrt(masks.mean(-1)),
    "euclidean": lambda masks: np.sqrt((~masks).sum(-1)),
}


def proximity(masks: np.ndarray, distance: str, width: float) -> np.ndarray:
    """LIME's weights: sqrt(exp(-distance^2 / width^2)), (n,)."""
    return np.sqrt(np.exp(-(DISTANCES[distance](masks) ** 2) / width**2))


def one_thread() -> Any:
    """So small a regression takes many times as long on several threads of BLAS."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


#: name -> the class of scikit-learn's linear models, and its options.
REGRESSORS: dict[str, tuple[str, dict]] = {
    "linear": ("LinearRegression", {}),
    "ridge": ("Ridge", {"alpha": 1.0}),
    "lasso": ("Lasso", {"alpha": 1e-3}),
}


def _regressor(name: str) -> Any:
    from sklearn import linear_model

    kind, options = REGRESSORS[name]
    return getattr(linear_model, kind)(**options)


def regressed(
    masks: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    regressor: str = "linear",
    selection: str = "none",
    count: int | None = None,
) -> Fit:
    """A weighted regression of y on the masks, on the `count` selected segments."""
    d = masks.shape[1]
    count = d if count is None else min(count, d)
    with one_thread():
        chosen = np.asarray(SELECTIONS[selection](masks, y, weights, count), int)
        x = masks[:, chosen].astype(float)
        if not len(chosen):  # a constant answer selects nothing
            mean = float(np.average(y, weights=weights))
            return Fit(np.zeros(d), mean, 1.0, chosen)
        model = _regressor(regressor).fit(x, y, sample_weight=weights)
    coefficients = np.zeros(d)
    coefficients[chosen] = model.coef_
    score = float(model.score(x, y, sample_weight=weights)) if np.ptp(y) else 1.0
    return Fit(coefficients, float(model.intercept_), score, chosen)


def _all(masks: np.ndarray, y: np.ndarray, weights: np.ndarray, count: int) -> list:
    return list(range(masks.shape[1]))


def _highest(masks: np.ndarray, y: np.ndarray, weights: np.ndarray, count: int) -> list:
    """The largest |coefficients| of a ridge regression on all."""
    from sklearn.linear_model import Ridge

    fit = Ridge(alpha=0.01).fit(masks.astype(float), y, sample_weight=weights)
    return np.argsort(-np.abs(fit.coef_), kind="stable")[:count].tolist()


def _forward(masks: np.ndarray, y: np.ndarray, weights: np.ndarray, count: int) -> list:
    """One after another, each time that with which the regression fits best."""
    root = np.sqrt(weights)[:, None]
    x = root * (masks - np.average(masks, 0, weights))
    left = root[:, 0] * (y - np.average(y, weights=weights))
    chosen: list[int] = []
    for _ in range(count):
        # What is left of each column once the chosen ones are taken out of it.
        size = (x**2).sum(0)
        gain = np.where(size > 1e-9, (x.T @ left) ** 2 / np.maximum(size, 1e-12), -1.0)
        gain[chosen] = -2.0
        best = int(np.argmax(gain))
        chosen.append(best)
        if gain[best] > 0:
            unit = x[:, best] / np.sqrt(size[best])
            x = x - np.outer(unit, unit @ x)
            left = left - unit * (unit @ left)
    return chosen


def _lasso(masks: np.ndarray, y: np.ndarray, weights: np.ndarray, count: int) -> list:
    """K-LASSO: the last step of the path with at most `count` coefficients."""
    from sklearn.linear_model import lars_path

    root = np.sqrt(weights)
    x = root[:, None] * (masks - np.average(masks, 0, weights))
    target = root * (y - np.average(y, weights=weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ties of the path, which the scan passes over
        path = lars_path(x, target, method="lasso")[2].T  # (steps, d)
    for step in path[:0:-1]:
        if np.count_nonzero(step) <= count:
            return np.flatnonzero(step).tolist()
    return np.flatnonzero(path[-1])[:count].tolist()


#: name -> (masks, y, weights, count) -> numbers of the segments to explain with.
SELECTIONS: dict[str, Callable] = {
    "none": _all,
    "k_lasso": _lasso,
    "forward": _forward,
    "highest_weights": _highest,
}


def shapley(
    masks: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray,
    nothing: np.ndarray,
    everything: np.ndarray,
) -> np.ndarray:
    """Kernel SHAP: coefficients (d, T) that add up to `everything` - `nothing`, (T,).

    values: (n, T). Least squares under that constraint (Lundberg and Lee 2017, eq. 8):
    the last coefficient is what the others leave.
    """
    from sklearn.linear_model import LinearRegression

    z, total = masks.astype(float), everything - nothing
    if masks.shape[1] == 1:
        return total[None]
    x = z[:, :-1] - z[:, -1:]
    y = values - nothing - z[:, -1:] * total
    with one_thread():
        rank = np.linalg.matrix_rank(x * np.sqrt(weights)[:, None])
    if rank < x.shape[1]:
        raise OptionError(
            f"{len(z)} subsets of {masks.shape[1]} segments leave "
            f"{x.shape[1] - rank} of them undetermined.",
            "more samples than segments",
            f"n_samples={4 * masks.shape[1]}",
        )
    with one_thread():
        fit = LinearRegression(fit_intercept=False).fit(x, y, sample_weight=weights)
    first = np.atleast_2d(fit.coef_).T
    return np.concatenate([first, total[None] - first.sum(0, keepdims=True)])
