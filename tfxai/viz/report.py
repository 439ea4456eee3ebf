"""A comparison of methods as one self-contained HTML page."""

import html
import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import InputError, OptionError
from tfxai.base.text import short
from tfxai.viz import plot
from tfxai.viz.look import pale_axes
from tfxai.viz.markup import fill_template, img, svg
from tfxai.viz.panel import drawn_heatmap
from tfxai.viz.report_cells import CELLS

#: The maximum number of images on the page. The metrics are means over all images.
SHOWN = 12
#: Images on the page are enlarged to about this side, in pixels.
SIDE = 160
COLOURS = (
    *("#c81e2e", "#1f5fd0", "#0f8a5f", "#b45309", "#7c3aed", "#0e7490"),
    *("#be185d", "#4d7c0f", "#6b7280", "#000000"),
)
#: Line styles of the first ten methods, the next ten, ..., and their legend signs.
LINES, SIGNS = ("-", ":", "-."), ("— ", "··· ", "-· ")
ARROWS = {"higher": "↑", "lower": "↓"}
#: Valid suffixes of the page's file name.
SUFFIXES = (".html", ".htm")
#: What is explained, by kind: (the inputs, one of them, their parts).
WORDS = {
    "images": ("images", "image", "pixels"),
    "tables": ("rows", "row", "features"),
    "texts": ("texts", "text", "tokens"),
    "series": ("series", "series", "values"),
}
#: What a masked part is replaced by, in the curves.
BASELINES = {
    "images": "the mean colour of the image",
    "tables": "the mean of their column",
    "texts": "the token 0",
    "series": "the mean of their channel",
}
#: Packages whose versions are listed on the page.
PACKAGES = ("tfxai", "keras", "tensorflow", "tensorflow-cpu", "numpy")


def write(
    c: Any,
    path: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    file_names: Sequence[str] | None = None,
    title: str = "Comparison of explanation methods",
) -> Path:
    """Write the page of a comparison atomically, and return its path.

    All text is escaped. The page loads no other file and contains no script.

    Args:
        c: A `tfxai.metrics.comparison.Comparison`.
        path: The file; its name ends in .html.
        names: The class names by index.
        file_names: The file name of each image.
        title: The title of the page.

    Raises:
        OptionError: The file name does not end in .html.
        InputError: The number of file names is not the number of images.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise OptionError(f"The page {str(path)!r}.", "a file name that ends in .html")
    if file_names is not None and len(file_names) != len(c.x):
        raise InputError(
            f"{len(file_names)} file names for {len(c.x)} {WORDS[c.kind][0]}.",
            f"one for each {WORDS[c.kind][1]}",
        )
    names = _names_of(c) if names is None else [str(n) for n in names]
    file_names = None if file_names is None else [str(n) for n in file_names]
    text = page(c, names, file_names, title)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(
    c: Any, names: Sequence[str] | None, file_names: Sequence[str] | None, title: str
) -> str:
    """Return the HTML text of the page; see `write`."""
    template = files("tfxai.viz.assets").joinpath("report.html").read_text("utf-8")
    style = files("tfxai.viz.assets").joinpath("report.css").read_text("utf-8")
    shown = min(len(c.x), SHOWN)
    things, thing, parts = WORDS[c.kind]
    rest = f" of {len(c.x)}; the metrics are means over all" if shown < len(c.x) else ""
    return fill_template(
        template,
        style=style,
        title=html.escape(title),
        about=html.escape(_about(c)),
        things=things,
        thing=thing,
        parts=parts,
        baseline=BASELINES[c.kind],
        boxes="" if c.boxes is None else " Yellow outlines: the boxes of the object.",
        pixels="" if c.kind == "images" else f" The pixels are the {parts}.",
        kind=c.kind,
        headings="".join(f"<th>{_method_heading(c, m)}</th>" for m in c.methods),
        images="\n".join(_image_row(c, i, names, file_names) for i in range(shown)),
        shown=f"{shown} {things if shown > 1 else thing}{rest}",
        metric_headings="".join(f"<th>{html.escape(m)}</th>" for m in c.methods),
        metrics="\n".join(_metric_row(c, n) for n in c.metrics),
        curves=_curves(c),
        randomisation=_randomisation(c),
        reading="\n".join(_reading(c, n) for n in c.metrics),
        errors=_errors(c),
        warnings=_warnings(c),
        settings="\n".join(
            f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>"
            for k, v in _settings(c).items()
        ),
    )


def _method_heading(c: Any, label: str) -> str:
    """Return the heading of a method's column: label, summary, and its error."""
    why = f"<em>{html.escape(c.errors[label])}</em>" if label in c.errors else ""
    return (
        f"<b>{html.escape(label)}</b><span>{html.escape(c.summary(label))}</span>{why}"
    )


