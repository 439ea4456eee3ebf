"""Relevance through attention in blocks of query rows; see `tfxai.graph.blocks`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, size
from tfxai.graph.blocks import Blocked
from tfxai.graph.step import Step
from tfxai.relevance.algebra import Relevance
from tfxai.relevance.plan import StepRule

#: (step with its rule, tensors, relevance) -> relevance of each input that carries it.
Pass = Callable[[StepRule, Any, Relevance], list[Relevance]]


@dataclass(frozen=True)
class BlockRule:
    """Steps that are computed in blocks, with their rules.

    Args:
        step: The steps as one.
        inner: Each of them with its rule.
    """

    step: Blocked
    inner: tuple[StepRule, ...]


def planned_blocks(steps: Sequence[Step], plan: Sequence[StepRule]) -> tuple[Any, ...]:
    """Return the plan of steps, some of which are computed in blocks.

    Args:
        steps: The steps.
        plan: The plan of the steps before some were made one.
    """
    own: Mapping[int, StepRule] = {p.step.output: p for p in plan}
    return tuple(
        BlockRule(s, tuple(own[i.output] for i in s.inner))
        if isinstance(s, Blocked)
        else own[s.output]
        for s in steps
    )


def passed(
    planned: BlockRule,
    values: Mapping[int, Tensor],
    local: Any,
    r: Relevance,
    one: Pass,
) -> list[Relevance]:
    """Return the relevance of each input of steps in blocks.

    Args:
        planned: The steps with their rules.
        values: The tensors outside of the steps.
        local: Function (tensors by number, steps) -> the tensors of the steps, too.
        r: The relevance of the output.
        one: How relevance passes one step.
    """
    step = planned.step
    xs = [values[i] for i in step.inputs]
    r = r.on(values[step.output])
    found: list[Relevance] = []

    def block(tensors: list[Tensor]) -> list[Tensor]:
        own, messages = tensors[: len(xs)], tensors[len(xs) :]
        inside = local(dict(zip(step.inputs, own, strict=True)), step.inner)
        seed = r.with_messages(messages)
        seed = Relevance([inside[step.output]], seed.ratio, seed.plain)
        arrived = {step.output: [seed]}
        for p in reversed(planned.inner):
            parts = arrived.pop(p.step.output, None)
            if parts is None:
                continue
            down = one(p, inside, reduce(add, parts))
            for i, part in zip(p.step.carried(p.step.inputs), down, strict=True):
                if not part.empty:
                    arrived.setdefault(i, []).append(part)
        found[:] = [
            reduce(add, arrived[i]).on(x) if i in arrived else Relevance([x])
            for i, x in zip(step.inputs, own, strict=True)
        ]
        return [
            tf.broadcast_to(m, [size(m)[0], *size(x)])
            for part, x in zip(found, own, strict=True)
            for m in part.messages
        ]

    def ways() -> list[int | None]:
        pairs = zip(found, step.axes, strict=True)
        return [None if a is None else a + 1 for p, a in pairs for _ in p.messages]

    axes = [*step.axes, *(step.axis + 1 for _ in r.messages)]
    with tf.control_dependencies(r.messages):
        rest = iter(step.in_blocks(block, [*xs, *r.messages], axes, ways))
    whole = []
    for part, x in zip(found, xs, strict=True):
        own = part.with_messages([next(rest) for _ in part.messages])
        whole.append(Relevance([x], own.ratio, own.plain))
    return whole
