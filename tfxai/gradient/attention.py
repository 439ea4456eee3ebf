"""Attention of transformers as relevance: rollout, and rollout weighted by gradients.

A relevancy R (L, L) of tokens begins as the identity, and each self-attention of
weights A (heads, L, L) updates it. The relevance of a token is its column, in the mean
of the rows of the tokens that the head of the network reads: a class token, or all.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfxai.base.cache import Cache
from tfxai.base.errors import ModelError, OptionError
from tfxai.base.tensors import Tensor, positive, size
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import gradients_of
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, row
from tfxai.gradient.cam_layers import explained, watching
from tfxai.gradient.resize import RESIZES, resized
from tfxai.gradient.token_grids import token_grids
from tfxai.graph.program import Program
from tfxai.graph.step import Step

NEEDS = "a transformer that TensorFlow can trace, with self-attention over all tokens"

#: Names of inputs that are looked up beside the tokens.
_BESIDE = re.compile("segment|type|position|mask")
#: For how many shapes of inputs attentions are kept.
SHAPES = 8
#: (rows (T, B, L), weights (B, heads, L, L), gradients (T, B, heads, L, L)) -> rows.
Update = Callable[[Tensor, Tensor, Tensor], Tensor]


@row("attention_rollout", "gradient", "the product of the attention weights of all "
     "layers, the same for all targets", "Abnar and Zuidema 2020, arXiv:2005.00928",
     NEEDS,
     formula="R = the row of the class token, or the mean of all rows, of the product "
     "over layers of (mean over heads of A + I) / 2",
     limits="It is the same for all targets, and ignores the values that attention "
     "moves, dense layers and the head.",
     also_in="the authors' code, vit-explain",
)  # fmt: skip
def attention_rollout(
    wrapped: ModelWrapper, resize: str = "linear", target: Any = None
) -> Analyzer:
    """Return an analyzer of attention rollout, R <- (mean over heads of A + I) / 2 R.

    The map is (B, height, width, 1) of an image, and (B, L) of L token ids. It does not
    depend on the values that attention moves, nor on the target.

    Args:
        wrapped: The model.
        resize: Interpolation of patches to the size of an image, "linear" or "nearest".
        target: Default target of `analyze`, of the score alone.

    Raises:
        ModelError: The model has no self-attention over all tokens.
        OptionError: `resize` is none of these names.

    References:
        Abnar and Zuidema 2020, arXiv:2005.00928, section 3.
    """

    def update(rows: Tensor, weights: Tensor, gradients: Tensor) -> Tensor:
        mixed = tf.einsum("tbi,bij->tbj", rows, tf.reduce_mean(weights, 1))
        return (rows + mixed) / 2

    return _analyzer("attention_rollout", wrapped, update, resize, target)


@row("attention_relevance", "gradient", "the attention weights of all layers, times "
     "the positive part of their gradients",
     "Chefer, Gur and Wolf 2021, arXiv:2103.15679", NEEDS,
     formula="R = the row of the class token, or the mean of all rows, of the product "
     "over layers of I + mean over heads of max(A * d f_t / d A, 0)",
     limits="It is never negative, and as coarse as the patches. It ignores dense "
     "layers between the attentions.",
     also_in="the authors' code",
)  # fmt: skip
def attention_relevance(
    wrapped: ModelWrapper, resize: str = "linear", target: Any = None
) -> Analyzer:
    """Return an analyzer of R <- R + mean over heads of (A * d f_t / d A)+ R.

    The map is (B, height, width, 1) of an image, and (B, L) of L token ids. It takes
    one gradient.

    Args:
        wrapped: The model.
        resize: Interpolation of patches to the size of an image, "linear" or "nearest".
        target: Default target of `analyze`.

    Raises:
        ModelError: The model has no self-attention over all tokens.
        OptionError: `resize` is none of these names.

    References:
        Chefer, Gur and Wolf 2021, arXiv:2103.15679, eq. 5 and 6.
    """

    def update(rows: Tensor, weights: Tensor, gradients: Tensor) -> Tensor:
        moved = tf.reduce_mean(positive(weights[None] * gradients), 2)
        return rows + tf.einsum("tbi,tbij->tbj", rows, moved)

    return _analyzer("attention_relevance", wrapped, update, resize, target)


def _analyzer(
    name: str, wrapped: ModelWrapper, update: Update, resize: str, target: Any
) -> Analyzer:
    """Return the analyzer of an update of the relevancy."""
    names = [n for n in RESIZES if n != "none"]
    if not isinstance(resize, str) or resize not in names:
        raise OptionError(f"resize={resize!r}.", f"one of {names}", 'resize="linear"')
    wrapped.check_differentiable()
    whole = wrapped.program("rule")
    tokens = _tokens(whole, wrapped.input_names)
    _attentions(whole)
    found = Cache(SHAPES)

    def explain(context: GradientContext) -> dict[str, Any]:
        program = whole.at([v.shape for v in context.model_inputs])
        attentions, last = found.get(program, lambda: _attentions(program))
        watched = [*(s.output for s in attentions), last.output]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            seen = watching(tape, set(watched))
            values = program.run(context.model_inputs, seen=seen)
            number = explained(program, values, context)
        made = [values[i] for i in watched]
        *gradients, ends = gradients_of(tape, number, made)
        read = tf.cast(tf.reduce_any(ends != 0, -1), tf.float32)
        rows = tf.math.divide_no_nan(read, tf.reduce_sum(read, -1, keepdims=True))
        for weights, g in reversed(list(zip(made[:-1], gradients, strict=True))):
            rows = update(rows, *_by_head(weights, g))
        return {
            "relevance": _to_inputs(program, rows, context, RESIZES[resize], tokens),
            "score": context.score,
            "target": context.target,
        }

    return analyzer(name, wrapped, explain, target, once_per_sample=True)


def _tokens(program: Program, names: Sequence[str]) -> int | None:
    """Return the input of token ids; others, such as segments, are looked up, too."""
    found = [k for k, i in enumerate(program.inputs) if i in program.lookups]
    named = dict(enumerate(names))
    plain = [k for k in found if not _BESIDE.search(named.get(k, ""))]
    return next(iter(plain or found), None)


def _by_head(weights: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (B, heads, L, L) and their gradients (T, B, heads, L, L)."""
    length = size(weights)[-1]
    (batch, *_), (targets, *_) = size(weights), size(gradients)
    return (
        tf.reshape(weights, [batch, -1, length, length]),
        tf.reshape(gradients, [targets, batch, -1, length, length]),
    )


