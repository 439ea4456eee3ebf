"""Small pictures whose right explanation is known: two handwritten digits on a canvas.

The digits are real handwriting (the 8 x 8 digits that come with scikit-learn), so no
download is needed; where each one lies is known to the pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tfxai.base.errors import OptionError

SPLITS = ("train", "test")
SMALLEST = 32  # below, a digit would be drawn with fewer pixels than it has
GLYPH = 10  # the 8 x 8 handwriting and a margin of one pixel
OCTAVES = {3: 1.0, 6: 0.6, 12: 0.4}  # grid of the noise -> its weight


@dataclass(frozen=True, eq=False)
class Scenes:
    """`n` pictures of two different digits that do not overlap.

    `images` (n, size, size, 3) float32 in [0, 1]; `labels` (n, 2) int; `boxes`
    (n, 2, 4) float, the tight box [y0, x0, y1, x1] of each digit in fractions of the
    side, in the order of the labels; `canvas` like `images`, before anything was
    written on it.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    canvas: np.ndarray


def scenes(
    n: int,
    seed: int = 0,
    size: int = 64,
    digits: Sequence | np.ndarray | None = None,
    split: str = "test",
) -> Scenes:
    """Draw `n` scenes of `size` x `size` pixels, the same ones for the same arguments.

    `digits` are the two to draw: `(3, 7)` for every scene or one row per scene,
    (n, 2); None draws them too. "train" and "test" scenes share no handwritten digit:
    the demo network learns from the first and is shown the second.

        s = scenes(6, digits=(3, 7))
        s.images.shape                                    # (6, 64, 64, 3)
    """
    _check(size, split)
    # the split is part of the seed: equal seeds must not give equal canvases
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    labels = _labels(n, digits, rng)
    sides, corners = _places(n, size, rng)
    alpha = _draw(_handwriting(labels, split, rng), sides, corners, size)
    canvas = _canvas(n, size, rng)
    images = canvas * (1 - alpha.sum(axis=1)[..., None])  # the digits do not overlap
    images += np.einsum("nkhw,nkc->nhwc", alpha, _ink(n, rng), optimize=True)
    return Scenes(images, labels, _tight(alpha), canvas)


