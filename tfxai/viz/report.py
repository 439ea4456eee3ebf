"""A comparison as one self-contained HTML page: what to look at, and how to read it."""

import html
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import whole
from tfxai.base.errors import InputError, OptionError
from tfxai.viz import plot
from tfxai.viz.markup import filled, img, svg

#: Pictures on the page at most; the numbers are of all.
SHOWN = 12
#: The sides of a picture on the page, in pixels, at least.
SIDE = 160
COLOURS = (
    *("#c81e2e", "#1f5fd0", "#0f8a5f", "#b45309", "#7c3aed", "#0e7490"),
    *("#be185d", "#4d7c0f", "#6b7280", "#000000"),
)
#: The lines of the first ten methods, the next ten, ..., and how their key begins.
LINES, SIGNS = ("-", ":", "-."), ("— ", "··· ", "-· ")
ARROWS = {"higher": "↑", "lower": "↓"}
#: What the name of a page may end in.
SUFFIXES = (".html", ".htm")
PACKAGES = ("tfxai", "keras", "tensorflow", "tensorflow-cpu", "numpy")


def write(
    c: Any,
    path: str | os.PathLike,
    names: Sequence[str] | None = None,
    called: Sequence[str] | None = None,
    title: str = "Explanations side by side",
) -> Path:
    """Write the page of a `tfxai.metrics.comparison.Comparison`, whole or not at all.

    names: the classes' names, by index. called: what each picture is called.
    Everything that is shown is escaped; nothing is fetched, and no script runs.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise OptionError(f"The page {str(path)!r}.", "a file name that ends in .html")
    if called is not None and len(called) != len(c.x):
        raise InputError(
            f"{len(called)} file names for {len(c.x)} pictures.", "one for each"
        )
    names = None if names is None else [str(n) for n in names]
    called = None if called is None else [str(n) for n in called]
    text = page(c, names, called, title)
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(
    c: Any, names: Sequence[str] | None, called: Sequence[str] | None, title: str
) -> str:
    """The HTML text."""
    template = files("tfxai.viz.assets").joinpath("report.html").read_text("utf-8")
    style = files("tfxai.viz.assets").joinpath("report.css").read_text("utf-8")
    shown = min(len(c.x), SHOWN)
    more = f", of {len(c.x)}; the numbers are of all" if shown < len(c.x) else ""
    return filled(
        template,
        style=style,
        title=html.escape(title),
        heads="".join(f"<th>{_method(c, m)}</th>" for m in c.methods),
        pictures="\n".join(_picture(c, i, names, called) for i in range(shown)),
        shown=f"{shown} picture(s){more}",
        metric_heads="".join(f"<th>{html.escape(m)}</th>" for m in c.methods),
        metrics="\n".join(_metric(c, n) for n in c.metrics),
        curves=_curves(c),
        randomised=_randomised(c),
        reading="\n".join(_reading(c, n) for n in c.metrics),
        refused=_refused(c),
        noted=_noted(c),
        settings="\n".join(
            f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>"
            for k, v in _settings(c).items()
        ),
    )


def _method(c: Any, label: str) -> str:
    why = f"<em>{html.escape(c.errors[label])}</em>" if label in c.errors else ""
    return (
        f"<b>{html.escape(label)}</b><span>{html.escape(c.summary(label))}</span>{why}"
    )


def _picture(
    c: Any, i: int, names: Sequence[str] | None, called: Sequence[str] | None
) -> str:
    target = int(c.target[i])
    known = names is not None and target < len(names)
    label = names[target] if names is not None and known else f"class {target}"
    file = called[i] if called is not None else f"picture {i + 1}"
    boxes = _boxes(c, i)
    text = (
        f"<b>{html.escape(label)}</b><span>score {c.score[i]:.3g}</span>"
        f"<span>{html.escape(file)}</span>"
    )
    x = c.x[i]
    cells = [f"<th>{img(_large(plot.outlined(x, boxes)), file)}{text}</th>"]
    for m in c.methods:
        if m not in c.explanations:
            cells.append('<td class="none">refused</td>')
            continue
        map = c.explanations[m].heatmap()[i]
        made = plot.overlay(x, map, boxes=boxes)
        cells.append(f"<td>{img(_large(made), f'{m} on {file}')}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _boxes(c: Any, i: int) -> Any:
    if c.boxes is None:
        return ()
    boxes = np.asarray(c.boxes[i])
    return () if boxes.dtype == bool else np.atleast_2d(boxes)


def _large(picture: np.ndarray) -> np.ndarray:
    """A small picture in whole multiples of its pixels."""
    times = max(1, round(SIDE / max(picture.shape[:2])))
    return picture.repeat(times, 0).repeat(times, 1)


def _metric(c: Any, name: str) -> str:
    row, best = c.metric(name), c.best(name)
    cells = []
    for m in c.methods:
        made = c.values.get((m, name))
        if made is None:
            why = c.errors.get((m, name), c.errors.get(m, ""))
            cells.append(f'<td class="none" title="{html.escape(why)}">refused</td>')
            continue
        mark = ' class="best"' if m in best else ""
        cells.append(
            f"<td{mark}>{np.mean(made):.3g}<span>± {np.std(made):.2g}</span></td>"
        )
    head = (
        f"<b>{html.escape(name)} {ARROWS[row.better]}</b>"
        f"<span>{html.escape(row.summary)}</span><small>{html.escape(row.paper)}</small>"
    )
    return f'<tr><th scope="row">{head}</th>{"".join(cells)}</tr>'


def _curves(c: Any) -> str:
    """The mean score as pixels are masked, a line for each method."""
    from matplotlib.figure import Figure

    means = {m: v.mean(0) for m, v in c.curves.items() if np.isfinite(v).all()}
    if not means:
        return "<p>No method has a curve: none explained, or no probabilities.</p>"
    tall = max(3.4, 0.26 * len(means))
    figure = Figure(figsize=(7.2, tall), facecolor="white")
    axes = figure.add_axes((0.08, 0.48 / tall, 0.62, 1 - 0.62 / tall))
    ends = np.argsort([v[: len(v) // 2].mean() for v in means.values()])
    labels = list(means)
    for place, k in enumerate(ends):
        label = labels[k]
        turn, which = divmod(c.methods.index(label), len(COLOURS))
        colour = COLOURS[which]
        plain = c.is_control(label)
        axes.plot(
            c.settings["shares"], means[label], color=colour, linewidth=1.8,
            linestyle="--" if plain else LINES[turn % len(LINES)],
        )  # fmt: skip
        y = 1 - (0.25 + 0.25 * place) / tall
        sign = "- - " if plain else SIGNS[turn % len(LINES)]
        figure.text(0.73, y, sign + label, color=colour, fontsize=9, parse_math=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(0.02, 1.05 * max(v.max() for v in means.values())))
    axes.set_xlabel("share of pixels masked, the largest of the map first", fontsize=8)
    axes.tick_params(labelsize=8, length=2, color="#999999", labelcolor="#666666")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#dddddd")
    return svg(figure, "the mean score as pixels are masked, a line for each method")


def _randomised(c: Any) -> str:
    """A row for each method and picture: its maps while the weights are drawn again."""
    if not c.randomised:
        return ""
    rows, stages = [], next(iter(c.randomised.values())).layers
    for m, r in c.randomised.items():
        for i in range(min(len(r.target), SHOWN)):
            cells = [f'<th scope="row"><b>{html.escape(m)}</b></th>']
            steps = [(r.original[i], "")]
            for map, rank, own, like in zip(
                r.heatmaps[:, i], r.rank_correlation[:, i], r.signed[:, i],
                r.ssim[:, i], strict=True,
            ):  # fmt: skip
                steps.append(
                    (map, f"rank {rank:.2f}, signed {own:.2f}, SSIM {like:.2f}")
                )
            for map, text in steps:
                made = img(_large(plot.overlay(c.x[i], map)), f"{m} {text}")
                cells.append(f"<td>{made}<span>{text}</span></td>")
            rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = "".join(f"<th>from the top to {html.escape(n)}</th>" for n in stages)
    template = (
        files("tfxai.viz.assets").joinpath("randomisation.html").read_text("utf-8")
    )
    return filled(template, stages=heads, rows="\n".join(rows))


def _reading(c: Any, name: str) -> str:
    row = c.metric(name)
    return (
        f"<h3>{html.escape(name)} <small>{row.better} is better; "
        f"{html.escape(row.paper)}</small></h3><p>{html.escape(row.how_to_read)}</p>"
        f"<p><em>A bad explanation:</em> {html.escape(row.bad)}</p>"
    )


def called(where: Any) -> str:
    """A method's label, or that and what was asked of it, in one line."""
    return where if isinstance(where, str) else ", ".join(where)


