"""The gradient, and input times gradient: any model that TensorFlow can differentiate.

Simonyan et al. 2014, arXiv:1312.6034; Shrikumar et al. 2016, arXiv:1605.01713.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.analyzer import Analyzer
from tfxai.arrays import Tensor
from tfxai.inputs import compiled, signature
from tfxai.model import Wrapped
from tfxai.registry import Row, register

NEEDS = "a model that TensorFlow can differentiate"


def build(
    name: str,
    finish: Callable[[Tensor, Tensor], Tensor],
    wrapped: Wrapped,
    *,
    target: Any = None,
    jit_compile: bool = False,
) -> Analyzer:
    """The analyzer whose map is `finish(gradient, x)`."""
    wrapped.check_differentiable()

    def make(inputs: list, function: Callable | None, one: bool) -> Callable:
        def maps(target: Tensor, *xs: Tensor) -> dict[str, Any]:
            seen = [tf.cast(v, tf.float32) for v in wrapped.prepared(list(xs))]
            grads, score, chosen = wrapped.slopes(seen, target, function)
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
