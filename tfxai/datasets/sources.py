"""Data sets as numbered samples: images of a folder, npz, TFRecords, arrays.

`open_source` builds a source from any accepted data set; `stream` reads samples ahead
of the model with `tf.data`. The number of a sample never changes: files of a folder are
sorted by name.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tfxai.base.errors import InputError, LabelError, MissingFileError, TfxaiError
from tfxai.io.images import SUFFIXES, read_shaped, warn_of_skipped
from tfxai.io.networks import find_label

Shape = tuple[int | None, int | None, int]
UNKNOWN = -1  # the label of a sample without one


@dataclass(frozen=True)
class SourceRow:
    """One sample of a source.

    Args:
        index: The number of the sample.
        name: The name of the sample.
        label: The true class, -1 where unknown.
        x: The input without batch axis, or None if it cannot be read.
        reason: The reason why `x` is None, else "".
    """

    index: int
    name: str
    label: int
    x: np.ndarray | None
    reason: str = ""


class Source:
    """Numbered samples that can be read in any order, also in another process.

    Attributes:
        kind: One word, stored in the recipe.
        dtype: The type of the inputs.
        shape: The shape of an input, without batch axis.
        labelled: Whether the source has labels.
        parallel: The number of samples that are read at the same time.
        travels: Whether another process can read the source.
    """

    kind: str
    dtype: np.dtype = np.dtype(np.float32)
    shape: tuple[int | None, ...]
    labelled: bool = False
    parallel: int = 1
    travels: bool = True

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        """Return sample i: input, label, name.

        Raises:
            TfxaiError: The sample cannot be read.
        """
        raise NotImplementedError

    def name(self, i: int) -> str:
        """Return the name of sample i without reading the sample."""
        return f"{i:08d}"

    def settings(self) -> dict[str, Any]:
        """Return what identifies the source, as JSON data for the recipe."""
        raise NotImplementedError

    def stream(
        self, shards: Sequence[int], size: int, ahead: int
    ) -> Iterator[SourceRow]:
        """Yield the samples of some shards in order.

        Args:
            shards: The numbers of the shards.
            size: The number of samples per shard.
            ahead: The number of samples that are read in advance.
        """
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
            value = None if reason else x
            yield SourceRow(int(i), name.decode(), int(label), value, reason.decode())

    def row(self, i: int) -> SourceRow:
        """Return sample i; a sample that cannot be read has a reason instead of x."""
        try:
            x, label, name = self.read(i)
        except (TfxaiError, OSError) as error:
            return SourceRow(i, self.name(i), UNKNOWN, None, str(error))
        return finite_row(i, name, label, x)


def finite_row(i: int, name: str, label: int, x: np.ndarray) -> SourceRow:
    """Return sample i, without x if x holds NaN or infinity."""
    if np.isfinite(x).all():
        return SourceRow(i, name, label, x)
    return SourceRow(i, name, label, None, "It holds NaN or infinity.")


@dataclass(frozen=True)
class ImageFiles:
    """The image files of a data set and their classes.

    Args:
        files: Name of an image -> its path.
        classes: Name of an image -> name of its class, "" where unknown.
        folders: The names of all classes, also of those without an image.
    """

    files: dict[str, Path]
    classes: dict[str, str]
    folders: list[str]


class ImageFolderSource(Source):
    """Image files, sorted by name; the first subfolder is the class.

    Classes are numbered by the sorted names of the subfolders, empty ones included, as
    in `keras.utils.image_dataset_from_directory`, or by `labels`. A subfolder that is
    not a label, and an image outside any subfolder, has class -1 (unknown).

    Args:
        found: The image files.
        shape: The shape of an input, (height, width, channels).
        labels: The names of the model's classes, or an empty list.
    """

    kind, parallel = "pictures", 2  # the kind is part of recipe.json

    def __init__(self, found: ImageFiles, shape: Shape, labels: Sequence[str]) -> None:
        self.names = sorted(found.files)
        self.paths = [found.files[n] for n in self.names]
        self.shape: Shape = shape
        self.class_of = found.classes
        self.labelled = any(found.classes.values())
        self.classes = _class_numbers(found.folders, labels) if self.labelled else {}

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        # A file name that is not UTF-8 is stored with replacement characters.
        return os.fsencode(self.names[i]).decode("utf-8", "replace")

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        label = self.classes.get(self.class_of[self.names[i]], UNKNOWN)
        return read_shaped(self.paths[i], self.shape), label, self.name(i)

    def settings(self) -> dict[str, Any]:
        return {
            **{"kind": self.kind, "count": len(self), "classes": self.classes},
            "fingerprint": fingerprint_files(zip(self.names, self.paths, strict=True)),
        }


class ArraySource(Source):
    """Arrays in memory.

    Args:
        x: The inputs, (N, ...).
        y: The labels, (N,), or None.
        first_label: The number of the first class in y.

    Raises:
        InputError: x or y has an unsuitable shape or type.
    """

    kind = "arrays"

    def __init__(self, x: Any, y: Any = None, first_label: int = 0) -> None:
        self.x = np.asarray(x)
        self.y = None if y is None else integer_labels(np.asarray(y)) - first_label
        labels = None if self.y is None else self.y.shape
        check_samples(self.x.shape, self.x.dtype, labels)
        self.shape, self.dtype = self.x.shape[1:], model_dtype(self.x.dtype)
        self.labelled = self.y is not None

    def __len__(self) -> int:
        return len(self.x)

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        label = UNKNOWN if self.y is None else int(self.y[i])
        return np.asarray(self.x[i], self.dtype), label, self.name(i)

    def settings(self) -> dict[str, Any]:
        digest = hashlib.sha256(str((self.x.dtype, self.x.shape)).encode())
        for array in (self.x, self.y):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        fingerprint = digest.hexdigest()[:16]
        return {"kind": self.kind, "count": len(self), "fingerprint": fingerprint}


# -- files and arrays ----------------------------------------------------------------


def find_images(paths: Sequence[Path]) -> ImageFiles:
    """Return the image files among paths and in their folders.

    The images of a single folder are named relative to it, those of several paths by
    their full path. Several folders, such as a shell expands from `images/*`, are the
    classes, unless all their images are in subfolders: then the subfolders are the
    classes. Files given directly have no class.
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
    return ImageFiles(files, classes, sorted(folders))


