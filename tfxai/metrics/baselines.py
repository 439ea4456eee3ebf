"""Images that replace masked pixels: constant, mean, noise, blurred or shifted."""

import warnings
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from tfxai.base.errors import OptionError, OutOfBoundsWarning

#: The standard deviation of a "blur" baseline, in pixels.
BLUR = 5
#: name -> value of a constant baseline.
CONSTANTS = {"black": 0.0, "white": 255.0}


def baseline_images(
    baseline: Any, x: np.ndarray, heatmaps: np.ndarray | None, seed: int
) -> np.ndarray:
    """Return the image that replaces the masked pixels of each sample.

    Args:
        baseline: See `tfxai.metrics.masking.sensitivity`.
        x: Images (B, H, W, C).
        heatmaps: Heatmaps (B, H, W), which "dist-D" needs.
        seed: The seed of "noise".

    Returns:
        Images (B, H, W, C).

    Raises:
        OptionError: The baseline is unknown or does not fit the images.

    Warns:
        OutOfBoundsWarning: The baseline is for images in 0..255, and these are not.
    """
    values = x.astype(float)
    if not isinstance(baseline, str):
        return _value_baseline(baseline, x)
    name, _, distance = baseline.partition("-")
    if name in ("dist", "white", "noise"):
        _warn_other_range(baseline, x)
    if name == "dist" and distance.isdigit() and heatmaps is not None:
        change = np.where(heatmaps >= 0, -int(distance), int(distance))
        return np.asarray(np.clip(values + change[..., None], 0, 255))
    if name == "blur" and (distance.isdigit() or not distance):
        sigma = int(distance or BLUR)
        return np.asarray(gaussian_filter(values, (0, sigma, sigma, 0), mode="nearest"))
    if baseline == "mean":
        return np.broadcast_to(values.mean((1, 2), keepdims=True), x.shape)
    if baseline == "noise":
        rng = np.random.default_rng(seed)
        return np.broadcast_to(rng.integers(0, 256, x.shape[1:]), x.shape)
    if baseline not in CONSTANTS:
        raise OptionError(
            f"baseline={baseline!r}.",
            'a number, an array, or one of "black", "white", "mean", "noise", "blur", '
            '"blur-S", "dist-D"',
            'baseline="dist-50"',
        )
    return np.full(x.shape, CONSTANTS[baseline])


def _value_baseline(baseline: Any, x: np.ndarray) -> np.ndarray:
    """Return a number or an array as images of the shape of x."""
    try:
        images = np.broadcast_to(np.asarray(baseline, float), x.shape)
    except (TypeError, ValueError):
        images = np.full(x.shape, np.nan)
    if not np.isfinite(images).all():
        raise OptionError(
            f"baseline={baseline!r} for images of shape {x.shape}.",
            "a name, a finite number, or an array that broadcasts to the images",
            'baseline="mean"',
        )
    return images


def _warn_other_range(baseline: str, x: np.ndarray) -> None:
    """Warn if a baseline for images in 0..255 is used with images of another range."""
    low, high = float(x.min()), float(x.max())
    if low < 0 or high <= 1:
        warnings.warn(
            f"baseline={baseline!r} is for images in 0..255, and these lie in "
            f"{low:.3g}..{high:.3g}: the masked pixels are far outside. Pass a number "
            "or an array instead, such as baseline=1.0.",
            OutOfBoundsWarning,
            stacklevel=5,
        )
