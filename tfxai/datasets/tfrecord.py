"""Data sets in TFRecord files; and `open_source`, which accepts any data set.

A TFRecord file is never read as a whole: an index holds the positions of its records.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import ImageError, InputError, MissingFileError, OptionError
from tfxai.core.inputs import image_shape
from tfxai.core.model import ModelWrapper
from tfxai.datasets import sources
from tfxai.datasets.crc32c import masked_crc32c
from tfxai.datasets.npz import NpzSource
from tfxai.datasets.pipeline import DatasetSource
from tfxai.datasets.sources import UNKNOWN, Shape, Source
from tfxai.io.images import SUFFIXES, read_shaped

#: The keys of ImageNet's TFRecords, as TensorFlow's scripts write them.
ENCODED, LABEL, FILENAME = "image/encoded", "image/class/label", "image/filename"
SEARCHED = 1000  # records that are searched for a label to set `labelled`


class TFRecordSource(Source):
    """Images of TFRecord files: image/encoded, and optionally image/class/label.

    Args:
        paths: The TFRecord files.
        shape: The shape of an input, (height, width, channels).
        first_label: The number of the first class in the records.

    Raises:
        InputError: A file is not a complete TFRecord file, or no record exists.
    """

    kind, parallel = "tfrecord", 2

    def __init__(self, paths: Sequence[Path], shape: Shape, first_label: int) -> None:
        self.paths = [p.absolute() for p in paths]
        self.shape: Shape = shape
        self.first_label = first_label
        try:
            found = [_index(p) for p in self.paths]
        except OSError as error:
            name = str(error.filename)
            raise InputError(f"{name!r} cannot be read: {error.strerror}.") from error
        self.starts = np.concatenate([[0], np.cumsum([len(f) for f in found])])
        self.spans = np.concatenate(found)
        if not len(self.spans):
            raise InputError(
                f"{[str(p) for p in paths]} hold no record.", "at least one record"
            )
        first = range(min(len(self.spans), SEARCHED))
        self.labelled = any(self._has_label(i) for i in first)
        self.compared = "times"

    def __len__(self) -> int:
        return len(self.spans)

    def name(self, i: int) -> str:
        file = int(np.searchsorted(self.starts, i, "right")) - 1
        return f"{self.paths[file].name}#{i - self.starts[file]}"

    def read(self, i: int) -> tuple[np.ndarray, int, str]:
        feature = self._features(i)
        data = feature[ENCODED].bytes_list.value if ENCODED in feature else []
        if not data:
            raise ImageError(
                f"Record {self.name(i)} holds {sorted(feature)}.",
                f"an encoded image under {ENCODED!r}",
            )
        values = feature[LABEL].int64_list.value if LABEL in feature else []
        label = int(values[0]) - self.first_label if values else UNKNOWN
        names = feature[FILENAME].bytes_list.value if FILENAME in feature else []
        name = names[0].decode("utf-8", "replace") if names else self.name(i)
        if "\0" in name or abs(label) >= sources.LABELS:
            raise ImageError(
                f"Record {self.name(i)} has the name {name[:80]!r} and label {label}.",
                f"a name without NUL, and a label below {sources.LABELS}",
            )
        return read_shaped(Path(name), self.shape, data[0]), label, name

    def verify(self, trust_times: bool = False) -> None:
        if not trust_times:
            found = (sources.digest(self._bytes(i)) for i in range(len(self)))
            self.digests, self.compared = b"".join(found), "contents"

    def settings(self) -> dict[str, Any]:
        files = [(p.name, p) for p in self.paths]
        return {
            **{"kind": self.kind, "count": len(self)},
            "fingerprint": sources.fingerprint_files(files, self.digests),
            **{"first_label": self.first_label, "compared": self.compared},
        }

    def _has_label(self, i: int) -> bool:
        """Return True if record i has a label."""
        try:
            return LABEL in self._features(i)
        except ImageError:  # `read` raises the error again
            return False

    def _features(self, i: int) -> Any:
        """Return the features of record i."""
        import tensorflow as tf

        framed = self._bytes(i)
        self.check_unchanged(i, framed)
        data, checksum = framed[:-4], int.from_bytes(framed[-4:], "little")
        if len(framed) < 4 or masked_crc32c(data) != checksum:
            raise ImageError(
                f"The checksum of record {self.name(i)} differs: it is damaged.",
                "an undamaged TFRecord file, such as another copy",
            )
        try:
            return tf.train.Example.FromString(data).features.feature
        except Exception as error:  # protobuf documents no exception type
            raise ImageError(
                f"Record {self.name(i)} is not a tf.train.Example: {error}."
            ) from error

    def _bytes(self, i: int) -> bytes:
        """Return the bytes of record i and of its checksum."""
        start, length = self.spans[i]
        file = int(np.searchsorted(self.starts, i, "right")) - 1
        with open(self.paths[file], "rb") as opened:
            opened.seek(int(start))
            return opened.read(int(length) + 4)


def open_source(
    data: Any,
    wrapped: ModelWrapper,
    labels: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    first_label: int = 0,
    trust_times: bool = False,
) -> Source:
    """Return a source of samples that fit the model; its files are read once.

    Args:
        data: The data set: a folder of images; image, `.npz` or TFRecord files; an
            array, a pair (x, y), or a `tf.data.Dataset` of batches.
        wrapped: The model.
        labels: The names of the model's classes, to number subfolders.
        size: The (height, width) of images for a model that accepts any size.
        first_label: The number of the first class in numeric labels.
        trust_times: Identify files by size and time (in seconds), and not by content.

    Raises:
        OptionError: An option has no effect for this kind of data.
        InputError: The samples do not fit the model.
        MissingFileError: A path does not exist, or holds no data.
    """
    import tensorflow as tf

    if wrapped.specs is not None and len(wrapped.specs) != 1:
        raise InputError(
            f"The model has {len(wrapped.specs)} inputs.",
            "one input; tfxai.explain accepts models with several",
        )
    source: Source
    if isinstance(data, tf.data.Dataset):
        source = DatasetSource(data, first_label)
    elif hasattr(data, "__array__"):
        source = sources.ArraySource(data)
    elif isinstance(data, tuple) and data and hasattr(data[0], "__array__"):
        source = sources.ArraySource(data[0], (*data, None)[1], first_label)
    else:
        paths = sources.existing_paths(data)
        source = _of_files(paths, wrapped, labels, size, first_label)
    _check_used(
        source, labels=labels, size=size, first_label=first_label,
        trust_times=trust_times,
    )  # fmt: skip
    _check_shape(source, wrapped)
    source.verify(trust_times)
    return source


def _check_used(source: Source, **options: Any) -> None:
    """Raise OptionError for an option that this kind of data does not use."""
    used = {"pictures": {"labels", "size"}, "tfrecord": {"size", "first_label"}}
    reads = used.get(source.kind, {"first_label"} if source.labelled else set())
    reads |= {"trust_times"} if source.kind in (*used, "npz") else set()
    for name, value in options.items():
        if name not in reads and value is not None and value not in (0, (), []):
            raise OptionError(
                f"{name}={value!r} with data of the kind {source.kind!r}"
                f"{'' if source.labelled else ' without labels'}.",
                f"no {name}: it has no effect there",
            )


def holds_images(given: Sequence[str | os.PathLike[str]]) -> bool:
    """Return True if image files are among the paths or in their folders."""
    paths = sources.existing_paths(given)
    alone = any(p.is_file() and p.suffix.lower() in SUFFIXES for p in paths)
    return alone or bool(sources.find_images([p for p in paths if p.is_dir()]).files)


def _of_files(
    paths: list[Path], wrapped: ModelWrapper, labels: Any, size: Any, first_label: int
) -> Source:
    """Return the source of some files and folders."""
    if [p.suffix.lower() for p in paths] == [".npz"]:
        return NpzSource(paths[0], first_label)
    files = [p for p in paths if p.is_file() and p.suffix.lower() not in SUFFIXES]
    if files and len(files) == len(paths):
        return TFRecordSource(paths, _image_shape(wrapped, size), first_label)
    if files:
        raise InputError(
            f"{str(files[0])!r} is not an image, and other paths are given with it.",
            "images and their folders, TFRecord files, or one .npz",
        )
    found = sources.find_images(paths)
    if found.files:
        return sources.ImageFolderSource(found, _image_shape(wrapped, size), labels)
    inside = sorted(p for d in paths for p in d.iterdir() if _looks_like_records(p))
    if inside:
        return TFRecordSource(inside, _image_shape(wrapped, size), first_label)
    raise MissingFileError(
        f"{', '.join(repr(str(p)) for p in paths)} holds no image and no TFRecord.",
        f"files that end in {', '.join(SUFFIXES)}, here or in subfolders",
    )


def _image_shape(wrapped: ModelWrapper, size: tuple[int, int] | None) -> Shape:
    """Return (height, width, channels) of the images that the model receives."""
    height, width, channels = image_shape(wrapped)
    if size is None and None in (height, width):
        raise OptionError(
            f"The model accepts images of any size, ({height}, {width}).",
            "one size for all images of a run",
            "size=(224, 224), or --size 224x224",
        )
    if size is None:
        return height, width, channels
    if any(w not in (None, s) for s, w in zip(size, (height, width), strict=True)):
        raise OptionError(
            f"size={size}, but the model accepts ({height}, {width}).",
            "no size: images are resized to the size that the model accepts",
        )
    return (*size, channels)


def _check_shape(source: Source, wrapped: ModelWrapper) -> None:
    """Raise InputError if the samples do not have the model's input shape."""
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
            f"the model's input shape, {wanted}",
            "x[..., None] to add a channel axis",
        )


