"""The rewrite: program + preset + head -> a second Keras model that returns relevance.

The forward pass is the user's own operations on the user's own variables, so the model
follows every training step. The way back takes one rule per step. Relevance is
(K, B, ...): the seeds of all targets lead and share one forward pass and one graph.
"""

import os
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import keras
import tensorflow as tf

from tfxai.base.tensors import Tensor, as_rows, positive, size
from tfxai.core.baselines import baselines
from tfxai.core.targets import or_top
from tfxai.graph.linear import Local
from tfxai.graph.program import Program, trace
from tfxai.graph.step import MONOTONE, Step
from tfxai.relevance import rules as R
from tfxai.relevance.algebra import Activation, Relevance, plain_relevance
from tfxai.relevance.heads import Head, split_seeds
from tfxai.relevance.heads import from_config as head_from_config
from tfxai.relevance.plan import StepRule, plan
from tfxai.relevance.presets import Preset


@keras.saving.register_keras_serializable(package="tfxai")
class RelevanceModel(keras.Model):
    """`model` turned round: its inputs and a target in, relevance and prediction out.

    Call it as the model itself, with `target` None (the top class), (B,) or (B, T)
    int32: indices into the flattened output, -1 for the top class. It returns a dict:

    - "relevance": of the shape and structure of the inputs, (B, T, ...) for T targets;
    - "prediction": what the model answers; "logits": the same before a final softmax;
    - "target": what was explained, the -1 resolved.

    It can be saved and exported like any Keras model; the weights are the model's own.
    """

    def __init__(
        self,
        model: keras.Model,
        program: Program,
        preset: Preset,
        head: Head,
        overrides: Mapping | None = None,
        relu: bool = False,
        **kwargs: Any,
    ) -> None:
        named = {"name": f"{model.name}_{head.name}", **kwargs, "dtype": "float32"}
        super().__init__(**named)
        self.model, self.program, self.head, self.relu = model, program, head, relu
        self.preset, self._own = preset, _Frozen(overrides or {})
        self.plan = plan(program, preset, self._own.rules)
        self.built = True

    def call(self, inputs: Any, target: Any = None) -> dict[str, Any]:
        """Predict and explain."""
        xs = [tf.convert_to_tensor(x) for x in keras.tree.flatten(inputs)]
        goal = -tf.ones(tf.shape(xs[0])[:1], tf.int32) if target is None else target
        goal = tf.cast(goal, tf.int32)
        one = goal.shape.rank == 1
        made = self.maps(xs, goal[:, None] if one else goal)
        maps = [_batch_first(m, one) for m in made["relevance"]]
        return {
            "relevance": keras.tree.pack_sequence_as(inputs, maps),
            "prediction": made["prediction"],
            "logits": made["logits"],
            "target": made["target"][:, 0] if one else made["target"],
        }

    def maps(
        self,
        inputs: list[Tensor],
        target: Tensor,
        at: int | None = None,
        reference: list[Tensor] | None = None,
    ) -> dict[str, Any]:
        """Forward once, back once for all seeds: what the analyzers compile.

        inputs: the flat list of the model's inputs; target (B, T) int32. "relevance" is
        a list of (T, B, ...), one per input; or that of the program's tensor `at`,
        and then "each" has its "values" (B, ...). reference: the baseline as network
        inputs, in place of the preset's.
        """
        values, logits, target, seeds, n_seeds = self._start(inputs, target)
        wanted = self.program.inputs if at is None else (at,)
        before = self._before(inputs, reference)
        maps = self._back(values, seeds, wanted, before=before)
        seen: dict[str, Any] = {"each": {} if at is None else {"values": values[at]}}
        if before:
            maps = self._contributions(maps, values, before, wanted)
            seen["before"] = before[self.program.output]
        return {
            "relevance": self._merged(maps, n_seeds),
            "prediction": self.program.finished(values),
            "logits": logits,
            "target": target,
            **seen,
        }

    def absorbed(self, inputs: list[Tensor], target: Tensor) -> dict[str, Tensor]:
        """Where relevance is lost or made: what a step gets minus what it hands down.

        "steps" (steps, T, B) from output to input; "start" (T, B), the head's seeds,
        and "arrived" (T, B), what reaches the inputs.
        """
        values, _, target, seeds, n_seeds = self._start(inputs, target)
        lost: list[Tensor] = []
        maps = self._back(values, seeds, self.program.inputs, lost)
        rows = [tf.stack(lost), _sums(seeds.tensors())[None], _sums(maps)[None]]
        table = tf.concat(rows, 0)
        if n_seeds > 1:
            table = self.head.merged_rows(table, split_seeds(maps, n_seeds))
        return {"steps": table[:-2], "start": table[-2], "arrived": table[-1]}

    def _start(self, inputs: list[Tensor], target: Tensor) -> tuple:
        inputs = [tf.cast(x, tf.float32) for x in inputs]
        values = self.program.run(inputs)
        logits = values[self.program.output]
        target, mask = choose(logits, target)
        seeds, n_seeds = self.head.seeds(Activation([logits]), mask)
        if not isinstance(seeds, Relevance):
            seeds = plain_relevance(seeds)
        return values, logits, target, seeds, n_seeds

    def _back(
        self,
        values: dict[int, Tensor],
        seeds: Relevance,
        wanted: Sequence[int],
        lost: list | None = None,
        before: dict[int, Tensor] | None = None,
    ) -> list[Tensor]:
        """The relevance (K, B, ...) of the tensors `wanted`."""
        arrived: dict[int, list[Relevance]] = {self.program.output: [seeds]}
        for planned in reversed(self.plan):
            step = planned.step
            parts = arrived.get(step.output)
            if parts is None:
                if lost is not None:
                    lost.append(tf.zeros(tf.shape(seeds.tensor)[:2]))
                continue
            if step.output not in wanted:
                arrived.pop(step.output)
            got = reduce(add, parts)
            with tf.control_dependencies(got.arrived):
                made = self._step(planned, values, got, before).each()
            for i, part in zip(step.carried(step.inputs), made, strict=True):
                if not part.empty:
                    arrived.setdefault(i, []).append(part)
            if lost is not None:
                down = [part.tensor for part in made if not part.empty]
                lost.append(_sums([got.tensor]) - _sums(down))
        return [self._formed(arrived.get(i), values[i], seeds.count) for i in wanted]

    def _step(
        self,
        planned: StepRule,
        values: dict[int, Tensor],
        got: Relevance,
        before: dict[int, Tensor] | None,
    ) -> Relevance:
        """One step back; made only when its relevance has arrived, to save memory."""
        old = _local(planned.step, before) if before else None
        local = _local(planned.step, values, old)
        return planned.rule.apply(local, self._signal(planned, values), got)

    def _before(self, inputs: list[Tensor], reference: Any) -> dict[int, Tensor]:
        """Every tensor at the baseline, by id; nothing without one."""
        if self.preset.reference is None:
            return {}
        if reference is None:
            reference = baselines(self.preset.reference, inputs)
        return self.program.run([tf.cast(v, tf.float32) for v in reference])

    def _contributions(
        self,
        maps: list[Tensor],
        values: dict[int, Tensor],
        before: dict[int, Tensor],
        wanted: Sequence[int],
    ) -> list[Tensor]:
        """Multipliers times the change from the baseline; of tokens it is in them."""
        tokens = self.program.lookups
        return [
            m if i in tokens else m * (values[i] - before[i])
            for m, i in zip(maps, wanted, strict=True)
        ]

    def _signal(self, planned: StepRule, values: dict[int, Tensor]) -> Activation:
        step = planned.step
        read = step.carried(step.inputs)
        known = self.program.nonnegative.issuperset(read)
        xs = [values[i] for i in read]
        if not planned.first:
            return Activation(xs, known)
        sources = [values[i] for i in self.program.inputs]
        return Activation(xs, known, lambda v: self._carry(v, step), sources)

    def _carry(self, values: list[Tensor], step: Step) -> list[Tensor]:
        """Values at the network's inputs, carried to where a first step reads them."""
        carried = dict(zip(self.program.inputs, values, strict=True))
        for s in self.program.steps:
            if s.kind in MONOTONE and carried.keys() >= set(s.inputs):
                carried[s.output] = s.run([carried[i] for i in s.inputs])
        return [carried[i] for i in step.inputs]

    @staticmethod
    def _formed(parts: list[Relevance] | None, x: Tensor, seeds: Any) -> Tensor:
        """base * ratio + plain at an input; zeros where no relevance arrived."""
        if parts is None:
            return tf.zeros([seeds, *size(x)])
        return tf.broadcast_to(reduce(add, parts).tensor, [seeds, *size(x)])

    def _merged(self, maps: list[Tensor], n_seeds: int) -> list[Tensor]:
        """The relevance of each target, from that of all its seeds."""
        if self.head.merge is not None and n_seeds > 1:
            maps = self.head.merge(*split_seeds(maps, n_seeds))
        return [positive(m) for m in maps] if self.relu else maps

    def with_head(self, head: Head) -> "RelevanceModel":
        """The same, started by another head."""
        rules = self._own.rules
        return RelevanceModel(
            self.model, self.program, self.preset, head, rules, self.relu
        )

    def get_config(self) -> dict[str, Any]:
        """The recipe: the model, and how it was turned round."""
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "number": self.program.number,
            "batch_norm": self.program.batch_norm,
            "preset": self.preset.get_config(),
            "head": self.head.get_config(),
            "rules": {k: R.find(v).get_config() for k, v in self._own.rules.items()},
            "relu": self.relu,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Turn the model round again."""
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        program = trace(model, config["number"], config["batch_norm"])
        return cls(
            model,
            program,
            Preset.from_config(config["preset"]),
            head_from_config(config["head"]),
            {k: R.from_config(v) for k, v in config["rules"].items()},
            config["relu"],
            name=config["name"],
        )

    def export(self, filepath: str | os.PathLike, **kwargs: Any) -> None:
        """Write a SavedModel; either function predicts and explains in one call.

        `serve(x)` (the default signature) explains the top class, `explain(x, target)`
        the classes (B,). Relevance is "relevance", or "relevance_0", ... for several
        inputs. kwargs: those of `tf.saved_model.save`. (Keras' own export stores every
        weight twice, as a Keras variable and as TensorFlow's.)
        """
        specs = [
            tf.TensorSpec((None, *v.shape[1:]), v.dtype, "x")
            for v in keras.tree.flatten(self.model.inputs)
        ]
        one = specs[0] if len(specs) == 1 else specs
        goal = tf.TensorSpec((None,), tf.int32, "target")

        def flat(x: Any, target: Any = None) -> dict[str, Tensor]:
            made = self.call(x, target)
            maps = keras.tree.flatten(made.pop("relevance"))
            names = [f"relevance_{i}" for i in range(len(maps))]
            names = names if len(maps) > 1 else ["relevance"]
            return {**made, **dict(zip(names, maps, strict=True))}

        kept = tf.Module()
        kept.weights = [v.value for v in self.model.variables]
        kept.serve = tf.function(flat, [one], autograph=False)
        kept.explain = tf.function(flat, [one, goal], autograph=False)
        signatures = {"serving_default": kept.serve, "explain": kept.explain}
        options = {"signatures": signatures, **kwargs}
        tf.saved_model.save(kept, os.fspath(filepath), **options)


class _Frozen:
    """Rules by name, out of sight of Keras, which would track a plain dict."""

    def __init__(self, rules: Mapping) -> None:
        self.rules = dict(rules)


def _local(step: Step, values: dict[int, Tensor], before: Local | None = None) -> Local:
    return Local(step, [values[i] for i in step.inputs], values[step.output], before)


def _batch_first(relevance: Tensor, one: bool) -> Tensor:
    """(T, B, ...) -> (B, T, ...), or (B, ...) for one target."""
    if one:
        return relevance[0]
    return tf.transpose(relevance, [1, 0, *range(2, len(relevance.shape))])


def _sums(parts: list[Tensor]) -> Tensor:
    """The sum (K, B) of tensors (K, B, ...)."""
    return tf.add_n([tf.reduce_sum(p, list(range(2, len(p.shape)))) for p in parts])


def choose(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Resolve -1 to the top class; the targets (B, T), and one-hot (T, B, ..., n).

    Raises tf.errors.InvalidArgumentError, also where it is served (XLA asks nothing).
    """
    each = as_rows(logits)
    count = size(each)[1]
    known = tf.reduce_all((target >= -1) & (target < count))
    wanted = "A target is -1 (the top class), or an index below"
    tf.debugging.Assert(known, [wanted, count, "; seen:", target])
    target = or_top(target, each)
    mask = tf.one_hot(tf.transpose(target), count, dtype=logits.dtype)
    return target, tf.reshape(mask, [size(mask)[0], *size(logits)])
