"""The work of `tfxai explain`: image files in, overlays and explanations out.

Every file is written atomically. A file that is not an image, or an image for which the
method raises an error, is reported; the other images are still explained.
"""

import errno
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import (
    ImageError,
    LabelError,
    MissingFileError,
    ModelError,
    OptionError,
    TargetError,
    TfxaiError,
    TfxaiWarning,
    WriteError,
)
from tfxai.cli import preprocessing
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import image_shape
from tfxai.io import images
from tfxai.viz.sheet import Sheet

#: An image file, and its pixels in the shape of the network's input.
LoadedImage = tuple[Path, np.ndarray]
#: A class of a changed image: (label, value before, value after).
ClassChange = tuple[str, Any, Any]
DPI = 160


@dataclass(frozen=True)
class ExplainJob:
    """The settings of `tfxai explain`.

    Attributes:
        analyzer: The analyzer of the method and the model.
        out: The folder of the output files.
        targets: Class indices, the same for every image. Empty: the `top` classes.
        top: How many of the highest classes of each image are explained.
        labels: The class names in the order of the network's outputs, or empty.
        batch_size: The number of images per batch.
        sheet: Collects all images for one page or picture; or None.
    """

    analyzer: Analyzer
    out: Path
    targets: Sequence[int] = ()
    top: int = 1
    labels: Sequence[str] = ()
    batch_size: int = 32
    sheet: Sheet | None = None


@dataclass(frozen=True)
class ClassResult:
    """One explained class of one image: a row of the table."""

    image: Path
    label: str
    probability: float | None
    score: float


@dataclass
class ExplainResult:
    """The results of `tfxai explain`.

    Attributes:
        outputs: Image -> the path of its two output files, without suffix.
        done: The explained classes.
        failed: The errors of images that are not explained.
        warned: The warnings, as text.
        changed: For methods that change the image: (image, its highest classes).
    """

    outputs: dict[Path, Path]
    done: list[ClassResult] = field(default_factory=list)
    failed: list[TfxaiError] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    changed: list[tuple[Path, list[ClassChange]]] = field(default_factory=list)


def explain_files(
    job: ExplainJob, paths: Sequence[Path], advance: Callable[[int], None]
) -> ExplainResult:
    """Explain every image and write `<name>.png` and `<name>.npz` in `job.out`.

    Args:
        job: The settings.
        paths: The image files.
        advance: Called with the number of images that are finished.

    Raises:
        TfxaiError: The method raises an error for every image; it is that of the first.
    """
    result = ExplainResult(images.output_paths(paths, job.out, job.analyzer.method))
    shape = image_shape(job.analyzer.wrapped)
    errors: list[TfxaiError] = []
    checked = False
    for batch in _batches(paths, shape, job.batch_size, result.failed, advance):
        left = len(batch)
        if not checked:
            checked, x = True, np.stack([x for _, x in batch])
            text = preprocessing.check_range(job.analyzer.wrapped, x)
            result.warned += [text] if text else []
        for chosen, e, probabilities in _explain_batch(job, batch, result, errors):
            for i, path in enumerate(chosen):
                sample = e[i]
                rows = _class_results(job, path, sample, probabilities[i])
                left -= 1
                advance(1)
                try:
                    _write(sample, rows, result.outputs[path])
                except ImageError as error:
                    result.failed.append(error)
                    continue
                if job.sheet is not None:
                    figure = Path(f"{result.outputs[path]}.png")
                    job.sheet.add(path.name, sample, _titles(rows), figure)
                result.done += rows
                result.changed += _class_changes(job, path, sample)
        advance(left)
    if errors and not result.done:
        raise errors[0]
    _check_written(result)
    return result


def write_sheets(sheet: Sheet, pages: Mapping[str, Path | None]) -> list[Path]:
    """Write the page and the picture of all images, and return their paths.

    Args:
        sheet: The images.
        pages: "html" and "contact_sheet" -> the file, or None.

    Raises:
        OptionError: A file cannot be written.
    """
    writers = {"html": sheet.write_html, "contact_sheet": sheet.write_picture}
    chosen = {name: path for name, path in pages.items() if path and sheet.cards}
    try:
        return [writers[name](path) for name, path in chosen.items()]
    except OSError as error:
        raise OptionError(
            f"The page of all images cannot be written: {error}",
            "a file in a folder with free space and write permission",
        ) from error


def _check_written(result: ExplainResult) -> None:
    """Raise WriteError if an output file no longer exists."""
    paths = [result.outputs[row.image] for row in result.done]
    files = [Path(f"{path}{end}") for path in paths for end in (".npz", ".png")]
    lost = [file for file in dict.fromkeys(files) if not file.is_file()]
    if lost:
        raise WriteError(
            f"{len(lost)} file(s) were written and no longer exist; the first: "
            f"{str(lost[0])!r}. The folder was changed during the command.",
            "the output folder, unchanged until the end",
            "the same command again",
        )


# -- one batch -----------------------------------------------------------------------


def _batches(
    paths: Iterable[Path],
    shape: tuple[int | None, int | None, int],
    batch_size: int,
    failed: list[TfxaiError],
    advance: Callable[[int], None],
) -> Iterator[list[LoadedImage]]:
    """Yield batches of images of one shape, in order; append errors to `failed`."""
    batch: list[LoadedImage] = []
    for path in paths:
        try:
            x = images.read_shaped(path, shape)
        except (ImageError, MissingFileError) as error:
            failed.append(error)
            advance(1)
            continue
        if batch and (len(batch) == batch_size or batch[0][1].shape != x.shape):
            yield batch
            batch = []
        batch.append((path, x))
    if batch:
        yield batch


