"""Points of gradients: the inputs of the network or, for tokens, their vectors.

Whole numbers have no gradient. Where they are looked up in an embedding, the network is
cut there: the vectors are the *points* at which gradients are taken and along which
paths run, and the relevance of a token is a sum over its vector.
"""

from collections.abc import Callable
from typing import Any, cast

import tensorflow as tf

from tfxai.base.errors import ModelError, TargetError, first_line
from tfxai.base.tensors import Tensor, as_rows
from tfxai.core.target_functions import on_program
from tfxai.core.targets import explained_outputs, or_top
from tfxai.graph.program import Program
from tfxai.graph.segments import recomputed, segments_of

#: (explained outputs (B, ...)) -> scores (B,), in place of the index of a class. It
#: passes the model's own outputs to the given function; see `ModelWrapper.goal`.
TargetFn = Callable[[Tensor], Tensor] | None


class EmbeddingCut:
    """A network from its points on. All tensors are prepared inputs, batch first.

    Args:
        outputs_of: (prepared inputs) -> the explained output.
        program: The steps of the network, or None where they were not read.
        integer: For each input, whether it holds whole numbers.
        tick: Of gradients that recompute tensors, called when a segment is done, with
            its gradients, which it returns; else None.
    """

    def __init__(
        self,
        outputs_of: Callable[[list[Tensor]], Tensor],
        program: Program | None,
        integer: list[bool],
        tick: Any = None,
    ) -> None:
        self._tick = tick
        blocked = program is not None and tick is not None
        self._outputs_of = outputs_of
        self.program = program.blocked if program and blocked else program
        self._integer = integer
        self._vectors = [self._looked_up(i, w) for i, w in enumerate(integer)]

    @property
    def tokens(self) -> list[bool]:
        """For each input, whether its numbers are looked up in an embedding."""
        return [bool(v) for v in self._vectors]

    def function_of(self, target_fn: TargetFn) -> TargetFn:
        """Return a target function for what `outputs` returns."""
        if self.program is None or not any(self.tokens):
            return target_fn
        return cast(TargetFn, on_program(target_fn, self.program))

    def to_points(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return the points of prepared inputs: float32 inputs, vectors of tokens."""
        points = []
        values = self.program.run(inputs) if self.program and any(self.tokens) else {}
        for x, vectors in zip(inputs, self._vectors, strict=True):
            points += [values[v] for v in vectors] or [tf.cast(x, tf.float32)]
        return points

    def outputs(self, points: list[Tensor], inputs: list[Tensor]) -> Tensor:
        """Return the explained output at `points`.

        Of `inputs`, tokens are read, and other whole numbers beside tokens: a mask of
        padding has no values between 0 and 1, and no gradient.
        """
        rest = iter(points)
        values: list[Tensor] = []
        known: dict[int, Tensor] = {}
        held = [w and any(self.tokens) for w in self._integer]
        for x, vectors, fixed in zip(inputs, self._vectors, held, strict=True):
            known.update({v: next(rest) for v in vectors})
            point = x if vectors else next(rest)
            values.append(x if fixed else point)
        program = self.program
        if program is None or (not known and self._tick is None):
            return self._outputs_of(values)
        if self._tick is None:
            logits = program.run(values, known)[program.output]
            return explained_outputs(program, logits)
        segments = segments_of(program.steps, program.output, known)
        given = {**program.entered(values), **known}
        kept = recomputed(program.steps, segments, given, self._tick)
        return explained_outputs(program, kept[program.output])

    def gradients(
        self,
        points: list[Tensor],
        inputs: list[Tensor],
        target: Tensor,
        target_fn: TargetFn,
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return d score / d point (T, B, ...) per point, scores and targets (B, T).

        For use inside a compiled function. It takes one forward pass, and one backward
        pass per target.

        Args:
            points: Points, as `to_points` returns them.
            inputs: Prepared inputs, of which tokens are read.
            target: Indices (B, T) int32 into the output, -1 for the top class.
            target_fn: A function of the outputs in place of the target, or None.
        """
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(points)
            score, target = select_scores(
                self.outputs(points, inputs), target, target_fn
            )
        return gradients_of(tape, score, points), score, target

    def scores(
        self,
        points: list[Tensor],
        inputs: list[Tensor],
        target: Tensor,
        target_fn: TargetFn,
    ) -> tuple[Tensor, Tensor]:
        """Return scores and resolved targets (B, T); arguments as for `gradients`.

        The target function needs no gradient.
        """
        outputs = self.outputs(points, inputs)
        return select_scores(outputs, target, target_fn, slope=False)

    def to_inputs(
        self,
        relevance: list[Tensor],
        reduce: Callable[..., Tensor] = tf.reduce_sum,
    ) -> list[Tensor]:
        """Return the relevance of inputs, from that of points: a number per token."""
        rest, inputs = iter(relevance), []
        for vectors in self._vectors:
            parts = [reduce(next(rest), axis=-1) for _ in vectors]
            inputs.append(tf.add_n(parts) if parts else next(rest))
        return inputs

    def _looked_up(self, number: int, integer: bool) -> list[int]:
        """The tensors that embeddings compute from input `number`."""
        if self.program is None:
            if not integer:
                return []
            raise ModelError(
                f"Input {number} holds whole numbers, and the model's graph cannot be "
                "read: there are no vectors at which to take a gradient.",
                "a model of Keras layers and ops, or inputs of floats",
                "keras.Model(inputs, outputs)",
            )
        steps = self.program.lookups.get(self.program.inputs[number], [])
        reads = self.program.reads
        changed = [
            s.name for s in self.program.steps
            if s.kind == "embedding" and s not in steps and number in reads[s.output]
        ]  # fmt: skip
        other = [s.name for s in self.program.mixed(number)] if steps else []
        if changed or other:
            raise ModelError(
                f"Input {number} reaches steps {(changed + other)[:3]} other than by a "
                "lookup of its unchanged numbers: a token has no single vector.",
                "tokens that go straight into keras.layers.Embedding, and nowhere else",
                'method="occlusion"',
            )
        return [s.output for s in steps]


def select_scores(
    outputs: Tensor, target: Tensor, target_fn: TargetFn, slope: bool = True
) -> tuple[Tensor, Tensor]:
    """Return scores and resolved targets (B, T).

    Args:
        outputs: Outputs (B, ...).
        target: Indices (B, T) into the flattened outputs, -1 for the top class.
        target_fn: A function of the outputs in place of the target, or None.
        slope: See `apply_target_fn`.
    """
    rows = as_rows(outputs)
    target = or_top(target, rows)
    if target_fn is not None:
        return apply_target_fn(target_fn, outputs, slope)[:, None], target
    return tf.gather(rows, target, batch_dims=1), target


def select_scaled(
    outputs: Tensor,
    scale: Callable[[Tensor], Tensor],
    target: Tensor,
    target_fn: TargetFn,
) -> tuple[Tensor, Tensor]:
    """Return scores on a scale, and resolved targets (B, T); see `select_scores`.

    No gradient is taken of them: a target function may be a rank or a threshold.

    Args:
        outputs: Explained outputs (B, ...).
        scale: (outputs) -> explained numbers. It does not apply to a target function.
        target: Indices (B, T), -1 for the top class.
        target_fn: A function in place of the target, or None.
    """
    if target_fn is None:
        outputs = scale(outputs)
    return select_scores(outputs, target, target_fn, slope=False)


def gradients_of(
    tape: tf.GradientTape, score: Tensor, xs: list[Tensor]
) -> list[Tensor]:
    """Return d score / d x, (T, B, ...) for each of `xs`, for scores (B, T)."""
    none = tf.UnconnectedGradients.ZERO
    if score.shape[1] == 1:
        return [g[None] for g in tape.gradient(score, xs, None, none)]
    gradients: list[Tensor] = tf.map_fn(
        lambda seed: tape.gradient(score, xs, seed * tf.ones_like(score), none),
        tf.eye(tf.shape(score)[1])[:, None],
        fn_output_signature=[tf.TensorSpec(x.shape, x.dtype) for x in xs],
    )
    return gradients


def check_target_fn(target_fn: TargetFn, outputs: tuple[int | None, ...]) -> None:
    """Call a target function with explained outputs of two shapes.

    Raises:
        TargetError: It fails, or does not return one score per sample.
    """
    if target_fn is None or None in outputs[1:]:
        return
    for count in (2, 3):
        shape = (count, *outputs[1:])
        try:
            score = tf.convert_to_tensor(target_fn(tf.zeros(shape)))
        except TargetError:
            raise
        except Exception as error:
            raise TargetError(
                f"The target function failed on outputs of shape {shape}: "
                f"{first_line(error)}",
                "one score per sample, (B,), from the outputs by TensorFlow "
                "operations, for any number of samples; a mask for each sample is "
                "tfxai.targets.masked_sum(masks, 0)",
                "target=lambda y: y[:, 0] - y[:, 1]",
            ) from error
        if score.shape != (count,):
            raise TargetError(
                f"The target function returned shape {tuple(score.shape)} for {count} "
                "samples.",
                f"one score per sample, (B,): here ({count},)",
                "target=lambda y: y[:, 0] - y[:, 1]",
            )


def _in_graph(target_fn: Callable[[Tensor], Tensor], outputs: Tensor) -> Tensor:
    """The scores; TargetError for a function that needs the numbers themselves."""
    try:
        return tf.convert_to_tensor(target_fn(outputs))
    except (NotImplementedError, AttributeError, TypeError) as error:
        if tf.is_symbolic_tensor(outputs):
            raise TargetError(
                "The target function needs the numbers of the outputs, which are not "
                f"known while it is compiled: {first_line(error)}",
                "TensorFlow operations: no NumPy, float() or if",
                "target=lambda y: tf.where(y[:, 0] > 0, y[:, 0], y[:, 1])",
            ) from error
        raise


def apply_target_fn(
    target_fn: Callable[[Tensor], Tensor], outputs: Tensor, slope: bool = True
) -> Tensor:
    """Return `target_fn(outputs)`, scores (B,) that depend on the outputs.

    Args:
        target_fn: The function.
        outputs: Outputs (B, ...).
        slope: Whether the scores need a gradient. Without it they may be whole numbers
            or booleans, which become floats.

    Raises:
        TargetError: The scores have another shape, or no gradient where they need it.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(outputs)
        score = _in_graph(target_fn, outputs)
    if score.shape.rank != 1:
        raise TargetError(
            f"The target function returned shape {tuple(score.shape)} for outputs of "
            f"shape {tuple(outputs.shape)}.",
            "one score per sample, (B,), from the outputs",
            "target=lambda y: y[:, 0] - y[:, 1]",
        )
    if not slope:
        numbers = score.dtype.is_floating
        return score if numbers else tf.cast(score, outputs.dtype)
    if tape.gradient(score, outputs) is None:
        raise TargetError(
            f"The target function returned {score.dtype.name} without a gradient: a "
            "rank, a threshold, or a value that depends on no output.",
            "a score that follows the outputs smoothly; or a method that needs no "
            'gradient, such as "kernel_shap"',
            "target=lambda y: y[:, 0] - y[:, 1]",
        )
    return score
