"""Options and names, checked at the door: what was seen, and what was wanted."""

import difflib
from collections.abc import Iterable
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


def nearest(name: str, names) -> list[str]:
    """Up to three names that look like `name`."""
    lower = {str(n).lower(): str(n) for n in names}
    found = difflib.get_close_matches(str(name).lower(), lower, n=3, cutoff=0.4)
    return [lower[f] for f in found]


def check_options(who: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse an option that `who` does not know, with the nearest ones."""
    for option in options:
        if option not in known:
            close = nearest(option, known)
            perhaps = f", perhaps {', '.join(close)}" if close else ""
            raise OptionError(
                f"{who} has no option {option!r}.", f"one of {sorted(known)}{perhaps}"
            )
