"""Signs that relevance says little about the model.

Relevance that is the same everywhere, that is rounding noise, or that follows the input
itself may be right (of a model that computes a mean, for example), but seldom is.
"""

from typing import Any

import numpy as np

from tfxai.core.explanation import Explanation
from tfxai.viz.panel import listed

Array = np.ndarray[Any, Any]

#: Methods whose relevance is the input itself, on purpose.
ALIKE = ("input",)
#: Inputs of fewer elements are not compared with their relevance.
ELEMENTS = 64
#: Elements along an axis that are compared; longer axes are sampled.
SIDE = 32
#: Correlation from which on relevance follows the input.
NEARLY = 0.95
#: Largest relevance, as a share of the score, that is rounding noise.
NOISE = 1e-6
#: Largest difference, as a share of the largest value, of constant relevance.
EQUAL = 1e-5


def constant(e: Explanation) -> Array:
    """Return which relevance is one number, not zero, everywhere; (B,) or (B, T)."""
    axes = np.ndim(e.target)
    found = [_constant(r, axes) for r in listed(e.relevance)]
    return np.asarray(np.all(found, axis=0))


def rounding_noise(e: Explanation) -> Array:
    """Return which relevance is nearly zero beside the score; (B,) or (B, T)."""
    axes = np.ndim(e.target)
    largest = np.max(
        [np.abs(r).max(tuple(range(axes, r.ndim))) for r in listed(e.relevance)], 0
    )
    return np.asarray((largest > 0) & (largest <= NOISE * np.abs(e.score)))


def likeness(e: Explanation) -> dict[str, Array]:
    """Return the correlation of |relevance| with |x| and with the edges of x.

    Each is (B,) or (B, T), the largest of several inputs; 0 where it is not compared.
    The channels are summed. Edges need two spatial axes.
    """
    found = {
        "values": np.zeros(np.shape(e.score)),
        "edges": np.zeros(np.shape(e.score)),
    }
    axes = np.ndim(e.target)
    if e.method in ALIKE or e.extra.get("data_format") == "channels_first":
        return found
    for r, x in zip(listed(e.relevance), listed(e.inputs), strict=False):
        if not _comparable(r, x, axes):
            continue
        places = [np.arange(0, n, -(-n // SIDE)) for n in x.shape[1:-1]]
        heat = np.abs(_at(r, places, axes)).sum(-1)
        pairs = {"values": np.abs(_at(x, places, 1).astype(np.float32)).sum(-1)}
        if len(places) > 1:
            pairs["edges"] = _edges(x, places)
        for name, other in pairs.items():
            other = other.reshape(len(x), *[1] * (axes - 1), *other.shape[1:])
            found[name] = np.maximum(found[name], _correlation(heat, other, axes))
    return found


def _constant(r: Array, axes: int) -> Array:
    """Which rows of relevance are constant; it looks at few elements first."""
    few = r[(slice(None),) * axes + (slice(None, None, 7),) * (r.ndim - axes)]
    found = _equal(few, axes)
    return _equal(r, axes) if found.any() else found


def _equal(r: Array, axes: int) -> Array:
    """Which rows have one value, up to rounding."""
    rest = tuple(range(axes, r.ndim))
    low, high = r.min(rest), r.max(rest)
    largest = np.maximum(np.abs(low), np.abs(high))
    many = np.prod(r.shape[axes:]) > 1
    return np.asarray((high - low <= EQUAL * largest) & (largest > 0) & many)


def _comparable(r: Array, x: Any, axes: int) -> bool:
    """Whether x has numbers and the relevance its spatial axes, and many of them."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fu" or x.ndim < 3:
        return False
    return r.shape[axes:-1] == x.shape[1:-1] and r[:1].size >= ELEMENTS


def _at(a: Array, places: list[Array], axes: int) -> Array:
    """The elements at some places along the axes of positions, which follow `axes`."""
    for k, where in enumerate(places):
        a = a.take(where, axes + k)
    return a


def _edges(x: Array, places: list[Array]) -> Array:
    """The strength of the edges at some places.

    It is the length of the central differences of the sum of the channels.
    """
    squares = np.zeros((len(x), *map(len, places)), np.float32)
    for k, where in enumerate(places):
        before = np.maximum(where - 1, 0)
        after = np.minimum(where + 1, x.shape[1 + k] - 1)
        low, high = (
            _at(x, [*places[:k], v, *places[k + 1 :]], 1).astype(np.float32).sum(-1)
            for v in (before, after)
        )
        gap = np.maximum(after - before, 1).reshape(-1, *[1] * (len(places) - 1 - k))
        squares += np.square((high - low) / gap)
    return np.asarray(np.sqrt(squares))


def _correlation(a: Array, b: Array, axes: int) -> Array:
    """Pearson's correlation over all but the first axes; 0 if one is constant."""
    rest = tuple(range(axes, a.ndim))
    a, b = (v - v.mean(rest, keepdims=True, dtype=np.float64) for v in (a, b))
    norms = np.sqrt(np.square(a).sum(rest) * np.square(b).sum(rest))
    products = (a * b).sum(rest)
    return np.asarray(
        np.divide(products, norms, np.zeros(norms.shape), where=norms > 0)
    )


def doubts(e: Explanation, sampled: bool) -> list[tuple[Array, str]]:
    """Return, for each sign that is seen, which relevance has it and what it says.

    Args:
        e: The explanation; relevance that is not finite has no sign.
        sampled: The relevance consists of differences of the model's outputs.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return _seen(e, sampled)


def _seen(e: Explanation, sampled: bool) -> list[tuple[Array, str]]:
    """The signs that are seen; see `doubts`."""
    like = likeness(e)
    signs = [
        (constant(e), "is one number everywhere"),
        (
            like["values"] >= NEARLY,
            f"follows |x| (correlation {like['values'].max():.2f})",
        ),
        (
            like["edges"] >= NEARLY,
            f"follows the edges of x (correlation {like['edges'].max():.2f})",
        ),
    ]
    if sampled:
        noise = "is rounding noise: no change of the input changed the score"
        signs.append((rounding_noise(e), noise))
    return [(mask, text) for mask, text in signs if mask.any()]
