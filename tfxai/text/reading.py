"""Which reader a model has: of KerasHub, or of two functions of the user."""

from typing import Any

import keras
import numpy as np

from tfxai.base.errors import InputError, ModelError
from tfxai.graph.private import layers_within
from tfxai.text.hub import hub_reader
from tfxai.text.readers import Ids, Reader, as_ids, named_inputs
from tfxai.text.signals import AUDIO, IMAGES, Signal

#: Parts of the names of inputs that are neither features nor images.
_NO_FEATURES = ("ids", "mask", "position", "segment")


def reader_of(
    model: Any, encode: Any = None, decode: Any = None, preprocessor: Any = None
) -> Reader:
    """Return the reader of a model of KerasHub, or of two functions.

    Args:
        model: The model.
        encode: (text) -> ids, those that a prompt begins and ends with among them; None
            reads the model's `preprocessor`. Of an encoder-decoder model, (text) -> the
            ids of the encoder and those that the decoder begins with; where the encoder
            reads features, such as those of audio, encode returns them in place of ids.
        decode: (ids) -> their text.
        preprocessor: That of KerasHub, if it is not the model's attribute.

    Raises:
        ModelError: The model has no preprocessor, and no functions are given; or it
            drafts tokens for another model.
    """
    if hasattr(model, "num_speculative_tokens"):
        raise ModelError(
            f"{type(model).__name__} drafts tokens for another model, and KerasHub "
            "calls it beside that model alone.",
            "the model that it drafts for",
            "tfxai.text.explain(target_model, text)",
        )
    fixed = _fixed(model)
    limit = _positions(model)
    limit = fixed if limit is None else limit
    if encode is None:
        if preprocessor is None:
            preprocessor = getattr(model, "preprocessor", None)
        return hub_reader(model, preprocessor, limit, fixed)
    return _Own(model, encode, decode).reader(limit, fixed)


class _Own:
    """The functions encode and decode of a user, for a model.

    Attributes:
        begin: The ids that a decoder begins with, as encode returned them last; None
            for a model without an encoder.
    """

    def __init__(self, model: Any, encode: Any, decode: Any) -> None:
        self._model, self._encode, self._decode = model, encode, decode
        two = any("decoder" in n for n in named_inputs(model))
        self.begin: Ids | None = [] if two else None

    def reader(self, limit: int | None, fixed: int | None) -> Reader:
        """Return the reader."""
        signal = self._signal()
        alone = signal is not None and signal.alone
        pieces = self._one if alone else self._bare
        return Reader(
            lambda text: as_ids(self._first(text)), pieces, self.word, self._text,
            self.begin, limit=limit, fixed=fixed, signal=signal,
        )  # fmt: skip

    def word(self, number: int) -> str:
        """Return the text of a token; the model may have more rows than tokens."""
        try:
            found = self._decode([number])
        except (IndexError, KeyError):
            return f"[{number}]"
        return str(found if isinstance(found, str) else next(iter(found)))

    def _text(self, ids: Ids) -> str:
        try:
            found = self._decode(list(ids))
        except (IndexError, KeyError):
            found = map(self.word, ids)
        return found if isinstance(found, str) else " ".join(map(str, found))

    def _first(self, given: Any) -> Any:
        """What encode returns for the model, or for its encoder."""
        found = self._encode(given)
        if self.begin is None:
            return found
        if not isinstance(found, tuple) or len(found) != 2:
            raise ModelError(
                "The model has an encoder and a decoder, and encode does not say what "
                "the decoder begins with.",
                "a function encode that returns two: what the encoder reads, and the "
                "ids that the decoder begins with; or a Seq2SeqLM of KerasHub",
                "encode=lambda text: (ids, [start_id])",
            )
        begin = as_ids(found[1])
        if not begin or (self.begin and begin != self.begin):
            raise ModelError(
                f"encode returns that the decoder begins with {begin}"
                + (f", and before {self.begin}." if self.begin else "."),
                "the same ids for every input, at least one",
                "encode=lambda text: (ids, [start_id])",
            )
        self.begin[:] = begin
        return found[0]

    def _signal(self) -> Signal | None:
        """What the model reads that is no text, or None: images, or features."""
        names = named_inputs(self._model)
        alone = self.begin is not None and "encoder_token_ids" not in names
        if IMAGES in names and "vision_mask" not in names and not alone:
            channels = self._model.input[IMAGES].shape[-1]
            return Signal(IMAGES, IMAGES, list, 3, channels)
        floats = [
            n for n in names
            if not any(part in n for part in _NO_FEATURES)
            and "float" in str(self._model.input[n].dtype)
        ]  # fmt: skip
        if not alone or len(floats) != 1:
            return None
        (name,) = floats
        masks = [n for n in names if "mask" in n and "decoder" not in n]

        def read(many: Any) -> list[Any]:
            return [self._features(name, v) for v in many]

        kind = IMAGES if name == IMAGES else AUDIO
        mask = masks[0] if masks else None
        return Signal(kind, name, read, alone=True, mask=mask)

    def _features(self, name: str, given: Any) -> Any:
        """The features of one input, in the shape that the model reads."""
        found = np.asarray(self._first(given))
        wanted = self._model.input[name].shape[1:]
        if found.ndim == len(wanted) + 1 and len(found) == 1:
            found = found[0]
        pairs = zip(found.shape, wanted, strict=False)
        same = found.ndim == len(wanted) and all(n in (a, None) for a, n in pairs)
        if not same or not found.size or found.dtype.kind not in "fiu":
            raise InputError(
                f"encode returned {found.dtype} of shape {found.shape} for {name!r}.",
                f"numbers of the shape {tuple(wanted)}",
            )
        return found.astype(np.float32)

    def _one(self, text: str) -> Ids:
        """The id of the token of a spelling, where encode reads no texts."""
        size = self._model.output_shape[-1] or 0
        found = [i for i in range(size) if self.word(i) == text]
        if not found:
            raise InputError(
                f"{text!r} is no token, and encode reads no texts.",
                "the text of one token, or ids",
                "answer=[[5, 3]]",
            )
        return found[:1]

    def _bare(self, text: str) -> Ids:
        """The ids of a text without those that encode adds to every text."""
        ids = as_ids(self._first(text))
        try:
            added = as_ids(self._first(""))
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
    """The number of positions for which a model has vectors; None for any number.

    Those of an encoder of features are no positions of tokens.
    """
    layers = layers_within(model) if isinstance(model, keras.Model) else []
    names = [n for n in named_inputs(model) if "encoder" in n]
    features = bool(names) and "encoder_token_ids" not in names
    found = [
        n
        for layer in layers
        if (n := _rows_of(layer)) and not (features and "encoder" in layer.name)
    ]
    return min(found) if found else None


def _rows_of(layer: Any) -> int | None:
    """The number of positions of a layer of KerasHub that has vectors for them."""
    if "PositionEmbedding" in type(layer).__name__:
        length = getattr(layer, "sequence_length", None)
        return length if isinstance(length, int) else None
    table = getattr(layer, "pos_query_embeddings", None)  # PARSeq
    if table is not None:
        return int(table.shape[1])
    offset = getattr(layer, "position_offset", None)  # BLIP-2, behind its queries
    return None if offset is None else int(layer.position_embedding.input_dim - offset)


def _fixed(model: Any) -> int | None:
    """The length of the token ids of a model that takes one length alone."""
    inputs = getattr(model, "inputs", None) or []
    lengths = {
        v.shape[1] for v in inputs if len(v.shape) == 2 and "int" in str(v.dtype)
    }
    length = lengths.pop() if len(lengths) == 1 else None
    return None if length is None else int(length)
