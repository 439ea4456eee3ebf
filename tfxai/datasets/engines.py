"""Who makes the shards: this process, the devices of a strategy, or a Ray cluster.

All make the same files.
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
from tfxai.datasets.model_transport import packed, shipped, unpacked
from tfxai.datasets.worker import Explain, Job, Make, begin, plain, work

ENGINES = ("serial", "ray")


@dataclass
class Engine:
    """What was asked for, checked; see `run.execute`. Raises OptionError."""

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
        if self.strategy is not None:
            raise OptionError(
                f"engine='ray' with strategy={self.strategy!r}.",
                "one of the two: workers of Ray, or the devices of this machine",
            )
        if self.workers is not None:
            whole_number("workers", self.workers, 1)
        cluster.check_ray()

    def started(
        self, job: Job, wrapped: ModelWrapper, analyzer: Analyzer, path: Path | None
    ) -> AbstractContextManager[Make]:
        """What starts the engine, and gives what makes the shards of a job.

        analyzer: of `wrapped`. path: where the model can be read that is not Keras's.
        """
        if self.name == "ray":
            model = shipped(wrapped, path)
            return cluster.on_ray(job, model, self.workers, self.address, self.gpus)
        explain = plain(analyzer, job.batch_size)
        if self.strategy is not None:
            explain = mirrored(
                self.strategy, wrapped, job.method, job.options, job.batch_size
            )
        return nullcontext(partial(work, job, explain))


def check_strategy(strategy: Any) -> Any:
    """A `tf.distribute.MirroredStrategy`; "mirrored" is one over this machine.

    It takes all GPUs, or where there is none all logical CPUs. Raises OptionError.
    """
    import tensorflow as tf

    if isinstance(strategy, tf.distribute.MirroredStrategy):
        return strategy
    if not isinstance(strategy, str) or strategy != "mirrored":
        raise OptionError(
            f"strategy={strategy!r}.",
            "'mirrored', or a tf.distribute.MirroredStrategy; several machines are for "
            "engine='ray'",
            "strategy=tf.distribute.MirroredStrategy()",
        )
    listed = tf.config.list_logical_devices
    devices = [d.name for d in listed("GPU") or listed("CPU")]
    if len(devices) < 2:
        raise OptionError(
            f"strategy='mirrored', and TensorFlow sees one device, {devices[0]!r}.",
            "two GPUs or more, to split each batch over",
            "no strategy: one device needs none",
        )
    return tf.distribute.MirroredStrategy(devices)


def mirrored(
    strategy: Any, wrapped: ModelWrapper, method: str, options: Mapping, batch_size: int
) -> Explain:
    """Split each batch over the devices of a `tf.distribute.MirroredStrategy`.

    Every device gets a copy of the model and an analyzer of its own; the user's model
    is not touched. Raises ModelError.
    """
    import tensorflow as tf

    data = packed(wrapped.model)
    analyzers = {}
    for device in strategy.extended.worker_devices:
        with tf.device(device):
            model = wrap(unpacked(data), wrapped.preprocess, wrapped.output)
            analyzers[device] = create_analyzer(method, model, **options)

    def one(device: str, x: np.ndarray, target: Any, place: int) -> Explanation:
        begin.set(place)
        with tf.device(device):
            return analyzers[device].analyze(x, target, batch_size, False)

    def explain(x: np.ndarray, target: Any) -> Explanation:
        used = min(len(x), len(analyzers))
        parts = np.array_split(x, used)
        several = isinstance(target, np.ndarray)
        targets = np.array_split(target, used) if several else [target] * used
        with ThreadPoolExecutor(used) as pool:
            places = np.cumsum([0] + [len(p) for p in parts[:-1]]).tolist()
            done = list(pool.map(one, list(analyzers)[:used], parts, targets, places))
        joined: dict = {
            name: np.concatenate([getattr(e, name) for e in done])
            for name in ("relevance", "target", "score")
        }
        return replace(done[0], inputs=x, extra={}, **joined)

    return explain
