"""Words on the colours of their relevance: as HTML, and as a figure."""

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import InputError, MissingPackageError, OptionError
from tfxai.viz import colours
from tfxai.viz.figure_grid import FigureGrid
from tfxai.viz.look import FRAME, INK, PALE, number, signed
from tfxai.viz.panel import Look, Panel, one_panel
from tfxai.viz.words import folded, is_padding, merged, token_input

#: The width of the text in a figure, the size of its letters in points, and the height
#: of a line, in inches.
WIDTH, SIZE, LINE = 7.0, 11.0, 0.3
ADVANCE = 0.602 * SIZE / 72  # of DejaVu Sans Mono
#: The labels of what an encoder reads, and of what the decoder has written.
SOURCE, WRITTEN = "source", "written"
_FONT = "font-family:system-ui,-apple-system,'Segoe UI',sans-serif"


@dataclass(frozen=True)
class Block:
    """The words of one sample, and their relevance for one target.

    `source` is the number of words that an encoder reads, and the others are written;
    None where there is no such division.
    """

    title: str
    words: Sequence[str]
    relevance: np.ndarray
    limit: float
    source: int | None = None

    @property
    def labels(self) -> dict[int, str]:
        """Number of a word -> the label of the line that begins with it."""
        if self.source is None:
            return {}
        return {self.source: WRITTEN} | ({0: SOURCE} if self.source else {})


