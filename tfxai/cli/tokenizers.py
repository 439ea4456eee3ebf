"""The tokenizer of `--tokenizer`: one rule for classifiers and language models.

A vocabulary has one token per line. A text is split at white space. What is in the
vocabulary is a token; otherwise its words and punctuation marks are, as they are
written or in lower case. What is still unknown has the id of "[UNK]" or "<unk>", and is
an error where the vocabulary has none.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import (
    InputError,
    MissingFileError,
    MissingPackageError,
    OptionError,
)

UNKNOWN = ("[UNK]", "<unk>")


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer.

    Attributes:
        encode: (text) -> the ids of its tokens, and their texts.
        decode: (ids) -> their text; None where it is not known.
    """

    encode: Callable[[str], tuple[list[int], list[str]]]
    decode: Callable[[Sequence[int]], str] | None = None

    @property
    def functions(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The functions text -> ids and ids -> text, which a language model needs.

        Raises:
            OptionError: The tokenizer is a function, which has no way back.
        """
        if self.decode is None:
            raise OptionError(
                "--tokenizer is a function, which has no texts of ids.",
                "for a language model a vocabulary with one token per line, or a "
                "tokenizer.json",
                "--tokenizer vocabulary.txt",
            )
        return lambda text: self.encode(text)[0], self.decode


def tokenizer_of(source: str) -> Tokenizer:
    """Return the tokenizer of a file, or of file.py:function.

    Args:
        source: A vocabulary, a tokenizer.json of the package tokenizers, or
            file.py:function that returns (ids, tokens) of a list of texts.

    Raises:
        MissingFileError: There is no such file.
        MissingPackageError: The package tokenizers is not installed.
    """
    path = Path(source)
    if ":" in path.name and not path.exists():
        return _of_function(source)
    if not path.is_file():
        raise MissingFileError(
            f"There is no file {source!r}.",
            "a vocabulary with one token per line, a tokenizer.json, or "
            "file.py:function",
            "--tokenizer vocabulary.txt",
        )
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        return _of_json(json.loads(text))
    return of_vocabulary(text.splitlines())


def of_vocabulary(vocabulary: Sequence[str]) -> Tokenizer:
    """Return the tokenizer of a vocabulary; the number of a line is the id."""
    known = {word: i for i, word in enumerate(vocabulary)}
    unknown = next((known[w] for w in UNKNOWN if w in known), None)

    def tokens(text: str) -> list[str]:
        found: list[str] = []
        for piece in text.split():
            words = [piece] if piece in known else re.findall(r"\w+|[^\w\s]", piece)
            found += [w if w in known else w.lower() for w in words]
        return found

    def encode(text: str) -> tuple[list[int], list[str]]:
        words = tokens(text)
        missing = [w for w in words if w not in known]
        if missing and unknown is None:
            raise InputError(
                f"The text {text[:60]!r} holds {missing[0]!r}, which is not in the "
                "vocabulary.",
                "its words, or a line [UNK] for those that are unknown",
            )
        return [known.get(w, unknown) for w in words], words  # type: ignore[misc]

    return Tokenizer(encode, lambda ids: " ".join(vocabulary[i] for i in ids))


def _of_json(data: Any) -> Tokenizer:
    try:
        from tokenizers import Tokenizer as Loaded
    except ImportError as error:
        raise MissingPackageError(
            "A tokenizer.json needs the package tokenizers.",
            "tokenizers",
            "pip install tokenizers",
        ) from error
    loaded = Loaded.from_str(json.dumps(data))

    def encode(text: str) -> tuple[list[int], list[str]]:
        found = loaded.encode(text)
        return list(found.ids), list(found.tokens)

    def decode(ids: Sequence[int]) -> str:
        if len(ids) == 1:  # with its mark of a new word
            return str(loaded.id_to_token(ids[0]))
        return str(loaded.decode(list(ids), skip_special_tokens=False))

    return Tokenizer(encode, decode)


def _of_function(source: str) -> Tokenizer:
    from tfxai.io import networks

    function = networks.preprocess(source)

    def encode(text: str) -> tuple[list[int], list[str]]:
        ids, tokens = function([text])
        return [int(i) for i in np.asarray(ids[0])], [str(t) for t in tokens[0]]

    return Tokenizer(encode)
