"""Groups of columns that are one player of a Shapley value."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.validation import is_int

EXAMPLE = 'groups={"address": [2, 3, 4]}'


def labels_of_inputs(
    groups: Any, inputs: list[np.ndarray], names: list[Any], features: Any
) -> list[np.ndarray | None]:
    """Return the labels of the columns of each input; None for inputs without groups.

    Args:
        groups: As for `labels_of_groups`; for several inputs a mapping from the name or
            the number of an input to such groups. None is no group.
        inputs: The inputs (B, ...).
        names: The names of the inputs, or none.
        features: The names of the columns; for several inputs a mapping as `groups`.

    Raises:
        InputError: See `labels_of_groups`.
        OptionError: There is no such input, or see `labels_of_groups`.
    """
    found: list[np.ndarray | None] = [None] * len(inputs)
    if groups is None:
        return found
    if len(inputs) == 1:
        return [labels_of_groups(groups, inputs[0].shape, features)]
    places: list[Any] = list(names) or [*range(len(inputs))]
    if not isinstance(groups, Mapping) or not set(groups) <= set(places):
        raise OptionError(
            f"groups={groups!r}, and the inputs are {places}.",
            "a mapping from an input to its groups",
            f"groups={{{places[0]!r}: {{'address': [2, 3, 4]}}}}",
        )
    for place, own in groups.items():
        i, known = places.index(place), (features or {}).get(place)
        found[i] = labels_of_groups(own, inputs[i].shape, known)
    return found


def labels_of_groups(
    groups: Any, shape: tuple[int, ...], names: Sequence[str] | None
) -> np.ndarray:
    """Return a number (F,) for each column, equal for the columns of a group.

    Args:
        groups: A mapping from the name of a group to its columns, by number or by name.
            Other columns stand alone.
        shape: The shape of the inputs, (B, F).
        names: The names of the columns, or None.

    Raises:
        InputError: The inputs have no columns.
        OptionError: The groups are no mapping, a column is unknown, or in two groups.
    """
    if len(shape) != 2:
        raise InputError(
            f"groups of columns, and x has shape {shape}.",
            "a table (B, columns)",
            f"segmenter=labels, an array of whole numbers of shape {tuple(shape[1:])}",
        )
    if not isinstance(groups, Mapping) or not groups:
        raise OptionError(
            f"groups={groups!r}.", "a mapping from names to lists of columns", EXAMPLE
        )
    known = [] if names is None else [str(n) for n in names]
    labels, owner = np.arange(shape[1]), dict[int, Any]()
    for group, members in groups.items():
        if isinstance(members, str) or not np.size(members):
            raise OptionError(
                f"The group {group!r} has the columns {members!r}.",
                "a list of columns",
                EXAMPLE,
            )
        columns = [_column(group, m, shape[1], known) for m in members]
        for c in columns:
            if owner.setdefault(c, group) != group:
                raise OptionError(
                    f"Column {c} is in the groups {owner[c]!r} and {group!r}.",
                    "each column in one group",
                    EXAMPLE,
                )
        labels[columns] = min(columns)
    return labels


def _column(group: Any, member: Any, count: int, known: list[str]) -> int:
    """The number of a column, from its number or its name."""
    if is_int(member) and 0 <= member < count:
        return int(member)
    if str(member) in known:
        return known.index(str(member))
    raise OptionError(
        f"The group {group!r} has a column {member!r}.",
        f"one of {known[:20]}" if known else f"a number below {count}, or a name",
        EXAMPLE if known else "features=[...], the names of the columns, beside groups",
    )
