"""Accuracy and softmax information curves (AIC, SIC): outputs by compressed size."""

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.validation import one_of
from tfxai.core.explanation import Explanation
from tfxai.core.model import wrap
from tfxai.metrics.baselines import baseline_images
from tfxai.metrics.masking import ranks
from tfxai.metrics.metric_context import MetricContext, metric_context
from tfxai.metrics.pixel_flipping import trapezoid
from tfxai.metrics.registry import row

#: Shares of the pixels that are shown; dense where the curve bends.
SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.21, 0.34, 0.5, 0.75)
CODECS = ("webp", "zlib")


@row(
    "higher",
    "Kapishnikov et al. 2019, arXiv:1906.02825",
    "0 to 1. High: few bytes of the image restore the top class. If the blurred image "
    "already has the class, every heatmap is near 1: compare with the random one.",
    bad="The class returns only when nearly all bytes are shown: the heatmap ranks "
    "other pixels first.",
    formula="area under 1[top class of the image at information b is t] over b",
    also_in="saliency (PIC)",
    cost="one evaluation for each share, and one compression",
)
def aic(
    context: MetricContext,
    shares: Sequence[float] = SHARES,
    baseline: object = "blur",
    codec: str = "webp",
) -> np.ndarray:
    """The area under the accuracy over the information that is shown.

    The pixels with the largest values of the heatmap are shown on the baseline image.
    The information is the size of the compressed image, scaled from the baseline (0)
    to the whole image (1). The curve is 1 where the class is the top class, else 0.
    One curve per image; the paper's curve over a data set is their mean.

    Differences from the authors' code: the pixels are shown on a blurred image (theirs
    interpolates between 1 % of random pixels); the information is made monotonic
    (theirs makes the output monotonic); images whose baseline already has the class
    are kept (theirs drops them), near 1 for every heatmap.

    Args:
        context: The explanation and its model.
        shares: Shares of the pixels that are shown, between 0 and 1.
        baseline: The image without information; see
            `tfxai.metrics.masking.sensitivity`.
        codec: Compression codec, "webp" without loss or "zlib".

    Returns:
        One area per sample, (B,).
    """
    context.check_classes("aic")
    return _curves(context, shares, baseline, codec).areas("accuracy")


@row(
    "higher",
    "Kapishnikov et al. 2019, arXiv:1906.02825",
    "0 to 1. High: few bytes of the image restore the probability of the class. If the "
    "blurred image already has the class, every heatmap is near 1: compare with the "
    "random one.",
    bad="The probability returns only when nearly all bytes are shown: the heatmap "
    "ranks other pixels first.",
    formula="area under p(image at information b) / p(x) over b",
    also_in="saliency (PIC)",
    cost="one evaluation for each share, and one compression",
)
def sic(
    context: MetricContext,
    shares: Sequence[float] = SHARES,
    baseline: object = "blur",
    codec: str = "webp",
) -> np.ndarray:
    """The area under the relative probability over the information that is shown.

    As `aic`, with the curve p(shown) / p(x), at most 1 (the authors' code sets the
    baseline's value to 0). The paper takes the median of the curves over a data set;
    this is the area of each.

    Args:
        context: The explanation and its model.
        shares: Shares of the pixels that are shown, between 0 and 1.
        baseline: The image without information; see
            `tfxai.metrics.masking.sensitivity`.
        codec: Compression codec, "webp" without loss or "zlib".

    Returns:
        One area per sample, (B,).
    """
    context.check_classes("sic")
    return _curves(context, shares, baseline, codec).areas("softmax")


@dataclass(frozen=True, eq=False)
class InformationCurves:
    """Outputs of each image while more and more of its pixels are shown.

    Attributes:
        information: Share of the information that is shown, (B, S), from 0 to 1.
        accuracy: 1 where the class is the top class, else 0, (B, S).
        softmax: p(shown) / p(x), at most 1, (B, S).
    """

    information: np.ndarray
    accuracy: np.ndarray
    softmax: np.ndarray

    def areas(self, which: str) -> np.ndarray:
        """Return the area under each curve, (B,); `which` is a field's name."""
        pairs = zip(getattr(self, which), self.information, strict=True)
        return np.array([trapezoid(y, x) for y, x in pairs])

    def pooled(self, which: str, grid: Any) -> np.ndarray:
        """Return the paper's curve over the data set.

        Each curve is interpolated linearly.

        Args:
            which: "accuracy" (AIC, the mean) or "softmax" (SIC, the median).
            grid: Shares of the information, (n,).

        Returns:
            An array (n,).
        """
        pairs = zip(getattr(self, which), self.information, strict=True)
        curves = [np.interp(np.asarray(grid, float), x, y) for y, x in pairs]
        pool: Callable[..., Any] = np.mean if which == "accuracy" else np.median
        return np.asarray(pool(curves, axis=0))


