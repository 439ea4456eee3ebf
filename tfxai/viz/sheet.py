"""Many explained images on one page: an HTML page or one picture."""

import base64
import html
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.viz.look import INK, PALE
from tfxai.viz.markup import fill_template
from tfxai.viz.overlays import image, overlay
from tfxai.viz.panel import drawn_heatmap

#: The longer side of a tile in pixels, the space around a card, and a line of text.
TILE, SPACE, LINE = 176, 14, 17
#: The width of a picture in pixels, at least that of one card.
WIDTH = 1600


@dataclass(frozen=True)
class Card:
    """One explained image.

    Attributes:
        name: The name of its file.
        tiles: The image and an overlay for each class, as PNG.
        texts: For each tile a title and a second line.
        figure: The file of its figure, or None.
    """

    name: str
    tiles: tuple[bytes, ...]
    texts: tuple[tuple[str, str], ...]
    figure: Path | None = None


class Sheet:
    """Collects explained images, and writes them as one page or picture.

    Args:
        title: The title, such as the method and the model.
        things: What the cards are.
    """

    def __init__(self, title: str, things: str = "image(s)") -> None:
        self.title, self.things = title, things
        self.cards: list[Card] = []

    def add(
        self, name: str, e: Any, titles: Sequence[str], figure: Path | None = None
    ) -> None:
        """Add one image.

        Args:
            name: The name of its file.
            e: The explanation of this one sample.
            titles: For each target a title; a second line is small.
            figure: The file to which the card leads.
        """
        x = e.input_channels_last()[0]
        heatmaps = drawn_heatmap(e).reshape(len(titles), *x.shape[:2])
        drawn = [image(x), *(overlay(x, h) for h in heatmaps)]
        lines = [("input", ""), *(_two_lines(t) for t in titles)]
        self.put(name, drawn, lines, figure)

    def put(
        self,
        name: str,
        drawn: Sequence[np.ndarray],
        lines: Sequence[tuple[str, str]],
        figure: Path | None = None,
    ) -> None:
        """Add one card of drawn images (H, W, 3), each with two lines of text."""
        self.cards.append(Card(name, tuple(map(_tile, drawn)), tuple(lines), figure))

    def write_html(self, path: Path) -> Path:
        """Write a self-contained page without scripts, and return its path."""
        assets = files("tfxai.viz.assets")
        text = fill_template(
            assets.joinpath("sheet.html").read_text("utf-8"),
            title=html.escape(self.title),
            count=f"{len(self.cards)} {self.things}",
            cards="\n".join(_card(c, path.parent) for c in self.cards),
        )
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return path

    def write_picture(self, path: Path) -> Path:
        """Write one PNG with all images in rows, and return its path."""
        from PIL import Image, ImageDraw

        wide = max(len(c.tiles) for c in self.cards)
        card = wide * (TILE + 6) - 6 + 2 * SPACE, TILE + 3 * LINE + SPACE + 4
        columns = max(1, min(len(self.cards), WIDTH // card[0]))
        rows = -(-len(self.cards) // columns)
        top = SPACE + 3 * LINE
        size = columns * card[0], top + rows * card[1]
        page = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(page)
        draw.text((SPACE, SPACE), self.title, INK, font=_font(17))
        legend = "red: for the class, blue: against it"
        draw.text((SPACE, SPACE + 23), legend, PALE, font=_font(12))
        for number, one in enumerate(self.cards):
            row, column = divmod(number, columns)
            left, y = SPACE + column * card[0], top + row * card[1]
            draw.text(
                (left, y), _cut(one.name, 13, card[0] - SPACE), INK, font=_font(13)
            )
            for k, (tile, (first, second)) in enumerate(
                zip(one.tiles, one.texts, strict=True)
            ):
                at = left + k * (TILE + 6)
                page.paste(Image.open(io.BytesIO(tile)), (at, y + LINE + 2))
                under = y + LINE + TILE + 4
                draw.text((at, under), _cut(first, 12), INK, font=_font(12))
                draw.text((at, under + 15), _cut(second, 11), PALE, font=_font(11))
        with atomic_write(path) as temporary:
            page.save(temporary, "png")
        return path


def _card(card: Card, folder: Path) -> str:
    """The HTML of one image."""
    tiles = "".join(
        f'<div><img src="data:image/png;base64,{base64.b64encode(tile).decode()}" '
        f'alt="{html.escape(f"{first}, {card.name}")}"><b>{html.escape(first)}</b>'
        f"<span>{html.escape(second)}</span></div>"
        for tile, (first, second) in zip(card.tiles, card.texts, strict=True)
    )
    name = html.escape(card.name)
    if card.figure is not None:
        link = quote(os.path.relpath(card.figure, folder))
        name = f'<a href="{link}">{name}</a>'
    return (
        f"<figure><figcaption>{name}</figcaption>"
        f'<div class="tiles">{tiles}</div></figure>'
    )


def _two_lines(title: str) -> tuple[str, str]:
    """The first line of a title, and the others as one."""
    first, *rest = title.split("\n")
    return first, " ".join(rest)


def _tile(colours: np.ndarray) -> bytes:
    """Colours (H, W, 3) in [0, 1] as a PNG whose longer side is `TILE`."""
    from PIL import Image

    picture = Image.fromarray(np.round(255 * np.clip(colours, 0, 1)).astype(np.uint8))
    scale = TILE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    sharp = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    buffer = io.BytesIO()
    picture.resize(size, sharp).save(buffer, "png")
    return buffer.getvalue()


def _font(size: int) -> Any:
    """The font of the figures, in pixels."""
    from matplotlib import font_manager
    from PIL import ImageFont

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def _cut(text: str, size: int, width: int = TILE) -> str:
    """A text that fits into a width, by default below a tile."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
