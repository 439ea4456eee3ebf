"""Add your own rules, heads, layers, methods, metrics and segmenters.

A rule, for example::

    from tfxai import extend

    @extend.rule("absolute")
    def absolute(linear, x, r):
        ...

Each function registers a name, as a decorator or as a call; the name then works
wherever the names of this package do. Options, defaults and descriptions are read from
the signature and the docstring (`Args:`). A name that exists raises OptionError, unless
`replace=True`.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.options import summary_of
from tfxai.base.registry import Registry
from tfxai.core.analyzer import Analyzer
from tfxai.core.registry import METHODS, MethodSpec
from tfxai.gradient.base import analyzer as gradient_analyzer
from tfxai.graph import registered as layers
from tfxai.graph.step import KINDS, Step
from tfxai.metrics.registry import METRICS
from tfxai.metrics.registry import row as metric_row
from tfxai.relevance import presets
from tfxai.relevance.analyzer_table import AnalyzerSpec
from tfxai.relevance.analyzers import method_of
from tfxai.relevance.heads import (
    HEADS,
    Head,
    Merge,
    balanced_difference,
    configurable,
    of_tensors,
)
from tfxai.relevance.heads import find as find_head
from tfxai.relevance.presets import Preset
from tfxai.relevance.registry import RULES, Rule
from tfxai.sampling.copies import sampling_analyzer
from tfxai.sampling.segments import SEGMENTERS, Segmenter

__all__ = [
    "Analyzer",
    "Head",
    "Preset",
    "Rule",
    "Step",
    "analyzer",
    "balanced_difference",
    "gradient_analyzer",
    "head",
    "layer",
    "metric",
    "presets",
    "restored",
    "rule",
    "sampling_analyzer",
    "segmenter",
]

F = TypeVar("F", bound=Callable[..., Any])
V = TypeVar("V")
#: All registries that users can extend.
REGISTRIES: tuple[Registry[Any, Any], ...] = (
    RULES, HEADS, layers.ROWS, KINDS, METHODS, METRICS, SEGMENTERS,
)  # fmt: skip


@contextmanager
def restored() -> Iterator[None]:
    """Return a context after which all registries are as before, for tests."""
    with ExitStack() as stack:
        for registry in REGISTRIES:
            stack.enter_context(registry.restored())
        yield


def rule(
    name: str, function: Callable[..., Any] | None = None, *, replace: bool = False
) -> Any:
    """Register a relevance rule; return it, or a decorator.

    A rule is a function `(linear, x, r, **options)` that returns the relevance of the
    step's inputs. `linear(x)` is W x + b, `linear.T(s)` is W^T s; `x` is what the step
    reads (`x.values`, a list of tensors), `r` the relevance of its output (`r.tensor`).

    Args:
        name: What `rules=` and `Preset.replace` take.
        function: The function; without it a decorator is returned.
        replace: Exchange a rule of the same name.

    Raises:
        OptionError: The name exists, or the function does not take (linear, x, r).

    Example:
        >>> @extend.rule("absolute")
        ... def absolute(linear, x, r):
        ...     sizes, weights = abs(x.values[0]), linear.map(tf.abs, bias=False)
        ...     shares = tf.math.divide_no_nan(r.tensor, weights(sizes))
        ...     return sizes * weights.T(shares)
    """

    def put(function: Callable[..., Any]) -> Rule:
        _check_arguments("rule", name, function, "linear, x, r")
        return _registered(RULES, name, Rule(name, function), replace)

    return _applied(put, function, "rule", name)


def head(
    name: str,
    function: Callable[..., Any] | None = None,
    *,
    merge: Merge | None = None,
    needs_class: bool = False,
    link: str = "",
    replace: bool = False,
) -> Any:
    """Register a head, where propagation starts; return it, or a decorator.

    A head is a function `(logits, target, **options)` that returns the relevance of the
    outputs: a seed of shape (T, B, n), or (B, n) for all targets alike. `logits` are
    (B, n), `target` is one-hot, (T, B, n) for T targets. It may return a list of seeds;
    `merge` then computes the relevance from that of each seed.

    Args:
        name: What `create_analyzer(..., head=name)` takes.
        function: The function; without it a decorator is returned.
        merge: (relevance of the first seed, of the second, ...) -> relevance. Each is a
            list of tensors (T, B, ...), one per input of the model.
        needs_class: The head contrasts one class with the others, so that a function of
            the outputs cannot be a target.
        link: "softmax" for a head that starts from the gradient of a softmax.
        replace: Exchange a head of the same name.

    Raises:
        OptionError: The name exists, or the function does not take (logits, target).

    Example:
        >>> @extend.head("target_only")
        ... def target_only(logits, target):
        ...     return logits * target
    """

    def put(function: Callable[..., Any]) -> Head:
        _check_arguments("head", name, function, "logits, target")
        result = of_tensors(name, function, merge, needs_class, link)
        return _registered(HEADS, name, result, replace)

    return _applied(put, function, "head", name)


def layer(
    *classes: type | str,
    kind: str | None = None,
    new_kinds: Mapping[str, str] | None = None,
    moves: bool = False,
    replace: bool = False,
) -> Any:
    """Register how a layer is propagated through: its kind, or a decorator.

    A layer of one step has one kind, `extend.layer(Halve, kind="activation")`. For a
    layer of several steps decorate a function `(layer, call, arguments)` that
    returns a list of `Step`; each step reads the output of the previous step.
    `call(inputs)` runs the layer itself; `arguments.args` and `arguments.kwargs` are
    what the layer is called with, a `tf.TensorSpec` for each tensor. A layer of
    operations that have a rule need not be registered. Register a layer before the
    model is wrapped.

    Args:
        classes: Layer classes, or types of TensorFlow operations ("Cumprod"), as the
            error for an operation without a rule names them.
        kind: The kind of the one step, of `docs/layers.md` or `new_kinds`.
        new_kinds: Kinds that this package does not have, with a description each.
            `rules={kind: rule}` or `Preset.replace(kind=rule)` gives them a rule.
        moves: The layer only moves values, also tokens.
        replace: Exchange the row of a class.

    Raises:
        OptionError: A class has a row, or the kind is not known.
    """
    if not classes or not all(isinstance(c, type | str) for c in classes):
        raise OptionError(
            f"extend.layer{classes!r}.", "layer classes", "@extend.layer(MyLayer)"
        )
    for name, text in (new_kinds or {}).items():
        if KINDS.get(name) != text:
            KINDS.register(name, text, replace)
    put: Any = layers.register(*classes, moves=moves, replace=replace)
    if kind is None:
        return put
    KINDS[kind]  # raises UnknownNameError

    def row(layer: Any, call: Any, arguments: Any) -> list[Step]:
        return [Step("", kind, call)]

    return put(row)


def analyzer(
    name: str,
    builder: Callable[..., Analyzer] | None = None,
    *,
    preset: Preset | Callable[..., Preset] | None = None,
    head: Head | Callable[..., Any] | str | None = None,
    summary: str = "",
    family: str = "",
    needs: str = "",
    paper: str = "",
    forwards: Sequence[Callable[..., Any]] = (),
    replace: bool = False,
) -> Any:
    """Register a method: a preset and a head, or a builder of analyzers.

    A builder is a function `(wrapped, **options)` that returns an `Analyzer`, for
    example by `sampling_analyzer`. Its options are parameters with a default, and
    keyword-only ones.

    Args:
        name: What `create_analyzer` takes.
        builder: The function; without it (and a preset) a decorator is returned.
        preset: Which rule each kind of step gets: a preset, or a function of options.
        head: Where propagation starts: a head, its name, or a function.
        summary: One line that says what it computes; "" reads it from the docstring.
        family: The group in which it is listed; "relevance" for a preset.
        needs: What the model must offer.
        paper: Where it is published.
        forwards: Functions to which the builder passes its `**options` on.
        replace: Exchange a method of the same name.

    Raises:
        OptionError: The name exists, or the builder cannot be called.

    Example:
        >>> extend.analyzer("mine", preset=extend.presets.epsilon, head="one_hot")
    """
    if preset is not None:
        if builder is not None:
            raise OptionError(
                f"extend.analyzer({name!r}) has a builder and a preset.", "one of both"
            )
        spec = _of_preset(name, preset, head, summary, family or "relevance", paper)
        return _registered(METHODS, name, spec, replace)

    def put(builder: Callable[..., Analyzer]) -> Callable[..., Analyzer]:
        _check_builder(name, builder)
        spec = MethodSpec(
            name,
            family or "other",
            summary or summary_of(builder),
            needs or "any model",
            paper,
            builder,
            tuple(forwards),
        )
        _registered(METHODS, name, spec, replace)
        return builder

    return _applied(put, builder, "analyzer", name)


def metric(
    name: str,
    function: Callable[..., np.ndarray] | None = None,
    *,
    better: str,
    paper: str = "",
    how_to_read: str = "",
    bad: str = "",
    needs: Sequence[str] = (),
    replace: bool = False,
) -> Any:
    """Register a metric; return its function, or a decorator.

    A metric is a function `(context, **options)` that returns one number per sample,
    (B,). `context` has the images `x` (B, H, W, C), their `heatmaps` (B, H, W), the
    `target` (B,), the `logits`, and `wrapped`, the model.

    Args:
        name: What `tfxai.compare(metrics=[name])` takes.
        function: The function; without it a decorator is returned.
        better: "higher" or "lower".
        paper: Where it is published.
        how_to_read: Its range, and which values are good.
        bad: How a bad explanation shows in it.
        needs: What it requires: "boxes", "analyzer".
        replace: Exchange a metric of the same name.

    Raises:
        OptionError: The name exists, or `better` is not one of the two.
    """
    if better not in ("higher", "lower"):
        raise OptionError(f"better={better!r}.", '"higher" or "lower"')
    METRICS.load()
    put = metric_row(better, paper, how_to_read, bad, tuple(needs), name, replace)
    return _applied(put, function, "metric", name)


def segmenter(
    name: str,
    function: Callable[..., np.ndarray] | None = None,
    *,
    images: bool = True,
    replace: bool = False,
) -> Any:
    """Register a segmenter of LIME, the Shapley values and C-Shapley.

    A segmenter is a function `(x, **options)` of one input (..., C) that returns whole
    numbers of its spatial shape: the number of the segment of each position.

    Args:
        name: What `segmenter=` takes.
        function: The function; without it a decorator is returned.
        images: It takes images (H, W, C) only.
        replace: Exchange a segmenter of the same name.

    Raises:
        OptionError: The name exists.
    """

    def put(function: F) -> F:
        _registered(SEGMENTERS, name, Segmenter(function, images), replace)
        return function

    return _applied(put, function, "segmenter", name)


def _registered(registry: Registry[str, V], name: str, value: V, replace: bool) -> V:
    """Register after the entries of this package, so that duplicates are found."""
    registry.load()
    return registry.register(name, value, replace)


def _applied(
    put: Callable[[Any], Any], function: Callable[..., Any] | None, kind: str, name: Any
) -> Any:
    """The decorator, or its result for a function that is given."""
    if not isinstance(name, str) or not name:
        raise OptionError(
            f"extend.{kind}({name!r}).",
            "a name, and then the function",
            f'@extend.{kind}("mine")',
        )
    return put if function is None else put(function)


def _check_arguments(
    kind: str, name: str, function: Callable[..., Any], arguments: str
) -> None:
    """Raise OptionError for a function that does not take the `arguments` of a kind."""
    try:
        inspect.signature(function).bind_partial(*arguments.split(", "))
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"The {kind} {name!r} cannot be called ({error}).",
            f"a function ({arguments}, **options)",
            f"def {kind}({arguments}, option=1): ...",
        ) from error


def _of_preset(
    name: str, preset: Any, head: Any, summary: str, family: str, paper: str
) -> MethodSpec:
    """The method of a preset and a head."""
    if not isinstance(preset, Preset) and not callable(preset):
        raise OptionError(
            f"preset={preset!r}.",
            "a preset, or a function that returns one",
            "preset=extend.presets.epsilon",
        )
    given = preset
    chosen = (lambda: given) if isinstance(given, Preset) else given
    text = summary or summary_of(chosen) or f"a preset of the user, {name}"
    own = configurable(find_head("one_hot" if head is None else head))
    return method_of(AnalyzerSpec(name, text, chosen, own, paper, family))


def _check_builder(name: str, builder: Callable[..., Any]) -> None:
    """Raise OptionError for a builder that cannot be called with a model alone."""
    try:
        signature = inspect.signature(builder)
        keywords = [
            p.name
            for p in signature.parameters.values()
            if p.kind is p.KEYWORD_ONLY and p.default is p.empty
        ]
        signature.bind(None, **dict.fromkeys(keywords))
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"The builder of the method {name!r} cannot be called ({error}).",
            "a function of the wrapped model, whose options have defaults",
            f"def build(wrapped, option=1): ..., below @extend.analyzer({name!r})",
        ) from error
