"""Small functions on arrays and tensors."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any  # a tf.Tensor; TensorFlow has no type stubs that mypy can use


def positive(v: Tensor) -> Tensor:
    """Return max(v, 0)."""
    return tf.nn.relu(v)


def negative(v: Tensor) -> Tensor:
    """Return min(v, 0)."""
    return tf.minimum(v, 0.0)


def size(v: Tensor, start: int = 0) -> list[Any]:
    """Return the shape from axis `start` on.

    Known dimensions are integers, unknown ones scalar tensors.
    """
    known: list[Any] = v.shape.as_list()[start:]
    if None not in known:
        return known
    dynamic = tf.unstack(tf.shape(v))[start:]  # indexing takes four operations per axis
    return [s if n is None else n for s, n in zip(dynamic, known, strict=True)]


def changed_by_cast(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the values of `array` that a cast to `dtype` truncates or wraps."""
    with np.errstate(invalid="ignore"):  # NumPy warns of values outside the range
        changed: np.ndarray = array[array.astype(dtype) != array]
    return changed


def in_dtype(values: Any, dtype: Any) -> np.ndarray:
    """Return computed numbers in the dtype of the numbers that they stand for.

    Args:
        values: Numbers.
        dtype: A NumPy dtype. For whole numbers the values are rounded and cut to its
            range; for booleans they are True from 0.5 on.
    """
    array, dtype = np.asarray(values), np.dtype(dtype)
    if array.dtype == dtype or array.dtype.kind not in "fiub":
        return array
    if dtype.kind == "b":
        return np.asarray(array >= 0.5)
    if dtype.kind in "iu" and array.dtype.kind == "f":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        rounded = np.rint(array.astype(float))
        result = np.clip(rounded, low, high).astype(dtype)
        # float(2**63 - 1) is 2**63, which int64 does not hold
        return np.where(rounded >= float(high), np.array(high, dtype), result)
    return array.astype(dtype)


def counts_of(shares: Any, size: int) -> np.ndarray:
    """Return shares of `size` items as numbers of whole items.

    The product is rounded to nine decimals first: .29 of 100 is 29, though .29 * 100 is
    below 29 in floating point.

    Args:
        shares: Shares from 0 to 1.
        size: Number of items.
    """
    exact = np.round(np.asarray(shares, float) * size, 9)
    return np.floor(exact).astype(int)


def real(v: Tensor) -> Tensor:
    """Return a tensor as float64 if it is float64, else as float32."""
    return tf.cast(v, tf.float64 if v.dtype == tf.float64 else tf.float32)


def as_rows(v: Tensor) -> Tensor:
    """Reshape (B, ...) to (B, n)."""
    if len(v.shape) == 2:
        return v
    return tf.reshape(v, [-1, math.prod(size(v, 1))])


def merge_seeds(s: Tensor) -> Tensor:
    """Reshape (K, B, ...) to (K * B, ...)."""
    return tf.reshape(s, [-1, *size(s, 2)])


def split_seeds(s: Tensor, seeds: Any) -> Tensor:
    """Reshape (K * B, ...) to (K, B, ...)."""
    return tf.reshape(s, [seeds, -1, *size(s, 1)])


def align(v: Tensor, like: Tensor) -> Tensor:
    """Reshape (k,) to (k, 1, ...), which broadcasts with `like` (B, ...)."""
    return tf.reshape(v, [-1, *[1] * len(like.shape)])


def chunk_indices(count: int, most: Tensor) -> Tensor:
    """Return 0, 1, ..., k - 1 for a loop over `count` elements, k at a time.

    All chunks have the same size, as XLA requires, and it is at most `most`. The last
    one may reach beyond `count`; `inside` returns which indices do not.

    Args:
        count: The number of elements.
        most: The largest size of a chunk, at least 1; a tensor.
    """
    loops = -(-count // most)
    return tf.range(-(-count // loops))


def inside(indices: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return indices (k,) without those beyond `count`, and weights (k,) of 1 and 0.

    An index beyond `count` is replaced by the last one, and has the weight 0.
    """
    return tf.minimum(indices, count - 1), tf.cast(indices < count, tf.float32)


def chunks(count: int, length: int) -> Iterator[slice]:
    """Yield consecutive slices of range(count), each of at most `length` items."""
    for start in range(0, count, length):
        yield slice(start, min(start + length, count))
