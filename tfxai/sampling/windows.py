"""Regions of an input that are covered one after another: windows and segments."""

from typing import Any, Protocol

import numpy as np

from tfxai.base.errors import InputError, OptionError

Shape = tuple[int, ...]


class Regions(Protocol):
    """Regions of an input that are covered one after another."""

    count: int

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """The masks (n, ...) of the regions with these numbers."""

    def spread(self, loss: np.ndarray) -> np.ndarray:
        """Losses (T, B, count) as relevance (T, B, ...)."""


class _Windows:
    """Boxes at regular intervals along every axis of the input."""

    def __init__(self, shape: Shape, window: Shape, stride: Shape, whole: bool) -> None:
        self._shape, self._whole = shape, whole
        self._covers = []
        for n, w, s in zip(shape, window, stride, strict=True):
            count = 1 + -(-max(n - w, 0) // s)
            positions, starts = np.arange(n), np.arange(count)[:, None] * s
            self._covers.append((positions >= starts) & (positions < starts + w))
        self._grid = tuple(len(c) for c in self._covers)
        self.count = int(np.prod(self._grid))

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """The masks (n, ...) of the windows with these numbers."""
        mask = np.ones((len(rows), *[1] * len(self._shape)), bool)
        for axis, i in enumerate(np.unravel_index(rows, self._grid)):
            shape = [len(rows), *[1] * len(self._shape)]
            shape[1 + axis] = -1
            mask = mask & self._covers[axis][i].reshape(shape)
        return mask

    def spread(self, loss: np.ndarray) -> np.ndarray:
        """Losses (T, B, count) as relevance (T, B, ...): means over windows."""
        loss = loss.reshape(*loss.shape[:2], *self._grid)
        times = np.ones((1, 1, *self._grid))
        for axis, cover in enumerate(self._covers, 2):
            loss, times = (
                np.moveaxis(np.tensordot(v, cover.astype(v.dtype), (axis, 0)), -1, axis)
                for v in (loss, times)
            )
        mean: np.ndarray = np.divide(
            loss, times, out=np.zeros_like(loss), where=times > 0
        )
        return mean[..., :1] if self._whole else mean


class _Segments:
    """Groups of values with the same segment number."""

    def __init__(self, shape: Shape, segments: Any) -> None:
        self._rank, numbers = len(shape), np.asarray(segments)
        if numbers.dtype.kind not in "iu":
            raise InputError(f"segments has dtype {numbers.dtype}.", "whole numbers")
        if numbers.shape == shape[:-1]:  # as scikit-image returns them
            numbers = numbers[..., None]
        try:
            labels = np.broadcast_to(numbers, shape)
        except ValueError as error:
            raise InputError(
                f"segments has shape {numbers.shape} for inputs of shape {shape}.",
                "numbers that broadcast against one input, without a batch axis",
            ) from error
        names, index = np.unique(labels, return_inverse=True)
        self._index = index.reshape(shape)
        self.count = len(names)

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """The masks (n, ...) of the segments with these numbers."""
        return np.asarray(self._index[None] == rows.reshape(-1, *[1] * self._rank))

    def spread(self, loss: np.ndarray) -> np.ndarray:
        """Losses (T, B, count) as relevance (T, B, ...)."""
        return np.asarray(loss[..., self._index])


def regions_of(
    shape: Shape, window: Any = None, stride: Any = None, segments: Any = None
) -> Regions:
    """Return the regions of an input (...) that are covered; see `occlusion`."""
    if not shape:
        raise InputError(
            "x has shape (B,): each input is one value, or one text.",
            "tables (B, columns), series or images; or a method that removes words",
            'method="kernel_shap"',
        )
    if segments is not None:
        return _Segments(shape, segments)
    spatial = len(shape) - 1 if len(shape) > 1 else 1
    longest = max(shape[:spatial])
    default = max(1, longest // 8) if window is None else window
    sizes = _per_axis(
        "window", default if len(shape) > 1 or window else 1, shape, shape
    )
    half = tuple(max(1, s // 2) for s in sizes[:spatial])
    steps = _per_axis("stride", half if stride is None else stride, shape, sizes)
    whole = len(shape) > 1 and sizes[-1] >= shape[-1]
    return _Windows(shape, sizes, steps, whole)


def _per_axis(name: str, value: Any, shape: Shape, default: Shape) -> Shape:
    """One number for each axis; missing axes take the number of `default`."""
    spatial = max(1, len(shape) - 1)
    values = (value,) * spatial if np.ndim(value) == 0 else tuple(value)
    valid = all(isinstance(v, int | np.integer) and v > 0 for v in values)
    if not valid or len(values) not in (spatial, len(shape)):
        raise OptionError(
            f"{name}={value!r} for inputs of shape {shape}.",
            f"a whole number of at least 1, or one for each of its {len(shape)} axes",
            f"{name}=8",
        )
    return (*values, *default[len(values) :])
