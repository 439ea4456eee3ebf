"""Baselines: reference inputs, by number, array or name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, OptionError
from tfxai.base.tensors import Tensor, changed_by_cast
from tfxai.base.validation import unmasked


def _over_space(reduce: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """A baseline from a statistic of each sample and channel, over the other axes."""

    def baseline(x: Tensor) -> Tensor:
        axes = list(range(1, max(2, len(x.shape) - 1)))
        return tf.broadcast_to(reduce(x, axes, keepdims=True), tf.shape(x))

    return baseline


#: name -> raw input (B, ...) -> baseline (B, ...).
BASELINES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "zero": tf.zeros_like,
        "min": _over_space(tf.reduce_min),
        "max": _over_space(tf.reduce_max),
        "mean": _over_space(tf.reduce_mean),
    }
)


class PerSample:
    """Baselines of every sample: the graphs read those of a batch from a variable.

    Args:
        array: Baselines (B, ...).
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        shape = tf.TensorShape([None, *array.shape[1:]])
        self.rows = tf.Variable(array, trainable=False, shape=shape)

    def select(self, rows: slice | None = None) -> None:
        """Set the samples of the batch; None sets all."""
        self.rows.assign(self.array if rows is None else self.array[rows])

    def check(self, count: int) -> None:
        """Raise InputError unless there is one baseline for each of `count` samples."""
        if count != len(self.array):
            raise InputError(
                f"baseline holds one for each of {len(self.array)} samples, and x has "
                f"{count}.",
                "one for each sample, or one for all without a batch axis",
                "baseline=array[0]",
            )

    def of(self, x: Tensor) -> Tensor:
        """Return the baselines (N, ...) of samples, or of copies of the batch."""
        count = tf.shape(self.rows)[0]
        rows = tf.gather(self.rows, tf.range(tf.shape(x)[0]) % count)
        return tf.cast(rows, x.dtype)


def per_sample(value: Any, specs: Any) -> Any:
    """Return a baseline in which arrays with one for each sample are `PerSample`.

    Args:
        value: As for `baselines`.
        specs: (shape with batch axis, dtype) of every input; None if not known.
    """
    specs = list(specs or ())
    several = isinstance(value, list | tuple) and len(specs) > 1
    values = list(value) if several else [value] * len(specs)
    if len(values) != len(specs) or not specs:
        return value
    found = [_per_sample(v, shape) for v, (shape, _) in zip(values, specs, strict=True)]
    if not any(isinstance(v, PerSample) for v in found):
        return value
    return found if len(specs) > 1 else found[0]


def _per_sample(value: Any, shape: Any) -> Any:
    """Return an array (B, ...) with B > 1 as `PerSample`, and all else as it is."""
    if np.isscalar(value) or value is None or isinstance(value, PerSample):
        return value
    try:
        rank = np.ndim(value)
    except ValueError:  # lists of several lengths, which `baselines` names
        return value
    if rank != len(shape) or len(value) == 1:
        return value
    return PerSample(_numbers(value))


def listed_per_sample(value: Any) -> list[PerSample]:
    """Return the `PerSample` in a baseline."""
    values = value if isinstance(value, list | tuple) else [value]
    return [v for v in values if isinstance(v, PerSample)]


def plain_baseline(value: Any) -> Any:
    """Return a baseline with arrays in place of `PerSample`."""
    if isinstance(value, list | tuple):
        return [plain_baseline(v) for v in value]
    return value.array if isinstance(value, PerSample) else value


def baselines(value: Any, inputs: list[Tensor]) -> list[Tensor]:
    """Return the baseline of each raw input.

    Args:
        value: A number, a name of `BASELINES`, an array, or a list of these with one
            for each input.
        inputs: The raw inputs (B, ...).

    Raises:
        InputError: An array does not broadcast against its input.
        OptionError: It is none of these, or the dtype of the input does not hold it.
    """
    several = isinstance(value, list | tuple) and len(inputs) > 1
    values = list(value) if several else [value] * len(inputs)
    if len(values) != len(inputs):
        raise InputError(
            f"baseline holds {len(values)} values for {len(inputs)} inputs.",
            "one value for all inputs, or one for each",
        )
    tensors = [tf.convert_to_tensor(x) for x in inputs]
    return [_baseline(v, x) for v, x in zip(values, tensors, strict=True)]


