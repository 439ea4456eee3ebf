"""Parts of a self-contained HTML page, without links and scripts."""

import base64
import html
import io
import re
from typing import Any

import numpy as np


def fill_template(template: str, **values: str) -> str:
    """Return the template with each {{name}} replaced by a value, which is HTML."""
    # one pass: a {{name}} inside a value is not replaced
    return re.sub(r"\{\{(\w+)\}\}", lambda m: values[m[1]], template)


def img(image: np.ndarray, alt: str) -> str:
    """Return an <img> element with an image (H, W, 3) in [0, 1] as inline PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.round(image * 255).astype(np.uint8)).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}">'


def svg(figure: Any, alt: str) -> str:
    """Return a matplotlib figure as inline <svg> element, its text as paths."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :]
    label = f'<svg role="img" aria-label="{html.escape(alt)}" '
    return label + element[len("<svg ") :]
