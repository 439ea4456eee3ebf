"""Words as players: a text is evaluated with some of its words removed or masked."""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import (
    InputError,
    ModelError,
    NothingToExplainWarning,
    OptionError,
)
from tfxai.core import registry
from tfxai.core.explanation import Explanation
from tfxai.sampling.texts import Pieces, pieces_of
from tfxai.text.arrays import BY_PAIR, BY_PLAYER, arrays_of, joined, options_of
from tfxai.text.groups import UNITS, Groups, groups_of_pieces, hierarchy_of
from tfxai.viz.words import is_special, merged

Array = np.ndarray[Any, Any]
#: (masks (N, d) of 0 and 1) -> outputs (N, n).
Value = Callable[[Array], Array]


def is_game(method: str) -> bool:
    """Return whether a method evaluates a model with parts of its input covered."""
    return bool(registry.lookup(method).family == "sampling")


#: Methods whose relevance is no difference of the outputs with and without a player.
SHARES = ("sobol", "hsic")


class WordGame:
    """A sampling method whose players are words, sentences or paragraphs.

    Args:
        method: The name of the method.
        options: Its options; `unit` is "words", "sentences" or "paragraphs", and
            `mask_token` what replaces each token of a player that is left out; None
            removes it.
    """

    def __init__(self, method: str, options: dict[str, Any]) -> None:
        if "baseline" not in registry.lookup(method).options:
            raise OptionError(
                f"The method {method!r} does not explain words.",
                "a method with a baseline, such as kernel_shap, lime or occlusion",
                'method="kernel_shap"',
            )
        given = {"baseline": 0, **options}
        self.method = method
        self.unit = given.pop("unit", "words")
        self.mask_token = given.pop("mask_token", None)
        if self.unit not in UNITS:
            raise OptionError(f"unit={self.unit!r}.", f"one of {sorted(UNITS)}")
        self._options = given
        registry.lookup(method).check_options(given)
        #: The hierarchy of the players is that of the text.
        self.by_groups = (
            "hierarchy" in registry.lookup(method).options
            and given.get("hierarchy", "auto") == "auto"
        )

    def players(self, texts: Sequence[str]) -> Array:
        """Return the player (n,) of each text; -1 is a special token, no player."""
        numbers = np.full(len(texts), -1)
        player, complete = -1, True
        for i, text in enumerate(texts):
            if is_special(text):
                complete = True
                continue
            player += complete
            numbers[i] = player
            ending = UNITS[self.unit]
            complete = not ending or bool(re.search(ending, text))
        return numbers

    def played(
        self,
        players: Array,
        value: Value,
        target: Any = None,
        batch_size: int = 32,
        groups: Groups | None = None,
    ) -> Explanation:
        """Return the explanation (1, d) of the players, by the method.

        Args:
            players: The player (n,) of each token.
            value: The outputs for masks of the players.
            target: What is explained.
            batch_size: How many masks are evaluated at once.
            groups: The sentences and paragraphs of the tokens.
        """
        count = int(players.max(initial=-1)) + 1
        if not count:
            raise InputError("The text has no word.", "a text of at least one word")
        if count == 1 and self.method in SHARES:
            raise InputError(
                f"The text has one player, and {self.method!r} compares players.",
                "a text of at least two words, or a method of differences",
                'method="kernel_shap"',
            )
        options = dict(self._options)
        if self.by_groups and groups is not None:
            options["hierarchy"] = hierarchy_of(players, groups)
        analyzer = registry.create_analyzer(self.method, value, **options)
        # Games need two players: beside a single word stands one of no effect.
        x: Array = np.ones((1, max(count, 2)), np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NothingToExplainWarning)
            e = analyzer.analyze(x, target, batch_size)
        return e if count > 1 else _of_one(e)


def _of_one(e: Explanation) -> Explanation:
    """The explanation of the first player of two."""
    extra = dict(e.extra)
    for name in BY_PLAYER.intersection(extra):
        array = np.asarray(extra[name])[..., :1]
        extra[name] = array[..., :1, :] if name in BY_PAIR else array
    return replace(e, relevance=np.asarray(e.relevance)[..., :1], extra=extra)


def players_of(game: WordGame, tokens: Sequence[str]) -> Array:
    """Return the player of each token, by the texts of the tokens; -1 is none."""
    words, word_of = merged(tokens)
    players: Array = game.players(words)[np.asarray(word_of)]
    return players


