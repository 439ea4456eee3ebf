"""Read shards: only files that are what the recipe says, byte for byte.

A shard is opened in two steps. `open_shard` checks the structure, which is cheap: the
number, the digest of the recipe, shapes and types. `check_bytes` compares every byte
with the digest that the file holds.
"""

import hashlib
import math
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tfxai.base.errors import BrokenFileError, RecipeError, TfxaiError
from tfxai.datasets import shards
from tfxai.datasets.shards import FIRST_FORMAT, FORMAT, HEADER, Failure

Value = TypeVar("Value")

#: Name of an array -> the kinds of its type ("O": strings of any length).
ARRAYS = {
    **{"index": "i", "name": "O", "label": "i", "relevance": "f", "scale": "f"},
    **{"target": "i", "score": "f", "warnings": "O"},
    **{"failed/index": "i", "failed/name": "O", "failed/reason": "O"},
}
OPTIONAL = ("label", "relevance", "scale", "target", "score")
EXPLAINED = ("relevance", "scale", "target", "score")  # absent without a sample
TEXT = 16  # bytes of a reference to a text in an HDF5 file
BLOCK = 1 << 20  # bytes that are read at once


@dataclass(frozen=True)
class Expected:
    """What the recipe says about one shard.

    Args:
        number: The number of the shard.
        digest: The digest of the recipe.
        rows: The numbers of its samples.
        dtype: The type of the relevance.
        format: The format of the run, `FORMAT` or `FIRST_FORMAT`.
    """

    number: int
    digest: str
    rows: range
    dtype: str
    format: str = FORMAT


def open_shard(
    path: Path, read: Callable[[Any], Value], expected: Expected | None = None
) -> Value:
    """Open a shard, check its structure, and return `read(file)`.

    Args:
        path: The file.
        read: The function that reads the open HDF5 file.
        expected: What the file must be; None accepts any shard.

    Raises:
        BrokenFileError: The file is not a readable shard, or not the expected one.
        RecipeError: The shard belongs to another recipe, or to another version.
    """
    import h5py

    check_regular(path)
    try:
        with h5py.File(path, "r") as file:
            _check_format(path, str(file.attrs["format"]), expected)
            _check_tree(file)
            count = _count(file)
            if expected is not None:
                _check_expected(path, file, count, expected)
            return read(file)
    except TfxaiError:
        raise
    except Exception as error:  # HDF5 raises many types for a damaged file
        raise broken(path, f"{type(error).__name__}: {error}") from error


def check_bytes(path: Path) -> bool:
    """Compare the bytes of a shard with its digest; return False if it has none.

    Raises:
        BrokenFileError: A byte differs, or the file cannot be read.
    """
    check_regular(path)
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            first = file.read(HEADER)
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise broken(path, str(error.strerror)) from error
    if first.startswith(b"\x89HDF"):
        return False
    if first != shards.header(digest.hexdigest()):
        raise broken(path, "its bytes do not have the digest that it holds")
    return True


def check_shard(path: Path, expected: Expected) -> None:
    """Check the structure and every byte of a shard; errors as of `open_shard`."""
    checked = check_bytes(path)
    if not checked and expected.format == FORMAT:
        raise broken(path, "it holds no digest")
    open_shard(path, lambda file: None, expected)


def is_finished(folder: Path, expected: Expected) -> bool:
    """Return True if the shard exists and every byte of it is correct.

    Raises:
        BrokenFileError: The shard is damaged.
        RecipeError: The shard belongs to another recipe.
    """
    path = shards.path_of(folder, expected.number)
    if not path.exists() and not path.is_symlink():
        return False
    check_shard(path, expected)
    return True


