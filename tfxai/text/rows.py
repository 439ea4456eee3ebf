"""Rows: one sequence of a batch, and the explanations of many as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfxai.core.explanation import Explanation
from tfxai.core.targets import TOP
from tfxai.text.arrays import BY_TOKEN, joined
from tfxai.text.readers import Ids, Reader, batch_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Row:
    """One sequence.

    Attributes:
        text: The ids of the text, which an encoder reads.
        prefix: The ids that the next token follows: of a decoder of its own those that
            it begins with, else the text; then the answer so far.
        begin: How many ids of the prefix are no answer.
        seen: What the model reads of an image or of audio, or None.
    """

    text: Ids
    prefix: Ids
    begin: int
    seen: Array | None = None

    def after(self, answer: Sequence[int]) -> "Row":
        """Return the row with an answer behind it."""
        return replace(self, prefix=[*self.prefix, *answer])


@dataclass(frozen=True)
class Case:
    """What is explained at once: tokens that follow a row, and a contrasted token."""

    row: Row
    answer: Ids
    other: int | None = None


@dataclass(frozen=True)
class Part:
    """The explanation of a case.

    Attributes:
        relevance: Of the ids of an encoder, then of the prefix, (n,).
        score: The explained number.
        seen: Relevance of the image or the audio, or None.
        arrays: Further arrays of the method, by name.
        options: What the explanation records of the method.
    """

    relevance: Array
    score: float
    seen: Array | None = None
    arrays: Mapping[str, Array] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def length_of(e: Explanation, at: tuple[int, ...]) -> int:
    """Return the number of tokens that one target of an explanation depends on.

    Relevance behind it is padding: each generated token has a longer prefix.
    """
    assert e.tokens is not None
    length = len(e.tokens[at[0]])
    if "answer" in e.extra and e.target.ndim == 2:
        count = max(1, int((e.target[at[0]] != TOP).sum()))
        length -= count - 1 - at[1]
    return length


def has_token(e: Explanation, at: tuple[int, ...]) -> bool:
    """Return whether an index of targets has a token: False where an answer ended."""
    return "target_function" in e.extra or bool(e.target[at] != TOP)


def cases_of(
    rows: Sequence[Row],
    answers: Sequence[Ids],
    others: Sequence[int] | None,
    whole: bool,
) -> list[Case]:
    """Return a case for each token of each answer, or for each answer as a whole."""
    found = []
    for row, answer in zip(rows, answers, strict=True):
        if whole:
            found.append(Case(row.after(answer[:-1]), answer))
            continue
        for k, token in enumerate(answer):
            other = None if others is None else others[k]
            found.append(Case(row.after(answer[:k]), [token], other))
    return found


def packed(
    parts: Sequence[Part],
    rows: Sequence[Row],
    answers: Sequence[Ids],
    reader: Reader,
    one: bool,
    whole: bool,
    others: Sequence[int] | None = None,
) -> Explanation:
    """Return the explanation of all prompts and tokens, without the method's name.

    Args:
        parts: The parts, those of the first prompt first.
        rows: The rows before their answers.
        answers: The explained tokens of each row.
        reader: How the model reads texts.
        one: There is one prompt: each token is a sample.
        whole: Each answer is explained as a whole.
        others: The contrasted token of each generated token.
    """
    targets = [a[:1] if whole else a for a in answers]
    encoder = [[] if reader.start is None else r.text for r in rows]
    every = zip(encoder, rows, answers, strict=True)
    full = [[*s, *r.prefix, *a] for s, r, a in every]
    lengths = [len(p.relevance) for p in parts]
    width, count = max(lengths), max(map(len, targets))
    # The place of each part: an answer that ended has fewer tokens than the longest.
    places = [b * count + k for b, t in enumerate(targets) for k in range(len(t))]
    size = len(rows) * count
    relevance: Array = np.zeros((size, width), np.float32)
    for i, part in zip(places, parts, strict=True):
        relevance[i, : len(part.relevance)] = part.relevance
    score: Array = np.full(size, np.nan, np.float32)
    score[places] = [p.score for p in parts]
    target = np.full(size, TOP)
    target[places] = [t for row in targets for t in row]
    words = [reader.words(row) for row in full]
    inputs = [r.seen for r in rows]
    seen: Any = None
    if parts[0].seen is not None:
        seen = np.zeros((size, *parts[0].seen.shape), np.float32)
        seen[places] = [p.seen for p in parts]
    spread: list[dict[str, Array] | None] = [None] * size
    for i, part in zip(places, parts, strict=True):
        spread[i] = dict(part.arrays)
    arrays = joined(spread, width)
    if one:
        tokens = [words[0][:n] for n in lengths]
        ids = batch_of([full[0][:n] for n in lengths], width)[0]
        inputs *= len(parts)
    else:
        shape = (len(rows), count)
        relevance = relevance.reshape(*shape, width)
        score, target = score.reshape(shape), target.reshape(shape)
        ends = np.cumsum([len(t) for t in targets])
        tokens = [w[: lengths[n - 1]] for w, n in zip(words, ends, strict=True)]
        ids = batch_of([r[:width] for r in full], width)[0]
        seen = None if seen is None else seen.reshape(*shape, *seen.shape[1:])
        arrays = {k: v.reshape(*shape, *v.shape[1:]) for k, v in arrays.items()}
        for name in set(BY_TOKEN).intersection(arrays):
            arrays[name] = arrays[name].max(1)  # the last token has all before it
    extra: dict[str, Any] = {"answer": [reader.text(a) for a in answers]}
    extra |= parts[0].options
    given = list(extra)
    if others is not None:
        extra["contrast_token"] = np.resize(others, target.shape)
    if whole:
        extra["target_function"] = "answer"
        given.append("target_function")
        target = np.full_like(target, TOP)
    several = seen is not None
    beside = "" if reader.signal is None else reader.signal.name
    if reader.start is not None:
        extra["source_tokens"] = np.resize([len(s) for s in encoder], len(target))
    return Explanation(
        [relevance, seen] if several else relevance, target, score, "",
        [ids, np.stack(inputs)] if several else ids,  # type: ignore[arg-type]
        extra | arrays, tokens=tokens, option_names=given,
        input_names=("token_ids", beside) if several else (),
    )  # fmt: skip
