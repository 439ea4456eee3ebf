"""The feed of a model of texts: rows in, checked inputs and outputs out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.core.model import ModelWrapper
from tfxai.text.games import WordGame, of_masks, players_of
from tfxai.text.readers import Ids, Reader, batch_of, inputs_of, listed_texts
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

    def row(self, text: Ids, seen: Array | None) -> Row:
        """Return the row of a text, before the first generated token."""
        prefix = text if self.reader.start is None else list(self.reader.start)
        return Row(text, prefix, len(prefix), seen)

    def is_one(self, texts: Any) -> bool:
        """Return whether one text, audio or image is given, and not several."""
        if self.reader.reads_texts:
            return isinstance(texts, str)
        assert self.reader.signal is not None
        return self.reader.signal.is_one(texts)

    def rows(self, texts: Any, images: Any) -> list[Row]:
        """Return the row of each text, audio or image, before its answer.

        Raises:
            InputError: One of them does not fit the model.
            OptionError: images is given, and the model reads no texts beside them.
        """
        signal = self.reader.signal
        if signal is None or not signal.alone:
            every = listed_texts(texts)
            ids = [self.reader.read(t) for t in every]
            seen = self.seen(images, len(ids))
            return [self.row(t, s) for t, s in zip(ids, seen, strict=True)]
        if images is not None:
            raise OptionError(
                f"images is given, and the model reads {signal.name} in place of "
                "texts.",
                f"the {signal.name} alone",
                f"tfxai.text.explain(model, {signal.one_of})",
            )
        return [self.row([], v) for v in signal.values(texts)]

    def seen(self, images: Any, count: int) -> Sequence[Array | None]:
        """Return what the model reads of images, one for each text."""
        if images is None:
            return [None] * count
        signal = self.reader.signal
        if signal is None:
            raise OptionError(
                "images is given, and the model reads texts alone.",
                "a vision-language model, with an input named 'images'; of Gemma 3 an "
                "analyzer for images",
                "tfxai.text.create_analyzer(method, model, images=True)",
            )
        many = [images] if signal.is_one(images) else list(images)
        if len(many) != count:
            raise InputError(
                f"{len(many)} image(s) for {count} text(s), images of shape "
                f"{np.shape(images)}.",
                f"one image for each text, ({count}, height, width, channels)",
            )
        return signal.values(many)

    def batch(self, rows: Sequence[Row], length: int) -> list[Array]:
        """Return the checked inputs for rows, padded to a bucket."""
        made, size = [r.prefix for r in rows], self.reader.bucket(length)
        ids, mask = batch_of(made, size, self.reader.pad)
        source, seen, signal = None, None, self.reader.signal
        if self.reader.start is not None and self.reader.reads_texts:
            texts = [r.text for r in rows]
            source = batch_of(texts, self.reader.bucket(max(map(len, texts))))
        if signal is not None and rows[0].seen is not None:
            seen = signal.inputs([r.seen for r in rows])  # type: ignore[misc]
        names, begin = self.wrapped.input_names, [r.begin for r in rows]
        found = inputs_of(names, ids, mask, source, seen, begin)
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
        if not self.reader.reads_texts:
            raise OptionError(
                f"The method {game.method!r} explains words, and the model reads none.",
                "a method of gradients or relevance, which explains "
                f"{reader.signal.name if reader.signal else 'inputs'}",
                'method="lrp.attn"',
            )
        split = [row.prefix[: row.begin], row.prefix[row.begin :]]
        parts = split if reader.start is None else [row.text, *split]

        def value(made: list[list[Ids]]) -> Array:
            # A token needs one before it.
            begins = [
                r[-2] if len(r[-2]) + len(r[-1]) >= len(answer) else EMPTY for r in made
            ]
            rows = [
                Row(r[0] or EMPTY, [*b, *r[-1]], len(b), row.seen)
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
