"""Readers: from strings to the inputs of a model, from ids to the texts of tokens."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfxai.base.errors import InputError, ModelError, ShortenedTextWarning
from tfxai.graph.private import layers_within
from tfxai.viz.words import merged

Array = np.ndarray[Any, Any]
Ids = list[int]
#: Lengths to which sequences are padded: powers of two, from the first on.
SHORTEST = 16
#: The input of images of a vision-language model.
IMAGES = "images"
_WRITE = "tfxai.text.explain((model, encode, decode), text)"


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
        pixels: (images (N, H, W, C)) -> what the model reads of them.
        fixed: The one length that the model takes, or None.
        pad: The id that fills up a sequence.
        added: The number of tokens that a preprocessor which cuts texts adds to each;
            None where none cuts them.
    """

    encode: Callable[[str], Ids]
    pieces: Callable[[str], Ids]
    word: Callable[[int], str]
    text: Callable[[Ids], str]
    start: Ids | None = None
    end: tuple[int, ...] = ()
    limit: int | None = None
    find: Callable[[str], int | None] = lambda text: None
    pixels: Callable[[Any], Any] = np.asarray
    fixed: int | None = None
    pad: int = 0
    added: int | None = None

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
        self.check(ids, text)
        self._check_whole(ids, text)
        return ids

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
            spelled = [w for w in words if any(map(str.isalnum, w[1]))]
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


def reader_of(model: Any, encode: Any = None, decode: Any = None) -> Reader:
    """Return the reader of a model of KerasHub, or of two functions.

    Args:
        model: The model.
        encode: (text) -> ids, those that a prompt begins and ends with among them; None
            reads the model's `preprocessor`.
        decode: (ids) -> their text.

    Raises:
        ModelError: The model has no preprocessor, and no functions are given.
    """
    limit, fixed = _positions(model), _fixed(model)
    limit = fixed if limit is None else limit
    if encode is not None:

        def own(text: str) -> Ids:
            return _ids(encode(text))

        def word(number: int) -> str:
            try:
                found = decode([number])
            except (IndexError, KeyError):  # the model has more rows than tokens
                return f"[{number}]"
            return str(found if isinstance(found, str) else next(iter(found)))

        if any("decoder" in n for n in _input_names(model)):
            raise ModelError(
                "The model has an encoder and a decoder, and encode and decode do not "
                "say what the decoder begins with.",
                "a Seq2SeqLM of KerasHub with its preprocessor, or a decoder alone",
                "tfxai.explain(model, inputs, target=tfxai.targets.next_token())",
            )

        def joined(ids: Ids) -> str:
            try:
                found = decode(list(ids))
            except (IndexError, KeyError):
                found = map(word, ids)
            return found if isinstance(found, str) else " ".join(map(str, found))

        return Reader(
            own, lambda text: _bare(own, text), word, joined, limit=limit, fixed=fixed
        )
    preprocessor = getattr(model, "preprocessor", None)
    tokenizer = getattr(preprocessor, "tokenizer", None)
    if preprocessor is None or tokenizer is None:
        raise ModelError(
            f"{type(model).__name__} has no preprocessor with a tokenizer.",
            "a model of KerasHub with its preprocessor, or the functions encode "
            "(text -> ids) and decode (ids -> text) beside the model",
            _WRITE,
        )

    def pieces(text: str) -> Ids:
        return _ids(tokenizer(text))

    ends = [getattr(tokenizer, n, None) for n in ("end_token_id", "end_token2_id")]
    end = tuple(int(i) for i in ends if i is not None)
    # Without a mask, padding is a part of the text: that of the preprocessor.
    names = _input_names(model)
    masked = any("mask" in n for n in names)
    sees = "response_mask" in names
    kind = _seen if sees else _kind(preprocessor)
    cuts = kind is _whole_text
    return Reader(
        lambda text: kind(preprocessor, text, len(pieces(text)) + 8),
        pieces,
        lambda number: _word(tokenizer, number),
        lambda ids: _joined(tokenizer, ids),
        _first_of(preprocessor),
        end,
        limit,
        lambda text: _found(tokenizer, text),
        getattr(preprocessor, "image_converter", None) or np.asarray,
        fixed if masked else getattr(preprocessor, "sequence_length", fixed),
        0 if masked else int(getattr(tokenizer, "pad_token_id", 0) or 0),
        len(_whole_text(preprocessor, "", 0)) if cuts else None,
    )


def _word(tokenizer: Any, number: int) -> str:
    """The text of a token; some models have more rows than the vocabulary."""
    if number >= tokenizer.vocabulary_size():
        return f"[{number}]"
    return str(tokenizer.id_to_token(number))


def _joined(tokenizer: Any, ids: Ids) -> str:
    """The text of ids; of those behind the vocabulary, the texts of all."""
    if ids and max(ids) < tokenizer.vocabulary_size():
        return str(tokenizer.detokenize(ids))
    return " ".join(merged([_word(tokenizer, i) for i in ids])[0])


def _found(tokenizer: Any, text: str) -> int | None:
    """The id of a token of this spelling; None where the vocabulary has none."""
    try:
        number = int(tokenizer.token_to_id(text))
        same = str(tokenizer.id_to_token(number)) == text
    except Exception:  # tokenizers differ in what they raise
        return None
    return number if same else None


