"""Changes of the network's input at every iteration: shifts, reflections, crops."""

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


def random_crops(
    sides: tuple[float, float], spread: float, noise: float, n_iterations: int,
    seed: int,
) -> Callable[[Tensor, Tensor, int], Tensor]:  # fmt: skip
    """Return a function that draws square crops of images, resized to the images.

    Its arguments are images (B, H, W, C), the iteration, and the number n of crops of
    each image. It returns (B n, H, W, C), with the crops of an image together.

    Args:
        sides: Mean side of the crops at the first and the last iteration, in sides of
            the image; the standard deviation is 0.05.
        spread: Standard deviation of the centres around the middle of the image.
        noise: Standard deviation of Gaussian noise that is added.
        n_iterations: Number of iterations.
        seed: Seed of crops and noise.
    """
    first, last = sides

    def crops(x: Tensor, iteration: Tensor, n: int) -> Tensor:
        key = tf.stack([seed, 2 * iteration])
        count, spatial = x.shape[0] * n, x.shape[1:3]
        z = tf.random.stateless_normal([3, count], key)
        part = tf.cast(iteration, tf.float32) / max(1, n_iterations - 1)
        side = first + (last - first) * part + 0.05 * z[2]
        half = tf.clip_by_value(side, 0.05, 1.0) / 2
        centre = tf.clip_by_value(0.5 + spread * z[:2], half, 1 - half)
        corners = tf.transpose(tf.concat([centre - half, centre + half], 0))
        rows = tf.repeat(tf.range(x.shape[0]), n)
        cut = tf.image.crop_and_resize(x, corners, rows, spatial)
        return cut + noise * tf.random.stateless_normal(tf.shape(cut), key + 1)

    return crops
