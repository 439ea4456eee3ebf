"""Data sets in an `.npz`, read row by row, also where it is compressed."""

import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.datasets import sources
from tfxai.datasets.sources import UNKNOWN, Source

#: What samples and their labels are called; the first that is there.
X_NAMES, Y_NAMES = ("x", "images"), ("y", "labels")
_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


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
        self.y = None if self.y_name is None else _labels(path, self.y_name)
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
            **{"sums": _sums(self.path), "first_label": self.first_label},
        }


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


def _labels(path: Path, name: str) -> np.ndarray:
    try:
        y = np.load(path)[name]
    except _BROKEN as error:  # for example Python objects, which are never unpickled
        raise InputError(
            f"{name} of {str(path)!r} cannot be read: {error}", "whole numbers"
        ) from error
    return sources.whole_labels(y)


def _sums(path: Path) -> dict[str, str]:
    """The checksum of each array, which the zip has: a file of the same second."""
    with zipfile.ZipFile(path) as opened:
        return {i.filename: f"{i.CRC:08x}" for i in opened.infolist()}


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as opened:
            return [n.removesuffix(".npy") for n in opened.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{str(path)!r} is no npz: {error}.", "np.savez's") from error
