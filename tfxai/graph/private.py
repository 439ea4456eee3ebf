"""The names that Keras keeps private. No other file reads one.

`_nodes_by_depth` of a graph, `_functional` of a Sequential, `_keras_mask` and
`_keras_history` of a tensor; and, to leave a layer as it was after it was opened,
`_inbound_nodes`, `_outbound_nodes`, `_flatten_layers` and the counter of automatic
names.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.common import global_state

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


@dataclass(frozen=True, eq=False)
class Traced:
    """A graph between symbolic tensors; its nodes are in an order that can run."""

    inputs: list
    outputs: list
    nodes: list


def traced(inputs: list, outputs: list) -> Traced:
    """The graph that makes `outputs` of `inputs`, with the masks that it hands on."""
    return Traced(inputs, outputs, list(_order(set(map(id, inputs)), outputs)))


def nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph in an order in which they can run, those of masks too."""
    if isinstance(graph, Traced):
        yield from graph.nodes
        return
    known = set(map(id, graph.inputs))
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if not node.is_input:
                yield from _order(known, _masks(node))
                known.update(map(id, node.outputs))
                yield node


def _masks(node: Any) -> list:
    masks = [mask_of(t) for t in node.arguments.keras_tensors]
    return [m for m in masks if m is not None]


def _order(known: set[int], wanted: list) -> Iterator[Any]:
    """The nodes that make the tensors `wanted`, after those that they need.

    known: the ids of tensors that are there already; those that are made join them.
    """
    stack = [(t, False) for t in reversed(wanted)]
    while stack:
        tensor, ready = stack.pop()
        if id(tensor) in known:
            continue
        origin = tensor._keras_history
        node = origin.operation._inbound_nodes[origin.node_index]
        if ready or node.is_input:
            known.update(map(id, node.outputs))
            if not node.is_input:
                yield node
            continue
        stack.append((tensor, True))
        needed = [*node.arguments.keras_tensors, *_masks(node)]
        stack += [(t, False) for t in reversed(needed)]


def mask_of(tensor: Any) -> Any:
    """The mask that Keras hands on beside a tensor, or None."""
    return getattr(tensor, "_keras_mask", None)


def give_mask(tensor: Any, mask: Any) -> None:
    """Hand a mask on beside a tensor."""
    tensor._keras_mask = mask


@contextmanager
def untouched(layer: Any) -> Iterator[None]:
    """Leave no node behind in a layer, and no automatic name counted."""
    layers = list(layer._flatten_layers()) if hasattr(layer, "_flatten_layers") else []
    lists = [n for v in layers for n in (v._inbound_nodes, v._outbound_nodes)]
    lengths = [len(n) for n in lists]
    uids = global_state.get_global_attribute("object_name_uids")
    counted = None if uids is None else dict(uids)
    try:
        yield
    finally:
        for n, length in zip(lists, lengths, strict=True):
            del n[length:]
        if uids is not None and counted is not None:
            uids.clear()
            uids.update(counted)


def layers_within(layer: Any, recursive: bool = True) -> list[Any]:
    """The layers inside a layer, the nearest first; also those inside of these."""
    return list(layer._flatten_layers(recursive=recursive, include_self=False))


def is_distributed(model: Any) -> bool:
    """Does the model have a copy of its variables for each replica of a strategy?"""
    return any(
        isinstance(v.value, tf.distribute.DistributedValues) for v in model.variables
    )


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
