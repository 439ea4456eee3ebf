"""Figures of texts beside coloured words: a matrix, bars, and several methods."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.viz import bars, colours
from tfxai.viz.cells import shown_name
from tfxai.viz.figure_grid import FigureGrid
from tfxai.viz.look import INK, ROW, SUB, shortened, width_of
from tfxai.viz.panel import Look, Panel, one_panel
from tfxai.viz.text import ColouredText, blocks, check_words, coloured
from tfxai.viz.words import folded, is_special, plain, token_input

#: The width and the height of a cell of the matrix, in inches.
CELL = 0.3
#: The least width of the matrix: that of the numbers at its colour bar.
LEAST = 2.4


def panel_of(e: Any, names: Any = None, which: Any = None, tokens: Any = None) -> Panel:
    """Return the panel of the tokens of an explanation."""
    if which is None:
        which = token_input(e.inputs)
    return one_panel(e, names, None, which, tokens)


def several(explanations: Any, look: Look, names: Any, tokens: Any) -> ColouredText:
    """Return the words of several explanations, below each other.

    Args:
        explanations: A sequence of explanations, or a mapping from a name to each;
            without names the title of each is its method.
        look: The options of the figure.
        names: The class names by index.
        tokens: The texts of the tokens of each sample.

    Raises:
        OptionError: There is none, or they have different numbers of targets.
    """
    if isinstance(explanations, Mapping):
        named = dict(explanations)
    else:
        named = {f"{i}": e for i, e in enumerate(explanations)}
    if not named:
        raise OptionError("No explanation is given.", "one, or several of one text")
    panels = {k: panel_of(e, names, None, tokens) for k, e in named.items()}
    for panel in panels.values():
        check_words(panel)
    if len({p.titles.shape[1] for p in panels.values()}) > 1:
        raise OptionError(
            "The explanations have different numbers of targets for each sample.",
            "explanations of the same texts and tokens, by several methods",
        )
    by_name = isinstance(explanations, Mapping)
    width = max(p.heatmaps.shape[-1] for p in panels.values())
    heat, titles, texts, sources = [], [], [], []
    for i in range(max(len(p.titles) for p in panels.values())):
        for name, panel in panels.items():
            if i >= len(panel.titles):
                continue
            short = width - panel.heatmaps.shape[-1]
            heat.append(np.pad(panel.heatmaps[i], ((0, 0), (0, short))))
            label = name if by_name else panel.e.method
            titles.append([f"{label}: {title}" for title in panel.titles[i]])
            texts.append(list((panel.tokens or [[]])[i]))
            sources.append(None if panel.sources is None else panel.sources[i])
    first = next(iter(panels.values()))
    joined = replace(
        first, x=None, relevance=np.stack(heat), heatmaps=np.stack(heat),
        titles=np.array(titles, object), tokens=texts, name="", sources=sources,
    )  # fmt: skip
    title = "" if look.title is None else look.title
    return coloured(joined, replace(look, title=title))


def generated(e: Any, title: str | None = None, cmap: Any = None) -> Any:
    """Return the matrix of generated tokens x prompt and earlier tokens.

    A row is a generated token, a column a token before it; a cell behind its own
    prefix is empty. The colours of all rows have one scale. A line divides the tokens
    that an encoder reads from those that the decoder has written.

    Args:
        e: An explanation of one prompt by `tfxai.text`, with K generated tokens.
        title: The title; None is the method.
        cmap: A colour map of matplotlib or its name.

    Raises:
        InputError: It is not of one prompt.
    """
    look = Look(title, cmap=cmap)
    panel = panel_of(e)
    if panel.tokens is None or e.target.ndim != 1 or panel.heatmaps.ndim != 3:
        raise InputError(
            f"Relevance of shape {np.shape(panel.heatmaps)} with targets of shape "
            f"{e.target.shape}.",
            "the explanation of one prompt, relevance (generated tokens, tokens)",
            'tfxai.plot.generated(tfxai.text.explain(lm, "a prompt"))',
        )
    heat = panel.heatmaps[:, 0]
    columns: list[str] = [plain(t) for t in max(panel.tokens, key=len)]
    rows = [shown_name(int(t), e.names, e.extra) for t in e.target]
    for row, tokens in zip(heat, panel.tokens, strict=True):
        row[len(tokens) :] = np.nan
    columns, numbers = folded(columns)
    own = np.zeros((len(heat), len(columns)))
    for at, i in enumerate(numbers):
        own[:, i] += heat[:, at]
    heat = own
    left = min(1.6, max(width_of(r, SUB) for r in rows) + 0.15)
    above = min(1.4, max(width_of(c, SUB) for c in columns) + 0.1)
    size = max(CELL * len(columns), LEAST), CELL * len(rows)
    grid = FigureGrid(
        1, 1, size, left, above, titled=False, heading=panel.heading(look), bars=True
    )
    axes = grid.cell(0, 0)
    limit = float(np.nanmax(np.abs(heat), initial=0)) or 1.0
    ramp = colours.ramp(look.cmap, panel.signed)
    empty = np.isnan(heat)
    drawn = ramp(colours.strengths(np.where(empty, 0, heat), limit))
    drawn[empty] = 1
    axes.imshow(drawn, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(rows)), [shortened(r, left, SUB) for r in rows])
    texts = [shortened(c, above, SUB) for c in columns]
    axes.set_xticks(range(len(columns)), texts, rotation=90)
    axes.tick_params(length=0)
    if panel.sources is not None and panel.sources[0]:  # an encoder reads what is left
        axes.axvline(numbers[panel.sources[0] - 1] + 0.5, color=INK, linewidth=1)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(fontsize=SUB, color=INK, parse_math=False)
    grid.bar(0, 0, ramp, limit, panel.signed)
    return grid.figure


def strongest(e: Any, top: int = 10, title: str | None = None, cmap: Any = None) -> Any:
    """Return bars of the words with the largest |relevance|, a row for each target.

    Args:
        e: An explanation of tokens; the pieces of words are joined.
        top: How many words are drawn. Special tokens, such as "<s>", are left out
            where there are others.
        title: The title; None is the method.
        cmap: A colour map of matplotlib or its name.
    """
    look = Look(title, cmap=cmap)
    panel = panel_of(e)
    found = []
    for block in blocks(panel, look):
        every = range(len(block.words))
        kept = [i for i in every if not is_special(block.words[i])] or list(every)
        values, texts = block.relevance[kept], [block.words[i] for i in kept]
        chosen = np.argsort(-np.abs(values), kind="stable")[:top]
        found.append((block.title, values[chosen], [texts[i] for i in chosen]))
    left = max((width_of(t, ROW) for *_, ts in found for t in ts), default=0) + 0.12
    longest = max(max(len(v) for _, v, _ in found), 1)
    size = 3.8, 0.12 + bars.row_height(["a"]) * longest
    grid = FigureGrid(
        len(found), 1, size, min(left, 2.5), 0.45, heading=panel.heading(look)
    )
    for row, (name, values, texts) in enumerate(found):
        axes = grid.cell(row, 0, name)
        bars.draw(axes, values, look)
        largest = float(np.abs(values).max(initial=0)) or 1.0
        margins = bars.axes_limits(values, largest, False)
        axes.set_xlim(*margins)
        bars.label_bars(axes, values, margins)
        axes.set_yticks(range(len(texts)), texts)
        bars.name_rows(axes)
    return grid.figure
