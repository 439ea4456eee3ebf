"""Relevance that the steps absorb: by biases, stabilizers and softmaxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.relevance.plan import StepRule

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Residual:
    """Relevance that each step absorbs: R of its output minus R of its inputs.

    Args:
        names: Name of every step, from the output to the input.
        kinds: Kind of every step.
        rules: Rule of every step.
        absorbed: Absorbed relevance, (steps, B), or (steps, B, T) for several targets.
        start: Sum of the head's seeds, (B,) or (B, T).
        arrived: Sum of the relevance of the inputs, (B,) or (B, T).
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    rules: tuple[str, ...]
    absorbed: Array
    start: Array
    arrived: Array

    @property
    def total(self) -> Array:
        """start - arrived, (B,): 0 where relevance is conserved."""
        return np.subtract(self.start, self.arrived)

    @property
    def relative(self) -> Array:
        """|total| / |start|, (B,)."""
        size = np.abs(self.start)
        zeros = np.zeros_like(size)
        ratio: Array = np.divide(np.abs(self.total), size, out=zeros, where=size > 0)
        return ratio

    @property
    def by_kind(self) -> dict[str, Array]:
        """Sum of the absorbed relevance (B,) over the steps of each kind."""
        sums: dict[str, Any] = {}
        for kind, row in zip(self.kinds, self.absorbed, strict=True):
            sums[kind] = sums.get(kind, 0) + row
        return sums

    def __str__(self) -> str:
        """The ten steps that absorb most, in percent of the start."""
        size = np.maximum(np.abs(self.start), 1e-30)
        shares = (self.absorbed / size).reshape(len(self.names), -1)
        worst = np.argsort(-np.abs(shares).max(1))[:10]
        rows = [(self.names[i], self.rules[i], _span(shares[i])) for i in worst]
        rows.append(("all steps", "", _span((self.total / size).ravel())))
        wide = [max(len(r[i]) for r in rows) for i in range(2)]
        lines = [f"{n:{wide[0]}}  {r:{wide[1]}}  {s}" for n, r, s in rows]
        return "\n".join(lines)


def _span(shares: Array) -> str:
    """Return the smallest and largest share in percent, as text."""
    low, high = 100 * shares.min(), 100 * shares.max()
    same = f"{low:.3g}" == f"{high:.3g}"
    return f"{low:.3g} %" if same else f"{low:.3g} to {high:.3g} %"


def residual(
    plan: Sequence[StepRule], tables: list[dict[str, Any]], single_target: bool
) -> Residual:
    """Return the residual of all batches.

    Args:
        plan: Steps with their rules.
        tables: Result of `RelevanceModel.absorbed` for each batch.
        single_target: True to return (steps, B) instead of (steps, B, 1).
    """

    def concatenated(name: str) -> Array:  # (..., T, B) -> (..., B, T)
        array = np.concatenate([np.asarray(t[name]) for t in tables], -1)
        array = np.swapaxes(array, -1, -2)
        return array[..., 0] if single_target else array

    back = list(reversed(plan))
    return Residual(
        tuple(p.step.name for p in back),
        tuple(p.step.kind for p in back),
        tuple(str(p.rule) for p in back),
        concatenated("steps"),
        concatenated("start"),
        concatenated("arrived"),
    )
