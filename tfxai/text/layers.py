"""Relevance at the output of a layer, for each token, and of attention heads."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.core import registry
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper
from tfxai.graph.program import Program
from tfxai.text.readers import are_tokens
from tfxai.text.rows import Part, Row

Array = np.ndarray[Any, Any]
#: The value of `at` that explains every head of every attention layer.
HEADS = "heads"


class LayerMaps:
    """The maps of layers, of a method with the option `at`.

    Args:
        method: The name of the method.
        wrapped: The model.
        options: The options of the method.
        own: The analyzer of a relevance method; else None.
    """

    def __init__(
        self,
        method: str,
        wrapped: ModelWrapper,
        options: Mapping[str, Any],
        own: Any = None,
    ) -> None:
        self.method, self.wrapped, self.options = method, wrapped, dict(options)
        self._own, self._made = own, dict[str, Any]()
        #: As of tokens: the gradient of a vector is its norm, others are a sum.
        self.norm = method == "gradient"

    @property
    def program(self) -> Program:
        """The steps of the model."""
        if self._own is not None:
            own: Program = self._own.graph.program
            return own
        return self.wrapped.program("rule")

    def coverage(self) -> list[dict[str, str]]:
        """Return the name and the kind of every step; of relevance methods the rule."""
        if self._own is not None:
            found: list[dict[str, str]] = self._own.coverage()
            return found
        return [
            {"step": s.name, "layer": s.layer, "kind": s.kind}
            for s in self.program.steps
        ]

    def relevance_at(
        self, layer: str, x: Any, target: Any = None, batch_size: int = 32
    ) -> Explanation:
        """Return the map of a layer's output, (B, ...); `inputs` is that output."""
        e: Explanation
        if self._own is not None:
            e = self._own.relevance_at(layer, x, target, batch_size)
            return e
        if layer not in self._made:
            given = {**self.options, "at": layer}
            self._made[layer] = registry.create_analyzer(
                self.method, self.wrapped, **given
            )
        e = self._made[layer].analyze(x, target, batch_size)
        return e

    def total(self, r: Array, axes: tuple[int, ...]) -> Array:
        """Return one number for all of these axes."""
        found: Array = np.sqrt((r**2).sum(axes)) if self.norm else r.sum(axes)
        return found


def layer_maps(
    method: str, wrapped: ModelWrapper, options: Mapping[str, Any], own: Any
) -> LayerMaps:
    """Return the maps of layers of a method.

    Args:
        method: The name of the method.
        wrapped: The model.
        options: The options of the method.
        own: The analyzer of the method, or None.

    Raises:
        OptionError: The method has no layers.
    """
    relevance = hasattr(own, "relevance_at")
    if own is None or not (relevance or "at" in registry.lookup(method).options):
        raise OptionError(
            f"The method {method!r} has no relevance of layers.",
            "a relevance method, or a gradient or path method with the option `at`",
            'tfxai.text.create_analyzer("lrp.attn", model)',
        )
    return LayerMaps(method, wrapped, options, own if relevance else None)


def heads_of(
    inner: LayerMaps, inputs: Any, target: Any, batch_size: int
) -> tuple[dict[str, Array], Explanation]:
    """Return the relevance of the heads of each attention layer, and the last map.

    That is the sum of the relevance of the attention weights, (N, heads) or (N, T,
    heads) for T targets.

    Args:
        inner: The maps of layers.
        inputs: The inputs, as the model takes them.
        target: What is explained.
        batch_size: How many sequences are computed at once.

    Raises:
        OptionError: The model has no attention.
    """
    found = {}
    for row in inner.coverage():
        if row["kind"] != "softmax":
            continue
        e = inner.relevance_at(row["step"], inputs, target, batch_size)
        r, axes = np.asarray(e.relevance), e.target.ndim
        if r.ndim >= axes + 3:  # heads, queries, keys; that of a router has two
            each = inner.total(r, (-2, -1))
            found[row["step"]] = each.reshape(*e.target.shape, -1)
    if not found:
        raise OptionError(
            "The model has no softmax over pairs of tokens.",
            "a model with attention layers",
        )
    return found, e


def of_heads(e: Explanation) -> Explanation:
    """Return the explanation of heads, by one of tokens that holds them in `extra`."""
    extra = dict(e.extra)
    relevance = np.nan_to_num(np.asarray(extra.pop("heads"), np.float32))
    names = extra.pop("head_names")
    given = [n for n in e.option_names if n != "head_names"]
    found: Explanation = replace(
        e, relevance=relevance, inputs=None, tokens=None, features=names, extra=extra,
        option_names=given, input_names=(),
    )  # fmt: skip
    return found


