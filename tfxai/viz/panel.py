"""What the figure of an explanation draws: one input, its relevance, its texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.viz import colours
from tfxai.viz.cells import all_titles
from tfxai.viz.overlays import check_alpha
from tfxai.viz.words import token_input

#: Methods whose papers show only the positive part of their map.
POSITIVE = ("gradcam", "gradcam_plus_plus", "layercam", "scorecam")


@dataclass(frozen=True)
class Look:
    """The options that all figures share.

    Attributes:
        title: The heading; None is the method, "" none.
        ax: Axes of the caller to draw in, or None.
        cmap: A colour map of matplotlib or its name; None is red, white and blue.
        alpha: The opacity of bars and words, and the share of an image's brightness
            that its heatmap covers; None is the default of the kind of figure.
        limit: The value of the full colour: None (each map its own), "shared" or a
            number.
        figsize: The size in inches; None fits the content.
        contours: The share of the strongest relevance of an image to outline.
    """

    title: str | None = None
    ax: Any = None
    cmap: Any = None
    alpha: float | None = None
    limit: Any = None
    figsize: Any = None
    contours: float | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None:
            check_alpha(self.alpha)
        if self.cmap is not None:
            colours.ramp(self.cmap, True)
        colours.limits(np.zeros((1, 1)), self.limit)
        if self.contours is not None and not 0 < self.contours < 1:
            raise OptionError(
                f"contours={self.contours!r}.", "a share between 0 and 1, or None"
            )

    def heading(self, default: str) -> str:
        """Return the title, or the default."""
        return default if self.title is None else self.title


@dataclass(frozen=True)
class Panel:
    """One input of an explanation, with channels last.

    Attributes:
        e: The explanation.
        x: The input (B, ...); None where it is not stored.
        relevance: (B, T, ...), not reduced.
        heatmaps: (B, T, ...) without channels.
        titles: The titles (B, T): the target, and its score on a second line.
        features: The names of columns or channels, or None.
        tokens: The texts of the tokens of each sample, or None.
        boxes: Outlines for each sample, or None.
        mask: (B, H, W), outlined in every map; or None.
        name: The name of the input, where the model has several.
        sources: How many tokens of each sample an encoder reads, or None.
    """

    e: Any
    x: Any
    relevance: np.ndarray
    heatmaps: np.ndarray
    titles: np.ndarray
    features: Sequence[str] | None = None
    tokens: Sequence[Sequence[str]] | None = None
    boxes: Any = None
    mask: Any = None
    name: str = ""
    sources: Any = None

    @property
    def ndim(self) -> int:
        """The number of axes of the input, with its channels."""
        if self.x is not None:
            return int(self.x.ndim)
        table = self.heatmaps.ndim == 3 and self.relevance.ndim == 3
        return 2 if table else self.heatmaps.ndim

    @property
    def signed(self) -> bool:
        """True if some relevance is negative."""
        return bool((self.heatmaps < 0).any())

    def heading(self, look: Look) -> str:
        """Return the title of the figure: the method, and the name of the input."""
        part = f" · {self.name}" if self.name else ""
        return look.heading(f"{self.e.method}{part}")


def drawn_heatmap(e: Any, reduce: str = "own", which: int | str = 0) -> np.ndarray:
    """Return the heatmap as figures draw it: of CAMs the positive part, as in papers.

    Args:
        e: The `Explanation`.
        reduce: How channels are reduced; another value than "own" keeps both signs.
        which: The number or the name of the input.
    """
    heat = np.asarray(e.heatmap(reduce, which))
    positive = reduce == "own" and e.method in POSITIVE
    return np.maximum(heat, 0) if positive else heat


def panels_of(
    e: Any, reduce: str, which: int | str | None, columns: Any, names: Any,
    features: Any, tokens: Any, boxes: Any, mask: Any,
) -> list[Panel]:  # fmt: skip
    """Return the panels of an explanation, one for each input that is drawn.

    Raises:
        OptionError: The number of names, features, boxes or masks does not fit.
    """
    relevance = listed(e.relevance)
    tokens = e.tokens if tokens is None else tokens
    numbers = drawn_inputs(e) if which is None else [number_of(e, which)]
    shape = (len(e), e.target[0].size)
    titled = _titles(e, shape, columns, names)
    for_samples(boxes, "boxes", len(e))
    for_samples(mask, "mask", len(e))
    found = []
    for number in numbers:
        values = by_target(e, relevance[number])
        heat = drawn_heatmap(e, reduce, number)
        heat = heat.reshape(*shape, *heat.shape[e.target.ndim :])
        x = None if e.inputs is None else np.asarray(e.input_channels_last(number))
        chosen = features_of(e, number, features)
        own = None if chosen is None else [str(f) for f in chosen]
        place = token_input(e.inputs) if tokens is not None else -1
        several = len(relevance) > 1
        name = (
            e.input_names[number] if number < len(e.input_names) else f"input {number}"
        )
        panel = Panel(
            e, x, values, heat, titled, own,
            checked_tokens(tokens, values) if number == place else None,
            boxes, mask, name if several else "", _sources(e),
        )  # fmt: skip
        _check_features(panel)
        found.append(panel)
    return found


def _sources(e: Any) -> list[int] | None:
    """How many tokens of each sample an encoder reads, or None."""
    found = e.extra.get("source_tokens")
    return None if found is None else np.asarray(found).tolist()


def listed(value: Any) -> list[Any]:
    """Return the value as a list."""
    return value if isinstance(value, list) else [value]


def channels_last(e: Any, array: np.ndarray, axis: int) -> np.ndarray:
    """Return an array of an explanation with the axis of its channels last."""
    first = e.extra.get("data_format") == "channels_first"
    return np.moveaxis(array, axis, -1) if first else array


def by_target(e: Any, relevance: Any) -> np.ndarray:
    """Return relevance (B, T, ...), channels last."""
    array = channels_last(e, np.asarray(relevance), e.target.ndim)
    return array.reshape(len(e), -1, *array.shape[e.target.ndim :])


def drawn_inputs(e: Any) -> list[int]:
    """Return the numbers of the inputs with relevance; a mask has none.

    All inputs are returned if none has relevance.
    """
    if not isinstance(e.relevance, list):
        return [0]
    some = [i for i, r in enumerate(e.relevance) if np.asarray(r).any()]
    return some or list(range(len(e.relevance)))


def number_of(e: Any, which: int | str) -> int:
    """Return the number of an input, given its number or its name.

    Raises:
        OptionError: There is no such input.
    """
    count = len(listed(e.relevance))
    known = list(e.input_names)
    if isinstance(which, str) and which in known:
        return known.index(which)
    if not isinstance(which, str) and 0 <= which < count:
        return int(which)
    names = f" or its name, of {known}" if known else ""
    raise OptionError(
        f"which={which!r}.",
        f"the number of an input of the model, 0 to {count - 1}{names}",
    )


def features_of(e: Any, number: int, given: Any = None) -> Any:
    """Return the given names of the features of an input, or its own; else None."""
    features = e.features if given is None else given
    if isinstance(features, Mapping):
        name = e.input_names[number] if number < len(e.input_names) else number
        return features.get(name)
    several = len(listed(e.relevance)) > 1
    return None if several and given is None else features


def checked_tokens(tokens: Any, values: np.ndarray) -> list[list[str]]:
    """Return the texts of tokens; OptionError where they do not fit the relevance."""
    rows = [tokens] if len(tokens) and isinstance(tokens[0], str) else tokens
    rows = [[str(t) for t in row] for row in rows]
    length = values.shape[2]
    if len(rows) != len(values) or any(len(row) > length for row in rows):
        raise OptionError(
            f"tokens holds {len(rows)} lists of up to "
            f"{max((len(r) for r in rows), default=0)} texts, and the relevance has "
            f"{len(values)} samples of {length} positions.",
            "one list of texts for each sample, one text for each position",
            "tokens=[tokenizer.tokenize(text) for text in texts]",
        )
    return rows


def for_samples(values: Any, option: str, count: int) -> None:
    """Raise OptionError unless there is an entry for each sample, or None."""
    if values is not None and len(values) != count:
        raise OptionError(
            f"{option} has {len(values)} entries for {count} samples.",
            "one entry for each sample",
        )


def _titles(e: Any, shape: tuple[int, int], columns: Any, names: Any) -> np.ndarray:
    """The titles (B, T)."""
    if columns is None:
        return all_titles(e, names)
    try:
        return np.broadcast_to(np.asarray(columns, object), shape)
    except ValueError as error:
        raise OptionError(
            f"columns has the shape {np.shape(columns)}, and there are {shape[0]} "
            f"samples of {shape[1]} targets.",
            "one title for each target",
        ) from error


def _check_features(panel: Panel) -> None:
    """Raise OptionError for a wrong number of names."""
    if panel.features is None or panel.ndim > 3:
        return
    source = panel.relevance if panel.x is None else panel.x
    width = source.shape[-1]
    check_features(panel.features, width, panel.ndim == 2)


def check_features(features: Sequence[str], width: int, table: bool) -> None:
    """Raise OptionError unless there is one name for each column or channel."""
    if len(features) != width:
        what = "columns" if table else "channels"
        raise OptionError(
            f"{len(features)} names of features, but the input has {width} {what}.",
            f"one name for each of them, in the order of the {what}",
        )


def undrawable(x: Any, relevance: np.ndarray) -> InputError:
    """Return the error for an input that has no figure."""
    shape = relevance.shape if x is None else x.shape
    return InputError(
        f"Inputs of shape {shape} cannot be drawn.",
        "images (B, H, W, C), volumes (B, D, H, W, C), series (B, L, C) or tables "
        "(B, F)",
        "explanation.heatmap()",
    )


def one_panel(
    e: Any, names: Any, features: Any, which: int | str | None, tokens: Any = None
) -> Panel:
    """The panel of one input."""
    found = panels_of(e, "own", which, None, names, features, tokens, None, None)
    return found[0]


def of_target(e: Any, target: int) -> Any:
    """The explanation with one target for each sample."""
    if not hasattr(e, "option_names") and hasattr(e, "explanation"):
        e = e.explanation()
    if e.target.ndim == 1:
        return e
    count = e.target.shape[1]
    if not 0 <= target < count:
        raise OptionError(f"target={target!r}.", f"a number from 0 to {count - 1}")
    several = isinstance(e.relevance, list)
    relevance = [np.asarray(r)[:, target] for r in listed(e.relevance)]
    extra = {
        k: v[:, target] if isinstance(v, np.ndarray) and v.shape[:2] == e.target.shape
        else v
        for k, v in e.extra.items()
    }  # fmt: skip
    return replace(
        e, relevance=relevance if several else relevance[0], extra=extra,
        target=e.target[:, target], score=e.score[:, target],
    )  # fmt: skip
