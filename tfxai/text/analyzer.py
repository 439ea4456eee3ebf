"""The analyzer of texts: one method, one model, strings in."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.validation import whole_number
from tfxai.core import registry
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.target_functions import continuation, next_token
from tfxai.core.targets import TOP
from tfxai.metrics.correlation import spearman
from tfxai.metrics.random_weights import (
    layers_with_weights,
    random_weights,
    restored,
)
from tfxai.text.arrays import arrays_of, joined, options_of, stacked
from tfxai.text.evaluation import evaluate
from tfxai.text.feed import Feed, as_given
from tfxai.text.games import WordGame, is_game, of_ids
from tfxai.text.groups import groups_of
from tfxai.text.layers import (
    HEADS,
    LayerMaps,
    at_heads,
    at_layer,
    heads_of,
    layer_maps,
    of_heads,
    parts_at,
)
from tfxai.text.readers import (
    Ids,
    Reader,
    are_tokens,
    batch_of,
)
from tfxai.text.rows import (
    Case,
    Part,
    Row,
    cases_of,
    has_token,
    length_of,
    packed,
)
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
        self.feed, self.options = Feed(model, reader), dict(options)
        self._game = WordGame(method, options) if is_game(method) else None
        self._analyzer: Any = None
        if self._game is None:
            self._analyzer = registry.create_analyzer(method, model, **options)
        self._names: list[str] | None = None
        self._maps: LayerMaps | None = None

    def __repr__(self) -> str:
        return f"<tfxai text analyzer {self.method!r}>"

    def analyze(
        self,
        texts: str | Sequence[str],
        n_tokens: int = 3,
        contrast: Any = None,
        answer: str | Sequence[str] | None = None,
        whole: bool = False,
        target: Any = None,
        batch_size: int = 32,
        images: Any = None,
        at: str | None = None,
    ) -> Explanation:
        """Return the explanation of texts.

        For one prompt of a language model, the samples of the explanation are the
        generated tokens: relevance (K, prompt + earlier tokens); for a list of B
        prompts they are targets of each prompt: (B, K, ...). For a classifier, (B,
        tokens).

        Args:
            texts: A prompt or several, or the texts that a classifier reads; of a model
                that reads audio or images alone, those: audio (samples,), an image (H,
                W, C), or several.
            n_tokens: How many tokens are generated, greedily; fewer where the model
                ends the text. In a list of prompts, the targets behind the end of one
                are -1, with score NaN and relevance 0.
            contrast: A token, as text or id, or one for each generated token. The
                explained score is the difference of the two logits.
            answer: The text that is explained in place of the generated one, or one for
                each prompt, of the same number of tokens.
            whole: Explain the log-probability of all tokens of the answer at once.
            target: The class, of a classifier; None is the top class.
            batch_size: How many sequences are computed at once.
            images: Of a vision-language model, the image (H, W, C) of a prompt, or
                (B, H, W, C). The relevance is then a list: of the tokens, and of the
                image as the model reads it, which methods of words hold fixed. So is
                that of a model of audio or images alone: `e["audio"]`, `e["images"]`.
            at: Of a relevance, gradient or path method, the name of a layer, block or
                step of `coverage()`: the relevance of its output for each token, and
                for attention weights `extra["heads"]`, the sum for each head. "heads":
                the relevance of every head of every attention layer, which are the
                features. None explains the input.

        Raises:
            InputError: A text is empty, too long, or has unknown tokens; the contrast
                is not one token.
            OptionError: An option does not fit the model; the layer has no tokens.
            UnknownNameError: There is no such layer.
        """
        one = self.feed.is_one(texts)
        if at is not None:
            self._layers()
        rows = self._rows(texts, images)
        if not self._generates(rows):
            given = {"contrast": contrast, "answer": answer, "whole": whole or None}
            wrong = [n for n, v in given.items() if v is not None]
            if wrong:
                raise OptionError(
                    f"{wrong[0]} is given, and the model returns classes.",
                    "a language model, with an output for each token",
                    f"target=0, without {wrong[0]}",
                )
            return self._classified(rows, target, batch_size, at)
        if target is not None:
            raise OptionError(
                f"target={target!r}, and the model returns tokens.",
                "the tokens to explain",
                'answer=" is"',
            )
        answers = self._answers(rows, n_tokens, answer)
        others = self._others(contrast, answers)
        if whole and contrast is not None:
            raise OptionError("whole=True with a contrast.", "one of the two")
        return self._answered(rows, answers, others, whole, one, batch_size, at)

    def _answered(
        self,
        rows: Sequence[Row],
        answers: Sequence[Ids],
        others: list[int] | None,
        whole: bool,
        one: bool,
        batch_size: int,
        at: str | None,
    ) -> Explanation:
        """The explanation of answers; see `packed`."""
        cases = cases_of(rows, answers, others, whole)
        if self._game is None:
            parts = self._explained(cases, whole, batch_size, at)
        else:
            ends = [b for b, a in enumerate(answers) for _ in (a[:1] if whole else a)]
            parts = [
                self._played(self._game, c, answers[b], batch_size)
                for b, c in zip(ends, cases, strict=True)
            ]
        e = packed(parts, rows, answers, self.reader, one, whole, others)
        e = replace(e, method=self.method, names=self.vocabulary())
        return of_heads(e) if at == HEADS else e

    def randomisation(
        self, texts: str | Sequence[str], seed: int = 0, **given: Any
    ) -> Array:
        """Return how alike the relevance is with random weights, of the target's shape.

        Spearman's rank correlation of the relevance with that of the same model and
        target after all weights are randomised. Near 1: the relevance does not show
        what the model has learned (Adebayo et al. 2018, arXiv:1810.03292). Of a model
        that reads audio or images alone, that is their relevance.

        Args:
            texts: As for `analyze`.
            seed: The seed of the random weights.
            **given: Further arguments of `analyze`, without whole.

        Raises:
            OptionError: whole is given.
        """
        if given.get("at") == "heads":
            raise OptionError(
                'at="heads": heads have no order of tokens to compare.',
                "the input, or one layer",
                'at="transformer_layer_0"',
            )
        e = self.analyze(texts, **given)
        if "target_function" in e.extra:
            raise OptionError(
                "A function, or whole=True, is no token or class to explain again.",
                "tokens or classes",
                "whole=False, or target=0",
            )
        rng = np.random.default_rng(seed)
        with restored(self.wrapped.model) as model:
            for layer in layers_with_weights(model):
                layer.set_weights(random_weights(layer, rng))
            made = TextAnalyzer(self.method, wrap(model), self.reader, self.options)
            again = made._same_target(e, texts, given)
        found, reads = np.zeros(e.target.shape), self.reader.reads_texts
        pairs = [listed(v.relevance)[0 if reads else -1] for v in (e, again)]
        for at in np.ndindex(found.shape):
            length = length_of(e, at) if reads else None
            one, two = (np.ravel(r[at][:length]) for r in pairs)
            found[at] = spearman(one, two) if has_token(e, at) else np.nan
        return found

    def _same_target(
        self, e: Explanation, texts: str | Sequence[str], given: dict[str, Any]
    ) -> Explanation:
        """The explanation of the tokens or classes that another one explains."""
        rows = self._rows(texts, given.get("images"))
        size, at = given.get("batch_size", 32), given.get("at")
        if "answer" not in e.extra:
            return self._classified(rows, e.target, size, at)
        tokens = e.target if e.target.ndim == 2 else e.target[None]
        answers = [[int(t) for t in row if t != TOP] for row in tokens]
        others = self._others(given.get("contrast"), answers)
        one = e.target.ndim == 1
        return self._answered(rows, answers, others, False, one, size, at)

    def relevance_at(
        self, layer: str, texts: str | Sequence[str], batch_size: int = 32, **given: Any
    ) -> Explanation:
        """Return the relevance of a layer's output; see `analyze`, `at`.

        The samples are the generated tokens of the first prompt, then of the next one:
        relevance (K, length, ...), where `length` is that of the padded sequence.

        Args:
            layer: The name of a step of `coverage()`.
            texts: As for `analyze`.
            batch_size: How many sequences are computed at once.
            **given: n_tokens, contrast, answer, whole and images, as for `analyze`; of
                a classifier target.

        Raises:
            OptionError: The method has no layers.
            UnknownNameError: There is no such step.
        """
        inner = self._layers()
        inputs, target = self._inputs_and_target(texts, **given)
        e: Explanation = inner.relevance_at(layer, as_given(inputs), target, batch_size)
        return e

    def heads(
        self, texts: str | Sequence[str], batch_size: int = 32, **given: Any
    ) -> tuple[list[str], Array]:
        """Return the names of the attention layers, and the relevance of their heads.

        That is the sum of the relevance of the attention weights of each head, an array
        (K, layers, heads): which layer and which head matter for each generated token.
        A layer with fewer heads than another has NaN behind them.

        Args:
            texts: As for `analyze`.
            batch_size: How many sequences are computed at once.
            **given: As for `relevance_at`.

        Raises:
            OptionError: The method has no layers, or the model no attention.
        """
        inputs, target = self._inputs_and_target(texts, **given)
        found, _ = heads_of(self._layers(), as_given(inputs), target, batch_size)
        return list(found), np.moveaxis(stacked(list(found.values())), 0, -2)

    def coverage(self) -> list[dict[str, str]]:
        """Return layer and kind of every step; of a relevance method also the rule."""
        found: list[dict[str, str]] = self._layers().coverage()
        return found

    def _layers(self) -> LayerMaps:
        """The maps of layers, of a method that has them."""
        if self._maps is None:
            self._maps = layer_maps(
                self.method, self.wrapped, self.options, self._analyzer
            )
        return self._maps

    def _inputs_and_target(
        self,
        texts: str | Sequence[str],
        n_tokens: int = 3,
        contrast: Any = None,
        answer: str | Sequence[str] | None = None,
        whole: bool = False,
        target: Any = None,
        images: Any = None,
    ) -> tuple[list[Array], Any]:
        """The inputs of all sequences, and what is explained."""
        rows = self._rows(texts, images)
        if not self._generates(rows):
            return self.feed.batch(rows, _longest(rows)), target
        answers = self._answers(rows, n_tokens, answer)
        others = self._others(contrast, answers)
        cases = cases_of(rows, answers, others, whole)
        inputs = self.feed.batch(
            [c.row for c in cases], _longest([c.row for c in cases])
        )
        return inputs, _target_of(cases, whole)

    # -- inputs ----------------------------------------------------------------------

    def _rows(self, texts: str | Sequence[str], images: Any) -> list[Row]:
        """The rows of texts, before their answers."""
        return self.feed.rows(texts, images)

    def _generates(self, rows: Sequence[Row]) -> bool:
        """True for an output (B, L, V)."""
        if self.reader.start is not None:
            return True
        shape = self.wrapped.outputs
        if shape is None:
            shape = self.wrapped.output_shape(self.feed.batch(rows, _longest(rows)))
        return len(shape) == 3

    def _check_ids(self, ids: Sequence[int]) -> None:
        """Raise InputError for an id that the model has no output for."""
        shape = self.wrapped.outputs
        size = None if shape is None else shape[-1]
        wrong = [i for i in ids if i < 0 or (size is not None and i >= size)]
        if wrong:
            raise InputError(
                f"The token {wrong[0]} is not in the vocabulary.",
                f"0 to {size - 1}" if size else "a number from 0",
            )

    def _others(self, contrast: Any, answers: Sequence[Ids]) -> list[int] | None:
        """The id of the contrasted token, for each generated token."""
        others = _contrasts(self.reader, contrast, max(map(len, answers)))
        self._check_ids(others or [])
        if others and any(ids == others[: len(ids)] for ids in answers):
            raise InputError(
                f"contrast={contrast!r} is the answer itself; the difference is 0.",
                "a token that the model did not write, or no contrast",
                "contrast=None",
            )
        return others

    def _answers(self, rows: Sequence[Row], n_tokens: int, answer: Any) -> list[Ids]:
        """The ids that are explained: the given ones, or those of greedy generation."""
        if answer is not None:
            return self._given_answers(rows, answer)
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
            inputs = self.feed.batch(full, longest)
            at = np.array([len(r.prefix) - 1 for r in full], np.int32)
            for m, k in zip(made, self.wrapped.logits_at(inputs, at), strict=True):
                m.append(int(k.argmax()))
            if all(self._ended(m) < len(m) + 1 for m in made):
                break
        return [m[: self._ended(m)] for m in made]

    def _ended(self, answer: Ids) -> int:
        """The number of tokens up to the first that ends the text; one more if none."""
        ends = [i + 1 for i, t in enumerate(answer) if t in self.reader.end]
        return min(ends, default=len(answer) + 1)

    def _given_answers(self, rows: Sequence[Row], answer: Any) -> list[Ids]:
        """The ids of one answer, or of one for each row."""
        if not isinstance(answer, str | Sequence | np.ndarray):
            raise InputError(
                f"answer={answer!r}.",
                "a text, or a text or a list of ids for each prompt",
                f"answer=[[{answer}]]",
            )
        texts = [answer] * len(rows) if isinstance(answer, str) else list(answer)
        if len(texts) != len(rows):
            raise InputError(
                f"{len(texts)} answers for {len(rows)} text(s).",
                "one for all, or one for each",
            )
        found = []
        for row, text in zip(rows, texts, strict=True):
            own = isinstance(text, str)
            if not own and np.ndim(text) != 1:
                raise InputError(
                    f"answer={answer!r}.",
                    "a text, or a list of ids for each prompt",
                    f"answer=[[{text}]]",
                )
            ids = self.reader.pieces(text) if own else [int(i) for i in text]
            if not ids:
                raise InputError(f"answer={text!r}.", "at least one token")
            self.reader.check(row.after(ids[:-1]).prefix, text)
            self.reader.check(ids, text)
            self._check_ids(ids)
            found.append(ids)
        counts = sorted({len(ids) for ids in found})
        if len(counts) > 1:
            raise InputError(
                f"The answers have {counts[0]} to {counts[-1]} tokens.",
                "answers of the same number of tokens, or one call for each",
            )
        return found

    # -- explanations ----------------------------------------------------------------

    def _explained(
        self, cases: Sequence[Case], whole: bool, batch_size: int, at: str | None
    ) -> list[Part]:
        """The relevance and score of each case, by propagation or gradients."""
        rows = [case.row for case in cases]
        inputs = self.feed.batch(rows, _longest(rows))
        if whole and len({len(c.answer) for c in cases}) > 1:  # one target for a length
            each = [self._explained([c], whole, batch_size, at) for c in cases]
            return [p for parts in each for p in parts]
        target = _target_of(cases, whole)
        if at is not None:
            encoder = self.reader.start is not None
            return parts_at(
                self._layers(), at, inputs, target, batch_size, rows, encoder
            )
        e = self._analyzer.analyze(as_given(inputs), target, batch_size)
        relevance, seen = self._of_tokens(e), None
        arrays, options = _further(e)
        signal = self.reader.signal
        if signal is not None and rows[0].seen is not None:
            seen = np.asarray(e.relevance[list(e.input_names).index(signal.input)])
        found = []
        for i, row in enumerate(rows):
            cut = [relevance[-1][i][: len(row.prefix)]]
            if self.reader.start is not None:
                cut.insert(0, relevance[0][i][: len(row.text)])
            image = None if seen is None else seen[i]
            own = {k: v[i] for k, v in arrays.items()}
            part = Part(np.concatenate(cut), float(e.score[i]), image, own, options)
            found.append(part)
        return found

    def _played(self, game: WordGame, case: Case, answer: Ids, size: int) -> Part:
        """The relevance of a token, or of a whole answer, by a game of words."""
        done = len(case.row.prefix) - case.row.begin
        behind = answer[done:]
        players, value = self.feed.answer_game(game, case, behind)
        groups = None
        if game.by_groups:
            groups = groups_of(self.feed.texts_of(case, behind)).cut(len(players))
        relevance, e = of_ids(game, players, value, None, size, groups)
        return Part(
            relevance, float(np.ravel(e.score)[0]), None,
            arrays_of(e, players, groups), options_of(game, e),
        )  # fmt: skip

    def _classes_played(
        self, game: WordGame, rows: Sequence[Row], target: Any, size: int
    ) -> Explanation:
        """The explanation of a classifier by a game of words; score: probability."""
        width = _longest(rows)
        found, parts, arrays = [], [], []
        if np.ndim(target) and len(target) != len(rows):
            raise InputError(
                f"{len(target)} targets for {len(rows)} text(s).",
                "one for all, or one for each",
            )
        for i, row in enumerate(rows):
            goal = target if np.ndim(target) == 0 else np.asarray(target)[i : i + 1]
            players, value = self.feed.class_game(game, row, width)
            groups = None
            if game.by_groups:
                groups = groups_of(self.reader.words(row.text))
            values, e = of_ids(game, players, value, goal, size, groups)
            short = [(0, 0)] * (values.ndim - 1) + [(0, width - len(row.text))]
            found.append(np.pad(values, short))
            parts.append(e)
            arrays.append(arrays_of(e, players, groups))
        options = options_of(game, parts[0])
        return Explanation(
            np.stack(found).astype(np.float32),
            np.concatenate([e.target for e in parts]),
            np.concatenate([e.score for e in parts]), self.method,
            batch_of([r.text for r in rows], width)[0],
            {**joined(arrays, width), **options},
            tokens=[self.reader.words(row.text) for row in rows],
            option_names=list(options),
        )  # fmt: skip

    # -- metrics -----------------------------------------------------------------------

    def evaluate(
        self,
        e: Explanation,
        metrics: Sequence[str] | None = None,
        unit: str = "words",
        mask_token: str | None = None,
        n_steps: int = 20,
    ) -> dict[str, Array]:
        """Return metrics of an explanation by `analyze`: name -> the shape of target.

        `tfxai.text.TEXT_METRICS` lists them, with the better direction;
        `tfxai.text.evaluation.measured` has their formulas. The target of an answer as
        a whole has none.

        Args:
            e: The explanation, by this or another method, of this model.
            metrics: The names; None is all.
            unit: What is removed: "words", "sentences" or "paragraphs".
            mask_token: What replaces it; None removes it.
            n_steps: In how many steps words are removed.

        Raises:
            OptionError: There is no such metric, or the target is no token or class.
        """
        return evaluate(self.feed, e, metrics, unit, mask_token, n_steps)

    def _of_tokens(self, e: Explanation) -> list[Array]:
        """The relevance of token ids: of the encoder first, then of the decoder."""
        arrays, names = listed(e.relevance), list(e.input_names)
        if len(arrays) == 1:
            return arrays
        wanted = [n for n in names if are_tokens(n)]
        wanted.sort(key=lambda n: "decoder" in n)
        return [np.asarray(arrays[names.index(n)]) for n in wanted]

    def _classified(
        self, rows: Sequence[Row], target: Any, size: int, at: str | None = None
    ) -> Explanation:
        """The explanation of a classifier."""
        if self._game is not None:
            return self._classes_played(self._game, rows, target, size)
        longest = _longest(rows)
        inputs = self.feed.batch(rows, longest)
        if at == HEADS:
            e, heads, names = at_heads(self._layers(), as_given(inputs), target, size)
            extra = {**e.extra, "heads": heads, **names, "at": at}
            e = replace(e, extra=extra, option_names=[*e.option_names, "at"])
            return of_heads(replace(e, method=self.method))
        if at is not None:
            e, relevance, _ = at_layer(self._layers(), at, inputs, target, size)
            extra, options = {**e.extra, "at": at}, [*e.option_names, "at"]
            e = replace(e, method=self.method, extra=extra, option_names=options)
            relevance = relevance[..., :longest]
        else:
            e = self._analyzer.analyze(as_given(inputs), target, size)
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


def _target_of(cases: Sequence[Case], whole: bool) -> Any:
    """The target of the cases: a token, a difference, or a whole answer."""
    last = np.array([len(c.row.prefix) - 1 for c in cases])
    tokens = np.array([c.answer for c in cases])
    others = [c.other for c in cases]
    if whole:
        return continuation(tokens, last - tokens.shape[1] + 1)
    if others[0] is not None:
        return next_token(tokens[:, 0], np.array(others), last)
    return np.stack([last, tokens[:, 0]], 1)


def _further(e: Explanation) -> tuple[dict[str, Array], dict[str, Any]]:
    """The further arrays of an explanation, one entry for each sample; its options."""
    left_out = ("output_shape", "target_function")
    kept = {k: v for k, v in e.extra.items() if k not in left_out}
    options = {k: v for k, v in kept.items() if k in e.option_names}
    arrays = {k: v for k, v in kept.items() if k not in options}
    return {k: np.asarray(v) for k, v in arrays.items()}, options


def _longest(rows: Sequence[Row]) -> int:
    return max(len(r.prefix) for r in rows)


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
