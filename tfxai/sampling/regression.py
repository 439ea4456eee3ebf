"""Weighted linear regressions from masks and outputs to coefficients of segments.

The regressions are scikit-learn's. Shapes: masks (n, d) bool, y (n,), weights (n,).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError


@dataclass(frozen=True)
class Fit:
    """A fitted linear model: y = intercept + masks coefficients.

    Attributes:
        coefficients: Coefficient of every segment (d,), 0 where it was not selected.
        intercept: Value of the linear model where no segment is kept.
        score: Weighted R^2 of the fit.
        selected: Numbers of the selected segments, in the order of their selection.
    """

    coefficients: np.ndarray
    intercept: float
    score: float
    selected: np.ndarray

    def among(self, numbers: np.ndarray, d: int) -> "Fit":
        """Return the model of d segments, of which this one has those of `numbers`."""
        every = np.zeros(d)
        every[numbers] = self.coefficients
        return replace(self, coefficients=every, selected=numbers[self.selected])


#: name -> distance (n,) of masks (n, d) from the mask that keeps every segment.
DISTANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": lambda masks: 1 - np.sqrt(masks.mean(-1)),
    "euclidean": lambda masks: np.sqrt((~masks).sum(-1)),
}


def proximity(masks: np.ndarray, distance: str, width: float) -> np.ndarray:
    """Return LIME's sample weights (n,): sqrt(exp(-distance^2 / width^2)).

    Args:
        masks: Masks (n, d), True where a segment is kept.
        distance: Name of an entry of `DISTANCES`.
        width: Width of the exponential kernel.
    """
    squared = DISTANCES[distance](masks) ** 2
    weights: np.ndarray = np.sqrt(np.exp(-squared / width**2))
    return weights


def one_thread() -> Any:
    """Return a context that limits BLAS to one thread.

    Regressions of this size take many times as long on several threads.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


_NONE = np.zeros(0, int)
#: name -> class of scikit-learn's linear models, and its options.
REGRESSORS: dict[str, tuple[str, dict[str, float]]] = {
    "linear": ("LinearRegression", {}),
    "ridge": ("Ridge", {"alpha": 1.0}),
    "lasso": ("Lasso", {"alpha": 1e-3}),
}


def _regressor(name: str) -> Any:
    """An unfitted model of scikit-learn."""
    from sklearn import linear_model

    kind, options = REGRESSORS[name]
    return getattr(linear_model, kind)(**options)


def fit_linear_model(
    masks: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    regressor: str = "linear",
    selection: str = "none",
    n_features: int | None = None,
) -> Fit:
    """Return the weighted regression of y on the selected columns of the masks.

    Args:
        masks: Masks (n, d), True where a segment is kept.
        y: Outputs of the model (n,).
        weights: Weights of the samples (n,).
        regressor: Name of an entry of `REGRESSORS`.
        selection: Name of an entry of `SELECTIONS`.
        n_features: Number of segments to select. None selects all.
    """
    d = masks.shape[1]
    if not d:
        return Fit(np.zeros(0), float(np.average(y, weights=weights)), 1.0, _NONE)
    count = d if n_features is None else min(n_features, d)
    with one_thread():
        chosen = np.asarray(SELECTIONS[selection](masks, y, weights, count), int)
        x = masks[:, chosen].astype(float)
        if not len(chosen):  # a constant output selects no segment
            mean = float(np.average(y, weights=weights))
            return Fit(np.zeros(d), mean, 1.0, chosen)
        model = _regressor(regressor).fit(x, y, sample_weight=weights)
    coefficients = np.zeros(d)
    coefficients[chosen] = model.coef_
    score = float(model.score(x, y, sample_weight=weights)) if np.ptp(y) else 1.0
    return Fit(coefficients, float(model.intercept_), score, chosen)


def _select_all(
    masks: np.ndarray, y: np.ndarray, weights: np.ndarray, count: int
) -> list[int]:
    """Every segment."""
    return list(range(masks.shape[1]))


