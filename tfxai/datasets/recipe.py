"""The recipe of a run: all that determines its results, stored as recipe.json.

The recipe is written before the first shard. A run that is resumed, or shared by
several jobs, must have the same recipe.
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
from tfxai.base.errors import (
    BrokenFileError,
    BrokenFileWarning,
    MissingFileError,
    RecipeError,
    RecipeWarning,
    TfxaiError,
)
from tfxai.datasets import own_files, shard_reader
from tfxai.datasets.shards import FIRST_FORMAT, FORMAT

NAME = own_files.RECIPE
#: Keys that may differ when a run is resumed: Keras counts up the names that it
#: generates, and the batch size changes results by rounding only.
FREE = ("batch_size", "model_name")
MAX_DEPTH = 12  # nesting of attributes that a fingerprint follows
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{4,}")


def digest(recipe: Mapping[str, Any]) -> str:
    """Return a short fingerprint of all keys that must not differ."""
    kept = {k: v for k, v in recipe.items() if k not in FREE}
    return _hash(json.dumps(kept, sort_keys=True).encode())


def count_shards(recipe: Mapping[str, Any]) -> int:
    """Return the number of shards of a run; 0 if the recipe does not tell."""
    source, size = recipe.get("source"), recipe.get("shard_size")
    count = source.get("count") if isinstance(source, Mapping) else None
    if not isinstance(count, int) or not isinstance(size, int) or size < 1:
        return 0
    return -(-count // size)


def expected_shard(recipe: Mapping[str, Any], number: int) -> shard_reader.Expected:
    """Return what a recipe says about shard `number`."""
    size, count = recipe["shard_size"], recipe["source"]["count"]
    rows = range(number * size, min((number + 1) * size, count))
    return shard_reader.Expected(
        number, digest(recipe), rows, recipe["dtype"], recipe["format"]
    )


def write_or_compare(
    folder: Path, recipe: Mapping[str, Any], overwrite: bool = False
) -> None:
    """Write the recipe, or compare it with the existing one.

    Of several jobs that start together, the first writes and the others compare.

    Args:
        folder: The folder of the run; created if needed.
        recipe: The recipe, as JSON data.
        overwrite: Delete the files of another run first.

    Raises:
        RecipeError: The folder holds the results of another recipe.
        OSError: The recipe cannot be written.

    Warns:
        BrokenFileWarning: The recipe is damaged, and is written again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own_files.check_failures(folder)
    if overwrite:
        own_files.delete_run(folder, count_shards(recipe))
    path = folder / NAME
    _repair(folder, recipe)
    if not path.exists():
        if not overwrite and own_files.shard_files(folder):
            raise RecipeError(
                f"{str(folder)!r} holds shards, but no {NAME}.",
                "a separate folder for every run",
                "another --out, or --overwrite",
            )
        _write_first(path, _to_text(recipe))
    different = list(_differences(read(folder), to_plain_data(recipe)))
    if different:
        raise RecipeError(
            f"{str(folder)!r} holds results of another run: {'; '.join(different)}.",
            "the same recipe to resume, or a separate folder for every run",
            "another --out, or --overwrite to delete the existing results",
        )


def read(folder: Path) -> dict[str, Any]:
    """Return the recipe of a folder.

    Raises:
        MissingFileError: The folder has no recipe.json.
        BrokenFileError: The file is damaged.
        RecipeError: Another version of tfxai wrote the file.
    """
    path = folder / NAME
    if not path.is_file():
        raise MissingFileError(
            f"The folder {str(folder)!r} holds no {NAME}.",
            "a folder that tfxai run wrote",
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}")
        stored = found.pop("digest", None)
        format = str(found.get("format", FIRST_FORMAT))
        if stored != _whole_digest(found) and (stored or format == FORMAT):
            raise ValueError("its values do not have the digest that it holds")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise BrokenFileError(
            f"{str(path)!r} cannot be read: {error}.",
            "an undamaged recipe.json",
            "the same tfxai run command again: it writes the recipe again if the "
            "shards are those of this run",
        ) from error
    if format not in (FORMAT, FIRST_FORMAT):
        raise RecipeError(
            f"{str(path)!r} has the format {format[:80]!r}: another version of tfxai "
            "wrote it.",
            f"the format {FORMAT}",
            "the version of tfxai that wrote it, or another folder",
        )
    return found


def _to_text(recipe: Mapping[str, Any]) -> str:
    """Return the text of recipe.json, with a digest of all values."""
    content = {**recipe, "digest": _whole_digest(to_plain_data(recipe))}
    return json.dumps(content, indent=1, ensure_ascii=False)


def _whole_digest(recipe: Mapping[str, Any]) -> str:
    """Return a digest of all values of a recipe."""
    return _hash(json.dumps(recipe, sort_keys=True).encode())


def _repair(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Write a damaged recipe again if all shards of the folder belong to this one."""
    path = folder / NAME
    if not path.exists():
        return
    try:
        read(folder)
    except BrokenFileError:
        found = own_files.shard_files(folder)
        try:
            for number, shard in found.items():
                shard_reader.check_shard(shard, expected_shard(recipe, number))
        except (TfxaiError, KeyError):
            return
        if found:
            warnings.warn(
                f"{str(path)!r} is damaged; it is written again, since all shards of "
                "the folder belong to this run.",
                BrokenFileWarning,
                stacklevel=2,
            )
            path.unlink()
            _write_first(path, _to_text(recipe))


def _write_first(path: Path, text: str) -> None:
    """Write a file completely, unless another job has written it."""
    own = path.with_name(f".recipe-{os.getpid()}-{os.urandom(4).hex()}.json")
    with atomic_write(own, sync=True, create=False) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        with suppress(FileExistsError):
            os.link(own, path)
    except OSError:  # a file system without hard links
        if not path.exists():
            shutil.copyfile(own, f"{own}.copy")
            os.replace(f"{own}.copy", path)
    finally:
        own.unlink()


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Yield a sentence for every value that differs between two recipes."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if name or key not in FREE:
                inner = f"{name}.{key}" if name else key
                yield from _differences(old.get(key), new.get(key), inner)
    elif old != new:
        yield f"{name} was {json.dumps(old)}, and is now {json.dumps(new)}"


# -- fingerprints --------------------------------------------------------------------


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
        return _hash(value)
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
    return f"{array.dtype} {array.shape} " + _hash(
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
    object, configuration and weights of a Keras layer. Globals and files that the
    function reads are not included.

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
    suffix = " " + _hash(json.dumps(state, sort_keys=True).encode()) if state else ""
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
        cells = function.__closure__ or ()
        closure = [c.cell_contents for c in cells if c != types.CellType()]
        state = [function.__defaults__, function.__kwdefaults__, closure]
        return [_code(function.__code__), *(to_plain_data(v, parents) for v in state)]
    if isinstance(function, keras.layers.Layer) or getattr(function, "variables", None):
        return fingerprint_model(function)
    if hasattr(function, "__name__") and not getattr(function, "__dict__", None):
        return None  # written in C, without state
    return [to_plain_data(type(function).__call__, parents), _object(function, parents)]


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


def _hash(data: bytes) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()[:16]
