"""A Keras model that returns relevance, built from a program, a preset and a head.

The forward pass is the user's own operations on the user's own variables, so the model
follows every training step. The backward pass applies one rule per step. Relevance has
shape (K, B, ...): the seeds of all targets are the leading axis and share one forward
pass and one graph.
"""

# mypy: allow-subclassing-any

import os
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxai.base.registry import built_in
from tfxai.base.tensors import Tensor, as_rows, positive, size
from tfxai.core.baselines import baselines
from tfxai.core.model_adapters import adapt
from tfxai.core.targets import explained_outputs, has_two_classes, or_top
from tfxai.graph.linear import Local, repeat
from tfxai.graph.program import Program
from tfxai.graph.segments import Segment, delayed
from tfxai.graph.step import KERNEL, MONOTONE, Step
from tfxai.relevance import rules as R
from tfxai.relevance.algebra import Activation, Relevance, plain_relevance
from tfxai.relevance.background import averaged
from tfxai.relevance.blocked import BlockRule, passed, planned_blocks
from tfxai.relevance.heads import Head, split_seeds
from tfxai.relevance.heads import from_config as head_from_config
from tfxai.relevance.plan import StepRule, plan
from tfxai.relevance.positions import Table, by_position, with_positions
from tfxai.relevance.presets import Preset
from tfxai.relevance.routes import Routes, choices

#: Called with the messages that leave a segment, and returns them.
Tick = Callable[[list[Tensor]], list[Tensor]]
#: (outputs (B, ...), target (B, T)) -> scores (B, T).
Scored = Callable[[Tensor, Tensor], Tensor]


class Values(dict[int, Tensor]):
    """Every tensor of a program, by its number; `weights` are those of its steps.

    Args:
        known: The tensors that the steps read.
        steps: The steps, which run here.
    """

    def __init__(self, known: Mapping[int, Tensor], steps: Sequence[Step]) -> None:
        super().__init__(known)
        self.weights: dict[int, Any] = {}
        for step in steps:
            if step.output in known:
                continue
            self[step.output] = step.run([self[i] for i in step.inputs], self.weights)

    def copied(self, other: Mapping[int, Tensor]) -> "Values":
        """Return the same tensors, with others in place of some."""
        found = Values({**self, **other}, ())
        found.weights = self.weights
        return found


#: All tensors, logits, targets (B, T), seeds, and the number of seeds per target.
Forward = tuple[Values, Tensor, Tensor, Relevance, int]


def values_of(
    program: Program, inputs: list[Tensor], known: Mapping[int, Tensor] | None = None
) -> Values:
    """Return every tensor of a program; those that are `known` are not computed."""
    return Values({**program.entered(inputs), **(known or {})}, program.steps)