class ColouredText(str):
    """A self-contained piece of HTML, which a notebook shows.

    It is the HTML itself; `figure()` draws it with matplotlib, `save` writes a page or
    a picture, and `rich.print(text)` prints the coloured words in a terminal.
    """

    _panel: Panel
    _look: Look

    def _repr_html_(self) -> str:
        return str(self)

    def __rich__(self) -> Any:
        return of_terminal(self._panel, self._look)

    def figure(self) -> Any:
        """Return the text as a figure of matplotlib."""
        grid = layout(self._panel, self._look)
        paint(self._panel, self._look, grid)
        return grid.figure

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a page (.html) or a picture (.png, .svg, .pdf), and return its path.

        Raises:
            OptionError: The name has another ending.
        """
        path = Path(path)
        if path.suffix in (".html", ".htm"):
            with atomic_write(path) as temporary:
                temporary.write_text(_page(str(self)), encoding="utf-8")
        elif path.suffix in (".png", ".svg", ".pdf"):
            self.figure().savefig(path, dpi=160)
        else:
            raise OptionError(
                f"save({str(path)!r}).", "a file name that ends in .html or .png"
            )
        return path


def coloured(panel: Panel, look: Look) -> ColouredText:
    """Return the words of a panel as HTML."""
    inside = [
        f'<div style="font-weight:600;font-size:16px;margin-bottom:6px">'
        f"{html.escape(panel.heading(look))}</div>"
        if panel.heading(look)
        else ""
    ]
    ramp = colours.ramp(look.cmap, panel.signed)
    for block in blocks(panel, look):
        first, *rest = block.title.split("\n")
        inside.append(
            f'<div style="margin:8px 0 2px"><b>{html.escape(first)}</b> '
            f'<span style="color:{PALE}">{html.escape(" ".join(rest))}</span></div>'
            f"{_words(block, ramp, look)}{_legend(block, ramp, panel.signed)}"
        )
    text = ColouredText(
        f'<div style="{_FONT};font-size:15px;color:{INK};background:white;padding:8px;'
        f'max-width:760px">{"".join(inside)}</div>'
    )
    text._panel, text._look = panel, look
    return text


def lines_of(e: Any, tokens: Any) -> str:
    """Return the words of an explanation as HTML without titles."""
    look = Look()
    panel = one_panel(e, None, None, token_input(e.inputs), tokens)
    ramp = colours.ramp(None, panel.signed)
    return "".join(
        _words(b, ramp, look) + _legend(b, ramp, panel.signed)
        for b in blocks(panel, look)
    )


def check_words(panel: Panel) -> Sequence[Sequence[str]]:
    """Return the tokens of a panel.

    Raises:
        InputError: It has none, or not one number for each token.
    """
    if panel.tokens is None or panel.heatmaps.ndim != 3:
        raise InputError(
            f"Relevance of shape {panel.heatmaps.shape[2:]} per sample"
            + (" without tokens." if panel.tokens is None else "."),
            "one number for each token, and the texts of the tokens",
            "tfxai.plot.text(e, tokens=[[...], ...])",
        )
    return panel.tokens


def blocks(panel: Panel, look: Look) -> list[Block]:
    """Return a block for each sample and target, with whole words without padding."""
    tokens_of = check_words(panel)
    found: list[tuple[str, list[str], np.ndarray, int | None]] = []
    sources = panel.sources or [None] * len(tokens_of)
    for row, tokens in enumerate(tokens_of):
        kept, n = len(tokens), sources[row]
        least = 1 if n is None else int(n) + 1  # a decoder may begin with padding
        while kept > least and is_padding(tokens[kept - 1]):
            kept -= 1
        words, word_of = merged(tokens[:kept])
        words, numbers = folded(words)
        word_of = [numbers[i] for i in word_of]
        source = None if n is None else len(set(word_of[: int(n)]))
        for t in range(panel.titles.shape[1]):
            total = np.zeros(len(words))
            np.add.at(total, word_of, panel.heatmaps[row, t, :kept])
            found.append((panel.titles[row, t], words, total, source))
    every = np.concatenate([r for _, _, r, _ in found])
    result = []
    for title, words, relevance, source in found:
        shared = look.limit == "shared"
        own = every if shared else relevance
        largest = float(np.abs(own[np.isfinite(own)]).max(initial=0)) or 1.0
        numeric = look.limit is not None and not shared
        limit = float(look.limit) if numeric else largest
        result.append(Block(title, words, relevance, limit, source))
    return result


def of_terminal(panel: Panel, look: Look) -> Any:
    """Return the words of a panel as a `rich.text.Text`, coloured for a terminal.

    Raises:
        MissingPackageError: rich is not installed.
    """
    try:
        from rich.text import Text
    except ImportError as error:
        raise MissingPackageError(
            "Coloured words in a terminal need rich.", "rich", "pip install rich"
        ) from error
    ramp = colours.ramp(look.cmap, panel.signed)
    text = Text()
    for block in blocks(panel, look):
        first, *rest = block.title.split("\n")
        text.append("\n\n" if text else "")
        text.append(first, "bold")
        text.append(" " + " ".join(rest) + "\n", "dim")
        inks = inks_of(block, ramp, look)
        for i, (word, ink) in enumerate(zip(block.words, inks, strict=True)):
            if i in block.labels:
                text.append("\n" * bool(i) + f"{block.labels[i]}: ", "dim")
            text.append(word, f"{letters(ink)} on {css(ink)}")
            text.append(" ")
    return text


def layout(panel: Panel, look: Look) -> FigureGrid:
    """Return the empty grid of texts: a row for each sample and target."""
    found = blocks(panel, look)
    lines = max(_placed(b)[0][-1][1] + 1 for b in found)
    size = WIDTH, LINE * lines
    grid = {"bars": True, "heading": panel.heading(look), "figsize": look.figsize}
    return FigureGrid(len(found), 1, size, **grid)


def paint(panel: Panel, look: Look, grid: Any) -> None:
    """Draw the words of each block, wrapped into lines."""
    found = blocks(panel, look)
    ramp = colours.ramp(look.cmap, panel.signed)
    lines = max(_placed(b)[0][-1][1] + 1 for b in found)
    for row, block in enumerate(found):
        axes = grid.cell(row, 0, block.title)
        axes.set(xlim=(0, WIDTH), ylim=(LINE * lines, 0))
        axes.set_axis_off()
        inks, (places, labels) = inks_of(block, ramp, look), _placed(block)
        for line, label in labels:
            axes.text(
                0.03, (line + 0.5) * LINE, label, color=PALE, va="center",
                family="DejaVu Sans Mono", fontsize=SIZE - 2,
            )  # fmt: skip
        for (x, line), word, ink in zip(places, block.words, inks, strict=True):
            axes.text(
                x + 0.03, (line + 0.5) * LINE, word, color=letters(ink), va="center",
                family="DejaVu Sans Mono", fontsize=SIZE, parse_math=False,
                bbox={"facecolor": ink, "edgecolor": "none", "pad": 1.6},
            )  # fmt: skip
        grid.bar(row, 0, ramp, block.limit, panel.signed)


def _placed(block: Block) -> tuple[list[tuple[float, int]], list[tuple[int, str]]]:
    """The inches from the left and the line of words; the line and text of labels."""
    x, line, places, labels = 0.0, 0, [], []
    for i, word in enumerate(block.words):
        if i in block.labels:
            line += bool(i)
            labels.append((line, block.labels[i]))
            x = _cells(block.labels[i]) * ADVANCE * (SIZE - 2) / SIZE + 0.11
        width = _cells(word) * ADVANCE + 0.11
        if x > 0 and x + width > WIDTH:
            x, line = 0.0, line + 1
        places.append((x, line))
        x += width
    return places or [(0.0, 0)], labels


def _cells(word: str) -> int:
    """The width of a word in letters; East Asian letters are two wide."""
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in word)


def inks_of(block: Block, ramp: colours.Ramp, look: Look) -> np.ndarray:
    """The colour behind each word."""
    inks = ramp(colours.strengths(block.relevance, block.limit))
    alpha = 1.0 if look.alpha is None else look.alpha
    return 1 - alpha * (1 - inks)


def letters(ink: np.ndarray) -> str:
    """The colour of letters that can be read on a background."""
    return INK if ink @ np.array([0.299, 0.587, 0.114]) > 0.52 else "white"


def css(ink: np.ndarray) -> str:
    """A colour as CSS."""
    return "#" + "".join(f"{round(255 * float(v)):02x}" for v in np.clip(ink, 0, 1))


def _words(block: Block, ramp: colours.Ramp, look: Look) -> str:
    """The words as HTML: the colour is the relevance, the tooltip its number.

    What an encoder reads is on a line of its own.
    """
    inks = inks_of(block, ramp, look)
    spans = [
        f'<span style="background:{css(ink)};color:{letters(ink)};padding:2px 3px;'
        f'border-radius:3px" title="{html.escape(signed(float(r)))}">'
        f"{html.escape(word)}</span>"
        for word, r, ink in zip(block.words, block.relevance, inks, strict=True)
    ]
    made, begins = [], sorted({0, *block.labels})
    for first, last in zip(begins, [*begins[1:], len(spans)], strict=True):
        label = block.labels.get(first, "")
        pale = f'<span style="color:{PALE};font-size:13px">{label}</span> '
        line = (pale if label else "") + " ".join(spans[first:last])
        style = "line-height:2;overflow-wrap:anywhere"
        made.append(f'<div style="{style}">{line}</div>')
    return "".join(made)


def _legend(block: Block, ramp: colours.Ramp, is_signed: bool) -> str:
    """The colour bar as HTML, with numbers at its ends."""
    low = -1.0 if is_signed else 0.0
    stops = ", ".join(css(c) for c in ramp(np.linspace(low, 1, 9)))
    left = f"{number(-block.limit)} against" if is_signed else "0"
    return (
        f'<div style="display:flex;align-items:center;gap:8px;font-size:13px;'
        f'color:{PALE};margin:4px 0 10px"><span>{left}</span>'
        f'<span style="width:120px;height:10px;border:1px solid {FRAME};'
        f'background:linear-gradient(to right, {stops})"></span>'
        f"<span>{number(block.limit)} for</span></div>"
    )


def _page(text: str) -> str:
    """A page around a piece of HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<title>Explanation</title></head><body style="margin:16px">{text}</body>'
        "</html>\n"
    )
