"""Occlusion: what the answer loses when a window, or a segment, is covered.

Zeiler and Fergus 2014, arXiv:1311.2901, section 4.1. Any model, also a plain callable.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import Tensor
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baselines
from tfxai.core.model import ModelWrapper
from tfxai.core.queries import Probe
from tfxai.core.registry import MethodSpec, register


def occlusion(
    wrapped: ModelWrapper,
    window: Any = None,
    stride: Any = None,
    segments: Any = None,
    baseline: Any = 0,
    target: Any = None,
    precision: str = "float32",
) -> Analyzer:
    """Mean over the windows that cover a value of f_t(x) - f_t(x without the window).

    window, stride: a number for all spatial axes, or a tuple of one for each axis of
        the input behind the batch (channels may be left out: then all at once, and the
        map has one channel). None: an eighth of the longest axis, and half a window.
        The last window is cut at the border; where no window comes (a stride that is
        larger than the window), the map is 0. Tokens and columns: one at a time.
    segments: instead of windows, whole numbers that broadcast against one input; the
        values with the same number are covered together.
    baseline: what covers, in the units of `x` (see `tfxai.core.baselines`).
    precision: "bfloat16" asks the network in half the bytes, on processors that can.
    """
    wrapped.check_precision(precision)
    if segments is not None and (window is not None or stride is not None):
        raise OptionError(
            "occlusion has both segments and windows.", "one of the two", "window=8"
        )

    def make(inputs: list, function: Callable | None, one: bool) -> Callable:
        asks = [
            Probe(
                wrapped, _covering(i, baseline), inputs,
                [tf.TensorSpec((None, *[None] * (v.ndim - 1)), tf.bool)], function,
                precision=precision,
            )
            for i, v in enumerate(inputs)
        ]  # fmt: skip

        def maps(batch: list, target: np.ndarray, max_batch: int) -> dict[str, Any]:
            plans = [_parts(v.shape[1:], window, stride, segments) for v in batch]
            score, target = asks[0].plain(batch, target, max_batch)
            pairs = zip(asks, plans, strict=True)
            made = [_map(ask, p, batch, target, score, max_batch) for ask, p in pairs]
            return {"relevance": made, "score": score, "target": target}

        return maps

    options = {"window": window, "stride": stride, "segments": segments}
    options |= {"baseline": baseline, "precision": precision}
    return Analyzer("occlusion", wrapped, make, target, options)


def _covering(number: int, baseline: Any) -> Callable:
    """The change that covers part of input `number`."""

    def change(inputs: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        cover = baselines(baseline, inputs)[number]
        inputs[number] = tf.where(masks[0], cover, inputs[number])
        return inputs

    return change


class _Windows:
    """Boxes at regular places; each axis of the input has its own windows."""

    def __init__(self, shape: tuple, window: tuple, stride: tuple, whole: bool) -> None:
        self.shape, self.whole = shape, whole
        self.covers = []
        for n, w, s in zip(shape, window, stride, strict=True):
            count = 1 + -(-max(n - w, 0) // s)
            places, starts = np.arange(n), np.arange(count)[:, None] * s
            self.covers.append((places >= starts) & (places < starts + w))
        self.grid = tuple(len(c) for c in self.covers)
        self.count = int(np.prod(self.grid))

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """(n, ...) of windows `rows`."""
        mask = np.ones((len(rows), *[1] * len(self.shape)), bool)
        for axis, i in enumerate(np.unravel_index(rows, self.grid)):
            shape = [len(rows), *[1] * len(self.shape)]
            shape[1 + axis] = -1
            mask = mask & self.covers[axis][i].reshape(shape)
        return mask

    def spread(self, loss: np.ndarray) -> np.ndarray:
        """Losses (T, B, count) as maps (T, B, ...): the mean of the windows there."""
        loss = loss.reshape(*loss.shape[:2], *self.grid)
        times = np.ones((1, 1, *self.grid))
        for axis, cover in enumerate(self.covers, 2):
            loss, times = (
                np.moveaxis(np.tensordot(v, cover.astype(v.dtype), (axis, 0)), -1, axis)
                for v in (loss, times)
            )
        made = np.divide(loss, times, out=np.zeros_like(loss), where=times > 0)
        return made[..., :1] if self.whole else made


class _Segments:
    """Values with the same number."""

    def __init__(self, shape: tuple, segments: Any) -> None:
        self.shape, numbers = shape, np.asarray(segments)
        if numbers.dtype.kind not in "iu":
            raise InputError(f"segments has dtype {numbers.dtype}.", "whole numbers")
        if numbers.shape == shape[:-1]:  # as scikit-image gives them
            numbers = numbers[..., None]
        try:
            self._at = np.broadcast_to(numbers, shape)
        except ValueError as error:
            raise InputError(
                f"segments has shape {numbers.shape} for inputs of shape {shape}.",
                "numbers that broadcast against one input, without a batch axis",
            ) from error
        self._names, self._index = np.unique(self._at, return_inverse=True)
        self._index = self._index.reshape(shape)
        self.count = len(self._names)

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """(n, ...) of segments `rows`."""
        return self._index[None] == rows.reshape(-1, *[1] * len(self.shape))

    def spread(self, loss: np.ndarray) -> np.ndarray:
        """Losses (T, B, count) as maps (T, B, ...)."""
        return loss[..., self._index]


def _parts(shape: tuple, window: Any, stride: Any, segments: Any) -> Any:
    if segments is not None:
        return _Segments(shape, segments)
    spatial = len(shape) - 1 if len(shape) > 1 else 1
    longest = max(shape[:spatial])
    chosen = max(1, longest // 8) if window is None else window
    sizes = _axes("window", chosen if len(shape) > 1 or window else 1, shape, shape)
    half = tuple(max(1, s // 2) for s in sizes[:spatial])
    steps = _axes("stride", half if stride is None else stride, shape, sizes)
    whole = len(shape) > 1 and sizes[-1] >= shape[-1]
    return _Windows(shape, sizes, steps, whole)


def _axes(name: str, value: Any, shape: tuple, rest: tuple) -> tuple:
    """One number per axis; axes that are not told take what `rest` says."""
    spatial = max(1, len(shape) - 1)
    values = (value,) * spatial if np.ndim(value) == 0 else tuple(value)
    good = all(isinstance(v, int | np.integer) and v > 0 for v in values)
    if not good or len(values) not in (spatial, len(shape)):
        raise OptionError(
            f"{name}={value!r} for inputs of shape {shape}.",
            f"a whole number of at least 1, or one for each of its {len(shape)} axes",
            f"{name}=8",
        )
    return (*values, *rest[len(values) :])


def _map(
    ask: Probe,
    parts: Any,
    batch: list,
    target: np.ndarray,
    score: np.ndarray,
    max_batch: int,
) -> np.ndarray:
    """The maps (T, B, ...) of one input: a block of windows at a time."""
    samples, losses = len(target), []
    per = max(1, max_batch // samples)
    for start in range(0, parts.count, per):
        rows = np.arange(start, min(start + per, parts.count))
        masks = np.repeat(parts.masks(rows), samples, 0)
        which = np.tile(np.arange(samples), len(rows))
        covered = ask.ask(batch, which, [masks], target, max_batch)
        losses.append(score[None] - covered.reshape(len(rows), *score.shape))
    loss = np.moveaxis(np.concatenate(losses), 0, -1)  # (B, T, count)
    return np.asarray(parts.spread(np.moveaxis(loss, 0, 1)), np.float32)


register(
    MethodSpec(
        "occlusion", "sampling", "what the answer loses where the input is covered",
        "any model, also a plain callable", "Zeiler and Fergus 2014, arXiv:1311.2901",
        occlusion,
    )
)  # fmt: skip
