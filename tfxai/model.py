"""The wrapper: one way to ask any model, whatever it is.

`wrap` takes a Keras model, a loaded SavedModel or a plain callable on numpy batches.
Every question goes through one compiled function with a fixed signature.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.arrays import Tensor
from tfxai.errors import BlackBoxError, ModelError, OptionError, UnsupportedLayerError
from tfxai.graph.program import Program, functional, is_graph, trace
from tfxai.inputs import Specs, check_inputs, compiled, cut, signature
from tfxai.targets import resolve

LINKS: dict[str, Callable] = {
    "softmax": tf.nn.softmax,
    "log_softmax": tf.nn.softmax,
    "sigmoid": tf.nn.sigmoid,
}


class Wrapped:
    """A model and its `preprocess`, ready to be asked. Made by `wrap`.

    differentiable: can it be asked for gradients?
    program: its flat steps, or an error that says why they cannot be read.
    specs: the (shape, dtype) of every input, or None where the model does not say.
    outputs: the explained output's shape, or None.
    """

    def __init__(
        self, model: Any, preprocess: Callable | None = None, output: int = 0
    ) -> None:
        self.model, self.preprocess, self.output = model, preprocess, output
        self._answer = _adapt(self)
        self.specs, self.outputs = self._answer.specs, self._answer.outputs
        self.differentiable = not isinstance(self._answer, _BlackBox)
        self._programs: dict[str, Program] = {}
        self._asked: dict[Any, Callable] = {}

    def program(self, batch_norm: str = "fold") -> Program:
        """The flat steps of the network; read once for each way to treat BatchNorm."""
        if batch_norm not in self._programs:
            if not self.differentiable:
                raise BlackBoxError(
                    f"{_name(self.model)} is a black box: it only answers.",
                    "a Keras model for relevance propagation",
                    "a sampling method, for example "
                    'tfxai.create_analyzer("lime", callable)',
                )
            self._programs[batch_norm] = trace(self.model, self.output, batch_norm)
        return self._programs[batch_norm]

    def prepared(self, inputs: list[Tensor]) -> list[Tensor]:
        """What the network sees: `preprocess` of the inputs, inside the graph."""
        if self.preprocess is None:
            return inputs
        made = self.preprocess(inputs[0] if len(inputs) == 1 else inputs)
        return [tf.cast(v, tf.float32) for v in keras.tree.flatten(made)]

    def outputs_of(self, inputs: list[Tensor]) -> Tensor:
        """The explained output (B, ...) of prepared inputs, before softmax if known."""
        return self._answer.logits(inputs)

    def logits(self, x: Any, batch_size: int = 32) -> np.ndarray:
        """(B, ..., n): the output before a final softmax or sigmoid.

        A SavedModel, a subclassed model and a callable are not taken apart: what they
        answer is what they are asked about.
        """
        return self._ask("logits", self._answer.logits, x, batch_size)

    def probabilities(self, x: Any, batch_size: int = 32) -> np.ndarray:
        """(B, ..., n): the model's answer through its final softmax or sigmoid."""
        link = LINKS.get(self._answer.link)
        if link is None:
            y = self.logits(x, batch_size)
            if self._answer.link == "unknown" and _are_probabilities(y):
                return y
            raise ModelError(
                f"{_name(self.model)} does not end in softmax or sigmoid.",
                "a model that answers probabilities",
                "wrapped.logits(x)",
            )
        return self._ask(
            "probabilities", lambda v: link(self._answer.logits(v)), x, batch_size
        )

    def scores(self, x: Any, target: Any = None, batch_size: int = 32) -> np.ndarray:
        """(B,) or (B, T): the logit of each target (see `Explanation`)."""
        y = self.logits(x, batch_size)
        goal = resolve(target, len(y), y.shape)
        if goal.function is not None:
            return np.asarray(goal.function(tf.convert_to_tensor(y)))
        flat = y.reshape(len(y), -1)
        indices = np.where(goal.indices < 0, flat.argmax(-1)[:, None], goal.indices)
        picked = np.take_along_axis(flat, indices, -1)
        return picked if goal.axes else picked[:, 0]

    def _ask(self, key: str, function: Callable, x: Any, batch_size: int) -> np.ndarray:
        inputs = check_inputs(x, self.specs)
        ask = self._answer.logits
        if self.differentiable:
            spec = signature(self.specs, inputs)
            known = (key, *spec)
            if known not in self._asked:
                self._asked[known] = compiled(
                    lambda *v: function(self.prepared(list(v))), spec
                )
            ask = self._asked[known]
        parts = [ask(*(v[s] for v in inputs)) for s in cut(inputs, batch_size)]
        return np.concatenate([np.asarray(p) for p in parts])


