"""The perturbation CNN: a small network that rewrites an image.

*Deep Explanation: using AI for explaining the results of AI* (R. Rodriguez,
github.com/roberto1648): blocks of convolutions and a ReLU, with the output stretched to
the range of the image. As published, one kernel and one bias serve every layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, positive
from tfxai.perturbation.convolution import BlockedConvolution

#: The noise of an "identity" start, in units of a random start, and the factor by which
#: it grows with each start from the third on: near the identity, the gradient of a
#: saturated probability is zero.
NOISE, NOISE_GROWTH = 0.1, 3.0

#: (random generator, number of earlier starts) -> parameters of one sample.
Start = Callable[[np.random.Generator, int], list[Any]]
#: (parameters, image (H, W, C)) -> changed image, of one sample.
PerturbOne = Callable[[list[Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Generator:
    """Functions that change inputs x (B, ...) by parameters of each sample.

    Attributes:
        start: (random generator, number of earlier starts) -> the initial parameters of
            one sample, a list of arrays.
        perturb: (parameters (B, ...), x, constants) -> the changed x.
        cost: (parameters, x, changed, iteration) -> cost of the change, (B,).
        relevance: (parameters, x, changed) -> relevance (B, H, W, C').
        project: Function applied to the parameters after an update.
        constants: x as an array -> arrays (B, ...) that `perturb` receives.
        augment: (changed, iteration) -> the input of the network.
        sign: +1 if the score is minimised, -1 if it is maximised.
        cost_growth: Factor of the cost's weight at every iteration.
        optimiser: A name of `descent.OPTIMISERS`.
    """

    start: Start
    perturb: Callable[[list[Tensor], Tensor, list[Tensor]], Tensor]
    cost: Callable[[list[Tensor], Tensor, Tensor, Tensor], Tensor]
    relevance: Callable[[list[Tensor], Tensor, Tensor], Tensor]
    project: Callable[[list[Tensor]], list[Tensor]] = list
    constants: Callable[[np.ndarray[Any, Any]], list[Any]] = lambda x: []
    augment: Callable[[Tensor, Tensor], Tensor] = lambda changed, iteration: changed
    sign: float = 1.0
    cost_growth: float = 1.0
    optimiser: str = "adam"


def _range(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the minimum and the range."""
    low = tf.reduce_min(x)
    return low, tf.reduce_max(x) - low


#: name -> (image) -> (offset to subtract, scale to divide by).
NORMALISED: dict[str, Callable[[Tensor], tuple[Any, Any]]] = {
    "range": _range,
    "standard": lambda x: (tf.reduce_mean(x), tf.math.reduce_std(x)),
    "none": lambda x: (0.0, 1.0),
}
STARTS = ("identity", "random")


def shared(
    size: int, layers: list[int], channels: int, start: str
) -> tuple[Start, PerturbOne]:
    """Return (start, perturb) of a CNN with one kernel and one bias for all layers.

    The kernel has the shape (size, size, C, C) and the bias (C,). Both functions are
    those of a `Generator`, for one sample (H, W, C).

    Args:
        size: Size of the kernel.
        layers: Number of convolutions in each block.
        channels: Number of channels C.
        start: "identity" or "random".
    """

    def perturb(parameters: list[Tensor], x: Tensor) -> Tensor:
        kernel, bias = parameters
        convolution = BlockedConvolution(x.shape[1], size)
        matrix, y = convolution.matrix(kernel), convolution.to_blocks(x)
        for count in layers:
            for _ in range(count):
                y = convolution.convolve(y, matrix, bias)
            y = positive(y)
        return convolution.from_blocks(y, channels)

    def initial(rng: np.random.Generator, n_earlier: int) -> list[Any]:
        return _random_layer(rng, n_earlier, size, channels, channels, start)

    return initial, perturb


def unshared(
    size: int, layers: list[int], channels: int, start: str, width: int
) -> tuple[Start, PerturbOne]:
    """Return (start, perturb) of a CNN with a kernel and a bias for every layer.

    `width` is the number of channels between layers; the other arguments are those of
    `shared`.
    """
    count = sum(layers)
    widths = [channels, *[width] * (count - 1), channels]
    block_ends = set(np.cumsum(layers).tolist())

    def initial(rng: np.random.Generator, n_earlier: int) -> list[Any]:
        pairs = [
            _random_layer(rng, n_earlier, size, *pair, start)
            for pair in pairwise(widths)
        ]
        return [v for pair in pairs for v in pair]

    def perturb(parameters: list[Tensor], x: Tensor) -> Tensor:
        y = x[None]
        for i in range(count):
            y = tf.nn.conv2d(y, parameters[2 * i], 1, "SAME") + parameters[2 * i + 1]
            y = positive(y) if i + 1 in block_ends else y
        return y[0]

    return initial, perturb


def _random_layer(
    rng: np.random.Generator, n_earlier: int, size: int, inner: int, outer: int,
    start: str,
) -> list[Any]:  # fmt: skip
    """Return a kernel and a bias, uniform within 1 / sqrt(fan in).

    An "identity" start adds a Dirac kernel and scales the noise down; the noise grows
    from the third start on (`n_earlier` is 2).
    """
    most = 1 / np.sqrt(size * size * inner)
    kernel = rng.uniform(-most, most, (size, size, inner, outer))
    bias = rng.uniform(-most, most, outer)
    if start == "identity":
        noise = NOISE * NOISE_GROWTH ** max(0, n_earlier - 1)
        kernel, bias = noise * kernel, noise * bias
        both = range(min(inner, outer))
        kernel[size // 2, size // 2, both, both] += 1
    return [np.float32(kernel), np.float32(bias)]


def convolutional(
    network: tuple[Start, PerturbOne], normalise: str, l1: float, unit: float | None
) -> Generator:
    """Return the generator of the perturbation CNN.

    Args:
        network: (start, perturb) of one sample, from `shared` or `unshared`.
        normalise: A name of `NORMALISED`.
        l1: Weight of mean |x - x'| / unit.
        unit: Unit of the difference. None is the range of each image.
    """
    start, perturb_one = network

    def normalised(parameters: list[Tensor], x: Tensor) -> Tensor:
        offset, scale = NORMALISED[normalise](x)
        return stretched(perturb_one(parameters, (x - offset) / scale), x)

    # One compilation serves all samples.
    compiled = tf.function(normalised, jit_compile=True, autograph=False)

    def perturb(parameters: list[Tensor], x: Tensor, constants: list[Tensor]) -> Tensor:
        samples = zip(*(tf.unstack(v) for v in (x, *parameters)), strict=True)
        return tf.stack([compiled(list(own), v) for v, *own in samples])

    def cost(parameters: list[Tensor], x: Tensor, changed: Tensor, i: Tensor) -> Tensor:
        distance = tf.reduce_mean(tf.abs(x - changed), [1, 2, 3])
        return l1 * distance / (ranges(x) if unit is None else unit)

    return Generator(start, perturb, cost, lambda p, x, changed: x - changed)


def ranges(x: Tensor) -> Tensor:
    """Return max - min of each image, (B,)."""
    return tf.reduce_max(x, [1, 2, 3]) - tf.reduce_min(x, [1, 2, 3])


def stretched(y: Tensor, x: Tensor) -> Tensor:
    """Return y shifted and scaled to the range of x; a constant y becomes min(x)."""
    low, span = _range(x)
    y = y - tf.reduce_min(y)
    return tf.math.divide_no_nan(y, tf.reduce_max(y)) * span + low
