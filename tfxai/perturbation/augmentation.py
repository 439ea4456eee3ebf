"""Changes of the network's input at every iteration: shifts and reflections."""

from collections.abc import Callable

import tensorflow as tf

from tfxai.base.tensors import Tensor

#: (images (B, H, W, C), iteration) -> images.
Augment = Callable[[Tensor, Tensor], Tensor]


def random_shift(most: int, seed: int) -> Augment:
    """Return a function that rolls images by up to `most` pixels along each axis.

    The shift is sampled at every iteration.
    """

    def shift(x: Tensor, iteration: Tensor) -> Tensor:
        by = tf.random.stateless_uniform(
            [2], tf.stack([seed, iteration]), -most, most + 1, tf.int32
        )
        return tf.roll(x, by, [1, 2])

    return shift


def unchanged(x: Tensor, iteration: Tensor) -> Tensor:
    """Return the images."""
    return x


def alternate_flip(x: Tensor, iteration: Tensor) -> Tensor:
    """Return the images, mirrored horizontally at even iterations."""
    return tf.cond(iteration % 2 == 0, lambda: tf.reverse(x, [2]), lambda: x)