def inside(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Masks (..., H, W) of the pixels whose centre lies in each of `boxes` (..., 4).

    The boxes are fractions of the sides, so `shape` may be that of any map of the
    scene: `inside(s.boxes, (64, 64))` is (n, 2, 64, 64).
    """
    height, width = shape
    y0, x0, y1, x1 = np.moveaxis(np.asarray(boxes)[..., None], -2, 0)
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    rows, columns = (y0 <= y) & (y < y1), (x0 <= x) & (x < x1)
    return rows[..., :, None] & columns[..., None, :]


def _check(size: int, split: str) -> None:
    """Refuse what cannot be drawn."""
    if size < SMALLEST:
        raise OptionError(f"size={size}", f"{SMALLEST} pixels or more", "size=64")
    if split not in SPLITS:
        wanted = " or ".join(map(repr, SPLITS))
        raise OptionError(f"split={split!r}", wanted, 'split="test"')


def _labels(n: int, digits, rng: np.random.Generator) -> np.ndarray:
    """Labels (n, 2): the two digits asked for, or two different ones by chance."""
    if digits is None:
        first = rng.integers(0, 10, n)
        return np.stack([first, (first + rng.integers(1, 10, n)) % 10], axis=1)
    pairs = np.asarray(digits)
    good = pairs.shape in ((2,), (n, 2)) and np.isin(pairs, np.arange(10)).all()
    if not good or (pairs[..., 0] == pairs[..., 1]).any():
        wanted = f"two different digits of 0 ... 9, or {n} rows of them"
        raise OptionError(f"digits={digits!r}", wanted, "digits=(3, 7)")
    return np.broadcast_to(pairs, (n, 2)).astype(np.int64)


@cache
def _digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The handwriting of a split (m, 10, 10) in [0, 1] and its labels (m,), sorted."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    tested = np.arange(len(labels)) % 5 == 0
    mine = np.flatnonzero(tested == (split == "test"))
    mine = mine[np.argsort(labels[mine], kind="stable")]
    glyphs = images[mine].reshape(-1, 8, 8) / images.max()
    return np.pad(glyphs, ((0, 0), (1, 1), (1, 1))).astype("float32"), labels[mine]


def _handwriting(labels, split: str, rng: np.random.Generator) -> np.ndarray:
    """Draw a handwritten digit (n, 2, 10, 10) for each of the `labels` (n, 2)."""
    glyphs, sorted_labels = _digits(split)
    start = np.searchsorted(sorted_labels, labels, "left")
    stop = np.searchsorted(sorted_labels, labels, "right")
    return glyphs[rng.integers(start, stop)]


def _smallest(size: int) -> int:
    """The side of the smallest square; two of the largest just fit into a scene."""
    return size * 26 // 64


def _places(n: int, size: int, rng: np.random.Generator):
    """Sides (n, 2) and corners (n, 2, [y, x]) of two squares that do not overlap.

    The squares are apart along one axis, where the pixels that both leave free are
    dealt out before, between and after them; along the other they lie anywhere.
    """
    sides = rng.integers(_smallest(size), size // 2 + 1, (n, 2))
    free = size - sides
    corners = rng.integers(0, free[..., None] + 1, (n, 2, 2))
    slack = size - sides.sum(axis=1, keepdims=True)
    cuts = np.sort(rng.integers(0, slack + 1, (n, 2)), axis=1)
    apart = cuts + np.stack([np.zeros(n, int), sides[:, 0]], axis=1)
    flipped = rng.random((n, 1)) < 0.5  # the second digit may come first
    apart = np.where(flipped, free - apart, apart)
    upright = rng.random((n, 1)) < 0.5
    corners[..., 0] = np.where(upright, apart, corners[..., 0])
    corners[..., 1] = np.where(upright, corners[..., 1], apart)
    return sides, corners


@cache
def _enlarge(small: int, large: int) -> np.ndarray:
    """The matrix (large, small) of cubic resizing, which is linear along each axis."""
    from skimage.transform import resize

    eye = np.eye(small)
    # clipping would not be linear
    matrix = resize(eye, (large, small), order=3, clip=False, anti_aliasing=False)
    return matrix.astype("float32")


@cache
def _pens(size: int) -> np.ndarray:
    """`_enlarge(10, side)` for every side, each in zeros: (size // 2 + 1, size, 10)."""
    pens = np.zeros((size // 2 + 1, size, GLYPH), "float32")
    for side in range(_smallest(size), size // 2 + 1):
        pens[side, :side] = _enlarge(GLYPH, side)
    return pens


def _draw(glyphs, sides, corners, size: int) -> np.ndarray:
    """The ink (n, 2, size, size) in [0, 1] of `glyphs` enlarged into their squares."""
    pixel = np.arange(size) - corners[..., None]  # (n, 2, [y, x], size)
    # no square reaches the last row of a pen: zeros, for what lies before the corner
    rows = np.where(pixel >= 0, pixel, size - 1)
    y, x = np.moveaxis(_pens(size)[sides[..., None, None], rows], 2, 0)
    soft = y @ glyphs @ np.swapaxes(x, -1, -2)
    return np.clip(2.5 * soft - 0.75, 0, 1)  # a pen's edge, not a blur


def _canvas(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Dark canvases (n, size, size, 3) with a texture of smooth noise."""
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
    """Bright colours (n, 2, 3): one channel at its brightest, 0.95, none dark."""
    colour = rng.random((n, 2, 3), "float32")
    return 0.5 + 0.45 * colour / colour.max(axis=-1, keepdims=True)


def _tight(alpha: np.ndarray) -> np.ndarray:
    """Tight boxes (n, 2, [y0, x0, y1, x1]) of the ink (n, 2, H, W), in fractions."""
    edges = []
    for axis in (3, 2):  # what is left of the rows, then of the columns
        seen = np.any(alpha > 0, axis=axis)
        first, last = seen.argmax(axis=-1), seen[..., ::-1].argmax(axis=-1)
        edges.append((first / seen.shape[-1], 1 - last / seen.shape[-1]))
    (y0, y1), (x0, x1) = edges
    return np.stack([y0, x0, y1, x1], axis=-1)
