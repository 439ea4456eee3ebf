"""Linear maps, and transposed ones, that are faster than TensorFlow's own on a CPU.

A map is `apply(inputs, kernel)` and its transpose `transpose(s (N, ...), kernel)`, as a
`Step` holds them: W x and W^T s, the same to rounding. Where a GPU is visible,
TensorFlow's own convolutions are taken.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, size
from tfxai.graph.step import Mapped

#: Positions of a map, and channels that it reads, from which a convolution is faster.
MANY, DEEP = 112 * 112, 16
#: Channels, and a factor of the filters, of a kernel that is split; the least number of
#: values that come out; the filters of each part.
WIDE, MUCH, PART = 256, 14 * 14 * 512, 64
#: Channels that are few: those of a picture, where the gradient takes 3 to 8 times as
#: long as the convolution itself.
FEW = 4


def dense_back(s: Tensor, kernel: Tensor | Mapped) -> Tensor:
    """s W^T as (W s^T)^T: for a few rows s, TensorFlow's s W^T copies W first."""
    flat = tf.reshape(s, [-1, s.shape[-1]])
    if not isinstance(kernel, Mapped):
        down = tf.matmul(kernel, flat, transpose_b=True)
    else:
        parts: list[Any] = []
        for block in kernel.blocks():
            with tf.control_dependencies(parts[-1:]):
                parts.append(tf.matmul(kernel.rows(block), flat, transpose_b=True))
        down = tf.concat(parts, 0)
    return tf.reshape(tf.transpose(down), [*size(s)[:-1], down.shape[0]])


def convolution(
    layer: Any, shape: tuple[Any, ...]
) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    """The maps of a convolution that reads `shape`, there and back; None: TensorFlow's.

    shape: (height, width, channels).
    """
    plain = layer.rank == 2 and layer.groups == 1 and layer.padding != "causal"
    plain = plain and layer.data_format == "channels_last" and None not in shape
    plain = plain and {*layer.dilation_rate} == {1} and len({*layer.strides}) == 1
    if not plain or tf.config.get_visible_devices("GPU"):
        return None, None
    (stride, _), padding = layer.strides, layer.padding.upper()
    if stride > 1:
        few = shape[2] <= FEW
        return None, _by_phases(layer, shape, stride) if few else None
    there = back = None
    positions = shape[0] * shape[1]
    deep = shape[2] >= WIDE and layer.filters % WIDE == 0
    if deep and positions * layer.filters >= MUCH and max(layer.kernel_size) > 1:
        there, back = _in_parts(padding), _by_gradient(shape, padding)
    if shape[2] >= DEEP and positions >= MANY:
        back = _turned_round(layer)
    return there, back


def _in_parts(padding: str) -> Callable[..., Any]:
    """Stride 1: a convolution for every 64 filters, their outputs side by side.

    TensorFlow 2.21 reads a kernel that may change where it lies, and rows of 256 or 512
    filters lie a power of 2 apart, which a cache holds badly: the 3 x 3 convolutions of
    VGG16 from 256 channels on take it 1.3 to 1.6 times as long as in parts (one
    picture, on an Intel; of four pictures and more, as long). Of smaller maps (7 x 7 of
    512 channels, 14 x 14 of 256) to copy the parts takes what they gain.
    """

    def apply(v: list[Any], kernel: Tensor) -> Tensor:
        parts = tf.split(kernel, kernel.shape[3] // PART, 3)
        return tf.concat([tf.nn.conv2d(v[0], w, 1, padding) for w in parts], 3)

    return apply


def _by_gradient(shape: tuple[Any, ...], padding: str) -> Callable[..., Any]:
    """TensorFlow's own transpose: that of the whole kernel, not of its parts."""

    def transpose(s: Tensor, kernel: Tensor) -> Tensor:
        return tf.nn.conv2d_transpose(s, kernel, [size(s)[0], *shape], 1, padding)

    return transpose


def _turned_round(layer: Any) -> Callable[..., Any]:
    """Stride 1: a convolution with the kernel flipped, its channel axes swapped.

    From 112 x 112 positions it was never the slower one, on an AMD and an Intel
    processor. For smaller maps that depends on the processor (from 28 x 28, a whole
    map of guided backprop of VGG16 takes an Intel an eighth longer), and for few input
    channels the gradient is the faster one.
    """
    same = layer.padding == "same"  # which cuts (k - 1) // 2 before and k // 2 behind
    pads = [
        [k // 2, (k - 1) // 2] if same else [k - 1, k - 1] for k in layer.kernel_size
    ]

    def transpose(s: Tensor, kernel: Tensor) -> Tensor:
        turned = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
        return tf.nn.conv2d(s, turned, 1, [[0, 0], *pads, [0, 0]])

    return transpose


def _by_phases(layer: Any, shape: tuple[Any, ...], stride: int) -> Callable[..., Any]:
    """Stride n: one convolution of stride 1 for the n x n phases of a position.

    With p zeros before the map, x'[n q + r] = sum_j s[q - j] w[n j + r] is what comes
    to position n q + r - p, for r = 0 .. n - 1 and j = 0 .. ceil(k / n) - 1: for each r
    a full convolution, with every n-th row of the kernel. All of them are one kernel of
    n n times as many channels, which `depth_to_space` lays side by side. The first
    convolution of a network takes a third of its gradient's time, or less.
    """
    sides = list(zip(shape[:2], layer.kernel_size, strict=True))
    reach = [-(-k // stride) for _, k in sides]
    cut = [0, 0]
    if layer.padding == "same":
        cut = [max(0, (-(-n // stride) - 1) * stride + k - n) // 2 for n, k in sides]
    full = [[0, 0], *([j - 1, j - 1] for j in reach), [0, 0]]

    def transpose(s: Tensor, kernel: Tensor) -> Tensor:
        more = [
            [0, j * stride - k] for j, k in zip(reach, kernel.shape[:2], strict=True)
        ]
        into, out = kernel.shape[2:]
        phases = tf.reshape(
            tf.pad(kernel, [*more, [0, 0], [0, 0]]),
            [reach[0], stride, reach[1], stride, into, out],
        )
        phases = tf.transpose(tf.reverse(phases, [0, 2]), [0, 2, 5, 1, 3, 4])
        phases = tf.reshape(phases, [*reach, out, stride * stride * into])
        x = tf.nn.depth_to_space(tf.nn.conv2d(s, phases, 1, full), stride)
        x = x[:, cut[0] : cut[0] + shape[0], cut[1] : cut[1] + shape[1]]
        left = [[0, n - m] for n, m in zip(shape, x.shape[1:], strict=True)]
        return tf.pad(x, [[0, 0], *left])  # rows that no output reads

    return transpose
