"""Numbers to colours: red speaks for the class, blue against it, white says nothing."""

from typing import Any

import numpy as np

from tfxai.base.errors import OptionError

#: A map's limit is this percentile of |map|: the few strongest pixels saturate, and no
#: single one leaves the rest of the picture blank.
PERCENTILE = 99.5


def rgb(*colours: str) -> np.ndarray:
    """Hexadecimal colours -> (n, 3) in [0, 1]."""
    return np.array([[int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)] for c in colours])


# Five colours each, evenly spaced from -limit to limit, and from 0 to limit.
_SIGNED = rgb("053061", "4393c3", "f7f7f7", "d6604d", "67001f")
_UNSIGNED = rgb("f7f7f7", "fddbc7", "f4a582", "d6604d", "67001f")
# Ink on a picture, at 0, half and full strength: its alpha already carries the size, so
# it is vivid from the start and only darkens at the top.
AGAINST = rgb("2166d6", "2166d6", "143d94")
FOR = rgb("e0182d", "e0182d", "a01026")
_NOT_FINITE = rgb("2ca02c")[0]
_ALPHA = 0.7  # opacity = strength ** 0.7, so that weak relevance is still seen


def limit_of(map: np.ndarray) -> float:
    """The value that gets the full colour: the 99.5th percentile of |map|, or its max.

    The max where the percentile is zero (a map of a few points); 1 for a map of zeros.
    """
    size = np.abs(map[np.isfinite(map)])
    if size.size == 0:
        return 1.0
    return float(np.percentile(size, PERCENTILE) or size.max() or 1.0)


def heatmap(map: Any, limit: float | None = None) -> np.ndarray:
    """A map (...) -> colours (..., 3) in [0, 1]; what is not finite is green.

    A map with a negative value runs from blue (-limit) over white (0) to red (limit),
    one without from white (0) to red (limit). limit: see `limit_of`.
    """
    scaled = strengths(map, limit)
    signed = bool((scaled < 0).any())
    made = _between(scaled, -1 if signed else 0, _SIGNED if signed else _UNSIGNED)
    made[np.isnan(scaled)] = _NOT_FINITE
    return made


def inked(grey: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Red and blue ink over grey (...) in [0, 1]; strengths in [-1, 1], or NaN."""
    lost = np.isnan(strength)
    size = np.abs(np.nan_to_num(strength))
    ink = np.where(
        (strength > 0)[..., None], _between(size, 0, FOR), _between(size, 0, AGAINST)
    )
    ink[lost] = _NOT_FINITE
    alpha = np.where(lost, 1.0, size**_ALPHA)[..., None]
    return (1 - alpha) * grey[..., None] + alpha * ink


def strengths(map: Any, limit: float | None = None) -> np.ndarray:
    """The map in units of its limit, cut to [-1, 1]; NaN where it is not finite."""
    map = np.asarray(map, np.float64)
    if limit is not None and not limit > 0:
        raise OptionError(f"limit={limit!r}.", "a number above 0, or None")
    map = np.where(np.isfinite(map), map, np.nan)
    return np.clip(map / (limit_of(map) if limit is None else limit), -1, 1)


def _between(values: np.ndarray, lowest: float, stops: np.ndarray) -> np.ndarray:
    """Colours (..., 3) of values in [lowest, 1]; `stops` (n, 3) are evenly spaced."""
    at = np.linspace(lowest, 1, len(stops))
    return np.stack([np.interp(np.nan_to_num(values), at, c) for c in stops.T], -1)
