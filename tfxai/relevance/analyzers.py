"""Relevance analyzers: program, preset and head, compiled and run in batches."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.cache import Cache
from tfxai.base.errors import (
    ModelError,
    OptionError,
    OtherOutputWarning,
    OutOfBoundsWarning,
    TargetError,
)
from tfxai.base.tensors import Tensor, as_rows
from tfxai.core.analyzer import KEPT, Analyzer
from tfxai.core.baselines import baselines, listed_per_sample, per_sample
from tfxai.core.compilation import compiled, few
from tfxai.core.conditions import by_channel, check_below, sets_of
from tfxai.core.embedding_cut import apply_target_fn, select_scores
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import cut, signature
from tfxai.core.layer_choice import layer_step
from tfxai.core.memory import Ticker, passing
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.core.target_functions import on_program
from tfxai.core.targets import Target, explained_outputs, has_two_classes
from tfxai.graph.program import Program
from tfxai.relevance import presets as P
from tfxai.relevance import rules as R
from tfxai.relevance.algebra import Activation
from tfxai.relevance.analyzer_table import ANALYZERS, AnalyzerSpec
from tfxai.relevance.background import with_background
from tfxai.relevance.heads import NONNEGATIVE, Head
from tfxai.relevance.heads import find as find_head
from tfxai.relevance.relevance_model import RelevanceModel
from tfxai.relevance.residual import Residual, residual
from tfxai.relevance.unused import warn_shadowed, warn_unused

NEEDS = "a model that TensorFlow can trace"

Function = Callable[..., Any]
Inputs = list[np.ndarray[Any, Any]]


class RelevanceAnalyzer(Analyzer):
    """Analyzer of a relevance method.

    `graph` is the Keras model that returns relevance. It takes the network's own
    inputs: `preprocess` is not part of it.

    Args:
        name: Name of the method.
        wrapped: Model to explain.
        graph: Keras model that returns relevance.
        target: Target to explain where `analyze` gets none.
        options: Options of the method.
        at: Number of the program's tensor to explain. None explains the inputs.
    """

    def __init__(
        self,
        name: str,
        wrapped: ModelWrapper,
        graph: RelevanceModel,
        target: Any = None,
        options: Mapping[str, Any] | None = None,
        at: int | None = None,
    ) -> None:
        super().__init__(
            name, wrapped, self._propagation, target, options, _warn_outside
        )
        self.graph, self._at = graph, at
        #: The baseline of the preset; one for each sample as `PerSample`.
        self.starts = graph.preset.baseline
        if not graph.preset.background:
            self.starts = per_sample(self.starts, wrapped.specs)
            self.per_sample = listed_per_sample(self.starts)
        relu_logits = graph.head.options.get("relu_logits", False)
        self.needs_positive_score = relu_logits or graph.head.name in NONNEGATIVE
        self._inner: dict[int, RelevanceAnalyzer] = {}
        self._tables = Cache(KEPT)
        self.inner = at is not None
        self.once_per_sample = not graph.preset.background
        if at is not None:
            check_below(graph.program, graph.conditions, at)
            for planned in graph.plan:
                if planned.step.output == at and planned.behind is not None:
                    raise OptionError(
                        f"The rule {planned.rule.name!r} propagates the layer "
                        f"{planned.step.name!r} and its activation as one.",
                        "the activation",
                        f"at={planned.behind.name!r}",
                    )

    def _run(
        self, inputs: Inputs, goal: Target, batch_size: int, progress: bool | None
    ) -> list[dict[str, Any]]:
        """The results of all batches; of several sets of conditions, for one target."""
        count = self.graph.n_sets
        if count and goal.axes:
            raise TargetError(
                f"{count} sets of conditions with {goal.indices.shape[1]} targets for "
                "each sample.",
                "one target for each sample",
                "target=None, or one set of conditions",
            )
        if not count:
            return super()._run(inputs, goal, batch_size, progress)
        results = super()._run(inputs, goal, max(1, batch_size // count), progress)
        for result in results:
            for name in result.keys() - {"relevance", "each", "tokens"}:
                if result[name].shape[1] == 1:
                    result[name] = np.repeat(result[name], count, 1)
        return results

    def _explanation(
        self, inputs: Inputs, goal: Target, results: list[dict[str, Any]]
    ) -> Explanation:
        """The explanation of all batches; sets of conditions are as several targets."""
        if self.graph.n_sets:
            goal = replace(goal, axes=(self.graph.n_sets,))
        return super()._explanation(inputs, goal, results)

    def coverage(self) -> list[dict[str, str]]:
        """Return layer, kind and rule of every step, from input to output."""
        return [
            {
                "step": p.step.name,
                "layer": p.step.layer,
                "kind": p.step.kind,
                "rule": str(p.rule),
                "first": "yes" if p.first else "",
            }
            for p in self.graph.plan
        ]

    def relevance_at(
        self, layer: str, x: Any, target: Any = None, batch_size: int = 32
    ) -> Explanation:
        """Return the relevance of a layer's output, (B, ...); `inputs` is that output.

        Args:
            layer: Name of a step in `coverage()`.
            x: As for `analyze`.
            target: As for `analyze`.
            batch_size: As for `analyze`.

        Raises:
            UnknownNameError: There is no such step.
        """
        number = self.graph.program.find(layer).output
        if number not in self._inner:
            self._inner[number] = RelevanceAnalyzer(
                f"{self.method} at {layer}", self.wrapped, self.graph,
                self._target, {**self.options, "at": layer}, number,
            )  # fmt: skip
            self._inner[number].jit_compile = self.jit_compile
            self._inner[number].recompute = self.recompute
        return self._inner[number].analyze(x, target, batch_size)

    def residual(self, x: Any, target: Any = None, batch_size: int = 32) -> Residual:
        """Return the relevance that each step absorbs; `print` shows the largest.

        Args:
            x: As for `analyze`.
            target: As for `analyze`.
            batch_size: As for `analyze`.

        Raises:
            OptionError: The method propagates multipliers, which are not conserved.
        """
        if self.graph.preset.baseline is not None:
            raise OptionError(
                f"{self.method} propagates multipliers, which are not conserved.",
                "the difference that its relevance leaves unexplained",
                'analyze(x).extra["completeness"]',
            )
        if self.graph.conditions:
            raise OptionError(
                f"The analyzer has conditions at {self.graph.conditions}, which leave "
                "out relevance on purpose.",
                "an analyzer without conditions",
                "conditions=None",
            )
        inputs = self.wrapped.checked(x)
        target = self._target if target is None else target
        goal = self.wrapped.goal(target, inputs)
        goal, set_masks = self.wrapped.with_variable(goal)
        absorbed = self._absorbed(inputs, goal.target_fn)
        plan = self.graph.at([v.shape for v in self.wrapped.sample(inputs)]).plan
        tables = []
        for r in cut(inputs, max(1, batch_size // goal.indices.shape[1])):
            set_masks(r)
            tables.append(absorbed(goal.indices[r], *(v[r] for v in inputs)))
        return residual(plan, tables, not goal.axes)

    def _absorbed(self, inputs: Inputs, target_fn: Function | None) -> Function:
        """Return `RelevanceModel.absorbed`, compiled."""
        key = (target_fn, *signature(self.wrapped.specs, inputs))

        def build() -> Function:
            model = self.graph_for(target_fn)
            return compiled(
                lambda t, *xs: model.absorbed(self.wrapped.prepared(list(xs)), t),
                self._specs(inputs, False),
            )

        found: Function = self._tables.get(key, build)
        return found

    def graph_for(self, target_fn: Function | None) -> RelevanceModel:
        """Return the graph that explains `target_fn(outputs)`, or a class if None."""
        if target_fn is None:
            return self.graph
        program = self.graph.program
        head = of_function(
            on_program(target_fn, program),
            self.graph.head,
            lambda z: explained_outputs(program, z),
        )
        return self.graph.with_head(head)

    def _specs(self, inputs: Inputs, single_target: bool) -> list[tf.TensorSpec]:
        """Return the signature of a compiled function (target, *inputs)."""
        target = tf.TensorSpec((None, 1 if single_target else None), tf.int32)
        return [target, *signature(self.wrapped.specs, inputs)]

    def _propagation(
        self, inputs: Inputs, target_fn: Function | None, single_target: bool
    ) -> Function:
        """Return the compiled function that `Analyzer` calls for each batch."""
        model = self.graph_for(target_fn)
        function = on_program(target_fn, model.program)
        tick = Ticker() if self.recompute else None
        if tick is not None and model.preset.baseline is not None:
            raise OptionError(
                f"recompute=True, and {self.method!r} keeps every tensor at the "
                "baseline.",
                "a method without a baseline",
                'method="lrp.attn"',
            )

        def propagate(target: Tensor, *xs: Tensor) -> dict[str, Any]:
            prepared = self.wrapped.prepared(list(xs))
            baseline = self.starts
            if baseline is not None:
                known = model.preset.background
                raw = baseline if known else baselines(baseline, list(xs))
                baseline = self.wrapped.prepared([tf.convert_to_tensor(v) for v in raw])
            result = model.propagate(
                prepared, target, self._at, baseline, tick,
                lambda y, t: select_scores(y, t, function)[0],
            )  # fmt: skip
            result = _with_score(result, function)
            result["each"] |= _outside(model, prepared)
            return result

        own = target_fn is None and model.built_in and tick is None
        first = few if own and self.wrapped.stepwise(inputs) else None
        run = compiled(propagate, self._specs(inputs, single_target), first)
        program = model.program.at([v.shape for v in self.wrapped.sample(inputs)])
        return passing(self.method, program, lambda b, t, _: run(t, *b), tick)


def build(
    recipe: AnalyzerSpec,
    wrapped: ModelWrapper,
    *,
    target: Any = None,
    relu: bool = False,
    rules: Mapping[str, Any] | None = None,
    input_layer_rule: Any = None,
    preset: P.Preset | None = None,
    head: Any = None,
    batch_norm: str = "fold",
    conditions: Any = None,
    at: Any = None,
    positions: bool = False,
    **options: Any,
) -> RelevanceAnalyzer:
    """Return the analyzer of a relevance method for a model.

    Args:
        recipe: Row of the table of methods.
        wrapped: Model to explain.
        target: Target to explain where `analyze` gets none.
        relu: Return only the positive part of the relevance.
        rules: Rules that replace those of the preset, {kind or layer name: rule}. A
            name that is both a kind and a layer, as "dense" often is, means both.
        input_layer_rule: Rule of the first layer, its name, or (low, high) for z_box.
        preset: Preset that replaces the method's own, see `tfxai.relevance.presets`.
        batch_norm: "fold" merges BatchNormalization into the linear neighbour, "rule"
            makes it a step with its own rule.
        head: Head that replaces the method's own: a head, its name, or a function
            `(logits, target) -> relevance of the outputs`.
        conditions: Conditional relevance: only what passes through the chosen channels
            of each layer. Maps layers to lists of channels, `{"block3": [12, 40]}`, to
            lists of indices, `[(3, 4, 12)]`, or to masks of floats that broadcast to
            the output of one sample, such as (heads, 1, 1) of attention weights. A list
            of such mappings returns one map for each, (B, sets, ...), from one pass
            forward.
        at: Layer whose output is explained: its name, its number in `model.layers`, or
            the layer. None is the input.
        positions: Position encodings of a transformer are inputs as well:
            `extra["positions"]` is the relevance of each position, (B, length). It
            takes part in tables that are added to tokens, and half at rotary encodings
            (Bakish et al. 2025, arXiv:2506.02138).
        options: Options of the method's preset and head.

    Raises:
        OptionError: The value of an option is out of range, or two layers of
            `conditions` are parallel.
        ModelError: The head contrasts classes, and the model has one output or
            rearranges its classes.

    Warns:
        OtherOutputWarning: The head needs a softmax, and the model ends in a sigmoid.
        UnusedOptionWarning: Another option replaces every rule that reads an option.
    """
    given = _own(recipe.preset, options)
    own = recipe.preset(**given)
    preset = own if preset is None else preset
    if input_layer_rule is not None:
        preset = preset.replace(first=input_layer_rule)
    head = _head(recipe, head, options)
    program = wrapped.program(batch_norm)
    _check_head(head, program)
    if preset.background:
        replaced, preset = preset is not own, with_background(preset, wrapped)
        own = own if replaced else preset
    if preset.baseline is not None:
        wrapped.embedding_cut_of(program)  # tokens must go straight into an embedding
    masks = None
    if conditions is not None:
        masks = sets_of(wrapped.model, program, conditions)
        if by_channel(conditions):
            wrapped.check_channels_last("conditions")
    if positions:
        _check_positions(preset)
    graph = RelevanceModel(
        wrapped.model, program, preset, head, rules, relu, masks, positions
    )
    warn_unused(recipe.name, recipe.preset, given, own, preset, graph.plan)
    warn_shadowed(recipe.name, rules or {}, preset, graph.plan)
    shown = {k: v for k, v in options.items() if k != "background"}
    number = None
    if at is not None:
        step = layer_step(wrapped.model, program, at)
        number, shown["at"] = step.output, step.name
    return RelevanceAnalyzer(recipe.name, wrapped, graph, target, shown, number)


def _check_positions(preset: P.Preset) -> None:
    """Raise OptionError where position encodings have no relevance."""
    rule = preset.rule("add")
    if preset.baseline is not None or rule is None or rule.name == R.gradient.name:
        raise OptionError(
            "positions=True, and the method propagates gradients or changes from a "
            "baseline, at which the positions are the same.",
            "a method of relevance",
            'method="lrp.attn", positions=True',
        )


def _check_head(head: Head, program: Program) -> None:
    """Raise ModelError or warn if the head does not fit the model's output."""
    if head.needs_class and program.rearranged:
        raise ModelError(
            f"The model rearranges its classes after its {program.link}, so the head "
            f"{head.name!r} cannot know which of them belong together.",
            "a model whose last axis is the axis of the classes",
            'method="lrp.epsilon"',
        )
    two_classes = has_two_classes(program)
    if head.needs_class and two_classes and not head.link:
        raise ModelError(
            "The model ends in one sigmoid: its two classes have the logits z and -z, "
            f"and the head {head.name!r} has nothing to contrast.",
            "a model of one logit per class",
            'method="lrp.epsilon", or method="sglrp"',
        )
    if head.needs_class and program.output_shape[-1] == 1 and not two_classes:
        raise ModelError(
            f"The model has one output, and the head {head.name!r} contrasts a class "
            "with the others.",
            "a model of two classes or more",
            'method="lrp.epsilon"',
        )
    if head.link == "softmax" and program.link == "sigmoid" and not two_classes:
        warnings.warn(
            f"The head {head.name!r} starts from the gradient of a softmax, but the "
            "model ends in a sigmoid, whose classes are independent of each other. Use "
            "a model that ends in a softmax or returns its logits; or write "
            'method="clrp" to contrast a class with the others, or method="lrp".',
            OtherOutputWarning,
            stacklevel=3,
        )


