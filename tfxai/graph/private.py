"""The names that Keras keeps private. No other file reads one.

`_nodes_by_depth` of a graph, `_functional` of a Sequential, and `_flatten_layers`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from tfxai.base.errors import ModelError


def functional(model: Any) -> Any:
    """The graph behind a Functional or Sequential model that is built."""
    if isinstance(model, keras.Sequential):
        if not model.built or model._functional is None:
            raise ModelError(
                f"The Sequential model {model.name!r} is not built yet.",
                "a model that knows its input shape",
                "model.build((None, height, width, channels)), or begin the model "
                "with keras.Input(...)",
            )
        return model._functional
    return model


def is_graph(model: Any) -> bool:
    """Is this a Functional or Sequential model (or a `keras.Function`)?

    One with a `call` of its own is not: its graph is only a part of what it does.
    """
    graph = hasattr(model, "_nodes_by_depth")
    if not graph and not isinstance(model, keras.Sequential):
        return False
    home = next(c for c in type(model).__mro__ if "call" in vars(c))
    return home.__module__.startswith("keras.")


def layouts(model: Any) -> dict[str, str]:
    """The `data_format` of each layer that has one, by name, also of inner models."""
    layers = model._flatten_layers() if isinstance(model, keras.layers.Layer) else ()
    return {n.name: n.data_format for n in layers if getattr(n, "data_format", None)}


def layers_within(layer: Any, recursive: bool = True) -> list[Any]:
    """The layers inside a layer, the nearest first; also those inside of these."""
    return list(layer._flatten_layers(recursive=recursive, include_self=False))


@contextmanager
def as_before(model: Any) -> Iterator[None]:
    """Leave a model as if it had not been called."""
    layers = list(model._flatten_layers()) if hasattr(model, "_flatten_layers") else []
    called = [(v, v._called) for v in layers if hasattr(v, "_called")]
    try:
        yield
    finally:
        for layer, before in called:
            layer._called = before
