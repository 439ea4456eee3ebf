"""Shards computed by the workers of a Ray cluster.

A task is one shard, so that a killed worker loses only the shard that it computes.
"""

import json
import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import numpy as np

from tfxai.base import errors
from tfxai.base.errors import BrokenFileError, OptionError, TfxaiError
from tfxai.core.registry import create_analyzer
from tfxai.datasets import shard_reader, shards
from tfxai.datasets.model_transport import TransportedModel
from tfxai.datasets.shard_reader import read_failures, read_texts
from tfxai.datasets.shards import Failure
from tfxai.datasets.worker import (
    Advance,
    ComputeShards,
    RunJob,
    ShardResult,
    explain_shards,
    explain_with,
)


class RayWorker:
    """A Ray actor with one model; a batch holds the numbers of shards to compute.

    Args:
        reference: Ray's reference to the job and the model, shared by all workers.
        threads: The number of threads of TensorFlow, None for its default.
    """

    def __init__(self, reference: Any, threads: int | None) -> None:
        import ray
        import tensorflow as tf

        if threads is not None:  # TensorFlow ignores the cores that Ray assigns
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.job, model = ray.get(reference)
        self.error: TfxaiError | None = None
        try:
            wrapped = model.wrapped()
            analyzer = create_analyzer(self.job.method, wrapped, **self.job.options)
            self.explain = explain_with(analyzer, self.job.batch_size)
        except TfxaiError as error:  # the first batch reports it: Ray would hide it
            self.error = error

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the missing shards; a node that died may have written some."""
        try:
            if self.error is not None:
                raise self.error
            results = [self._shard(number) for number in batch["shard"].tolist()]
        except TfxaiError as error:
            message = {"error_class": type(error).__name__, "text": str(error)}
            return {"result": np.array([json.dumps(message)])}
        return {"result": np.array([json.dumps(asdict(r)) for r in results])}

    def _shard(self, number: int) -> ShardResult:
        """Compute a shard, or read the result of an existing one."""
        with suppress(BrokenFileError):  # it is computed again
            if shard_reader.is_finished(self.job.out, self.job.expected(number)):
                return _existing_result(self.job, number)
        return next(explain_shards(self.job, self.explain, [number]))


@contextmanager
def on_ray(
    job: RunJob,
    model: TransportedModel,
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0,
) -> Iterator[ComputeShards]:
    """Connect to a Ray cluster and give a `ComputeShards` with one model per worker.

    If a worker dies, the others compute its shards.

    Args:
        job: The run.
        model: The model.
        workers: The number of workers; None is one per core (or per `gpus` GPUs).
        address: The address of the cluster; None is RAY_ADDRESS, a cluster that runs on
            this machine, or a new one.
        gpus: The number of GPUs of each worker.

    Raises:
        OptionError: No cluster is found, or it has no free core or GPU.
    """
    ray = _import_ray()
    with _connected(ray, address):
        count = workers or _count_workers(ray, gpus)
        reference = ray.put((job, model))  # kept until the last worker is done

        def compute(numbers: Sequence[int], advance: Advance) -> Iterator[ShardResult]:
            rows = ray.data.from_items(
                [{"shard": k} for k in numbers], override_num_blocks=len(numbers)
            ).map_batches(
                RayWorker,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(count, len(numbers))),
                fn_constructor_args=(reference, None if gpus else 1),
                **({"num_gpus": gpus} if gpus else {"num_cpus": 1}),
            )
            for row in rows.iter_rows():
                result = parse_result(str(row["result"]))
                advance(result.explained + len(result.failed))
                yield result

        yield compute


def parse_result(text: str) -> ShardResult:
    """Return the result that a worker sent.

    Args:
        text: The JSON text of `RayWorker`.

    Raises:
        TfxaiError: The error that stopped the worker, of its own class.
    """
    values = json.loads(text)
    if "error_class" in values:
        raise getattr(errors, values["error_class"])(values["text"])
    failed = [Failure(**f) for f in values.pop("failed")]
    return ShardResult(failed=failed, **values)


def check_ray() -> None:
    """Raise OptionError if Ray is not installed."""
    _import_ray()


def _import_ray() -> Any:
    """Return the module `ray`, with `ray.data` imported."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError(
            f"engine='ray', and Ray cannot be imported ({error}).",
            "Ray with its data library",
            'python -m pip install "ray[data]"',
        ) from error
    return ray


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to Ray with little output; an existing connection stays open."""
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    bars, level = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        logger.setLevel(level)
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    """Connect to Ray, or raise OptionError."""
    host, _, port = (address or "").rpartition(":")
    try:
        if port.isdigit() and "//" not in host:  # Ray would retry for minutes
            socket.create_connection((host.strip("[]"), int(port)), 10).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # depends on the address: ConnectionError, ValueError
        raise OptionError(
            f"engine='ray', address={address!r}: {type(error).__name__}: {error}",
            "the address of a running Ray cluster, or no address to start one",
            "address='10.0.0.1:6379'",
        ) from error


def _count_workers(ray: Any, gpus: float) -> int:
    """Return the number of workers that the cluster can run."""
    have = ray.cluster_resources()
    count = have.get("GPU", 0) / gpus if gpus else have.get("CPU", 0)
    if count < 1:
        raise OptionError(
            f"The Ray cluster has {have.get('CPU', 0):g} cores and "
            f"{have.get('GPU', 0):g} GPUs: too few for one worker.",
            f"{gpus:g} GPU(s) for each worker" if gpus else "one core for each worker",
        )
    return int(count)


def _existing_result(job: RunJob, number: int) -> ShardResult:
    """Return the result of a shard that exists."""

    def read(file: Any) -> ShardResult:
        count, texts = int(file.attrs["count"]), read_texts(file["warnings"])
        return ShardResult(number, count, read_failures(file), texts)

    return shard_reader.open_shard(shards.path_of(job.out, number), read)
