"""What covers a segment: a baseline of each input, or the rows of a background."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import changed_by_cast, in_dtype
from tfxai.base.validation import is_kmeans, plain_rows, unmasked, whole_number
from tfxai.core.model import ModelWrapper

#: Positions of a segment from which on its mean covers it by default.
LARGE = 16


def resolve_baseline(baseline: Any, x: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Return the baseline of each input, of the shape and type of `x`.

    Args:
        baseline: What covers a segment: "mean" (the segment's mean, per channel),
            "input_mean" (the mean over the input), "auto" (the first one, for segments
            of 16 positions and more on average, otherwise the second one),
            "black" (0), "blur" (a strong Gaussian blur), a number, or an array that
            broadcasts against one input.
        x: Inputs (B, ..., C) or (B, F).
        segments: Segment numbers (B, ...).

    Raises:
        InputError: The array does not broadcast against one input.
        OptionError: The name is unknown, or the baseline is not finite.
    """
    numbers = x.dtype.kind in "biuf" or x.dtype.name == "bfloat16"
    if isinstance(baseline, str) and (numbers or baseline in BASELINES):
        return _named_baseline(baseline, x, segments)
    baseline = unmasked("baseline", baseline)
    array = np.asarray(baseline, x.dtype if x.dtype.kind == "O" else None)
    if array.ndim == x.ndim and array.shape[0] > 1:
        raise InputError(
            f"baseline has shape {array.shape}: one for each sample.",
            "one baseline for all samples, without a batch axis",
            "baseline=array[0], or explain sample by sample",
        )
    if numbers:
        valid = array.dtype.kind in "biuf" and bool(np.isfinite(array).all())
        cast = array.astype(x.dtype) if valid else array
        valid = valid and not (x.dtype.kind in "biu" and (cast != array).any())
    else:
        valid, cast = array.dtype.kind == x.dtype.kind, array
    if not valid:
        raise OptionError(
            f"baseline={baseline!r} for inputs of {x.dtype}.", *_wanted_baseline(x)
        )
    try:
        return np.ascontiguousarray(np.broadcast_to(cast, x.shape))
    except ValueError as error:
        raise InputError(
            f"baseline has shape {array.shape} for inputs of shape {x.shape}.",
            "a number, or an array that broadcasts against one input",
        ) from error


def resolve_background(
    background: Any, x: list[np.ndarray], wrapped: ModelWrapper
) -> list[np.ndarray]:
    """Return the rows of a background, (m, ...) of the type of each input.

    Args:
        background: Examples like `x`: an array (m, ...), several of them in the
            structure of `x`, or a `tf.data.Dataset`.
        x: Inputs (B, ...).
        wrapped: The wrapped model, which checks the rows as it checks inputs.

    Raises:
        InputError: The rows are not like those of `x`.
        OptionError: The type of `x` does not hold them.
    """
    plain_rows(background)
    rows = wrapped.examples(unmasked("background", background))
    if [v.shape[1:] for v in rows] != [v.shape[1:] for v in x]:
        shapes = [("m", *v.shape[1:]) for v in x]
        raise InputError(
            f"background has shape {', '.join(str(v.shape) for v in rows)} for inputs "
            f"of shape {', '.join(str(v.shape) for v in x)}.",
            f"examples like x, {', '.join(map(str, shapes))}".replace("'", ""),
            "background=x_train[:100]",
        )
    return [_like(found, v) for found, v in zip(rows, x, strict=True)]


def summarised(background: Any, wrapped: ModelWrapper) -> tuple[Any, Any]:
    """Return the rows of a background, and the weight of each (m,), or None.

    Args:
        background: Rows, or ("kmeans", k, rows): the centres of k clusters of the rows,
            each column rounded to a value that it has, weighted by the sizes of the
            clusters. That is `shap.kmeans(rows, k)`.
        wrapped: The wrapped model, which checks the rows as it checks inputs.

    Raises:
        OptionError: There are no rows, k is out of range, or the rows are no numbers.
    """
    if not is_kmeans(background):
        return background, None
    if len(background) != 3:
        raise OptionError(
            f"background={background!r} has no rows.",
            '("kmeans", the number of clusters, rows)',
            'background=("kmeans", 20, x_train)',
        )
    _, count, given = background
    whole_number("the number of clusters of background", count, 1)
    rows = wrapped.examples(unmasked("background", given))
    if any(v.dtype.kind not in "biuf" for v in rows):
        kinds = ", ".join(v.dtype.name for v in rows)
        raise OptionError(
            f"kmeans of a background that holds {kinds}.",
            "numbers, or rows as they are",
            "background=x_train[:100]",
        )
    whole_number("the number of clusters of background", count, 1, len(rows[0]))
    table = np.concatenate([v.reshape(len(v), -1).astype(float) for v in rows], 1)
    bad = np.flatnonzero(np.isnan(table).all(0) | np.isinf(table).any(0))
    if len(bad):
        raise OptionError(
            f"kmeans of a background whose column(s) {bad[:5].tolist()} hold infinity, "
            "or nothing but NaN.",
            "columns of finite numbers, some of which are known; or rows as they are",
            "background=x_train[:100]",
        )
    centres, weights = _clusters(table, int(count))
    ends = np.cumsum([v[0].size for v in rows])[:-1]
    parts = [
        c.reshape(len(c), *v.shape[1:]).astype(v.dtype)
        for c, v in zip(np.split(centres, ends, 1), rows, strict=True)
    ]
    return parts[0] if len(parts) == 1 else tuple(parts), weights


