"""Engines that compute the shards: this process, several devices, or a Ray cluster.

All engines write the same files.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import one_of, whole_number
from tfxai.core.analyzer import Analyzer
from tfxai.core.explanation import Explanation
from tfxai.core.model import ModelWrapper, wrap
from tfxai.core.registry import create_analyzer
from tfxai.datasets import cluster
from tfxai.datasets.model_transport import (
    model_from_bytes,
    model_to_bytes,
    to_transported,
)
from tfxai.datasets.worker import (
    ComputeShards,
    Explain,
    RunJob,
    batch_offset,
    explain_shards,
    explain_with,
)

ENGINES = ("serial", "ray")


@dataclass
class Engine:
    """The checked engine options of `run.execute`.

    Args:
        name: The engine, "serial" or "ray".
        strategy: A `tf.distribute.MirroredStrategy`, "mirrored", or None.
        workers: The number of Ray workers, or None.
        address: The address of the Ray cluster, or None.
        gpus: The number of GPUs of each Ray worker.

    Raises:
        OptionError: The options are wrong or do not fit together.
    """

    name: str = "serial"
    strategy: Any = None
    workers: int | None = None
    address: str | None = None
    gpus: float = 0

    def __post_init__(self) -> None:
        one_of("engine", self.name, ENGINES)
        if self.name != "ray" and (self.workers or self.address or self.gpus):
            raise OptionError(
                f"workers={self.workers!r}, address={self.address!r}, "
                f"gpus={self.gpus!r} without Ray.",
                "engine='ray'",
            )
        if self.name == "ray":
            self._check_ray()
        elif self.strategy is not None:
            self.strategy = check_strategy(self.strategy)

    def _check_ray(self) -> None:
        """Raise OptionError for options that Ray does not accept."""
        if self.strategy is not None:
            raise OptionError(
                f"engine='ray' with strategy={self.strategy!r}.",
                "one of the two: workers of Ray, or the devices of this machine",
            )
        if self.workers is not None:
            whole_number("workers", self.workers, 1)
        cluster.check_ray()

    def start(
        self,
        job: RunJob,
        wrapped: ModelWrapper,
        analyzer: Analyzer,
        path: Path | None,
    ) -> AbstractContextManager[ComputeShards]:
        """Return a context that starts the engine and gives a `ComputeShards`.

        Args:
            job: The run.
            wrapped: The model.
            analyzer: The analyzer of `wrapped`.
            path: The file of a model that is not a Keras model.
        """
        if self.name == "ray":
            model = to_transported(wrapped, path)
            return cluster.on_ray(job, model, self.workers, self.address, self.gpus)
        explain = explain_with(analyzer, job.batch_size)
        if self.strategy is not None:
            explain = explain_mirrored(
                self.strategy, wrapped, job.method, job.options, job.batch_size
            )
        return nullcontext(partial(explain_shards, job, explain))


def check_strategy(strategy: Any) -> Any:
    """Return a `tf.distribute.MirroredStrategy`.

    Args:
        strategy: A MirroredStrategy, or "mirrored" for one over all GPUs of this
            machine (over all logical CPUs without a GPU).

    Raises:
        OptionError: The strategy is another one, or there is only one device.
    """
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.MirroredStrategy):
        return strategy
    if not isinstance(strategy, str) or strategy != "mirrored":
        raise OptionError(
            f"strategy={strategy!r}.",
            "'mirrored', or a tf.distribute.MirroredStrategy; engine='ray' uses "
            "several machines",
            "strategy=tf.distribute.MirroredStrategy()",
        )
    listed = tf.config.list_logical_devices
    devices = [d.name for d in listed("GPU") or listed("CPU")]
    if len(devices) < 2:
        raise OptionError(
            f"strategy='mirrored', and TensorFlow finds one device, {devices[0]!r}.",
            "two GPUs or more, to split each batch over them",
            "no strategy: one device needs none",
        )
    return tf.distribute.MirroredStrategy(devices)


def explain_mirrored(
    strategy: Any,
    wrapped: ModelWrapper,
    method: str,
    options: Mapping[str, Any],
    batch_size: int,
) -> Explain:
    """Return a function that splits each batch over the devices of a strategy.

    Every device gets its own copy of the model and its own analyzer. The user's model
    stays unchanged.

    Args:
        strategy: A `tf.distribute.MirroredStrategy`.
        wrapped: The model.
        method: The name of the method.
        options: The options of the method.
        batch_size: The number of samples that a device explains together.

    Raises:
        ModelError: The model cannot be copied.
    """
    import tensorflow as tf

    data = model_to_bytes(wrapped.model)
    analyzers: dict[str, Analyzer] = {}
    for device in strategy.extended.worker_devices:
        with tf.device(device):
            model = wrap(model_from_bytes(data), wrapped.preprocess, wrapped.output)
            analyzers[device] = create_analyzer(method, model, **options)

    def explain_part(
        device: str, x: np.ndarray, target: Any, offset: int
    ) -> Explanation:
        batch_offset.set(offset)
        with tf.device(device):
            return analyzers[device].analyze(x, target, batch_size, False)

    def explain(x: np.ndarray, target: Any) -> Explanation:
        used = min(len(x), len(analyzers))
        parts = np.array_split(x, used)
        several = isinstance(target, np.ndarray)
        targets = np.array_split(target, used) if several else [target] * used
        devices = list(analyzers)[:used]
        offsets = np.cumsum([0] + [len(p) for p in parts[:-1]]).tolist()
        with ThreadPoolExecutor(used) as pool:
            done = list(pool.map(explain_part, devices, parts, targets, offsets))
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(e, name) for e in done])
            for name in ("relevance", "target", "score")
        }
        return replace(done[0], inputs=x, extra={}, **joined)

    return explain
