"""Shards made by the workers of a Ray cluster.

The unit of work is a shard, so that whatever is killed costs no more than the shards
that were being made.
"""

import json
import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from tfxai.base import errors
from tfxai.base.errors import OptionError, TfxaiError
from tfxai.core.registry import create_analyzer
from tfxai.datasets import shards
from tfxai.datasets.maps import failed_in, words
from tfxai.datasets.model_transport import Shipped
from tfxai.datasets.shards import Failure
from tfxai.datasets.worker import Advance, Job, Make, ShardResult, plain, work


class Worker:
    """One model in a Ray actor; a batch is the numbers of shards, to be made here."""

    def __init__(self, kept: Any, threads: int | None) -> None:
        """kept: where Ray keeps the job and the `Shipped` model, once for all."""
        import ray
        import tensorflow as tf

        if threads is not None:  # Ray counts cores, and TensorFlow would take them all
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.job, model = ray.get(kept)
        self.wrong: TfxaiError | None = None
        try:
            wrapped = model.wrapped()
            analyzer = create_analyzer(self.job.method, wrapped, **self.job.options)
            self.explain = plain(analyzer, self.job.batch_size)
        except TfxaiError as error:  # told by the first batch: Ray would hide it
            self.wrong = error

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make the shards that are not there: a node that died may have made some."""
        try:
            if self.wrong is not None:
                raise self.wrong
            made = [self._shard(number) for number in batch["shard"].tolist()]
        except TfxaiError as error:
            told = {"wrong": type(error).__name__, "why": str(error)}
            return {"made": np.array([json.dumps(told)])}
        return {"made": np.array([json.dumps(asdict(m)) for m in made])}

    def _shard(self, number: int) -> ShardResult:
        if shards.finished(self.job.out, number, self.job.digest):
            return _found(self.job, number)
        return next(work(self.job, self.explain, [number]))


@contextmanager
def on_ray(
    job: Job,
    model: Shipped,
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0,
) -> Iterator[Make]:
    """Connect to a Ray cluster, to make shards there by Ray Data, a model per worker.

    workers: how many; None: one for each core of the cluster (or each `gpus`). address:
    of the cluster; None is RAY_ADDRESS, a cluster that runs on this machine, or a new
    one. gpus: of each worker. Of a worker that dies, others make what is left.
    Raises OptionError where there is no cluster, or no room.
    """
    ray = _ray()
    with _connected(ray, address):
        count = workers or _places(ray, gpus)
        kept = ray.put((job, model))  # held until the last worker is done

        def make(numbers: Sequence[int], advance: Advance) -> Iterator[ShardResult]:
            rows = ray.data.from_items(
                [{"shard": k} for k in numbers], override_num_blocks=len(numbers)
            ).map_batches(
                Worker,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(count, len(numbers))),
                fn_constructor_args=(kept, None if gpus else 1),
                **({"num_gpus": gpus} if gpus else {"num_cpus": 1}),
            )
            for row in rows.iter_rows():
                made = returned(str(row["made"]))
                advance(made.maps + len(made.failed))
                yield made

        yield make


def returned(text: str) -> ShardResult:
    """What a worker says of a shard. Raises the TfxaiError that stopped it."""
    made = json.loads(text)
    if "wrong" in made:
        raise getattr(errors, made["wrong"])(made["why"])
    failed = [Failure(**f) for f in made.pop("failed")]
    return ShardResult(failed=failed, **made)


def check_ray() -> None:
    """Raises OptionError where Ray is not installed."""
    _ray()


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError(
            f"engine='ray', and Ray cannot be imported ({error}).",
            "Ray with its data library",
            'pip install "tfxai[ray]"',
        ) from error
    return ray


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """A connection to Ray, as quiet as it can be; one that was there is left alone."""
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    context, told = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    bars, level = context.enable_progress_bars, told.level
    context.enable_progress_bars = False
    told.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        told.setLevel(level)
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    host, _, port = (address or "").rpartition(":")
    try:
        if port.isdigit() and "//" not in host:  # Ray would ask again for minutes
            socket.create_connection((host.strip("[]"), int(port)), 10).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # by the address: ConnectionError, ValueError, ...
        raise OptionError(
            f"engine='ray', address={address!r}: {type(error).__name__}: {error}",
            "the address of a Ray cluster that runs, or none for one of its own",
            "address='10.0.0.1:6379'",
        ) from error


def _places(ray: Any, gpus: float) -> int:
    """How many workers there is room for."""
    have = ray.cluster_resources()
    max_batch = have.get("GPU", 0) / gpus if gpus else have.get("CPU", 0)
    if max_batch < 1:
        raise OptionError(
            f"The Ray cluster has {have.get('CPU', 0):g} cores and "
            f"{have.get('GPU', 0):g} GPUs: no room for a worker.",
            f"{gpus:g} GPU(s) for each" if gpus else "one core for each",
        )
    return int(max_batch)


def _found(job: Job, number: int) -> ShardResult:
    """A shard that is there already."""

    def read(file: Any) -> ShardResult:
        count, warned = int(file.attrs["count"]), words(file["warnings"])
        return ShardResult(number, count, failed_in(file), warned)

    return shards.opened(shards.path_of(job.out, number), read)
