"""Is the explanation true? The table of metrics, and the one verb that asks them.

Each metric is a row: its name, which direction is better, its paper, what it needs,
and a function `Asked -> (B,)`. Every file of this folder may add rows, with `row`.
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
from tfxai.core.model import wrap
from tfxai.metrics.metric_context import ask

#: What a metric may need, and the line that gives it.
NEEDS: Mapping[str, str] = {
    "boxes": "boxes=[[y0, x0, y1, x1], ...], or masks (B, H, W) of bool",
    "analyzer": "analyzer=tfxai.create_analyzer(e.method, model)",
}


@dataclass(frozen=True)
class Metric:
    """One metric.

    better: "higher" or "lower". needs: of `NEEDS`, what it cannot do without.
    how_to_read: its range, and what is good. bad: how a bad explanation shows in it.
    function: (asked, **options) -> float64 (B,), one number per sample.
    """

    name: str
    better: str
    paper: str
    needs: tuple[str, ...]
    summary: str
    how_to_read: str
    bad: str
    function: Callable[..., np.ndarray]

    @cached_property
    def options(self) -> Mapping[str, Option]:
        """The options, by name."""
        return read_options(self.function)


METRICS: Registry[str, Metric] = Registry(
    "metric",
    usage="compute({!r}, model, e)",
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
) -> Callable[[Callable[..., np.ndarray]], Callable[..., np.ndarray]]:
    """Return a decorator that registers a function as a metric.

    The first line of its docstring is the summary.

    Args:
        better: "higher" or "lower".
        paper: Where it is published.
        how_to_read: Its range, and which values are good.
        bad: How a bad explanation shows in it.
        needs: Names of `NEEDS` that it cannot do without.
        name: The name of the metric; "" is that of the function.
        replace: Exchange a metric of the same name; else that is an OptionError.
    """

    def registered(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        summary = (function.__doc__ or "").strip().partition("\n")[0]
        key = name or function.__name__
        metric = Metric(key, better, paper, needs, summary, how_to_read, bad, function)
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
    preprocess: Callable | None = None,
    boxes: Any = None,
    analyzer: Any = None,
    batch_size: int = 32,
    seed: int = 0,
    **options: Any,
) -> np.ndarray:
    """Compute a metric of an explanation: one number per sample, (B,).

    name: of `metrics()`. model, preprocess: those that were explained.
    boxes: where the truth lies; [y0, x0, y1, x1] in fractions of the picture, one or a
        list of them for each sample, or masks (B, H, W) of bool.
    analyzer: the one that made `e`, for metrics that explain again.
    options: those of the metric, `lookup(name).options`.

    Draws are the same for each sample. A map that is the same everywhere is measured
    with a NothingToExplainWarning, one of zeros as a constant one. Raises
    UnknownNameError, OptionError, InputError, ModelError.
    """
    chosen = lookup(name)
    _check(chosen, {"boxes": boxes, "analyzer": analyzer}, options)
    asked = ask(wrap(model, preprocess), e, boxes, analyzer, batch_size, seed)
    return np.asarray(chosen.function(asked, **options), float)


def _check(chosen: Metric, given: Mapping[str, Any], options: Mapping) -> None:
    for need in chosen.needs:
        if given[need] is None:
            raise InputError(
                f"The metric {chosen.name!r} was given no {need}.", need, NEEDS[need]
            )
    check_options(f"The metric {chosen.name!r}", options, chosen.options)
