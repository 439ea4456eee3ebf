"""What each Keras operation is: a table from its class to plain steps.

A row is a function `(operation, call, arguments) -> [Step, ...]`; the steps are a
chain, each reading the one before it. `call(inputs)` runs the operation itself. Rows of
activations, linear layers and products stand in `activations.py`, `layers.py` and
`products.py`. To teach the library a layer, write one row:

    from tfxai.graph.kinds import Step, operation

    @operation(MyLayer)
    def my_layer(layer, call, arguments):
        return [Step("", "activation", call)]

A layer without a row is opened: its `call` is run on symbolic tensors, and the Keras
operations in it become the steps. An `opening` is another `call` to do that with, for
layers whose own is not written in Keras operations (`recurrent.py`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.errors import UnsupportedLayerError, first_line
from tfxai.base.registry import Registry
from tfxai.graph.step import MOVES, Step

L = keras.layers
#: Operations of `keras.ops` with no slope, whose result is as good as a constant.
FIXED = frozenset(
    {
        *("OnesLike", "ZerosLike", "FullLike", "EmptyLike", "StopGradient", "OneHot"),
        *("Sign", "Floor", "Ceil", "Round", "Trunc", "Heaviside", "Argmax", "Argmin"),
    }
)


@dataclass(frozen=True)
class Arguments:
    """What an operation was called with; tensors of the graph are symbolic."""

    args: tuple
    kwargs: dict

    @property
    def keras_tensors(self) -> list:
        """The tensors of the graph among them, in order."""
        leaves = keras.tree.flatten((self.args, self.kwargs))
        return [v for v in leaves if isinstance(v, keras.KerasTensor)]

    @property
    def shapes(self) -> list[tuple]:
        """Their shapes."""
        return [tuple(t.shape) for t in self.keras_tensors]


@dataclass(frozen=True)
class Row:
    """One row of the table. moves: does it only move values, also of tokens?"""

    steps: Callable[[Any, Callable, Arguments], list[Step] | None]
    moves: bool = False


_ROWS: Registry[type | str, Row] = Registry("layer")
_OPENINGS: dict[type | str, Callable] = {}


def operation(
    *classes: type | str, moves: bool = False, replace: bool = False
) -> Callable:
    """Register a row for layer classes, or for `keras.ops` operations by class name."""

    def put(function: Callable) -> Callable:
        for key in classes:
            _ROWS.register(key, Row(function, moves), replace)
        return function

    return put


def opening(*classes: type | str) -> Callable:
    """Register `(layer, *arguments) -> outputs`, in Keras ops, in place of `call`."""

    def put(function: Callable) -> Callable:
        _OPENINGS.update(dict.fromkeys(classes, function))
        return function

    return put


def describe(op: Any, call: Callable, arguments: Any, name: str) -> list[Step]:
    """The plain steps of one operation; without any, an error that names it."""
    row = find_row(op)
    steps = row.steps(op, call, arguments) if row else None
    if steps is None:
        raise unsupported(op, name, "with these arguments" if row else None)
    return steps


def unsupported(
    op: Any, name: str, why: Any = None, write: str = ""
) -> UnsupportedLayerError:
    """Return the error for an operation that has no row and cannot be opened."""
    kind = type(op).__name__
    own = isinstance(op, keras.layers.Layer)
    text = f"Step {name!r} is a {kind}, and no relevance rule covers it"
    if isinstance(why, str):
        text += f" {why}"
    elif why is not None:
        text += (
            "; its call is not made of Keras operations "
            f"({type(why).__name__}: {first_line(why)})"
        )
    row = "from tfxai.graph.kinds import Step, operation, and then "
    row += f"@operation({kind if own else repr(kind)}) above a function "
    row += "(layer, call, arguments) -> [Step('', 'activation', call)]"
    return UnsupportedLayerError(
        f"{text}.",
        "a layer or operation of the table in tfxai/graph/kinds.py, or a layer whose "
        "call uses keras.layers and keras.ops",
        write or row,
    )


def find_row(op: Any) -> Row | None:
    """Find the row of the class that defines `call`; an own `call` is its own kind.

    `keras.ops` classes are not public, so they are known by their names.
    """
    return _find(op, _ROWS)


def find_opening(op: Any) -> Callable | None:
    """Find the `call` to open a layer with, where it is not the layer's own."""
    return _find(op, _OPENINGS)


def taught(layers: Iterable[Any]) -> bool:
    """Has a user registered a row for one of these layers, or for any operation?"""
    own = {k for k, row in _ROWS.items() if not _built_in(row.steps)}
    if any(isinstance(k, str) for k in own):
        return True
    rows = (find_row(v) for v in layers) if own else ()
    return any(row is not None and not _built_in(row.steps) for row in rows)


def _built_in(function: Callable) -> bool:
    return str(getattr(function, "__module__", "")).startswith("tfxai.graph.")


