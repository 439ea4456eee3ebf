"""Class activation maps whose weights are scores of changed inputs or activations.

There is one evaluation of the network, or of its part behind the layer, for each
channel.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, chunk_indices, inside, merge_seeds, size
from tfxai.core.analyzer import Analyzer
from tfxai.core.embedding_cut import select_scores
from tfxai.core.model import ModelWrapper
from tfxai.core.target_functions import on_program
from tfxai.core.targets import explained_outputs
from tfxai.gradient.base import GradientContext, analyzer, repeat_batch, row
from tfxai.gradient.cam import NEEDS, result
from tfxai.gradient.cam_layers import CamLayers, Site, check_relu, explained
from tfxai.gradient.resize import resized
from tfxai.graph.program import Program

#: (context, program, site, tensors of the network) -> a function (channels (k,)) ->
#: scores (k, B, T), one for each channel.
Changed = Callable[
    [GradientContext, Program, Site, dict[int, Tensor]], Callable[[Tensor], Tensor]
]


def build_scored(
    name: str,
    changed: Changed,
    weigh: Callable[[Tensor, Tensor], Tensor],
    wrapped: ModelWrapper,
    layer: Any,
    relu: bool | str,
    target: Any,
) -> Analyzer:
    """Return an analyzer of the sum over c of w_c A_c, with weights from scores.

    Args:
        name: Name of the method.
        changed: Function that returns the scores of channels.
        weigh: Function (scores (C, B, T), score (B, T)) -> weights (C, B, T).
        wrapped: The model.
        layer: The layer; see `gradcam`.
        relu: Keep positive values only; see `gradcam`.
        target: Default target of `analyze`.
    """
    check_relu(relu)
    wrapped.check_differentiable()
    layers = CamLayers(wrapped, layer, "linear")

    def explain(context: GradientContext) -> dict[str, Any]:
        program, sites = layers.at(context)
        values = program.run(context.model_inputs)
        score = explained(program, values, context, slope=False)
        maps = []
        for site in sites:
            a = site.spatial(site.value(values), 1)
            scores = _by_channel(
                context, a.shape[-1], changed(context, program, site, values)
            )
            w = tf.transpose(weigh(scores, score), [2, 1, 0])  # (T, B, C)
            w = tf.reshape(w, [*size(w)[:2], *[1] * (len(a.shape) - 2), size(w)[2]])
            maps.append(tf.reduce_sum(w * a, -1))
        return result(layers.resized_to_inputs(maps, context, relu), context)

    options = {"layer": layers.layer, "relu": relu}
    return analyzer(name, wrapped, explain, target, options)


def _by_channel(
    context: GradientContext, channels: int, scores: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the scores (C, B, T) of all channels, a few at a time."""
    first = chunk_indices(channels, tf.maximum(context.max_batch // context.batch, 1))
    (chunk,) = size(first)
    found = tf.map_fn(
        lambda start: scores(inside(start + first, channels)[0]),
        tf.range(0, channels, chunk), parallel_iterations=1,
        fn_output_signature=tf.TensorSpec((None, None, context.target.shape[1])),
    )  # fmt: skip
    return merge_seeds(found)[:channels]


@row("scorecam", "cam", "activations of a layer, weighted by scores of masked inputs",
     "Wang et al. 2020, arXiv:1910.01279", NEEDS,
     formula="R = sum over c of w_c A_c, w = softmax over c of f_t(x * H_c), H_c = "
     "A_c resized and scaled to [0, 1]",
     limits="With many channels the softmax gives most of them nearly equal weights, "
     "or one of them all. A masked image is unlike all data.",
     also_in="tf-keras-vis, pytorch-grad-cam",
     cost="one evaluation of the model for every channel of the layer",
)  # fmt: skip
def scorecam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Score-CAM, the sum over c of w_c A_c.

    w = softmax over c of f_t(x * H_c), where H_c is A_c resized to the input and scaled
    to [0, 1]. There is one forward pass for each channel.

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
        relu: Keep positive values only: True of the resized map, as the SGLRP
            repository, "layer" of the map of the layer before resizing, as Captum.
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.

    References:
        Wang et al. 2020, arXiv:1910.01279, eq. 7 and 8.
    """
    return build_scored(
        "scorecam", _masked_inputs, lambda scores, _: tf.nn.softmax(scores, 0),
        wrapped, layer, relu, target,
    )  # fmt: skip


def _masked_inputs(
    context: GradientContext, program: Program, site: Site, values: dict[int, Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return the function that computes f_t(x * H_c) of channels c."""
    x, a = context.points[site.number], site.spatial(site.value(values), 1)
    channel_first = tf.transpose(a, [len(a.shape) - 1, *range(len(a.shape) - 1)])

    def scores(channels: Tensor) -> Tensor:
        part = resized(tf.gather(channel_first, channels), size(x)[1:-1])
        k, axes = size(part)[0], list(range(2, len(part.shape)))
        low, high = (
            f(part, axes, keepdims=True) for f in (tf.reduce_min, tf.reduce_max)
        )
        masked = x * tf.math.divide_no_nan(part - low, high - low)[..., None]
        points = [repeat_batch(p, k) for p in context.points]
        points[site.number] = tf.reshape(masked, [-1, *size(x, 1)])
        inputs = [repeat_batch(v, k) for v in context.model_inputs]
        target = tf.tile(context.target, [k, 1])
        new, _ = context.entry.scores(points, inputs, target, context.target_fn)
        return tf.reshape(new, [k, context.batch, -1])

    return scores


@row("ablationcam", "cam", "activations of a layer, weighted by the score lost without",
     "Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360",
     NEEDS,
     formula="R = sum over c of w_c A_c, w_c = (f_t - f_t without A_c) / |f_t|",
     limits="Channels that do the same hide each other: without either one the score "
     "stays. The map is as coarse as the layer.",
     also_in="pytorch-grad-cam",
     cost="one evaluation of the part behind the layer for every channel",
)  # fmt: skip
def ablationcam(
    wrapped: ModelWrapper,
    layer: Any = None,
    relu: bool | str = False,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of Ablation-CAM, the sum over c of w_c A_c.

    w_c = (f_t - f_t without A_c) / |f_t|, where A_c is set to 0. The part of the
    network behind the layer is evaluated once for each channel. (The paper divides by
    f_t, which turns the sign of the map where the score is negative.)

    Args:
        wrapped: The model.
        layer: Layer, its number or (short) name; None selects the last with positions.
        relu: Keep positive values only: True of the resized map, as the SGLRP
            repository, "layer" of the map of the layer before resizing, as Captum.
        target: Default target of `analyze`.

    Raises:
        ModelError: No layer keeps the spatial axes of the input.

    References:
        Desai and Ramaswamy 2020, eq. 3 and 4.
    """

    def lost(scores: Tensor, score: Tensor) -> Tensor:
        return tf.math.divide_no_nan(score - scores, tf.abs(score))

    return build_scored("ablationcam", _ablated, lost, wrapped, layer, relu, target)


def _ablated(
    context: GradientContext, program: Program, site: Site, values: dict[int, Tensor]
) -> Callable[[Tensor], Tensor]:
    """Return the function that computes f_t without the channels c."""
    a = site.value(values)
    function = on_program(context.target_fn, program)

    def scores(channels: Tensor) -> Tensor:
        (k,) = size(channels)
        kept = 1 - tf.one_hot(channels, a.shape[-1], dtype=a.dtype)
        shape = [k, *[1] * (len(a.shape) - 1), a.shape[-1]]
        known = tf.reshape(a * tf.reshape(kept, shape), [-1, *size(a, 1)])
        inputs = [repeat_batch(v, k) for v in context.model_inputs]
        tail = program.run(inputs, site.known(known))
        outputs = explained_outputs(program, tail[program.output])
        target = tf.tile(context.target, [k, 1])
        new, _ = select_scores(outputs, target, function, slope=False)
        return tf.reshape(new, [k, context.batch, -1])

    return scores
