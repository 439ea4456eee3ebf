"""Evaluation of a model on inputs whose segments are partly covered by a baseline.

LIME and the Shapley values share it: masks (n, d) in, outputs (n, T) out, in one
compiled function.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfxai.base.errors import (
    ModelError,
    OptionError,
    WeakBaselineWarning,
)
from tfxai.base.tensors import Tensor, chunks
from tfxai.core.analyzer import concatenate_padded
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.frames import differs
from tfxai.core.inputs import per_input, signature
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows, scaled
from tfxai.core.queries import Probe
from tfxai.sampling.covers import resolve_background, resolve_baseline, summarised
from tfxai.sampling.segments import (
    neighbours,
    segment_space,
    segment_together,
    space_of,
)
from tfxai.sampling.texts import Pieces, is_text, pieces_of

#: Masks are padded to a multiple of so many columns, so that inputs with different
#: numbers of segments share one compiled function.
MASK_WIDTH = 64
#: Copies that are covered by rows of a background are evaluated in groups of this size.
GROUP = 1 << 14
#: A named baseline that changes the output by less than this share of what black
#: changes is a warning.
MIN_CHANGE = 0.05
Advance = Callable[[int], object]


class InputOptions(NamedTuple):
    """How one input is segmented and covered; see `MaskingConfig`."""

    segmenter: Any
    segmenter_options: dict[str, Any] | None
    baseline: Any


@dataclass(frozen=True)
class MaskingConfig:
    """How inputs are segmented and covered, and which output is explained.

    Attributes:
        wrapped: The model.
        segmenter: How inputs are segmented; see `segment_inputs`.
        segmenter_options: Keyword arguments of the segmenter.
        baseline: What covers a segment; see `resolve_baseline`. None, for one of
            several inputs: it is never covered.
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
        own = not isinstance(self.baseline, str) or self.baseline != "auto"
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

    def of_input(self, number: int, count: int) -> InputOptions:
        """Return the options of one input of `count`."""
        names, names_of = self.wrapped.input_names, ("segmenter", "segmenter_options")
        segmenter, options, baseline = (
            per_input(name, getattr(self, name), names, count)[number]
            for name in (*names_of, "baseline")
        )
        if baseline is None and count == 1:
            raise OptionError("baseline=None.", "a number or an array", "baseline=0")
        if number in self.wrapped.frames:
            baseline = self.wrapped.frames[number].row(baseline)
        return InputOptions(segmenter, options, baseline)


class SampleResult(NamedTuple):
    """What a method computes for one sample.

    by_target: Arrays (T, ...) by name; "coefficients" (T, d) is required.
    shared: Arrays (...) by name that all targets share.
    """

    by_target: dict[str, np.ndarray]
    shared: dict[str, np.ndarray]


