"""How little of the picture, in bytes, gives the class back: AIC and SIC."""

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
from tfxai.metrics.masking import backgrounds, ranks
from tfxai.metrics.metric_context import Asked, ask
from tfxai.metrics.pixel_flipping import trapezoid
from tfxai.metrics.registry import row

#: The shares of the pixels that are shown: few first, where the curve bends.
SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.21, 0.34, 0.5, 0.75)
CODECS = ("webp", "zlib")


@row(
    "higher",
    "Kapishnikov et al. 2019, arXiv:1906.02825",
    "0 to 1. High: with few bytes of the picture the class is the top class again. A "
    "picture whose blur already gives the class is near 1 by any map: compare with the "
    "random one.",
    bad="The class comes back only when nearly all bytes are there: the map shows "
    "other things first.",
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

    Unlike the authors' code: the pixels stand on a blurred picture (theirs fills in
    between 1 % of random pixels), the information is made to grow with the pixels
    (theirs the answer), and a picture whose background already gives the class is
    measured (theirs is left out), near 1 by any map.
    """
    asked.check_classes("aic")
    return _curves(asked, shares, background, codec).areas("on_top")


@row(
    "higher",
    "Kapishnikov et al. 2019, arXiv:1906.02825",
    "0 to 1. High: with few bytes of the picture the class is as likely again. A "
    "picture whose blur already gives the class is near 1 by any map: compare with the "
    "random one.",
    bad="The class becomes likely only when nearly all bytes are there: the map shows "
    "other things first.",
)
def sic(
    asked: Asked,
    shares: Sequence[float] = SHARES,
    background: object = "blur",
    codec: str = "webp",
) -> np.ndarray:
    """The area under the class's share of its probability over the information shown.

    (B,): as `aic`, of p(shown) / p(x), at most 1 (the authors' code sets 0 at what the
    background gets). The paper takes the median of such curves over a data set; this
    is the area of each.
    """
    asked.check_classes("sic")
    return _curves(asked, shares, background, codec).areas("likely")


@dataclass(frozen=True, eq=False)
class InformationCurves:
    """What the model makes of each picture while more and more of it is shown.

    known: (B, S), the share of the information, from 0 to 1. on_top: (B, S), 1 where
    the class is the top one, else 0. likely: (B, S), p(shown) / p(x), at most 1.
    """

    known: np.ndarray
    on_top: np.ndarray
    likely: np.ndarray

    def areas(self, which: str) -> np.ndarray:
        """(B,): the area under each curve, of "on_top" or "likely"."""
        pairs = zip(getattr(self, which), self.known, strict=True)
        return np.array([trapezoid(y, x) for y, x in pairs])

    def pooled(self, which: str, grid: Any) -> np.ndarray:
        """The paper's curve over the data set at shares `grid` (n,) of the information.

        (n,): the mean of "on_top" (AIC) or the median of "likely" (SIC), each curve
        joined by lines.
        """
        pairs = zip(getattr(self, which), self.known, strict=True)
        drawn = [np.interp(np.asarray(grid, float), x, y) for y, x in pairs]
        how: Callable = np.mean if which == "on_top" else np.median
        return how(drawn, axis=0)


def information_curves(
    model: Any,
    e: Explanation,
    preprocess: Callable | None = None,
    shares: Sequence[float] = SHARES,
    background: object = "blur",
    codec: str = "webp",
    batch_size: int = 32,
    seed: int = 0,
) -> InformationCurves:
    """The curves under which `aic` and `sic` are the areas; arguments as theirs.

    Raises InputError, OptionError.
    """
    asked = ask(wrap(model, preprocess), e, None, None, batch_size, seed)
    asked.check_classes("information_curves")
    return _curves(asked, shares, background, codec)


def _curves(
    asked: Asked, shares: Sequence[float], background: object, codec: str
) -> InformationCurves:
    one_of("codec", codec, CODECS)
    cuts = np.asarray(shares, float).ravel()
    if not len(cuts) or not ((cuts > 0) & (cuts < 1)).all():
        raise OptionError(f"shares={shares!r}.", "numbers between 0 and 1")
    grounds = backgrounds(background, asked.x, asked.maps, asked.seed)
    counts = np.unique(np.round(cuts * asked.maps[0].size).astype(int))
    counts = np.array([0, *counts[counts > 0], asked.maps[0].size])[:, None, None, None]
    curves: tuple[list, list, list] = ([], [], [])
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
        answers = asked.outputs(i, len(shown), shown.__getitem__, "probability")
        known = (sizes - sizes[0]) / (sizes[-1] - sizes[0])
        # More pixels never say less; a codec may be shorter by a few bytes.
        curves[0].append(np.clip(np.maximum.accumulate(known), 0, 1))
        curves[1].append((answers.argmax(1) == asked.target[i]).astype(float))
        p = np.maximum(answers[:, asked.target[i]], np.finfo(float).tiny)
        curves[2].append(np.minimum(p / p[-1], 1))
    return InformationCurves(*map(np.array, curves))


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
