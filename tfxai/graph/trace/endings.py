"""The sigmoid that a model ends in, however it is written: also as 1 - sigmoid(z)."""

from dataclasses import replace

import numpy as np

from tfxai.graph.trace.flow import Trace, needed
from tfxai.graph.trace.functions import GRID, close, on_grid
from tfxai.graph.trace.operation import Operation
from tfxai.graph.trace.region import Region, regions
from tfxai.graph.trace.table import POINTWISE, SHAPES

#: What a sigmoid is written with, and the most operations of one.
CURVES = frozenset({"Sigmoid", "Exp", "Tanh", "Softplus", "Log1p", "Expm1", "Erf"})
MOST = 14
_MOVES = SHAPES | {"Transpose"}


def with_sigmoid(found: Trace) -> Trace:
    """The trace with Sigmoid(z) or Sigmoid(-z) in place of a spelling at its end."""
    value = found.output
    while value in found.maker and found.maker[value].type in _MOVES:
        value = found.maker[value].inputs[0]
    last = found.maker.get(value)
    if last is None or last.type == "Sigmoid" or value not in found.carries:
        return found
    region, turned = _written(found, value)
    if region is None:
        return found
    entry, made = region.entry, []
    names = (("x", None),)
    if turned:
        found.types.append(found.types[entry])
        entry = len(found.types) - 1
        negated = Operation("Neg", last.name, (region.entry,), (entry,), {}, names)
        made.append(negated)
    made.append(Operation("Sigmoid", last.name, (entry,), (value,), {}, names))
    at = found.operations.index(last)
    operations = [*found.operations[:at], *made, *found.operations[at + 1 :]]
    return replace(found, operations=needed(operations, found.output))


def _written(found: Trace, value: int) -> tuple[Region | None, bool]:
    """The largest region that is a sigmoid, and whether it is sigmoid(-z)."""
    z = GRID.astype(float)
    best: tuple[Region | None, bool] = (None, False)
    for region in regions(found, value, POINTWISE):
        if region.entry not in found.carries or len(region.operations) > MOST:
            break
        same = found.types[region.entry].dims == found.types[value].dims
        if not same or not region.types & CURVES:
            continue
        values = on_grid(region)
        if values is None:
            continue
        for turned, sign in ((False, 1), (True, -1)):
            if close(values, 1 / (1 + np.exp(-sign * z))):
                best = region, turned
    return best
