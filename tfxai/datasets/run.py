"""`run`: explain a whole data set into a folder; the same call resumes the run."""

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
    BrokenFileWarning,
    FailedSamplesWarning,
    OptionError,
    TargetError,
    WriteError,
)
from tfxai.base.progress import bar
from tfxai.base.text import printable
from tfxai.base.validation import one_of, whole_number
from tfxai.core import registry
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.registry import create_analyzer
from tfxai.core.targets import resolve
from tfxai.datasets import recipe, shard_reader, shards
from tfxai.datasets.engines import Engine
from tfxai.datasets.sources import LABELS, Source
from tfxai.datasets.tfrecord import open_source
from tfxai.datasets.worker import ComputeShards, RunJob, RunResult, find_shards
from tfxai.io import networks


def run(
    model: Any,
    data: Any,
    method: str = "sglrp",
    out: str | os.PathLike[str] = "maps",
    target: Any = None,
    preprocess: Callable[..., Any] | None = None,
    **options: Any,
) -> RunResult:
    """Explain a whole data set into a folder of shards; the same call again resumes.

    `tfxai.load(out)` reads the results.

    Args:
        model: The model. As for `create_analyzer`, or a path or name as for
            `tfxai run --model`; a name of `keras.applications` brings its own
            preprocessing.
        data: The data set: a folder of images; image, `.npz` or TFRecord files; an
            array, a pair (x, y), or a `tf.data.Dataset` of batches.
        method: The name of the method.
        out: The folder of the shards.
        target: The target. None (the top class of each sample), "label" (the true class
            of each sample), "all", an int, or a list of ints (all are explained).
        preprocess: The preprocessing function, as for `create_analyzer`.
        options: The options of the method, and those of `tfxai run`: `labels`, `size`
            (height, width), `first_label`, `trust_times`, `seed`, `dtype`,
            `shard_size`, `batch_size`, `shard`, `overwrite`, `engine`, `workers`,
            `address`, `gpus`, `progress`; `strategy` takes a `tf.distribute` strategy.

    Raises:
        WriteError: Some shards could not be written; raised at the end of the run.
        RecipeError: `out` holds the results of another run.

    Warns:
        FailedSamplesWarning: Some samples could not be read or explained.
        BrokenFileWarning: Some shards were damaged, and are computed again.

    Example:
        tfxai.run("net.keras", "images/", method="sglrp", out="maps/")
    """
    if isinstance(model, str | os.PathLike):
        own = networks.own_preprocess(model) if preprocess is None else None
        preprocess = preprocess if own is None else networks.preprocess(own)
        if Path(model).exists():
            options.setdefault("path", Path(model))
        model = networks.load(model)
    result = execute(
        wrap(model, preprocess), data, method, Path(out), target, **options
    )
    if result.damaged:
        warnings.warn(
            f"{len(result.damaged)} shard(s) in {str(result.out)!r} were damaged, and "
            f"are computed again: {result.damaged[:10]}.",
            BrokenFileWarning,
            stacklevel=2,
        )
    if result.failures:
        first = result.failures[0]
        warnings.warn(
            f"{len(result.failures)} sample(s) have no explanation; the first: "
            f"{printable(first.name)}: {printable(first.reason)} All: "
            f"{result.failures_path or 'result.failures'}.",
            FailedSamplesWarning,
            stacklevel=2,
        )
    check_written(result)
    return result


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
    trust_times: bool = False,
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
) -> RunResult:
    """Run for a wrapped model; failed samples and shards are in the result.

    Args:
        wrapped: The model.
        data: The data set; see `open_source`.
        method: The name of the method.
        out: The folder of the shards.
        target: The target; see `run`.
        labels: The names of the model's classes, to number subfolders.
        size: The (height, width) of images for a model that accepts any size.
        first_label: The number of the first class in numeric labels.
        trust_times: Identify files by size and time; False hashes their contents.
        seed: The seed of a method with random samples.
        dtype: The stored type: "float32", or "float16" with one scale per array.
        shard_size: The number of samples per shard.
        batch_size: The number of samples that are explained together.
        shard: The share of this job, "i/n" or (i, n) with i from 0. It computes the
            shards k with k % n == i.
        overwrite: Delete the results of another run first.
        engine: The engine, "serial" or "ray".
        workers: The number of Ray workers; see `cluster.on_ray`.
        address: The address of the Ray cluster; see `cluster.on_ray`.
        gpus: The number of GPUs of each Ray worker.
        strategy: A MirroredStrategy that splits each batch. "mirrored" is one over the
            GPUs of this machine.
        progress: Whether to show a progress bar; None shows it on a terminal.
        path: The file of a model that is not a Keras model.
        options: The options of the method.

    Raises:
        OptionError: An option is wrong.
        TargetError: The target is wrong, or the data have no labels.
        InputError: The data do not fit the model.
        RecipeError: `out` holds the results of another run.
        WriteError: The recipe cannot be written.
    """
    part = parse_part(shard)
    _check_options(dtype, shard_size, batch_size, seed, overwrite and part != (0, 1))
    chosen = Engine(engine, strategy, workers, address, gpus)
    if "seed" in registry.lookup(method).options:
        options.setdefault("seed", seed)
    analyzer = create_analyzer(method, wrapped, **options)
    whole_number("first_label", first_label, -LABELS, LABELS)
    source = open_source(data, wrapped, labels, size, first_label, trust_times)
    if engine == "ray" and not source.travels:
        raise OptionError(
            "A tf.data pipeline cannot be sent to the workers of Ray.",
            "files: a folder of images, an .npz or TFRecords; or arrays",
        )
    target = _check_target(target, source, wrapped)
    settings = recipe.to_plain_data(
        _recipe(wrapped, source, method, options, target, seed)
        | {"dtype": dtype, "shard_size": shard_size, "batch_size": batch_size}
    )
    out = out.absolute()
    job = RunJob(
        source, method, options, target, out, dtype, int(shard_size), int(batch_size),
        recipe.digest(settings),
    )  # fmt: skip
    started = chosen.start(job, wrapped, analyzer, path)
    return _compute_missing(job, settings, part, overwrite, started, progress)


