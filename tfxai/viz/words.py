"""Words of tokens: the pieces of tokenizers, joined."""

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Signs of a piece that begins a word: SentencePiece, and byte-level BPE.
STARTS = ("▁", "Ġ", "Ċ")
#: The sign of a piece that continues a word (WordPiece), and one that ends it (BPE).
CONTINUED, ENDED = "##", "</w>"
#: Special tokens that follow each other and are drawn as one, from so many on.
RUN = 4


def merged(tokens: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the words, and for each token the number of its word.

    The spelling decides how pieces are joined: "##ing" continues a word (WordPiece);
    where some tokens begin with "▁" or "Ġ", all others continue a word, except special
    tokens such as "<s>" or "[SEP]"; "</w>" ends a word. Other tokens are words.
    """
    marked = any(t.startswith(STARTS) for t in tokens)
    ended = any(t.endswith(ENDED) for t in tokens)
    words: list[str] = []
    numbers: list[int] = []
    complete = True  # no word is open
    for token in tokens:
        text = token.removesuffix(ENDED)
        begins = token.startswith(STARTS)
        continues = token.startswith(CONTINUED) and token != CONTINUED
        if marked:
            continues = not begins and not is_special(token) and not complete
        elif ended:
            continues = not complete
        if begins:
            text = text[1:]
        elif token.startswith(CONTINUED) and continues:
            text = text[len(CONTINUED) :]
        if continues and words:
            words[-1] += text
        else:
            words.append(text)
        numbers.append(len(words) - 1)
        complete = is_special(token) or (ended and token.endswith(ENDED))
    return words, numbers


def plain(token: str) -> str:
    """Return a token without the sign that it begins a word; the sign alone stays."""
    begins = token.startswith(STARTS) and len(token) > 1
    return token[1:] if begins else token


def is_special(token: str) -> bool:
    """Return whether a token is one of the tokenizer: "[CLS]", "<pad>", "</s>"."""
    pairs = (("[", "]"), ("<", ">"))
    return len(token) > 2 and any(token[0] == a and token[-1] == b for a, b in pairs)


def folded(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the words with a run of one special token as one, and the number of each.

    So are the tokens that stand for the parts of an image: "<img x 256>".
    """
    found: list[str] = []
    numbers: list[int] = []
    start = 0
    while start < len(words):
        end = start + 1
        while end < len(words) and words[end] == words[start]:
            end += 1
        if end - start >= RUN and is_special(words[start]):
            name, sign = words[start][:-1], words[start][-1]
            found.append(f"{name} x {end - start}{sign}")
            numbers += [len(found) - 1] * (end - start)
        else:
            numbers += range(len(found), len(found) + end - start)
            found += words[start:end]
        start = end
    return found, numbers


def is_padding(token: str) -> bool:
    """Return whether a token only fills up a sequence: "[PAD]", "<pad>", ""."""
    return token.strip("[]<>|").lower() in ("pad", "") and (
        is_special(token) or token == ""
    )


def token_input(inputs: Any) -> int:
    """Return the number of the input that holds tokens: texts, or the largest numbers.

    Args:
        inputs: The inputs of an explanation: an array, a list of arrays or None. Texts
            are (B,) or (B, 1); token ids are whole numbers.
    """
    arrays = [np.asarray(v) for v in inputs] if isinstance(inputs, list) else []
    texts = [v.dtype.kind in "OU" and v.size == len(v) for v in arrays]
    if any(texts):
        return texts.index(True)
    whole = [v.max() if v.dtype.kind in "iu" and v.size else -1 for v in arrays]
    return int(np.argmax(whole)) if whole else 0
