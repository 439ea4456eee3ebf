"""Keys of target functions: functions of equal keys compute the same.

A new lambda of the same code is the same target, unless a value that it reads differs;
and a function whose global variable has changed is another target. So each is compiled
once, and none is out of date.
"""

import builtins
import dis
from collections.abc import Callable, Hashable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

#: Packages whose contents do not change between two calls.
FIXED = ("tensorflow", "keras", "numpy", "math", "tfxai")
_PLAIN = (type(None), bool, int, str, bytes, np.bool_, np.integer)
#: Largest array that is compared by its contents, in bytes.
MAX_BYTES = 1 << 24


class _Unknown(Exception):
    """A function reads a value whose contents cannot be compared."""


class _Same:
    """An object as a key, equal to itself alone."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def key_of(function: Callable[..., Any]) -> Hashable:
    """Return a key that is equal for functions that compute the same.

    Args:
        function: A function. A plain one is its code and the values that it reads:
            numbers, text, arrays, containers and functions of these, and modules that
            do not change. Where it reads other objects, and for other callables, the
            key is the object itself.
    """
    if not isinstance(function, FunctionType):
        return function if _is_value(function) else _Same(function)
    try:
        return _key_of_code(function, ())
    except _Unknown:
        return _Same(function)


def _is_value(function: Any) -> bool:
    """True for a callable that defines which others it is equal to."""
    kind: Any = type(function)
    return kind.__eq__ is not object.__eq__ and kind.__hash__ is not None


def _key_of_code(function: FunctionType, above: tuple[FunctionType, ...]) -> Hashable:
    """The code of a function and the values that it reads; `above` calls it."""
    if function in above:
        return "recursive", above.index(function)
    above = (*above, function)
    try:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError as error:  # a variable that has no value yet
        raise _Unknown from error
    values = [cells, function.__defaults__, function.__kwdefaults__]
    scope = function.__globals__
    read = {n: scope[n] for n in sorted(_globals(function.__code__)) if n in scope}
    return function.__code__, _frozen([*values, read], above)


def _globals(code: CodeType) -> set[str]:
    """The names of the globals that code reads, with that of inner functions."""
    names: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            raise _Unknown
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(str(step.argval))
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return names.union(*map(_globals, inner))


def _frozen(value: Any, above: tuple[FunctionType, ...]) -> Hashable:
    """A key of the contents of a value, or _Unknown."""
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, float | complex | np.floating):
        return type(value), repr(value)  # NaN is NaN, and -0.0 is not 0.0
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        if value.nbytes <= MAX_BYTES:
            return value.dtype.str, value.shape, value.tobytes()
    elif type(value) in (tuple, list):
        return type(value), tuple(_frozen(v, above) for v in value)
    elif type(value) is dict:
        pairs = [(_frozen(k, above), _frozen(v, above)) for k, v in value.items()]
        return dict, tuple(pairs)
    elif isinstance(value, FunctionType):
        if value.__module__.split(".")[0] in FIXED:
            return value
        return _key_of_code(value, above)
    elif isinstance(value, ModuleType):
        if value.__name__.split(".")[0] in FIXED:
            return _Same(value)
    elif getattr(builtins, getattr(value, "__name__", ""), None) is value:
        return _Same(value)
    raise _Unknown