# -- TFRecords -----------------------------------------------------------------------


def _index(path: Path) -> np.ndarray:
    """Return the start and the length in bytes of each record, (records, 2)."""
    spans: list[tuple[int, int]] = []
    at, end = 0, path.stat().st_size
    with open(path, "rb") as file:
        while at < end:
            file.seek(at)
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else end
            why = ""
            if at + 16 + length > end:
                why = "ends after the file"
            elif file.read(4) != masked_crc32c(head).to_bytes(4, "little"):
                why = "has a length with another checksum"
            if why:
                raise InputError(
                    f"{str(path)!r} is not a complete TFRecord file: record "
                    f"{len(spans)} at byte {at} {why}.",
                    "an uncompressed TFRecord file, a folder of images or an .npz",
                )
            spans.append((at + 12, length))
            at += 16 + length
    return np.array(spans, np.int64).reshape(-1, 2)


def _looks_like_records(path: Path) -> bool:
    """Return True for a TFRecord file, by its name and by its first record.

    The names that TensorFlow's scripts use have no suffix.
    """
    if not path.is_file() or path.name.startswith(".") or os.path.getsize(path) < 16:
        return False
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    return "tfrecord" in path.name or (
        "-of-" in path.name and 16 + length <= os.path.getsize(path)
    )
