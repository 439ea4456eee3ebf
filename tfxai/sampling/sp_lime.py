"""SP-LIME: a few explanations that cover the features that matter most to a model.

Ribeiro, Singh and Guestrin 2016, section 4, algorithm 2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.validation import whole_number


@dataclass(frozen=True)
class Pick:
    """The selected explanations.

    Attributes:
        picks: Numbers of the selected explanations, in the order of their selection;
            several batches are numbered consecutively.
        coverage: Importance of the features that the picks so far cover (budget,).
        total: Importance of all features together.
        importance: Importance of every feature.
    """

    picks: list[int]
    coverage: np.ndarray
    total: float
    importance: np.ndarray


def sp_lime(explanations: Any, budget: int, tokens: bool = False) -> Pick:
    """Return `budget` explanations that cover the most important features.

    A feature's importance is the square root of its sum of |coefficients|. An
    explanation covers every feature whose coefficient is not 0, so compute it with a
    small `n_features`.

    Args:
        explanations: Explanations to select from. A matrix of coefficients
            (explanations, features), or one or several explanations by "lime" with one
            target for each sample.
        budget: Number of explanations to select.
        tokens: Whether the features are token numbers. By default they are the columns
            of tables, and the segments of images where all images have the same
            segments; otherwise each segment is a feature of its own.

    Returns:
        The selected explanations, in a `Pick`.

    Raises:
        InputError: An explanation has no coefficients, or several targets.
        OptionError: The budget is not between 1 and the number of explanations.

    References:
        Ribeiro, Singh and Guestrin 2016, arXiv:1602.04938, section 4, algorithm 2.
    """
    matrix = isinstance(explanations, np.ndarray) and explanations.ndim == 2
    w = np.abs(explanations if matrix else _coefficient_matrix(explanations, tokens))
    whole_number("budget", budget, 1)
    if budget > len(w):
        raise OptionError(
            f"budget={budget!r} for {len(w)} explanations.", f"from 1 to {len(w)}"
        )
    importance = np.sqrt(w.sum(0))
    covered, picks = np.zeros(w.shape[1], bool), list[int]()
    coverage = []
    for _ in range(budget):
        gains = ((w > 0) & ~covered) @ importance
        gains[picks] = -1
        picks.append(int(np.argmax(gains)))
        covered |= w[picks[-1]] > 0
        coverage.append(importance[covered].sum())
    return Pick(picks, np.array(coverage), float(importance.sum()), importance)


def _coefficient_matrix(explanations: Any, by_token: bool) -> np.ndarray:
    """|coefficients| (explanations, features) of explanations by LIME."""
    several: list[Any] = (
        list(explanations) if isinstance(explanations, list | tuple) else [explanations]
    )
    for e in several:
        _check_explanation(e)
    segments = [s for e in several for s in np.asarray(e.extra["segments"])]
    shared = all(np.array_equal(segments[0], s) for s in segments)
    rows: list[dict[Any, float]] = []
    for e in several:
        tokens = np.asarray(e.inputs)
        for b, values in enumerate(np.asarray(e.extra["coefficients"])):
            row: dict[Any, float] = {}
            for i, value in enumerate(values[np.isfinite(values)]):
                name = int(tokens[b, i]) if by_token else i
                key = name if by_token or shared else (len(rows), i)
                row[key] = row.get(key, 0.0) + abs(float(value))
            rows.append(row)
    names = list(dict.fromkeys(k for row in rows for k in row))
    return np.array([[row.get(k, 0.0) for k in names] for row in rows])


def _check_explanation(e: Any) -> None:
    """Raise InputError for an explanation without coefficients of one target."""
    if (
        not {"coefficients", "segments"} <= set(getattr(e, "extra", {}))
        or np.ndim(e.target) != 1
    ):
        method = getattr(e, "method", type(e).__name__)
        raise InputError(
            f"An explanation by {method!r} with targets of shape "
            f"{np.shape(getattr(e, 'target', ()))}.",
            'explanations by "lime", one target for each sample',
            'tfxai.explain(model, x, "lime", target=None)',
        )
