"""Occlusion: the loss of the output where a window, or a segment, is covered.

Zeiler and Fergus 2014, arXiv:1311.2901, section 4.1. Any model, also a plain callable.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import Tensor
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baseline_arrays, baselines
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.inputs import per_input, signature
from tfxai.core.model import ModelWrapper
from tfxai.core.queries import Probe
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.covers import resolve_background

Shape = tuple[int, ...]


@dataclass(frozen=True)
class OcclusionConfig:
    """The options of occlusion; see `occlusion`."""

    window: Any
    stride: Any
    segments: Any
    baseline: Any
    precision: str
    background: Any = None

    def __post_init__(self) -> None:
        own = not np.isscalar(self.baseline) or self.baseline != 0
        if self.background is not None and own:
            raise OptionError(
                "baseline and background are both given.",
                "what covers a window: one of them",
                "background=x_train[:100]",
            )
        if self.segments is not None and (
            self.window is not None or self.stride is not None
        ):
            raise OptionError(
                "occlusion has both segments and windows.", "one of the two", "window=8"
            )


class Occlusion:
    """Occlusion, compiled for inputs of one shape. A call explains a batch."""

    def __init__(
        self,
        wrapped: ModelWrapper,
        config: OcclusionConfig,
        inputs: list[np.ndarray],
        target_fn: TargetFn,
        single_target: bool,
    ) -> None:
        self._config = config
        baseline = config.baseline
        if wrapped.frames:  # rows by the names of their columns
            count, names = len(inputs), wrapped.input_names
            rows = per_input("baseline", baseline, names, count)
            for i, columns in wrapped.frames.items():
                rows[i] = columns.row(rows[i])
            baseline = rows if count > 1 else rows[0]
        self._rows: list[Any] = [None] * len(inputs)
        if config.background is not None:
            typed = inputs
            if wrapped.differentiable:
                dtypes = [
                    s.dtype.as_numpy_dtype for s in signature(wrapped.specs, inputs)
                ]
                typed = [v.astype(d) for v, d in zip(inputs, dtypes, strict=True)]
            self._rows = list(resolve_background(config.background, typed, wrapped))
        elif wrapped.differentiable:
            covers = [np.asarray(v) for v in baselines(baseline, inputs)]
            wrapped.check_ids(covers, "baseline")
        self._probes = [
            Probe(
                wrapped, _cover_input(i, baseline), inputs,
                _specs(v, self._rows[i]), target_fn, precision=config.precision,
                exchange=_exchange(i, baseline),
            )
            for i, v in enumerate(inputs)
        ]  # fmt: skip

    def __call__(
        self, batch: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> dict[str, Any]:
        """Return the relevance of a batch, input by input."""
        regions = [_regions(v.shape[1:], self._config) for v in batch]
        score, target = self._probes[0].unchanged_scores(batch, target, max_batch)
        relevance = [
            _relevance(probe, r, rows, batch, target, score, max_batch)
            for probe, r, rows in zip(self._probes, regions, self._rows, strict=True)
        ]
        return {"relevance": relevance, "score": score, "target": target}


def occlusion(
    wrapped: ModelWrapper,
    window: Any = None,
    stride: Any = None,
    segments: Any = None,
    baseline: Any = 0,
    target: Any = None,
    precision: str = "float32",
    background: Any = None,
) -> Analyzer:
    """Return an analyzer for the loss of the output where the input is covered.

    The relevance of a value is the mean of f_t(x) - f_t(x without the window) over the
    windows that cover it. It is 0 at positions that no window covers (the stride is
    larger than the window).

    Args:
        wrapped: The wrapped model.
        window: Size of the window. A number for all spatial axes, or a tuple with one
            number for each axis of the input after the batch axis. Without a number
            for the channels all are covered at once, and relevance has one channel.
            None is an eighth of the longest axis; for tables and tokens it is 1. The
            last window is cut at the border.
        stride: Distance between windows, as a number or a tuple. None is half a
            window.
        segments: Segments to cover instead of windows. Whole numbers that broadcast
            against one input; values with the same number are covered together.
        baseline: Values that replace the covered ones, in the units of `x`. See
            `tfxai.core.baselines`.
        target: What to explain. None is the top class; see `Analyzer.analyze`.
        precision: Precision of the model's evaluations: "float32", or "bfloat16" for
            half the bytes, which is faster on processors that support it.
        background: Examples like `x`, in place of a baseline: an array (m, ...) or a
            `tf.data.Dataset`. The output without a window is the mean over them, in m
            times as many evaluations.

    Returns:
        The analyzer.

    Raises:
        OptionError: Both windows and segments, or baseline and background are given, or
            a size is not positive.

    References:
        Zeiler and Fergus 2014, arXiv:1311.2901, section 4.1.
    """
    wrapped.check_precision(precision)
    config = OcclusionConfig(window, stride, segments, baseline, precision, background)
    settings = {
        f.name: getattr(config, f.name)
        for f in fields(config)
        if f.name != "background"
    }
    make = partial(Occlusion, wrapped, config)
    return Analyzer("occlusion", wrapped, make, target, settings)


def _specs(x: np.ndarray, rows: np.ndarray | None) -> list[tf.TensorSpec]:
    """The specs of the masks of an input, and of the rows that cover it."""
    masks = tf.TensorSpec((None, *[None] * (x.ndim - 1)), tf.bool)
    if rows is None or rows.dtype.kind in "OSUMm":  # a callable needs no specs
        return [masks]
    return [masks, tf.TensorSpec((None, *x.shape[1:]), rows.dtype)]


def _cover_input(
    number: int, baseline: Any
) -> Callable[[list[Tensor], list[Tensor]], list[Tensor]]:
    """The change that covers input `number` where a mask is True.

    It takes masks and, for a background, the row (n, ...) that covers each copy.
    """

    def change(inputs: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        own = len(masks) > 1
        cover = masks[1] if own else baselines(baseline, inputs)[number]
        inputs[number] = tf.where(masks[0], cover, inputs[number])
        return inputs

    return change


def _exchange(
    number: int, baseline: Any
) -> Callable[[list[np.ndarray], list[np.ndarray]], list[np.ndarray]]:
    """`_cover_input` on arrays of any dtype."""

    def change(inputs: list[np.ndarray], masks: list[np.ndarray]) -> list[np.ndarray]:
        own = len(masks) > 1
        cover = masks[1] if own else baseline_arrays(baseline, inputs)[number]
        inputs[number] = np.where(masks[0], cover, inputs[number])
        return inputs

    return change


class _Regions(Protocol):
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


def _regions(shape: Shape, config: OcclusionConfig) -> _Regions:
    """The regions of an input (...) that are covered."""
    if not shape:
        raise InputError(
            "x has shape (B,): each input is one value, or one text.",
            "tables (B, columns), series or images; or a method that removes words",
            'method="kernel_shap"',
        )
    if config.segments is not None:
        return _Segments(shape, config.segments)
    window, stride = config.window, config.stride
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


def _relevance(
    probe: Probe,
    regions: _Regions,
    background: np.ndarray | None,
    batch: list[np.ndarray],
    target: np.ndarray,
    score: np.ndarray,
    max_batch: int,
) -> np.ndarray:
    """The relevance (T, B, ...) of one input, computed in blocks of regions."""
    samples, losses = len(target), []
    block = max(1, max_batch // samples)
    for start in range(0, regions.count, block):
        rows = np.arange(start, min(start + block, regions.count))
        masks = np.repeat(regions.masks(rows), samples, 0)
        which = np.tile(np.arange(samples), len(rows))
        covers = [[]] if background is None else [
            [np.broadcast_to(v, (len(which), *v.shape))] for v in background
        ]  # fmt: skip
        total = sum(
            probe.evaluate(batch, which, [masks, *cover], target, max_batch)
            for cover in covers
        )
        covered = np.asarray(total) / len(covers)
        losses.append(score[None] - covered.reshape(len(rows), *score.shape))
    loss = np.moveaxis(np.concatenate(losses), 0, -1)  # (B, T, count)
    return np.asarray(regions.spread(np.moveaxis(loss, 0, 1)), np.float32)


register(
    MethodSpec(
        "occlusion", "sampling", "the loss of the output where the input is covered",
        "any model, also a plain callable", "Zeiler and Fergus 2014, arXiv:1311.2901",
        occlusion,
        formula="R = mean over the windows that cover the value of f_t(x) - f_t(x "
        "without the window)",
        limits="Evidence that is present twice hides itself: without one copy the "
        "score stays. Objects larger than the window, and a baseline that looks like "
        "an object, give wrong values.",
        also_in="Zennit, Captum, Xplique, tf-explain",
        cost="one evaluation of the model for every position of the window",
    )
)  # fmt: skip
