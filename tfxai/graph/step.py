"""The plain data of a program: a step, and the weights of a linear step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfxai.arrays import Tensor

#: Kinds that are linear in their input, up to a bias.
LINEAR = frozenset({"dense", "conv", "depthwise", "scale", "average", "add"})
#: Kinds whose learned kernel the rules are about.
KERNEL = frozenset({"dense", "conv", "depthwise"})
#: Kinds that hand each value on unchanged, to one place or to several.
MOVES = frozenset({"route", "identity"})


@dataclass(frozen=True, eq=False)
class Weights:
    """Live weights: both are read from the user's variables at every run.

    kernel: () -> tensor.
    bias: () -> tensor that broadcasts against the step's output, or None.
    scale_out: (kernel, (C,) factors) -> kernel with its outputs multiplied.
    scale_in: (kernel, (C,) factors) -> kernel with its inputs multiplied, or None
        where that is not a matter of broadcasting (groups).
    channels: the output's channel axis.
    dense: kernel -> one kernel, where the layer keeps it in factors (separable
        convolutions); None where it is one already.
    """

    kernel: Callable[[], Tensor]
    bias: Callable[[], Tensor] | None
    scale_out: Callable[[Tensor, Tensor], Tensor] | None = None
    scale_in: Callable[[Tensor, Tensor], Tensor] | None = None
    channels: int = -1
    dense: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of the flat network.

    apply: (inputs) -> output, or (inputs, kernel) -> output without bias for a step
        that has `weights`. `inputs` is always a list.
    nonnegative: "yes", "no", or "kept" where an output is >= 0 if all inputs are.
    gate: an activation that is 0 for z <= 0 ("relu": and z above, "relu6": bounded).
    shape: the output's, without the batch axis; None where it is not known.
    """

    name: str
    kind: str
    apply: Callable
    weights: Any = None  # Weights, for a step with learned or constant factors
    nonnegative: str = "no"
    gate: str | None = None
    layer: str = ""
    shape: tuple = ()
    inputs: tuple[int, ...] = ()
    output: int = -1

    @property
    def linear(self) -> bool:
        """Is the step linear in its inputs, up to a bias?"""
        return self.kind in LINEAR

    def run(self, inputs: list) -> Tensor:
        """The step's output, as the user's model computes it."""
        if self.weights is None:
            return self.apply(inputs)
        z = self.apply(inputs, self.weights.kernel())
        bias = self.weights.bias
        return z if bias is None else z + bias()
