"""The demo: every analyzer on scenes of two digits, as one self-contained page."""

import html
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tfxai import api
from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import OptionError
from tfxai.base.progress import bar
from tfxai.cli.demo.measure import correlation, share
from tfxai.cli.demo.network import accuracy, network
from tfxai.cli.demo.scenes import Scenes, inside, scenes
from tfxai.core.registry import lookup
from tfxai.viz import plot
from tfxai.viz.markup import filled, img

SHOWN = 3  # scenes on the page
MEASURED = 64  # scenes behind every number

#: (analyzer, its options): what the page shows, a row each.
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gradient", {}),
    ("input_t_gradient", {}),
    ("lrp.epsilon", {}),
    ("deep_taylor", {}),
    ("deep_taylor.bounded", {"low": 0, "high": 1}),
    ("lrp", {"low": 0, "high": 1}),
    ("clrp", {"low": 0, "high": 1}),
    ("clrp", {"low": 0, "high": 1, "scaling": False}),
    ("sglrp", {"low": 0, "high": 1}),
    ("sglrp", {"low": 0, "high": 1, "scaling": False}),
    ("sglrp.sequential_preset_a", {}),
    ("sglrp.sequential_preset_b", {}),
)


@dataclass(frozen=True)
class Measured:
    """One analyzer on the measured scenes.

    maps: (n, 2, H, W), the map of each digit. right, wrong: the mean share of positive
    relevance in the digit that was asked about, and in the other one. alike: the
    mean correlation of the two digits' maps.
    """

    method: str
    note: str
    maps: np.ndarray
    right: float
    wrong: float
    alike: float


def measure(model: Any, s: Scenes, method: str, options: dict) -> Measured:
    """Explain both digits of every scene in one pass, and see where relevance lies."""
    e = api.create_analyzer(method, model, **options).analyze(
        s.images, s.labels, progress=False
    )
    maps = e.heatmap()
    masks = inside(s.boxes, maps.shape[-2:])
    return Measured(
        method,
        "scaling=False" if options.get("scaling") is False else "",
        maps,
        float(np.nanmean(share(maps, masks))),
        float(np.nanmean(share(maps, masks[:, ::-1]))),
        float(np.nanmean(correlation(maps[:, 0], maps[:, 1]))),
    )


def run(
    out: str | os.PathLike = "tfxai-demo.html",
    retrain: bool = False,
    progress: bool = True,
) -> tuple[Path, list[Measured]]:
    """Train (or load) the demo network, explain its scenes, write the page `out`."""
    out = Path(out)
    if out.suffix not in (".html", ".htm"):
        raise OptionError(f"The page {str(out)!r}.", "a file name that ends in .html")
    model = network(progress=progress, retrain=retrain)
    s = scenes(MEASURED, seed=1)
    measured = []
    with bar("explaining the scenes", len(ROWS), progress) as advance:
        for method, options in ROWS:
            measured.append(measure(model, s, method, options))
            advance(1)
    text = page(s, measured, probabilities(model, s), accuracy(model, s))
    with atomic_write(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return out, measured


def probabilities(model: Any, s: Scenes) -> np.ndarray:
    """(n, 2): the network's probability of both digits of every scene."""
    p = np.asarray(model(s.images, training=False))
    return np.take_along_axis(p, s.labels, 1)


def page(s: Scenes, measured: list[Measured], p: np.ndarray, right: float) -> str:
    """The HTML text: nothing is fetched, pictures are inlined, no script runs."""
    chance = float(inside(s.boxes, s.images.shape[1:3]).mean())
    best = max(m.right for m in measured)
    rows = "\n".join(_row(s, m, best) for m in measured)
    style = files("tfxai.cli.demo").joinpath("page.css").read_text(encoding="utf-8")
    template = files("tfxai.cli.demo").joinpath("page.html").read_text(encoding="utf-8")
    return filled(
        template,
        style=style,
        heads="".join(_head(s, p, i) for i in range(SHOWN)),
        rows=rows,
        chance=f"{chance:.0%}",
        scenes=str(len(s.images)),
        accuracy=f"{right:.0%}",
    )


def _head(s: Scenes, p: np.ndarray, i: int) -> str:
    """One scene, with what the network thinks of both digits."""
    picture = img(plot.picture(s.images[i]), f"scene {i + 1}")
    guesses = zip(s.labels[i], p[i], strict=True)
    words = " and ".join(f"<b>{d}</b> {q:.0%}" for d, q in guesses)
    return f'<th colspan="2" class="scene">{picture}<span>{words}</span></th>'


def _row(s: Scenes, m: Measured, best: float) -> str:
    row = lookup(m.method)
    note = f" <i>{html.escape(m.note)}</i>" if m.note else ""
    mark = ' class="best"' if m.right == best else ""
    cells = "".join(_maps(s, m, i) for i in range(SHOWN))
    return (
        f'<tr><th scope="row"><b>{html.escape(m.method)}</b>{note}'
        f"<p>{html.escape(row.summary)}</p><small>{html.escape(row.paper)}</small></th>"
        f"<td{mark}>{_meter(m.right)}</td><td>{m.wrong:.0%}</td>"
        f"<td>{m.alike:+.2f}</td>{cells}</tr>"
    )


def _meter(value: float) -> str:
    return (
        f'<span class="meter"><span style="width:{value:.0%}"></span></span>{value:.0%}'
    )


def _maps(s: Scenes, m: Measured, i: int) -> str:
    """Both digits' maps of one scene, the digit that was asked about outlined."""
    cells = []
    for k in (0, 1):
        digit = s.labels[i, k]
        large = np.kron(m.maps[i, k], np.ones((3, 3)))
        under = np.kron(s.images[i], np.ones((3, 3, 1)))
        picture = plot.overlay(under, large, boxes=[s.boxes[i, k]])
        text = f"{m.method}: relevance for the {digit} of scene {i + 1}"
        cells.append(f"<td>{img(picture, text)}<span>why {digit}?</span></td>")
    return "".join(cells)
