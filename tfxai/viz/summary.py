"""Results as short HTML, as a notebook shows them: self-contained, without scripts."""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import TfxaiError
from tfxai.viz import plot
from tfxai.viz.cells import shown_name
from tfxai.viz.words import token_input

#: At most so many samples are drawn, and so many rows are listed.
SAMPLES, ROWS = 4, 8
_CELL = "padding:2px 10px 2px 0;text-align:left;border:0"


def of_explanation(e: Any) -> str:
    """Return the figure, the method with its options, and a row for each target."""
    options = {k: e.extra[k] for k in e.option_names if k in e.extra}
    shown = e[:SAMPLES] if len(e) > SAMPLES else e
    rest = "" if shown is e else f"<p>The first {SAMPLES} of {len(e)} samples.</p>"
    parts = [_heading(e.method, options), _drawn(shown), rest, table(*_targets(e))]
    return wrapped("".join(parts))


def wrapped(text: str) -> str:
    """Return HTML inside an element of one look."""
    return (
        '<div style="font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;'
        f'max-width:100%">{text}</div>'
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table of escaped texts."""

    def row(tag: str, cells: Sequence[str]) -> str:
        inside = "".join(
            f'<{tag} style="{_CELL}">{html.escape(c)}</{tag}>' for c in cells
        )
        return f"<tr>{inside}</tr>"

    body = "".join(row("td", cells) for cells in rows)
    return (
        '<table style="border-collapse:collapse;font-size:13px">'
        f"<thead>{row('th', headings)}</thead><tbody>{body}</tbody></table>"
    )


def _heading(method: str, options: Mapping[str, Any]) -> str:
    """The method, and its options that are short enough to print."""
    texts = {k: _short(v) for k, v in options.items()}
    listed = ", ".join(f"{k}={v}" for k, v in texts.items() if v)
    return (
        f"<p style='margin:4px 0'><b>{html.escape(method)}</b> "
        f"<span style='opacity:.7'>{html.escape(listed)}</span></p>"
    )


def _short(value: Any) -> str:
    """A value as text; "" for None, and for one that is long."""
    if isinstance(value, np.ndarray):
        return f"array {value.shape}"
    text = "" if value is None else repr(value)
    return text if len(text) <= 40 else ""


def _drawn(e: Any) -> str:
    """The figure, or the reason why there is none."""
    try:
        if e.tokens is not None and isinstance(e.relevance, list) and e.input_names:
            numbers = range(len(e.relevance))
            return "".join(_drawn_input(e, i) for i in numbers if e.relevance[i].any())
        if e.tokens is not None:
            return str(plot.text(e, title=""))
        drawn = plot.explanation(e, title="")
    except TfxaiError as error:
        return f"<p>{html.escape(error.seen)}</p>"
    return picture(drawn, f"relevance by {e.method}")


def _drawn_input(e: Any, number: int) -> str:
    """The words, or the figure of another input."""
    if number == token_input(e.inputs):
        return str(plot.text(e, title=""))
    drawn = plot.explanation(e, which=number, title="")
    return picture(drawn, f"relevance of {e.input_names[number]} by {e.method}")


def picture(figure: Any, alt: str) -> str:
    """Return a figure of matplotlib as an <img> element that fits its place."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" '
        'style="max-width:100%;height:auto;background:white">'
    )


def _targets(e: Any) -> tuple[list[str], list[list[str]]]:
    """The headings, and a row for each target of the first samples."""
    targets = e.target.reshape(len(e), -1)
    scores = e.score.reshape(targets.shape)
    gap = np.asarray(e.extra["completeness"]) if "completeness" in e.extra else None
    known = gap is not None and gap.size == targets.size
    headings = ["sample", "target", "score", *(["completeness error"] if known else [])]
    rows: list[list[str]] = []
    for i, t in np.ndindex(*targets.shape):
        if len(rows) == ROWS:
            rows.append(["…", f"{targets.size - ROWS} more", "", ""][: len(headings)])
            break
        name = shown_name(int(targets[i, t]), e.names, e.extra)
        row = [str(i), name, f"{scores[i, t]:.4g}"]
        if known and gap is not None:
            row.append(f"{gap.reshape(targets.shape)[i, t]:.2g}")
        rows.append(row)
    return headings, rows
