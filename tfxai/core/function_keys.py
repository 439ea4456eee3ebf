"""Keys of target functions: functions of equal keys compute the same.

A new lambda of the same code is the same target, unless a value that it reads differs;
and a function whose global variable, closure, attribute or object has changed is
another target. So each is compiled once, and none is out of date. A function that reads
what cannot be compared has another key at every call.
"""

import builtins
import dis
import functools
import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np

#: Packages whose contents do not change between two calls.
FIXED = ("tensorflow", "keras", "numpy", "math", "operator", "functools", "tfxai")
#: Packages whose objects are compared by identity: tensors do not change, and variables
#: are read at every call.
_LIVE = ("tensorflow", "keras")
_PLAIN = (type(None), bool, int, str, bytes, np.bool_, np.integer)
#: Builtins that read names which the code does not show.
_HIDDEN = ("globals", "locals", "vars", "eval", "exec", "__import__")
#: Bases of classes that hold no values of their own.
_BASES = ("builtins", "abc", "typing")
#: Attributes of a class that a target does not read while it computes.
_UNREAD = ("__init__", "__post_init__", "__eq__", "__hash__", "__repr__", "__str__")
_READ = (
    *("__call__", "__getattr__", "__getattribute__", "__getitem__", "__len__"),
    *("__iter__", "__contains__", "__array__", "__float__", "__int__", "__bool__"),
)


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
        function: A function. Its key is its code and the values that it reads: numbers,
            text, arrays, containers, functions and objects of these, by their contents;
            tensors, variables and modules that do not change, by identity. Where it
            reads anything else, the key is equal to no other one.
    """
    try:
        return _frozen(function, ())
    except _Unknown:
        return _Same(object())


def _key_of_code(function: FunctionType, above: tuple[Any, ...]) -> Hashable:
    """The code of a function and the values that it reads; `above` reads it."""
    try:
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError as error:  # a variable that has no value yet
        raise _Unknown from error
    values = [cells, function.__defaults__, function.__kwdefaults__]
    own = {k: v for k, v in vars(function).items() if k != "__wrapped__"}
    scope = function.__globals__
    read = {n: scope[n] for n in sorted(_globals(function.__code__)) if n in scope}
    return function.__code__, _frozen([*values, own, read], above)


def _globals(code: CodeType) -> set[str]:
    """The names of the globals that code reads, with that of inner functions."""
    names: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME" and not _is_fixed(str(step.argval)):
            raise _Unknown
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(str(step.argval))
    if names.intersection(_HIDDEN):
        raise _Unknown
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return names.union(*map(_globals, inner))


def _frozen(value: Any, above: tuple[Any, ...]) -> Hashable:
    """A key of the contents of a value, or _Unknown.

    Args:
        value: The value.
        above: The values that hold it, for those that hold themselves.
    """
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, float | complex | np.inexact):
        return type(value), repr(value)  # NaN is NaN, and -0.0 is not 0.0
    if _is_same(value):
        return _Same(value)
    for i, holder in enumerate(above):
        if holder is value:
            return "recursive", i
    above = (*above, value)
    for kinds, freeze in _FREEZE:
        if isinstance(value, kinds):
            return type(value), freeze(value, above)
    return _frozen_object(value, above)


def _is_fixed(name: str) -> bool:
    """True for the name of a module that does not change."""
    return name.split(".")[0] in FIXED


def _is_same(value: Any) -> bool:
    """True for a value that is compared by identity."""
    kind: Any = type(value)
    if kind.__module__.split(".")[0] in _LIVE:
        return True
    if isinstance(value, ModuleType):
        return _is_fixed(value.__name__)
    if isinstance(value, BuiltinFunctionType) and value.__self__ is not None:
        if not isinstance(value.__self__, ModuleType):
            return False
    elif not isinstance(value, type | np.ufunc | FunctionType | BuiltinFunctionType):
        return False
    name = getattr(value, "__name__", "")
    fixed = _is_fixed(getattr(value, "__module__", None) or "numpy")
    return fixed or getattr(builtins, name, None) is value


def _frozen_array(value: np.ndarray[Any, Any], above: tuple[Any, ...]) -> Hashable:
    """The dtype, the shape and a digest of an array of numbers."""
    if type(value) is not np.ndarray or value.dtype.kind not in "biufc":
        raise _Unknown
    digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes()).digest()
    return value.dtype.str, value.shape, digest


def _frozen_items(value: Any, above: tuple[Any, ...]) -> Hashable:
    """The items of a list or tuple."""
    if type(value) not in (list, tuple):
        return _frozen_object(value, above)
    return tuple(_frozen(v, above) for v in value)


def _frozen_set(value: Any, above: tuple[Any, ...]) -> Hashable:
    """The items of a set."""
    if type(value) not in (set, frozenset):
        return _frozen_object(value, above)
    return frozenset(_frozen(v, above) for v in value)


def _frozen_dict(value: Any, above: tuple[Any, ...]) -> Hashable:
    """The pairs of a dict, in order."""
    if type(value) not in (dict, OrderedDict, defaultdict):
        return _frozen_object(value, above)
    made = _frozen(getattr(value, "default_factory", None), above)
    pairs = [(_frozen(k, above), _frozen(v, above)) for k, v in value.items()]
    return made, tuple(pairs)


def _frozen_function(value: Any, above: tuple[Any, ...]) -> Hashable:
    return _key_of_code(value, above)


def _frozen_method(value: MethodType, above: tuple[Any, ...]) -> Hashable:
    return _frozen([value.__func__, value.__self__], above)


def _frozen_partial(value: Any, above: tuple[Any, ...]) -> Hashable:
    return _frozen([value.func, value.args, value.keywords], above)


def _frozen_property(value: property, above: tuple[Any, ...]) -> Hashable:
    return _frozen([value.fget, value.fset, value.fdel], above)


def _frozen_namespace(value: SimpleNamespace, above: tuple[Any, ...]) -> Hashable:
    return _frozen(vars(value), above)


def _frozen_wrapped(value: Any, above: tuple[Any, ...]) -> Hashable:
    """The function of a static method or of a class method."""
    return _frozen(value.__func__, above)


def _frozen_class(value: type, above: tuple[Any, ...]) -> Hashable:
    """A class with its attributes and those of its bases."""
    attributes = {}
    for base in value.__mro__:
        if base.__module__.split(".")[0] in (*_BASES, *FIXED):
            continue
        for name, attribute in vars(base).items():
            special = name.startswith("__") and name.endswith("__")
            if name not in _UNREAD and (not special or name in _READ):
                attributes[base.__qualname__, name] = attribute
    return _Same(value), _frozen(attributes, above)


def _frozen_object(value: Any, above: tuple[Any, ...]) -> Hashable:
    """An object with its class and its attributes, as `copy` finds them."""
    kind: Any = type(value)
    if kind.__module__.split(".")[0] == "tfxai":  # frozen data classes
        return (value,) if kind.__hash__ is not object.__hash__ else _Same(value)
    own = (kind.__reduce_ex__, kind.__reduce__, kind.__getstate__)
    if own != (object.__reduce_ex__, object.__reduce__, object.__getstate__):
        raise _Unknown
    try:
        parts: Any = object.__reduce_ex__(value, 4)
    except (TypeError, ValueError) as error:
        raise _Unknown from error
    _, made, state, items, pairs = parts
    return _frozen([*made, state, list(items or ()), dict(pairs or ())], above)


_FREEZE: tuple[tuple[Any, Callable[[Any, tuple[Any, ...]], Hashable]], ...] = (
    (np.ndarray, _frozen_array),
    ((tuple, list), _frozen_items),
    ((set, frozenset), _frozen_set),
    (dict, _frozen_dict),
    (FunctionType, _frozen_function),
    (MethodType, _frozen_method),
    (functools.partial, _frozen_partial),
    (property, _frozen_property),
    (SimpleNamespace, _frozen_namespace),
    ((staticmethod, classmethod), _frozen_wrapped),
    (type, _frozen_class),
)
