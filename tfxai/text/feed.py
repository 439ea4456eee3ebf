"""The feed of a model of texts: rows in, checked inputs and outputs out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.core.model import ModelWrapper
from tfxai.text.games import WordGame, of_masks, players_of
from tfxai.text.readers import IMAGES, Ids, Reader, batch_of, inputs_of
from tfxai.text.rows import Case, Row

Array = np.ndarray[Any, Any]


#: What stands for a text without words, where the model adds no token of its own.
EMPTY = [0]


class Feed:
    """A model of texts and how it reads them.

    Args:
        wrapped: The model.
        reader: How it reads texts.
    """

    def __init__(self, wrapped: ModelWrapper, reader: Reader) -> None:
        self.wrapped, self.reader = wrapped, reader

    def row(self, text: Ids, pixels: Array | None) -> Row:
        """Return the row of a text, before the first generated token."""
        prefix = text if self.reader.start is None else list(self.reader.start)
        return Row(text, prefix, len(prefix), pixels)

    def pixels(self, images: Any, count: int) -> Sequence[Array | None]:
        """Return what the model reads of images, one for each text."""
        if images is None:
            return [None] * count
        if IMAGES not in self.wrapped.input_names:
            raise OptionError(
                "images is given, and the model reads texts alone.",
                "a vision-language model, with an input named 'images'",
            )
        given = np.asarray(images)
        given = given[None] if given.ndim == 3 else given
        if given.ndim != 4 or len(given) != count:
            raise InputError(
                f"images has shape {np.shape(images)} for {count} text(s).",
                f"({count}, height, width, channels)",
            )
        return list(np.asarray(self.reader.pixels(given)))

    def batch(self, rows: Sequence[Row], length: int) -> list[Array]:
        """Return the checked inputs for rows, padded to a bucket."""
        made, size = [r.prefix for r in rows], self.reader.bucket(length)
        ids, mask = batch_of(made, size, self.reader.pad)
        source, images = None, None
        if self.reader.start is not None:
            texts = [r.text for r in rows]
            source = batch_of(texts, self.reader.bucket(max(map(len, texts))))
        if rows[0].pixels is not None:
            images = np.stack([r.pixels for r in rows])  # type: ignore[misc]
        names, begin = self.wrapped.input_names, [r.begin for r in rows]
        found = inputs_of(names, ids, mask, source, images, begin)
        return self.wrapped.checked(found)

    def answer_game(
        self,
        game: WordGame,
        case: Case,
        behind: Ids = (),  # type: ignore[assignment]
    ) -> tuple[Array, Callable[[Array], Array]]:
        """Return the player of each token, and the value of masks of players.

        The value is the log-probability of the answer, or the difference of logits.

        Args:
            game: The game.
            case: What is explained.
            behind: The tokens behind the prefix, which also tell where words begin.
        """
        row, answer, other, reader = case.row, case.answer, case.other, self.reader
        split = [row.prefix[: row.begin], row.prefix[row.begin :]]
        parts = split if reader.start is None else [row.text, *split]

        def value(made: list[list[Ids]]) -> Array:
            # A token needs one before it.
            begins = [
                r[-2] if len(r[-2]) + len(r[-1]) >= len(answer) else EMPTY for r in made
            ]
            rows = [
                Row(r[0] or EMPTY, [*b, *r[-1]], len(b), row.pixels)
                for r, b in zip(made, begins, strict=True)
            ]
            inputs = self.batch(rows, len(row.prefix))
            ends = np.array([len(r.prefix) for r in rows])
            total = np.zeros(len(rows))
            for i, token in enumerate(answer):
                at = (ends - len(answer) + i).astype(np.int32)
                z = self.wrapped.logits_at(inputs, at).astype(np.float64)
                if other is not None:
                    return np.asarray(z[:, token] - z[:, other])[:, None]
                top = z.max(-1)
                norm = top + np.log(np.exp(z - top[:, None]).sum(-1))
                total += z[:, token] - norm
            return total[:, None]

        every = players_of(game, self.texts_of(case, behind))
        players = every[: sum(map(len, parts))]
        if len(answer) > 1:
            players[1 - len(answer) :] = -1
        return players, of_masks(players, parts, self.mask_id(game), value)

    def texts_of(self, case: Case, behind: Sequence[int] = ()) -> list[str]:
        """Return the texts of the tokens of a case, and of those behind it."""
        row, words = case.row, self.reader.words
        if self.reader.start is None:
            return words([*row.prefix, *behind])
        # A decoder begins with ids of its own, which are always kept.
        begins = ["<start>"] * row.begin
        return [*words(row.text), *begins, *words([*row.prefix[row.begin :], *behind])]

    def mask_id(self, game: WordGame) -> int | None:
        """Return the id of the mask token of a game; None removes words."""
        token = game.mask_token
        return None if token is None else self.reader.token(token, "mask_token")

    def class_game(
        self, game: WordGame, row: Row, width: int
    ) -> tuple[Array, Callable[[Array], Array]]:
        """Return the player of each token, and the probabilities for masks."""

        def value(made: list[list[Ids]]) -> Array:
            inputs = self.batch([self.row(r[0] or EMPTY, None) for r in made], width)
            logits, probabilities = self.wrapped.predictions(as_given(inputs))
            return logits if probabilities is None else probabilities

        players = players_of(game, self.reader.words(row.text))
        return players, of_masks(players, [row.text], self.mask_id(game), value)


def as_given(inputs: list[Array]) -> Any:
    """Return inputs as a model takes them."""
    return tuple(inputs) if len(inputs) > 1 else inputs[0]
