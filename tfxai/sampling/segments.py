"""What is kept or covered as one: superpixels, pieces of a series, columns, tokens.

scikit-image cuts pictures; what was cut is remembered for the same picture.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError, first_line
from tfxai.viz.plot import image

#: How many pictures' segments are remembered.
REMEMBERED = 64
_KNOWN: OrderedDict[Any, np.ndarray] = OrderedDict()
_LOCK = threading.Lock()


def _quickshift(x: np.ndarray, **options: Any) -> np.ndarray:
    from skimage.segmentation import quickshift

    given = {"kernel_size": 4, "max_dist": 200, "ratio": 0.2, **options}
    return quickshift(image(x), **given)


def _slic(x: np.ndarray, **options: Any) -> np.ndarray:
    from skimage.segmentation import slic

    given = {"n_segments": 50, "compactness": 10, "start_label": 0, **options}
    return slic(image(x), **given)


def _felzenszwalb(x: np.ndarray, **options: Any) -> np.ndarray:
    from skimage.segmentation import felzenszwalb

    side = max(x.shape[:2])
    given = {"scale": side, "sigma": 0.5, "min_size": side, **options}
    return felzenszwalb(image(x), **given)


def _watershed(x: np.ndarray, **options: Any) -> np.ndarray:
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    given = {"markers": 50, "compactness": 0.001, **options}
    return watershed(sobel(image(x).mean(-1)), **given)


def _grid(x: np.ndarray, cells: Any = None) -> np.ndarray:
    """Cells of one size: `cells` along every axis, or a number for each axis."""
    spatial = x.shape[:-1]
    cells = (7 if len(spatial) > 1 else 16) if cells is None else cells
    counts = (cells,) * len(spatial) if np.ndim(cells) == 0 else tuple(cells)
    good = all(isinstance(c, int | np.integer) and c > 0 for c in counts)
    if len(counts) != len(spatial) or not good:
        raise OptionError(
            f"cells={cells!r} for an input of shape {x.shape}.",
            f"a number of at least 1, or one for each of {len(spatial)} axes",
        )
    made = np.zeros(spatial, int)
    for axis, (n, c) in enumerate(zip(spatial, counts, strict=True)):
        shape = [1] * len(spatial)
        shape[axis] = n
        c = min(c, n)
        made = made * c + (np.arange(n) * c // n).reshape(shape)
    return made


#: name -> (input (..., C), its options) -> numbers, of the input's spatial shape.
SEGMENTERS: dict[str, Callable] = {
    "quickshift": _quickshift,
    "slic": _slic,
    "felzenszwalb": _felzenszwalb,
    "watershed": _watershed,
    "grid": _grid,
}


def segmented(
    x: np.ndarray, segmenter: Any = "auto", options: Mapping[str, Any] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The segments (B, ...) of inputs x (B, ..., C) or (B, F), and how many, (B,).

    They are numbered from 0. segmenter: a name of `SEGMENTERS`, whole numbers of the
    input's spatial shape, for all samples, or a function of one input.
    "auto" is quickshift for pictures, a grid for series, and columns one by one.
    """
    spatial = x.shape[1:-1] if x.ndim > 2 else x.shape[1:]
    if isinstance(segmenter, str) and segmenter == "auto":
        segmenter = {2: None, 3: "grid"}.get(x.ndim, "quickshift")
    if segmenter is None:
        labels = np.broadcast_to(np.arange(x.shape[1]), x.shape[:2])
    elif isinstance(segmenter, str) or callable(segmenter):
        if not isinstance(options, Mapping | None):
            raise OptionError(f"segmenter_options={options!r}.", "a dict of options")
        labels = np.stack([_cut(v, segmenter, dict(options or {})) for v in x])
    else:
        labels = np.asarray(segmenter)
        shape, known = (len(x), *spatial), (spatial, (1, *spatial))
        if options:
            raise OptionError(
                f"segmenter_options={options!r}, and segmenter is an array.",
                "options of a named segmenter",
            )
        if labels.dtype.kind not in "iu" or labels.shape not in known:
            raise InputError(
                f"segmenter holds {labels.dtype} of shape {labels.shape} for inputs "
                f"of shape {x.shape}.",
                f"whole numbers of shape {spatial}, for all samples",
                "segmenter=function, for segments of each input's own",
            )
        labels = np.broadcast_to(labels, shape)
    made = [np.unique(v, return_inverse=True) for v in labels]
    counts = np.array([len(names) for names, _ in made])
    if counts.min() < 2:
        raise InputError(
            f"Sample {int(counts.argmin())} is one single segment: there is nothing to "
            "compare.",
            "at least two",
            'segmenter="grid", or "slic"',
        )
    numbers = [v.reshape(spatial) for _, v in made]
    return np.stack(numbers).astype(np.int32), counts


def _cut(x: np.ndarray, segmenter: Any, options: dict) -> np.ndarray:
    """The segments of one input; remembered for named segmenters."""
    spatial = x.shape[:-1] if x.ndim > 1 else x.shape
    if callable(segmenter):
        labels = np.asarray(segmenter(x, **options))
        if labels.shape != spatial or labels.dtype.kind not in "iu":
            raise InputError(
                f"The segmenter gave {labels.dtype} of shape {labels.shape} for an "
                f"input of shape {x.shape}.",
                f"whole numbers of shape {spatial}",
            )
        return labels
    if segmenter not in SEGMENTERS:
        raise OptionError(
            f"segmenter={segmenter!r}.",
            f"one of {list(SEGMENTERS)}, an array of whole numbers, or a function",
        )
    if segmenter != "grid" and x.ndim != 3:
        raise OptionError(
            f"segmenter={segmenter!r} for an input of shape {x.shape}.",
            "a picture (H, W, C)",
            'segmenter="grid", or an array of whole numbers',
        )
    key = (segmenter, _named(x), _named(sorted(options.items())))
    with _LOCK:
        if key in _KNOWN:
            _KNOWN.move_to_end(key)
            return _KNOWN[key]
    try:
        made = np.asarray(SEGMENTERS[segmenter](x, **options))
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"segmenter_options={options!r}: {first_line(error)}",
            f"options of {segmenter}",
        ) from error
    with _LOCK:
        _KNOWN[key] = made
        while len(_KNOWN) > REMEMBERED:
            _KNOWN.popitem(last=False)
    return made


def _named(value: Any) -> Any:
    """What a value is remembered by: of an array all its numbers, not its `repr`."""
    if isinstance(value, list | tuple):
        return tuple(map(_named, value))
    if not hasattr(value, "__array__"):
        return repr(value)
    data = np.ascontiguousarray(value)
    digest = hashlib.sha1(data.tobytes()).hexdigest()
    return data.dtype.str, data.shape, digest


def neighbours(labels: np.ndarray) -> list[set[int]]:
    """For each segment of (...) those that share a border with it."""
    found: list[set[int]] = [set() for _ in range(int(labels.max()) + 1)]
    for axis in range(labels.ndim):
        a, b = (np.delete(labels, i, axis).ravel() for i in (-1, 0))
        for one, other in np.unique(np.stack([a, b], 1)[a != b], axis=0).tolist():
            found[one].add(other)
            found[other].add(one)
    return found
