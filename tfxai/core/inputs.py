"""Checks of inputs: a batch of finite numbers of the shape that the model takes."""

import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, ModelError, OptionError
from tfxai.base.tensors import changed_by_cast, chunks
from tfxai.base.validation import is_int, unmasked
from tfxai.graph.private import functional, is_graph
from tfxai.graph.step import Step

Array = np.ndarray[Any, Any]
Shape = tuple[int | None, ...]
Specs = list[tuple[Shape, str]]
#: What TensorFlow says of an index outside the table in which it is looked up.
_OUTSIDE = re.compile(r"indices\[([\d,]*)\] = (-?\d+) is not in \[0, (\d+)\)")


class SpecsByShape(list[tuple[Shape, str]]):
    """Specs of a model that is read for each size of its open axes."""


def check_inputs(
    x: Any,
    specs: Specs | None,
    exact: bool = False,
    frames: Container[int] = (),
) -> list[Array]:
    """Return inputs as a flat list of arrays (B, ...): integers, or else float32.

    Args:
        x: The inputs.
        specs: (shape with batch axis, dtype) of every input; None if not known.
        exact: Every array keeps its dtype, and text, bytes and objects are inputs,
            too: for a plain callable.
        frames: Numbers of the inputs of data frames, which may hold NaN.

    Raises:
        InputError: The inputs do not fit.
    """
    single = specs is None or len(specs) == 1
    values = [x] if single and not isinstance(x, dict) else keras.tree.flatten(x)
    if single and isinstance(x, list | tuple) and len(x) == 1 and np.ndim(x[0]) > 1:
        values = list(x)
    if exact:
        values = list(x) if _several(x) else [x]
    shapes = [s if d == "string" else None for s, d in specs or ()]
    shapes = shapes if len(shapes) == len(values) else [None] * len(values)
    pairs = zip(values, shapes, strict=True)
    arrays = [_array(v, exact) if s is None else _texts(v, s) for v, s in pairs]
    if specs is not None and len(arrays) != len(specs):
        raise InputError(
            f"x holds {len(arrays)} array(s), but the model has {len(specs)} inputs.",
            f"one array for each of {[s for s, _ in specs]}",
            "analyze([a, b])",
        )
    for i, array in enumerate(arrays):
        _check_shape(array, None if specs is None else specs[i][0], i in frames)
        _check_whole(array, "" if specs is None else specs[i][1])
    if len({len(a) for a in arrays}) > 1:
        raise InputError(
            f"The inputs have batches of {[len(a) for a in arrays]} samples.",
            "the same number of samples in each",
        )
    return arrays


def _several(x: Any) -> bool:
    """True for the inputs of a callable that are several arrays.

    A list of arrays of one shape is a batch of samples; a tuple never is.
    """
    if not isinstance(x, list | tuple) or not len(x):
        return False
    if len(x) == 1 and np.ndim(x[0]) > 1:
        return True
    shapes = {tuple(getattr(v, "shape", ())) for v in x}
    return () not in shapes and (isinstance(x, tuple) or len(shapes) > 1)


def per_input(name: str, value: Any, names: list[Any], count: int) -> list[Any]:
    """Return the value of an option for each of `count` inputs.

    Args:
        name: The name of the option, for errors.
        value: One value for all inputs; for several inputs a list or a tuple with one
            for each, or a mapping from their names.
        names: The names of the inputs, or none.
        count: The number of inputs.

    Raises:
        OptionError: The list or the mapping does not have one value for each input.
    """
    if count == 1 or not isinstance(value, list | tuple | Mapping):
        return [value] * count
    if isinstance(value, Mapping) and not set(value) & set(names):
        return [value] * count
    keys = list(names) if isinstance(value, Mapping) else [*range(count)]
    held = list(value) if isinstance(value, Mapping) else [*range(len(value))]
    if set(held) != set(keys):
        raise OptionError(
            f"{name} has values for {held}, and the inputs are {keys}.",
            "one value for each input",
            f"{name}={dict.fromkeys(names, 0) if names else [0] * count}",
        )
    return [value[k] for k in keys]


def input_names(model: Any) -> list[str]:
    """Return the names of the inputs of a graph in their order; else none."""
    if not is_graph(model):
        return []
    wanted = functional(model).input
    if isinstance(wanted, dict):
        return sorted(wanted)
    return [t.name for t in keras.tree.flatten(wanted)]


