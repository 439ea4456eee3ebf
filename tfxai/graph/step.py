"""The plain data of a program: a step, and the weights of a linear step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tfxai.arrays import Tensor, chunks

#: Kinds that are linear in their input, up to a bias.
LINEAR = frozenset({"dense", "conv", "depthwise", "scale", "average", "add"})
#: Kinds whose learned kernel the rules are about.
KERNEL = frozenset({"dense", "conv", "depthwise"})
#: Elements of a mapped dense kernel that are made at a time (4 MiB).
BLOCK = 1 << 20
#: Kinds that keep an interval an interval: what bounds the input bounds what follows.
MONOTONE = frozenset({"route", "identity", "average", "max", "scale"})
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
    channels: the output's channel axis, counted from the end; 0 for one factor for all
        of them, None where the factors lie along no single axis.
    dense: kernel -> one kernel, where the layer keeps it in factors (separable
        convolutions); None where it is one already.
    """

    kernel: Callable[[], Tensor]
    bias: Callable[[], Tensor] | None
    scale_out: Callable[[Tensor, Tensor], Tensor] | None = None
    scale_in: Callable[[Tensor, Tensor], Tensor] | None = None
    channels: int | None = -1
    dense: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Mapped:
    """function(kernel), element by element, that is not made as a whole.

    A dense kernel can be larger than all activations together; a copy of it would cost
    more time and memory than the product. Rows are mapped as they are needed.
    """

    kernel: Tensor
    function: Callable

    def blocks(self) -> Iterator[slice]:
        """Slices of rows, each small enough to be made at once."""
        return chunks(self.kernel.shape[0], max(1, BLOCK // self.kernel.shape[1]))

    def rows(self, block: slice) -> Tensor:
        """The mapped rows of one block."""
        return self.function(self.kernel[block])


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of the flat network.

    apply: (inputs) -> output, or (inputs, kernel) -> output without bias for a step
        that has `weights`. `inputs` is always a list.
    transpose: (s (N, ...), kernel) -> the inputs' share (N, ...), where there is a
        faster way than the automatic gradient; None elsewhere.
    nonnegative: "yes", "no", or "kept" where an output is >= 0 if all inputs are.
    gate: an activation that is 0 for z <= 0 ("relu": and z above, "relu6": bounded).
    shape: the output's, without the batch axis; None where it is not known.
    """

    name: str
    kind: str
    apply: Callable
    weights: Any = None  # Weights, for a step with learned or constant factors
    transpose: Callable | None = None
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
