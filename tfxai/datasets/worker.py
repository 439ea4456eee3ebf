"""A whole data set explained: samples in, shards of maps out, by one engine or many.

    tfxai.run("net.keras", "pictures/", method="sglrp", out="maps/")
    maps = tfxai.load("maps/")

The data are cut into shards of `shard_size` samples, always the same ones, and a shard
is written whole. Started again, a run makes the shards that are not there.
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

from tfxai.base.errors import TargetError, TfxaiError
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation
from tfxai.datasets import shards
from tfxai.datasets.shards import Failure, Shard
from tfxai.datasets.sources import Row, Source

#: (x (B, ...), target) -> the explanation of a batch.
Explain = Callable[[np.ndarray, Any], Explanation]
Advance = Callable[[int], None]

#: Where in the batch the part begins that this thread explains.
begin: ContextVar[int] = ContextVar("begin", default=0)


@dataclass(frozen=True)
class Job:
    """What to make, in whichever process: all but the model.

    target: None (each top class), "label" (the class that the data say), "all", an
    int, or ints: a map of each for every sample. digest: of the recipe.
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
        """How many shards there will be."""
        return -(-len(self.source) // self.shard_size)

    def samples(self, number: int) -> int:
        """How many samples shard `number` has."""
        begin = number * self.shard_size
        return min(begin + self.shard_size, len(self.source)) - begin


@dataclass(frozen=True)
class ShardResult:
    """One shard that was made, or that could not be written (`error`).

    begun, ended: when, by `time.time`; 0 for a shard that another worker had made.
    """

    number: int
    maps: int
    failed: list[Failure]
    warned: list[str]
    error: str = ""
    begun: float = 0.0
    ended: float = 0.0


#: (numbers of shards, advance) -> each one as it is made.
Make = Callable[[Sequence[int], Advance], Iterator[ShardResult]]


@dataclass
class Outcome:
    """What a run did: the shards that it made, and those that were there already.

    failures: the samples without a map, in the shards of both kinds. listed: the file
    that lists them, where there are any.
    """

    out: Path
    skipped: list[int] = field(default_factory=list)
    made: list[ShardResult] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    listed: Path | None = None

    @property
    def maps(self) -> int:
        """How many maps this run made and wrote."""
        return sum(m.maps for m in self.made if not m.error)

    @property
    def unwritten(self) -> dict[int, str]:
        """The shards that could not be written -> why."""
        return {m.number: m.error for m in self.made if m.error}

    @property
    def warned(self) -> list[str]:
        """What the library warned, batch by batch."""
        return [text for m in self.made for text in m.warned]

    @property
    def rate(self) -> float:
        """Samples per second, from the first one's begin to the last one's end."""
        timed = [m for m in self.made if m.begun]
        if not timed:
            return 0.0
        taken = max(m.ended for m in timed) - min(m.begun for m in timed)
        return sum(m.maps + len(m.failed) for m in timed) / max(taken, 1e-9)


def plain(analyzer: Analyzer, batch_size: int) -> Explain:
    """Explain a batch on the device that TensorFlow chooses."""
    return lambda x, target: analyzer.analyze(x, target, batch_size, False)


def pending(
    job: Job, part: tuple[int, int] = (0, 1), anew: bool = False
) -> tuple[list[int], list[int]]:
    """The shards of this job (i of n) that are to be made, and those that are there.

    anew: what is there does not count.
    """
    mine = range(part[0], job.shards, part[1])
    there = [k for k in mine if not anew and shards.finished(job.out, k, job.digest)]
    done = set(there)
    return [k for k in mine if k not in done], there


def work(
    job: Job,
    explain: Explain,
    numbers: Sequence[int],
    advance: Callable[[int], None] = lambda n: None,
) -> Iterator[ShardResult]:
    """Make shards one after another; pictures are read ahead, across shards."""
    explaining = _Explaining(job, explain, advance)
    rows = job.source.stream(numbers, job.shard_size, 2 * job.batch_size)
    full = 0  # bytes that found no room
    for number, group in groupby(rows, lambda row: row.index // job.shard_size):
        begun = time.time()
        if full and not shards.has_room(job.out, full):
            advance(sum(1 for _ in group))
            error = "there is no room for it, so it was not computed"
            yield ShardResult(number, 0, [], [], error, begun, time.time())
            continue
        shard, error, full = explaining.shard(number, group), "", 0
        try:
            shards.write(job.out, shard, job.digest, job.source.labelled)
        except OSError as failed:
            error, full = str(failed), sum(r.nbytes for r in shard.relevance)
        yield ShardResult(
            number, len(shard.index), shard.failed, shard.warned, error, begun,
            time.time(),
        )  # fmt: skip


@contextmanager
def _heard(names: Sequence[str]) -> Iterator[list[str]]:
    """The warnings of a batch, with its samples by name and not by number."""
    heard: list[str] = []

    def named(found: re.Match) -> str:
        places = [begin.get() + int(i) for i in found[1].split(",")]
        if max(places) >= len(names):  # numbers of something else
            return found[0]
        return "sample(s) " + ", ".join(names[i] for i in places)

    def hear(message: Any, *_: Any, **__: Any) -> None:
        heard.append(re.sub(r"sample\(s\) \[([\d, ]+)\]", named, str(message)))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # It is called in the thread that warns, which knows `begin`.
        warnings.showwarning = hear
        yield heard


class _Explaining:
    """Batches explained one after another; one bad sample does not stop the others."""

    def __init__(self, job: Job, explain: Explain, advance: Callable) -> None:
        self.job, self.explain, self.advance = job, explain, advance
        self.worked = False

    def shard(self, number: int, rows: Iterable[Row]) -> Shard:
        """The maps of a shard, a batch at a time."""
        shard, batch = Shard(number), []
        for row in rows:
            reason = self._reason(row)
            if reason:
                shard.failed.append(Failure(row.index, row.name, reason))
                self.advance(1)
                continue
            batch.append(row)
            if len(batch) == self.job.batch_size:
                self._batch(shard, batch)
                batch = []
        if batch:
            self._batch(shard, batch)
        shard.failed.sort(key=lambda f: f.index)
        return shard

    def _batch(self, shard: Shard, rows: list[Row]) -> None:
        """Explain a batch; where that fails, one by one, to find whom it fails for.

        If it fails for every sample here, and for all with which the data begin, it is
        no sample's fault. (A class that the model has not is always the sample's.)
        """
        try:
            self._add(shard, rows)
        except TfxaiError as error:
            failed = [(rows[0], error)] if len(rows) == 1 else self._alone(shard, rows)
            theirs = self.job.target == "label" and isinstance(error, TargetError)
            if 1 < len(rows) == len(failed) and not theirs and not self._works():
                raise
            shard.failed += [Failure(r.index, r.name, str(e)) for r, e in failed]
        self.worked |= bool(shard.index)
        self.advance(len(rows))

    def _works(self) -> bool:
        """Has a sample a map, of this process or of the first ones of the data?

        The data decide, so that a run that is resumed or shared ends as a whole one.
        """
        job = self.job
        rows = job.source.stream(range(job.shards), job.shard_size, job.batch_size)
        known = (r for r in rows if not self._reason(r))
        if not self.worked:
            first = islice(known, job.batch_size)
            self.worked = any(not self._alone(Shard(0), [row]) for row in first)
        return self.worked

    def _reason(self, row: Row) -> str:
        """Why a sample cannot be explained, before anybody asked; "" if it can."""
        if self.job.target == "label" and row.label < 0 and not row.reason:
            return f"target='label', and its class is not known ({row.label})."
        return row.reason

    def _alone(self, shard: Shard, rows: list[Row]) -> list[tuple[Row, TfxaiError]]:
        failed = []
        for row in rows:
            try:
                self._add(shard, [row])
            except TfxaiError as error:
                failed.append((row, error))
        return failed

    def _add(self, shard: Shard, rows: list[Row]) -> None:
        names = [row.name for row in rows]
        with _heard(names) as caught:
            x = np.stack([row.x for row in rows if row.x is not None])
            e = self.explain(x, self._target(rows))
        shown = names[0] if len(rows) == 1 else f"{names[0]} to {names[-1]}"
        shard.warned += [f"{shown}: {text}" for text in caught]
        kept, scale = shards.packed(e.relevance, np.ndim(e.target), self.job.dtype)
        shard.relevance += list(kept)
        shard.scale += list(scale)
        shard.target += list(e.target)
        shard.score += list(e.score)
        shard.label += [row.label for row in rows]
        shard.name += [row.name for row in rows]
        shard.index += [row.index for row in rows]

    def _target(self, rows: list[Row]) -> Any:
        target = self.job.target
        if target == "label":
            return np.array([row.label for row in rows])
        if isinstance(target, list):
            return np.tile(np.array(target), (len(rows), 1))
        return target
