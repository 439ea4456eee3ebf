"""`tfxai compare`: picture files in, a table, a page and numbers out."""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from tfxai.base.errors import ImageError, OptionError, TfxaiWarning
from tfxai.cli import arguments
from tfxai.cli.terminal import say, table
from tfxai.core.inputs import picture_shape
from tfxai.io import images, networks
from tfxai.metrics.compare import compare
from tfxai.metrics.comparison import Comparison
from tfxai.metrics.randomisation import RandomisationResult
from tfxai.viz.report import SUFFIXES, called


def run(given: Mapping[str, Any], preprocess: Callable | None) -> None:
    """Compare as the command line says; refuses are told, and the exit code is 1."""
    for option, suffixes in (("report", SUFFIXES), ("csv_file", ())):
        if given[option]:
            arguments.file(f"--{option.removesuffix('_file')}", given[option], suffixes)
    labels = networks.labels(given["labels"]) if given["labels"] else []
    target = None
    if given["target"] is not None:
        target = networks.find_label(given["target"], labels)
    wrapped = arguments.wrapped(given, lambda: preprocess)
    found, x, unread = _read(given["paths"], wrapped)
    names = _names(given["methods"]) or []
    methods = arguments.bounded(names, wrapped)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TfxaiWarning)  # they are shown with the table
        c = compare(
            wrapped, x, target, methods or names,
            _names(given["metrics"]), _boxes(given["boxes"], found),
            randomise=given["randomise"], batch_size=given["batch_size"],
            seed=given["seed"],
        )  # fmt: skip
    _show(c)
    page = partial(c.report, names=labels or None, called=[p.name for p in found])
    _write({"numbers": (given["csv_file"], c.csv), "page": (given["report"], page)})
    if c.errors or unread:
        click.get_current_context().exit(1)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [part.strip() for part in text.split(",") if part.strip()]


def _read(paths: Sequence[str], wrapped: Any) -> tuple[list[Path], np.ndarray, int]:
    """The files that are pictures, those as one array, and how many were none."""
    shape = picture_shape(wrapped)
    found, made, unread = [], [], 0
    for path in images.find(paths):
        try:
            x = images.read_shaped(path, shape)
        except ImageError as error:
            say(str(error), "red")
            unread += 1
            continue
        found.append(path)
        made.append(x)
    if not made:
        raise OptionError("There is no picture to compare on.", "one or more")
    if len({v.shape for v in made}) > 1:
        raise OptionError(
            f"The pictures have sizes {sorted({v.shape[:2] for v in made})}, and the "
            "network takes any.",
            "pictures of one size",
        )
    return found, np.stack(made), unread


def _boxes(path: Path | None, found: Sequence[Path]) -> list | None:
    if path is None:
        return None
    count = Counter(p.name for p in found)
    same = [str(p) for p in found if count[p.name] > 1]
    if same:
        raise OptionError(
            f"--boxes {path}: pictures of the same name: {', '.join(same)}.",
            "names of their own: the boxes are found by them",
        )
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return [told[p.name] for p in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"--boxes {path}: {type(error).__name__} {error}.",
            "JSON, the name of every picture -> a list of [y0, x0, y1, x1]",
            '{"cat.jpg": [[0.1, 0.2, 0.9, 0.8]]}',
        ) from error


def _write(files: Mapping[str, tuple[Path | None, Callable]]) -> None:
    """Write what is asked for: what it is -> (its path or None, what writes it).

    One that cannot be written does not stop the other. Raises OptionError.
    """
    wrong: list[OptionError] = []
    for what, (path, write) in files.items():
        try:
            if path:
                click.echo(f"The {what}: {write(path).resolve()}")
        except OSError as error:
            wrong.append(
                OptionError(
                    f"The {what} cannot be written to {str(path)!r}: {error}",
                    "a file in a folder with room, and the right to write there",
                )
            )
    for first in wrong[:-1]:
        say(str(first), "red")
    if wrong:
        raise wrong[-1]


def _show(c: Comparison) -> None:
    rows = []
    for row in c.rows():
        numbers = ["" if row[n] is None else f"{row[n]:.3g}" for n in c.metrics]
        rows.append([str(row["method"]), *numbers])
    table(c.header(), rows)
    if c.randomised:
        _show_randomised(c.randomised)
    for text, places in c.warnings_by_text().items():
        say(f"{'; '.join(places)}: {text}", "yellow")
    for where, why in c.errors.items():
        say(f"{called(where)}: {why}", "yellow")


def _show_randomised(randomised: Mapping[str, RandomisationResult]) -> None:
    """How like the first map those of a network that forgets are, by the mean."""
    rows = []
    for label, r in randomised.items():
        measured = (r.rank_correlation, r.signed, r.ssim)
        names = [label] + [""] * (len(r.layers) - 1)
        for i, (name, layer) in enumerate(zip(names, r.layers, strict=True)):
            rows.append([name, layer, *(f"{m[i].mean():.2f}" for m in measured)])
    heads = ["method", "weights drawn anew, from the top to"]
    table([*heads, "rank of |map|", "signed", "SSIM"], rows)
