"""The recipe of a run: all that determines its results, stored as recipe.json.

The recipe is written before the first shard. A run that is resumed, or shared by
several jobs, must have the same recipe.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import (
    BrokenFileError,
    BrokenFileWarning,
    MissingFileError,
    RecipeError,
    TfxaiError,
)
from tfxai.datasets import own_files, shard_reader
from tfxai.datasets.fingerprints import (
    fingerprint_callable,
    fingerprint_model,
    hash_of,
    to_plain_data,
)
from tfxai.datasets.shards import FIRST_FORMAT, FORMAT

__all__ = ["fingerprint_callable", "fingerprint_model", "to_plain_data"]

NAME = own_files.RECIPE
#: Keys that may differ when a run is resumed: Keras counts up the names that it
#: generates, and the batch size changes results by rounding only.
FREE = ("batch_size", "model_name")


def digest(recipe: Mapping[str, Any]) -> str:
    """Return a short fingerprint of all keys that must not differ."""
    kept = {k: v for k, v in recipe.items() if k not in FREE}
    return hash_of(json.dumps(kept, sort_keys=True).encode())


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
    return hash_of(json.dumps(recipe, sort_keys=True).encode())


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
