"""Where relevance is lost or made on its way: by biases, stabilisers, softmaxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.relevance.plan import StepRule


@dataclass(frozen=True)
class Residual:
    """What an analyzer's steps absorb: relevance that comes in minus what goes out.

    names, kinds, rules: of every step, from the output to the input.
    absorbed: (steps, B), or (steps, B, T) for several targets.
    start, arrived: (B,), what the head starts from and what reaches the inputs.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    rules: tuple[str, ...]
    absorbed: np.ndarray
    start: np.ndarray
    arrived: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """start - arrived, (B,): 0 where relevance is conserved."""
        return self.start - self.arrived

    @property
    def relative(self) -> np.ndarray:
        """|total| / |start|, (B,)."""
        size = np.abs(self.start)
        zeros = np.zeros_like(size)
        return np.divide(np.abs(self.total), size, out=zeros, where=size > 0)

    @property
    def by_kind(self) -> dict[str, np.ndarray]:
        """What the steps of each kind absorb together, (B,)."""
        made: dict[str, Any] = {}
        for kind, row in zip(self.kinds, self.absorbed, strict=True):
            made[kind] = made.get(kind, 0) + row
        return made

    def __str__(self) -> str:
        """The ten steps that absorb most, as shares of the start."""
        size = np.maximum(np.abs(self.start), 1e-30)
        shares = (self.absorbed / size).reshape(len(self.names), -1)
        worst = np.argsort(-np.abs(shares).max(1))[:10]
        rows = [(self.names[i], self.rules[i], _span(shares[i])) for i in worst]
        rows.append(("all steps", "", _span((self.total / size).ravel())))
        wide = [max(len(r[i]) for r in rows) for i in range(2)]
        lines = [f"{n:{wide[0]}}  {r:{wide[1]}}  {s}" for n, r, s in rows]
        return "\n".join(lines)


def _span(shares: np.ndarray) -> str:
    low, high = 100 * shares.min(), 100 * shares.max()
    same = f"{low:.3g}" == f"{high:.3g}"
    return f"{low:.3g} %" if same else f"{low:.3g} to {high:.3g} %"


def residual(plan: Sequence[StepRule], tables: list[dict], one: bool) -> Residual:
    """The residual of batches: `RelevanceModel.absorbed` of each."""

    def joined(name: str) -> np.ndarray:  # (..., T, B) -> (..., B, T)
        array = np.concatenate([np.asarray(t[name]) for t in tables], -1)
        array = np.swapaxes(array, -1, -2)
        return array[..., 0] if one else array

    back = list(reversed(plan))
    return Residual(
        tuple(p.step.name for p in back),
        tuple(p.step.kind for p in back),
        tuple(str(p.rule) for p in back),
        joined("steps"),
        joined("start"),
        joined("arrived"),
    )
