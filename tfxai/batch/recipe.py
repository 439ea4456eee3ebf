"""The recipe of a folder of maps: what made them, written before the first map.

A run that is started again, or shared by several jobs, must be the same run.
"""

import hashlib
import json
import os
import shutil
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.errors import MissingFileError, RecipeError
from tfxai.files import whole

NAME = "recipe.json"
#: What may differ when a run is started again: Keras counts up the names that it gives,
#: and another batch size changes no more than a rounding.
FREE = ("batch_size", "model_name")
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
    with whole(taken, sync=True) as temporary:
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


def plain(value: Any) -> Any:
    """A value as JSON has it: arrays as their numbers or a fingerprint, else words."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.size <= 16:
            return array.tolist()
        told = f"{array.dtype} {array.shape} "
        return told + _hashed(np.ascontiguousarray(array).tobytes())
    return called(value) if isinstance(value, types.FunctionType) else repr(value)


def called(function: Callable | None) -> str | None:
    """The name of a function, and of one with code also the fingerprint of its code.

    What it reads from elsewhere (globals, closures, files) is not part of it.
    """
    if function is None:
        return None
    name = getattr(function, "__qualname__", type(function).__name__)
    where = getattr(function, "__module__", None)
    code = getattr(function, "__code__", None)
    made = "" if code is None else " " + _hashed(repr(_code(code)).encode())
    return f"{where}.{name}{made}"


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
        made.update(str(called(model)).encode() if not values else b"")
    for value in values:
        array = np.ascontiguousarray(keras.ops.convert_to_tensor(value).numpy())
        made.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return made.hexdigest()[:16]


def _layers(model: Any) -> str:
    """A model's configuration, with its names replaced by their order.

    Keras numbers the names by how many layers were made before.
    """
    import keras

    if not isinstance(model, keras.Model):
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


def _code(code: types.CodeType) -> tuple:
    constants = [
        _code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts
    ]
    return code.co_code.hex(), constants, code.co_names


def _hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
