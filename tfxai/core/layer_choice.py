"""The steps that `layer=` means: by object, number, name or unambiguous short name."""

from typing import Any

import keras

from tfxai.base.errors import ModelError, OptionError, UnknownNameError
from tfxai.graph.private import layers_within
from tfxai.graph.program import Program
from tfxai.graph.step import Step


def steps_of(program: Program, model: Any, layer: Any) -> list[Step]:
    """Return the steps of one layer, in their order.

    Args:
        program: The steps of the model.
        model: The model, whose `layers` a number and an object refer to.
        layer: The name of a step or of a layer, also without the names of the layers
            around it; the number in `model.layers`, negative from the end; or the
            layer itself.

    Raises:
        UnknownNameError: There is no such layer, or it has no output of its own.
        OptionError: Several layers have this short name, or the number is too large.
    """
    if isinstance(layer, str):
        return _by_name(program, layer)
    if isinstance(layer, keras.layers.Layer):
        return _by_object(program, model, layer)
    if isinstance(layer, int) and not isinstance(layer, bool):
        layers = getattr(model, "layers", [])
        if not -len(layers) <= layer < len(layers):
            raise OptionError(
                f"layer={layer}, and the model has {len(layers)} layers.",
                f"a number from {-len(layers)} to {len(layers) - 1}, or a name",
                "layer=-1",
            )
        return _by_object(program, model, layers[layer])
    raise OptionError(
        f"layer={layer!r}.",
        "the name of a layer, its number in model.layers, a layer of the model, or a "
        "list of these",
        "layer=-1",
    )


def layer_step(model: Any, program: Program, at: Any) -> Step:
    """Return the last step of a layer whose output has the batch first.

    Raises:
        UnknownNameError, OptionError: See `steps_of`.
        ModelError: There is no such step.
    """
    steps = steps_of(program, model, at)
    first = [s for s in steps if not program.batch_axis(s.output) and s.kind != "fixed"]
    if not first:
        raise ModelError(
            f"The layer at={at!r} has no output with the samples along its first axis.",
            "a layer whose output is (B, ...)",
            "at=None for the input",
        )
    return first[-1]


def _by_name(program: Program, name: str) -> list[Step]:
    named = [s for s in program.steps if name in (*s.names, s.call.split("@")[0])]
    if named:
        return named
    parts = name.split("/")
    paths: dict[str, list[Step]] = {}
    for s in program.steps:
        path = _end(s.names[1].partition(":")[0].split("/"), parts)
        if path:
            paths.setdefault(path, []).append(s)
    if len(paths) > 1:
        raise _ambiguous(name, list(paths))
    return next(iter(paths.values())) if paths else [program.find(name)]


def _end(path: list[str], parts: list[str]) -> str:
    """Return the path up to `parts` inside it; "" where they are not inside."""
    for stop in range(len(parts), len(path) + 1):
        if path[stop - len(parts) : stop] == parts:
            return "/".join(path[:stop])
    return ""


def _by_object(program: Program, model: Any, layer: Any) -> list[Step]:
    chain = _chain(model, layer)
    if chain is None:
        raise UnknownNameError(
            f"The layer {layer.name!r} is none of this model.",
            "a layer of the model, such as model.layers[-2], or a name",
            "layer=-2",
        )
    paths: dict[str, list[Step]] = {}
    for s in program.steps:
        path = _around(s.names[1].partition(":")[0].split("/"), chain)
        if path:
            paths.setdefault(path, []).append(s)
    if len(paths) > 1:
        raise _ambiguous(layer.name, list(paths))
    return next(iter(paths.values())) if paths else [program.find("/".join(chain))]


def _around(path: list[str], chain: list[str]) -> str:
    """Return the path up to the layer at the end of `chain`, if it lies in the path.

    Layers that are only wrapped, such as those of a list, may be missing in a path.
    """
    for stop in range(1, len(path) + 1):
        rest = iter(chain)
        if path[stop - 1] == chain[-1] and all(p in rest for p in path[:stop]):
            return "/".join(path[:stop])
    return ""


def _chain(model: Any, layer: Any) -> list[str] | None:
    """Return the names of the layers from the model down to `layer`."""
    if not isinstance(model, keras.layers.Layer):
        return None
    for inner in layers_within(model, recursive=False):
        if inner is layer:
            return [inner.name]
        below = _chain(inner, layer)
        if below is not None:
            return [inner.name, *below]
    return None


def _ambiguous(name: str, paths: list[str]) -> OptionError:
    more = f" and {len(paths) - 6} more" if len(paths) > 6 else ""
    return OptionError(
        f"{name!r} is the name of {len(paths)} layers.",
        f"one of {paths[:6]}{more}",
        f"layer={paths[-1]!r}",
    )
