"""Adapters: `logits(inputs)` and the properties of each kind of model.

Every adapter has the attributes link, how the output follows from the logits
("softmax", ...; "unknown" where the steps are not read); specs and outputs, the (shape,
dtype) of the inputs and the shape of the output, None where they are not known; and
program, the steps, None where they were not read.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError, UnsupportedLayerError, first_line
from tfxai.base.tensors import Tensor
from tfxai.core.inputs import Shape, Specs, SpecsByShape, unknown_id
from tfxai.core.targets import explained_outputs, explained_shape, has_two_classes
from tfxai.graph.opened import one_moment
from tfxai.graph.private import functional, is_graph
from tfxai.graph.program import (
    Program,
    check_output,
    trace,
)
from tfxai.graph.trace.shapes import Shapes

#: "trace" reads every model from its trace, to compare the two readers.
READER = os.environ.get("TFXAI_READER", "")


class GraphAdapter:
    """A model whose graph can be read; called as a whole where a step has no row."""

    def __init__(self, model: keras.Model, output: int) -> None:
        graph = functional(model)
        check_output(graph.outputs, output)
        self.specs: Specs | None = [(tuple(t.shape), t.dtype) for t in graph.inputs]
        self.outputs = tuple(graph.outputs[output].shape)
        self._model, self._output = model, output
        self._shapes: Shapes | None = None
        self.program: Program | None = None
        try:
            self.program = self.read()
        except UnsupportedLayerError:
            self.link = "unknown"
        else:
            self.link = self.program.link
            self.outputs = explained_shape(self.program, self.outputs)
            if any(v.dtype == "float64" for v in model.weights):
                _check_weights(model)

    def read(self, batch_norm: str = "fold") -> Program:
        """Return the program of the graph of layers or, if that fails, of the trace."""
        if self._shapes is None:
            try:
                if READER == "trace":
                    raise UnsupportedLayerError("The trace is asked for.")
                return trace(self._model, self._output, batch_norm)
            except UnsupportedLayerError as error:
                self._shapes = shapes_of(self._model, self._output)
                return self._traced(batch_norm, error)
        return self._shapes.first(batch_norm)

    def _traced(self, batch_norm: str, error: UnsupportedLayerError) -> Program:
        """Return the program of the trace; an error names the reasons of both."""
        shapes = self._shapes
        assert shapes is not None and self.specs is not None
        try:
            program = shapes.first(batch_norm)
        except UnsupportedLayerError as other:
            self._shapes = None  # a row for the layer may be registered later
            if READER == "trace":
                raise
            raise _both(error, other) from other
        if shapes.open:
            self.specs = SpecsByShape(self.specs)
        return program

    def called(self, inputs: list[Tensor]) -> Tensor:
        """Return the output of the model itself."""
        return _called(self._model, inputs, self._output)

    def logits(self, inputs: list[Tensor]) -> Tensor:
        """Return the outputs before a final softmax or sigmoid."""
        if self.program is not None:
            program = self.program.at([v.shape for v in inputs])
            return explained_outputs(program, program.run(inputs)[program.output])
        return self.called(inputs)

    def probabilities(self, inputs: list[Tensor]) -> Tensor:
        """Return the outputs after the final softmax or sigmoid."""
        assert self.program is not None  # else the link is unknown
        if has_two_classes(self.program):
            return tf.sigmoid(self.logits(inputs))
        program = self.program.at([v.shape for v in inputs])
        result = program.answer(inputs)
        return tf.exp(result) if self.link == "log_softmax" else result


class CallAdapter:
    """A model that is only called: subclassed, or loaded from a SavedModel."""

    link = "unknown"
    specs: Specs | None = None
    outputs = None
    program: Program | None = None

    def __init__(
        self,
        function: Callable[..., Any],
        model: Any = None,
        output: int = 0,
        given: Specs | None = None,
    ) -> None:
        self.logits = self.called = function
        self._model, self._output, self._given = model, output, given
        self._shapes: Shapes | None = None

    def read(self, batch_norm: str = "fold") -> Program:
        """Return the program of a subclassed model, or of a model of known shapes."""
        if self._shapes is None:
            try:
                if READER == "trace" or not isinstance(self._model, keras.Model):
                    raise UnsupportedLayerError("The trace is asked for.")
                return trace(self._model, self._output, batch_norm)
            except (UnsupportedLayerError, ModelError) as error:
                first = error
            return self._traced(batch_norm, first)
        return self._shapes.first(batch_norm)

    def _traced(
        self, batch_norm: str, error: UnsupportedLayerError | ModelError
    ) -> Program:
        """Return the program of the trace; an error names the reasons of both."""
        try:
            shapes = self._read_shapes()
            program = shapes.first(batch_norm)
        except (UnsupportedLayerError, ModelError) as other:
            if not isinstance(self._model, keras.Model) or READER == "trace":
                raise
            if isinstance(other, ModelError):
                raise error from other
            raise _both(error, other) from other
        self._shapes = shapes
        return program

    def _read_shapes(self) -> Shapes:
        """Return the programs of the trace, for the input shapes of the model."""
        specs = self._given or shapes_known(self._model)
        if specs is None:
            raise ModelError(
                f"The input shapes of {name_of(self._model)} are not known.",
                "the shape of each input, None for an axis of any size",
                "tfxai.wrap(model, specs=[tf.TensorSpec((None, 224, 224, 3))])",
            )
        found = Shapes(lambda *v: self.called(list(v)), specs, self._model)
        self.specs = SpecsByShape(found.specs)
        return found


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
        #: The names of the inputs, where they were given as a mapping.
        self.names: list[Any] | None = None

    def arranged(self, x: Any) -> Any:
        """Return the inputs of a mapping as a tuple, and keep their names."""
        if not isinstance(x, Mapping):
            return x
        if self.names is None or set(self.names) != set(x):
            self.names = list(x)
        return tuple(x[n] for n in self.names)

    def logits(self, *inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the outputs of the callable as they are.

        It gets a copy, since it may work in place as Keras' own `preprocess_input`
        does; and its result is copied, since it may return the same array every time.
        """
        copies = [np.array(v) for v in inputs]
        x: Any = copies[0] if len(copies) == 1 else copies
        if self.names is not None and len(self.names) == len(copies):
            x = dict(zip(self.names, copies, strict=True))
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
    first = repr(y.ravel()[:1].tolist()[0])[:60] if y.size else "nothing"
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