def _image_row(
    c: Any, i: int, names: Sequence[str] | None, file_names: Sequence[str] | None
) -> str:
    """Return the row of one image: the image, and the heatmap of each method."""
    target = int(c.target[i])
    known = names is not None and target < len(names)
    label = names[target] if names is not None and known else f"class {target}"
    thing = WORDS[c.kind][1]
    file = file_names[i] if file_names is not None else f"{thing} {i + 1}"
    text = (
        f"<b>{html.escape(label)}</b><span>score {c.score[i]:.3g}</span>"
        f"{_named(file, label, names)}<span>{html.escape(file)}</span>"
    )
    head, cell = "", CELLS.get(c.kind)
    if cell is None:
        boxes = _boxes(c, i)
        head = img(_enlarged(plot.outlined(c.x[i], boxes)), file)
    cells = [f"<th>{head}{text}</th>"]
    for m in c.methods:
        if m not in c.explanations:
            cells.append('<td class="none">error</td>')
            continue
        e = c.explanations[m]
        if cell is not None:
            cells.append(f"<td>{cell(e[i])}</td>")
            continue
        overlay = plot.overlay(c.x[i], drawn_heatmap(e)[i], boxes=boxes)
        cells.append(f"<td>{img(_enlarged(overlay), f'{m} on {file}')}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _names_of(c: Any) -> list[str] | None:
    """Return the class names that the explanations carry, or None."""
    found = [e.names for e in c.explanations.values() if e.names is not None]
    return [str(n) for n in found[0]] if found else None


def _about(c: Any) -> str:
    """Return the model, the date and the versions in one line."""
    model = c.settings.get("model", "")
    parts = [f"Model {model}" if model else "", date.today().isoformat()]
    versions = (f"{p} {_version(p)}" for p in PACKAGES[:4] if _version(p))
    return " · ".join([p for p in parts if p] + list(versions))


def _named(file: str, label: str, names: Sequence[str] | None) -> str:
    """Return what is predicted, and the class that the file's name mentions."""
    words = set(re.split(r"[^a-z]+", file.lower()))
    known = [n for n in names or [] if set(n.lower().split(",")[0].split()) <= words]
    other = [n for n in known if n != label]
    if label in known or not other:
        return ""
    text = html.escape(f"explained {label}, but the file is named {other[0]}")
    return f'<span class="named">{text}</span>'


def _is_clear(c: Any, name: str, best: str) -> bool:
    """Return whether a best method differs from the next by more than the error."""
    others = [m for m in c.methods if m != best and (m, name) in c.values]
    if not others:
        return True
    higher = c.metric(name).better == "higher"
    rank = sorted(others, key=lambda m: float(np.mean(c.values[m, name])))
    second = rank[-1] if higher else rank[0]
    gap = np.asarray(c.values[best, name]) - np.asarray(c.values[second, name])
    if len(gap) < 2:
        return bool(gap.any())
    return bool(abs(gap.mean()) > gap.std(ddof=1) / np.sqrt(len(gap)))


def _boxes(c: Any, i: int) -> Any:
    """Return the boxes of one image; none if its regions are given as masks."""
    if c.boxes is None:
        return ()
    boxes = np.asarray(c.boxes[i])
    return () if boxes.dtype == bool else np.atleast_2d(boxes)


def _enlarged(image: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small image, so that its side is about `SIDE`."""
    times = max(1, round(SIDE / max(image.shape[:2])))
    return image.repeat(times, 0).repeat(times, 1)


def _metric_row(c: Any, name: str) -> str:
    """Return the row of one metric: mean and standard deviation for each method."""
    row, best = c.metric(name), c.best(name)
    cells = []
    for m in c.methods:
        values = c.values.get((m, name))
        if values is None:
            why = c.errors.get((m, name), c.errors.get(m, ""))
            cells.append(f'<td class="none" title="{html.escape(why)}">error</td>')
            continue
        mark = ' class="best"' if m in best else ""
        doubt = "<em>not clear</em>" if mark and not _is_clear(c, name, m) else ""
        cells.append(
            f"<td{mark}>{np.mean(values):.3g}<span>± {np.std(values):.2g}</span>"
            f"{doubt}</td>"
        )
    head = (
        f"<b>{html.escape(name)} {ARROWS[row.better]}</b>"
        f"<span>{html.escape(row.summary)}</span><small>{html.escape(row.paper)}</small>"
    )
    return f'<tr><th scope="row">{head}</th>{"".join(cells)}</tr>'


def _curves(c: Any) -> str:
    """Return a figure of the mean score while pixels are masked, a line per method."""
    from matplotlib.figure import Figure

    means = {m: v.mean(0) for m, v in c.curves.items() if np.isfinite(v).all()}
    if not means:
        return "<p>No curves: no method has a finite one.</p>"
    height = max(3.4, 0.26 * len(means))
    figure = Figure(figsize=(7.2, height), facecolor="white")
    axes = figure.add_axes((0.09, 0.48 / height, 0.61, 1 - 0.62 / height))
    # the legend lists the methods from the lowest line to the highest
    order = sorted(means, key=lambda m: float(means[m][: len(means[m]) // 2].mean()))
    for position, label in enumerate(order):
        group, which = divmod(c.methods.index(label), len(COLOURS))
        colour, dashed = COLOURS[which], c.is_control(label)
        axes.plot(
            c.settings["shares"], means[label], color=colour, linewidth=1.8,
            linestyle="--" if dashed else LINES[group % len(LINES)],
        )  # fmt: skip
        y = 1 - (0.25 + 0.25 * position) / height
        sign = "- - " if dashed else SIGNS[group % len(LINES)]
        figure.text(0.73, y, sign + label, color=colour, fontsize=9, parse_math=False)
    axes.set_xlim(0, 1)
    low = min(0.0, 1.05 * min(float(v.min()) for v in means.values()))
    axes.set_ylim(low, max(0.02, 1.05 * max(v.max() for v in means.values())))
    parts = WORDS[c.kind][2]
    label = f"share of masked {parts}, the largest relevance first"
    axes.set_xlabel(label, fontsize=8)
    axes.set_ylabel(f"mean {c.settings.get('curve', 'score')}", fontsize=8)
    pale_axes(axes)
    return svg(figure, f"the mean score while {parts} are masked, by method")


def _randomisation(c: Any) -> str:
    """Return the section of the randomisation test; nothing if it was not run."""
    if not c.randomised:
        return ""
    stages = next(iter(c.randomised.values())).layers
    rows = [
        _randomisation_row(c.x[i], m, r, i)
        for m, r in c.randomised.items()
        for i in range(min(len(r.target), SHOWN))
    ]
    headings = "".join(f"<th>from the top to {html.escape(n)}</th>" for n in stages)
    template = (
        files("tfxai.viz.assets").joinpath("randomisation.html").read_text("utf-8")
    )
    return fill_template(template, stages=headings, rows="\n".join(rows))


def _randomisation_row(x: np.ndarray, label: str, r: Any, i: int) -> str:
    """Return the row of one method and image: its heatmaps stage by stage."""
    cells = [f'<th scope="row"><b>{html.escape(label)}</b></th>']
    stages = [(r.original[i], "")]
    for heatmap, rank, signed, ssim in zip(
        r.heatmaps[:, i], r.rank_correlation[:, i], r.signed[:, i], r.ssim[:, i],
        strict=True,
    ):  # fmt: skip
        text = f"rank {rank:.2f}, signed {signed:.2f}, SSIM {ssim:.2f}"
        stages.append((heatmap, text))
    for heatmap, text in stages:
        overlay = img(_enlarged(plot.overlay(x, heatmap)), f"{label} {text}")
        cells.append(f"<td>{overlay}<span>{text}</span></td>")
    return f"<tr>{''.join(cells)}</tr>"


def _reading(c: Any, name: str) -> str:
    """Return the explanation of one metric."""
    row = c.metric(name)
    return (
        f"<h3>{html.escape(name)} <small>{row.better} is better; "
        f"{html.escape(row.paper)}</small></h3><p>{html.escape(row.how_to_read)}</p>"
        f"<p><em>A bad explanation:</em> {html.escape(row.bad)}</p>"
    )


def join_label(where: Any) -> str:
    """Return a method's label, or "method, metric" for a pair of labels."""
    return where if isinstance(where, str) else ", ".join(where)


def _errors(c: Any) -> str:
    """Return the section of the errors that methods and metrics raised."""
    if not c.errors:
        return ""
    lines = "".join(
        f"<dt>{html.escape(join_label(where))}</dt><dd>{html.escape(why)}</dd>"
        for where, why in c.errors.items()
    )
    return f"<section><h2>Errors</h2><dl>{lines}</dl></section>"


def _warnings(c: Any) -> str:
    """Return the section of the warnings."""
    if not c.warnings:
        return ""
    lines = "".join(
        f"<li>{html.escape(text)} <span>({html.escape('; '.join(where))})</span></li>"
        for text, where in c.warnings_by_text().items()
    )
    return f"<section><h2>Warnings</h2><ul>{lines}</ul></section>"


def _settings(c: Any) -> dict[str, str]:
    """Return the settings of the comparison: methods, options, seed, versions."""
    lines = {WORDS[c.kind][0]: str(len(c.x)), "seed": str(c.settings["seed"])}
    lines |= {k: str(c.settings[k]) for k in ("batch_size", "randomise")}
    rows = list(c.settings["methods"].items())
    rows += [(f"metric {k}", v) for k, v in c.settings["metrics"].items()
             if len(v) > 1]  # fmt: skip
    for label, row in rows:
        options = {k: v for k, v in row.items() if k != "name"}
        text = ", ".join(f"{k}={short(v)}" for k, v in options.items()) or "defaults"
        lines[label] = f"{row['name']}: {text}"
    versions = {p: _version(p) for p in PACKAGES}
    lines["versions"] = ", ".join(f"{p} {v}" for p, v in versions.items() if v)
    lines["python"] = platform.python_version()
    return lines


def _version(package: str) -> str:
    """Return the version of a package; an empty string if it is not installed."""
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""
