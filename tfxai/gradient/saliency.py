"""The gradient, and input times gradient, of any model that TensorFlow differentiates.

For tokens, gradients are taken at their embedding vectors: the gradient method returns
the norm, and input times gradient the sum of the product, per token.
"""

from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.tensors import Tensor
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, row

POSTPROCESS = {"none": tf.identity, "abs": tf.abs, "square": tf.square}


def _norm(v: Tensor, axis: int) -> Tensor:
    """Return the Euclidean norm along `axis`."""
    return tf.norm(v, axis=axis)


@row(
    "gradient", "gradient", "the gradient of the target's logit",
    "Simonyan et al. 2014, arXiv:1312.6034",
    formula="R = d f_t / d x",
    limits="The gradient is local: where the score is saturated it is near 0, and the "
    "map of a deep ReLU network is noisy.",
    also_in="iNNvestigate, Zennit, Captum, Xplique, tf-keras-vis, saliency, "
    "tf-explain, TorchRay",
)  # fmt: skip
def gradient(
    wrapped: ModelWrapper,
    postprocess: str = "none",
    target: Any = None,
    at: Any = None,
) -> Analyzer:
    """Return an analyzer of the gradient d f_t / d x.

    The gradient is how fast the score changes with each input, which is not how much
    the input contributes. The saliency map of the paper is the maximum over the
    channels of `postprocess="abs"`.

    Args:
        wrapped: The model.
        postprocess: Function applied to each element: "none", "abs" or "square".
        target: Default target of `analyze`.
        at: Layer whose activations are explained in place of the input: its name, its
            number in `model.layers`, or the layer; `inputs` of the explanation are the
            activations.

    Raises:
        OptionError: `postprocess` is none of these names.

    References:
        Simonyan et al. 2014, arXiv:1312.6034.
    """
    if not isinstance(postprocess, str) or postprocess not in POSTPROCESS:
        raise OptionError(
            f"postprocess={postprocess!r}.",
            f"one of {list(POSTPROCESS)}",
            'postprocess="abs"',
        )

    def explain(context: GradientContext) -> dict[str, Any]:
        gradients = context.input_gradients()
        relevance = context.entry.to_inputs(gradients, _norm)
        result = context.result(gradients)
        return {**result, "relevance": [POSTPROCESS[postprocess](r) for r in relevance]}

    options = {} if postprocess == "none" else {"postprocess": postprocess}
    return analyzer(
        "gradient", wrapped, explain, target, options, once_per_sample=True, at=at
    )


@row(
    "input_t_gradient", "gradient", "input times gradient",
    "Shrikumar et al. 2016, arXiv:1605.01713",
    formula="R = x * d f_t / d x",
    limits="An input of value 0 gets no relevance, whatever it means to the model, so "
    "the result depends on how inputs are scaled. It is as noisy as the gradient.",
    also_in="iNNvestigate, Captum, Xplique, tf-explain, DeepExplain",
)  # fmt: skip
def input_t_gradient(
    wrapped: ModelWrapper, target: Any = None, at: Any = None
) -> Analyzer:
    """Return an analyzer of the input times its gradient, x * d f_t / d x.

    Of a linear model it is the contribution of each input to the score. Of a ReLU
    network without biases the values add up to the logit.

    Args:
        wrapped: The model.
        target: Default target of `analyze`.
        at: Layer whose activations are explained in place of the input: its name, its
            number in `model.layers`, or the layer; `inputs` of the explanation are the
            activations.

    References:
        Shrikumar et al. 2016, arXiv:1605.01713.
    """

    def explain(context: GradientContext) -> dict[str, Any]:
        pairs = zip(context.points, context.input_gradients(), strict=True)
        return context.result([x * g for x, g in pairs])

    return analyzer(
        "input_t_gradient", wrapped, explain, target, once_per_sample=True, at=at
    )
