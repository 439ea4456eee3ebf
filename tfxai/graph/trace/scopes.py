"""Which layer an operation belongs to: by the name scopes that Keras opens."""

import weakref
from dataclasses import dataclass
from typing import Any

import keras

from tfxai.graph.private import layers_within


@dataclass(frozen=True)
class Owner:
    """The layer of an operation: its path by names, its class, its place.

    own: is the class one of the user, and not of Keras?
    quantized: did Keras' `quantize` change how it computes?
    """

    path: str = ""
    kind: str = ""
    place: int = 0
    own: bool = False
    quantized: bool = False

    @property
    def where(self) -> str:
        """The layer as errors name it, behind the operation; "" without a layer."""
        return f" of the layer {self.path!r} ({self.kind})" if self.kind else ""


class Scopes:
    """Finds the layers of operations.

    Keras opens a layer's scope twice, so that operations lie under `name_1`: the part
    of a scope names a layer with or without that number.
    """

    def __init__(self, model: Any) -> None:
        layer = isinstance(model, keras.layers.Layer)
        self._model = weakref.ref(model) if layer else None
        self._found: dict[str, Owner] = {}
        self._below: dict[int, Any] = {}
        layers = getattr(model, "layers", None) if layer else None
        self._places = {id(v): i for i, v in enumerate(layers or [])}

    @property
    def model(self) -> Any:
        """The model, which is not kept alive; None for other callables."""
        return None if self._model is None else self._model()

    def owner(self, name: str) -> Owner:
        """The layer of the operation of this name."""
        scope = name.rpartition("/")[0]
        if scope not in self._found:
            self._found[scope] = self._owner(scope)
        return self._found[scope]

    def _owner(self, scope: str) -> Owner:
        if self.model is None:
            parts = [p for p in scope.split("/") if p not in _CALLS]
            return Owner("/".join(parts))
        current, path, place = self.model, [], 0
        for part in scope.split("/"):
            below = self._children(current)
            stem, _, tail = part.rpartition("_")
            name = stem if tail.isdigit() and stem in below else part
            if name not in below:
                continue
            current = below[name]
            path.append(name)
            place = self._places.get(id(current), place)
        if not path:
            return Owner(place=place)
        cls = type(current)
        own = not cls.__module__.startswith("keras.")
        return Owner("/".join(path), cls.__name__, place, own, is_quantized(current))

    def _children(self, layer: Any) -> Any:
        """The layers inside a layer by name; the nearest, where a name comes twice."""
        if id(layer) not in self._below:
            found: Any = weakref.WeakValueDictionary()
            for inner in layers_within(layer):
                found.setdefault(inner.name, inner)
            self._below[id(layer)] = found
        return self._below[id(layer)]


def is_quantized(layer: Any) -> bool:
    """Did Keras' `quantize` change how a layer of Keras computes?"""
    mode = getattr(layer, "quantization_mode", None)
    return mode is not None and type(layer).__module__.startswith("keras.")


def owner_of(scopes: Scopes | None, name: str) -> Owner:
    """The layer of an operation; without a model, none."""
    return Owner() if scopes is None else scopes.owner(name)


_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