def _refused(c: Any) -> str:
    """What refused, and why."""
    if not c.errors:
        return ""
    lines = "".join(
        f"<dt>{html.escape(called(where))}</dt><dd>{html.escape(why)}</dd>"
        for where, why in c.errors.items()
    )
    return f"<section><h2>What refused, and why</h2><dl>{lines}</dl></section>"


def _noted(c: Any) -> str:
    """What was warned of, and where."""
    if not c.warnings:
        return ""
    lines = "".join(
        f"<li>{html.escape(text)} <span>({html.escape('; '.join(where))})</span></li>"
        for text, where in c.warnings_by_text().items()
    )
    return f"<section><h2>What to know of the numbers</h2><ul>{lines}</ul></section>"


def _settings(c: Any) -> dict[str, str]:
    """What made the page: methods with their options, seeds, versions."""
    made = {"pictures": str(len(c.x)), "seed": str(c.settings["seed"])}
    made |= {k: str(c.settings[k]) for k in ("batch_size", "randomise")}
    asked = list(c.settings["methods"].items())
    asked += [(f"metric {k}", v) for k, v in c.settings["metrics"].items()
              if len(v) > 1]  # fmt: skip
    for label, told in asked:
        options = {k: v for k, v in told.items() if k != "name"}
        own = ", ".join(f"{k}={v!r}" for k, v in options.items()) or "defaults"
        made[label] = f"{told['name']}: {own}"
    found = {p: _version(p) for p in PACKAGES}
    made["versions"] = ", ".join(f"{p} {v}" for p, v in found.items() if v)
    made["python"] = platform.python_version()
    return made


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""
