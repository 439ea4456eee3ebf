"""95 % intervals of estimates."""

from typing import Any

#: The share of intervals that should contain the number that is estimated.
LEVEL = 0.95


def with_interval(values: Any, errors: Any, freedom: int) -> dict[str, Any]:
    """Return standard_error and the ends of a 95 % interval, for `extra`.

    Args:
        values: Estimates (...), an array or a tensor.
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