def _compute_missing(
    job: RunJob, settings: dict[str, Any], part: tuple[int, int], overwrite: bool,
    started: AbstractContextManager[ComputeShards], progress: bool | None,
) -> RunResult:  # fmt: skip
    """Compute the missing shards; `started` starts the engine if there are any."""
    if not overwrite:
        _write_recipe(job.out, settings)
    missing, existing, damaged = find_shards(job, part, overwrite)
    result = RunResult(job.out, existing, damaged)
    total = sum(job.samples(k) for k in missing)
    if missing:
        with started as compute:
            if overwrite:  # delete only after all checks and the start of the engine
                _write_recipe(job.out, settings, overwrite)
            with bar(job.method, total, progress) as advance:
                result.computed += compute(missing, _with_rate(advance))
    result.lost = _missing_files(job, part, result)
    if not result.lost:
        _collect_failures(result, part)
    return result


def parse_part(shard: str | tuple[int, int] | None) -> tuple[int, int]:
    """Return (i, n) of "i/n", with i from 0 to n - 1; None is (0, 1).

    Raises:
        OptionError: The text has another form.
    """
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
            "i/n with i from 0 to n - 1: 0/4, 1/4, 2/4 and 3/4 for four jobs",
            "--shard $SLURM_ARRAY_TASK_ID/4 with --array=0-3",
        ) from error
    return part


def check_written(result: RunResult) -> None:
    """Raise WriteError if a shard could not be written, or no longer exists."""
    if result.lost:
        raise WriteError(
            f"{len(result.lost)} file(s) are no longer in {str(result.out)!r}; the "
            f"first: {result.lost[0]}. The folder was changed during the run.",
            "the folder of the run, unchanged until its end",
            "the same command again: it computes only the missing shards",
        )
    if not result.unwritten:
        return
    number, why = next(iter(result.unwritten.items()))
    raise WriteError(
        f"{len(result.unwritten)} shard(s) could not be written to "
        f"{str(result.out)!r}; the first: {number}, {why}",
        "a disk with free space, and permission to write there",
        "the same command again: it computes only the missing shards",
    )


def _missing_files(job: RunJob, part: tuple[int, int], result: RunResult) -> list[str]:
    """Return the names of the files of this job that should exist and do not."""
    numbers = range(part[0], job.shards, part[1])
    paths = [shards.path_of(job.out, k) for k in numbers if k not in result.unwritten]
    return [p.name for p in [job.out / recipe.NAME, *paths] if not p.is_file()]


# -- checks and the recipe -----------------------------------------------------------