def _kind(preprocessor: Any) -> Callable[[Any, str, int], Ids]:
    """The way in which a preprocessor of KerasHub packs a text."""
    if hasattr(preprocessor, "encoder_sequence_length"):
        return _source
    return _prompt if hasattr(preprocessor, "generate_preprocess") else _whole_text


def _prompt(preprocessor: Any, text: str, length: int) -> Ids:
    if getattr(getattr(preprocessor, "packer", None), "padding_side", "") == "left":
        return _ids(preprocessor.tokenizer(text))  # RWKV: it begins with no other id
    x = preprocessor.generate_preprocess([text], sequence_length=length)
    return _kept(x["token_ids"], x["padding_mask"])


def _seen(preprocessor: Any, text: str, length: int) -> Ids:
    """The prompt beside an image, which has no ids of its own."""
    size = getattr(preprocessor.image_converter, "image_size", None) or (1, 1)
    x = preprocessor.generate_preprocess(
        {"images": np.zeros((1, *size, 3)), "prompts": [text]}, sequence_length=length
    )
    return _kept(x["token_ids"], x["padding_mask"])


def _source(preprocessor: Any, text: str, length: int) -> Ids:
    x = preprocessor.generate_preprocess(
        [text], encoder_sequence_length=length, decoder_sequence_length=8
    )
    return _kept(x["encoder_token_ids"], x["encoder_padding_mask"])


def _whole_text(preprocessor: Any, text: str, length: int) -> Ids:
    x = preprocessor([text])
    x = x if isinstance(x, dict) else {"token_ids": x}
    ids = np.asarray(x["token_ids"])
    mask = x.get("padding_mask", ids != preprocessor.tokenizer.pad_token_id)
    return _kept(ids, mask)


def _first_of(preprocessor: Any) -> Ids | None:
    """The ids that the decoder begins with; None without a decoder of its own."""
    if not hasattr(preprocessor, "encoder_sequence_length"):
        return None
    x = preprocessor.generate_preprocess(
        {"encoder_text": ["a"], "decoder_text": [""]},
        encoder_sequence_length=8, decoder_sequence_length=8,
    )  # fmt: skip
    return _kept(x["decoder_token_ids"], x["decoder_padding_mask"])


def _kept(ids: Any, mask: Any) -> Ids:
    """The ids of one text that are not padding."""
    return _ids(np.asarray(ids)[0][np.asarray(mask)[0].astype(bool)])


def _ids(values: Any) -> Ids:
    """Ids as a list of ints."""
    array = np.asarray(values).ravel()
    if array.size and array.dtype.kind not in "iu":
        raise InputError(
            f"The tokenizer returned {array.dtype}: {array[:3].tolist()}.",
            "ids, whole numbers",
            'encode=lambda text: tokenizer(text)["input_ids"]',
        )
    return [int(i) for i in array]


def _bare(encode: Callable[[str], Ids], text: str) -> Ids:
    """The ids of a text without those that `encode` adds to every text."""
    ids = encode(text)
    try:
        added = encode("")
    except Exception:  # functions differ in what they raise; it adds none
        return ids
    before = 0
    while before < min(len(added), len(ids)) and added[before] == ids[before]:
        before += 1
    behind = len(added) - before
    end = len(ids) - behind
    if end < before or ids[end:] != added[before:]:
        return ids
    return ids[before:end]


def _positions(model: Any) -> int | None:
    """The number of positions for which a model has vectors; None for any number."""
    layers = layers_within(model) if isinstance(model, keras.Model) else []
    found = [
        n
        for layer in layers
        if "PositionEmbedding" in type(layer).__name__
        and isinstance(n := getattr(layer, "sequence_length", None), int)
    ]
    return min(found) if found else None


def _input_names(model: Any) -> list[str]:
    """The names of the inputs of a model that takes them by name."""
    inputs = getattr(model, "input", None) if isinstance(model, keras.Model) else None
    return list(inputs) if isinstance(inputs, dict) else []


def _fixed(model: Any) -> int | None:
    """The length of the token ids of a model that takes one length alone."""
    inputs = getattr(model, "inputs", None) or []
    lengths = {
        v.shape[1] for v in inputs if len(v.shape) == 2 and "int" in str(v.dtype)
    }
    length = lengths.pop() if len(lengths) == 1 else None
    return None if length is None else int(length)


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
    images: Array | None = None,
    prompts: Sequence[int] = (),
) -> Any:
    """Return the inputs of a model from ids and mask (B, L).

    Args:
        names: The names of the model's inputs, or none.
        ids: The ids; of an encoder-decoder model those of the decoder.
        mask: Their mask.
        source: Ids and mask of the encoder.
        images: What the model reads of images, (B, H, W, C).
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
        if name == "response_mask":
            at = np.arange(ids.shape[1]) >= np.asarray(prompts)[:, None]
            found[name] = mask * at
        elif "mask" in name and "vision" not in name:
            found[name] = pair[1]
        elif name == IMAGES and "vision_mask" not in names:
            if images is None:
                raise InputError(
                    "The model reads images, and there are none.",
                    "one image for each text",
                    "tfxai.text.explain(model, text, images=image)",
                )
            found[name] = images
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
