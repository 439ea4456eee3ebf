"""The work of `tfxai run`: a data set in, shards of relevance out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tfxai.base.errors import OptionError
from tfxai.cli.terminal import print_line, print_message
from tfxai.core.model import ModelWrapper
from tfxai.datasets import run as dataset
from tfxai.datasets.tfrecord import holds_images
from tfxai.datasets.worker import RunResult
from tfxai.io import networks

SHOWN = 10  # failures and warnings that are printed; a file lists all failures


#: Arguments that have the same name in `dataset.execute`.
PASSED = (
    *(
        "first_label",
        "trust_times",
        "seed",
        "dtype",
        "shard_size",
        "batch_size",
        "shard",
    ),
    *("overwrite", "engine", "workers", "address", "gpus", "strategy"),
)


def run_data_set(
    given: Mapping[str, Any],
    method: str,
    wrapped: ModelWrapper,
    options: Mapping[str, Any],
) -> None:
    """Explain a data set and print the result; exit with 1 if a sample failed.

    Args:
        given: The arguments of the command.
        method: The name of the method.
        wrapped: The model with its preprocessing.
        options: The options of the method.
    """
    labels = [] if given["labels"] is None else networks.labels(given["labels"])
    data = given["paths"][0] if len(given["paths"]) == 1 else given["paths"]
    path = Path(given["model_name"])
    target = _target(given["targets"], labels)
    named = labels and target not in (None, "label", "all")
    if named and not holds_images(given["paths"]):
        labels = []  # they were only needed to find the target
    outcome = dataset.execute(
        wrapped, data, method, given["out"], target,
        labels=labels, size=_size(given["size"]),
        **{name: given[name] for name in PASSED}, **options,
        path=path if path.exists() else None,
    )  # fmt: skip
    _print_outcome(outcome)
    dataset.check_written(outcome)
    if outcome.failures:
        click.get_current_context().exit(1)


def is_npz(given: Mapping[str, Any]) -> bool:
    """Return whether the data are an `.npz`; the range of its numbers is not known."""
    return [Path(p).suffix.lower() for p in given["paths"]] == [".npz"]


def _target(texts: tuple[str, ...], labels: list[str]) -> Any:
    """Return the target: "label", "all", None, a class index or a list of them."""
    if len(texts) == 1 and texts[0] in ("label", "all"):
        return texts[0]
    found = [networks.find_label(text, labels) for text in texts]
    several = list(dict.fromkeys(found))
    return None if not several else several[0] if len(several) == 1 else several


def _size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of "HxW"."""
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


def _print_outcome(outcome: RunResult) -> None:
    """Print the numbers of written, existing and failed results, and the warnings."""
    if outcome.skipped:
        print_message(f"{len(outcome.skipped)} shard(s) existed already")
    if outcome.damaged:
        numbers = ", ".join(map(str, outcome.damaged[:SHOWN]))
        text = f"{len(outcome.damaged)} damaged shard(s) computed again: {numbers}"
        print_message(text, "yellow")
    for text in outcome.warned[:SHOWN]:
        print_message(text, "yellow")
    if len(outcome.warned) > SHOWN:
        rest = len(outcome.warned) - SHOWN
        more = f"tfxai.load({str(outcome.out)!r}).warnings"
        print_message(f"... and {rest} more warnings: {more}")
    for failure in outcome.failures[:SHOWN]:
        print_message(f"{failure.name}: {failure.reason}", "red")
    if failures := outcome.failures:
        listed = f" (the first {SHOWN} above)" if len(failures) > SHOWN else ""
        path = outcome.failures_path
        print_message(f"{len(failures)} sample(s) failed{listed}: {path}")
    rate = f", {outcome.rate:.3g} samples/s" if outcome.explained else ""
    kept = outcome.kept
    before = (
        f"; {kept} kept from before, {kept + outcome.explained} in all" if kept else ""
    )
    print_line(f"{outcome.explained} explanation(s) in {outcome.out}{rate}{before}")
