"""The work of `tfxai compare`: files in, a table, a page and a CSV file out."""

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from tfxai.base.errors import (
    ImageError,
    MissingFileError,
    OptionError,
    TfxaiWarning,
)
from tfxai.base.text import check_depth
from tfxai.cli import arguments, preprocessing, rows
from tfxai.cli.arguments import METHODS
from tfxai.cli.terminal import print_line, print_message, print_table
from tfxai.core.inputs import image_shape
from tfxai.io import images, networks
from tfxai.metrics.compare import compare
from tfxai.metrics.comparison import Comparison
from tfxai.metrics.randomisation import RandomisationResult
from tfxai.viz.report import SUFFIXES, join_label

#: The methods by default of tables and texts, which have no edges.
ROW_METHODS = ["gradient", "input_t_gradient", "lrp.epsilon", "random"]


def compare_files(
    given: Mapping[str, Any], preprocess: Callable[..., Any] | None
) -> None:
    """Compare methods on images, a table or texts; exit with 1 after an error.

    Args:
        given: The arguments of the command.
        preprocess: The preprocessing of the network.
    """
    for option, suffixes in (("report", SUFFIXES), ("csv_file", ())):
        if given[option]:
            flag = f"--{option.removesuffix('_file')}"
            arguments.check_output_file(flag, given[option], suffixes)
    labels = [] if given["labels"] is None else networks.labels(given["labels"])
    target = None
    if given["target"] is not None:
        target = networks.find_label(given["target"], labels)
    of_rows = rows.is_rows(given)
    wrapped = arguments.load_model(given, lambda: preprocess, images=not of_rows)
    names = _split_names(given["methods"]) or []
    more: dict[str, Any] = {}
    found: list[Path] = []
    methods: Mapping[str, Any] = {}
    unread = 0
    if of_rows:
        data = rows.read(given, wrapped)
        x = data.x
        more = {"features": data.features, "tokens": data.tokens}
        names = ROW_METHODS if given["methods"] == METHODS else names
    else:
        found, x, unread = _read_images(given["paths"], wrapped)
        if far := preprocessing.check_range(wrapped, x):
            print_message(far, "yellow")
        methods = arguments.methods_with_bounds(names, wrapped)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TfxaiWarning)  # printed below the table
        c = compare(
            wrapped, x, target, methods or names,
            _split_names(given["metrics"]), _read_boxes(given["boxes"], found),
            randomise=given["randomise"], batch_size=given["batch_size"],
            seed=given["seed"], names=labels or None, **more,
        )  # fmt: skip
    _print_comparison(c)
    file_names = [p.name for p in found] or None
    page = partial(c.report, names=labels or None, file_names=file_names)
    _write({"numbers": (given["csv_file"], c.csv), "page": (given["report"], page)})
    if c.errors or unread:
        click.get_current_context().exit(1)


def _split_names(text: str | None) -> list[str] | None:
    """Return names that are separated by commas as a list."""
    if text is None:
        return None
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_images(
    paths: Sequence[str], wrapped: Any
) -> tuple[list[Path], np.ndarray, int]:
    """Return the readable image files, their pixels, and the number of other files."""
    shape = image_shape(wrapped)
    found, arrays, unread = [], [], 0
    for path in arguments.find_images(paths):
        try:
            x = images.read_shaped(path, shape)
        except (ImageError, MissingFileError) as error:
            print_message(str(error), "red")
            unread += 1
            continue
        found.append(path)
        arrays.append(x)
    if not arrays:
        raise OptionError("There is no image to explain.", "one or more images")
    if len({v.shape for v in arrays}) > 1:
        raise OptionError(
            f"The images have sizes {sorted({v.shape[:2] for v in arrays})}, and the "
            "network accepts any size.",
            "images of one size",
        )
    return found, np.stack(arrays), unread


def _read_boxes(path: Path | None, found: Sequence[Path]) -> list[Any] | None:
    """Return the boxes of each image from the file of --boxes; None without a file."""
    if path is None:
        return None
    count = Counter(p.name for p in found)
    same = [str(p) for p in found if count[p.name] > 1]
    if same:
        raise OptionError(
            f"--boxes {path}: images of the same name: {', '.join(same)}.",
            "different file names: the boxes are listed by file name",
        )
    try:
        if os.path.exists(path) and not path.is_file():
            raise ValueError("it is a folder, a pipe or a device")
        text = path.read_text(encoding="utf-8")
        check_depth(text)
        boxes = json.loads(text)
        return [boxes[p.name] for p in found]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"--boxes {path}: {type(error).__name__} {error}.",
            "JSON, the file name of every image -> a list of [y0, x0, y1, x1]",
            '{"cat.jpg": [[0.1, 0.2, 0.9, 0.8]]}',
        ) from error


def _write(files: Mapping[str, tuple[Path | None, Callable[[Path], Path]]]) -> None:
    """Write the output files; after an error the other file is still written.

    Args:
        files: Description -> (path, or None; the function that writes the file).

    Raises:
        OptionError: A file cannot be written.
    """
    errors: list[OptionError] = []
    for what, (path, write) in files.items():
        try:
            if path:
                print_line(f"The {what}: {write(path).resolve()}")
        except OSError as error:
            errors.append(
                OptionError(
                    f"The {what} cannot be written to {str(path)!r}: {error}",
                    "a file in a folder with free space and write permission",
                )
            )
    for first in errors[:-1]:
        print_message(str(first), "red")
    if errors:
        raise errors[-1]


def _print_comparison(c: Comparison) -> None:
    """Print the table of means, the randomisation test, warnings and errors."""
    rows = []
    for row in c.rows():
        numbers = ["" if row[n] is None else f"{row[n]:.3g}" for n in c.metrics]
        rows.append([str(row["method"]), *numbers])
    print_table(c.header(), rows)
    if c.randomised:
        _print_randomisation(c.randomised)
    for text, where in c.warnings_by_text().items():
        print_message(f"{'; '.join(where)}: {text}", "yellow")
    for label, why in c.errors.items():
        print_message(f"{join_label(label)}: {why}", "yellow")


def _print_randomisation(results: Mapping[str, RandomisationResult]) -> None:
    """Print the mean similarity of each stage's relevance with that of the network."""
    rows = []
    for label, r in results.items():
        similarities = (r.rank_correlation, r.signed, r.ssim)
        names = [label] + [""] * (len(r.layers) - 1)
        for i, (name, layer) in enumerate(zip(names, r.layers, strict=True)):
            rows.append([name, layer, *(f"{s[i].mean():.2f}" for s in similarities)])
    headings = ["method", "randomised weights, from the top to"]
    print_table([*headings, "rank of |relevance|", "signed", "SSIM"], rows)