def _with_score(result: dict[str, Any], target_fn: Function | None) -> dict[str, Any]:
    """Return the result with the score instead of the logits.

    With a baseline, "change" is the score minus the score at the baseline, and
    "completeness" the sum of the relevance minus that change.
    """
    result.pop("prediction")
    score, target = select_scores(result.pop("logits"), result["target"], target_fn)
    before = result.pop("baseline_score", None)
    if before is not None:
        sums = [tf.reduce_sum(r, range(2, len(r.shape))) for r in result["relevance"]]
        result["change"] = score - before
        result["completeness"] = tf.transpose(tf.add_n(sums)) - result["change"]
    return {**result, "score": score, "target": target}


def _outside(model: RelevanceModel, xs: list[Tensor]) -> dict[str, Tensor]:
    """Return how far each sample (B,) leaves the interval of the box rule."""
    boxes = [p.rule.options for p in model.plan if p.rule.name == "z_box" and p.first]
    bounds = [(b.get("low"), b.get("high")) for b in boxes]
    gaps = [low - x for low, _ in bounds for x in xs if low is not None]
    gaps += [x - high for _, high in bounds for x in xs if high is not None]
    if not gaps:
        return {}
    largest = [tf.reduce_max(as_rows(g), 1) for g in gaps]
    return {"outside": tf.nn.relu(tf.reduce_max(tf.stack(largest), 0))}