def information_curves(
    model: Any,
    e: Explanation,
    preprocess: Callable[..., Any] | None = None,
    shares: Sequence[float] = SHARES,
    baseline: object = "blur",
    codec: str = "webp",
    batch_size: int = 32,
    seed: int = 0,
) -> InformationCurves:
    """Return the curves whose areas are `aic` and `sic`.

    Args:
        model: The model that was explained.
        e: An explanation of images with one class per sample.
        preprocess: The preprocess that was used for `e`, or None.
        shares: Shares of the pixels that are shown, between 0 and 1.
        baseline: The image without information; see
            `tfxai.metrics.masking.sensitivity`.
        codec: Compression codec, "webp" without loss or "zlib".
        batch_size: The largest batch of a forward pass.
        seed: The seed of a "noise" baseline.

    Raises:
        InputError: The explanation does not fit the model, or an image has no
            information.
        OptionError: An option is out of range.
    """
    context = metric_context(wrap(model, preprocess), e, None, None, batch_size, seed)
    context.check_classes("information_curves")
    return _curves(context, shares, baseline, codec)


def _curves(
    context: MetricContext, shares: Sequence[float], baseline: object, codec: str
) -> InformationCurves:
    """Return the curves of all samples."""
    one_of("codec", codec, CODECS)
    cuts = np.asarray(shares, float).ravel()
    if not len(cuts) or not ((cuts > 0) & (cuts < 1)).all():
        raise OptionError(f"shares={shares!r}.", "numbers between 0 and 1")
    images = baseline_images(baseline, context.x, context.heatmaps, context.seed)
    size = context.heatmaps[0].size
    counts = np.unique(np.round(cuts * size).astype(int))
    counts = np.array([0, *counts[counts > 0], size])[:, None, None, None]
    curves: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for i, (x, image) in enumerate(zip(context.x, images, strict=True)):
        order = ranks(context.heatmaps[i])[None, ..., None]
        shown = np.where(order < counts, x, image)
        information = _information(i, x, shown, codec, baseline)
        y = context.outputs(i, len(shown), shown.__getitem__, "probability")
        p = np.maximum(y[:, context.target[i]], np.finfo(float).tiny)
        accuracy = (y.argmax(1) == context.target[i]).astype(float)
        curves.append((information, accuracy, np.minimum(p / p[-1], 1)))
    return InformationCurves(*(np.array(v) for v in zip(*curves, strict=True)))


def _information(
    i: int, x: np.ndarray, shown: np.ndarray, codec: str, baseline: object
) -> np.ndarray:
    """Return the share of the information in each of the images `shown`, (n,)."""
    sizes = np.array([compressed_size(image, x, codec) for image in shown], float)
    if sizes[-1] <= sizes[0]:
        raise InputError(
            f"Sample {i} has {sizes[-1]:.0f} compressed bytes, and its baseline "
            f"{baseline!r} has {sizes[0]:.0f}: there is no information to show.",
            "a baseline that is simpler than the image",
            'baseline="mean"',
        )
    information = (sizes - sizes[0]) / (sizes[-1] - sizes[0])
    # A codec may need a few bytes less for more pixels; the curve stays monotonic.
    return np.clip(np.maximum.accumulate(information), 0, 1)


def compressed_size(image: np.ndarray, whole: np.ndarray, codec: str) -> int:
    """Return the compressed size of an image (H, W, C) in bytes.

    The values get 8 bits between the extremes of `whole`. Images without three
    channels are compressed with the channels side by side.
    """
    low, high = float(whole.min()), float(whole.max())
    scaled = (image - low) / (high - low if high > low else 1)
    levels = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    if codec == "zlib":
        return len(zlib.compress(levels.tobytes(), 9))
    if levels.shape[-1] != 3:
        levels = np.concatenate(np.moveaxis(levels, -1, 0), axis=1)
    return _webp_size(levels)


def _webp_size(levels: np.ndarray) -> int:
    from PIL import Image, features

    if not features.check("webp"):
        raise OptionError("This Pillow writes no WebP.", "zlib", 'codec="zlib"')
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "WEBP", lossless=True, quality=100)
    return buffer.getbuffer().nbytes
