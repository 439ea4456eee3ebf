"""Picture files in, overlays and explanations out: `tfxai explain`, without a terminal.

Everything that is written appears whole (`files.whole`). A file that is no picture, or
a picture that the method refuses, is reported and does not stop the others.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import (
    ImageError,
    LabelError,
    ModelError,
    OptionError,
    TargetError,
    TfxaiError,
    TfxaiWarning,
)
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation
from tfxai.core.inputs import picture_shape
from tfxai.core.model import ModelWrapper
from tfxai.io import images

#: A picture, and its pixels as the network takes them.
Read = tuple[Path, np.ndarray]
DPI = 160


@dataclass(frozen=True)
class Job:
    """What to explain, and where to.

    targets: class indices, the same for every picture; empty: the `top` first classes.
    labels: the classes' names in the network's order, or empty.
    """

    analyzer: Analyzer
    out: Path
    targets: Sequence[int] = ()
    top: int = 1
    labels: Sequence[str] = ()
    batch_size: int = 32


@dataclass(frozen=True)
class Explained:
    """One class of one picture: what the table says."""

    picture: Path
    label: str
    probability: float | None
    score: float


@dataclass
class Outcome:
    """What was explained, which files were not, and what the library warned.

    places: where each picture's two files are, without their suffix.
    changed: of a method that rewrites pictures, (picture, [(label, before, after)]).
    """

    places: dict[Path, Path]
    done: list[Explained] = field(default_factory=list)
    broken: list[TfxaiError] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    changed: list[tuple[Path, list[tuple]]] = field(default_factory=list)


def run(job: Job, paths: Sequence[Path], advance: Callable[[int], None]) -> Outcome:
    """Explain every picture: `<name>.png` and `<name>.npz` in `job.out`.

    Raises what the method says of the first picture where it refuses all that are read.
    """
    outcome = Outcome(images.places_of(paths, job.out, job.analyzer.method))
    shape = picture_shape(job.analyzer.wrapped)
    refused: list[TfxaiError] = []
    for batch in _batches(paths, shape, job.batch_size, outcome.broken, advance):
        left = len(batch)
        for chosen, e, chance in _explained(job, batch, outcome, refused):
            for i, path in enumerate(chosen):
                one = single(e, i, job.analyzer.options)
                rows = _described(job, path, one, chance[i])
                _write(one, rows, outcome.places[path])
                outcome.done += rows
                outcome.changed += _changed(job, path, one)
                left -= 1
                advance(1)
        advance(left)
    if refused and not outcome.done:
        raise refused[0]
    return outcome


def check_preprocess(wrapped: ModelWrapper) -> None:
    """Does `preprocess` run inside a graph, where every question is asked?"""
    if wrapped.preprocess is None:
        return
    import tensorflow as tf

    spec = tf.TensorSpec((None, *picture_shape(wrapped)), tf.float32)
    try:
        traced = tf.function(wrapped.preprocess).get_concrete_function(spec)
        spec.shape.assert_is_compatible_with(traced.output_shapes)
    except Exception as error:  # whatever a user's function raises
        raise OptionError(
            f"--preprocess fails: {type(error).__name__}: {error}",
            "a function (B, height, width, channels) -> the same shape, made of "
            "TensorFlow operations",
            "def preprocess(x): return x / 127.5 - 1",
        ) from error


def bounds(preprocess: Callable | None, channels: int) -> tuple[Any, Any]:
    """(low, high): [0, 255] as the network sees it, one number or one per channel."""
    if preprocess is None:
        return 0.0, 255.0
    import tensorflow as tf

    ends = tf.constant([0.0, 255.0])[:, None, None, None]
    seen = np.asarray(preprocess(tf.tile(ends, (1, 8, 8, channels))), np.float64)
    low, high = seen.min((0, 1, 2)).tolist(), seen.max((0, 1, 2)).tolist()
    same = len(set(low)) == len(set(high)) == 1
    return (low[0], high[0]) if same else (low, high)


def single(e: Explanation, i: int, options: Mapping[str, Any]) -> Explanation:
    """Sample `i` of a batch as an explanation of its own, (1, ...).

    options: the analyzer's; they stand in `extra` too and hold for every sample.
    """

    def cut(value: Any) -> Any:
        return (
            [v[i : i + 1] for v in value]
            if isinstance(value, list)
            else value[i : i + 1]
        )

    def own(name: str, value: Any) -> Any:
        per_sample = isinstance(value, np.ndarray) and name not in options
        return value[i : i + 1] if per_sample else value

    return replace(
        e,
        relevance=cut(e.relevance),
        target=e.target[i : i + 1],
        score=e.score[i : i + 1],
        inputs=cut(e.inputs),
        extra={k: own(k, v) for k, v in e.extra.items()},
    )


# -- one batch -----------------------------------------------------------------------


def _batches(
    paths: Iterable[Path],
    shape: tuple[int | None, int | None, int],
    batch_size: int,
    broken: list[TfxaiError],
    advance: Callable[[int], None],
) -> Iterator[list[Read]]:
    """Pictures of one shape, at most `batch_size` at a time, in order."""
    batch: list[Read] = []
    for path in paths:
        try:
            x = images.read_shaped(path, shape)
        except ImageError as error:
            broken.append(error)
            advance(1)
            continue
        if batch and (len(batch) == batch_size or batch[0][1].shape != x.shape):
            yield batch
            batch = []
        batch.append((path, x))
    if batch:
        yield batch


def _explained(
    job: Job, batch: list[Read], outcome: Outcome, refused: list[TfxaiError]
) -> Iterator[tuple[list[Path], Explanation, Any]]:
    """The explanation of a batch; where the method refuses it, of each picture alone.

    Those that it refuses alone are told in `outcome.broken`; refused: why, as it said.
    """
    chosen, x, e = [p for p, _ in batch], np.stack([x for _, x in batch]), None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TfxaiWarning)
        target, chance = _asked(job, x)
        try:
            e = job.analyzer.analyze(x, target, job.batch_size)
        except TargetError:
            raise  # the classes are the same for every picture
        except TfxaiError as error:
            if len(batch) == 1:
                refused.append(error)
                outcome.broken.append(_of(chosen[0], error))
    if e is not None:
        outcome.warned += [_warning(w, chosen) for w in caught]
        yield chosen, e, chance
    elif len(batch) > 1:
        for one in batch:
            yield from _explained(job, [one], outcome, refused)


def _of(path: Path, error: TfxaiError) -> TfxaiError:
    """What a method says of one picture, with its path, and its name for its number."""
    seen = re.sub(r"(?<=ample\(s\) )\[0\]", lambda _: path.name, error.seen)
    return type(error)(f"{str(path)!r}: {seen}", error.wanted, error.write)


def _asked(job: Job, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """The targets of every picture, (B,) or (B, T), and all probabilities, or Nones."""
    wrapped = job.analyzer.wrapped
    logits = wrapped.logits(x, job.batch_size)
    _check(job, logits)
    chance: Any = [None] * len(x)
    with suppress(ModelError):  # where it does not end in softmax or sigmoid
        chance = wrapped.probabilities(x, job.batch_size)
    if job.targets:
        target = np.tile(np.asarray(job.targets), (len(x), 1))
    else:
        target = np.argsort(-logits, axis=-1, kind="stable")[:, : job.top]
    return target if target.shape[1] > 1 else target[:, 0], chance


def _check(job: Job, logits: np.ndarray) -> None:
    if logits.ndim != 2:
        raise ModelError(
            f"The network answers {('B', *logits.shape[1:])} to pictures.".replace(
                "'", ""
            ),
            "one number per class, (B, classes)",
            "in Python: tfxai.explain(model, x, target=...)",
        )
    classes = logits.shape[1]
    if job.labels and len(job.labels) != classes:
        raise LabelError(
            f"{len(job.labels)} labels, but the network has {classes} classes.",
            "one label per class, in the network's order",
        )
    if job.top > classes:
        raise OptionError(
            f"--top {job.top}, but the network has {classes} classes.",
            f"at most {classes}",
        )


def _warning(w: warnings.WarningMessage, paths: Sequence[Path]) -> str:
    shown = paths[0].name if len(paths) == 1 else f"{paths[0].name} to {paths[-1].name}"
    return f"{shown}: {w.message}"


def _described(job: Job, picture: Path, e: Explanation, chance: Any) -> list[Explained]:
    rows = []
    for target, score in zip(e.target.ravel(), e.score.ravel(), strict=True):
        label = _label(job, target)
        p = None if chance is None else float(chance[target])
        rows.append(Explained(picture, label, p, float(score)))
    return rows


def _label(job: Job, target: int) -> str:
    return job.labels[target].split(",")[0] if job.labels else f"class {target}"


def _changed(job: Job, picture: Path, e: Explanation) -> list[tuple[Path, list[tuple]]]:
    """The first classes before and after, for each target of a changed picture."""
    if "top_classes" not in e.extra:
        return []
    tables = [
        np.asarray(e.extra[f"top_{n}"]).reshape(e.target.size, -1)
        for n in ("classes", "before", "after")
    ]
    return [
        (picture, [(_label(job, k), b, a) for k, b, a in zip(*rows, strict=True)])
        for rows in zip(*tables, strict=True)
    ]


def _write(e: Explanation, rows: list[Explained], path: Path) -> None:
    titles = [f"{r.label}\n{_numbers(r)}" for r in rows]
    try:
        e.save(f"{path}.npz")
        with atomic_write(f"{path}.png") as temporary:
            e.plot(columns=titles).savefig(temporary, dpi=DPI)
    except OSError as error:
        raise OptionError(
            f"{path}.png and .npz cannot be written: {error}",
            "a folder with room, and the right to write there",
            "--out folder",
        ) from error


def _numbers(row: Explained) -> str:
    score = f"score {row.score:.4g}"
    return score if row.probability is None else f"{row.probability:.1%}, {score}"
