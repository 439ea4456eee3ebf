"""The relevance analyzers: a table of name, preset, head and paper.

A new analyzer is one more row. Its options are the arguments of its preset and of its
head, and those that every row has (`COMMON`).
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfxai.analyzer import Analyzer
from tfxai.arrays import Tensor
from tfxai.errors import ModelError, OutOfBoundsWarning, TargetError
from tfxai.explanation import Explanation
from tfxai.inputs import compiled, signature
from tfxai.model import Wrapped, score_of
from tfxai.registry import Row, register
from tfxai.relevance import heads as H
from tfxai.relevance import presets as P
from tfxai.relevance.heads import Head
from tfxai.relevance.rewrite import Rewritten
from tfxai.relevance.signal import Signal

BACH = "Bach et al. 2015, doi:10.1371/journal.pone.0130140"
MONTAVON = "Montavon et al. 2017, doi:10.1016/j.patcog.2016.11.008"
GU = "Gu, Yang and Tresp 2018, arXiv:1812.02100"
IWANA = "Iwana, Kuroki and Uchida 2019, arXiv:1908.04351"
NEEDS = "a Functional or Sequential Keras model"


@dataclass(frozen=True)
class Recipe:
    """How a relevance analyzer is made: functions of options -> preset, head."""

    name: str
    summary: str
    preset: Callable[..., P.Preset]
    head: Callable[..., Head]
    paper: str


class RelevanceAnalyzer(Analyzer):
    """An analyzer by propagation. `graph` is the Keras model that returns relevance."""

    graph: Rewritten

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


def build(
    recipe: Recipe,
    wrapped: Wrapped,
    *,
    target: Any = None,
    relu: bool = False,
    rules: Mapping | None = None,
    input_layer_rule: Any = None,
    batch_norm: str = "fold",
    jit_compile: bool = False,
    **options: Any,
) -> RelevanceAnalyzer:
    """Program + preset + head -> analyzer.

    target: what to explain where `analyze` is not told.
    relu: keep the positive part of the maps.
    rules: {kind or layer name: rule}, stronger than the preset.
    input_layer_rule: a rule for the first layer, its name, or (low, high) for z_box.
    batch_norm: "fold" into the linear neighbour, or "rule" for a step of its own.
    jit_compile: compile by XLA (for GPUs; on CPUs it was measured slower).
    """
    preset = recipe.preset(**_own(recipe.preset, options))
    if input_layer_rule is not None:
        preset = preset.replace(first=input_layer_rule)
    head = recipe.head(**_own(recipe.head, options))
    program = wrapped.program(batch_norm)
    if head.needs_class and program.rearranged:
        raise ModelError(
            f"The model moves its classes about behind its {program.link}, so that the "
            f"head {head.name!r} cannot tell which belong together.",
            "a model whose last axis is that of its classes",
            'method="lrp.epsilon"',
        )

    def rewrite(head: Head) -> Rewritten:
        return Rewritten(wrapped.model, program, preset, head, rules, relu)

    graph = rewrite(head)

    def make(inputs: list, function: Callable | None, one: bool) -> Callable:
        model = graph if function is None else rewrite(scored(function, head))
        specs = signature(wrapped.specs, inputs)

        def maps(target: Tensor, *xs: Tensor) -> dict[str, Any]:
            seen = wrapped.prepared(list(xs))
            # `call`, since Keras' own __call__ would bury our errors in its words.
            made = _with_score(model.call(seen, target), function)
            return {**made, **_outside(model, seen)}

        goal = tf.TensorSpec((None, 1 if one else None), tf.int32)
        run = compiled(maps, [goal, *specs], jit_compile)
        return lambda batch, target: run(target, *batch)

    analyzer = RelevanceAnalyzer(
        recipe.name, wrapped, make, target, options, _warn_outside
    )
    analyzer.graph = graph
    return analyzer


def _with_score(made: dict[str, Any], function: Callable | None) -> dict[str, Any]:
    logits = made.pop("logits")
    flat = tf.reshape(logits, [tf.shape(logits)[0], -1])
    if function is None:
        score = tf.gather(flat, made["target"], batch_dims=1)
    else:
        score = score_of(function, logits)[:, None]
    return {**made, "score": score}


def _outside(model: Rewritten, xs: list[Tensor]) -> dict[str, Tensor]:
    """How far each sample (B,) leaves the interval that the box rule was told."""
    boxes = [p.rule.options for p in model.plan if p.rule.name == "z_box" and p.first]
    bounds = [(b.get("low"), b.get("high")) for b in boxes]
    gaps = [low - x for low, _ in bounds for x in xs if low is not None]
    gaps += [x - high for _, high in bounds for x in xs if high is not None]
    if not gaps:
        return {}
    most = [tf.reduce_max(tf.reshape(g, [tf.shape(g)[0], -1]), 1) for g in gaps]
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


def scored(function: Callable, base: Head) -> Head:
    """A head that explains `function(outputs) -> (B,)` instead of one class."""
    if base.merge is not None or base.needs_class:
        raise TargetError(
            f"The head {base.name!r} contrasts one class with the others; a function "
            "names no class.",
            "a class index",
            'method="lrp.epsilon", or target=340',
        )

    def head(logits: Signal, target: Tensor):
        y = tf.convert_to_tensor(logits)
        with tf.GradientTape() as tape:
            tape.watch(y)
            score = score_of(function, y)
        slope = tape.gradient(score, y)[None]
        return base.function(logits, slope, **base.options)

    return Head(f"{base.name}_of_function", head)


def _own(function: Callable, options: Mapping) -> dict[str, Any]:
    known = inspect.signature(function).parameters
    return {k: v for k, v in options.items() if k in known}


def _parameters(*functions: Callable) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for function in functions:
        for name, p in inspect.signature(function).parameters.items():
            if p.kind is not p.VAR_KEYWORD:
                names[name] = None
    return tuple(n for n in names if n not in ("recipe", "wrapped"))


def contrast(balanced: Head, signed: Head) -> Callable[..., Head]:
    """A head with, or without, the per-sample rescaling of its dual map."""

    def head(scaling: bool = True, relu_logits: bool = False) -> Head:
        return (balanced if scaling else signed)(relu_logits=relu_logits)

    return head


clrp_head = contrast(H.contrastive, H.contrastive_difference)
sglrp_head = contrast(H.softmax_gradient, H.softmax_gradient_difference)


def signed_head(relu_logits: bool = False) -> Head:
    """SGLRP's signed seed, in one pass."""
    return H.softmax_gradient_difference(relu_logits=relu_logits)


