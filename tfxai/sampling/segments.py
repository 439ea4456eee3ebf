"""Segments that are kept or covered together: superpixels, columns, tokens.

scikit-image segments images. The segments of recent inputs are cached.
"""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.cache import Cache
from tfxai.base.errors import (
    InputError,
    OptionError,
    SingleSegmentWarning,
    first_line,
)
from tfxai.base.registry import Registry
from tfxai.viz.plot import image

#: Number of inputs whose segments are cached.
CACHE_SIZE = 64
#: Shortest side of an image from which on quickshift's kernel has 4 pixels.
QUICKSHIFT_SIDE = 128
#: Images with a side below this number of pixels get a grid by default: superpixels of
#: noise and small shapes hide what the network sees.
SMALL = 32
#: Cells along each side of that grid.
SMALL_CELLS = 8
#: Largest number of cells along an axis of the grid that replaces a single segment.
FALLBACK_CELLS = 7
_CACHE = Cache(CACHE_SIZE)


def _quickshift(x: np.ndarray, **options: Any) -> np.ndarray:
    """Segments by quickshift: LIME's options from 128 pixels on, smaller kernels below.

    A kernel of 4 pixels finds one single segment in most images of 32 x 32.
    """
    size = min(4.0, max(1.0, 4 * min(x.shape[:2]) / QUICKSHIFT_SIDE))
    given = {"kernel_size": size, "max_dist": 200, "ratio": 0.2, **options}
    return np.asarray(_skimage().segmentation.quickshift(image(x), **given))


def _slic(x: np.ndarray, **options: Any) -> np.ndarray:
    """Segments by SLIC."""
    given = {"n_segments": 50, "compactness": 10, "start_label": 0, **options}
    return np.asarray(_skimage().segmentation.slic(image(x), **given))


def _felzenszwalb(x: np.ndarray, **options: Any) -> np.ndarray:
    """Segments by Felzenszwalb and Huttenlocher's graph cuts."""
    side = max(x.shape[:2])
    given = {"scale": side, "sigma": 0.5, "min_size": side, **options}
    return np.asarray(_skimage().segmentation.felzenszwalb(image(x), **given))


def _watershed(x: np.ndarray, **options: Any) -> np.ndarray:
    """Segments by a watershed of the edge strength."""
    given = {"markers": 50, "compactness": 0.001, **options}
    edges = _skimage().filters.sobel(image(x).mean(-1))
    return np.asarray(_skimage().segmentation.watershed(edges, **given))


def _skimage() -> Any:
    """scikit-image, imported on first use. It has no type annotations."""
    import skimage

    return skimage


