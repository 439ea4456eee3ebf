"""Checks of option values and names, with errors that list the valid ones."""

import difflib
import sys
from collections.abc import Collection, Iterable
from numbers import Real
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.synonyms import candidates


def one_of(name: str, value: Any, known: Collection[Any]) -> None:
    """Raise OptionError unless `value` is in `known`."""
    if value not in known:
        raise OptionError(f"{name}={value!r}.", f"one of {list(known)}")


def above(name: str, value: Any) -> None:
    """Raise OptionError unless `value` is a finite number above 0."""
    if not _is_number(value) or not value > 0:
        raise OptionError(f"{name}={_short(value)}.", "a number above 0")


def at_least(name: str, value: Any, least: float) -> None:
    """Raise OptionError unless `value` is a finite number of at least `least`."""
    if not _is_number(value) or not value >= least:
        raise OptionError(f"{name}={_short(value)}.", f"a number of at least {least}")


def finite(name: str, value: Any, shaped: bool = False) -> None:
    """Raise OptionError unless `value` is a finite number.

    Args:
        name: The name of the option.
        value: The value.
        shaped: Accept an array or nested lists of numbers too.
    """
    if shaped and not isinstance(value, str | bytes):
        try:
            good = bool(np.isfinite(np.asarray(value, np.float64)).all())
        except (ValueError, TypeError, OverflowError):
            good = False
    else:
        good = _is_number(value)
    if not good:
        wanted = "finite numbers" if shaped else "a finite number"
        raise OptionError(f"{name}={_short(value)}.", wanted)


def _is_number(value: Any) -> bool:
    """Return True for a finite number that a float can hold; a bool is none."""
    most = sys.float_info.max
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and bool(-most <= value <= most)


def _short(value: Any) -> str:
    """Return the repr of a value, cut where it is long."""
    if isinstance(value, int) and abs(value) > 10**40:
        return "a number of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def is_int(value: Any) -> bool:
    """Return True for an integer that is no boolean."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def whole_number(name: str, value: Any, least: int, most: int = 2**62) -> None:
    """Raise OptionError unless `value` is an integer from `least` to `most`."""
    if not is_int(value) or value < least:
        wanted = f"a whole number of at least {least}"
        raise OptionError(f"{name}={_short(value)}.", wanted)
    if value > most:
        wanted = f"a whole number of at most {most}"
        raise OptionError(f"{name}={_short(value)}.", wanted)


def unmasked(name: str, value: Any) -> Any:
    """Return `value`; raise InputError if it is, or lists, arrays with masked numbers.

    `np.asarray` drops a mask, so that the numbers behind it would be used.
    """
    if isinstance(value, list | tuple):
        if any(isinstance(v, np.ma.MaskedArray) for v in value):
            for i, v in enumerate(value):
                unmasked(f"{name}[{i}]", v)
        return value
    masked = np.ma.getmask(value) if isinstance(value, np.ma.MaskedArray) else False
    count = np.count_nonzero(masked)
    if count:
        raise InputError(
            f"{name} is a masked array, and {count} of its {np.size(value)} numbers "
            "are masked.",
            "numbers for all of them",
            f"{name}.filled(0), with 0 for what is masked",
        )
    return value


def is_kmeans(background: Any) -> bool:
    """Return whether a background is ("kmeans", ...), clusters of rows."""
    first = background[0] if isinstance(background, tuple) and background else None
    return isinstance(first, str) and first == "kmeans"


def plain_rows(background: Any) -> None:
    """Raise OptionError for a background that is a text, or clusters of rows."""
    if isinstance(background, str):
        wanted = 'rows; for LIME and the Shapley methods also ("kmeans", 20, rows)'
        raise OptionError(
            f"background={background!r}.", wanted, "background=x_train[:100]"
        )
    if is_kmeans(background):
        raise OptionError(
            "background is clusters of rows, whose sizes this method does not weight.",
            "rows, or LIME or a Shapley method",
            'background=x_train[:100], or method="kernel_shap"',
        )


def nearest(name: str, names: Iterable[Any]) -> list[str]:
    """Return up to three of `names` that resemble `name`, the closest first.

    A name that other tools use, and one that differs in case and punctuation alone,
    comes first and alone. The list is empty where nothing is near.
    """
    lower = {str(n).lower(): str(n) for n in names}
    plain = {_plain(n): n for n in reversed(lower.values())}
    known = [lower[n] for n in candidates(_plain(name)) if n in lower]
    if known:
        return known[:3]
    if _plain(name) in plain:
        return [plain[_plain(name)]]
    close = difflib.get_close_matches(str(name).lower(), lower, n=3, cutoff=0.6)
    return [lower[match] for match in close]


def perhaps(name: Any, names: Iterable[Any]) -> str:
    """Return ", perhaps a, b" for the names that resemble a name, or "" for none."""
    close = nearest(name, names)
    return f", perhaps {', '.join(close)}" if close else ""


def _plain(name: Any) -> str:
    """Return a name in lower case, without spaces and punctuation (but +)."""
    return "".join(c for c in str(name).lower() if c.isalnum() or c == "+")


def check_options(who: str, options: Iterable[str], known: Collection[str]) -> None:
    """Raise OptionError for the first of `options` that is not in `known`.

    Args:
        who: The subject of the error message, such as "The method 'lime'".
        options: The names to check.
        known: The valid names.
    """
    for option in options:
        if option not in known:
            raise OptionError(
                f"{who} has no option {option!r}.",
                f"one of {sorted(known)}{perhaps(option, known)}",
            )