def baseline_arrays(value: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Return the baseline of each raw input of a plain callable, of any dtype.

    Args:
        value: As for `baselines`; text, bytes and objects stand for themselves.
        inputs: The raw inputs (B, ...).

    Raises:
        InputError: An array does not broadcast against its input.
        OptionError: It is none of these, or the dtype of the input does not hold it.
    """
    several = isinstance(value, list | tuple) and len(inputs) > 1
    values = list(value) if several else [value] * len(inputs)
    if len(values) == len(inputs) and any(v.dtype.kind in "OSUMm" for v in inputs):
        pairs = zip(values, inputs, strict=True)
        return [
            _values(v, x) if x.dtype.kind in "OSUMm" else baseline_arrays(v, [x])[0]
            for v, x in pairs
        ]
    wide = np.dtype(np.longdouble)  # TensorFlow has no such numbers
    arrays = [x.astype(float) if x.dtype == wide else x for x in inputs]
    tensors = [tf.convert_to_tensor(x) for x in arrays]
    return [np.asarray(b) for b in baselines(value, tensors)]


def _values(value: Any, x: np.ndarray) -> np.ndarray:
    """The baseline of an input of text, bytes or objects, of its shape."""
    array = np.asarray(value, x.dtype if x.dtype.kind == "O" else None)
    if array.dtype.kind != x.dtype.kind or array.ndim > x.ndim:
        raise OptionError(
            f"baseline={value!r} for inputs of {x.dtype}.",
            "one value of the input's type, or a row of them",
            "baseline=x[0]",
        )
    try:
        return np.broadcast_to(array, x.shape)
    except ValueError as error:
        raise InputError(
            f"baseline has shape {array.shape} for inputs of shape {x.shape}.",
            "one value, or an array that broadcasts against every input",
            "baseline=x[0]",
        ) from error


def _baseline(value: Any, x: Tensor) -> Tensor:
    """The baseline of one input, of its shape."""
    if isinstance(value, str):
        if value not in BASELINES:
            raise OptionError(
                f"baseline={value!r}.",
                f"a number, an array, or one of {list(BASELINES)}",
                "baseline=0",
            )
        if not x.dtype.is_floating and value == "mean":
            raise OptionError(
                f"baseline={value!r} for whole numbers.", "a number", "baseline=0"
            )
        return BASELINES[value](x)
    own = isinstance(value, PerSample)
    array = value.array[:1] if own else _numbers(value)
    if not x.dtype.is_floating and changed_by_cast(array, x.dtype.as_numpy_dtype).size:
        raise OptionError(
            f"baseline={value!r} for inputs of {x.dtype.name}.",
            f"whole numbers that {x.dtype.name} holds, or inputs of floats",
            'x.astype("float32")',
        )
    if array.ndim == len(x.shape) and array.shape[:1] not in ((1,), ()):
        raise InputError(
            f"baseline has shape {array.shape}: one for each sample.",
            "one baseline for all samples, without a batch axis",
            "baseline=array[0], or analyze sample by sample",
        )
    try:
        shape = tf.broadcast_static_shape(tf.TensorShape(array.shape), x.shape)
        fits = shape.rank == x.shape.rank
    except ValueError:
        fits = False
    if not fits:
        raise InputError(
            f"baseline has shape {array.shape} for inputs of shape {tuple(x.shape)}.",
            "a number, or an array that broadcasts against every input",
            "baseline=0",
        )
    if own:
        return tf.broadcast_to(value.of(x), tf.shape(x))
    return tf.broadcast_to(tf.cast(array, x.dtype), tf.shape(x))


def _numbers(value: Any) -> np.ndarray[Any, Any]:
    """An array of finite numbers, or OptionError."""
    value = unmasked("baseline", value)
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise OptionError(
            f"baseline={value!r}.",
            f"a finite number, an array of them, or one of {list(BASELINES)}",
            "baseline=0",
        )
    return array
