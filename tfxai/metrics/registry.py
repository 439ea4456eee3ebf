"""The registry of metrics, and `compute`, which evaluates one.

Each metric is a row: its name, which direction is better, its paper, what it needs,
and a function `MetricContext -> (B,)`. Every file of this folder can add rows with
`row`.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import InputError
from tfxai.base.validation import check_options, look_up
from tfxai.core.explanation import Explanation
from tfxai.core.model import wrap
from tfxai.metrics.metric_context import metric_context

#: Arguments that a metric may need, and how to pass them.
NEEDS: Mapping[str, str] = {
    "boxes": "boxes=[[y0, x0, y1, x1], ...], or masks (B, H, W) of bool",
    "analyzer": "analyzer=tfxai.create_analyzer(e.method, model)",
}


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
    """

    name: str
    better: str
    paper: str
    needs: tuple[str, ...]
    summary: str
    how_to_read: str
    bad: str
    function: Callable[..., np.ndarray]

    @property
    def options(self) -> dict[str, Any]:
        """The metric's options and their defaults."""
        _, *known = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in known}


_ROWS: dict[str, Metric] = {}


def register(metric: Metric) -> Metric:
    """Register `metric` under its name."""
    _ROWS[metric.name] = metric
    return metric


def row(
    better: str, paper: str, how_to_read: str, bad: str, needs: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Register a function as the metric of its name; its first line is the summary."""

    def registered(function: Callable[..., Any]) -> Callable[..., Any]:
        summary = (function.__doc__ or "").strip().splitlines()[0]
        name = function.__name__
        register(
            Metric(name, better, paper, needs, summary, how_to_read, bad, function)
        )
        return function

    return registered


def metrics() -> list[Metric]:
    """Return every metric, sorted by name."""
    known = _known()
    return [known[name] for name in sorted(known)]


def lookup(name: str) -> Metric:
    """Return the metric called `name`; raises UnknownNameError with similar names."""
    known = _known()
    metric: Metric = look_up(
        "metric", name, known, f"one of {sorted(known)}", "compute({!r}, model, e)"
    )
    return metric


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
    """Return a metric of an explanation of images, one number per sample.

    Random draws are the same for each sample. A constant heatmap has a value and a
    warning; a heatmap of zeros counts as a constant one.

    Args:
        name: Name of a metric, see `metrics()`.
        model: The model that was explained.
        e: An explanation of images with one class per sample.
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
    context = metric_context(
        wrap(model, preprocess), e, boxes, analyzer, batch_size, seed
    )
    return np.asarray(chosen.function(context, **options), float)


def _check_arguments(
    chosen: Metric, given: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Check that the metric gets what it needs, and knows the options."""
    for need in chosen.needs:
        if given[need] is None:
            raise InputError(
                f"The metric {chosen.name!r} was given no {need}.", need, NEEDS[need]
            )
    check_options(f"The metric {chosen.name!r}", options, chosen.options)


def _known() -> dict[str, Metric]:
    """The table; every file of this folder is imported first, and adds its rows."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"tfxai.metrics.{module.name}")
    return _ROWS
