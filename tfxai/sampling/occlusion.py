"""Occlusion: the loss of the output where a window, or a segment, is covered.

Zeiler and Fergus 2014, arXiv:1311.2901, section 4.1. Any model, also a plain callable.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor
from tfxai.core.analyzer import Analyzer, Maker
from tfxai.core.baselines import baseline_arrays, baselines
from tfxai.core.compilation import compiled
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.inputs import cut as batches
from tfxai.core.inputs import per_input, signature
from tfxai.core.layer_choice import layer_step
from tfxai.core.layer_cut import layer_cut
from tfxai.core.model import ModelWrapper
from tfxai.core.queries import Probe
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.covers import resolve_background
from tfxai.sampling.windows import Regions, regions_of


@dataclass(frozen=True)
class OcclusionConfig:
    """The options of occlusion; see `occlusion`."""

    window: Any
    stride: Any
    segments: Any
    baseline: Any
    precision: str
    background: Any = None

    def regions(self, shape: tuple[int, ...]) -> Regions:
        """Return the regions of an input (...) that are covered."""
        return regions_of(shape, self.window, self.stride, self.segments)

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
        regions = [self._config.regions(v.shape[1:]) for v in batch]
        score, target = self._probes[0].unchanged_scores(batch, target, max_batch)
        relevance = [
            _relevance(probe, r, rows, batch, target, score, max_batch)
            for probe, r, rows in zip(self._probes, regions, self._rows, strict=True)
        ]
        return {"relevance": relevance, "score": score, "target": target}


class LayerOcclusion:
    """Occlusion of the activations of a layer, for inputs of one shape."""

    def __init__(
        self,
        wrapped: ModelWrapper,
        config: OcclusionConfig,
        at: Any,
        inputs: list[np.ndarray],
        target_fn: TargetFn,
        single_target: bool,
    ) -> None:
        self._config = config
        cut = layer_cut(wrapped, at, inputs)

        def entered(*xs: Tensor) -> list[Tensor]:
            prepared = wrapped.prepared(list(xs))
            return [*cut.to_points(prepared), *prepared]

        self._entered = compiled(entered, signature(wrapped.specs, inputs))
        one = self._arrays([v[:1] for v in inputs])
        self._rows: Any = None
        if config.background is not None:
            typed = [v.astype(d.dtype) for v, d in zip(inputs, one[1:], strict=True)]
            rows = resolve_background(config.background, typed, wrapped)
            parts = [[v[s] for v in rows] for s in batches(rows, 32)]
            self._rows = np.concatenate([self._arrays(p)[0] for p in parts])
        self._probe = Probe(
            wrapped, _cover_layer(config.baseline), one, _specs(one[0], self._rows),
            cut.function_of(target_fn), entry=cut,
        )  # fmt: skip

    def _arrays(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        """The activations and the prepared inputs of a batch."""
        return [np.asarray(v) for v in self._entered(*batch)]

    def __call__(
        self, batch: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> dict[str, Any]:
        """Return the relevance of the layer for a batch."""
        entered = self._arrays(batch)
        regions = self._config.regions(entered[0].shape[1:])
        score, target = self._probe.unchanged_scores(entered, target, max_batch)
        relevance = _relevance(
            self._probe, regions, self._rows, entered, target, score, max_batch
        )
        return {
            "relevance": [relevance],
            "score": score,
            "target": target,
            "each": {"values": entered[0]},
        }


def occlusion(
    wrapped: ModelWrapper,
    window: Any = None,
    stride: Any = None,
    segments: Any = None,
    baseline: Any = 0,
    target: Any = None,
    precision: str = "float32",
    background: Any = None,
    at: Any = None,
) -> Analyzer:
    """Return an analyzer for the loss of the output where the input is covered.

    A window moves over the input and covers it by the baseline.

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
        at: Layer whose activations are covered: its name, its number in
            `model.layers`, or the layer. None is the input. Windows, segments and
            baseline are then those of the layer: `window=1` covers one position after
            another, `window=(1, 1, 1)` one unit, `segments=np.arange(channels)` one
            channel.

    Returns:
        The analyzer.

    Raises:
        OptionError: Both windows and segments, or baseline and background are given, or
            a size is not positive, or a layer is covered in bfloat16.
        BlackBoxError: A layer of a plain callable.

    References:
        Zeiler and Fergus 2014, arXiv:1311.2901, section 4.1. Captum:
        LayerFeatureAblation.
    """
    wrapped.check_precision(precision)
    config = OcclusionConfig(window, stride, segments, baseline, precision, background)
    settings = {
        f.name: getattr(config, f.name)
        for f in fields(config)
        if f.name != "background"
    }
    make: Maker = partial(Occlusion, wrapped, config)
    if at is not None:
        wrapped.check_differentiable()
        if precision != "float32":
            raise OptionError(
                f"precision={precision!r} with at={at!r}.",
                "one of the two",
                f"at={at!r}, in float32",
            )
        settings["at"] = layer_step(wrapped.model, wrapped.program("rule"), at).name
        make = partial(LayerOcclusion, wrapped, config, at)
    made = Analyzer("occlusion", wrapped, make, target, settings)
    made.inner = at is not None
    return made


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


def _cover_layer(
    baseline: Any,
) -> Callable[[list[Tensor], list[Tensor]], list[Tensor]]:
    """The change that covers the activations of a layer, the first input."""
    first = _cover_input(0, baseline)
    return lambda inputs, masks: [*first(inputs[:1], masks), *inputs[1:]]


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


def _relevance(
    probe: Probe,
    regions: Regions,
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
        also_in="Zennit, Captum, Xplique, tf-explain, saliency",
        cost="one evaluation of the model for every position of the window",
    )
)  # fmt: skip
