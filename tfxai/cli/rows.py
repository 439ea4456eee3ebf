"""The work of `tfxai explain` for tables and texts: rows in, figures out."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import InputError, MissingFileError, OptionError
from tfxai.cli import arguments
from tfxai.cli.terminal import print_line, print_message, print_table
from tfxai.cli.tokenizers import tokenizer_of
from tfxai.viz import plot
from tfxai.viz.cells import target_name

#: Suffixes of tables, with the character between their columns.
TABLES = {".csv": ",", ".tsv": "\t"}
#: At most so many rows are drawn, and so many features are printed for each.
DRAWN, PRINTED = 8, 3
DPI = 160


@dataclass(frozen=True)
class Rows:
    """What is explained: an input (B, ...), and its names."""

    x: np.ndarray
    features: list[str] | None = None
    tokens: list[list[str]] | None = None
    stem: str = "rows"


def is_rows(given: Mapping[str, Any]) -> bool:
    """Return whether tables or texts are given, and no images."""
    paths = [Path(p).suffix.lower() in TABLES for p in given["paths"]]
    return bool(given["texts"]) or (bool(paths) and all(paths))


def check_no_pages(pages: Mapping[str, Path | None]) -> None:
    """Raise OptionError for --html and --contact-sheet, which are pages of images."""
    for name, path in pages.items():
        if path is not None:
            raise OptionError(
                f"--{name.replace('_', '-')} {path} is given with a table or texts.",
                "images; a table has one figure, and texts have a page of their own",
                "tfxai explain --model net.keras rows.csv",
            )


def explain_rows(given: Mapping[str, Any], resolved: Any = None) -> None:
    """Explain a table or texts, print the strongest features, and write the files.

    Args:
        given: The arguments of the command.
        resolved: What `arguments.resolve` returned for them; None calls it.
    """
    from tfxai import api
    from tfxai.io import networks

    labels = [] if given["labels"] is None else networks.labels(given["labels"])
    targets = [networks.find_label(t, labels) for t in given["targets"]]
    name, model, options = resolved or arguments.resolve(given, images=False)
    rows = read(given, model)
    analyzer = api.create_analyzer(
        name, model, names=labels or None, features=rows.features, **options
    )
    target: Any = _targets(model, rows.x, targets, given["top"] or 1)
    e = analyzer.analyze(rows.x, target, given["batch_size"], tokens=rows.tokens)
    arguments.make_folder(given["out"])
    _write(e, given["out"] / f"{rows.stem}.{e.method}")
    print_strongest(e)
    print_line(
        f"written to {given['out'].resolve()}: {rows.stem}.{e.method}.npz and .png"
    )


def read(given: Mapping[str, Any], model: Any) -> Rows:
    """Return the rows of a table, or the token ids of texts, that the model takes.

    Args:
        given: The arguments of the command: paths, texts and tokenizer.
        model: The wrapped model.

    Raises:
        OptionError: Files and texts are given.
        InputError: The rows do not fit the model.
    """
    if given["texts"] and given["paths"]:
        raise OptionError("--text is given with files.", "one of the two")
    rows = _texts(given, model) if given["texts"] else _table(given["paths"])
    _check_width(rows, model)
    return rows


def _table(paths: Sequence[str]) -> Rows:
    """Read a table with a header.

    Raises:
        InputError: A cell is no number, or the rows have different lengths.
    """
    if len(paths) > 1:
        raise OptionError(
            f"{len(paths)} tables.", "one table", "tfxai explain rows.csv"
        )
    path = Path(paths[0])
    if not path.is_file():
        raise MissingFileError(
            f"There is no file {str(path)!r}.", "a .csv or .tsv file"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.reader(file, delimiter=TABLES[path.suffix.lower()]))
    lines = [line for line in lines if line]
    header = None if lines and all(map(_is_number, lines[0])) else lines[:1]
    body = lines if header is None else lines[1:]
    if not body:
        raise InputError(
            f"{str(path)!r} holds no row.", "a header, and rows of numbers"
        )
    for i, line in enumerate(body):
        wrong = [cell for cell in line if not _is_number(cell)]
        if wrong or len(line) != len(body[0]):
            found = f"the cell {wrong[0]!r}" if wrong else f"{len(line)} cells"
            raise InputError(
                f"{str(path)!r}, row {i + 1} below the header: {found}.",
                f"{len(body[0])} numbers in each row, in the model's order",
            )
    x = np.array([[float(cell) for cell in line] for line in body], np.float32)
    return Rows(x, header[0] if header else None, stem=path.stem)


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _check_width(rows: Rows, model: Any) -> None:
    """Raise InputError if the model takes another number of columns."""
    specs = model.specs or []
    shape = specs[0][0] if len(specs) == 1 else (None, None)
    if len(shape) == 2 and shape[1] is not None and shape[1] != rows.x.shape[1]:
        raise InputError(
            f"{rows.x.shape[1]} columns, but the network takes {shape[1]}.",
            "the columns of the network's input, without the label and the index",
        )


def _targets(model: Any, x: np.ndarray, targets: Sequence[int], top: int) -> Any:
    """Return the given classes for every row, or the `top` highest ones of each."""
    if targets:
        return np.tile(np.asarray(list(dict.fromkeys(targets))), (len(x), 1))
    if top == 1:
        return None
    logits = model.logits(x)
    if logits.ndim != 2 or top > logits.shape[1]:
        raise OptionError(
            f"--top {top}, but the output has the shape {logits.shape[1:]}.",
            "at most the number of classes",
        )
    return np.argsort(-logits, axis=-1, kind="stable")[:, :top]


# -- texts ---------------------------------------------------------------------------


def _texts(given: Mapping[str, Any], model: Any) -> Rows:
    """Return the token ids of texts, with the texts of the tokens."""
    texts, source = list(given["texts"]), given["tokenizer"]
    if source is None:
        raise OptionError(
            "--text is given without --tokenizer.",
            "the vocabulary of the network (one token per line), its tokenizer.json, "
            "or file.py:function that returns (ids, tokens) of a list of texts",
            "--tokenizer vocabulary.txt",
        )
    specs = model.specs or [((None, None), "int32")]
    length = specs[0][0][1] if len(specs[0][0]) == 2 else None
    tokenizer = tokenizer_of(source)
    found = [tokenizer.encode(text) for text in texts]
    size = max(len(row) for row, _ in found) if length is None else int(length)
    x = np.zeros((len(texts), size), np.int32)
    tokens = []
    for i, (row, words) in enumerate(found):
        if len(row) > size:
            print_message(f"text {i}: the first {size} of {len(row)} tokens", "yellow")
        x[i, : len(row[:size])] = row[:size]
        tokens.append(words[:size])
    return Rows(x, tokens=tokens, stem="text")


# -- results -------------------------------------------------------------------------


def _write(e: Any, path: Path) -> None:
    """Write the explanation, the figure of the first rows, and of texts a page."""
    e.save(f"{path}.npz")
    shown = e[:DRAWN]
    with atomic_write(f"{path}.png") as temporary:
        shown.plot().savefig(temporary, dpi=DPI, format="png")
    if e.tokens is not None:
        plot.text(e).save(f"{path}.html")
    if len(e) > DRAWN:
        print_message(f"the figure shows the first {DRAWN} of {len(e)} rows")


def print_strongest(e: Any, target: str = "class") -> None:
    """Print a row for each target, with its strongest features or words.

    Args:
        e: The explanation.
        target: The heading of the targets.
    """
    if e.tokens is not None:
        e = e.sum_by("words")
    targets = e.target.reshape(len(e), -1)
    scores = e.score.reshape(targets.shape)
    relevance = np.asarray(e.heatmap()).reshape(*targets.shape, -1)
    lines = []
    for i, t in np.ndindex(*targets.shape):
        name = target_name(int(targets[i, t]), e.names, e.extra)
        row = relevance[i, t]
        strongest = np.argsort(-np.abs(row), kind="stable")[:PRINTED]
        texts = [f"{_feature(e, i, j)} {row[j]:+.3g}" for j in strongest if row[j]]
        lines.append([str(i), name, f"{scores[i, t]:.4g}", ", ".join(texts)])
    print_table(["row", target, "score", "strongest relevance"], lines)


def _feature(e: Any, row: int, number: int) -> str:
    """The name of a feature with its value, or a word."""
    if e.tokens is not None:
        return str(e.tokens[row][number])
    name = f"feature {number}" if e.features is None else e.features[number]
    return f"{name}={float(np.asarray(e.inputs)[row, number]):.4g}"
