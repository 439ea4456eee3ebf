"""What each Keras operation is: a table from its class to plain steps.

A row is a function `(operation, call, arguments) -> [Step, ...]`; the steps are a
chain, each reading the one before it. `call(inputs)` runs the operation itself. Rows of
activations and of linear layers stand in `activations.py` and `layers.py`. To teach the
library a layer, write one row:

    @tfxai.graph.kinds.operation(MyLayer)
    def my_layer(layer, call, arguments):
        return [Step("", "activation", call)]
"""

from collections.abc import Callable
from typing import Any

import keras

from tfxai.errors import UnsupportedLayerError
from tfxai.graph.step import Step

L = keras.layers
Row = Callable[[Any, Callable, Any], list[Step]]
_ROWS: dict[type | str, Row] = {}


def operation(*classes: type | str) -> Callable[[Row], Row]:
    """Register a row for layer classes, or for `keras.ops` operations by class name."""

    def put(row: Row) -> Row:
        _ROWS.update(dict.fromkeys(classes, row))
        return row

    return put


def describe(op: Any, call: Callable, arguments: Any, name: str) -> list[Step]:
    """The plain steps of one operation; without a row, an error that names it."""
    row = find_row(op)
    steps = row(op, call, arguments) if row else None
    if steps is None:
        kind = type(op).__name__
        shown = kind if isinstance(op, keras.layers.Layer) else repr(kind)
        raise UnsupportedLayerError(
            f"Step {name!r} is a {kind}, and no relevance rule covers it"
            f"{' with these arguments' if row else ''}.",
            "a layer or operation of the table in tfxai/graph/kinds.py",
            f"@tfxai.graph.kinds.operation({shown}) above a function "
            "(layer, call, arguments) -> [Step('', 'activation', call)]",
        )
    return steps


def find_row(op: Any) -> Row | None:
    """Find the row of the class that defines `call`; an own `call` is its own kind.

    `keras.ops` classes are not public, so they are known by their names.
    """
    if not isinstance(op, keras.layers.Layer):
        return _ROWS.get(type(op).__name__)
    for cls in type(op).__mro__:
        if cls in _ROWS:
            return _ROWS[cls]
        if "call" in vars(cls):
            return None
    return None


def _plain(kind: str) -> Row:
    return lambda op, call, arguments: [Step("", kind, call, nonnegative="kept")]


def identity() -> Step:
    """A step that does nothing at inference."""
    return Step("", "identity", lambda v: v[0], nonnegative="kept")


operation(
    L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D,
    L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D,
    "AveragePool", "Mean", "Sum",
)(_plain("average"))  # fmt: skip

operation(
    L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D,
    L.GlobalMaxPooling1D, L.GlobalMaxPooling2D, L.GlobalMaxPooling3D,
    "MaxPool", "Max", "Amax",
)(_plain("max"))  # fmt: skip

operation(
    L.Flatten, L.Reshape, L.Permute, L.RepeatVector, L.Concatenate,
    L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D,
    L.Cropping1D, L.Cropping2D, L.Cropping3D, L.UpSampling1D, L.UpSampling3D,
    "Reshape", "Transpose", "Squeeze", "ExpandDims", "Concatenate", "Stack", "GetItem",
    "Swapaxes", "Moveaxis", "Flip", "Repeat", "Ravel",
)(_plain("route"))  # fmt: skip

operation(
    L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D,
    L.GaussianDropout, L.GaussianNoise, L.AlphaDropout, L.ActivityRegularization,
    L.Identity, "Identity", "Copy",
)(lambda op, call, arguments: [identity()])  # fmt: skip


@operation("Cast")
def _cast(op, call, arguments):
    """To another float: nothing, since everything here is float32."""
    return [identity()] if "float" in str(op.dtype) else None


@operation(L.UpSampling2D)
def _upsampling(layer, call, arguments):
    """Bicubic and Lanczos weights have both signs: they are no mean."""
    kind = {"nearest": "route", "bilinear": "average"}.get(layer.interpolation)
    return [Step("", kind, call, nonnegative="kept")] if kind else None


@operation("Pad")
def _pad(op, call, arguments):
    zeros = op.mode == "constant" and not arguments.kwargs.get("constant_values")
    zeros = zeros and all(v is None for v in arguments.args[1:])
    return [Step("", "route", call, nonnegative="kept")] if zeros else None