def _attentions(program: Program) -> tuple[list[Step], Step]:
    """Return the attention weights (heads, L, L), and the last tensor of tokens (L, C).

    Raises:
        ModelError: There is none, or attention is over other tokens in some layers.
    """
    found = [s for s in program.steps if s.kind == "softmax" and len(s.shape) >= 2]
    lengths = {s.shape[-2:] for s in found}
    square = len(lengths) == 1 and all(a == b for a, b in lengths)
    if not found or not square or _in_windows(program, found):
        sizes = sorted(map(str, lengths))
        what = (
            f"The attention of the model is over tokens of {sizes}, not over all pairs."
        )
        raise ModelError(
            what
            if found
            else "No step of the model is a softmax over pairs of tokens.",
            "a transformer with self-attention over all tokens in each layer",
            'method="lrp.attn"',
        )
    if len({program.reads[s.output] for s in found}) > 1:
        raise ModelError(
            "The attentions of the model read different inputs, as those of an encoder "
            "and a decoder.",
            "a transformer of one stack of layers",
            'method="lrp.attn"',
        )
    length = found[0].shape[-1]
    behind = program.steps[program.steps.index(found[-1]) :]
    rows = [s for s in behind if s.kind != "fixed" and len(s.shape) == 2]
    last = [
        s for s in rows if s.shape[0] == length and not program.batch_axis(s.output)
    ]
    if not last:
        raise ModelError(
            "No tensor of tokens (L, C) stands behind the last attention.",
            "a transformer whose attention returns a vector for each token",
            'method="lrp.attn"',
        )
    return found, last[-1]


def _in_windows(program: Program, attentions: list[Step]) -> bool:
    """Return True if one sample has several rows of attention weights, as windows."""
    if any(program.batch_axis(s.output) for s in attentions):
        return True
    if any(None in shape[1:] for shape in program.input_shapes):
        return False
    with tf.init_scope():
        zeros = [tf.zeros((1, *shape[1:])) for shape in program.input_shapes]
        values = program.run(zeros)
        return any(values[s.output].shape[0] != 1 for s in attentions)


def _to_inputs(
    program: Program,
    rows: Tensor,
    context: GradientContext,
    resize: Any,
    tokens: int | None,
) -> list[Tensor]:
    """Return relevance (T, B, ...): of token ids, else of the first input that fits."""
    length, found, done = size(rows)[-1], [], False
    targets = size(rows)[:2]
    for number, x in enumerate(context.model_inputs):
        shape = size(x, 1)
        grids = token_grids(program, number).grids.values()
        grid = next((g for g in grids if g.count == length), None)
        fits = bool(shape) and (grid is not None or shape[0] == length)
        if not fits or done or tokens not in (None, number):
            rest = shape if len(shape) < 2 else [*shape[:-1], 1]
            found.append(tf.zeros([*targets, *rest]))
            continue
        done = True
        if grid is None:
            end = [1] * (len(shape) - 1)
            found.append(tf.reshape(rows, [*targets, length, *end]))
        else:
            maps = resized(grid.spread(rows, 2), shape[:-1], resize)
            found.append(maps[..., None])
    if not done:
        raise ModelError(
            f"The {length} tokens of the attention are no positions of the input.",
            "token ids, a series, or an image whose patches are the tokens",
            'method="lrp.attn"',
        )
    return found
