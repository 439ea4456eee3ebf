"""The algebra that lets a rule be written as its paper writes it.

A rule ends with `x * linear.T(s)`, and the next one begins with `r / z`. Between the
two stands one product and one quotient by (nearly) the same tensor. So `x * t` does not
multiply: it is a `Relevance` that remembers the factor `x` and the message `c = t`, and
`r / z` computes `c * (x / z)`, one quotient for all seeds. LRP-0 is then the gradient
itself, and relevance is formed once, at the input.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfxai.base.tensors import Tensor, negative, positive, size


class Activation:
    """What a step reads: one tensor x (B, ...), or several.

    nonnegative: is x known to be >= 0?
    carry: (values at the network's inputs) -> values here, where nothing but moves of
        values lies between; None elsewhere. For rules that know the input's range.
    source: the network's inputs.
    """

    def __init__(
        self,
        values: list[Tensor],
        nonnegative: bool = False,
        carry: Callable | None = None,
        source: list[Tensor] | None = None,
    ) -> None:
        self.values, self.nonnegative = values, nonnegative
        self.carry, self.source = carry, source
        self.zero = False

    def __mul__(self, factor: Any) -> "Relevance":
        """x * t, kept as the pair (x, t)."""
        factors = factor if isinstance(factor, list) else [factor]
        if self.zero:
            return Relevance(self.values)
        return Relevance(self.values, ratio=factors)

    __rmul__ = __mul__

    def __tf_tensor__(self, dtype=None, name=None) -> Tensor:
        return tf.convert_to_tensor(self.values[0], dtype=dtype, name=name)

    @property
    def positive(self) -> "Activation":
        """max(x, 0)."""
        if self.nonnegative:
            return self
        return Activation([positive(v) for v in self.values], True)

    @property
    def negative(self) -> "Activation":
        """min(x, 0); nothing at all where x cannot be negative."""
        part = Activation([negative(v) for v in self.values])
        part.zero = self.nonnegative
        return part

    @property
    def ones(self) -> list[Tensor]:
        """An all-ones input of one sample."""
        return [tf.ones_like(v[:1]) for v in self.values]


class Relevance:
    """Relevance R = base * ratio + plain, for each of a step's tensors.

    base (B, ...), ratio and plain (K, B, ...) or None. `gate` is set where `base` is
    behind an activation that is 0 for z <= 0: the pair (z, what z is where base > 0).
    """

    def __init__(
        self,
        base: list[Tensor],
        ratio: list[Tensor] | None = None,
        plain: list[Tensor] | None = None,
        gate: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.base, self.ratio, self.plain, self.gate = base, ratio, plain, gate

    def __add__(self, other: Any) -> "Relevance":
        other = self._like(other)
        a, b = self, other
        if a.ratio is not None and b.ratio is not None and not _same(a.base, b.base):
            a, b = a._formed(), b._formed()
        base = a.base if a.ratio is not None else b.base
        ratio, plain = _add(a.ratio, b.ratio), _add(a.plain, b.plain)
        gate = a.gate if a.gate is b.gate else None
        return Relevance(base, ratio, plain, gate)

    def __sub__(self, other: Any) -> "Relevance":
        return self + self._like(other) * -1.0

    def __mul__(self, number: float) -> "Relevance":
        ratio, plain = _scale(self.ratio, number), _scale(self.plain, number)
        return Relevance(self.base, ratio, plain, self.gate)

    __rmul__ = __mul__

    def __truediv__(self, z: Any) -> Tensor:
        """R / z as a tensor (K, B, ...); z may be `stabilize(z, eps)`. 0 / 0 is 0."""
        z = z if isinstance(z, Stabilized) else Stabilized(z, 0.0)
        terms = []
        if self.ratio is not None:
            whole = z.z is self.base[0] and not z.eps  # x / x
            part = None if whole else z.under(self.base[0], self.gate)
            terms.append(self.ratio[0] if part is None else self.ratio[0] * part)
        if self.plain is not None:
            terms.append(z.under(self.plain[0], None))
        return terms[0] if len(terms) == 1 else tf.add_n(terms)

    def tensors(self) -> list[Tensor]:
        """R itself, (K, B, ...) for each tensor."""
        formed = self._formed().plain
        assert formed is not None
        return formed

    @property
    def tensor(self) -> Tensor:
        """R of a step with one tensor."""
        return self.tensors()[0]

    def through(
        self, function: Callable[[Tensor], Any], x: Activation, z: Tensor
    ) -> "Relevance":
        """Move R by a transposed map that only moves x to z: c = R / z moves as R."""
        if self.ratio is not None and self.base[0] is not z:
            return self._formed().through(function, x, z)

        def pulled(parts):
            if parts is None:
                return None
            result = function(parts[0])
            return result if isinstance(result, list) else [result]

        return Relevance(x.values, pulled(self.ratio), pulled(self.plain))

    def gated(self, value: Tensor, z: Tensor, name: str) -> "Relevance":
        """The same relevance, known to be behind the relu or relu6 `value` of `z`."""
        own = self.ratio is not None and self.base[0] is value
        gate = (z, value if name == "relu" else z) if own else None
        return Relevance(self.base, self.ratio, self.plain, gate)

    def behind_relu(self, z: Tensor) -> bool:
        """Is R known to be 0 wherever z is not above 0, since a relu reads z?"""
        return self.gate is not None and self.gate[0] is z and self.plain is None

    def where(self, mask: Tensor) -> "Relevance":
        """R where the mask (B, ...) is 1, 0 where it is 0."""
        ratio, plain = _scale(self.ratio, mask), _scale(self.plain, mask)
        return Relevance(self.base, ratio, plain, self.gate)

    def only(self, wanted: list[int]) -> "Relevance":
        """R of some of the tensors; of the others, none. Read it by `each`."""
        ratio, plain = (
            v and [p if i in wanted else None for i, p in enumerate(v)]
            for v in (self.ratio, self.plain)
        )
        return Relevance(self.base, ratio, plain)

    @property
    def empty(self) -> bool:
        """Is there no relevance at all?"""
        return self.ratio is None and self.plain is None

    def each(self) -> list["Relevance"]:
        """One relevance per tensor."""
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
    def arrived(self) -> list[Tensor]:
        """The tensors (K, B, ...) that it is made of."""
        return [p for v in (self.ratio, self.plain) if v for p in v if p is not None]

    @property
    def count(self) -> Any:
        """K, a number where it is known."""
        return size((self.ratio or self.plain or self.base)[0])[0]

    def _like(self, other: Any) -> "Relevance":
        return other if isinstance(other, Relevance) else plain_relevance(other)

    def _formed(self) -> "Relevance":
        if self.ratio is None:
            parts = self.plain or [tf.zeros_like(b)[None] for b in self.base]
            return Relevance(self.base, None, parts)
        pairs = zip(self.base, self.ratio, strict=True)
        return Relevance(self.base, None, _add([b * r for b, r in pairs], self.plain))


def plain_relevance(value: Any) -> Relevance:
    """A tensor, or a list of them, as relevance without a known factor."""
    parts = value if isinstance(value, list) else [value]
    return Relevance(parts, None, parts)


class Stabilized:
    """z + eps * sign(z), sign(0) = 1, that is yet to be divided by."""

    def __init__(self, z: Tensor, eps: float, nonnegative: bool = False) -> None:
        self.z, self.eps, self.nonnegative = z, eps, nonnegative

    def under(self, a: Tensor, gate: tuple[Tensor, Tensor] | None) -> Tensor:
        """a / (z + eps sign z); for a = relu(z) that is a / (a + eps)."""
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
    """z + eps * sign(z); `nonnegative` spares the sign where z is known to be >= 0."""
    return Stabilized(z, eps, nonnegative)


def _same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(v is w for v, w in zip(a, b, strict=True))


def _add(a: list | None, b: list | None) -> list | None:
    if a is None or b is None:
        return b if a is None else a
    return [v + w for v, w in zip(a, b, strict=True)]


def _scale(parts: list | None, number: Any) -> list | None:
    if parts is None or (isinstance(number, int | float) and number == 1):
        return parts
    return [p * number for p in parts]