def _find(op: Any, table: Mapping) -> Any:
    if not isinstance(op, keras.layers.Layer):
        return table.get(type(op).__name__)
    for cls in type(op).__mro__:
        if cls in table:
            return table[cls]
        if "call" in vars(cls):
            return None
    return None


def existing(*names: str) -> list[type]:
    """The layer classes of these names that the installed Keras has."""
    return [getattr(L, n) for n in names if hasattr(L, n)]


def _plain(kind: str, *classes: type | str) -> None:
    def row(op: Any, call: Callable, arguments: Arguments) -> list[Step]:
        return [Step("", kind, call, nonnegative="kept")]

    operation(*classes, moves=kind in MOVES)(row)


def identity() -> Step:
    """A step that does nothing at inference."""
    return Step("", "identity", lambda v: v[0], nonnegative="kept")


_plain(
    "average",
    L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D,
    L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D,
    *existing(*(f"AdaptiveAveragePooling{n}D" for n in (1, 2, 3))),
    "AveragePool", "AdaptiveAveragePool", "Mean", "Sum", "Cumsum",
)  # fmt: skip

_plain(
    "max",
    L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D,
    L.GlobalMaxPooling1D, L.GlobalMaxPooling2D, L.GlobalMaxPooling3D,
    *existing(*(f"AdaptiveMaxPooling{n}D" for n in (1, 2, 3))),
    L.Maximum, L.Minimum, "MaxPool", "AdaptiveMaxPool", "Max", "Amax", "Min", "Amin",
    L.Masking,
)  # fmt: skip


@operation("Where")
def _where(op: Any, call: Callable, arguments: Arguments) -> list[Step]:
    """What a mask lets through; the walk looks at floats and arrays, here are ints."""
    given = keras.tree.flatten((arguments.args, arguments.kwargs))
    below = any(isinstance(v, int) and v < 0 for v in given)
    return [Step("", "max", call, nonnegative="no" if below else "kept")]


_plain(
    "route",
    L.Flatten, L.Reshape, L.Permute, L.RepeatVector, L.Concatenate,
    L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D,
    L.Cropping1D, L.Cropping2D, L.Cropping3D, L.UpSampling1D, L.UpSampling3D,
    "Reshape", "Transpose", "Squeeze", "ExpandDims", "Concatenate", "Stack", "GetItem",
    "Swapaxes", "Moveaxis", "Flip", "Repeat", "Ravel", "Split", "Unstack", "Hsplit",
    "Vsplit", "ArraySplit", "Hstack", "Vstack", "TakeAlongAxis", "BroadcastTo",
    "Tile", "Roll", "Slice", "DepthToSpace", "SpaceToDepth", "ExtractPatches",
)  # fmt: skip


@operation(
    L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D,
    L.GaussianDropout, L.GaussianNoise, L.AlphaDropout, L.ActivityRegularization,
    L.Identity, "Identity", "Copy", "ConvertToTensor",
    *existing(
        *(f"Random{n}" for n in (
            "Flip", "Rotation", "Zoom", "Translation", "Shear", "Perspective",
            "ElasticTransform", "Brightness", "Contrast", "Hue", "Saturation",
            "ColorJitter", "ColorDegeneration", "Grayscale", "GaussianBlur",
            "Sharpness", "Posterization", "Invert", "Erasing",
        )),
        "RandAugment", "AugMix", "MixUp", "CutMix",
    ),
    moves=True,
)  # fmt: skip
def _nothing(op, call, arguments):
    return [identity()]


@operation("Cast", "SaturateCast", moves=True)
def _cast(op, call, arguments):
    """To another float, or from tokens to tokens: all is float32 here."""
    source = str(arguments.keras_tensors[0].dtype)
    return [identity()] if "float" in str(op.dtype) or "int" in source else None


@operation(L.UpSampling2D, L.Resizing)
def _upsampling(layer, call, arguments):
    """Bicubic and Lanczos weights have both signs: they are no mean."""
    kind = {"nearest": "route", "bilinear": "average"}.get(layer.interpolation)
    return [Step("", kind, call, nonnegative="kept")] if kind else None


@operation("Pad")
def _pad(op, call, arguments):
    zeros = op.mode == "constant" and not arguments.kwargs.get("constant_values")
    zeros = zeros and all(v is None for v in arguments.args[1:])
    return [Step("", "route", call, nonnegative="kept")] if zeros else None


@operation("Take")
def _take(op, call, arguments):
    """Values that move; or, from a table of weights, an embedding."""
    if isinstance(arguments.args[0], keras.KerasTensor):
        return [Step("", "route", call, nonnegative="kept")]
    return [Step("", "embedding", lambda v: call([tf.cast(v[0], tf.int32)]))]


@operation(L.Embedding)
def _embedding(layer, call, arguments):
    return None if layer.quantization_mode else [Step("", "embedding", call)]