def _subfolders(folders: Sequence[Path]) -> set[str]:
    """Return the names of the subfolders of some folders, without hidden ones."""
    inside = (p for folder in folders for p in folder.iterdir())
    return {p.name for p in inside if p.is_dir() and not p.name.startswith(".")}


def check_samples(
    shape: tuple[int, ...], dtype: np.dtype, labels: tuple[int, ...] | None
) -> None:
    """Check that x holds numbers and samples, and that y has a label for each.

    Args:
        shape: The shape of x, (N, ...).
        dtype: The type of x.
        labels: The shape of y, or None.

    Raises:
        InputError: x or y is unsuitable.
    """
    if dtype.kind not in "biuf":
        raise InputError(f"x has dtype {dtype}.", "numbers")
    if not shape or shape[0] == 0:
        raise InputError(f"x has shape {shape}: there is no sample.", "at least one")
    if labels is not None and labels != shape[:1]:
        raise InputError(
            f"x has shape {shape}, and y {labels}.", f"y of shape ({shape[0]},)"
        )


def integer_labels(y: Any) -> np.ndarray:
    """Return labels (N,) or (N, 1) as int64 (N,).

    Raises:
        InputError: The labels are not whole numbers.
    """
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
            "y.argmax(-1) for one-hot labels",
        )
    return found.astype(np.int64)


def model_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type in which samples reach the analyzer.

    Integers of more than one byte become int64, all other types float32, as in
    `ModelWrapper.checked`.
    """
    whole = dtype.kind in "iu" and dtype.itemsize > 1
    return np.dtype(np.int64) if whole else np.dtype(np.float32)


def fingerprint_files(files: Iterable[tuple[str, Path]]) -> str:
    """Return a fingerprint of the names, sizes and times (in seconds) of files."""
    digest = hashlib.sha256()
    for name, path in files:
        stat = path.stat()
        line = f"{name}\0{stat.st_size}\0{int(stat.st_mtime)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _walk(folder: Path) -> list[Path]:
    """Return the image files of a folder and its subfolders, without hidden ones."""
    found = []
    for here, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        parent = Path(here).resolve()
        folders[:] = [
            f for f in folders
            if not f.startswith(".")
            and not parent.is_relative_to(Path(here, f).resolve())  # a link to a parent
        ]  # fmt: skip
        files = [Path(here, n) for n in names if not n.startswith(".")]
        images = [p for p in files if p.suffix.lower() in SUFFIXES]
        if images:
            warn_of_skipped(Path(here), sorted(set(files) - set(images)))
        found += images
    return found


def _unreadable(error: OSError) -> NoReturn:
    raise InputError(
        f"The folder {str(error.filename)!r} cannot be read: {error.strerror}.",
        "folders with read permission: their content is part of the data",
    ) from error


def _class_numbers(folders: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """Return the class number of each folder, -1 where no label matches."""
    if not labels:
        return {name: i for i, name in enumerate(folders)}
    numbers = {}
    for name in folders:
        try:  # a folder "2" means the label "2" rather than label number 2
            exact = [i for i, label in enumerate(labels) if label.strip() == name]
            numbers[name] = exact[0] if len(exact) == 1 else find_label(name, labels)
        except LabelError:
            numbers[name] = UNKNOWN
    return numbers


def existing_paths(given: Any) -> list[Path]:
    """Return one path or several as a list.

    Raises:
        MissingFileError: A path does not exist.
    """
    several = [given] if isinstance(given, str | os.PathLike) else list(given)
    paths = [Path(p) for p in several]
    for path in paths:
        if not path.exists():
            raise MissingFileError(
                f"There is no file {str(path)!r}.",
                "a folder of images, an .npz file or TFRecord files",
            )
    return paths
