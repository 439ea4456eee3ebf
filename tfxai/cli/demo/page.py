"""The page of `tfxai demo`: methods on scenes of two digits, with metrics."""

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
from tfxai.cli.demo.evaluation import correlation, share
from tfxai.cli.demo.network import accuracy, network
from tfxai.cli.demo.scenes import Scenes, inside, scenes
from tfxai.core.registry import lookup
from tfxai.viz import plot
from tfxai.viz.markup import fill_template, img

SHOWN = 3  # scenes on the page
EVALUATED = 64  # scenes over which the metrics are averaged

#: (method, its options) of each row of the page.
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gradient", {}),
    ("integrated_gradients", {"baseline": 0, "n_steps": 12}),
    ("smoothgrad", {"base_method": "input_t_gradient", "n_samples": 8}),
    ("gradcam", {}),
    ("occlusion", {"window": 12, "stride": 8, "baseline": 0}),
    ("lime", {"n_samples": 120, "baseline": "black"}),
    ("lrp.epsilon", {}),
    ("deep_taylor", {}),
    ("lrp", {"low": 0, "high": 1}),
    ("clrp", {"low": 0, "high": 1}),
    ("sglrp", {"low": 0, "high": 1}),
    ("sglrp.sequential_preset_b", {}),
)


@dataclass(frozen=True)
class MethodScores:
    """One method on the evaluated scenes.

    Attributes:
        method: The name of the method.
        note: An option that differs from its default, or an empty string.
        heatmaps: (n, 2, H, W), the relevance of each digit.
        explained: The mean share of positive relevance in the explained digit.
        other: The mean share of positive relevance in the other digit.
        correlation: The mean correlation of the heatmaps of the two digits.
    """

    method: str
    note: str
    heatmaps: np.ndarray
    explained: float
    other: float
    correlation: float


def evaluate(
    model: Any, s: Scenes, method: str, options: dict[str, Any]
) -> MethodScores:
    """Explain both digits of every scene in one pass, and return the metrics."""
    e = api.create_analyzer(method, model, **options).analyze(
        s.images, s.labels, progress=False
    )
    heatmaps = e.heatmap()
    masks = inside(s.boxes, heatmaps.shape[-2:])
    return MethodScores(
        method,
        "scaling=False" if options.get("scaling") is False else "",
        heatmaps,
        float(np.nanmean(share(heatmaps, masks))),
        float(np.nanmean(share(heatmaps, masks[:, ::-1]))),
        float(np.nanmean(correlation(heatmaps[:, 0], heatmaps[:, 1]))),
    )


def write_page(
    out: str | os.PathLike[str] = "tfxai-demo.html",
    retrain: bool = False,
    progress: bool = True,
) -> tuple[Path, list[MethodScores]]:
    """Train or load the demo network, explain its scenes, and write the page.

    Args:
        out: The HTML file to write.
        retrain: Train the network even if it is in the cache.
        progress: Show progress bars.

    Returns:
        The path of the page, and the metrics of each method.

    Raises:
        OptionError: The file name does not end in .html.
    """
    out = Path(out)
    if out.suffix not in (".html", ".htm"):
        raise OptionError(f"The page {str(out)!r}.", "a file name that ends in .html")
    model = network(progress=progress, retrain=retrain)
    s = scenes(EVALUATED, seed=1)
    results = []
    with bar("explaining the scenes", len(ROWS), progress) as advance:
        for method, options in ROWS:
            results.append(evaluate(model, s, method, options))
            advance(1)
    text = render(s, results, probabilities(model, s), accuracy(model, s))
    with atomic_write(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return out, results


def probabilities(model: Any, s: Scenes) -> np.ndarray:
    """Return the network's probabilities (n, 2) of the two digits of every scene."""
    p = np.asarray(model(s.images, training=False))
    return np.take_along_axis(p, s.labels, 1)


def render(
    s: Scenes, results: list[MethodScores], p: np.ndarray, test_accuracy: float
) -> str:
    """Return the HTML text of the page, with inline images and without scripts.

    Args:
        s: The evaluated scenes.
        results: The metrics of each method.
        p: The probabilities (n, 2) of the digits.
        test_accuracy: The accuracy of the network on the scenes.
    """
    area = float(inside(s.boxes, s.images.shape[1:3]).mean())
    best = max(r.explained for r in results)
    rows = "\n".join(_row(s, r, best) for r in results)
    style = files("tfxai.cli.demo").joinpath("page.css").read_text(encoding="utf-8")
    template = files("tfxai.cli.demo").joinpath("page.html").read_text(encoding="utf-8")
    return fill_template(
        template,
        style=style,
        headings="".join(_scene_heading(s, p, i) for i in range(SHOWN)),
        rows=rows,
        area=f"{area:.0%}",
        scenes=str(len(s.images)),
        accuracy=f"{test_accuracy:.0%}",
    )


def _scene_heading(s: Scenes, p: np.ndarray, i: int) -> str:
    """Return the heading of one scene: its image and the digits' probabilities."""
    image = img(plot.image(s.images[i]), f"scene {i + 1}")
    digits = zip(s.labels[i], p[i], strict=True)
    text = " and ".join(f"<b>{d}</b> {q:.0%}" for d, q in digits)
    return f'<th colspan="2" class="scene">{image}<span>{text}</span></th>'


#: The names of the numbers, which a phone shows in each row.
NUMBERS = ("in the explained digit", "in the other digit", "correlation")


def _number(which: int, text: str, mark: str = "") -> str:
    """Return the cell of a number."""
    return f'<td class="number{mark}" data-name="{NUMBERS[which]}">{text}</td>'


def _row(s: Scenes, r: MethodScores, best: float) -> str:
    """Return the row of one method: its metrics and heatmaps."""
    row = lookup(r.method)
    note = f" <i>{html.escape(r.note)}</i>" if r.note else ""
    mark = " best" if r.explained == best else ""
    cells = "".join(_heatmaps(s, r, i) for i in range(SHOWN))
    return (
        f'<tr><th scope="row"><b>{html.escape(r.method)}</b>{note}'
        f"<p>{html.escape(row.summary)}</p><small>{html.escape(row.paper)}</small></th>"
        f"{_number(0, _meter(r.explained), mark)}{_number(1, f'{r.other:.0%}')}"
        f"{_number(2, f'{r.correlation:+.2f}')}{cells}</tr>"
    )


def _meter(value: float) -> str:
    """Return a horizontal bar and the percentage of a value in [0, 1]."""
    return (
        f'<span class="meter"><span style="width:{value:.0%}"></span></span>{value:.0%}'
    )


def _heatmaps(s: Scenes, r: MethodScores, i: int) -> str:
    """Return the cells of both digits of one scene, the explained digit outlined."""
    cells = []
    for k in (0, 1):
        digit = s.labels[i, k]
        heatmap = np.kron(r.heatmaps[i, k], np.ones((3, 3)))
        image = np.kron(s.images[i], np.ones((3, 3, 1)))
        overlay = plot.overlay(image, heatmap, boxes=[s.boxes[i, k]])
        text = f"{r.method}: relevance for the {digit} of scene {i + 1}"
        cells.append(
            f'<td class="map">{img(overlay, text)}<span>why {digit}?</span></td>'
        )
    return "".join(cells)
