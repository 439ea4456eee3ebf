"""Maps to compare with: the input itself, or the activations of a layer, and noise."""

from typing import Any

import tensorflow as tf

from tfxai.base.tensors import size
from tfxai.base.validation import above, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, row

INNVESTIGATE = "a control, Alber et al. 2019, arXiv:1808.04260"


@row("input", "gradient", "the input itself, or the activations of a layer",
     INNVESTIGATE,
     formula="R = x",
     limits="It ignores the model and the target. A method that is no better by a "
     "metric than this map shows the image and not the model.",
     also_in="iNNvestigate",
     cost="one forward pass, for the score",
)  # fmt: skip
def input(  # iNNvestigate's name
    wrapped: ModelWrapper, target: Any = None, at: Any = None
) -> Analyzer:
    """Return an analyzer that returns the preprocessed input: the same for all targets.

    It is a control: metrics compare a method with it. With `at`, it returns the
    activations of a layer.

    Args:
        wrapped: The model.
        target: Default target of `analyze`, of the score alone.
        at: Layer whose activations are returned: its name, its number in
            `model.layers`, or the layer. None is the input; of tokens, the sum of the
            vector of each.

    References:
        Alber et al. 2019, arXiv:1808.04260 (iNNvestigate). Captum: LayerActivation.
    """

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        count = size(context.target)[1]
        return context.result([tf.repeat(p[None], count, 0) for p in context.points])

    return analyzer("input", wrapped, explain, target, once_per_sample=True, at=at)


@row("random", "gradient", "normal noise, the same for all samples and targets",
     INNVESTIGATE,
     formula="R ~ N(0, stddev^2)",
     limits="It ignores the model, the target and the input. A method that is no "
     "better by a metric than this map explains nothing.",
     also_in="iNNvestigate",
     cost="one forward pass, for the score",
)  # fmt: skip
def random(
    wrapped: ModelWrapper, stddev: float = 1.0, seed: int = 0, target: Any = None
) -> Analyzer:
    """Return an analyzer that returns normal noise, which ignores the model.

    It is a control: metrics compare a method with it.

    Args:
        wrapped: The model.
        stddev: Standard deviation of the noise.
        seed: Seed of the noise.
        target: Default target of `analyze`, of the score alone.

    Raises:
        OptionError: An option is out of range.

    References:
        Alber et al. 2019, arXiv:1808.04260 (iNNvestigate).
    """
    above("stddev", stddev)
    whole_number("seed", seed, 0)

    def explain(context: GradientContext) -> dict[str, Any]:
        context.resolve()
        count = size(context.target)[1]
        drawn = [
            tf.random.stateless_normal(tf.shape(x)[1:], [seed, i], stddev=stddev)
            for i, x in enumerate(context.model_inputs)
        ]
        shapes = [[count, *size(x)] for x in context.model_inputs]
        return {
            "relevance": [
                tf.broadcast_to(v, s) for v, s in zip(drawn, shapes, strict=True)
            ],
            "score": context.score,
            "target": context.target,
        }

    options = {"stddev": stddev, "seed": seed}
    return analyzer("random", wrapped, explain, target, options, once_per_sample=True)
