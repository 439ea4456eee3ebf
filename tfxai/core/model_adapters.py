"""Adapters: `logits(inputs)` and the properties of each kind of model.

Every adapter has the attributes link, how the output follows from the logits
("softmax", ...; "unknown" where the steps are not read); specs and outputs, the (shape,
dtype) of the inputs and the shape of the output, None where they are not known; and
program, the steps, None where they were not read.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import ModelError, UnsupportedLayerError
from tfxai.base.tensors import Tensor
from tfxai.core.confirmation import check_weights
from tfxai.core.endings import ending_of, without_ending
from tfxai.core.estimators import numbers_of, scores_of, warn_of_classes
from tfxai.core.frames import Frame, is_frame
from tfxai.core.inputs import Shape, Specs, SpecsByShape
from tfxai.core.model_specs import (
    is_of_tensors,
    name_of,
    serving,
    shapes_known,
    spec_of,
)
from tfxai.core.readings import shapes_of
from tfxai.core.targets import explained_outputs, explained_shape, has_two_classes
from tfxai.graph.private import (
    as_before,
    functional,
    is_graph,
)
from tfxai.graph.program import (
    Program,
    check_output,
)
from tfxai.graph.trace.shapes import Shapes, read_as


class TensorAdapter:
    """A model of tensors: read as steps, or called as a whole where it cannot be read.

    Attributes:
        specs: The (shape, dtype) of the inputs; None where they are not known.
        outputs: The shape of the explained output; None where it is not known.
        program: The steps; None where they were not read.
        ending: The program or, of a model that is called, its last step; None where
            that is no softmax or sigmoid.
    """

    def __init__(
        self,
        answers: Callable[[list[Tensor]], Any],
        model: Any,
        output: int,
        specs: Specs | None,
    ) -> None:
        self._answers, self.specs, self._first = answers, specs, specs
        self.outputs: Shape | None = None
        self.program: Program | None = None
        self.ending: Program | None = None
        self._model, self._output = model, output
        self._shapes: Shapes | None = None
        self._tried = False

    def called(self, inputs: list[Tensor]) -> Tensor:
        """Return the explained output of the model itself."""
        outputs = keras.tree.flatten(self._answers(inputs))
        return tf.cast(outputs[self._output], tf.float32)

    def prepare(self) -> None:
        """Read the program if the shapes of the inputs are known."""
        if self._tried or self._first is None:
            return
        self._tried = True
        with suppress(UnsupportedLayerError, ModelError):
            self.program = self.ending = self.read()
        if self.program is None:
            self._logits = without_ending(self.called)
            specs = [tf.TensorSpec((None, *s[1:]), read_as(d)) for s, d in self._first]
            self.ending = ending_of(self.called, specs, self._output)
            if self.ending is None:
                self._logits = self.called
        shape = self.outputs
        if self.ending is not None and not isinstance(self.specs, SpecsByShape):
            shape = shape or self.ending.output_shape
        if shape is not None:
            self.outputs = explained_shape(self.ending, shape)

    @property
    def link(self) -> str:
        """How the output follows from the logits: "softmax", ..., or "unknown"."""
        return "unknown" if self.ending is None else self.ending.link

    @property
    def confirmed(self) -> set[Any]:
        """What was compared with the model, for all analyzers of the model."""
        return set() if self._shapes is None else self._shapes.confirmed

    def meet(self, inputs: list[np.ndarray[Any, Any]]) -> None:
        """Take the shapes of the inputs for those of the model, if it has none."""
        if self.specs is None:
            shapes = [((None, *v.shape[1:]), v.dtype.name) for v in inputs]
            self.specs = self._first = SpecsByShape(shapes)
            self.prepare()

    def read(self, batch_norm: str = "fold") -> Program:
        """Return the program, read from TensorFlow's trace of the model."""
        if self._shapes is not None:
            return self._shapes.first(batch_norm)
        if self._first is None:
            raise ModelError(
                f"The input shapes of {name_of(self._model)} are not known.",
                "the shape of each input, None for an axis of any size",
                "tfxai.wrap(model, specs=[tf.TensorSpec((None, 224, 224, 3))])",
            )
        if isinstance(self._model, keras.Model):
            shapes = shapes_of(self._model, _answers, self._first, self._output)
        else:
            call = self._answers
            shapes = Shapes(
                lambda *v: call(list(v)), self._first, self._model, self._output
            )
        program = shapes.first(batch_norm)
        self._shapes = shapes
        if shapes.open:
            self.specs = SpecsByShape(self.specs or shapes.specs)
        return program

    def logits(self, inputs: list[Tensor]) -> Tensor:
        """Return the outputs before a final softmax or sigmoid."""
        if self.program is not None:
            program = self.program.at([v.shape for v in inputs])
            return explained_outputs(program, program.run(inputs)[program.output])
        if self.ending is None:
            return self.called(inputs)
        return explained_outputs(self.ending, self._logits(inputs))

    def probabilities(self, inputs: list[Tensor]) -> Tensor:
        """Return the outputs after the final softmax or sigmoid."""
        if has_two_classes(self.ending):
            return tf.sigmoid(self.logits(inputs))
        if self.program is None:
            result = self.called(inputs)
        else:
            result = self.program.at([v.shape for v in inputs]).answer(inputs)
        return tf.exp(result) if self.link == "log_softmax" else result


