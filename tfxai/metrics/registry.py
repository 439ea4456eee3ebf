"""The registry of metrics, and `compute`, which evaluates one.

Each metric is a row: its name, which direction is better, its paper, what it needs,
and a function `MetricContext -> (B,)`. Every file of this folder can add rows with
`row`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.base.options import Option, read_options
from tfxai.base.registry import Registry, modules_of
from tfxai.base.validation import check_options
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper, wrap
from tfxai.metrics.metric_context import metric_context
from tfxai.metrics.views import RowAnalyzer, View, are_ids, kind_of, view

#: Arguments that a metric may need, and how to pass them.
NEEDS: Mapping[str, str] = {
    "boxes": "boxes=[[y0, x0, y1, x1], ...], or masks (B, H, W) of bool",
    "analyzer": "analyzer=tfxai.create_analyzer(e.method, model)",
}

#: The kinds of input of most metrics.
INPUTS = "images, series, tables and token ids"


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: Name of the metric.
        better: "higher" or "lower".
        paper: Reference.
        needs: Keys of `NEEDS`: the arguments that the metric requires.
        summary: One sentence that says what the metric is.
        how_to_read: The range of the values, and which are good.
        bad: How the values of a bad explanation look.
        function: (context, **options) -> float64 (B,), one number per sample.
        formula: The value as a formula; R is the heatmap, f the score.
        also_in: Other libraries that have it.
        cost: What one value costs.
        inputs: The kinds of input.
    """

    name: str
    better: str
    paper: str
    needs: tuple[str, ...]
    summary: str
    how_to_read: str
    bad: str
    function: Callable[..., np.ndarray]
    formula: str = ""
    also_in: str = ""
    cost: str = ""
    inputs: str = INPUTS

    @cached_property
    def options(self) -> Mapping[str, Option]:
        """The options, by name."""
        return read_options(self.function)


METRICS: Registry[str, Metric] = Registry(
    "metric",
    usage="tfxai.compare(model, x, methods, metrics=[{!r}])",
    modules=lambda: modules_of("tfxai.metrics"),
)


def register(metric: Metric, replace: bool = False) -> Metric:
    """Add a metric to `METRICS`, and return it."""
    return METRICS.register(metric.name, metric, replace)


def row(
    better: str,
    paper: str,
    how_to_read: str,
    bad: str,
    needs: tuple[str, ...] = (),
    name: str = "",
    replace: bool = False,
    **more: str,
) -> Callable[[Callable[..., np.ndarray]], Callable[..., np.ndarray]]:
    """Return a decorator that registers a function as a metric.

    The first line of its docstring is the summary.

    Args:
        better: "higher" or "lower".
        paper: Where it is published.
        how_to_read: Its range, and which values are good.
        bad: How a bad explanation shows in it.
        needs: The arguments of `compute` that it requires, names of `NEEDS`.
        name: The name of the metric; "" is that of the function.
        replace: Exchange a metric of the same name; else that is an OptionError.
        **more: `formula`, `also_in`, `cost` and `inputs` of `Metric`.
    """

    def registered(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        summary = (function.__doc__ or "").strip().partition("\n")[0]
        key = name or function.__name__
        texts = (summary, how_to_read, bad)
        metric = Metric(key, better, paper, needs, *texts, function, **more)
        register(metric, replace)
        return function

    return registered


def metrics() -> list[Metric]:
    """Return all metrics, by name."""
    return [METRICS[name] for name in sorted(METRICS)]


def lookup(name: str) -> Metric:
    """Return a metric by name.

    Raises:
        UnknownNameError: There is no such metric; the error suggests the nearest ones.
    """
    return METRICS[name]


def compute(
    name: str,
    model: Any,
    e: Explanation,
    preprocess: Callable[..., Any] | None = None,
    boxes: Any = None,
    analyzer: Any = None,
    batch_size: int = 32,
    seed: int = 0,
    **options: Any,
) -> np.ndarray:
    """Return a metric of an explanation, one number per sample.

    Of a table, a series or token ids, each feature, value or token is a pixel, and is
    replaced by the mean of its column or channel, or by the token 0. Random draws are
    the same for each sample. A constant heatmap has a value and a warning; a heatmap of
    zeros counts as a constant one.

    Args:
        name: Name of a metric, see `metrics()`.
        model: The model that was explained.
        e: An explanation of images, tables, series or token ids with one class per
            sample.
        preprocess: The preprocess that was used for `e`, or None.
        boxes: Location of the objects. [y0, x0, y1, x1] in fractions of the image, one
            or a list of them for each sample, or masks (B, H, W) of bool.
        analyzer: The analyzer that returned `e`, for metrics that explain again.
        batch_size: The largest batch of a forward pass.
        seed: The seed of all random draws.
        **options: Options of the metric, see `lookup(name).options`.

    Returns:
        An array float64 (B,).

    Raises:
        UnknownNameError: There is no such metric.
        OptionError: An option is unknown or out of range.
        InputError: The explanation does not fit the model, or boxes or the analyzer
            are missing.
        ModelError: The model reads channels first, or its outputs are not finite.

    Warns:
        NothingToExplainWarning: A heatmap is constant.

    Example:
        >>> compute("deletion", model, tfxai.explain(model, x, "sglrp"))
    """
    chosen = lookup(name)
    _check_arguments(chosen, {"boxes": boxes, "analyzer": analyzer}, options)
    wrapped = wrap(model, preprocess)
    seen = _rows_of(wrapped, e, batch_size)
    if seen is not None:
        wrapped, e = seen.wrapped, seen.of(e, batch_size)
        analyzer = analyzer and RowAnalyzer(analyzer, seen)
        if "baseline" in chosen.options:
            options = {"baseline": seen.baseline, **options}
    context = metric_context(wrapped, e, boxes, analyzer, batch_size, seed)
    return np.asarray(chosen.function(context, **options), float)


def _rows_of(wrapped: ModelWrapper, e: Any, batch_size: int) -> View | None:
    """Return the view of a table, of texts or of series; None of other inputs."""
    if not isinstance(e, Explanation) or isinstance(e.relevance, list):
        return None
    (x, *others), target = wrapped.checked(e.inputs), np.asarray(e.target)
    if others or x.ndim not in (2, 3) or target.ndim != 1 or target.min() < 0:
        return None
    kind = kind_of(x, e.tokens is not None or are_ids(x, wrapped))
    given = x if kind == "texts" else wrapped.given(x, x.dtype)
    return view(wrapped, given, kind, batch_size)


def _check_arguments(
    chosen: Metric, given: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Check the required arguments and the names of the options of a metric."""
    for need in chosen.needs:
        if given[need] is None:
            raise InputError(
                f"The metric {chosen.name!r} was given no {need}.", need, NEEDS[need]
            )
    check_options(f"The metric {chosen.name!r}", options, chosen.options)
