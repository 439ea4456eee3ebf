"""A `tf.data.Dataset` as numbered samples."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, TfxaiError
from tfxai.datasets.sources import (
    UNKNOWN,
    Row,
    Source,
    check_rows,
    finite,
    kept_dtype,
    whole_labels,
)

BYTES = 8  # of the digest that is kept of each sample


class Pipeline(Source):
    """A `tf.data.Dataset` of batches x or (x, y), always in the same order.

    It can only be read from its beginning. It is read once before all else, to count
    its samples, to check them, and to know each of them again: one that comes in
    another order, here or when a run is started again, is refused.
    """

    kind, travels = "tf.data", False

    def __init__(self, dataset: Any, first_label: int = 0) -> None:
        spec, self.first_label = dataset.element_spec, first_label
        self.labelled = isinstance(spec, tuple) and len(spec) > 1
        first = spec[0] if isinstance(spec, tuple) else spec
        if not hasattr(first, "shape") or not first.shape.rank:
            raise InputError(f"The dataset holds {spec}.", "batches x, or (x, y)")
        self.dtype = kept_dtype(np.dtype(first.dtype.as_numpy_dtype))
        if int(dataset.cardinality()) == -1:
            raise InputError("The dataset never ends.", "an end", "dataset.take(1000)")
        self.samples = dataset.unbatch()
        self.shape, self.digests = self._first_pass(dataset)
        self.count = len(self.digests) // BYTES
        told = f"{self.dtype} {self.shape} {self.labelled} ".encode() + self.digests
        self.fingerprint = hashlib.sha256(told).hexdigest()[:16]

    def _first_pass(self, dataset: Any) -> tuple[tuple, bytes]:
        """The shape of the samples, and the digests of all, one after another."""
        made, shapes = bytearray(), set()
        for x, y in self._batches(dataset):
            known = None if y is None else y.shape
            check_rows(x.shape, x.dtype, known)
            shapes.add(x.shape[1:])
            if len(shapes) > 1:
                raise InputError(
                    f"The samples of the dataset have shapes {sorted(shapes)}.",
                    "one shape for all of a run",
                )
            labels = [UNKNOWN] * len(x) if y is None else y
            for sample, label in zip(x, labels, strict=True):
                made += _digest(sample, int(label))
        if not made:
            raise InputError("The dataset holds no sample.", "at least one")
        return shapes.pop(), bytes(made)

    def _batches(self, dataset: Any) -> Iterator[tuple[np.ndarray, Any]]:
        try:
            for batch in dataset.as_numpy_iterator():
                x = batch[0] if isinstance(batch, tuple) else batch
                yield np.asarray(x), whole_labels(batch[1]) if self.labelled else None
        except TfxaiError:
            raise
        except Exception as error:  # whatever the user's functions raise
            raise InputError(
                f"The dataset fails: {type(error).__name__}: {error}",
                "batches x, or (x, y), that can be read to the end",
            ) from error

    def __len__(self) -> int:
        return self.count

    def told(self) -> dict[str, Any]:
        return {
            **{"kind": self.kind, "count": self.count},
            **{"fingerprint": self.fingerprint, "first_label": self.first_label},
        }

    def stream(self, shards: Sequence[int], size: int, ahead: int) -> Iterator[Row]:
        """The samples of the shards. Raises InputError where they have changed."""
        import tensorflow as tf

        last = min((max(shards, default=-1) + 1) * size, self.count) - 1
        found = -1
        wanted = tf.constant(np.asarray(shards, np.int64))
        samples = self.samples.enumerate().filter(
            lambda i, _: tf.reduce_any(wanted == i // size)
        )
        for i, sample in samples.prefetch(ahead).as_numpy_iterator():
            found = int(i)
            x = sample[0] if isinstance(sample, tuple) else sample
            label = int(whole_labels(sample[1:2])[0]) if self.labelled else UNKNOWN
            if _digest(x, label) != self.digests[BYTES * found :][:BYTES]:
                raise _changed(found)
            if self.labelled:
                label -= self.first_label
            yield finite(found, self.name(found), label, np.asarray(x, self.dtype))
        if found < last:
            raise _changed(found + 1)


def _digest(x: Any, label: int) -> bytes:
    """What tells a sample, as the dataset gives it, from another one of its shape."""
    made = hashlib.sha256(np.ascontiguousarray(x).data)
    made.update(label.to_bytes(8, "little", signed=True))
    return made.digest()[:BYTES]


def _changed(i: int) -> InputError:
    return InputError(
        f"Sample {i} of the dataset is not what it was in the first pass.",
        "the same samples in the same order each time: no map that draws, and a "
        "shuffle that is always the same",
        ".shuffle(n, seed=0, reshuffle_each_iteration=False)",
    )