def _grid(x: np.ndarray, cells: Any = None) -> np.ndarray:
    """Cells of equal size: `cells` along every axis, or one number for each axis."""
    spatial = x.shape[:-1]
    cells = (7 if len(spatial) > 1 else 16) if cells is None else cells
    counts = (cells,) * len(spatial) if np.ndim(cells) == 0 else tuple(cells)
    valid = all(isinstance(c, int | np.integer) and c > 0 for c in counts)
    if len(counts) != len(spatial) or not valid:
        raise OptionError(
            f"cells={cells!r} for an input of shape {x.shape}.",
            f"a number of at least 1, or one for each of {len(spatial)} axes",
        )
    labels = np.zeros(spatial, int)
    for axis, (n, c) in enumerate(zip(spatial, counts, strict=True)):
        shape = [1] * len(spatial)
        shape[axis] = n
        c = min(c, n)
        labels = labels * c + (np.arange(n) * c // n).reshape(shape)
    return labels


@dataclass(frozen=True)
class Segmenter:
    """A registered segmenter.

    Attributes:
        function: (input (..., C), **options) -> segment numbers of the input's spatial
            shape.
        images: True if it takes images (H, W, C) only.
    """

    function: Callable[..., np.ndarray]
    images: bool = True


SEGMENTERS: Registry[str, Segmenter] = Registry(
    "segmenter",
    {
        "quickshift": Segmenter(_quickshift),
        "slic": Segmenter(_slic),
        "felzenszwalb": Segmenter(_felzenszwalb),
        "watershed": Segmenter(_watershed),
        "grid": Segmenter(_grid, images=False),
    },
)


def space_of(x: np.ndarray) -> tuple[int, ...]:
    """Return the spatial shape of inputs (B, ..., C), (B, F) or (B,)."""
    return x.shape[1:-1] if x.ndim > 2 else x.shape[1:]


def segment_space(x: np.ndarray, segmenter: Any) -> tuple[int, ...]:
    """Return the shape of the segments of one input.

    That is its spatial shape, or (..., C) where an array numbers each value: groups of
    (time, feature).
    """
    whole = x.ndim > 2 and not isinstance(segmenter, str) and not callable(segmenter)
    if whole and np.shape(segmenter) == x.shape[1:]:
        return x.shape[1:]
    return space_of(x)


def segment_together(
    inputs: list[np.ndarray],
    options: list[tuple[Any, Any]],
    fixed: list[bool],
    pieces: list[list[int] | None],
) -> tuple[list[Any], np.ndarray]:
    """Return the segments of several inputs, numbered together, and their counts.

    Those of an input are an array (B, ...), or for texts a list of arrays (d,).

    Args:
        inputs: Inputs (B, ...).
        options: Segmenter and options of each; see `segment_inputs`.
        fixed: Inputs without segments of their own: they get the number 0.
        pieces: The number of pieces of each sample, for an input of texts.

    Raises:
        InputError: See `segment_inputs`.
    """
    if len(inputs) == 1 and pieces[0] is None:
        segments, counts = segment_inputs(inputs[0], *options[0])
        return [segments], counts
    total = np.zeros(len(inputs[0]), int)
    found: list[Any] = []
    for x, given, none, lengths in zip(inputs, options, fixed, pieces, strict=True):
        if lengths is not None:
            counts = np.array(lengths)
            found.append([np.arange(n) + f for n, f in zip(counts, total, strict=True)])
            total = total + counts
            continue
        if none or x.ndim < 2:
            segments = np.zeros((len(x), *space_of(x)), np.int32)
            counts = np.full(len(x), 0 if none else 1)
        else:
            segments, counts = segment_inputs(x, *given, least=1)
        first = np.where(none, 0, total).reshape(-1, *[1] * (segments.ndim - 1))
        found.append((segments + first).astype(np.int32))
        total = total + counts
    if total.min() < 2 and not any(pieces):
        raise _single(int(total.argmin()))
    return found, total


def _single(sample: int, positions: int = 2) -> InputError:
    """The error for a sample of one segment, out of so many positions."""
    seen = f"Sample {sample} is one single segment: there is nothing to compare."
    if positions < 2:
        wanted = "inputs of at least two positions, or a method for one"
        return InputError(seen, wanted, 'method="occlusion"')
    return InputError(seen, "at least two segments", 'segmenter="grid"')


def segment_inputs(
    x: np.ndarray,
    segmenter: Any = "auto",
    options: Mapping[str, Any] | None = None,
    least: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the segments (B, ...) of inputs, numbered from 0, and their counts (B,).

    Args:
        x: Inputs (B, ..., C) or (B, F).
        segmenter: How inputs are segmented: a name of `SEGMENTERS`, an array of whole
            numbers of the input's spatial shape or of its whole shape (for all
            samples), or a function of one input. "auto" is quickshift for images, a
            grid of 8 x 8 cells for images with a side below 32, a grid of 16 cells for
            series, and one segment per column for tables and tokens.
        options: Keyword arguments of the segmenter.
        least: The smallest number of segments of an input.

    Raises:
        InputError: The segments do not fit the input, or are fewer.
        OptionError: The segmenter is unknown, or rejects its options.

    Warns:
        SingleSegmentWarning: A sample is one single segment; it gets a grid.
    """
    if x.ndim < 2:
        raise InputError(
            f"x has shape {x.shape}: each input is one value.",
            "tables (B, columns), series (B, length, C) or images (B, H, W, C)",
            "x[:, None]",
        )
    spatial = segment_space(x, segmenter)
    if isinstance(segmenter, str) and segmenter == "auto":
        segmenter = {2: None, 3: "grid"}.get(x.ndim, "quickshift")
        cells = isinstance(options, Mapping) and set(options) == {"cells"}
        if x.ndim > 3 and min(spatial) < SMALL and (cells or not options):
            segmenter, options = "grid", options or {"cells": SMALL_CELLS}
    if segmenter is None:
        labels = np.broadcast_to(np.arange(x.shape[1]), x.shape[:2])
    elif isinstance(segmenter, str) or callable(segmenter):
        if not isinstance(options, Mapping | None):
            raise OptionError(f"segmenter_options={options!r}.", "a dict of options")
        labels = np.stack([_segment(v, segmenter, dict(options or {})) for v in x])
        labels = _with_grids(labels, segmenter, x)
    else:
        labels = _check_array(segmenter, x, spatial, options)
    unique = [np.unique(v, return_inverse=True) for v in labels]
    counts = np.array([len(names) for names, _ in unique])
    if counts.min() < least:
        raise _single(int(counts.argmin()), labels[0].size)
    numbers = [v.reshape(spatial) for _, v in unique]
    return np.stack(numbers).astype(np.int32), counts


def _with_grids(labels: np.ndarray, segmenter: Any, x: np.ndarray) -> np.ndarray:
    """The segments, with a grid for the samples that are one single segment."""
    single = [b for b, v in enumerate(labels) if (v == v.flat[0]).all()]
    if not single or segmenter == "grid" or labels[0].size < 2:
        return labels
    spatial = labels.shape[1:]
    cells = tuple(min(FALLBACK_CELLS, max(2, n // 2)) for n in spatial)
    cells = spatial if x.ndim < 3 else cells
    labels = labels.copy()
    labels[single] = _grid(np.zeros((*spatial, 1)), cells)
    name = getattr(segmenter, "__name__", segmenter)
    shown = " x ".join(str(min(c, n)) for c, n in zip(cells, spatial, strict=True))
    other = '; for other ones: segmenter="slic"' if x.ndim == 4 else ""
    warnings.warn(
        f"The segmenter {name!r} finds one single segment in sample(s) {single[:5]}: "
        f"a grid of {shown} cells takes its place there. For the same segments in all "
        f'samples: segmenter="grid"{other}.',
        SingleSegmentWarning,
        stacklevel=2,
    )
    return labels


def _check_array(
    segmenter: Any, x: np.ndarray, spatial: tuple[int, ...], options: Any
) -> np.ndarray:
    """The segments (B, ...) that the caller gave as an array for all samples."""
    labels = np.asarray(segmenter)
    if options:
        raise OptionError(
            f"segmenter_options={options!r}, and segmenter is an array.",
            "options of a named segmenter",
        )
    if labels.dtype.kind not in "iu" or labels.shape not in (spatial, (1, *spatial)):
        raise InputError(
            f"segmenter holds {labels.dtype} of shape {labels.shape} for inputs "
            f"of shape {x.shape}.",
            f"whole numbers of shape {spatial} or {x.shape[1:]}, for all samples"
            if x.ndim > 2
            else f"whole numbers of shape {spatial}, for all samples",
            "segmenter=function, where each input has its own segments",
        )
    return np.broadcast_to(labels, (len(x), *spatial))


def _segment(x: np.ndarray, segmenter: Any, options: dict[str, Any]) -> np.ndarray:
    """The segments of one input, after a check of the segmenter."""
    if callable(segmenter):
        return _call_segmenter(x, segmenter, options)
    if segmenter not in SEGMENTERS:
        raise OptionError(
            f"segmenter={segmenter!r}.",
            f"one of {list(SEGMENTERS)}, an array of whole numbers, or a function",
        )
    if SEGMENTERS[segmenter].images and x.ndim != 3:
        raise OptionError(
            f"segmenter={segmenter!r} for an input of shape {x.shape}.",
            "an image (H, W, C)",
            'segmenter="grid", or an array of whole numbers',
        )
    return _cached_segments(x, segmenter, options)


def _cached_segments(
    x: np.ndarray, segmenter: str, options: dict[str, Any]
) -> np.ndarray:
    """The segments of one input by a named segmenter, computed once."""
    chosen = SEGMENTERS[segmenter]
    key = (chosen, _cache_key(x), _cache_key(sorted(options.items())))

    def build() -> np.ndarray:
        try:
            return np.asarray(chosen.function(x.copy(), **options))
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"segmenter_options={options!r}: {first_line(error)}",
                f"options of {segmenter}",
            ) from error

    labels: np.ndarray = _CACHE.get(key, build)
    return labels


def _call_segmenter(
    x: np.ndarray, segmenter: Callable[..., Any], options: dict[str, Any]
) -> np.ndarray:
    """The segments that the caller's function returns for one input."""
    spatial = x.shape[:-1] if x.ndim > 1 else x.shape
    labels = np.asarray(segmenter(x.copy(), **options))  # it may work in place
    if labels.shape != spatial or labels.dtype.kind not in "iu":
        raise InputError(
            f"The segmenter returned {labels.dtype} of shape {labels.shape} for an "
            f"input of shape {x.shape}.",
            f"whole numbers of shape {spatial}",
        )
    return labels


def _cache_key(value: Any) -> Any:
    """A hashable key of a value; of an array, a digest of all its numbers."""
    if isinstance(value, list | tuple):
        return tuple(map(_cache_key, value))
    if not hasattr(value, "__array__"):
        return repr(value)
    data = np.ascontiguousarray(value)
    digest = hashlib.sha1(data.tobytes()).hexdigest()
    return data.dtype.str, data.shape, digest


def neighbours(labels: np.ndarray, diagonal: bool = False) -> list[set[int]]:
    """Return, for each segment, the segments that share a border with it.

    Args:
        labels: Segment numbers of one input, of its spatial shape.
        diagonal: Segments of an image that share only a corner are neighbours, too.
    """
    found: list[set[int]] = [set() for _ in range(int(labels.max()) + 1)]
    pairs = [[np.delete(labels, i, k) for i in (-1, 0)] for k in range(labels.ndim)]
    if diagonal and labels.ndim != 2:
        raise OptionError(
            f"diagonal=True for an input of {labels.ndim} axes of positions.",
            "images, whose segments can share a corner",
            "diagonal=False",
        )
    if diagonal:
        pairs += [[v[:-1, :-1], v[1:, 1:]] for v in (labels, labels[:, ::-1])]
    for first, second in pairs:
        a, b = first.ravel(), second.ravel()
        for one, other in np.unique(np.stack([a, b], 1)[a != b], axis=0).tolist():
            found[one].add(other)
            found[other].add(one)
    return found
