"""Explanations in files: one compressed `.npz`, without pickle."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import InputError, MissingFileError, OptionError
from tfxai.viz.panel import listed

Array = np.ndarray[Any, Any]
FORMAT = "tfxai-explanation/1"
#: Fields that are texts.
TEXTS = ("names", "features", "tokens", "input_names", "option_names")


def write(e: Any, path: Path) -> Path:
    """Write an explanation atomically, and return the path; see `Explanation.save`."""
    if path.suffix != ".npz":
        raise OptionError(f"save({str(path)!r}).", "a file name that ends in .npz")
    arrays, plain = _split(e)
    with atomic_write(path) as temporary:
        arrays["meta"] = np.array(json.dumps(plain, default=_to_json))
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    return path


def read(path: Path) -> dict[str, Any]:
    """Return the fields of an explanation that `write` wrote.

    Raises:
        MissingFileError: There is no such file.
        InputError: The file is not an explanation.
    """
    if not os.path.exists(path):
        raise MissingFileError(f"There is no file {str(path)!r}.", "an .npz of tfxai")
    try:
        if not path.is_file():
            raise ValueError("it is a pipe or a device")
        with np.load(path, allow_pickle=False) as data:
            arrays = dict(data)
        plain = json.loads(str(arrays.pop("meta")))
        if plain.pop("format") != FORMAT:
            raise ValueError("another format")
        return _checked(arrays, plain)
    except Exception as error:  # a damaged archive raises many types
        raise InputError(
            f"{str(path)!r} is not an explanation of tfxai "
            f"({type(error).__name__}: {error}).",
            f"an undamaged .npz written by Explanation.save ({FORMAT})",
        ) from error


def _checked(arrays: dict[str, Array], plain: dict[str, Any]) -> dict[str, Any]:
    """Return the fields; raise ValueError or KeyError if one is missing or no number.

    Args:
        arrays: The arrays of the file.
        plain: The other values; "arrays" (absent in version 0.1) names the arrays.
    """
    if plain.pop("arrays", sorted(arrays)) != sorted(arrays):
        raise ValueError(f"arrays are missing or unknown: {sorted(arrays)}")
    for name, rows in plain.get("objects", {}).items():
        arrays[name] = _objects(rows, arrays[name].shape)
    relevance, score = _gather(arrays, "relevance"), arrays["score"]
    inputs, target, extra = _gather(arrays, "inputs"), arrays["target"], plain["extra"]
    numbers = {f"relevance/{i}": r for i, r in enumerate(listed(relevance))}
    for name, array in (numbers | {"target": target, "score": score}).items():
        if array is None or array.dtype.kind not in "fiub" or not array.ndim:
            raise ValueError(f"{name} holds no numbers for samples")
        if len(array) != len(score):
            raise ValueError(f"{name} has {len(array)} samples, score {len(score)}")
    if not isinstance(plain["method"], str) or not isinstance(extra, dict):
        raise ValueError("the method is no text, or extra no object")
    texts = {name: plain[name] for name in TEXTS if name in plain}
    wrong = [n for n, v in texts.items() if not isinstance(v, list | dict)]
    if wrong:
        raise ValueError(f"{wrong} are no lists")
    more = {k[6:]: v for k, v in arrays.items() if k.startswith("extra/")}
    return {
        "relevance": relevance,
        "target": target,
        "score": score,
        "method": plain["method"],
        "inputs": inputs,
        "extra": {**extra, **more},
        **texts,
    }


def _split(e: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays for the npz, and all other values for its JSON."""
    arrays = {"target": e.target, "score": e.score}
    for name, value in (("relevance", e.relevance), ("inputs", e.inputs)):
        several = isinstance(value, list)
        arrays |= {
            f"{name}/{i}" if several else name: np.asarray(v)
            for i, v in enumerate([] if value is None else listed(value))
        }
    plain = {}
    for key, value in e.extra.items():
        if hasattr(value, "__array__"):
            arrays[f"extra/{key}"] = np.asarray(value)
        else:
            plain[key] = value
    texts = {name: getattr(e, name) for name in TEXTS if getattr(e, name)}
    texts["arrays"] = sorted(arrays)
    objects = {k: v.ravel().tolist() for k, v in arrays.items() if v.dtype.kind == "O"}
    arrays |= {k: np.zeros(arrays[k].shape, bool) for k in objects}  # for their shape
    own = {"objects": objects} if objects else {}
    return arrays, {
        "format": FORMAT, "method": e.method, "extra": plain, **texts, **own,
    }  # fmt: skip


def _objects(values: list[Any], shape: tuple[int, ...]) -> Array:
    """An array of objects: numbers, texts and None; others are texts."""
    found = np.empty(len(values), object)
    found[:] = values
    return found.reshape(shape)


def _to_json(value: Any) -> Any:
    """A value that JSON does not have: an array as lists, else a string."""
    return np.asarray(value).tolist() if hasattr(value, "__array__") else str(value)


def _gather(arrays: dict[str, Array], name: str) -> Any:
    """One array of this name, the list of several, or None without one."""
    if name in arrays:
        return arrays[name]
    found = [k for k in arrays if k.startswith(name + "/")]
    return [arrays[f"{name}/{i}"] for i in range(len(found))] or None
