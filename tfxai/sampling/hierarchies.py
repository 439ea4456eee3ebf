"""Hierarchies of the segments of an input, for Owen values.

A node is the number of a segment, or a tuple of at least two nodes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxai.base.errors import OptionError
from tfxai.base.validation import is_int

Node = Any
#: The largest number of parts of a node: 2^14 subsets of them are evaluated.
MAX_PARTS = 14
EXAMPLE = "hierarchy=[[0, 1], [2, [3, 4]]]"


def leaves(node: Node) -> list[int]:
    """Return the numbers of the segments of a node."""
    if not isinstance(node, tuple):
        return [node]
    return [i for part in node for i in leaves(part)]


def halves(places: Sequence[np.ndarray]) -> Node:
    """Return a hierarchy that halves the segments of each input, again and again.

    Several inputs are the parts of the first node. Segments are divided along the axis
    on which their centres have the widest range, into halves of equal number.

    Args:
        places: For each input the numbers of its segments (...), by position.
    """
    parts = [_halved(*_centres(v)) for v in places if v.size]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _centres(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The segments of an array (...), and their centres (d, axes)."""
    found, place = np.unique(numbers.ravel(), return_inverse=True)
    at = np.indices(numbers.shape).reshape(numbers.ndim, -1)
    sums = np.stack([np.bincount(place, axis) for axis in at], 1)
    return found, sums / np.bincount(place)[:, None]


def _halved(numbers: np.ndarray, centres: np.ndarray) -> Node:
    if len(numbers) == 1:
        return int(numbers[0])
    order = np.argsort(centres[:, np.ptp(centres, 0).argmax()], kind="stable")
    middle = len(order) // 2
    return tuple(
        _halved(numbers[i], centres[i]) for i in (order[:middle], order[middle:])
    )


def given(hierarchy: Any, d: int, names: Sequence[Any] | None) -> Node:
    """Return the hierarchy that a user gave, checked.

    Args:
        hierarchy: Nested lists of all segments, by number or by the name of a column;
            or a linkage matrix of scipy (d - 1, 4).
        d: Number of segments.
        names: The names of the columns, or None.

    Raises:
        OptionError: It is neither, a segment is missing, unknown or there twice, or a
            list has more than 14 parts.
    """
    if isinstance(hierarchy, np.ndarray) and hierarchy.ndim == 2:
        node = _of_linkage(hierarchy, d)
    elif isinstance(hierarchy, list | tuple):
        known = [str(n) for n in names or ()]
        node = _of_lists(hierarchy, d, known if len(known) == d else [])
    else:
        raise _error(f"hierarchy={hierarchy!r}.", d)
    found = leaves(node)
    missing = sorted(set(range(d)) - set(found))
    if missing or len(found) > d:
        twice = sorted({i for i in found if found.count(i) > 1})
        seen = f"misses {missing[:5]}" if missing else f"has {twice[:5]} twice"
        raise _error(f"The hierarchy {seen}, of {d} segments.", d)
    return node


def _error(seen: str, d: int) -> OptionError:
    wanted = f"nested lists of the numbers 0 to {d - 1}, each once, or a linkage matrix"
    return OptionError(seen, wanted, EXAMPLE)


def _of_lists(value: Any, d: int, names: list[str]) -> Node:
    """Nested lists as a node. A list of one part is that part."""
    if isinstance(value, list | tuple):
        parts = tuple(_of_lists(v, d, names) for v in value)
        if not parts:
            raise _error("The hierarchy has an empty list.", d)
        if len(parts) > MAX_PARTS:
            raise OptionError(
                f"The hierarchy has a list of {len(parts)} parts.",
                f"at most {MAX_PARTS} parts, whose subsets are all evaluated",
                EXAMPLE,
            )
        return parts[0] if len(parts) == 1 else parts
    if is_int(value) and 0 <= value < d:
        return int(value)
    if str(value) in names:
        return names.index(str(value))
    known = f"one of {names[:20]}" if names else f"a number below {d}"
    raise OptionError(f"The hierarchy has a segment {value!r}.", known, EXAMPLE)


def _of_linkage(matrix: np.ndarray, d: int) -> Node:
    """A linkage matrix of scipy as a node."""
    if len(matrix) != d - 1 or matrix.shape[1] < 2:
        raise _error(f"The hierarchy has shape {matrix.shape}, of {d} segments.", d)
    nodes: list[Node] = list(range(d))
    for row in matrix:
        pair = [int(i) for i in row[:2]]
        if not all(0 <= i < len(nodes) for i in pair):
            raise _error(f"The hierarchy joins {pair} of {len(nodes)} nodes.", d)
        nodes.append(tuple(nodes[i] for i in pair))
    return nodes[-1]


def without(node: Node, kept: set[int]) -> Node | None:
    """Return a node with these segments only; None where it has none of them."""
    if not isinstance(node, tuple):
        return node if node in kept else None
    parts = [p for part in node if (p := without(part, kept)) is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    return tuple(parts)
