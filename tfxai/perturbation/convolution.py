"""A convolution over a few channels, as a product of matrices.

With 3 input and 3 output channels, a kernel is too small for a convolution routine.
Here `block` neighbours of an image row form one vector, and a Toeplitz matrix of the
kernel multiplies them and their surroundings, `(block + 2 r) C` numbers, to `block D`
outputs.
"""

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor

BLOCK = 8


class BlockedConvolution:
    """Convolution of images (H, W, C) stored as blocks (H, W / block, block C).

    All images have the same width, and all kernels the same odd `size`.
    """

    def __init__(self, width: int, size: int) -> None:
        self._radius = size // 2
        self._width, self._block = width, max(BLOCK, self._radius)
        self._count = -(-width // self._block)
        window = np.arange(self._block + 2 * self._radius)[:, None, None]
        position, tap = np.arange(self._block)[:, None], np.arange(size)
        self._taps = (window == position + tap).astype(np.float32)

    def to_blocks(self, x: Tensor) -> Tensor:
        """Return an image (H, W, C) as blocks, with zeros after the last pixel."""
        padding = self._count * self._block - self._width
        x = tf.pad(x, [[0, 0], [0, padding], [0, 0]])
        return tf.reshape(x, [x.shape[0], self._count, -1])

    def from_blocks(self, blocks: Tensor, channels: int) -> Tensor:
        """Return blocks as an image (H, W, channels)."""
        image = tf.reshape(blocks, [blocks.shape[0], -1, channels])
        return image[:, : self._width]

    def matrix(self, kernel: Tensor) -> Tensor:
        """Return the matrices (size, (block + 2 r) C, block D) of a kernel.

        The kernel has the shape (size, size, C, D).
        """
        toeplitz = tf.einsum("wpv,uvcd->uwcpd", self._taps, kernel)
        size, window, inner, block, outer = toeplitz.shape
        return tf.reshape(toeplitz, [size, window * inner, block * outer])

    def convolve(self, blocks: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        """Return the zero-padded convolution plus `bias` (D,), as blocks."""
        height, channels = blocks.shape[0], blocks.shape[-1] // self._block
        margin = self._radius * channels
        p = tf.pad(blocks, [[self._radius, self._radius], [1, 1], [0, 0]])
        left = p[:, :-2, p.shape[-1] - margin :]
        window = tf.concat([left, p[:, 1:-1], p[:, 2:, :margin]], -1)
        flat = tf.reshape(window, [window.shape[0], self._count, -1])
        parts = [
            tf.reshape(flat[u : u + height], [height * self._count, -1]) @ matrix[u]
            for u in range(matrix.shape[0])
        ]
        result = tf.add_n(parts) + tf.tile(bias, [self._block])
        return self._zero_outside(tf.reshape(result, [height, self._count, -1]))

    def _zero_outside(self, blocks: Tensor) -> Tensor:
        """Set the values after the last pixel to zero; they are outside the image."""
        if self._count * self._block == self._width:
            return blocks
        channels = blocks.shape[-1] // self._block
        inside = np.arange(self._count * self._block) < self._width
        inside = np.repeat(inside, channels).reshape(self._count, -1)
        return tf.where(inside, blocks, 0.0)