def check_regular(path: Path) -> None:
    """Raise BrokenFileError unless the path is a file; a pipe would block for ever."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise broken(path, str(error.strerror)) from error
    if not regular:
        raise broken(path, "it is not a regular file")


def broken(path: Path, why: str) -> BrokenFileError:
    """Return the error of a damaged shard."""
    return BrokenFileError(
        f"{str(path)!r} is not a readable shard of tfxai ({why}).",
        f"an undamaged HDF5 file of {FORMAT}",
        "the same tfxai run command again: it computes this shard again",
    )


def read_texts(dataset: Any, rows: slice = slice(None)) -> list[str]:
    """Return the rows of an HDF5 data set of strings."""
    return list(dataset.asstr()[rows]) if len(dataset) else []


def read_failures(file: Any) -> list[Failure]:
    """Return the samples of an open shard that have no explanation."""
    names, reasons = read_texts(file["failed/name"]), read_texts(file["failed/reason"])
    indices = file["failed/index"][:].tolist()
    return [Failure(*row) for row in zip(indices, names, reasons, strict=True)]


# -- checks of an open file ----------------------------------------------------------


def _check_format(path: Path, found: str, expected: Expected | None) -> None:
    """Raise RecipeError for the format of another version, or of another program."""
    if found in (FORMAT, FIRST_FORMAT) and (
        expected is None or found == expected.format
    ):
        return
    if not found.startswith("tfxai-maps/"):
        raise ValueError(f"its format is {found[:80]!r}")
    raise RecipeError(
        f"{str(path)!r} has the format {found[:80]!r}: another version of tfxai wrote "
        "it.",
        f"the format {FORMAT if expected is None else expected.format}",
        "the version of tfxai that wrote it, or another folder",
    )


def _check_tree(file: Any) -> None:
    """Raise ValueError for what a shard does not hold, such as links to other files."""
    found = dict(_members(file))
    missing = [n for n in ARRAYS if n not in found and n not in OPTIONAL]
    unknown = [n for n in found if n not in ARRAYS]
    if missing or unknown:
        raise ValueError(f"missing: {missing}, unknown: {unknown[:5]}")
    for name, dataset in found.items():
        _check_storage(name, dataset)


def _members(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and data set of each member; raise ValueError for a link."""
    import h5py

    for name in group:
        if type(group.get(name, getlink=True)) is not h5py.HardLink:
            raise ValueError(f"{prefix}{name} is a link to another object or file")
        member = group[name]
        if isinstance(member, h5py.Dataset):
            yield prefix + name, member
        elif prefix or name != "failed":
            raise ValueError(f"{prefix}{name} is not an array")
        else:
            yield from _members(member, f"{name}/")


def _check_storage(name: str, dataset: Any) -> None:
    """Raise ValueError unless the data set holds its own numbers in this file."""
    import h5py

    plist = dataset.id.get_create_plist()
    plain = plist.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
    if not plain or plist.get_nfilters() or plist.get_external_count():
        raise ValueError(f"{name} is stored outside the file, in chunks or filtered")
    text = h5py.check_string_dtype(dataset.dtype) is not None
    if dataset.dtype.kind != ARRAYS[name] or text != (ARRAYS[name] == "O"):
        raise ValueError(f"{name} has dtype {dataset.dtype}")
    each = TEXT if text else dataset.dtype.itemsize
    if dataset.id.get_storage_size() != each * math.prod(dataset.shape):
        raise ValueError(f"{name} has shape {dataset.shape}, and fewer numbers")


def _count(file: Any) -> int:
    """Return the number of explained samples; raise ValueError if shapes disagree."""
    shapes = {n: file[n].shape for n in ARRAYS if n in file}
    count = int(file.attrs["count"])
    rows = ["index", "name", *(n for n in OPTIONAL if n in shapes)]
    each = {n: shapes[n][:1] for n in rows}
    failed = {shapes[n] for n in shapes if n.startswith("failed/")}
    explained = [n for n in EXPLAINED if n in shapes]
    if set(each.values()) != {(count,)} or len(shapes["index"]) != 1:
        raise ValueError(f"count {count}, but {each} samples")
    if len(failed) != 1 or len(failed.pop()) != 1 or len(shapes["warnings"]) != 1:
        raise ValueError("the lists of failures and warnings have different lengths")
    if len(explained) != (len(EXPLAINED) if count else 0):
        raise ValueError(f"{count} samples with {explained} only")
    if count and not _targets_agree(shapes):
        raise ValueError(f"the shapes of {list(EXPLAINED)} disagree")
    return count


def _targets_agree(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Return True if all arrays have the same targets, (B,) or (B, T)."""
    target = shapes["target"]
    same = shapes["scale"] == shapes["score"] == target
    return same and shapes["relevance"][: len(target)] == target and len(target) < 3


def _check_expected(path: Path, file: Any, count: int, expected: Expected) -> None:
    """Raise an error if the shard is another one than the recipe says."""
    number, digest = int(file.attrs["number"]), str(file.attrs["recipe"])
    if digest != expected.digest:
        raise RecipeError(
            f"{str(path)!r} was written with another recipe.",
            "a separate folder for every recipe",
            "another --out, or --overwrite",
        )
    if number != expected.number:
        raise ValueError(f"it is shard {number}, in the place of {expected.number}")
    index = np.sort(np.concatenate([file["index"][:], file["failed/index"][:]]))
    if index.tolist() != list(expected.rows):
        raise ValueError(f"it does not hold the samples {expected.rows}")
    if count and file["relevance"].dtype != expected.dtype:
        raise ValueError(f"its relevance is {file['relevance'].dtype}")