def graph_adapter(model: keras.Model, output: int) -> TensorAdapter:
    """Return the adapter of a Functional or Sequential model."""
    graph = functional(model)
    check_output(graph.outputs, output)
    specs = [(tuple(t.shape), t.dtype) for t in graph.inputs]
    adapter = TensorAdapter(_answers(model), model, output, specs)
    adapter.outputs = tuple(graph.outputs[output].shape)
    adapter.prepare()
    if adapter.program is not None and any(v.dtype == "float64" for v in model.weights):
        check_weights(model)
    return adapter


def call_adapter(
    answers: Callable[[list[Tensor]], Any], model: Any, output: int, specs: Specs | None
) -> TensorAdapter:
    """Return the adapter of a model that is no graph of layers.

    The sizes that a subclassed model was built with are not those of every input.
    """
    adapter = TensorAdapter(answers, model, output, specs)
    if specs is not None:
        by_build = isinstance(model, keras.Model)
        adapter.specs = SpecsByShape(_opened(specs) if by_build else specs)
        adapter.prepare()
    return adapter


def _opened(specs: Specs) -> Specs:
    return [((*(None for _ in s[:-1]), *s[-1:]), d) for s, d in specs]


class BlackBoxAdapter:
    """A plain callable on numpy batches."""

    link = "unknown"
    specs: Specs | None = None
    outputs = None
    program: Program | None = None
    ending: Program | None = None

    def __init__(
        self, function: Callable[..., Any], preprocess: Callable[..., Any] | None
    ) -> None:
        self._function, self._preprocess = function, preprocess
        #: The names of the inputs, where they were given as a mapping.
        self.names: list[Any] | None = None
        #: The columns of each input that was given as a data frame, by its number.
        self.frames: dict[int, Frame] = {}
        #: Numbers of the inputs that were given as lists of texts.
        self.lists: set[int] = set()
        self._warned = False  # of outputs that may be classes

    def arranged(self, x: Any) -> Any:
        """Return the inputs as arrays, those of a mapping as a tuple.

        The names of a mapping and the columns of data frames are kept.
        """
        if isinstance(x, Mapping):
            if self.names is None or set(self.names) != set(x):
                self.names = list(x)
            x = tuple(x[n] for n in self.names)
        return self._arrays(x, None)

    def examples(self, x: Any) -> Any:
        """Return examples like the inputs as arrays; data frames by their columns."""
        if isinstance(x, Mapping) and self.names and set(self.names) == set(x):
            x = tuple(x[n] for n in self.names)
        return self._arrays(x, self.frames)

    def _arrays(self, x: Any, known: dict[int, Frame] | None) -> Any:
        """The inputs, data frames as arrays; their columns are kept if not known."""
        if _is_texts(x):
            self.lists = {0} if known is None else self.lists
            return _as_objects(x)
        several = isinstance(x, list | tuple)
        found = list(x) if several else [x]
        texts = {i for i, v in enumerate(found) if _is_texts(v)}
        if texts and isinstance(x, tuple):
            self.lists = texts if known is None else self.lists
            found = [_as_objects(v) if i in texts else v for i, v in enumerate(found)]
            x = tuple(found)
        frames = {i: v for i, v in enumerate(found) if is_frame(v)}
        if not frames:
            return x
        if known is None:
            self.frames = {i: Frame.of(v) for i, v in frames.items()}
        for i, v in frames.items():
            columns = self.frames.get(i)
            found[i] = (columns or Frame.of(v)).values(v)
        return tuple(found) if several else found[0]

    def logits(self, *inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the outputs of the callable as they are.

        It gets a copy, since it may work in place as Keras' own `preprocess_input`
        does; and its result is copied, since it may return the same array every time.
        """
        copies = [self._copied(i, v) for i, v in enumerate(inputs)]
        x: Any = copies[0] if len(copies) == 1 else copies
        if self.names is not None and len(self.names) == len(copies):
            x = dict(zip(self.names, copies, strict=True))
        if self._preprocess is not None:
            x = self._preprocess(x)
            if not is_frame(x):
                x = keras.tree.map_structure(
                    lambda v: v if is_frame(v) else np.asarray(v), x
                )
        y = numbers_of(self._function, self._function(x))
        if y.ndim < 1 or len(y) != len(inputs[0]):
            raise ModelError(
                f"The callable returned shape {y.shape} for {len(inputs[0])} "
                "sample(s).",
                "one output per sample, (B, ...)",
            )
        if not self._warned:
            self._warned = True
            warn_of_classes(y)
        return y

    def _copied(self, number: int, array: np.ndarray[Any, Any]) -> Any:
        """A copy of an input; as a data frame, where it was one."""
        columns = self.frames.get(number)
        if number in self.lists and array.dtype.kind == "O" and array.ndim == 1:
            return array.tolist()
        if columns is None or array.shape[1:] != (len(columns.names),):
            return np.array(array)
        return columns.built(array)


def _is_texts(x: Any) -> bool:
    """True for a list of texts."""
    return isinstance(x, list) and bool(x) and all(isinstance(t, str) for t in x)


def _as_objects(texts: list[str]) -> np.ndarray[Any, Any]:
    """Texts as an array of objects (B,)."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def _answers(model: Any) -> Callable[[list[Tensor]], Any]:
    """Return (flat inputs) -> the outputs of a Keras model at inference."""
    names: list[str] = []
    if not is_graph(model) and isinstance(model, keras.Model):
        shapes = (model.get_build_config() or {}).get("input_shape")
        names = sorted(shapes) if isinstance(shapes, dict) else []

    def call(inputs: list[Tensor]) -> Any:
        given: Any = inputs[0] if len(inputs) == 1 else list(inputs)
        if is_graph(model):
            given = keras.tree.pack_sequence_as(functional(model).input, inputs)
        elif names:
            given = dict(zip(names, inputs, strict=True))
        with as_before(model):
            return model(given, training=False)

    return call


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
        return graph_adapter(model, output)
    given = None if specs is None else [spec_of(s) for s in specs]
    if isinstance(model, keras.Model):
        if not model.built:
            raise ModelError(
                f"The model {model.name!r} is not built: it has no weights yet.",
                "a model that was built, called or loaded",
                "model(x[:1]), with a first batch",
            )
        return call_adapter(
            _answers(model), model, output, given or shapes_known(model)
        )
    served = getattr(model, "serve", None)
    source = model if served is None else served
    served = served or serving(model)
    if served is not None:
        return call_adapter(
            _spread(served), model, output, given or shapes_known(source)
        )
    if isinstance(model, type) or not callable(model) or isinstance(model, str):
        raise ModelError(
            f"{name_of(model)} is not a model.",
            "a Keras model, a loaded SavedModel or a callable on numpy batches",
            (None if isinstance(model, type) else scores_of(model))
            or 'model = keras.models.load_model("net.keras")',
        )
    given = given or shapes_known(model)
    if given is not None or is_of_tensors(model):
        return call_adapter(_spread(model), model, output, given)
    return BlackBoxAdapter(model, preprocess)


def _spread(function: Callable[..., Any]) -> Callable[[list[Tensor]], Any]:
    """Return (flat inputs) -> the outputs of a function of tensors.

    A model of Keras 2 takes its inputs as one list.
    """
    if getattr(function, "inputs", None) and len(function.inputs) > 1:  # type: ignore[attr-defined]
        return lambda v: function(list(v))
    return lambda v: function(*v)
