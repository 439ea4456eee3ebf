"""The sentences and paragraphs of texts, as a hierarchy of their words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.sampling.texts import Pieces
from tfxai.viz.words import merged

Array = np.ndarray[Any, Any]
#: What ends a player, by the name of the option `unit`.
UNITS = {"words": "", "sentences": r"[.!?…]['\")\]]*\s*$", "paragraphs": r"[\nĊ]"}


@dataclass(frozen=True)
class Groups:
    """The numbers of the sentence and of the paragraph of each token, (n,)."""

    sentences: Array
    paragraphs: Array

    def cut(self, length: int) -> "Groups":
        """Return those of the first tokens."""
        return Groups(self.sentences[:length], self.paragraphs[:length])


def groups_of(tokens: Sequence[str]) -> Groups:
    """Return the sentences and paragraphs of the tokens of a text."""
    words, word_of = merged(tokens)
    sentence, paragraph = 0, 0
    found = []
    for word in words:
        found.append((sentence, paragraph))
        ends = bool(re.search(UNITS["paragraphs"], word))
        paragraph += ends
        sentence += ends or bool(re.search(UNITS["sentences"], word))
    numbers: Array = np.array(found)[np.asarray(word_of)]
    return Groups(numbers[:, 0], numbers[:, 1])


def hierarchy_of(players: Array, groups: Groups) -> Any:
    """Return paragraphs of sentences of players, as nested pairs of numbers.

    The parts of a text, of a paragraph and of a sentence are halved again and again.
    """
    tree: dict[int, dict[int, list[int]]] = {}
    numbers, first = np.unique(players, return_index=True)
    for player, at in zip(numbers.tolist(), first, strict=True):
        if player >= 0:
            paragraph = tree.setdefault(int(groups.paragraphs[at]), {})
            paragraph.setdefault(int(groups.sentences[at]), []).append(player)
    parts = [_halved([_halved(s) for s in p.values()]) for p in tree.values()]
    whole = _halved(parts)
    return [whole, 1] if isinstance(whole, int) else whole  # see `played`


def _halved(parts: Sequence[Any]) -> Any:
    """Parts as nested pairs of halves."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return [_halved(parts[:middle]), _halved(parts[middle:])]


def groups_of_pieces(pieces: Pieces) -> Groups:
    """Return the sentences and paragraphs of the pieces of a text."""
    ends = [a for a, _ in pieces.spans[1:]] + [len(pieces.text)]
    return groups_of([
        pieces.text[a:b].rstrip() + "\n" * ("\n" in pieces.text[b:end])
        for (a, b), end in zip(pieces.spans, ends, strict=True)
    ])  # fmt: skip
