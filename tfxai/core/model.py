"""The model wrapper: one interface to all kinds of models.

`wrap` takes a Keras model, a loaded SavedModel or a plain callable on numpy batches.
Every evaluation is one call of a compiled function with a fixed signature.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.cache import Cache
from tfxai.base.errors import (
    BlackBoxError,
    ModelError,
    OptionError,
    TargetError,
    TfxaiError,
    UnsupportedLayerError,
    first_line,
)
from tfxai.base.tensors import Tensor, in_dtype
from tfxai.core.compilation import LARGE, compiled, compiling_by_xla, few, few_rows
from tfxai.core.confirmation import check_program
from tfxai.core.embedding_cut import EmbeddingCut
from tfxai.core.frames import Frame
from tfxai.core.inputs import (
    check_ids,
    check_inputs,
    cut,
    gathered,
    in_order,
    input_names,
    signature,
)
from tfxai.core.model_adapters import BlackBoxAdapter, adapt
from tfxai.core.model_specs import name_of, output_number
from tfxai.core.sequences import last_positions, resolved
from tfxai.core.target_functions import as_target, bound, masks_of, of_variable
from tfxai.core.targets import (
    Target,
    explained_outputs,
    explained_shape,
    has_two_classes,
    or_top,
    own_outputs,
    resolve,
)
from tfxai.graph.half import halved
from tfxai.graph.private import layouts
from tfxai.graph.program import Program

Array = np.ndarray[Any, Any]
#: Number of compiled functions that a wrapper keeps.
KEPT = 16
#: What NumPy and image libraries raise for tensors; other errors are the user's own.
NO_TENSORS = (NotImplementedError, TypeError, ValueError, AttributeError)
#: Precisions in which a `Probe` can evaluate a model.
PRECISIONS = ("float32", "bfloat16")
LINKS = ("softmax", "log_softmax", "sigmoid", "answer")
#: link -> the probabilities of logits.
PROBABILITIES: dict[str, Callable[[Any], Any]] = {
    "softmax": tf.nn.softmax,
    "log_softmax": tf.nn.softmax,
    "sigmoid": tf.sigmoid,
}


class ModelWrapper:
    """A model with its `preprocess`, as `wrap` returns it.

    Attributes:
        model: The model.
        preprocess: raw batch -> network input, or None.
        output: Which output is explained.
        differentiable: True if TensorFlow can compute gradients.
        specs: The (shape, dtype) of every input; None where they are not known.
        outputs: The shape of the explained output, of two classes for one sigmoid; None
            where it is not known.
    """

    def __init__(
        self,
        model: Any,
        preprocess: Callable[..., Any] | None = None,
        output: int = 0,
        specs: Any = None,
    ) -> None:
        self.model, self.preprocess, self.output = model, preprocess, output
        self._adapter = adapt(model, preprocess, output, specs)
        self.differentiable = not isinstance(self._adapter, BlackBoxAdapter)
        self._programs: dict[str, Program] = {}
        self._confirmed: set[tuple[Any, ...]] = set()
        self._cache = Cache(KEPT)
        self._take_over()

    def _take_over(self) -> None:
        """Take over what the adapter has read."""
        self.specs, self.outputs = self._adapter.specs, self._adapter.outputs
        self._weights = _weights_of(self.model)
        if self._adapter.program is not None:
            self._programs.setdefault("fold", self._adapter.program)

    @property
    def is_outdated(self) -> bool:
        """True if a layer has other variables than when the model was read.

        Their values may change. `enable_lora` and `quantize` make other variables. A
        layer that is built later, such as one for training alone, was not read.
        """
        before, now = self._weights, _weights_of(self.model)
        known = {id(v) for v in before}
        added = [v for v in now if id(v) not in known]
        layers = {_layer_of(v) for v in before} if added else set()
        lost = len(now) - len(added) < len(known)
        return lost or any(_layer_of(v) in layers for v in added)

    def program(self, batch_norm: str = "fold") -> Program:
        """Return the flat steps of the network, read once per value of `batch_norm`.

        Raises:
            BlackBoxError: The model is a plain callable.
            UnsupportedLayerError: A layer cannot be read.
        """
        if batch_norm not in self._programs:
            self.check_differentiable()
            self._programs[batch_norm] = self._adapter.read(batch_norm)
            self.specs = self._adapter.specs
        return self._programs[batch_norm]

    def confirm(self, inputs: list[Array]) -> None:
        """Compare each program once with the model, on the first sample.

        A layer may compute something else than its class: the graph does not show it.

        Raises:
            ModelError: Their outputs differ.
        """
        if not self.differentiable:
            return
        shapes = tuple(signature(self.specs, inputs))
        programs: dict[str, Program | None] = dict(self._programs) or {"": None}
        shared = self._adapter.confirmed if self.preprocess is None else set()
        known = self._confirmed | shared
        ways = [w for w in programs if (w, shapes) not in known]
        one = self.sample(inputs) if ways else []
        for way in ways:
            program = programs[way]
            if program is not None:
                program = program.at([v.shape for v in one])
            same = check_program(self._adapter.called, self.model, program, one)
            self._confirmed.add((way, shapes))
            if same:  # a model whose output is random is a warning for each analyzer
                shared.add((way, shapes))

    def sample(self, inputs: list[Array]) -> list[Tensor]:
        """Return the prepared inputs of the first sample."""
        pairs = zip(inputs, signature(self.specs, inputs), strict=True)
        return self.prepared([tf.convert_to_tensor(v[:1], s.dtype) for v, s in pairs])

    def checked(self, x: Any, name: str = "x") -> list[Array]:
        """Return the inputs as a flat list of arrays (B, ...), a dict by names.

        The inputs of a plain callable keep their dtype. Several are a dict, a tuple, or
        a list of arrays of different shapes. `name` is what errors call token ids.

        Raises:
            InputError: They do not fit the model.
            ModelError: The model has other variables than when it was read.
        """
        x = gathered(x) if isinstance(x, tf.data.Dataset) else x
        if not self.differentiable:
            x = self._adapter.arranged(x)
            return check_inputs(x, None, True, self._adapter.frames)
        if self.is_outdated:
            raise ModelError(
                f"{name_of(self.model)} has other variables than when it was read, as "
                "after enable_lora or quantize.",
                "a new analyzer, of the model wrapped again",
                "wrapped = tfxai.wrap(model)",
            )
        inputs = check_inputs(in_order(x, self.model), self.specs)
        if self.specs is None:
            self._adapter.meet(inputs)
            self._take_over()
        self.check_ids(inputs, name)
        return inputs

    def examples(self, x: Any) -> list[Array]:
        """Return examples like the inputs, such as a background, as `checked` does.

        The columns of a data frame are arranged as those of the inputs.

        Raises:
            InputError: They do not fit the model.
        """
        x = gathered(x) if isinstance(x, tf.data.Dataset) else x
        if self.differentiable:
            return self.checked(x, "background")
        x = self._adapter.examples(x)
        return check_inputs(x, None, True, self._adapter.frames)

    @property
    def frames(self) -> dict[int, Frame]:
        """The columns of the inputs that a callable gets as data frames, by number."""
        return {} if self.differentiable else self._adapter.frames

    def check_ids(self, inputs: list[Array], name: str = "x") -> None:
        """Raise InputError for a token id outside the vocabulary of the model.

        Args:
            inputs: Raw inputs, or what replaces them.
            name: What they are, for the error.
        """
        program = self._adapter.program
        if program is None or not program.lookups:
            return
        ids = inputs
        if self.preprocess is not None:
            specs = signature(self.specs, inputs)
            pairs = zip(inputs, specs, strict=True)
            raw = [tf.convert_to_tensor(v, s.dtype) for v, s in pairs]
            ids = [np.asarray(v) for v in self.prepared(raw)]
        for number, array in zip(program.inputs, ids, strict=True):
            for step in program.lookups.get(number, ()):
                check_ids(array, step, name)

    def prepared(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return `preprocess` of the inputs, compiled: the network's inputs."""
        if self.preprocess is None:
            return inputs
        specs = [tf.TensorSpec((None, *v.shape[1:]), v.dtype) for v in inputs]
        run = self.once(
            ("preprocess", *specs), lambda: compiled(self._preprocessed, specs)
        )
        return list(run(*inputs))

    def _preprocessed(self, *inputs: Tensor) -> list[Tensor]:
        """Return `preprocess` of the inputs."""
        assert self.preprocess is not None
        try:
            result = self.preprocess(inputs[0] if len(inputs) == 1 else list(inputs))
        except TfxaiError:
            raise
        except NO_TENSORS as error:
            raise OptionError(
                f"preprocess failed on tensors: {first_line(error)}",
                "TensorFlow operations, which are compiled; or, for a method without "
                "gradients, a callable in place of the model",
                "preprocess=lambda x: x / 255, or tfxai.explain(lambda x: "
                'model.predict(preprocess(x), verbose=0), x, "lime")',
            ) from error
        return [tf.cast(v, tf.float32) for v in keras.tree.flatten(result)]

    def stepwise(self, inputs: list[Array]) -> bool:
        """Return True if a first call may run operation by operation; see `compiled`.

        The model must run as the operations of a trace, without code of the user: a
        layer may do without a graph what it cannot do inside one. Its tensors must be
        small, since all are kept.
        """
        program = self._adapter.program
        if program is None:
            return False
        shapes = [v.shape for v in self.sample(inputs)]
        return bool(program.at(shapes).elements <= LARGE)

    def outputs_of(self, inputs: list[Tensor], precision: str = "float32") -> Tensor:
        """Return the explained output (B, ...), before a final softmax if it is known.

        Args:
            inputs: Prepared inputs.
            precision: "bfloat16" halves the bytes of every product; see `graph.half`.
        """
        program = self._adapter.program
        if precision == "float32" or program is None:
            return self._adapter.logits(inputs)
        program = program.at([v.shape for v in inputs])
        values = program.run(inputs, run=halved(program.steps))
        logits = explained_outputs(program, values[program.output])
        return tf.cast(logits, tf.float32)

    def probability_of(self, outputs: Tensor) -> Tensor:
        """Return the probabilities that belong to explained outputs (logits)."""
        ending = self._adapter.ending
        if has_two_classes(ending):
            return tf.sigmoid(outputs)
        result = own_outputs(ending, outputs)
        return tf.exp(result) if self.link == "log_softmax" else result

    @cached_property
    def channels_first(self) -> list[str]:
        """The names of the layers that read images (B, C, H, W)."""
        found = layouts(self.model)
        return [name for name in found if found[name] == "channels_first"]

    def check_channels_last(self, method: str) -> None:
        """Raise ModelError for a model of images (B, C, H, W)."""
        first = self.channels_first
        if first:
            raise ModelError(
                f"The layer {first[0]!r} reads channels first, and {method!r} would "
                "take the width for the channels.",
                "a model of images (B, H, W, C)",
                'data_format="channels_last", or a gradient or relevance method',
            )

    def check_precision(self, precision: str) -> None:
        """Raise OptionError for a precision in which the model cannot be evaluated."""
        if precision not in PRECISIONS:
            raise OptionError(f"precision={precision!r}.", f"one of {list(PRECISIONS)}")
        if precision != "float32" and self._adapter.program is None:
            raise OptionError(
                f"precision={precision!r}, and the layers of {name_of(self.model)} "
                "are not known: it is evaluated as it is.",
                "a Keras model whose graph can be read",
                "keras.Model(inputs, model.call(inputs)), or precision='float32'",
            )

    def given(self, values: Any, dtype: Any) -> Array:
        """Return changed inputs in the dtype in which the model takes them.

        Args:
            values: The changed inputs.
            dtype: The dtype of the unchanged inputs, which a plain callable gets.
        """
        return in_dtype(values, np.float32 if self.differentiable else dtype)

    def call_black_box(self, inputs: list[Array]) -> Array:
        """Return the outputs of a callable for raw inputs, in one batch."""
        return np.asarray(self._adapter.logits(*inputs))

    def logits(self, x: Any, batch_size: int = 32) -> Array:
        """Return the outputs (B, ..., n) before a final softmax or sigmoid.

        One sigmoid is two classes, with the logits (-z, z).

        Of a callable these are the outputs as they are.
        """
        return self._evaluate("logits", self._adapter.logits, x, batch_size)

    def probabilities(self, x: Any, batch_size: int = 32) -> Array:
        """Return the outputs (B, ..., n) after the final softmax or sigmoid.

        One sigmoid is two classes, with the probabilities (1 - p, p).

        Raises:
            ModelError: The model does not end in one.
        """
        if self._adapter.link in LINKS:
            return self._evaluate(
                "probabilities", self._adapter.probabilities, x, batch_size
            )
        probabilities = self.predictions(x, batch_size)[1]
        if probabilities is not None:
            return probabilities
        raise ModelError(
            f"{name_of(self.model)} does not end in softmax or sigmoid.",
            "a model that returns probabilities",
            "wrapped.logits(x)",
        )

    def predictions(self, x: Any, batch_size: int = 32) -> tuple[Array, Array | None]:
        """Return the logits and the probabilities, from one evaluation of the model.

        The probabilities are None where the model does not end in softmax or sigmoid.
        Steps behind a softmax that move its values need a second evaluation.
        """
        logits, link = self.logits(x, batch_size), self._adapter.link
        ending = self._adapter.ending
        if link == "unknown":
            return logits, logits if _are_probabilities(logits) else None
        if link not in LINKS:
            return logits, None
        if link in PROBABILITIES and ending is not None and len(ending.finish) == 1:
            return logits, np.asarray(PROBABILITIES[link](logits))
        return logits, self.probabilities(x, batch_size)

    def scores(self, x: Any, target: Any = None, batch_size: int = 32) -> Array:
        """Return the logit of each target, (B,) or (B, T); see `Explanation`."""
        y = self.logits(x, batch_size)
        goal = self._resolved(target, self.checked(x), y.shape)
        if goal.target_fn is not None:
            return np.asarray(goal.target_fn(tf.convert_to_tensor(y)))
        flat = y.reshape(len(y), -1)
        indices = or_top(np.int64(goal.indices), flat).numpy()
        picked = np.take_along_axis(flat, indices, -1)
        return np.asarray(picked if goal.axes else picked[:, 0])

    def goal(self, target: Any, inputs: list[Array]) -> Target:
        """Return a target, checked against inputs and outputs; see `targets.resolve`.

        Its `target_fn` takes the explained outputs, as all methods compute them, and
        passes the model's own outputs to the function that was given.
        """
        return self._resolved(target, inputs, self.output_shape(inputs))

    def _resolved(
        self, target: Any, inputs: list[Array], shape: tuple[int | None, ...]
    ) -> Target:
        """The target for outputs of a shape, with its function bound to this model."""
        ending, batch = self._adapter.ending, len(inputs[0])
        target = as_target(target, shape, has_two_classes(ending))
        if getattr(target, "resolve", None) or (target is None and len(shape) == 3):
            target = self._of_sequences(target, inputs, shape)
        goal = resolve(target, batch, shape)
        if goal.target_fn is None:
            return goal
        masks = masks_of(goal.target_fn, shape, batch)
        function = bound(goal.target_fn, ending, self.link, shape)
        return replace(goal, target_fn=function, masks=masks)

    def with_variable(
        self, goal: Target, size: int | None = None
    ) -> tuple[Target, Callable[[slice], object]]:
        """Return a target that reads its mask, or masks, from a variable.

        The second result is a function (rows) that sets the masks of a batch; call it
        before each batch. All masks of a shape share one compiled function in each
        thread. A target without masks is returned as it is.

        Args:
            goal: A target.
            size: The size of every batch; None where it varies.
        """
        values = goal.masks
        if values is None:
            return goal, lambda rows: None
        shape, dtype = values.shape[1:], values.dtype

        def build() -> tf.Variable:
            start = tf.zeros((1, *shape), dtype)
            return tf.Variable(start, trainable=False, shape=(size, *shape))

        key = ("masks", threading.get_ident(), size, shape, dtype)
        masks = self.once(key, build)
        goal = replace(goal, target_fn=of_variable(goal.target_fn, masks))
        return goal, lambda rows: masks.assign(
            values[rows if len(values) > 1 else slice(1)]
        )

    def _of_sequences(
        self, target: Any, inputs: list[Array], shape: tuple[int | None, ...]
    ) -> Any:
        """The target of tokens, with its positions; None is what the model chooses."""
        last = last_positions(self.model, inputs, self.input_names, shape[1])
        if target is not None:
            return resolved(target, last, shape, lambda at: self.logits_at(inputs, at))
        if last is None or not self.differentiable:
            return None
        chosen = self.logits_at(inputs, last).argmax(-1)
        return np.stack([last, chosen], 1).astype(np.int32)

    def logits_at(self, inputs: list[Array], positions: Array) -> Array:
        """Return the explained outputs (B, V) of a position (B,) of each sample.

        Args:
            inputs: Checked inputs of a model whose output is (B, L, V).
            positions: The position of each sample.
        """
        self.check_differentiable()
        specs = [tf.TensorSpec((None,), tf.int32), *signature(self.specs, inputs)]

        def rows(at: Tensor, *xs: Tensor) -> Tensor:
            outputs = self.outputs_of(self.prepared(list(xs)))
            return tf.gather(outputs, at, axis=1, batch_dims=1)

        self.confirm(inputs)

        def build() -> Callable[..., Any]:
            return compiled(rows, specs, few if self.stepwise(inputs) else None)

        function = self.once(("logits at", *specs), build)
        return np.asarray(function(positions, *inputs))

    def gradient(self, x: Any, target: Any = None, batch_size: int = 32) -> Any:
        """Return d score / d x, of the shape of the input (a list for several inputs).

        The gradient is taken at `preprocess(x)`; for tokens at their vectors, (B,
        length, d).

        Args:
            x: The inputs.
            target: One target per sample; see `Explanation`.
            batch_size: How many samples are computed at once.
        """
        self.check_differentiable()
        inputs = self.checked(x)
        goal = self.goal(target, inputs)
        if goal.axes:
            raise TargetError(f"target={target!r}.", "one target per sample")
        goal, set_masks = self.with_variable(goal)

        entry = self.embedding_cut(inputs)

        def gradients(target: Tensor, *xs: Tensor) -> list[Tensor]:
            prepared = self.prepared(list(xs))
            points = entry.to_points(prepared)
            function = entry.function_of(goal.target_fn)
            found = entry.gradients(points, prepared, target, function)[0]
            return [g[0] for g in found]

        self.confirm(inputs)
        specs = [tf.TensorSpec((None, 1), tf.int32), *signature(self.specs, inputs)]

        def build() -> Callable[..., Any]:
            stepwise = goal.target_fn is None and self.stepwise(inputs)
            return compiled(gradients, specs, few if stepwise else None)

        function = self.once(("gradient", goal.target_fn, *specs), build)
        parts = []
        for s in cut(inputs, batch_size):
            set_masks(s)
            parts.append(function(goal.indices[s], *(v[s] for v in inputs)))
        result = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return result if len(result) > 1 else result[0]

    def once(self, key: tuple[Any, ...], build: Callable[[], Any]) -> Any:
        """Return `build()`, which is kept for the `KEPT` keys that were used last.

        All analyzers of the model share it, so that XLA does not compile it.
        """

        def without_xla() -> Any:
            with compiling_by_xla(False):
                return build()

        return self._cache.get(key, without_xla)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, in their order; none where they have no names."""
        if self.differentiable:
            return input_names(self.model)
        return list(self._adapter.names or [])

    @property
    def ending(self) -> Program | None:
        """The program or, of a model that is called, its final softmax or sigmoid."""
        ending: Program | None = self._adapter.ending
        return ending

    @property
    def link(self) -> str:
        """How the output follows from the logits: "softmax", ..., or "unknown"."""
        return str(self._adapter.link)

    def embedding_cut_of(self, program: Program) -> EmbeddingCut:
        """Return the embedding cut of a program."""
        return EmbeddingCut(self.outputs_of, program, [False] * len(program.inputs))

    def embedding_cut(self, inputs: list[Array], tick: Any = None) -> EmbeddingCut:
        """Return the network from the points of gradients on, for checked inputs.

        Args:
            inputs: The inputs.
            tick: Of gradients that recompute tensors; see `EmbeddingCut`.

        Raises:
            UnsupportedLayerError: Tensors are recomputed, and the steps of the model
                cannot be read.
        """
        self.check_differentiable()
        integer = [s.dtype.is_integer for s in signature(self.specs, inputs)]
        program = self._adapter.program
        if program is None and tick is not None:
            program = self.program()
        if program is None:
            with suppress(UnsupportedLayerError, ModelError):
                program = self.program()
        if program is not None:
            program = program.at([v.shape for v in self.sample(inputs)])
        return EmbeddingCut(self.outputs_of, program, integer, tick)

    def check_differentiable(self) -> None:
        """Raise BlackBoxError for a plain callable."""
        if not self.differentiable:
            raise BlackBoxError(
                f"{name_of(self.model)} is a black box: it only returns outputs.",
                "a model that TensorFlow can differentiate, such as a Keras model; or "
                "a method that needs outputs alone",
                'method="occlusion"',
            )

    def output_shape(self, inputs: list[Array]) -> tuple[int | None, ...]:
        """Return the shape of the explained output; if unknown, from one evaluation."""
        known: tuple[int | None, ...] | None = self.outputs
        if known is not None and None not in known[1:]:
            return known
        key = ("shape", *(v.shape[1:] for v in inputs))

        def evaluated() -> tuple[int | None, ...]:
            program = self._adapter.program
            if program is not None:
                program = program.at([v.shape for v in self.sample(inputs)])
                found = explained_shape(program, program.output_shape)
                if None not in found[1:]:
                    return found
            first: Any = [v[:1] for v in inputs]
            y = self.logits(tuple(first) if len(first) > 1 else first[0], 1)
            return (None, *y.shape[1:])

        shape: tuple[int | None, ...] = self.once(key, evaluated)
        if known is None:
            self.outputs = shape
        return shape

    def _evaluate(
        self, key: str, function: Callable[..., Any], x: Any, batch_size: int
    ) -> Array:
        """The outputs of `function` for all inputs, batch by batch."""
        inputs = self.checked(x)
        self.confirm(inputs)
        call = self._adapter.logits
        if self.differentiable:
            spec = signature(self.specs, inputs)

            def prepared(*v: Tensor) -> Tensor:
                return function(self.prepared(list(v)))

            def build() -> Callable[..., Any]:
                first = few_rows if self.stepwise(inputs) else None
                return compiled(prepared, spec, first)

            call = self.once((key, *spec), build)
        parts = [call(*(v[s] for v in inputs)) for s in cut(inputs, batch_size)]
        return np.concatenate([np.asarray(p) for p in parts])


def wrap(
    model: Any,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    specs: Any = None,
) -> ModelWrapper:
    """Return a model in the wrapper that all methods use.

    Args:
        model: A Keras model, a loaded SavedModel, a `tf.Module`, a `tf.function` or a
            callable `numpy batch -> outputs`.
        preprocess: `raw batch -> network input`, in TensorFlow operations; it runs
            inside the compiled graph.
        output: The number or the name of the output to explain, where the model has
            several: its key in a dict, or the name of its layer.
        specs: The `tf.TensorSpec` (or the shape) of each input, where `model` is a
            function of tensors whose input shapes are not known.

    Raises:
        ModelError: It is none of these, or a Keras model that is not built.
        OptionError: `preprocess` is not callable, there is no such output, or the model
            is wrapped already.
    """
    if isinstance(model, ModelWrapper):
        if preprocess is None and not output and specs is None:
            return model
        raise OptionError(
            "The model is wrapped already, with its own preprocess and output.",
            "preprocess and output where it is wrapped",
            "tfxai.wrap(model, preprocess=..., output=...)",
        )
    if preprocess is not None and not callable(preprocess):
        raise OptionError(
            f"preprocess={preprocess!r}.",
            "a function of a batch",
            "preprocess=keras.applications.vgg16.preprocess_input",
        )
    wrapped = ModelWrapper(model, preprocess, output_number(model, output), specs)
    if wrapped.output and not wrapped.differentiable:
        raise OptionError(
            f"output={output!r}, and the model is a plain callable.",
            "a callable that returns the output to explain",
            f"lambda x: model(x)[{wrapped.output}]",
        )
    return wrapped


def _weights_of(model: Any) -> list[Any]:
    """Return the variables of a Keras model; none of another, or before it is built."""
    return list(model.weights) if isinstance(model, keras.Model) else []


def _layer_of(variable: Any) -> str:
    """Return the path of the layer of a variable."""
    return str(variable.path.rpartition("/")[0])


def _are_probabilities(y: Array) -> bool:
    """True if every row holds probabilities that add up to 1."""
    inside = y.min() >= -1e-6 and y.max() <= 1 + 1e-6
    return bool(inside and np.allclose(y.sum(-1), 1, atol=1e-3))
