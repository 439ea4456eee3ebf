"""Asking about an input of which some segments are covered, in compiled blocks.

LIME, the Shapley values and RISE ask in the same way: masks (n, d) in, answers out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import Tensor
from tfxai.core.analyzer import side_by_side
from tfxai.core.embedding_cut import Function
from tfxai.core.inputs import signature
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows, scaled
from tfxai.core.queries import Probe
from tfxai.sampling.segments import segmented

#: Masks get a multiple of so many columns: one compiled function for many pictures.
WIDTH = 64
#: One sample to its coefficients. It takes ask: (masks (n, d), advance) -> answers (n,
#: T), the segments (...), how many there are, d, and the scores (T,). It returns what
#: there is for each target: "coefficients" (T, d), ... (T, ...), and for all: (...).
One = Callable[..., tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


class Masked:
    """A wrapped model, ready to be asked about covered inputs (B, ..., C) or (B, F)."""

    def __init__(
        self,
        wrapped: ModelWrapper,
        inputs: list[np.ndarray],
        function: Function,
        scale: str,
        precision: str,
    ) -> None:
        if len(inputs) > 1:
            raise InputError(
                f"{len(inputs)} inputs: segments are of one.",
                "a model with one input",
                'method="occlusion"',
            )
        self.scale, number = scaled(wrapped, scale)
        check_rows(wrapped, self.scale, inputs)
        x = inputs[0]
        kind = signature(wrapped.specs, inputs)[0].dtype
        spatial = x.shape[1:-1] if x.ndim > 2 else x.shape[1:]
        labels = tf.TensorSpec((None, *spatial), tf.int32)
        cover = tf.TensorSpec((None, *x.shape[1:]), kind)
        masks = tf.TensorSpec((None, None), tf.bool)
        self.probe = Probe(
            wrapped, _covered, inputs, [masks], function, number, precision,
            beside=[labels, cover], single=True, fused=True,
        )  # fmt: skip

        self._dtype = kind.as_numpy_dtype

    def cut(
        self, x: np.ndarray, segmenter: Any, options: Any, fill: Any
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """[x, segments, cover] of a batch, and how many segments there are, (B,)."""
        segments, counts = segmented(x, segmenter, options)
        x = x.astype(self._dtype, copy=False)
        return [x, segments, cover_of(fill, x, segments)], counts

    def explained(
        self,
        everything: list[np.ndarray],
        counts: np.ndarray,
        target: np.ndarray,
        max_batch: int,
        one: One,
    ) -> dict[str, Any]:
        """What the maps of an analyzer are made of (see `analyzer.Maker`).

        everything, counts: of the batch, as `cut` made them.
        """
        x, segments, _ = everything
        score, target = self.probe.plain([x], target, max_batch)
        found = []
        for b, d in enumerate(counts):

            def ask(masks: np.ndarray, advance: Callable, b: int = b) -> np.ndarray:
                return self.ask(everything, b, masks, target, max_batch, advance)

            found.append(one(ask, segments[b], int(d), score[b].astype(float)))
        told, each = (
            {k: side_by_side([f[i][k][None] for f in found]) for k in found[0][i]}
            for i in (0, 1)
        )
        return {
            **told,
            "relevance": [painted(told["coefficients"], segments, x.ndim)],
            "each": {**each, "segments": segments},
            "score": score,
            "target": target,
        }

    def ask(
        self,
        everything: list[np.ndarray],
        sample: int,
        masks: np.ndarray,
        target: np.ndarray,
        max_batch: int,
        advance: Callable[[int], object] = lambda n: None,
    ) -> np.ndarray:
        """Answers (n, T) about a sample, where `masks` (n, d) say what is kept.

        everything: [x, segments, cover], of the batch.
        """
        wide = -(-masks.shape[1] // WIDTH) * WIDTH
        masks = np.pad(masks, ((0, 0), (0, wide - masks.shape[1])))
        one = [v[sample : sample + 1] for v in everything]
        which = np.zeros(len(masks), np.int32)
        goal = target[sample : sample + 1]
        return self.probe.ask(one, which, [masks], goal, max_batch, advance, sample)


def painted(values: np.ndarray, segments: np.ndarray, rank: int) -> np.ndarray:
    """Values (B, T, d) on their segments (B, ...): (T, B, ..., 1), or (T, B, F)."""
    made = np.stack([v[:, at] for v, at in zip(values, segments, strict=True)], 1)
    return (made if rank == 2 else made[..., None]).astype(np.float32)


def _covered(inputs: list[Tensor], parameters: list[Tensor]) -> list[Tensor]:
    """[x, segments, cover] and masks (n, d) -> x, covered where a mask is False.

    They are of one sample, (1, ...).
    """
    x, labels, cover = inputs
    kept = tf.gather(parameters[0], labels[0], axis=1)
    if len(x.shape) > len(kept.shape):
        kept = kept[..., None]
    return [tf.where(kept, x, cover)]


def cover_of(fill: Any, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What covers inputs x (B, ..., C): of their shape.

    fill: "mean" (of each segment, by channel), "black" (0), "blur" (a strong Gaussian
    one), a number, or an array that broadcasts against one input.
    """
    if isinstance(fill, str):
        if fill not in FILLS:
            raise OptionError(
                f"fill={fill!r}.", f"a number, an array, or one of {list(FILLS)}"
            )
        if fill != "black" and x.ndim < 3:
            raise OptionError(
                f"fill={fill!r} for inputs of shape {x.shape}: columns and tokens have "
                "no neighbours.",
                "the number of a mask token, or a row that stands for no information",
                "fill=0, or fill=background.mean(0)",
            )
        return FILLS[fill](x, labels)
    array = np.asarray(fill)
    if array.ndim == x.ndim and array.shape[0] > 1:
        raise InputError(
            f"fill has shape {array.shape}: one for each sample.",
            "one for all samples, without a batch axis",
            "fill=array[0], or explain sample by sample",
        )
    good = array.dtype.kind in "biuf" and np.isfinite(array).all()
    made = array.astype(x.dtype) if good else array
    if not good or (x.dtype.kind in "iu" and (made != array).any()):
        raise OptionError(f"fill={fill!r} for inputs of {x.dtype}.", "finite numbers")
    try:
        return np.ascontiguousarray(np.broadcast_to(made, x.shape))
    except ValueError as error:
        raise InputError(
            f"fill has shape {array.shape} for inputs of shape {x.shape}.",
            "a number, or an array that broadcasts against one input",
        ) from error


def _mean(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    made = np.empty_like(x)
    for v, at, out in zip(x, labels, made, strict=True):
        sizes = np.bincount(at.ravel())
        for c in range(v.shape[-1]):
            sums = np.bincount(at.ravel(), v[..., c].ravel().astype(float))
            out[..., c] = (sums / sizes)[at]
    return made


def _blur(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    from skimage.filters import gaussian

    width = max(x.shape[1:-1]) / 16
    made = [gaussian(v, width, channel_axis=-1, preserve_range=True) for v in x]
    return np.stack(made).astype(x.dtype)


#: name -> (inputs, their segments) -> what covers them.
FILLS: dict[str, Callable] = {
    "mean": _mean,
    "black": lambda x, labels: np.zeros_like(x),
    "blur": _blur,
}
