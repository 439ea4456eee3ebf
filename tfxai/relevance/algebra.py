"""Algebra that lets rules be written as in their papers and evaluates them lazily.

A rule ends with `x * linear.T(s)`, and the next rule begins with `r / z`. Between the
two are one product and one quotient by (nearly) the same tensor. Therefore `x * t` does
not multiply: it returns a `Relevance` that stores the factor `x` and the message
`c = t`, and `r / z` computes `c * (x / z)`, one quotient for all seeds. LRP-0 is then
the gradient itself, and relevance is multiplied out once, at the input.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, negative, positive, size

Tensors = list[Tensor]
#: A ReLU's input z, and a tensor that equals z where the ReLU's output is above 0.
Gate = tuple[Tensor, Tensor]


class Activation:
    """Input of a step: one tensor x (B, ...), or several.

    Args:
        values: The tensors.
        nonnegative: True if x >= 0 is known.
        carry: Function (tensors at the network's inputs) -> tensors at this step, where
            only steps that move, pool or scale values lie in between; None elsewhere.
            Rules that need the range of the input call it.
        source: The network's inputs, or None where `carry` is None.
    """

    def __init__(
        self,
        values: Tensors,
        nonnegative: bool = False,
        carry: Callable[[Tensors], Tensors] | None = None,
        source: Tensors | None = None,
    ) -> None:
        self.values, self.nonnegative = values, nonnegative
        self.carry, self.source = carry, source
        self.zero = False

    def __mul__(self, factor: Any) -> "Relevance":
        """Return x * t, stored as the pair (x, t)."""
        factors = factor if isinstance(factor, list) else [factor]
        if self.zero:
            return Relevance(self.values)
        return Relevance(self.values, ratio=factors)

    __rmul__ = __mul__

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Tensor:
        return tf.convert_to_tensor(self.values[0], dtype=dtype, name=name)

    @property
    def positive(self) -> "Activation":
        """max(x, 0)."""
        if self.nonnegative:
            return self
        return Activation([positive(v) for v in self.values], True)

    @property
    def negative(self) -> "Activation":
        """min(x, 0); marked as zero where x >= 0 is known."""
        part = Activation([negative(v) for v in self.values])
        part.zero = self.nonnegative
        return part

    @property
    def ones(self) -> Tensors:
        """Input of ones, with one sample."""
        return [tf.ones_like(v[:1]) for v in self.values]


class Relevance:
    """Relevance R = base * ratio + plain, for each of a step's tensors.

    Args:
        base: Tensors (B, ...).
        ratio: Tensors (K, B, ...), or None.
        plain: Tensors (K, B, ...), or None.
        gate: Set where `base` is the output of an activation that is 0 for z <= 0: the
            pair (z, a tensor that equals z where base > 0).
    """

    def __init__(
        self,
        base: Tensors,
        ratio: Tensors | None = None,
        plain: Tensors | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.base, self.ratio, self.plain, self.gate = base, ratio, plain, gate

    def __add__(self, other: Any) -> "Relevance":
        a, b = self, self._to_relevance(other)
        if a.ratio is not None and b.ratio is not None and not _same(a.base, b.base):
            a, b = a._multiplied_out(), b._multiplied_out()
        base = a.base if a.ratio is not None else b.base
        ratio, plain = _add(a.ratio, b.ratio), _add(a.plain, b.plain)
        gate = a.gate if a.gate is b.gate else None
        return Relevance(base, ratio, plain, gate)

    def __sub__(self, other: Any) -> "Relevance":
        return self + self._to_relevance(other) * -1.0

    def __mul__(self, number: float) -> "Relevance":
        ratio, plain = _scale(self.ratio, number), _scale(self.plain, number)
        return Relevance(self.base, ratio, plain, self.gate)

    __rmul__ = __mul__

    def __truediv__(self, z: Any) -> Tensor:
        """Return R / z (K, B, ...), 0 / 0 = 0. `z` may be `stabilize(z, eps)`."""
        z = z if isinstance(z, Stabilized) else Stabilized(z, 0.0)
        terms = []
        if self.ratio is not None:
            cancels = z.z is self.base[0] and not z.eps  # x / x
            part = None if cancels else z.divide(self.base[0], self.gate)
            terms.append(self.ratio[0] if part is None else self.ratio[0] * part)
        if self.plain is not None:
            terms.append(z.divide(self.plain[0], None))
        return terms[0] if len(terms) == 1 else tf.add_n(terms)

    def tensors(self) -> Tensors:
        """Return R (K, B, ...) for each tensor."""
        return self._multiplied_out().plain or []

    @property
    def tensor(self) -> Tensor:
        """R (K, B, ...) of a step with one tensor."""
        return self.tensors()[0]

    def through(
        self, function: Callable[[Tensor], Any], x: Activation, z: Tensor
    ) -> "Relevance":
        """Move R from z back to x by `function`, the transpose of a step that moves.

        The message c = R / z moves as R does.
        """
        if self.ratio is not None and self.base[0] is not z:
            return self._multiplied_out().through(function, x, z)

        def moved(parts: Tensors | None) -> Tensors | None:
            if parts is None:
                return None
            result = function(parts[0])
            return result if isinstance(result, list) else [result]

        return Relevance(x.values, moved(self.ratio), moved(self.plain))

    def gated(self, value: Tensor, z: Tensor, name: str) -> "Relevance":
        """Return R with the gate of `value` = relu(z), or of `value` = relu6(z)."""
        own = self.ratio is not None and self.base[0] is value
        gate = (z, value if name == "relu" else z) if own else None
        return Relevance(self.base, self.ratio, self.plain, gate)

    def behind_relu(self, z: Tensor) -> bool:
        """True if R = 0 is known wherever z <= 0, because a ReLU reads z."""
        return self.gate is not None and self.gate[0] is z and self.plain is None

    def where(self, mask: Tensor) -> "Relevance":
        """Return R where the mask (B, ...) is 1, and 0 where it is 0."""
        ratio, plain = _scale(self.ratio, mask), _scale(self.plain, mask)
        return Relevance(self.base, ratio, plain, self.gate)

    def only(self, wanted: list[int]) -> "Relevance":
        """Return R of the tensors `wanted` only. Call `each` to read it."""
        ratio, plain = (
            v and [p if i in wanted else None for i, p in enumerate(v)]
            for v in (self.ratio, self.plain)
        )
        return Relevance(self.base, ratio, plain)

    @property
    def empty(self) -> bool:
        """True if there is no relevance."""
        return self.ratio is None and self.plain is None

    def each(self) -> list["Relevance"]:
        """Return one `Relevance` per tensor."""
        count = len(self.base)
        ratio, plain = self.ratio or [None] * count, self.plain or [None] * count
        parts = zip(self.base, ratio, plain, strict=True)
        return [
            Relevance(
                [b], None if r is None else [r], None if p is None else [p], self.gate
            )
            for b, r, p in parts
        ]

    @property
    def messages(self) -> Tensors:
        """All tensors (K, B, ...) in `ratio` and `plain`."""
        return [p for v in (self.ratio, self.plain) if v for p in v if p is not None]

    @property
    def single(self) -> bool:
        """True if K = 1 is known."""
        return isinstance(self.count, int) and self.count == 1

    def with_messages(self, messages: Tensors) -> "Relevance":
        """Return the same relevance with other tensors in `ratio` and `plain`."""
        rest = iter(messages)
        ratio, plain = (
            v and [None if p is None else next(rest) for p in v]
            for v in (self.ratio, self.plain)
        )
        return Relevance(self.base, ratio, plain, self.gate)

    def on(self, x: Tensor) -> "Relevance":
        """Return R of one tensor with the factor x, or else multiplied out."""
        if self.base[0] is x or self.empty:
            return self
        return Relevance([x], None, self._multiplied_out().plain)

    def moved(self, x: Tensor, y: Tensor) -> "Relevance":
        """Return R of the tensor x as that of y, which has the same values."""
        if self.empty or self.base[0] is y:
            return self
        own = self.on(x)
        return Relevance([y], own.ratio, own.plain)

    @property
    def count(self) -> Any:
        """K: a number where it is known, else a scalar tensor."""
        return size((self.ratio or self.plain or self.base)[0])[0]

    def _to_relevance(self, other: Any) -> "Relevance":
        return other if isinstance(other, Relevance) else plain_relevance(other)

    def _multiplied_out(self) -> "Relevance":
        """Return the same relevance with ratio None."""
        if self.ratio is None:
            parts = self.plain or [tf.zeros_like(b)[None] for b in self.base]
            return Relevance(self.base, None, parts)
        pairs = zip(self.base, self.ratio, strict=True)
        return Relevance(self.base, None, _add([b * r for b, r in pairs], self.plain))


def plain_relevance(value: Any) -> Relevance:
    """Return a tensor, or a list of tensors, as relevance without a known factor."""
    parts = value if isinstance(value, list) else [value]
    return Relevance(parts, None, parts)


class Stabilized:
    """Divisor z + eps * sign(z), sign(0) = 1."""

    def __init__(self, z: Tensor, eps: float, nonnegative: bool = False) -> None:
        self.z, self.eps, self.nonnegative = z, eps, nonnegative

    def divide(self, a: Tensor, gate: Gate | None) -> Tensor:
        """Return a / (z + eps sign z); for a = relu(z) that is a / (a + eps)."""
        if gate is not None and gate[0] is self.z:
            above = gate[1]
            return tf.math.divide_no_nan(a, above + self.eps if self.eps else above)
        if not self.eps:
            return tf.math.divide_no_nan(a, self.z)
        if self.nonnegative:
            return a / (self.z + self.eps)
        if a is self.z:
            magnitude = tf.abs(a)
            return magnitude / (magnitude + self.eps)
        return a / (self.z + tf.where(self.z >= 0, self.eps, -self.eps))


def stabilize(z: Tensor, eps: float, nonnegative: bool = False) -> Stabilized:
    """Return z + eps * sign(z) as a divisor; without the sign if z >= 0 is known."""
    return Stabilized(z, eps, nonnegative)


def _same(a: Tensors, b: Tensors) -> bool:
    """True if both lists hold the same tensors."""
    return len(a) == len(b) and all(v is w for v, w in zip(a, b, strict=True))


def _add(a: Tensors | None, b: Tensors | None) -> Tensors | None:
    """Return a + b per tensor; None counts as 0."""
    if a is None or b is None:
        return b if a is None else a
    return [v + w for v, w in zip(a, b, strict=True)]


def _scale(parts: Tensors | None, number: Any) -> Tensors | None:
    """Return the tensors times a number or a tensor; None stays None."""
    if parts is None or (isinstance(number, int | float) and number == 1):
        return parts
    return [p * number for p in parts]
