"""Data frames of pandas, polars and pyarrow as arrays (B, columns), and back.

A callable that gets data frames gets its changed copies as data frames, with the same
columns and types. The arrays hold numbers where all columns do, and else objects.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tfxai.base.errors import InputError, first_line

Array = np.ndarray[Any, Any]


class _Kind(NamedTuple):
    """What is done with the data frames of one package.

    names: (frame) -> the names of its columns.
    values: (frame, number of a column) -> its values, a list.
    build: (columns as lists, frame without rows) -> a data frame of its types.
    types: (frame) -> the type of each column.
    """

    names: Callable[[Any], list[Any]]
    values: Callable[[Any, int], list[Any]]
    build: Callable[[list[list[Any]], Any], Any]
    types: Callable[[Any], list[Any]]


def _pandas(columns: list[list[Any]], like: Any) -> Any:
    import pandas

    for name, values, dtype in zip(like.columns, columns, like.dtypes, strict=True):
        known = list(getattr(dtype, "categories", values))
        other = [v for v in values if not _is_missing(v) and v not in known]
        if other:
            raise ValueError(
                f"{other[0]!r} is none of the categories {known[:20]} of {name!r}"
            )
    series = [
        pandas.Series(v, dtype=d) for v, d in zip(columns, like.dtypes, strict=True)
    ]
    frame = pandas.concat(series, axis=1)
    frame.columns = like.columns
    return frame


def _polars(columns: list[list[Any]], like: Any) -> Any:
    return type(like)(dict(zip(like.columns, columns, strict=True)), schema=like.schema)


def _pyarrow(columns: list[list[Any]], like: Any) -> Any:
    import pyarrow

    arrays = [
        pyarrow.array(v, t) for v, t in zip(columns, like.schema.types, strict=True)
    ]
    return pyarrow.Table.from_arrays(arrays, schema=like.schema)


#: The name of the package -> how its data frames are read and built.
_KINDS: dict[str, _Kind] = {
    "pandas": _Kind(
        lambda f: list(f.columns),
        lambda f, i: list(f.iloc[:, i].to_numpy(object)),
        _pandas,
        lambda f: list(f.dtypes),
    ),
    "polars": _Kind(
        lambda f: list(f.columns),
        lambda f, i: list(f.get_column(f.columns[i]).to_list()),
        _polars,
        lambda f: list(f.dtypes),
    ),
    "pyarrow": _Kind(
        lambda f: list(f.column_names),
        lambda f, i: list(f.column(i).to_pylist()),
        _pyarrow,
        lambda f: list(f.schema.types),
    ),
}


def _kind(x: Any) -> str | None:
    """The package of a data frame; None for anything else."""
    name = type(x).__module__.partition(".")[0]
    table = hasattr(x, "columns") and len(getattr(x, "shape", ())) == 2
    return name if name in _KINDS and table else None


def is_frame(x: Any) -> bool:
    """Return whether x is a data frame of pandas or polars, or a table of pyarrow."""
    return _kind(x) is not None


def names_of(x: Any) -> list[Any]:
    """Return the names of the columns of a data frame."""
    return _KINDS[_kind(x) or ""].names(x)


@dataclass(frozen=True)
class Frame:
    """The columns of a data frame, without its rows.

    Attributes:
        like: The data frame without rows.
        names: The names of the columns.
        types: The types of the columns.
        numeric: True where all columns hold numbers that float64 holds.
    """

    like: Any = field(repr=False)
    names: list[Any]
    types: list[Any]
    numeric: bool

    @staticmethod
    def of(frame: Any) -> "Frame":
        """Return the columns of a data frame."""
        kind = _KINDS[_kind(frame) or ""]
        numeric = all(
            _is_number(v) for i in range(frame.shape[1]) for v in kind.values(frame, i)
        )
        return Frame(frame[:0], kind.names(frame), kind.types(frame), numeric)

    @property
    def key(self) -> tuple[str, ...]:
        """A key of the names and types."""
        return (*map(repr, self.names), *map(str, self.types), str(self.numeric))

    def values(self, frame: Any) -> Array:
        """Return the rows of a data frame with these columns, in their order, (B, F).

        Raises:
            InputError: A column is missing.
        """
        kind = _KINDS[_kind(frame) or ""]
        names = kind.names(frame)
        missing = [n for n in self.names if n not in names]
        if missing:
            raise InputError(
                f"The data frame has no column {missing[0]!r}.",
                f"the columns {self.names[:20]}",
                "x_train[x.columns]",
            )
        places = range(len(names)) if names == self.names else map(
            names.index, self.names
        )  # fmt: skip
        found = np.empty((frame.shape[0], len(self.names)), object)
        for i, place in enumerate(places):
            found[:, i] = kind.values(frame, place)
        numbers = self.numeric and all(_is_number(v) for v in found.flat)
        return found.astype(float) if numbers else found

    def row(self, value: Any) -> Any:
        """Return what covers a row: a data frame or a mapping by columns as an array.

        Other values are returned as they are.
        """
        if is_frame(value):
            return self.values(value)
        keys = getattr(value, "keys", None)
        if keys is None or set(keys()) != set(self.names):
            return value
        row = np.empty(len(self.names), object)
        row[:] = [value[n] for n in self.names]
        numbers = self.numeric and all(_is_number(v) for v in row)
        return row.astype(float) if numbers else row

    def built(self, values: Array) -> Any:
        """Return rows (B, F) as a data frame with these columns and types.

        Raises:
            InputError: A value is none of the type of its column.
        """
        kind = _KINDS[_kind(self.like) or ""]
        columns = [
            [_in_type(v, kinds) for v in values[:, i].tolist()]
            if values.dtype.kind == "f"
            else values[:, i].tolist()
            for i, kinds in enumerate(map(_kind_of_type, self.types))
        ]
        try:
            frame = kind.build(columns, self.like)
        except Exception as error:  # each package has errors of its own
            raise self._unlike(first_line(error)) from error
        for i, column in enumerate(columns):
            if _kind_of_type(self.types[i]) == "float":
                continue  # which rounds
            built = np.array([None, *kind.values(frame, i)], object)[1:]
            given = np.array([None, *column], object)[1:]
            if differs(built, given).any():
                raise self._unlike(self._which(i, given, built))
        return frame

    def _which(self, i: int, given: Array, built: Array) -> str:
        first = int(np.argmax(differs(built, given)))
        return f"{given[first]!r} in the column {self.names[i]!r} of {self.types[i]}"

    def _unlike(self, what: str) -> InputError:
        return InputError(
            f"The changed rows do not fit the types of the data frame: {what}.",
            "values of the type of each column in place of those that are covered",
            "baseline=x.iloc[0], or background=x_train[:100]",
        )


def _kind_of_type(dtype: Any) -> str:
    """The kind of the type of a column: "float", "bool" or "other"."""
    name = str(dtype).lower()
    if name.startswith(("float", "double", "halffloat")):
        return "float"
    return "bool" if name.startswith("bool") else "other"


def _in_type(value: float, kind: str) -> Any:
    """A number for a column of a kind: True, or whole where it is; None for NaN."""
    if kind == "float":
        return value
    if value != value:
        return None
    if kind == "bool" and value in (0, 1):
        return bool(value)
    return int(value) if value == int(value) else value


def _is_number(value: Any) -> bool:
    """True for numbers and NaN that float64 holds exactly."""
    if isinstance(value, float | np.floating | bool | np.bool_):
        return True
    whole = isinstance(value, int | np.integer)
    return whole and abs(int(value)) <= 2**53


def _differ(a: Any, b: Any) -> bool:
    """True for two values of which one is missing, or that are not equal."""
    missing = [_is_missing(a), _is_missing(b)]
    if any(missing):
        return not all(missing)
    return bool(a != b)


def _is_missing(value: Any) -> bool:
    """True for None, NaN, NaT and NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


_DIFFER = np.frompyfunc(_differ, 2, 1)


def differs(a: Array, b: Array) -> Array:
    """Return where arrays (...) are not equal; missing values are equal."""
    if "O" in (a.dtype.kind, b.dtype.kind):
        return np.asarray(_DIFFER(a, b), bool)
    unequal = np.asarray(a != b, bool)
    if a.dtype.kind == b.dtype.kind == "f":
        unequal &= ~((a != a) & (b != b))
    return unequal
