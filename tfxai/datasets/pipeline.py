"""A `tf.data.Dataset` as a source of numbered samples."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, TfxaiError
from tfxai.datasets.sources import (
    DIGEST,
    UNKNOWN,
    Source,
    SourceRow,
    check_samples,
    finite_row,
    integer_labels,
    model_dtype,
)


class DatasetSource(Source):
    """A `tf.data.Dataset` of batches x or (x, y), always in the same order.

    A dataset can only be read from its start. A first pass counts and checks the
    samples and keeps a digest of each. A dataset whose samples or order differ later,
    in this run or in a resumed one, raises an error.

    Args:
        dataset: The dataset, of batches x or (x, y).
        first_label: The number of the first class in y.

    Raises:
        InputError: The dataset is infinite, empty, fails, or has no suitable samples.
    """

    kind, travels = "tf.data", False

    def __init__(self, dataset: Any, first_label: int = 0) -> None:
        spec, self.first_label = dataset.element_spec, first_label
        self.labelled = isinstance(spec, tuple) and len(spec) > 1
        first = spec[0] if isinstance(spec, tuple) else spec
        if not hasattr(first, "shape") or not first.shape.rank:
            raise InputError(f"The dataset holds {spec}.", "batches x, or (x, y)")
        self.dtype = model_dtype(np.dtype(first.dtype.as_numpy_dtype))
        if int(dataset.cardinality()) == -1:
            raise InputError(
                "The dataset is infinite.", "a finite dataset", "dataset.take(1000)"
            )
        self.samples = dataset.unbatch()
        self.shape, digests = self._first_pass(dataset)
        self.digests, self.count = digests, len(digests) // DIGEST
        header = f"{self.dtype} {self.shape} {self.labelled} ".encode()
        self.fingerprint = hashlib.sha256(header + digests).hexdigest()[:16]

    def _first_pass(self, dataset: Any) -> tuple[tuple[int, ...], bytes]:
        """Return the shape of the samples and the concatenated digests."""
        digests, shapes = bytearray(), set()
        for x, y in self._batches(dataset):
            labels = None if y is None else y.shape
            check_samples(x.shape, x.dtype, labels)
            shapes.add(x.shape[1:])
            if len(shapes) > 1:
                raise InputError(
                    f"The samples of the dataset have shapes {sorted(shapes)}.",
                    "one shape for all samples of a run",
                )
            known = [UNKNOWN] * len(x) if y is None else y
            for sample, label in zip(x, known, strict=True):
                digests += _digest(sample, int(label))
        if not digests:
            raise InputError("The dataset holds no sample.", "at least one sample")
        return shapes.pop(), bytes(digests)

    def _batches(self, dataset: Any) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield the batches (x, y), y None without labels."""
        try:
            for batch in dataset.as_numpy_iterator():
                x = batch[0] if isinstance(batch, tuple) else batch
                y = integer_labels(batch[1]) if self.labelled else None
                yield np.asarray(x), y
        except TfxaiError:
            raise
        except Exception as error:  # the user's functions may raise any exception
            raise InputError(
                f"The dataset fails: {type(error).__name__}: {error}",
                "batches x, or (x, y), that can be read to the end",
            ) from error

    def __len__(self) -> int:
        return self.count

    def settings(self) -> dict[str, Any]:
        return {
            **{"kind": self.kind, "count": self.count},
            **{"fingerprint": self.fingerprint, "first_label": self.first_label},
        }

    def stream(
        self, shards: Sequence[int], size: int, ahead: int
    ) -> Iterator[SourceRow]:
        """Yield the samples of the shards; see `Source.stream`.

        Raises:
            InputError: A sample differs from the first pass.
        """
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
            label = int(integer_labels(sample[1:2])[0]) if self.labelled else UNKNOWN
            at = slice(DIGEST * found, DIGEST * (found + 1))
            if _digest(x, label) != (self.digests or b"")[at]:
                raise _changed(found)
            if self.labelled:
                label -= self.first_label
            yield finite_row(found, self.name(found), label, np.asarray(x, self.dtype))
        if found < last:
            raise _changed(found + 1)


def _digest(x: Any, label: int) -> bytes:
    """Return a digest of the values and the label of a sample."""
    digest = hashlib.sha256(np.ascontiguousarray(x).data)
    digest.update(label.to_bytes(8, "little", signed=True))
    return digest.digest()[:DIGEST]


def _changed(i: int) -> InputError:
    return InputError(
        f"Sample {i} of the dataset differs from the first pass.",
        "the same samples in the same order in each pass: no random map, and a "
        "shuffle with a fixed order",
        ".shuffle(n, seed=0, reshuffle_each_iteration=False)",
    )
