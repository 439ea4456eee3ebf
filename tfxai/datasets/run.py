"""`run`: a whole data set explained, in one call that can be repeated until done."""

import json
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.atomic_write import atomic_write
from tfxai.base.errors import (
    FailedSamplesWarning,
    OptionError,
    TargetError,
    WriteError,
)
from tfxai.base.progress import bar
from tfxai.base.validation import one_of, whole_number
from tfxai.core import registry
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.registry import create_analyzer
from tfxai.core.targets import resolve
from tfxai.datasets import recipe, shards
from tfxai.datasets.engines import Engine
from tfxai.datasets.maps import failed_in
from tfxai.datasets.sources import Source
from tfxai.datasets.tfrecord import open_source
from tfxai.datasets.worker import Job, Make, Outcome, pending
from tfxai.io import networks


def run(
    model: Any,
    data: Any,
    method: str = "sglrp",
    out: str | os.PathLike = "maps",
    target: Any = None,
    preprocess: Callable | None = None,
    **options: Any,
) -> Outcome:
    """Explain a whole data set into a folder of shards; the same call again resumes.

    model: as for `create_analyzer`, or a path or name as `tfxai run --model` takes it;
        a name of `keras.applications` brings its own preprocessing.
    data, labels, size, first_label: see `tfxai.datasets.tfrecord.open_source`.
    target: None (each top class), "label" (the class that the data say), "all", an int,
        or ints: a map of each.
    options: those of `execute`, and those of the method.

    Warns of samples that failed. Raises WriteError at the end where shards could
    not be written, RecipeError where `out` holds the maps of another run.
    """
    if isinstance(model, str | os.PathLike):
        own = networks.own_preprocess(model) if preprocess is None else None
        preprocess = preprocess if own is None else networks.preprocess(own)
        if Path(model).exists():
            options.setdefault("path", Path(model))
        model = networks.load(model)
    outcome = execute(
        wrap(model, preprocess), data, method, Path(out), target, **options
    )
    if outcome.failures:
        first = outcome.failures[0]
        warnings.warn(
            f"{len(outcome.failures)} sample(s) have no map; the first: {first.name}: "
            f"{first.reason} All: {outcome.listed or 'outcome.failures'}.",
            FailedSamplesWarning,
            stacklevel=2,
        )
    check_written(outcome)
    return outcome


def execute(
    wrapped: ModelWrapper,
    data: Any,
    method: str,
    out: Path,
    target: Any = None,
    *,
    labels: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    first_label: int = 0,
    seed: int = 0,
    dtype: str = "float32",
    shard_size: int = 256,
    batch_size: int = 32,
    shard: str | tuple[int, int] | None = None,
    overwrite: bool = False,
    engine: str = "serial",
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0,
    strategy: Any = None,
    progress: bool | None = None,
    path: Path | None = None,
    **options: Any,
) -> Outcome:
    """`run` for a wrapped model: what fails is told in the outcome, and not raised.

    seed: of a method that draws. dtype: "float32", or "float16" with a scale for each
    map. shard_size: samples in a file. batch_size: maps at once.
    shard: "i/n" or (i, n), i from 0: this job makes the shards k with k % n == i.
    overwrite: delete the maps of another run first.
    engine: "serial", or "ray" with `workers`, `address` and `gpus` (see
        `cluster.on_ray`). strategy: a MirroredStrategy, to split each batch, or
        "mirrored": one over the GPUs of this machine.
    path: where a model can be read from that is no Keras model.
    """
    part = part_of(shard)
    _check(dtype, shard_size, batch_size, seed, overwrite and part != (0, 1))
    maker = Engine(engine, strategy, workers, address, gpus)
    if "seed" in registry.lookup(method).options:
        options.setdefault("seed", seed)
    analyzer = create_analyzer(method, wrapped, **options)
    source = open_source(data, wrapped, labels, size, first_label)
    if engine == "ray" and not source.travels:
        raise OptionError(
            "A tf.data pipeline cannot be sent to the workers of Ray.",
            "files: a folder of pictures, an .npz or TFRecords; or arrays",
        )
    target = _target(target, source, wrapped)
    made_by = recipe.plain(
        _recipe(wrapped, source, method, options, target, seed)
        | {"dtype": dtype, "shard_size": shard_size, "batch_size": batch_size}
    )
    out = out.absolute()
    job = Job(
        source, method, options, target, out, dtype, int(shard_size), int(batch_size),
        recipe.digest(made_by),
    )  # fmt: skip
    started = maker.started(job, wrapped, analyzer, path)
    return _made(job, made_by, part, overwrite, started, progress)


def _made(
    job: Job, made_by: dict[str, Any], part: tuple[int, int], overwrite: bool,
    started: AbstractContextManager[Make], progress: bool | None,
) -> Outcome:  # fmt: skip
    """Make what is missing, if anything is; `started` starts the engine."""
    if not overwrite:
        _agree(job.out, made_by)
    left, there = pending(job, part, overwrite)
    outcome = Outcome(job.out, there)
    total = sum(job.samples(k) for k in left)
    if left:
        with started as make:
            if overwrite:  # it deletes, and all that can be refused was asked before
                _agree(job.out, made_by, overwrite)
            with bar(job.method, total, progress) as advance:
                outcome.made += make(left, _timed(advance))
    _finish(outcome, part)
    return outcome


