"""RISE: the mean of random soft masks, weighted by the output under each mask.

Petsiuk, Das and Saenko 2018, arXiv:1806.07421: S = E[f(x m) m] / E[m].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.progress import bar
from tfxai.base.tensors import Tensor, chunks, real
from tfxai.base.validation import above, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import TargetFn
from tfxai.core.explanation import Explanation
from tfxai.core.intervals import with_interval
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows, scaled
from tfxai.core.queries import Probe
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.covers import resolve_baseline
from tfxai.sampling.intervals import near_enough, warn_tolerance
from tfxai.sampling.masked import Advance

#: Number of masks per random generator. It is fixed, so that masks do not depend on
#: the batch size.
BLOCK = 64


@dataclass(frozen=True)
class RiseConfig:
    """The options of RISE, validated; see `rise`."""

    wrapped: ModelWrapper
    n_samples: int
    cells: int
    keep: float
    baseline: Any
    scale: str
    seed: int
    precision: str
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None:
            above("tolerance", self.tolerance)
        whole_number("n_samples", self.n_samples, 1)
        whole_number("cells", self.cells, 1)
        whole_number("seed", self.seed, 0)
        if not 0 < self.keep < 1:
            raise OptionError(
                f"keep={self.keep!r}.", "a probability between 0 and 1", "keep=0.5"
            )
        if isinstance(self.baseline, str) and self.baseline == "mean":
            raise OptionError(
                "baseline='mean' is the mean of a segment, and RISE has no segments.",
                '"black", "blur", a number or an array',
                'baseline="blur"',
            )
        scaled(self.wrapped, self.scale)
        self.wrapped.check_precision(self.precision)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that an explanation records in `extra`."""
        return {
            "n_samples": self.n_samples,
            "cells": self.cells,
            "keep": self.keep,
            "seed": self.seed,
            "scale": scaled(self.wrapped, self.scale)[0],
        }


