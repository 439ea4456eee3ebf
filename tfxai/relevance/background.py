"""DeepSHAP: the mean of DeepLIFT over the examples of a background."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor, chunk_indices, inside, size
from tfxai.base.validation import plain_rows
from tfxai.core.model import ModelWrapper
from tfxai.graph.linear import repeat
from tfxai.relevance.presets import Preset

#: Pairs of a sample and an example, times targets, that are propagated at once.
MOST = 32

#: (inputs, target, baseline) -> maps (T, B, ...), and the score (B, T) at the baseline.
Explained = Callable[[list[Tensor], Tensor, list[Tensor]], tuple[list[Tensor], Tensor]]


def with_background(preset: Preset, wrapped: ModelWrapper) -> Preset:
    """Return a preset whose background is a list of arrays, one for each input.

    Raises:
        OptionError: There is no background, or it is no examples.
        InputError: The examples do not fit the model.
    """
    if preset.baseline is None:
        raise OptionError(
            "deepshap has no background.",
            "examples of the inputs that the network usually receives, like x",
            'create_analyzer("deepshap", model, background=x_train[:100])',
        )
    plain_rows(preset.baseline)
    return replace(preset, baseline=wrapped.checked(preset.baseline, "background"))


def averaged(
    explained: Explained,
    inputs: list[Tensor],
    target: Tensor,
    rows: list[Any],
    like: list[Tensor],
) -> tuple[list[Tensor], Tensor]:
    """Return the means of maps and scores over all examples as baselines.

    Args:
        explained: Function of inputs, targets and baselines, of N samples each.
        inputs: Inputs (B, ...).
        target: Targets (B, T).
        rows: Examples (n, ...) for each input.
        like: Tensors of the shapes of the maps of one target.
    """
    rows = [tf.convert_to_tensor(v) for v in rows]
    count, (batch, targets) = int(rows[0].shape[0]), size(target)
    first = chunk_indices(count, tf.maximum(1, MOST // (batch * targets)))
    k = size(first)[0]

    def body(done: Tensor, *sums: Tensor) -> tuple[Tensor, ...]:
        """Add the maps for k examples: samples are (k * B, ...)."""
        which, used = inside(done + first, count)
        pairs = list(zip(inputs, rows, strict=True))
        chosen = [tf.gather(tf.cast(v, x.dtype), which)[:, None] for x, v in pairs]
        spread = [
            tf.broadcast_to(v, [k, *size(x)])
            for v, x in zip(chosen, inputs, strict=True)
        ]
        starts = [tf.reshape(v, [-1, *size(v, 2)]) for v in spread]
        many = [repeat(x, k) for x in inputs]
        maps, score = explained(many, tf.tile(target, [k, 1]), starts)
        parts = [*maps, tf.transpose(score)]
        found = []
        for total, part in zip(sums, parts, strict=True):  # (T, k * B, ...)
            apart = tf.reshape(part, [size(part)[0], k, batch, *size(part, 2)])
            found.append(total + tf.einsum("tk...,k->t...", apart, used / count))
        return (done + k, *found)

    shapes = [[targets, *size(x)] for x in like]
    sums = [tf.zeros(s) for s in (*shapes, [targets, batch])]
    _, *means = tf.while_loop(
        lambda done, *_: done < count, body, (tf.constant(0), *sums),
        parallel_iterations=1,
    )  # fmt: skip
    return means[:-1], tf.transpose(means[-1])
