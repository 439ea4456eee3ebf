"""Data sets in files: an `.npz`, TFRecords; and `open_source`, which takes any.

Neither is ever read whole: an npz row by row, TFRecords by an index of their records.
"""

import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfxai import explain_files, sources
from tfxai.errors import InputError, MissingFileError, OptionError, PictureError
from tfxai.model import Wrapped
from tfxai.pictures import SUFFIXES
from tfxai.sources import UNKNOWN, Shape, Source

#: What samples and their labels are called in an npz; the first that is there.
X_NAMES, Y_NAMES = ("x", "images"), ("y", "labels")
_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)
#: The keys of ImageNet's TFRecords, as TensorFlow's own scripts write them.
ENCODED, LABEL, FILENAME = "image/encoded", "image/class/label", "image/filename"


class Npz(Source):
    """The arrays x (or images) and y (or labels) of an `.npz`, read row by row."""

    kind = "npz"

    def __init__(self, path: Path, first_label: int = 0) -> None:
        self.path, self.first_label = path.absolute(), first_label
        names = _members(path)
        self.x_name = next((n for n in X_NAMES if n in names), None)
        self.y_name = next((n for n in Y_NAMES if n in names), None)
        if self.x_name is None:
            raise InputError(
                f"{str(path)!r} holds {names}.",
                f"samples called {' or '.join(X_NAMES)}, and perhaps labels called "
                f"{' or '.join(Y_NAMES)}",
                "np.savez(path, x=x, y=y)",
            )
        with _Member(path, self.x_name) as member:
            self.rows, self.stored, self.count = member.row, member.dtype, member.count
        y = None if self.y_name is None else np.load(path)[self.y_name]
        self.y = None if y is None else y.reshape(-1) if y.shape[1:] == (1,) else y
        known = None if self.y is None else self.y.shape
        sources.check_rows((self.count, *self.rows), self.stored, known)
        self.shape, self.dtype = self.rows, sources.kept_dtype(self.stored)
        self.labelled, self._open = self.y is not None, threading.local()

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_open"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _open=threading.local())

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        if not hasattr(self._open, "member"):
            self._open.member = _Member(self.path, str(self.x_name))
        try:
            x = self._open.member.read(i)
        except _BROKEN as error:
            raise InputError(f"{str(self.path)!r}, row {i}: {error}.") from error
        label = UNKNOWN if self.y is None else int(self.y[i]) - self.first_label
        return np.asarray(x, self.dtype), label, self.name(i)

    def told(self) -> dict[str, Any]:
        made = sources.stamped([(self.path.name, self.path)])
        return {
            **{"kind": self.kind, "count": self.count, "fingerprint": made},
            "first_label": self.first_label,
        }


class Records(Source):
    """Pictures of TFRecord files: image/encoded, and perhaps image/class/label."""

    kind, parallel = "tfrecord", 2

    def __init__(self, paths: Sequence[Path], shape: Shape, first_label: int) -> None:
        self.paths = [p.absolute() for p in paths]
        self.shape: Shape = shape
        self.first_label = first_label
        found = [_index(p) for p in self.paths]
        self.starts = np.concatenate([[0], np.cumsum([len(f) for f in found])])
        self.spans = np.concatenate(found)
        if not len(self.spans):
            raise InputError(f"{[str(p) for p in paths]} hold no record.", "one")
        self.labelled = LABEL in self._features(0)

    def __len__(self) -> int:
        return len(self.spans)

    def name(self, i: int) -> str:
        file = int(np.searchsorted(self.starts, i, "right")) - 1
        return f"{self.paths[file].name}#{i - self.starts[file]}"

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        feature = self._features(i)
        data = feature[ENCODED].bytes_list.value if ENCODED in feature else []
        if not data:
            raise PictureError(
                f"Record {self.name(i)} holds {sorted(feature)}.",
                f"a picture file under {ENCODED!r}",
            )
        values = feature[LABEL].int64_list.value if LABEL in feature else []
        label = int(values[0]) - self.first_label if values else UNKNOWN
        names = feature[FILENAME].bytes_list.value if FILENAME in feature else []
        name = names[0].decode("utf-8", "replace") if names else self.name(i)
        return explain_files.read(Path(name), self.shape, data[0]), label, name

    def told(self) -> dict[str, Any]:
        made = sources.stamped((p.name, p) for p in self.paths)
        return {
            **{"kind": self.kind, "count": len(self), "fingerprint": made},
            "first_label": self.first_label,
        }

    def _features(self, i: int) -> Any:
        import tensorflow as tf

        start, length = self.spans[i]
        file = int(np.searchsorted(self.starts, i, "right")) - 1
        with open(self.paths[file], "rb") as opened:
            opened.seek(int(start))
            data = opened.read(int(length))
        try:
            return tf.train.Example.FromString(data).features.feature
        except Exception as error:  # whatever protobuf raises
            raise PictureError(
                f"Record {self.name(i)} is no tf.train.Example: {error}."
            ) from error


