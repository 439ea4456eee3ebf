"""The plain data of a program: a step, and the weights of a linear step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tensorflow as tf

from tfxai.base.registry import Registry
from tfxai.base.tensors import Tensor, chunks

#: Every kind of step, and what it is. Presets and `rules=` go by these words.
KINDS: Registry[str, str] = Registry(
    "kind of step",
    {
        "dense": "a product with a learned or constant matrix, and a bias",
        "conv": "a convolution, also a transposed or separable one",
        "depthwise": "a convolution of each channel by itself",
        "scale": "a factor and a shift for each value",
        "fourier": "a Fourier transform, from real numbers to real numbers",
        "add": "a sum, a difference or a mean of several tensors",
        "average": "a mean or a sum over positions",
        "max": "the winner of several values, or what a mask lets through",
        "route": "values that only move",
        "identity": "nothing, at inference",
        "relu": "a ReLU of any form",
        "activation": "any other function of one value at a time",
        "softmax": "a softmax inside the network",
        "norm": "a normalisation by the sample's own mean and variance",
        "product": "a product of tensors that all depend on the input",
        "gate": "a product of a signal and a sigmoid gate",
        "embedding": "vectors looked up by tokens",
        "fixed": "a mask, an index or a constant: it carries no relevance",
    },
)
#: Kinds that are linear in their input, up to a bias.
LINEAR = frozenset({"dense", "conv", "depthwise", "scale", "average", "add", "fourier"})
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
    """Live weights, from the user's variables at every run.

    read: (inputs) -> the kernel (a tensor, a tuple of them, or `Scaled`), and the bias
        that broadcasts against the step's output, or None. Of the inputs, it may look
        at the shapes.
    scale_out: (kernel, (C,) factors) -> kernel with its outputs multiplied.
    scale_in: (kernel, (C,) factors) -> kernel with its inputs multiplied, or None
        where that is not a matter of broadcasting (groups).
    channels: the output's channel axis, counted from the end; 0 for one factor for all
        of them, None where the factors lie along no single axis.
    dense: kernel -> one kernel, where the layer keeps it in factors (separable
        convolutions); None where it is one already.
    """

    read: Callable[[list[Any]], tuple[Any, Tensor | None]]
    scale_out: Callable[[Tensor, Tensor], Tensor] | None = None
    scale_in: Callable[[Tensor, Tensor], Tensor] | None = None
    channels: int | None = -1
    dense: Callable[[Tensor], Tensor] | None = None


def along(vector: Any, axis: int = -1) -> Tensor | None:
    """A (C,) variable, or None, so that it broadcasts along an axis from the end."""
    if vector is None:
        return None
    v = tf.convert_to_tensor(vector)
    return v if axis == -1 else tf.reshape(v, [-1] + [1] * (-1 - axis))


@dataclass(frozen=True, eq=False)
class Mapped:
    """function(kernel), of some rows as of all, that is made as it is needed.

    A dense kernel can be larger than all activations together; a copy of it would cost
    more time and memory than the product.
    """

    kernel: Tensor
    function: Callable[..., Any]

    def blocks(self) -> Iterator[slice]:
        """Slices of rows, each small enough to be made at once."""
        return chunks(self.kernel.shape[0], max(1, BLOCK // self.kernel.shape[1]))

    def rows(self, block: slice) -> Tensor:
        """The mapped rows of one block."""
        return self.function(self.kernel[block])

    @property
    def made(self) -> Tensor:
        """All rows at once."""
        return self.function(self.kernel)


@dataclass(frozen=True, eq=False)
class Scaled:
    """scale(kernel, factors), that is not made where what comes out can be scaled.

    factors: they broadcast against the step's output.
    """

    kernel: Tensor
    factors: Tensor
    scale: Callable[..., Any]

    @property
    def shape(self) -> Any:
        """The kernel's."""
        return self.kernel.shape

    def of(self, rows: Tensor) -> Tensor:
        """The same of some rows of the kernel."""
        return self.scale(rows, flat(self.factors))

    @cached_property
    def made(self) -> Tensor:
        """The kernel with its outputs multiplied."""
        return self.of(self.kernel)


def whole(kernel: Any) -> Any:
    """A kernel at once, also where it is one that is made as it is needed."""
    return kernel.made if isinstance(kernel, Mapped | Scaled) else kernel