def of_masks(
    players: Array,
    ids: Sequence[Sequence[int]],
    mask_id: int | None,
    value: Callable[[list[list[list[int]]]], Array],
) -> Value:
    """Return the outputs for masks of players, by those for ids.

    Args:
        players: The player of each token.
        ids: The ids of each sequence: of source and prefix, or of one.
        mask_id: The id of the mask token; None removes ids.
        value: Rows of ids for each sequence -> outputs (N, n).
    """
    ends = np.cumsum([len(part) for part in ids])
    every = [i for part in ids for i in part]

    def outputs(masks: Array) -> Array:
        rows = []
        for mask in np.asarray(masks):
            kept = (players < 0) | (np.asarray(mask)[players] > 0.5)
            start, row = 0, []
            for end in ends:
                part = [
                    every[i] if kept[i] else mask_id
                    for i in range(start, end)
                    if kept[i] or mask_id is not None
                ]
                row.append(part)
                start = end
            rows.append(row)
        return value(rows)  # type: ignore[arg-type]

    return outputs


def of_ids(
    game: WordGame,
    players: Array,
    outputs: Value,
    target: Any = None,
    batch_size: int = 32,
    groups: Groups | None = None,
) -> tuple[Array, Explanation]:
    """Return the relevance (n,) or (T, n) of tokens, and the explanation of players.

    The relevance of a player is divided evenly among its tokens, so that sums over
    words and sentences are its own.
    """
    e = game.played(players, outputs, target, batch_size, groups)
    relevance = np.asarray(e.relevance)[0]
    sizes = np.bincount(players[players >= 0], minlength=relevance.shape[-1])
    shares = np.append(relevance / sizes, np.zeros((*relevance.shape[:-1], 1)), -1)
    return shares[..., players], e


def of_texts(
    game: WordGame,
    predict: Callable[[list[str]], Any],
    texts: Sequence[str],
    target: Any,
    batch_size: int = 32,
) -> Explanation:
    """Return the explanation of a function of texts: relevance of words, (B, words).

    Args:
        game: The game.
        predict: A function `texts -> outputs (N, classes)`.
        texts: The texts.
        target: A class, or (B,) classes; None is the top class of each text.
        batch_size: How many texts the function gets at once.
    """
    if not texts:
        raise InputError("There is no text.", "at least one", '["a text"]')
    goals = target if isinstance(target, list | tuple | np.ndarray) else None
    if goals is not None and len(goals) != len(texts):
        raise OptionError(
            f"{len(goals)} targets for {len(texts)} texts.", "one, or one for each text"
        )
    parts, labels, arrays = [], [], []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"The text is {text!r}.", "a text of at least one word")
        pieces = pieces_of(text, SEGMENTERS[game.unit], game.mask_token or "")
        goal = target if goals is None else goals[number]
        numbers = np.arange(len(pieces.spans))
        groups = groups_of_pieces(pieces) if game.by_groups else None
        e = game.played(
            numbers,
            _evaluated(predict, pieces),
            None if goal is None else int(goal),
            batch_size,
            groups,
        )
        parts.append(e)
        arrays.append(arrays_of(e, numbers, groups))
        labels.append([w.strip() for w in pieces.words])
    width, options = max(map(len, labels)), options_of(game, parts[0])
    relevance: Array = np.zeros((len(parts), width), np.float32)
    for row, e in zip(relevance, parts, strict=True):
        values = np.asarray(e.relevance)[0]
        row[: len(values)] = values
    inputs: Array = np.zeros(relevance.shape, np.int32)
    for row, label in zip(inputs, labels, strict=True):
        row[: len(label)] = 1
    return Explanation(
        relevance, np.concatenate([e.target for e in parts]),
        np.concatenate([e.score for e in parts]), game.method, inputs,
        {**joined(arrays, width), **options}, tokens=labels,
        option_names=list(options),
    )  # fmt: skip


def _evaluated(predict: Callable[[list[str]], Any], pieces: Pieces) -> Value:
    """The outputs for masks of the pieces of a text."""

    def value(masks: Array) -> Array:
        count = len(pieces.spans)
        made = [pieces.copy(mask[:count] > 0.5) for mask in np.asarray(masks)]
        y = _numbers(predict(made))
        if y.ndim not in (1, 2) or len(y) != len(made):
            raise ModelError(
                f"The function returned shape {y.shape} for {len(made)} texts.",
                "one row of outputs for each text, (N, classes)",
            )
        return y.reshape(len(y), -1)

    return value


def _numbers(outputs: Any) -> Array:
    """What a function of texts returned, as numbers."""
    try:
        return np.asarray(outputs, np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"The function returned {str(outputs)[:60]}, which are no numbers.",
            "one row of outputs for each text, (N, classes)",
        ) from error


def _paragraphs(text: str) -> list[str]:
    """The parts between line breaks."""
    return [p for p in re.split(r"\s*\n\s*", text.strip()) if p]


#: The pieces of texts, by the name of the option `unit`.
SEGMENTERS = {"words": "words", "sentences": "sentences", "paragraphs": _paragraphs}
