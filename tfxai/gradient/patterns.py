"""PatternNet and PatternAttribution: the signal that each unit responds to.

A filter w also cancels what distracts a unit; its pattern a is the direction of the
input that the unit's output stands for. Patterns are fitted on examples:

    a = cov(x, y) / var(y),  y = w x

over all positions of a layer ("linear"), or over those where the unit behind it is
active ("relu"). The backward pass is a gradient with a, or w a, in place of w.
Layers without filters, such as pooling and normalisation, pass the gradient.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import InputError, ModelError, OptionError
from tfxai.base.tensors import Tensor, size
from tfxai.base.validation import plain_rows
from tfxai.core.analyzer import Analyzer
from tfxai.core.compilation import compiled
from tfxai.core.embedding_cut import gradients_of
from tfxai.core.inputs import cut, signature
from tfxai.core.model import ModelWrapper
from tfxai.gradient.base import NEEDS, GradientContext, analyzer, row
from tfxai.gradient.cam import result
from tfxai.gradient.cam_layers import explained
from tfxai.graph.step import KERNEL, Step, whole

KINDERMANS = "Kindermans et al. 2018, arXiv:1705.05598"
ESTIMATORS = ("relu", "linear")
#: Names of the sums over examples: of activity m, m y, m y^2 for each unit, and of m x
#: and m x y for each weight.
SUMS = ("m", "my", "myy", "mx", "mxy")


@row("pattern.net", "gradient", "the signal of the score, by patterns in place of "
     "weights", KINDERMANS, f"{NEEDS}; `analyzer.fit(examples)`",
     formula="R = the gradient of f_t with the pattern a = cov(x, z) / (w cov(x, z)) "
     "in place of each weight vector w",
     limits="The patterns describe the examples of `fit`: a few hundred are needed, "
     "and examples of other data give wrong patterns. Patterns are defined for plain "
     "linear layers and ReLU only.",
     also_in="iNNvestigate 1.0",
)  # fmt: skip
def pattern_net(
    wrapped: ModelWrapper,
    estimator: str = "relu",
    background: Any = None,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of PatternNet; call `fit(examples)` before `analyze`.

    The score is propagated back with the pattern a of each layer in place of its
    weights. The result is the signal, in units of the input.

    Args:
        wrapped: The model.
        estimator: "relu", patterns of active units where a ReLU follows, or "linear".
        background: Examples like x to fit now; None leaves that to `fit`.
        target: Default target of `analyze`.

    Raises:
        ModelError: A layer with weights is no dense layer or convolution.
        OptionError: The estimator is unknown, or nothing is fitted (by `analyze`).

    References:
        Kindermans et al. 2018, arXiv:1705.05598, eq. 6 and 9. As the authors' code,
        "relu" takes all means over active units; eq. 9 takes the mean of y over all.
    """
    return _build("pattern.net", wrapped, estimator, background, target)


@row("pattern.attribution", "gradient", "the contribution of the signal to the score, "
     "by weights times patterns", KINDERMANS,
     f"{NEEDS}; `analyzer.fit(examples)`",
     formula="R = the gradient of f_t with w * a, a = cov(x, z) / (w cov(x, z)), in "
     "place of each weight vector w",
     limits="The patterns describe the examples of `fit`: a few hundred are needed, "
     "and examples of other data give wrong patterns. Patterns are defined for plain "
     "linear layers and ReLU only.",
     also_in="iNNvestigate 1.0",
)  # fmt: skip
def pattern_attribution(
    wrapped: ModelWrapper,
    estimator: str = "relu",
    background: Any = None,
    target: Any = None,
) -> Analyzer:
    """Return an analyzer of PatternAttribution; call `fit(examples)` before `analyze`.

    As `pattern.net`, with w a, weights times patterns, in place of the weights.

    Args:
        wrapped: The model.
        estimator: "relu", patterns of active units where a ReLU follows, or "linear".
        background: Examples like x to fit now; None leaves that to `fit`.
        target: Default target of `analyze`.

    Raises:
        ModelError: A layer with weights is no dense layer or convolution.
        OptionError: The estimator is unknown, or nothing is fitted (by `analyze`).

    References:
        Kindermans et al. 2018, arXiv:1705.05598, section 4.
    """
    return _build("pattern.attribution", wrapped, estimator, background, target)


