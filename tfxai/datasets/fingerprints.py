"""Fingerprints of models, functions and options, for the recipe of a run."""

import functools
import hashlib
import json
import os
import re
import sys
import types
import warnings
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import RecipeWarning
from tfxai.io.networks import SOURCE_DIGEST

MAX_DEPTH = 12  # nesting of attributes that a fingerprint follows
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}")


def to_plain_data(value: Any, parents: tuple[int, ...] = ()) -> Any:
    """Return a value as JSON data that does not depend on the process.

    Small arrays become lists, large ones a fingerprint; functions become their name
    and a fingerprint, other objects their type and attributes.

    Args:
        value: Any value.
        parents: The ids of the objects that contain the value, to stop at cycles.

    Warns:
        RecipeWarning: Only the type of an object can be recorded.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if id(value) in parents:
        return "itself"
    parents = (*parents, id(value))
    if isinstance(value, Mapping):
        return {_key(k, parents): to_plain_data(v, parents) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain_data(v, parents) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((to_plain_data(v, parents) for v in value), key=json.dumps)
    if isinstance(value, bytes):
        return hash_of(value)
    if is_dataclass(value) and not isinstance(value, type):
        rows = {
            f.name: to_plain_data(getattr(value, f.name), parents)
            for f in fields(value)
        }
        return {type(value).__qualname__: rows}
    if hasattr(value, "__array__"):
        return _array(np.asarray(value))
    if callable(value):
        return fingerprint_callable(value, parents[:-1])
    return _object(value, parents)


def _key(key: Any, parents: tuple[int, ...]) -> str:
    """Return a key of a mapping as a string."""
    return key if isinstance(key, str) else json.dumps(to_plain_data(key, parents))


def _array(array: np.ndarray) -> Any:
    """Return a small array as a list, a large one as type, shape and fingerprint."""
    if array.dtype.hasobject:
        return to_plain_data(array.tolist())
    if array.size <= 16:
        return array.tolist()
    return f"{array.dtype} {array.shape} " + hash_of(
        np.ascontiguousarray(array).tobytes()
    )


def _object(value: Any, parents: tuple[int, ...]) -> Any:
    """Return the repr of an object, or its type and its attributes."""
    text, name = repr(value), f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if not _ADDRESS.search(text) and not callable(value):
        return text
    if hasattr(value, "__dict__") and len(parents) < MAX_DEPTH:
        return {name: to_plain_data(vars(value), parents)}
    warnings.warn(
        f"The recipe records {text} as a {name} only: a resumed run with another "
        f"{name} is not recognised as different.",
        RecipeWarning,
        stacklevel=2,
    )
    return name


def fingerprint_callable(function: Any, parents: tuple[int, ...] = ()) -> str | None:
    """Return the name of a function and a fingerprint of its code and its state.

    The state is: defaults, closure variables, arguments of a partial, attributes of an
    object, configuration and weights of a Keras layer; for code of the user, also the
    globals that it names (functions with their own state), the file of
    `--preprocess file.py:f` and those of modules that it imports beside it. Files that
    the function reads, and code of installed packages, are not included.

    Args:
        function: The function, or None.
        parents: The ids of the objects that contain the function.
    """
    if function is None:
        return None
    function = getattr(function, "python_function", function)  # of a tf.function
    if isinstance(function, type):
        return f"{function.__module__}.{function.__qualname__}"
    kind = type(function)
    named = function if hasattr(function, "__name__") else kind
    name = getattr(named, "__qualname__", named.__name__)
    state = _state(function, (*parents, id(function)))
    suffix = " " + hash_of(json.dumps(state, sort_keys=True).encode()) if state else ""
    return f"{getattr(named, '__module__', None)}.{name}{suffix}"


def _state(function: Any, parents: tuple[int, ...]) -> Any:
    """Return code and state of a function as JSON data; None for a C function."""
    import keras

    if isinstance(function, functools.partial):
        return [to_plain_data(v, parents) for v in (function.func, function.args)] + [
            to_plain_data(function.keywords, parents)
        ]
    if isinstance(function, types.MethodType):
        owner = function.__self__
        # The repr of such an object need not show its attributes.
        bare = not callable(owner) and hasattr(owner, "__dict__")
        return [to_plain_data(v, parents) for v in (function.__func__, owner)] + [
            to_plain_data(vars(owner), parents) if bare else None
        ]
    if isinstance(function, types.FunctionType):
        return _own_state(function, parents) + _globals(function, parents)
    if isinstance(function, keras.layers.Layer) or getattr(function, "variables", None):
        return fingerprint_model(function)
    if hasattr(function, "__name__") and not getattr(function, "__dict__", None):
        return None  # written in C, without state
    return [to_plain_data(type(function).__call__, parents), _object(function, parents)]


def _own_state(function: types.FunctionType, parents: tuple[int, ...]) -> list[Any]:
    """Return code, defaults and closure variables of a function as JSON data."""
    cells = function.__closure__ or ()
    closure = [c.cell_contents for c in cells if c != types.CellType()]
    state = [function.__defaults__, function.__kwdefaults__, closure]
    return [_code(function.__code__), *(to_plain_data(v, parents) for v in state)]


def _globals(function: types.FunctionType, parents: tuple[int, ...]) -> list[Any]:
    """Return the globals that code of the user names, as JSON data.

    Functions are followed to the globals that they name in turn, each of them once.
    """
    if len(parents) > MAX_DEPTH:
        return []
    found: dict[str, Any] = {}
    functions, seen = [function], {id(function)}
    for current in functions:  # grows
        if is_installed(current.__module__):
            continue
        known, home = current.__globals__, current.__module__
        if SOURCE_DIGEST in known:
            found[f"{home} file"] = known[SOURCE_DIGEST]
        for name in sorted(_names(current.__code__) & known.keys()):
            value = known[name]
            if isinstance(value, types.ModuleType):
                found[f"{home}.{name}"] = _module(value)
            elif isinstance(value, types.FunctionType):
                if id(value) not in seen:
                    functions.append(value)
                    seen.add(id(value))
                    found[f"{home}.{name}"] = _own_state(value, parents)
            elif not isinstance(value, type):
                found[f"{home}.{name}"] = to_plain_data(value, parents)
    return [found] if found else []


def _names(code: types.CodeType) -> set[str]:
    """Return the names of a code object and of the functions inside it."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*(_names(c) for c in inner))


