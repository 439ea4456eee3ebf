"""Progress bars for all long work: one display, a line for each loop that is open."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Advance(Protocol):
    """Told that `n` more are done; `note` stands beside the title from then on."""

    def __call__(self, n: int, note: str = "") -> None: ...


#: The display that is live, False where bars were refused, None where none was asked.
_LIVE: ContextVar[Any] = ContextVar("live", default=None)


@contextmanager
def bar(
    title: str, total: int, show: bool | None = None, long: bool = True
) -> Iterator[Advance]:
    """Give `advance(n, note)`. `show=None` draws on a terminal, for `long` work.

    Inside another bar it is a second line of the same display, while it lasts; inside
    one that was refused (`show=False`) there is none.
    """
    live = _LIVE.get()
    wanted = long and (bool(live) or sys.stderr.isatty()) if show is None else show
    if live is False or not wanted:
        with _as_live(False if show is False else live):
            yield lambda n, note="": None
    elif live:
        task = live.add_task(title, total=total)
        try:
            yield _advancing(live, task, title)
        finally:
            live.remove_task(task)
    else:
        with _display() as display, _as_live(display):
            task = display.add_task(title, total=total)
            yield _advancing(display, task, title)


def _advancing(display: Any, task: Any, title: str) -> Advance:
    def advance(n: int, note: str = "") -> None:
        text = f"{title}, {note}" if note else title
        display.update(task, advance=n, description=text)

    return advance


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
