"""Adapters: `logits(inputs)` and the properties of each kind of model.

Every adapter has the attributes link, how the output follows from the logits
("softmax", ...; "unknown" where the steps are not read); specs and outputs, the (shape,
dtype) of the inputs and the shape of the output, None where they are not known; and
program, the steps, None where they were not read.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError, UnsupportedLayerError, first_line
from tfxai.base.tensors import Tensor
from tfxai.core.inputs import Specs, unknown_id
from tfxai.core.targets import explained_outputs, explained_shape, has_two_classes
from tfxai.graph.opened import one_moment
from tfxai.graph.private import functional, is_graph
from tfxai.graph.program import (
    Program,
    check_output,
    trace,
)


class GraphAdapter:
    """A model whose graph can be read; called as a whole where a step has no row."""

    def __init__(self, model: keras.Model, output: int) -> None:
        graph = functional(model)
        check_output(graph.outputs, output)
        self.specs: Specs | None = [(tuple(t.shape), t.dtype) for t in graph.inputs]
        self.outputs = tuple(graph.outputs[output].shape)
        self._model, self._output = model, output
        self.program: Program | None = None
        try:
            self.program = trace(model, output)
        except UnsupportedLayerError:
            self.link = "unknown"
        else:
            self.link = self.program.link
            self.outputs = explained_shape(self.program, self.outputs)
            if any(v.dtype == "float64" for v in model.weights):
                _check_weights(model)

    def logits(self, inputs: list[Tensor]) -> Tensor:
        """Return the outputs before a final softmax or sigmoid."""
        if self.program is not None:
            logits = self.program.run(inputs)[self.program.output]
            return explained_outputs(self.program, logits)
        return _called(self._model, inputs, self._output)

    def probabilities(self, inputs: list[Tensor]) -> Tensor:
        """Return the outputs after the final softmax or sigmoid."""
        assert self.program is not None  # else the link is unknown
        if has_two_classes(self.program):
            return tf.sigmoid(self.logits(inputs))
        result = self.program.answer(inputs)
        return tf.exp(result) if self.link == "log_softmax" else result


class CallAdapter:
    """A model that is only called: subclassed, or loaded from a SavedModel."""

    link = "unknown"
    specs: Specs | None = None
    outputs = None
    program: Program | None = None

    def __init__(self, function: Callable[..., Any]) -> None:
        self.logits = function


class BlackBoxAdapter:
    """A plain callable on numpy batches."""

    link = "unknown"
    specs: Specs | None = None
    outputs = None
    program: Program | None = None

    def __init__(
        self, function: Callable[..., Any], preprocess: Callable[..., Any] | None
    ) -> None:
        self._function, self._preprocess = function, preprocess

    def logits(self, *inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the outputs of the callable as they are.

        It gets a copy, since it may work in place as Keras' own `preprocess_input`
        does; and its result is copied, since it may return the same array every time.
        """
        copies = [np.array(v) for v in inputs]
        x: Any = copies[0] if len(copies) == 1 else copies
        if self._preprocess is not None:
            x = keras.tree.map_structure(np.asarray, self._preprocess(x))
        y = _numbers(self._function, self._function(x))
        if y.ndim < 1 or len(y) != len(inputs[0]):
            raise ModelError(
                f"The callable returned shape {y.shape} for {len(inputs[0])} "
                "sample(s).",
                "one output per sample, (B, ...)",
            )
        return y


def _numbers(function: Callable[..., Any], outputs: Any) -> np.ndarray[Any, Any]:
    """The outputs of a callable as a new array of numbers, or ModelError."""
    y = np.array(outputs)
    if y.dtype.kind == "O":
        with suppress(TypeError, ValueError):
            y = y.astype(float)
    if y.dtype.kind in "biuf" or y.dtype.name == "bfloat16":
        return y
    owner = getattr(function, "__self__", None)
    line = _scores_of(owner) if owner is not None else None
    first = repr(y.ravel()[0])[:60] if y.size else "nothing"
    raise ModelError(
        f"The callable returned {y.dtype}, no numbers: {first} is the first value.",
        "one number per class, (B, classes), such as probabilities",
        line or "model=clf.predict_proba",
    )