@dataclass(frozen=True)
class MaskedSample:
    """One sample, its segments and its baseline, ready for evaluation under masks.

    The segments of all inputs are numbered together. An input that is never covered
    has no segment: it is its own baseline.

    Attributes:
        probe: The compiled model.
        x: The inputs, (1, ...).
        segments: The segment numbers of each input, (1, ...).
        covers: What covers each input: one baseline (1, ...), or a background (m, ...).
        fixed: Whether each input is never covered.
        texts: The pieces of each input that is a text, else None.
        n_segments: Number of segments d.
        target: Target indices (1, T).
        score: Explained output of the sample itself (T,).
        index: Number of the sample in its batch, for errors.
        max_batch: Largest number of masked copies per evaluation.
        weights: The weight of each row of a background (m,), or None: one baseline.
    """

    probe: Probe
    x: list[np.ndarray]
    segments: list[np.ndarray]
    covers: list[np.ndarray]
    fixed: list[bool]
    texts: list[Pieces | None]
    n_segments: int
    target: np.ndarray
    score: np.ndarray
    index: int
    max_batch: int
    weights: np.ndarray | None = None

    def neighbours(self, diagonal: bool = False) -> list[set[int]]:
        """Return the numbers of the neighbours of each segment; see `neighbours`."""
        found: list[set[int]] = [set() for _ in range(self.n_segments)]
        for segments, fixed in zip(self.segments, self.fixed, strict=True):
            if not fixed:
                for i, others in enumerate(neighbours(segments[0], diagonal)):
                    found[i] |= others
        return found

    @property
    def varies(self) -> np.ndarray:
        """True (d,) for the segments in which an input differs from its baseline.

        A background differs where any of its rows does.
        """
        counts = np.zeros(self.n_segments, int)
        for x, segments, cover, text in zip(
            self.x, self.segments, self.covers, self.texts, strict=True
        ):
            if text is not None:
                counts[segments[0]] += [w != text.token for w in text.words]
                continue
            changed = differs(x, cover).any(0)
            numbers = segments[0]
            where = changed.reshape((*numbers.shape, -1)).any(-1)
            counts += np.bincount(numbers[where].ravel(), minlength=self.n_segments)
        return np.asarray(counts > 0)

    def evaluate(self, masks: np.ndarray, advance: Advance) -> np.ndarray:
        """Return the outputs (n, T) of masked copies, means over a background.

        Args:
            masks: Masks (n, d), True where a segment is kept.
            advance: Called with the number of copies after each evaluation.
        """
        copies = [
            text.copies(masks[:, numbers[0]], x)
            for text, numbers, x in zip(self.texts, self.segments, self.x, strict=True)
            if text is not None
        ]
        width = -(-masks.shape[1] // MASK_WIDTH) * MASK_WIDTH
        masks = np.pad(masks, ((0, 0), (0, width - masks.shape[1])))
        if self.weights is None or not len(masks):
            return self._outputs([masks, *copies], advance)
        rows = np.arange(len(self.covers[0]), dtype=np.int32)
        means = []
        for s in chunks(len(masks), max(1, GROUP // len(rows))):
            every = masks[s].repeat(len(rows), 0)
            scores = self._outputs([every, np.tile(rows, len(masks[s]))], _ignore)
            scores = scores.reshape(-1, len(rows), scores.shape[-1])
            means.append(np.einsum("nmt,m->nt", scores, self.weights))
            advance(len(masks[s]))
        return np.concatenate(means)

    def _outputs(self, parameters: list[np.ndarray], advance: Advance) -> np.ndarray:
        """The outputs (n, T) of copies, for parameters (n, ...) of the probe."""
        which = np.zeros(len(parameters[0]), np.int32)
        pairs = zip(self.x, self.segments, self.texts, strict=True)
        numbers = [
            s if text is None else np.zeros((1, *space_of(x)), np.int32)
            for x, s, text in pairs
        ]
        arrays = [*self.x, *numbers, *self.covers]
        return self.probe.evaluate(
            arrays, which, parameters, self.target, self.max_batch, advance, self.index
        )


class MaskedModel:
    """A model, compiled for the evaluation of masked inputs (B, ..., C) or (B, F)."""

    def __init__(
        self, config: MaskingConfig, inputs: list[np.ndarray], target_fn: TargetFn
    ) -> None:
        self._config, wrapped = config, config.wrapped
        scale, output_of = scaled(wrapped, config.scale)
        check_rows(wrapped, scale, inputs)
        self._numbers = [config.of_input(i, len(inputs)) for i in range(len(inputs))]
        beside: list[Any] = [None] * (2 * len(inputs))  # a callable needs no specs
        self._dtypes: list[Any] = [x.dtype for x in inputs]
        if wrapped.differentiable:
            dtypes = [s.dtype for s in signature(wrapped.specs, inputs)]
            segments = [
                tf.TensorSpec((None, *segment_space(x, o.segmenter)), tf.int32)
                for x, o in zip(inputs, self._numbers, strict=True)
            ]
            pairs = zip(inputs, dtypes, strict=True)
            covers = [tf.TensorSpec((None, *x.shape[1:]), d) for x, d in pairs]
            beside = [*segments, *covers]
            self._dtypes = [d.as_numpy_dtype for d in dtypes]
        parameters = [tf.TensorSpec((None, None), tf.bool)]
        cover, exchange = _cover, _exchange
        single, options = wrapped.differentiable, self._numbers
        self._texts = [
            o.baseline is not None and is_text(x, single)
            for x, o in zip(inputs, options, strict=True)
        ]
        if any(self._texts):
            shapes = [
                x.shape[1:] for x, t in zip(inputs, self._texts, strict=True) if t
            ]
            parameters += [tf.TensorSpec((None, *s), tf.string) for s in shapes]
            cover = partial(_with_texts, _cover, self._texts)
            exchange = partial(_with_texts, _exchange, self._texts)
        self._wrapped = wrapped
        self._background: list[np.ndarray] | None = None
        self._weights: np.ndarray | None = None
        if config.background is not None:
            if any(self._texts):
                raise OptionError(
                    "background of texts, whose pieces have no counterpart.",
                    "a text in place of a piece, or none: pieces are removed",
                    'baseline="[MASK]"',
                )
            cast = [x.astype(d) for x, d in zip(inputs, self._dtypes, strict=True)]
            rows, weights = summarised(config.background, wrapped)
            self._background = resolve_background(rows, cast, wrapped)
            count = len(self._background[0])
            self._weights = np.full(count, 1 / count) if weights is None else weights
            parameters.append(tf.TensorSpec((None,), tf.int32))
            cover, exchange = _cover_by_rows, _exchange_by_rows
        self._probe = Probe(
            wrapped, cover, inputs, parameters, target_fn, output_of, config.precision,
            per_sample=beside, single=True, fused=not any(self._texts),
            exchange=exchange,
        )  # fmt: skip

    def samples(
        self, x: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> list[MaskedSample]:
        """Segment a batch of inputs, and return its samples.

        Args:
            x: Inputs, (B, ..., C) or (B, F) each.
            target: Target indices (B, T), -1 for the top class.
            max_batch: Largest number of masked copies per evaluation.
        """
        options = self._numbers
        fixed = [o.baseline is None for o in options]
        texts = [
            [pieces_of(t, o.segmenter, o.baseline) for t in v.flat] if text else None
            for v, o, text in zip(x, options, self._texts, strict=True)
        ]
        segments, counts = segment_together(
            x, [(o.segmenter, o.segmenter_options) for o in options], fixed,
            [None if t is None else [len(p.spans) for p in t] for t in texts],
        )  # fmt: skip
        x = [v.astype(d, copy=False) for v, d in zip(x, self._dtypes, strict=True)]
        score, target = self._probe.unchanged_scores(x, target, max_batch)
        rows = self._background
        whole = [f or t for f, t in zip(fixed, self._texts, strict=True)]
        covers = rows or [
            v if kept else resolve_baseline(o.baseline, v, np.stack(s))
            for v, s, o, kept in zip(x, segments, options, whole, strict=True)
        ]
        if rows is None and self._wrapped.differentiable:
            self._wrapped.check_ids(covers, "baseline")
        chosen = [
            o.baseline for o, kept in zip(options, whole, strict=True) if not kept
        ]
        named = [b for b in chosen if isinstance(b, str)]
        if rows is None and set(named) - {"black"}:
            self._warn_weak(covers, x, target, score, max_batch)
        return [
            MaskedSample(
                self._probe, _row(x, b), _row(segments, b), rows or _row(covers, b),
                fixed, [None if t is None else t[b] for t in texts], int(d),
                target[b : b + 1], score[b], b, max_batch, self._weights,
            )
            for b, d in enumerate(counts)
        ]  # fmt: skip

    def _warn_weak(
        self,
        covers: list[np.ndarray],
        x: list[np.ndarray],
        target: np.ndarray,
        score: np.ndarray,
        max_batch: int,
    ) -> None:
        """Warn of samples whose baseline changes the output far less than black."""
        pairs = zip(x, self._numbers, strict=True)
        blacks = [v if o.baseline is None else np.zeros_like(v) for v, o in pairs]
        try:
            changes = [
                np.abs(score - self._probe.unchanged_scores(v, target, max_batch)[0])
                for v in (covers, blacks)
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


def _row(arrays: Sequence[Any], b: int) -> list[np.ndarray]:
    """Sample b of each array, (1, ...)."""
    return [v[b][None] if isinstance(v, list) else v[b : b + 1] for v in arrays]


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
    values, relevance, named = by_target["coefficients"], [], {}
    first, tokens = samples[0], None
    for i, x in enumerate(first.x):
        segments = [s.segments[i][0] for s in samples]
        if first.texts[i] is None:
            name = f"segments_{i}" if len(first.x) > 1 else "segments"
            named[name] = np.stack(segments)
        else:
            words = [t.words for s in samples if (t := s.texts[i]) is not None]
            tokens = tokens or words
        spread = spread_values(values, segments, x.ndim)
        relevance.append(np.zeros_like(spread) if first.fixed[i] else spread)
    return {
        **by_target,
        "relevance": relevance,
        "each": {**_join([r.shared for r in results]), **named},
        "score": np.stack([s.score for s in samples]),
        "target": np.concatenate([s.target for s in samples]),
        **({} if tokens is None else {"tokens": tokens}),
    }


def _join(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of single samples as arrays of the batch, padded with NaN."""
    return {k: concatenate_padded([row[k][None] for row in rows]) for k in rows[0]}


def spread_values(
    values: np.ndarray, segments: Sequence[np.ndarray], rank: int
) -> np.ndarray:
    """Return the values of segments as relevance (T, B, ..., 1), or (T, B, F).

    Segments that number each value (..., C) have relevance (T, B, ..., C).

    Args:
        values: One value for each segment (B, T, d).
        segments: Segment numbers (...) of each sample. Of texts they differ in length:
            relevance is 0 behind the last piece.
        rank: Number of axes of the inputs; 2 for tables and tokens (B, F).
    """
    parts = [v[:, i] for v, i in zip(values, segments, strict=True)]
    relevance = np.moveaxis(concatenate_padded([p[None] for p in parts], 0.0), 0, 1)
    whole = rank < 3 or relevance.ndim > rank
    return (relevance if whole else relevance[..., None]).astype(np.float32)


def _with_texts(
    change: Callable[..., list[Any]],
    texts: list[bool],
    arrays: list[Any],
    parameters: list[Any],
) -> list[Any]:
    """The covered inputs; of texts the copies that come as parameters after masks."""
    copies = iter(parameters[1:])
    covered = change(arrays, parameters[:1])
    return [next(copies) if t else v for v, t in zip(covered, texts, strict=True)]


def _cover(arrays: list[Tensor], parameters: list[Tensor]) -> list[Tensor]:
    """Replace inputs by their baselines in the segments whose mask is False.

    arrays: the inputs of one sample (1, ...), their segments, and their baselines.
    parameters: the masks (n, d).
    """
    covered = []
    for x, segments, cover in _each_input(arrays):
        kept = tf.gather(parameters[0], segments[0], axis=1)
        if len(x.shape) > len(kept.shape):
            kept = kept[..., None]
        covered.append(tf.where(kept, x, cover))
    return covered


def _each_input(arrays: list[Any]) -> list[tuple[Any, Any, Any]]:
    """Each input with its segments and what covers it."""
    k = len(arrays) // 3
    return list(zip(arrays[:k], arrays[k : 2 * k], arrays[2 * k :], strict=True))


def _cover_by_rows(arrays: list[Tensor], parameters: list[Tensor]) -> list[Tensor]:
    """`_cover` by row r (n,) of a background, for each copy."""
    masks, rows = parameters
    first = 2 * len(arrays) // 3
    covers = [tf.gather(v, rows) for v in arrays[first:]]
    return _cover([*arrays[:first], *covers], [masks])


def _exchange(arrays: list[np.ndarray], parameters: list[np.ndarray]) -> Any:
    """`_cover` on arrays of any dtype."""
    covered = []
    for x, segments, cover in _each_input(arrays):
        kept = np.take(parameters[0], segments[0], axis=1)
        if x.ndim > kept.ndim:
            kept = kept[..., None]
        covered.append(np.where(kept, x, cover))
    return covered


def _exchange_by_rows(arrays: list[np.ndarray], parameters: list[np.ndarray]) -> Any:
    """`_cover_by_rows` on arrays of any dtype."""
    masks, rows = parameters
    first = 2 * len(arrays) // 3
    return _exchange([*arrays[:first], *(v[rows] for v in arrays[first:])], [masks])


def _ignore(count: int) -> None:
    """An `Advance` that shows nothing."""