def _check_options(
    dtype: str, shard_size: int, batch_size: int, seed: int, overwrite_part: bool
) -> None:
    """Raise OptionError for a wrong option of the run."""
    one_of("dtype", dtype, shards.DTYPES)
    whole_number("shard_size", shard_size, 1)
    whole_number("batch_size", batch_size, 1)
    whole_number("seed", seed, 0)
    if overwrite_part:
        raise OptionError(
            "overwrite with one shard of several: it would delete the others' work.",
            "an empty folder, or overwrite in a run without shard",
        )


def _check_target(target: Any, source: Source, wrapped: ModelWrapper) -> Any:
    """Return the target as JSON data, for the recipe and for every batch."""
    if isinstance(target, str) and target == "label":
        if not source.labelled:
            raise TargetError(
                "target='label', but the data have no classes.",
                "subfolders named by class, an npz with y, or TFRecords with labels",
            )
        resolve([0], 1, wrapped.outputs)  # raises if a class is not one number
        return target
    if callable(target):
        raise TargetError(
            "The target is a function, which a recipe cannot store.",
            'None, "label", "all", a class or a list of classes',
        )
    try:
        plain = target if isinstance(target, str) else np.asarray(target).tolist()
    except ValueError as error:  # rows of different lengths
        raise TargetError(
            f"target={target!r}.", "a class, or one list of classes for every sample"
        ) from error
    shape = wrapped.outputs
    if isinstance(target, tuple) and shape is not None and len(shape) > 2:
        plain = target
    resolve([plain] if isinstance(plain, list) else plain, 1, shape)
    return plain


def _recipe(
    wrapped: ModelWrapper, source: Source, method: str, options: Mapping[str, Any],
    target: Any, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the recipe of a run, as JSON data."""
    return {
        "format": shards.FORMAT,
        "method": method,
        "options": recipe.to_plain_data(options),
        "target": recipe.to_plain_data(target),
        "preprocess": recipe.fingerprint_callable(wrapped.preprocess),
        "model_name": str(getattr(wrapped.model, "name", wrapped.model)),
        "model": recipe.fingerprint_model(wrapped.model),
        "output": wrapped.output,
        "source": source.settings() | {"shape": list(source.shape)},
        "seed": seed,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Return the versions of tfxai, Keras and TensorFlow."""
    import keras
    import tensorflow as tf

    from tfxai import __version__ as ours

    return {
        "tfxai": ours, "keras": keras.__version__, "tensorflow": tf.__version__
    }  # fmt: skip


def _write_recipe(out: Path, settings: dict[str, Any], overwrite: bool = False) -> None:
    """Write or compare the recipe; raise WriteError if the folder is not writable."""
    try:
        recipe.write_or_compare(out, settings, overwrite)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise WriteError(
            f"{str(out)!r}: {error}",
            "a folder with free space, and permission to write there",
            "--out folder",
        ) from error


# -- progress and failures -----------------------------------------------------------


def _with_rate(advance: Any) -> Callable[[int], None]:
    """Return an `advance` that shows the samples per second beside the bar."""
    started, done = time.monotonic(), 0

    def advance_with_rate(n: int) -> None:
        nonlocal done
        done += n
        rate = done / max(time.monotonic() - started, 1e-9)
        advance(n, f"{rate:.3g} samples/s")

    return advance_with_rate


def _collect_failures(result: RunResult, part: tuple[int, int]) -> None:
    """Collect the failures of this job's shards, and list them in a JSON file."""
    for number in result.skipped:
        path = shards.path_of(result.out, number)
        result.failures += shard_reader.open_shard(path, shard_reader.read_failures)
    result.failures += [f for s in result.computed for f in s.failed]
    result.failures.sort(key=lambda f: f.index)
    name = (
        "failures.json" if part == (0, 1) else f"failures-{part[0]}-of-{part[1]}.json"
    )
    path = result.out / name
    if not result.failures and not result.unwritten:
        path.unlink(missing_ok=True)
        return
    content = {
        "format": shards.FORMAT,
        "failed": [asdict(f) for f in result.failures],
        "unwritten": result.unwritten,
    }
    try:
        with atomic_write(path, create=False) as temporary:
            text = json.dumps(content, indent=1, ensure_ascii=False)
            temporary.write_text(text, encoding="utf-8")
        result.failures_path = path
    except OSError:  # a full disk: `unwritten` and the shards hold the failures
        result.failures_path = None
