"""95 % intervals of estimates."""

from typing import Any

import numpy as np

#: The share of intervals that should contain the number that is estimated.
LEVEL = 0.95
#: Degrees of freedom of the mean variance of a map in that of each element, of
#: gradients: these have rare large values, and a variance without one is too small
#: (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3).
SHARED = 0.1


def with_interval(values: Any, errors: Any, freedom: Any) -> dict[str, Any]:
    """Return standard_error and the ends of a 95 % interval, for `extra`.

    Args:
        values: Estimates (...), an array or a tensor.
        errors: Their standard errors (...).
        freedom: The degrees of freedom of Student's t: a number, or an array like
            the estimates.
    """
    from scipy.stats import t

    width = t.ppf((1 + LEVEL) / 2, np.maximum(1, freedom))
    half = (width if np.ndim(width) else float(width)) * errors
    return {
        "standard_error": errors,
        "interval_low": values - half,
        "interval_high": values + half,
    }
