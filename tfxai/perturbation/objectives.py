"""What feature visualisation maximises: outputs, channels, neurons and directions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import TargetError, first_line
from tfxai.base.tensors import Tensor, as_rows
from tfxai.base.validation import is_int
from tfxai.core.embedding_cut import check_target_fn
from tfxai.core.layer_choice import layer_step
from tfxai.core.model import ModelWrapper
from tfxai.perturbation.descent import Array

#: (images (B, H, W, C), data (B, ...)) -> activations (B,).
Activation = Callable[[Tensor, Tensor], Tensor]


def objective_of(
    wrapped: ModelWrapper, target: Any, at: Any, image: Array
) -> tuple[list[Any], Array, Activation]:
    """Return the list of targets, the data of each (N, ...), and the activation.

    Args:
        wrapped: The model.
        target: A target, or a list of them; see `tfxai.visualize`.
        at: The layer, or None for the output.
        image: One image (1, H, W, C) of the size that is sought.
    """
    wrapped.confirm([image])
    targets = list(target) if isinstance(target, list) else [target]
    if isinstance(target, np.ndarray) and (
        target.ndim == 2 or target.dtype.kind == "i"
    ):
        targets = list(target) if target.ndim > 1 else target.ravel().tolist()
    if not targets:
        raise TargetError("target is an empty list.", "at least one target", "target=0")
    if at is None:
        return targets, *_of_outputs(wrapped, targets, image)
    return targets, *_of_layer(wrapped, targets, at, image)


def _of_outputs(
    wrapped: ModelWrapper, targets: list[Any], image: Array
) -> tuple[Array, Activation]:
    """Return data and activation of classes, or of a function of the outputs."""
    if any(t is None for t in targets):
        raise TargetError(
            "target=None: there is no input whose top class could be maximised.",
            "a class, or a layer",
            "target=0, or at=-2",
        )
    goals = [wrapped.goal(t, [image]) for t in targets]
    if any(g.axes for g in goals):
        raise TargetError(f"target={targets!r}.", "one target for each image")
    functions = [g.target_fn for g in goals]
    if len(targets) > 1 and any(functions):
        raise TargetError("A list of target functions.", "one function, or classes")

    def outputs(x: Tensor) -> Tensor:
        return wrapped.outputs_of(wrapped.prepared([x]))

    if functions[0] is not None:
        function = functions[0]
        check_target_fn(function, wrapped.output_shape([image]))
        return np.zeros((1, 1), np.float32), lambda x, _: function(outputs(x))

    def activation(x: Tensor, index: Tensor) -> Tensor:
        rows = as_rows(outputs(x))
        return tf.gather(rows, index, batch_dims=1)[:, 0]

    return np.concatenate([g.indices for g in goals]), activation


def _of_layer(
    wrapped: ModelWrapper, targets: list[Any], at: Any, image: Array
) -> tuple[Array, Activation]:
    """Return data and activation of channels, neurons and directions of a layer."""
    program = wrapped.program("rule")
    prepared = wrapped.sample([image])
    program = program.at([v.shape for v in prepared])
    number = layer_step(wrapped.model, program, at).output

    def values(x: Tensor) -> Tensor:
        return program.run(wrapped.prepared([x]))[number]

    shape = tuple(program.run(prepared)[number].shape[1:])
    nothing = np.zeros((len(targets), 1), np.float32)
    if any(t is None or callable(t) for t in targets):
        if len(targets) > 1:
            raise TargetError(
                f"A list of {len(targets)} targets with a function or None.",
                "one function, or channels, neurons and directions",
            )
        function = _mean_square if targets[0] is None else targets[0]
        _check(function, shape)
        return nothing, lambda x, _: function(values(x))
    weights = np.stack([_weights(t, shape, at) for t in targets])

    def activation(x: Tensor, w: Tensor) -> Tensor:
        return tf.reduce_sum(as_rows(values(x) * w), 1)

    return weights, activation


def _mean_square(values: Tensor) -> Tensor:
    """Return the mean square of the activations of a layer, (B,)."""
    return tf.reduce_mean(tf.square(as_rows(values)), 1)


def _check(function: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    """Raise TargetError for a function of activations without one number per image."""
    try:
        found = tf.convert_to_tensor(function(tf.zeros((2, *shape)))).shape
    except Exception as error:
        raise TargetError(
            f"The target function failed on activations of shape {(2, *shape)}: "
            f"{first_line(error)}",
            "one number per image, (B,), by TensorFlow operations",
            "target=lambda a: tf.reduce_mean(a[..., 0], [1, 2])",
        ) from error
    if found != (2,):
        raise TargetError(
            f"The target function returned shape {tuple(found)} for two images.",
            "one number per image, (B,)",
            "target=lambda a: tf.reduce_mean(a[..., 0], [1, 2])",
        )


def _weights(target: Any, shape: tuple[int, ...], at: Any) -> Array:
    """Return the weight of each activation: the maximised number is their product.

    Args:
        target: A channel, an index of a neuron, or a direction.
        shape: The shape of the activations of one image.
        at: The layer, for errors.
    """
    weights = np.zeros(shape, np.float32)
    positions = max(1, int(np.prod(shape[:-1])))
    if is_int(target):
        _inside((target,), shape[-1:], target, at)
        weights[..., target] = 1 / positions
        return weights
    if isinstance(target, tuple) and all(is_int(i) for i in target):
        _inside(target, shape, target, at)
        weights[target] = 1.0
        return weights
    direction = np.asarray(target)
    if direction.dtype.kind != "f" or direction.shape != shape[-1:]:
        raise TargetError(
            f"target={target!r} at {at!r}, whose output has the shape {shape}.",
            f"a channel below {shape[-1]}, an index of {len(shape)} numbers, or a "
            f"direction of {shape[-1]} floats",
            "target=0",
        )
    length = float(np.linalg.norm(direction))
    if not np.isfinite(length) or length == 0:
        raise TargetError("The direction is zero, or not finite.", "finite numbers")
    weights[...] = direction / length / positions
    return weights


def _inside(index: Any, shape: tuple[int, ...], target: Any, at: Any) -> None:
    """Raise TargetError for an index outside of a shape."""
    known = len(index) == len(shape)
    if not known or any(not -n <= i < n for i, n in zip(index, shape, strict=True)):
        raise TargetError(
            f"target={target!r} at {at!r}, whose output has the shape {shape}.",
            f"an index of {len(shape)} number(s) inside it",
            f"target={0 if len(shape) == 1 else (0,) * len(shape)}",
        )
