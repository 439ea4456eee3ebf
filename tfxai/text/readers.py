"""Readers: from strings to the inputs of a model, from ids to the texts of tokens."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfxai.base.errors import InputError, ModelError, ShortenedTextWarning
from tfxai.text.signals import IMAGES, Signal

Array = np.ndarray[Any, Any]
Ids = list[int]
#: Lengths to which sequences are padded: powers of two, from the first on.
SHORTEST = 16


@dataclass(frozen=True)
class Reader:
    """How a model reads texts.

    Attributes:
        encode: (text) -> the ids of its tokens, with those that the model expects
            before and behind them.
        pieces: (text) -> the ids of its tokens alone.
        word: (id) -> the text of a token.
        text: (ids) -> their text.
        start: The ids before the first generated token, of an encoder-decoder model;
            else None: generated tokens follow the text.
        end: The ids that end a generated text.
        limit: The number of positions of the model, or None.
        find: (text) -> the id of a token of exactly this spelling, or None.
        signal: What the model reads beside texts, or in place of them; or None.
        fixed: The one length that the model takes, or None.
        pad: The id that fills up a sequence.
        added: The number of tokens that a preprocessor which cuts texts adds to each;
            None where none cuts them.
        place: Of a model whose prompts say where the image is: how they say it, the id
            that stands for a part of it, and the number of parts; else None.
    """

    encode: Callable[[str], Ids]
    pieces: Callable[[str], Ids]
    word: Callable[[int], str]
    text: Callable[[Ids], str]
    start: Ids | None = None
    end: tuple[int, ...] = ()
    limit: int | None = None
    find: Callable[[str], int | None] = lambda text: None
    signal: Signal | None = None
    fixed: int | None = None
    pad: int = 0
    added: int | None = None
    place: tuple[str, int, int] | None = None

    @property
    def reads_texts(self) -> bool:
        """False for a model that reads audio or images alone."""
        return self.signal is None or not self.signal.alone

    def words(self, ids: Sequence[int]) -> list[str]:
        """Return the texts of tokens."""
        return [self.word(int(i)) for i in ids]

    def read(self, text: Any) -> Ids:
        """Return the ids of a text.

        Raises:
            InputError: It is empty, no text, has a token that the vocabulary does not
                hold, or is longer than the model's positions.

        Warns:
            ShortenedTextWarning: The preprocessor cuts it.
        """
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"The text is {text!r}.", "a text of at least one word")
        ids = self.encode(text)
        self.check(ids and self.pieces(text), text)
        self.check(ids, text)
        self._check_place(ids, text)
        self._check_whole(ids, text)
        return ids

    def _check_place(self, ids: Ids, text: str) -> None:
        """Raise InputError for a prompt that does not say where the image is."""
        if self.place is None:
            return
        mark, part, count = self.place
        if ids.count(part) != count:
            raise InputError(
                f"The text {text[:60]!r} has {text.count(mark)} places for the image.",
                f"one, {mark!r}",
                f"tfxai.text.explain(model, {f'{mark} {text[:60]}'!r}, images=image)",
            )

    def _check_whole(self, ids: Ids, text: str) -> None:
        """Warn about a text of which the preprocessor keeps a part."""
        whole = len(ids) if self.added is None else len(self.pieces(text)) + self.added
        if whole > len(ids):
            warnings.warn(
                f"The preprocessor keeps {len(ids)} of the {whole} tokens of the text "
                f"{text[:60]!r}; the others have no relevance.\n"
                "  Wanted: a shorter text, or a larger length within the positions\n"
                f"  Write: model.preprocessor.sequence_length = {whole}",
                ShortenedTextWarning,
                stacklevel=2,
            )

    def check(self, ids: Sequence[int], text: str, option: str = "") -> None:
        """Raise InputError for unknown tokens, and for too many of them."""
        if not len(ids) or min(ids) < 0:
            named = f"{option}={text!r}" if option else f"The text {text[:60]!r}"
            raise InputError(
                f"{named} holds what is not in the vocabulary.",
                "a text that the tokenizer knows",
            )
        if self.limit is not None and len(ids) > self.limit:
            raise InputError(
                f"The text {text[:60]!r} has {len(ids)} tokens.",
                f"at most {self.limit}, the positions of the model",
            )

    def token(self, text: Any, option: str = "contrast") -> int:
        """Return the id of the one token of a text, or of an id.

        Raises:
            InputError: It has several tokens, or none that is known.
        """
        if isinstance(text, int | np.integer) and not isinstance(text, bool):
            return int(text)
        if not isinstance(text, str) or not text:
            raise InputError(f"{option}={text!r}.", "one token, as text or id")
        known = self.find(text)
        ids = self.pieces(text) if known is None else [known]
        self.check(ids, text, option)
        if len(ids) > 1:
            words = [(i, self.word(i)) for i in ids]
            spelled = [w for w in words if any(map(str.isalnum, w[1].strip("ĠĊ▁")))]
            one, word = (spelled or words)[0]
            same = self.find(word) == one or self.pieces(word) == [one]
            raise InputError(
                f"{option}={text!r} has {len(ids)} tokens: {self.words(ids)}.",
                "one token, as text or id",
                f"{option}={word!r}" if same else f"{option}={one}",
            )
        return ids[0]

    def bucket(self, length: int) -> int:
        """Return the length to which sequences are padded, at least `length`."""
        if self.fixed is not None:
            return self.fixed
        size = SHORTEST
        while size < length:
            size *= 2
        return size if self.limit is None else max(length, min(size, self.limit))


def listed_texts(texts: Any) -> list[Any]:
    """Return one text, or several, as a list.

    Raises:
        InputError: They are no text and no sequence, or there is none.
    """
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes) or not hasattr(texts, "__iter__"):
        raise InputError(f"texts={texts!r}.", "a text, or a list of texts", '"a text"')
    if not len(every := list(texts)):
        raise InputError("There is no text.", "at least one", '["a text"]')
    return every


def as_ids(values: Any) -> Ids:
    """Return ids as a list of ints."""
    array = np.asarray(values).ravel()
    if array.size and array.dtype.kind not in "iu":
        raise InputError(
            f"The tokenizer returned {array.dtype}: {array[:3].tolist()}.",
            "ids, whole numbers",
            'encode=lambda text: tokenizer(text)["input_ids"]',
        )
    return [int(i) for i in array]


def named_inputs(model: Any) -> list[str]:
    """Return the names of the inputs of a model that takes them by name."""
    inputs = getattr(model, "input", None) if isinstance(model, keras.Model) else None
    return list(inputs) if isinstance(inputs, dict) else []


def batch_of(rows: Sequence[Ids], length: int, pad: int = 0) -> tuple[Array, Array]:
    """Return ids (B, length) and their mask, padded on the right by the id `pad`."""
    ids = np.full((len(rows), length), pad, np.int32)
    mask = np.zeros((len(rows), length), np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return ids, mask


def are_tokens(name: str) -> bool:
    """Return whether an input of this name holds token ids."""
    others = ("segment", "type", "position")
    return "ids" in name and not any(o in name for o in others)


def inputs_of(
    names: Sequence[str],
    ids: Array,
    mask: Array,
    source: tuple[Array, Array] | None,
    seen: Mapping[str, Array] | None = None,
    prompts: Sequence[int] = (),
) -> Any:
    """Return the inputs of a model from ids and mask (B, L).

    Args:
        names: The names of the model's inputs, or none.
        ids: The ids; of an encoder-decoder model those of the decoder.
        mask: Their mask.
        source: Ids and mask of the encoder.
        seen: Inputs that are no texts, by their names.
        prompts: How many ids of each row are the prompt; the others are the answer.

    Raises:
        InputError: The model reads images, and there are none.
        ModelError: The model has other inputs than ids, masks and images.
    """
    if len(names) < 2:
        return ids
    found, other = {}, []
    for name in names:
        pair = source if "encoder" in name and source is not None else (ids, mask)
        if seen is not None and name in seen:
            found[name] = seen[name]
        elif name == "response_mask":
            at = np.arange(ids.shape[1]) >= np.asarray(prompts)[:, None]
            found[name] = mask * at
        elif "mask" in name and "vision" not in name:
            found[name] = pair[1]
        elif name == IMAGES and "vision_mask" not in names:
            raise InputError(
                "The model reads images, and there are none.",
                "one image for each text",
                "tfxai.text.explain(model, text, images=image)",
            )
        elif "segment" in name or "type_ids" in name:
            found[name] = np.zeros_like(pair[0])
        elif "position" in name:
            found[name] = np.broadcast_to(
                np.arange(pair[0].shape[1], dtype=np.int32), pair[0].shape
            )
        elif are_tokens(name):
            found[name] = pair[0]
        else:
            other.append(name)
    if other:
        raise ModelError(
            f"The model has the inputs {list(names)}; {other} are no ids, no mask and "
            "no images.",
            "a model of texts: inputs named ..._ids and ..._mask, and images",
            "tfxai.explain(model, inputs, target=tfxai.targets.next_token())",
        )
    return found
