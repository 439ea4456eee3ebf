"""Colours of relevance: red is positive, blue negative, white zero.

People who do not see red or green distinguish this red from this blue: it is the
default for that reason. `cmap` takes any colour map of matplotlib instead.
"""

from collections.abc import Callable
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
# Colours over an image at strengths 0, 1/4, ..., 1: white, then saturated.
AGAINST = rgb("ffffff", "b4cdf5", "7aa6ee", "3f80e2", "1b57c0")
FOR = rgb("ffffff", "fbb9ba", "f5797e", "ea3a46", "c4101f")
#: The colours of bars and lines.
POSITIVE, NEGATIVE = rgb("d7263d")[0], rgb("2166d6")[0]
_NOT_FINITE = rgb("2ca02c")[0]

#: (strengths in [-1, 1]) -> colours (..., 3).
Ramp = Callable[[np.ndarray], np.ndarray]


def limit_of(relevance: np.ndarray) -> float:
    """Return the value of the full colour: the 99.5th percentile of |relevance|.

    It is the maximum if the percentile is zero (few values are not zero), and 1 if all
    values are zero.
    """
    size = np.abs(relevance[np.isfinite(relevance)])
    if size.size == 0:
        return 1.0
    return float(np.percentile(size, PERCENTILE) or size.max() or 1.0)


def heatmap(relevance: Any, limit: float | None = None, cmap: Any = None) -> np.ndarray:
    """Return relevance (...) as colours (..., 3) in [0, 1].

    Relevance with a negative value runs from blue (-limit) over white (0) to red
    (limit), other relevance from white (0) to red (limit). Values that are not finite
    are green.

    Args:
        relevance: An array of any shape.
        limit: The value of the full colour. None computes it by `limit_of`.
        cmap: A colour map of matplotlib or its name; None is red, white and blue.

    Raises:
        OptionError: `limit` is not above 0, or there is no such colour map.
    """
    scaled = strengths(relevance, limit)
    signed = bool((scaled < 0).any())
    if cmap is not None:
        colours = ramp(cmap, signed)(scaled)
    else:
        stops = _SIGNED if signed else _UNSIGNED
        colours = _interpolated(scaled, -1 if signed else 0, stops)
    colours[np.isnan(scaled)] = _NOT_FINITE
    return colours


def ramp(cmap: Any, signed: bool) -> Ramp:
    """Return strengths in [-1, 1] -> colours (..., 3); not finite ones are green.

    Args:
        cmap: A colour map of matplotlib or its name; None is white to red and to blue.
        signed: Map -1 to the start of `cmap`; else 0.

    Raises:
        OptionError: There is no such colour map.
    """
    named = None if cmap is None else _colour_map(cmap)

    def colours(strength: np.ndarray) -> np.ndarray:
        missing = np.isnan(strength)
        known = np.nan_to_num(strength)
        if named is None:
            size = np.abs(known)
            positive, negative = (_interpolated(size, 0, c) for c in (FOR, AGAINST))
            found = np.where((known > 0)[..., None], positive, negative)
        else:
            found = np.asarray(named((known + 1) / 2 if signed else known))[..., :3]
        found[missing] = _NOT_FINITE
        return found

    return colours


def ends(cmap: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the colours of positive and of negative bars."""
    if cmap is None:
        return POSITIVE, NEGATIVE
    of = ramp(cmap, True)
    return of(np.array(0.85)), of(np.array(-0.85))


def strengths(relevance: Any, limit: float | None = None) -> np.ndarray:
    """Return relevance / limit, clipped to [-1, 1]; NaN where it is not finite."""
    relevance = np.asarray(relevance, np.float64)
    check_limit(limit)
    relevance = np.where(np.isfinite(relevance), relevance, np.nan)
    scale = limit_of(relevance) if limit is None else limit
    clipped: np.ndarray = np.clip(relevance / scale, -1, 1)
    return clipped


def check_limit(limit: Any) -> None:
    """Raise OptionError unless it is a number above 0, or None."""
    number = isinstance(limit, int | float | np.number) and limit is not True
    if limit is not None and not (number and limit > 0):
        raise OptionError(f"limit={limit!r}.", "a number above 0, or None")


def limits(relevance: np.ndarray, limit: Any) -> list[float]:
    """Return the limit of each map of (n, ...).

    Args:
        relevance: The maps.
        limit: None gives each map its own; "shared" one for all; or a number.

    Raises:
        OptionError: `limit` is something else.
    """
    if isinstance(limit, str) and limit == "shared":
        limit = limit_of(relevance)
    if isinstance(limit, str):
        raise OptionError(
            f"limit={limit!r}.", 'None (each map its own), "shared" or a number above 0'
        )
    check_limit(limit)
    return [limit_of(r) if limit is None else float(limit) for r in relevance]


def _colour_map(cmap: Any) -> Any:
    """A colour map of matplotlib by name, or the given one."""
    if callable(cmap):
        return cmap
    import matplotlib

    if cmap not in matplotlib.colormaps:
        raise OptionError(
            f"cmap={cmap!r}.", "a colour map of matplotlib", 'cmap="PuOr_r"'
        )
    return matplotlib.colormaps[cmap]


def _interpolated(values: np.ndarray, lowest: float, stops: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) of values in [lowest, 1] between evenly spaced stops."""
    at = np.linspace(lowest, 1, len(stops))
    return np.stack([np.interp(np.nan_to_num(values), at, c) for c in stops.T], -1)
