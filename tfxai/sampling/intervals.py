"""Standard errors of estimates from random masks, and tolerances.

Each is for the number that the estimate approaches with more samples: the coefficient
of LIME's regression over all masks, the Shapley value.
"""

import warnings
from collections.abc import Iterator

import numpy as np

from tfxai.base.errors import InexactWarning


def regression_error(
    masks: np.ndarray, residuals: np.ndarray, weights: np.ndarray, pairs: bool = False
) -> np.ndarray:
    """Return the standard errors (d,) of a weighted regression with an intercept.

    The estimate HC3 needs no residuals of equal variance: those of LIME are mostly the
    interactions that a linear model leaves out. The first mask is not random. With
    `pairs`, each two of the others are drawn together.

    Args:
        masks: Masks (n, d).
        residuals: Outputs minus the linear model (n,).
        weights: Weights of the samples (n,).
        pairs: Whether the masks behind the first are pairs.

    References:
        MacKinnon and White 1985, Journal of Econometrics 29.
    """
    x = masks - np.average(masks, 0, weights)
    bread = np.linalg.pinv((x * weights[:, None]).T @ x)
    leverage = weights * (((x @ bread) * x).sum(1) + 1 / weights.sum())
    moments = (weights * residuals / np.maximum(1 - leverage, 1e-9))[1:, None] * x[1:]
    if pairs:
        moments = np.add.reduceat(moments, np.arange(0, len(moments), 2))
    return np.asarray(np.sqrt(np.einsum("nd,nd->d", moments @ bread, moments @ bread)))


def paired_error(
    masks: np.ndarray, residuals: np.ndarray, weights: np.ndarray, pairs: int
) -> np.ndarray:
    """Return the standard errors (d, T) of Kernel SHAP's regression.

    Only the subsets that were drawn, in pairs with their complements, contribute.

    Args:
        masks: Masks (n, d); the last 2 * pairs are drawn, and then their complements.
        residuals: Outputs minus those of the additive model (n, T).
        weights: Kernel weights (n,).
        pairs: Number of drawn pairs.
    """
    d, targets = masks.shape[1], residuals.shape[1]
    if not pairs or d == 1:
        return np.zeros((d, targets))
    if pairs < 3:
        return np.full((d, targets), np.nan)
    z = masks.astype(float)
    x = z[:, :-1] - z[:, -1:]
    bread = np.linalg.pinv((x * weights[:, None]).T @ x)
    first = x[len(x) - 2 * pairs : len(x) - pairs]
    w = weights[-pairs:, None]
    gaps = residuals[-2 * pairs : -pairs] - residuals[-pairs:]
    leverage = 2 * w * ((first @ bread) * first).sum(1, keepdims=True)
    scores = w * gaps / np.maximum(1 - leverage, 1e-9)  # (pairs, T)
    errors = np.empty((d, targets))
    for t in range(targets):
        moments = (scores[:, t : t + 1] * first) @ bread
        moments = np.concatenate([moments, -moments.sum(1, keepdims=True)], 1)
        errors[:, t] = moments.std(0, ddof=1) * np.sqrt(pairs)
    return errors


def stages(count: int, least: int, tolerance: float | None) -> Iterator[int]:
    """Yield after how many of `count` samples the error is compared with a tolerance.

    Args:
        count: Number of all samples, the last stage.
        least: The first stage.
        tolerance: Without it `count` is the only stage.
    """
    at = least
    while tolerance is not None and at < count:
        yield at
        at = int(1.5 * at) + 1
    yield count


def near_enough(values: np.ndarray, errors: np.ndarray, tolerance: float) -> bool:
    """Return whether the error of each target is at most `tolerance` of its values.

    Args:
        values: Estimates (T, ...).
        errors: Their standard errors (T, ...).
        tolerance: Largest ratio of their norms.
    """
    size, error = (
        np.linalg.norm(np.reshape(v, (len(v), -1)), axis=1) for v in (values, errors)
    )
    return bool((error <= tolerance * size).all())


def warn_tolerance(
    method: str, values: np.ndarray, errors: np.ndarray, tolerance: float, several: bool
) -> None:
    """Warn of samples whose standard error is above the tolerance.

    Args:
        method: The name of the method.
        values: Estimates (B, ...), or (B, T, ...) of several targets.
        errors: Their standard errors; NaN where they are not known.
        tolerance: The largest ratio of the norms.
        several: Whether there is an axis of targets.
    """
    lead = values.shape[: 1 + several]
    size, error = (
        np.linalg.norm(np.nan_to_num(v, nan=f).reshape(*lead, -1), axis=-1)
        for v, f in ((np.where(np.isnan(values), 0.0, values), 0.0),
                     (np.where(np.isnan(values), 0.0, errors), np.inf))
    )  # fmt: skip
    unmet = ~(error <= tolerance * size)
    if unmet.any():
        samples = np.unique(np.argwhere(unmet)[:, 0])[:5].tolist()
        with np.errstate(divide="ignore", invalid="ignore"):
            worst = float(np.nanmax(error[unmet] / size[unmet]))
        warnings.warn(
            f"{method}: the standard error of sample(s) {samples} is {worst:.2g} of "
            f"the values, above tolerance={tolerance:g}. Increase n_samples, or the "
            "tolerance.",
            InexactWarning,
            stacklevel=5,
        )