def in_order(x: Any, model: Any) -> Any:
    """Return the values of a dict in the order of the model's inputs."""
    if not isinstance(x, dict) or not is_graph(model):
        return x
    names = input_names(model)
    if not set(names) <= set(x):
        raise InputError(
            f"x is a dict of {sorted(map(str, x))}.",
            f"one array for each of the model's inputs, {names}",
            f"analyze({{{names[0]!r}: ..., ...}})",
        )
    return x[names[0]] if len(names) == 1 else [x[n] for n in names]


def gathered(dataset: tf.data.Dataset) -> Any:
    """Return all batches of a dataset as arrays; of `(x, y)` elements the x."""
    batches = [b[0] if isinstance(b, tuple) else b for b in dataset.as_numpy_iterator()]
    if not batches:
        raise InputError("The dataset is empty.", "at least one batch")
    return keras.tree.map_structure(lambda *v: np.concatenate(v), *batches)


def _array(value: Any, exact: bool = False) -> Array:
    """An array of numbers (exact: of any dtype, as it is), or InputError."""
    value = unmasked("x", value)
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if exact and array.ndim and array.dtype.names is None:
        return array
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise InputError(
            f"x is {type(value).__name__} of dtype {array.dtype}.",
            "a batch of numbers: a NumPy array, a tensor or a tf.data.Dataset",
        )
    return array if array.dtype.kind in "iu" and array.itemsize > 1 else _floats(array)


def _texts(value: Any, shape: Shape) -> Array:
    """An array of texts for an input of strings; (B,) as (B, 1) where it takes that."""
    array = np.asarray(value)
    array = array.astype(object) if array.dtype.kind in "US" else array
    if array.dtype.kind != "O" or not all(
        isinstance(t, str | bytes) for t in array.flat
    ):
        raise InputError(
            f"x is {type(value).__name__} of dtype {array.dtype}, and the model takes "
            "texts.",
            "a list or an array of texts",
            'x=["one text", "another"]',
        )
    return array[:, None] if array.ndim == 1 and shape[1:] == (1,) else array


def _floats(array: Array) -> Array:
    with np.errstate(over="ignore"):  # the check for infinity follows
        return np.asarray(array, np.float32)


