"""Sensitivity curves and the key size: pixels masked in the order of a heatmap.

Luo, Barut and Jin 2021, section 5: the key size is the smallest share of pixels, the
largest of |heatmap| first, whose masking changes the top class. Smaller is better.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import logit

from tfxai.base.errors import (
    InputError,
    ModelError,
    OptionError,
    UncertainClassWarning,
)
from tfxai.base.tensors import chunks, counts_of
from tfxai.base.validation import one_of
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.queries import THEMSELVES, check_finite
from tfxai.core.targets import one_class
from tfxai.metrics.baselines import baseline_images

#: Number of shares that a key size tries, from 0 to 1.
LEVELS = 1000
ORDERS = ("size", "signed")
#: name -> function of a probability.
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "probability": lambda p: p,
    "log_odds": lambda p: np.asarray(logit(np.clip(p.astype(float), 1e-7, 1 - 1e-7))),
}


def sensitivity(
    model: Any,
    x: np.ndarray,
    heatmaps: Any,
    shares: Sequence[float],
    baseline: Any = "mean",
    target: Any = None,
    preprocess: Any = None,
    batch_size: int = 32,
    seed: int = 0,
    order: str = "size",
    scale: str = "probability",
) -> np.ndarray:
    """Return the target's probability with these shares of the pixels masked.

    Args:
        model: A model, wrapped or not.
        x: Images (B, H, W, C).
        heatmaps: Heatmaps (B, H, W), or an `Explanation` of `x`.
        shares: Shares of the pixels to mask, from 0 to 1.
        baseline: Image or value that replaces the masked pixels. "black", "white"
            (255), "mean" (of each channel), "noise", "blur" (Gaussian of 5 pixels;
            "blur-S" of S pixels), "dist-D" (the image minus D where the heatmap is
            positive or zero, plus D elsewhere, within 0..255), a number, or an array.
        target: A class, or one for each sample. None is the explanation's target, or
            the top class.
        preprocess: The preprocess of the model, or None.
        batch_size: The largest batch of a forward pass.
        seed: The seed of a "noise" baseline.
        order: Masking order; "size" is the largest |heatmap| first, "signed" the
            largest heatmap.
        scale: Scale of the result, "probability" or "log_odds": log p / (1 - p), with p
            cut 1e-7 from 0 and 1.

    Returns:
        An array (B, shares).

    Raises:
        InputError: The heatmaps do not fit the images.
        OptionError: An option is out of range.
        ModelError: The model has no probabilities, or they are not finite.

    References:
        Luo, Barut and Jin 2021, section 5.
    """
    one_of("order", order, ORDERS)
    one_of("scale", scale, tuple(SCALES))
    wrapped, x, heatmaps, target = _checked(
        model, preprocess, x, heatmaps, target, batch_size
    )
    cuts = np.asarray(shares, float).ravel()
    if not len(cuts) or not ((cuts >= 0) & (cuts <= 1)).all():
        raise OptionError(f"shares={shares!r}.", "numbers from 0 to 1")
    images = baseline_images(baseline, x, heatmaps, seed)
    ordered = np.abs(heatmaps) if order == "size" else heatmaps
    curves = [
        [p[k] for p in _curve(wrapped, i, v, m, cuts, b, batch_size)]
        for i, (v, m, k, b) in enumerate(zip(x, ordered, target, images, strict=True))
    ]
    return SCALES[scale](np.array(curves))


def key_size(
    model: Any,
    x: np.ndarray,
    heatmaps: Any,
    baseline: Any = "mean",
    target: Any = None,
    preprocess: Any = None,
    batch_size: int = 32,
    seed: int = 0,
) -> np.ndarray:
    """Return the smallest share of pixels whose masking changes the top class.

    Args:
        model: A model, wrapped or not.
        x: Images (B, H, W, C).
        heatmaps: Heatmaps (B, H, W), or an `Explanation` of `x`.
        baseline: Image or value that replaces the masked pixels; see `sensitivity`.
        target: A class, or one for each sample; see `sensitivity`.
        preprocess: The preprocess of the model, or None.
        batch_size: The largest batch of a forward pass.
        seed: The seed of a "noise" baseline.

    Returns:
        One share per sample, (B,); 1 if the top class never changes, 0 if the target
        is not the top class of the unchanged image.

    Raises:
        InputError: The heatmaps do not fit the images.
        OptionError: An option is out of range.
        ModelError: The model has no probabilities, or they are not finite.

    Warns:
        UncertainClassWarning: The target is not the top class of an unchanged image.
    """
    wrapped, x, heatmaps, target = _checked(
        model, preprocess, x, heatmaps, target, batch_size
    )
    images = baseline_images(baseline, x, heatmaps, seed)
    sizes = first_flips(wrapped, x, heatmaps, target, images, batch_size)
    warn_not_top_class("key_size", np.flatnonzero(sizes == 0), 3)
    return sizes


def warn_not_top_class(metric: str, samples: np.ndarray, stacklevel: int) -> None:
    """Warn of samples whose explained class is not the top class."""
    if len(samples):
        warnings.warn(
            f"{metric}: the explained class of sample(s) {samples[:5].tolist()} is "
            "not the top class of the unchanged image, so the metric is hardly "
            "meaningful.",
            UncertainClassWarning,
            stacklevel=stacklevel + 1,
        )


def first_flips(
    wrapped: ModelWrapper,
    x: np.ndarray,
    heatmaps: np.ndarray,
    target: np.ndarray,
    images: np.ndarray,
    batch_size: int,
) -> np.ndarray:
    """Return the `key_size` of checked arguments; `images` are the baselines."""
    shares = np.linspace(0, 1, LEVELS)
    sizes = np.ones(len(x))
    for i, (v, m, k, b) in enumerate(zip(x, heatmaps, target, images, strict=True)):
        curve = _curve(wrapped, i, v, np.abs(m), shares, b, batch_size)
        flipped = (share for share, p in zip(shares, curve, strict=False)
                   if p.argmax() != k)  # fmt: skip
        sizes[i] = next(flipped, 1.0)
    return sizes


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, 0 for the largest; equal ones row by row."""
    order = np.argsort(-values.ravel(), kind="stable")
    ranked = np.empty(values.size, int)
    ranked[order] = np.arange(values.size)
    return ranked.reshape(values.shape)


