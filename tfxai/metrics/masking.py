"""Pixels masked in the order of a map: sensitivity curves, and the key size.

Luo, Barut and Jin 2021, section 5: the key size is the smallest share of pixels, the
largest of |map| first, whose masking changes the top class. Smaller is better.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import logit

from tfxai.base.errors import (
    InputError,
    ModelError,
    OptionError,
    OutOfBoundsWarning,
    UncertainClassWarning,
)
from tfxai.base.tensors import chunks
from tfxai.base.validation import one_of
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.queries import THEMSELVES, check_finite
from tfxai.core.targets import one_class

#: How finely the shares of a key size are tried.
LEVELS = 1000
ORDERS = ("size", "signed")
#: name -> what is made of a probability.
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "probability": lambda p: p,
    "log_odds": lambda p: logit(np.clip(p.astype(float), 1e-7, 1 - 1e-7)),
}
#: The standard deviation of a "blur", in pixels.
BLUR = 5


def sensitivity(
    model: Any,
    x: np.ndarray,
    maps: Any,
    shares: Sequence[float],
    background: Any = "mean",
    target: Any = None,
    preprocess: Any = None,
    batch_size: int = 32,
    seed: int = 0,
    order: str = "size",
    scale: str = "probability",
) -> np.ndarray:
    """The target's probability with these shares of pixels masked, (B, shares).

    x: pictures (B, H, W, C). maps: (B, H, W), or an `Explanation`. target: (B,) or a
    number; None is the top class.
    background: what masks: "black", "white" (255), "mean" (of each channel), "noise",
        "blur" (Gaussian, of 5 pixels; "blur-S": of S), "dist-D" (D less where the map
        speaks for the class, D more where against it, within 0..255), a number or an
        array.
    order: what goes first, the largest of |map| ("size") or of the map ("signed").
    scale: "probability", or its "log_odds", log p / (1 - p), p cut 1e-7 from 0 and 1.
    """
    one_of("order", order, ORDERS)
    one_of("scale", scale, tuple(SCALES))
    wrapped, x, maps, goal = _checked(model, preprocess, x, maps, target, batch_size)
    places = np.asarray(shares, float).ravel()
    if not len(places) or not ((places >= 0) & (places <= 1)).all():
        raise OptionError(f"shares={shares!r}.", "numbers from 0 to 1")
    made = [
        [p[k] for p in _curve(wrapped, i, v, m, places, b, batch_size)]
        for i, v, m, k, b in zip(
            range(len(x)),
            x,
            np.abs(maps) if order == "size" else maps,
            goal,
            backgrounds(background, x, maps, seed),
            strict=True,
        )
    ]
    return SCALES[scale](np.array(made))


def key_size(
    model: Any,
    x: np.ndarray,
    maps: Any,
    background: Any = "mean",
    target: Any = None,
    preprocess: Any = None,
    batch_size: int = 32,
    seed: int = 0,
) -> np.ndarray:
    """The smallest share of pixels whose masking changes the top class, (B,); else 1.

    Arguments as those of `sensitivity`. 0, with an UncertainClassWarning, where the
    target is not the top class to begin with.
    """
    wrapped, x, maps, goal = _checked(model, preprocess, x, maps, target, batch_size)
    grounds = backgrounds(background, x, maps, seed)
    made = first_flips(wrapped, x, maps, goal, grounds, batch_size)
    tell_lost("key_size", np.flatnonzero(made == 0), 3)
    return made


def tell_lost(measure: str, lost: np.ndarray, stacklevel: int) -> None:
    """Warn of samples whose class is not the top one before anything is masked."""
    if len(lost):
        warnings.warn(
            f"{measure}: the explained class of sample(s) {lost[:5].tolist()} is "
            "not the top class to begin with, and what is measured says little.",
            UncertainClassWarning,
            stacklevel=stacklevel + 1,
        )


def first_flips(
    wrapped: ModelWrapper,
    x: np.ndarray,
    maps: np.ndarray,
    goal: np.ndarray,
    grounds: np.ndarray,
    batch_size: int,
) -> np.ndarray:
    """`key_size` of what is checked, before the pictures (B, H, W, C) that mask."""
    shares = np.linspace(0, 1, LEVELS)
    found = np.ones(len(x))
    for i, (v, m, k, b) in enumerate(zip(x, maps, goal, grounds, strict=True)):
        curve = _curve(wrapped, i, v, np.abs(m), shares, b, batch_size)
        flipped = (share for share, p in zip(shares, curve, strict=False)
                   if p.argmax() != k)  # fmt: skip
        found[i] = next(flipped, 1.0)
    return found


def ranks(map: np.ndarray) -> np.ndarray:
    """The place (...) of each value, 0 the largest; equal ones in row-major order."""
    order = np.argsort(-map.ravel(), kind="stable")
    places = np.empty(map.size, int)
    places[order] = np.arange(map.size)
    return places.reshape(map.shape)


def _curve(
    wrapped: ModelWrapper,
    sample: int,
    x: np.ndarray,
    map: np.ndarray,
    shares: Any,
    background: np.ndarray,
    batch_size: int,
) -> Iterator[np.ndarray]:
    """The probabilities (classes,) at each share, batch by batch as they are asked.

    The largest of the map goes first. sample: the number of x, for errors. Raises
    ModelError at the first share whose answer is not finite.
    """
    rank = ranks(map)[..., None]
    counts = np.array([int(share * map.size) for share in shares])
    for s in chunks(len(counts), batch_size):
        hidden = rank < counts[s, None, None, None]
        masked = np.where(hidden, background, x).astype(np.float32)
        try:
            made = wrapped.probabilities(masked, batch_size)
        except ModelError:  # of a callable's answers NaN are no probabilities, either
            answered(wrapped, masked, batch_size, sample)
            raise
        for p in made:
            check_finite(p[None], np.array([sample]))
            yield p


def _checked(
    model: Any, preprocess: Any, x: Any, maps: Any, target: Any, batch_size: int
) -> tuple[ModelWrapper, np.ndarray, np.ndarray, np.ndarray]:
    """The model, pictures, finite maps (B, H, W) and targets (B,): of one another."""
    wrapped, x = wrap(model, preprocess), np.asarray(x)
    wrapped.check_channels_last("masking")
    if hasattr(maps, "heatmap"):
        if np.shape(maps.inputs) != x.shape or not np.array_equal(maps.inputs, x):
            raise InputError(
                "The explanation is of other pictures than x.", "e.inputs", "x=e.inputs"
            )
        target = maps.target if target is None else target
        maps = maps.heatmap()
    maps = np.asarray(maps, float)
    if x.ndim != 4 or maps.shape != x.shape[:3] or not np.isfinite(maps).all():
        raise InputError(
            f"Maps of shape {maps.shape} for inputs of shape {x.shape}.",
            "pictures (B, H, W, C), and one finite map (B, H, W) for each",
        )
    return wrapped, x, maps, one_class(target, answered(wrapped, x, batch_size))


def answered(
    wrapped: ModelWrapper, x: np.ndarray, batch_size: int, sample: int | None = None
) -> np.ndarray:
    """The logits (B, ...) of pictures, or of changed copies of one sample.

    -inf, of a class that cannot be, is one of them. Raises ModelError for NaN and
    infinity.
    """
    y = wrapped.logits(x, batch_size)
    flat = y.reshape(len(y), -1)
    flat = np.where(flat == -np.inf, 0, flat)
    if sample is None:
        check_finite(flat, np.arange(len(y)), THEMSELVES)
    else:
        check_finite(flat, np.full(len(y), sample))
    return y


def backgrounds(
    background: Any, x: np.ndarray, maps: np.ndarray, seed: int
) -> np.ndarray:
    """What masks each picture, (B, H, W, C); `background` as for `sensitivity`."""
    values = x.astype(float)
    if not isinstance(background, str):
        return _given(background, x)
    name, _, distance = background.partition("-")
    if name in ("dist", "white", "noise"):
        _of_bytes(background, x)
    if name == "dist" and distance.isdigit():
        step = np.where(maps >= 0, -int(distance), int(distance))
        return np.clip(values + step[..., None], 0, 255)
    if name == "blur" and (distance.isdigit() or not distance):
        sigma = int(distance or BLUR)
        return gaussian_filter(values, (0, sigma, sigma, 0), mode="nearest")
    if background == "mean":
        return np.broadcast_to(values.mean((1, 2), keepdims=True), x.shape)
    if background == "noise":
        rng = np.random.default_rng(seed)
        return np.broadcast_to(rng.integers(0, 256, x.shape[1:]), x.shape)
    plain = {"black": 0.0, "white": 255.0}
    if background not in plain:
        raise OptionError(
            f"background={background!r}.",
            'a number, an array, or one of "black", "white", "mean", "noise", "blur", '
            '"blur-S", "dist-D"',
            'background="dist-50"',
        )
    return np.full(x.shape, plain[background])


def _given(background: Any, x: np.ndarray) -> np.ndarray:
    try:
        made = np.broadcast_to(np.asarray(background, float), x.shape)
    except (TypeError, ValueError):
        made = np.full(x.shape, np.nan)
    if not np.isfinite(made).all():
        raise OptionError(
            f"background={background!r} for pictures of shape {x.shape}.",
            "a name, a finite number, or an array that fits them",
            'background="mean"',
        )
    return made


def _of_bytes(background: str, x: np.ndarray) -> None:
    """Warn where a background of the range 0..255 masks pictures of another one."""
    low, high = float(x.min()), float(x.max())
    if low < 0 or high <= 1:
        warnings.warn(
            f"background={background!r} is for pictures in 0..255, and these lie in "
            f"{low:.3g}..{high:.3g}: what is masked is far outside. Give a number or "
            "an array instead, such as background=1.0.",
            OutOfBoundsWarning,
            stacklevel=5,
        )
