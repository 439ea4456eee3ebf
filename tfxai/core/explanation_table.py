"""Explanations as tables: a row per sample, target and element; sums over groups."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import is_int
from tfxai.viz.cells import target_name
from tfxai.viz.panel import by_target, features_of, listed
from tfxai.viz.words import merged, token_input

Array = np.ndarray[Any, Any]
#: The names of the axes of an input without channels, by their number.
AXES = {1: ("feature",), 2: ("y", "x"), 3: ("z", "y", "x")}


def columns(e: Any) -> dict[str, Array]:
    """Return the columns of `Explanation.to_dataframe`, of one length."""
    several = len(listed(e.relevance)) > 1
    parts = []
    for number in range(len(listed(e.relevance))):
        part = _columns_of_input(e, number)
        name = e.input_names[number] if number < len(e.input_names) else number
        length = len(part["relevance"])
        head = {"input": np.full(length, name, object)} if several else {}
        parts.append({**head, **part})
    names = list(dict.fromkeys(n for part in parts for n in part))
    return {
        n: np.concatenate([_column(part, n) for part in parts]) for n in names
    }  # fmt: skip


def _column(part: dict[str, Array], name: str) -> Array:
    """A column of a part; None in each row where the part has none."""
    return part.get(name, np.full(len(part["relevance"]), None, object))


def _columns_of_input(e: Any, number: int) -> dict[str, Array]:
    """The columns of one input."""
    targets = e.target.reshape(len(e), -1)
    relevance = by_target(e, listed(e.relevance)[number])
    x = None if e.inputs is None else e.input_channels_last(number)
    if relevance.ndim > 4 or (relevance.ndim == 4 and relevance.shape[-1] == 1):
        relevance = relevance.sum(-1)  # images and volumes: channels summed
        x = x[..., 0] if x is not None and x.ndim == 3 and x.shape[-1] == 1 else x
    series = x.ndim == 3 if x is not None else relevance.ndim == 4
    space = relevance.shape[2:]
    names = ("position", "channel")[: len(space)] if series else AXES[len(space)]
    at: Array = np.array(np.indices(relevance.shape))
    keep = _kept(e, number, at)
    sample, column, *where = [at[i][keep] for i in range(len(at))]
    labels = np.array(
        [[target_name(int(t), e.names, e.extra) for t in row] for row in targets],
        object,
    )
    found: dict[str, Array] = {
        "sample": sample,
        "target": labels[sample, column],
        "score": e.score.reshape(targets.shape)[sample, column],
        **_texts(e, number, names, sample, where),
    }
    if x is not None and x.ndim == len(where) + 1 and x.ndim < 4:
        found["value"] = x[(sample, *where)]
    found["relevance"] = relevance[keep]
    return found


def _kept(e: Any, number: int, at: Array) -> Array:
    """False for positions behind the last token of a sample."""
    if e.tokens is None or at.shape[0] != 3 or token_input(e.inputs) != number:
        return np.ones(at.shape[1:], bool)
    lengths = np.array([len(row) for row in e.tokens])
    keep: Array = at[2] < lengths[at[0]]
    return keep


def _texts(
    e: Any, number: int, names: Sequence[str], sample: Array, where: list[Array]
) -> dict[str, Array]:
    """The columns of texts: tokens, or the names of the features or channels."""
    of_tokens = e.tokens is not None and token_input(e.inputs) == number
    if of_tokens and names == ("feature",):
        texts = [e.tokens[i][j] for i, j in zip(sample, where[0], strict=True)]
        return {"position": where[0], "token": np.array(texts, object)}
    known = features_of(e, number)
    found = dict(zip(names, where, strict=True))
    if known is None or names[-1] not in ("feature", "channel"):
        return found
    return found | {names[-1]: np.array(list(map(str, known)), object)[where[-1]]}


# -- sums over groups ----------------------------------------------------------------


def summed(e: Any, groups: Any) -> Any:
    """Return the explanation of groups of elements; see `Explanation.sum_by`."""
    if len(listed(e.relevance)) > 1:
        raise OptionError(
            "sum_by of an explanation of several inputs.",
            "that of one input",
            f"e[{(list(e.input_names) or ['input'])[0]!r}].sum_by(...)",
        )
    if isinstance(groups, str):
        if groups == "words":
            return _words(e)
        groups = _segments(e, groups)
    relevance = by_target(e, e.relevance)
    if isinstance(groups, Mapping):
        groups = _labels_of_columns(e, groups, relevance.shape[-1])
    labels = np.asarray(groups, object if _has_text(groups) else None)
    space = relevance.shape[2:]
    positions = space[:-1] if len(space) > 1 else space
    if labels.shape in (positions, (len(e), *positions)) and len(space) > 1:
        return _summed(e, relevance.sum(-1), labels)
    if labels.shape not in (space, (len(e), *space)):
        raise OptionError(
            f"Groups of shape {labels.shape} for relevance of shape {space}.",
            f"one label for each position, of shape {positions}",
            "e.sum_by(labels)",
        )
    return _summed(e, relevance, labels)


def _has_text(groups: Any) -> bool:
    return isinstance(groups, list | tuple) and any(isinstance(g, str) for g in groups)


def _summed(e: Any, relevance: Array, labels: Array) -> Any:
    """The explanation of the groups of labels, in the order of their first element."""
    names = list(dict.fromkeys(labels.ravel().tolist()))
    if not _has_text(names):
        names = sorted(names)
    every = np.broadcast_to(labels, (len(e), *labels.shape[-relevance.ndim + 2 :]))
    member = np.stack([every == n for n in names], 1).reshape(len(e), len(names), -1)
    flat = relevance.reshape(*relevance.shape[:2], -1)
    total = np.einsum("bte,bge->btg", flat, member.astype(flat.dtype))
    return replace(
        e,
        relevance=total.reshape(*e.target.shape, len(names)),
        inputs=_values_of_groups(e, relevance, member),
        features=[str(n) for n in names],
        tokens=None,
        extra=_without_arrays(e),
    )


def _values_of_groups(e: Any, relevance: Array, member: Array) -> Array:
    """The value of each group of one element (of images the mean); else NaN."""
    values = np.full(member.shape[:2], np.nan, np.float32)
    if e.inputs is None:
        return values
    x, count = np.asarray(e.input_channels_last()), member.sum(-1)
    if x.dtype.kind in "OSUMm":  # texts, dates and objects
        first = np.take_along_axis(x.reshape(len(e), -1), member.argmax(-1), 1)
        return np.where(count == 1, first.astype(object), np.nan)
    x = x.astype(np.float64)
    if x.shape[1:] != relevance.shape[2:]:
        x = x.mean(-1)
    mean = np.einsum("be,bge->bg", x.reshape(len(e), -1), member.astype(float))
    alone = (count == 1) | (relevance.ndim > 3)
    return np.where(alone, mean / np.maximum(count, 1), np.nan).astype(np.float32)


def _without_arrays(e: Any) -> dict[str, Any]:
    """The entries of `extra` without those of the shape of the input."""
    left_out = ("heatmap", "segments", "coefficients", "data_format")
    return {k: v for k, v in e.extra.items() if k not in left_out}


def _segments(e: Any, groups: str) -> Array:
    """The segments of the explanation."""
    if groups != "segments" or "segments" not in e.extra:
        raise OptionError(
            f"sum_by({groups!r}), and the explanation by {e.method!r} has no such "
            "groups.",
            '"words" for tokens, "segments" where segments are masked, or labels',
            "e.sum_by(labels)",
        )
    return np.asarray(e.extra["segments"])


def _labels_of_columns(e: Any, groups: Mapping[Any, Any], width: int) -> list[Any]:
    """The group of each column; its own name where it has none."""
    names = e.features if e.features is not None else list(range(width))
    known = [str(n) for n in names]
    found = list(known)
    for group, members in groups.items():
        for member in members:
            text = str(member)
            if text in known:
                column = known.index(text)
            elif is_int(member) and -width <= member < width:
                column = int(member)
            else:
                raise OptionError(
                    f"The group {group!r} has a column {member!r}.",
                    f"one of {known[:20]}, or a number below {width}",
                )
            found[column] = str(group)
    return found


def _words(e: Any) -> Any:
    """The explanation of whole words."""
    if e.tokens is None:
        raise OptionError(
            'sum_by("words") of an explanation without tokens.',
            "the texts of the tokens",
            "tfxai.explain(model, x, tokens=[[...], ...])",
        )
    relevance = by_target(e, e.relevance)
    relevance = relevance.sum(-1) if relevance.ndim == 4 else relevance
    rows = [merged(tokens) for tokens in e.tokens]
    width = max(len(words) for words, _ in rows)
    total = np.zeros((*relevance.shape[:2], width), np.float32)
    for i, (_, word_of) in enumerate(rows):
        for position, word in enumerate(word_of):
            total[i, :, word] += relevance[i, :, position]
    return replace(
        e,
        relevance=total.reshape(*e.target.shape, width),
        inputs=np.tile(np.arange(width, dtype=np.float32), (len(e), 1)),
        features=None,
        tokens=[words for words, _ in rows],
        extra=_without_arrays(e),
    )
