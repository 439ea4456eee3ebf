"""The perturbation CNN: a small network that rewrites a picture.

*Deep Explanation: using AI for explaining the results of AI* (R. Rodriguez,
github.com/roberto1648): blocks of convolutions and a ReLU, and the answer stretched to
the picture's own range. As published, one kernel and one bias serve every layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor, positive
from tfxai.perturbation.convolution import Rows

#: How far an "identity" start is from changing nothing, in units of a random one, and
#: how many times as far each is from the third on: a sure answer has no slope near by.
NOISE, FARTHER = 0.1, 3.0


@dataclass(frozen=True)
class Generator:
    """What rewrites inputs x (B, ...), each sample by parameters of its own.

    start: (a random generator, how many starts there were) -> the parameters of one
        sample, a list of arrays.
    paint: (parameters (B, ...), x, aside) -> the changed x.
    cost: (parameters, x, changed, step) -> (B,), what a change costs.
    map: (parameters, x, changed) -> relevance (B, H, W, C').
    settle: what is made of the parameters after a step, a projection say.
    aside: x as an array -> what `paint` is told beside it, a list of arrays (B, ...).
    shaken: (changed, step) -> changed, as the network sees it at this step.
    wanted: +1 where the score is to fall, -1 where it is to stay.
    growth: of the cost's weight, at every step.
    rule: by which steps are taken; see `descent.RULES`.
    """

    start: Callable[[np.random.Generator, int], list]
    paint: Callable[[list, Tensor, list], Tensor]
    cost: Callable[[list, Tensor, Tensor, Tensor], Tensor]
    map: Callable[[list, Tensor, Tensor], Tensor]
    settle: Callable[[list], list] = list
    aside: Callable[[np.ndarray], list] = lambda x: []
    shaken: Callable[[Tensor, Tensor], Tensor] = lambda changed, step: changed
    wanted: float = 1.0
    growth: float = 1.0
    rule: str = "adam"


def _range(x: Tensor) -> tuple[Tensor, Tensor]:
    low = tf.reduce_min(x)
    return low, tf.reduce_max(x) - low


#: name -> (what is taken off one picture, what it is divided by) for the generator.
NORMALISED: dict[str, Callable] = {
    "range": _range,
    "standard": lambda x: (tf.reduce_mean(x), tf.math.reduce_std(x)),
    "none": lambda x: (0.0, 1.0),
}
STARTS = ("identity", "random")


def shared(size: int, layers: list[int], channels: int, start: str) -> tuple:
    """One kernel (size, size, C, C) and one bias (C,) for all layers.

    layers: the number of convolutions in each block. Returns (start, paint), as those
    of a `Generator`, of one sample (H, W, C).
    """

    def paint(parameters: list, x: Tensor) -> Tensor:
        kernel, bias = parameters
        rows = Rows(x.shape[1], size)
        matrix, y = rows.matrix(kernel), rows.enter(x)
        for count in layers:
            for _ in range(count):
                y = rows.convolved(y, matrix, bias)
            y = positive(y)
        return rows.leave(y, channels)

    def draw(rng: np.random.Generator, before: int) -> list:
        return _drawn(rng, before, size, channels, channels, start)

    return draw, paint


def unshared(
    size: int, layers: list[int], channels: int, start: str, width: int
) -> tuple:
    """A kernel and a bias for every layer, with `width` channels between them."""
    count = sum(layers)
    widths = [channels, *[width] * (count - 1), channels]
    ends = set(np.cumsum(layers).tolist())

    def draw(rng: np.random.Generator, before: int) -> list:
        made = [_drawn(rng, before, size, *pair, start) for pair in pairwise(widths)]
        return [v for pair in made for v in pair]

    def paint(parameters: list, x: Tensor) -> Tensor:
        y = x[None]
        for i in range(count):
            y = tf.nn.conv2d(y, parameters[2 * i], 1, "SAME") + parameters[2 * i + 1]
            y = positive(y) if i + 1 in ends else y
        return y[0]

    return draw, paint


def _drawn(
    rng: np.random.Generator, before: int, size: int, inner: int, outer: int, start: str
) -> list:
    """A kernel and a bias: uniform within 1 / sqrt(fan in), alone or beside a Dirac.

    before: how many starts there were; from the third on each has more of the noise.
    """
    most = 1 / np.sqrt(size * size * inner)
    kernel = rng.uniform(-most, most, (size, size, inner, outer))
    bias = rng.uniform(-most, most, outer)
    if start == "identity":
        noise = NOISE * FARTHER ** max(0, before - 1)
        kernel, bias = noise * kernel, noise * bias
        both = range(min(inner, outer))
        kernel[size // 2, size // 2, both, both] += 1
    return [np.float32(kernel), np.float32(bias)]


def convolutional(
    one: tuple, normalise: str, l1: float, unit: float | None
) -> Generator:
    """The perturbation CNN of (start, paint) of one sample.

    l1: weighs mean |x - x'| / unit. unit: None is each picture's range.
    """
    start, paint = one

    @tf.function(jit_compile=True, autograph=False)  # compiled once for all samples
    def painted(parameters: list, x: Tensor) -> Tensor:
        off, by = NORMALISED[normalise](x)
        return stretched(paint(parameters, (x - off) / by), x)

    def all_painted(parameters: list, x: Tensor, aside: list) -> Tensor:
        samples = zip(*(tf.unstack(v) for v in (x, *parameters)), strict=True)
        return tf.stack([painted(list(own), v) for v, *own in samples])

    def cost(parameters: list, x: Tensor, changed: Tensor, step: Any) -> Tensor:
        away = tf.reduce_mean(tf.abs(x - changed), [1, 2, 3])
        return l1 * away / (ranges(x) if unit is None else unit)

    return Generator(start, all_painted, cost, lambda p, x, changed: x - changed)


def ranges(x: Tensor) -> Tensor:
    """max - min of each picture, (B,)."""
    return tf.reduce_max(x, [1, 2, 3]) - tf.reduce_min(x, [1, 2, 3])


def stretched(y: Tensor, x: Tensor) -> Tensor:
    """y moved and scaled to the range of x; a constant y to the least of x."""
    low, wide = _range(x)
    y = y - tf.reduce_min(y)
    return tf.math.divide_no_nan(y, tf.reduce_max(y)) * wide + low
