"""Small images with a known explanation: two handwritten digits on a canvas.

The digits are those of scikit-learn (8 x 8 pixels), so that no download is needed. The
position of each digit is known to the pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError

SPLITS = ("train", "test")
SMALLEST = 32  # smaller scenes have fewer pixels per digit than the handwriting
GLYPH = 10  # the side of the handwriting, 8, and a margin of one pixel
OCTAVES = {3: 1.0, 6: 0.6, 12: 0.4}  # side of the noise grid -> its weight


@dataclass(frozen=True, eq=False)
class Scenes:
    """Images with two different digits that do not overlap.

    Attributes:
        images: (n, size, size, 3) float32 in [0, 1].
        labels: (n, 2) int, the digits.
        boxes: (n, 2, 4) float, the tight box [y0, x0, y1, x1] of each digit in
            fractions of the side, in the order of the labels.
        canvas: The images without the digits.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    canvas: np.ndarray


def scenes(
    n: int,
    seed: int = 0,
    size: int = 64,
    digits: Sequence[Any] | np.ndarray | None = None,
    split: str = "test",
) -> Scenes:
    """Return random scenes; equal arguments give equal scenes.

    Args:
        n: The number of scenes.
        seed: The seed of the random numbers.
        size: The side of the images in pixels, at least 32.
        digits: The two digits, (3, 7) for every scene or (n, 2). None samples them.
        split: "train" or "test". The two share no handwritten digit. The demo network
            is trained on the first and evaluated on the second.

    Raises:
        OptionError: An argument is invalid.

    Example:
        s = scenes(6, digits=(3, 7))
        s.images.shape                                    # (6, 64, 64, 3)
    """
    _check_scene(size, split)
    # the split is part of the seed, so that equal seeds give different canvases
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    labels = _labels(n, digits, rng)
    sides, corners = _positions(n, size, rng)
    alpha = _draw(_handwriting(labels, split, rng), sides, corners, size)
    canvas = _canvas(n, size, rng)
    images = canvas * (1 - alpha.sum(axis=1)[..., None])  # the digits do not overlap
    images += np.einsum("nkhw,nkc->nhwc", alpha, _ink(n, rng), optimize=True)
    return Scenes(images, labels, _tight(alpha), canvas)


