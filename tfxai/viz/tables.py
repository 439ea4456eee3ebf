"""Figures of tables: a waterfall of one row; beeswarm, importance, scatter of many."""

from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.validation import nearest, whole_number
from tfxai.viz import bars, colours
from tfxai.viz.figure_grid import BAR, FigureGrid, GivenAxes
from tfxai.viz.look import (
    INK,
    PALE,
    ROW,
    VALUE,
    number,
    pale_axes,
    signed,
    ticks,
    value,
    width_of,
)
from tfxai.viz.panel import Look, Panel

#: The colours of the values of a feature, from low to high: safe for the colour-blind,
#: and not those of relevance.
VALUES = "cividis"


def waterfall(panel: Panel, look: Look, most: int) -> Any:
    """Return the figure of one sample and target, from the base value to the score.

    Args:
        panel: The panel of one sample and one target.
        look: The options.
        most: How many features are drawn; the rest is one bar.
    """
    check_table(panel, one=True)
    whole_number("most", most, 1)
    values = panel.heatmaps[0, 0].astype(float)
    chosen, rest = bars.order_of(np.abs(values), most)
    x = None if panel.x is None else panel.x[0]
    texts = [
        bars.named(bars.feature_name(panel, i), None if x is None else x[i])
        for i in chosen
    ]
    steps = list(values[chosen])
    score = float(np.ravel(panel.e.score)[0])
    base = base_value(panel.e)
    if rest:
        texts.append(f"{len(rest)} other features")
        steps.append(float(values[rest].sum()))
    if base is None:
        base = score - float(values.sum())
        base_text = "score minus sum of relevance"
    else:
        base_text = "base value"
        gap = score - base - float(values.sum())
        if abs(gap) > 1e-3 * max(abs(score - base), abs(values).sum(), 1e-12):
            texts.append("not explained")
            steps.append(gap)
    title = panel.titles[0, 0].split("\n")[0]
    heading = panel.heading(look)
    left = max(width_of(line, ROW) for t in texts for line in t.split("\n")) + 0.12
    size = 4.6, bars.row_height(texts) * len(steps) + 0.25
    grid: Any = (
        FigureGrid(1, 1, size, left, 0.75, heading=heading, figsize=look.figsize)
        if look.ax is None
        else GivenAxes(look.ax, 1, panel.heading(look))
    )
    axes = grid.cell(0, 0, f"{title}\nscore {number(score)}")
    _steps(axes, np.array(steps), base, look)
    axes.set_yticks(range(len(texts)), texts)
    bars.name_rows(axes)
    label = f"{base_text} {number(base)}  →  score {number(score)}"
    axes.set_xlabel(label, fontsize=ROW, color=INK, labelpad=4, parse_math=False)
    return grid.figure


def _steps(axes: Any, steps: np.ndarray, base: float, look: Look) -> None:
    """Draw the steps; the last is at the bottom and starts at the base value."""
    towards, against = colours.ends(look.cmap)
    ends = base + np.cumsum(steps[::-1])[::-1]
    starts = ends - steps
    low, high = min(*ends, *starts), max(*ends, *starts)
    span = (high - low) or 1.0
    for i, (a, b, step) in enumerate(zip(starts, ends, steps, strict=True)):
        ink = towards if step > 0 else against
        axes.barh(i, b - a, left=a, color=ink, height=0.72, alpha=look.alpha)
        if i:
            axes.plot([b, b], [i - 0.64, i - 0.36], color=PALE, linewidth=0.8)
        inside = abs(step) > 0.22 * span
        at = (a + b) / 2 if inside else max(a, b) + 0.015 * span
        axes.text(
            at, i, signed(float(step)), fontsize=VALUE, va="center",
            color="white" if inside else INK, ha="center" if inside else "left",
            parse_math=False,
        )  # fmt: skip
    for at, style in ((base, ":"), (float(ends[0]), "-")):
        axes.axvline(at, color=PALE, linewidth=0.9, linestyle=style, zorder=0)
    axes.set_xlim(low - 0.06 * span, high + 0.2 * span)
    axes.set_ylim(len(steps) - 0.4, -0.6)
    pale_axes(axes, "bottom", size=VALUE)
    ticks(axes, 6)


def base_value(e: Any) -> float | None:
    """Return the score at the baseline of one sample, where the method has one."""
    if "baseline_score" in e.extra:
        return float(np.ravel(e.extra["baseline_score"])[0])
    if "change" in e.extra:
        return float(np.ravel(e.score)[0] - np.ravel(e.extra["change"])[0])
    return None