class Patterns:
    """The patterns of all layers of a model, and the sums from which they follow.

    Attributes:
        program: The steps of the model.
        steps: Those with patterns, by name.
        patterns: The pattern of each, in a variable; empty before `add`.
    """

    def __init__(self, wrapped: ModelWrapper, estimator: str) -> None:
        self._wrapped, self.program = wrapped, wrapped.program()
        self.steps = {
            s.name: s for s in self.program.steps if s.kind in KERNEL and s.weights
        }
        for s in self.steps.values():
            if s.kind == "depthwise" or s.weights.channels != -1:
                raise _no_filter(s)
        gates = [i for s in self.program.steps if s.kind == "relu" for i in s.inputs]
        self._gated = {
            s.name for s in self.steps.values()
            if estimator == "relu" and s.output in gates
        }  # fmt: skip
        self._sums: dict[str, list[np.ndarray]] = {}
        self.patterns: dict[str, tf.Variable] = {}

    def add(self, x: Any, batch_size: int) -> None:
        """Add examples to the sums, and compute the patterns."""
        plain_rows(x)
        inputs = self._wrapped.checked(x, "background")
        run = compiled(
            lambda *xs: self._batch(self._wrapped.prepared(list(xs))),
            signature(self._wrapped.specs, inputs),
        )
        for rows in cut(inputs, batch_size):
            found = iter(run(*(v[rows] for v in inputs)))
            for name in self.steps:
                new = [np.asarray(next(found), float) for _ in SUMS]
                old = self._sums.get(name, [np.zeros(())] * len(SUMS))
                self._sums[name] = [a + b for a, b in zip(old, new, strict=True)]
        for name in self.steps:
            self._set(name)

    def _batch(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return the sums `SUMS` of each step over a batch."""
        sums: dict[str, list[Tensor]] = {}

        def run(step: Step, values: list[Tensor]) -> Tensor:
            if step.name not in self.steps:
                return step.run(values)
            kernel, bias = _filter(step, values)
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(kernel)
                y = step.apply(values, kernel)
            z = y if bias is None else y + bias
            gated = step.name in self._gated
            m = tf.cast(z > 0, y.dtype) if gated else tf.ones_like(y)
            axes = list(range(len(y.shape) - 1))
            # The gradient of sum(m y) with respect to the kernel is the sum of m x.
            sums[step.name] = [
                *(tf.reduce_sum(v, axes) for v in (m, m * y, m * y * y)),
                *(tape.gradient(y, kernel, v) for v in (m, m * y)),
            ]
            return z

        self.program.at([v.shape for v in inputs]).run(inputs, run=run)
        return [v for name in self.steps for v in sums[name]]

    def _set(self, name: str) -> None:
        """Compute the pattern of one step from its sums."""
        m, my, myy, mx, mxy = self._sums[name]
        n = np.maximum(m, 1)
        mean = my / n
        variance = myy / n - mean**2
        known = variance > 1e-12 * np.maximum(myy / n, np.finfo(float).tiny)
        factor = np.where(known, 1 / np.where(known, variance * n, 1), 0)
        scale: Callable[..., Any] = self.steps[name].weights.scale_out
        parts = [
            np.asarray(scale(tf.constant(v), tf.constant(f)))
            for v, f in ((mxy, factor), (mx, mean * factor))
        ]
        pattern = np.float32(parts[0] - parts[1])
        if name in self.patterns:
            self.patterns[name].assign(pattern)
        else:
            self.patterns[name] = tf.Variable(pattern, trainable=False)


def _filter(step: Step, values: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return the kernel and the bias of a step.

    Raises:
        ModelError: The units of the last axis have several filters.
    """
    kernel, bias = step.weights.read(values)
    kernel = whole(kernel)
    several = step.kind == "dense" and tf.is_tensor(kernel) and len(kernel.shape) > 2
    if (not tf.is_tensor(kernel) and not isinstance(kernel, tf.Variable)) or several:
        raise _no_filter(step)
    return tf.convert_to_tensor(kernel), bias


def _no_filter(step: Step) -> ModelError:
    return ModelError(
        f"The step {step.name!r} of kind {step.kind!r} has no single filter for each "
        "channel of its output, and patterns are defined for these.",
        "dense layers and convolutions of channels last",
        'method="lrp.epsilon"',
    )


class PatternAnalyzer(Analyzer):
    """An analyzer whose patterns are fitted on examples."""

    patterns: Patterns

    def fit(self, x: Any, batch_size: int = 32) -> "PatternAnalyzer":
        """Fit the patterns on examples, in addition to those of former calls.

        Patterns belong to the weights that the model has now: make a new analyzer after
        the weights change.

        Args:
            x: Examples like those of `analyze`, also a `tf.data.Dataset` of batches.
            batch_size: The largest batch of a forward pass.

        Returns:
            The analyzer.
        """
        self.patterns.add(x, batch_size)
        return self

    def analyze(self, *args: Any, **kwargs: Any) -> Any:
        """Return the explanation of a batch; arguments as for `Analyzer`.

        Raises:
            OptionError: No pattern is fitted, or the option `recompute` is given.
        """
        if self.recompute:
            raise OptionError(
                f"recompute=True, and {self.method} keeps every tensor.",
                "the option left out, or a method that computes tensors again",
                'method="lrp.epsilon"',
            )
        if not self.patterns.patterns:
            raise OptionError(
                f"{self.method} has no patterns yet.",
                "examples of the inputs that the network usually receives, like x",
                "analyzer.fit(x_train[:1000])",
            )
        return super().analyze(*args, **kwargs)


def _build(
    name: str, wrapped: ModelWrapper, estimator: str, background: Any, target: Any
) -> Analyzer:
    """Return the analyzer of either method."""
    if not isinstance(estimator, str) or estimator not in ESTIMATORS:
        raise OptionError(f"estimator={estimator!r}.", f"one of {list(ESTIMATORS)}")
    wrapped.check_differentiable()
    if wrapped.program().lookups:
        raise InputError(
            f"{name} propagates to numbers, and the input holds token ids.",
            "inputs of numbers",
            'method="lrp.epsilon"',
        )
    patterns = Patterns(wrapped, estimator)

    def explain(context: GradientContext) -> dict[str, Any]:
        inputs = [tf.cast(v, tf.float32) for v in context.model_inputs]
        program = patterns.program.at([v.shape for v in inputs])
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            values = program.run(inputs, run=_run(patterns, name == "pattern.net"))
            number = explained(program, values, context)
        score = tf.transpose(number)
        relevance = [
            g * tf.reshape(score, [*size(score), *[1] * (len(g.shape) - 2)])
            for g in gradients_of(tape, number, inputs)
        ]
        return result(relevance, context)

    made = analyzer(
        name, wrapped, explain, target, {"estimator": estimator}, kind=PatternAnalyzer
    )
    assert isinstance(made, PatternAnalyzer)
    made.patterns = patterns
    if background is not None:
        made.fit(background)
    return made


def _run(patterns: Patterns, signal: bool) -> Callable[[Step, list[Tensor]], Tensor]:
    """Return how a step runs, so that its gradient uses the pattern."""

    def run(step: Step, values: list[Tensor]) -> Tensor:
        if step.name not in patterns.steps:
            return step.run(values)
        kernel, bias = _filter(step, values)
        pattern = tf.cast(patterns.patterns[step.name], kernel.dtype)
        other = pattern if signal else pattern * kernel

        def linear(x: Tensor) -> Any:
            def back(slope: Tensor) -> Tensor:
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    z = step.apply([x, *values[1:]], other)
                return tape.gradient(z, x, slope)

            z = step.apply([x, *values[1:]], kernel)
            return z if bias is None else z + bias, back

        return tf.custom_gradient(linear)(values[0])

    return run
