"""XRAI: regions of an image, in the order of their mean relevance."""

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.validation import at_least, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import build as build_analyzer
from tfxai.gradient.base import NEEDS, row

#: The side to which images are resized before they are segmented, as in the paper.
SIDE = 224


@row(
    "xrai", "path", "regions of several scales, ranked by mean integrated gradients",
    "Kapishnikov et al. 2019, arXiv:1906.02825", f"images, and {NEEDS}",
    formula="R(region) = the mean integrated gradients of the pixels that the region "
    "adds",
    limits="The boundaries are those of the segmentation and not of the model: small "
    "or thin evidence is spread over its segment. For images only.",
    also_in="saliency",
    cost="n_steps (50) forward and backward passes of the model for each of two "
    "baselines, and a segmentation",
)  # fmt: skip
def xrai(
    wrapped: ModelWrapper,
    n_steps: int = 50,
    baseline: Sequence[Any] = ("min", "max"),
    scales: Sequence[float] = (50, 100, 150, 250, 500, 1200),
    sigma: float = 0.8,
    min_size: int = 150,
    dilation: int = 5,
    least: int = 50,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of XRAI, one value (B, H, W, 1) for each region.

    Integrated gradients, the mean over the baselines, are summed over the channels.
    Regions are the segments of Felzenszwalb's method at several scales, widened. One
    after another, the region whose new pixels have the largest mean is added, and they
    get that mean. Pixels in no region get the mean of the rest.

    Args:
        wrapped: The model.
        n_steps: Number of gradients for each baseline.
        baseline: Starts of the paths; see `integrated_gradients`. The paper uses black
            and white.
        scales: Scales of the segmentation, of images with 224 pixels per side.
        sigma: Width of the blur before segmentation.
        min_size: Smallest size of a segment, in pixels of 224 x 224.
        dilation: Radius in pixels by which segments are widened.
        least: Smallest number of new pixels of a region; smaller images take the share
            that this is of 224 x 224.
        target: Default target of `analyze`.

    Raises:
        OptionError: An option is out of range.
        InputError: The inputs are no images (raised by `analyze`).

    References:
        Kapishnikov et al. 2019, arXiv:1906.02825, algorithm 1. PAIR saliency takes the
        largest value over the channels in place of the sum, and 50 pixels of an image
        of any size; with the same integrated gradients and `least` the maps are equal.
    """
    whole_number("dilation", dilation, 0)
    whole_number("least", least, 1)
    whole_number("min_size", min_size, 1)
    at_least("sigma", sigma, 0)
    for name, value in (("baseline", baseline), ("scales", scales)):
        if not isinstance(value, list | tuple) or not value:
            raise OptionError(
                f"{name}={value!r}.", "a list of one or more", f"{name}=[1]"
            )
    paths = [
        build_analyzer(
            "integrated_gradients", wrapped, {"n_steps": n_steps, "baseline": start}
        )
        for start in baseline
    ]
    options = {"n_steps": n_steps, "sigma": sigma, "min_size": min_size}
    return _Regions(
        paths, options, target, scales=tuple(scales), dilation=dilation, least=least
    )


class _Regions(Analyzer):
    """The mean of several analyzers, ranked by regions."""

    def __init__(
        self, paths: list[Analyzer], options: dict[str, Any], target: Any, **own: Any
    ) -> None:
        first = paths[0]
        super().__init__("xrai", first.wrapped, first.make, target, options)
        self._paths, self._own = paths, {**options, **own}

    def analyze(
        self,
        x: Any,
        target: Any = None,
        batch_size: int = 32,
        progress: bool | None = None,
        tokens: Any = None,
    ) -> Explanation:
        """Return the explanation of a batch; arguments as for `Analyzer`."""
        target = self._target if target is None else target
        for path in self._paths:
            path.jit_compile, path.texts = self.jit_compile, self.texts
            path.recompute = self.recompute
        every = [p.analyze(x, target, batch_size, progress) for p in self._paths]
        e = every[0]
        images = e.inputs
        if isinstance(images, list) or images.ndim != 4:
            raise InputError(
                "xrai segments images, and the inputs are none.",
                "one input of images (B, H, W, C)",
                'method="integrated_gradients"',
            )
        mean = np.mean([np.asarray(v.relevance, float).sum(-1) for v in every], 0)
        flat = mean.reshape(len(images), -1, *images.shape[1:3])
        ranked = [
            [by_region(m, found, self._least(m)) for m in maps]
            for maps, found in zip(flat, map(self._segments, images), strict=True)
        ]
        shape = (*mean.shape, 1)
        relevance = np.asarray(ranked, np.float32).reshape(shape)
        kept = {k: v for k, v in e.extra.items() if k in ("output_shape",)}
        return replace(
            e, relevance=relevance, method="xrai", extra={**self.options, **kept},
            option_names=tuple(self.options),
        )  # fmt: skip

    def _least(self, m: np.ndarray) -> float:
        return float(self._own["least"] * min(1, m.size / SIDE**2))

    def _segments(self, image: np.ndarray) -> np.ndarray:
        """Return the regions (n, H, W) of bool of one image."""
        own = self._own
        return regions(
            image, own["scales"], own["sigma"], own["min_size"], own["dilation"]
        )


def regions(
    image: np.ndarray,
    scales: Sequence[float],
    sigma: float,
    min_size: int,
    dilation: int,
) -> np.ndarray:
    """Return the widened segments (n, H, W) of an image (H, W, C) at all scales."""
    skimage: Any = importlib.import_module("skimage")  # has no types
    morphology, segmentation = skimage.morphology, skimage.segmentation
    image = np.asarray(image, float)
    spread = np.ptp(image)
    scaled = 2 * (image - image.min()) / (spread or 1) - 1
    large = skimage.transform.resize(
        scaled, (SIDE, SIDE), order=3, mode="constant", preserve_range=True
    )
    found = []
    for scale in scales:
        labels = segmentation.felzenszwalb(
            large, scale=scale, sigma=sigma, min_size=min_size, channel_axis=-1
        )
        small = skimage.transform.resize(
            labels, image.shape[:2], order=0, preserve_range=True, mode="constant",
            anti_aliasing=False,
        ).astype(int)  # fmt: skip
        for label in np.unique(small):
            mask = small == label
            if dilation:
                mask = morphology.dilation(mask, morphology.disk(dilation))
            found.append(mask)
    return np.array(found)


def by_region(m: np.ndarray, masks: np.ndarray, least: float) -> np.ndarray:
    """Return the map (H, W) of the mean of each region's new pixels, best first.

    Args:
        m: Relevance (H, W).
        masks: Regions (n, H, W) of bool.
        least: Regions with fewer new pixels than this are left out.
    """
    values, inside = m.ravel(), masks.reshape(len(masks), -1).astype(np.float32)
    sums, counts = inside @ values, inside.sum(1)
    open_, result = np.ones(values.size, bool), np.zeros(values.size)
    while True:
        usable = (counts >= least) & (counts > 0)
        if not usable.any():
            break
        means = np.where(usable, sums / np.maximum(counts, 1), -np.inf)
        best = int(means.argmax())
        new = (inside[best] > 0) & open_
        result[new], open_[new] = values[new].mean(), False
        sums -= inside[:, new] @ values[new]  # every pixel is subtracted once
        counts -= inside[:, new].sum(1)
    if open_.any():
        result[open_] = values[open_].mean()
    return result.reshape(m.shape)
