"""Explain the shards of a run one after another, in any process.

    tfxai.run("net.keras", "images/", method="sglrp", out="maps/")
    maps = tfxai.load("maps/")

A data set is cut into shards of `shard_size` samples, always in the same way, and each
shard is written completely or not at all. A run that is started again computes the
missing shards.
"""

import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import (
    BrokenFileError,
    TargetError,
    TfxaiError,
    WriteError,
    on_one_line,
)
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation
from tfxai.datasets import own_files, shard_reader, shards
from tfxai.datasets.shards import Failure, Shard
from tfxai.datasets.sources import Source, SourceRow
from tfxai.viz import summary

#: (x (B, ...), target) -> the explanation of a batch.
Explain = Callable[[np.ndarray, Any], Explanation]
#: Called with a number of samples that are done.
Advance = Callable[[int], None]

#: Position in the batch of the first sample that this thread explains.
batch_offset: ContextVar[int] = ContextVar("batch_offset", default=0)


@dataclass(frozen=True)
class RunJob:
    """A run without its model, in a form that can be sent to another process.

    Args:
        source: The samples.
        method: The name of the method.
        options: The options of the method.
        target: The target: None (the top class of each sample), "label" (the true
            class), "all", an int, or a list of ints, all of which are explained.
        out: The folder of the shards.
        dtype: The stored type of the relevance.
        shard_size: The number of samples per shard.
        batch_size: The number of samples that are explained together.
        digest: The digest of the recipe.
    """

    source: Source
    method: str
    options: Mapping[str, Any]
    target: Any
    out: Path
    dtype: str
    shard_size: int
    batch_size: int
    digest: str

    @property
    def shards(self) -> int:
        """The number of shards of the data set."""
        return -(-len(self.source) // self.shard_size)

    def samples(self, number: int) -> int:
        """Return the number of samples of shard `number`."""
        start = number * self.shard_size
        return min(start + self.shard_size, len(self.source)) - start

    def expected(self, number: int) -> shard_reader.Expected:
        """Return what shard `number` must be."""
        start = number * self.shard_size
        rows = range(start, start + self.samples(number))
        return shard_reader.Expected(number, self.digest, rows, self.dtype)


@dataclass(frozen=True)
class ShardResult:
    """The result of computing one shard.

    Args:
        number: The number of the shard.
        explained: The number of explained samples.
        failed: The samples without an explanation.
        warned: The texts of the warnings.
        error: The reason why the shard is not written, else "".
        started: The start by `time.time`; 0 for a shard that another worker wrote.
        ended: The end by `time.time`; 0 for a shard that another worker wrote.
    """

    number: int
    explained: int
    failed: list[Failure]
    warned: list[str]
    error: str = ""
    started: float = 0.0
    ended: float = 0.0


#: (numbers of shards, advance) -> the result of each shard.
ComputeShards = Callable[[Sequence[int], Advance], Iterator[ShardResult]]


@dataclass
class RunResult:
    """The result of a run.

    Args:
        out: The folder of the shards.
        skipped: The numbers of the shards that existed before the run.
        damaged: The numbers of the shards that were damaged, and computed again.
        lost: The files that were written, and do not exist at the end of the run.
        computed: The results of the shards that this run computed.
        failures: The samples without an explanation, in skipped shards too.
        failures_path: The JSON file that lists the failures, or None.
    """

    out: Path
    skipped: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    computed: list[ShardResult] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    failures_path: Path | None = None

    def _repr_html_(self) -> str:
        rows = {
            "folder": self.out, "explained": self.explained,
            "failed": len(self.failures),
            "shards kept": len(self.skipped), "shards computed": len(self.computed),
        }  # fmt: skip
        return summary.wrapped(
            summary.table(list(rows), [[str(v) for v in rows.values()]])
        )

    @property
    def explained(self) -> int:
        """The number of samples that this run explained and wrote."""
        return sum(s.explained for s in self.computed if not s.error)

    @property
    def kept(self) -> int:
        """The number of explanations in the shards that existed before the run."""
        found = 0
        for number in self.skipped:
            path = shards.path_of(self.out, number)
            found += shard_reader.open_shard(path, lambda f: int(f.attrs["count"]))
        return found

    @property
    def unwritten(self) -> dict[int, str]:
        """Number of a shard that could not be written -> the reason."""
        return {s.number: s.error for s in self.computed if s.error}

    @property
    def warned(self) -> list[str]:
        """The texts of the warnings, in the order of the batches."""
        return [text for s in self.computed for text in s.warned]

    @property
    def rate(self) -> float:
        """Samples per second between the start of the first and the end of the last."""
        timed = [s for s in self.computed if s.started]
        if not timed:
            return 0.0
        seconds = max(s.ended for s in timed) - min(s.started for s in timed)
        return sum(s.explained + len(s.failed) for s in timed) / max(seconds, 1e-9)


def explain_with(analyzer: Analyzer, batch_size: int) -> Explain:
    """Return a function that explains a batch on TensorFlow's default device."""
    return lambda x, target: analyzer.analyze(x, target, batch_size, False)


def find_shards(
    job: RunJob, part: tuple[int, int] = (0, 1), overwrite: bool = False
) -> tuple[list[int], list[int], list[int]]:
    """Return the numbers of the shards to compute, that exist, and that are damaged.

    Damaged shards are also among those to compute.

    Args:
        job: The run.
        part: The share of this process, (i, n): the shards k with k % n == i.
        overwrite: Treat existing shards as missing.
    """
    missing: list[int] = []
    existing: list[int] = []
    damaged: list[int] = []
    for k in range(part[0], job.shards, part[1]):
        try:
            done = not overwrite and shard_reader.is_finished(job.out, job.expected(k))
        except BrokenFileError:
            damaged.append(k)
            done = False
        (existing if done else missing).append(k)
    return missing, existing, damaged


def explain_shards(
    job: RunJob,
    explain: Explain,
    numbers: Sequence[int],
    advance: Advance = lambda n: None,
) -> Iterator[ShardResult]:
    """Compute and write shards one after another; samples are read ahead.

    Args:
        job: The run.
        explain: The function that explains a batch.
        numbers: The numbers of the shards.
        advance: Called with a number of samples that are done.

    Raises:
        WriteError: The folder of the run was deleted or renamed.
    """
    explainer = _ShardExplainer(job, explain, advance)
    rows = job.source.stream(numbers, job.shard_size, 2 * job.batch_size)
    needed = 0  # bytes of the last shard, if the disk was full
    for number, group in groupby(rows, lambda row: row.index // job.shard_size):
        started = time.time()
        if needed and not shards.has_space(job.out, needed):
            advance(sum(1 for _ in group))
            error = "there is no space for it, so it was not computed"
            yield ShardResult(number, 0, [], [], error, started, time.time())
            continue
        shard, error, needed = explainer.shard(number, group), "", 0
        try:
            _check_folder(job.out)
            shards.write(job.out, shard, job.digest, job.source.labelled)
        except OSError as failed:
            _check_folder(job.out)
            error = failed.strerror or str(failed)
            needed = sum(r.nbytes for r in shard.relevance)
        yield ShardResult(
            number, len(shard.index), shard.failed, shard.warned, error, started,
            time.time(),
        )  # fmt: skip


def _check_folder(folder: Path) -> None:
    """Raise WriteError if the folder of the run no longer holds its recipe."""
    if not (folder / own_files.RECIPE).is_file():
        raise WriteError(
            f"{str(folder)!r} no longer holds {own_files.RECIPE}: the folder was "
            "deleted or renamed during the run.",
            "the folder of the run, unchanged until its end",
            "the same command again: it computes the missing shards",
        )


@contextmanager
def _recorded_warnings(names: Sequence[str]) -> Iterator[list[str]]:
    """Collect the texts of warnings, with numbers of samples replaced by names."""
    texts: list[str] = []

    def replace_numbers(found: re.Match[str]) -> str:
        positions = [batch_offset.get() + int(i) for i in found[1].split(",")]
        if max(positions) >= len(names):  # numbers of something else
            return found[0]
        return "sample(s) " + ", ".join(names[i] for i in positions)

    def record(message: Any, *_: Any, **__: Any) -> None:
        pattern = r"sample\(s\) \[([\d, ]+)\]"
        texts.append(re.sub(pattern, replace_numbers, on_one_line(message)))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Python calls it in the thread that warns, which has the right `batch_offset`.
        warnings.showwarning = record
        yield texts


class _ShardExplainer:
    """Explains shards in batches; a failing sample does not stop the others."""

    def __init__(self, job: RunJob, explain: Explain, advance: Advance) -> None:
        self.job, self.explain, self.advance = job, explain, advance
        self.succeeded = False  # whether any sample has been explained

    def shard(self, number: int, rows: Iterable[SourceRow]) -> Shard:
        """Return the content of a shard, computed in batches."""
        shard: Shard = Shard(number)
        batch: list[SourceRow] = []
        for row in rows:
            reason = self._reason(row)
            if reason:
                shard.failed.append(Failure(row.index, row.name, reason))
                self.advance(1)
                continue
            batch.append(row)
            if len(batch) == self.job.batch_size:
                self._explain_batch(shard, batch)
                batch = []
        if batch:
            self._explain_batch(shard, batch)
        shard.failed.sort(key=lambda f: f.index)
        return shard

    def _explain_batch(self, shard: Shard, rows: list[SourceRow]) -> None:
        """Explain a batch, and each sample alone if the batch fails.

        An error that every sample of the batch and every sample at the start of the
        data set raises is not caused by a sample, and is raised. A label that is not a
        class of the model is always caused by its sample.
        """
        try:
            self._add(shard, rows)
        except TfxaiError as error:
            single = len(rows) == 1
            failed = [(rows[0], error)] if single else self._one_by_one(shard, rows)
            bad_label = self.job.target == "label" and isinstance(error, TargetError)
            every = 1 < len(rows) == len(failed)
            if every and not bad_label and not self._can_explain():
                raise
            shard.failed += [Failure(r.index, r.name, str(e)) for r, e in failed]
        self.succeeded |= bool(shard.index)
        self.advance(len(rows))

    def _can_explain(self) -> bool:
        """Return True if a sample of this process or at the start of the data succeeds.

        The start of the data decides, so that a resumed or shared run ends like an
        uninterrupted one.
        """
        job = self.job
        rows = job.source.stream(range(job.shards), job.shard_size, job.batch_size)
        readable = (r for r in rows if not self._reason(r))
        if not self.succeeded:
            first = islice(readable, job.batch_size)
            self.succeeded = any(not self._one_by_one(Shard(0), [r]) for r in first)
        return self.succeeded

    def _reason(self, row: SourceRow) -> str:
        """Return why a sample cannot be explained, "" if it may be."""
        if self.job.target == "label" and row.label < 0 and not row.reason:
            return f"target='label', and its class is not known ({row.label})."
        return row.reason

    def _one_by_one(
        self, shard: Shard, rows: list[SourceRow]
    ) -> list[tuple[SourceRow, TfxaiError]]:
        """Explain each sample alone, and return the failed ones with their errors."""
        failed = []
        for row in rows:
            try:
                self._add(shard, [row])
            except TfxaiError as error:
                failed.append((row, error))
        return failed

    def _add(self, shard: Shard, rows: list[SourceRow]) -> None:
        """Explain a batch and append it to the shard."""
        names = [row.name for row in rows]
        with _recorded_warnings(names) as texts:
            x = np.stack([row.x for row in rows if row.x is not None])
            e = self.explain(x, self._target(rows))
        label = names[0] if len(rows) == 1 else f"{names[0]} to {names[-1]}"
        shard.warned += [f"{label}: {text}" for text in texts]
        stored, scale = shards.encode(e.relevance, np.ndim(e.target), self.job.dtype)
        shard.relevance += list(stored)
        shard.scale += list(scale)
        shard.target += list(e.target)
        shard.score += list(e.score)
        shard.label += [row.label for row in rows]
        shard.name += names
        shard.index += [row.index for row in rows]

    def _target(self, rows: list[SourceRow]) -> Any:
        """Return the target of a batch as `analyze` accepts it."""
        target = self.job.target
        if target == "label":
            return np.array([row.label for row in rows])
        if isinstance(target, list):
            return np.tile(np.array(target), (len(rows), 1))
        return target
