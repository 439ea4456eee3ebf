"""The wrapper: one way to ask any model, whatever it is.

`wrap` takes a Keras model, a loaded SavedModel or a plain callable on numpy batches.
Every question goes through one compiled function with a fixed signature.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import (
    BlackBoxError,
    ModelError,
    OptionError,
    TargetError,
    UnsupportedLayerError,
)
from tfxai.base.tensors import Tensor
from tfxai.core.embedding_cut import Entrance
from tfxai.core.inputs import check_inputs, compiled, cut, gathered, in_order, signature
from tfxai.core.model_adapters import BlackBox, adapt, confirm, name_of
from tfxai.core.targets import or_top, resolve
from tfxai.graph.half import halved
from tfxai.graph.private import layouts
from tfxai.graph.program import Program, trace

#: What the probes of a model can be asked in.
PRECISIONS = ("float32", "bfloat16")
LINKS = ("softmax", "log_softmax", "sigmoid", "answer")


class ModelWrapper:
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
        self._answer = adapt(model, preprocess, output)
        self.specs, self.outputs = self._answer.specs, self._answer.outputs
        self.differentiable = not isinstance(self._answer, BlackBox)
        read = self._answer.program
        self._programs: dict[str, Program] = {} if read is None else {"fold": read}
        self._confirmed: set[str] = set()
        self._asked: dict[Any, Any] = {}

    def program(self, batch_norm: str = "fold") -> Program:
        """The flat steps of the network; read once for each way to treat BatchNorm."""
        if batch_norm not in self._programs:
            self.check_differentiable()
            self._programs[batch_norm] = trace(self.model, self.output, batch_norm)
        return self._programs[batch_norm]

    def confirm(self, inputs: list[np.ndarray]) -> None:
        """Ask each program and the model once about the first sample.

        For what reading a graph cannot show: a layer that is not what it seems. Raises
        ModelError where their answers differ.
        """
        for way in self._programs.keys() - self._confirmed:
            specs = signature(self.specs, inputs)
            pairs = zip(inputs, specs, strict=True)
            one = self.prepared(
                [tf.convert_to_tensor(v[:1], s.dtype) for v, s in pairs]
            )
            confirm(self.model, self._programs[way], one, self.output)
            self._confirmed.add(way)

    def checked(self, x: Any) -> list[np.ndarray]:
        """The inputs as a flat list of arrays (B, ...); of a dict by the inputs' names.

        Raises InputError.
        """
        x = gathered(x) if isinstance(x, tf.data.Dataset) else x
        return check_inputs(in_order(x, self.model), self.specs)

    def prepared(self, inputs: list[Tensor]) -> list[Tensor]:
        """What the network sees: `preprocess` of the inputs, inside the graph."""
        if self.preprocess is None:
            return inputs
        made = self.preprocess(inputs[0] if len(inputs) == 1 else inputs)
        return [tf.cast(v, tf.float32) for v in keras.tree.flatten(made)]

    def outputs_of(self, inputs: list[Tensor], precision: str = "float32") -> Tensor:
        """The explained output (B, ...) of prepared inputs, before softmax if known.

        precision: "bfloat16" halves the bytes of every product (see `graph.half`).
        """
        program = self._answer.program
        if precision == "float32" or program is None:
            return self._answer.logits(inputs)
        values = program.run(inputs, run=halved(program.steps))
        return tf.cast(values[program.output], tf.float32)

    def probability_of(self, outputs: Tensor) -> Tensor:
        """What the model answers where its explained output is `outputs`."""
        program = self._answer.program
        if program is None:
            return outputs
        answer = program.finished({program.output: outputs})
        return tf.exp(answer) if self.link == "log_softmax" else answer

    @cached_property
    def channels_first(self) -> list[str]:
        """The layers that read pictures (B, C, H, W)."""
        found = layouts(self.model)
        return [name for name in found if found[name] == "channels_first"]

    def check_channels_last(self, method: str) -> None:
        """Refuse a model whose pictures are (B, C, H, W)."""
        first = self.channels_first
        if first:
            raise ModelError(
                f"The layer {first[0]!r} reads channels first, and {method!r} would "
                "take the width for the channels.",
                "a model of pictures (B, H, W, C)",
                'data_format="channels_last", or a gradient or relevance method',
            )

    def check_precision(self, precision: str) -> None:
        """Refuse what the probes of this model cannot be asked in."""
        if precision not in PRECISIONS:
            raise OptionError(f"precision={precision!r}.", f"one of {list(PRECISIONS)}")
        if precision != "float32" and self._answer.program is None:
            raise OptionError(
                f"precision={precision!r}, and the layers of {name_of(self.model)} "
                "are not known: it is asked as it is.",
                "a Keras model whose graph can be read",
                "keras.Model(inputs, model.call(inputs)), or precision='float32'",
            )

    def answers(self, inputs: list[np.ndarray]) -> np.ndarray:
        """What a black box answers to raw inputs, all at once."""
        return np.asarray(self._answer.logits(*inputs))

    def logits(self, x: Any, batch_size: int = 32) -> np.ndarray:
        """(B, ..., n): the output before a final softmax or sigmoid.

        A SavedModel, a subclassed model and a callable are not taken apart: what they
        answer is what they are asked about.
        """
        return self._ask("logits", self._answer.logits, x, batch_size)

    def probabilities(self, x: Any, batch_size: int = 32) -> np.ndarray:
        """(B, ..., n): the model's answer through its final softmax or sigmoid."""
        if self._answer.link in LINKS:
            return self._ask("probabilities", self._answer.probabilities, x, batch_size)
        y = self.logits(x, batch_size)
        if self._answer.link == "unknown" and _are_probabilities(y):
            return y
        raise ModelError(
            f"{name_of(self.model)} does not end in softmax or sigmoid.",
            "a model that answers probabilities",
            "wrapped.logits(x)",
        )

    def scores(self, x: Any, target: Any = None, batch_size: int = 32) -> np.ndarray:
        """(B,) or (B, T): the logit of each target (see `Explanation`)."""
        y = self.logits(x, batch_size)
        goal = resolve(target, len(y), y.shape)
        if goal.function is not None:
            return np.asarray(goal.function(tf.convert_to_tensor(y)))
        flat = y.reshape(len(y), -1)
        indices = or_top(np.int64(goal.indices), flat).numpy()
        picked = np.take_along_axis(flat, indices, -1)
        return picked if goal.axes else picked[:, 0]

    def gradient(self, x: Any, target: Any = None, batch_size: int = 32) -> Any:
        """d score / d x, of the shape of the network's input (a list for several).

        `target` names one score per sample; see `Explanation`. The gradient is taken at
        `preprocess(x)`; for tokens at their vectors, (B, length, d).
        """
        self.check_differentiable()
        inputs = self.checked(x)
        goal = resolve(target, len(inputs[0]), self.output_shape(inputs))
        if goal.axes:
            raise TargetError(f"target={target!r}.", "one target per sample")

        entry = self.entrance(inputs)

        def slopes(target: Tensor, *xs: Tensor) -> list[Tensor]:
            seen = self.prepared(list(xs))
            maps = entry.slopes(entry.enter(seen), seen, target, goal.function)[0]
            return [g[0] for g in maps]

        self.confirm(inputs)
        specs = [tf.TensorSpec((None, 1), tf.int32), *signature(self.specs, inputs)]
        ask = self.once(
            ("gradient", goal.function, *specs), lambda: compiled(slopes, specs)
        )
        rows = list(cut(inputs, batch_size))
        parts = [ask(goal.indices[s], *(v[s] for v in inputs)) for s in rows]
        made = [np.concatenate(part) for part in zip(*parts, strict=True)]
        return made if len(made) > 1 else made[0]

    def once(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What `make()` gives, made once for each key: what is compiled is kept."""
        if key not in self._asked:
            self._asked[key] = make()
        return self._asked[key]

    @property
    def link(self) -> str:
        """How the answer follows from the logits: "softmax", ..., or "unknown"."""
        return self._answer.link

    def entrance_of(self, program: Program) -> Entrance:
        """The entrance of a program that was read."""
        return Entrance(self.outputs_of, program, [False] * len(program.inputs))

    def entrance(self, inputs: list) -> Entrance:
        """Where gradients are taken, for checked inputs like these."""
        self.check_differentiable()
        whole = [s.dtype.is_integer for s in signature(self.specs, inputs)]
        program = self._answer.program
        if program is None and isinstance(self.model, keras.Model):
            with suppress(UnsupportedLayerError, ModelError):
                program = self.program()
        return Entrance(self.outputs_of, program, whole)

    def check_differentiable(self) -> None:
        """Raise a BlackBoxError for a model that only answers."""
        if not self.differentiable:
            raise BlackBoxError(
                f"{name_of(self.model)} is a black box: it only answers.",
                "a model that TensorFlow can differentiate",
                "a Keras model in place of the callable",
            )

    def output_shape(self, inputs: list[np.ndarray]) -> tuple[int | None, ...]:
        """The explained output's shape; a model that does not say it is asked once."""
        if self.outputs is None:
            self.outputs = (
                None,
                *self._ask(
                    "logits",
                    self._answer.logits,
                    [v[:1] for v in inputs] if len(inputs) > 1 else inputs[0][:1],
                    1,
                ).shape[1:],
            )
        return self.outputs

    def _ask(self, key: str, function: Callable, x: Any, batch_size: int) -> np.ndarray:
        inputs = self.checked(x)
        self.confirm(inputs)
        ask = self._answer.logits
        if self.differentiable:
            spec = signature(self.specs, inputs)
            ask = self.once(
                (key, *spec),
                lambda: compiled(lambda *v: function(self.prepared(list(v))), spec),
            )
        parts = [ask(*(v[s] for v in inputs)) for s in cut(inputs, batch_size)]
        return np.concatenate([np.asarray(p) for p in parts])


def wrap(
    model: Any, preprocess: Callable | None = None, output: int = 0
) -> ModelWrapper:
    """Wrap a Keras model, a loaded SavedModel or a callable `numpy batch -> answers`.

    preprocess: `raw batch -> network input`, made of TensorFlow operations; it runs
        inside the compiled graph.
    output: which one, where the model has several.
    """
    if isinstance(model, ModelWrapper):
        if preprocess is None and not output:
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
    return ModelWrapper(model, preprocess, output)


def _are_probabilities(y: np.ndarray) -> bool:
    inside = y.min() >= -1e-6 and y.max() <= 1 + 1e-6
    return bool(inside and np.allclose(y.sum(-1), 1, atol=1e-3))
