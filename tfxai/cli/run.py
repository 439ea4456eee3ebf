"""`tfxai run`: a data set in, shards of maps out; what is said on the way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tfxai.base.errors import OptionError
from tfxai.cli.terminal import say
from tfxai.core.model import ModelWrapper
from tfxai.datasets import run as dataset
from tfxai.datasets.tfrecord import holds_images
from tfxai.datasets.worker import RunResult
from tfxai.io import networks

SHOWN = 10  # failures and warnings that are listed; a file has all failures


def run(
    given: Mapping[str, Any],
    method: str,
    wrapped: ModelWrapper,
    options: Mapping[str, Any],
) -> None:
    """Run as the command line says; the exit code is 1 where something failed."""
    labels = networks.labels(given["labels"]) if given["labels"] else []
    data = given["paths"][0] if len(given["paths"]) == 1 else given["paths"]
    path = Path(given["model_name"])
    target = _target(given["targets"], labels)
    named = labels and target not in (None, "label", "all")
    if named and not holds_images(given["paths"]):
        labels = []  # they named the target, and there are no folders to name
    outcome = dataset.execute(
        wrapped, data, method, given["out"], target,
        labels=labels, size=_size(given["size"]),
        **{name: given[name] for name in PASSED}, **options,
        path=path if path.exists() else None,
    )  # fmt: skip
    _show(outcome)
    dataset.check_written(outcome)
    if outcome.failures:
        click.get_current_context().exit(1)


def is_npz(given: Mapping[str, Any]) -> bool:
    """Are the data of the command an `.npz`, whose numbers can mean anything?"""
    return [Path(p).suffix.lower() for p in given["paths"]] == [".npz"]


#: What `dataset.execute` takes under the name that it has on the command line.
PASSED = (
    *("first_label", "seed", "dtype", "shard_size", "batch_size", "shard"),
    *("overwrite", "engine", "workers", "address", "gpus", "strategy"),
)


def _target(texts: tuple[str, ...], labels: list[str]) -> Any:
    if len(texts) == 1 and texts[0] in ("label", "all"):
        return texts[0]
    found = [networks.find_label(text, labels) for text in texts]
    several = list(dict.fromkeys(found))
    return None if not several else several[0] if len(several) == 1 else several


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        height, width = (int(part) for part in text.lower().split("x"))
        if min(height, width) < 1:
            raise ValueError
    except ValueError as error:
        raise OptionError(
            f"--size {text}", "height x width in pixels", "--size 224x224"
        ) from error
    return height, width


def _show(outcome: RunResult) -> None:
    """What was made, what was there, and what failed."""
    if outcome.skipped:
        say(f"{len(outcome.skipped)} shard(s) were there already")
    for text in outcome.warned[:SHOWN]:
        say(text, "yellow")
    if len(outcome.warned) > SHOWN:
        say(f"... and {len(outcome.warned) - SHOWN} warnings more, in maps.warnings")
    for failure in outcome.failures[:SHOWN]:
        say(f"{failure.name}: {failure.reason}", "red")
    if outcome.failures:
        more = f", the first {SHOWN} above" if len(outcome.failures) > SHOWN else ""
        path = outcome.failures_path
        say(f"{len(outcome.failures)} sample(s) have no map{more}: {path}")
    rate = f", {outcome.rate:.3g} samples/s" if outcome.explained else ""
    click.echo(f"{outcome.explained} maps in {outcome.out}{rate}")
