"""Pieces of a self-contained HTML page: nothing is fetched, no script runs."""

import base64
import html
import io
import re
from typing import Any

import numpy as np


def filled(template: str, **values: str) -> str:
    """The template with each {{name}} replaced; values are HTML already."""
    # in one pass: what is filled in is not read again
    return re.sub(r"\{\{(\w+)\}\}", lambda m: values[m[1]], template)


def img(picture: np.ndarray, alt: str) -> str:
    """A picture (H, W, 3) in [0, 1], inlined as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}">'


def svg(figure: Any, alt: str) -> str:
    """A matplotlib figure, inlined as an SVG whose letters are shapes."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    drawn = text[text.index("<svg") :]
    label = f'<svg role="img" aria-label="{html.escape(alt)}" '
    return label + drawn[len("<svg ") :]
