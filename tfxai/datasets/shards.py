"""Shards: HDF5 files of relevance arrays, each written completely or not at all.

The user block of the file (its first 512 bytes) holds the SHA-256 of the rest.

Relevance is stored as float32, or as float16 times a power of two per array (`scale`).
The scale brings the largest number of each array to 2^14 to 2^15, so that no number
overflows. A number keeps 11 bits down to 4e-9 of the largest number of its array, and
becomes zero below 2e-12 of it.
"""

import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.text import storable

FORMAT = "tfxai-maps/2"
FIRST_FORMAT = "tfxai-maps/1"  # of version 0.1: without a digest
HEADER = 512  # bytes of the user block
DTYPES = ("float16", "float32")
_TOP = 15  # in float16 the largest number of an array is below 2^15


@dataclass(frozen=True)
class Failure:
    """A sample that has no explanation.

    Args:
        index: The number of the sample in the data set.
        name: The name of the sample.
        reason: The text of the error.
    """

    index: int
    name: str
    reason: str


@dataclass
class Shard:
    """The content of one shard; every list has one entry per explained sample.

    Args:
        number: The number of the shard, from 0.
        relevance: The stored relevance, (...) or (T, ...) for T targets.
        scale: The factors of the stored relevance, () or (T,).
        target: The explained targets, () or (T,).
        score: The scores of the targets, () or (T,).
        label: The true classes, -1 where unknown.
        name: The names of the samples.
        index: The numbers of the samples in the data set.
        failed: The samples of the shard without an explanation.
        warned: The texts of the warnings.
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
    """Return the path of shard `number`, whether or not the file exists."""
    return folder / f"shard-{number:05d}.h5"


def encode(
    relevance: np.ndarray, axes: int, dtype: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the stored arrays and their scales: relevance = stored * scale.

    Args:
        relevance: The relevance, float32.
        axes: The number of leading axes that count arrays (samples, targets).
        dtype: The stored type, "float32" or "float16".
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


def decode(stored: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the float32 relevance of the arrays that `encode` returned."""
    wide = scale.reshape(scale.shape + (1,) * (stored.ndim - scale.ndim))
    return np.asarray(stored * wide, np.float32)


def write(folder: Path, shard: Shard, digest: str, labelled: bool) -> int:
    """Write a shard and return its size in bytes.

    The HDF5 file is built in memory and written in one piece, so that a full disk can
    only interrupt a plain write.

    Args:
        folder: The folder of the run.
        shard: The content of the shard.
        digest: The digest of the recipe, stored in the file.
        labelled: Whether the data set has labels.

    Raises:
        OSError: The file cannot be written, or the folder does not exist.
    """
    path = path_of(folder, shard.number)
    data = _file_bytes(shard, digest, labelled)
    data = header(hashlib.sha256(data[HEADER:]).hexdigest()) + data[HEADER:]
    try:
        with atomic_write(path, sync=True, create=False) as temporary:
            temporary.write_bytes(data)
    except FileNotFoundError:
        if not path.exists():  # else another job has just written the same shard
            raise
    for leftover in folder.glob(f".{path.stem}-*.h5"):  # of runs that were killed
        leftover.unlink(missing_ok=True)
    return len(data)


def header(digest: str) -> bytes:
    """Return the first bytes of a shard whose other bytes have this SHA-256."""
    return f"{FORMAT} sha256 {digest}\n".encode().ljust(HEADER, b"\0")


def _file_bytes(shard: Shard, digest: str, labelled: bool) -> bytes:
    """Return the bytes of the HDF5 file of a shard, with an empty user block."""
    import h5py

    text = h5py.string_dtype()
    with h5py.File(
        "shard", "w", driver="core", backing_store=False, userblock_size=HEADER
    ) as file:
        file.attrs.update({"format": FORMAT, "recipe": digest, "number": shard.number})
        file.attrs["count"] = len(shard.index)
        file["index"] = np.array(shard.index, np.int64)
        rows = (len(shard.index),)
        names = [storable(name) for name in shard.name]
        file.create_dataset("name", data=names, dtype=text, shape=rows)
        if labelled:
            file["label"] = np.array(shard.label, np.int64)
        if shard.index:
            file["relevance"] = np.stack(shard.relevance)
            for name in ("scale", "target", "score"):
                file[name] = np.stack(getattr(shard, name))
        count = (len(shard.failed),)
        file["failed/index"] = np.array([f.index for f in shard.failed], np.int64)
        for name in ("name", "reason"):
            texts = [storable(getattr(f, name)) for f in shard.failed]
            file.create_dataset(f"failed/{name}", count, text, data=texts)
        warned = [storable(text) for text in shard.warned]
        file.create_dataset("warnings", (len(warned),), text, data=warned)
        file.flush()
        return bytes(HEADER) + bytes(file.id.get_file_image())


def has_space(folder: Path, size: int) -> bool:
    """Return True if a file of `size` bytes can be written now."""
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, max(1, size))
        return True
    return False