def fixed(head: Head) -> Callable[[], Head]:
    """A head without options."""
    return lambda: head


def flat_a(epsilon: float = 0.1) -> P.Preset:
    """Preset A-flat."""
    return P.flat_first(P.sequential_a(epsilon))


def flat_b(epsilon: float = 0.1) -> P.Preset:
    """Preset B-flat."""
    return P.flat_first(P.sequential_b(epsilon))


RECIPES = (
    Recipe(
        "lrp.epsilon",
        "the epsilon rule in every layer; with a small epsilon, input x gradient of "
        "a ReLU network",
        P.epsilon, fixed(H.one_hot), BACH,
    ),
    Recipe(
        "deep_taylor",
        "positive contributions only, in every layer",
        P.deep_taylor, fixed(H.masked), MONTAVON,
    ),
    Recipe(
        "deep_taylor.bounded",
        "deep_taylor with the box rule for inputs in [low, high]",
        P.bounded, fixed(H.masked), MONTAVON,
    ),
    Recipe(
        "lrp",
        "the SGLRP repository's LRP: bounded deep Taylor of the target's logit",
        P.bounded, fixed(H.masked), IWANA,
    ),
    Recipe(
        "clrp",
        "contrastive LRP: the target minus the mean of all other classes",
        P.bounded, clrp_head, GU,
    ),
    Recipe(
        "sglrp",
        "softmax-gradient LRP: the target minus the others, by their probabilities",
        P.bounded, sglrp_head, IWANA,
    ),
    Recipe(
        "sglrp.sequential_preset_a",
        "SGLRP's seed through epsilon, alpha 1 beta 0 and flat rules",
        flat_a, signed_head, IWANA,
    ),
    Recipe(
        "sglrp.sequential_preset_b",
        "SGLRP's seed through epsilon, alpha 2 beta 1 and flat rules",
        flat_b, signed_head, IWANA,
    ),
)  # fmt: skip


def _row(recipe: Recipe) -> Row:
    def make(wrapped: Wrapped, **options: Any) -> RelevanceAnalyzer:
        return build(recipe, wrapped, **options)

    known = _parameters(recipe.preset, recipe.head, build)
    return Row(
        recipe.name, "relevance", recipe.summary, NEEDS, recipe.paper, make, known
    )


for _recipe in RECIPES:
    register(_row(_recipe))
