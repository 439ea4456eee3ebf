"""Optimised masks: the image regions whose blurring changes the output.

References:
    Meaningful perturbation: Fong and Vedaldi 2017, arXiv:1704.03296.
    Extremal perturbation: Fong, Patrick and Vedaldi 2019, arXiv:1910.08485.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, as_rows
from tfxai.perturbation.augmentation import Augment
from tfxai.perturbation.generator import Generator

#: Inverse temperature of the soft maximum of a smooth mask.
INVERSE_TEMPERATURE = 20.0
#: Growth factor of the weight of the area constraint, per iteration.
GROWTH = 1.0035
#: Pixels that differ by less are sorted in a random order at every iteration. Otherwise
#: their order in memory would select the region.
TIE_NOISE = 1e-3


def pyramid(x: np.ndarray[Any, Any], sigmas: list[float]) -> np.ndarray[Any, Any]:
    """Return images (B, H, W, C) blurred by each sigma, (B, L, H, W, C)."""
    from scipy.ndimage import gaussian_filter

    levels = [
        gaussian_filter(x, (0, s, s, 0), mode="nearest") if s else x for s in sigmas
    ]
    return np.stack(levels, 1).astype(np.float32)


def blended(levels: Tensor, mask: Tensor) -> Tensor:
    """Return the mixture of blur levels that a mask selects.

    Args:
        levels: Blurred images (B, L, H, W, C).
        mask: Values (B, H, W) in [0, 1]: 0 selects the first level and 1 the last, with
            linear interpolation between two levels.
    """
    count = levels.shape[1]
    at = mask[:, None] * (count - 1)
    level = tf.reshape(tf.range(count, dtype=tf.float32), [1, -1, 1, 1])
    weight = tf.nn.relu(1 - tf.abs(at - level))
    return tf.reduce_sum(weight[..., None] * levels, 1)


def deletion(
    spatial: tuple[int, int], cells: int, blur: float, l1: float, tv: float,
    beta: float, augment: Augment,
) -> Generator:  # fmt: skip
    """Return the generator of the deletion game.

    The smallest region whose blurring lowers the score. The cost is
    l1 mean |1 - m| + tv mean |grad m|^beta of the coarse mask m.

    Args:
        spatial: Height and width of the image.
        cells: Cells of the coarse mask along the longer side.
        blur: Standard deviation of the Gaussian in pixels.
        l1: Weight of the masked area.
        tv: Weight of the total variation.
        beta: Exponent of the total variation.
        augment: See `Generator`.
    """
    scale = cells / max(spatial)
    coarse = [max(1, round(n * scale)) for n in spatial]

    def perturb(parameters: list[Tensor], x: Tensor, constants: list[Tensor]) -> Tensor:
        return blended(constants[0], enlarged(parameters[0], spatial))

    def cost(parameters: list[Tensor], x: Tensor, changed: Tensor, i: Tensor) -> Tensor:
        m = parameters[0]
        variation = [
            tf.reduce_mean(tf.abs(d) ** beta, [1, 2]) if min(d.shape[1:]) else 0.0
            for d in (m[:, 1:] - m[:, :-1], m[:, :, 1:] - m[:, :, :-1])
        ]
        area = tf.reduce_mean(tf.abs(1 - m), [1, 2])
        return l1 * area + tv * (variation[0] + variation[1])

    return Generator(
        start=lambda rng, n_earlier: [np.float32(1 - 0.01 * rng.random(coarse))],
        perturb=perturb,
        cost=cost,
        relevance=lambda p, x, changed: 1 - enlarged(p[0], spatial)[..., None],
        project=_clip,
        constants=lambda x: [pyramid(x, [blur, 0.0])],
        augment=augment,
    )


def enlarged(mask: Tensor, spatial: tuple[int, int]) -> Tensor:
    """Return coarse masks (B, h, w) as (B, H, W), by bilinear interpolation."""
    return tf.image.resize(mask[..., None], spatial)[..., 0]


def preservation(
    spatial: tuple[int, int], area: float, stride: int, sigma: float, blur: float,
    levels: int, weight: float, seed: int, augment: Augment,
) -> Generator:  # fmt: skip
    """Return the generator of the preservation game.

    The region of a given area that keeps the score when the rest is blurred. The cost
    is weight * mean (sorted m - r)^2.

    Args:
        spatial: Height and width of the image.
        area: Share of the image that is kept.
        stride: Pixels from one parameter to the next.
        sigma: Radius of the smooth mask in pixels.
        blur: Standard deviation of the strongest Gaussian in pixels.
        levels: Number of blur levels.
        weight: Weight of the area constraint.
        seed: Seed of the random order of ties.
        augment: See `Generator`.
    """
    coarse = [-(-n // stride) for n in spatial]
    smooth_mask = smooth_maximum(spatial, stride, sigma)

    def perturb(parameters: list[Tensor], x: Tensor, constants: list[Tensor]) -> Tensor:
        return blended(constants[0], smooth_mask(parameters[0])[0])

    def cost(parameters: list[Tensor], x: Tensor, changed: Tensor, i: Tensor) -> Tensor:
        _, m = smooth_mask(parameters[0])
        m = as_rows(m)
        count = m.shape[1]
        kept = max(1, round(area * spatial[0] * spatial[1]))
        ideal = np.float32(np.arange(count) >= count - kept)
        noise = tf.random.stateless_uniform([count], tf.stack([seed, i]))
        sorted_m = tf.gather(m, tf.argsort(m + TIE_NOISE * noise), batch_dims=1)
        return weight * tf.reduce_mean(tf.square(sorted_m - ideal), -1)

    sigmas = [blur * (1 - i / (levels - 1)) for i in range(levels)]
    return Generator(
        start=lambda rng, n_earlier: [np.ones(coarse, np.float32)],
        perturb=perturb,
        cost=cost,
        relevance=lambda p, x, changed: smooth_mask(p[0])[0][..., None],
        project=_clip,
        constants=lambda x: [pyramid(x, sigmas)],
        augment=augment,
        sign=-1.0,
        cost_growth=GROWTH,
        optimiser="momentum",
    )


@lru_cache(maxsize=16)  # shared, since XLA frees no executable
def smooth_maximum(
    spatial: tuple[int, int], stride: int, sigma: float
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return a function of parameters (B, h, w) that computes the smooth mask.

    It returns the mask (B, H, W), and the same with a margin of `sigma` around it. The
    mask is the soft maximum of k(distance / sigma) m around each pixel, with
    k(z) = exp(-2 max(0, z - 1/2)^2). A parameter lies in the middle of `stride` x
    `stride` pixels. With the margin, a region at the border has the same cost as
    elsewhere.

    References:
        Fong et al. 2019, arXiv:1910.08485, section 3.2.
    """
    reach = 1 + int(np.ceil(sigma / stride))
    taps = np.arange(-reach, reach + 1)
    kernel = _smooth_kernel(taps, stride, sigma)
    margin = reach - 1

    def smooth_mask(m: Tensor) -> tuple[Tensor, Tensor]:
        padding = margin + reach
        p = tf.pad(m, [[0, 0], [padding, padding], [padding, padding]])
        h, w = (n + 2 * margin for n in m.shape[1:])
        shifted = [
            p[:, i : i + h, j : j + w]
            for i in range(len(taps))
            for j in range(len(taps))
        ]
        near = tf.stack(shifted, -1)[:, :, None, :, None] * kernel[None, None, :, None]
        weights = tf.nn.softmax(INVERSE_TEMPERATURE * near)
        soft = tf.reduce_sum(weights * near, -1)
        whole = tf.reshape(soft, [-1, h * stride, w * stride])
        first = margin * stride
        rows, columns = (slice(first, first + n) for n in spatial)
        return whole[:, rows, columns], whole

    compiled: Callable[[Tensor], tuple[Tensor, Tensor]] = tf.function(
        smooth_mask, jit_compile=True, autograph=False
    )
    return compiled


def _smooth_kernel(
    taps: np.ndarray[Any, Any], stride: int, sigma: float
) -> np.ndarray[Any, Any]:
    """Return k(distance / sigma) of each pixel of a cell to the parameters around it.

    The shape is (stride, stride, taps^2).
    """
    pixels = np.arange(stride) - (stride - 1) / 2
    squared = np.square(stride * taps - pixels[:, None])  # (stride, taps)
    distance = np.sqrt(squared[:, None, :, None] + squared[None, :, None, :])
    kernel = np.exp(-2 * np.square(np.maximum(0, distance / sigma - 0.5)))
    return np.asarray(kernel, np.float32).reshape(stride, stride, -1)


def _clip(parameters: list[Tensor]) -> list[Tensor]:
    """Return the parameters clipped to [0, 1]."""
    return [tf.clip_by_value(p, 0.0, 1.0) for p in parameters]
