"""Target functions, ready-made or given, and their form for one model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor
from tfxai.core.targets import own_outputs
from tfxai.graph.program import Program


@dataclass(frozen=True)
class ReadyTarget:
    """A target of `tfxai.targets`.

    Attributes:
        name: The call that returns it, as titles show it.
        indices: The elements of each output that it reads; None is the top class.
        score: (`Bound`, explained outputs) -> scores (B,).
        probabilities: True if the model must return probabilities.
        key: What distinguishes targets of one name, such as the values of a mask.
        weights: What the score reads: the mask of `masked_sum`, of one output or (B,
            ...); positions and tokens (B, n).
        of: (other weights) -> the same target that reads them.
        each: True if the weights hold a row for each sample.
        resolve: Completes a target of sequences; see `core.sequences`.
    """

    name: str
    indices: tuple[Any, ...]
    score: Callable[["Bound", Tensor], Tensor] = field(compare=False)
    probabilities: bool = False
    key: Any = None
    weights: Any = field(default=None, compare=False)
    of: Callable[[Any], "ReadyTarget"] | None = field(default=None, compare=False)
    each: bool = field(default=False, compare=False)
    resolve: Callable[..., "ReadyTarget"] | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return self.name

    def __call__(self, outputs: Tensor) -> Tensor:
        """Return the scores (B,) of outputs that end in no softmax or sigmoid."""
        model = Bound(self, None, "unknown", self)
        return self.score(model, tf.convert_to_tensor(outputs))


@dataclass(frozen=True)
class Bound:
    """A target function of one model, as a function of the explained outputs.

    Attributes:
        function: The target function: own outputs -> scores (B,), or a `ReadyTarget`.
        program: The steps of the model; None where they were not read.
        link: How the own outputs follow from the explained outputs.
        key: What distinguishes target functions; see `key_of`.
    """

    function: Callable[..., Any] = field(compare=False)
    program: Program | None
    link: str
    key: Any

    def __call__(self, outputs: Tensor) -> Any:
        """Return the scores (B,) at explained outputs (logits)."""
        if isinstance(self.function, ReadyTarget):
            return self.function.score(self, outputs)
        return self.function(self.own(outputs))

    def own(self, outputs: Tensor) -> Tensor:
        """Return the model's own outputs."""
        return own_outputs(self.program, outputs)

    @property
    def exact(self) -> str:
        """The link, or "" where steps behind the softmax move its values."""
        moved = self.program is not None and len(self.program.finish) > 1
        return "" if moved and self.link != "sigmoid" else self.link
