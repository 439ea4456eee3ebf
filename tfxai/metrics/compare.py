"""Several methods on the same pictures, measured by the same measures.

c = tfxai.compare(model, x, methods=["gradient", "sglrp", "random"])
print(c.markdown())
c.report("report.html")
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError, TfxaiError, TfxaiWarning
from tfxai.base.progress import bar
from tfxai.base.validation import check_options, whole_number
from tfxai.core.control_maps import KNOW_NOTHING, ControlExplainer
from tfxai.core.explanation import Explanation
from tfxai.core.model import LINKS, ModelWrapper, wrap
from tfxai.core.registry import create_analyzer
from tfxai.core.registry import lookup as analyzer_row
from tfxai.core.targets import one_class
from tfxai.io.tables import markdown, write_csv
from tfxai.metrics.masking import sensitivity
from tfxai.metrics.metric_context import masks_of
from tfxai.metrics.randomisation import Randomised, forgetting
from tfxai.metrics.registry import Metric, compute, lookup
from tfxai.viz.report import ARROWS, called, write

#: What is measured where nothing is asked for; the second, where there are boxes. The
#: score is the class's probability, or its logit where the model ends in logits.
MEASURES: tuple[str, ...] = (
    "deletion",
    "insertion",
    "region_perturbation",
    "sparseness",
)
IN_BOXES = ("pointing_game", "relevance_mass")
#: After how many of the layers a method is asked again while the weights are redrawn.
STAGES = 4
#: Where the curves are drawn: shares of the pixels that are masked.
SHARES = tuple(np.linspace(0, 1, 21).tolist())


@dataclass(frozen=True, eq=False)
class Comparison:
    """What each method said of each picture, and how well it did.

    x: (B, H, W, C). target: (B,). score: (B,), the target's probability, or its logit
    where there is none. explanations: by method's label. values: (label, measure) ->
    (B,). refused: label, or (label, measure) -> why there is none. curves: label ->
    (B, len(SHARES)), the score with that share masked, the largest of the map first.
    noted: label, or (label, measure) -> what was warned of there.
    boxes: for each sample a list of [y0, x0, y1, x1], or None. settings: what made it.
    forgotten: label -> its maps of the first pictures as the weights are drawn again.
    """

    x: np.ndarray
    target: np.ndarray
    score: np.ndarray
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    explanations: Mapping[str, Explanation]
    values: Mapping[tuple[str, str], np.ndarray]
    refused: Mapping[Any, str]
    curves: Mapping[str, np.ndarray]
    boxes: Sequence | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    forgotten: Mapping[str, Randomised] = field(default_factory=dict)
    noted: Mapping[Any, list[str]] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """A row for every method: the mean of every measure, None where refused."""
        return [
            {"method": m, **{n: self.mean(m, n) for n in self.metrics}}
            for m in self.methods
        ]

    def row(self, name: str) -> Metric:
        """The measure that is called so here."""
        return lookup(self.settings["metrics"][name]["name"])

    def heads(self) -> list[str]:
        """What stands over the columns of a table of `rows`, with arrows."""
        return ["method", *(f"{n} {ARROWS[self.row(n).better]}" for n in self.metrics)]

    def mean(self, method: str, name: str) -> float | None:
        """The mean of a measure over the pictures, or None where it was refused."""
        made = self.values.get((method, name))
        return None if made is None else float(np.mean(made))

    def best(self, name: str) -> list[str]:
        """The methods that are best by a measure: several where they are equal."""
        found = {m: self.mean(m, name) for m in self.methods}
        known = {m: v for m, v in found.items() if v is not None}
        if not known:
            return []
        top = (max if self.row(name).better == "higher" else min)(known.values())
        return [m for m, v in known.items() if v == top]

    def markdown(self) -> str:
        """The table of means in Markdown, the best of every measure in bold."""
        lines = [[str(row["method"]), *self._cells(row)] for row in self.rows()]
        return markdown(self.heads(), lines)

    def csv(self, path: str | os.PathLike) -> Path:
        """Write a row for every method, picture and measure: whole, or not at all."""
        lines = [
            [method, i, int(self.target[i]), name, repr(float(value))]
            for (method, name), made in self.values.items()
            for i, value in enumerate(made)
        ]
        heads = ["method", "picture", "target", "measure", "value"]
        return write_csv(path, heads, lines)

    def notes(self) -> dict[str, list[str]]:
        """What was warned of -> where: methods, and measures of methods."""
        made: dict[str, list[str]] = {}
        for where, texts in self.noted.items():
            for text in texts:
                made.setdefault(text, []).append(called(where))
        return made

    def summary(self, label: str) -> str:
        """What the method of that label is, in a line."""
        name = self.settings["methods"][label]["name"]
        control = self.is_control(label)
        return KNOW_NOTHING[name][0] if control else analyzer_row(name).summary

    def is_control(self, label: str) -> bool:
        """Does the method of that label know nothing of the network?"""
        return self.settings["methods"][label]["name"] in KNOW_NOTHING

    def report(
        self,
        path: str | os.PathLike,
        names: Sequence[str] | None = None,
        **options: Any,
    ) -> Path:
        """Write one self-contained HTML page; see `tfxai.viz.report.write`."""
        return write(self, path, names, **options)

    def _cells(self, row: Mapping[str, Any]) -> list[str]:
        cells = []
        for name in self.metrics:
            text = "-" if row[name] is None else f"{row[name]:.3g}"
            bold = row["method"] in self.best(name)
            cells.append(f"**{text}**" if bold else text)
        return cells


def compare(
    model: Any,
    x: Any,
    target: Any = None,
    methods: Sequence[str] | Mapping[str, Any] = ("gradient", "lrp.epsilon", "sglrp"),
    metrics: Sequence[str] | Mapping[str, Any] | None = None,
    boxes: Sequence | None = None,
    preprocess: Callable | None = None,
    randomise: int = 0,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
) -> Comparison:
    """Explain the same pictures by several methods, and measure them alike.

    x: pictures (B, H, W, C). target: (B,) classes or one; None: each top class, the
        same for all methods.
    methods: names of `tfxai.methods()`, "random" or "edges" (two maps that know
        nothing of the network: what is not better than they explains nothing); or a
        mapping of labels to (name, options).
    metrics: names of `tfxai.metrics.registry.metrics()`, or a mapping of labels to
        (name, options), as for methods. None is a choice that costs
        little, with the pointing game and relevance mass where there are `boxes`.
    boxes: for each sample a list of [y0, x0, y1, x1], fractions of height and width.
    randomise: so many of the pictures are explained again while the network's weights
        are drawn anew from the top (see `metrics.randomisation`), for the report.

    A method or a measure that refuses is told in `refused`, by its reason, and does not
    stop the others; what is warned of stands in `noted`, too. Raises InputError,
    OptionError, UnknownNameError.
    """
    wrapped = wrap(model, preprocess)
    pictures = _pictures(x, wrapped)
    asked = _asked("methods", methods, "gradient")
    if metrics is None:
        metrics = _usual(wrapped, boxes is not None)
    numbers = _asked("metrics", metrics, "deletion")
    for name, options in asked.values():
        known = () if name in KNOW_NOTHING else analyzer_row(name).options
        check_options(f"The method {name!r}", options, known)
    for name, options in numbers.values():
        check_options(f"The metric {name!r}", options, lookup(name).options)
    whole_number("randomise", randomise, 0)
    goal = one_class(target, wrapped.logits(pictures, batch_size))
    if boxes is not None:
        masks_of(boxes, pictures.shape[:3])
    refused: dict[Any, str] = {}
    noted: dict[Any, list[str]] = {}
    made: dict[str, Explanation] = {}
    values: dict[tuple[str, str], np.ndarray] = {}
    curves: dict[str, np.ndarray] = {}
    forgotten: dict[str, Randomised] = {}
    told = partial(_told, refused, noted)
    with bar("methods", len(asked), progress) as advance:
        for label, (name, options) in asked.items():
            with told(label):
                analyzer, made[label] = _explained(
                    wrapped, pictures, goal, name, options, batch_size, seed
                )
            if label in refused:
                advance(1)
                continue
            e = made[label]
            for n, (which, own) in numbers.items():
                with told((label, n)):
                    values[label, n] = compute(
                        which, wrapped, e, None, boxes, analyzer, batch_size, seed,
                        **own,
                    )  # fmt: skip
            curves[label], why = _curves(wrapped, e, goal, batch_size)
            if why:
                noted.setdefault((label, "curves"), []).append(why)
            if randomise:
                with told((label, "randomisation")):
                    forgotten[label] = _forgotten(
                        wrapped, pictures[:randomise], goal[:randomise], name, options,
                        batch_size, seed,
                    )  # fmt: skip
            advance(1, label)
    settings = {
        "methods": {k: {"name": n, **o} for k, (n, o) in asked.items()},
        "metrics": {k: {"name": n, **o} for k, (n, o) in numbers.items()},
        "seed": seed, "batch_size": batch_size, "randomise": randomise,
        "shares": list(SHARES),
    }  # fmt: skip
    return Comparison(
        pictures, goal, _scores(wrapped, pictures, goal, batch_size), tuple(asked),
        tuple(numbers), made, values, refused, curves, boxes, settings, forgotten,
        noted,
    )  # fmt: skip


@contextmanager
def _told(refused: dict, noted: dict, where: Any) -> Iterator[None]:
    """Keep what is refused and what is warned of; warnings go on to who listens."""
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield
    except TfxaiError as error:
        wanted = f" Wanted: {error.wanted}." if error.wanted else ""
        refused[where] = error.seen + wanted
    finally:
        for w in heard:
            if issubclass(w.category, TfxaiWarning):
                noted.setdefault(where, []).append(str(w.message))
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


def _usual(wrapped: ModelWrapper, boxes: bool) -> dict[str, tuple[str, dict]]:
    """What is measured where nothing is asked for; of logits it says so in its name."""
    made: dict[str, tuple[str, dict]] = {}
    for name in MEASURES + (IN_BOXES if boxes else ()):
        if wrapped.link == "linear" and "output" in lookup(name).options:
            made[f"{name} of the logit"] = (name, {"output": "logit"})
        else:
            made[name] = (name, {})
    return made


def _pictures(x: Any, wrapped: ModelWrapper) -> np.ndarray:
    wrapped.check_channels_last("compare")
    inputs = wrapped.checked(x)
    if len(inputs) > 1 or inputs[0].ndim != 4:
        raise InputError(
            f"compare was asked about inputs of shapes {[v.shape for v in inputs]}.",
            "one batch of pictures, (B, H, W, channels)",
        )
    return inputs[0].astype(np.float32)


def _asked(what: str, given: Any, one: str) -> dict[str, tuple[str, Mapping]]:
    """label -> (name, options), in the order that was given."""
    if isinstance(given, str) or not len(given):
        raise OptionError(f"{what}={given!r}.", "a list of names", f'{what}=["{one}"]')
    if not isinstance(given, Mapping):
        given = {v if isinstance(v, str) else repr(v): v for v in given}
    made: dict[str, tuple[str, Mapping]] = {}
    for label, v in given.items():
        pair = (v, {}) if isinstance(v, str) else v
        good = isinstance(pair, tuple | list) and len(pair) == 2
        if not (good and isinstance(pair[0], str) and isinstance(pair[1], Mapping)):
            raise OptionError(
                f"{what}[{label!r}] is {v!r}.", "a name, or (name, options)",
                f'{what}={{"mine": ("{one}", {{}})}}',
            )  # fmt: skip
        made[str(label)] = (pair[0], dict(pair[1]))
    return made


def _explained(
    wrapped: ModelWrapper, x: np.ndarray, goal: np.ndarray, name: str, options: Mapping,
    batch_size: int, seed: int,
) -> tuple[Any, Explanation]:  # fmt: skip
    analyzer = _analyzer(wrapped, name, options, seed)
    return analyzer, analyzer.analyze(x, goal, batch_size, progress=False)


def _analyzer(wrapped: ModelWrapper, name: str, options: Mapping, seed: int) -> Any:
    if name in KNOW_NOTHING:
        return ControlExplainer(wrapped, name, seed)
    own: dict[str, Any] = {}
    if "seed" in analyzer_row(name).options:
        own["seed"] = seed
    return create_analyzer(name, wrapped, **(own | dict(options)))


def _forgotten(
    wrapped: ModelWrapper, x: np.ndarray, goal: np.ndarray, name: str, options: Mapping,
    batch_size: int, seed: int,
) -> Randomised:  # fmt: skip
    def make(model: Any) -> Any:
        again = wrap(model, wrapped.preprocess, wrapped.output)
        return _analyzer(again, name, options, seed)

    return forgetting(
        make, wrapped.model, x, goal, stages=STAGES, seed=seed, batch_size=batch_size
    )


def _curves(
    wrapped: ModelWrapper, e: Explanation, goal: np.ndarray, batch_size: int
) -> tuple[np.ndarray, str]:
    """The curves, and why there are none; "" for no probabilities: the page says so."""
    try:
        made = sensitivity(
            wrapped, e.inputs, e, SHARES, target=goal, batch_size=batch_size,
            order="signed",
        )  # fmt: skip
    except TfxaiError as error:
        none = np.full((len(goal), len(SHARES)), np.nan)
        return none, error.seen if wrapped.link in LINKS else ""
    return made, ""


def _scores(
    wrapped: ModelWrapper, x: np.ndarray, goal: np.ndarray, batch_size: int
) -> np.ndarray:
    try:
        y = wrapped.probabilities(x, batch_size)
    except TfxaiError:
        y = wrapped.logits(x, batch_size)
    return np.take_along_axis(y, goal[:, None], -1)[:, 0]
