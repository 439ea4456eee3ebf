"""Readings of Keras models, shared by all analyzers of a model.

Tracing a model takes most of the time in which an analyzer is created. A reading is
kept as long as its model, and made again after an attribute of a layer has changed.
Values of variables may change: a program reads them at every run. What `call` takes
from global variables is that of the first reading, as in `model.predict`.
"""

import weakref
from collections.abc import Callable, Mapping
from hashlib import blake2b
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import keras
import numpy as np

from tfxai.base.cache import Cache
from tfxai.graph.private import layers_within
from tfxai.graph.registered import ROWS, registered, row_of
from tfxai.graph.trace.shapes import Shapes, Spec

#: How deep containers in the attributes of a layer are compared; deeper ones differ.
DEPTH = 6
#: How many readings of a model are kept: of other outputs, or of other input shapes.
KEPT = 8

#: Attributes of a layer that Keras sets, and that no result of a call depends on.
_OF_KERAS = frozenset(
    """
    _called _losses _loss_ids _metrics _tracked _call_signature
    _self_unconditional_checkpoint_dependencies _self_unconditional_dependency_names
    """.split()  # noqa: SIM905
)
#: Attributes of a model that compilation, training, evaluation and prediction set.
_OF_TRAINING = frozenset(
    """
    optimizer loss compiled run_eagerly jit_compile _jit_compile stop_training
    stop_evaluating stop_predicting train_function test_function predict_function
    _eval_epoch_iterator _eval_data_handler _compile_loss _compile_metrics
    _compile_config _loss_tracker _distribute_strategy _compiled_trainable_state
    """.split()  # noqa: SIM905
)
_PLAIN = (str, bytes, int, float, complex, type(None), slice, range, np.generic)


class _Reading:
    """What was read from a model, and the attributes that it had then."""

    def __init__(self, state: list[Any]) -> None:
        self.state, self.shapes = state, Cache(KEPT)


_READINGS: "weakref.WeakKeyDictionary[Any, _Reading]" = weakref.WeakKeyDictionary()


def shapes_of(
    model: keras.Model,
    answers: Callable[[Any], Callable[..., Any]],
    specs: list[Spec],
    output: int,
) -> Shapes:
    """Return the programs of a model, those that were read before if it is the same.

    Args:
        model: The model. A reading refers to it weakly.
        answers: (model) -> the function of the flat inputs that is traced.
        specs: The shape and dtype of each input.
        output: Which output is explained.
    """
    state = _state(model)
    known = _READINGS.get(model)
    if known is None or known.state != state:
        known = _READINGS[model] = _Reading(state)
    alive = weakref.ref(model)

    def call(*inputs: Any) -> Any:
        return answers(alive())(list(inputs))

    key = (output, tuple((tuple(s), d) for s, d in specs))
    found: Shapes = known.shapes.get(key, lambda: Shapes(call, specs, model, output))
    return found


def _state(model: keras.Model) -> list[Any]:
    """Return the attributes of a model and of its layers; objects as references."""
    layers = layers_within(model)
    rows = [_Reference(row_of(v)) for v in registered(layers)]
    operations = {k: _Reference(row) for k, row in ROWS.items() if isinstance(k, str)}
    return [rows, operations, *(_of_layer(v) for v in (model, *layers))]


def _of_layer(layer: keras.layers.Layer) -> list[Any]:
    is_model = isinstance(layer, keras.Model)
    skipped = _OF_KERAS | _OF_TRAINING if is_model else _OF_KERAS
    own = {
        k: _value(v, DEPTH)
        for k, v in vars(layer).items()
        if k not in skipped and not isinstance(v, keras.callbacks.History)
    }
    classes = [c for c in type(layer).__mro__ if _package(c) not in _LIBRARIES]
    return [_Reference(layer), own, [_of_class(c) for c in classes]]


def _of_class(kind: type) -> Any:
    compared = (*_PLAIN, np.ndarray, list, tuple, dict, FunctionType)
    own = {k: v for k, v in vars(kind).items() if isinstance(v, compared)}
    return _value({k: v for k, v in own.items() if k[:2] != "__"}, DEPTH)


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, blake2b(value.tobytes()).digest()
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if not depth:
            return _Different()
        if isinstance(value, Mapping):
            return [(_key(k), _value(v, depth - 1)) for k, v in value.items()]
        return [_value(v, depth - 1) for v in value]
    if depth and isinstance(value, MethodType):
        return [_Reference(value.__func__), _value(value.__self__, depth - 1)]
    if depth and isinstance(value, FunctionType):
        cells = [_content(c) for c in value.__closure__ or ()]
        return [_Reference(value), [_value(c, depth - 1) for c in cells]]
    if depth and _is_of_user(value):
        return [_Reference(value), _value(vars(value), depth - 1)]
    return _Reference(value)


def _key(key: Any) -> Any:
    return key if isinstance(key, _PLAIN) else _Reference(key)


def _content(cell: CellType) -> Any:
    """Return what a function has kept from the function around it; None if nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


_LIBRARIES = ("keras", "tensorflow", "numpy", "builtins", "tfxai", "threading", "abc")


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _is_of_user(value: Any) -> bool:
    """True for an object with attributes, of a class of no library named above."""
    layer = isinstance(value, keras.layers.Layer | type | ModuleType)
    own = _package(type(value)) not in _LIBRARIES
    return own and hasattr(value, "__dict__") and not layer


class _Different:
    """What is not compared: it differs from everything."""

    def __eq__(self, other: Any) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


class _Reference:
    """An object, compared by identity, that is not kept alive."""

    def __init__(self, value: Any) -> None:
        self.number = id(value)
        try:
            self.alive: Any = weakref.ref(value)
        except TypeError:  # its number may be given to another object
            self.alive = None

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, _Reference) or self.number != other.number:
            return False
        return self.alive is not None and self.alive() is not None

    def __hash__(self) -> int:
        return hash(self.number)