def _curve(
    wrapped: ModelWrapper,
    sample: int,
    x: np.ndarray,
    heatmap: np.ndarray,
    shares: np.ndarray,
    image: np.ndarray,
    batch_size: int,
) -> Iterator[np.ndarray]:
    """Yield the probabilities (classes,) at each share, the largest pixels first.

    The batches are evaluated on demand. `sample` is the index of x for errors. Raises
    ModelError at the first share whose output is not finite.
    """
    rank = ranks(heatmap)[..., None]
    counts = counts_of(shares, heatmap.size)
    for s in chunks(len(counts), batch_size):
        hidden = rank < counts[s, None, None, None]
        masked = wrapped.given(np.where(hidden, image, x), x.dtype)
        try:
            probabilities = wrapped.probabilities(masked, batch_size)
        except ModelError:  # NaN outputs of a callable are no probabilities either
            finite_logits(wrapped, masked, batch_size, sample)
            raise
        for p in probabilities:
            check_finite(p[None], np.array([sample]))
            yield p


def check_classes(e: Any) -> None:
    """Raise InputError for an explanation of a function of the outputs, no class."""
    if "target_function" in e.extra:
        name = e.extra["target_function"]
        which = "a function" if name == "function" else f"the function {name}"
        raise InputError(
            f"The explanation is of {which}, not of a class.",
            "an explanation of one class per sample",
            "analyzer.analyze(x, target=340)",
        )


def _checked(
    model: Any, preprocess: Any, x: Any, heatmaps: Any, target: Any, batch_size: int
) -> tuple[ModelWrapper, np.ndarray, np.ndarray, np.ndarray]:
    """Return the model, the images, finite heatmaps (B, H, W) and targets (B,)."""
    wrapped, x = wrap(model, preprocess), np.asarray(x)
    wrapped.check_channels_last("masking")
    if hasattr(heatmaps, "heatmap"):
        e = heatmaps
        if np.shape(e.inputs) != x.shape or not np.array_equal(e.inputs, x):
            raise InputError(
                "The explanation is of other images than x.", "e.inputs", "x=e.inputs"
            )
        if target is None:
            check_classes(e)
            target = e.target
        heatmaps = e.heatmap()
    heatmaps = np.asarray(heatmaps, float)
    fits = x.ndim == 4 and heatmaps.shape == x.shape[:3]
    if not fits or not np.isfinite(heatmaps).all():
        raise InputError(
            f"Heatmaps of shape {heatmaps.shape} for inputs of shape {x.shape}.",
            "images (B, H, W, C), and one finite heatmap (B, H, W) for each",
        )
    y = finite_logits(wrapped, x, batch_size)
    return wrapped, x, heatmaps, one_class(target, y)


def finite_logits(
    wrapped: ModelWrapper, x: np.ndarray, batch_size: int, sample: int | None = None
) -> np.ndarray:
    """Return the logits (B, ...) of images, or of changed copies of one sample.

    A logit may be -inf: the class is impossible. Raises ModelError for NaN and inf.
    """
    y = wrapped.logits(x, batch_size)
    flat = y.reshape(len(y), -1)
    flat = np.where(flat == -np.inf, 0, flat)
    if sample is None:
        check_finite(flat, np.arange(len(y)), THEMSELVES)
    else:
        check_finite(flat, np.full(len(y), sample))
    return y
