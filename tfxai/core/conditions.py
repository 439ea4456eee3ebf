"""Conditional relevance: only through chosen channels, neurons or heads of layers.

Achtibat et al. 2023, arXiv:2206.03208: the relevance R of the output of each chosen
layer becomes R * mask, and relevance that reaches the input around the layer is left
out. zennit-crp does the same with `exclude_parallel=True`, its default.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import is_int
from tfxai.core.layer_choice import layer_step
from tfxai.core.model import ModelWrapper
from tfxai.graph.program import Program

Array = np.ndarray[Any, Any]
WRITE = 'conditions={"block3": [12, 40]}'


def sets_of(model: Any, program: Program, conditions: Any) -> Any:
    """Return the masks of one set of conditions, or a list of those of several sets.

    Arguments and errors as for `masks_of`.
    """
    if isinstance(conditions, list | tuple) and conditions:
        return [masks_of(model, program, c) for c in conditions]
    return masks_of(model, program, conditions)


def masks_of(model: Any, program: Program, conditions: Any) -> dict[str, Array]:
    """Return the mask of each chosen layer, by the name of its step.

    Args:
        model: The model.
        program: Its steps.
        conditions: A mapping from layers to channels, neurons or masks; see
            `tfxai.relevance.analyzers.build`.

    Raises:
        OptionError: A condition has another form, or two layers are parallel.
        UnknownNameError: There is no such layer.
    """
    if not isinstance(conditions, Mapping) or not conditions:
        raise OptionError(
            f"conditions={conditions!r}.",
            "a mapping from layers to lists of channels or indices, or to masks; or a "
            "list of such mappings",
            WRITE,
        )
    steps = [layer_step(model, program, layer) for layer in conditions]
    masks = {
        step.name: _mask(chosen, tuple(step.shape), step.name)
        for step, chosen in zip(steps, conditions.values(), strict=True)
    }
    if len(masks) < len(steps):
        raise OptionError(
            f"conditions name the step {steps[-1].name!r} twice.",
            "each layer once",
            WRITE,
        )
    _check_order(program, masks)
    return masks


def one_condition(wrapped: ModelWrapper, conditions: Any) -> tuple[str, Array]:
    """Return the layer and the mask of conditions at one layer.

    Raises:
        OptionError: They name several layers, or see `masks_of`.
        UnknownNameError: There is no such layer.
    """
    if isinstance(conditions, list | tuple):
        raise OptionError(
            f"conditions={conditions!r}.",
            "a mapping from one layer to channels or neurons; relevance methods take "
            "several",
            WRITE,
        )
    masks = masks_of(wrapped.model, wrapped.program("rule"), conditions)
    if len(masks) > 1:
        raise OptionError(
            f"conditions name {len(masks)} layers, {list(masks)}.",
            "one layer; relevance methods take several",
            f"conditions={{{next(iter(masks))!r}: [0]}}",
        )
    if by_channel(conditions):
        wrapped.check_channels_last("conditions")
    return next(iter(masks.items()))


def _mask(chosen: Any, shape: tuple[Any, ...], name: str) -> Array:
    """Return the mask that a condition describes, for an output of this shape."""
    if isinstance(chosen, np.ndarray) and chosen.dtype.kind in "bf":
        mask = chosen.astype(np.float32)
        known = zip(reversed(mask.shape), reversed(shape), strict=False)
        if mask.ndim <= len(shape) and all(m in (1, n) for m, n in known):
            return mask
        raise _refused(chosen.shape, "a mask of shape", shape, name)
    items = [chosen] if is_int(chosen) or isinstance(chosen, tuple) else chosen
    if isinstance(items, list | np.ndarray | range) and len(items):
        items = list(items)
        if all(is_int(i) for i in items):
            if all(-shape[-1] <= i < shape[-1] for i in items):
                mask = np.zeros(shape[-1], np.float32)
                mask[items] = 1.0
                return mask
        elif None not in shape and all(_is_inside(i, shape) for i in items):
            mask = np.zeros(shape, np.float32)
            for index in items:
                mask[index] = 1.0
            return mask
    raise _refused(chosen, "", shape, name)


def _is_inside(index: Any, shape: tuple[Any, ...]) -> bool:
    """True for a tuple of whole numbers inside a shape."""
    if not isinstance(index, tuple) or len(index) != len(shape):
        return False
    pairs = zip(index, shape, strict=True)
    return all(is_int(i) and -n <= i < n for i, n in pairs)


def _refused(what: Any, kind: str, shape: tuple[Any, ...], name: str) -> OptionError:
    """Return the error of a condition that does not fit an output."""
    return OptionError(
        f"conditions has {kind} {what!r} for {name!r}, whose output has the shape "
        f"{shape}.".replace("  ", " "),
        f"a list of channels below {shape[-1]}, a list of indices of {len(shape)} "
        "number(s), or a mask of floats that broadcasts to the shape",
        f"conditions={{{name!r}: [0]}}",
    )


def by_channel(conditions: Any) -> bool:
    """Does a condition, or one of several sets, name channels by their number?"""
    if isinstance(conditions, list | tuple):
        return any(by_channel(c) for c in conditions)
    items = [np.atleast_1d(v) for v in conditions.values() if not isinstance(v, tuple)]
    return any(v.ndim == 1 and v.dtype.kind in "iu" for v in items)


def check_below(program: Program, masks: Collection[str], number: int) -> None:
    """Raise OptionError unless each layer is the tensor's own or comes after it."""
    after = {number}
    for step in program.steps:
        if after.intersection(step.inputs):
            after.add(step.output)
        if step.name in masks and step.output not in after:
            raise OptionError(
                f"conditions name {step.name!r}, which does not follow the layer whose "
                "relevance is returned.",
                "a layer that comes after it, or the layer itself",
                "at=None",
            )


def _check_order(program: Program, masks: Mapping[str, Array]) -> None:
    """Raise OptionError unless each layer depends on the one before it."""
    below: dict[int, frozenset[str]] = {}
    last = ""
    for step in program.steps:
        sources = [below[i] for i in step.inputs if i in below]
        found: frozenset[str] = frozenset().union(*sources)
        if step.name in masks:
            if last and last not in found:
                raise OptionError(
                    f"conditions name {last!r} and {step.name!r}, which are parallel: "
                    "no relevance passes through both.",
                    "layers that follow each other; or the sum of two explanations",
                    f"conditions={{{last!r}: [0]}}",
                )
            last, found = step.name, found | {step.name}
        below[step.output] = found