def flat(v: Tensor) -> Tensor:
    """The factors of each channel, (C,), without the axes that they broadcast along."""
    return v if v.shape.rank == 1 else tf.reshape(v, [-1])


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of the flat network.

    apply: (inputs) -> output, or (inputs, kernel) -> output without bias for a step
        that has `weights`. `inputs` is always a list. The kernel is none that is
        `Scaled`: for those ask `product`, and `back` in place of `transpose`.
    transpose: (s (N, ...), kernel) -> the inputs' share (N, ...), where there is a
        faster way than the automatic gradient; None elsewhere.
    frozen: (inputs) -> the function that the step is at its present mean and variance,
        linear in the inputs and without shift; for normalisations.
    secant: (inputs, inputs at a baseline, m (K, B, ...)) -> multipliers of each input,
        exact for the change between the two; for softmaxes, normalisations, products.
    sides: positions among the inputs that carry no relevance (masks, divisors).
    divides: does one of the sides depend on the input, as a divisor may?
    divisors: positions among the inputs, no sides, that the others are divided by: they
        have a slope, and no relevance.
    gates: positions among the inputs that only open and close what the others say.
    nonnegative: "yes", "no", or "kept" where an output is >= 0 if all inputs are.
    gate: an activation that is 0 for z <= 0 ("relu": and z above, "relu6": bounded).
    shape: the output's, without the batch axis; None where it is not known.
    merged: the name of the layer that is merged into it from behind, whose output its
        own is then; "".
    by_sample: is each sample of the output a function of the same sample of the inputs,
        along the first axis? Then the seeds can be further samples of the batch.
    factor: is it a scale by a single number, without shift?
    place: the number, in `model.layers`, of the layer that the step belongs to.
    """

    name: str
    kind: str
    apply: Callable[..., Any]
    weights: Any = None  # Weights, for a step with learned or constant factors
    transpose: Callable[..., Any] | None = None
    frozen: Callable[..., Any] | None = None
    secant: Callable[..., Any] | None = None
    sides: tuple[int, ...] = ()
    divides: bool = False
    divisors: tuple[int, ...] = ()
    gates: tuple[int, ...] = ()
    nonnegative: str = "no"
    gate: str | None = None
    layer: str = ""
    shape: tuple[Any, ...] = ()
    merged: str = ""
    by_sample: bool = True
    factor: bool = False
    place: int = 0
    inputs: tuple[int, ...] = ()
    output: int = -1

    @property
    def linear(self) -> bool:
        """Is the step linear in its inputs, up to a bias?"""
        return self.kind in LINEAR

    @property
    def names(self) -> list[str]:
        """Its own, its layer's (for all of its calls), and the layers around it."""
        layer = self.name.partition("@")[0]
        parts = layer.split("/")
        around = ["/".join(parts[:i]) for i in range(len(parts) - 1, 0, -1)]
        return [self.name, layer, *around]

    @property
    def call(self) -> str:
        """The call of a layer that it belongs to: `conv@2` of `conv:relu@2`."""
        name, at, number = self.name.partition("@")
        return name.partition(":")[0] + at + number

    def carried(self, values: Any) -> list[Any]:
        """Those of one value per input that carry relevance."""
        return [v for i, v in enumerate(values) if i not in self.sides]

    def run(self, inputs: list[Any], seen: dict[int, Any] | None = None) -> Tensor:
        """The step's output, as the user's model computes it.

        seen: keeps the kernel and the bias, by the number of the output.
        """
        if self.weights is None:
            return self.apply(inputs)
        kernel, bias = self.weights.read(inputs)
        if seen is not None:
            seen[self.output] = kernel, bias
        z = self.product(inputs, kernel)
        return z if bias is None else z + bias

    def product(self, inputs: list[Any], kernel: Any) -> Tensor:
        """W x, without the bias."""
        if isinstance(kernel, Scaled):
            return self.apply(inputs, kernel.kernel) * kernel.factors
        return self.apply(inputs, kernel)

    def back(self, s: Tensor, kernel: Any) -> Tensor:
        """W^T s for s (N, ...), of a step that has a `transpose`."""
        transpose: Any = self.transpose
        if isinstance(kernel, Scaled):
            return transpose(s * kernel.factors, kernel.kernel)
        return transpose(s, kernel)
