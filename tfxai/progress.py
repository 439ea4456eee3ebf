"""Progress bars for all long work: one display, a line for each loop that is open."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

#: The display that is live, False where bars were refused, None where none was asked.
_LIVE: ContextVar[Any] = ContextVar("live", default=None)


@contextmanager
def bar(
    title: str, total: int, show: bool | None = None, long: bool = True
) -> Iterator[Callable[[int], None]]:
    """Give `advance(n)`. `show=None` draws on a terminal, for work that is `long`.

    Inside another bar it is a second line of the same display, while it lasts; inside
    one that was refused (`show=False`) there is none.
    """
    live = _LIVE.get()
    wanted = long and (bool(live) or sys.stderr.isatty()) if show is None else show
    if live is False or not wanted:
        with _as_live(False if show is False else live):
            yield lambda n: None
    elif live:
        task = live.add_task(title, total=total)
        try:
            yield lambda n: live.advance(task, n)
        finally:
            live.remove_task(task)
    else:
        with _display() as display, _as_live(display):
            task = display.add_task(title, total=total)
            yield lambda n: display.advance(task, n)


@contextmanager
def _as_live(display: Any) -> Iterator[None]:
    before = _LIVE.set(display)
    try:
        yield
    finally:
        _LIVE.reset(before)


def _display() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))