@keras.saving.register_keras_serializable(package="tfxai")
class RelevanceModel(keras.Model):
    """Keras model that takes the inputs of `model` and returns their relevance.

    Call it like `model`, with an additional `target`. It returns a dict:

    - "relevance": of the shape and structure of the inputs, (B, T, ...) for T targets;
    - "prediction": the output of `model`;
    - "logits": the same before a final softmax; (-z, z) of one sigmoid z;
    - "target": the explained class, with -1 replaced by the top class.

    It can be saved and exported like any Keras model; the weights are the model's own.

    Args:
        model: Model to explain.
        program: Steps of `model`.
        preset: Rule of each kind of step.
        head: Head that returns the relevance of the output.
        overrides: Rules that replace those of the preset, {kind or layer name: rule}.
        relu: Return only the positive part of the relevance.
        masks: Masks of conditional relevance, {name of a step: mask of its output}; see
            `tfxai.core.conditions`. A list of them returns one map for each.
        positions: Position encodings are inputs; see `tfxai.relevance.positions`.
        kwargs: Arguments of `keras.Model`, such as `name`.
    """

    def __init__(
        self,
        model: keras.Model,
        program: Program,
        preset: Preset,
        head: Head,
        overrides: Mapping[str, Any] | None = None,
        relu: bool = False,
        masks: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        positions: bool = False,
        **kwargs: Any,
    ) -> None:
        name = f"{getattr(model, 'name', 'function')}_{head.name}"
        named = {"name": name, **kwargs, "dtype": "float32"}
        super().__init__(**named)
        self.model, self.head, self.relu = model, head, relu
        self._read = program
        tables: tuple[Table, ...] = ()
        if positions:
            program, tables = with_positions(program)
        self.program, self.tables = program, tables
        self.preset, self._overrides = preset, _Overrides(overrides or {}, masks)
        self.plan = plan(program, preset, self._overrides.rules)
        self._blocked = False
        self.built = True

    def call(self, inputs: Any, target: Any = None) -> dict[str, Any]:
        """Return prediction and relevance.

        Args:
            inputs: Inputs of the model.
            target: Indices into the flattened output, int32 (B,) or (B, T); -1 is the
                top class. None is the top class.
        """
        xs = [tf.convert_to_tensor(x) for x in keras.tree.flatten(inputs)]
        indices = -tf.ones(tf.shape(xs[0])[:1], tf.int32) if target is None else target
        indices = tf.cast(indices, tf.int32)
        single_target = indices.shape.rank == 1
        result = self.propagate(xs, indices[:, None] if single_target else indices)
        single_target = single_target and not self.n_sets
        relevance = [_batch_first(r, single_target) for r in result["relevance"]]
        target = result["target"]
        return {
            "relevance": keras.tree.pack_sequence_as(inputs, relevance),
            "prediction": result["prediction"],
            "logits": result["logits"],
            "target": target[:, 0] if single_target else target,
        }

    @property
    def n_sets(self) -> int:
        """The number of sets of conditions, each with a map of its own; 0 for one."""
        return len(self._overrides.sets) if self._overrides.several else 0

    def propagate(
        self,
        inputs: list[Tensor],
        target: Tensor,
        at: int | None = None,
        baseline: list[Tensor] | None = None,
        tick: Tick | None = None,
        scored: Scored | None = None,
    ) -> dict[str, Any]:
        """Run forward once and backward once for all seeds; analyzers compile this.

        Args:
            inputs: Flat list of the model's inputs.
            target: Indices into the flattened output, int32 (B, T); -1 is the top
                class.
            at: Number of the program's tensor whose relevance is returned, instead of
                the inputs'. Then "each" holds its "values" (B, ...).
            baseline: Baseline as inputs of the network. None uses the preset's.
            tick: Of a pass that recomputes what it does not keep, called with the
                messages that leave each segment, and returns them; else None.
            scored: Function (outputs, target) -> scores (B, T), for the baseline.

        Returns:
            A dict like that of `call`, where "relevance" is a list of (T, B, ...), one
            per input; with a baseline, "baseline_score" (B, T) is the score there, or
            the mean score of a background.
        """
        model = self.at([x.shape for x in inputs])
        if model is not self:
            at = None if at is None else model.program.like(at, self.program)
            return model.propagate(inputs, target, at, baseline, tick, scored)
        if tick is not None and not self._blocked:
            model = self._in_blocks(at)
            return model.propagate(inputs, target, at, baseline, tick, scored)
        forward = self._forward(inputs, target)
        values, logits, target, _, _ = forward
        wanted = self.program.inputs if at is None else (at,)
        wanted = (*wanted, *(t.number for t in self.tables))
        extra: dict[str, Any] = {"each": {} if at is None else {"values": values[at]}}
        rows = self.preset.baseline if baseline is None else baseline
        if self.preset.background:

            def compared(xs: Any, t: Any, starts: Any) -> tuple[list[Tensor], Tensor]:
                again = self._forward(xs, t, self._repeated(values, xs))
                return self._compared(xs, again, starts, wanted, scored)

            shapes = [values[i] for i in wanted]
            relevance, score = averaged(compared, inputs, target, rows, shapes)
            extra["baseline_score"] = score
        elif self.preset.baseline is not None:
            relevance, score = self._compared(inputs, forward, baseline, wanted, scored)
            extra["baseline_score"] = score
        else:
            relevance = self._maps(forward, wanted, tick=tick)
        if self.tables:
            count = len(relevance) - len(self.tables)
            relevance, tables = relevance[:count], relevance[count:]
            extra |= self._of_positions(relevance, tables, forward)
        return {
            "relevance": relevance,
            "prediction": self.program.finished(values),
            "logits": explained_outputs(self.program, logits),
            "target": target,
            **extra,
        }

    def _of_positions(
        self, relevance: list[Tensor], tables: list[Tensor], forward: Forward
    ) -> dict[str, Tensor]:
        """Return the relevance of positions, and what other steps absorb or add."""
        positions, total = by_position(self.tables, tables)
        found = {"positions": positions, "position_total": total}
        if forward[4] == 1:
            start = _sums(forward[3].tensors())
            found["completeness"] = _sums(relevance) + total - start
        return {k: _batch_first(v, False) for k, v in found.items()}

    def _compared(
        self,
        inputs: list[Tensor],
        forward: Forward,
        baseline: list[Tensor] | None,
        wanted: Sequence[int],
        scored: Scored | None,
    ) -> tuple[list[Tensor], Tensor]:
        """Return the contributions of the change from a baseline, and its score."""
        values, _, target, _, _ = forward
        before = self._baseline_values(inputs, baseline, values)
        found = self._maps(forward, wanted, before)
        outputs = self._explained(before)
        score = (
            tf.zeros(tf.shape(target)) if scored is None else scored(outputs, target)
        )
        return found, score

    def _maps(
        self,
        forward: Forward,
        wanted: Sequence[int],
        before: Values | None = None,
        tick: Tick | None = None,
    ) -> list[Tensor]:
        """Return the relevance (T, B, ...) of the tensors `wanted`.

        Of several sets of conditions, T is the number of sets. Those of the same layers
        share one backward pass, as further seeds.
        """
        values, _, _, seeds, n_seeds = forward
        sets = self._overrides.sets
        groups: dict[tuple[str, ...], list[int]] = {}
        for i, masks in enumerate(sets):
            groups.setdefault(tuple(masks), []).append(i)
        ranks = {s.name: len(s.shape) for s in self.program.steps}
        parts = []
        for names, members in groups.items():
            chosen = [sets[i] for i in members]
            masks = {
                n: _stacked([m[n] for m in chosen], n_seeds, ranks[n]) for n in names
            }
            repeated = seeds
            if len(members) > 1:
                more = [tf.repeat(m, len(members), 0) for m in seeds.messages]
                repeated = seeds.with_messages(more)
            found = self._backward(values, repeated, wanted, None, before, tick, masks)
            if before is not None:
                found = self._contributions(found, values, before, wanted)
            parts.append(self._merged(found, n_seeds))
        if len(parts) == 1:
            return parts[0]
        order = np.argsort([i for members in groups.values() for i in members])
        columns = zip(*parts, strict=True)
        return [tf.gather(tf.concat(column, 0), order) for column in columns]

    def absorbed(self, inputs: list[Tensor], target: Tensor) -> dict[str, Tensor]:
        """Return the relevance of each step's output minus that of its inputs.

        Args:
            inputs: Flat list of the model's inputs.
            target: Indices into the flattened output, int32 (B, T); -1 is the top
                class.

        Returns:
            "steps" (steps, T, B), from output to input; "start" (T, B), the sum of the
            head's seeds; "arrived" (T, B), the sum of the relevance of the inputs.
        """
        model = self.at([x.shape for x in inputs])
        if model is not self:
            return model.absorbed(inputs, target)
        values, _, target, seeds, n_seeds = self._forward(inputs, target)
        rows: list[Tensor] = []
        wanted = (*self.program.inputs, *(t.number for t in self.tables))
        relevance = self._backward(values, seeds, wanted, rows)
        start, arrived = _sums(seeds.tensors()), _sums(relevance)
        table = tf.stack([*rows, start, arrived])
        if n_seeds > 1:
            table = self.head.merged_rows(table, split_seeds(relevance, n_seeds))
        return {"steps": table[:-2], "start": table[-2], "arrived": table[-1]}

    def _repeated(self, values: Values, inputs: list[Tensor]) -> Values:
        """Return every tensor for inputs (k * B, ...) that repeat those of `values`.

        What layers with kernels return is repeated and not computed again.
        """
        program = self.program
        count = size(inputs[0])[0] // size(values[program.inputs[0]])[0]
        known = {
            s.output: repeat(values[s.output], count)
            for s in program.steps
            if s.kind in KERNEL and program.reads[s.output]
            if not program.batch_axis(s.output)
        }
        found = values_of(program, inputs, known)
        found.weights = {**values.weights, **found.weights}
        return found

    def _forward(
        self, inputs: list[Tensor], target: Tensor, values: Values | None = None
    ) -> Forward:
        """Return all tensors, logits, targets (B, T), seeds, and seeds per target."""
        if values is None:
            inputs = [tf.cast(x, tf.float32) for x in inputs]
            values = values_of(self.program, inputs)
        logits = values[self.program.output]
        target, mask = select_targets(explained_outputs(self.program, logits), target)
        if has_two_classes(self.program):  # class 1 is z, class 0 is -z
            mask = tf.reshape(mask[..., 1] - mask[..., 0], [-1, *size(logits)])
        seeds, n_seeds = self.head.seeds(Activation([logits]), mask)
        if not isinstance(seeds, Relevance):
            seeds = plain_relevance(seeds)
        return values, logits, target, seeds, n_seeds

    def _explained(self, values: Values) -> Tensor:
        """Return the explained outputs: the logits of the classes."""
        return explained_outputs(self.program, values[self.program.output])

    def at(self, shapes: Sequence[Any]) -> "RelevanceModel":
        """Return the same model for other input shapes: a trace is for one of each."""
        program = self._read.at(shapes)
        if program is self._read:
            return self
        return self._with(program, self.head)

    def _backward(
        self,
        values: Values,
        seeds: Relevance,
        wanted: Sequence[int],
        losses: list[Tensor] | None = None,
        before: Values | None = None,
        tick: Tick | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> list[Tensor]:
        """Return the relevance (K, B, ...) of the tensors `wanted`.

        `losses` collects the relevance (K, B) that each step absorbs. With `tick`,
        tensors that cross no cut of the program are computed again. `masks` are those
        of one set of conditions.
        """
        arrived: dict[int, list[Relevance]] = {self.program.output: [seeds]}
        masks = masks or {}
        whole = Segment(0, len(self.plan), (), (), 0)
        segments = [whole] if tick is None else self.program.segments
        found: dict[int, Tensor] = {}
        ends = {t.number for t in self.tables}
        routes = None if before is None else Routes(self.program, values, before)
        for segment in reversed(segments):
            local = values
            if segment is not segments[-1]:
                local = self._again(segment, values, arrived)
            for planned in reversed(self.plan[segment.start : segment.stop]):
                number = planned.step.output
                parts = arrived.pop(number, None)
                if routes is not None and planned.step.kind == "fixed":
                    for i, m in routes.chosen(planned.step).items():
                        arrived.setdefault(i, []).append(plain_relevance(m))
                if parts is None:
                    if planned.step.name in masks:
                        arrived.clear()  # no relevance passes through the layer
                    if losses is not None:
                        losses.append(tf.zeros(tf.shape(seeds.tensor)[:2]))
                    continue
                r = reduce(add, parts)
                if planned.step.name in masks:
                    r = r.where(masks[planned.step.name])
                    parts = [r]
                    arrived.clear()  # what goes around the layer
                if number in wanted:
                    found[number] = self._evaluated(parts, local[number], seeds.count)
                if number in ends:
                    if losses is not None:
                        losses.append(tf.zeros(tf.shape(seeds.tensor)[:2]))
                    continue
                start = before
                if routes is not None:
                    start = routes.at_baseline(planned.step, r.tensor)
                result = self._pass(planned, local, r, start)
                for i, part in zip(
                    planned.step.carried(planned.step.inputs), result, strict=True
                ):
                    if not part.empty:
                        arrived.setdefault(i, []).append(part)
                if losses is not None:
                    losses.append(self._lost(planned.step, r, result, seeds))
            if tick is not None:
                _leave(arrived, local, values, tick)
        return [
            found[i]
            if i in found
            else self._evaluated(arrived.get(i), values[i], seeds.count)
            for i in wanted
        ]

    def _in_blocks(self, at: int | None) -> "RelevanceModel":
        """Return the same model with large attention in blocks of queries."""
        own = self.program
        masked = [own.find(name).output for name in self.conditions]
        program = own.in_blocks(*masked, *([] if at is None else [at]))
        model = self._with(program, self.head)
        model.plan = planned_blocks(program.steps, self.plan)
        model._blocked = True
        return model

    def _lost(
        self, step: Step, r: Relevance, result: list[Relevance], seeds: Relevance
    ) -> Tensor:
        """Return the relevance (K, B) that a step absorbs."""
        n = size(seeds.tensor)[1]
        pairs = zip(step.carried(step.inputs), result, strict=True)
        down = [self._sum(i, p, n) for i, p in pairs if not p.empty]
        return self._sum(step.output, r, n) - (tf.add_n(down) if down else 0.0)

    def _again(
        self, segment: Segment, values: Values, arrived: dict[int, list[Relevance]]
    ) -> Values:
        """Return the tensors of a segment, computed after its relevance is known."""
        parts = [p for i in segment.makes for p in arrived.get(i, ())]
        messages = [m for p in parts for m in p.messages]
        reads = list(dict.fromkeys([*self.program.inputs, *segment.reads]))
        again = [values[i] for i in reads]
        if messages:
            again = delayed(again, messages)
        steps = self.program.steps[segment.start : segment.stop]
        local = Values(dict(zip(reads, again, strict=True)), steps)
        for i in segment.makes:
            moved = [p.moved(values[i], local[i]) for p in arrived.get(i, ())]
            if moved:
                arrived[i] = moved
        return local

    def _sum(self, number: int, relevance: Relevance, n_samples: Any) -> Tensor:
        """Return the sum (K, B) of the relevance of a tensor with any batch axis.

        A tensor without a batch axis is divided evenly between the samples.
        """
        r = relevance.tensor
        axis = self.program.batch_axis(number)
        if axis < 0:
            total = tf.reduce_sum(r, range(1, len(r.shape)), keepdims=True)
            share = tf.reshape(total, [-1, 1]) / tf.cast(n_samples, tf.float32)
            return tf.broadcast_to(share, [size(r)[0], n_samples])
        if axis:
            order = [0, axis + 1, *(i for i in range(1, len(r.shape)) if i != axis + 1)]
            r = tf.transpose(r, order)
        return tf.reduce_sum(tf.reshape(r, [size(r)[0], n_samples, -1]), -1)

    def _pass(
        self,
        planned: StepRule | BlockRule,
        values: Values,
        r: Relevance,
        before: Values | None,
    ) -> list[Relevance]:
        """Return the relevance of each of a step's inputs, for all seeds.

        A step that does not compute each sample by itself is passed for one seed, and
        that is vectorised over the seeds.
        """
        if isinstance(planned, BlockRule):

            def one(p: StepRule, v: Values, part: Relevance) -> list[Relevance]:
                return self._pass(p, v, part, None)

            return passed(planned, values, Values, r, one)
        step = planned.step
        if step.by_sample or r.single:
            # Else TensorFlow may compute tensors of later steps early and keep them.
            with tf.control_dependencies(r.messages):
                return self._apply_rule(planned, values, r, before).each()
        xs = [values[i] for i in step.carried(step.inputs)]
        found: list[Relevance] = []

        def single(messages: list[Tensor]) -> list[Tensor]:
            one = r.with_messages([m[None] for m in messages])
            parts = self._apply_rule(planned, values, one, before).each()
            found[:] = [p.on(x) for p, x in zip(parts, xs, strict=True)]
            return [m[0] for p in found for m in p.messages]

        rest = iter(_mapped(single, r.messages))
        return [p.with_messages([next(rest) for _ in p.messages]) for p in found]

    def _apply_rule(
        self, planned: StepRule, values: Values, r: Relevance, before: Values | None
    ) -> Relevance:
        """Return the relevance of a step's inputs."""
        at_baseline = None if before is None else _local(planned.step, before)
        local = _local(planned.step, values, at_baseline)
        local.behind = planned.behind
        return planned.rule.apply(local, self._activation(planned, values), r)

    def _baseline_values(
        self, inputs: list[Tensor], baseline: Any, values: Values
    ) -> Values:
        """Return every tensor at the baseline.

        Masks and positions that are computed from tokens are those of the tokens of x.
        """
        if baseline is None:
            baseline = baselines(self.preset.baseline, inputs)
        # Whole numbers and booleans beside tokens, such as masks of padding, are held.
        tokens = self.program.lookups
        held = [
            bool(tokens) and i not in tokens and not x.dtype.is_floating
            for i, x in zip(self.program.inputs, inputs, strict=True)
        ]
        triples = zip(held, inputs, baseline, strict=True)
        points = [x if hold else before for hold, x, before in triples]
        points = [tf.cast(v, tf.float32) for v in points]
        return values_of(self.program, points, self._masks(values))

    def _masks(self, values: Values) -> dict[int, Tensor]:
        """Return the tensors without slope that are computed from tokens alone.

        What is chosen by the vectors of tokens, such as experts, is none of them.
        """
        program = self.program
        tokens = {k for k, i in enumerate(program.inputs) if i in program.lookups}
        if not tokens:
            return {}
        reads, chosen = program.reads, choices(program)
        return {
            s.output: values[s.output]
            for s in program.steps
            if s.kind == "fixed"
            and reads[s.output] <= tokens
            and s.output not in chosen
        }

    def _contributions(
        self,
        multipliers: list[Tensor],
        values: Values,
        before: Values,
        wanted: Sequence[int],
    ) -> list[Tensor]:
        """Return multipliers times the difference from the baseline.

        The rule of an embedding has already multiplied those of tokens.
        """
        tokens = self.program.lookups

        def change(i: int) -> Tensor:
            now, then = (tf.cast(v[i], tf.float32) for v in (values, before))
            return now - then

        return [
            m if i in tokens else m * change(i)
            for m, i in zip(multipliers, wanted, strict=True)
        ]

    def _activation(self, planned: StepRule, values: Values) -> Activation:
        """Return the input of a step."""
        step = planned.step
        read = step.carried(step.inputs)
        nonnegative = self.program.nonnegative.issuperset(read)
        xs = [values[i] for i in read]
        if not planned.first:
            return Activation(xs, nonnegative)
        sources = [values[i] for i in self.program.inputs]
        return Activation(xs, nonnegative, lambda v: self._carry(v, step), sources)

    def _carry(self, values: list[Tensor], step: Step) -> list[Tensor]:
        """Return values at the network's inputs as a first step reads them."""
        carried = dict(zip(self.program.inputs, values, strict=True))
        for s in self.program.steps:
            if s.kind in MONOTONE and carried.keys() >= set(s.inputs):
                carried[s.output] = s.run([carried[i] for i in s.inputs])
        return [carried[i] for i in step.inputs]

    @staticmethod
    def _evaluated(parts: list[Relevance] | None, x: Tensor, seeds: Any) -> Tensor:
        """Return the sum of the parts (K, B, ...); zeros if there are none."""
        if parts is None:
            return tf.zeros([seeds, *size(x)])
        return tf.broadcast_to(reduce(add, parts).tensor, [seeds, *size(x)])

    def _merged(self, relevance: list[Tensor], n_seeds: int) -> list[Tensor]:
        """Return the relevance (T, B, ...) of each target, merged from its seeds."""
        if self.head.merge is not None and n_seeds > 1:
            relevance = self.head.merge(*split_seeds(relevance, n_seeds))
        return [positive(r) for r in relevance] if self.relu else relevance

    @property
    def built_in(self) -> bool:
        """True if head and rules are those of this package, and none is a user's."""
        functions = [self.head.function, *(p.rule.function for p in self.plan)]
        return built_in(*functions)

    @property
    def conditions(self) -> list[str]:
        """The steps through which relevance must pass."""
        return list(dict.fromkeys(n for m in self._overrides.sets for n in m))

    def with_head(self, head: Head) -> "RelevanceModel":
        """Return the same model with another head."""
        return self._with(self._read, head)

    def _with(self, program: Program, head: Head) -> "RelevanceModel":
        """Return the same model with another program or head."""
        own = self._overrides
        return RelevanceModel(
            self.model, program, self.preset, head, own.rules, self.relu, own.given,
            bool(self.tables),
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """Return the model, preset, head and rules as plain data."""
        rules = self._overrides.rules
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "number": self.program.number,
            "batch_norm": self.program.batch_norm,
            "preset": self.preset.get_config(),
            "head": self.head.get_config(),
            "rules": {k: R.find(v).get_config() for k, v in rules.items()},
            "relu": self.relu,
            "positions": bool(self.tables),
            "masks": keras.tree.map_structure(np.ndarray.tolist, self._overrides.given),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Return the relevance model of a config."""
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        program = adapt(model, None, config["number"]).read(config["batch_norm"])
        return cls(
            model,
            program,
            Preset.from_config(config["preset"]),
            head_from_config(config["head"]),
            {k: R.from_config(v) for k, v in config["rules"].items()},
            config["relu"],
            _of_lists(config.get("masks", {})),
            config.get("positions", False),  # absent before version 0.3
            name=config["name"],
        )

    def export(self, filepath: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write a SavedModel with two functions that predict and explain in one call.

        `serve(x)` (the default signature) explains the top class, `explain(x, target)`
        the classes (B,). Relevance is "relevance", or "relevance_0", ... for several
        inputs. (Keras' own export stores every weight twice, as a Keras variable and as
        a TensorFlow variable.)

        Args:
            filepath: Folder to write.
            kwargs: Arguments of `tf.saved_model.save`.
        """
        specs = [
            tf.TensorSpec((None, *v.shape[1:]), v.dtype, "x")
            for v in keras.tree.flatten(self.model.inputs)
        ]
        inputs = specs[0] if len(specs) == 1 else specs
        target = tf.TensorSpec((None,), tf.int32, "target")

        def flat(x: Any, target: Any = None) -> dict[str, Tensor]:
            result = self.call(x, target)
            relevance = keras.tree.flatten(result.pop("relevance"))
            names = [f"relevance_{i}" for i in range(len(relevance))]
            names = names if len(relevance) > 1 else ["relevance"]
            return {**result, **dict(zip(names, relevance, strict=True))}

        module = tf.Module()
        module.weights = [v.value for v in self.model.variables]
        module.serve = tf.function(flat, [inputs], autograph=False)
        module.explain = tf.function(flat, [inputs, target], autograph=False)
        signatures = {"serving_default": module.serve, "explain": module.explain}
        options = {"signatures": signatures, **kwargs}
        tf.saved_model.save(module, os.fspath(filepath), **options)


class _Overrides:
    """Rules and masks by name in a class, since Keras would track a plain dict."""

    def __init__(self, rules: Mapping[str, Any], masks: Any) -> None:
        self.rules = dict(rules)
        self.several = isinstance(masks, list | tuple)
        self.sets = [dict(m) for m in (masks if self.several else [masks or {}])]

    @property
    def given(self) -> Any:
        """The masks, or the list of those of several sets."""
        return self.sets if self.several else self.sets[0]


def _of_lists(masks: Any) -> Any:
    """Return masks from plain data."""
    if isinstance(masks, list):
        return [_of_lists(m) for m in masks]
    return {k: np.float32(v) for k, v in masks.items()}


def _stacked(masks: list[np.ndarray], n_seeds: int, rank: int) -> Tensor:
    """Return the masks of a layer as (K, 1, ...), for all seeds and sets.

    The output of the layer has `rank` axes without the batch.
    """
    if len(masks) == 1:
        return tf.constant(masks[0])
    shaped = [m.reshape((1,) * (rank - m.ndim) + m.shape) for m in masks]
    shape = np.broadcast_shapes(*(m.shape for m in shaped))
    stacked = np.stack([np.broadcast_to(m, shape) for m in shaped])
    return tf.constant(np.tile(stacked, (n_seeds, *[1] * rank))[:, None])


def _leave(
    arrived: dict[int, list[Relevance]], local: Values, values: Values, tick: Tick
) -> None:
    """Let relevance leave a segment: it then refers to tensors that are kept."""
    for i, parts in arrived.items():
        if i in local and i in values:
            parts[:] = [p.moved(local[i], values[i]) for p in parts]
    every = [p for parts in arrived.values() for p in parts]
    rest = iter(tick([m for p in every for m in p.messages]))
    for parts in arrived.values():
        parts[:] = [p.with_messages([next(rest) for _ in p.messages]) for p in parts]


def _mapped(function: Callable[..., list[Tensor]], tensors: list[Tensor]) -> list[Any]:
    """Return the results for each element along the first axis, stacked."""
    if not tf.executing_eagerly():
        mapped = tf.vectorized_map(function, tensors, fallback_to_while_loop=True)
        return list(mapped)
    each = [function(list(v)) for v in zip(*map(tf.unstack, tensors), strict=True)]
    return [tf.stack(v) for v in zip(*each, strict=True)]


def _local(step: Step, values: Values, before: Local | None = None) -> Local:
    """Return a step at its values; `before` is the same step at the baseline."""
    read = [values[i] for i in step.inputs]
    weights = values.weights.get(step.output)
    return Local(step, read, values[step.output], before, weights)


def _batch_first(relevance: Tensor, single_target: bool) -> Tensor:
    """(T, B, ...) -> (B, T, ...), or (B, ...) for one target."""
    if single_target:
        return relevance[0]
    return tf.transpose(relevance, [1, 0, *range(2, len(relevance.shape))])


def _sums(parts: list[Tensor]) -> Tensor:
    """Return the sum (K, B) of tensors (K, B, ...)."""
    return tf.add_n([tf.reduce_sum(p, list(range(2, len(p.shape)))) for p in parts])


def select_targets(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the targets (B, T) with -1 replaced, and one-hot as (T, B, ..., n).

    Args:
        logits: Logits (B, ..., n).
        target: Indices into the flattened logits, int32 (B, T); -1 is the top class.

    Raises:
        tf.errors.InvalidArgumentError: A target is out of range, also in an exported
            model (but not under XLA, which ignores assertions).
    """
    rows = as_rows(logits)
    count = size(rows)[1]
    known = tf.reduce_all((target >= -1) & (target < count))
    wanted = "A target is -1 (the top class), or an index below"
    tf.debugging.Assert(known, [wanted, count, "; found:", target])
    target = or_top(target, rows)
    mask = tf.one_hot(tf.transpose(target), count, dtype=logits.dtype)
    return target, tf.reshape(mask, [size(mask)[0], *size(logits)])
