"""Progress bars: one display with one line for each running loop."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Advance(Protocol):
    """Advances a bar by `n` items and shows `note` beside its title."""

    def __call__(self, n: int, note: str = "") -> None: ...


#: The active display; False inside a bar with `show=False`; None outside all bars.
_LIVE: ContextVar[Any] = ContextVar("live", default=None)


@contextmanager
def bar(
    title: str, total: int, show: bool | None = None, long: bool = True
) -> Iterator[Advance]:
    """Yield `advance(n, note)`, which moves a progress bar on stderr.

    A bar inside another bar is an additional line of the same display. A bar inside one
    with `show=False` is not drawn.

    Args:
        title: The text beside the bar.
        total: The number of items.
        show: Draw the bar. None draws it for `long` work, if stderr is a terminal or
            another bar is active.
        long: The work takes long enough for a bar.
    """
    live = _LIVE.get()
    visible = long and (bool(live) or sys.stderr.isatty()) if show is None else show
    if live is False or not visible:
        with _active(False if show is False else live):
            yield lambda n, note="": None
    elif live:
        task = live.add_task(title, total=total)
        try:
            yield _advance_of(live, task, title)
        finally:
            live.remove_task(task)
    else:
        with _display() as display, _active(display):
            task = display.add_task(title, total=total)
            yield _advance_of(display, task, title)


def _advance_of(display: Any, task: Any, title: str) -> Advance:
    """Return the function that advances one line of a display."""

    def advance(n: int, note: str = "") -> None:
        text = f"{title}, {note}" if note else title
        display.update(task, advance=n, description=text)

    return advance


@contextmanager
def _active(display: Any) -> Iterator[None]:
    """Make `display` the active display within a `with` block."""
    before = _LIVE.set(display)
    try:
        yield
    finally:
        _LIVE.reset(before)


def _display() -> Any:
    """Return a new, empty display on stderr."""
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