def _both(first: Any, other: Any) -> UnsupportedLayerError:
    """Return an error with the reasons of the two readers."""
    seen = f"{first.seen} Nor by TensorFlow's trace: {other.seen}"
    return UnsupportedLayerError(seen, first.wanted, first.write)


def shapes_of(model: Any, output: int = 0) -> Shapes:
    """Return the programs of a functional model, read from its trace."""
    graph = functional(model)
    specs = [(tuple(t.shape), t.dtype) for t in graph.inputs]

    def call(*inputs: Tensor) -> Any:
        given = keras.tree.pack_sequence_as(graph.input, inputs)
        return model(given, training=False)

    return Shapes(call, specs, model, output)


def _called(model: Any, inputs: list[Tensor], output: int) -> Tensor:
    given = inputs[0] if len(inputs) == 1 else inputs
    if is_graph(model):
        given = keras.tree.pack_sequence_as(functional(model).input, inputs)
    result = model(given, training=False)
    return tf.cast(keras.tree.flatten(result)[output], tf.float32)


def _check_weights(model: Any) -> None:
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
    program: Program,
    inputs: list[Tensor],
) -> None:
    """Raise ModelError if the program and the model return different outputs.

    `call` returns the output of the model itself.
    """
    with one_moment():
        outputs = _run_steps(model, program, inputs)
    wanted = call(inputs)
    layers = (model, *(getattr(model, "layers", None) or ()))
    policies = {getattr(v, "compute_dtype", "float32") for v in layers}
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


def adapt(
    model: Any,
    preprocess: Callable[..., Any] | None,
    output: int,
    specs: Any = None,
) -> Any:
    """Return the adapter of this kind of model.

    Args:
        model: A model or a callable.
        preprocess: For a black box.
        output: Which output is explained.
        specs: The shape, or TensorSpec, of each input of a function of tensors.

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
        given = None if specs is None else [_spec(s) for s in specs]
        return CallAdapter(lambda v: _called(model, v, output), model, output, given)
    served = getattr(model, "serve", None) or _signature(model)
    if served is not None:
        return CallAdapter(lambda v: _served(served, v, output), model, output)
    if isinstance(model, type) or not callable(model) or isinstance(model, str):
        raise ModelError(
            f"{name_of(model)} is not a model.",
            "a Keras model, a loaded SavedModel or a callable on numpy batches",
            (None if isinstance(model, type) else _scores_of(model))
            or 'model = keras.models.load_model("net.keras")',
        )
    given = [_spec(s) for s in specs] if specs is not None else shapes_known(model)
    if given is not None:
        return CallAdapter(lambda v: _served(model, v, output), model, output, given)
    return BlackBoxAdapter(model, preprocess)


def _spec(spec: Any) -> tuple[Shape, str]:
    """Return (shape, dtype) of a TensorSpec, or of a shape with float32."""
    if hasattr(spec, "dtype"):
        return tuple(spec.shape), tf.as_dtype(spec.dtype).name
    return tuple(spec), "float32"


def shapes_known(model: Any) -> Specs | None:
    """Return (shape, dtype) of each input of a built, traced or saved model."""
    signatures = getattr(model, "signatures", None)
    if signatures:
        serving = signatures.get("serving_default") or next(iter(signatures.values()))
        return [_spec(v) for v in serving.structured_input_signature[1].values()]
    signature = getattr(model, "input_signature", None)
    if signature is None:  # of a loaded function, or of a module's call
        call = model if hasattr(model, "concrete_functions") else model.__call__
        signature = getattr(call, "input_signature", None)
        traced = getattr(call, "concrete_functions", None)
        if signature is None and traced:
            signature = tf.nest.flatten(traced[0].structured_input_signature)
            signature = [s for s in signature if isinstance(s, tf.TensorSpec)]
    if signature is not None:
        return [_spec(s) for s in tf.nest.flatten(signature)]
    return _built(model)


def _built(model: Any) -> Specs | None:
    """Return the specs of a model's inputs (also of Keras 2), or of its build."""
    inputs = getattr(model, "inputs", None)
    if isinstance(inputs, list | tuple) and inputs and hasattr(inputs[0], "dtype"):
        return [_spec(t) for t in inputs]
    if not isinstance(model, keras.Model):
        return None
    shapes = (model.get_build_config() or {}).get("input_shape")
    if shapes is None:
        return None
    if isinstance(shapes, dict):
        return [_spec((None, *s[1:])) for s in shapes.values()]
    nested = shapes and isinstance(shapes[0], list | tuple)
    return [_spec((None, *s[1:])) for s in (shapes if nested else [shapes])]


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
