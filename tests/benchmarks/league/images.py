"""Images whose class is known to lie in certain pixels, in the manner of XAI-TRIS.

Clark, Wilming and Haufe 2023, arXiv:2306.12816, section 3, written from the paper. The
shapes are two tetrominoes, a T and an L; an image is a mixture of shape and background,
both of norm 1, with the weight alpha of the shape:

- linear: the T in the upper left corner (class 0) or the L in the lower right corner
  (class 1). Which one is absent tells the class as well: both are the truth.
- multiplicative: the same shapes, but they dim the background instead of adding to it.
- moved: the T or the L, turned by 0, 90, 180 or 270 degrees, anywhere in the image.
- xor: both shapes, each bright or dark; the class is whether their signs agree.

Backgrounds: white noise; correlated noise (white noise, blurred); noise of the spectrum
of natural images (amplitudes 1 / f). `scenes` draws coloured objects: is the red one
left of the blue one? The green one is a distractor.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.ndimage import gaussian_filter

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
T = np.array([[1, 1, 1], [0, 1, 0]], float)
L = np.array([[1, 0], [1, 0], [1, 1]], float)
#: The background's name -> (white noise (N, H, W), H) -> the background.
BACKGROUNDS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "white": lambda g: g,
    "correlated": lambda g: gaussian_filter(g, (0, *[g.shape[1] / 8] * 2)),
    "natural": lambda g: _natural(g),
}


def _natural(noise: np.ndarray) -> np.ndarray:
    """Noise with the amplitudes 1 / f."""
    side = noise.shape[1]
    f = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    f[0, 0] = 1 / side
    return np.fft.ifft2(np.fft.fft2(noise) / f).real


def _unit(a: np.ndarray) -> np.ndarray:
    """Each image of norm 1."""
    return a / np.sqrt((a**2).sum((1, 2), keepdims=True))


def _put(shape: np.ndarray, row: int, column: int, side: int) -> np.ndarray:
    """The shape, enlarged with the image, at a cell of the grid of 8 x 8 cells."""
    picture = np.zeros((8, 8))
    picture[row : row + shape.shape[0], column : column + shape.shape[1]] = shape
    large = np.kron(picture, np.ones((side // 8,) * 2))
    return gaussian_filter(large, 1.5) if side > 8 else large


def _corners(rng: np.random.Generator, y: np.ndarray, side: int) -> np.ndarray:
    both = np.stack([_put(T, 1, 1, side), _put(L, 4, 5, side)])
    return both[y]


def _moved(rng: np.random.Generator, y: np.ndarray, side: int) -> np.ndarray:
    every: tuple[list, list] = ([], [])
    for i, shape in enumerate((T, L)):
        for turn in range(4):
            turned = np.rot90(shape, turn)
            for row in range(9 - turned.shape[0]):
                for column in range(9 - turned.shape[1]):
                    every[i].append(_put(turned, row, column, side))
    stacks = [np.stack(e) for e in every]
    return np.stack([stacks[c][rng.integers(len(stacks[c]))] for c in y])


def _xor(rng: np.random.Generator, y: np.ndarray, side: int) -> np.ndarray:
    first = rng.choice([-1.0, 1.0], len(y))
    second = np.where(y == 0, first, -first)
    corner = _put(T, 1, 1, side), _put(L, 4, 5, side)
    return first[:, None, None] * corner[0] + second[:, None, None] * corner[1]


RULES = {"linear": _corners, "multiplicative": _corners, "moved": _moved, "xor": _xor}


def tetrominoes(
    rng: np.random.Generator, n: int, rule: str, background: str, alpha: float, side=8
) -> Drawn:
    """Return images (n, side, side, 1), classes (n,) and masks (n, side, side)."""
    y = rng.integers(2, size=n)
    shape = RULES[rule](rng, y, side)
    noise = _unit(BACKGROUNDS[background](rng.normal(size=(n, side, side))))
    if rule == "multiplicative":
        x = (1 - alpha * shape) * noise
    else:
        x = alpha * _unit(shape) + (1 - alpha) * noise
    seen = np.abs(shape) > 0.05
    if rule in ("linear", "multiplicative"):  # what is absent tells the class as well
        seen = np.broadcast_to(seen.any(0), seen.shape)
    return np.float32(side * x)[..., None], y, seen


def scenes(rng: np.random.Generator, n: int, side: int = 16) -> Drawn:
    """Return scenes (n, side, side, 3) of a red, a blue and a green object.

    Class 1: the red one is left of the blue one. The red and the blue one are the
    truth.
    """
    x = rng.normal(0, 0.15, (n, side, side, 3))
    seen = np.zeros((n, side, side), bool)
    y = np.zeros(n, int)
    for i in range(n):
        places = _apart(rng, side)
        for colour, (top, left) in zip((0, 2, 1), places, strict=True):
            box = slice(top, top + 4), slice(left, left + 4)
            x[i][(*box, colour)] += _object(rng)
            seen[i][box] |= colour != 1
        y[i] = places[0][1] < places[1][1]
    return np.float32(x), y, seen


def _apart(rng: np.random.Generator, side: int) -> np.ndarray:
    """Three corners of objects that do not touch, the columns of two are apart."""
    while True:
        p = rng.integers(0, side - 3, (3, 2))
        gaps = [np.abs(p[i] - p[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))]
        if min(gaps) >= 5 and abs(p[0, 1] - p[1, 1]) >= 2:
            return p


def _object(rng: np.random.Generator) -> np.ndarray:
    """A disc or a square of 4 x 4 pixels."""
    square = np.ones((4, 4))
    if rng.integers(2):
        square[[0, 0, 3, 3], [0, 3, 0, 3]] = 0
    return square