def _explain_batch(
    job: ExplainJob,
    batch: list[LoadedImage],
    result: ExplainResult,
    errors: list[TfxaiError],
) -> Iterator[tuple[list[Path], Explanation, Any]]:
    """Yield (images, explanation, probabilities) of a batch.

    If the method raises an error, every image is explained alone. The error of a single
    image is appended to `errors`, and with the name of its file to `result.failed`.
    """
    chosen, x, e = [p for p, _ in batch], np.stack([x for _, x in batch]), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TfxaiWarning)
        target, probabilities = _targets(job, x)
        try:
            e = job.analyzer.analyze(x, target, job.batch_size)
        except TargetError:
            raise  # the classes are the same for every image
        except TfxaiError as error:
            if len(batch) == 1:
                errors.append(error)
                result.failed.append(_error_of_file(chosen[0], error))
    if e is not None:
        result.warned += [_warning_text(w, chosen) for w in caught]
        yield chosen, e, probabilities
    elif len(batch) > 1:
        for loaded in batch:
            yield from _explain_batch(job, [loaded], result, errors)


def _error_of_file(path: Path, error: TfxaiError) -> TfxaiError:
    """Return the error with the name of the file instead of the sample's index."""
    seen = re.sub(r"(?<=ample\(s\) )\[0\]", lambda _: path.name, error.seen)
    return type(error)(f"{str(path)!r}: {seen}", error.wanted, error.write)


def _targets(job: ExplainJob, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return the targets (B,) or (B, T), and (B, classes) probabilities or Nones."""
    wrapped = job.analyzer.wrapped
    logits, probabilities = wrapped.predictions(x, job.batch_size)
    _check_classes(job, logits)
    if job.targets:
        target = np.tile(np.asarray(job.targets), (len(x), 1))
    else:
        target = np.argsort(-logits, axis=-1, kind="stable")[:, : job.top]
    target = target if target.shape[1] > 1 else target[:, 0]
    return target, [None] * len(x) if probabilities is None else probabilities


def _check_classes(job: ExplainJob, logits: np.ndarray) -> None:
    """Check that the outputs are classes, and that labels and --top fit them."""
    if logits.ndim != 2:
        shape = str(("B", *logits.shape[1:])).replace("'", "")
        raise ModelError(
            f"The output of the network for images has the shape {shape}.",
            "one number per class, (B, classes)",
            "in Python: tfxai.explain(model, x, target=...)",
        )
    classes = logits.shape[1]
    if job.labels and len(job.labels) != classes:
        raise LabelError(
            f"{len(job.labels)} labels, but the network has {classes} classes.",
            "one label per class, in the order of the network's outputs",
        )
    if job.top > classes:
        raise OptionError(
            f"--top {job.top}, but the network has {classes} classes.",
            f"at most {classes}",
        )


def _warning_text(w: warnings.WarningMessage, paths: Sequence[Path]) -> str:
    """Return a warning with the names of the first and the last file of its batch."""
    names = paths[0].name if len(paths) == 1 else f"{paths[0].name} to {paths[-1].name}"
    return f"{names}: {w.message}"


def _class_results(
    job: ExplainJob, image: Path, e: Explanation, probabilities: Any
) -> list[ClassResult]:
    """Return a row for each explained class of one image."""
    rows = []
    for target, score in zip(e.target.ravel(), e.score.ravel(), strict=True):
        label = _label(job, target)
        p = None if probabilities is None else float(probabilities[target])
        rows.append(ClassResult(image, label, p, float(score)))
    return rows


def _label(job: ExplainJob, target: int) -> str:
    """Return the first synonym of a class's label, or "class <index>"."""
    return job.labels[target].split(",")[0] if job.labels else f"class {target}"


def _class_changes(
    job: ExplainJob, image: Path, e: Explanation
) -> list[tuple[Path, list[ClassChange]]]:
    """Return the highest classes before and after, for each target of a changed image.

    The list is empty for methods that do not change the image.
    """
    if "top_classes" not in e.extra:
        return []
    tables = [
        np.asarray(e.extra[f"top_{n}"]).reshape(e.target.size, -1)
        for n in ("classes", "before", "after")
    ]
    return [
        (image, [(_label(job, k), b, a) for k, b, a in zip(*rows, strict=True)])
        for rows in zip(*tables, strict=True)
    ]


def _write(e: Explanation, rows: list[ClassResult], path: Path) -> None:
    """Write the .npz and the .png of one image.

    Raises:
        ImageError: The file system does not accept this name.
        OptionError: The folder cannot be written, or was deleted.
    """
    try:
        os.stat(path.parent)  # it exists since the start; `save` would make it again
        e.save(f"{path}.npz")
        with atomic_write(f"{path}.png") as temporary:
            e.plot(columns=_titles(rows)).savefig(temporary, dpi=DPI)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            raise ImageError(
                f"{rows[0].image.name!r}: the output {path.name}.png has a name that "
                f"cannot be written: {error.strerror}.",
                "a shorter file name",
            ) from error
        raise OptionError(
            f"{path}.png and .npz cannot be written: {error}",
            "a folder with free space and write permission",
            "--out folder",
        ) from error


def _titles(rows: Sequence[ClassResult]) -> list[str]:
    """Return the titles of the overlays of one image."""
    return [f"{r.label}\n{_score_text(r)}" for r in rows]


def _score_text(row: ClassResult) -> str:
    """Return the probability, if known, and the score as text."""
    score = f"score {row.score:.4g}"
    return score if row.probability is None else f"{row.probability:.1%}, {score}"
