"""Images by their spectra: the parametrisations of feature visualisation.

References:
    Fourier: Olah, Mordvintsev and Schubert 2017, Feature Visualization, Distill.
    MaCo: Fel et al. 2023, arXiv:2306.06805, section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.tensors import Tensor

#: Square root of the covariance of the colours of ImageNet, as Lucid publishes it.
IMAGENET_COLOURS = np.array(
    [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]]
)
#: Standard deviation of the numbers of a start, by method.
FOURIER_START, PHASE_START = 0.01, 1.0
TINY = 1e-5

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Parametrisation:
    """Images as a function of parameters.

    Attributes:
        start: (random generator) -> the initial parameters of one image, a list.
        image: (parameters (B, ...)) -> images (B, H, W, C) in [low, high].
        learning_rate: Factor of each update of Adam.
    """

    start: Callable[[np.random.Generator], list[Array]]
    image: Callable[[list[Tensor]], Tensor]
    learning_rate: float


@dataclass(frozen=True)
class Look:
    """What images look like: their shape, range, colours and mean spectrum.

    Attributes:
        shape: (H, W, C).
        low: Smallest value.
        high: Largest value.
        colours: Matrix (C, C) from uncorrelated numbers to the channels.
        magnitude: Mean magnitude of the spectrum, (C, H, W // 2 + 1).
    """

    shape: tuple[int, int, int]
    low: float
    high: float
    colours: Array
    magnitude: Array

    def drawn(self, y: Tensor) -> Tensor:
        """Return uncorrelated numbers (B, C, H, W) as images (B, H, W, C)."""
        channels = tf.transpose(y, [0, 2, 3, 1])
        mixed = tf.tensordot(channels, tf.constant(self.colours.T, tf.float32), 1)
        return self.low + (self.high - self.low) * tf.sigmoid(mixed)


def look_of(
    shape: tuple[int, int, int], low: float, high: float, images: Array | None
) -> Look:
    """Return the look of example images; without them, that of natural images.

    The colours are the square root of the covariance of the channels, divided by the
    largest norm of its columns. The magnitude is the mean over the images of
    |FFT(colours^-1 x)|. Without images: the colours of ImageNet for three channels,
    independent channels else; magnitude 1 / f.
    """
    *spatial, count = shape
    if images is None:
        colours = IMAGENET_COLOURS if count == 3 else np.eye(count)
        magnitude = np.stack([falloff(spatial)] * count)
        return Look(shape, low, high, normalised(colours), magnitude)
    x = np.asarray(images, np.float64)
    flat = x.reshape(-1, count)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(flat.T)))
    colours = normalised(vectors * np.sqrt(np.maximum(values, 0)))
    plain = (x - flat.mean(0)) @ np.linalg.pinv(colours).T
    spectra = np.abs(np.fft.rfft2(np.moveaxis(plain, -1, 1)))
    return Look(shape, low, high, colours, spectra.mean(0))


def normalised(colours: Array) -> Array:
    """Return a matrix of colours divided by the largest norm of its columns."""
    largest = np.linalg.norm(colours, axis=0).max()
    return np.asarray(colours / largest if largest > 0 else np.eye(len(colours)))


def falloff(spatial: list[int]) -> Array:
    """Return 1 / max(f, 1 / max(H, W)), (H, W // 2 + 1); f in cycles per pixel."""
    height, width = spatial
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    return np.asarray(1 / np.maximum(f, 1 / max(spatial)))


def fourier(look: Look) -> Parametrisation:
    """Return images whose parameters are a complex spectrum z, scaled by 1 / f.

    image = low + (high - low) sigmoid(colours IFFT(z sqrt(HW) / f) / 4).
    """
    height, width, count = look.shape
    scale = falloff([height, width]) * np.sqrt(height * width) / 4
    factor = tf.constant(scale, tf.float32)

    def start(rng: np.random.Generator) -> list[Array]:
        size = (2, count, *scale.shape)
        return [rng.normal(0, FOURIER_START, size).astype(np.float32)]

    def image(parameters: list[Tensor]) -> Tensor:
        real, imaginary = tf.unstack(parameters[0], axis=1)
        spectrum = tf.complex(real * factor, imaginary * factor)
        return look.drawn(tf.signal.irfft2d(spectrum, [height, width]))

    return Parametrisation(start, image, 0.4)


def maco(look: Look) -> Parametrisation:
    """Return images of a fixed magnitude r, whose parameters are the phase.

    image = low + (high - low) sigmoid(colours s(IFFT(r exp(i s(phase))))), where s
    subtracts the mean and divides by the standard deviation.
    """
    height, width, count = look.shape
    magnitude = tf.constant(look.magnitude, tf.float32)

    def start(rng: np.random.Generator) -> list[Array]:
        size = (count, *look.magnitude.shape[1:])
        return [rng.normal(0, PHASE_START, size).astype(np.float32)]

    def image(parameters: list[Tensor]) -> Tensor:
        phase = _standard(parameters[0])
        spectrum = tf.complex(magnitude * tf.cos(phase), magnitude * tf.sin(phase))
        y = tf.signal.irfft2d(spectrum, [height, width])
        return look.drawn(_standard(y))

    return Parametrisation(start, image, 0.3)


def _standard(v: Tensor) -> Tensor:
    """Return v (B, ...) with mean 0 and standard deviation 1 in each sample."""
    axes = list(range(1, len(v.shape)))
    mean = tf.reduce_mean(v, axes, keepdims=True)
    return (v - mean) / (tf.math.reduce_std(v, axes, keepdims=True) + TINY)


#: method -> (look) -> its parametrisation.
PARAMETRISATIONS: dict[str, Callable[[Look], Parametrisation]] = {
    "fourier": fourier,
    "maco": maco,
}
