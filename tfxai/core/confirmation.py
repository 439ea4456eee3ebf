"""The comparison of a program with the model that it was read from."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.errors import (
    ModelError,
    RandomOutputWarning,
    UnsupportedLayerError,
    first_line,
)
from tfxai.base.tensors import Tensor
from tfxai.core.compilation import compiled
from tfxai.core.inputs import unknown_id
from tfxai.core.model_specs import name_of
from tfxai.graph.private import layers_within
from tfxai.graph.program import Program
from tfxai.graph.registered import registered

#: Largest difference of outputs, as a share of the largest one; of mixed precision.
CLOSE, CLOSE_MIXED = 1e-3, 0.1
#: Difference from which two outputs for one input are random.
SAME = 1e-4
#: How many numbers are compared at a time: the logits of a long text are large.
PART = 1 << 24


def check_weights(model: Any) -> None:
    """Raise ModelError for floating-point weights that are not float32."""
    weights = getattr(model, "weights", ()) if isinstance(model, keras.Model) else ()
    found = {v.dtype for v in weights if "float" in v.dtype} - {"float32"}
    if found:
        raise ModelError(
            f"The model has weights of {min(found)}, and its steps compute in float32.",
            "weights of float32, as also under mixed precision",
            'keras.config.set_dtype_policy("float32") before the model is built, and '
            "set_weights",
        )


def check_program(
    call: Callable[[list[Tensor]], Tensor],
    model: Any,
    program: Program | None,
    inputs: list[Tensor],
) -> bool:
    """Compare the outputs of a program and of the model for one sample.

    A model that returns different outputs for the same input is a warning.

    Args:
        call: (inputs) -> the output of the model itself.
        model: The model.
        program: Its steps; None where they were not read.
        inputs: The prepared inputs of one sample.

    Returns:
        True if the outputs are equal, False if those of the model are random.

    Raises:
        ModelError: The outputs differ, or are not one for each sample.
    """
    own = layers_within(model) if isinstance(model, keras.Model) else []
    if program is not None and registered(own):
        check_activations(model, program, inputs)

    try:
        wanted, drift, gap = _outputs(call, program, inputs)
    except Exception:
        if program is not None:
            _run_steps(model, program, inputs)  # names the step
        raise
    if wanted.shape[:1] != inputs[0].shape[:1]:
        raise ModelError(
            f"{name_of(model)} returns outputs of shape {tuple(wanted.shape)} for one "
            "sample.",
            "one output per sample, (B, ...)",
        )
    if not drift <= SAME and bool(tf.reduce_all(tf.math.is_finite(wanted))):
        warnings.warn(_random(model), RandomOutputWarning, stacklevel=4)
        return False
    layers = (model, *(getattr(model, "layers", None) or ()))
    policies = {getattr(v, "compute_dtype", "float32") for v in layers}
    close = CLOSE if policies == {"float32"} else CLOSE_MIXED
    if gap > close:
        raise _different(model, gap)
    return True


def _outputs(
    call: Callable[[list[Tensor]], Tensor],
    program: Program | None,
    inputs: list[Tensor],
) -> tuple[Tensor, float, float]:
    """Return the outputs of the model, and how far others are from them: see `_gap`.

    That are its outputs once more, and those of its steps, if it has any.

    Steps of a trace run one by one, beside the function that was traced: to trace the
    model a second time takes longer than all else here. Other steps are compiled, since
    eager and compiled layers differ for some layers and devices.
    """
    if program is not None and program.compiled is not None:
        pairs = zip(inputs, program.compiled.inputs, strict=False)  # then variables
        given = [tf.cast(x, known.dtype) for x, known in pairs]
        wanted = tf.cast(program.compiled(*given), tf.float32)
        drift = _gap(tf.cast(program.compiled(*given), tf.float32), wanted)
        made = program.blocked.answer(inputs)  # eager steps give up no memory early
        return wanted, drift, _gap(tf.cast(made, tf.float32), wanted)

    def both(*xs: Tensor) -> list[Tensor]:
        own = [] if program is None else [program.answer(xs)]
        return [call(list(xs)), *(tf.cast(v, tf.float32) for v in own)]

    run = compiled(both, [tf.TensorSpec((None, *v.shape[1:]), v.dtype) for v in inputs])
    wanted, *made = run(*inputs)
    gap = _gap(made[0], wanted) if made else 0.0
    return wanted, _gap(run(*inputs)[0], wanted), gap


def _gap(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest number of `b`."""
    if a.shape != b.shape:
        return float("inf")
    a, b = tf.reshape(a, [-1]), tf.reshape(b, [-1])
    parts = [slice(i, i + PART) for i in range(0, max(1, a.shape[0]), PART)]
    size = tf.reduce_max([tf.reduce_max(tf.abs(b[p])) for p in parts]) + 1e-6
    most = tf.reduce_max([tf.reduce_max(tf.abs(a[p] - b[p])) for p in parts])
    return float(most / size)


