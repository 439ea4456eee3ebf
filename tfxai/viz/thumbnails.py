"""Small pictures of an explanation, as bytes: overlays one by one, or in one strip."""

import io
from dataclasses import replace
from typing import Any

import numpy as np

from tfxai.viz import plot

#: The sides of a tile in a strip are made at least as long, in pixels.
SIDE, GAP = 160, 4


def first_of(e: Any, samples: int) -> Any:
    """The explanation of the first samples alone, to be drawn."""

    def cut(value: Any) -> Any:
        several = isinstance(value, list)
        return [v[:samples] for v in value] if several else value[:samples]

    kept = {k: e.extra[k] for k in ("heatmap", "data_format") if k in e.extra}
    extra = {k: cut(v) if k == "heatmap" else v for k, v in kept.items()}
    made = {n: cut(getattr(e, n)) for n in ("relevance", "target", "score", "inputs")}
    return replace(e, **made, extra=extra)


def overlays_of(e: Any) -> dict[str, np.ndarray]:
    """Pictures uint8 (H, W, 3) by name: "sglrp/0" is of sample 0.

    For several targets each, "sglrp/0/7" is of class 7. Inputs that are no pictures
    have one, drawn by `plot.explanation`: "sglrp".
    """
    x = e.seen()
    if x.ndim != 4:
        return {e.method: _drawn(e)}
    targets = e.target.reshape(len(x), -1)
    maps = e.heatmap().reshape(*targets.shape, *x.shape[1:3])
    made = {}
    for i, t in np.ndindex(*targets.shape):
        of_class = f"/{targets[i, t]}" if targets.shape[1] > 1 else ""
        made[f"{e.method}/{i}{of_class}"] = _bytes(plot.overlay(x[i], maps[i, t]))
    return made


def strip(e: Any) -> np.ndarray:
    """One picture uint8 (H, W, 3): the inputs above, below a row for each target."""
    x = e.seen()
    if x.ndim != 4:
        return _drawn(e)
    tiles = list(overlays_of(e).values())
    count = len(tiles) // len(x)
    above = [_bytes(plot.picture(v)) for v in x]
    rows = [above, *(tiles[t::count] for t in range(count))]
    times = -(-SIDE // max(x.shape[1:3]))
    return np.concatenate([_side_by_side(row, times) for row in rows])


def captioned(picture: np.ndarray, text: str) -> Any:
    """A Pillow image of the picture in 256 colours, with a line of text above it."""
    from PIL import Image, ImageDraw

    room = ((16, 0), (0, 0), (0, 0))
    image = Image.fromarray(np.pad(picture, room, constant_values=255))
    ImageDraw.Draw(image).text((2, 2), text, fill=(34, 34, 34))
    return image.quantize()  # when a GIF is written it would be by dots, as if relevant


def _side_by_side(tiles: list[np.ndarray], times: int) -> np.ndarray:
    """Tiles enlarged, each with a white margin to its right and below."""
    large = [t.repeat(times, 0).repeat(times, 1) for t in tiles]
    margins = ((0, GAP), (0, GAP), (0, 0))
    return np.concatenate([np.pad(t, margins, constant_values=255) for t in large], 1)


def _drawn(e: Any) -> np.ndarray:
    """`plot.explanation` as an array, uint8 (H, W, 3)."""
    from PIL import Image

    buffer = io.BytesIO()
    e.plot().savefig(buffer, format="png", dpi=100)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
