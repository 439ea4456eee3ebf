"""Data sets as numbered samples: images of a folder, npz, TFRecords, arrays.

`open_source` builds a source from any accepted data set; `stream` reads samples ahead
of the model with `tf.data`. The number of a sample never changes: files of a folder are
sorted by name.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tfxai.base.errors import InputError, LabelError, MissingFileError, TfxaiError
from tfxai.io.images import SUFFIXES, read_bytes, read_shaped, warn_of_skipped
from tfxai.io.networks import find_label

Shape = tuple[int | None, int | None, int]
UNKNOWN = -1  # the label of a sample without one
DIGEST = 8  # bytes of the digest that is kept of each sample
LABELS = 2**31  # labels are smaller in amount


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
        digests: `DIGEST` bytes for each sample, if its content was hashed.
    """

    kind: str
    dtype: np.dtype = np.dtype(np.float32)
    shape: tuple[int | None, ...]
    labelled: bool = False
    parallel: int = 1
    travels: bool = True
    digests: bytes | None = None

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

    def verify(self, trust_times: bool = False) -> None:
        """Check and hash the content of the files, before the first sample is read.

        Args:
            trust_times: Do not hash: size and time identify a file.

        Raises:
            InputError: A file is damaged.
        """

    def check_unchanged(self, i: int, data: Any) -> None:
        """Raise InputError if the bytes of sample i are not those that were hashed."""
        if self.digests is None:
            return
        if digest(data) != self.digests[DIGEST * i : DIGEST * (i + 1)]:
            raise InputError(
                "The file has changed since the start of the run.",
                "files that stay as they are until the end of the run",
            )

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
            name, reason = (
                t.encode("utf-8", "replace") for t in (row.name, row.reason)
            )
            return x, np.int64(row.label), name, reason

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
        except TfxaiError as error:
            return SourceRow(i, self.name(i), UNKNOWN, None, str(error))
        except OSError as error:  # without the path, which differs between machines
            reason = str(error.strerror or type(error).__name__)
            return SourceRow(i, self.name(i), UNKNOWN, None, reason)
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
        self.compared = "times"

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        # A file name that is not UTF-8 is stored with replacement characters.
        return os.fsencode(self.names[i]).decode("utf-8", "replace")

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        label = self.classes.get(self.class_of[self.names[i]], UNKNOWN)
        name = self.name(i)
        shown = Path(name).name if os.path.isabs(name) else name
        data = read_bytes(self.paths[i], shown)
        self.check_unchanged(i, data)
        return read_shaped(Path(shown), self.shape, data), label, name

    def verify(self, trust_times: bool = False) -> None:
        if not trust_times:
            self.digests = digest_files(self.paths)
            self.compared = "contents"

    def settings(self) -> dict[str, Any]:
        files = list(zip(self.names, self.paths, strict=True))
        classes = {_printable(name): k for name, k in self.classes.items()}
        return {
            **{"kind": self.kind, "count": len(self), "classes": classes},
            "fingerprint": fingerprint_files(files, self.digests),
            "compared": self.compared,
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
    large = found[(found >= LABELS) | (found <= -LABELS)] if len(found) else found[:0]
    if len(large):
        raise InputError(f"y holds the label {large[0]}.", f"labels below {LABELS}")
    return found.astype(np.int64)


def model_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type in which samples reach the analyzer: their own.

    A callable gets it as it is; `ModelWrapper.checked` casts it for other models.
    """
    longest = dtype.kind == "f" and dtype.itemsize > 8  # which TensorFlow has not
    return np.dtype(np.float64) if longest else dtype.newbyteorder("=")


def fingerprint_files(
    files: Iterable[tuple[str, Path]], digests: bytes | None = None
) -> str:
    """Return a fingerprint of the names of files and of their content.

    Args:
        files: (name, path) of each file.
        digests: The digests of the contents. None takes sizes and times (in seconds).
    """
    found = hashlib.sha256(digests or b"")
    for name, path in files:
        line = f"{name}\0"
        if digests is None:
            try:
                stat = path.stat()
                line += f"{stat.st_size}\0{int(stat.st_mtime)}"
            except OSError as error:  # `read` raises it again
                line += str(error.errno)
        found.update(f"{line}\n".encode("utf-8", "surrogateescape"))
    return found.hexdigest()[:16]


def digest(data: Any) -> bytes:
    """Return `DIGEST` bytes that identify the content of a sample."""
    return hashlib.sha256(data).digest()[:DIGEST]


def digest_files(paths: Sequence[Path]) -> bytes:
    """Return the concatenated digests of files; zeros for one that cannot be read."""

    def of(path: Path) -> bytes:
        try:
            return digest(read_bytes(path))
        except TfxaiError:
            return bytes(DIGEST)

    with ThreadPoolExecutor(4) as pool:  # hashing leaves Python's lock
        return b"".join(pool.map(of, paths))


def _printable(name: str) -> str:
    """Return a file name as text; bytes that are not UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _walk(folder: Path) -> list[Path]:
    """Return the image files of a folder and its subfolders, without hidden ones."""
    found = []
    above = {str(folder): {os.path.realpath(folder)}}  # folder -> itself and parents
    for here, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        parents = above.pop(here)
        parent = Path(os.path.realpath(here))
        inside = {f: os.path.realpath(os.path.join(here, f)) for f in folders}
        folders[:] = [
            f for f, real in inside.items()
            if not f.startswith(".")
            and real not in parents and not parent.is_relative_to(real)  # a loop
        ]  # fmt: skip
        above |= {os.path.join(here, f): parents | {inside[f]} for f in folders}
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
    try:
        several = [given] if isinstance(given, str | os.PathLike) else list(given)
        paths = [Path(p) for p in several]
    except TypeError as error:
        raise InputError(
            f"The data are a {type(given).__name__}.",
            "a path or a list of paths, arrays, or a tf.data.Dataset",
        ) from error
    for path in paths:
        if not os.path.exists(path):
            raise MissingFileError(
                f"There is no file {str(path)!r}.",
                "a folder of images, an .npz file or TFRecord files",
            )
    return paths
