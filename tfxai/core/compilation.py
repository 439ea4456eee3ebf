"""Compilation of functions of tensors, by TensorFlow and by XLA.

Compilation takes seconds, and many analyzers are called once. So `compiled` can run the
first call operation by operation, and compile at the second. Both return the same
maps, to 1e-6 of the maximum.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from tfxai.base.errors import OptionError, first_line
from tfxai.base.tensors import Tensor
from tfxai.core.inputs import unknown_id

#: What TensorFlow says of operations without an XLA kernel, and of open shapes.
_UNSUPPORTED = re.compile(
    r"unsupported operations when trying to compile .*?: (\w+)"
    r"|with op (\w+) must be a compile-time constant"
)
_XLA_WORDS = ("XLA", "xla", "compile-time constant", "tf2xla", "jit_compile")
#: Does XLA compile the functions of `compiled`? `compiling_by_xla` sets it.
_XLA: ContextVar[bool] = ContextVar("xla", default=False)
#: Samples times targets up to which a first call is not compiled. For larger batches, a
#: graph takes less time and memory.
FEW = 4
#: Elements of all tensors of a sample up to which a first call is not compiled (1 GiB).
LARGE = 1 << 28
#: Calls of a function that may run operation by operation.
FIRST_CALLS = 1


@contextmanager
def compiling_by_xla(wanted: bool) -> Iterator[None]:
    """Let `compiled` use XLA, or not, inside a `with` block."""
    before = _XLA.set(wanted)
    try:
        yield
    finally:
        _XLA.reset(before)


def compiled(
    function: Callable[..., Any],
    specs: list[tf.TensorSpec],
    first: Callable[..., bool] | None = None,
) -> Callable[..., Any]:
    """Return a function that is traced once, for arrays or tensors of any batch size.

    It calls the concrete function, which cannot retrace. XLA compiles it inside
    `compiling_by_xla`.

    Args:
        function: A function of tensors.
        specs: The specs of its arguments.
        first: (arguments) -> True if the first call runs operation by operation, and
            tracing waits for the second call. None traces now. XLA ignores it.
    """
    jit = True if _XLA.get() else None
    traced = tf.function(
        function, input_signature=specs, jit_compile=jit, autograph=False
    )
    if first is None or jit:
        return _checked(traced.get_concrete_function(), specs)
    return _checked(_Deferred(function, traced, first), specs)


def few(target: Tensor, *_: Tensor) -> bool:
    """True if the target (B, T) has at most `FEW` elements."""
    return int(target.shape.num_elements()) <= FEW


def few_rows(x: Tensor, *_: Tensor) -> bool:
    """True if the batch (B, ...) has at most `FEW` samples."""
    return int(x.shape[0]) <= FEW


class _Deferred:
    """A function whose first call may run operation by operation."""

    def __init__(
        self, function: Callable[..., Any], traced: Any, first: Callable[..., bool]
    ) -> None:
        self._function, self._traced, self._first = function, traced, first
        self._calls, self._lock = 0, threading.Lock()
        self._concrete: Any = None

    def __call__(self, *tensors: Tensor) -> Any:
        self._calls += 1
        early = self._calls <= FIRST_CALLS and tf.executing_eagerly()
        if early and self._first(*tensors):
            return self._function(*tensors)
        with self._lock, compiling_by_xla(False):
            if self._concrete is None:
                self._concrete = self._traced.get_concrete_function()
        return self._concrete(*tensors)


def _checked(
    function: Callable[..., Any], specs: list[tf.TensorSpec]
) -> Callable[..., Any]:
    """Return the function for arrays, with an InputError for an unknown token id."""

    def run(*values: Any) -> Any:
        pairs = zip(values, specs, strict=True)
        tensors = [tf.convert_to_tensor(v, s.dtype) for v, s in pairs]
        try:
            return function(*tensors)
        except tf.errors.InvalidArgumentError as error:
            found = unknown_id(error)
            if found is None:
                raise
            raise found from error

    return run


def not_compiled(error: Exception) -> OptionError | None:
    """Return the OptionError for an error of XLA's compiler, else None."""
    text = str(error)
    match = _UNSUPPORTED.search(text)
    if match is None and not any(word in text for word in _XLA_WORDS):
        return None
    what = f"the operation {match[1] or match[2]!r}" if match else "the method"
    return OptionError(
        f"jit_compile=True, and XLA cannot compile {what}: {first_line(error, 300)}",
        "a method and a model that XLA compiles, or no compilation by XLA",
        "jit_compile=False",
    )
