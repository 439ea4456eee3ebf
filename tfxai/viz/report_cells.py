"""The cells of the report of a comparison: the relevance of one input by one method."""

import html
from collections.abc import Callable
from typing import Any

import numpy as np

from tfxai.viz import plot
from tfxai.viz.bars import feature_name, named, order_of
from tfxai.viz.colours import ends
from tfxai.viz.look import signed
from tfxai.viz.panel import one_panel
from tfxai.viz.series import LANES
from tfxai.viz.summary import picture
from tfxai.viz.text import lines_of

#: At most so many features of a table are listed.
MOST = 10


def bars(e: Any) -> str:
    """Return the features of one row by strength, each with its value and a bar."""
    panel = one_panel(e, None, None, None)
    relevance = np.nan_to_num(panel.heatmaps[0, 0])
    chosen, rest = order_of(np.abs(relevance), MOST)
    names = [
        named(feature_name(panel, i), None if panel.x is None else panel.x[0, i])
        for i in chosen
    ]
    values = [float(relevance[i]) for i in chosen]
    if rest:
        names.append(f"{len(rest)} other features")
        values.append(float(relevance[rest].sum()))
    largest = max(map(abs, values)) or 1.0
    rows = (_bar(n, v, v / largest) for n, v in zip(names, values, strict=True))
    return f'<div class="bars">{"".join(rows)}</div>'


def _bar(name: str, value: float, share: float) -> str:
    """A row: the name, a bar from the middle to a side, and the number."""
    left = 50 + 50 * min(share, 0.0)
    colour = ends(None)[0 if value > 0 else 1]
    bar = f"left:{left:.1f}%;width:{50 * abs(share):.1f}%;background:{_css(colour)}"
    return (
        f"<span>{html.escape(name)}</span>"
        f'<span class="bar"><i style="{bar}"></i></span><span>{signed(value)}</span>'
    )


def _css(colour: Any) -> str:
    """A colour of matplotlib as CSS."""
    from matplotlib.colors import to_hex

    return str(to_hex(colour))


def words(e: Any) -> str:
    """Return the words of one text on the colours of their relevance."""
    ids = np.asarray(e.inputs).reshape(len(e), -1)
    tokens = e.tokens or [[str(i) for i in row] for row in ids.tolist()]
    return f'<div class="words">{lines_of(e, tokens)}</div>'


def curves(e: Any) -> str:
    """Return the channels of one series on the colours of their relevance."""
    lanes = min(np.shape(e.inputs)[-1], LANES)
    size = 4.4, 1.9 if lanes == 1 else 1.0 + 0.36 * lanes
    figure = plot.explanation(e, title="", columns=[""], figsize=size)
    return picture(figure, f"relevance by {e.method}")


#: kind -> (explanation of one sample) -> HTML; images have cells of their own.
CELLS: dict[str, Callable[[Any], str]] = {
    "tables": bars,
    "texts": words,
    "series": curves,
}