def beeswarm(panel: Panel, look: Look, most: int) -> Any:
    """Return the figure of many rows: a point for each row and feature."""
    check_table(panel)
    whole_number("most", most, 1)
    relevance = panel.heatmaps[:, 0].astype(float)
    chosen, rest = bars.order_of(np.abs(relevance).mean(0), most)
    texts = [bars.named(bars.feature_name(panel, i)) for i in chosen]
    if rest:
        texts.append(f"sum of {len(rest)} other features")
    grid, axes = _many(panel, look, texts, 5.2, 0.36, bar=panel.x is not None)
    ramp = _value_colours(look.cmap)
    for row, i in enumerate([*chosen, *([-1] if rest else [])]):
        values = relevance[:, i] if i >= 0 else relevance[:, rest].sum(1)
        inks: Any = FRAME_DARK
        if i >= 0 and panel.x is not None:
            inks = ramp(_ranked(panel.x[:, i]))
        y = row + _spread(values)
        axes.scatter(values, y, 13, inks, alpha=look.alpha, linewidth=0)
    axes.axvline(0, color=PALE, linewidth=0.8, zorder=0)
    _finish(axes, texts, bars.relevance_label(panel))
    if panel.x is not None and look.ax is None:
        grid.bar(0, 0, ramp, 1.0, False, ("", ""))
        inset = grid.figure.axes[-1]
        inset.set_xticks([0, 1], ["low value of the feature", "high value"])
        for label, side in zip(inset.get_xticklabels(), ("left", "right"), strict=True):
            label.set_ha(side)
    return grid.figure


#: The colour of points that have no single value.
FRAME_DARK = "#8c959f"


def importance(panel: Panel, look: Look, most: int) -> Any:
    """Return the figure of mean |relevance| over the rows, sorted."""
    check_table(panel)
    whole_number("most", most, 1)
    relevance = np.abs(panel.heatmaps[:, 0].astype(float))
    mean = relevance.mean(0)
    chosen, rest = bars.order_of(mean, most)
    texts = [bars.named(bars.feature_name(panel, i)) for i in chosen]
    values = list(mean[chosen])
    if rest:
        texts.append(f"sum of {len(rest)} other features")
        values.append(float(mean[rest].sum()))
    grid, axes = _many(panel, look, texts, 4.2, bars.row_height(texts))
    ink = "#44546a" if look.cmap is None else colours.ends(look.cmap)[0]
    axes.barh(range(len(values)), values, color=ink, height=0.72, alpha=look.alpha)
    for i, v in enumerate(values):
        axes.text(
            v, i, f" {number(v)}", fontsize=VALUE, color=INK, va="center",
            parse_math=False,
        )  # fmt: skip
    axes.set_xlim(0, 1.2 * (max(values) or 1.0))
    _finish(axes, texts, f"mean |{bars.relevance_label(panel)}|")
    return grid.figure


def scatter(panel: Panel, look: Look, feature: Any) -> Any:
    """Return the figure of the values of one feature against its relevance."""
    check_table(panel)
    if panel.x is None:
        raise InputError(
            "The explanation does not hold the inputs.",
            "the inputs that were explained",
        )
    i = find_feature(panel, feature)
    x, y = as_numbers(panel.x[:, i]), panel.heatmaps[:, 0, i].astype(float)
    name = bars.feature_name(panel, i)
    grid: Any = (
        FigureGrid(
            1, 1, (4.6, 3.0), 0.95, 0.5, heading=panel.heading(look),
            figsize=look.figsize,
        )
        if look.ax is None
        else GivenAxes(look.ax, 1, panel.heading(look))
    )  # fmt: skip
    axes = grid.cell(0, 0, _which_target(panel))
    towards, against = colours.ends(look.cmap)
    inks = np.where((y > 0)[:, None], towards, against)
    axes.axhline(0, color=PALE, linewidth=0.8)
    axes.scatter(x, y, 20, inks, alpha=0.8 if look.alpha is None else look.alpha,
                 linewidth=0)  # fmt: skip
    if look.limit is not None and look.limit != "shared":
        axes.set_ylim(-look.limit, look.limit)
    options: Any = {"fontsize": ROW, "color": INK, "parse_math": False}
    axes.set_xlabel(name, **options)
    axes.set_ylabel(f"relevance of {name}"[:60], **options)
    pale_axes(axes)
    levels = np.unique(x)
    if len(levels) <= 8:
        axes.set_xticks(levels, [value(v) for v in levels])
    return grid.figure


