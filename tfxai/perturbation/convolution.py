"""A convolution over a few channels, as a product of matrices.

With 3 channels in and 3 out, a kernel is too small for a convolution routine. Here
`block` neighbours of a row stand side by side, and a Toeplitz matrix of the kernel
takes them and their surroundings, `(block + 2 r) C`, to their answers, `block D`.
"""

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor

BLOCK = 8


class Rows:
    """Pictures (H, W, C) as rows of blocks, (H, W / block, block C), of one size.

    size: of the kernels, odd.
    """

    def __init__(self, width: int, size: int) -> None:
        self._reach = size // 2
        self._width, self._block = width, max(BLOCK, self._reach)
        self._count = -(-width // self._block)
        window = np.arange(self._block + 2 * self._reach)[:, None, None]
        place, tap = np.arange(self._block)[:, None], np.arange(size)
        self._taps = (window == place + tap).astype(np.float32)

    def enter(self, x: Tensor) -> Tensor:
        """(H, W, C) -> rows, zeros behind the last pixel."""
        behind = self._count * self._block - self._width
        x = tf.pad(x, [[0, 0], [0, behind], [0, 0]])
        return tf.reshape(x, [x.shape[0], self._count, -1])

    def leave(self, rows: Tensor, channels: int) -> Tensor:
        """Rows -> (H, W, channels)."""
        made = tf.reshape(rows, [rows.shape[0], -1, channels])
        return made[:, : self._width]

    def matrix(self, kernel: Tensor) -> Tensor:
        """(size, (block + 2 r) C, block D) of a kernel (size, size, C, D)."""
        made = tf.einsum("wpv,uvcd->uwcpd", self._taps, kernel)
        size, window, inner, block, outer = made.shape
        return tf.reshape(made, [size, window * inner, block * outer])

    def convolved(self, rows: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        """The convolution with zeros around, plus `bias` (D,): rows in, rows out."""
        height, channels = rows.shape[0], rows.shape[-1] // self._block
        beside = self._reach * channels
        around = [[self._reach, self._reach], [1, 1], [0, 0]]
        p = tf.pad(rows, around)
        left = p[:, :-2, p.shape[-1] - beside :]
        window = tf.concat([left, p[:, 1:-1], p[:, 2:, :beside]], -1)
        flat = tf.reshape(window, [window.shape[0], self._count, -1])
        parts = [
            tf.reshape(flat[u : u + height], [height * self._count, -1]) @ matrix[u]
            for u in range(matrix.shape[0])
        ]
        made = tf.add_n(parts) + tf.tile(bias, [self._block])
        return self._inside(tf.reshape(made, [height, self._count, -1]))

    def _inside(self, rows: Tensor) -> Tensor:
        """Zeros again behind the last pixel: they are outside the picture."""
        behind = self._count * self._block - self._width
        if not behind:
            return rows
        channels = rows.shape[-1] // self._block
        inside = np.arange(self._count * self._block) < self._width
        inside = np.repeat(inside, channels).reshape(self._count, -1)
        return tf.where(inside, rows, 0.0)
