"""Data sets in an `.npz` file, read row by row, also if it is compressed."""

import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.datasets import sources
from tfxai.datasets.sources import UNKNOWN, Source

#: The accepted names of the samples and of the labels; the first one found is used.
X_NAMES, Y_NAMES = ("x", "images"), ("y", "labels")
_READ_ERRORS = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


class NpzSource(Source):
    """The arrays x (or images) and y (or labels) of an `.npz`, read row by row.

    Args:
        path: The `.npz` file.
        first_label: The number of the first class in y.

    Raises:
        InputError: The file has no samples, or its arrays cannot be read.
    """

    kind = "npz"

    def __init__(self, path: Path, first_label: int = 0) -> None:
        self.path, self.first_label = path.absolute(), first_label
        names = _member_names(path)
        self.x_name = next((n for n in X_NAMES if n in names), None)
        self.y_name = next((n for n in Y_NAMES if n in names), None)
        if self.x_name is None:
            raise InputError(
                f"{str(path)!r} holds {names}.",
                f"samples called {' or '.join(X_NAMES)}, and optionally labels called "
                f"{' or '.join(Y_NAMES)}",
                "np.savez(path, x=x, y=y)",
            )
        with _Member(path, self.x_name) as member:
            self.rows, self.stored, self.count = member.row, member.dtype, member.count
        self.y = None if self.y_name is None else _read_labels(path, self.y_name)
        labels = None if self.y is None else self.y.shape
        sources.check_samples((self.count, *self.rows), self.stored, labels)
        self.shape, self.dtype = self.rows, sources.model_dtype(self.stored)
        self.labelled, self._open = self.y is not None, threading.local()

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _open=threading.local())

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        if not hasattr(self._open, "member"):
            self._open.member = _Member(self.path, str(self.x_name))
        try:
            x = self._open.member.read(i)
        except _READ_ERRORS as error:
            raise InputError(f"{str(self.path)!r}, row {i}: {error}.") from error
        label = UNKNOWN if self.y is None else int(self.y[i]) - self.first_label
        return np.asarray(x, self.dtype), label, self.name(i)

    def settings(self) -> dict[str, Any]:
        fingerprint = sources.fingerprint_files([(self.path.name, self.path)])
        return {
            **{"kind": self.kind, "count": self.count, "fingerprint": fingerprint},
            **{"sums": _checksums(self.path), "first_label": self.first_label},
        }


class _Member:
    """One array of an `.npz`, open for reading rows.

    Attributes:
        count: The number of rows.
        row: The shape of a row.
        dtype: The type of the array.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._zip = zipfile.ZipFile(path)
        self._file = self._zip.open(name + ".npy")
        version = np.lib.format.read_magic(self._file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, self.dtype = read_header(self._file)
        if self.dtype.hasobject or not shape or (fortran and len(shape) > 1):
            raise InputError(
                f"{name} of {str(path)!r} has dtype {self.dtype}, shape {shape}.",
                "numbers, samples on the first axis, in C order",
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
        """Return row i."""
        self._file.seek(self._start + i * self._bytes)
        data = self._file.read(self._bytes)
        return np.frombuffer(data, self.dtype).reshape(self.row)


def _read_labels(path: Path, name: str) -> np.ndarray:
    """Return the labels of an `.npz` as integers."""
    try:
        y = np.load(path)[name]
    except _READ_ERRORS as error:  # for example Python objects: never unpickled
        raise InputError(
            f"{name} of {str(path)!r} cannot be read: {error}", "whole numbers"
        ) from error
    return sources.integer_labels(y)


def _checksums(path: Path) -> dict[str, str]:
    """Return the CRC of each array from the zip directory.

    They distinguish files with the same size and modification time.
    """
    with zipfile.ZipFile(path) as opened:
        return {i.filename: f"{i.CRC:08x}" for i in opened.infolist()}


def _member_names(path: Path) -> list[str]:
    """Return the names of the arrays of an `.npz`."""
    try:
        with zipfile.ZipFile(path) as opened:
            return [n.removesuffix(".npy") for n in opened.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{str(path)!r} is not an .npz file: {error}.",
            "a file that np.savez wrote",
        ) from error
