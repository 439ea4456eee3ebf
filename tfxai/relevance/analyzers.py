"""The relevance analyzers: program + preset + head, compiled and batched."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.base.errors import (
    ModelError,
    OptionError,
    OtherOutputWarning,
    OutOfBoundsWarning,
    TargetError,
)
from tfxai.base.tensors import Tensor, as_rows
from tfxai.core.analyzer import Analyzer
from tfxai.core.baselines import baselines
from tfxai.core.embedding_cut import score_of, scored
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import compiled, cut, signature
from tfxai.core.model import ModelWrapper
from tfxai.core.registry import MethodSpec, register
from tfxai.core.targets import resolve
from tfxai.relevance import presets as P
from tfxai.relevance.algebra import Activation
from tfxai.relevance.analyzer_table import ANALYZERS, AnalyzerSpec
from tfxai.relevance.heads import Head
from tfxai.relevance.heads import find as find_head
from tfxai.relevance.relevance_model import RelevanceModel
from tfxai.relevance.residual import Residual, residual

NEEDS = "a Keras model made of Keras layers and ops"


class RelevanceAnalyzer(Analyzer):
    """An analyzer by propagation. `graph` is the Keras model that returns relevance.

    `graph` takes what the network takes: `preprocess` is not in it.
    """

    def __init__(
        self,
        name: str,
        wrapped: ModelWrapper,
        graph: RelevanceModel,
        target: Any = None,
        options: Mapping | None = None,
        jit_compile: bool = False,
        at: int | None = None,
    ) -> None:
        super().__init__(name, wrapped, self._maker, target, options, _warn_outside)
        self.graph, self._jit, self._at = graph, jit_compile, at
        self._inner: dict[int, RelevanceAnalyzer] = {}
        self._tables: dict[Any, Callable] = {}

    def coverage(self) -> list[dict[str, str]]:
        """Every step of the network, input to output: its layer, kind and rule."""
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
        """The relevance of a layer's output, (B, ...); `inputs` is that output.

        layer: a name of `coverage()`. Raises UnknownNameError for no such step.
        """
        number = self.graph.program.find(layer).output
        if number not in self._inner:
            self._inner[number] = RelevanceAnalyzer(
                f"{self.method} at {layer}", self.wrapped, self.graph,
                self._target, self.options, self._jit, number,
            )  # fmt: skip
        e = self._inner[number].analyze(x, target, batch_size)
        extra = dict(e.extra)
        return replace(e, inputs=extra.pop("values"), extra=extra)

    def residual(self, x: Any, target: Any = None, batch_size: int = 32) -> Residual:
        """What biases, stabilisers and softmaxes absorb, by step; print it to read it.

        Arguments as for `analyze`.
        """
        if self.graph.preset.reference is not None:
            raise OptionError(
                f"{self.method} carries multipliers, of which nothing is conserved.",
                'what it leaves unexplained: analyze(x).extra["completeness"]',
            )
        inputs = self.wrapped.checked(x)
        target = self._target if target is None else target
        goal = resolve(target, len(inputs[0]), self.wrapped.output_shape(inputs))
        if goal.function not in self._tables:
            model = self.rewritten(goal.function)
            self._tables[goal.function] = compiled(
                lambda t, *xs: model.absorbed(self.wrapped.prepared(list(xs)), t),
                self._specs(inputs, False),
            )
        ask = self._tables[goal.function]
        rows = list(cut(inputs, max(1, batch_size // goal.indices.shape[1])))
        tables = [ask(goal.indices[r], *(v[r] for v in inputs)) for r in rows]
        return residual(self.graph.plan, tables, not goal.axes)

    def rewritten(self, function: Callable | None) -> RelevanceModel:
        """The graph that explains `function(outputs)`, or a class without one."""
        if function is None:
            return self.graph
        return self.graph.with_head(of_function(function, self.graph.head))

    def _specs(self, inputs: list, one: bool) -> list[tf.TensorSpec]:
        goal = tf.TensorSpec((None, 1 if one else None), tf.int32)
        return [goal, *signature(self.wrapped.specs, inputs)]

    def _maker(self, inputs: list, function: Callable | None, one: bool) -> Callable:
        model = self.rewritten(function)

        def maps(target: Tensor, *xs: Tensor) -> dict[str, Any]:
            seen = self.wrapped.prepared(list(xs))
            start = model.preset.reference
            if start is not None:
                start = self.wrapped.prepared(baselines(start, list(xs)))
            made = model.maps(seen, target, self._at, start)
            made = _with_score(made, function)
            made["each"] |= _outside(model, seen)
            return made

        run = compiled(maps, self._specs(inputs, one), self._jit)
        return lambda batch, target, max_batch: run(target, *batch)


def build(
    recipe: AnalyzerSpec,
    wrapped: ModelWrapper,
    *,
    target: Any = None,
    relu: bool = False,
    rules: Mapping | None = None,
    input_layer_rule: Any = None,
    preset: P.Preset | None = None,
    head: Any = None,
    batch_norm: str = "fold",
    jit_compile: bool = False,
    **options: Any,
) -> RelevanceAnalyzer:
    """Program + preset + head -> analyzer.

    target: what to explain where `analyze` is not told.
    relu: keep the positive part of the maps.
    rules: {kind or layer name: rule}, stronger than the preset; a word that is both, as
        "dense" often is, means both.
    input_layer_rule: a rule for the first layer, its name, or (low, high) for z_box.
    preset: a value to take instead of the analyzer's own, of `tfxai.relevance.presets`.
    head: a head to take instead of the method's own, its name, or a function
        `(logits, target) -> relevance of the outputs`.
    batch_norm: "fold" into the linear neighbour, or "rule" for a step of its own.
    jit_compile: compile by XLA (for GPUs; on CPUs it was measured slower).
    """
    own = recipe.preset(**_own(recipe.preset, options))
    preset = own if preset is None else preset
    if input_layer_rule is not None:
        preset = preset.replace(first=input_layer_rule)
    head = _head(recipe, head, options)
    program = wrapped.program(batch_norm)
    if head.needs_class and program.rearranged:
        raise ModelError(
            f"The model moves its classes about behind its {program.link}, so that the "
            f"head {head.name!r} cannot tell which belong together.",
            "a model whose last axis is that of its classes",
            'method="lrp.epsilon"',
        )
    if head.needs_class and program.output_shape[-1] == 1:
        raise ModelError(
            f"The model has one output, and the head {head.name!r} sets a class "
            "against the others.",
            "a model of two classes or more",
            'method="lrp.epsilon"',
        )
    if head.link == "softmax" and program.link == "sigmoid":
        warnings.warn(
            f"The head {head.name!r} starts from the slope of a softmax, and the model "
            "ends in a sigmoid: its classes do not take from one another. Give a model "
            "that ends in a softmax, or in its logits; or write "
            'method="clrp" to hold a class against the others, or method="lrp".',
            OtherOutputWarning,
            stacklevel=2,
        )
    if preset.reference is not None:
        wrapped.entrance_of(program)  # tokens must go straight into an embedding
    graph = RelevanceModel(wrapped.model, program, preset, head, rules, relu)
    return RelevanceAnalyzer(recipe.name, wrapped, graph, target, options, jit_compile)


def _with_score(made: dict[str, Any], function: Callable | None) -> dict[str, Any]:
    """The score in place of logits; against a baseline, what is left unexplained."""
    made.pop("prediction")
    score, target = scored(made.pop("logits"), made["target"], function)
    before = made.pop("before", None)
    if before is not None:
        there, _ = scored(before, target, function)
        total = [tf.reduce_sum(m, range(2, len(m.shape))) for m in made["relevance"]]
        made["change"] = score - there
        made["completeness"] = tf.transpose(tf.add_n(total)) - made["change"]
    return {**made, "score": score}


def _outside(model: RelevanceModel, xs: list[Tensor]) -> dict[str, Tensor]:
    """How far each sample (B,) leaves the interval that the box rule was told."""
    boxes = [p.rule.options for p in model.plan if p.rule.name == "z_box" and p.first]
    bounds = [(b.get("low"), b.get("high")) for b in boxes]
    gaps = [low - x for low, _ in bounds for x in xs if low is not None]
    gaps += [x - high for _, high in bounds for x in xs if high is not None]
    if not gaps:
        return {}
    most = [tf.reduce_max(as_rows(g), 1) for g in gaps]
    return {"outside": tf.nn.relu(tf.reduce_max(tf.stack(most), 0))}


def _warn_outside(e: Explanation) -> None:
    outside = e.extra.get("outside", np.zeros(1))
    if outside.max() > 0:
        warnings.warn(
            f"{e.method}: the network's input leaves [low, high] by up to "
            f"{outside.max():.3g} in {int((outside > 0).sum())} sample(s), and the box "
            "rule is for inputs inside. Give the low and high of the network's input "
            "(after preprocess), or leave both out to use each sample's own range.",
            OutOfBoundsWarning,
            stacklevel=3,
        )


def of_function(function: Callable, base: Head) -> Head:
    """A head that explains `function(outputs) -> (B,)` instead of one class."""
    if base.merge is not None or base.needs_class:
        raise TargetError(
            f"The head {base.name!r} contrasts one class with the others; a function "
            "names no class.",
            "a class index",
            'method="lrp.epsilon", or target=340',
        )

    def head(logits: Activation, target: Tensor):
        y = tf.convert_to_tensor(logits)
        with tf.GradientTape() as tape:
            tape.watch(y)
            score = score_of(function, y)
        slope = tape.gradient(score, y)[None]
        return base.function(logits, slope, **base.options)

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


def _own(function: Callable, options: Mapping) -> dict[str, Any]:
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
        NEEDS,
        recipe.paper,
        make,
        (recipe.preset, recipe.head, build),
    )


for _recipe in ANALYZERS:
    register(method_of(_recipe))
