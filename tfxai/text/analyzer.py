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
from tfxai.core.targets import TOP
from tfxai.text.games import WordGame, is_game, of_ids
from tfxai.text.readers import Ids, Reader, batch_of, inputs_of
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

        Raises:
            InputError: A text is empty, too long, or has unknown tokens; the contrast
                is not one token.
            OptionError: An option does not fit the model.
        """
        one = isinstance(texts, str)
        rows = [self.reader.read(t) for t in ([texts] if one else list(texts))]
        if not rows:
            raise InputError("There is no text.", "at least one", '["a text"]')
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
        parts = self._explained(rows, answers, others, whole, batch_size)
        return self._packed(parts, rows, answers, one, whole)

    # -- inputs ----------------------------------------------------------------------

    def _batch(self, sources: list[Ids], rows: list[Ids], length: int) -> list[Array]:
        """The checked inputs for rows of ids, padded to a bucket."""
        ids, mask = batch_of(rows, self.reader.bucket(length))
        source = None
        if self.reader.start is not None:
            size = self.reader.bucket(max(map(len, sources)))
            source = batch_of(sources, size)
        names = self.wrapped.input_names
        return self.wrapped.checked(inputs_of(names, ids, mask, source))

    def _started(self, rows: list[Ids]) -> list[Ids]:
        """The ids before the first generated token."""
        start = self.reader.start
        return rows if start is None else [list(start) for _ in rows]

    def _generates(self, rows: list[Ids]) -> bool:
        """True for an output (B, L, V)."""
        if self.reader.start is not None:
            return True
        shape = self.wrapped.outputs
        if shape is None:
            longest = max(map(len, rows))
            shape = self.wrapped.output_shape(self._batch(rows, rows, longest))
        return len(shape) == 3

    def _answers(self, rows: list[Ids], n_tokens: int, answer: str | None) -> list[Ids]:
        """The ids that are explained: the given ones, or those of greedy generation."""
        before = self._started(rows)
        if answer is not None:
            ids = self.reader.pieces(answer)
            if not ids:
                raise InputError(f"answer={answer!r}.", "at least one token")
            for row in before:
                self.reader.check([*row, *ids[:-1]], answer)
            self.reader.check(ids, answer)
            return [ids] * len(rows)
        whole_number("n_tokens", n_tokens, 1)
        longest = max(map(len, before)) + n_tokens - 1
        limit = self.reader.limit
        if limit is not None and longest > limit:
            raise InputError(
                f"The longest prompt and {n_tokens} tokens need {longest} positions.",
                f"at most {limit}, the positions of the model",
                f"n_tokens={max(1, n_tokens - longest + limit)}",
            )
        made: list[Ids] = [[] for _ in rows]
        for _ in range(n_tokens):
            full = [[*b, *m] for b, m in zip(before, made, strict=True)]
            inputs = self._batch(rows, full, longest)
            at = np.array([len(r) - 1 for r in full], np.int32)
            for m, k in zip(made, self.wrapped.logits_at(inputs, at), strict=True):
                m.append(int(k.argmax()))
            if all(set(m) & set(self.reader.end) for m in made):
                break
        return made

    # -- explanations ----------------------------------------------------------------

    def _explained(
        self,
        rows: list[Ids],
        answers: list[Ids],
        others: list[int] | None,
        whole: bool,
        batch_size: int,
    ) -> list[tuple[Array, float]]:
        """The relevance of source and prefix, and the score, of each answered token."""
        before = self._started(rows)
        cases: list[tuple[int, Ids, Ids, int | None]] = []
        for b, answer in enumerate(answers):
            if whole:
                cases.append((b, [*before[b], *answer[:-1]], answer, None))
                continue
            for k, token in enumerate(answer):
                other = None if others is None else others[k]
                cases.append((b, [*before[b], *answer[:k]], [token], other))
        if self._game is not None:
            return [self._played(rows[b], r, a, o) for b, r, a, o in cases]
        longest = max(len(row) for _, row, *_ in cases)
        sources = [rows[b] for b, *_ in cases]
        inputs = self._batch(sources, [row for _, row, *_ in cases], longest)
        last = np.array([len(row) - 1 for _, row, *_ in cases])
        tokens = np.array([answer for *_, answer, _ in cases])
        if whole:
            target = continuation(tokens, last - tokens.shape[1] + 1)
        elif others is not None:
            target = next_token(tokens[:, 0], np.array([o for *_, o in cases]), last)
        else:
            target = np.stack([last, tokens[:, 0]], 1)
        given: Any = tuple(inputs) if len(inputs) > 1 else inputs[0]
        e = self._analyzer.analyze(given, target, batch_size)
        relevance = self._of_tokens(e)
        found = []
        for i, (b, row, *_) in enumerate(cases):
            parts = [r[i] for r in relevance]
            cut = [parts[-1][: len(row)]]
            if self.reader.start is not None:
                cut.insert(0, parts[0][: len(rows[b])])
            found.append((np.concatenate(cut), float(e.score[i])))
        return found

    def _played(
        self, source: Ids, row: Ids, answer: Ids, other: int | None
    ) -> tuple[Array, float]:
        """The relevance of one answer by a game of words, and its score.

        The score is the log-probability of the answer, or the difference of logits.
        """
        assert self._game is not None
        parts = [row] if self.reader.start is None else [source, row]
        reader = self.reader
        longest = len(row)

        def value(made: list[list[Ids]]) -> Array:
            rows = [r[-1] for r in made]
            inputs = self._batch([r[0] for r in made], rows, longest)
            ends = np.array([len(r) for r in rows])
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
        begin = len(reader.start or [])
        tokens = [reader.words(part) for part in parts]
        if begin:
            tokens[-1][:begin] = ["<start>"] * begin
        _, relevance, e = of_ids(
            self._game, tokens, parts, len(answer) - 1, self._mask_id(), value
        )
        return relevance, float(np.ravel(e.score)[0])

    def _mask_id(self) -> int | None:
        """The id of the mask token of a game; None removes words."""
        assert self._game is not None
        token = self._game.mask_token
        return None if token is None else self.reader.token(token, "mask_token")

    def _classes_played(self, rows: list[Ids], target: Any) -> Explanation:
        """The explanation of a classifier by a game of words; score: probability."""
        assert self._game is not None

        def value(made: list[list[Ids]]) -> Array:
            texts = [r[0] for r in made]
            inputs = self._batch(texts, texts, max(map(len, rows)))
            given: Any = tuple(inputs) if len(inputs) > 1 else inputs[0]
            logits, probabilities = self.wrapped.predictions(given)
            return logits if probabilities is None else probabilities

        width = max(map(len, rows))
        relevance = np.zeros((len(rows), width), np.float32)
        parts = []
        for i, row in enumerate(rows):
            goal = target if np.ndim(target) == 0 else target[i]
            _, values, e = of_ids(
                self._game, [self.reader.words(row)], [row], 0, self._mask_id(), value,
                goal,
            )  # fmt: skip
            relevance[i, : len(row)] = values
            parts.append(e)
        return Explanation(
            relevance, np.concatenate([e.target for e in parts]),
            np.concatenate([e.score for e in parts]), self.method,
            batch_of(rows, width)[0], {"unit": self._game.unit},
            tokens=[self.reader.words(row) for row in rows], option_names=["unit"],
        )  # fmt: skip

    def _of_tokens(self, e: Explanation) -> list[Array]:
        """The relevance of token ids: of the encoder first, then of the decoder."""
        arrays, names = listed(e.relevance), list(e.input_names)
        if len(arrays) == 1:
            return arrays
        wanted = [n for n in names if "ids" in n and "segment" not in n]
        wanted.sort(key=lambda n: "decoder" in n)
        return [np.asarray(arrays[names.index(n)]) for n in wanted]

    def _classified(self, rows: list[Ids], target: Any, size: int) -> Explanation:
        """The explanation of a classifier."""
        if self._game is not None:
            return self._classes_played(rows, target)
        longest = max(map(len, rows))
        inputs = self._batch(rows, rows, longest)
        given: Any = tuple(inputs) if len(inputs) > 1 else inputs[0]
        e = self._analyzer.analyze(given, target, size)
        relevance = self._of_tokens(e)[0][..., :longest]
        result: Explanation = replace(
            e, relevance=relevance, inputs=batch_of(rows, longest)[0], input_names=(),
            tokens=[self.reader.words(row) for row in rows],
        )  # fmt: skip
        return result

    def _packed(
        self,
        parts: list[tuple[Array, float]],
        rows: list[Ids],
        answers: list[Ids],
        one: bool,
        whole: bool,
    ) -> Explanation:
        """The explanation of all prompts and tokens."""
        targets = [a[:1] if whole else a for a in answers]
        before = self._started(rows)
        encoder = [[] if self.reader.start is None else r for r in rows]
        every = zip(encoder, before, answers, strict=True)
        full = [[*s, *b, *a] for s, b, a in every]
        lengths = [len(r) for r, _ in parts]
        width = max(lengths)
        relevance: Array = np.zeros((len(parts), width), np.float32)
        for i, (r, _) in enumerate(parts):
            relevance[i, : len(r)] = r
        score = np.array([s for _, s in parts], np.float32)
        target = np.array(targets).reshape(-1)
        count = len(targets[0])
        words = [self.reader.words(row) for row in full]
        extra: dict[str, Any] = {
            "answer": ["".join(self.reader.words(a)) for a in answers]
        }
        if one:
            tokens = [words[0][:n] for n in lengths]
            ids = batch_of([full[0][:n] for n in lengths], width)[0]
        else:
            shape = (len(rows), count)
            relevance = relevance.reshape(*shape, width)
            score, target = score.reshape(shape), target.reshape(shape)
            cut = [max(lengths[b * count : (b + 1) * count]) for b in range(len(rows))]
            tokens = [w[:n] for w, n in zip(words, cut, strict=True)]
            ids = batch_of([r[:width] for r in full], width)[0]
        if whole:
            extra["target_function"] = "answer"
            target = np.full_like(target, TOP)
        return Explanation(
            relevance, target, score, self.method, ids, extra,
            names=self.vocabulary(), tokens=tokens, option_names=list(extra),
        )  # fmt: skip

    def vocabulary(self) -> list[str]:
        """Return the text of every token."""
        if self._names is None:
            shape = self.wrapped.outputs
            assert shape is not None and shape[-1] is not None
            self._names = self.reader.words(range(shape[-1]))
        return self._names


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
