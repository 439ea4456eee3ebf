"""Search of a preset: which rule in which layers is best by a metric."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, ModelError, OptionError
from tfxai.base.progress import bar
from tfxai.base.validation import above, whole_number
from tfxai.core.model import wrap
from tfxai.core.targets import one_class
from tfxai.graph.step import KERNEL
from tfxai.io.tables import markdown
from tfxai.metrics.preset_judge import Judge
from tfxai.metrics.registry import lookup
from tfxai.relevance import rules as R
from tfxai.relevance.analyzer_table import ANALYZERS
from tfxai.relevance.plan import StepRule
from tfxai.relevance.presets import Preset

#: The rules that the search tries in each group of layers.
CANDIDATES: tuple[R.Rule, ...] = (
    R.epsilon_rule(epsilon=1e-6), R.epsilon_rule(epsilon=0.1), R.z_plus,
    R.alpha_beta(alpha=2.0, beta=1.0), R.gamma(gamma=0.1), R.gamma(gamma=1.0),
    R.gamma(gamma=0.25), R.gamma(gamma=0.03), R.flat, R.w_square,
)  # fmt: skip
#: The rules that it tries in the first layer besides these.
FIRST_LAYER: tuple[R.Rule, ...] = (R.z_box,)
#: Number of fixed presets that are evaluated on all images of the search.
FULL = 3
#: The method whose head starts the relevance of the found preset.
METHOD = "lrp.epsilon"


@dataclass(frozen=True)
class PresetSearch:
    """What `tfxai.search_preset` found.

    Attributes:
        preset: The best fixed preset, where the search began.
        rules: The rule of each layer with a kernel, {name of the step: rule}.
        metric: Name of the metric, with "of the logit" where it uses that.
        better: "lower" or "higher".
        rows: Name and mean of the metric over the held-out images, for each fixed
            preset and "found"; better ones first.
        evaluated: Number of sets of rules that were evaluated.
        complete: True if the search ended by itself, False if the time was over.
    """

    preset: Preset
    rules: dict[str, R.Rule]
    metric: str
    better: str
    rows: list[tuple[str, float]]
    evaluated: int
    complete: bool

    @property
    def options(self) -> dict[str, Any]:
        """The options for `create_analyzer("lrp.epsilon", model, **found.options)`."""
        return {"preset": self.preset, "rules": self.rules}

    @property
    def gain(self) -> float:
        """How much better the found rules are than the best fixed preset, held out.

        The difference of the means in units of the fixed preset's mean; negative where
        a fixed preset is better.
        """
        held_out = dict(self.rows)
        found = held_out.pop("found")
        sign = 1 if self.better == "higher" else -1
        best = max(held_out.values(), key=lambda v: sign * v)
        return float(sign * (found - best) / abs(best)) if best else 0.0

    def markdown(self) -> str:
        """Return the table of the presets in Markdown."""
        lines = [[name, f"{value:.4f}"] for name, value in self.rows]
        return markdown(["preset", f"{self.metric}, held out"], lines)

    def __str__(self) -> str:
        return self.markdown()


def search_preset(
    model: Any,
    x: Any,
    target: Any = None,
    metric: str = "road",
    seconds: float = 60,
    *,
    candidates: Sequence[Any] = CANDIDATES,
    groups: int = 4,
    preprocess: Callable[..., Any] | None = None,
    output: int | str = 0,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool | None = None,
    **options: Any,
) -> PresetSearch:
    """Return the rules of each layer that are best by a metric.

    The search begins at the best fixed preset of the table of methods. It tries each
    rule in the first layer with a kernel and in each of the other groups of successive
    layers, and keeps what is better. When nothing is, it halves the groups. Rules are
    evaluated on a quarter of the images of the search (at least eight), and on all of
    them if they are better there. Half of the images are held out for the result.

    Args:
        model: A model of images, or what `wrap` returned.
        x: Images (B, H, W, C), at least four; more make the choice more certain.
        target: One class, or one for each image; None is the top class.
        metric: Name of a metric, see `tfxai.metrics.registry.metrics()`. If the model
            ends in logits, it is that of the logit.
        seconds: When the search ends. The fixed presets count, the evaluation on the
            held-out images does not; it takes a few times as long as that of the fixed
            presets.
        candidates: The rules to try: rules, their names, or (name, options).
        groups: Number of groups of layers at the beginning.
        preprocess: `raw batch -> network input`, in TensorFlow operations.
        output: The number or the name of the output, where the model has several.
        batch_size: How many images are explained at once.
        seed: Seed of the division of the images and of the metric.
        progress: Show a progress bar; None shows one on a terminal.
        **options: Options of the metric.

    Raises:
        InputError: There are fewer than four images, or several inputs.
        ModelError: The model has no layer with a kernel, or no preset explains it.
        UnknownNameError: There is no such metric.
        OptionError: An option is out of range, or the metric has no such option.

    References:
        Pahde et al. 2023, arXiv:2211.17174, search rules of groups of layers by a grid.

    Example:
        >>> found = tfxai.search_preset(model, x, seconds=60)
        >>> print(found.markdown(), found.gain)
        >>> tfxai.explain(model, x, "lrp.epsilon", **found.options)
    """
    chosen = lookup(metric)
    above("seconds", seconds)
    whole_number("groups", groups, 1)
    whole_number("batch_size", batch_size, 1)
    rules = [R.find(c) for c in candidates]
    wrapped = wrap(model, preprocess, output)
    inputs = wrapped.checked(x)
    if len(inputs) > 1:
        raise InputError(f"The model has {len(inputs)} inputs.", "a model of one input")
    images = inputs[0]
    if len(images) < 4:
        raise InputError(
            f"{len(images)} images.", "at least four: half of them are held out"
        )
    if wrapped.link == "linear" and "output" in chosen.options:
        options = {"output": "logit", **options}
    logits = wrapped.logits(x, batch_size)
    target = one_class(target, logits)
    scores = np.take_along_axis(logits, target[:, None], 1)[:, 0]
    judge = Judge(
        wrapped, images, target, scores, metric, chosen.better, batch_size, seed,
        options,
    )  # fmt: skip
    end = time.monotonic() + seconds
    with bar("presets", len(ANALYZERS), progress) as advance:
        fixed, quick = judge.fixed(end, advance)
    likely = sorted(fixed, key=lambda n: -quick[n])[:FULL]
    full = {name: judge.full(fixed[name]) for name in likely}
    name = max(likely, key=lambda n: full[n])
    found = {p.step.name: p.rule for p in fixed[name].graph.plan if _is_kernel(p)}
    if not found:
        raise ModelError(
            "The model has no layer with a kernel.", "a dense layer or a convolution"
        )
    preset, best = fixed[name].graph.preset, (quick[name], full[name])
    complete = False
    while not complete and time.monotonic() < end:
        improved = False
        for group, rule in _moves(list(found), rules, groups):
            if time.monotonic() >= end:
                break
            tried = {**found, **dict.fromkeys(group, rule)}
            if tried == found:
                continue
            try:
                analyzer = judge.analyzer(METHOD, preset=preset, rules=tried)
                value = judge.better(analyzer, best)
            except OptionError:  # a rule that does not fit these layers
                continue
            if value is not None:
                best, found, improved = value, tried, True
        else:
            complete = not improved and groups >= len(found)
            groups = groups if improved else 2 * groups
    fixed["found"] = judge.analyzer(METHOD, preset=preset, rules=found)
    rows = [(n, judge.held_out(a)) for n, a in fixed.items()]
    rows.sort(key=lambda row: row[1], reverse=chosen.better == "higher")
    label = metric + " of the logit" * (options.get("output") == "logit")
    return PresetSearch(
        preset, found, label, chosen.better, rows, judge.count, complete
    )


def _is_kernel(planned: StepRule) -> bool:
    """True for a layer with a kernel."""
    return planned.step.kind in KERNEL


def _moves(
    layers: Sequence[str], rules: Sequence[R.Rule], groups: int
) -> Iterator[tuple[list[str], R.Rule]]:
    """Yield a group of layers and a rule for it."""
    first, *rest = layers
    parts = np.array_split(
        np.array(rest, object), min(max(groups - 1, 1), len(rest) or 1)
    )
    for group in ([first], *(p.tolist() for p in parts if len(p))):
        for rule in [*rules, *(FIRST_LAYER if group == [first] else ())]:
            yield group, rule
