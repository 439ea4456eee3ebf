"""The recipe of a folder of maps: what made them, written before the first map.

A run that is started again, or shared by several jobs, must be the same run.
"""

import functools
import hashlib
import json
import os
import re
import shutil
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import MissingFileError, RecipeError, RecipeWarning

NAME = "recipe.json"
#: What may differ when a run is started again: Keras counts up the names that it gives,
#: and another batch size changes no more than a rounding.
FREE = ("batch_size", "model_name")
DEEPEST = 12  # how far attributes of attributes are followed for a fingerprint
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}")
OURS = ("shard-*.h5", ".shard-*.h5", NAME, ".recipe-*.json", "failures*.json")


def digest(recipe: Mapping[str, Any]) -> str:
    """A short fingerprint of all that has to stay the same."""
    kept = {k: v for k, v in recipe.items() if k not in FREE}
    return _hashed(json.dumps(kept, sort_keys=True).encode())


def agree(folder: Path, recipe: Mapping[str, Any], overwrite: bool = False) -> None:
    """Write the recipe, or compare it with the one that is there.

    overwrite: delete the maps that another run left there. Of several jobs the first
    writes, and the others compare. Raises RecipeError, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        for pattern in OURS:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
    path = folder / NAME
    if not path.exists():
        if any(folder.glob("shard-*.h5")):
            raise RecipeError(
                f"{str(folder)!r} holds maps, but no {NAME}.",
                "a folder of its own for every run",
                "another --out, or --overwrite",
            )
        _first(path, json.dumps(recipe, indent=1, ensure_ascii=False))
    differ = list(_differences(read(folder), plain(recipe)))
    if differ:
        raise RecipeError(
            f"{str(folder)!r} holds maps of another run: {'; '.join(differ)}.",
            "the same recipe to go on, or a folder of its own for every run",
            "another --out, or --overwrite to delete what is there",
        )


def read(folder: Path) -> dict[str, Any]:
    """The recipe of a folder. Raises MissingFileError, RecipeError."""
    path = folder / NAME
    if not path.is_file():
        raise MissingFileError(
            f"The folder {str(folder)!r} holds no {NAME}.",
            "a folder that tfxai run wrote",
        )
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RecipeError(f"{str(path)!r} cannot be read: {error}.") from error


def _first(path: Path, text: str) -> None:
    """Write a file whole, unless another job was faster."""
    taken = path.with_name(f".recipe-{os.getpid()}-{os.urandom(4).hex()}.json")
    with atomic_write(taken, sync=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        with suppress(FileExistsError):
            os.link(taken, path)
    except OSError:  # a file system without links
        if not path.exists():
            shutil.copyfile(taken, f"{taken}.copy")
            os.replace(f"{taken}.copy", path)
    finally:
        taken.unlink()


def _differences(there: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted(there.keys() | now.keys()):
            if name or key not in FREE:
                inner = f"{name}.{key}" if name else key
                yield from _differences(there.get(key), now.get(key), inner)
    elif there != now:
        yield f"{name} was {json.dumps(there)}, and is now {json.dumps(now)}"


# -- fingerprints --------------------------------------------------------------------


def plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """A value as JSON has it: arrays as their numbers or a fingerprint, else words.

    Nothing of it depends on the process. above: the ids of what holds the value. Warns
    (RecipeWarning) of what can be told by its type alone.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if id(value) in above:
        return "itself"
    above = (*above, id(value))
    if isinstance(value, Mapping):
        return {_key(k, above): plain(v, above) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, above) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(v, above) for v in value), key=json.dumps)
    if isinstance(value, bytes):
        return _hashed(value)
    if is_dataclass(value) and not isinstance(value, type):
        rows = {f.name: plain(getattr(value, f.name), above) for f in fields(value)}
        return {type(value).__qualname__: rows}
    if hasattr(value, "__array__"):
        return _array(np.asarray(value))
    return called(value, above[:-1]) if callable(value) else _object(value, above)


def _key(key: Any, above: tuple[int, ...]) -> str:
    return key if isinstance(key, str) else json.dumps(plain(key, above))


