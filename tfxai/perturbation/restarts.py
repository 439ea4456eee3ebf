"""The best of several random starts for each sample, and what is reported of it."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfxai.base.progress import Advance
from tfxai.base.tensors import Tensor
from tfxai.perturbation.descent import Descent, DescentResult
from tfxai.perturbation.generator import Generator
from tfxai.perturbation.postprocess import center_of_mass

Array = np.ndarray[Any, Any]

#: Number of classes in the table of outputs before and after.
TOP = 5
#: A channel is lost when its standard deviation has fallen below this share.
FLAT = 0.05


class CompiledObjective(Protocol):
    """The part of `Objective` that is used here."""

    generator: Generator
    evaluate: Callable[..., Any]
    resolve_target: Callable[..., Any]


def best_of_starts(
    objective: CompiledObjective, descent: Descent, x: Array, target: Array,
    names: Array, restarts: int, seed: int, advance: Advance,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one record per sample of x (B, H, W, C), of its best start.

    Args:
        objective: The compiled functions of model and generator.
        descent: The loop.
        x: The images.
        target: Class indices (B, 1), -1 for the top class.
        names: Numbers (B,) of the samples, for errors.
        restarts: Largest number of further starts for samples without success.
        seed: Seed of the starts.
        advance: Callback of the progress bar.
    """
    began = time.perf_counter()
    data = [tf.constant(v) for v in (x, target, *objective.generator.constants(x))]
    # The top class of x, not of the changed x.
    data[1] = objective.resolve_target(*data[:2])
    records: list[Any] = [None] * len(x)
    remaining = np.arange(len(x))
    for attempt in range(1 + restarts):
        rng = np.random.default_rng([seed, attempt])
        one = objective.generator.start(rng, attempt)
        start = [np.stack([p] * len(remaining)) for p in one]
        part = [tf.gather(v, remaining) for v in data]
        found = _descend(descent, start, part, names[remaining], advance)
        for record in _records(objective, found, part, remaining):
            old = records[record["sample"]]
            if old is None or _rank(record) < _rank(old):
                records[record["sample"]] = record
        minimises = objective.generator.sign > 0
        remaining = np.array([i for i in remaining if minimises and _stuck(records[i])])
        if not len(remaining):
            break
    for record in records:
        record["seconds"] = np.float32((time.perf_counter() - began) / len(x))
        del record["sample"]
    return records


def _descend(
    descent: Descent, start: list[Array], data: list[Tensor], names: Array,
    advance: Advance,
) -> DescentResult:  # fmt: skip
    """Run the loop and update the progress bar."""
    done = 0

    def on_progress(iterations: int, score: float) -> None:
        nonlocal done
        advance((iterations - done) * len(start[0]), f"score {score:.3f}")
        done = iterations

    return descent(start, data, on_progress, names)


def _records(
    objective: CompiledObjective, found: DescentResult, data: list[Tensor],
    samples: Array,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one record per sample, with the values for `Explanation.extra`."""
    parameters = [tf.constant(p) for p in found.parameters]
    relevance, changed, logit, probability, before, after, *outputs = (
        v.numpy() for v in objective.evaluate(parameters, data)
    )
    x, target = data[0].numpy(), data[1].numpy()
    records = []
    for i, sample in enumerate(samples):
        record = {
            "sample": sample,
            "relevance": relevance[i],
            "perturbed": changed[i],
            "score": logit[i, 0],
            "target": target[i, 0],
            "score_before": before[i, 0],
            "score_after": after[i, 0],
            "probability": probability[i, 0],
            "loss": found.loss[i],
            "loss_history": found.history[0, i],
            "score_history": found.history[1, i],
            "iterations_taken": found.iterations[i],
            "best_iteration": found.best[i],
            "l1": np.abs(x[i] - changed[i]).mean(),
            "channels_lost": _count_flat_channels(x[i], changed[i]),
        }
        if outputs[0].ndim == 2:
            top = np.argsort(-outputs[0][i], kind="stable")[:TOP]
            record["top_classes"] = top
            record["top_before"], record["top_after"] = (y[i, top] for y in outputs)
        records.append(record)
    return records


def stack_records(
    records: list[dict[str, Any]],
    x: Array,
    heatmap: Callable[[Array], Array] | None,
) -> dict[str, Array]:
    """Return the records as arrays (B, ...), with heatmap and centre of mass."""
    for image, record in zip(x, records, strict=True):
        shown = record["relevance"].sum(-1)
        if heatmap is not None:
            shown = np.float32(heatmap(image - record["perturbed"]))
            record["heatmap"] = shown
        record["center_of_mass"] = center_of_mass(shown)
    return {k: np.stack([r[k] for r in records]) for k in records[0]}


def _rank(record: dict[str, Any]) -> tuple[bool, float]:
    """Return the key that compares starts of one sample; the smallest is the best."""
    return _stuck(record), float(record["loss"])


def _stuck(record: dict[str, Any]) -> bool:
    """Return True if the score fell by less than 90 %, or a channel became flat."""
    before = float(record["score_before"])
    kept = float(record["score_after"]) > before - 0.9 * abs(before)
    return kept or bool(record["channels_lost"] > 0)


def _count_flat_channels(x: Array, changed: Array) -> int:
    """Return how many channels of x (H, W, C) became flat.

    After a ReLU that is zero everywhere, no gradient restores a channel.
    """
    before, after = x.std((0, 1)), changed.std((0, 1))
    return int((after < FLAT * before).sum())
