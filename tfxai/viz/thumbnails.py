"""Small images of an explanation, as bytes: one overlay each, or all in one strip."""

import io
from typing import Any

import numpy as np

from tfxai.viz import plot
from tfxai.viz.panel import drawn_heatmap

#: The tiles of a strip are enlarged until one side has at least `SIDE` pixels.
SIDE, GAP = 160, 4


def overlays_of(e: Any) -> dict[str, np.ndarray]:
    """Return overlays uint8 (H, W, 3) by name: "sglrp/0" is that of sample 0.

    With several targets per sample, "sglrp/0/7" is that of class 7. Inputs that are not
    images have one drawing by `plot.explanation`, with the name "sglrp".
    """
    x = e.input_channels_last()
    if x.ndim != 4:
        return {e.method: _drawn(e)}
    targets = e.target.reshape(len(x), -1)
    heatmaps = drawn_heatmap(e).reshape(*targets.shape, *x.shape[1:3])
    overlays = {}
    for i, t in np.ndindex(*targets.shape):
        of_class = f"/{targets[i, t]}" if targets.shape[1] > 1 else ""
        overlay = plot.overlay(x[i], heatmaps[i, t])
        overlays[f"{e.method}/{i}{of_class}"] = _to_bytes(overlay)
    return overlays


def strip(e: Any) -> np.ndarray:
    """Return one image uint8 (H, W, 3): the inputs, and below a row for each target."""
    x = e.input_channels_last()
    if x.ndim != 4:
        return _drawn(e)
    tiles = list(overlays_of(e).values())
    count = len(tiles) // len(x)
    inputs = [_to_bytes(plot.image(v)) for v in x]
    rows = [inputs, *(tiles[t::count] for t in range(count))]
    times = -(-SIDE // max(x.shape[1:3]))
    return np.concatenate([_side_by_side(row, times) for row in rows])


def captioned(image: np.ndarray, text: str) -> Any:
    """Return a Pillow image of 256 colours with a line of text above it."""
    from PIL import Image, ImageDraw

    margin = ((16, 0), (0, 0), (0, 0))
    canvas = Image.fromarray(np.pad(image, margin, constant_values=255))
    ImageDraw.Draw(canvas).text((2, 2), text, fill=(34, 34, 34))
    # Without it Pillow dithers when it writes a GIF; its dots look like relevance.
    return canvas.quantize()


def _side_by_side(tiles: list[np.ndarray], times: int) -> np.ndarray:
    """Join enlarged tiles, each with a white margin on its right and below."""
    large = [t.repeat(times, 0).repeat(times, 1) for t in tiles]
    margins = ((0, GAP), (0, GAP), (0, 0))
    return np.concatenate([np.pad(t, margins, constant_values=255) for t in large], 1)


def _drawn(e: Any) -> np.ndarray:
    """Return `plot.explanation` as an array uint8 (H, W, 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    e.plot().savefig(buffer, format="png", dpi=100)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _to_bytes(image: np.ndarray) -> np.ndarray:
    """Convert values in [0, 1] to uint8."""
    pixels: np.ndarray = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return pixels