class Rise:
    """RISE, compiled for inputs of one shape. A call explains a batch."""

    def __init__(
        self,
        config: RiseConfig,
        inputs: list[np.ndarray],
        target_fn: TargetFn,
        single_target: bool,
    ) -> None:
        shape = inputs[0].shape
        if len(inputs) > 1 or len(shape) not in (3, 4):
            raise InputError(
                f"RISE received inputs of shapes {[v.shape for v in inputs]}.",
                "one batch of images or series, (B, ..., channels)",
                'method="lime"',
            )
        scale, output_of = scaled(config.wrapped, config.scale)
        check_rows(config.wrapped, scale, inputs)
        self._config, self._spatial = config, shape[1:-1]
        self._differentiable = config.wrapped.differentiable
        baseline = tf.TensorSpec((None, *shape[1:]), tf.float32)
        masks = tf.TensorSpec((None, *self._spatial), tf.float32)
        self._probe = Probe(
            config.wrapped, _blend, inputs, [masks], target_fn, output_of,
            config.precision, per_sample=[baseline], single=True,
        )  # fmt: skip

    def __call__(
        self, batch: list[np.ndarray], target: np.ndarray, max_batch: int
    ) -> dict[str, Any]:
        """Return the relevance of a batch, its error, and the mean output."""
        score, target = self._probe.unchanged_scores(batch, target, max_batch)
        x = batch[0]
        if x.dtype != np.float64 and (x.dtype.kind == "f" or self._differentiable):
            x = x.astype(np.float32, copy=False)
        elif x.dtype.kind != "f":
            x = x.astype(float)
        baseline = resolve_baseline(self._config.baseline, x, np.zeros(()))
        arrays = [batch[0], baseline]
        with bar("masks", len(target) * self._config.n_samples) as advance:
            means = [
                self._means(arrays, b, target, max_batch, advance)
                for b in range(len(target))
            ]
        relevance, error, mean, used = (
            np.stack(v) for v in zip(*means, strict=True)
        )  # (B, T, ...)
        interval = with_interval(relevance, error, int(used.min()) - 1)
        return {
            "relevance": [np.float32(np.moveaxis(relevance, 0, 1)[..., None])],
            "mean": mean,
            **{k: np.float32(v[..., None]) for k, v in interval.items()},
            "evaluations": np.broadcast_to(used[:, None], target.shape),
            "score": score,
            "target": target,
        }

    def _means(
        self,
        arrays: list[np.ndarray],
        b: int,
        target: np.ndarray,
        max_batch: int,
        advance: Advance,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """E[f m] / E[m] (T, ...), its standard error, E[f] (T,), and how many masks.

        Masks are made, and summed, where the model runs.
        """
        n, keep, tolerance = (
            getattr(self._config, k) for k in ("n_samples", "keep", "tolerance")
        )
        sample = [v[b : b + 1] for v in arrays]
        weighted, squares, total, used = np.zeros(()), np.zeros(()), np.zeros(()), 0
        seed, cells = self._config.seed, self._config.cells
        for m in random_masks(seed, n, cells, keep, self._spatial, max_batch):
            which = np.zeros(len(m), np.int32)
            y = self._probe.evaluate(
                sample, which, [m], target[b : b + 1], max_batch, advance, b
            ).T.astype(float)
            weighted = weighted + _summed(y, m)
            squares = squares + _summed(y * y, m * m)
            total, used = total + y.sum(1), used + len(m)
            whole = tolerance is not None and used % BLOCK == 0
            if whole and near_enough(*moments(weighted, squares, used), tolerance):
                break
        mean, error = moments(weighted, squares, used)
        return mean / keep, error / keep, total / used, used


def _summed(weights: np.ndarray, masks: Tensor) -> np.ndarray:
    """Sums of masks (n, ...) by weights (T, n)."""
    return np.asarray(tf.tensordot(weights.astype(np.float32), masks, 1), float)


def moments(
    sums: np.ndarray, squares: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return means of draws, and their standard errors (NaN after one draw).

    Args:
        sums: The sums of the draws.
        squares: The sums of their squares.
        count: Number of draws.
    """
    mean = np.asarray(sums / count)
    if count < 2:
        return mean, np.full_like(mean, np.nan)
    variance = np.maximum(squares / count - mean**2, 0)
    return mean, np.sqrt(variance / (count - 1))


def warn_of_error(config: RiseConfig, e: Explanation) -> None:
    """Warn of a tolerance that was not met."""
    if config.tolerance is not None:
        several = np.ndim(e.target) > 1
        errors = np.asarray(e.extra["standard_error"], float)
        values = np.asarray(e.relevance, float)
        warn_tolerance(e.method, values, errors, config.tolerance, several)


def rise(
    wrapped: ModelWrapper,
    n_samples: int = 2000,
    cells: int = 7,
    keep: float = 0.5,
    baseline: Any = "black",
    scale: str = "auto",
    seed: int = 0,
    precision: str = "float32",
    tolerance: float | None = None,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer for the mean output where a position is visible.

    Random smooth masks show parts of the input and cover the rest by the baseline. The
    relevance of a position is the mean output over the masks that show it.

    `relevance` (B, ..., 1) is the mean of f times the mask, divided by `keep`.
    extra["mean"] is the mean output over all masks: positions above it support the
    class, positions below it contradict the class. extra["standard_error"],
    "interval_low" and "interval_high" (B, ..., 1) are those of the relevance, of 95 %;
    "evaluations" (B,) is the number of masks.

    Args:
        wrapped: The wrapped model of images or series.
        n_samples: Number of random masks.
        cells: Number of cells of the coarse random grid along each axis. A mask is
            that grid, enlarged and shifted.
        keep: Probability that a cell is visible, between 0 and 1.
        baseline: What replaces the input where the mask is 0. "black" as published,
            "blur", a number or an array.
        scale: Scale of the explained output: "auto", "probability", "logit" or
            "log_odds"; see `output_scale.scaled`.
        seed: Seed of the random masks.
        precision: Precision of the model's evaluations: "float32" or "bfloat16".
        tolerance: Relative standard error of the map at which sampling stops, before
            n_samples. None uses all n_samples.
        target: What to explain. None is the top class; see `Analyzer.analyze`.

    Returns:
        The analyzer.

    Raises:
        OptionError: An option is out of range.

    Warns:
        InexactWarning: The standard error is above `tolerance` after all n_samples.

    References:
        Petsiuk, Das and Saenko 2018, arXiv:1806.07421.
    """
    config = RiseConfig(
        wrapped, n_samples, cells, keep, baseline, scale, seed, precision, tolerance
    )
    make, check = partial(Rise, config), partial(warn_of_error, config)
    return Analyzer(
        "rise", wrapped, make, target, config.settings, check, together=True
    )


def _blend(inputs: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
    """The input where the mask is 1, the baseline where it is 0, a blend between."""
    x = real(inputs[0])
    baseline, m = tf.cast(inputs[1], x.dtype), tf.cast(masks[0][..., None], x.dtype)
    return [baseline + m * (x - baseline)]


def random_masks(
    seed: int,
    n_samples: int,
    cells: int,
    keep: float,
    spatial: tuple[int, ...],
    size: int = BLOCK,
) -> Iterator[Tensor]:
    """Yield masks (<= size, *spatial): random grids, enlarged and shifted.

    Args:
        seed: Seed of the random generator; the number of the block is appended.
        n_samples: Number of masks.
        cells: Number of cells of the grid along each axis.
        keep: Probability that a cell is 1.
        spatial: Spatial shape of the input.
        size: Largest number of masks at once; the masks do not depend on it.
    """
    for number, start in enumerate(range(0, n_samples, BLOCK)):
        rng = np.random.default_rng([seed, number])
        uniform = rng.random((BLOCK, *[cells + 1] * len(spatial)))
        shifts = [rng.random((BLOCK, 1)) for _ in spatial]
        grids = (uniform < keep).astype(np.float32)
        for s in chunks(min(BLOCK, n_samples - start), size):
            yield _enlarged(grids[s], [v[s] for v in shifts], spatial)


def _enlarged(
    grids: np.ndarray, shifts: list[np.ndarray], spatial: tuple[int, ...]
) -> Tensor:
    """Grids (n, cells + 1, ...) as masks (n, *spatial), shifted by (n, 1) per axis."""
    cells = grids.shape[1] - 1
    along = [
        _interpolation(shift, n, cells)
        for n, shift in zip(spatial, shifts, strict=True)
    ]
    if len(along) == 1:
        return tf.linalg.matvec(along[0], grids)
    return tf.matmul(tf.matmul(along[0], grids), along[1], transpose_b=True)


def _interpolation(shift: np.ndarray, n: int, cells: int) -> np.ndarray:
    """Matrices (len, n, cells + 1) that enlarge an axis linearly, shifted by cells.

    shift: (len, 1), in units of a cell.
    """
    at = (np.arange(n) + 0.5) / n * cells - 0.5 + shift
    at = np.clip(at, 0, cells)
    low = np.minimum(at.astype(int), cells - 1)
    part = at - low
    weight = np.zeros((len(shift), n, cells + 1), np.float32)
    np.put_along_axis(weight, low[..., None], 1 - part[..., None], -1)
    np.put_along_axis(weight, low[..., None] + 1, part[..., None], -1)
    return weight


register(
    MethodSpec(
        "rise", "sampling", "the mean of random masks, weighted by the output",
        "any model of images or series, also a plain callable",
        "Petsiuk et al. 2018, arXiv:1806.07421", rise,
        formula="R = mean over masks m of f_t(x * m) m / keep",
        limits='Without the mean output subtracted, every pixel is positive: see '
        'extra["mean"]. Small objects need small cells and many masks; with few masks '
        'the map is noise.',
        also_in="Xplique, TorchRay, the code of the authors",
    )
)  # fmt: skip
