"""The gradient, and input times gradient: any model that TensorFlow can differentiate.

Simonyan et al. 2014, arXiv:1312.6034; Shrikumar et al. 2016, arXiv:1605.01713.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.analyzer import Analyzer
from tfxai.arrays import Tensor, size
from tfxai.errors import BlackBoxError
from tfxai.inputs import compiled, signature
from tfxai.model import Wrapped
from tfxai.registry import Row, register

NEEDS = "a model that TensorFlow can differentiate"


def gradients(
    wrapped: Wrapped, xs: list[Tensor], target: Tensor, function: Callable | None
) -> tuple[list[Tensor], Tensor, Tensor]:
    """d score / d x as (T, B, ...) per input, the scores (B, T) and the targets (B, T).

    One forward pass; one backward pass per target.
    """
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(xs)
        y = wrapped.outputs_of(xs)
        flat = tf.reshape(y, [size(y)[0], -1])
        top = tf.argmax(flat, -1, output_type=tf.int32)[:, None]
        target = tf.where(target < 0, top, target)
        if function is None:
            score = tf.gather(flat, target, batch_dims=1)
        else:
            score = function(y)[:, None]
    if score.shape[1] == 1:
        return [g[None] for g in _pulled(tape, score, xs)], score, target
    seeds = tf.eye(tf.shape(score)[1])[:, None]  # (T, 1, T)
    maps = tf.map_fn(
        lambda seed: _pulled(tape, score, xs, seed * tf.ones_like(score)),
        seeds,
        fn_output_signature=[tf.TensorSpec(x.shape, x.dtype) for x in xs],
    )
    return maps, score, target


def _pulled(tape: tf.GradientTape, score: Tensor, xs: list, seed: Any = None) -> list:
    return tape.gradient(score, xs, seed, tf.UnconnectedGradients.ZERO)


def build(
    name: str,
    finish: Callable[[Tensor, Tensor], Tensor],
    wrapped: Wrapped,
    *,
    target: Any = None,
    jit_compile: bool = False,
) -> Analyzer:
    """The analyzer whose map is `finish(gradient, x)`."""
    if not wrapped.differentiable:
        raise BlackBoxError(
            "The model is a black box: it only answers, and has no gradient.",
            NEEDS,
            'tfxai.create_analyzer("gradient", keras_model)',
        )

    def make(inputs: list, function: Callable | None, one: bool) -> Callable:
        def maps(target: Tensor, *xs: Tensor) -> dict[str, Any]:
            seen = [tf.cast(v, tf.float32) for v in wrapped.prepared(list(xs))]
            grads, score, chosen = gradients(wrapped, seen, target, function)
            made = [finish(g, v) for g, v in zip(grads, seen, strict=True)]
            return {"relevance": made, "score": score, "target": chosen}

        goal = tf.TensorSpec((None, 1 if one else None), tf.int32)
        run = compiled(maps, [goal, *signature(wrapped.specs, inputs)], jit_compile)
        return lambda batch, target: run(target, *batch)

    return Analyzer(name, wrapped, make, target)


def _gradient(wrapped: Wrapped, **options: Any) -> Analyzer:
    return build("gradient", lambda g, x: g, wrapped, **options)


def _input_t_gradient(wrapped: Wrapped, **options: Any) -> Analyzer:
    return build("input_t_gradient", lambda g, x: g * x, wrapped, **options)


register(
    Row(
        "gradient", "gradient", "the slope of the target's logit", NEEDS,
        "Simonyan et al. 2014, arXiv:1312.6034", _gradient, ("target", "jit_compile"),
    )
)  # fmt: skip
register(
    Row(
        "input_t_gradient", "gradient", "input times gradient", NEEDS,
        "Shrikumar et al. 2016, arXiv:1605.01713", _input_t_gradient,
        ("target", "jit_compile"),
    )
)  # fmt: skip