def _array(array: np.ndarray) -> Any:
    if array.dtype.hasobject:
        return plain(array.tolist())
    if array.size <= 16:
        return array.tolist()
    told = f"{array.dtype} {array.shape} "
    return told + _hashed(np.ascontiguousarray(array).tobytes())


def _object(value: Any, above: tuple[int, ...]) -> Any:
    """What is no function: its own words, or its type and its attributes."""
    words, name = repr(value), f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, types.ModuleType):
        return value.__name__
    if not _ADDRESS.search(words) and not callable(value):
        return words
    if hasattr(value, "__dict__") and len(above) < DEEPEST:
        return {name: plain(vars(value), above)}
    warnings.warn(
        f"The recipe knows {words} as a {name} only: a run that is started again with "
        "another one is taken for the same run.",
        RecipeWarning,
        stacklevel=2,
    )
    return name


def called(function: Any, above: tuple[int, ...] = ()) -> str | None:
    """The name of a function, and a fingerprint of its code and of what it holds.

    It holds defaults, the variables of a closure, and the arguments of a partial; an
    object its attributes; a Keras layer its configuration and weights. What it reads
    from globals and files is not part of it.
    """
    if function is None:
        return None
    function = getattr(function, "python_function", function)  # of a tf.function
    if isinstance(function, type):
        return f"{function.__module__}.{function.__qualname__}"
    kind = type(function)
    named = function if hasattr(function, "__name__") else kind
    name = getattr(named, "__qualname__", named.__name__)
    held = _held(function, (*above, id(function)))
    made = " " + _hashed(json.dumps(held, sort_keys=True).encode()) if held else ""
    return f"{getattr(named, '__module__', None)}.{name}{made}"


def _held(function: Any, above: tuple[int, ...]) -> Any:
    """All that tells a function from another one of its name; None: nothing."""
    import keras

    if isinstance(function, functools.partial):
        return [plain(v, above) for v in (function.func, function.args)] + [
            plain(function.keywords, above)
        ]
    if isinstance(function, types.MethodType):
        owner = function.__self__
        bare = not callable(owner) and hasattr(owner, "__dict__")  # more than its repr
        return [plain(v, above) for v in (function.__func__, owner)] + [
            plain(vars(owner), above) if bare else None
        ]
    if isinstance(function, types.FunctionType):
        cells = function.__closure__ or ()
        held = [c.cell_contents for c in cells if c != types.CellType()]
        kept = [function.__defaults__, function.__kwdefaults__, held]
        return [_code(function.__code__), *(plain(v, above) for v in kept)]
    if isinstance(function, keras.layers.Layer) or getattr(function, "variables", None):
        return of_model(function)
    if hasattr(function, "__name__") and not getattr(function, "__dict__", None):
        return None  # of C, and it holds nothing
    return [plain(type(function).__call__, above), _object(function, above)]


def of_model(model: Any) -> str:
    """A fingerprint: the layers and every weight of a Keras model.

    Of a SavedModel its variables, of a callable its code.
    """
    import keras

    made = hashlib.sha256(_layers(model).encode())
    if isinstance(model, keras.Model):
        values = model.weights
    else:
        values = list(getattr(model, "variables", []))
        layer = isinstance(model, keras.layers.Layer)
        made.update(b"" if values or layer else str(called(model)).encode())
    for value in values:
        array = np.ascontiguousarray(keras.ops.convert_to_tensor(value).numpy())
        made.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return made.hexdigest()[:16]


def _layers(model: Any) -> str:
    """A model's configuration, with its names replaced by their order.

    Keras numbers the names by how many layers were made before.
    """
    import keras

    if not isinstance(model, keras.layers.Layer):
        return type(model).__name__
    try:
        config = keras.saving.serialize_keras_object(model)
    except Exception:  # a subclassed model without get_config raises what it likes
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
        return plain(value)

    walk(config, False)
    return json.dumps(walk(config, True), sort_keys=True)


def _code(code: types.CodeType) -> list:
    constants = [
        _code(c) if isinstance(c, types.CodeType) else plain(c) for c in code.co_consts
    ]
    return [code.co_code.hex(), constants, list(code.co_names)]


def _hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
