"""Raw texts: their words, sentences or tokens, which are removed or replaced."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError

#: Baselines of numbers, which are no words to put in place of a piece.
OF_NUMBERS = ("input_mean", "black", "blur")
#: name -> what a piece of a text is; the space between pieces belongs to none.
PIECES = {
    "words": re.compile(r"\S+"),
    "sentences": re.compile(r"\S(?:.*?[.!?]+(?=\s|$)|.*$)", re.DOTALL),
}


def is_text(x: np.ndarray, single: bool) -> bool:
    """Return whether inputs are raw texts: (B,), and (B, 1) where `single`."""
    if x.dtype.kind not in "USO" or not x.size:
        return False
    shaped = x.ndim == 1 or (single and x.shape[1:] == (1,))
    return shaped and isinstance(x.flat[0], str | bytes)


@dataclass(frozen=True)
class Pieces:
    """A text and its pieces.

    Attributes:
        text: The text.
        spans: Start and end of each piece.
        token: What replaces a piece; None removes it, and the space after it.
    """

    text: str
    spans: list[tuple[int, int]]
    token: str | None

    @property
    def words(self) -> list[str]:
        """The texts of the pieces."""
        return [self.text[a:b] for a, b in self.spans]

    def copy(self, mask: np.ndarray) -> str:
        """Return the text with the pieces whose mask (d,) is True."""
        ends = [a for a, _ in self.spans[1:]] + [len(self.text)]
        parts = [self.text[: self.spans[0][0]]]
        for kept, (a, b), end in zip(mask, self.spans, ends, strict=True):
            if kept:
                parts.append(self.text[a:end])
            elif self.token is not None:
                parts.append(self.token + self.text[b:end])
        text = "".join(parts)
        return text if mask[-1] or self.token is not None else text.rstrip()

    def copies(self, masks: np.ndarray, like: np.ndarray) -> np.ndarray:
        """Return the texts (n, ...) of masks (n, d), of the type and shape of `like`.

        Args:
            masks: Masks, True where a piece is kept.
            like: The text itself, (1,) or (1, 1).
        """
        found = np.empty(len(masks), object)
        found[:] = [self.copy(m) for m in masks]
        if isinstance(like.flat[0], bytes):
            found[:] = [t.encode() for t in found]
        kind = like.dtype.kind
        typed = found if kind == "O" else found.astype(kind)
        return typed.reshape(-1, *like.shape[1:])


def pieces_of(text: Any, segmenter: Any, baseline: Any) -> Pieces:
    """Return a text and its pieces.

    Args:
        text: The text, as str or bytes.
        segmenter: "words" (also by "auto"), "sentences", or a function of a text that
            returns its pieces from left to right, as texts or as (start, end).
        baseline: What replaces a piece, a text such as "[MASK]". "auto", "mean" and ""
            remove it.

    Raises:
        InputError: The text is empty, or does not hold the pieces.
        OptionError: Segmenter or baseline are of another type.
    """
    text = text.decode() if isinstance(text, bytes) else str(text)
    if not isinstance(baseline, str):
        raise OptionError(
            f"baseline={baseline!r} for texts.",
            "a text in place of a piece; without it pieces are removed",
            'baseline="[MASK]"',
        )
    if baseline in OF_NUMBERS:
        raise OptionError(
            f"baseline={baseline!r}, which covers numbers, for texts.",
            'a text in place of a piece; "auto" removes pieces',
            'baseline="auto"',
        )
    name = "words" if isinstance(segmenter, str) and segmenter == "auto" else segmenter
    if isinstance(name, str) and name in PIECES:
        spans = [m.span() for m in PIECES[name].finditer(text)]
    elif callable(name):
        spans = _spans(text, name)
    else:
        raise OptionError(
            f"segmenter={segmenter!r} for texts.",
            f"one of {list(PIECES)}, or a function of a text",
            "segmenter=tokenizer.tokenize",
        )
    if not spans:
        raise InputError(
            f"The text {text[:40]!r} has no pieces.",
            "texts of at least one word",
            "x=[t for t in texts if t.strip()]",
        )
    token = None if baseline in ("auto", "mean", "") else baseline
    return Pieces(text, spans, token)


def _spans(text: str, segmenter: Callable[[str], Any]) -> list[tuple[int, int]]:
    """Start and end of the pieces that a function returns."""
    spans, at = [], 0
    for piece in segmenter(text):
        if isinstance(piece, str):
            start = text.find(piece, at)
            end = start + len(piece)
        else:
            start, end = (int(n) for n in piece)
        if not at <= start < end <= len(text):
            raise InputError(
                f"The segmenter returned {piece!r}, and the text has no such piece "
                f"from position {at} on.",
                "pieces of the text from left to right, or (start, end) of each",
                "segmenter=lambda text: text.split()",
            )
        spans.append((start, end))
        at = end
    return spans