def part_of(shard: str | tuple[int, int] | None) -> tuple[int, int]:
    """(i, n) of "i/n", i from 0 to n - 1. Raises OptionError."""
    if shard is None:
        return 0, 1
    try:
        i, n = shard.split("/") if isinstance(shard, str) else shard
        part = int(i), int(n)
        if not 0 <= part[0] < part[1]:
            raise ValueError
    except (ValueError, TypeError) as error:
        raise OptionError(
            f"shard={shard!r}.",
            "i/n with i from 0 to n - 1: of four jobs 0/4, 1/4, 2/4 and 3/4",
            "--shard $SLURM_ARRAY_TASK_ID/4 with --array=0-3",
        ) from error
    return part


def check_written(outcome: Outcome) -> None:
    """Raises WriteError where shards are missing."""
    if not outcome.unwritten:
        return
    number, why = next(iter(outcome.unwritten.items()))
    raise WriteError(
        f"{len(outcome.unwritten)} shard(s) could not be written to "
        f"{str(outcome.out)!r}; the first: {number}, {why}",
        "a disk with room, and the right to write there",
        "the same again: it makes the shards that are missing, and no others",
    )


# -- at the door ---------------------------------------------------------------------


def _check(dtype: str, shard_size: int, batch_size: int, seed: int, both: bool) -> None:
    one_of("dtype", dtype, shards.DTYPES)
    whole_number("shard_size", shard_size, 1)
    whole_number("batch_size", batch_size, 1)
    whole_number("seed", seed, 0)
    if both:
        raise OptionError(
            "overwrite with one shard of several: it would delete the others' work.",
            "an empty folder, or overwrite in a run without shard",
        )


def _target(target: Any, source: Source, wrapped: ModelWrapper) -> Any:
    """The target as the recipe and every batch can have it: JSON."""
    if isinstance(target, str) and target == "label":
        if not source.labelled:
            raise TargetError(
                "target='label', but the data say no classes.",
                "subfolders named by class, an npz with y, or TFRecords with labels",
            )
        resolve([0], 1, wrapped.outputs)  # is one number a class of this model?
        return target
    if callable(target):
        raise TargetError(
            "The target is a function, which no recipe can hold.",
            'None, "label", "all", a class or a list of classes',
        )
    try:
        kept = target if isinstance(target, str) else np.asarray(target).tolist()
    except ValueError as error:  # rows of several lengths
        raise TargetError(
            f"target={target!r}.", "a class, or one list of classes for every sample"
        ) from error
    shape = wrapped.outputs
    if isinstance(target, tuple) and shape is not None and len(shape) > 2:
        kept = target
    resolve([kept] if isinstance(kept, list) else kept, 1, shape)
    return kept


def _recipe(
    wrapped: ModelWrapper, source: Source, method: str, options: Mapping, target: Any,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    return {
        "format": shards.FORMAT,
        "method": method,
        "options": recipe.plain(options),
        "target": recipe.plain(target),
        "preprocess": recipe.called(wrapped.preprocess),
        "model_name": str(getattr(wrapped.model, "name", wrapped.model)),
        "model": recipe.of_model(wrapped.model),
        "output": wrapped.output,
        "source": source.told() | {"shape": list(source.shape)},
        "seed": seed,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    import keras
    import tensorflow as tf

    from tfxai import __version__ as ours

    return {
        "tfxai": ours, "keras": keras.__version__, "tensorflow": tf.__version__
    }  # fmt: skip


def _agree(out: Path, made_by: dict[str, Any], overwrite: bool = False) -> None:
    try:
        recipe.agree(out, made_by, overwrite)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise WriteError(
            f"{str(out)!r}: {error}",
            "a folder with room, and the right to write there",
            "--out folder",
        ) from error


# -- on the way, and at the end ------------------------------------------------------


def _timed(advance: Any) -> Callable[[int], None]:
    """Tell the samples per second beside the bar."""
    begun, done = time.monotonic(), 0

    def timed(n: int) -> None:
        nonlocal done
        done += n
        rate = done / max(time.monotonic() - begun, 1e-9)
        advance(n, f"{rate:.3g} samples/s")

    return timed


def _finish(outcome: Outcome, part: tuple[int, int]) -> None:
    """Gather the failures of this job's shards, and list them in a file."""
    for number in outcome.skipped:
        path = shards.path_of(outcome.out, number)
        outcome.failures += shards.opened(path, failed_in)
    outcome.failures += [f for m in outcome.made for f in m.failed]
    outcome.failures.sort(key=lambda f: f.index)
    name = (
        "failures.json" if part == (0, 1) else f"failures-{part[0]}-of-{part[1]}.json"
    )
    path = outcome.out / name
    if not outcome.failures and not outcome.unwritten:
        path.unlink(missing_ok=True)
        return
    told = {
        "failed": [asdict(f) for f in outcome.failures],
        "unwritten": outcome.unwritten,
    }
    try:
        with atomic_write(path) as temporary:
            text = json.dumps(told, indent=1, ensure_ascii=False)
            temporary.write_text(text, encoding="utf-8")
        outcome.listed = path
    except OSError:  # the disk is full: `unwritten` says so, and the shards tell all
        outcome.listed = None
