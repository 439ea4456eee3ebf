"""The gradient, and input times gradient: any model that TensorFlow can differentiate.

Of tokens, at their vectors: the gradient's length, and the product's sum, per token.
"""

from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import Asked, analyzer, row

POSTPROCESS = {"none": tf.identity, "abs": tf.abs, "square": tf.square}


def _length(v: Tensor, axis: int) -> Tensor:
    return tf.norm(v, axis=axis)


@row(
    "gradient", "gradient", "the slope of the target's logit",
    "Simonyan et al. 2014, arXiv:1312.6034",
)  # fmt: skip
def gradient(
    wrapped: ModelWrapper,
    postprocess: str = "none",
    target: Any = None,
    jit_compile=False,
) -> Analyzer:
    """d f_t / d x. postprocess: "none", "abs" or "square", element by element."""
    if not isinstance(postprocess, str) or postprocess not in POSTPROCESS:
        raise OptionError(
            f"postprocess={postprocess!r}.",
            f"one of {list(POSTPROCESS)}",
            'postprocess="abs"',
        )

    def explain(asked: Asked) -> dict[str, Any]:
        maps = _slopes(asked)
        left = asked.entry.leave(maps, _length)
        made = asked.result(maps)
        return {**made, "relevance": [POSTPROCESS[postprocess](m) for m in left]}

    options = {} if postprocess == "none" else {"postprocess": postprocess}
    return analyzer("gradient", wrapped, explain, target, options, jit_compile)


@row(
    "input_t_gradient", "gradient", "input times gradient",
    "Shrikumar et al. 2016, arXiv:1605.01713",
)  # fmt: skip
def input_t_gradient(
    wrapped: ModelWrapper, target: Any = None, jit_compile=False
) -> Analyzer:
    """x * d f_t / d x."""

    def explain(asked: Asked) -> dict[str, Any]:
        pairs = zip(asked.points, _slopes(asked), strict=True)
        return asked.result([x * g for x, g in pairs])

    return analyzer(
        "input_t_gradient", wrapped, explain, target, jit_compile=jit_compile
    )


def _slopes(asked: Asked) -> list[Tensor]:
    """One forward pass for the score and the slope alike."""
    grads, asked.score, asked.target = asked.entry.slopes(
        asked.points, asked.seen, asked.target, asked.function
    )
    return grads
