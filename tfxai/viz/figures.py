"""Figures of explanations of any kind, of series and of texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.viz import bars, figure_grid, pictures, text_figures
from tfxai.viz import series as curves
from tfxai.viz import text as words
from tfxai.viz.overlays import Box
from tfxai.viz.panel import Look, Panel, one_panel, panels_of, undrawable
from tfxai.viz.words import token_input

#: Number of axes of the input -> (the empty grid, the drawing).
KINDS: dict[int, tuple[Any, Any]] = {
    2: (bars.layout, bars.paint),
    3: (curves.layout, curves.paint),
    4: (pictures.layout, pictures.paint),
    5: (pictures.volume_layout, pictures.volume_paint),
}
_TEXT = (words.layout, words.paint)


def explanation(
    e: Any,
    reduce: str = "own",
    names: Sequence[str] | None = None,
    columns: Any = None,
    which: int | str | None = None,
    boxes: Sequence[Sequence[Box]] | None = None,
    features: Any = None,
    tokens: Any = None,
    mask: Any = None,
    contours: float | None = None,
    *,
    title: str | None = None,
    ax: Any = None,
    cmap: Any = None,
    alpha: float | None = None,
    limit: Any = None,
    figsize: Any = None,
) -> Any:
    """Draw an `Explanation`: a row per sample and a column per target.

    Images (B, H, W, C) are drawn beside their overlays, volumes (B, D, H, W, C) as the
    slices with the most relevance, series (B, L, C) as curves on the colours of their
    relevance, tables (B, F) as bars of the 12 features with the largest |relevance|
    (the others are one bar), tokens as words on the colours of their relevance. Several
    inputs are drawn below each other; one without any relevance, such as a mask, is
    left out. A target of an output with positions is marked by a cross.

    Args:
        e: The `Explanation`.
        reduce: How channels are reduced; see `Explanation.heatmap`. "own" draws what
            the method's paper shows: of Grad-CAM and its kin the positive part; "sum"
            draws both signs.
        names: The class names by index, for the titles; None takes those of `e`.
        columns: Titles that replace the class names, (T,) or (B, T). A second line is
            small.
        which: The number or the name of the input to draw; None draws all.
        boxes: For each sample a list of outlines; see `overlay`.
        features: The names of columns or channels; None takes those of `e`.
        tokens: The texts of the tokens of each sample; None takes those of `e`.
        mask: Masks (B, H, W) to outline in every overlay: a segmentation.
        contours: The share of the strongest relevance of an image to outline, such as
            0.1; negative parts are dashed.
        title: The heading of the figure; None is the method, "" none.
        ax: Axes of matplotlib, one for each sample and target; no input is drawn.
        cmap: A colour map of matplotlib or its name; None is red, white and blue.
        alpha: Images: how much the heatmap covers the image's brightness; 1 draws the
            heatmap alone; None is 0.65. Others: the opacity of the colours.
        limit: The value of the full colour, of bars the reach of the axis. None gives
            each target its own (see `limit_of`), "shared" one for all.
        figsize: (width, height) in inches; None fits the content.

    Raises:
        InputError: Inputs of this shape cannot be drawn.
        OptionError: An option is out of range, or a number of names does not fit.
    """
    look = Look(title, ax, cmap, alpha, limit, figsize, contours)
    panels = panels_of(e, reduce, which, columns, names, features, tokens, boxes, mask)
    return _drawn(panels, look)


def series(
    e: Any,
    times: Any = None,
    events: Mapping[Any, str] | None = None,
    time_name: str | None = None,
    names: Sequence[str] | None = None,
    features: Any = None,
    which: int | str | None = None,
    *,
    title: str | None = None,
    ax: Any = None,
    cmap: Any = None,
    alpha: float | None = None,
    limit: Any = None,
    figsize: Any = None,
) -> Any:
    """Draw series (B, L, C): a lane for each channel, on the colours of its relevance.

    Args:
        e: An `Explanation` of series.
        times: The time of each position, (L,).
        events: Time -> a text; each is a dotted line.
        time_name: The label of the axis of time, with its unit: "hours".
        names: The class names by index; None takes those of `e`.
        features: The names of the channels; None takes those of `e`.
        which: The number or the name of the input, for a model with several.
        title, ax, cmap, alpha, limit, figsize: The options of all figures; see
            `explanation`.

    Raises:
        InputError: The input is no series.
        OptionError: `times` does not have one entry for each position.
    """
    look = Look(title, ax, cmap, alpha, limit, figsize)
    panel = one_panel(e, names, features, which)
    if panel.ndim != 3:
        raise InputError(
            f"Inputs of shape {np.shape(panel.x)} are no series.", "inputs (B, L, C)"
        )
    if times is not None and np.shape(times) != (panel.heatmaps.shape[2],):
        raise OptionError(
            f"times has the shape {np.shape(times)}, and the series "
            f"{panel.heatmaps.shape[2]} positions.",
            "one time for each position",
        )
    page = _grid(panel, look, curves.layout)
    curves.paint(panel, look, page, times, events, time_name)
    return page.figure


def text(
    e: Any,
    tokens: Any = None,
    names: Sequence[str] | None = None,
    which: int | str | None = None,
    *,
    title: str | None = None,
    ax: Any = None,
    cmap: Any = None,
    alpha: float | None = None,
    limit: Any = None,
    figsize: Any = None,
) -> words.ColouredText:
    """Return words on the colours of their relevance, as self-contained HTML.

    The pieces of words ("##ing", "▁the") are joined and their relevance is added up;
    padding is left out. Targets are below each other. A notebook shows the returned
    text; `.figure()` draws it with matplotlib, `.save("why.html")` writes a page,
    `.save("why.png")` a picture, and `rich.print(text)` prints it in a terminal.

    Args:
        e: An `Explanation` of tokens; or several of the same texts, a list or a mapping
            from names, which are drawn below each other.
        tokens: The texts of the tokens of each sample; None takes those of `e`.
        names: The class names by index; None takes those of `e`.
        which: The number or the name of the input, for a model with several; None is
            that of the tokens.
        title, ax, cmap, alpha, limit, figsize: The options of all figures; see
            `explanation`.

    Raises:
        InputError: The relevance has not one number for each token, or there are no
            tokens.
        OptionError: The tokens do not fit.
    """
    look = Look(title, ax, cmap, alpha, limit, figsize)
    if isinstance(e, Mapping | list | tuple):
        return text_figures.several(e, look, names, tokens)
    if which is None:
        which = token_input(e.inputs)
    return words.coloured(one_panel(e, names, None, which, tokens), look)


def _drawn(panels: Sequence[Panel], look: Look) -> Any:
    """The figure of the panels, below each other."""
    if look.ax is not None and len(panels) > 1:
        raise OptionError(
            f"ax for {len(panels)} inputs of the model.",
            "one input",
            f"e.plot(ax=ax, which={panels[0].name!r})",
        )
    kinds = [_kind(p) for p in panels]
    pages = [
        _grid(p, look, layout) for p, (layout, _) in zip(panels, kinds, strict=True)
    ]
    figure = (
        pages[0].figure if len(pages) == 1 else figure_grid.stacked(pages, look.figsize)
    )
    for panel, page, (_, paint) in zip(panels, pages, kinds, strict=True):
        paint(panel, look, page)
    return figure


def _kind(panel: Panel) -> tuple[Any, Any]:
    """The functions that draw a panel."""
    if panel.tokens is not None and panel.heatmaps.ndim == 3:
        return _TEXT
    if panel.ndim not in KINDS or panel.heatmaps.ndim != max(panel.ndim, 3):
        raise undrawable(panel.x, panel.relevance)
    return KINDS[panel.ndim]


def _grid(panel: Panel, look: Look, layout: Any) -> Any:
    """The grid of a panel, or the axes of the caller."""
    if look.ax is None:
        return layout(panel, look)
    return figure_grid.GivenAxes(look.ax, panel.titles.size, panel.heading(look))
