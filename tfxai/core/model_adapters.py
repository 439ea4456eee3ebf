"""How each kind of model is asked: `logits(inputs)`, and what it says of itself.

link: how its answer follows from them ("softmax", ...; "unknown" where it is not taken
apart). specs and outputs: the (shape, dtype) of its inputs and the shape of its output,
None where it does not say. program: its steps, None where they were not read.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError, UnsupportedLayerError, first_line
from tfxai.base.tensors import Tensor
from tfxai.core.inputs import Specs
from tfxai.graph.opened import one_moment
from tfxai.graph.private import functional, is_graph
from tfxai.graph.program import (
    Program,
    check_output,
    trace,
)


class Graph:
    """A model whose graph can be read; where a step has no row, asked as a whole."""

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
            if any(v.dtype == "float64" for v in model.weights):
                _check_weights(model)

    def logits(self, inputs: list[Tensor]) -> Tensor:
        if self.program is not None:
            return self.program.run(inputs)[self.program.output]
        return _called(self._model, inputs, self._output)

    def probabilities(self, inputs: list[Tensor]) -> Tensor:
        """What the model answers, through its final softmax or sigmoid."""
        assert self.program is not None  # else the link is unknown
        answer = self.program.answer(inputs)
        return tf.exp(answer) if self.link == "log_softmax" else answer


class Called:
    """A model that is only called: subclassed, or loaded from a SavedModel."""

    link = "unknown"
    specs: Specs | None = None
    outputs = None
    program: Program | None = None

    def __init__(self, function: Callable) -> None:
        self.logits = function


class BlackBox:
    """A plain callable on numpy batches."""

    link = "unknown"
    specs: Specs | None = None
    outputs = None
    program: Program | None = None

    def __init__(self, function: Callable, preprocess: Callable | None) -> None:
        self._function, self._preprocess = function, preprocess

    def logits(self, *inputs: np.ndarray) -> np.ndarray:
        x = inputs[0] if len(inputs) == 1 else list(inputs)
        if self._preprocess is not None:
            # A copy: Keras' own preprocess_input works in place on float32 arrays.
            x = np.asarray(self._preprocess(keras.tree.map_structure(np.array, x)))
        y = np.asarray(self._function(x))
        if y.ndim < 1 or len(y) != len(inputs[0]):
            raise ModelError(
                f"The callable answered shape {y.shape} to {len(inputs[0])} sample(s).",
                "one answer per sample, (B, ...)",
            )
        return y


def _called(model: Any, inputs: list[Tensor], output: int) -> Tensor:
    given = inputs[0] if len(inputs) == 1 else inputs
    if is_graph(model):
        given = keras.tree.pack_sequence_as(functional(model).input, inputs)
    made = model(given, training=False)
    return tf.cast(keras.tree.flatten(made)[output], tf.float32)


def _check_weights(model: Any) -> None:
    """Refuse floating-point weights of another precision than what is handed on."""
    found = {v.dtype for v in model.weights if "float" in v.dtype} - {"float32"}
    if found:
        raise ModelError(
            f"The model has weights of {min(found)}, and its steps hand on float32.",
            "weights of float32, as also under mixed precision",
            'keras.config.set_dtype_policy("float32") before the model is made, and '
            "set_weights",
        )


def confirm(model: Any, program: Program, inputs: list[Tensor], output: int) -> None:
    """Raise an error where the program does not answer `inputs` as the model does."""
    with one_moment():
        made = _one_by_one(model, program, inputs)
    wanted = _called(model, inputs, output)
    policies = {v.compute_dtype for v in (model, *model.layers)}
    size = tf.reduce_max(tf.abs(wanted)) + 1e-6
    gap = tf.reduce_max(tf.abs(tf.cast(made, tf.float32) - wanted)) / size
    if gap > (1e-3 if policies == {"float32"} else 0.1):
        raise ModelError(
            f"The steps that were read from {name_of(model)} answer otherwise than the "
            f"model itself, by {float(gap):.2g} of its largest answer.",
            "layers that do at inference what their class says: no randomness, and no "
            "`call` that the graph does not show",
            'analyzer.coverage() lists the steps; create_analyzer("lime", ...) needs '
            "none",
        )


def _one_by_one(model: Any, program: Program, inputs: list[Tensor]) -> Tensor:
    """The program's answer; a step that cannot be run by itself is an error."""
    values = program.entered(inputs)
    for step in (*program.steps, *program.finish):
        try:
            values[step.output] = step.run([values[i] for i in step.inputs])
        except Exception as error:
            _check_weights(model)
            raise UnsupportedLayerError(
                f"Step {step.name!r} ({step.layer}) cannot be run by itself: "
                f"{first_line(error, 160)}",
                "a layer whose batch axis comes first and is left alone",
                "a layer written without the size of the batch",
            ) from error
    return values[program.last]


def adapt(model: Any, preprocess: Callable | None, output: int) -> Any:
    """How this kind of model is asked: Graph, Called or BlackBox."""
    if is_graph(model):
        return Graph(model, output)
    if isinstance(model, keras.Model):
        if not model.built:
            raise ModelError(
                f"The model {model.name!r} is not built: it has no weights yet.",
                "a model that was built, called or loaded",
                "model(x[:1]), with a first batch",
            )
        return Called(lambda v: _called(model, v, output))
    served = getattr(model, "serve", None) or _signature(model)
    if served is not None:
        return Called(lambda v: _served(served, v, output))
    if isinstance(model, type) or not callable(model) or isinstance(model, str):
        raise ModelError(
            f"{name_of(model)} is no model.",
            "a Keras model, a loaded SavedModel or a callable on numpy batches",
            'model = keras.models.load_model("net.keras")',
        )
    return BlackBox(model, preprocess)


def _signature(model: Any) -> Callable | None:
    """The serving signature of a loaded SavedModel, taking positional tensors."""
    signatures = getattr(model, "signatures", None)
    if not signatures:
        return None
    serving = signatures.get("serving_default") or next(iter(signatures.values()))
    names = list(serving.structured_input_signature[1])
    return lambda *v: serving(**dict(zip(names, v, strict=True)))


def _served(function: Callable, inputs: list[Tensor], output: int) -> Tensor:
    made = function(*inputs)
    return tf.cast(keras.tree.flatten(made)[output], tf.float32)


def name_of(model: Any) -> str:
    """The class and the name of a model, for messages."""
    return f"{type(model).__name__} {getattr(model, 'name', '')!r}".replace(" ''", "")