def wrap(model: Any, preprocess: Callable | None = None, output: int = 0) -> Wrapped:
    """Wrap a Keras model, a loaded SavedModel or a callable `numpy batch -> answers`.

    preprocess: `raw batch -> network input`, made of TensorFlow operations; it runs
        inside the compiled graph.
    output: which one, where the model has several.
    """
    if isinstance(model, Wrapped):
        return model
    if preprocess is not None and not callable(preprocess):
        raise OptionError(
            f"preprocess={preprocess!r}.",
            "a function of a batch",
            "preprocess=keras.applications.vgg16.preprocess_input",
        )
    return Wrapped(model, preprocess, output)


class _Graph:
    """A model whose graph can be read; where a step has no row, asked as a whole."""

    def __init__(self, model: keras.Model, output: int) -> None:
        graph = functional(model)
        self.specs: Specs | None = [(tuple(t.shape), t.dtype) for t in graph.inputs]
        self.outputs = tuple(graph.outputs[output].shape)
        self._model, self._output = model, output
        self._program: Program | None = None
        try:
            self._program = trace(model, output)
        except UnsupportedLayerError:
            self.link = "unknown"
        else:
            self.link = self._program.link

    def logits(self, inputs: list[Tensor]) -> Tensor:
        if self._program is not None:
            return self._program.run(inputs)[self._program.output]
        return _called(self._model, inputs, self._output)


class _Tensor:
    """A model that is only called: subclassed, or loaded from a SavedModel."""

    link = "unknown"
    specs: Specs | None = None
    outputs = None

    def __init__(self, function: Callable) -> None:
        self.logits = function


class _BlackBox:
    """A plain callable on numpy batches."""

    link = "unknown"
    specs: Specs | None = None
    outputs = None

    def __init__(self, function: Callable, preprocess: Callable | None) -> None:
        self._function, self._preprocess = function, preprocess

    def logits(self, *inputs: np.ndarray) -> np.ndarray:
        x = inputs[0] if len(inputs) == 1 else list(inputs)
        if self._preprocess is not None:
            x = np.asarray(self._preprocess(x))
        y = np.asarray(self._function(x))
        if y.ndim < 1 or len(y) != len(inputs[0]):
            raise ModelError(
                f"The callable answered shape {y.shape} to {len(inputs[0])} sample(s).",
                "one answer per sample, (B, ...)",
            )
        return y


def _called(model: Any, inputs: list[Tensor], output: int) -> Tensor:
    made = model(inputs[0] if len(inputs) == 1 else inputs, training=False)
    return tf.cast(keras.tree.flatten(made)[output], tf.float32)


def _adapt(wrapped: Wrapped) -> Any:
    """How this kind of model is asked."""
    model, output = wrapped.model, wrapped.output
    if is_graph(model):
        return _Graph(model, output)
    if isinstance(model, keras.Model):
        if not model.built:
            raise ModelError(
                f"The model {model.name!r} is not built: it has no weights yet.",
                "a model that was built, called or loaded",
                "model(x[:1]), with a first batch",
            )
        return _Tensor(lambda v: _called(model, v, output))
    served = getattr(model, "serve", None) or _signature(model)
    if served is not None:
        return _Tensor(lambda v: _served(served, v, output))
    if isinstance(model, type) or not callable(model) or isinstance(model, str):
        raise ModelError(
            f"{_name(model)} is no model.",
            "a Keras model, a loaded SavedModel or a callable on numpy batches",
            'model = keras.models.load_model("net.keras")',
        )
    return _BlackBox(model, wrapped.preprocess)


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


def _are_probabilities(y: np.ndarray) -> bool:
    inside = y.min() >= -1e-6 and y.max() <= 1 + 1e-6
    return bool(inside and np.allclose(y.sum(-1), 1, atol=1e-3))


def _name(model: Any) -> str:
    return f"{type(model).__name__} {getattr(model, 'name', '')!r}".replace(" ''", "")
