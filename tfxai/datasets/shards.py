"""Shards: one HDF5 file for every so many samples, whole or not at all.

A map is kept as float32, or as float16 times a power of two of its own (`scale`): the
largest number of each map becomes 2^14 to 2^15, so that none overflows, and a number
is kept to 11 bits down to 4e-9 of the largest and lost below 2e-12 of it.
"""

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import RecipeError

FORMAT = "tfxai-maps/1"
DTYPES = ("float16", "float32")
_TOP = 15  # the exponent that the largest number of a map in float16 stays below


@dataclass(frozen=True)
class Failure:
    """A sample that has no map: its number, its name, and why."""

    index: int
    name: str
    reason: str


@dataclass
class Shard:
    """The maps of some samples, in order; every list has a row for each.

    relevance: (...) or (T, ...) each, with its target and score () or (T,).
    """

    number: int
    relevance: list[np.ndarray] = field(default_factory=list)
    scale: list[np.ndarray] = field(default_factory=list)
    target: list[np.ndarray] = field(default_factory=list)
    score: list[np.ndarray] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)


def path_of(folder: Path, number: int) -> Path:
    """Where shard `number` is, or will be."""
    return folder / f"shard-{number:05d}.h5"


def packed(relevance: np.ndarray, axes: int, dtype: str) -> tuple:
    """Maps as they are kept, and their scales: relevance = kept * scale.

    relevance: float32, of which the first `axes` axes count maps.
    """
    ones = np.ones(relevance.shape[:axes])
    if dtype == "float32":
        return relevance, ones
    rest = tuple(range(axes, relevance.ndim))
    size = np.where(np.isfinite(relevance), np.abs(relevance), 0).max(rest)
    power = np.where(size > 0, np.frexp(size.astype(np.float64))[1] - _TOP, 0)
    scale = np.ldexp(ones, power)
    wide = scale.reshape(scale.shape + (1,) * len(rest))
    return (relevance / wide).astype(np.float16), scale


def unpacked(kept: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """float32 maps of what `packed` made."""
    wide = scale.reshape(scale.shape + (1,) * (kept.ndim - scale.ndim))
    return (kept * wide).astype(np.float32)


def write(folder: Path, shard: Shard, digest: str, labelled: bool) -> int:
    """Write a shard, and return its size in bytes. Raises OSError.

    The file is made in memory first: what a full disk stops is then one plain write.
    """
    path = path_of(folder, shard.number)
    image = _image(shard, digest, labelled)
    try:
        with atomic_write(path, sync=True) as temporary:
            temporary.write_bytes(image)
    except FileNotFoundError:
        if not path.exists():  # else another job has just finished the same shard
            raise
    for litter in folder.glob(f".{path.stem}-*.h5"):  # of runs that were killed
        litter.unlink(missing_ok=True)
    return len(image)


def _image(shard: Shard, digest: str, labelled: bool) -> bytes:
    import h5py

    text = h5py.string_dtype()
    with h5py.File("shard", "w", driver="core", backing_store=False) as file:
        file.attrs.update({"format": FORMAT, "recipe": digest, "number": shard.number})
        file.attrs["count"] = len(shard.index)
        file["index"] = np.array(shard.index, np.int64)
        file.create_dataset("name", data=shard.name, dtype=text, shape=_rows(shard))
        if labelled:
            file["label"] = np.array(shard.label, np.int64)
        if shard.index:
            file["relevance"] = np.stack(shard.relevance)
            for name in ("scale", "target", "score"):
                file[name] = np.stack(getattr(shard, name))
        count = (len(shard.failed),)
        file["failed/index"] = np.array([f.index for f in shard.failed], np.int64)
        for name in ("name", "reason"):
            told = [getattr(f, name) for f in shard.failed]
            file.create_dataset(f"failed/{name}", count, text, data=told)
        warned = (len(shard.warned),)
        file.create_dataset("warnings", warned, text, data=shard.warned)
        file.flush()
        return file.id.get_file_image()


def _rows(shard: Shard) -> tuple[int]:
    return (len(shard.index),)


def finished(folder: Path, number: int, digest: str) -> bool:
    """Is the shard there? Raises RecipeError if it is one of another recipe."""
    path = path_of(folder, number)
    if not path.exists():
        return False
    if opened(path, lambda file: file.attrs["recipe"]) != digest:
        raise RecipeError(
            f"{str(path)!r} was made by another recipe.",
            "a folder of its own for every recipe",
            "another --out, or --overwrite",
        )
    return True


def opened(path: Path, read: Any) -> Any:
    """`read(file)` of an HDF5 file that must be a shard. Raises RecipeError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if file.attrs["format"] != FORMAT:
                raise KeyError("format")
            return read(file)
    except (OSError, KeyError) as error:
        raise RecipeError(
            f"{str(path)!r} is no shard of tfxai that can be read ({error}).",
            f"an HDF5 file of {FORMAT}",
            "delete it, and start the run again: only this shard is made anew",
        ) from error


def has_room(folder: Path, size: int) -> bool:
    """Can a file of so many bytes be written now?"""
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, max(1, size))
        return True
    return False
