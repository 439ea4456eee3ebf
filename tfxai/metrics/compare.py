"""Comparison of several methods on the same inputs with the same metrics.

c = tfxai.compare(model, x, methods=["gradient", "sglrp", "random"])
print(c.markdown())
c.report("report.html")
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from tfxai.base.errors import (
    InputError,
    OptionError,
    TfxaiError,
    TfxaiWarning,
    on_one_line,
)
from tfxai.base.progress import bar
from tfxai.base.text import short
from tfxai.base.validation import check_options, whole_number
from tfxai.core.control_maps import CONTROLS, ControlExplainer
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.registry import create_analyzer
from tfxai.core.registry import lookup as analyzer_row
from tfxai.core.targets import one_class
from tfxai.metrics.boxes import masks_from_boxes
from tfxai.metrics.comparison import Comparison, MethodResult, Where
from tfxai.metrics.metric_context import metric_context
from tfxai.metrics.pixel_flipping import curves
from tfxai.metrics.randomisation import RandomisationResult, randomise_layers
from tfxai.metrics.registry import compute, lookup
from tfxai.metrics.views import RowAnalyzer, View, are_ids, kind_of, view

#: The default metrics. They use the class's probability, or its logit if the model
#: ends in logits.
METRICS: tuple[str, ...] = (
    "deletion",
    "insertion",
    "region_perturbation",
    "sparseness",
)
#: The default metrics of tables, texts and series, which have no regions.
ROW_METRICS = ("deletion", "insertion", "sparseness")
#: Additional default metrics if there are boxes.
BOX_METRICS = ("pointing_game", "relevance_mass")
#: Number of stages of the randomisation of a comparison.
STAGES = 4
#: Shares of the masked pixels at which a curve has a point.
SHARES = tuple(np.linspace(0, 1, 21).tolist())

#: label -> (name, options)
Choices = dict[str, tuple[str, dict[str, Any]]]


def compare(
    model: Any,
    x: Any,
    target: Any = None,
    methods: Sequence[str] | Mapping[str, Any] = ("gradient", "lrp.epsilon", "sglrp"),
    metrics: Sequence[str] | Mapping[str, Any] | None = None,
    boxes: Sequence[Any] | None = None,
    preprocess: Callable[..., Any] | None = None,
    randomise: int = 0,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    tokens: Any = None,
) -> Comparison:
    """Explain the same inputs by several methods and compute the same metrics.

    A method or a metric that raises a TfxaiError does not stop the others: its message
    is in `Comparison.errors`. Warnings are also in `Comparison.warnings`.

    Args:
        model: A model, wrapped or not.
        x: Images (B, H, W, C), a table (B, F), series (B, L, C) or token ids (B, L). A
            metric sees each feature, value or token as a pixel, and replaces it by the
            mean of its column or channel, or by 0. A callable on whole numbers gets the
            mean rounded.
        target: One class, or one for each sample. None is the top class of each image,
            the same for all methods.
        methods: Names of `tfxai.methods()`, "random" or "edges"; or a mapping of
            labels to (name, options). "random" and "edges" are control explanations
            that ignore the model: a method that is not better explains nothing.
        metrics: Names of `tfxai.metrics.registry.metrics()`, or a mapping of labels to
            (name, options). None is a selection that is cheap to compute, with the
            pointing game and relevance mass if there are `boxes`; for tables, texts and
            series deletion, insertion and sparseness.
        boxes: For each image a list of [y0, x0, y1, x1], in fractions of height and
            width.
        preprocess: The preprocess of the model, or None.
        randomise: Number of images to explain again while the weights are randomised
            from the top, for the report; see `tfxai.metrics.randomisation`.
        batch_size: The largest batch of a forward pass.
        seed: The seed of all random draws.
        progress: Show a progress bar. None shows it in a terminal.
        names: The names of the classes, for the report.
        features: The names of the columns of a table or the channels of a series.
        tokens: The texts of the tokens of each sample; then x holds token ids.

    Raises:
        InputError: The inputs have another shape, the boxes or targets do not fit, or a
            table has a single row.
        OptionError: An option is unknown or out of range, or is one of images.
        UnknownNameError: There is no such method or metric.

    Example:
        >>> c = tfxai.compare(model, x, methods=["gradient", "sglrp", "random"])
        >>> print(c.markdown())
    """
    wrapped = wrap(model, preprocess)
    inputs = _checked_input(x, wrapped)
    kind = kind_of(inputs, tokens is not None or are_ids(inputs, wrapped))
    if kind != "texts":  # the mean of whole numbers is none
        inputs = wrapped.given(inputs, inputs.dtype)
    chosen = _parse_choices("methods", methods, "gradient")
    whole_number("randomise", randomise, 0)
    if kind != "images":
        _check_images_only(boxes=boxes, randomise=randomise or None)
    seen = None if kind == "images" else view(wrapped, inputs, kind, batch_size)
    if metrics is None:
        metrics = _default_metrics(wrapped, seen, boxes is not None)
    numbers = _parse_choices("metrics", metrics, "deletion")
    _check_choices(chosen, numbers)
    target = one_class(target, wrapped.logits(x, batch_size))
    if boxes is not None:
        masks_from_boxes(boxes, inputs.shape[:3])
    texts = {"names": names, "features": features}
    evaluator = _Evaluator(
        wrapped, inputs if kind == "images" else x, target, numbers, boxes, randomise,
        batch_size, seed, seen, texts, tokens,
    )  # fmt: skip
    results: dict[str, MethodResult] = {}
    with bar("methods", len(chosen), progress) as advance:
        for label, (name, options) in chosen.items():
            results[label] = evaluator.evaluate(label, name, options)
            advance(1, "" if results[label].explanation is None else label)
    return Comparison(
        inputs, target, _target_scores(wrapped, x, target, batch_size),
        tuple(numbers), results, boxes, evaluator.settings(chosen), kind,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Evaluator:
    """Explains the inputs by one method after another and computes the metrics."""

    wrapped: ModelWrapper
    x: Any
    target: np.ndarray
    metrics: Choices
    boxes: Sequence[Any] | None
    randomise: int
    batch_size: int
    seed: int
    seen: View | None
    texts: dict[str, Any]
    tokens: Any

    def evaluate(self, label: str, name: str, options: dict[str, Any]) -> MethodResult:
        """Return the result of one method; errors and warnings are part of it."""
        log = _Log()
        e: Explanation | None = None
        with log.catch(label):
            analyzer = self._analyzer(self.wrapped, name, options)
            more = {} if self.tokens is None else {"tokens": self.tokens}
            e = analyzer.analyze(
                self.x, self.target, self.batch_size, progress=False, **more
            )
        if e is None:
            return MethodResult(errors=log.errors, warnings=log.warnings)
        lacking = {k: v for k, v in self.texts.items() if getattr(e, k) is None}
        e = replace(e, **lacking)
        values = self._values(label, e, analyzer, log)
        curve = self._curve(label, e, log)
        randomised: RandomisationResult | None = None
        if self.randomise:
            with log.catch((label, "randomisation")):
                randomised = self._randomised(name, options)
        return MethodResult(e, values, curve, randomised, log.errors, log.warnings)

    def settings(self, methods: Choices) -> dict[str, Any]:
        """Return the methods, metrics and options, for the report."""
        return {
            "model": str(getattr(self.wrapped.model, "name", "")),
            "methods": {k: {"name": n, **o} for k, (n, o) in methods.items()},
            "metrics": {k: {"name": n, **o} for k, (n, o) in self.metrics.items()},
            "seed": self.seed, "batch_size": self.batch_size,
            "randomise": self.randomise, "shares": list(SHARES),
            "curve": self.curve_output,
        }  # fmt: skip

    def _analyzer(
        self, wrapped: ModelWrapper, name: str, options: dict[str, Any]
    ) -> Any:
        """Return the analyzer of a method, with the seed if it has one."""
        if name in CONTROLS:
            return ControlExplainer(wrapped, name, self.seed)
        own = {"seed": self.seed} if "seed" in analyzer_row(name).options else {}
        return create_analyzer(name, wrapped, **self.texts, **(own | options))

    def _values(
        self, label: str, e: Explanation, analyzer: Any, log: "_Log"
    ) -> dict[str, np.ndarray]:
        """Return label of a metric -> (B,)."""
        values = {}
        wrapped, own = self.wrapped, {}
        if self.seen is not None:
            wrapped, analyzer = self.seen.wrapped, RowAnalyzer(analyzer, self.seen)
            e, own = self.seen.of(e, self.batch_size), {"baseline": self.seen.baseline}
        for n, (which, options) in self.metrics.items():
            taken = {k: v for k, v in own.items() if k in lookup(which).options}
            with log.catch((label, n)):
                values[n] = compute(
                    which, wrapped, e, None, self.boxes, analyzer,
                    self.batch_size, self.seed, **(taken | options),
                )  # fmt: skip
        return values

    @cached_property
    def curve_output(self) -> str:
        """What the curves show, "probability" or "logit"."""
        try:
            self.wrapped.probabilities(self.x, self.batch_size)
        except TfxaiError:
            return "logit"
        return "probability"

    def _curve(self, label: str, e: Explanation, log: "_Log") -> np.ndarray:
        """Return the curve (B, len(SHARES)), NaN after an error, which is logged."""
        try:
            wrapped, baseline = self.wrapped, cast(Any, "mean")
            if self.seen is not None:
                wrapped, e = self.seen.wrapped, self.seen.of(e, self.batch_size)
                baseline = self.seen.baseline
            context = metric_context(wrapped, e, batch_size=self.batch_size)
            output = self.curve_output
            at, scores = curves(context, len(SHARES) - 1, baseline, output, False)
            return np.stack([np.interp(SHARES, at, v) for v in scores])
        except TfxaiError as error:
            log.warn((label, "curves"), error.seen)
            return np.full((len(self.target), len(SHARES)), np.nan)

    def _randomised(self, name: str, options: dict[str, Any]) -> RandomisationResult:
        """Return the heatmaps of the first images while the weights are randomised."""

        def build(model: Any) -> Any:
            again = wrap(model, self.wrapped.preprocess, self.wrapped.output)
            return self._analyzer(again, name, options)

        n = self.randomise
        return randomise_layers(
            build, self.wrapped.model, self.x[:n], self.target[:n], stages=STAGES,
            seed=self.seed, batch_size=self.batch_size,
        )  # fmt: skip


class _Log:
    """Collects the errors and warnings of one method."""

    def __init__(self) -> None:
        self.errors: dict[Where, str] = {}
        self.warnings: dict[Where, list[str]] = {}

    def warn(self, where: Where, text: str) -> None:
        """Add a warning."""
        self.warnings.setdefault(where, []).append(text)

    @contextmanager
    def catch(self, where: Where) -> Iterator[None]:
        """Catch a TfxaiError, and collect warnings, which are also issued again."""
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
        except TfxaiError as error:
            needed = f" Wanted: {error.wanted}." if error.wanted else ""
            self.errors[where] = error.seen + needed
        finally:
            for w in caught:
                if issubclass(w.category, TfxaiWarning):
                    self.warn(where, on_one_line(w.message))
                warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


def _default_metrics(wrapped: ModelWrapper, seen: View | None, boxes: bool) -> Choices:
    """Return the default metrics; labels name the logit where it is used."""
    chosen: Choices = {}
    names = METRICS + (BOX_METRICS if boxes else ())
    logits = wrapped.link == "linear"
    if seen is not None:
        names, logits = ROW_METRICS, seen.output == "logit"
    for name in names:
        if logits and "output" in lookup(name).options:
            chosen[f"{name} of the logit"] = (name, {"output": "logit"})
        else:
            chosen[name] = (name, {})
    return chosen


def _checked_input(x: Any, wrapped: ModelWrapper) -> np.ndarray:
    """Return the inputs, checked; raises InputError, ModelError."""
    inputs = wrapped.checked(x)
    if len(inputs) > 1:
        raise InputError(
            f"compare received inputs of shapes {[v.shape for v in inputs]}.",
            "one batch of inputs, such as images (B, H, W, channels)",
        )
    if inputs[0].ndim == 4:
        wrapped.check_channels_last("compare")
    return np.asarray(inputs[0])


def _check_images_only(**given: Any) -> None:
    """Raise OptionError for options of images."""
    for name, value in given.items():
        if value is not None:
            raise OptionError(
                f"{name}={value!r}, and the inputs are not images.",
                "images (B, H, W, channels), or no such option",
                "tfxai.compare(model, x)",
            )


def _parse_choices(what: str, given: Any, example: str) -> Choices:
    """Return label -> (name, options) in the given order; raises OptionError."""
    if isinstance(given, str) or not len(given):
        raise OptionError(
            f"{what}={given!r}.", "a list of names", f'{what}=["{example}"]'
        )
    if not isinstance(given, Mapping):
        given = {_label(v): v for v in given}
    choices: Choices = {}
    for label, v in given.items():
        pair = (v, {}) if isinstance(v, str) else v
        good = isinstance(pair, tuple | list) and len(pair) == 2
        if not (good and isinstance(pair[0], str) and isinstance(pair[1], Mapping)):
            raise OptionError(
                f"{what}[{label!r}] is {v!r}.", "a name, or (name, options)",
                f'{what}={{"mine": ("{example}", {{}})}}',
            )  # fmt: skip
        choices[str(label)] = (pair[0], dict(pair[1]))
    return choices


def _label(choice: Any) -> str:
    """Return the label of a name, or of (name, options)."""
    if isinstance(choice, str):
        return choice
    pair = isinstance(choice, tuple | list) and len(choice) == 2
    if not (pair and isinstance(choice[1], Mapping)):
        return repr(choice)
    options = ", ".join(f"{k}={short(v)}" for k, v in choice[1].items())
    return f"{choice[0]}({options})" if options else str(choice[0])


def _check_choices(methods: Choices, metrics: Choices) -> None:
    """Check all names and options; raises UnknownNameError, OptionError."""
    for name, options in methods.values():
        known = () if name in CONTROLS else analyzer_row(name).options
        check_options(f"The method {name!r}", options, known)
    for name, options in metrics.values():
        check_options(f"The metric {name!r}", options, lookup(name).options)


def _target_scores(
    wrapped: ModelWrapper, x: Any, target: np.ndarray, batch_size: int
) -> np.ndarray:
    """Return the target's probabilities (B,), or its logits if there are none."""
    try:
        y = wrapped.probabilities(x, batch_size)
    except TfxaiError:
        y = wrapped.logits(x, batch_size)
    return np.asarray(np.take_along_axis(y, target[:, None], -1)[:, 0])