def _clusters(table: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The centres (k, F) of k-means, in values of each column, and their weights."""
    from sklearn.cluster import KMeans

    filled = np.where(np.isnan(table), np.nanmean(table, 0), table)
    fit = KMeans(count, random_state=0, n_init=10).fit(filled)
    centres = fit.cluster_centers_.copy()
    for column, values in zip(centres.T, filled.T, strict=True):
        column[:] = values[np.abs(values[:, None] - column).argmin(0)]
    return centres, np.bincount(fit.labels_, minlength=count) / len(filled)


def _like(found: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The rows of a background for one input, in its type."""
    numbers = x.dtype.kind in "biuf"
    fits = (found.dtype.kind in "biuf") if numbers else found.dtype.kind == x.dtype.kind
    if fits and x.dtype.kind in "biu":
        fits = not changed_by_cast(found, x.dtype).size
    if not fits:
        raise OptionError(
            f"background holds {found.dtype}, and x {x.dtype}.",
            f"values that {x.dtype} holds",
            "background=x_train[:100], and x=x_test, of one type",
        )
    return found.astype(x.dtype) if numbers else found


def _wanted_baseline(x: np.ndarray) -> tuple[str, str]:
    """What an error says is needed, and what to type."""
    if x.dtype.kind in "biu":
        wanted = f"whole numbers that {x.dtype} holds, or inputs of floats"
        return wanted, 'x.astype("float32")'
    if x.dtype.kind == "f":
        return "finite numbers", "baseline=0"
    return "values of the input's type", "baseline=x[0]"


def _named_baseline(name: str, x: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The baseline of a name, if it is defined for such inputs."""
    if name not in BASELINES:
        raise OptionError(
            f"baseline={name!r}.", f"a number, an array, or one of {list(BASELINES)}"
        )
    if x.ndim < 3 and (name != "black" or x.dtype.kind not in "biuf"):
        raise OptionError(
            f"baseline={name!r} for inputs of shape {x.shape}: columns and tokens have "
            "no neighbours.",
            "the number of a mask token, or a row that stands for no information",
            "background=x_train[:100], for a Shapley method; or baseline=0",
        )
    return BASELINES[name](x, segments)


def _segment_mean(x: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The mean of each segment, per channel."""
    means = np.empty(x.shape, np.float64)
    for v, labels, out in zip(x, segments, means, strict=True):
        for c in range(v.shape[-1]):
            own = labels if labels.ndim < v.ndim else labels[..., c]
            sizes = np.maximum(np.bincount(own.ravel()), 1)
            sums = np.bincount(own.ravel(), v[..., c].ravel().astype(float))
            out[..., c] = (sums / sizes)[own]
    return in_dtype(means, x.dtype)


def _input_mean(x: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The mean of each input, per channel."""
    axes = tuple(range(1, x.ndim - 1))
    means = x.mean(axes, keepdims=True, dtype=np.float64)
    return in_dtype(np.broadcast_to(means, x.shape).copy(), x.dtype)


def _auto(x: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The mean of each segment; of the input, where segments are small.

    A small segment has nearly one value: its mean would change nothing.
    """
    means = _segment_mean(x, segments)
    small = [v.size < LARGE * len(np.unique(v)) for v in segments]
    means[small] = _input_mean(x, segments)[small]
    return means


def _blur(x: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """A Gaussian blur; its standard deviation is 1/16 of the longest side."""
    import skimage

    gaussian: Any = skimage.filters.gaussian
    width = max(x.shape[1:-1]) / 16
    blurred = [
        gaussian(v if v.dtype.kind == "f" else v.astype(float), width, channel_axis=-1,
                 preserve_range=True)
        for v in x
    ]  # fmt: skip
    return in_dtype(np.stack(blurred), x.dtype)


#: name -> (inputs, their segments) -> baseline of every input.
BASELINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "auto": _auto,
    "mean": _segment_mean,
    "input_mean": _input_mean,
    "black": lambda x, segments: np.zeros_like(x),
    "blur": _blur,
}
