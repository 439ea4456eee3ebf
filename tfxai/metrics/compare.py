"""Comparison of several methods on the same images with the same metrics.

c = tfxai.compare(model, x, methods=["gradient", "sglrp", "random"])
print(c.markdown())
c.report("report.html")
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError, TfxaiError, TfxaiWarning
from tfxai.base.progress import bar
from tfxai.base.validation import check_options, whole_number
from tfxai.core.control_maps import CONTROLS, ControlExplainer
from tfxai.core.explanation import Explanation
from tfxai.core.model import LINKS, ModelWrapper, wrap
from tfxai.core.registry import create_analyzer
from tfxai.core.registry import lookup as analyzer_row
from tfxai.core.targets import one_class
from tfxai.metrics.boxes import masks_from_boxes
from tfxai.metrics.comparison import Comparison, MethodResult, Where
from tfxai.metrics.masking import sensitivity
from tfxai.metrics.randomisation import RandomisationResult, randomise_layers
from tfxai.metrics.registry import compute, lookup

#: The default metrics. They use the class's probability, or its logit if the model
#: ends in logits.
METRICS: tuple[str, ...] = (
    "deletion",
    "insertion",
    "region_perturbation",
    "sparseness",
)
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
) -> Comparison:
    """Explain the same images by several methods and compute the same metrics.

    A method or a metric that raises a TfxaiError does not stop the others: its message
    is in `Comparison.errors`. Warnings are also in `Comparison.warnings`.

    Args:
        model: A model, wrapped or not.
        x: Images (B, H, W, C).
        target: One class, or one for each image. None is the top class of each image,
            the same for all methods.
        methods: Names of `tfxai.methods()`, "random" or "edges"; or a mapping of
            labels to (name, options). "random" and "edges" are control explanations
            that ignore the model: a method that is not better explains nothing.
        metrics: Names of `tfxai.metrics.registry.metrics()`, or a mapping of labels to
            (name, options). None is a selection that is cheap to compute, with the
            pointing game and relevance mass if there are `boxes`.
        boxes: For each image a list of [y0, x0, y1, x1], in fractions of height and
            width.
        preprocess: The preprocess of the model, or None.
        randomise: Number of images to explain again while the weights are randomised
            from the top, for the report; see `tfxai.metrics.randomisation`.
        batch_size: The largest batch of a forward pass.
        seed: The seed of all random draws.
        progress: Show a progress bar. None shows it in a terminal.

    Raises:
        InputError: The inputs are not images, or the boxes or targets do not fit.
        OptionError: An option is unknown or out of range.
        UnknownNameError: There is no such method or metric.

    Example:
        >>> c = tfxai.compare(model, x, methods=["gradient", "sglrp", "random"])
        >>> print(c.markdown())
    """
    wrapped = wrap(model, preprocess)
    images = _checked_images(x, wrapped)
    chosen = _parse_choices("methods", methods, "gradient")
    if metrics is None:
        metrics = _default_metrics(wrapped, boxes is not None)
    numbers = _parse_choices("metrics", metrics, "deletion")
    _check_choices(chosen, numbers)
    whole_number("randomise", randomise, 0)
    target = one_class(target, wrapped.logits(images, batch_size))
    if boxes is not None:
        masks_from_boxes(boxes, images.shape[:3])
    evaluator = _Evaluator(
        wrapped, images, target, numbers, boxes, randomise, batch_size, seed
    )
    results: dict[str, MethodResult] = {}
    with bar("methods", len(chosen), progress) as advance:
        for label, (name, options) in chosen.items():
            results[label] = evaluator.evaluate(label, name, options)
            advance(1, "" if results[label].explanation is None else label)
    return Comparison(
        images, target, _target_scores(wrapped, images, target, batch_size),
        tuple(numbers), results, boxes, evaluator.settings(chosen),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Evaluator:
    """Explains the images by one method after another and computes the metrics."""

    wrapped: ModelWrapper
    x: np.ndarray
    target: np.ndarray
    metrics: Choices
    boxes: Sequence[Any] | None
    randomise: int
    batch_size: int
    seed: int

    def evaluate(self, label: str, name: str, options: dict[str, Any]) -> MethodResult:
        """Return the result of one method; errors and warnings are part of it."""
        log = _Log()
        e: Explanation | None = None
        with log.catch(label):
            analyzer = self._analyzer(self.wrapped, name, options)
            e = analyzer.analyze(self.x, self.target, self.batch_size, progress=False)
        if e is None:
            return MethodResult(errors=log.errors, warnings=log.warnings)
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
        }  # fmt: skip

    def _analyzer(
        self, wrapped: ModelWrapper, name: str, options: dict[str, Any]
    ) -> Any:
        """Return the analyzer of a method, with the seed if it has one."""
        if name in CONTROLS:
            return ControlExplainer(wrapped, name, self.seed)
        own = {"seed": self.seed} if "seed" in analyzer_row(name).options else {}
        return create_analyzer(name, wrapped, **(own | options))

    def _values(
        self, label: str, e: Explanation, analyzer: Any, log: "_Log"
    ) -> dict[str, np.ndarray]:
        """Return label of a metric -> (B,)."""
        values = {}
        for n, (which, options) in self.metrics.items():
            with log.catch((label, n)):
                values[n] = compute(
                    which, self.wrapped, e, None, self.boxes, analyzer,
                    self.batch_size, self.seed, **options,
                )  # fmt: skip
        return values

    def _curve(self, label: str, e: Explanation, log: "_Log") -> np.ndarray:
        """Return the curve (B, len(SHARES)), NaN after an error.

        The error is logged as a warning, unless the model has no probabilities; the
        report says so then.
        """
        try:
            return sensitivity(
                self.wrapped, e.inputs, e, SHARES, target=self.target,
                batch_size=self.batch_size, order="signed",
            )  # fmt: skip
        except TfxaiError as error:
            if self.wrapped.link in LINKS:
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
                    self.warn(where, str(w.message))
                warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


def _default_metrics(wrapped: ModelWrapper, boxes: bool) -> Choices:
    """Return the default metrics; labels name the logit where it is used."""
    chosen: Choices = {}
    for name in METRICS + (BOX_METRICS if boxes else ()):
        if wrapped.link == "linear" and "output" in lookup(name).options:
            chosen[f"{name} of the logit"] = (name, {"output": "logit"})
        else:
            chosen[name] = (name, {})
    return chosen


def _checked_images(x: Any, wrapped: ModelWrapper) -> np.ndarray:
    """Return the images (B, H, W, C); raises InputError, ModelError."""
    wrapped.check_channels_last("compare")
    inputs = wrapped.checked(x)
    if len(inputs) > 1 or inputs[0].ndim != 4:
        raise InputError(
            f"compare received inputs of shapes {[v.shape for v in inputs]}.",
            "one batch of images, (B, H, W, channels)",
        )
    return wrapped.given(inputs[0], inputs[0].dtype)


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
    options = ", ".join(f"{k}={v!r}" for k, v in choice[1].items())
    return f"{choice[0]}({options})" if options else str(choice[0])


def _check_choices(methods: Choices, metrics: Choices) -> None:
    """Check all names and options; raises UnknownNameError, OptionError."""
    for name, options in methods.values():
        known = () if name in CONTROLS else analyzer_row(name).options
        check_options(f"The method {name!r}", options, known)
    for name, options in metrics.values():
        check_options(f"The metric {name!r}", options, lookup(name).options)


def _target_scores(
    wrapped: ModelWrapper, x: np.ndarray, target: np.ndarray, batch_size: int
) -> np.ndarray:
    """Return the target's probabilities (B,), or its logits if there are none."""
    try:
        y = wrapped.probabilities(x, batch_size)
    except TfxaiError:
        y = wrapped.logits(x, batch_size)
    return np.asarray(np.take_along_axis(y, target[:, None], -1)[:, 0])
