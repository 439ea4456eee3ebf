"""A data set as numbered samples: pictures of a folder, npz, TFRecords, arrays.

`open_source` makes one of whatever is given; `stream` reads it ahead of the model by
a `tf.data` pipeline. Sample i is always the same one: a folder is sorted by name.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tfxai.base.errors import InputError, LabelError, MissingFileError, TfxaiError
from tfxai.io.images import SUFFIXES, read_shaped
from tfxai.io.networks import find_label

Shape = tuple[int | None, int | None, int]
UNKNOWN = -1  # the label where the source says none


@dataclass(frozen=True)
class Row:
    """One sample: x without batch axis, or None and the reason why it is not there."""

    index: int
    name: str
    label: int
    x: np.ndarray | None
    reason: str = ""


class Source:
    """Numbered samples that can be read in any order, also in another process.

    kind: one word. dtype: of x. shape: of x, without batch axis. labelled: does it
    say the classes? told: what the recipe keeps of it. parallel: reads at once.
    travels: can it be read by another process?
    """

    kind: str
    dtype: np.dtype = np.dtype(np.float32)
    shape: tuple
    labelled: bool = False
    parallel: int = 1
    travels: bool = True

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        """Sample i: x, label, name. Raises a TfxaiError where it cannot be read."""
        raise NotImplementedError

    def name(self, i: int) -> str:
        """What sample i is called, without reading it."""
        return f"{i:08d}"

    def told(self) -> dict[str, Any]:
        """What tells this source from another one, as JSON."""
        raise NotImplementedError

    def stream(self, shards: Sequence[int], size: int, ahead: int) -> Iterator[Row]:
        """The samples of the shards in order, `ahead` of them read in advance."""
        import tensorflow as tf

        def read(i: np.ndarray) -> tuple[np.ndarray, np.int64, bytes, bytes]:
            row = self.row(int(i))
            x = np.zeros(0, self.dtype) if row.x is None else row.x
            return x, np.int64(row.label), row.name.encode(), row.reason.encode()

        types = [tf.as_dtype(self.dtype), tf.int64, tf.string, tf.string]
        samples = tf.data.Dataset.from_tensor_slices(np.asarray(shards, np.int64))
        samples = samples.flat_map(
            lambda k: tf.data.Dataset.range(
                k * size, tf.minimum((k + 1) * size, len(self))
            )
        )
        samples = samples.map(
            lambda i: (i, *tf.numpy_function(read, [i], types)),
            num_parallel_calls=self.parallel,
            deterministic=True,
        )
        for i, x, label, name, reason in samples.prefetch(ahead).as_numpy_iterator():
            kept = None if reason else x
            yield Row(int(i), name.decode(), int(label), kept, reason.decode())

    def row(self, i: int) -> Row:
        """Sample i, or why there is none."""
        try:
            x, label, name = self.read(i)
        except (TfxaiError, OSError) as error:
            return Row(i, self.name(i), UNKNOWN, None, str(error))
        return finite(i, name, label, x)


def finite(i: int, name: str, label: int, x: np.ndarray) -> Row:
    """Sample i as it was read; one that holds NaN or infinity cannot be explained."""
    if np.isfinite(x).all():
        return Row(i, name, label, x)
    return Row(i, name, label, None, "It holds NaN or infinity.")


@dataclass(frozen=True)
class Found:
    """Picture files: files: name -> path. classes: name -> the class's name, or "".

    folders: the names of all classes, also of those without a picture.
    """

    files: dict[str, Path]
    classes: dict[str, str]
    folders: list[str]


class Pictures(Source):
    """Picture files, sorted by name; the first subfolder's name is the class.

    Classes are numbered by the sorted names of the subfolders, empty ones too, as
    `keras.utils.image_dataset_from_directory` does, or by `labels` where they are
    given; a subfolder that is no label, and a picture in none, is class -1, not known.
    """

    kind, parallel = "pictures", 2

    def __init__(self, found: Found, shape: Shape, labels: Sequence[str]) -> None:
        self.names = sorted(found.files)
        self.paths = [found.files[n] for n in self.names]
        self.shape: Shape = shape
        self.class_of = found.classes
        self.labelled = any(found.classes.values())
        self.classes = _numbered(found.folders, labels) if self.labelled else {}

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        # A name of a disk that was no UTF-8 is shown, not kept.
        return os.fsencode(self.names[i]).decode("utf-8", "replace")

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        label = self.classes.get(self.class_of[self.names[i]], UNKNOWN)
        return read_shaped(self.paths[i], self.shape), label, self.name(i)

    def told(self) -> dict[str, Any]:
        return {
            **{"kind": self.kind, "count": len(self), "classes": self.classes},
            "fingerprint": stamped(zip(self.names, self.paths, strict=True)),
        }


class Arrays(Source):
    """Arrays in memory, x (N, ...) and perhaps labels y (N,)."""

    kind = "arrays"

    def __init__(self, x: Any, y: Any = None, first_label: int = 0) -> None:
        self.x = np.asarray(x)
        self.y = None if y is None else whole_labels(np.asarray(y)) - first_label
        known = None if self.y is None else self.y.shape
        check_rows(self.x.shape, self.x.dtype, known)
        self.shape, self.dtype = self.x.shape[1:], kept_dtype(self.x.dtype)
        self.labelled = self.y is not None

    def __len__(self) -> int:
        return len(self.x)

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        label = UNKNOWN if self.y is None else int(self.y[i])
        return np.asarray(self.x[i], self.dtype), label, self.name(i)

    def told(self) -> dict[str, Any]:
        made = hashlib.sha256(str((self.x.dtype, self.x.shape)).encode())
        for array in (self.x, self.y):
            if array is not None:
                made.update(np.ascontiguousarray(array).data)
        return {
            "kind": self.kind, "count": len(self), "fingerprint": made.hexdigest()[:16]
        }  # fmt: skip


# -- what is given -------------------------------------------------------------------


def pictures_of(paths: Sequence[Path]) -> Found:
    """The pictures: of one folder named within it, of several as they stand.

    Of several folders, as a shell makes them of `pics/*`, each is a class, unless all
    their pictures are in subfolders: then these are. Files that are given have none.
    """
    given = [p for p in paths if p.is_dir()]
    inside = {path: _walk(path) for path in given}
    flat = any(p.parent == path for path in given for p in inside[path])
    outer = len(given) > 1 and flat
    files = {p.as_posix(): p.absolute() for p in paths if p not in inside}
    classes = dict.fromkeys(files, "")
    for path in given:
        for p in inside[path]:
            within = p.relative_to(path)
            name = (within if len(paths) == 1 else p).as_posix()
            first = within.parts[0] if len(within.parts) > 1 else ""
            files[name] = p.absolute()
            classes[name] = path.resolve().name if outer else first
    folders = {p.resolve().name for p in given} if outer else _subfolders(given)
    return Found(files, classes, sorted(folders))


def _subfolders(folders: Sequence[Path]) -> set[str]:
    """The names of all folders within some, but of the hidden ones."""
    inside = (p for folder in folders for p in folder.iterdir())
    return {p.name for p in inside if p.is_dir() and not p.name.startswith(".")}


def check_rows(shape: tuple, dtype: np.dtype, labels: tuple | None) -> None:
    """Are these samples, and is there a label for each?"""
    if dtype.kind not in "biuf":
        raise InputError(f"x has dtype {dtype}.", "numbers")
    if not shape or shape[0] == 0:
        raise InputError(f"x has shape {shape}: there is no sample.", "at least one")
    if labels is not None and labels != shape[:1]:
        raise InputError(
            f"x has shape {shape}, and y {labels}.", f"y of shape ({shape[0]},)"
        )


def whole_labels(y: Any) -> np.ndarray:
    """Labels (N,) or (N, 1) as whole numbers (N,). Raises InputError."""
    found = np.asarray(y)
    found = found.reshape(-1) if found.ndim == 2 and found.shape[1] == 1 else found
    whole = found.dtype.kind in "biu" or (
        found.dtype.kind == "f" and bool((np.isfinite(found) & (found % 1 == 0)).all())
    )
    if not whole or found.ndim != 1:
        raise InputError(
            f"y has dtype {found.dtype}, shape {found.shape}: "
            f"{found.ravel()[:3].tolist()}...",
            "whole numbers, one class for each sample",
            "y.argmax(-1), of labels that are one-hot",
        )
    return found.astype(np.int64)


def kept_dtype(dtype: np.dtype) -> np.dtype:
    """As the door of an analyzer has it: whole numbers stay, all else is float32."""
    whole = dtype.kind in "iu" and dtype.itemsize > 1
    return np.dtype(np.int64) if whole else np.dtype(np.float32)


def stamped(files: Iterable[tuple[str, Path]]) -> str:
    """One fingerprint of the names, sizes and times (in seconds) of files."""
    made = hashlib.sha256()
    for name, path in files:
        stat = path.stat()
        line = f"{name}\0{stat.st_size}\0{int(stat.st_mtime)}\n"
        made.update(line.encode("utf-8", "surrogateescape"))
    return made.hexdigest()[:16]


def _walk(folder: Path) -> list[Path]:
    """The pictures of a folder and of its folders; what begins with a dot is hidden."""
    found = []
    for here, folders, names in os.walk(folder, onerror=_closed, followlinks=True):
        above = Path(here).resolve()
        folders[:] = [
            f for f in folders
            if not f.startswith(".")
            and not above.is_relative_to(Path(here, f).resolve())  # a link to itself
        ]  # fmt: skip
        found += [
            Path(here, n) for n in names
            if not n.startswith(".") and Path(n).suffix.lower() in SUFFIXES
        ]  # fmt: skip
    return found


def _closed(error: OSError) -> NoReturn:
    raise InputError(
        f"The folder {str(error.filename)!r} cannot be read: {error.strerror}.",
        "folders that can be read: what is in them is part of the data",
    ) from error


def _numbered(folders: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    if not labels:
        return {name: i for i, name in enumerate(folders)}
    numbers = {}
    for name in folders:
        try:  # a folder "2" is the label "2" before it is the label number 2
            exact = [i for i, label in enumerate(labels) if label.strip() == name]
            numbers[name] = exact[0] if len(exact) == 1 else find_label(name, labels)
        except LabelError:
            numbers[name] = UNKNOWN
    return numbers


def existing(given: Any) -> list[Path]:
    """The paths that are given, one or several. Raises MissingFileError."""
    several = [given] if isinstance(given, str | os.PathLike) else list(given)
    paths = [Path(p) for p in several]
    for path in paths:
        if not path.exists():
            raise MissingFileError(
                f"There is no file {str(path)!r}.",
                "a folder of pictures, an .npz file or TFRecord files",
            )
    return paths
