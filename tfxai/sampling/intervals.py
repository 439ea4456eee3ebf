"""Standard errors and 95 % intervals of estimates from random masks.

Each is for the number that the estimate approaches with more samples: the coefficient
of LIME's regression over all masks, the Shapley value.
"""

import numpy as np

#: The share of intervals that should contain the number that is estimated.
LEVEL = 0.95


def regression_error(
    masks: np.ndarray, residuals: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the standard errors (d,) of a weighted regression with an intercept.

    The estimate HC3 needs no residuals of equal variance: those of LIME are mostly the
    interactions that a linear model leaves out. The first mask is not random.

    Args:
        masks: Masks (n, d).
        residuals: Outputs minus the linear model (n,).
        weights: Weights of the samples (n,).

    References:
        MacKinnon and White 1985, Journal of Econometrics 29.
    """
    x = masks - np.average(masks, 0, weights)
    bread = np.linalg.pinv((x * weights[:, None]).T @ x)
    leverage = weights * (((x @ bread) * x).sum(1) + 1 / weights.sum())
    moments = (weights * residuals / np.maximum(1 - leverage, 1e-9))[1:, None] * x[1:]
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


def with_interval(
    values: np.ndarray, errors: np.ndarray, freedom: int
) -> dict[str, np.ndarray]:
    """Return standard_error and the ends of a 95 % interval, for `extra`.

    Args:
        values: Estimates (...).
        errors: Their standard errors (...).
        freedom: The degrees of freedom of Student's t.
    """
    from scipy.stats import t

    half = float(t.ppf((1 + LEVEL) / 2, max(1, freedom))) * errors
    return {
        "standard_error": errors,
        "interval_low": values - half,
        "interval_high": values + half,
    }
