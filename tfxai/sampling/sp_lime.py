"""SP-LIME: which few explanations show most of what a model goes by.

Ribeiro, Singh and Guestrin 2016, section 4, algorithm 2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfxai.base.errors import InputError, OptionError
from tfxai.base.validation import whole_number


@dataclass(frozen=True)
class Pick:
    """What was chosen, in that order.

    picks: numbers of explanations, all samples counted through. coverage: (budget,),
    the importance of the features that the picks up to there show; total: of all.
    importance: of every feature.
    """

    picks: list[int]
    coverage: np.ndarray
    total: float
    importance: np.ndarray


def sp_lime(explanations: Any, budget: int, tokens: bool = False) -> Pick:
    """Pick `budget` explanations that cover the most important features.

    explanations: a matrix (explanations, features), or explanations by "lime", of one
    target for each sample. Columns of tables are features; with `tokens` it is the
    numbers in them; the segments of pictures are, where all were cut alike, and else
    each segment is a feature of its own. A feature's importance is the root of its sum
    of |coefficients|. An explanation shows every feature whose coefficient is not 0:
    make them with a small `n_features`.
    """
    w = np.abs(explanations if _plain(explanations) else _matrix(explanations, tokens))
    whole_number("budget", budget, 1)
    if budget > len(w):
        raise OptionError(
            f"budget={budget!r} for {len(w)} explanations.", f"from 1 to {len(w)}"
        )
    importance = np.sqrt(w.sum(0))
    shown, picks = np.zeros(w.shape[1], bool), list[int]()
    coverage = []
    for _ in range(budget):
        gains = ((w > 0) & ~shown) @ importance
        gains[picks] = -1
        picks.append(int(np.argmax(gains)))
        shown |= w[picks[-1]] > 0
        coverage.append(importance[shown].sum())
    return Pick(picks, np.array(coverage), float(importance.sum()), importance)


def _plain(explanations: Any) -> bool:
    return isinstance(explanations, np.ndarray) and explanations.ndim == 2


def _matrix(explanations: Any, by_token: bool) -> np.ndarray:
    several: list[Any] = (
        list(explanations) if isinstance(explanations, list | tuple) else [explanations]
    )
    rows: list[dict[Any, float]] = []
    for e in several:
        if "coefficients" not in getattr(e, "extra", {}) or np.ndim(e.target) != 1:
            what = getattr(e, "method", type(e).__name__)
            raise InputError(
                f"An explanation by {what!r} with targets "
                f"{np.shape(getattr(e, 'target', ()))}.",
                'explanations by "lime", one target for each sample',
                'tfxai.explain(model, x, "lime", target=None)',
            )
    cuts = [s for e in several for s in np.asarray(e.extra["segments"])]
    alike = all(np.array_equal(cuts[0], s) for s in cuts)
    for e in several:
        tokens = np.asarray(e.inputs)
        for b, values in enumerate(np.asarray(e.extra["coefficients"])):
            row: dict[Any, float] = {}
            for i, value in enumerate(values[np.isfinite(values)]):
                name = int(tokens[b, i]) if by_token else i
                key = name if by_token or alike else (len(rows), i)
                row[key] = row.get(key, 0.0) + abs(float(value))
            rows.append(row)
    names = list(dict.fromkeys(k for row in rows for k in row))
    return np.array([[row.get(k, 0.0) for k in names] for row in rows])
