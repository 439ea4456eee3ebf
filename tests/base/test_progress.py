"""Progress bars: `show` decides whether they are drawn; nested bars share a display."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from tfxai.base import progress
from tfxai.base.progress import bar


@pytest.fixture
def shown(monkeypatch):
    """The displays that are opened; they draw into memory instead of a terminal."""
    opened = []

    def display():
        console = Console(file=io.StringIO(), force_terminal=True, width=80)
        opened.append(Progress(console=console, auto_refresh=False))
        return opened[-1]

    monkeypatch.setattr(progress, "_display", display)
    return opened


def lines(display):
    return [(t.description, t.completed, t.total) for t in display.tasks]


def test_loops_inside_loops_share_one_display(shown):
    with bar("outer", 2, show=True) as advance:
        with bar("inner", 10) as step:
            step(3)
            (display,) = shown
            assert lines(display) == [("outer", 0, 2), ("inner", 3, 10)]
        advance(1)
        with bar("short", 1, long=False), bar("inner", 5) as step:
            step(5)
            assert lines(display) == [("outer", 1, 2), ("inner", 5, 5)]
        with pytest.raises(KeyError), bar("failing", 1):
            raise KeyError
        assert lines(display) == [("outer", 1, 2)]
    with bar("next", 1, show=True):
        assert len(shown) == 2


def test_a_bar_that_was_refused_refuses_those_inside(shown):
    with bar("outer", 2, show=False), bar("inner", 1, show=True) as step:
        step(1)
    with bar("outer", 2), bar("inner", 1) as step:  # no terminal here
        step(1)
    assert shown == []
    with bar("later", 1, show=True):
        assert len(shown) == 1
