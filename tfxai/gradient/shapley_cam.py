"""ShapleyCAM: weights from the gradient and the Hessian of a layer's activations."""

from typing import Any

import tensorflow as tf

from tfxai.base.errors import ModelError, OptionError
from tfxai.base.tensors import Tensor
from tfxai.core.analyzer import Analyzer
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import GradientContext, analyzer, row
from tfxai.gradient.cam import NEEDS, result
from tfxai.gradient.cam_layers import (
    CamLayers,
    Site,
    Utility,
    check_relu,
    explained,
    of_classes,
    scored,
    watching,
)
from tfxai.graph.program import Program

UTILITIES = ("rest", "logit")


@row("shapleycam", "cam", "activations of a layer, weighted by second-order Shapley "
     "values", "Cai 2025, arXiv:2501.06261", NEEDS,
     formula="R = sum over c of w_c A_c, w_c = mean over positions of g - H A / 2, g "
     "and H the gradient and Hessian by A",
     limits="For a network that is piecewise linear behind the layer it is Grad-CAM, "
     "with its limits.",
     also_in="pytorch-grad-cam",
     cost="one forward pass, and two backward passes to the layer",
)  # fmt: skip
def shapleycam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    resize: str = "linear",
    utility: str = "rest",
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of ShapleyCAM, the sum over c of w_c A_c.

    w_c is the mean over positions of g - H A / 2, with the gradient g and the Hessian H
    of the utility u with respect to A: the Shapley values of its Taylor expansion. For
    a network that is piecewise linear behind the layer and u = f_t, it is Grad-CAM.

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
        relu: Keep positive values only: True of the resized map, "layer" of the map of
            the layer before resizing.
        resize: Interpolation to the input's size, "linear", "nearest" or "none".
        utility: "rest" is the logit plus the log-probability, "logit" the logit. A
            target function is its own utility.
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.
        OptionError: `resize` or `utility` is none of these names.

    References:
        Cai 2025, arXiv:2501.06261, ShapleyCAM and ReST. Also in pytorch-grad-cam.
    """
    if not isinstance(utility, str) or utility not in UTILITIES:
        raise OptionError(f"utility={utility!r}.", f"one of {list(UTILITIES)}")
    check_relu(relu)
    wrapped.check_differentiable()
    layers = CamLayers(wrapped, layer, resize)

    def explain(context: GradientContext) -> dict[str, Any]:
        program, sites = layers.at(context)
        if any(s.frames for s in sites):
            raise ModelError(
                f"shapleycam at {layers.layer!r}, which is called for each frame.",
                "a layer that is called once",
                'method="gradcam"',
            )
        own = utility == "logit" or context.target_fn is not None

        def of_target(target: Tensor) -> tuple[Any, ...]:
            return _weights(program, sites, context, target, None if own else rest)

        if context.target.shape[1] == 1:
            a, weights, context.score, context.target = of_target(context.target)
            weights = [w[None] for w in weights]
        else:
            values = program.run(context.model_inputs)
            explained(program, values, context)
            a = [s.spatial(s.value(values), 1) for s in sites]
            weights = tf.map_fn(  # which would convert all that it calls
                tf.autograph.experimental.do_not_convert(
                    lambda t: of_target(t[:, None])[1]
                ),
                tf.transpose(context.target),
                fn_output_signature=[
                    tf.TensorSpec((None, v.shape[-1]), v.dtype) for v in a
                ],
            )  # fmt: skip
        maps = [
            tf.einsum("tbc,b...c->tb...", w, v) for w, v in zip(weights, a, strict=True)
        ]
        return result(layers.resized_to_inputs(maps, context, relu), context)

    options = {"layer": layers.layer, "relu": relu, "utility": utility}
    return analyzer(
        "shapleycam", wrapped, explain, target, options, once_per_sample=True
    )  # fmt: skip


def rest(outputs: Tensor, score: Tensor, target: Tensor) -> Tensor:
    """Return the logit plus the log-probability of each target, (B, T) (ReST)."""
    return 2 * score - tf.reduce_logsumexp(of_classes(outputs, target), -1)


def _weights(
    program: Program,
    sites: list[Site],
    context: GradientContext,
    target: Tensor,
    utility: Utility | None,
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Return A, the weights (B, C) of each site, scores and targets, of targets (B, 1).

    The Hessian is multiplied by A without being computed: H A is the gradient of the
    product of the gradient and a constant A.
    """
    none, watched = tf.UnconnectedGradients.ZERO, {s.step.output for s in sites}
    with tf.GradientTape(True, watch_accessed_variables=False) as outer:
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            see = [watching(tape, watched) for tape in (outer, inner)]

            def watch(number: int, value: Tensor) -> None:
                for function in see:
                    function(number, value)

            values = program.run(context.model_inputs, seen=watch)
            u, score, target = scored(program, values, context, target, utility)
        a = [values[s.step.output] for s in sites]
        g = inner.gradient(u, a, None, none)
        products = [
            tf.reduce_sum(v * tf.stop_gradient(w)) for v, w in zip(g, a, strict=True)
        ]
    weights = []
    for site, product, v, slope in zip(sites, products, a, g, strict=True):
        w = site.spatial(slope - outer.gradient(product, v, None, none) / 2, 1)
        weights.append(tf.reduce_mean(w, list(range(1, len(w.shape) - 1))))
    spatial = [s.spatial(v, 1) for s, v in zip(sites, a, strict=True)]
    return spatial, weights, score, target