def inside(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return masks (..., H, W) of the pixels whose centre lies in a box.

    Args:
        boxes: (..., 4), each [y0, x0, y1, x1] in fractions of the sides.
        shape: (H, W) of the masks, for example that of a heatmap of the scenes.

    Example:
        inside(s.boxes, (64, 64)).shape                   # (n, 2, 64, 64)
    """
    height, width = shape
    y0, x0, y1, x1 = np.moveaxis(np.asarray(boxes)[..., None], -2, 0)
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    rows, columns = (y0 <= y) & (y < y1), (x0 <= x) & (x < x1)
    masks: np.ndarray = rows[..., :, None] & columns[..., None, :]
    return masks


def _check_scene(size: int, split: str) -> None:
    """Raise OptionError for an invalid size or split."""
    if size < SMALLEST:
        raise OptionError(f"size={size}", f"{SMALLEST} pixels or more", "size=64")
    if split not in SPLITS:
        wanted = " or ".join(map(repr, SPLITS))
        raise OptionError(f"split={split!r}", wanted, 'split="test"')


def _labels(n: int, digits: Any, rng: np.random.Generator) -> np.ndarray:
    """Return labels (n, 2): the given digits, or two different random ones."""
    if digits is None:
        first = rng.integers(0, 10, n)
        return np.stack([first, (first + rng.integers(1, 10, n)) % 10], axis=1)
    pairs = np.asarray(digits)
    valid = pairs.shape in ((2,), (n, 2)) and np.isin(pairs, np.arange(10)).all()
    if not valid or (pairs[..., 0] == pairs[..., 1]).any():
        wanted = f"two different digits of 0 ... 9, or {n} rows of them"
        raise OptionError(f"digits={digits!r}", wanted, "digits=(3, 7)")
    return np.broadcast_to(pairs, (n, 2)).astype(np.int64)


@cache
def _digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the handwriting of a split (m, 10, 10) and its labels (m,), sorted."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    test = np.arange(len(labels)) % 5 == 0
    chosen = np.flatnonzero(test == (split == "test"))
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    glyphs = images[chosen].reshape(-1, 8, 8) / images.max()
    return np.pad(glyphs, ((0, 0), (1, 1), (1, 1))).astype("float32"), labels[chosen]


def _handwriting(
    labels: np.ndarray, split: str, rng: np.random.Generator
) -> np.ndarray:
    """Sample a handwritten digit (n, 2, 10, 10) for each of the labels (n, 2)."""
    glyphs, sorted_labels = _digits(split)
    start = np.searchsorted(sorted_labels, labels, "left")
    stop = np.searchsorted(sorted_labels, labels, "right")
    sampled: np.ndarray = glyphs[rng.integers(start, stop)]
    return sampled


def _smallest(size: int) -> int:
    """Return the smallest side of a digit's square; the largest is half the scene."""
    return size * 26 // 64


def _positions(
    n: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return sides (n, 2) and corners (n, 2, [y, x]) of squares that do not overlap.

    Along one random axis the squares are separated: the pixels that they do not cover
    are split randomly into those before, between and after them. Along the other axis
    their positions are independent.
    """
    sides = rng.integers(_smallest(size), size // 2 + 1, (n, 2))
    free = size - sides
    corners = rng.integers(0, free[..., None] + 1, (n, 2, 2))
    uncovered = size - sides.sum(axis=1, keepdims=True)
    cuts = np.sort(rng.integers(0, uncovered + 1, (n, 2)), axis=1)
    separate = cuts + np.stack([np.zeros(n, int), sides[:, 0]], axis=1)
    flipped = (
        rng.random((n, 1)) < 0.5
    )  # the second digit can be the first along the axis
    separate = np.where(flipped, free - separate, separate)
    vertical = rng.random((n, 1)) < 0.5
    corners[..., 0] = np.where(vertical, separate, corners[..., 0])
    corners[..., 1] = np.where(vertical, corners[..., 1], separate)
    return sides, corners


@cache
def _enlarge(small: int, large: int) -> np.ndarray:
    """Return the matrix (large, small) of cubic resizing along one axis."""
    from skimage.transform import resize

    resized: Any = resize
    eye = np.eye(small)
    # without clipping, which is not linear
    matrix = resized(eye, (large, small), order=3, clip=False, anti_aliasing=False)
    weights: np.ndarray = matrix.astype("float32")
    return weights


@cache
def _resize_matrices(size: int) -> np.ndarray:
    """Return `_enlarge(10, side)` by side, padded with 0: (size // 2 + 1, size, 10)."""
    matrices = np.zeros((size // 2 + 1, size, GLYPH), "float32")
    for side in range(_smallest(size), size // 2 + 1):
        matrices[side, :side] = _enlarge(GLYPH, side)
    return matrices


def _draw(
    glyphs: np.ndarray, sides: np.ndarray, corners: np.ndarray, size: int
) -> np.ndarray:
    """Return the opacity (n, 2, size, size) of the digits in their squares."""
    pixel = np.arange(size) - corners[..., None]  # (n, 2, [y, x], size)
    # the last row of every matrix is zero; pixels before the corner use it
    rows = np.where(pixel >= 0, pixel, size - 1)
    y, x = np.moveaxis(_resize_matrices(size)[sides[..., None, None], rows], 2, 0)
    soft = y @ glyphs @ np.swapaxes(x, -1, -2)
    opacity: np.ndarray = np.clip(2.5 * soft - 0.75, 0, 1)  # sharpens the edges
    return opacity


def _canvas(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return dark canvases (n, size, size, 3) with a texture of smooth noise."""
    field, grid = np.zeros((n, 3, 1, 1), "float32"), 1
    for finer, weight in OCTAVES.items():
        up, grid = _enlarge(grid, finer), finer
        noise = rng.standard_normal((n, 3, grid, grid), "float32")
        field = up @ field @ up.T + weight * noise
    up = _enlarge(grid, size)
    canvas = up @ (0.06 * field) @ up.T
    canvas += rng.uniform(0.1, 0.3, (n, 3, 1, 1))
    np.clip(canvas, 0, 1, out=canvas)
    return np.ascontiguousarray(np.moveaxis(canvas, 1, -1))


def _ink(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return bright colours (n, 2, 3) in [0.5, 0.95]; one channel has the maximum."""
    colour = rng.random((n, 2, 3), "float32")
    bright: np.ndarray = 0.5 + 0.45 * colour / colour.max(axis=-1, keepdims=True)
    return bright


def _tight(alpha: np.ndarray) -> np.ndarray:
    """Return tight boxes (n, 2, [y0, x0, y1, x1]) of the opacity (n, 2, H, W)."""
    edges = []
    for axis in (3, 2):  # the ends of the rows, then of the columns
        covered = np.any(alpha > 0, axis=axis)
        first, last = covered.argmax(axis=-1), covered[..., ::-1].argmax(axis=-1)
        edges.append((first / covered.shape[-1], 1 - last / covered.shape[-1]))
    (y0, y1), (x0, x1) = edges
    return np.stack([y0, x0, y1, x1], axis=-1)