def _random(model: Any) -> str:
    drawn = [
        type(v).__name__
        for v in (layers_within(model) if isinstance(model, keras.Model) else ())
        if hasattr(v, "seed_generator") and getattr(v, "rate", True)
    ]
    named = f" (of its layers, {sorted(set(drawn))} draw at random)" if drawn else ""
    return (
        f"{name_of(model)} returns different outputs for the same input{named}: its "
        "explanation is that of one draw, or of the layers without their randomness. "
        "Wanted: a model without randomness at inference. Write: "
        "keras.layers.Dropout(0.5)(x), without training=True."
    )


def _different(model: Any, gap: float) -> ModelError:
    return ModelError(
        f"The steps that were read from {name_of(model)} and the model itself "
        f"return different outputs, by {gap:.2g} of the largest one.",
        "layers that compute at inference what their class computes: no "
        "randomness, and no `call` that the graph does not show",
        'analyzer.coverage() lists the steps; create_analyzer("lime", ...) needs none',
    )


def check_activations(model: Any, program: Program, inputs: list[Tensor]) -> None:
    """Check that each activation that a user registered is one, for one sample.

    Half of its inputs are changed: the outputs of the others must stay.

    Raises:
        UnsupportedLayerError: An output depends on several inputs.
    """
    values = program.run(inputs)
    own = {type(v).__name__ for v in registered(layers_within(model))}
    for step in program.steps:
        if step.kind not in ("activation", "relu") or step.layer not in own:
            continue
        x = values[step.inputs[0]]
        half = tf.cast(tf.random.stateless_uniform(x.shape, [1, 2]) > 0.5, x.dtype)
        y, moved = step.run([x]), step.run([x + half * (0.1 + 0.5 * tf.abs(x))])
        same = y.shape == x.shape
        if same and _gap(moved * (1 - half), y * (1 - half)) <= SAME:
            continue
        raise UnsupportedLayerError(
            f"Step {step.name!r} ({step.layer}) is registered as an activation, but an "
            "output of it depends on several inputs.",
            'kind="dense" for a layer that is linear in its inputs, kind="activation" '
            "for a function of each value by itself, and no registration for any other "
            "layer: it is read from its operations, or raises an error",
            f'extend.layer({step.layer}, kind="dense", replace=True)',
        )


def _run_steps(model: Any, program: Program, inputs: list[Tensor]) -> Tensor:
    """The program's output; a step that cannot be run by itself is an error."""
    values = program.entered(inputs)
    for step in (*program.steps, *program.finish):
        try:
            values[step.output] = step.run([values[i] for i in step.inputs])
        except Exception as error:
            outside = unknown_id(error)
            if outside is not None:
                raise outside from error
            check_weights(model)
            raise UnsupportedLayerError(
                f"Step {step.name!r} ({step.layer}) cannot be run by itself: "
                f"{first_line(error, 160)}",
                "a layer whose batch axis comes first and is not changed",
                "a layer written without the size of the batch",
            ) from error
    return values[program.last]
