"""The analyzer of texts: one method, one model, strings in."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.validation import whole_number
from tfxai.core import registry
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper
from tfxai.core.target_functions import continuation, next_token
from tfxai.text.games import WordGame, is_game, of_ids
from tfxai.text.readers import IMAGES, Ids, Reader, are_tokens, batch_of, inputs_of
from tfxai.text.rows import Case, Part, Row, cases_of, packed
from tfxai.viz.panel import listed

Array = np.ndarray[Any, Any]


class TextAnalyzer:
    """A method for one model of texts, as `create_analyzer` returns it.

    Args:
        method: The name of the method.
        model: The wrapped model.
        reader: How it reads texts.
        options: The options of the method.
    """

    def __init__(
        self, method: str, model: ModelWrapper, reader: Reader, options: dict[str, Any]
    ) -> None:
        self.method, self.wrapped, self.reader = method, model, reader
        self._game = WordGame(method, options) if is_game(method) else None
        self._analyzer: Any = None
        if self._game is None:
            self._analyzer = registry.create_analyzer(method, model, **options)
        self._names: list[str] | None = None

    def __repr__(self) -> str:
        return f"<tfxai text analyzer {self.method!r}>"

    def analyze(
        self,
        texts: str | Sequence[str],
        n_tokens: int = 3,
        contrast: Any = None,
        answer: str | None = None,
        whole: bool = False,
        target: Any = None,
        batch_size: int = 32,
        images: Any = None,
    ) -> Explanation:
        """Return the explanation of texts.

        For one prompt of a language model, the samples of the explanation are the
        generated tokens: relevance (K, prompt + earlier tokens); for a list of B
        prompts they are targets of each prompt: (B, K, ...). For a classifier, (B,
        tokens).

        Args:
            texts: A prompt or several, or the texts that a classifier reads.
            n_tokens: How many tokens are generated, greedily; fewer where the model
                ends the text.
            contrast: A token, as text or id, or one for each generated token. The
                explained score is the difference of the two logits.
            answer: The text that is explained in place of the generated one.
            whole: Explain the log-probability of all tokens of the answer at once.
            target: The class, of a classifier; None is the top class.
            batch_size: How many sequences are computed at once.
            images: Of a vision-language model, the image (H, W, C) of a prompt, or
                (B, H, W, C). The relevance is then a list: of the tokens, and of the
                image as the model reads it, which methods of words hold fixed.

        Raises:
            InputError: A text is empty, too long, or has unknown tokens; the contrast
                is not one token.
            OptionError: An option does not fit the model.
        """
        one = isinstance(texts, str)
        ids = [self.reader.read(t) for t in ([texts] if one else list(texts))]
        if not ids:
            raise InputError("There is no text.", "at least one", '["a text"]')
        seen = self._pixels(images, len(ids))
        rows = [self._row(t, s) for t, s in zip(ids, seen, strict=True)]
        if not self._generates(rows):
            given = {"contrast": contrast, "answer": answer, "whole": whole or None}
            wrong = [n for n, v in given.items() if v is not None]
            if wrong:
                raise OptionError(
                    f"{wrong[0]} is given, and the model returns classes.",
                    "a language model, with an output for each token",
                    f"target=0, without {wrong[0]}",
                )
            return self._classified(rows, target, batch_size)
        if target is not None:
            raise OptionError(
                f"target={target!r}, and the model returns tokens.",
                "the tokens to explain",
                'answer=" is"',
            )
        answers = self._answers(rows, n_tokens, answer)
        others = _contrasts(self.reader, contrast, len(answers[0]))
        if whole and contrast is not None:
            raise OptionError("whole=True with a contrast.", "one of the two")
        cases = cases_of(rows, answers, others, whole)
        if self._game is None:
            parts = self._explained(cases, whole, batch_size)
        else:
            parts = [self._played(self._game, case) for case in cases]
        e = packed(parts, rows, answers, self.reader, one, whole)
        found: Explanation = replace(e, method=self.method, names=self.vocabulary())
        return found

    # -- inputs ----------------------------------------------------------------------

    def _row(self, text: Ids, pixels: Array | None) -> Row:
        """The row of a text, before the first generated token."""
        prefix = text if self.reader.start is None else list(self.reader.start)
        return Row(text, prefix, len(prefix), pixels)

    def _pixels(self, images: Any, count: int) -> Sequence[Array | None]:
        """What the model reads of images, one for each text."""
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

    def _batch(self, rows: Sequence[Row], length: int) -> list[Array]:
        """The checked inputs for rows, padded to a bucket."""
        ids, mask = batch_of([r.prefix for r in rows], self.reader.bucket(length))
        source, images = None, None
        if self.reader.start is not None:
            texts = [r.text for r in rows]
            source = batch_of(texts, self.reader.bucket(max(map(len, texts))))
        if rows[0].pixels is not None:
            images = np.stack([r.pixels for r in rows])  # type: ignore[misc]
        names, begin = self.wrapped.input_names, [r.begin for r in rows]
        found = inputs_of(names, ids, mask, source, images, begin)
        return self.wrapped.checked(found)

    def _generates(self, rows: Sequence[Row]) -> bool:
        """True for an output (B, L, V)."""
        if self.reader.start is not None:
            return True
        shape = self.wrapped.outputs
        if shape is None:
            shape = self.wrapped.output_shape(self._batch(rows, _longest(rows)))
        return len(shape) == 3

    def _answers(
        self, rows: Sequence[Row], n_tokens: int, answer: str | None
    ) -> list[Ids]:
        """The ids that are explained: the given ones, or those of greedy generation."""
        if answer is not None:
            ids = self.reader.pieces(answer)
            if not ids:
                raise InputError(f"answer={answer!r}.", "at least one token")
            for row in rows:
                self.reader.check(row.after(ids[:-1]).prefix, answer)
            self.reader.check(ids, answer)
            return [ids] * len(rows)
        whole_number("n_tokens", n_tokens, 1)
        longest = _longest(rows) + n_tokens - 1
        limit = self.reader.limit
        if limit is not None and longest > limit:
            raise InputError(
                f"The longest prompt and {n_tokens} tokens need {longest} positions.",
                f"at most {limit}, the positions of the model",
                f"n_tokens={max(1, n_tokens - longest + limit)}",
            )
        made: list[Ids] = [[] for _ in rows]
        for _ in range(n_tokens):
            full = [r.after(m) for r, m in zip(rows, made, strict=True)]
            inputs = self._batch(full, longest)
            at = np.array([len(r.prefix) - 1 for r in full], np.int32)
            for m, k in zip(made, self.wrapped.logits_at(inputs, at), strict=True):
                m.append(int(k.argmax()))
            if all(set(m) & set(self.reader.end) for m in made):
                break
        return made

    # -- explanations ----------------------------------------------------------------

    def _explained(
        self, cases: Sequence[Case], whole: bool, batch_size: int
    ) -> list[Part]:
        """The relevance and score of each case, by propagation or gradients."""
        rows = [case.row for case in cases]
        inputs = self._batch(rows, _longest(rows))
        last = np.array([len(r.prefix) - 1 for r in rows])
        tokens = np.array([case.answer for case in cases])
        others = [case.other for case in cases]
        if whole:
            target = continuation(tokens, last - tokens.shape[1] + 1)
        elif others[0] is not None:
            target = next_token(tokens[:, 0], np.array(others), last)
        else:
            target = np.stack([last, tokens[:, 0]], 1)
        e = self._analyzer.analyze(_given(inputs), target, batch_size)
        relevance, seen = self._of_tokens(e), None
        if rows[0].pixels is not None:
            seen = np.asarray(e.relevance[list(e.input_names).index(IMAGES)])
        found = []
        for i, row in enumerate(rows):
            cut = [relevance[-1][i][: len(row.prefix)]]
            if self.reader.start is not None:
                cut.insert(0, relevance[0][i][: len(row.text)])
            pixels = None if seen is None else seen[i]
            found.append(Part(np.concatenate(cut), float(e.score[i]), pixels))
        return found

    def _played(self, game: WordGame, case: Case) -> Part:
        """The relevance of one answer by a game of words, and its score.

        The score is the log-probability of the answer, or the difference of logits.
        """
        row, answer, other, reader = case.row, case.answer, case.other, self.reader
        split = [row.prefix[: row.begin], row.prefix[row.begin :]]
        parts = split if reader.start is None else [row.text, *split]

        def value(made: list[list[Ids]]) -> Array:
            rows = [Row(r[0], [*r[-2], *r[-1]], len(r[-2]), row.pixels) for r in made]
            inputs = self._batch(rows, len(row.prefix))
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

        # A decoder begins with ids of its own, and a given answer is always kept.
        tokens = [reader.words(part) for part in parts]
        if reader.start is not None:
            tokens[-2] = ["<start>"] * row.begin
        _, relevance, e = of_ids(
            game, tokens, parts, len(answer) - 1, self._mask_id(game), value
        )
        return Part(relevance, float(np.ravel(e.score)[0]))

    def _mask_id(self, game: WordGame) -> int | None:
        """The id of the mask token of a game; None removes words."""
        token = game.mask_token
        return None if token is None else self.reader.token(token, "mask_token")

    def _classes_played(
        self, game: WordGame, rows: Sequence[Row], target: Any
    ) -> Explanation:
        """The explanation of a classifier by a game of words; score: probability."""
        width = _longest(rows)

        def value(made: list[list[Ids]]) -> Array:
            inputs = self._batch([self._row(r[0], None) for r in made], width)
            logits, probabilities = self.wrapped.predictions(_given(inputs))
            return logits if probabilities is None else probabilities

        relevance = np.zeros((len(rows), width), np.float32)
        parts = []
        for i, row in enumerate(rows):
            goal = target if np.ndim(target) == 0 else target[i]
            _, values, e = of_ids(
                game, [self.reader.words(row.text)], [row.text], 0,
                self._mask_id(game), value, goal,
            )  # fmt: skip
            relevance[i, : len(row.text)] = values
            parts.append(e)
        return Explanation(
            relevance, np.concatenate([e.target for e in parts]),
            np.concatenate([e.score for e in parts]), self.method,
            batch_of([r.text for r in rows], width)[0], {"unit": game.unit},
            tokens=[self.reader.words(row.text) for row in rows],
            option_names=["unit"],
        )  # fmt: skip

    def _of_tokens(self, e: Explanation) -> list[Array]:
        """The relevance of token ids: of the encoder first, then of the decoder."""
        arrays, names = listed(e.relevance), list(e.input_names)
        if len(arrays) == 1:
            return arrays
        wanted = [n for n in names if are_tokens(n)]
        wanted.sort(key=lambda n: "decoder" in n)
        return [np.asarray(arrays[names.index(n)]) for n in wanted]

    def _classified(self, rows: Sequence[Row], target: Any, size: int) -> Explanation:
        """The explanation of a classifier."""
        if self._game is not None:
            return self._classes_played(self._game, rows, target)
        longest = _longest(rows)
        e = self._analyzer.analyze(_given(self._batch(rows, longest)), target, size)
        relevance = self._of_tokens(e)[0][..., :longest]
        ids = batch_of([r.text for r in rows], longest)[0]
        result: Explanation = replace(
            e, relevance=relevance, inputs=ids, input_names=(),
            tokens=[self.reader.words(row.text) for row in rows],
        )  # fmt: skip
        return result

    def vocabulary(self) -> list[str]:
        """Return the text of every token."""
        if self._names is None:
            shape = self.wrapped.outputs
            assert shape is not None and shape[-1] is not None
            self._names = self.reader.words(range(shape[-1]))
        return self._names


def _longest(rows: Sequence[Row]) -> int:
    return max(len(r.prefix) for r in rows)


def _given(inputs: list[Array]) -> Any:
    """Inputs as a model takes them."""
    return tuple(inputs) if len(inputs) > 1 else inputs[0]


def _contrasts(reader: Reader, contrast: Any, count: int) -> list[int] | None:
    """The id of the contrasted token, for each generated token."""
    if contrast is None:
        return None
    given = list(contrast) if isinstance(contrast, list | tuple) else [contrast] * count
    if len(given) != count:
        raise InputError(
            f"{len(given)} contrasts for {count} tokens.",
            "one token, or one for each token of the answer",
        )
    return [reader.token(c) for c in given]
