"""The memory that a pass takes, the warning before it runs out, and its progress."""

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfxai.base.errors import MemoryRunsOutWarning
from tfxai.base.progress import Advance, bar
from tfxai.base.tensors import Tensor
from tfxai.graph.blocks import work_bytes
from tfxai.graph.program import Program
from tfxai.graph.segments import held_bytes

#: Files of the limit and the use of memory of a container, and of the whole machine.
LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
MACHINE = "/proc/meminfo"
#: The folder of this package.
PACKAGE = str(Path(__file__).parents[1])
#: Passes of fewer bytes are not compared with what is available: reading it takes time.
LEAST = 1 << 26


class Ticker:
    """Moves a progress bar from within a compiled function."""

    def __init__(self) -> None:
        self._advance: Advance | None = None

    def __call__(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return the tensors; when they are known, the bar moves by one segment."""
        if not tensors:
            return tensors
        with tf.control_dependencies(tensors):
            moved = tf.numpy_function(self._moved, [], tf.bool)
        with tf.control_dependencies([moved]):
            return [tf.identity(t) for t in tensors]

    def shown(self, title: str, total: int, function: Callable[[], Any]) -> Any:
        """Return `function()`, while a bar of `total` segments is shown."""
        with bar(title, total) as self._advance:
            try:
                return function()
            finally:
                self._advance = None

    def _moved(self) -> bool:
        if self._advance is not None:
            self._advance(1)
        return True


def available() -> int | None:
    """Return the bytes that this process can still take; None where it is not known."""
    found = []
    try:
        lines = Path(MACHINE).read_text().splitlines()
        rows = dict(line.split(":") for line in lines)
        found.append(1024 * int(rows["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        names = ("SC_AVPHYS_PAGES", "SC_PAGE_SIZE")
        if all(n in getattr(os, "sysconf_names", {}) for n in names):
            found.append(os.sysconf(names[0]) * os.sysconf(names[1]))
    for limit, used in LIMITS:
        try:
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no container, or one without a limit
            continue
    return min(found) if found else None


def needed(program: Program, batch: int, targets: int, recompute: bool) -> int:
    """Return about how many bytes a forward and a backward pass take.

    Every output of a step counts: that of attention has a number for each layer, head
    and pair of tokens.

    Args:
        program: The steps.
        batch: How many samples are computed at once.
        targets: How many targets of each sample.
        recompute: Tensors that cross no cut are computed again.
    """
    kept, largest = program.sizes
    if not recompute:
        return batch * (kept + 2 * targets * largest)
    whole = largest
    program = program.blocked  # the segments of a large model take seconds
    kept, largest = program.sizes
    kept = held_bytes(program.segments, program.steps) + 2 * work_bytes(program.steps)
    # The model itself is run once for each length, and its outputs are compared.
    return max(batch * (kept + 2 * targets * largest), 2 * (whole + largest))


def warn_of_memory(
    method: str, program: Program, batch: int, targets: int, recompute: bool
) -> None:
    """Warn of a pass that takes more memory than there is."""
    take = needed(program, batch, targets, recompute)
    free = available() if take >= LEAST else None
    if free is None or take <= free:
        return
    ways = ["shorter inputs"]
    if batch * targets > 1:
        ways.insert(0, "batch_size=1")
    if not recompute and needed(program, batch, targets, True) < 0.7 * take:
        ways.insert(0, "recompute=True")
    warnings.warn(
        f"{method}: {batch} sample(s) of {targets} target(s) take about "
        f"{take / 2**30:.3g} GiB, and {free / 2**30:.3g} GiB are available. Write: "
        f"{ways[0]}" + "".join(f", or {w}" for w in ways[1:]),
        MemoryRunsOutWarning,
        stacklevel=_outside(),
    )


def _outside() -> int:
    """The `stacklevel`, for the caller of this, of the user's line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


def passing(
    method: str,
    program: Program | None,
    run: Callable[..., Any],
    tick: Ticker | None,
    bar_of: bool = True,
) -> Callable[..., Any]:
    """Return a compiled function that warns of memory, and shows a bar.

    Args:
        method: The name of the method.
        program: The steps, or None where they were not read.
        run: (batch, target, max_batch) -> results.
        tick: What moves the bar, of a pass that recomputes; else None.
        bar_of: One call is one pass, whose segments the bar shows.
    """

    def call(batch: list[Any], target: Any, max_batch: int) -> Any:
        rows, targets = target.shape
        if program is not None and rows and targets:  # unknown in another graph
            warn_of_memory(method, program, rows, targets, tick is not None)
        if program is None or tick is None or not bar_of:
            return run(batch, target, max_batch)
        count = len(program.blocked.segments)
        return tick.shown(method, count, lambda: run(batch, target, max_batch))

    return call