def _select_highest(
    masks: np.ndarray, y: np.ndarray, weights: np.ndarray, count: int
) -> list[int]:
    """The segments with the largest |coefficient| in a ridge regression on all."""
    from sklearn.linear_model import Ridge

    fit = Ridge(alpha=0.01).fit(masks.astype(float), y, sample_weight=weights)
    return [int(i) for i in np.argsort(-np.abs(fit.coef_), kind="stable")[:count]]


def _select_forward(
    masks: np.ndarray, y: np.ndarray, weights: np.ndarray, count: int
) -> list[int]:
    """Forward selection: at each step the segment that improves the fit most."""
    root = np.sqrt(weights)[:, None]
    x = root * (masks - np.average(masks, 0, weights))
    residual = root[:, 0] * (y - np.average(y, weights=weights))
    chosen: list[int] = []
    for _ in range(count):
        # The columns of x are orthogonal to the selected ones.
        size = (x**2).sum(0)
        gain = np.where(
            size > 1e-9, (x.T @ residual) ** 2 / np.maximum(size, 1e-12), -1.0
        )
        gain[chosen] = -2.0
        best = int(np.argmax(gain))
        chosen.append(best)
        if gain[best] > 0:
            unit = x[:, best] / np.sqrt(size[best])
            x = x - np.outer(unit, unit @ x)
            residual = residual - unit * (unit @ residual)
    return chosen


def _select_lasso(
    masks: np.ndarray, y: np.ndarray, weights: np.ndarray, count: int
) -> list[int]:
    """K-LASSO: the last step of the LARS path with at most `count` coefficients."""
    from sklearn.linear_model import lars_path

    root = np.sqrt(weights)
    x = root[:, None] * (masks - np.average(masks, 0, weights))
    target = root * (y - np.average(y, weights=weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the path warns of ties, which do no harm here
        path = lars_path(x, target, method="lasso")[2].T  # (steps, d)
    for step in path[:0:-1]:
        if np.count_nonzero(step) <= count:
            return [int(i) for i in np.flatnonzero(step)]
    return [int(i) for i in np.flatnonzero(path[-1])[:count]]


Selection = Callable[[np.ndarray, np.ndarray, np.ndarray, int], list[int]]
#: name -> (masks, y, weights, count) -> numbers of the selected segments.
SELECTIONS: dict[str, Selection] = {
    "none": _select_all,
    "k_lasso": _select_lasso,
    "forward": _select_forward,
    "highest_weights": _select_highest,
}


def check_rank(x: np.ndarray, subsets: int, segments: int) -> None:
    """Raise OptionError where the columns of x (n, k) are not independent."""
    with one_thread():
        rank = np.linalg.matrix_rank(x)
    if rank < x.shape[1]:
        raise OptionError(
            f"{subsets} subsets of {segments} segments leave {x.shape[1] - rank} of "
            "them undetermined.",
            "more samples than segments",
            f"n_samples={4 * segments}",
        )


def shapley_regression(
    masks: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray,
    baseline_score: np.ndarray,
    score: np.ndarray,
) -> np.ndarray:
    """Return Kernel SHAP's coefficients (d, T), which add up to score - baseline_score.

    This is least squares under that constraint: the last coefficient is the total
    minus the others.

    Args:
        masks: Masks (n, d), neither empty nor full.
        values: Outputs of the masked inputs (n, T).
        weights: Kernel weights of the masks (n,).
        baseline_score: Output where no segment is kept (T,).
        score: Output where every segment is kept (T,).

    Raises:
        OptionError: The masks do not determine all coefficients.

    References:
        Lundberg and Lee 2017, arXiv:1705.07874, equation 8.
    """
    from sklearn.linear_model import LinearRegression

    z, total = masks.astype(float), score - baseline_score
    if masks.shape[1] == 1:
        return np.asarray(total[None])
    x = z[:, :-1] - z[:, -1:]
    y = values - baseline_score - z[:, -1:] * total
    check_rank(x * np.sqrt(weights)[:, None], len(z), masks.shape[1])
    with one_thread():
        fit = LinearRegression(fit_intercept=False).fit(x, y, sample_weight=weights)
    first = np.atleast_2d(fit.coef_).T
    return np.concatenate([first, total[None] - first.sum(0, keepdims=True)])