def open_source(
    data: Any,
    wrapped: Wrapped,
    labels: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    first_label: int = 0,
) -> Source:
    """What is given as `data` as a source of samples that the model takes.

    data: a folder of pictures, picture, `.npz` or TFRecord files; an array, (x, y), or
    a `tf.data.Dataset` of batches. size: (height, width), where the network takes any.
    """
    import tensorflow as tf

    if wrapped.specs is not None and len(wrapped.specs) != 1:
        raise InputError(
            f"The model has {len(wrapped.specs)} inputs.",
            "one; the maps of several are for tfxai.explain",
        )
    source: Source
    if isinstance(data, tf.data.Dataset):
        source = sources.Pipeline(data)
    elif hasattr(data, "__array__"):
        source = sources.Arrays(data)
    elif isinstance(data, tuple) and all(hasattr(v, "__array__") for v in data):
        source = sources.Arrays(*data[:2])
    else:
        paths = sources.existing(data)
        source = _of_files(paths, wrapped, labels, size, first_label)
    _check_shape(source, wrapped)
    return source


def _of_files(
    paths: list[Path], wrapped: Wrapped, labels: Any, size: Any, first_label: int
) -> Source:
    if [p.suffix.lower() for p in paths] == [".npz"]:
        return Npz(paths[0], first_label)
    files = [p for p in paths if p.is_file() and p.suffix.lower() not in SUFFIXES]
    if files and len(files) == len(paths):
        return Records(paths, _picture_shape(wrapped, size), first_label)
    if files:
        raise InputError(
            f"{str(files[0])!r} is no picture, and others are given with it.",
            "pictures and their folders, TFRecord files, or one .npz",
        )
    found = sources.pictures_of(paths)
    if found:
        return sources.Pictures(found, _picture_shape(wrapped, size), labels)
    inside = sorted(p for d in paths for p in d.iterdir() if _looks_like_records(p))
    if inside:
        return Records(inside, _picture_shape(wrapped, size), first_label)
    raise MissingFileError(
        f"{', '.join(repr(str(p)) for p in paths)} holds no picture and no TFRecord.",
        f"files that end in {', '.join(SUFFIXES)}, here or in subfolders",
    )


def _picture_shape(wrapped: Wrapped, size: tuple[int, int] | None) -> Shape:
    height, width, channels = explain_files.picture_shape(wrapped)
    if size is None and None in (height, width):
        raise OptionError(
            f"The network takes pictures of any size, ({height}, {width}).",
            "one size for all maps of a run",
            "size=(224, 224), or --size 224x224",
        )
    if size is None:
        return height, width, channels
    if any(w not in (None, s) for s, w in zip(size, (height, width), strict=True)):
        raise OptionError(
            f"size={size}, but the network takes ({height}, {width}).",
            "no size: pictures are resized to the network's",
        )
    return (*size, channels)


def _check_shape(source: Source, wrapped: Wrapped) -> None:
    wanted = None if wrapped.specs is None else wrapped.specs[0][0][1:]
    if wanted is None:
        return
    fits = len(wanted) == len(source.shape)
    if not fits or any(
        w not in (None, s) and s is not None
        for w, s in zip(wanted, source.shape, strict=True)
    ):
        raise InputError(
            f"The samples have shape {source.shape}.",
            f"the network's, {wanted}",
            "x[..., None] adds an axis of channels",
        )


# -- npz -----------------------------------------------------------------------------


class _Member:
    """One array of an npz, open for reading rows: count, row (its shape), dtype."""

    def __init__(self, path: Path, name: str) -> None:
        self._zip = zipfile.ZipFile(path)
        self._file = self._zip.open(name + ".npy")
        version = np.lib.format.read_magic(self._file)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, self.dtype = header(self._file)
        if self.dtype.hasobject or not shape or (fortran and len(shape) > 1):
            raise InputError(
                f"{name} of {str(path)!r} has dtype {self.dtype}, shape {shape}.",
                "numbers, samples first, in C order",
                f"np.savez(path, {name}=np.ascontiguousarray({name}))",
            )
        self.count, self.row = shape[0], tuple(shape[1:])
        self._start = self._file.tell()
        self._bytes = int(np.prod(self.row, dtype=np.int64)) * self.dtype.itemsize

    def __enter__(self) -> "_Member":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._zip.close()

    def read(self, i: int) -> np.ndarray:
        self._file.seek(self._start + i * self._bytes)
        data = self._file.read(self._bytes)
        return np.frombuffer(data, self.dtype).reshape(self.row)


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as opened:
            return [n.removesuffix(".npy") for n in opened.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{str(path)!r} is no npz: {error}.", "np.savez's") from error


# -- TFRecords -----------------------------------------------------------------------


def _index(path: Path) -> np.ndarray:
    """(records, 2): where the data of each record begins, and its length in bytes."""
    spans: list[tuple[int, int]] = []
    at, end = 0, path.stat().st_size
    with open(path, "rb") as file:
        while at < end:
            file.seek(at)
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else end
            if at + 16 + length > end:
                raise InputError(
                    f"{str(path)!r} is no whole TFRecord file: record {len(spans)} "
                    f"at byte {at} runs past its end.",
                    "an uncompressed TFRecord, a picture folder or an .npz",
                )
            spans.append((at + 12, length))
            at += 16 + length
    return np.array(spans, np.int64).reshape(-1, 2)


def _looks_like_records(path: Path) -> bool:
    """Does the first record fit into the file? (The classic names have no suffix.)"""
    if not path.is_file() or path.name.startswith(".") or os.path.getsize(path) < 16:
        return False
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    return "tfrecord" in path.name or (
        "-of-" in path.name and 16 + length <= os.path.getsize(path)
    )
