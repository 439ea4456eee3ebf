"""Data sets in TFRecord files; and `open_source`, which takes any data set.

A TFRecord file is never read whole: an index says where its records are.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import ImageError, InputError, MissingFileError, OptionError
from tfxai.core.inputs import picture_shape
from tfxai.core.model import ModelWrapper
from tfxai.datasets import sources
from tfxai.datasets.npz import Npz
from tfxai.datasets.pipeline import Pipeline
from tfxai.datasets.sources import UNKNOWN, Shape, Source
from tfxai.io.images import SUFFIXES, read_shaped

#: The keys of ImageNet's TFRecords, as TensorFlow's own scripts write them.
ENCODED, LABEL, FILENAME = "image/encoded", "image/class/label", "image/filename"
LOOKED_AT = (
    1000  # records in which a label is looked for, to know whether there are any
)


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
        first = range(min(len(self.spans), LOOKED_AT))
        self.labelled = any(self._has_label(i) for i in first)

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
                f"a picture file under {ENCODED!r}",
            )
        values = feature[LABEL].int64_list.value if LABEL in feature else []
        label = int(values[0]) - self.first_label if values else UNKNOWN
        names = feature[FILENAME].bytes_list.value if FILENAME in feature else []
        name = names[0].decode("utf-8", "replace") if names else self.name(i)
        return read_shaped(Path(name), self.shape, data[0]), label, name

    def told(self) -> dict[str, Any]:
        made = sources.stamped((p.name, p) for p in self.paths)
        return {
            **{"kind": self.kind, "count": len(self), "fingerprint": made},
            "first_label": self.first_label,
        }

    def _has_label(self, i: int) -> bool:
        try:
            return LABEL in self._features(i)
        except ImageError:  # listed when its turn comes
            return False

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
            raise ImageError(
                f"Record {self.name(i)} is no tf.train.Example: {error}."
            ) from error


def open_source(
    data: Any,
    wrapped: ModelWrapper,
    labels: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    first_label: int = 0,
) -> Source:
    """What is given as `data` as a source of samples that the model takes.

    data: a folder of pictures, picture, `.npz` or TFRecord files; an array, (x, y), or
    a `tf.data.Dataset` of batches. size: (height, width) of pictures, where the network
    takes any. labels: find the classes of subfolders. first_label: the number of the
    first class, in labels that are numbers. Raises OptionError for what has no use.
    """
    import tensorflow as tf

    if wrapped.specs is not None and len(wrapped.specs) != 1:
        raise InputError(
            f"The model has {len(wrapped.specs)} inputs.",
            "one; the maps of several are for tfxai.explain",
        )
    source: Source
    if isinstance(data, tf.data.Dataset):
        source = Pipeline(data, first_label)
    elif hasattr(data, "__array__"):
        source = sources.Arrays(data)
    elif isinstance(data, tuple) and data and hasattr(data[0], "__array__"):
        source = sources.Arrays(data[0], (*data, None)[1], first_label)
    else:
        paths = sources.existing(data)
        source = _of_files(paths, wrapped, labels, size, first_label)
    _check_used(source, labels=labels, size=size, first_label=first_label)
    _check_shape(source, wrapped)
    return source


def _check_used(source: Source, **options: Any) -> None:
    """Refuse what this kind of data does not read."""
    used = {"pictures": {"labels", "size"}, "tfrecord": {"size", "first_label"}}
    reads = used.get(source.kind, {"first_label"} if source.labelled else set())
    for name, value in options.items():
        if name not in reads and value is not None and value not in (0, (), []):
            raise OptionError(
                f"{name}={value!r} with data of the kind {source.kind!r}"
                f"{'' if source.labelled else ' without labels'}.",
                f"no {name}: it has no use there",
            )


def holds_pictures(given: Sequence[str | os.PathLike]) -> bool:
    """Are there picture files among the paths or in their folders?"""
    paths = sources.existing(given)
    alone = any(p.is_file() and p.suffix.lower() in SUFFIXES for p in paths)
    return alone or bool(sources.pictures_of([p for p in paths if p.is_dir()]).files)


def _of_files(
    paths: list[Path], wrapped: ModelWrapper, labels: Any, size: Any, first_label: int
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
    if found.files:
        return sources.Pictures(found, _picture_shape(wrapped, size), labels)
    inside = sorted(p for d in paths for p in d.iterdir() if _looks_like_records(p))
    if inside:
        return Records(inside, _picture_shape(wrapped, size), first_label)
    raise MissingFileError(
        f"{', '.join(repr(str(p)) for p in paths)} holds no picture and no TFRecord.",
        f"files that end in {', '.join(SUFFIXES)}, here or in subfolders",
    )


def _picture_shape(wrapped: ModelWrapper, size: tuple[int, int] | None) -> Shape:
    height, width, channels = picture_shape(wrapped)
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


def _check_shape(source: Source, wrapped: ModelWrapper) -> None:
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
