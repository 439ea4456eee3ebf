"""Readings of Keras models, shared by all analyzers of a model.

Tracing a model takes most of the time in which an analyzer is created. A reading is
kept as long as its model, and made again after an attribute of a layer has changed.
Values of variables may change: a program reads them at every run. What `call` takes
from global variables is that of the first reading, as in `model.predict`.
"""

import weakref
from collections.abc import Callable, Mapping
from types import CellType, FunctionType
from typing import Any

import keras

from tfxai.graph.private import layers_within
from tfxai.graph.trace.shapes import Shapes, Spec

#: How deep containers in the attributes of a layer are compared.
DEPTH = 3

#: Attributes that training, evaluation and prediction set.
_OF_TRAINING = frozenset(
    """
    _called history optimizer stop_training stop_evaluating stop_predicting
    train_function test_function predict_function _eval_epoch_iterator
    _eval_data_handler _compile_loss _compile_metrics _loss_tracker _metrics _losses
    _loss_ids _tracked _distribute_strategy compiled _compile_config
    _compiled_trainable_state _self_unconditional_checkpoint_dependencies
    _self_unconditional_dependency_names loss _jit_compile run_eagerly jit_compile
    """.split()  # noqa: SIM905
)
_Plain = (str, bytes, int, float, bool, complex, type(None), type)


class _Reading:
    """What was read from a model, and the attributes that it had then."""

    def __init__(self, state: list[Any]) -> None:
        self.state = state
        self.shapes: dict[Any, Shapes] = {}


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
    if known is None or not _same(known.state, state):
        known = _READINGS[model] = _Reading(state)
    key = (output, tuple((tuple(s), d) for s, d in specs))
    if key not in known.shapes:
        alive = weakref.ref(model)

        def call(*inputs: Any) -> Any:
            return answers(alive())(list(inputs))

        known.shapes[key] = Shapes(call, specs, model, output)
    return known.shapes[key]


def forget(model: keras.Model) -> None:
    """Drop what was read from a model."""
    _READINGS.pop(model, None)


def _state(model: keras.Model) -> list[Any]:
    """Return the attributes of a model and of its layers; objects as references."""
    return [
        (
            _reference(v),
            {k: _value(w, DEPTH) for k, w in vars(v).items() if k not in _OF_TRAINING},
        )
        for v in (model, *layers_within(model))
    ]


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, _Plain):
        return value
    if depth and isinstance(value, Mapping):
        return [(_value(k, 0), _value(v, depth - 1)) for k, v in value.items()]
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_value(v, depth - 1) for v in value]
    if depth and isinstance(value, FunctionType):
        cells = [_content(c) for c in value.__closure__ or ()]
        return [_reference(value), [_value(c, depth - 1) for c in cells]]
    if depth and _is_of_user(value):
        return [_reference(value), _value(vars(value), depth - 1)]
    return _reference(value)


def _content(cell: CellType) -> Any:
    """Return what a function has kept from the function around it; None if nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _is_of_user(value: Any) -> bool:
    """True for an object with attributes, of a class of no library named here."""
    package = type(value).__module__.partition(".")[0]
    known = ("keras", "tensorflow", "numpy", "builtins", "tfxai", "threading")
    layer = isinstance(value, keras.layers.Layer)
    return package not in known and hasattr(value, "__dict__") and not layer


class _reference:
    """An object, compared by identity, that is not kept alive."""

    def __init__(self, value: Any) -> None:
        self.number = id(value)
        try:
            self.alive: Any = weakref.ref(value)
        except TypeError:
            self.alive = None

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, _reference) or self.number != other.number:
            return False
        return self.alive is None or self.alive() is not None

    def __hash__(self) -> int:
        return hash(self.number)


def _same(before: list[Any], now: list[Any]) -> bool:
    try:
        return bool(before == now)
    except Exception:  # attributes whose comparison is no boolean
        return False
