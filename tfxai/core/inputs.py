"""Inputs checked at the door: a batch of finite numbers of the shape that is asked."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, ModelError
from tfxai.base.tensors import changed_by_cast, chunks
from tfxai.graph.private import functional, is_graph

Specs = list[tuple[tuple[int | None, ...], str]]


def check_inputs(x: Any, specs: Specs | None) -> list[np.ndarray]:
    """Check the inputs: a flat list of arrays (B, ...), ints as ints, else float32.

    specs: (shape with batch axis, dtype) of every input; None where nothing is known.
    """
    single = specs is None or len(specs) == 1
    values = [x] if single and not isinstance(x, dict) else keras.tree.flatten(x)
    if single and isinstance(x, list | tuple) and len(x) == 1 and np.ndim(x[0]) > 1:
        values = list(x)
    arrays = [_array(v) for v in values]
    if specs is not None and len(arrays) != len(specs):
        raise InputError(
            f"x holds {len(arrays)} array(s), but the model has {len(specs)} inputs.",
            f"one array for each of {[s for s, _ in specs]}",
            "analyze([a, b])",
        )
    for i, array in enumerate(arrays):
        _check(array, None if specs is None else specs[i][0])
        _check_whole(array, "" if specs is None else specs[i][1])
    if len({len(a) for a in arrays}) > 1:
        raise InputError(
            f"The inputs have batches of {[len(a) for a in arrays]} samples.",
            "the same number of samples in each",
        )
    return arrays


def in_order(x: Any, model: Any) -> Any:
    """A dict's values in the order of the model's inputs, as Keras pairs them."""
    if not isinstance(x, dict) or not is_graph(model):
        return x
    wanted = functional(model).input
    names = [t.name for t in keras.tree.flatten(wanted)]
    if isinstance(wanted, dict):
        names = sorted(wanted)
    if not set(names) <= set(x):
        raise InputError(
            f"x is a dict of {sorted(map(str, x))}.",
            f"one array for each of the model's inputs, {names}",
            f"analyze({{{names[0]!r}: ..., ...}})",
        )
    return x[names[0]] if len(names) == 1 else [x[n] for n in names]


def gathered(dataset: tf.data.Dataset) -> Any:
    """All batches of a dataset as arrays; of `(x, y)` elements the x."""
    batches = [b[0] if isinstance(b, tuple) else b for b in dataset.as_numpy_iterator()]
    if not batches:
        raise InputError("The dataset is empty.", "at least one batch")
    return keras.tree.map_structure(lambda *v: np.concatenate(v), *batches)


def _array(value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise InputError(
            f"x is {type(value).__name__} of dtype {array.dtype}.",
            "a batch of numbers: a NumPy array, a tensor or a tf.data.Dataset",
        )
    return array if array.dtype.kind in "iu" and array.itemsize > 1 else _floats(array)


def _floats(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # infinity is refused below
        return np.asarray(array, np.float32)


def _check(array: np.ndarray, shape: tuple | None) -> None:
    wanted = "(B, ...)" if shape is None else str(("B", *shape[1:])).replace("'", "")
    if shape is not None and array.shape != () and _fits(array.shape, shape[1:]):
        raise InputError(
            f"x has shape {array.shape}: there is no batch axis.",
            f"shape {wanted}",
            "analyze(x[None])",
        )
    if array.ndim < 1 or (shape is not None and not _fits(array.shape[1:], shape[1:])):
        raise InputError(f"x has shape {array.shape}.", f"shape {wanted}")
    if len(array) == 0:
        raise InputError(f"x has shape {array.shape}: the batch is empty.", wanted)
    finite = np.isfinite(array).reshape(len(array), -1).all(-1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise InputError(
            f"x holds NaN or infinity in sample(s) {bad[:5].tolist()}.",
            "finite numbers",
            "np.isfinite(x) shows where",
        )


def _check_whole(array: np.ndarray, dtype: str) -> None:
    """Refuse what a model of whole numbers would cut off, or wrap round."""
    if "int" not in dtype:
        return
    wrong = changed_by_cast(array, dtype)
    if wrong.size:
        raise InputError(
            f"x holds {wrong[0]:.6g}, and the model takes {dtype}.",
            f"whole numbers that {dtype} holds",
            "255 * x, for pictures in 0..1; or a model whose keras.Input is float32",
        )


def _fits(shape: tuple, wanted: tuple) -> bool:
    if len(shape) != len(wanted):
        return False
    return all(w is None or s == w for s, w in zip(shape, wanted, strict=True))


def check_batch_size(batch_size: Any) -> None:
    """A whole number of at least 1, or an error."""
    whole = isinstance(batch_size, int | np.integer) and batch_size is not True
    if not whole or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r}.", "a whole number of at least 1")


def cut(inputs: list[np.ndarray], batch_size: int) -> Iterator[slice]:
    """The batches of the inputs."""
    check_batch_size(batch_size)
    return chunks(len(inputs[0]), batch_size)


def signature(specs: Specs | None, inputs: list | None = None) -> list[tf.TensorSpec]:
    """The fixed signature of a compiled function: any batch size, no retrace."""
    if specs is None:
        specs = [((None, *v.shape[1:]), v.dtype.name) for v in inputs or []]
    floats = [(s, d if "int" in d else "float32") for s, d in specs]
    return [tf.TensorSpec((None, *s[1:]), d) for s, d in floats]


def compiled(function: Callable, specs: list, jit: bool = False) -> Callable:
    """`function` traced once for any batch size, as a callable on arrays or tensors.

    It is the concrete function that is called: nothing can retrace.
    """
    traced = tf.function(
        function, input_signature=specs, jit_compile=jit or None, autograph=False
    ).get_concrete_function()

    def run(*values: Any) -> Any:
        pairs = zip(values, specs, strict=True)
        return traced(*[tf.convert_to_tensor(v, s.dtype) for v, s in pairs])

    return run


def picture_shape(wrapped: Any) -> tuple[int | None, int | None, int]:
    """(height, width, channels) of the pictures that the network takes."""
    specs = [tuple(shape) for shape, _ in wrapped.specs or _served(wrapped.model)]
    if not specs:
        return None, None, 3
    if len(specs) > 1 or len(specs[0]) != 4 or specs[0][-1] not in (1, 3, None):
        raise ModelError(
            f"The network takes {' and '.join(map(str, specs))}: no pictures.",
            "one input (None, height, width, 3), or 1 for grey",
            "in Python: tfxai.explain(model, x)",
        )
    return specs[0][1], specs[0][2], specs[0][3] or 3


def _served(model: Any) -> list[tuple[tuple, str]]:
    """The input of a SavedModel, of which the wrapper knows nothing."""
    signatures = list((getattr(model, "signatures", None) or {}).values())
    tensors = signatures[0].structured_input_signature[1].values() if signatures else ()
    return [(tuple(t.shape), t.dtype.name) for t in tensors]