def _module(module: types.ModuleType) -> str:
    """Return the name of a module; for a module of the user, with its digest."""
    path = getattr(module, "__file__", None)
    if is_installed(module.__name__) or path is None or not os.path.isfile(path):
        return module.__name__
    return f"{module.__name__} {hash_of(Path(path).read_bytes())}"


@functools.cache
def is_installed(module: str | None) -> bool:
    """Return True for a module of Python, of tfxai or of an installed package."""
    top = str(module).partition(".")[0]
    if top in (*sys.stdlib_module_names, "tfxai") and top != "__main__":
        return True
    found = sys.modules.get(top)
    places = [*getattr(found, "__path__", []), getattr(found, "__file__", None) or ""]
    return any("site-packages" in p or "dist-packages" in p for p in places)


def fingerprint_model(model: Any) -> str:
    """Return a fingerprint of a model.

    It covers the layers and weights of a Keras model, the variables of a SavedModel, or
    the code of a callable.
    """
    import keras

    digest = hashlib.sha256(_layers(model).encode())
    if isinstance(model, keras.Model):
        values = model.weights
    else:
        values = list(getattr(model, "variables", []))
        layer = isinstance(model, keras.layers.Layer)
        code = b"" if values or layer else str(fingerprint_callable(model)).encode()
        digest.update(code)
    for value in values:
        array = np.ascontiguousarray(keras.ops.convert_to_tensor(value).numpy())
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _layers(model: Any) -> str:
    """Return the configuration of a model, with names replaced by their order.

    Keras numbers the generated names by the layers built before in the process.
    """
    import keras

    if not isinstance(model, keras.layers.Layer):
        return type(model).__name__
    try:
        config = keras.saving.serialize_keras_object(model)
    except Exception:  # a subclassed model may lack get_config or raise in it
        return type(model).__name__
    names: dict[str, int] = {}

    def walk(value: Any, replace: bool) -> Any:
        if isinstance(value, dict):
            known = value.get("name")
            if isinstance(known, str) and not replace:
                names.setdefault(known, len(names))
            left = ("compile_config", "build_config")
            return {k: walk(v, replace) for k, v in value.items() if k not in left}
        if isinstance(value, list | tuple):
            return [walk(v, replace) for v in value]
        if replace and isinstance(value, str) and value in names:
            return f"name {names[value]}"
        return to_plain_data(value)

    walk(config, False)
    return json.dumps(walk(config, True), sort_keys=True)


def _code(code: types.CodeType) -> list[Any]:
    """Return bytecode, constants and names of a code object."""
    constants = [
        _code(c) if isinstance(c, types.CodeType) else to_plain_data(c)
        for c in code.co_consts
    ]
    return [code.co_code.hex(), constants, list(code.co_names)]


def hash_of(data: bytes) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()[:16]
