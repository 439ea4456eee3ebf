"""RISE: the mean of random soft masks, each weighted by the answer it leaves.

Petsiuk, Das and Saenko 2018, arXiv:1806.07421: S = E[f(x m) m] / E[m].
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.progress import bar
from tfxai.base.tensors import Tensor
from tfxai.base.validation import whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import Function
from tfxai.core.model import ModelWrapper
from tfxai.core.output_scale import check_rows, scaled
from tfxai.core.queries import Probe
from tfxai.core.registry import MethodSpec, register
from tfxai.sampling.masked import cover_of

#: Masks that are made together; a fixed number, so that no batch size changes them.
BLOCK = 64


def rise(
    wrapped: ModelWrapper,
    n_samples: int = 2000,
    cells: int = 7,
    keep: float = 0.5,
    fill: Any = "black",
    scale: str = "auto",
    seed: int = 0,
    precision: str = "float32",
    target: Any = None,
) -> Analyzer:
    """Which places make the answer large when they are seen.

    n_samples: masks. cells: of the coarse grid that is enlarged and shifted, along
    each side. keep: the share of cells that are seen, in (0, 1). fill: what is seen
    elsewhere, "black" as published; "blur", a number or an array.
    scale: "probability", "logit" or "log_odds"; see `scale.scaled`.

    `relevance` (B, ..., 1) is f weighted by the mask, in the mean; extra["mean"] is the
    mean answer: places above it speak for the class, places below against it.
    """
    whole_number("n_samples", n_samples, 1)
    whole_number("cells", cells, 1)
    whole_number("seed", seed, 0)
    if not 0 < keep < 1:
        raise OptionError(f"keep={keep!r}.", "a share between 0 and 1", "keep=0.5")
    if isinstance(fill, str) and fill == "mean":
        raise OptionError(
            "fill='mean' is of a segment, and RISE has none.", 'fill="blur"'
        )
    name, number = scaled(wrapped, scale)
    wrapped.check_precision(precision)

    def make(inputs: list, function: Function, one: bool) -> Callable:
        shape = inputs[0].shape
        if len(inputs) > 1 or len(shape) not in (3, 4):
            raise InputError(
                f"RISE was asked about inputs of shapes {[v.shape for v in inputs]}.",
                "one batch of pictures or series, (B, ..., channels)",
                'method="lime"',
            )
        check_rows(wrapped, name, inputs)
        cover = tf.TensorSpec((None, *shape[1:]), tf.float32)
        spatial = shape[1:-1]
        probe = Probe(
            wrapped, _seen, inputs, [tf.TensorSpec((None, *spatial), tf.float32)],
            function, number, precision, beside=[cover], single=True,
        )  # fmt: skip

        def maps(batch: list, target: np.ndarray, max_batch: int) -> dict[str, Any]:
            score, target = probe.plain(batch, target, max_batch)
            x = batch[0].astype(np.float32, copy=False)
            everything = [batch[0], cover_of(fill, x, np.zeros(()))]
            found = []
            with bar("masks", len(target) * n_samples) as advance:
                for b in range(len(target)):
                    one = [v[b : b + 1] for v in everything]
                    total, seen = np.zeros(()), np.zeros(())
                    for m in _masks(seed, n_samples, cells, keep, spatial):
                        which = np.zeros(len(m), np.int32)
                        y = probe.ask(
                            one, which, [m], target[b : b + 1], max_batch, advance, b
                        )
                        total = total + np.tensordot(y.T.astype(float), m, 1)
                        seen = seen + y.sum(0)
                    found.append((total / (n_samples * keep), seen / n_samples))
            relevance = np.stack([f[0] for f in found], 1)[..., None]
            return {
                "relevance": [np.float32(relevance)],
                "mean": np.stack([f[1] for f in found]),
                "score": score,
                "target": target,
            }

        return maps

    told: dict[str, Any] = {
        "n_samples": n_samples,
        "cells": cells,
        "keep": keep,
        "seed": seed,
    }
    told["scale"] = name
    return Analyzer("rise", wrapped, make, target, told, together=True)


def _seen(inputs: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
    """x where the mask is 1, the cover where it is 0, and between, a blend."""
    x, cover = inputs
    m = masks[0][..., None]
    return [cover + m * (tf.cast(x, tf.float32) - cover)]


def _masks(
    seed: int, count: int, cells: int, keep: float, spatial: tuple
) -> Iterator[np.ndarray]:
    """Blocks (<= BLOCK, *spatial) of coarse random grids, enlarged and shifted."""
    for number, start in enumerate(range(0, count, BLOCK)):
        rng = np.random.default_rng([seed, number])
        coins = rng.random((BLOCK, *[cells + 1] * len(spatial)))
        made: np.ndarray = (coins < keep).astype(np.float32)
        for axis, n in enumerate(spatial, 1):
            shift = rng.random((BLOCK, 1))
            at = (np.arange(n) + 0.5) / n * cells - 0.5 + shift
            at = np.clip(at, 0, cells)
            low = np.minimum(at.astype(int), cells - 1)
            part = at - low
            weight = np.zeros((BLOCK, n, cells + 1), np.float32)
            np.put_along_axis(weight, low[..., None], 1 - part[..., None], -1)
            np.put_along_axis(weight, low[..., None] + 1, part[..., None], -1)
            moved = np.moveaxis(made, axis, 1)
            flat = weight @ moved.reshape(BLOCK, cells + 1, -1)
            made = np.moveaxis(flat.reshape(BLOCK, n, *moved.shape[2:]), 1, axis)
        yield np.ascontiguousarray(made[: count - start])


register(
    MethodSpec(
        "rise", "sampling", "the mean of random masks, weighted by the answer",
        "any model of pictures or series, also a plain callable",
        "Petsiuk et al. 2018, arXiv:1806.07421", rise,
    )
)  # fmt: skip