def _check_shape(array: Array, shape: Shape | None, missing: bool = False) -> None:
    """Raise InputError for another shape, an empty batch, infinity, or NaN.

    missing: NaN is a value.
    """
    wanted = "(B, ...)" if shape is None else str(("B", *shape[1:])).replace("'", "")
    if shape is not None and array.shape != () and fits(array.shape, shape[1:]):
        raise InputError(
            f"x has shape {array.shape}: there is no batch axis.",
            f"shape {wanted}",
            "analyze(x[None])",
        )
    if array.ndim < 1 or (shape is not None and not fits(array.shape[1:], shape[1:])):
        raise InputError(f"x has shape {array.shape}.", f"shape {wanted}")
    if len(array) == 0:
        raise InputError(f"x has shape {array.shape}: the batch is empty.", wanted)
    if array.dtype.kind in "OSUMm":  # no numbers
        return
    valid = np.isfinite(array) | (np.isnan(array) if missing else False)
    finite = valid.reshape(len(array), -1).all(-1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise InputError(
            f"x holds NaN or infinity in sample(s) {bad[:5].tolist()}.",
            "finite numbers",
            "np.isfinite(x) shows where",
        )


def _check_whole(array: Array, dtype: str) -> None:
    """Raise InputError for numbers that the integer type of an input cannot hold."""
    if "int" not in dtype:
        return
    wrong = changed_by_cast(array, dtype)
    if wrong.size:
        write = "a model whose keras.Input is float32"
        if array.min() >= 0 and array.max() <= 1:
            write = f"255 * x, for images in 0..1; or {write}"
        elif np.abs(array).max() <= np.iinfo(dtype).max and array.dtype.kind == "f":
            write = f"np.rint(x), the nearest whole numbers; or {write}"
        raise InputError(
            f"x holds {wrong[0]:.6g}, and the model takes {dtype}.",
            f"whole numbers that {dtype} holds",
            write,
        )


def check_ids(ids: Array, embedding: Step, name: str = "x") -> None:
    """Raise InputError for token ids that an embedding does not have.

    On a GPU and under XLA, TensorFlow returns a vector for such an id without an error,
    and Keras counts a negative id from the end. Therefore the largest id is looked up
    on the CPU; for a negative one a large id, so that the error states the size.

    Args:
        ids: The ids (B, ...), as the embedding receives them.
        embedding: The step that looks them up.
        name: What the ids are, for the error.
    """
    largest = 2**31 - 1 if ids.min() < 0 else min(int(ids.max()), 2**31 - 1)
    try:
        with tf.device("CPU"):
            embedding.run([tf.constant([[largest]], tf.int32)])
    except Exception as error:
        match = _OUTSIDE.search(str(error))
        if match is None:
            return  # another fault, which the model itself reports
        size = int(match[3])
        outside = np.argwhere((ids < 0) | (ids >= size))
        if not len(outside):
            return  # the model changes the ids first, and reports them itself
        where = outside[0]
        token = int(ids[tuple(where)])
        raise _unknown_id(token, size, where.tolist(), name) from error


def unknown_id(error: Exception) -> InputError | None:
    """Return the InputError for an error of TensorFlow about an index, else None."""
    match = _OUTSIDE.search(str(error))
    if match is None:
        return None
    where = [int(n) for n in match[1].split(",") if n]
    return _unknown_id(int(match[2]), int(match[3]), where)


def _unknown_id(token: int, size: int, where: list[int], name: str = "x") -> InputError:
    """The error for a token id outside the vocabulary."""
    place = f", at index {where}" if where else ", as the embedding receives it"
    write = {"baseline": "baseline=0", "background": "background=x_train[:100]"}
    shown = (
        f"x[(x < 0) | (x >= {size})] shows the others; an embedding with more rows has "
        f"keras.layers.Embedding({max(token, size) + 1}, ...)"
    )
    return InputError(
        f"{name} holds the token id {token}{place}, and the model's embedding "
        f"has {size} ids.",
        f"ids from 0 to {size - 1}",
        write.get(name, shown),
    )


def fits(shape: Any, wanted: Shape) -> bool:
    """True if a shape is the wanted one, in which None is any length."""
    if len(shape) != len(wanted):
        return False
    return all(w is None or s == w for s, w in zip(shape, wanted, strict=True))


def check_batch_size(batch_size: Any) -> None:
    """Raise InputError unless it is a whole number of at least 1."""
    if not is_int(batch_size) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}.", "a whole number of at least 1")


def cut(inputs: list[Array], batch_size: int) -> Iterator[slice]:
    """Return the slices of the batches of the inputs."""
    check_batch_size(batch_size)
    return chunks(len(inputs[0]), batch_size)


def signature(
    specs: Specs | None, inputs: list[Any] | None = None
) -> list[tf.TensorSpec]:
    """Return the signature of a compiled function, with any batch size.

    Args:
        specs: (shape, dtype) of every input; None takes those of `inputs`.
        inputs: Arrays, of which shapes and dtypes are read.
    """
    if specs is None:
        specs = [((None, *v.shape[1:]), v.dtype.name) for v in inputs or []]
    if isinstance(specs, SpecsByShape) and inputs is not None:
        pairs = zip(specs, inputs, strict=True)
        specs = [((None, *v.shape[1:]), d) for (_, d), v in pairs]
    others = ("bool", "string")
    floats = [(s, d if "int" in d or d in others else "float32") for s, d in specs]
    return [tf.TensorSpec((None, *s[1:]), d) for s, d in floats]


def image_shape(wrapped: Any) -> tuple[int | None, int | None, int]:
    """Return (height, width, channels) of the images that the model takes.

    Raises:
        ModelError: The model does not take one input of images.
    """
    specs = [tuple(shape) for shape, _ in wrapped.specs or _served(wrapped.model)]
    if not specs:
        return None, None, 3
    if len(specs) > 1 or len(specs[0]) != 4 or specs[0][-1] not in (1, 3, None):
        raise ModelError(
            f"The network takes {' and '.join(map(str, specs))}: not images.",
            "one input (None, height, width, 3), or 1 for grey",
            "in Python: tfxai.explain(model, x)",
        )
    return specs[0][1], specs[0][2], specs[0][3] or 3


def _served(model: Any) -> list[tuple[Shape, str]]:
    """The input specs of a SavedModel, which the wrapper does not read."""
    signatures = list((getattr(model, "signatures", None) or {}).values())
    tensors = signatures[0].structured_input_signature[1].values() if signatures else ()
    return [(tuple(t.shape), t.dtype.name) for t in tensors]
