"""How little of the picture, in bytes, gives the class back: AIC and SIC."""

import io
import zlib
from collections.abc import Sequence

import numpy as np

from tfxai.errors import InputError, OptionError
from tfxai.metrics.asked import Asked
from tfxai.metrics.flipping import trapezoid
from tfxai.metrics.masking import backgrounds, ranks
from tfxai.metrics.measure import row
from tfxai.options import one_of

#: The shares of the pixels that are shown: few first, where the curve bends.
SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.21, 0.34, 0.5, 0.75)
CODECS = ("webp", "zlib")


@row(
    "higher",
    "Kapishnikov et al. 2019, arXiv:1906.02825",
    "0 to 1. High: with few bytes of the picture the class is the top class again.",
)
def aic(
    asked: Asked,
    shares: Sequence[float] = SHARES,
    background: object = "blur",
    codec: str = "webp",
) -> np.ndarray:
    """The area under "is the class on top?" over the information that is shown.

    (B,): the `shares` of the pixels that the map puts first are shown on the blurred
    picture; the information is the length of the compressed picture, from that of the
    background (0) to that of the whole (1). One curve for each picture: the paper's
    curve over a data set is the mean of these. codec: "webp" without loss, or "zlib".
    """
    return _areas(asked, shares, background, codec, _on_top)


@row(
    "higher",
    "Kapishnikov et al. 2019, arXiv:1906.02825",
    "0 to 1. High: with few bytes of the picture the class is as likely again.",
)
def sic(
    asked: Asked,
    shares: Sequence[float] = SHARES,
    background: object = "blur",
    codec: str = "webp",
) -> np.ndarray:
    """The area under the class's share of its probability over the information shown.

    (B,): as `aic`, of p(shown) / p(x), at most 1. The paper takes the median of such
    curves over a data set; this is the area of each.
    """
    return _areas(asked, shares, background, codec, _likely)


def _on_top(answers: np.ndarray, target: int) -> np.ndarray:
    return (answers.argmax(1) == target).astype(float)


def _likely(answers: np.ndarray, target: int) -> np.ndarray:
    p = np.maximum(answers[:, target], np.finfo(float).tiny)
    return np.minimum(p / p[-1], 1)


def _areas(asked: Asked, shares, background, codec: str, value) -> np.ndarray:
    one_of("codec", codec, CODECS)
    asked.check_classes("aic" if value is _on_top else "sic")
    cuts = np.asarray(shares, float).ravel()
    if not len(cuts) or not ((cuts > 0) & (cuts < 1)).all():
        raise OptionError(f"shares={shares!r}.", "numbers between 0 and 1")
    grounds = backgrounds(background, asked.x, asked.maps, asked.seed)
    counts = np.unique(np.round(cuts * asked.maps[0].size).astype(int))
    counts = np.array([0, *counts[counts > 0], asked.maps[0].size])[:, None, None, None]
    made = np.empty(len(asked.x))
    for i, (x, ground) in enumerate(zip(asked.x, grounds, strict=True)):
        order = ranks(asked.maps[i])[None, ..., None]
        shown = np.where(order < counts, x, ground)
        sizes = np.array([size(picture, x, codec) for picture in shown], float)
        if sizes[-1] <= sizes[0]:
            raise InputError(
                f"Sample {i} takes {sizes[-1]:.0f} bytes, and {sizes[0]:.0f} behind "
                f"the background {background!r}: there is no information to show.",
                "a background that is simpler than the picture",
                'background="mean"',
            )
        answers = asked.outputs(len(shown), shown.__getitem__, "probability")
        known = (sizes - sizes[0]) / (sizes[-1] - sizes[0])
        # More pixels never say less; a codec may be shorter by a few bytes.
        known = np.clip(np.maximum.accumulate(known), 0, 1)
        made[i] = trapezoid(value(answers, asked.target[i]), known)
    return made


def size(picture: np.ndarray, whole: np.ndarray, codec: str) -> int:
    """The bytes of a picture (H, W, C), 8 bits between the extremes of `whole`.

    Channels that are not colours lie side by side.
    """
    low, high = float(whole.min()), float(whole.max())
    scaled = (picture - low) / (high - low if high > low else 1)
    levels = np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    if codec == "zlib":
        return len(zlib.compress(levels.tobytes(), 9))
    if levels.shape[-1] != 3:
        levels = np.concatenate(np.moveaxis(levels, -1, 0), axis=1)
    return _webp(levels)


def _webp(levels: np.ndarray) -> int:
    from PIL import Image, features

    if not features.check("webp"):
        raise OptionError("This Pillow writes no WebP.", "zlib", 'codec="zlib"')
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "WEBP", lossless=True, quality=100)
    return buffer.getbuffer().nbytes