def _warn_outside(e: Explanation) -> None:
    """Warn if an input leaves the interval of the box rule."""
    outside = e.extra.get("outside", np.zeros(1))
    if outside.max() > 0:
        warnings.warn(
            f"{e.method}: the network's input leaves [low, high] by up to "
            f"{outside.max():.3g} in {int((outside > 0).sum())} sample(s), but the box "
            "rule is for inputs inside. Pass the low and high of the network's input "
            "(after preprocess), or omit both to use the range of each sample.",
            OutOfBoundsWarning,
            stacklevel=3,
        )


def of_function(
    target_fn: Function, base: Head, outputs_of: Function = tf.identity
) -> Head:
    """Return a head that explains `target_fn(outputs) -> (B,)` instead of one class.

    Args:
        target_fn: Function of the explained outputs.
        base: Head that is applied to the gradient of the function.
        outputs_of: (logits) -> the explained outputs.

    Raises:
        TargetError: The head `base` contrasts one class with the others.
    """
    if base.merge is not None or base.needs_class:
        raise TargetError(
            f"The head {base.name!r} contrasts one class with the others, and a target "
            "function selects no class.",
            "a class index",
            'method="lrp.epsilon", or target=340',
        )

    def head(logits: Activation, target: Tensor) -> Any:
        y = tf.convert_to_tensor(logits)
        with tf.GradientTape() as tape:
            tape.watch(y)
            score = apply_target_fn(target_fn, outputs_of(y))
        gradient = tape.gradient(score, y)[None]
        return base.function(logits, gradient, **base.options)

    return Head(f"{base.name}_of_function", head)


