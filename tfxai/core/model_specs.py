"""The shapes and dtypes of a model's inputs, where the model itself has them."""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.errors import OptionError
from tfxai.base.validation import is_int
from tfxai.core.inputs import Shape, Specs
from tfxai.graph.private import functional, is_graph


def spec_of(spec: Any) -> tuple[Shape, str]:
    """Return (shape, dtype) of a TensorSpec, or of a shape with float32."""
    if hasattr(spec, "dtype"):
        return tuple(spec.shape), tf.as_dtype(spec.dtype).name
    return tuple(spec), "float32"


def shapes_known(model: Any) -> Specs | None:
    """Return (shape, dtype) of each input of a built, traced or saved model."""
    signatures = getattr(model, "signatures", None)
    if signatures:
        serving = signatures.get("serving_default") or next(iter(signatures.values()))
        return [spec_of(v) for v in serving.structured_input_signature[1].values()]
    signature = getattr(model, "input_signature", None)
    if signature is None:  # of a loaded function, or of a module's call
        call = model if hasattr(model, "concrete_functions") else model.__call__
        signature = getattr(call, "input_signature", None)
        traced = getattr(call, "concrete_functions", None)
        if signature is None and traced:
            signature = tf.nest.flatten(traced[0].structured_input_signature)
            signature = [s for s in signature if isinstance(s, tf.TensorSpec)]
    if signature is not None:
        return [spec_of(s) for s in tf.nest.flatten(signature)]
    return _built(model)


def _built(model: Any) -> Specs | None:
    """Return the specs of a model's inputs (also of Keras 2), or of its build."""
    inputs = getattr(model, "inputs", None)
    if isinstance(inputs, list | tuple) and inputs and hasattr(inputs[0], "dtype"):
        return [spec_of(t) for t in inputs]
    if not isinstance(model, keras.Model):
        return None
    shapes = (model.get_build_config() or {}).get("input_shape")
    if shapes is None:
        return None
    if isinstance(shapes, dict):
        return [spec_of((None, *shapes[k][1:])) for k in sorted(shapes)]
    nested = shapes and isinstance(shapes[0], list | tuple)
    return [spec_of((None, *s[1:])) for s in (shapes if nested else [shapes])]


def serving(model: Any) -> Callable[..., Any] | None:
    """Return the serving signature of a loaded SavedModel, for positional tensors."""
    signatures = getattr(model, "signatures", None)
    if not signatures:
        return None
    serving = signatures.get("serving_default") or next(iter(signatures.values()))
    names = list(serving.structured_input_signature[1])
    return lambda *v: serving(**dict(zip(names, v, strict=True)))


def output_names(model: Any) -> list[tuple[str, ...]]:
    """Return the names of each output, in order; an empty list if none are known.

    An output of a graph has the name of its layer, and its key where the model returns
    a dict; one of a SavedModel its key.
    """
    if is_graph(model):
        graph = functional(model)
        names: list[tuple[str, ...]] = [(str(n),) for n in graph.output_names]
        keys = sorted(graph.output) if isinstance(graph.output, dict) else []
        if len(keys) != len(names):
            return names
        return [(str(k), *n) for k, n in zip(keys, names, strict=True)]
    signatures = getattr(model, "signatures", None)
    if not signatures:
        return []
    serving = signatures.get("serving_default") or next(iter(signatures.values()))
    found = serving.structured_outputs
    return [(str(k),) for k in sorted(found)] if isinstance(found, dict) else []


def output_number(model: Any, output: int | str) -> int:
    """Return the number of an output, given its number or its name.

    Raises:
        OptionError: There is no such output, or its name is not known.
    """
    if is_int(output):
        return int(output)
    names = output_names(model)
    for number, known in enumerate(names):
        if output in known:
            return number
    if not names:
        raise OptionError(
            f"output={output!r}, and the outputs of {name_of(model)} have no names.",
            "the number of an output",
            "output=1",
        )
    raise OptionError(
        f"output={output!r}.",
        f"the number of an output, 0 to {len(names) - 1}, or its name, of "
        f"{[known[0] for known in names]}",
        f"output={names[0][0]!r}",
    )


def name_of(model: Any) -> str:
    """Return the class and the name of a model, or a function's name, for messages."""
    owner, name = getattr(model, "__self__", None), getattr(model, "__name__", "")
    if callable(model) and owner is not None and name:
        return f"{type(owner).__name__}.{name}"
    if isinstance(model, FunctionType):
        return f"function {name!r}"
    return f"{type(model).__name__} {getattr(model, 'name', '')!r}".replace(" ''", "")


def is_of_tensors(model: Any) -> bool:
    """Return True for a `tf.Module`, and for a function that `tf.function` returned."""
    return isinstance(model, tf.Module) or hasattr(model, "get_concrete_function")
