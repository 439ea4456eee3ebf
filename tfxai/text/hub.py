"""Readers of the models of KerasHub, by their preprocessors."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, ModelError
from tfxai.text.readers import Ids, Reader, as_ids, named_inputs
from tfxai.text.signals import AUDIO, IMAGES, Signal
from tfxai.viz.words import merged

#: Samples of silence, by which a preprocessor of audio shows what the decoder begins
#: with: one second at 16 kHz.
SILENCE = 16_000
#: The seconds of the shortest audio that KerasHub transcribes.
SHORTEST = 0.1


def hub_reader(
    model: Any, preprocessor: Any, limit: int | None, fixed: int | None
) -> Reader:
    """Return the reader of a model of KerasHub.

    Args:
        model: The model.
        preprocessor: Its preprocessor.
        limit: The number of its positions, or None.
        fixed: The one length that it takes, or None.

    Raises:
        ModelError: The model has no preprocessor with a tokenizer.
    """
    tokenizer = getattr(preprocessor, "tokenizer", None)
    if preprocessor is None or tokenizer is None:
        raise ModelError(
            f"{type(model).__name__} has no preprocessor with a tokenizer.",
            "a model of KerasHub with its preprocessor, or the functions encode "
            "(text -> ids) and decode (ids -> text) beside the model",
            "tfxai.text.explain((model, encode, decode), text)",
        )

    def pieces(text: str) -> Ids:
        return as_ids(tokenizer(text))

    ends = [getattr(tokenizer, n, None) for n in ("end_token_id", "end_token2_id")]
    end = tuple(int(i) for i in ends if i is not None)
    # Without a mask, padding is a part of the text: that of the preprocessor.
    names = named_inputs(model)
    masked = any("mask" in n for n in names)
    sees = "response_mask" in names
    kind = _seen if sees else _kind(preprocessor)
    cuts = kind is _whole_text
    begin, signal = _begin_and_signal(model, preprocessor)
    patches = getattr(preprocessor, "num_vision_tokens_per_image", 0)
    mark = getattr(preprocessor, "start_of_image_token", "")
    placed = bool(patches) and signal is not None

    def encode(text: str) -> Ids:
        more = (patches + 8) * text.count(mark) if mark else 0
        return kind(preprocessor, text, len(pieces(text)) + 8 + more)

    return Reader(
        encode,
        pieces,
        lambda number: _word(tokenizer, number),
        lambda ids: _joined(tokenizer, ids),
        begin,
        end,
        limit,
        lambda text: _found(tokenizer, text),
        signal,
        fixed if masked else getattr(preprocessor, "sequence_length", fixed),
        0 if masked else int(getattr(tokenizer, "pad_token_id", 0) or 0),
        len(_whole_text(preprocessor, "", 0)) if cuts else None,
        (mark, int(tokenizer.image_placeholder_id), patches) if placed else None,
    )


def _word(tokenizer: Any, number: int) -> str:
    """The text of a token; some models have more rows than the vocabulary."""
    if number >= tokenizer.vocabulary_size():
        return f"[{number}]"
    try:
        return str(tokenizer.id_to_token(number))
    except KeyError:  # a number without a token
        return f"[{number}]"


def _joined(tokenizer: Any, ids: Ids) -> str:
    """The text of ids; of those behind the vocabulary, the texts of all."""
    known = ids and max(ids) < tokenizer.vocabulary_size()
    with suppress(KeyError):  # a number without a token
        if known:
            found = tokenizer.detokenize(ids)
            return found if isinstance(found, str) else _spelled(found)
    return " ".join(merged([_word(tokenizer, i) for i in ids])[0])


def _spelled(letters: Any) -> str:
    """The text of a tokenizer that returns letters."""
    every = np.asarray(letters).ravel().tolist()
    return "".join(v.decode() if isinstance(v, bytes) else str(v) for v in every)


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
    if not preprocessor.built:
        preprocessor.build(None)
    if getattr(getattr(preprocessor, "packer", None), "padding_side", "") == "left":
        return as_ids(preprocessor.tokenizer(text))  # RWKV: it begins with no other id
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


def _begin_and_signal(
    model: Any, preprocessor: Any
) -> tuple[Ids | None, Signal | None]:
    """The ids that the decoder begins with, and what is read that is no text."""
    names = named_inputs(model)
    hears = getattr(preprocessor, "audio_converter", None) is not None
    if hears and "encoder_padding_mask" in names and "encoder_token_ids" not in names:
        return _of_audio(preprocessor, names)
    if IMAGES not in names or "vision_mask" in names:
        return _first_of(preprocessor), None
    shape = tuple(model.input[IMAGES].shape[1:])
    converter = getattr(preprocessor, "image_converter", None)

    def read(images: Any) -> Any:
        batch = np.stack(images)
        return np.asarray(batch if converter is None else converter(batch))

    begin = _after_image(preprocessor, shape)
    alone = begin is not None
    begin = begin if alone else _first_of(preprocessor)
    return begin, Signal(IMAGES, IMAGES, read, 3, shape[-1], alone)


def _after_image(preprocessor: Any, shape: tuple[int, ...]) -> Ids | None:
    """The first ids of a model of images alone; None for one of images and texts.

    Only a preprocessor that asks for no text packs an array of images.
    """
    with suppress(Exception):  # preprocessors differ in what they raise
        x = preprocessor.generate_preprocess(np.zeros((1, *shape), np.float32))
        if IMAGES in x:
            ids = np.asarray(x["token_ids"]).astype(np.int32)  # that of PARSeq is float
            return _kept(ids, x["padding_mask"])
    return None


def _of_audio(preprocessor: Any, names: list[str]) -> tuple[Ids, Signal]:
    """The first ids of a model of audio, and the audio."""
    rate = getattr(preprocessor.audio_converter, "sampling_rate", SILENCE)

    def packed(audio: Any) -> Any:
        count = len(audio[0])
        if count < SHORTEST * rate:
            raise InputError(
                f"The audio has {count} samples, {count / rate:.3g} s at {rate} Hz.",
                f"at least {SHORTEST} s, {int(SHORTEST * rate)} samples",
            )
        return preprocessor.generate_preprocess({"audio": np.stack(audio)})

    x = packed([np.zeros(SILENCE, np.float32)])
    ids = _kept(x["decoder_token_ids"], x["decoder_padding_mask"])
    (name,) = (n for n in x if "ids" not in n and "mask" not in n)
    masks = [n for n in x if "mask" in n and "decoder" not in n]
    signal = Signal(
        AUDIO, name, lambda audio: np.asarray(packed(audio)[name]), 1, None, True,
        masks[0] if masks else None,
        getattr(preprocessor.audio_converter, "padding_value", None),
    )  # fmt: skip
    return ids, signal


def _kept(ids: Any, mask: Any) -> Ids:
    """The ids of one text that are not padding."""
    return as_ids(np.asarray(ids)[0][np.asarray(mask)[0].astype(bool)])