def _head(recipe: AnalyzerSpec, head: Any, options: Mapping[str, Any]) -> Head:
    """The head that is given, or the method's own with its options."""
    own = _own(recipe.head, options)
    if head is None:
        return recipe.head(**own)
    without = set(own) - set(inspect.signature(recipe.preset).parameters)
    if without:
        raise OptionError(
            f"head={head!r} together with {sorted(without)}, which belong to the own "
            f"head of {recipe.name!r}.",
            "one of the two; the options of a head are set by calling it",
            "head=mine(...)",
        )
    return find_head(head)


def _own(function: Function, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are parameters of the function."""
    known = inspect.signature(function).parameters
    return {k: v for k, v in options.items() if k in known}


def method_of(recipe: AnalyzerSpec) -> MethodSpec:
    """Return the method of a preset and a head, for `core.registry.register`."""

    def make(wrapped: ModelWrapper, **options: Any) -> RelevanceAnalyzer:
        return build(recipe, wrapped, **options)

    return MethodSpec(
        recipe.name,
        recipe.family,
        recipe.summary,
        NEEDS + recipe.needs,
        recipe.paper,
        make,
        (recipe.preset, recipe.head, build),
        limits=recipe.limits,
        also_in=recipe.also_in,
        cost=recipe.cost,
    )


for _recipe in ANALYZERS:
    register(method_of(_recipe))
