"""The local view of a step: its linear map z = W x + b, W transposed, W mapped.

A rule sees nothing of convolutions, strides or padding; it sees `linear(x)`,
`linear.T(s)` and `linear.map(positive)`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import OptionError, UnsupportedLayerError
from tfxai.base.tensors import Tensor, merge_seeds, size, split_seeds
from tfxai.graph.step import BLOCK, MOVES, Mapped, Scaled, Step, whole

#: Inputs per output from which a layer counts as wide.
WIDE = 64


class Local:
    """A step at the values `xs` that it reads: forward, and the transposed Jacobian.

    `z` is the output that the forward pass has computed already; the plain call on the
    plain input returns it instead of computing it again. `before` is the same step at
    the baseline, for the rules that compare. `weights` are the kernel and the bias that
    the forward pass has read.
    """

    def __init__(
        self,
        step: Step,
        read: list[Tensor],
        z: Tensor,
        before: "Local | None" = None,
        weights: tuple[Any, Tensor | None] | None = None,
    ) -> None:
        self.step, self.z, self.before = step, z, before
        self.read = read
        self.xs = step.carried(read)
        self._sides = [v for i, v in enumerate(read) if i in step.sides]
        self._shifted = bool(self._sides) and step.kind == "add"
        self.kernel: Any = None
        self.bias: Tensor | None = None
        if step.weights is not None:
            self.kernel, self.bias = weights or step.weights.read(self.xs)
        if self._shifted:  # what a sum adds to what carries relevance is its bias
            self.bias = self._run([tf.zeros_like(x) for x in self.xs], self._sides)
        self._mapped = False
        #: The activation that alone reads z, of rules that treat the two as one.
        self.behind: Step | None = None

    def __call__(self, x: Any) -> Tensor:
        """W x + b for a tensor, a list of tensors, or what the step itself reads."""
        values = x if isinstance(x, list) else list(getattr(x, "values", [x]))
        if not self._mapped and _same(values, self.xs):
            return self.z
        z = self._forward(values)
        return z if self.bias is None else z + self.bias

    def T(self, s: Tensor) -> Any:
        """W^T s for s (K, B, ...): a tensor, or a list where there are many inputs."""
        if self.step.transpose is not None:
            flat = self.step.back(merge_seeds(s), self.kernel)
            return split_seeds(flat, size(s)[0])
        linear = self.step.linear or self.step.kind in MOVES
        pulled = pull(self._forward, self.xs, s, linear, self._sides)
        return pulled[0] if len(pulled) == 1 else pulled

    def secant(self, m: Tensor) -> list[Tensor]:
        """Multipliers m (K, B, ...) of the output -> those of each input of `xs`.

        Exact for the change from the values at the baseline, which are in `before`.
        """
        before: Any = self.before
        if self.step.secant is not None:
            return self.step.carried(self.step.secant(self.read, before.read, m))
        two = self.step.kind in ("product", "gate") and len(self.xs) == 2
        if not two or self.step.divides or self.step.divisors:
            raise UnsupportedLayerError(
                f"Step {self.step.name!r}, a {self.step.kind}, has no multipliers for "
                "finite changes.",
                "products of two tensors, quotients, normalisations and softmaxes of "
                "a model that TensorFlow can trace",
                'method="integrated_gradients"',
            )
        ends = zip(self.T(m), before.T(m), strict=True)
        return [(a + b) / 2 for a, b in ends]

    def map(self, function: Callable[..., Any], bias: bool = True) -> "Local":
        """The same map with function(W) and function(b), or without the bias.

        A step without a kernel (a pool, a sum) has weights >= 0 that are all the same
        within each output; what becomes of them is decided by `function(1)`.
        """
        other = self._copy()
        other._mapped = True
        kernel = self.kernel
        weights = self.step.weights
        if weights is None:
            kernel = function(tf.constant(1.0))
        elif weights.dense is not None and isinstance(kernel, tuple):
            kernel = function(weights.dense(kernel))
        else:
            kernel = _mapped(self.step, kernel, function)
        other.kernel = kernel
        keep = bias and self.bias is not None
        other.bias = function(self.bias) if keep else None
        return other

    @property
    def unbiased(self) -> "Local":
        """The same map without its bias."""
        if self.bias is None:
            return self
        other = self._copy()
        other.bias = None
        if not self._mapped:
            other.z = self.z - self.bias
        return other

    def _copy(self) -> "Local":
        other = Local.__new__(Local)
        other.__dict__.update(self.__dict__)
        return other

    @property
    def wide(self) -> bool:
        """Does each output sum so many inputs that no few of them decide it?"""
        if self.step.kind not in ("dense", "conv") or isinstance(self.kernel, tuple):
            return False
        shape = self.kernel.shape
        return bool(np.prod(shape) >= WIDE * shape[-1])

    @property
    def signals(self) -> list[int]:
        """Which of `xs` are neither gates nor divisors."""
        carriers = self.step.carried(range(len(self.step.inputs)))
        other = {*self.step.gates, *self.step.divisors}
        return [i for i, n in enumerate(carriers) if n not in other]

    @property
    def factors(self) -> list[int]:
        """Which of `xs` are no divisors."""
        carriers = self.step.carried(range(len(self.step.inputs)))
        return [i for i, n in enumerate(carriers) if n not in self.step.divisors]

    @property
    def frozen(self) -> "Local":
        """A normalisation as the linear map that it is at its mean and variance."""
        if self.step.frozen is None:
            raise OptionError(
                f'The rule "frozen" stands at {self.step.name!r}, a {self.step.kind}.',
                "a normalisation (LayerNormalization and its like)",
                'rules={"norm": "frozen"}',
            )
        function, factor = self.step.frozen(self.xs)
        step = replace(self.step, kind="scale", apply=function, sides=(1,))
        return Local(step, [*self.xs, factor], self.z)

    def _forward(self, xs: list[Tensor], sides: list[Tensor] | None = None) -> Tensor:
        """Without the bias."""
        sides = self._sides if sides is None else sides
        if self._shifted:
            sides = [tf.zeros_like(v) for v in sides]
        return self._run(xs, sides)

    def _run(self, xs: list[Tensor], sides: list[Tensor]) -> Tensor:
        x, side = iter(xs), iter(sides)
        count = len(xs) + len(sides)
        values = [next(side if i in self.step.sides else x) for i in range(count)]
        if self.step.weights is not None:
            return self.step.product(values, self.kernel)
        z = self.step.apply(values)
        return z if self.kernel is None else z * self.kernel


def _mapped(step: Step, kernel: Any, function: Callable[..., Any]) -> Any:
    if isinstance(kernel, Mapped):
        return Mapped(kernel.kernel, lambda w: function(kernel.function(w)))
    large = step.kind == "dense" and np.prod(kernel.shape) > BLOCK
    if large and isinstance(kernel, Scaled):
        rows = tf.convert_to_tensor(kernel.kernel)
        return Mapped(rows, lambda w: function(kernel.of(w)))
    kernel = tf.convert_to_tensor(whole(kernel))
    return Mapped(kernel, function) if large else function(kernel)


def _same(values: list[Any], others: list[Any]) -> bool:
    pairs = zip(values, others, strict=False)
    return len(values) == len(others) and all(a is b for a, b in pairs)


def pull(
    function: Callable[..., Any],
    xs: list[Tensor],
    s: Tensor,
    linear: bool,
    sides: list[Tensor],
) -> list[Any]:
    """The vector-Jacobian product of `function(xs, sides)` for seeds s (K, B, ...).

    Only the transposed operations survive in a compiled graph: the forward pass that
    the tape records is read by nobody and pruned. With one seed `xs` itself is the
    point; with several, it is repeated for each, or only its shape where the function
    is linear and the point does not matter.
    """
    seeds = s.shape[0]
    count = size(s)[0] if seeds is None else seeds
    # A tensor that is read twice needs two names, or each would get the sum of both.
    points = [tf.identity(x) for x in xs] if len(xs) > 1 else xs
    if seeds != 1:
        points = [repeat(x, count, linear) for x in xs]
        batch = xs[0].shape[:1].as_list()  # a side may have none, or one of 1
        fit = [v.shape[:1].as_list() == batch for v in sides]
        pairs = zip(sides, fit, strict=True)
        sides = [repeat(v, count) if f else v for v, f in pairs]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        y = function(apart(points), sides)
    none = tf.UnconnectedGradients.ZERO
    if seeds == 1:
        return [g[None] for g in _dense(tape.gradient(y, points, s[0], none))]
    grads = tape.gradient(y, points, merge_seeds(s), none)
    return [split_seeds(g, count) for g in grads]


def apart(points: list[Tensor]) -> list[Tensor]:
    """The same tensors, so that no two of them have one tensor as their gradient.

    TensorFlow (2.21) never frees a tensor that `tape.gradient` returns twice, as for a
    sum, nor the graph that it belongs to. A reshape has a gradient of its own.
    """
    if len(points) == 1:
        return points
    return [tf.reshape(x, tf.shape(x)) for x in points]


def _dense(grads: list[Any]) -> list[Any]:
    """Gradients of lookups as tensors."""
    return [tf.convert_to_tensor(g) for g in grads]


def repeat(x: Tensor, seeds: Any, shape_only: bool = False) -> Tensor:
    """The samples of x (B, ...) once for each seed, (K B, ...), or only their shape."""
    batch, *rest = size(x)
    if shape_only:
        empty = tf.raw_ops.Empty(shape=[seeds * batch, *rest], dtype=x.dtype)
        return tf.ensure_shape(empty, [None, *x.shape[1:]])
    return tf.reshape(tf.broadcast_to(x, [seeds, batch, *rest]), [-1, *rest])
