"""Options, checked at the door: what was seen, and what was wanted."""

from numbers import Real
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError


def one_of(name: str, value: Any, known: tuple) -> None:
    """Refuse what is none of `known`."""
    if value not in known:
        raise OptionError(f"{name}={value!r}.", f"one of {list(known)}")


def above(name: str, value: Any) -> None:
    """Refuse what is no finite number above 0."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < value < np.inf:
        raise OptionError(f"{name}={value!r}.", "a number above 0")


def at_least(name: str, value: Any, least: float) -> None:
    """Refuse what is no finite number of at least `least`."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not least <= value < np.inf:
        raise OptionError(f"{name}={value!r}.", f"a number of at least {least}")


def whole_number(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number of at least `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise OptionError(f"{name}={value!r}.", f"a whole number of at least {least}")
