"""Where a gradient is taken: at the network's input or, for tokens, at their vectors.

Whole numbers have no slope. Where they are looked up in an embedding, the network is
cut there: its vectors are the *points* at which gradients are taken and along which
paths run, and the relevance of a token is a sum over its vector.
"""

from collections.abc import Callable

import tensorflow as tf

from tfxai.base.errors import ModelError, TargetError, first_line
from tfxai.base.tensors import Tensor, as_rows
from tfxai.core.targets import or_top
from tfxai.graph.program import Program

#: (outputs (B, ...)) -> scores (B,), in place of the index of a class.
Function = Callable[[Tensor], Tensor] | None


class Entrance:
    """A network from its points on. All tensors are prepared inputs, batch first.

    answer: (prepared inputs) -> the explained output.
    program: the network's steps, or None where they were not read.
    whole: which inputs are whole numbers.
    """

    def __init__(
        self, answer: Callable, program: Program | None, whole: list[bool]
    ) -> None:
        self._answer, self._program = answer, program
        self._vectors = [self._looked_up(i, w) for i, w in enumerate(whole)]

    @property
    def tokens(self) -> list[bool]:
        """For each input: are its numbers looked up in an embedding?"""
        return [bool(v) for v in self._vectors]

    def enter(self, inputs: list[Tensor]) -> list[Tensor]:
        """The points of prepared inputs: themselves as float32, vectors of tokens."""
        points = []
        values = self._program.run(inputs) if self._program and any(self.tokens) else {}
        for x, vectors in zip(inputs, self._vectors, strict=True):
            points += [values[v] for v in vectors] or [tf.cast(x, tf.float32)]
        return points

    def outputs(self, points: list[Tensor], inputs: list[Tensor]) -> Tensor:
        """The explained output at `points`; of `inputs` only the tokens are read."""
        rest = iter(points)
        seen, known = [], {}
        for x, vectors in zip(inputs, self._vectors, strict=True):
            known.update({v: next(rest) for v in vectors})
            seen.append(x if vectors else next(rest))
        if self._program is None or not known:
            return self._answer(seen)
        return self._program.run(seen, known)[self._program.output]

    def slopes(
        self,
        points: list[Tensor],
        inputs: list[Tensor],
        target: Tensor,
        function: Function,
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """d score / d point (T, B, ...) for each point, scores and targets (B, T).

        For use inside a compiled function. target: (B, T) int32, -1 for the top class.
        One forward pass; one backward pass per target.
        """
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(points)
            score, target = scored(self.outputs(points, inputs), target, function)
        return pulled(tape, score, points), score, target

    def scores(
        self,
        points: list[Tensor],
        inputs: list[Tensor],
        target: Tensor,
        function: Function,
    ) -> tuple[Tensor, Tensor]:
        """Scores and resolved targets, (B, T)."""
        return scored(self.outputs(points, inputs), target, function)

    def leave(
        self, maps: list[Tensor], reduce: Callable = tf.reduce_sum
    ) -> list[Tensor]:
        """Maps (..., d) of points as maps of inputs: one number for each token."""
        rest, left = iter(maps), []
        for vectors in self._vectors:
            parts = [reduce(next(rest), axis=-1) for _ in vectors]
            left.append(tf.add_n(parts) if parts else next(rest))
        return left

    def _looked_up(self, number: int, whole: bool) -> list[int]:
        """The vectors that embeddings make of input `number`."""
        if self._program is None:
            if not whole:
                return []
            raise ModelError(
                f"Input {number} holds whole numbers, and the model's graph cannot be "
                "read: there is no vector to take a gradient at.",
                "a model made of Keras layers and ops, or inputs of floats",
                "keras.Model(inputs, outputs)",
            )
        steps = self._program.lookups.get(self._program.inputs[number], [])
        reads = self._program.reads
        changed = [
            s.name for s in self._program.steps
            if s.kind == "embedding" and s not in steps and number in reads[s.output]
        ]  # fmt: skip
        other = [s.name for s in self._program.mixed(number)] if steps else []
        if changed or other:
            raise ModelError(
                f"Input {number} reaches steps {(changed + other)[:3]} other than by a "
                "lookup of its numbers as they are: there is no one vector of a token.",
                "tokens that go straight into keras.layers.Embedding, and nowhere else",
                'method="occlusion"',
            )
        return [s.output for s in steps]


def scored(
    outputs: Tensor, target: Tensor, function: Function
) -> tuple[Tensor, Tensor]:
    """Scores and resolved targets (B, T) of outputs (B, ...)."""
    each = as_rows(outputs)
    target = or_top(target, each)
    if function is not None:
        return score_of(function, outputs)[:, None], target
    return tf.gather(each, target, batch_dims=1), target


def pulled(tape: tf.GradientTape, score: Tensor, xs: list[Tensor]) -> list[Tensor]:
    """d score / d x, (T, B, ...) for each of `xs`, for scores (B, T)."""
    none = tf.UnconnectedGradients.ZERO
    if score.shape[1] == 1:
        return [g[None] for g in tape.gradient(score, xs, None, none)]
    return tf.map_fn(
        lambda seed: tape.gradient(score, xs, seed * tf.ones_like(score), none),
        tf.eye(tf.shape(score)[1])[:, None],
        fn_output_signature=[tf.TensorSpec(x.shape, x.dtype) for x in xs],
    )


def check_function(function: Function, outputs: tuple) -> None:
    """Ask a target function about two shapes: it must give one score per sample."""
    if function is None or None in outputs[1:]:
        return
    for count in (2, 3):
        shape = (count, *outputs[1:])
        try:
            made = tf.convert_to_tensor(function(tf.zeros(shape)))
        except Exception as error:
            raise TargetError(
                f"The target function failed on outputs of shape {shape}: "
                f"{first_line(error)}",
                "one score per sample, (B,), made of the outputs in TensorFlow",
                "target=lambda y: y[:, 0] - y[:, 1]",
            ) from error
        if made.shape != (count,):
            raise TargetError(
                f"The target function returned shape {tuple(made.shape)} for {count} "
                "samples.",
                f"one score per sample, (B,): here ({count},)",
                "target=lambda y: y[:, 0] - y[:, 1]",
            )


def score_of(function: Callable, outputs: Tensor) -> Tensor:
    """`function(outputs)`, checked: (B,) scores that depend on the outputs."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(outputs)
        score = tf.convert_to_tensor(function(outputs))
    if score.shape.rank != 1 or tape.gradient(score, outputs) is None:
        raise TargetError(
            f"The target function returned shape {tuple(score.shape)} for outputs of "
            f"shape {tuple(outputs.shape)}, or what no output has a part in.",
            "one score per sample, (B,), made of the outputs",
            "target=lambda y: y[:, 0] - y[:, 1]",
        )
    return score
