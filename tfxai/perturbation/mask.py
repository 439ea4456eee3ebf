"""Masks that are learnt: which places must be blurred for the answer to change.

Meaningful perturbation: Fong and Vedaldi 2017, arXiv:1704.03296. Extremal perturbation:
Fong, Patrick and Vedaldi 2019, arXiv:1910.08485.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, as_rows
from tfxai.perturbation.generator import Generator

#: The kernel of a smooth mask falls off beyond half of its radius; its maximum is soft.
COLDNESS = 20.0
#: By how much the weight of the area grows at every step.
GROWTH = 1.0035
#: Which of two pixels is the smaller is tossed at every step where they differ by less:
#: else their order in memory would choose the place.
TOSS = 1e-3


def pyramid(x: np.ndarray, sigmas: list[float]) -> np.ndarray:
    """Pictures (B, H, W, C) blurred by each sigma, (B, L, H, W, C)."""
    from scipy.ndimage import gaussian_filter

    levels = [
        gaussian_filter(x, (0, s, s, 0), mode="nearest") if s else x for s in sigmas
    ]
    return np.stack(levels, 1).astype(np.float32)


def blended(levels: Tensor, mask: Tensor) -> Tensor:
    """Levels (B, L, H, W, C), between which the mask (B, H, W) in [0, 1] chooses.

    0 takes the first, 1 the last; between two levels, their mixture.
    """
    count = levels.shape[1]
    at = mask[:, None] * (count - 1)
    place = tf.reshape(tf.range(count, dtype=tf.float32), [1, -1, 1, 1])
    weight = tf.nn.relu(1 - tf.abs(at - place))
    return tf.reduce_sum(weight[..., None] * levels, 1)


def deletion(
    spatial: tuple[int, int], cells: int, blur: float, l1: float, tv: float,
    beta: float, shaken: Callable,
) -> Generator:  # fmt: skip
    """The least place whose blurring makes the score fall (deletion game).

    cells: of the coarse mask, along the longer side. The cost is l1 mean |1 - m| + tv
    mean |grad m|^beta of the coarse mask.
    """
    scale = cells / max(spatial)
    coarse = [max(1, round(n * scale)) for n in spatial]

    def paint(parameters: list, x: Tensor, aside: list) -> Tensor:
        return blended(aside[0], enlarged(parameters[0], spatial))

    def cost(parameters: list, x: Tensor, changed: Tensor, step: Tensor) -> Tensor:
        m = parameters[0]
        rough = [
            tf.reduce_mean(tf.abs(d) ** beta, [1, 2]) if min(d.shape[1:]) else 0.0
            for d in (m[:, 1:] - m[:, :-1], m[:, :, 1:] - m[:, :, :-1])
        ]
        return l1 * tf.reduce_mean(tf.abs(1 - m), [1, 2]) + tv * (rough[0] + rough[1])

    return Generator(
        lambda rng, before: [np.float32(1 - 0.01 * rng.random(coarse))],
        paint,
        cost,
        lambda p, x, changed: 1 - enlarged(p[0], spatial)[..., None],
        _within,
        lambda x: [pyramid(x, [blur, 0.0])],
        shaken,
    )


def enlarged(mask: Tensor, spatial: tuple[int, int]) -> Tensor:
    """Coarse masks (B, h, w) -> (B, H, W), bilinear."""
    return tf.image.resize(mask[..., None], spatial)[..., 0]


def preservation(
    spatial: tuple[int, int], area: float, step: int, sigma: float, blur: float,
    levels: int, weight: float, seed: int, shaken: Callable,
) -> Generator:  # fmt: skip
    """The place of the given area that keeps the score when all else is blurred.

    area: a share of the picture. step: pixels from one parameter to the next. sigma:
    the radius of the smooth mask. weight: of the area's cost, mean (sorted m - r)^2.
    """
    coarse = [-(-n // step) for n in spatial]
    made = smooth_maximum(spatial, step, sigma)

    def paint(parameters: list, x: Tensor, aside: list) -> Tensor:
        return blended(aside[0], made(parameters[0])[0])

    def cost(parameters: list, x: Tensor, changed: Tensor, now: Tensor) -> Tensor:
        _, m = made(parameters[0])
        m = as_rows(m)
        count = m.shape[1]
        kept = max(1, round(area * spatial[0] * spatial[1]))
        wanted = np.float32(np.arange(count) >= count - kept)
        toss = tf.random.stateless_uniform([count], tf.stack([seed, now]))
        sorted_m = tf.gather(m, tf.argsort(m + TOSS * toss), batch_dims=1)
        return weight * tf.reduce_mean(tf.square(sorted_m - wanted), -1)

    sigmas = [blur * (1 - i / (levels - 1)) for i in range(levels)]
    return Generator(
        lambda rng, before: [np.ones(coarse, np.float32)],
        paint,
        cost,
        lambda p, x, changed: made(p[0])[0][..., None],
        _within,
        lambda x: [pyramid(x, sigmas)],
        shaken,
        wanted=-1.0,
        growth=GROWTH,
        rule="momentum",
    )


def smooth_maximum(spatial: tuple[int, int], step: int, sigma: float) -> Callable:
    """(B, h, w) -> (B, H, W), and the same with a margin of `sigma` around it.

    The soft maximum of k(distance / sigma) m around each pixel, the paper's section
    3.2; k(z) = exp(-2 max(0, z - 1/2)^2). A parameter stands in the middle of `step` x
    `step` pixels. The margin lets a place at the border cost what it costs elsewhere.
    """
    reach = 1 + int(np.ceil(sigma / step))
    taps = np.arange(-reach, reach + 1)
    pixels = np.arange(step) - (step - 1) / 2
    away = np.square(step * taps - pixels[:, None])  # (step, taps)
    distance = np.sqrt(away[:, None, :, None] + away[None, :, None, :])
    kernel = np.exp(-2 * np.square(np.maximum(0, distance / sigma - 0.5)))
    kernel = np.float32(kernel).reshape(step, step, -1)
    margin = reach - 1

    @tf.function(jit_compile=True, autograph=False)
    def made(m: Tensor) -> tuple[Tensor, Tensor]:
        around = margin + reach
        p = tf.pad(m, [[0, 0], [around, around], [around, around]])
        h, w = (n + 2 * margin for n in m.shape[1:])
        near = [
            p[:, i : i + h, j : j + w]
            for i in range(len(taps))
            for j in range(len(taps))
        ]
        seen = tf.stack(near, -1)[:, :, None, :, None] * kernel[None, None, :, None]
        soft = tf.reduce_sum(tf.nn.softmax(COLDNESS * seen) * seen, -1)
        whole = tf.reshape(soft, [-1, h * step, w * step])
        first = margin * step
        rows, columns = (slice(first, first + n) for n in spatial)
        return whole[:, rows, columns], whole

    return made


def _within(parameters: list) -> list:
    return [tf.clip_by_value(p, 0.0, 1.0) for p in parameters]
