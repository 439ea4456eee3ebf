"""Checks of option values and names, with errors that list the valid ones."""

import difflib
from collections.abc import Collection, Iterable
from numbers import Real
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError


def one_of(name: str, value: Any, known: Collection[Any]) -> None:
    """Raise OptionError unless `value` is in `known`."""
    if value not in known:
        raise OptionError(f"{name}={value!r}.", f"one of {list(known)}")


def above(name: str, value: Any) -> None:
    """Raise OptionError unless `value` is a finite number above 0."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < value < np.inf:
        raise OptionError(f"{name}={value!r}.", "a number above 0")


def at_least(name: str, value: Any, least: float) -> None:
    """Raise OptionError unless `value` is a finite number of at least `least`."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not least <= value < np.inf:
        raise OptionError(f"{name}={value!r}.", f"a number of at least {least}")


def whole_number(name: str, value: Any, least: int) -> None:
    """Raise OptionError unless `value` is an integer of at least `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise OptionError(f"{name}={value!r}.", f"a whole number of at least {least}")


def nearest(name: str, names: Iterable[Any]) -> list[str]:
    """Return up to three of `names` that resemble `name`, the closest first."""
    lower = {str(n).lower(): str(n) for n in names}
    close = difflib.get_close_matches(str(name).lower(), lower, n=3, cutoff=0.4)
    return [lower[match] for match in close]


def check_options(who: str, options: Iterable[str], known: Collection[str]) -> None:
    """Raise OptionError for the first of `options` that is not in `known`.

    Args:
        who: The subject of the error message, such as "The analyzer 'lime'".
        options: The names to check.
        known: The valid names.
    """
    for option in options:
        if option not in known:
            close = nearest(option, known)
            perhaps = f", perhaps {', '.join(close)}" if close else ""
            raise OptionError(
                f"{who} has no option {option!r}.", f"one of {sorted(known)}{perhaps}"
            )
