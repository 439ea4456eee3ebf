"""A `tf.data.Dataset` as numbered samples."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfxai.batch.sources import (
    UNKNOWN,
    Row,
    Source,
    check_rows,
    finite,
    kept_dtype,
    whole_labels,
)
from tfxai.errors import InputError, TfxaiError


class Pipeline(Source):
    """A `tf.data.Dataset` of batches x or (x, y), always in the same order.

    It can only be read from its beginning. It is read once before all else, to count
    its samples, to check them, and to know it again: one in another order is refused.
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
        self.count, self.shape, self.fingerprint = self._first_pass(dataset)

    def _first_pass(self, dataset: Any) -> tuple[int, tuple, str]:
        """How many samples, their shape, and a fingerprint of x and y."""
        made, count, shapes = (hashlib.sha256(), hashlib.sha256()), 0, set()
        for x, y in self._batches(dataset):
            known = None if y is None else y.shape
            check_rows(x.shape, x.dtype, known)
            shapes.add(x.shape[1:])
            if len(shapes) > 1:
                raise InputError(
                    f"The samples of the dataset have shapes {sorted(shapes)}.",
                    "one shape for all of a run",
                )
            for hashed, part in zip(made, (x, y), strict=True):
                hashed.update(b"" if part is None else np.ascontiguousarray(part).data)
            count += len(x)
        if not count:
            raise InputError("The dataset holds no sample.", "at least one")
        told = f"{self.dtype} {[h.hexdigest() for h in made]}".encode()
        return count, shapes.pop(), hashlib.sha256(told).hexdigest()[:16]

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
        import tensorflow as tf

        wanted = tf.constant(np.asarray(shards, np.int64))
        samples = self.samples.enumerate().filter(
            lambda i, _: tf.reduce_any(wanted == i // size)
        )
        for i, sample in samples.prefetch(ahead).as_numpy_iterator():
            x = sample[0] if isinstance(sample, tuple) else sample
            label = UNKNOWN
            if self.labelled:
                label = whole_labels(sample[1:2])[0] - self.first_label
            x = np.asarray(x, self.dtype)
            yield finite(int(i), self.name(int(i)), int(label), x)
