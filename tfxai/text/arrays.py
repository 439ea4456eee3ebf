"""What a game of words returns beside relevance: arrays of players, and options."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxai.core.explanation import Explanation
from tfxai.text.groups import Groups

Array = np.ndarray[Any, Any]
#: Further arrays with a number for each player, and those for each pair of players.
BY_PAIR = frozenset({"interactions", "interaction_error"})
BY_PLAYER = BY_PAIR | {
    "coefficients", "standard_error", "interval_low", "interval_high",
}  # fmt: skip
#: Numbers of each token: of its player, and of the groups above.
BY_TOKEN = ("segments", "sentences", "paragraphs")
#: Options of games that are none of texts.
NOT_OF_TEXTS = ("baseline", "precision", "scale", "segments", "stride", "window")


def arrays_of(
    e: Explanation, players: Array, groups: Groups | None = None
) -> dict[str, Array]:
    """Return the further arrays of a game's one sample, as of one text.

    Args:
        e: The explanation of the players.
        players: The player (n,) of each token, which are the segments of the text.
        groups: The groups of a hierarchy, or None.
    """
    own = {k: v for k, v in e.extra.items() if isinstance(v, np.ndarray)}
    found = {k: v[0] for k, v in own.items() if k not in e.option_names}
    above = {} if groups is None else vars(groups)
    return {**found, "segments": players, **above}


def options_of(game: Any, e: Explanation) -> dict[str, Any]:
    """Return what an explanation records of a game: unit, mask token and options."""
    own = {k: e.extra[k] for k in e.option_names if k not in NOT_OF_TEXTS}
    masked = {} if game.mask_token is None else {"mask_token": game.mask_token}
    return {"unit": game.unit, **masked, **own}


def stacked(arrays: Sequence[Any], fill: float = np.nan) -> Array:
    """Return arrays as one, (len, ...); `fill` pads those that are smaller.

    None is an array of `fill` alone.
    """
    made = [np.asarray(a) for a in arrays if a is not None]
    shape = np.max([a.shape for a in made], 0).astype(int)
    whole = len(made) == len(arrays) and all(a.shape == tuple(shape) for a in made)
    if whole:
        return np.stack(made)
    dtype = np.result_type(made[0], np.float32) if np.isnan(fill) else made[0].dtype
    found: Array = np.full((len(arrays), *shape), fill, dtype)
    for i, a in enumerate(arrays):
        if a is not None:
            found[i : i + 1][(slice(1), *map(slice, np.shape(a)))] = a
    return found


def joined(arrays: Sequence[dict[str, Array] | None], width: int) -> dict[str, Array]:
    """Return the further arrays of several texts, (B, ...), with NaN as padding.

    Args:
        arrays: Those of each text by `arrays_of`; None has none.
        width: The number of tokens of the longest text.
    """
    first = next(a for a in arrays if a is not None)
    found = {
        name: stacked([None if a is None else a[name] for a in arrays])
        for name in first
        if name not in BY_TOKEN
    }
    for name in BY_TOKEN:
        if name in first:
            rows = [np.zeros(0, int) if a is None else a[name] for a in arrays]
            padded = [np.pad(r, (0, width - len(r)), constant_values=-1) for r in rows]
            found[name] = np.stack(padded)
    return found