def at_heads(
    inner: LayerMaps, inputs: Any, target: Any, batch_size: int
) -> tuple[Explanation, Array, dict[str, Any]]:
    """Return the last map, the relevance of all heads (..., n), and their names."""
    found, e = heads_of(inner, inputs, target, batch_size)
    names = [f"{n} head {h}" for n, s in found.items() for h in range(s.shape[-1])]
    return e, np.concatenate(list(found.values()), -1), {"head_names": names}


def at_layer(
    inner: LayerMaps, at: str, inputs: Sequence[Array], target: Any, batch_size: int
) -> tuple[Explanation, Array, bool]:
    """Return the map of a layer's output, that of its tokens, and if it is an encoder.

    The relevance of tokens (..., L) is the sum over all other axes, of the method
    "gradient" the norm; attention weights
    (heads, queries, keys) are summed for each key, and `extra["heads"]` of the map for
    each head.

    Args:
        inner: The maps of layers.
        at: The name of the layer.
        inputs: The inputs (N, ...) of the model, in its order.
        target: What is explained.
        batch_size: How many sequences are computed at once.

    Raises:
        OptionError: The output of the layer has no axis of tokens.
        UnknownNameError: There is no such layer.
    """
    program, names = inner.program, inner.wrapped.input_names
    at = full_name(program, at)
    step = program.find(at)
    reads = program.reads[step.output]
    tokens = [i for i, n in enumerate(names) if are_tokens(n)] or [0]
    own = [i for i in tokens if i in reads and "decoder" in (names or [""])[i]]
    which = (own or [i for i in tokens if i in reads] or tokens)[-1]
    length = inputs[which].shape[1]
    given = tuple(inputs) if len(inputs) > 1 else inputs[0]
    e = inner.relevance_at(at, given, target, batch_size)
    r, axes = np.asarray(e.relevance), e.target.ndim
    shape = r.shape[axes:]
    same = [s.kind for s in program.steps if s.call == step.call]
    weights = "softmax" in same and len(shape) >= 3  # a mask may follow the softmax
    found = [i for i, n in enumerate(shape) if n == length and len(shape) > 1]
    if not found:
        raise OptionError(
            f"at={at!r}: its output has shape {shape}, without an axis of {length} "
            "tokens.",
            "a layer with an output for each token",
            f"analyzer.relevance_at({at!r}, texts)",
        )
    axis = len(shape) - 1 if weights else found[0]
    others = tuple(axes + i for i in range(len(shape)) if i != axis)
    if weights:
        heads = inner.total(r, (-2, -1)).reshape(*e.target.shape, -1)
        e = replace(e, extra={**e.extra, "heads": heads})
    encoder = len(tokens) > 1 and not own
    return e, inner.total(r, others), encoder


def full_name(program: Program, name: str) -> str:
    """Return the name of a layer within the models around it, where it is unique."""
    every = {n for s in program.steps for n in s.names}
    inside = sorted(n for n in every if n.endswith(f"/{name}"))
    return inside[0] if name not in every and len(inside) == 1 else name


def parts_at(
    inner: LayerMaps,
    at: str,
    inputs: Sequence[Array],
    target: Any,
    batch_size: int,
    rows: Sequence[Row],
    has_encoder: bool,
) -> list[Part]:
    """Return the explanation of each row of a language model, at a layer.

    Args:
        inner, at, inputs, target, batch_size: As for `at_layer`; at may be "heads".
        rows: The rows.
        has_encoder: The model has an encoder, which reads the texts of the rows.
    """
    texts = [len(r.text) if has_encoder else 0 for r in rows]
    options: dict[str, Any] = {"at": at}
    heads: Any = None
    if at == HEADS:
        given = tuple(inputs) if len(inputs) > 1 else inputs[0]
        e, heads, names = at_heads(inner, given, target, batch_size)
        options |= names
        relevance, encoder = np.zeros((len(rows), max(texts) + 1), np.float32), True
    else:
        e, relevance, encoder = at_layer(inner, at, inputs, target, batch_size)
        heads = e.extra.get("heads")
    found = []
    for i, (row, n) in enumerate(zip(rows, texts, strict=True)):
        whole: Array = np.zeros(n + len(row.prefix), np.float32)
        part = whole[:n] if encoder else whole[n:]
        part[:] = relevance[i, : len(part)]
        own = {} if heads is None else {"heads": heads[i]}
        found.append(Part(whole, float(e.score[i]), None, own, options))
    return found
