"""Data sets in an `.npz` file, read row by row, also if it is compressed."""

import hashlib
import math
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, TfxaiError
from tfxai.datasets import sources
from tfxai.datasets.sources import UNKNOWN, Source

#: The accepted names of the samples and of the labels; the first one found is used.
X_NAMES, Y_NAMES = ("x", "images"), ("y", "labels")


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
        with _reading(path.name, self.x_name), _Member(path, self.x_name) as member:
            self.rows, self.stored, self.count = member.row, member.dtype, member.count
        self.y = None if self.y_name is None else _read_labels(path, self.y_name)
        labels = None if self.y is None else self.y.shape
        sources.check_samples((self.count, *self.rows), self.stored, labels)
        self.shape, self.dtype = self.rows, sources.model_dtype(self.stored)
        self.labelled, self._open = self.y is not None, threading.local()
        self.compared = "times"

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _open=threading.local())

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        with _reading(self.path.name, f"row {i}"):
            if not hasattr(self._open, "member"):
                self._open.member = _Member(self.path, str(self.x_name))
            data = self._open.member.read(i)
            self.check_unchanged(i, data)
            x = np.frombuffer(data, self.stored).reshape(self.rows)
        label = UNKNOWN if self.y is None else int(self.y[i]) - self.first_label
        return np.asarray(x, self.dtype), label, self.name(i)

    def verify(self, trust_times: bool = False) -> None:
        """Read x once, which compares its CRC, and hash its rows."""
        name, found = str(self.x_name), []
        with _reading(self.path.name, name), _Member(self.path, name) as member:
            found = [sources.digest(member.read(i)) for i in range(self.count)]
            member.finish()
        self.digests = b"".join(found)
        self.compared = "times" if trust_times else "contents"

    def settings(self) -> dict[str, Any]:
        labels = hashlib.sha256(b"" if self.y is None else self.y.tobytes()).digest()
        times = self.compared == "times" or self.digests is None
        digests = None if times else bytes(self.digests or b"") + labels
        fingerprint = sources.fingerprint_files([(self.path.name, self.path)], digests)
        return {
            **{"kind": self.kind, "count": self.count, "fingerprint": fingerprint},
            **{"sums": _checksums(self.path), "first_label": self.first_label},
            "compared": self.compared,
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
        info = self._zip.getinfo(name + ".npy")
        self._file = self._zip.open(info)
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
        self._bytes = math.prod(self.row) * self.dtype.itemsize
        size = self._start + self.count * self._bytes
        if min(shape) < 0 or size != info.file_size:
            raise ValueError(
                f"shape {shape} takes {size} bytes, and there are {info.file_size}"
            )

    def __enter__(self) -> "_Member":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._zip.close()

    def read(self, i: int) -> bytes:
        """Return the bytes of row i."""
        self._file.seek(self._start + i * self._bytes)
        data = self._file.read(self._bytes)
        if len(data) < self._bytes:
            raise EOFError("the array ends early")
        return data

    def finish(self) -> None:
        """Read to the end, where the CRC of all bytes read in order is compared."""
        while self._file.read(1 << 20):
            pass


@contextmanager
def _reading(file: str, part: str) -> Iterator[None]:
    """Turn any error of reading a zip archive and its arrays into an InputError."""
    try:
        yield
    except TfxaiError:
        raise
    except Exception as error:  # a damaged archive or header raises many types
        raise InputError(
            f"{file!r}, {part}: it cannot be read ({type(error).__name__}: {error}).",
            "an undamaged .npz, not encrypted, that np.savez wrote",
        ) from error


def _read_labels(path: Path, name: str) -> np.ndarray:
    """Return the labels of an `.npz` as integers."""
    with _reading(path.name, name):
        try:
            with _Member(path, name) as member:
                data = [member.read(i) for i in range(member.count)]
                member.finish()
        except InputError as error:  # for example Python objects: never unpickled
            raise InputError(error.seen, "whole numbers") from error
        y = np.frombuffer(b"".join(data), member.dtype)
        return sources.integer_labels(y.reshape(member.count, *member.row))


def _checksums(path: Path) -> dict[str, str]:
    """Return the CRC of each array from the zip directory.

    They distinguish files with the same size and modification time.
    """
    with _reading(path.name, "its directory"), zipfile.ZipFile(path) as opened:
        return {i.filename: f"{i.CRC:08x}" for i in opened.infolist()}


def _member_names(path: Path) -> list[str]:
    """Return the names of the arrays of an `.npz`."""
    if not path.is_file():
        raise InputError(f"{str(path)!r} is not a file.", "a file that np.savez wrote")
    with _reading(path.name, "its directory"), zipfile.ZipFile(path) as opened:
        return [n.removesuffix(".npy") for n in opened.namelist()]