def _scores_of(estimator: Any) -> str | None:
    """Return the line for an estimator of scikit-learn; None for another object."""
    for method, name in (
        ("predict_proba", "clf"), ("decision_function", "clf"), ("predict", "reg"),
    ):  # fmt: skip
        if callable(getattr(estimator, method, None)):
            return f"model={name}.{method}"
    return None


def _called(model: Any, inputs: list[Tensor], output: int) -> Tensor:
    given = inputs[0] if len(inputs) == 1 else inputs
    if is_graph(model):
        given = keras.tree.pack_sequence_as(functional(model).input, inputs)
    result = model(given, training=False)
    return tf.cast(keras.tree.flatten(result)[output], tf.float32)


def _check_weights(model: Any) -> None:
    """Raise ModelError for floating-point weights that are not float32."""
    found = {v.dtype for v in model.weights if "float" in v.dtype} - {"float32"}
    if found:
        raise ModelError(
            f"The model has weights of {min(found)}, and its steps compute in float32.",
            "weights of float32, as also under mixed precision",
            'keras.config.set_dtype_policy("float32") before the model is built, and '
            "set_weights",
        )


def check_program(
    model: Any, program: Program, inputs: list[Tensor], output: int
) -> None:
    """Raise ModelError if the program and the model return different outputs."""
    with one_moment():
        outputs = _run_steps(model, program, inputs)
    wanted = _called(model, inputs, output)
    policies = {v.compute_dtype for v in (model, *model.layers)}
    size = tf.reduce_max(tf.abs(wanted)) + 1e-6
    gap = tf.reduce_max(tf.abs(tf.cast(outputs, tf.float32) - wanted)) / size
    if gap > (1e-3 if policies == {"float32"} else 0.1):
        raise ModelError(
            f"The steps that were read from {name_of(model)} and the model itself "
            f"return different outputs, by {float(gap):.2g} of the largest one.",
            "layers that compute at inference what their class computes: no "
            "randomness, and no `call` that the graph does not show",
            'analyzer.coverage() lists the steps; create_analyzer("lime", ...) needs '
            "none",
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
            _check_weights(model)
            raise UnsupportedLayerError(
                f"Step {step.name!r} ({step.layer}) cannot be run by itself: "
                f"{first_line(error, 160)}",
                "a layer whose batch axis comes first and is not changed",
                "a layer written without the size of the batch",
            ) from error
    return values[program.last]


def adapt(model: Any, preprocess: Callable[..., Any] | None, output: int) -> Any:
    """Return the adapter of this kind of model.

    Raises:
        ModelError: It is not a model, or not built.
    """
    if is_graph(model):
        return GraphAdapter(model, output)
    if isinstance(model, keras.Model):
        if not model.built:
            raise ModelError(
                f"The model {model.name!r} is not built: it has no weights yet.",
                "a model that was built, called or loaded",
                "model(x[:1]), with a first batch",
            )
        return CallAdapter(lambda v: _called(model, v, output))
    served = getattr(model, "serve", None) or _signature(model)
    if served is not None:
        return CallAdapter(lambda v: _served(served, v, output))
    if isinstance(model, type) or not callable(model) or isinstance(model, str):
        raise ModelError(
            f"{name_of(model)} is not a model.",
            "a Keras model, a loaded SavedModel or a callable on numpy batches",
            (None if isinstance(model, type) else _scores_of(model))
            or 'model = keras.models.load_model("net.keras")',
        )
    return BlackBoxAdapter(model, preprocess)


def _signature(model: Any) -> Callable[..., Any] | None:
    """The serving signature of a loaded SavedModel, for positional tensors."""
    signatures = getattr(model, "signatures", None)
    if not signatures:
        return None
    serving = signatures.get("serving_default") or next(iter(signatures.values()))
    names = list(serving.structured_input_signature[1])
    return lambda *v: serving(**dict(zip(names, v, strict=True)))


def _served(function: Callable[..., Any], inputs: list[Tensor], output: int) -> Tensor:
    result = function(*inputs)
    return tf.cast(keras.tree.flatten(result)[output], tf.float32)


def name_of(model: Any) -> str:
    """Return the class and the name of a model, for messages."""
    return f"{type(model).__name__} {getattr(model, 'name', '')!r}".replace(" ''", "")