def find_feature(panel: Panel, feature: Any) -> int:
    """Return the number of a feature, given its number or its name.

    Raises:
        OptionError: There is no such feature.
    """
    width = panel.heatmaps.shape[-1]
    known = [str(f) for f in panel.features or []]
    if isinstance(feature, str) and feature in known:
        return known.index(feature)
    if isinstance(feature, int | np.integer) and -width <= feature < width:
        number_: int = int(feature) % width
        return number_
    close = nearest(str(feature), known)
    perhaps = f", perhaps {', '.join(close)}" if close else ""
    raise OptionError(
        f"feature={feature!r}.",
        f"the name of a feature, or its number from 0 to {width - 1}{perhaps}",
        f"tfxai.plot.scatter(e, {(close or known or ['name'])[0]!r})",
    )


def check_table(panel: Panel, one: bool = False) -> None:
    """Raise InputError unless the relevance is that of a table."""
    if panel.heatmaps.ndim != 3 or panel.tokens is not None:
        raise InputError(
            f"Relevance of shape {panel.heatmaps.shape[2:]} per sample.",
            "that of a table: one number for each feature",
            'e.sum_by("segments") or e.sum_by(labels), and then the figure',
        )
    if not one and len(panel.heatmaps) < 2:
        raise InputError(
            "The explanation holds one sample.",
            "one of many samples",
            "tfxai.plot.waterfall(e)",
        )


def _many(
    panel: Panel, look: Look, texts: list[str], width: float, height: float,
    bar: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """The grid and the axes of a figure of many rows."""
    if look.ax is not None:
        given = GivenAxes(look.ax, 1, panel.heading(look))
        return given, given.cell(0, 0, _which_target(panel))
    left = max(width_of(line, ROW) for t in texts for line in t.split("\n")) + 0.12
    size = width, height * len(texts) + 0.15
    grid = FigureGrid(
        1, 1, size, left, 0.5, heading=panel.heading(look), figsize=look.figsize,
        foot=BAR - 0.1 if bar else 0.0,
    )  # fmt: skip
    return grid, grid.cell(0, 0, _which_target(panel))


def _which_target(panel: Panel) -> str:
    """The title: the target, where it is the same for all rows."""
    names = {str(t).split("\n")[0] for t in panel.titles[:, 0]}
    count = f"{len(panel.titles)} samples"
    if len(names) == 1:
        return f"{names.pop()}\n{count}"
    return f"the explained class of each sample\n{count}, {len(names)} classes"


def _finish(axes: Any, texts: list[str], label: str) -> None:
    """Name the rows and the axis of relevance."""
    axes.set_ylim(len(texts) - 0.4, -0.6)
    axes.set_yticks(range(len(texts)), texts)
    axes.set_xlabel(label, fontsize=ROW, color=INK, labelpad=2)
    pale_axes(axes, "bottom", size=VALUE)
    ticks(axes, 6)
    bars.name_rows(axes)


def _value_colours(cmap: Any) -> colours.Ramp:
    """The colours of low to high values."""
    return colours.ramp(VALUES if cmap is None else cmap, False)


def _ranked(x: np.ndarray) -> np.ndarray:
    """Values as numbers from 0 to 1; outliers beyond the 5 % at both ends saturate.

    NaN is the middle.
    """
    x = as_numbers(x)
    x = np.where(np.isnan(x), np.nanmean(x) if (x == x).any() else 0.0, x)
    low, high = np.percentile(x, [5, 95])
    if high <= low:
        low, high = x.min(), x.max()
    found: np.ndarray = np.clip((x - low) / ((high - low) or 1.0), 0, 1)
    return found


def as_numbers(x: np.ndarray) -> np.ndarray:
    """Return the values of a column as numbers; texts and dates as their rank."""
    try:
        return np.asarray(x, float)
    except (TypeError, ValueError):
        ranks = np.unique([str(v) for v in x], return_inverse=True)[1]
        return np.asarray(ranks, float)


def _spread(values: np.ndarray) -> np.ndarray:
    """Offsets that keep points of similar values apart, in (-0.4, 0.4)."""
    span = np.ptp(values) or 1.0
    bins = np.floor((values - values.min()) / span * 80).astype(int)
    offsets = np.zeros(len(values))
    most = max(int(np.bincount(bins).max()), 1)
    step = min(0.16, 0.76 / most)
    for b in np.unique(bins):
        where = np.flatnonzero(bins == b)
        rank = np.arange(len(where))
        side = np.where(rank % 2, 1, -1) * ((rank + 1) // 2)
        offsets[where] = side * step
    return offsets
