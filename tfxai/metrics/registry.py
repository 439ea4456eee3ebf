"""Is the explanation true? The table of measures, and the one verb that asks them.

Each measure is a row: its name, which direction is better, its paper, what it needs,
and a function `Asked -> (B,)`. Every file of this folder may add rows, with `row`.
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
from tfxai.metrics.metric_context import ask

#: What a measure may need, and the line that gives it.
NEEDS: Mapping[str, str] = {
    "boxes": "boxes=[[y0, x0, y1, x1], ...], or masks (B, H, W) of bool",
    "analyzer": "analyzer=tfxai.create_analyzer(e.method, model)",
}


@dataclass(frozen=True)
class Measure:
    """One measure.

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

    @property
    def options(self) -> dict[str, Any]:
        """The options that it knows, and their defaults."""
        _, *known = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in known}


_ROWS: dict[str, Measure] = {}


def register(measure: Measure) -> Measure:
    """Make `measure` known under its name."""
    _ROWS[measure.name] = measure
    return measure


def row(
    better: str, paper: str, how_to_read: str, bad: str, needs: tuple[str, ...] = ()
) -> Callable:
    """Register a function as the measure of its name; its first line is the summary."""

    def registered(function: Callable) -> Callable:
        summary = (function.__doc__ or "").strip().splitlines()[0]
        name = function.__name__
        register(
            Measure(name, better, paper, needs, summary, how_to_read, bad, function)
        )
        return function

    return registered


def measures() -> list[Measure]:
    """Every measure: name, direction, paper, needs, how to read it; by name."""
    known = _known()
    return [known[name] for name in sorted(known)]


def lookup(name: str) -> Measure:
    """The measure called `name`; an unknown name is an error with the nearest ones."""
    known = _known()
    return look_up(
        "measure", name, known, f"one of {sorted(known)}", "measure({!r}, model, e)"
    )


def measure(
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
    """Measure an explanation of pictures: one number per sample, (B,).

    name: of `measures()`. model, preprocess: those that were explained.
    boxes: where the truth lies; [y0, x0, y1, x1] in fractions of the picture, one or a
        list of them for each sample, or masks (B, H, W) of bool.
    analyzer: the one that made `e`, for measures that explain again.
    options: those of the measure, `lookup(name).options`.

    Draws are the same for each sample. A map that is the same everywhere is measured
    with a NothingToExplainWarning, one of zeros as a constant one. Raises
    UnknownNameError, OptionError, InputError, ModelError.
    """
    chosen = lookup(name)
    _check(chosen, {"boxes": boxes, "analyzer": analyzer}, options)
    asked = ask(wrap(model, preprocess), e, boxes, analyzer, batch_size, seed)
    return np.asarray(chosen.function(asked, **options), float)


def _check(chosen: Measure, given: Mapping[str, Any], options: Mapping) -> None:
    for need in chosen.needs:
        if given[need] is None:
            raise InputError(
                f"The measure {chosen.name!r} was given no {need}.", need, NEEDS[need]
            )
    check_options(f"The measure {chosen.name!r}", options, chosen.options)


def _known() -> dict[str, Measure]:
    """The table; every file of this folder is imported first, and adds its rows."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"tfxai.metrics.{module.name}")
    return _ROWS
