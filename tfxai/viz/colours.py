"""Colours of relevance: red is positive, blue negative, white zero."""

from typing import Any

import numpy as np

from tfxai.base.errors import OptionError

#: The colour limit is this percentile of |relevance|. The few largest values saturate,
#: so that a single outlier does not hide the rest.
PERCENTILE = 99.5


def rgb(*colours: str) -> np.ndarray:
    """Convert hexadecimal colours to an array (n, 3) in [0, 1]."""
    return np.array([[int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)] for c in colours])


# Five colours each, evenly spaced from -limit to limit, and from 0 to limit.
_SIGNED = rgb("053061", "4393c3", "f7f7f7", "d6604d", "67001f")
_UNSIGNED = rgb("f7f7f7", "fddbc7", "f4a582", "d6604d", "67001f")
# Colours over an image at strengths 0, 0.5 and 1. The opacity shows the strength, so
# that the colour itself is saturated at 0 and only darkens towards 1.
AGAINST = rgb("2166d6", "2166d6", "143d94")
FOR = rgb("e0182d", "e0182d", "a01026")
_NOT_FINITE = rgb("2ca02c")[0]
_ALPHA = 0.7  # opacity = strength ** 0.7, so that weak relevance stays visible


def limit_of(relevance: np.ndarray) -> float:
    """Return the value of the full colour: the 99.5th percentile of |relevance|.

    It is the maximum if the percentile is zero (few values are not zero), and 1 if all
    values are zero.
    """
    size = np.abs(relevance[np.isfinite(relevance)])
    if size.size == 0:
        return 1.0
    return float(np.percentile(size, PERCENTILE) or size.max() or 1.0)


def heatmap(relevance: Any, limit: float | None = None) -> np.ndarray:
    """Return relevance (...) as colours (..., 3) in [0, 1].

    Relevance with a negative value runs from blue (-limit) over white (0) to red
    (limit), other relevance from white (0) to red (limit). Values that are not finite
    are green.

    Args:
        relevance: An array of any shape.
        limit: The value of the full colour. None computes it by `limit_of`.

    Raises:
        OptionError: `limit` is not above 0.
    """
    scaled = strengths(relevance, limit)
    signed = bool((scaled < 0).any())
    stops = _SIGNED if signed else _UNSIGNED
    colours = _interpolated(scaled, -1 if signed else 0, stops)
    colours[np.isnan(scaled)] = _NOT_FINITE
    return colours


def tinted(grey: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Blend red (strength > 0) or blue (< 0) over grey values.

    Args:
        grey: Values (...) in [0, 1].
        strength: Values (...) in [-1, 1], or NaN, which is drawn in green.

    Returns:
        Colours (..., 3) in [0, 1].
    """
    missing = np.isnan(strength)
    size = np.abs(np.nan_to_num(strength))
    positive, negative = (_interpolated(size, 0, c) for c in (FOR, AGAINST))
    colour = np.where((strength > 0)[..., None], positive, negative)
    colour[missing] = _NOT_FINITE
    alpha = np.where(missing, 1.0, size**_ALPHA)[..., None]
    blended: np.ndarray = (1 - alpha) * grey[..., None] + alpha * colour
    return blended


def strengths(relevance: Any, limit: float | None = None) -> np.ndarray:
    """Return relevance / limit, clipped to [-1, 1]; NaN where it is not finite."""
    relevance = np.asarray(relevance, np.float64)
    if limit is not None and not limit > 0:
        raise OptionError(f"limit={limit!r}.", "a number above 0, or None")
    relevance = np.where(np.isfinite(relevance), relevance, np.nan)
    scale = limit_of(relevance) if limit is None else limit
    clipped: np.ndarray = np.clip(relevance / scale, -1, 1)
    return clipped


def _interpolated(values: np.ndarray, lowest: float, stops: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) of values in [lowest, 1] between evenly spaced stops."""
    at = np.linspace(lowest, 1, len(stops))
    return np.stack([np.interp(np.nan_to_num(values), at, c) for c in stops.T], -1)
