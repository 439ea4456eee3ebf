"""Evaluation of a model on inputs whose segments are partly covered by a baseline.

LIME and the Shapley values share it: masks (n, d) in, outputs (n, T) out, in one
compiled function.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfxai.base.errors import (
    InputError,
    ModelError,
    OptionError,
    WeakBaselineWarning,
)
from tfxai.base.tensors import Tensor, chunks
from tfxai.core.analyzer import concatenate_padded
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.inputs import signature
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows, scaled
from tfxai.core.queries import Probe
from tfxai.sampling.covers import resolve_background, resolve_baseline
from tfxai.sampling.segments import segment_inputs

#: Masks are padded to a multiple of so many columns, so that inputs with different
#: numbers of segments share one compiled function.
MASK_WIDTH = 64
#: Copies that are covered by rows of a background are evaluated in groups of this size.
GROUP = 1 << 14
#: A named baseline that changes the output by less than this share of what black
#: changes is a warning.
MIN_CHANGE = 0.05
Advance = Callable[[int], object]


@dataclass(frozen=True)
class MaskingConfig:
    """How inputs are segmented and covered, and which output is explained.

    Attributes:
        wrapped: The model.
        segmenter: How inputs are segmented; see `segment_inputs`.
        segmenter_options: Keyword arguments of the segmenter.
        baseline: What covers a segment; see `resolve_baseline`.
        scale: Scale of the explained output; see `tfxai.core.output_scale`.
        precision: Precision of the model's evaluations.
        background: Rows (m, ...) in place of a baseline; see `resolve_background`. The
            output under a mask is the mean over them.
    """

    wrapped: ModelWrapper
    segmenter: Any
    segmenter_options: dict[str, Any] | None
    baseline: Any
    scale: str
    precision: str
    background: Any = None

    def __post_init__(self) -> None:
        self.wrapped.check_precision(self.precision)
        own = not isinstance(self.baseline, str) or self.baseline != "mean"
        if self.background is not None and own:
            raise OptionError(
                "baseline and background are both given.",
                "what covers a segment: one of them",
                "background=x_train[:100]",
            )

    @property
    def scale_name(self) -> str:
        """The scale that "auto" stands for, or the scale as given."""
        return scaled(self.wrapped, self.scale)[0]


class SampleResult(NamedTuple):
    """What a method computes for one sample.

    by_target: Arrays (T, ...) by name; "coefficients" (T, d) is required.
    shared: Arrays (...) by name that all targets share.
    """

    by_target: dict[str, np.ndarray]
    shared: dict[str, np.ndarray]


@dataclass(frozen=True)
class MaskedSample:
    """One input, its segments and its baseline, ready for evaluation under masks.

    Attributes:
        probe: The compiled model.
        arrays: The input and its segment numbers, (1, ...), and what covers it: one
            baseline (1, ...), or a background (m, ...).
        n_segments: Number of segments d.
        target: Target indices (1, T).
        score: Explained output of the input itself (T,).
        index: Number of the sample in its batch, for errors.
        max_batch: Largest number of masked copies per evaluation.
        averaged: Whether the outputs are means over a background.
    """

    probe: Probe
    arrays: list[np.ndarray]
    n_segments: int
    target: np.ndarray
    score: np.ndarray
    index: int
    max_batch: int
    averaged: bool = False

    @property
    def segments(self) -> np.ndarray:
        """The segment numbers, of the input's spatial shape."""
        return np.asarray(self.arrays[1][0])

    @property
    def varies(self) -> np.ndarray:
        """True (d,) for the segments in which the input differs from its baseline.

        A background differs where any of its rows does.
        """
        x, segments, baseline = self.arrays
        changed = np.asarray(x != baseline, bool).any(0)
        segments = segments[0]
        differs = changed.reshape((*segments.shape, -1)).max(-1)
        counts = np.bincount(segments[differs].ravel(), minlength=self.n_segments)
        return np.asarray(counts > 0)

    def evaluate(self, masks: np.ndarray, advance: Advance) -> np.ndarray:
        """Return the outputs (n, T) of masked copies, means over a background.

        Args:
            masks: Masks (n, d), True where a segment is kept.
            advance: Called with the number of copies after each evaluation.
        """
        width = -(-masks.shape[1] // MASK_WIDTH) * MASK_WIDTH
        masks = np.pad(masks, ((0, 0), (0, width - masks.shape[1])))
        if not self.averaged:
            return self._outputs([masks], advance)
        rows = np.arange(len(self.arrays[2]), dtype=np.int32)
        means = []
        for s in chunks(len(masks), max(1, GROUP // len(rows))):
            every = masks[s].repeat(len(rows), 0)
            scores = self._outputs([every, np.tile(rows, len(masks[s]))], _ignore)
            scores = scores.reshape(-1, len(rows), scores.shape[-1])
            means.append(scores.mean(1, dtype=np.float64))
            advance(len(masks[s]))
        return np.concatenate(means)

    def _outputs(self, parameters: list[np.ndarray], advance: Advance) -> np.ndarray:
        """The outputs (n, T) of copies, for parameters (n, ...) of the probe."""
        which = np.zeros(len(parameters[0]), np.int32)
        return self.probe.evaluate(
            self.arrays, which, parameters, self.target, self.max_batch, advance,
            self.index,
        )  # fmt: skip


class MaskedModel:
    """A model, compiled for the evaluation of masked inputs (B, ..., C) or (B, F)."""

    def __init__(
        self, config: MaskingConfig, inputs: list[np.ndarray], target_fn: TargetFn
    ) -> None:
        if len(inputs) > 1:
            raise InputError(
                f"The model has {len(inputs)} inputs; a segmentation covers one.",
                "a model with one input",
                'method="occlusion"',
            )
        self._config, wrapped = config, config.wrapped
        scale, output_of = scaled(wrapped, config.scale)
        check_rows(wrapped, scale, inputs)
        x = inputs[0]
        beside: list[Any] = [None, None]  # a callable needs no specs
        self._dtype: Any = x.dtype
        if wrapped.differentiable:
            dtype = signature(wrapped.specs, inputs)[0].dtype
            spatial = x.shape[1:-1] if x.ndim > 2 else x.shape[1:]
            segments = tf.TensorSpec((None, *spatial), tf.int32)
            beside = [segments, tf.TensorSpec((None, *x.shape[1:]), dtype)]
            self._dtype = dtype.as_numpy_dtype
        parameters = [tf.TensorSpec((None, None), tf.bool)]
        cover, exchange = _cover, _exchange
        self._background: np.ndarray | None = None
        if config.background is not None:
            rows = resolve_background(config.background, x.astype(self._dtype), wrapped)
            self._background = rows
            parameters.append(tf.TensorSpec((None,), tf.int32))
            cover, exchange = _cover_by_rows, _exchange_by_rows
        self._probe = Probe(
            wrapped, cover, inputs, parameters, target_fn, output_of, config.precision,
            per_sample=beside, single=True, fused=True, exchange=exchange,
        )  # fmt: skip

    def samples(
        self, x: np.ndarray, target: np.ndarray, max_batch: int
    ) -> list[MaskedSample]:
        """Segment a batch of inputs, and return its samples.

        Args:
            x: Inputs (B, ..., C) or (B, F).
            target: Target indices (B, T), -1 for the top class.
            max_batch: Largest number of masked copies per evaluation.
        """
        config = self._config
        segments, counts = segment_inputs(x, config.segmenter, config.segmenter_options)
        x = x.astype(self._dtype, copy=False)
        score, target = self._probe.unchanged_scores([x], target, max_batch)
        rows = self._background
        if rows is not None:
            covers = [rows] * len(x)
        else:
            cover = resolve_baseline(config.baseline, x, segments)
            if isinstance(config.baseline, str) and config.baseline != "black":
                self._warn_weak([x, segments, cover], target, score, max_batch)
            covers = [cover[b : b + 1] for b in range(len(x))]
        return [
            MaskedSample(
                self._probe, [x[b : b + 1], segments[b : b + 1], covers[b]], int(d),
                target[b : b + 1], score[b], b, max_batch, rows is not None,
            )
            for b, d in enumerate(counts)
        ]  # fmt: skip

    def _warn_weak(
        self,
        arrays: list[np.ndarray],
        target: np.ndarray,
        score: np.ndarray,
        max_batch: int,
    ) -> None:
        """Warn of samples whose baseline changes the output far less than black."""
        x, baseline = arrays[0], arrays[2]
        try:
            changes = [
                np.abs(score - self._probe.unchanged_scores([v], target, max_batch)[0])
                for v in (baseline, np.zeros_like(x))
            ]
        except ModelError:  # an output is not finite, and black may not be used at all
            return
        own, black = (c.max(1) for c in changes)
        noise = 1e-5 * np.abs(score).max(1)
        weak = np.flatnonzero((black > noise) & (own < MIN_CHANGE * black))
        if len(weak):
            warnings.warn(
                f"baseline={self._config.baseline!r} hardly changes the output of "
                f"sample(s) {weak[:5].tolist()}: by {own[weak[0]]:.2g}, and black by "
                f"{black[weak[0]]:.2g}. The values of the segments add up to that "
                "small change. It helps to cover segments with other values: "
                'baseline="black", or a number; or to take larger segments.',
                WeakBaselineWarning,
                stacklevel=2,
            )


def assemble_batch(
    samples: list[MaskedSample], results: list[SampleResult]
) -> dict[str, Any]:
    """Return what an analyzer needs of a batch (see `tfxai.core.analyzer.Maker`).

    `relevance` is each segment's coefficient at every position of the segment.

    Args:
        samples: The samples of the batch.
        results: The result of each sample.
    """
    by_target = _join([r.by_target for r in results])
    shared = _join([r.shared for r in results])
    segments = np.concatenate([s.arrays[1] for s in samples])
    rank = samples[0].arrays[0].ndim
    return {
        **by_target,
        "relevance": [spread_values(by_target["coefficients"], segments, rank)],
        "each": {**shared, "segments": segments},
        "score": np.stack([s.score for s in samples]),
        "target": np.concatenate([s.target for s in samples]),
    }


def _join(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of single samples as arrays of the batch, padded with NaN."""
    return {k: concatenate_padded([row[k][None] for row in rows]) for k in rows[0]}


def spread_values(values: np.ndarray, segments: np.ndarray, rank: int) -> np.ndarray:
    """Return the values of segments as relevance (T, B, ..., 1), or (T, B, F).

    Args:
        values: One value for each segment (B, T, d).
        segments: Segment numbers (B, ...).
        rank: Number of axes of the inputs; 2 for tables and tokens (B, F).
    """
    relevance = np.stack([v[:, i] for v, i in zip(values, segments, strict=True)], 1)
    return (relevance if rank == 2 else relevance[..., None]).astype(np.float32)


def _cover(inputs: list[Tensor], parameters: list[Tensor]) -> list[Tensor]:
    """Replace an input by its baseline in the segments whose mask is False.

    inputs: the input, its segments and its baseline, of one sample (1, ...).
    parameters: the masks (n, d).
    """
    x, segments, baseline = inputs
    kept = tf.gather(parameters[0], segments[0], axis=1)
    if len(x.shape) > len(kept.shape):
        kept = kept[..., None]
    return [tf.where(kept, x, baseline)]


def _cover_by_rows(inputs: list[Tensor], parameters: list[Tensor]) -> list[Tensor]:
    """`_cover` by row r (n,) of a background, for each copy."""
    x, segments, background = inputs
    masks, rows = parameters
    return _cover([x, segments, tf.gather(background, rows)], [masks])


def _ignore(count: int) -> None:
    """An `Advance` that shows nothing."""


def _exchange(arrays: list[np.ndarray], parameters: list[np.ndarray]) -> Any:
    """`_cover` on arrays of any dtype."""
    x, segments, baseline = arrays
    kept = np.take(parameters[0], segments[0], axis=1)
    if x.ndim > kept.ndim:
        kept = kept[..., None]
    return [np.where(kept, x, baseline)]


def _exchange_by_rows(arrays: list[np.ndarray], parameters: list[np.ndarray]) -> Any:
    """`_cover_by_rows` on arrays of any dtype."""
    x, segments, background = arrays
    masks, rows = parameters
    return _exchange([x, segments, background[rows]], [masks])
